"""Interpolation and ``.env`` as Compose does them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.compose_variables import InterpolationError, interpolate, parse_dotenv

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
    ],
)
def test_interpolate(text: str, result: str) -> None:
    assert interpolate(text, VARIABLES).text == result


def test_what_nothing_sets_is_named() -> None:
    assert interpolate("$X${Y}${Z:-d}${EMPTY}", VARIABLES) == ("d", ("X", "Y"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("$(date)", "begins no variable"),
        ("$1", "begins no variable"),
        ("a $", "begins no variable"),
        ("${", "not closed"),
        ("${A", "not closed"),
        ("${}", "names no variable"),
        ("${1}", "names no variable"),
        ("${A/x/y}", "more than Compose"),
        ("${X:?no X}", "X must be set: no X"),
        ("${EMPTY:?}", "EMPTY must be set"),
        ("${X:-" * 30 + "}" * 30, "too deeply"),
    ],
)
def test_what_compose_refuses(text: str, reason: str) -> None:
    with pytest.raises(InterpolationError, match=reason.replace("$", r"\$")):
        interpolate(text, VARIABLES)


@given(st.text())
def test_doubled_dollars_come_back(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {}) == (text, ())


@given(st.text(st.sampled_from("${}:-?+AX"), max_size=30))
def test_any_text_is_interpolated_or_refused(text: str) -> None:
    try:
        interpolate(text, VARIABLES)
    except InterpolationError as error:
        assert str(error)  # noqa: PT017 - most texts are refused, and each refusal says why


def test_dotenv() -> None:
    text = """\ufeff# comment
A=1
export B = two words # comment
C='single $A # kept'
D="double $A \\"q\\" \\$A\\n"
E="two
lines"
F=$A-$HOME
G=
H: colon
no assignment
I=${
"""
    assert parse_dotenv(text, {"HOME": "/h", "A": "env"}) == {
        "A": "1",
        "B": "two words",
        "C": "single $A # kept",
        "D": 'double env "q" $A\n',
        "E": "two\nlines",
        "F": "env-/h",
        "G": "",
        "H": "colon",
        "I": "${",
    }
    assert parse_dotenv('A="open', {}) == {"A": "open"}


@given(st.text(max_size=60))
def test_any_text_is_a_dotenv(text: str) -> None:
    assert isinstance(parse_dotenv(text, {}), dict)
