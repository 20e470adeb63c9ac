"""What stands in Backrest's queue, and for how long nothing may empty it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.backrest.queue import (
    LEAST_QUIET,
    QUIET,
    Operation,
    interval_plans,
    quiet,
    scheduled_plans,
    waits_for,
)

NOW = dt.datetime(2025, 3, 10, 2, 0, 30, tzinfo=dt.UTC)
STAMP = NOW.timestamp()
EMPTY: Mapping[str, object] = {}


def backup(number: int, status: str, start: float, plan: str = "a", **more: object) -> Operation:
    return Operation(number, "backup", status, plan, "r", STAMP + start, **more)  # type: ignore[arg-type]


def cron_plan(plan_id: str, cron: str) -> dict[str, object]:
    return {"id": plan_id, "repo": "r", "schedule": {"cron": cron}}


def reason(
    operations: list[Operation] | None, config: Mapping[str, object] = EMPTY, *, live: bool = True
) -> str:
    found = waits_for(operations, config, NOW, (dt.UTC,), live=live)
    return "" if found is None else found.reason


def test_nothing_to_wait_for_is_none() -> None:
    assert waits_for([], EMPTY, NOW) is None
    assert waits_for([backup(1, "success", -30), backup(2, "pending", 3600)], EMPTY, NOW) is None


def test_a_backup_that_runs_and_one_that_waits_behind_it() -> None:
    assert reason([backup(1, "inprogress", -9), backup(2, "pending", -9, "b")]) == (
        "Backrest runs a backup of plan 'a'"
    )
    assert reason([backup(2, "pending", -9, "b"), backup(3, "pending", -9, "c")]) == (
        "in Backrest's queue a backup of plan 'b' is due, 1 more with it"
    )


def test_a_prune_that_runs_is_cut_off_by_a_restart_alone() -> None:
    prune = [Operation(1, "prune", "inprogress", "_system_", "r", STAMP - 5)]
    assert reason(prune) == ""
    assert reason(prune, live=False) == "Backrest runs a prune of repo 'r'"


def test_a_restore_that_waits_counts_too() -> None:
    assert "a restore of repo 'r' is due" in reason([Operation(1, "restore", "pending", "", "r", STAMP - 1)])


def test_a_retry_is_waited_for_by_a_restart_alone() -> None:
    waiting = [backup(1, "pending", -600, retrying=True)]
    assert reason(waiting) == ""
    assert "waits for its retry" in reason(waiting, live=False)


@pytest.mark.parametrize(("left", "waits"), [(60, True), (61, False), (1, True)])
def test_what_is_about_to_fire(left: float, waits: bool) -> None:
    found = waits_for([backup(1, "pending", left)], EMPTY, NOW)
    assert (found is not None) is waits
    if found is not None:
        assert found.reason == f"the backup of plan 'a' fires in {left:.0f} s"
        assert found.again_in == left + 5


def test_the_cron_counts_where_the_operations_are_not_known() -> None:
    config = {"plans": [cron_plan("a", "1 2 * * *")]}
    assert reason(None, config) == "the backup of plan 'a' fires in 30 s"
    zone = ZoneInfo("Asia/Tokyo")
    assert waits_for(None, config, NOW, (zone,)) is None
    assert waits_for(None, config, NOW, (zone, dt.UTC)) is not None


def test_the_pending_operation_counts_before_the_cron() -> None:
    # Backrest has not taken up the new cron, or reads it in another zone: it fires when its queue says.
    config = {"plans": [cron_plan("a", "1 2 * * *")]}
    assert reason([backup(1, "pending", 3600)], config) == ""
    assert reason([backup(1, "pending", 3600, "b")], config) == "the backup of plan 'a' fires in 30 s"


def test_a_prune_by_cron_counts_and_one_that_pends_is_known() -> None:
    config = {"repos": [{"id": "r", "prunePolicy": {"schedule": {"cron": "1 2 * * *"}}}]}
    assert reason(None, config) == "the prune of repo 'r' fires in 30 s"
    assert reason([Operation(1, "prune", "pending", "_system_", "r", STAMP + 999)], config) == ""


def test_a_schedule_that_fired_a_moment_ago_is_not_seen_yet() -> None:
    config = {"plans": [cron_plan("a", "0 2 * * *")]}
    just = NOW.replace(second=4)
    found = waits_for(None, config, just, (dt.UTC,))
    assert found is not None
    assert found.reason == "the backup of plan 'a' has just fired"
    assert waits_for(None, config, NOW, (dt.UTC,)) is None


@pytest.mark.parametrize("operations", [True, False])
def test_a_plan_that_fires_every_minute_leaves_a_window(operations: bool) -> None:
    config = {"plans": [cron_plan("a", "* * * * *")]}
    free = 0
    for second in range(60):
        now = NOW.replace(second=second)
        known = None
        if operations:
            at = NOW.timestamp() - 30
            known = [backup(1, "success", -30), Operation(2, "backup", "pending", "a", "r", at + 60)]
        free += waits_for(known, config, now, (dt.UTC,)) is None
    assert 35 <= free <= 45


def test_sixty_hourly_plans_at_different_minutes_leave_a_window_too() -> None:
    config = {"plans": [cron_plan(f"p{minute}", f"{minute} * * * *") for minute in range(60)]}
    assert waits_for(None, config, NOW.replace(second=20), (dt.UTC,)) is None
    assert waits_for(None, config, NOW.replace(second=50), (dt.UTC,)) is not None


@given(st.floats(1, 1e6))
def test_the_quiet_time_leaves_the_larger_part_of_any_gap_from_seven_seconds_on(gap: float) -> None:
    length = quiet(STAMP, STAMP + gap)
    assert LEAST_QUIET <= length <= QUIET
    assert gap < 7 or length < gap * 0.75


def test_scheduled_and_interval_plans() -> None:
    config = {
        "plans": [
            cron_plan("cron", "0 2 * * *"),
            {"id": "off", "schedule": {"disabled": True}},
            {"id": "none"},
            {"id": "hours", "schedule": {"maxFrequencyHours": 24, "clock": "CLOCK_LOCAL"}},
            {"id": "days", "schedule": {"maxFrequencyDays": 1}},
            {"id": "last", "schedule": {"maxFrequencyHours": 1, "clock": "CLOCK_LAST_RUN_TIME"}},
        ]
    }
    assert scheduled_plans(config) == ("cron", "hours", "days", "last")
    assert interval_plans(config) == ("hours", "days")
