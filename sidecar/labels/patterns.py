"""restic's exclude patterns: which are valid, what they match, and how a label's pattern is kept below a path. Pure.

restic matches a pattern without a leading slash against every part of the path on the host, and one with it from the
root; either takes whatever lies below what it matches (restic: internal/filter/filter.go:166-232). So a pattern of a
label is anchored below each of a plan's paths, and characters that come from a path are escaped.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from functools import lru_cache

from sidecar.findings import printable

_MAGIC = re.compile(r"([\\*?\[])")
_ANY = re.compile(r"\**\??\**")
"""A part that every name matches: stars, with at most one question mark among them."""


def escape(path: str) -> str:
    """Return ``path`` so that restic reads every character of it as itself."""
    return _MAGIC.sub(r"\\\1", path)


def has_wildcard(text: str) -> bool:
    """Whether restic would read anything in ``text`` as a pattern."""
    return _MAGIC.search(text) is not None


def split_negation(pattern: str) -> tuple[str, str]:
    """Return (``!`` or nothing, the rest): restic includes again what a pattern with ``!`` matches."""
    return ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)


def clean(pattern: str) -> str:
    """Return a pattern without doubled and trailing slashes and ``.`` segments, as restic reads it."""
    mark, rest = split_negation(pattern)
    plain = posixpath.normpath(rest) if rest else ""
    return mark + (plain[1:] if plain.startswith("//") else plain)


def below(path: str, pattern: str) -> str:
    """Return a cleaned pattern without a leading slash as one that matches at any depth below ``path`` only."""
    mark, rest = split_negation(pattern)
    base = escape(path).rstrip("/")
    return f"{mark}{base}/**/{rest.removeprefix('**/')}"


def takes_everything(pattern: str) -> bool:
    """Whether a cleaned pattern, kept below a path, leaves nothing of what is in it: ``*``, ``**``, ``**/*``."""
    mark, rest = split_negation(pattern)
    parts = [part for part in rest.split("/") if part]
    if mark:
        return False
    return rest in {"", "."} or (
        all(_ANY.fullmatch(part) for part in parts) and sum(part != "**" for part in parts) <= 1
    )


def why_invalid(pattern: str) -> str:
    """Return why restic would refuse the pattern, and the whole backup with it; empty when it is valid.

    The rules are those of Go's ``filepath.Match`` (restic: internal/filter/filter.go:247-268, ValidatePatterns).
    """
    _, rest = split_negation(pattern)
    if not rest:
        return "is empty"
    for part in clean(rest).split("/"):
        if _translate(part) is None:
            return f'has a part that restic cannot read as a pattern: "{printable(part)}"'
    return ""


def takes(pattern: str, path: str) -> bool:
    """Return whether restic leaves out ``path`` for this pattern: it matches it, or a directory above it.

    Args:
        pattern: Not negated, valid.
        path: Absolute, normalised.
    """
    rest = clean(pattern)
    absolute = rest.startswith("/")
    parts = tuple(part for part in rest.split("/") if part)
    names = tuple(name for name in path.split("/") if name)
    if not parts:
        return absolute
    starts = (0,) if absolute else range(len(names) + 1)
    return any(_matches(parts, names[start:]) for start in starts)


def leaves_nothing(pattern: str, path: str) -> bool:
    """Return whether a pattern takes ``path`` itself, or everything that can be in it (``<path>/*``).

    Args and rules as for :func:`takes`.
    """
    rest = clean(pattern)
    parts = tuple(part for part in rest.split("/") if part)
    names = tuple(name for name in path.split("/") if name)
    starts = (0,) if rest.startswith("/") else range(len(names) + 1)
    return takes(pattern, path) or any(
        takes_everything("/".join(parts[cut:])) and _matches(parts[:cut], names[start:], whole=True)
        for cut in range(len(parts))
        for start in starts
    )


def taken_whole(pattern: str, paths: Iterable[str]) -> list[str]:
    """Return those of several paths of which a pattern leaves nothing, see :func:`leaves_nothing`."""
    rest = clean(pattern)
    # With what stands before its first wildcard a path must begin: a plan may have thousands of patterns.
    literal = _MAGIC.split(rest, maxsplit=1)[0] if rest.startswith("/") else ""
    return [path for path in paths if f"{path}/".startswith(literal) and leaves_nothing(rest, path)]


def _matches(parts: tuple[str, ...], names: tuple[str, ...], *, whole: bool = False) -> bool:
    """Whether the parts match the beginning of the names, or all of them."""
    if not parts:
        return not (whole and names)
    if parts[0] == "**":
        return any(_matches(parts[1:], names[skip:], whole=whole) for skip in range(len(names) + 1))
    return bool(names) and name_matches(parts[0], names[0]) and _matches(parts[1:], names[1:], whole=whole)


def name_matches(part: str, name: str) -> bool:
    """Return whether one part of a pattern matches one name, as Go's ``filepath.Match``; an invalid part never."""
    translated = _translate(part)
    return translated is not None and translated.fullmatch(name) is not None


@lru_cache(maxsize=4096)
def _translate(part: str) -> re.Pattern[str] | None:
    """Return one part of a pattern as a regular expression; None for one that Go calls malformed."""
    out: list[str] = []
    at = 0
    while at < len(part):
        char = part[at]
        if char == "*":
            out.append(".*")
        elif char == "?":
            out.append(".")
        elif char == "\\":
            at += 1
            if at == len(part):
                return None
            out.append(re.escape(part[at]))
        elif char == "[":
            found = _class(part, at + 1)
            if found is None:
                return None
            text, at = found
            out.append(text)
        else:
            out.append(re.escape(char))
        at += 1
    return re.compile("".join(out), re.DOTALL)


def _class(part: str, at: int) -> tuple[str, int] | None:
    """Return the character class that begins at ``at``, and where its bracket closes; None for a malformed one."""
    negated = part[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while not (part[at : at + 1] == "]" and ranges):
        low = _member(part, at)
        if low is None:
            return None
        first, at = low
        last = first
        if part[at : at + 1] == "-":
            high = _member(part, at + 1)
            if high is None:
                return None
            last, at = high
        # A range that runs backwards is no fault in Go, and matches nothing.
        ranges.append(f"{re.escape(first)}-{re.escape(last)}" if first <= last else "")
    inside = "".join(ranges)
    if not inside:
        return (("." if negated else "(?!)"), at)
    return f"[{'^' if negated else ''}{inside}]", at


def _member(part: str, at: int) -> tuple[str, int] | None:
    """Return one member of a class and where the next begins (Go: path/filepath/match.go, getEsc)."""
    if at >= len(part) or part[at] in "-]":
        return None
    if part[at] == "\\":
        at += 1
        if at >= len(part):
            return None
    return (part[at], at + 1) if at + 1 < len(part) else None
