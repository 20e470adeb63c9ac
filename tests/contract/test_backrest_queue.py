"""Backrest's queue as the sidecar relies on it, checked alike on the double and on a real one (BACKREST_BIN).

Run on 1.8.1, 1.10.1, 1.12.1 and 1.14.1.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sidecar.backrest.api import BackrestApiError
from tests.contract.harness import Running
from tests.waiting import eventually

GUID = "0" * 64


def config(*plans: dict[str, Any]) -> bytes:
    """Return a config of a version that every Backrest from 1.8.1 on takes."""
    repo = {"id": "r1", "uri": "/nowhere", "guid": GUID, "password": "x"}
    return json.dumps({"version": 4, "instance": "i", "repos": [repo], "plans": plans}).encode()


def plan(plan_id: str, **schedule: Any) -> dict[str, Any]:
    return {"id": plan_id, "repo": "r1", "paths": ["/etc/hostname"], "schedule": schedule}


RARE = {"cron": "0 3 1 1 *", "clock": "CLOCK_LOCAL"}


def states(backrest: Running) -> list[tuple[str, str]]:
    """Return plan and status of what is due, runs or has run, in order."""
    return [
        (op.plan_id, op.status) for op in backrest.api.operations() if op.start <= time.time() and op.plan_id
    ]


def test_a_backup_nobody_waits_for_stands_in_the_queue_and_runs(backrest: Running) -> None:
    backrest.start(config(plan("a", **RARE), plan("b", **RARE)))
    backrest.backups_take(5)
    assert backrest.api.back_up("a").status == "inprogress"
    assert backrest.api.back_up("b").status == "pending"
    assert states(backrest) == [("a", "inprogress"), ("b", "pending")]
    eventually(lambda: states(backrest) == [("a", "success"), ("b", "success")], timeout=15)


def test_a_save_throws_the_queue_away_and_lets_what_runs_go_on(backrest: Running) -> None:
    backrest.start(config(plan("a", **RARE), plan("b", **RARE)))
    backrest.backups_take(5)
    backrest.api.back_up("a")
    waits = backrest.api.back_up("b")
    newest = max(op.id for op in backrest.api.operations())
    backrest.api.set_config(backrest.api.get_config())
    # Every plan is scheduled anew, under a new number; the one that waited is gone without a trace.
    eventually(
        lambda: (
            {op.plan_id for op in backrest.api.operations() if op.pending and op.id > newest} == {"a", "b"}
        )
    )
    assert waits.id not in {op.id for op in backrest.api.operations()}
    eventually(lambda: states(backrest) == [("a", "success")], timeout=15)


def test_a_save_pushes_an_interval_off_and_no_cron(backrest: Running) -> None:
    plans = plan("cron", **RARE), plan("hours", maxFrequencyHours=2, clock="CLOCK_LOCAL")
    backrest.start(config(*plans))

    def due() -> dict[str, float]:
        return {op.plan_id: op.start for op in backrest.api.operations() if op.pending}

    eventually(lambda: len(due()) == 2)
    before = due()
    assert before["hours"] == pytest.approx(time.time() + 7200, abs=10)
    time.sleep(0.2)  # more than the milliseconds that Backrest writes
    backrest.api.set_config(backrest.api.get_config())
    eventually(lambda: due().get("hours", 0) > before["hours"] and "cron" in due())
    assert due()["cron"] == before["cron"]


def test_the_operations_of_one_plan(backrest: Running) -> None:
    backrest.start(config(plan("a", **RARE), plan("b", **RARE)))
    backrest.backups_take(0)
    backrest.api.back_up("b")
    found = eventually(lambda: [op for op in backrest.api.operations(100, "b") if op.status == "success"])
    assert {op.plan_id for op in found} == {"b"}
    assert {op.plan_id for op in backrest.api.operations(100, "a")} == {"a"}


def test_a_backup_of_no_plan_is_refused(backrest: Running) -> None:
    backrest.start(config(plan("a", **RARE)))
    with pytest.raises(BackrestApiError):
        backrest.api.back_up("nope")
