"""Interpolation as Compose does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.lint.interpolation import Interpolated, InterpolationError, interpolate

VARIABLES = {"A": "a", "EMPTY": "", "B_1": "b"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$A${A}-$B_1", "aa-b"),
        ("$$A $${A} $$", "$A ${A} $"),
        ("${A:-d}${A-d}", "aa"),
        ("${X:-d}${X-d}", "dd"),
        ("${EMPTY:-d}${EMPTY-d}", "d"),
        ("${X:-}", ""),
        ("${X:-${A}}${X:-${Y:-z}}", "az"),
        ("${X:-$A b}", "a b"),
        ("${A:+y}${X:+y}${EMPTY:+y}${EMPTY+y}", "yy"),
        ("${A:?e}${EMPTY?e}", "a"),
        ("${X:-a:b}", "a:b"),
        ("${X:-$$A}", "$A"),
        ("$(date) $1 a$ $", "$(date) $1 a$ $"),
        ("${X:-a}b}c", "ab}c"),
    ],
)
def test_interpolate(text: str, result: str) -> None:
    assert interpolate(text, VARIABLES).text == result


def test_what_nothing_sets_is_named() -> None:
    assert interpolate("$X${Y}${Z:-d}${EMPTY}${A:-$V}${W:-$X}", VARIABLES).unset == ("X", "Y", "X")


@pytest.mark.parametrize(
    ("text", "lone"), [("$(x)", True), ("$$(x)", False), ("${X:-$1}", True), ("$A", False)]
)
def test_a_dollar_that_begins_no_variable_is_noticed(text: str, lone: bool) -> None:
    assert interpolate(text, VARIABLES).lone is lone


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${", "names no variable"),
        ("${A", "names no variable"),
        ("${A:-two\nlines}", "names no variable"),
        ("${}", "names no variable"),
        ("${1}", "names no variable"),
        ("${A/x/y}", "names no variable"),
        ("${X:?no X}", "X must be set: no X"),
        ("${EMPTY:?}", "EMPTY must be set"),
        ("${X:-" * 130 + "}" * 130, "too deeply"),
    ],
)
def test_what_compose_refuses(text: str, reason: str) -> None:
    with pytest.raises(InterpolationError, match=reason.replace("$", r"\$")):
        interpolate(text, VARIABLES)


@given(st.text())
def test_doubled_dollars_come_back(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {}) == Interpolated(text)


@given(st.text(st.sampled_from("${}:-?+AX"), max_size=30))
def test_any_text_is_interpolated_or_refused(text: str) -> None:
    try:
        interpolate(text, VARIABLES)
    except InterpolationError as error:
        assert str(error)  # noqa: PT017 - most texts are refused, and each refusal says why
