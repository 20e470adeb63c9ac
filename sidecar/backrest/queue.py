"""What stands in Backrest's queue: what runs, what is due, what is about to fire.

Backrest has one queue and runs one task at a time. A restart and a SetConfig both throw the queue away and plan
everything anew from that moment (backrest: internal/orchestrator/orchestrator.go:242-294), so a plan that is due
and waits behind another one loses its run without a trace. Hence: neither begins while :func:`waits_for` names
something. Pure; the operations come from the API, or are None where it does not answer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.config.cron import next_runs
from sidecar.findings import printable

QUIET = 60.0
"""Seconds before something fires in which nothing begins that empties the queue. They shrink, see :func:`quiet`."""
LEAST_QUIET = 5.0
"""Seconds that stay of it, however often things fire."""
QUIET_SHARE = 4
"""Of the time between two firings, the quiet one is this part at most."""
JUST_FIRED = 5.0
"""Seconds after a schedule fired in which nothing of it may be to be seen yet, where there are no operations."""
LOOKS_APART = 2.0
"""Seconds until another look makes sense at what runs."""

LOCAL: tuple[dt.tzinfo | None, ...] = (None,)
"""The local zone, as the zone that Backrest reads its schedules in."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of Backrest's log.

    Attributes:
        id: Backrest's number for it.
        kind: ``backup``, ``runHook``, ``forget``, ``prune``, ``check``, …; empty when unknown.
        status: ``pending``, ``inprogress``, ``success``, ``warning``, ``error``, …
        plan_id: Its plan; ``_system_`` for a repo's own.
        repo_id: Its repo.
        start: Unix time in seconds when it began; for a pending one when it is to begin.
        end: Unix time in seconds of its end, 0 while it has none.
        cut_off: Backrest found it unfinished at a start.
        retrying: It has run, its hook asked for a retry, and it waits for that: its ``start`` lies in the past.
    """

    id: int
    kind: str
    status: str
    plan_id: str = ""
    repo_id: str = ""
    start: float = 0.0
    end: float = 0.0
    cut_off: bool = False
    retrying: bool = False

    @property
    def pending(self) -> bool:
        """Whether it stands in the queue."""
        return self.status == "pending"

    @property
    def runs(self) -> bool:
        """Whether it runs now."""
        return self.status == "inprogress"


@dataclass(frozen=True, slots=True)
class Wait:
    """Why the queue must not be emptied now.

    Attributes:
        reason: One clause for people. What changes from look to look stands behind the last " in ".
        again_in: Seconds after which another look makes sense.
    """

    reason: str
    again_in: float = LOOKS_APART


@dataclass(frozen=True, slots=True)
class Firing:
    """A time at which something is scheduled: Unix time in seconds, and what as people say it."""

    at: float
    what: str


def waits_for(
    operations: Sequence[Operation] | None,
    config: Mapping[str, Any],
    now: dt.datetime,
    zones: Iterable[dt.tzinfo | None] = LOCAL,
    *,
    live: bool = False,
) -> Wait | None:
    """Return why the queue must not be emptied now, or None when nothing would be lost.

    Args:
        operations: What Backrest's API lists, pending ones included; None where it does not answer.
        config: The config that Backrest runs with. Its crons count for what has no pending operation.
        now: An aware time.
        zones: The zones in which Backrest may read its crons; None is the local one.
        live: For a SetConfig, which lets what runs go on: of that, backups alone are waited for (one that ends by
            asking for a retry would lose it), and a retry that is waited for is no reason, as the caller makes it up.
    """
    known = operations or ()
    running = [op for op in known if op.runs and (op.kind == "backup" or not live)]
    if running:
        return Wait(f"Backrest runs {_a(running[0])}")
    stamp = now.timestamp()
    due = [op for op in known if op.pending and op.start <= stamp and not (live and op.retrying)]
    if due:
        first = min(due, key=lambda op: (op.kind != "backup", op.start))
        what = f"{_a(first)} waits for its retry" if first.retrying else f"{_a(first)} is due"
        more = f", {len(due) - 1} more with it" if len(due) > 1 else ""
        return Wait(f"in Backrest's queue {what}{more}")
    return _soon(operations, config, now, tuple(zones))


def quiet(before: float | None, at: float) -> float:
    """Return the seconds before a firing in which the queue is left alone.

    Whatever fires every minute, one plan or sixty of them, must not keep a change waiting for ever: a part of the
    time between two firings is always free.

    Args:
        before: Unix time of the firing before it, None when there was none of late.
        at: Unix time of the firing.
    """
    if before is None:
        return QUIET
    return min(QUIET, max(LEAST_QUIET, (at - before) / QUIET_SHARE))


def scheduled_plans(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the plans that Backrest runs by itself; each has an operation in its log that pends."""
    return tuple(
        str(plan.get("id", ""))
        for plan in entries(config, "plans")
        if isinstance(schedule := plan.get("schedule"), dict)
        and any(_of(schedule, key) for key in ("cron", *_INTERVALS))
    )


