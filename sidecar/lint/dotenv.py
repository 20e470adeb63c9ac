"""Files of ``KEY=VALUE`` as Compose reads them: ``.env``, ``env_file`` of an include, and ``label_file``. Pure.

Source of the rules: compose-go: dotenv/parser.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from sidecar.lint.interpolation import interpolate

_BETWEEN = re.compile(r"(?:\s|#[^\n]*)*")
_BLANKS = re.compile("[\t\v\f\r \x85\xa0]*")
_EXPORT = re.compile(r"export(?=\s)")
_NAME = re.compile("[\\w.\\-\\[\\]\t\v\f\r \x85\xa0]*")
_QUOTED = {sign: re.compile(rf"{sign}((?:\\.|[^\\{sign}])*){sign}", re.DOTALL) for sign in "'\""}
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_ESCAPE = re.compile(r'\\(?:[abcfnrtv$"\\]|0\d{0,3})', re.ASCII)
_ESCAPED = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "$": "$$",
}  # fmt: skip


class DotenvError(ValueError):
    """Compose would refuse the file.

    Attributes:
        line: Where, from 1.
        read: What stands before that place.
    """

    def __init__(self, message: str, line: int, read: dict[str, DotenvValue]) -> None:
        super().__init__(message)
        self.line = line
        self.read = read


class DotenvValue(NamedTuple):
    """One value, the line it stands in (from 1), and the variables in it that nothing sets."""

    text: str
    line: int
    unset: tuple[str, ...] = ()


def parse_dotenv(
    text: str, environ: Mapping[str, str], before: Mapping[str, DotenvValue] | None = None
) -> dict[str, DotenvValue]:
    """Return the variables of a file, by name, and those from before.

    Args:
        text: The file.
        environ: Wins over earlier lines where a value mentions another variable; a name without ``=`` takes its
            value from there.
        before: What files before this one gave.

    Raises:
        DotenvError: A name that is none, a quote that is not closed, a variable that Compose refuses.
    """
    reader = _Reader(text.removeprefix("\ufeff"), environ, dict(before or {}))
    while (at := reader.skip(_BETWEEN)) < len(reader.text):
        line = reader.text.count("\n", 0, at) + 1
        try:
            reader.statement(line)
        except ValueError as error:
            raise DotenvError(str(error), line, reader.found) from error
    return reader.found


class _Reader:
    """Goes through a file; ``at`` is where it is."""

    def __init__(self, text: str, environ: Mapping[str, str], found: dict[str, DotenvValue]) -> None:
        self.text = text
        self.environ = environ
        self.at = 0
        self.found = found

    def skip(self, expression: re.Pattern[str]) -> int:
        """Go over what matches here; return where that is."""
        match = expression.match(self.text, self.at)
        self.at = match.end() if match is not None else self.at
        return self.at

    def statement(self, line: int) -> None:
        """Read one name and its value."""
        self.skip(_EXPORT)
        self.skip(_BLANKS)
        name, sign = self._name()
        if " " in name:
            raise ValueError(f'the name "{name}" holds a blank')
        if sign == "\n":
            if name in self.environ:
                self.found[name] = DotenvValue(self.environ[name], line)
            return
        quote = self.text[self.at : self.at + 1]
        if quote in _QUOTED:
            match = _QUOTED[quote].match(self.text, self.at)
            if match is None:
                raise ValueError("a quote is not closed")
            self.at = match.end()
            # Of its backslashes, only one before such a quote goes.
            raw = _PAIR.sub(lambda pair: pair[1] if pair[1] == quote else pair[0], match[1])
            if quote == "'":
                self.found[name] = DotenvValue(raw, line)
                return
            raw = _ESCAPE.sub(_unescaped, raw)
        else:
            raw = self.text[self.at :].partition("\n")[0]
            self.at += len(raw)
            raw = raw.partition(" #")[0].rstrip()
        variables = {**{key: value.text for key, value in self.found.items()}, **self.environ}
        value = interpolate(raw, variables)
        self.found[name] = DotenvValue(value.text, line, value.unset)

    def _name(self) -> tuple[str, str]:
        """Return the name and what ends it; go to where the value begins."""
        start = self.at
        end = self.skip(_NAME)
        sign = self.text[end : end + 1]
        if not sign:
            # The last line, without a line break and without a value: Go's reader takes all of it for the value.
            self.at = start
            return "", sign
        if sign not in "=:\n":
            shown = self.text[start:].partition("\n")[0][:60]
            raise ValueError(f'"{sign}" cannot stand in the name of a variable: "{shown}"')
        self.at = end + 1
        self.skip(_BLANKS)
        return self.text[start:end].rstrip(), sign


def _unescaped(match: re.Match[str]) -> str:
    letter = match.group()[1]
    if letter == "0":
        digits = match.group()[2:]
        octal = len(digits) == 3 and set(digits) <= set("01234567") and int(digits, 8) < 256
        return chr(int(digits, 8)) if octal else f"\\{digits}"
    return _ESCAPED.get(letter, match.group())
