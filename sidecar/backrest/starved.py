"""Which backups a restart of Backrest has cost, so that they can be run after it.

A start plans everything anew from that moment (backrest: internal/orchestrator/orchestrator.go:112-150, 250-294):
what ran is cut off, what was due or became so meanwhile waits for its next slot, a night or a week away.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sidecar.backrest.queue import Operation, entries, scheduled_plans
from sidecar.config.cron import next_runs

_MOMENT = 1.0
"""Seconds by which the clocks of Backrest's machine and ours may differ, and a start be rounded."""


def starved_plans(
    before: Sequence[Operation] | None,
    after: Sequence[Operation] | None,
    config: Mapping[str, Any],
    zones: Iterable[dt.tzinfo | None],
    *,
    stopped: float,
    planned: float,
) -> tuple[str, ...]:
    """Return the ids of the plans whose backup was cut off, or due between stop and start, and has not begun since.

    Args:
        before: What Backrest did and had in its queue at the stop; None when nobody told.
        after: The same some time after the start.
        config: The config that it runs with now. Only what it schedules by itself can starve.
        zones: The zones in which it may read its crons.
        stopped: Unix time of the stop.
        planned: Unix time by which the new Backrest has planned its tasks.
    """
    wanted = {
        op.plan_id
        for op in before or ()
        if op.kind == "backup" and (op.runs or (op.pending and op.start <= planned))
    }
    crons = {str(plan.get("id", "")): _cron(plan) for plan in entries(config, "plans")}
    told = {op.plan_id for op in before or () if op.kind == "backup" and op.pending}
    at = dt.datetime.fromtimestamp(stopped, dt.UTC)
    zones = tuple(zones)
    wanted.update(
        plan
        for plan, cron in crons.items()
        if cron and plan not in told and any(_fires(cron, at.astimezone(zone), planned) for zone in zones)
    )
    begun = {
        op.plan_id
        for op in after or ()
        if op.kind == "backup"
        and not op.cut_off
        and op.start >= stopped - _MOMENT
        and (not op.pending or op.start <= planned + _MOMENT)
    }
    return tuple(plan for plan in sorted(scheduled_plans(config)) if plan in wanted - begun)


def _cron(plan: Mapping[str, Any]) -> str:
    schedule = plan.get("schedule")
    cron = schedule.get("cron") if isinstance(schedule, dict) else None
    return cron if isinstance(cron, str) else ""


def _fires(cron: str, after: dt.datetime, until: float) -> bool:
    try:
        return any(run.timestamp() <= until for run in next_runs(cron, after, 1))
    except ValueError:  # no Backrest runs with it
        return False
