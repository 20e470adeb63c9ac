"""Apply by restart: what must not be forgotten between a wish, the file, and the Backrest that runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.engine_errors import EngineError
from sidecar.settings import resolve
from tests.unit.builders import container
from tests.unit.stage import Stage

WEB, DB = "backrest_sidecar_web", "backrest_sidecar_db"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def step_until(stage: Stage, reached: Callable[[], bool]) -> None:
    """Step, turning the clock, until something is so."""
    for _ in range(1000):
        due = stage.applier.step()
        if reached():
            return
        assert due is not None
        stage.clock.now = max(stage.clock.now, due)
    pytest.fail("not reached")


def test_a_wish_that_comes_while_backrest_comes_up_is_not_taken_for_done(stage: Stage) -> None:
    stage.want(container("web"))
    step_until(stage, lambda: "start" in stage.backrest.calls)
    stage.want(container("web"), container("db"))
    stage.run(longest=600)
    assert stage.backrest.plans() == {"hand-made", WEB, DB}


def test_the_number_reported_is_that_of_the_wish_that_was_written(stage: Stage) -> None:
    first = stage.want(container("web"))
    step_until(stage, lambda: "start" in stage.backrest.calls)
    stage.want(container("web"))
    step_until(stage, lambda: bool(stage.reports))
    assert stage.reports[0].number == first.number


def without_apply(stage: Stage) -> None:
    stage.settings = resolve("daemon", {"config": str(stage.path), "config-mode": "preserve"}, {})
    stage.reborn()


def with_apply(stage: Stage) -> None:
    stage.settings = resolve(
        "daemon", {"config": str(stage.path), "config-mode": "preserve", "apply": True}, {}
    )
    stage.reborn()


def test_a_restart_between_two_writes_does_not_settle_the_second(stage: Stage) -> None:
    without_apply(stage)
    stage.want(container("web"))
    stage.run()
    stage.sleep(60)
    stage.backrest.start("b" * 64)
    stage.sleep(60)
    stage.want(container("web"), container("db"))
    stage.run()
    stage.sleep(60)
    with_apply(stage)
    stage.want(container("web"), container("db"))
    stage.run()
    assert stage.backrest.plans() == {"hand-made", WEB, DB}


def test_a_backrest_started_while_the_file_was_written_beside_it_is_still_owed(stage: Stage) -> None:
    stage.backrest.running = False
    real = stage.file.write

    def slow(*args: Any, **kwargs: Any) -> Any:
        stage.backrest.start("b" * 64)
        stage.sleep(1)
        return real(*args, **kwargs)

    stage.file.write = slow  # type: ignore[method-assign]  # somebody starts Backrest in between
    stage.want(container("web"))
    stage.run()
    stage.file.write = real  # type: ignore[method-assign]  # as before
    stage.want(container("web"))
    stage.run()
    assert stage.backrest.plans() == {"hand-made", WEB}


def test_restarts_of_a_crash_looping_backrest_keep_to_the_budget(stage: Stage) -> None:
    def stays_down(_: str, /) -> None:
        stage.backrest.calls.append("start")

    stage.backrest.start = stays_down  # type: ignore[method-assign]  # down for a reason of its own
    stage.backrest.status, stage.backrest.running = "restarting", False
    for _ in range(30):
        stage.want(container("web"))
        stage.run(longest=20)
    assert stage.backrest.calls.count("stop") <= 6


def test_a_plan_that_backrest_names_is_rolled_back_however_short_it_had_run(stage: Stage) -> None:
    stage.want(container("bad"))
    stage.run(longest=60)
    assert stage.backrest.running
    assert stage.backrest.plans() == {"hand-made"}
    assert stage.failed is not None
    assert stage.failed.blocked == ("backrest_sidecar_bad",)
    assert not stage.applied.changed


def test_a_rolled_back_change_does_not_look_like_somebody_elses_edit(stage: Stage) -> None:
    stage.sleep(120)
    stage.want(container("web"))
    stage.run()
    before = stage.file.state().owners
    stage.sleep(7200)
    stage.want(container("web"), container("bad"))
    stage.run(longest=40)
    assert stage.plans() == {"hand-made", WEB}
    assert stage.file.state().owners == before


def test_ages_of_failures_do_not_end_the_writer(stage: Stage) -> None:
    stage.want(container("web"))
    stage.path.write_bytes(b"[]")
    stage.run(longest=60 * 1200.0)
    assert stage.failed is not None


def test_backrest_is_started_though_the_state_was_lost_in_between(stage: Stage) -> None:
    stage.backrest.on_stop = (stage.settings.state_path / "state.json").unlink
    stage.want(container("web"))
    stage.run()
    assert stage.backrest.running


def test_a_missing_backrest_is_said_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.backrest.exists = False
    for _ in range(3):
        stage.want(container("web"))
        stage.run()
    assert caplog.text.count("backrest.missing") == 1


def test_an_engine_that_is_away_at_the_stop_leaves_the_wish_standing(stage: Stage) -> None:
    stage.backrest.fail["find"] = EngineError("unreachable", "engine away", "")
    stage.want(container("web"))
    stage.run(longest=60)
    del stage.backrest.fail["find"]
    stage.run()
    assert stage.backrest.plans() == {"hand-made", WEB}
