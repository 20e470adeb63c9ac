"""Plans by the API: one that Backrest refuses, and a kill between its save and ours."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from sidecar.backrest.api import BackrestApi, Rejected
from sidecar.backrest.queue import Operation
from sidecar.backrest.start_log import ConfigFault
from tests.unit.builders import container
from tests.unit.stage import CONFIG, Stage

WEB = "backrest_sidecar_web"


class Died(BaseException):
    """The process is killed."""


class FakeApi:
    """Keeps the config as Backrest does, and writes the file at each save."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config: dict[str, Any] = copy.deepcopy(CONFIG)
        self.where = "http://backrest:9898"
        self.after_save: Callable[[], None] = lambda: None

    def answers(self) -> bool:
        return True

    def get_config(self) -> dict[str, Any]:
        return copy.deepcopy(self.config)

    def set_config(self, config: dict[str, Any]) -> dict[str, Any]:
        bad = [plan["id"] for plan in config["plans"] if "bad" in plan["id"]]
        if bad:
            raise Rejected(self.where, (ConfigFault("plan", f"plan {bad[0]!r}: refused", plan_id=bad[0]),))
        self.config = {**copy.deepcopy(config), "modno": config["modno"] + 1}
        self.path.write_bytes(orjson.dumps(self.config))
        self.after_save()
        return self.config

    def operations(self, last: int = 0, plan: str = "") -> tuple[Operation, ...]:
        """Every plan is scheduled anew at each save."""
        base = 100 * self.config["modno"]
        return tuple(
            Operation(base + n, "backup", "pending", entry["id"], start=4e9)
            for n, entry in enumerate(self.config["plans"])
            if plan in ("", entry["id"])
        )

    def plan(self, plan_id: str) -> dict[str, Any]:
        return cast("dict[str, Any]", next(plan for plan in self.config["plans"] if plan["id"] == plan_id))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, backrest_url="http://backrest:9898")


@pytest.fixture
def api(stage: Stage) -> FakeApi:
    fake = FakeApi(stage.path)
    stage.api = lambda: cast("BackrestApi", fake)
    stage.reborn()
    return fake


def test_a_plan_that_backrest_refuses_does_not_keep_the_others_out(stage: Stage, api: FakeApi) -> None:
    stage.want(container("web"), container("bad"))
    stage.run(longest=120)
    assert [plan["id"] for plan in api.config["plans"]] == ["hand-made", WEB]
    assert stage.failed is not None
    assert stage.failed.blocked == ("backrest_sidecar_bad",)
    assert stage.backrest.calls == []


def test_a_kill_between_backrests_save_and_ours_leaves_no_hook_behind(stage: Stage, api: FakeApi) -> None:
    stage.want(container("web", {"snapshot-start": "one"}))
    stage.run()

    def die() -> None:
        raise Died

    api.after_save = die
    stage.want(container("web", {"snapshot-start": "two"}))
    with pytest.raises(Died):
        stage.run()
    api.after_save = lambda: None
    stage.reborn()
    stage.want(container("web", {"snapshot-start": "three"}))
    stage.run()
    assert [hook["actionCommand"]["command"] for hook in api.plan(WEB)["hooks"]] == ["three"]
