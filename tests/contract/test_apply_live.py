"""No night is lost by an apply through the API, on a real Backrest (BACKREST_BIN) and its double.

Run on 1.8.1, 1.10.1, 1.12.1 and 1.14.1. The long ones wait for a full minute, since schedules have no seconds.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.contract.conftest import REAL
from tests.contract.harness import Running
from tests.contract.live_rig import LiveRig, config, plan
from tests.unit.builders import container
from tests.waiting import eventually

NIGHT = ("n1", "n2", "n3", "n4", "n5")
HOOK_SECONDS = 4


def next_minute() -> dict[str, Any]:
    """Return a schedule whose first run is at the next full minute, some seconds away at least."""
    if time.localtime().tm_sec > 50:
        time.sleep(61 - time.localtime().tm_sec)
    at = time.localtime(time.time() + 60)
    return {"cron": f"{at.tm_min} {at.tm_hour} * * *", "clock": "CLOCK_LOCAL"}


def slow(plan_id: str, schedule: dict[str, Any]) -> dict[str, Any]:
    hook = {
        "conditions": ["CONDITION_SNAPSHOT_START"],
        "actionCommand": {"command": f"sleep {HOOK_SECONDS}"},
    }
    return plan(plan_id, schedule, hooks=[hook])


def backed_up(backrest: Running) -> set[str]:
    return {op.plan_id for op in backrest.api.operations() if op.kind == "backup" and op.status == "success"}


@pytest.mark.torture
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", [REAL])
@pytest.mark.parametrize("forced", [False, True], ids=["waits", "forces"])
def test_twenty_changes_while_five_plans_are_due_cost_no_night(backrest: Running, forced: bool) -> None:
    schedule = next_minute()
    backrest.start(json.dumps(config(*(slow(name, schedule) for name in NIGHT))).encode())
    flags = {"apply_force": True, "apply_max_wait": "0s"} if forced else {}
    rig = LiveRig(backrest, **flags)
    rig.run(70, until=lambda: any(op.runs for op in backrest.api.operations()))
    for number in range(20):
        rig.want(container("web", {"schedule": f"{number} 4 1 * *"}))
        rig.run(0.9)
    rig.run(120, until=lambda: backed_up(backrest) >= set(NIGHT) and rig.served == rig.number)
    assert backed_up(backrest) >= set(NIGHT)
    plans = {entry["id"]: entry for entry in backrest.api.get_config()["plans"]}
    assert plans["backrest_sidecar_web"]["schedule"]["cron"] == "19 4 1 * *"
    assert not forced or backrest.api.get_config()["modno"] > 15
    eventually(
        lambda: (
            not any(op.runs or (op.pending and op.start < time.time()) for op in backrest.api.operations())
        )
    )
