"""Would Backrest refuse to start because of this cron expression?

This is not the check for schedules that we write: ``config.cron.normalize`` is stricter, for it also refuses what
Backrest accepts but takes to mean something else. Here only the parser's own behaviour counts, so that a plan
made by hand is never called faulty while Backrest accepts it. Bit sets as in the parser; no firing is computed.

Source: gitploy-io/cronexpr v0.2.2, as called by backrest: internal/protoutil/schedule.go:115-124.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache

_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS = {name: n for n, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: n for n, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 24, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
"""Name, the range that ``*`` stands for, names. That ``*`` includes hour 24 is the parser's own slip."""

_SPACE = re.compile(r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_NUMBER = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)
_MAX_INT = (1 << 63) - 1
_MAX_TURNS = 10**10
"""Loop turns of the parser after which a start of Backrest counts as hung: some seconds."""


class _RefusedError(Exception):
    """The parser refuses, panics or hangs; the message says so."""


@lru_cache(maxsize=8192)
def cron_problem(expression: str, today: dt.date | None = None) -> str:
    """Return why Backrest would refuse (or hang on, or panic at) an expression; empty where it accepts it.

    Args:
        expression: The ``cron`` of a Backrest schedule.
        today: The day on which Backrest starts. It wants a firing until the end of the fifth year from then;
            without it any firing at all is enough.
    """
    if not expression:
        return "is empty"
    fields = [field for field in _SPACE.split(expression) if field]
    if len(fields) != 5:
        return f"has {len(fields)} field{'s' * (len(fields) != 1)} instead of five"
    try:
        minute, hour, dom, month, dow = (
            _field(text, name, low, high, names)
            for text, (name, low, high, names) in zip(fields, _FIELDS, strict=True)
        )
    except _RefusedError as error:
        return str(error)
    if not minute & (1 << 60) - 1 or not hour & (1 << 24) - 1 or not _fires(dom, month, dow, today):
        return "never fires within five years"
    return ""


def _field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    bits = 0
    for part in text.split(","):
        spec = part.replace("*", f"{low}-{high}", 1)
        ends, *step_text = spec.split("/")
        bounds = ends.split("-")
        if len(step_text) > 1 or len(bounds) > 2:
            raise _RefusedError(f"has a {name} field that cannot be read: {part!r}")
        first = _number(bounds[0], part, name, names)
        # "N/step" runs to the end of the range.
        open_end = high if step_text else first
        last = _number(bounds[1], part, name, names) if len(bounds) == 2 else open_end
        step = _number(step_text[0], part, name, {}) if step_text else 1
        bits |= _bits(first, last, step, part, name)
    return bits


def _number(text: str, part: str, name: str, names: dict[str, int]) -> int:
    if _NUMBER.match(text) and len(text) < 25 and -_MAX_INT - 1 <= int(text) <= _MAX_INT:
        return int(text)
    if text.upper() in names:
        return names[text.upper()]
    raise _RefusedError(f"has a {name} field that cannot be read: {part!r}")


def _bits(first: int, last: int, step: int, part: str, name: str) -> int:
    if first > last:
        return 0
    if step == 0:
        raise _RefusedError(f"has step 0 in its {name} field ({part!r}), on which Backrest hangs for ever")
    if step < 0 or first + ((last - first) // step + 1) * step > _MAX_INT:
        raise _RefusedError(f"has a {name} field on which Backrest crashes: {part!r}")
    if (last - first) // step > _MAX_TURNS:
        raise _RefusedError(f"has a {name} field on which Backrest hangs: {part!r}")
    bits = 0
    for value in range(first, min(last, 63) + 1, step):
        bits |= 1 << value
    return bits


def _fires(dom: int, month: int, dow: int, today: dt.date | None) -> bool:
    """Return whether a day exists that all three fields allow. Both day fields must match."""
    if today is None:
        leap = dt.date(2024, 1, 1)
        return bool(dow & 0x7F) and any(
            dom >> day.day & 1 and month >> day.month & 1
            for day in (leap + dt.timedelta(days=n) for n in range(366))
        )
    # A day more at each end: Backrest's zone may be ahead of ours or behind.
    first = today - dt.timedelta(days=1)
    end_year = (today + dt.timedelta(days=1)).year + 5
    for year in range(first.year, end_year + 1):
        for number in range(1, 13):
            if not month >> number & 1:
                continue
            day = dt.date(year, number, 1)
            while day.month == number:
                if day >= first and dom >> day.day & 1 and dow >> day.isoweekday() % 7 & 1:
                    return True
                day += dt.timedelta(days=1)
    return False
