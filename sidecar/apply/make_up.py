"""Which backups a save of ours may cost, and when one of them has to be asked for.

A SetConfig plans everything anew from that moment (backrest: internal/orchestrator/orchestrator.go:242-294): what is
due waits for its next slot, and an interval (``maxFrequency…``) begins again. So before each save the runs that it
may cost are written down, and each stays written down until a backup of its plan has begun. Numbers of operations
tell what is later, not clocks: those of two machines may differ. One run too many is harmless, one too few is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sidecar.backrest.queue import QUIET, Operation, interval_plans
from sidecar.store.state import MakeUp

BEGINS = 5.0
"""Seconds after its time in which a backup that was not lost begins or is seen in the queue."""


def at_risk(
    known: Iterable[MakeUp], operations: Sequence[Operation], config: Mapping[str, Any], now: float
) -> tuple[MakeUp, ...]:
    """Return what is to be written down before a save.

    Args:
        known: What is written down already.
        operations: What Backrest's API lists, just now.
        config: The config that it runs with.
        now: Unix time in seconds.
    """
    intervals = frozenset(interval_plans(config))
    found: dict[str, list[MakeUp]] = {}
    for entry in known:
        if not settled(entry, operations):
            found.setdefault(entry.plan_id, []).append(entry)
    for op in operations:
        if op.kind == "backup" and op.pending and (op.start <= now + QUIET or op.plan_id in intervals):
            found.setdefault(op.plan_id, []).append(MakeUp(op.plan_id, op.start, op.id))
    return tuple(entry for plan in sorted(found) for entry in _fewest(found[plan]))


def settled(entry: MakeUp, operations: Iterable[Operation]) -> bool:
    """Return whether the backup has begun since, by itself or because somebody asked for it."""
    return any(
        op.kind == "backup" and op.plan_id == entry.plan_id and not op.pending and op.id >= entry.operation
        for op in operations
    )


def queued(entry: MakeUp, operations: Iterable[Operation], now: float) -> bool:
    """Return whether a backup of the plan stands in the queue and is due, or will be so soon that it serves."""
    return any(
        op.kind == "backup" and op.plan_id == entry.plan_id and op.pending and op.start <= now + QUIET
        for op in operations
    )


def _fewest(entries: list[MakeUp]) -> Iterable[MakeUp]:
    """Return the entry that is due first, and the newest: that one counts should the first have run unseen."""
    first = min(entries, key=lambda entry: (entry.at, -entry.calls))
    newest = max(entries, key=lambda entry: entry.operation)
    return dict.fromkeys((first, newest))
