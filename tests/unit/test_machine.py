"""Everything that may happen, in any order: once it is quiet, the file is what the labels say, and nothing is lost.

Labels change, Backrest's web page and an editor save the file, looks are missed, engine calls fail, and the process
dies at any step of stop, write, start. The disk is real; the engine's side of Backrest and the clock are the stage's.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sidecar.engine.errors import EngineError
from sidecar.plans.desired import Desired
from tests.faults.scripted_fs import ScriptedFs, SimulatedCrash
from tests.faults.test_apply_crashes import instrument
from tests.unit.machine_rig import GRACE, PREFIX, Checks, SlowBackrest, by_id, others, owned, plan_of
from tests.unit.stage import CONFIG, Stage

ID = "b" * 64

names = st.sampled_from(["c0", "c1", "c2", "c3"])
good_labels = st.fixed_dictionaries(
    {"schedule": st.sampled_from(["T 1 * * *", "5 1 * * *", "10,20 1 * * 1-5"])},
    optional={
        "keep": st.sampled_from(["daily=3", "last=5", "all", "none", "within=3d"]),
        "hooks.template": st.just("stop-start"),
        "paths.exclude": st.just("*.tmp,/data/cache"),
    },
)
wrong_labels = st.sampled_from(
    [
        {"enable": "ture"},
        {"schedule": "0 0 * * 9"},
        {"keep": "daily=-1"},
        {"paths.include": "/data/../../etc"},
    ]
)


class World(Checks, RuleBasedStateMachine):
    """One engine, one Backrest, one sidecar."""

    @initialize(apply=st.booleans(), orphans=st.sampled_from(["keep", "disable", "remove"]))
    def begin(self, apply: bool, orphans: str) -> None:
        memory = Path("/dev/shm")
        self.root = Path(tempfile.mkdtemp(prefix="sidecar-test-", dir=memory if memory.is_dir() else None))
        flags: dict[str, Any] = {"apply": apply, "orphans": orphans, "orphan_grace": f"{GRACE:.0f}s"}
        self.stage = Stage(self.root, **flags)
        self.backrest = self.stage.backrest = SlowBackrest(self.stage.path, self.stage.clock)
        self.there = {}
        self.foreign = others(CONFIG)
        self.standing, self.touched = {}, set()
        self.should_run = True
        self.allowed = 0
        self.edits = 0
        self.born()

    def born(self) -> None:
        stage = self.stage
        stage.desired = Desired(stage.settings)
        stage.reborn()
        store = stage.file.store
        replace = store.replace

        def checked(new: bytes, *args: Any) -> Any:
            self.check_write(new)
            return replace(new, *args)

        store.replace = checked  # type: ignore[method-assign,assignment]  # watched
        stage.file.recover()
        with suppress(EngineError):
            stage.restarter.must_start()

    # --- the engine ---------------------------------------------------------------------------------------------

    def change(self, name: str, kind: str, labels: dict[str, str]) -> None:
        self.there[name] = (kind, labels)
        self.allowed += 1
        if kind == "good" or (kind == "withdrawn" and self.stage.settings.orphans != "keep"):
            self.standing.pop(plan_of(name), None)  # it may be another by the next quiet moment
        if kind == "good":
            self.touched.discard(plan_of(name))

    @rule(name=names, labels=good_labels)
    def container_appears_or_changes(self, name: str, labels: dict[str, str]) -> None:
        self.change(name, "good", labels)

    @precondition(lambda self: self.there)
    @rule(data=st.data(), labels=wrong_labels)
    def label_goes_wrong(self, data: st.DataObject, labels: dict[str, str]) -> None:
        self.change(data.draw(st.sampled_from(sorted(self.there))), "wrong", labels)

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def label_is_withdrawn(self, data: st.DataObject) -> None:
        self.change(data.draw(st.sampled_from(sorted(self.there))), "withdrawn", {"enable": "false"})

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def container_vanishes(self, data: st.DataObject) -> None:
        del self.there[data.draw(st.sampled_from(sorted(self.there)))]
        self.allowed += 2  # the orphan may be acted upon later

    @rule(call=st.sampled_from(["find", "top", "stop", "start"]), seconds=st.sampled_from([10.0, 90.0]))
    def engine_fails_for_a_while(self, call: str, seconds: float) -> None:
        self.backrest.fail[call] = EngineError("unreachable", "the engine is away", "start it")
        self.look(seconds)
        self.backrest.fail.clear()

    @rule(call=st.sampled_from(["stop", "start"]))
    def an_answer_is_lost(self, call: str) -> None:
        self.backrest.late = call
        self.allowed += 1

    # --- Backrest -----------------------------------------------------------------------------------------------

    @rule(busy=st.booleans(), name=names, labels=good_labels)
    def a_backup_begins_or_ends(self, busy: bool, name: str, labels: dict[str, str]) -> None:
        self.backrest.busy = ["restic"] if busy and self.backrest.running else []
        self.change(name, "good", labels)
        self.look(30.0)

    @precondition(lambda self: self.backrest.running)
    @rule()
    def backrest_ends(self) -> None:
        self.backrest.running, self.backrest.busy = False, []
        # Ours to bring back when a dead process of ours had been about to stop it.
        self.should_run = self.stage.file.state().stopped is not None

    @precondition(lambda self: self.backrest.late != "start")
    @rule()
    def somebody_restarts_backrest(self) -> None:
        self.backrest.busy = []
        self.backrest.start(ID)
        self.should_run = True

    @rule(exists=st.booleans())
    def backrest_is_called_otherwise(self, exists: bool) -> None:
        self.backrest.exists = exists

    @precondition(lambda self: self.backrest.running)
    @rule(data=st.data(), kind=st.sampled_from(["add", "edit", "drop", "ours", "extra", "delete ours"]))
    def ui_saves(self, data: st.DataObject, kind: str) -> None:
        before = self.stage.plans()
        self.backrest.ui_save(lambda document: self.edit(document, kind, data))
        self.saved_by_hand(before)

    @rule(data=st.data(), kind=st.sampled_from(["add", "edit", "top", "ours", "extra", "delete ours"]))
    def editor_saves(self, data: st.DataObject, kind: str) -> None:
        before = self.stage.plans()
        self.stage.edit(lambda document: self.edit(document, kind, data))
        self.saved_by_hand(before)

    def edit(self, document: dict[str, Any], kind: str, data: st.DataObject) -> None:
        self.edits += 1
        hand = [plan for plan in document["plans"] if not plan["id"].startswith(PREFIX)]
        ours = [plan for plan in document["plans"] if plan["id"].startswith(PREFIX)]
        if kind == "add":
            new = {"id": f"hand-{self.edits}", "repo": "main", "paths": ["/b", "/a"], "later": {"n": None}}
            document["plans"].insert(0, new)
        elif kind == "top":
            document[f"x-{self.edits}"] = {"deep": [1.5, "ü", None]}
        elif kind in {"edit", "drop"} and hand:
            plan = hand[data.draw(st.integers(0, len(hand) - 1))]
            plan["tags"] = [self.edits]
            if kind == "drop":
                document["plans"].remove(plan)
        elif ours:
            plan = ours[data.draw(st.integers(0, len(ours) - 1))]
            self.touched.add(plan["id"])
            if kind == "ours":
                plan["schedule"] = {"maxFrequencyHours": 7}
                plan["excludes"] = ["by-hand"]
            elif kind == "extra":
                plan["backup_flags"] = [f"--tag={self.edits}"]
                plan["hooks"] = [
                    *plan.get("hooks", []),
                    {"conditions": [1], "actionSlack": {"n": self.edits}},
                ]
            else:
                document["plans"].remove(plan)

    def saved_by_hand(self, before: set[str]) -> None:
        after = self.stage.document()
        self.foreign = others(after)
        # From its cache, Backrest may bring back older plans of ours than the file had, or fewer.
        self.touched |= before ^ self.stage.plans()
        self.touched |= {
            plan["id"]
            for plan in after["plans"]
            if plan["id"] in self.standing and owned(plan) != self.standing[plan["id"]]
        }
        self.allowed += 1

    # --- the sidecar --------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 5.0, 30.0, 400.0]))
    def look(self, seconds: float) -> None:
        self.stage.want(*self.containers())
        self.stage.run(longest=seconds)

    @rule(seconds=st.sampled_from([1.0, 90.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.stage.run(longest=seconds)

    @rule()
    def file_is_broken_for_a_while(self) -> None:
        raw, stops = self.stage.path.read_bytes(), self.backrest.stops
        running = self.backrest.running
        self.stage.path.write_bytes(raw[: len(raw) // 2])
        with suppress(*self.stage.file.Unusable):
            self.look(30.0)
        assert self.stage.path.read_bytes() == raw[: len(raw) // 2]
        assert (self.backrest.stops, self.backrest.running or not running) == (stops, True)
        self.stage.path.write_bytes(raw)

    @rule(step=st.integers(0, 140), name=names, labels=good_labels)
    def dies_at_a_step(self, step: int, name: str, labels: dict[str, str]) -> None:
        """With something to apply, and nothing that keeps it from being applied but what is broken already."""
        self.change(name, "good", {**labels, "schedule": f"{self.edits % 60} 3 * * *"})
        self.edits += 1
        self.stage.sleep(4000)
        fs = ScriptedFs(crash_at=step)
        undo = instrument(self.stage, fs)
        try:
            self.look(60.0)
        except SimulatedCrash:
            note(f"died before {fs.calls[-1]}")
        finally:
            undo()
            self.allowed += fs.dead
            self.born()

    # --- what holds ---------------------------------------------------------------------------------------------

    @invariant()
    def nothing_of_others_is_lost(self) -> None:
        if hasattr(self, "stage"):
            assert others(self.stage.document()) == self.foreign

    @invariant()
    def backrest_runs_or_that_is_owed_on_the_disk(self) -> None:
        if hasattr(self, "stage") and self.should_run and not self.backrest.running:
            assert self.stage.file.state().stopped is not None

    @rule()
    def all_is_quiet(self) -> None:
        self.backrest.late, self.backrest.busy, self.backrest.exists = "", [], True
        self.rest()
        self.stage.sleep(GRACE + 60)
        self.rest()
        self.check()
        self.standing = {
            plan_id: owned(plan) for plan_id, plan in by_id(self.stage.path.read_bytes()).items()
        }
        self.touched = {plan_id for plan_id in self.touched if plan_id in self.standing}

    def teardown(self) -> None:
        if not hasattr(self, "root"):
            return
        try:
            self.all_is_quiet()
        finally:
            shutil.rmtree(self.root)


def run_machine(examples: int, steps: int) -> None:
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(World, settings=how)


def test_any_order_of_events_ends_well() -> None:
    run_machine(12, 25)


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_any_order_of_events_ends_well_at_length() -> None:
    run_machine(60, 30)
