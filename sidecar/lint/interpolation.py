"""Variables in Compose files: ``${…}`` in values. Pure.

Source of the rules: compose-go: template/template.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_NAME = r"[A-Za-z_]\w*"
_BEGIN = re.compile(
    rf"\$(?:(?P<dollar>\$)|(?P<name>{_NAME})|\{{(?P<braced>{_NAME})(?P<then>:?[-+?]|\}})|(?P<wrong>\{{))",
    re.ASCII,
)
_BRACES = re.compile(r"\{.?|\}", re.DOTALL)
_DEEPEST = 100


class InterpolationError(ValueError):
    """Compose would refuse the value. The message says why."""


class Interpolated(NamedTuple):
    """A value after interpolation.

    Attributes:
        text: What Compose puts into the container.
        unset: Variables in it that nothing sets and that have no default.
        lone: Whether a ``$`` in it begins no variable. Compose leaves it as it is since 2.12 (autumn 2022), and
            refused the file before.
    """

    text: str
    unset: tuple[str, ...] = ()
    lone: bool = False


class _Seen:
    """What is noticed on the way."""

    __slots__ = ("lone", "unset")

    def __init__(self) -> None:
        self.unset: list[str] = []
        self.lone = False


def interpolate(text: str, variables: Mapping[str, str]) -> Interpolated:
    """Return ``text`` as Compose would put it into the container.

    Knows ``$$``, ``$X``, ``${X}`` and ``${X:-d} ${X-d} ${X:?e} ${X?e} ${X:+a} ${X+a}``, nested too.

    Raises:
        InterpolationError: A ``${`` that begins no variable or is not closed, a required variable not set.
    """
    if "$" not in text:
        return Interpolated(text)
    seen = _Seen()
    return Interpolated(_put_in(text, variables, seen, 0), tuple(seen.unset), seen.lone)


def _put_in(text: str, variables: Mapping[str, str], seen: _Seen, depth: int) -> str:
    if depth > _DEEPEST:
        raise InterpolationError("defaults are nested too deeply")
    parts: list[str] = []
    at = 0
    while match := _BEGIN.search(text, at):
        before = text[at : match.start()]
        parts.append(before)
        seen.lone = seen.lone or "$" in before
        at = match.end()
        if match["dollar"]:
            parts.append("$")
        elif match["then"] in {None, "}"} and not match["wrong"]:
            name = match["name"] or match["braced"]
            if name not in variables:
                seen.unset.append(name)
            parts.append(variables.get(name, ""))
        else:
            end = -1 if match["wrong"] else _end_of_braces(text, match.start())
            if end < 0:
                shown = text[match.start() :][:60]
                raise InterpolationError(
                    f'"{shown}" names no variable as Compose understands it; write $$ for a $ of the command'
                )
            parts.append(_operated(match["braced"], match["then"], text[at:end], variables, seen, depth))
            at = end + 1
    rest = text[at:]
    seen.lone = seen.lone or "$" in rest
    return "".join(parts) + rest


def _end_of_braces(text: str, start: int) -> int:
    """Return where the ``}`` of a ``${`` stands, in the same line; -1 for nowhere.

    Compose counts braces of any kind, passing over what follows one that opens. Where they do not come out even, it
    takes the last one of the line.
    """
    line = text[start:].partition("\n")[0]
    open_braces = 0
    for brace in _BRACES.finditer(line):
        open_braces += 1 if brace.group() != "}" else -1
        if not open_braces:
            return start + brace.start()
    last = line.rfind("}")
    return start + last if last >= 0 else -1


def _operated(
    name: str, operator: str, word: str, variables: Mapping[str, str], seen: _Seen, depth: int
) -> str:
    """Return what ``${name operator word}`` means."""
    value = variables.get(name, "")
    there = name in variables and (value != "" or not operator.startswith(":"))
    # Compose looks through the word whether or not it is needed.
    noticed = _Seen()
    word = _put_in(word, variables, noticed, depth + 1)
    required = operator.endswith("?")
    wanted = there == operator.endswith("+")
    if wanted or required:
        seen.lone = seen.lone or noticed.lone
    if required:
        if not there:
            raise InterpolationError(f"{name} must be set" + (f": {word}" if word else ""))
        return value
    if wanted:
        seen.unset += noticed.unset
        return word
    return value
