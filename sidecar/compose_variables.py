"""Variables in Compose files: ``${…}`` in values, and the ``.env`` file that they come from. Pure.

Source of the rules: compose-spec: spec.md, "Interpolation", and compose-go: template/template.go, dotenv/parser.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
_DEEPEST = 20


class InterpolationError(ValueError):
    """Compose would refuse the value. The message says why."""


class Interpolated(NamedTuple):
    """A value after interpolation, and the variables in it that nothing sets and that have no default."""

    text: str
    unset: tuple[str, ...] = ()


def interpolate(text: str, variables: Mapping[str, str]) -> Interpolated:
    """Return ``text`` as Compose would put it into the container.

    Knows ``$$``, ``$X``, ``${X}`` and ``${X:-d} ${X-d} ${X:?e} ${X?e} ${X:+a} ${X+a}``, nested too.

    Raises:
        InterpolationError: A ``$`` that begins nothing, a brace that is not closed, a required variable not set.
    """
    if "$" not in text:
        return Interpolated(text)
    unset: list[str] = []
    expanded = _expand(text, variables, unset, 0)
    return Interpolated(expanded, tuple(unset))


def _expand(text: str, variables: Mapping[str, str], unset: list[str], depth: int) -> str:
    if depth > _DEEPEST:
        raise InterpolationError("defaults are nested too deeply")
    out: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        out.append(text[at:dollar])
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            out.append("$")
            at = dollar + 2
        elif following == "{":
            end = _closing_brace(text, dollar + 2)
            out.append(_braced(text[dollar + 2 : end], variables, unset, depth))
            at = end + 1
        else:
            name = _NAME.match(text, dollar + 1)
            if name is None:
                raise InterpolationError(
                    f'"${following}" begins no variable; write $$ for a $ of the command'
                )
            out.append(_plain(name.group(), variables, unset))
            at = name.end()
    out.append(text[at:])
    return "".join(out)


def _plain(name: str, variables: Mapping[str, str], unset: list[str]) -> str:
    if name not in variables:
        unset.append(name)
    return variables.get(name, "")


def _closing_brace(text: str, start: int) -> int:
    depth = 1
    for at in range(start, len(text)):
        if text.startswith("${", at):
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
    raise InterpolationError("a ${ is not closed; write $$ for a $ of the command")


def _braced(body: str, variables: Mapping[str, str], unset: list[str], depth: int) -> str:
    name = _NAME.match(body)
    if name is None:
        raise InterpolationError(f'"${{{body}}}" names no variable; write $$ for a $ of the command')
    rest = body[name.end() :]
    if not rest:
        return _plain(name.group(), variables, unset)
    operator = _OPERATOR.match(rest)
    if operator is None:
        raise InterpolationError(
            f'"${{{body}}}" is more than Compose understands; write $$ for a $ of the command'
        )
    word = rest[operator.end() :]
    value = variables.get(name.group())
    there = value is not None and (value != "" or not operator.group().startswith(":"))
    match operator.group()[-1]:
        case "-":
            return (value or "") if there else _expand(word, variables, unset, depth + 1)
        case "+":
            return _expand(word, variables, unset, depth + 1) if there else ""
        case _:
            if not there:
                said = _expand(word, variables, unset, depth + 1)
                raise InterpolationError(f"{name.group()} must be set" + (f": {said}" if said else ""))
            return value or ""


_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*[=:]\s*(.*)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


def parse_dotenv(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a ``.env`` file. Lines that are no assignment are passed over.

    Args:
        text: The file.
        environ: Wins over earlier lines where a value mentions another variable.
    """
    variables: dict[str, str] = {}
    lines = iter(text.removeprefix("\ufeff").splitlines())
    for line in lines:
        match = _ASSIGNMENT.fullmatch(line.strip())
        if match is None:
            continue
        name, raw = match.groups()
        quote = raw[:1]
        if quote in {"'", '"'}:
            while _end_of(raw, quote) < 0 and (more := next(lines, None)) is not None:
                raw += "\n" + more
            end = _end_of(raw, quote)
            raw = raw[1 : end if end > 0 else None]
            if quote == "'":
                variables[name] = raw
                continue
            raw = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), raw)
        else:
            raw = re.split(r"\s#", raw, maxsplit=1)[0].strip()
        try:
            variables[name] = interpolate(raw, {**variables, **environ}).text
        except InterpolationError:
            variables[name] = raw
    return variables


def _end_of(raw: str, quote: str) -> int:
    """Return where the quote that begins ``raw`` closes; -1 when it does not."""
    at = 1
    while at < len(raw):
        if raw[at] == "\\" and quote == '"':
            at += 1
        elif raw[at] == quote:
            return at
        at += 1
    return -1
