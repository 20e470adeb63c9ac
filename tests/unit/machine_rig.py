"""What the stateful machine is made of: a Backrest whose calls take time and may lose their answer, and how to look
at a document from both owners' sides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from sidecar.config.plan import Plan
from sidecar.engine.errors import EngineError
from sidecar.engine.model import Container, EngineSnapshot
from sidecar.merge.hooks import in_order
from sidecar.plans.render import render
from sidecar.plans.rendering import ConfigView
from tests.unit.builders import container
from tests.unit.stage import Clock, FakeBackrest, Stage

GRACE = 3600.0
PREFIX = "backrest_sidecar_"
OURS = frozenset({"id", "repo", "paths", "excludes", "schedule", "retention", "hooks"})


class SlowBackrest(FakeBackrest):
    """The double, whose start takes time; a call may also fail after it has had its effect."""

    def __init__(self, config: Path, clock: Clock) -> None:
        super().__init__(config, clock)
        self.late = ""
        self.stops = 0

    def stop(self, container_id: str, /, timeout: int | None = None) -> None:
        assert not self.busy, "stopped in the middle of a backup"
        super().stop(container_id, timeout)
        self.stops += 1
        self._fail_late("stop")

    def start(self, container_id: str, /) -> None:
        self.clock.now += 0.3
        super().start(container_id)
        self._fail_late("start")

    def _fail_late(self, call: str) -> None:
        if self.late == call:
            self.late = ""
            raise EngineError("timeout", f"no answer to {call}", "")


def others(data: dict[str, Any]) -> dict[str, Any]:
    """Everything in a document that is not ours, in its order."""
    plans = [plan for plan in data["plans"] if not plan["id"].startswith(PREFIX)]
    return {**data, "plans": plans, "modno": 0}


def extras(plan: dict[str, Any]) -> dict[str, Any]:
    """What a user has added to a plan of ours."""
    slack = [hook for hook in plan.get("hooks", []) if "actionSlack" in hook]
    return {"slack": slack} | {key: value for key, value in plan.items() if key not in OURS}


def owned(plan: dict[str, Any]) -> dict[str, Any]:
    """The part of a plan that is ours."""
    hooks = [hook for hook in plan.get("hooks", []) if "actionSlack" not in hook]
    return {key: value for key, value in plan.items() if key in OURS - {"hooks"}} | {"hooks": hooks}


def by_id(raw: bytes) -> dict[str, dict[str, Any]]:
    return {plan["id"]: plan for plan in orjson.loads(raw)["plans"]}


def is_off(plan: dict[str, Any]) -> bool:
    return bool(plan.get("schedule", {}).get("disabled"))


def as_written(plan: Plan) -> dict[str, Any]:
    """A plan of ours as it stands in the file when no user has touched it."""
    return {**plan.owned_json(), "hooks": [hook.to_json() for hook in in_order(plan.hooks)]}


def plan_of(name: str) -> str:
    """The id of a container's plan."""
    return f"{PREFIX}{name}"


class Checks:
    """What must hold at a write, and once it is quiet.

    Attributes:
        root: The directory.
        stage: The sidecar's side.
        backrest: Backrest's side.
        there: Container → whether its labels are ``good``, ``wrong`` or ``withdrawn``, and which they are.
        foreign: Everything that is not ours, as the last writer but us left it.
        standing: Plans as they were at the last quiet moment, which no label has changed since.
        touched: Plans without good labels that a person changed: hers to keep.
        should_run: Whether somebody wants Backrest to run.
        allowed: How many restarts the changes so far explain.
    """

    root: Path
    stage: Stage
    backrest: SlowBackrest
    there: dict[str, tuple[str, dict[str, str]]]
    foreign: dict[str, Any]
    standing: dict[str, dict[str, Any]]
    touched: set[str]
    should_run: bool
    allowed: int

    def containers(self) -> tuple[Container, ...]:
        return tuple(container(name, labels) for name, (_, labels) in sorted(self.there.items()))

    def check_write(self, new: bytes) -> None:
        apply, backrest = self.stage.settings.apply, self.backrest
        assert not (apply and backrest.exists and backrest.running), "written under a running Backrest"
        before, after = self.stage.document(), orjson.loads(new)
        assert after["modno"] == before["modno"] + apply
        assert list(after) == list(before)
        assert others(after) == others(before)
        new_plans = {plan["id"]: plan for plan in after["plans"]}
        for plan in before["plans"]:
            if plan["id"] in new_plans:
                assert extras(plan) == extras(new_plans[plan["id"]])

    def rest(self) -> None:
        for _ in range(4):
            wish = self.stage.want(*self.containers())
            self.stage.run(longest=7200)
            if self.stage.applied.number == wish.number and not self.stage.applied.owed:
                return
        raise AssertionError(f"no rest: {self.stage.reports[-3:]}")

    def check(self) -> None:
        stage, backrest = self.stage, self.backrest
        found, running_with = by_id(stage.path.read_bytes()), by_id(backrest.cache)
        snapshot = EngineSnapshot(self.containers())
        fresh = render(snapshot, ConfigView(("main",)), {}, stage.settings).plans
        assert {plan.plan.id for plan in fresh} == {
            plan_of(name) for name, (kind, _) in self.there.items() if kind == "good"
        }
        for rendered in fresh:
            wanted = as_written(rendered.plan)
            assert owned(found[wanted["id"]]) == wanted
            if stage.settings.apply and backrest.running:
                assert owned(running_with[wanted["id"]]) == wanted
        self.check_unrendered(found)
        state = stage.file.state()
        assert backrest.running == self.should_run
        assert state.stopped is None
        assert state.owed is None or not stage.settings.apply
        assert backrest.stops <= self.allowed, "more restarts than changes"
        assert not [p.name for p in self.root.iterdir() if p.name.startswith(".config.json")]
        assert len(list(self.root.glob("config.json.sidecar.*"))) <= 10
        before = (stage.path.stat().st_mtime_ns, stage.path.stat().st_ino, backrest.stops)
        stage.want(*self.containers())
        stage.run()
        assert (stage.path.stat().st_mtime_ns, stage.path.stat().st_ino, backrest.stops) == before

    def check_unrendered(self, found: dict[str, dict[str, Any]]) -> None:
        orphans = self.stage.settings.orphans
        good = {plan_of(name) for name, (kind, _) in self.there.items() if kind == "good"}
        for plan_id in {*self.standing, *found}:
            if plan_id in good or not plan_id.startswith(PREFIX) or plan_id in self.touched:
                continue
            kind = self.there.get(plan_id.removeprefix(PREFIX), ("gone", {}))[0]
            if kind == "gone" and orphans == "remove":
                assert plan_id not in found
            elif kind in {"withdrawn", "gone"} and orphans != "keep":
                assert is_off(found[plan_id])
            elif plan_id in self.standing:
                assert owned(found[plan_id]) == self.standing[plan_id], f"{kind} changed {plan_id}"
