"""Applying by restart: what Backrest runs with in the end, and that nothing owed is ever forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.apply.failures import Busy
from sidecar.backrest.protected import VERSION_LABEL
from sidecar.engine.errors import EngineError
from tests.unit.builders import container
from tests.unit.stage import CONFIG, Stage

WEB = "backrest_sidecar_web"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_stop_write_start_and_nothing_is_written_while_backrest_runs(stage: Stage) -> None:
    seen: list[set[str]] = []
    stage.backrest.on_stop = lambda: seen.append(stage.plans())
    stage.want(container("web"))
    stage.run()
    assert seen == [{"hand-made"}]
    assert stage.backrest.calls == ["stop", "start"]
    assert stage.backrest.plans() == {"hand-made", WEB}
    assert stage.applied.restarted
    assert not stage.applied.owed
    assert stage.file.state().owed is None
    assert stage.file.state().stopped is None


def test_foreign_content_survives_and_modno_is_raised_once(stage: Stage) -> None:
    stage.want(container("web"))
    stage.run()
    after = stage.document()
    assert after.pop("modno") == 4
    assert after["plans"][0] == CONFIG["plans"][0]
    after["plans"] = after["plans"][:1]
    assert after == {key: value for key, value in CONFIG.items() if key != "modno"}


def test_an_unchanged_world_neither_writes_nor_restarts(stage: Stage) -> None:
    stage.want(container("web"))
    stage.run()
    before = stage.path.stat()
    stage.backrest.calls.clear()
    for _ in range(3):
        stage.want(container("web"))
        stage.run()
    assert stage.backrest.calls == []
    assert stage.path.stat() == before
    assert not stage.applied.changed


def test_five_changes_within_the_settle_time_are_one_restart(stage: Stage) -> None:
    several = [container(f"c{n}") for n in range(5)]
    for count in range(1, 6):
        stage.want(*several[:count])
        stage.run(longest=1.0)
    stage.run()
    assert stage.backrest.calls == ["stop", "start"]
    assert len(stage.backrest.plans()) == 6


def test_settling_ends_after_a_minute_of_changes(stage: Stage) -> None:
    several = [container(f"c{n}") for n in range(40)]
    for count in range(1, 40):
        stage.want(*several[:count])
        stage.run(longest=2.0)
        stage.sleep(1.0)
    assert "stop" in stage.backrest.calls


def test_a_change_that_is_taken_back_while_it_settles_restarts_nothing(stage: Stage) -> None:
    stage.want(container("web"))
    stage.run(longest=2.0)
    stage.want()
    stage.run()
    assert stage.backrest.calls == []
    assert not stage.applied.changed


@pytest.mark.parametrize("process", ["restic", "sh", "docker", "rclone"])
def test_a_busy_backrest_is_waited_for(stage: Stage, process: str) -> None:
    stage.backrest.busy = [process]
    stage.want(container("web"))
    stage.run(longest=3600)
    assert stage.backrest.calls == []
    assert stage.plans() == {"hand-made"}
    stage.backrest.busy = []
    stage.run(longest=20)
    assert stage.backrest.calls == ["stop", "start"]


def test_the_newest_wish_is_the_one_that_is_written_after_the_wait(stage: Stage) -> None:
    stage.backrest.busy = ["restic"]
    stage.want(container("web"))
    stage.run(longest=60)
    stage.want(container("web"), container("db"))
    stage.run(longest=60)
    stage.backrest.busy = []
    stage.run()
    assert stage.backrest.calls == ["stop", "start"]
    assert stage.backrest.plans() == {"hand-made", WEB, "backrest_sidecar_db"}


def test_a_schedule_about_to_fire_is_waited_for(tmp_path: Path) -> None:
    config: dict[str, Any] = {**CONFIG, "plans": [{**CONFIG["plans"][0], "schedule": {"cron": "0 * * * *"}}]}
    stage = Stage(tmp_path, config)
    stage.sleep(3600 - stage.clock.wall() % 3600 - 55)
    stage.want(container("web"))
    stage.run(longest=50)
    assert stage.backrest.calls == []
    stage.run()
    assert stage.backrest.calls == ["stop", "start"]


def test_a_plan_that_fires_every_minute_starves_no_change(tmp_path: Path) -> None:
    config: dict[str, Any] = {**CONFIG, "plans": [{**CONFIG["plans"][0], "schedule": {"cron": "* * * * *"}}]}
    stage = Stage(tmp_path, config)
    stopped: list[float] = []
    stage.backrest.on_stop = lambda: stopped.append(stage.clock.wall() % 60)
    stage.want(container("web"))
    stage.run(longest=120)
    assert stage.backrest.calls == ["stop", "start"]
    assert 5 < stopped[0] < 45


def test_a_one_shot_gives_up_a_busy_backrest_after_the_longest_wait(tmp_path: Path) -> None:
    stage = Stage(tmp_path, apply_max_wait="30s")
    stage.reborn(patient=False)
    stage.backrest.busy = ["restic"]
    stage.want(container("web"))
    with pytest.raises(Busy, match="restic"):
        stage.run()
    assert stage.plans() == {"hand-made"}
    assert stage.backrest.calls == []


def test_force_goes_on_past_the_longest_wait(tmp_path: Path) -> None:
    stage = Stage(tmp_path, apply_max_wait="30s", apply_force=True)
    stage.backrest.busy = ["restic"]
    stage.want(container("web"))
    stage.run(longest=120)
    assert stage.backrest.calls == ["stop", "start"]


def test_an_edit_saved_by_backrest_while_it_stops_is_merged(stage: Stage) -> None:
    def last_save() -> None:
        stage.edit(lambda data: data["plans"].append({"id": "late", "repo": "main", "paths": ["/late"]}))

    stage.backrest.on_stop = last_save
    stage.want(container("web"))
    stage.run()
    assert stage.backrest.plans() == {"hand-made", "late", WEB}


def test_a_backrest_that_was_down_is_not_started(stage: Stage) -> None:
    stage.backrest.running = False
    stage.want(container("web"))
    stage.run()
    assert stage.backrest.calls == []
    assert WEB in stage.plans()
    assert not stage.applied.owed


def test_without_a_backrest_the_file_is_written_and_the_restart_stays_owed(stage: Stage) -> None:
    stage.backrest.exists = False
    stage.want(container("web"))
    stage.run()
    assert WEB in stage.plans()
    assert stage.applied.owed == "restart"
    stage.backrest.exists = True
    stage.want(container("web"))
    stage.run()
    assert stage.backrest.plans() == {"hand-made", WEB}
    assert not stage.applied.owed


def test_an_owed_restart_is_settled_by_somebody_elses_restart(stage: Stage) -> None:
    stage.backrest.exists = False
    stage.want(container("web"))
    stage.run()
    stage.sleep(5)
    stage.backrest.exists = True
    stage.backrest.start("b" * 64)
    stage.backrest.calls.clear()
    stage.want(container("web"))
    stage.run()
    assert stage.backrest.calls == []
    assert not stage.applied.owed


class Died(BaseException):
    """The process is killed."""


@pytest.mark.parametrize(
    "when", ["before stop", "after stop", "before write", "after write", "before start", "after start"]
)
def test_a_crash_at_any_step_leads_to_exactly_the_missing_steps(stage: Stage, when: str) -> None:
    backrest = stage.backrest
    real_stop, real_start, real_write = backrest.stop, backrest.start, stage.file.write

    def die(step: str, call: Any, *args: Any, **kwargs: Any) -> Any:
        if when == f"before {step}":
            raise Died
        result = call(*args, **kwargs)
        if when == f"after {step}":
            raise Died
        return result

    # A kill is not an exception: while it lasts, the finally clauses must find nothing that they can do.
    def stop(*args: Any, **kwargs: Any) -> None:
        try:
            die("stop", real_stop, *args, **kwargs)
        except Died:
            backrest.start = dead  # type: ignore[method-assign]  # the process is gone
            raise

    def write(*args: Any, **kwargs: Any) -> Any:
        try:
            return die("write", real_write, *args, **kwargs)
        except Died:
            backrest.start = dead  # type: ignore[method-assign]  # the process is gone
            raise

    def start(*args: Any) -> None:
        die("start", real_start, *args)

    def dead(*_: Any) -> None:
        raise Died

    backrest.stop, backrest.start = stop, start  # type: ignore[method-assign]  # instrumented
    stage.file.write = write  # type: ignore[method-assign]  # instrumented
    stage.want(container("web"))
    with pytest.raises(Died):
        stage.run()
    backrest.stop, backrest.start = real_stop, real_start  # type: ignore[method-assign]  # the next process
    stage.sleep(120)
    stage.reborn()
    stage.file.recover()
    stage.restarter.must_start()
    assert backrest.running
    stage.want(container("web"))
    stage.run()
    assert backrest.running
    assert backrest.plans() == {"hand-made", WEB}
    assert stage.file.state().stopped is None
    assert stage.file.state().owed is None


def test_a_start_that_fails_is_tried_until_it_succeeds(stage: Stage) -> None:
    stage.backrest.fail["start"] = EngineError("unreachable", "engine away", "start it")
    stage.want(container("web"))
    stage.run(longest=60)
    assert "start" not in stage.backrest.calls
    assert stage.file.state().stopped is not None
    del stage.backrest.fail["start"]
    stage.run()
    assert stage.backrest.running
    assert stage.backrest.plans() == {"hand-made", WEB}
    assert stage.file.state().stopped is None


def test_a_stop_that_fails_leaves_backrest_running_and_tries_again(stage: Stage) -> None:
    stage.backrest.fail["stop"] = EngineError("timeout", "too slow", "")
    stage.want(container("web"))
    stage.run(longest=30)
    assert stage.backrest.running
    del stage.backrest.fail["stop"]
    stage.run()
    assert stage.backrest.plans() == {"hand-made", WEB}


def test_a_failed_write_starts_backrest_again(stage: Stage) -> None:
    def truncate() -> None:
        stage.path.write_bytes(b"{")

    stage.backrest.on_stop = truncate
    stage.want(container("web"))
    real_start = stage.backrest.start
    stage.backrest.start = lambda *_: setattr(stage.backrest, "running", True)  # type: ignore[method-assign]  # no file
    stage.run(longest=30)
    assert stage.backrest.running
    assert stage.failed is not None
    stage.backrest.start = real_start  # type: ignore[method-assign]  # as before
    assert stage.path.read_bytes() == b"{"


def test_a_plan_that_backrest_refuses_is_rolled_back_and_quarantined(stage: Stage) -> None:
    stage.sleep(120)
    stage.want(container("bad"), container("web"))
    stage.run()
    assert stage.backrest.running
    assert "backrest_sidecar_bad" not in stage.backrest.plans()
    assert stage.backrest.calls == ["stop", "start", "stop", "start"]
    stage.backrest.calls.clear()
    stage.want(container("bad"), container("web"))
    stage.run(longest=7200)
    assert stage.backrest.running
    assert stage.backrest.plans() == {"hand-made", WEB}
    stage.backrest.calls.clear()
    stage.want(container("bad"), container("web"))
    stage.run(longest=7200)
    assert stage.backrest.calls == []


def test_no_roll_back_when_backrest_had_only_just_started_and_names_no_plan_of_ours(stage: Stage) -> None:
    real = stage.backrest.start

    def start(container_id: str, /) -> None:
        real(container_id)
        stage.backrest.log = stage.backrest.log.replace("plan backrest_sidecar_bad", "something")

    stage.backrest.start = start  # type: ignore[method-assign]  # it does not say which plan
    stage.want(container("bad"))
    stage.run(longest=25)
    assert stage.backrest.calls == ["stop", "start"]
    assert stage.applied.owed == "restart"


def test_the_budget_ends_a_tug_of_war(stage: Stage) -> None:
    for turn in range(40):
        stage.want(container("web", {"schedule": f"{turn} 1 * * *"}))
        stage.run(longest=30)
    assert stage.backrest.calls.count("stop") == 6, "twenty minutes, and six an hour are allowed"


def test_faults_that_were_there_before_are_reported(tmp_path: Path) -> None:
    config = {**CONFIG, "plans": [{"id": "broken", "repo": "gone", "paths": ["/x"]}]}
    stage = Stage(tmp_path, config)
    stage.want(container("web"))
    stage.run(longest=60)
    assert stage.backrest.calls == []
    assert WEB in stage.plans()
    assert stage.applied.owed == "restart"


def test_without_apply_the_file_is_written_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, apply=False)
    stage.want(container("web"))
    assert stage.applier.step() is None
    assert WEB in stage.plans()
    assert stage.backrest.calls == []


def test_an_unreadable_file_is_reported_and_tried_again(stage: Stage) -> None:
    stage.want(container("web"))
    stage.path.write_bytes(b"[]")
    stage.run(longest=10)
    assert stage.failed is not None
    assert stage.path.read_bytes() == b"[]"


def test_a_backrest_that_we_stopped_and_that_is_away_for_a_moment_is_started_when_it_is_back(
    stage: Stage,
) -> None:
    stage.want(container("web"))
    stage.backrest.fail["start"] = EngineError("unreachable", "the engine is away", "")
    stage.run(longest=30)
    assert not stage.backrest.running
    stage.backrest.fail.clear()
    stage.backrest.exists = False
    stage.want(container("web"))
    stage.run(longest=30)
    assert stage.file.state().stopped is not None
    stage.backrest.exists = True
    stage.want(container("web"))
    stage.run()
    assert stage.backrest.calls[-1] == "start"
    assert stage.file.state().stopped is None


@pytest.mark.parametrize(("version", "faults"), [("v1.12.1", 1), ("1.12.0", 0), ("v1.13.0", 0), ("", 0)])
def test_the_rules_are_those_of_the_backrest_that_runs(tmp_path: Path, version: str, faults: int) -> None:
    """v1.12.1 alone refuses a plan that has flags instead of paths."""
    lists = {"id": "lists", "repo": "main", "backup_flags": ["--files-from /list"]}
    stage = Stage(tmp_path, {**CONFIG, "plans": [lists]})
    wish = stage.want(container("web"), container("backrest", {VERSION_LABEL: version}, enable=False))
    assert len(stage.file.preview(wish).preexisting) == faults