def interval_plans(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the plans whose time counts from the last SetConfig or start, so that each pushes it off.

    ``maxFrequency…`` with any clock but CLOCK_LAST_RUN_TIME (backrest: internal/protoutil/schedule.go:33-65).
    """
    return tuple(
        str(plan.get("id", ""))
        for plan in entries(config, "plans")
        if isinstance(schedule := plan.get("schedule"), dict)
        and any(_of(schedule, key) for key in _INTERVALS)
        and schedule.get("clock") != "CLOCK_LAST_RUN_TIME"
    )


def entries(config: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the ``plans`` or ``repos`` of a config that are objects."""
    found = config.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


_INTERVALS = ("maxFrequencyHours", "maxFrequencyDays")
_SNAKE = {"maxFrequencyHours": "max_frequency_hours", "maxFrequencyDays": "max_frequency_days"}
_POLICIES = (
    ("prune", "prunePolicy", "prune_policy"),
    ("check", "checkPolicy", "check_policy"),
    ("forget", "forgetPolicy", "forget_policy"),
)


def _soon(
    operations: Sequence[Operation] | None,
    config: Mapping[str, Any],
    now: dt.datetime,
    zones: tuple[dt.tzinfo | None, ...],
) -> Wait | None:
    """Return what fires so soon that it is to be waited for, or has fired a moment ago."""
    stamp = now.timestamp()
    since = stamp - QUIET * QUIET_SHARE
    earlier = [op.start for op in operations or () if op.kind == "backup" and since <= op.start <= stamp]
    coming = [
        Firing(op.start, f"the {op.kind or 'task'}{_whose(op)}")
        for op in operations or ()
        if op.pending and stamp < op.start
    ]
    for what, expression in _crons(config, _known(operations or ())):
        for at in _firings(expression, now, zones, since):
            if at > stamp - JUST_FIRED:
                coming.append(Firing(at, what))
            else:
                earlier.append(at)
    first = min(coming, key=lambda firing: firing.at, default=None)
    if first is None:
        return None
    left = first.at - stamp
    if left > quiet(max(earlier, default=None), first.at):
        return None
    said = f"{first.what} fires in {left:.0f} s" if left > 0 else f"{first.what} has just fired"
    return Wait(said, max(LOOKS_APART, left + JUST_FIRED))


def _firings(
    expression: str, now: dt.datetime, zones: tuple[dt.tzinfo | None, ...], since: float
) -> Iterator[float]:
    """Yield the times at which a cron fires from ``since`` until ``QUIET`` seconds from now, as Unix time."""
    until = now.timestamp() + QUIET
    begin = dt.datetime.fromtimestamp(since, dt.UTC)
    for zone in zones:
        try:
            runs = next_runs(expression, begin.astimezone(zone), int((until - since) // 60) + 1)
        except ValueError:  # no Backrest runs with it
            return
        yield from (at for run in runs if since <= (at := run.timestamp()) <= until)


def _known(operations: Sequence[Operation]) -> frozenset[tuple[str, str]]:
    """Return the schedules whose next run Backrest itself tells."""
    return frozenset(
        (op.kind, op.plan_id if op.kind == "backup" else op.repo_id) for op in operations if op.pending
    )


def _crons(config: Mapping[str, Any], known: frozenset[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield what is scheduled by cron and has no operation that pends, and each expression once."""
    found: dict[str, str] = {}
    for plan in entries(config, "plans"):
        name = str(plan.get("id", ""))
        if (cron := _cron(plan)) and ("backup", name) not in known:
            found.setdefault(cron, f"the backup of plan {printable(name)!r}")
    for repo in entries(config, "repos"):
        name = str(repo.get("id", ""))
        for kind, key, snake in _POLICIES:
            policy = repo.get(key) or repo.get(snake)
            if isinstance(policy, dict) and (cron := _cron(policy)) and (kind, name) not in known:
                found.setdefault(cron, f"the {kind} of repo {printable(name)!r}")
    yield from ((what, cron) for cron, what in found.items())


def _cron(owner: Mapping[str, Any]) -> str:
    schedule = owner.get("schedule")
    expression = schedule.get("cron") if isinstance(schedule, dict) else None
    return expression if isinstance(expression, str) else ""


def _of(schedule: Mapping[str, Any], key: str) -> Any:
    return schedule.get(key) or schedule.get(_SNAKE.get(key, key))


def _a(op: Operation) -> str:
    return f"a {op.kind or 'task'}{_whose(op)}"


def _whose(op: Operation) -> str:
    if op.plan_id and not op.plan_id.startswith("_"):
        return f" of plan {printable(op.plan_id)!r}"
    return f" of repo {printable(op.repo_id)!r}" if op.repo_id else ""
