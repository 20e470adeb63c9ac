"""Durations: as people write them (Go's ``1m30s``, ``500ms``, ``1.5h``, and plain seconds), and as retries wait."""

from __future__ import annotations

import re

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,  # U+00B5, micro sign
    "\u03bcs": 1e-6,  # U+03BC, Greek mu, which Go takes as well
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_PART = re.compile(rf"({_NUMBER})(ns|us|µs|\u03bcs|ms|s|m|h)")
_PLAIN = re.compile(_NUMBER)
_LONGEST = float(2**63 - 1) / 1e9


def parse_duration(text: str, *, minimum: float = 0.0) -> float:
    """Return the seconds that ``text`` stands for.

    Args:
        text: Go's spelling or plain seconds, blanks around it allowed; a leading ``+`` or ``-`` as in Go.
        minimum: The least value that makes sense, in seconds. The default refuses anything below zero.

    Raises:
        ValueError: With one sentence for people: what is wrong and what would be right.
    """
    word = text.strip()
    sign = -1.0 if word.startswith("-") else 1.0
    body = word[1:] if word[:1] in {"+", "-"} else word
    if not body:
        raise ValueError("a duration is needed, such as 60s, 1m30s, 500ms or plain seconds")
    if _PLAIN.fullmatch(body):
        seconds = float(body)
    else:
        seconds, at = 0.0, 0
        while at < len(body):
            part = _PART.match(body, at)
            if part is None:
                raise ValueError(f"{word[:40]!r} is no duration; write 60s, 1m30s, 500ms or plain seconds")
            seconds += float(part[1]) * _UNITS[part[2]]
            at = part.end()
    if seconds > _LONGEST:
        raise ValueError(f"{word[:40]!r} is too long; the longest duration is about 292 years")
    seconds = sign * seconds if seconds else 0.0
    if seconds < minimum:
        raise ValueError(f"{word[:40]!r} is too short; it must be at least {format_duration(minimum)}")
    return seconds


def format_duration(seconds: float) -> str:
    """Return ``seconds`` as Go spells it, to the millisecond: ``1h5m``, ``1m30s``, ``2.5s``, ``300ms``.

    Zero parts are left out (Go would write ``1h5m0s``). Below a millisecond microseconds are used.
    """
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds < 0.0000005:
        return "0s"
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f}us"
    millis = round(seconds * 1000)
    if millis < 1000:
        return f"{millis}ms"
    minutes, millis = divmod(millis, 60_000)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else ""]
    if millis:
        parts.append(f"{millis / 1000:.3f}".rstrip("0").rstrip(".") + "s")
    return "".join(parts)


def doubling(failures: int, first: float, longest: float) -> float:
    """Return how long to wait after so many failures in a row: ``first``, twice that, and so on to ``longest``.

    Args:
        failures: At least 1. May be any number: a failure can last for months, and a float ends at 2.0 ** 1024.
        first: Seconds after the first failure.
        longest: Seconds at most.
    """
    return min(longest, first * 2.0 ** min(failures - 1, 64))
