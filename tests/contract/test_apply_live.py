"""No night is lost by an apply through the API, on a real Backrest (BACKREST_BIN) and its double.

Run on 1.8.1, 1.10.1, 1.12.1 and 1.14.1. The long ones wait for a full minute, since schedules have no seconds.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from sidecar.apply import live_apply
from sidecar.backrest.api import ids
from tests.contract.conftest import REAL
from tests.contract.harness import Running
from tests.contract.live_rig import LiveRig, config, plan
from tests.unit.builders import container
from tests.waiting import eventually

ADDED = 40

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
    flags = {"apply_force": True, "apply_max_wait": "100ms"} if forced else {}
    rig = LiveRig(backrest, **flags)
    rig.run(70, until=lambda: any(op.runs for op in backrest.api.operations()))
    for number in range(20):
        rig.want(container("web", {"schedule": f"{number} 4 1 * *"}))
        rig.run(0.9)
    rig.run(120, until=lambda: backed_up(backrest) >= set(NIGHT) and rig.served == rig.number)
    assert backed_up(backrest) >= set(NIGHT)
    plans = {entry["id"]: entry for entry in backrest.api.get_config()["plans"]}
    assert plans["backrest_sidecar_web"]["schedule"]["cron"] == "19 4 1 * *"
    assert not forced or backrest.api.get_config()["modno"] > 6
    eventually(
        lambda: (
            not any(op.runs or (op.pending and op.start < time.time()) for op in backrest.api.operations())
        )
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", [REAL])
@pytest.mark.parametrize("patience", [live_apply.TAKES_UP, 0.0], ids=["waits", "saves-again"])
def test_what_is_applied_is_scheduled(
    backrest: Running, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 400 plans Backrest takes 0.4 s to take up a save, and from 1.10 on does not hear of the next meanwhile."""
    monkeypatch.setattr(live_apply, "TAKES_UP", patience)
    backrest.start(json.dumps(config(*(plan(f"p{number}") for number in range(400)))).encode())
    eventually(lambda: len(pending(backrest)) == 400, timeout=20)
    rig = LiveRig(backrest)
    for number in range(3):
        theirs = backrest.api.get_config()
        backrest.api.set_config({**theirs, "plans": [*theirs["plans"], plan(f"theirs{number}")]})
        rig.want(*(container(f"web{n}") for n in range(number + 1)))
        rig.run(30, until=lambda: rig.served == rig.number)
        assert rig.served == rig.number
        assert {f"theirs{number}", f"backrest_sidecar_web{number}"} <= pending(backrest)


def pending(backrest: Running) -> set[str]:
    return {op.plan_id for op in backrest.api.operations() if op.pending}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", [REAL])
def test_repos_that_are_added_while_we_save_stay(backrest: Running) -> None:
    backrest.start(json.dumps(config(plan("p1"))).encode())
    added: list[str] = []
    stop = threading.Event()

    def hammer() -> None:
        for number in range(ADDED):
            repo = {"id": f"r{number + 2}", "uri": str(backrest.home / f"r{number}"), "password": "x"}
            answer = backrest.post("v1.Backrest/AddRepo", {"repo": repo, **repo})  # 1.8 and 1.10 want it bare
            if "repos" in answer:
                added.append(repo["id"])
            time.sleep(0.1)
        stop.set()

    rig = LiveRig(backrest)
    thread = threading.Thread(target=hammer)
    thread.start()
    number = 0
    while not stop.is_set():
        number += 1
        rig.want(container("web", {"schedule": f"{number % 60} 4 1 * *"}))
        rig.run(5, until=lambda: rig.served == rig.number)
    thread.join()
    rig.want(container("web"))
    rig.run(10, until=lambda: rig.served == rig.number)
    assert len(added) == ADDED
    assert number > 8
    assert ids(backrest.api.get_config(), "repos") == {"r1", *added}


@pytest.mark.timeout(60)
def test_an_interval_that_a_save_pushes_off_is_kept(backrest: Running) -> None:
    """The day comes by a state that says when it was due: nobody can wait for hours here."""
    backrest.start(
        json.dumps(config(plan("hours", {"maxFrequencyHours": 2, "clock": "CLOCK_LOCAL"}))).encode()
    )
    backrest.backups_take(0)
    eventually(lambda: pending(backrest) == {"hours"})
    rig = LiveRig(backrest)
    rig.want(container("web"))
    rig.run(10, until=lambda: rig.served == rig.number)
    (owed,) = rig.file.state().make_up
    assert owed.plan_id == "hours"
    assert owed.at == pytest.approx(time.time() + 7200, abs=30)
    rig.file.update(lambda state: replace(state, make_up=(replace(owed, at=time.time() - 10),)))
    rig.reborn()
    rig.want(container("web"))
    rig.run(10, until=lambda: backed_up(backrest) == {"hours"})
    assert backed_up(backrest) == {"hours"}
    rig.run(20, until=lambda: not rig.file.state().make_up)
    assert rig.file.state().make_up == ()
