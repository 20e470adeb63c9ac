"""Apply by restart: what must not be forgotten between a wish, the file, and the Backrest that runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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


def test_ages_of_failures_do_not_end_the_writer(stage: Stage) -> None:
    stage.want(container("web"))
    stage.path.write_bytes(b"[]")
    stage.run(longest=60 * 1200.0)
    assert stage.failed is not None


def test_an_engine_that_is_away_at_the_stop_leaves_the_wish_standing(stage: Stage) -> None:
    stage.backrest.fail["find"] = EngineError("unreachable", "engine away", "")
    stage.want(container("web"))
    stage.run(longest=60)
    del stage.backrest.fail["find"]
    stage.run()
    assert stage.backrest.plans() == {"hand-made", WEB}
