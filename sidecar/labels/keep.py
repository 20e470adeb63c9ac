"""The text of ``backrest.keep`` into numbers: what is allowed, and why not. No model, so that it loads fast."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from sidecar.findings import printable

COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
"""Keys that take a count, in the order in which restic's manual names them."""
WITHINS = ("within", "within-d", "within-w", "within-m", "within-y")
"""Keys that take a span of time; Backrest has no counterpart."""
ALL = "all"
NONE = "none"
MAX_COUNT = (1 << 31) - 1
"""Backrest's counts are int32 (backrest: proto/v1/config.proto:151-167)."""

MAX_LENGTH = 1000
"""Characters; every key once with the largest value is shorter."""

_SPAN = re.compile(r"(?:[0-9]{1,6}[ymdh])+")


class KeepParts(NamedTuple):
    """A checked keep spec.

    Attributes:
        word: ``all`` or ``none`` where the spec is that one word, else empty.
        counts: (key, count) in the order of :data:`COUNTS`; zeros left out.
        withins: (key, span) in the order of :data:`WITHINS`.
    """

    word: str = ""
    counts: tuple[tuple[str, int], ...] = ()
    withins: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=4096)
def parse_keep(spec: str) -> KeepParts:
    """Return the parts of a keep spec.

    Args:
        spec: ``key=value`` parts joined by commas, or the one word ``all`` or ``none``.

    Raises:
        ValueError: An unknown key, a count that is no number from 0 up, a span that restic would not take,
            a key given twice, or nothing left to keep.
    """
    if len(spec) > MAX_LENGTH:
        raise ValueError(f"it is longer than {MAX_LENGTH} characters")
    items = [item.strip() for item in spec.split(",") if item.strip()]
    if not items:
        raise ValueError("it is empty")
    if len(items) == 1 and items[0].lower() in {ALL, NONE}:
        return KeepParts(word=items[0].lower())
    values: dict[str, str] = {}
    for item in items:
        key, value = _pair(item)
        if key in values:
            raise ValueError(f'"{key}" is given twice')
        values[key] = value
    counts = tuple((key, n) for key in COUNTS if key in values and (n := _count(key, values[key])))
    withins = tuple((key, s) for key in WITHINS if key in values and (s := _span(key, values[key])))
    if not counts and not withins:
        raise ValueError('it would keep nothing; write "none" for no retention at all')
    return KeepParts(counts=counts, withins=withins)


def _pair(item: str) -> tuple[str, str]:
    shown = printable(item, 60)
    key, equals, value = (part.strip() for part in item.partition("="))
    key = key.lower()
    if key in {ALL, NONE}:
        raise ValueError(f'"{key}" stands alone, with no value and beside nothing else')
    if not equals:
        raise ValueError(f'"{shown}" is not of the form key=value, such as weekly=4')
    if key not in COUNTS and key not in WITHINS:
        raise ValueError(f'"{printable(key, 60)}" is none of {", ".join((*COUNTS, *WITHINS))}, all, none')
    if not value:
        raise ValueError(f'"{shown}" has no value')
    return key, value


def _count(key: str, text: str) -> int:
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f'"{key}={printable(text, 60)}" is not a whole number from 0 up')
    if len(digits) > 10 or int(digits) > MAX_COUNT:
        raise ValueError(f'"{key}={printable(text, 60)}" is larger than {MAX_COUNT}')
    return int(digits)


def _span(key: str, text: str) -> str:
    """Return a span that keeps something; empty for one of no length."""
    if not _SPAN.fullmatch(text):
        raise ValueError(f'"{key}={printable(text, 60)}" is not a span such as 90d, 1y6m or 2d12h')
    return text if re.search(r"[1-9]", text) else ""
