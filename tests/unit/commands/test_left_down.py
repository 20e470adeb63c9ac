"""What a stop hook left down comes up without a daemon; what Backrest is backing up right now does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.backrest.api import ApiUnreachable
from sidecar.commands.left_down import WorkedOff, directory_of, work_off
from sidecar.engine.errors import EngineError
from sidecar.engine.model import EngineSnapshot
from sidecar.engine.types import Process
from sidecar.settings.settings import resolve
from sidecar.store.state_store import StateError
from tests.unit.quiesce.test_watchdog import BACKREST
from tests.unit.quiesce.test_watchdog import Engine as MarkerEngine

BACKUP = Process(7, 1, "restic backup /x")


class Engine(MarkerEngine):
    """The markers' engine, which can be listed."""

    def snapshot(self) -> EngineSnapshot:
        return EngineSnapshot(())


class Stop(threading.Event):
    """An event whose waits turn the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.then: Callable[[], object] = lambda: None

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        self.then()
        return self.is_set()


class Api:
    """What Backrest's API says: operations in progress, or that it does not answer."""

    def __init__(self, *operations: str, down: bool = False) -> None:
        self.operations, self.down = operations, down

    def operations_in_progress(self) -> tuple[str, ...]:
        if self.down:
            raise ApiUnreachable("nobody answers")
        return self.operations


class Scene:
    def __init__(self, root: Path) -> None:
        self.settings = resolve("recover", {"config": str(root / "config.json")}, {})
        self.markers = directory_of(self.settings)
        self.markers.mkdir(parents=True)
        self.engine = Engine(up={"backrest": True}, processes=(BACKREST,))
        self.stop = Stop()
        self.known = True
        self.state_broken = False

    def marked(self, name: str = "db") -> None:
        (self.markers / name).touch()
        self.engine.up[name] = False

    def state(self) -> SimpleNamespace:
        if self.state_broken:
            raise StateError("it is no JSON")
        return SimpleNamespace(view=(("/a", "/a"),) if self.known else ())

    def run(self, api: Api | None = None) -> WorkedOff:
        make: Any = None if api is None else lambda: api
        return work_off(
            self.settings,
            self.engine,  # type: ignore[arg-type]  # so much of an engine is enough
            self,  # type: ignore[arg-type]  # and of a file
            make,
            stop=self.stop,
            monotonic=lambda: self.stop.now,
        )

    @property
    def waited(self) -> float:
        return self.stop.now - 1000.0


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_without_a_marker_nothing_is_asked(scene: Scene) -> None:
    scene.engine.processes = EngineError("unreachable", "nobody answers")
    assert scene.run() == WorkedOff()
    assert scene.waited == 0


def test_it_is_started_once_backrest_was_idle_for_the_grace(scene: Scene) -> None:
    scene.marked()
    scene.marked("web")
    assert scene.run() == WorkedOff(started=("db", "web"))
    assert scene.engine.started == ["db", "web"]
    assert list(scene.markers.iterdir()) == []
    assert 60 <= scene.waited <= 65


@pytest.mark.parametrize("processes", [(BACKREST, BACKUP), (BACKREST, Process(9, 1, "sh"))])
def test_a_backup_that_runs_is_left_in_peace_and_nobody_waits_for_it(
    scene: Scene, processes: tuple[Process, ...], caplog: pytest.LogCaptureFixture
) -> None:
    scene.marked()
    scene.engine.processes = processes
    assert scene.run() == WorkedOff(left=("db",))
    assert (scene.engine.started, scene.waited) == ([], 0)
    # One word: during a backup nothing is "left" down.
    assert [r.message for r in caplog.records if r.message.startswith("hooks.")] == ["hooks.not_started"]


def test_a_backup_that_begins_within_the_grace_ends_the_wait(scene: Scene) -> None:
    scene.marked()

    def begin() -> None:
        if scene.waited > 30:
            scene.engine.processes = (BACKREST, BACKUP)

    scene.stop.then = begin
    assert scene.run() == WorkedOff(left=("db",))
    assert scene.engine.started == []
    assert scene.waited < 40


def test_the_api_tells_for_sure_and_nobody_waits(scene: Scene) -> None:
    scene.marked()
    assert scene.run(Api()) == WorkedOff(started=("db",))
    assert scene.waited == 0


def test_the_api_knows_of_a_hook_that_shows_in_no_process_list(scene: Scene) -> None:
    scene.marked()
    assert scene.run(Api("op")) == WorkedOff(left=("db",))
    assert scene.engine.started == []


def test_an_api_that_does_not_answer_leaves_the_process_list(scene: Scene) -> None:
    scene.marked()
    assert scene.run(Api(down=True)) == WorkedOff(started=("db",))
    assert scene.waited >= 60


@pytest.mark.parametrize("api", [None, Api(), Api("op")])
def test_a_backrest_outside_of_containers_is_known_by_its_api_alone(scene: Scene, api: Api | None) -> None:
    scene.marked()
    scene.known = False
    del scene.engine.up["backrest"]
    idle = api is not None and not api.operations
    assert scene.run(api) == (WorkedOff(started=("db",)) if idle else WorkedOff(left=("db",)))


def test_a_backrest_that_is_down_starts_nothing_itself(scene: Scene) -> None:
    scene.marked()
    scene.engine.up["backrest"] = False
    assert scene.run() == WorkedOff(started=("db",))


def test_a_start_that_fails_is_told_and_keeps_its_marker(scene: Scene) -> None:
    scene.marked()
    scene.engine.broken = [EngineError("protocol", "port is taken")]
    assert scene.run(Api()) == WorkedOff(left=("db",), failed=("db",))
    assert (scene.markers / "db").exists()


def test_an_engine_that_cannot_tell_leaves_everything(scene: Scene) -> None:
    scene.marked()
    scene.engine.processes = EngineError("forbidden", "the proxy says no")
    assert scene.run() == WorkedOff(left=("db",))


def test_a_stop_signal_ends_the_wait(scene: Scene) -> None:
    scene.marked()
    scene.stop.then = scene.stop.set
    assert scene.run() == WorkedOff(left=("db",))
    assert scene.waited <= 5


def test_a_state_that_cannot_be_read_keeps_a_missing_backrest_busy(scene: Scene) -> None:
    scene.marked()
    scene.state_broken = True
    del scene.engine.up["backrest"]
    assert scene.run() == WorkedOff(left=("db",))
