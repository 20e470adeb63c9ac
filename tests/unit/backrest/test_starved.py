"""Which backups a restart has cost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest

from sidecar.backrest.queue import Operation
from sidecar.backrest.starved import starved_plans

STOP = dt.datetime(2026, 11, 25, 2, 0, 10, tzinfo=dt.UTC).timestamp()


def plan(name: str, **schedule: Any) -> dict[str, Any]:
    return {"id": name, "schedule": schedule or {"cron": "0 2 * * *"}}


def op(status: str, name: str = "a", start: float = STOP - 10, **more: Any) -> Operation:
    return Operation(1, more.pop("kind", "backup"), status, name, start=start, **more)


def starved(
    before: Sequence[Operation] | None,
    after: Sequence[Operation] | None = (),
    *plans: dict[str, Any],
    stopped: float = STOP,
    planned: float = STOP + 10,
) -> tuple[str, ...]:
    config = {"plans": list(plans) or [plan("a"), plan("b")]}
    return starved_plans(before, after, config, [dt.UTC], stopped=stopped, planned=planned)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([op("inprogress")], ("a",)),
        ([op("pending"), op("inprogress", "b")], ("a", "b")),
        ([op("pending", start=STOP + 5)], ("a",)),
        ([op("pending", start=STOP + 60)], ()),
        ([op("success"), op("error", "b")], ()),
        ([op("inprogress", kind="prune"), op("pending", kind="runHook")], ()),
        ([op("inprogress", "gone")], ()),
        ([], ()),
        (None, ()),
    ],
)
def test_what_ran_was_due_or_became_so(before: list[Operation] | None, expected: tuple[str, ...]) -> None:
    assert starved(before) == expected


def test_a_plan_without_a_schedule_was_started_by_hand() -> None:
    assert starved([op("inprogress")], (), plan("a", disabled=True)) == ()
    assert starved([op("inprogress")], (), plan("a", maxFrequencyHours=4)) == ("a",)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([op("inprogress", start=STOP + 11)], ()),
        ([op("success", start=STOP + 11)], ()),
        ([op("pending", start=STOP + 10)], ()),
        ([op("pending", start=STOP + 86390)], ("a",)),
        ([op("error", start=STOP - 10, cut_off=True)], ("a",)),
        ([op("success", start=STOP - 86400)], ("a",)),
        (None, ("a",)),
    ],
)
def test_what_has_begun_since_is_not_starved(
    after: list[Operation] | None, expected: tuple[str, ...]
) -> None:
    assert starved([op("pending")], after) == expected


def test_a_slot_between_stop_and_start_is_lost_even_where_nobody_told() -> None:
    night = dt.datetime(2026, 11, 25, 2, 0, tzinfo=dt.UTC).timestamp()
    assert starved(
        None, None, plan("a"), plan("b", cron="0 3 * * *"), stopped=night - 5, planned=night + 5
    ) == ("a",)
    assert starved(None, None, plan("a"), stopped=night + 1, planned=night + 9) == ()
    told = [op("pending", start=night + 86400)]
    assert starved(told, (), plan("a"), stopped=night - 5, planned=night + 5) == (), "Backrest knows better"
    assert starved(None, None, plan("a", cron="*/0 * * * *"), stopped=night - 5, planned=night + 5) == ()
