"""Cron as Backrest understands it: a strict check, and the times at which an expression fires.

Backrest does not start at all on one expression that its parser refuses, and hangs on ``*/0``. What it accepts it
sometimes takes to mean something else: day of week 7 never matches, both day fields must match where other crons
want either. So :func:`normalize` lets pass only what that parser and a reader understand the same way.

Source: gitploy-io/cronexpr v0.2.2, as called by backrest: internal/protoutil/schedule.go:115-124. ``croniter`` is
imported here and nowhere else, and only for the rare expression that restricts both day fields.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from sidecar.findings import printable

MAX_LENGTH = 1000
"""Characters; every value of every field listed one by one is shorter."""
WINDOW_YEARS = 5
"""Backrest refuses an expression that does not fire until the end of the fifth year from now."""
TOKEN = "T"  # noqa: S105 - a letter in the minute field, no secret
"""First field, any case: the stable minute of the plan."""


class CronError(ValueError):
    """An expression that Backrest would refuse, hang on or misread. The message is a reason for people."""


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: dict[str, int]


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MINUTE = _Field("minute", 0, 59, {})
_HOUR = _Field("hour", 0, 23, {})
_DOM = _Field("day of month", 1, 31, {})
_MONTH = _Field("month", 1, 12, {name: n for n, name in enumerate(_MONTHS, 1)})
_DOW = _Field("day of week", 0, 6, {name: n for n, name in enumerate(_DAYS)})
_FIELDS = (_MINUTE, _HOUR, _DOM, _MONTH, _DOW)

_PART = re.compile(
    r"(?:(?P<star>\*)|(?P<first>[0-9]{1,4}|[A-Za-z]{3})(?:-(?P<last>[0-9]{1,4}|[A-Za-z]{3}))?)(?:/(?P<step>[0-9]{1,4}))?"
)
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_CYCLE_START = 2025
_CYCLE = 28
"""The calendar repeats every 28 years (until 2100), so these years prove it for all."""


class _Sets(NamedTuple):
    """The values that each field matches. Day of week: 0 is Sunday."""

    minute: frozenset[int]
    hour: frozenset[int]
    dom: frozenset[int]
    month: frozenset[int]
    dow: frozenset[int]


def normalize(expression: str, *, minute: int | None = None) -> str:
    """Return ``expression`` as it is to be written into config.json.

    Args:
        expression: Five fields: minute, hour, day of month, month, day of week. ``T`` (any case) as the first
            stands for a stable minute.
        minute: What ``T`` stands for, 0 to 59; None takes 0, for a mere check.

    Returns:
        The five fields joined by single blanks, ``T`` replaced, day of week 7 written as 0.

    Raises:
        CronError: With the reason.
    """
    return _checked(expression, minute or 0)[0]


def note(expression: str) -> str:
    """Return a warning for an expression that restricts both day fields, else an empty string.

    Raises:
        CronError: The expression is not one that :func:`normalize` accepts.
    """
    sets = _checked(expression, 0)[1]
    if len(sets.dom) == 31 or len(sets.dow) == 7:
        return ""
    return (
        f'schedule "{printable(expression)}" restricts the day of month and the day of week; Backrest runs it only '
        "on days that match both, where most crons take either"
    )


def next_runs(expression: str, after: dt.datetime, count: int) -> tuple[dt.datetime, ...]:
    """Return the next firings strictly after the minute of ``after``, as Backrest computes them.

    Both day fields must match. A wall-clock time that daylight saving skips does not fire, one that it repeats
    fires twice (cronexpr: schedule.go, Next).

    Args:
        expression: As for :func:`normalize`.
        after: In the time zone that Backrest runs in; a naive one is taken as a zone without daylight saving.
        count: How many at most; fewer come when nothing more fires within five years of the last.

    Raises:
        CronError: The expression is not one that :func:`normalize` accepts.
    """
    sets = _checked(expression, 0)[1]
    runs: list[dt.datetime] = []
    floor = after.replace(second=0, microsecond=0)
    while len(runs) < count:
        run = _next(sets, floor)
        if run is None:
            break
        runs.append(run)
        floor = run
    return tuple(runs)


def _next(sets: _Sets, floor: dt.datetime) -> dt.datetime | None:
    first = _instant(floor)
    for day in _days(sets, floor.date()):
        for run in _times(sets, day, floor):
            if _instant(run) > first:
                return run
    return None


@lru_cache(maxsize=8192)
def _checked(expression: str, minute: int) -> tuple[str, _Sets]:
    if len(expression) > MAX_LENGTH:
        raise CronError(f"it is longer than {MAX_LENGTH} characters")
    if "\n" in expression or "\r" in expression or "\0" in expression:
        raise CronError("it contains a line break or NUL")
    fields = expression.split()
    if not fields:
        raise CronError("it is empty")
    if len(fields) != 5:
        hint = "; Backrest knows no @ shorthands" if expression.lstrip().startswith("@") else ""
        raise CronError(
            f"it has {len(fields)} {'field' if len(fields) == 1 else 'fields'}, not five "
            f"(minute hour day-of-month month day-of-week){hint}"
        )
    if fields[0].upper() == TOKEN:
        fields[0] = str(minute)
    written = [_field(text, field) for text, field in zip(fields, _FIELDS, strict=True)]
    sets = _Sets(*(frozenset(values) for _, values in written))
    _prove_firing(sets)
    return " ".join(text for text, _ in written), sets


def _field(text: str, field: _Field) -> tuple[str, set[int]]:
    """Return one field as it is to be written, and the values that it matches."""
    values: set[int] = set()
    parts: list[str] = []
    for part in text.split(","):
        if not part:
            raise CronError(f'{field.name} "{printable(text)}" has an empty element')
        written, matched = _part(part, field)
        parts.append(written)
        values |= matched
    return ",".join(parts), values


def _part(part: str, field: _Field) -> tuple[str, set[int]]:
    match = _PART.fullmatch(part)
    if match is None:
        raise CronError(
            f'{field.name} "{printable(part)}" is not of the form *, N, A-B, */S, N/S or A-B/S'
            + _advice(part, field)
        )
    step = int(match["step"]) if match["step"] else 1
    if step < 1:
        raise CronError(
            f'{field.name} "{part}" has step 0, on which Backrest hangs; use a step of at least 1'
        )
    # Seven is Sunday for people; Backrest's parser takes it and never matches it.
    sunday = 7 if field is _DOW else field.high
    if match["star"]:
        return part, set(range(field.low, field.high + 1, step))
    first = _value(match["first"], part, field, sunday)
    if match["last"]:
        last = _value(match["last"], part, field, sunday)
        if last < first:
            raise CronError(
                f'{field.name} "{part}" runs backwards and would match nothing'
                + ("; write the part up to SAT and the part from SUN" if field is _DOW else "")
            )
    elif match["step"]:
        if first == 7 and field is _DOW:
            raise CronError(f'{field.name} "{part}" counts up from 7, beyond the last day, 6; write 0/{step}')
        last = field.high
    else:
        last = first
    values = set(range(first, last + 1, step))
    if field is _DOW and last == 7:
        folded = [value % 7 for value in sorted(values)]
        return ",".join(map(str, folded)), set(folded)
    return part, values


def _value(text: str, part: str, field: _Field, high: int) -> int:
    if text.isdecimal():
        value = int(text)
        if not field.low <= value <= high:
            raise CronError(f'{field.name} "{part}" is out of range {field.low}-{field.high}')
        return value
    value = field.names.get(text.upper(), -1)
    if value < 0:
        raise CronError(f'{field.name} "{part}" names no {field.name.split()[0]} that Backrest knows')
    return value


def _advice(part: str, field: _Field) -> str:
    if part.upper() == TOKEN and field is not _MINUTE:
        return "; T stands for a minute and belongs into the first field"
    if set(part) & set("?L#W@"):
        return "; Backrest knows no ?, L, W, # or @"
    return ""


def _prove_firing(sets: _Sets) -> None:
    """Raise unless the days that match leave no five whole years without one.

    Whoever asks later asks from another day, so the proof holds for any start: a plan that Backrest takes today
    and refuses at a restart in eleven years would stop every backup then.
    """
    days = [(month, dom) for month in sets.month for dom in sets.dom if dom <= _DAYS_OF_MONTH[month - 1]]
    if not days:
        raise CronError("it never fires: no month that it names has such a day")
    if len(sets.dow) == 7 or len(sets.dom) == 31:
        return
    last = _CYCLE_START - 1
    for year in range(_CYCLE_START, _CYCLE_START + _CYCLE + WINDOW_YEARS + 1):
        if any(_weekday(year, month, dom) in sets.dow for month, dom in days):
            last = year
        elif year - last >= WINDOW_YEARS:
            raise CronError(
                "it does not fire in every span of five years, and Backrest refuses to start when the next firing "
                "is that far away; both the day of month and the day of week must match"
            )
    _second_opinion(sets)


def _weekday(year: int, month: int, dom: int) -> int:
    """Return the day of week, 0 for Sunday; -1 where that year has no such day."""
    if (month, dom) == (2, 29) and year % 4:
        return -1
    return dt.date(year, month, dom).isoweekday() % 7


def _second_opinion(sets: _Sets) -> None:
    """Ask croniter whether it, too, sees a firing in the first window."""
    from croniter import CroniterError, croniter

    text = " ".join(",".join(map(str, sorted(values))) for values in sets)
    start = dt.datetime(_CYCLE_START - 1, 12, 31, 23, 59, tzinfo=dt.UTC)
    try:
        found = croniter(text, start, day_or=False, max_years_between_matches=WINDOW_YEARS + 1).get_next(
            dt.datetime
        )
    except CroniterError as error:
        raise CronError(f"it cannot be shown to fire within five years: {error}") from error
    if found.year > start.year + WINDOW_YEARS:
        raise CronError("it does not fire within five years")


def _days(sets: _Sets, start: dt.date) -> Iterator[dt.date]:
    """Yield the days from ``start`` on that match, until the end of the fifth year."""
    end_year = min(start.year + WINDOW_YEARS, dt.MAXYEAR)
    for ordinal in range(start.toordinal(), dt.date(end_year, 12, 31).toordinal() + 1):
        day = dt.date.fromordinal(ordinal)
        if day.month in sets.month and day.day in sets.dom and day.isoweekday() % 7 in sets.dow:
            yield day


def _times(sets: _Sets, day: dt.date, zoned: dt.datetime) -> Iterator[dt.datetime]:
    """Yield the firings of one day in the order in which they happen."""
    start = dt.datetime(day.year, day.month, day.day, tzinfo=zoned.tzinfo)
    walls = (
        start.replace(hour=hour, minute=minute)
        for hour in sorted(sets.hour)
        for minute in sorted(sets.minute)
    )
    if zoned.tzinfo is None or start.utcoffset() == start.replace(hour=23, minute=59, fold=1).utcoffset():
        yield from walls
        return
    found = {
        _instant(wall): wall
        for once in walls
        for wall in (once, once.replace(fold=1))
        if _instant_exists(wall)
    }
    for instant in sorted(found):
        yield found[instant]


def _instant(moment: dt.datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def _instant_exists(wall: dt.datetime) -> bool:
    back = wall.astimezone(dt.UTC).astimezone(wall.tzinfo)
    return back.replace(fold=0, tzinfo=None) == wall.replace(fold=0, tzinfo=None)
