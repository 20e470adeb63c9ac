"""Retention: a keep spec as Backrest's policy, as restic's flags, and in words.

Restic's keep rules are a union. So a part that Backrest cannot express is never dropped, for what remains would
delete more than was asked: the plan is then written without any retention, and Backrest forgets nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from sidecar.labels.keep import ALL, COUNTS, NONE, WITHINS, parse_keep

_RESTIC_WITHIN = {
    "within": "--keep-within",
    "within-d": "--keep-within-daily",
    "within-w": "--keep-within-weekly",
    "within-m": "--keep-within-monthly",
    "within-y": "--keep-within-yearly",
}
"""restic: cmd/restic/cmd_forget.go. The Go tool passes ``--keep-within-d``, which restic does not know."""
_UNITS = {
    "last": "the last {}",
    "hourly": "{} hourly",
    "daily": "{} daily",
    "weekly": "{} weekly",
    "monthly": "{} monthly",
    "yearly": "{} yearly",
    "within": "all within {}",
    "within-d": "daily within {}",
    "within-w": "weekly within {}",
    "within-m": "monthly within {}",
    "within-y": "yearly within {}",
}
_PART = re.compile(r"([0-9]+)([ymdh])")


class Keep(BaseModel):
    """What to keep.

    Attributes:
        word: ``all`` or ``none`` where the spec is that word alone, else empty.
        counts: (key, count), counts above zero, in restic's order.
        withins: (key, span), in restic's order.
    """

    model_config = ConfigDict(frozen=True)

    word: str = ""
    counts: tuple[tuple[str, int], ...] = ()
    withins: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def parse(spec: str) -> Keep:
        """Return what ``spec`` says.

        Raises:
            ValueError: With the reason, see :func:`sidecar.labels.keep.parse_keep`.
        """
        return _parse(spec)

    def policy(self) -> dict[str, Any] | None:
        """Return Backrest's retention policy, or None where none is to be written.

        Source: backrest: proto/v1/config.proto:151-167. None means: Backrest forgets nothing.
        """
        if self.word == ALL:
            return {"policyKeepAll": True}
        if self.word == NONE or self.withins:
            return None
        counts = dict(self.counts)
        last = counts.pop("last", 0)
        if not counts:
            return {"policyKeepLastN": last}
        return {"policyTimeBucketed": {**counts, **({"keepLastN": last} if last else {})}}

    @property
    def inexpressible(self) -> tuple[str, ...]:
        """The parts that Backrest cannot express, as written; empty when it can express all."""
        return tuple(f"{key}={span}" for key, span in self.withins)

    def forget_flags(self) -> tuple[str, ...]:
        """Return the flags of ``restic forget``; empty where nothing is to be forgotten."""
        flags: list[str] = []
        for key, count in self.counts:
            flags += [f"--keep-{key}", str(count)]
        for key, span in self.withins:
            flags += [_RESTIC_WITHIN[key], span]
        return tuple(flags)

    def words(self) -> str:
        """Return the spec in words for people."""
        if self.word == ALL:
            return "keep everything"
        if self.word == NONE:
            return "no retention: nothing is forgotten"
        parts = [_UNITS[key].format(value) for key, value in (*self.counts, *self.withins)]
        return "keep " + ", ".join(parts)


def most_generous(keeps: Iterable[Keep]) -> Keep:
    """Return a spec that keeps all that any of these keeps of one list of snapshots.

    The highest count of each kind, and a span with the most of each unit: ``1y`` and ``500d`` give ``1y500d``.
    """
    counts: dict[str, int] = {}
    withins: dict[str, str] = {}
    for keep in keeps:
        if not keep.forget_flags():
            return Keep(word=ALL)
        for key, count in keep.counts:
            counts[key] = max(count, counts.get(key, 0))
        for key, span in keep.withins:
            withins[key] = _longer(span, withins.get(key, ""))
    if not counts and not withins:
        return Keep(word=ALL)
    return Keep(
        counts=tuple((key, counts[key]) for key in COUNTS if key in counts),
        withins=tuple((key, withins[key]) for key in WITHINS if key in withins),
    )


def _longer(one: str, other: str) -> str:
    """Return a span that is as long as both; of a unit that stands twice restic takes the last."""
    first, second = ({unit: int(n) for n, unit in _PART.findall(span)} for span in (one, other))
    most = {unit: max(first.get(unit, 0), second.get(unit, 0)) for unit in "ymdh"}
    return "".join(f"{n}{unit}" for unit, n in most.items() if n)


@lru_cache(maxsize=4096)
def _parse(spec: str) -> Keep:
    parts = parse_keep(spec)
    return Keep(word=parts.word, counts=parts.counts, withins=parts.withins)


assert set(_RESTIC_WITHIN) == set(WITHINS)  # noqa: S101 - the two tables are one, split over two files
