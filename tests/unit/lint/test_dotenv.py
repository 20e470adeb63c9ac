"""Files of ``KEY=VALUE`` as Compose reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.lint.dotenv import DotenvError, DotenvValue, parse_dotenv


def values(text: str, **environ: str) -> dict[str, str]:
    return {name: value.text for name, value in parse_dotenv(text, environ).items()}


def test_what_may_stand_in_one() -> None:
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
FROM_OUTSIDE
NOWHERE
I=$(x)
J=a#b
K="\\0101\\q" # after
"""
    found = values(text, HOME="/h", A="env", FROM_OUTSIDE="yes")
    assert found == {
        "A": "1",
        "B": "two words",
        "C": "single $A # kept",
        "D": 'double env "q" $A\n',
        "E": "two\nlines",
        "F": "env-/h",
        "G": "",
        "H": "colon",
        "FROM_OUTSIDE": "yes",
        "I": "$(x)",
        "J": "a#b",
        "K": "A\\q",
    }


def test_each_value_knows_its_line_and_what_nothing_sets() -> None:
    found = parse_dotenv("a=1\n\n# c\nb='x\ny'\nc=$a$d\n", {})
    assert found == {"a": DotenvValue("1", 1), "b": DotenvValue("x\ny", 4), "c": DotenvValue("1", 6, ("d",))}


def test_files_before_are_kept_and_used() -> None:
    before = parse_dotenv("a=1\nb=1\n", {})
    assert {k: v.text for k, v in parse_dotenv("b=$a$b$c\n", {"a": "0"}, before).items()} == {
        "a": "1",
        "b": "01",
    }


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("A=1\na b=1\n", 2, "holds a blank"),
        ("A=1\nB!=1\n", 2, "cannot stand in the name"),
        ("A=1\nC='open\n", 2, "not closed"),
        ("A=1\nD=${\n", 2, "names no variable"),
    ],
)
def test_what_compose_refuses(text: str, line: int, reason: str) -> None:
    with pytest.raises(DotenvError, match=reason) as caught:
        parse_dotenv(text, {})
    assert caught.value.line == line
    assert caught.value.read == {"A": DotenvValue("1", 1)}


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_dotenv(text, {})
    except DotenvError as error:
        assert str(error)  # noqa: PT017 - many texts are refused, and each refusal says why
