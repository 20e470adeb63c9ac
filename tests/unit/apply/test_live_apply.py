"""Plans by the API: when they wait, what a save may cost, and that it is made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from sidecar.apply import apply_make_up
from sidecar.apply.failures import Busy
from sidecar.backrest.api import ApiUnreachable, BackrestApi
from sidecar.backrest.queue import Operation, scheduled_plans
from sidecar.store.state import MakeUp
from tests.unit.backrest.test_review_api import WEB, Died, FakeApi
from tests.unit.builders import container
from tests.unit.stage import Clock, Stage

HAND = "hand-made"
"""The stage's plan by hand: maxFrequencyHours 4."""
FAR = 1e6


class QueueApi(FakeApi):
    """Backrest's queue: what runs is set by the test, a save plans everything anew."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path)
        self.clock = clock
        self.log: list[Operation] = []
        self.asked: list[str] = []
        self.deaf = 0
        self.saves = 0
        self.down = False
        self.plan_anew()

    def add(self, status: str, plan: str, start: float) -> Operation:
        """Add a backup that starts so many seconds from now."""
        number = 1 + max((op.id for op in self.log), default=0)
        op = Operation(number, "backup", status, plan, "main", self.clock.wall() + start)
        self.log.append(op)
        return op

    def turn(self, op: Operation, status: str) -> None:
        """Change the status of an operation."""
        self.log[self.log.index(op)] = Operation(op.id, op.kind, status, op.plan_id, op.repo_id, op.start)

    def plan_anew(self) -> None:
        top = max((op.id for op in self.log), default=0)
        self.log = [op for op in self.log if not op.pending]
        self.log.append(Operation(top + 1, "forget", "success", "", "main", 1.0))  # numbers are used once
        for plan in scheduled_plans(self.config):
            self.add("pending", plan, 4 * 3600 if plan == HAND else FAR)

    def set_config(self, config: dict[str, Any]) -> dict[str, Any]:
        self.saves += 1
        saved = super().set_config(config)
        if self.deaf:
            self.deaf -= 1
        else:
            self.plan_anew()
        return saved

    def operations(self, last: int = 0, plan: str = "") -> tuple[Operation, ...]:
        if self.down:
            raise ApiUnreachable("nobody answers")
        return tuple(op for op in self.log if plan in ("", op.plan_id))

    def back_up(self, plan: str) -> Operation:
        self.asked.append(plan)
        return self.add("pending", plan, 0)


Make = Callable[..., tuple[Stage, QueueApi]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(*, patient: bool = True, **flags: Any) -> tuple[Stage, QueueApi]:
        stage = Stage(tmp_path, backrest_url="http://backrest:9898", **flags)
        api = QueueApi(stage.path, stage.clock)
        stage.api = lambda: cast("BackrestApi", api)
        stage.reborn(patient=patient)
        return stage, api

    return made


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[Any]:
    return [record for record in caplog.records if record.getMessage() == name]


def test_a_backup_that_runs_is_waited_for_and_said_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    stage, api = make()
    op = api.add("inprogress", HAND, -5)
    stage.want(container("web"))
    stage.run(longest=300)
    assert api.saves == 0
    assert len(events(caplog, "backrest.busy")) == 1
    api.turn(op, "success")
    stage.run(longest=60)
    assert WEB in [plan["id"] for plan in api.config["plans"]]
    assert stage.applied.restarted
    assert api.asked == []


def test_what_waits_behind_it_is_waited_for_too(make: Make) -> None:
    stage, api = make()
    op = api.add("pending", HAND, -5)
    stage.want(container("web"))
    stage.run(longest=120)
    assert api.saves == 0
    api.turn(op, "inprogress")
    stage.run(longest=120)
    assert api.saves == 0


def test_the_newest_wish_is_served_after_the_wait(make: Make) -> None:
    stage, api = make()
    op = api.add("inprogress", HAND, -5)
    stage.want(container("web"))
    stage.run(longest=60)
    stage.want(container("db"))
    stage.run(longest=60)
    api.turn(op, "success")
    stage.run(longest=60)
    assert api.saves == 1
    assert [plan["id"] for plan in api.config["plans"]] == [HAND, "backrest_sidecar_db"]


def test_a_wish_that_is_taken_back_while_it_waits_saves_nothing(make: Make) -> None:
    stage, api = make()
    op = api.add("inprogress", HAND, -5)
    stage.want(container("web"))
    stage.run(longest=60)
    wish = stage.want()
    stage.run(longest=60)
    api.turn(op, "success")
    stage.run(longest=60)
    assert api.saves == 0
    assert stage.applied.number == wish.number


def test_past_the_longest_wait_it_is_an_error_and_still_waits(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    stage, api = make(apply_max_wait="10m")
    api.add("inprogress", HAND, -5)
    stage.want(container("web"))
    stage.run(longest=3600)
    assert api.saves == 0
    (said,) = events(caplog, "backrest.busy_too_long")
    assert said.levelname == "ERROR"


def test_a_one_shot_gives_up_past_the_longest_wait(make: Make) -> None:
    stage, api = make(patient=False, apply_max_wait="10m")
    api.add("inprogress", HAND, -5)
    stage.want(container("web"))
    with pytest.raises(Busy, match=r"not idle within 60\d s .*raise --apply-max-wait\.$"):
        stage.run(longest=3600)
    assert api.saves == 0


def test_force_goes_on_and_makes_up_what_it_starved(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    stage, api = make(apply_max_wait="10m", apply_force=True)
    api.add("inprogress", WEB, -5)
    api.add("pending", HAND, -5)
    stage.want(container("web"))
    stage.run(longest=660)
    assert api.saves == 1
    assert api.asked == [HAND]
    assert len(events(caplog, "backrest.forced")) == 1
    assert len(events(caplog, "backrest.made_up")) == 1
    # It is asked for again when somebody's save threw it out, and forgotten once it has begun.
    api.plan_anew()
    stage.run(longest=60)
    assert api.asked == [HAND, HAND]
    api.turn(api.log[-1], "inprogress")
    stage.run(longest=60)
    assert stage.file.state().make_up == ()
    assert len(api.asked) == 2


def test_what_a_save_may_cost_survives_a_crash(make: Make) -> None:
    stage, api = make(apply_max_wait="10m", apply_force=True)
    due = api.add("pending", HAND, -5)

    def die() -> None:
        raise Died

    api.after_save = die
    stage.want(container("web"))
    with pytest.raises(Died):
        stage.run(longest=660)
    assert MakeUp(HAND, due.start, due.id) in stage.file.state().make_up
    api.plan_anew()
    api.after_save = lambda: None
    stage.reborn()
    stage.applier.step()
    assert api.asked == [HAND]


def test_a_one_shot_asks_for_what_it_starved_before_it_ends(make: Make) -> None:
    stage, api = make(patient=False, apply_max_wait="10m", apply_force=True)
    api.add("pending", HAND, -5)
    stage.want(container("web"))
    stage.run(longest=3600)
    assert api.asked == [HAND]
    assert stage.clock.now < 2000  # it does not wait for the interval, hours away


def test_an_interval_that_saves_push_off_runs_at_its_first_time(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    stage, api = make()
    first = next(op for op in api.log if op.plan_id == HAND).start
    for name in ("web", "db", "cache"):
        stage.want(container(name))
        stage.run(longest=3600)
    assert api.saves == 3
    assert api.asked == []
    assert len(events(caplog, "backrest.intervals")) == 1
    stage.run(longest=first - stage.clock.wall() + 60)
    assert api.asked == [HAND]


def push_off(stage: Stage) -> None:
    """Save, and save again an hour later: the plan by hand was due in four hours, and is in five."""
    stage.want(container("web"))
    stage.run(longest=3600)
    stage.want(container("db"))
    stage.run(longest=60)


def test_an_interval_whose_plan_ran_since_is_not_asked_for(make: Make) -> None:
    stage, api = make()
    stage.want(container("web"))
    stage.run(longest=600)
    api.add("success", HAND, -1)
    stage.run(longest=5 * 3600)
    assert api.asked == []
    assert stage.file.state().make_up == ()


def test_a_plan_that_is_gone_or_off_is_not_asked_for(make: Make) -> None:
    stage, api = make()
    stage.want(container("web"))
    stage.run(longest=600)
    api.config["plans"][0]["schedule"] = {"disabled": True}
    api.plan_anew()
    stage.run(longest=5 * 3600)
    assert api.asked == []
    assert stage.file.state().make_up == ()


def test_a_backrest_that_does_not_answer_is_asked_later(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    stage, api = make()
    push_off(stage)
    api.down = True
    stage.run(longest=3.5 * 3600)
    assert len(events(caplog, "backrest.make_up_waits")) == 1
    api.down = False
    stage.run(longest=700)
    assert api.asked == [HAND]


def test_one_that_never_begins_is_left_to_a_person(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply_make_up, "MOST_CALLS", 3)
    stage, api = make()
    monkeypatch.setattr(api, "back_up", api.asked.append)
    push_off(stage)
    stage.run(longest=4 * 3600)
    assert api.asked == [HAND] * 3
    assert len(events(caplog, "backrest.starved")) == 1


def test_a_save_that_backrest_did_not_hear_is_made_once_more(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    stage, api = make()
    api.deaf = 1
    stage.want(container("web"))
    stage.run(longest=60)
    assert api.saves == 2
    assert {op.plan_id for op in api.log if op.pending} == {HAND, WEB}
    assert stage.applied.owed == ""
    (said,) = events(caplog, "backrest.not_scheduled")
    assert said.levelname == "WARNING"


def test_what_stays_unscheduled_is_owed_and_named(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    stage, api = make()
    api.deaf = 99
    stage.want(container("web"))
    stage.run(longest=60)
    assert api.saves == 3
    assert WEB in stage.applied.reason
    assert [said.levelname for said in events(caplog, "backrest.not_scheduled")] == ["WARNING"] * 2 + [
        "ERROR"
    ]


def test_a_save_waits_until_backrest_has_taken_up_the_one_before(make: Make) -> None:
    stage, api = make()
    api.log = [op for op in api.log if not op.pending]
    stage.want(container("web"))
    stage.run(longest=15)
    assert api.saves == 0
    api.plan_anew()
    stage.run(longest=15)
    assert api.saves == 1


def test_a_log_that_counts_from_one_again_has_each_asked_for_once(make: Make) -> None:
    stage, api = make()
    push_off(stage)
    owed = stage.file.state().make_up
    stage.file.update(
        lambda state: replace(state, make_up=tuple(replace(e, operation=5000) for e in state.make_up))
    )

    def run_at_once(plan: str) -> Operation:
        api.asked.append(plan)
        return api.add("success", plan, 0)

    api.back_up = run_at_once  # type: ignore[method-assign]
    stage.run(longest=5 * 3600)
    assert api.asked == [HAND] * len(owed)
    assert stage.file.state().make_up == ()
