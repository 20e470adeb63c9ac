"""What Backrest's cron parser does, ported rule by rule: the oracle of ``test_cron.py``.

Rules of gitploy-io/cronexpr v0.2.2, not its code: fields become sets of whole numbers (bits 0 to 63), and the next
firing is searched day by day. Shares nothing with ``cron.py``. A search that Backrest would never end, and
a crash, are errors here.
"""

from __future__ import annotations

import datetime as dt

Fields = tuple[frozenset[int], frozenset[int], frozenset[int], frozenset[int], frozenset[int]]

MONTHS = {
    "JAN": 1,
    "FEB": 2,
    "MAR": 3,
    "APR": 4,
    "MAY": 5,
    "JUN": 6,
    "JUL": 7,
    "AUG": 8,
    "SEP": 9,
    "OCT": 10,
    "NOV": 11,
    "DEC": 12,
}
WEEKDAYS = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}
BOUNDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 24, {}),
    (1, 31, {}),
    (1, 12, MONTHS),
    (0, 6, WEEKDAYS),
)
GO_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
INT64 = 1 << 63


class Refused(Exception):
    """The parser returns an error."""


class Hangs(Exception):
    """The parser does not return, or takes very long."""


class Panics(Exception):
    """The parser crashes the process."""


def go_fields(text: str) -> list[str]:
    """Split as ``strings.Fields`` does."""
    for space in GO_SPACE:
        text = text.replace(space, " ")
    return [field for field in text.split(" ") if field]


def atoi(text: str) -> int | None:
    """Return what ``strconv.Atoi`` returns, None for its error."""
    body = text[1:] if text[:1] in ("+", "-") else text
    if not body or any(digit not in "0123456789" for digit in body):
        return None
    value = -int(body) if text[0] == "-" else int(body)
    return value if -INT64 <= value < INT64 else None


def number(text: str, names: dict[str, int]) -> int:
    value = atoi(text)
    if value is None:
        value = names.get(text.upper())
    if value is None:
        raise Refused(text)
    return value


def element(text: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    text = text.replace("*", f"{low}-{high}", 1)
    slashed = text.split("/")
    if len(slashed) > 2:
        raise Refused("too many /")
    dashed = slashed[0].split("-")
    if len(dashed) > 2:
        raise Refused("too many -")
    begin = number(dashed[0], names)
    alone = high if len(slashed) == 2 else begin
    end = number(dashed[1], names) if len(dashed) == 2 else alone
    step = 1
    if len(slashed) == 2:
        parsed = atoi(slashed[1])
        if parsed is None:
            raise Refused("step")
        step = parsed
    values: set[int] = set()
    at = begin
    turns = 0
    while at <= end:
        turns += 1
        if step == 0 or turns > 100_000:
            raise Hangs(text)
        if at < 0:
            raise Panics(text)
        if at < 64:
            values.add(at)
        at += step
        if at >= INT64:
            at -= 2 * INT64
    return values


def parse(expression: str) -> Fields:
    """Return the five sets.

    Raises:
        Refused, Hangs, Panics: What Backrest would do.
    """
    fields = go_fields(expression)
    if len(fields) != 5:
        raise Refused("five fields")
    sets = []
    for field, (low, high, names) in zip(fields, BOUNDS, strict=True):
        values: set[int] = set()
        for part in field.split(","):
            values |= element(part, low, high, names)
        sets.append(frozenset(values))
    return (sets[0], sets[1], sets[2], sets[3], sets[4])


def day_matches(fields: Fields, day: dt.date) -> bool:
    _, _, dom, _, dow = fields
    in_dom = day.day in dom
    in_dow = day.isoweekday() % 7 in dow
    # "Either" only when neither field matches anything at all, which then is never.
    return in_dom and in_dow


def next_run(fields: Fields, after: dt.datetime) -> dt.datetime | None:
    """Return the next firing in a zone without daylight saving; None for the zero time."""
    minute, hour, _, month, _ = fields
    start = after.replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
    last_year = start.year + 5
    hours = sorted(h for h in hour if h < 24)
    minutes = sorted(m for m in minute if m < 60)
    day = start.date()
    while day.year <= last_year:
        if day.month in month and day_matches(fields, day):
            for at_hour in hours:
                for at_minute in minutes:
                    found = dt.datetime.combine(day, dt.time(at_hour, at_minute), start.tzinfo)
                    if found >= start:
                        return found
        day += dt.timedelta(days=1)
    return None
