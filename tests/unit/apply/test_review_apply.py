"""Apply by restart: what must not be forgotten between a wish, the file, and the Backrest that runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import orjson
import pytest

from sidecar import log
from sidecar.apply.config_file import ConfigFile
from sidecar.apply.restart_cycle import RestartCycle
from sidecar.commands.restore_config import _put_back
from sidecar.commands.wiring import Writing
from sidecar.config.validation import Fault
from sidecar.engine.errors import EngineError
from sidecar.merge.result import Blocked, Merge
from sidecar.plans.rendering import Rendering
from sidecar.settings.settings import resolve
from sidecar.status.announcer import Announcer
from sidecar.store.errors import NotWritable
from sidecar.store.lock import LockError, LockTimeout
from sidecar.store.state import StoppedBackrest
from tests.unit.builders import container
from tests.unit.stage import CONFIG, Stage

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


def test_a_quarantine_ends_when_backrest_is_updated_though_nothing_else_changes(stage: Stage) -> None:
    stage.sleep(120)
    stage.want(container("bad"))
    stage.run()
    assert stage.backrest.plans() == {"hand-made"}
    stage.sleep(7200)
    stage.backrest.image_id = "sha256:two"
    real = stage.backrest.start

    def newer(container_id: str, /) -> None:
        stage.backrest.calls.append("start")
        stage.backrest.running, stage.backrest.cache = True, stage.path.read_bytes()
        stage.backrest.started_at = stage.clock.stamp()

    stage.backrest.start = newer  # type: ignore[method-assign]  # the new version takes the plan
    backrest = container("backrest", enable=False, mounts=(), image_id="sha256:two")
    stage.want(container("bad"), backrest)
    stage.run()
    stage.backrest.start = real  # type: ignore[method-assign]  # as before
    assert "backrest_sidecar_bad" in stage.backrest.plans()


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


def test_a_blocked_plan_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    announcer = Announcer()
    for _ in range(3):
        merge = Merge(data={}, owners={}, blocked=(Blocked(WEB, "why"),))
        announcer.merged(merge)
        announcer.written(merge)
    assert caplog.text.count("plan.blocked") == 1


def test_each_fault_at_one_place_is_said_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    announcer = Announcer()
    first, second, third = (Fault("plan x", text, plan_id="x") for text in ("no repo", "no path", "bad cron"))
    for faults in ((first, second), (second, first), (second, third)):
        announcer.merged(Merge(data={}, owners={}, preexisting=faults))
    said = [
        record.__dict__["fields"]["reason"] for record in caplog.records if record.message == "config.fault"
    ]
    assert said == ["no repo", "no path", "bad cron"]


def test_a_config_without_repos_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    announcer = Announcer()
    for _ in range(2):
        announcer.rendered(Rendering())
    assert caplog.text.count("default.repo.unset") == 1


def another(stage: Stage, *, wait: Callable[[float], bool] | None = lambda _: True) -> RestartCycle:
    """A second sidecar on the same directory, which waits for no lock."""
    file = ConfigFile(stage.settings, now=stage.clock.wall, wait=wait)
    return RestartCycle(
        stage.settings,
        file,
        stage.backrest,
        link=None,
        clock=stage.clock,
        now=stage.clock.wall,
        cut_off=lambda: None,
    )


def test_another_sidecar_neither_starts_backrest_nor_forgets_it_between_stop_and_start(stage: Stage) -> None:
    seen: list[bool] = []

    def meanwhile() -> None:
        with pytest.raises(LockTimeout):
            another(stage).must_start()
        seen.append(stage.file.state().stopped is not None)

    stage.backrest.on_stop = meanwhile
    stage.want(container("web"))
    stage.run()
    assert seen == [True]
    assert stage.backrest.calls == ["stop", "start"]
    assert stage.backrest.plans() == {"hand-made", WEB}


def left_down(stage: Stage) -> None:
    """A process of ours was killed after it had stopped Backrest."""
    mark = StoppedBackrest("b" * 64, "backrest", stage.clock.wall())
    stage.file.update(lambda state: replace(state, stopped=mark))
    stage.backrest.running = False


def test_backrest_is_started_though_no_lock_can_be_had(stage: Stage) -> None:
    left_down(stage)
    lock = stage.path.with_name(".backrest-sidecar.lock")
    lock.unlink()
    lock.mkdir()
    with pytest.raises(LockError):
        stage.restarter.must_start()
    assert stage.backrest.running


def test_backrest_is_started_though_the_leftovers_cannot_be_put_in_order(stage: Stage) -> None:
    left_down(stage)
    parts = Writing(stage.file, stage.restarter, stage.applier)

    def refused() -> NoReturn:
        raise NotWritable(28, "no space left")

    stage.file.recover = refused  # type: ignore[method-assign]  # the disk is full
    with pytest.raises(NotWritable):
        parts.work_off()
    assert stage.backrest.running


def test_what_merging_leaves_out_is_counted_as_skipped(tmp_path: Path) -> None:
    taken = {"id": "web", "repo": "main", "paths": ["/by/hand"]}
    stage = Stage(tmp_path, {**CONFIG, "plans": [taken]}, plan_id_prefix="")
    stage.want(container("web"))
    stage.run()
    assert stage.applied.skipped == ("web",)


def put_back(stage: Stage, data: dict[str, Any]) -> str | None:
    stop = threading.Event()
    stage.backrest.running = False  # so that nothing is waited for
    return _put_back(stage.restarter, stage.file, data, stop)


def test_an_undo_replaces_a_broken_file(stage: Stage) -> None:
    stage.path.write_bytes(b'{"version": 6, "pla')
    assert put_back(stage, CONFIG) == ""
    assert stage.plans() == {"hand-made"}


def test_an_undo_makes_open_tabs_stale(stage: Stage) -> None:
    stage.edit(lambda data: data.update(modno=7))
    assert put_back(stage, CONFIG) == ""
    assert stage.document()["modno"] == 8


def test_an_engine_that_is_away_at_the_stop_leaves_the_wish_standing(stage: Stage) -> None:
    stage.backrest.fail["find"] = EngineError("unreachable", "engine away", "")
    stage.want(container("web"))
    stage.run(longest=60)
    del stage.backrest.fail["find"]
    stage.run()
    assert stage.backrest.plans() == {"hand-made", WEB}


def test_a_secret_that_is_put_back_is_masked_again(stage: Stage) -> None:
    """Its plan was removed, that was read, and the roll-back writes what nobody reads again."""
    url = "https://hooks.example/token-of-the-hook"
    noisy = {**CONFIG["plans"][0], "hooks": [{"actionSlack": {"webhookUrl": url}}]}
    stage.file.current()
    assert log.mask(url) == url

    stage.file.plans_back(orjson.dumps({**CONFIG, "plans": [noisy]}), lambda state: state)

    assert url.encode() in stage.path.read_bytes()
    assert log.mask(url) == log.MASK
    log.set_secrets(())
