"""A container that Backrest's hook stopped and never started is started; one that a person stopped is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.engine.errors import EngineError
from sidecar.engine.model import Container, SwarmService
from sidecar.engine.types import ContainerState, Process
from sidecar.log import get_logger
from sidecar.quiesce.watchdog import (
    NOTHING_THERE,
    WATCHING,
    Doing,
    Marker,
    MarkerWatch,
    backrest_doing,
    overdue_markers,
)

GRACE = 60.0


@dataclass
class Swarm:
    """Services by name: their replicas, None for a global one."""

    replicas: dict[str, int | None] = field(default_factory=dict)
    scaled: list[tuple[str, int]] = field(default_factory=list)
    broken: list[EngineError] = field(default_factory=list)

    def service(self, name: str) -> SwarmService | None:
        if self.broken:
            raise self.broken.pop(0)
        return SwarmService("id", name, replicas=self.replicas[name]) if name in self.replicas else None

    def scale(self, name: str, replicas: int) -> int:
        self.scaled.append((name, replicas))
        self.replicas[name] = replicas
        return 0


@dataclass
class Engine:
    """Containers by name, and whether each runs."""

    up: dict[str, bool] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    broken: list[EngineError] = field(default_factory=list)
    processes: tuple[Process, ...] | EngineError = ()
    state: str = "running"
    swarm: Swarm = field(default_factory=Swarm)

    def find(self, name: str, /) -> ContainerState | None:
        if name not in self.up:
            return None
        status = self.state if self.up[name] else "exited"
        return ContainerState(name, name, status=status, running=self.up[name], paused=status == "paused")

    def start(self, container_id: str, /) -> object:
        if self.broken:
            raise self.broken.pop(0)
        self.started.append(container_id)
        self.up[container_id] = True
        return True

    def stop(self, container_id: str, /, timeout: int | None = None) -> object:
        raise AssertionError("nothing is ever stopped here")

    def top(self, container_id: str, /) -> tuple[Process, ...]:
        if isinstance(self.processes, EngineError):
            raise self.processes
        return self.processes

    def logs(self, container_id: str, /, since: float = 0, tail: int = 200) -> str:
        raise AssertionError("no log is read here")


class Scene:
    """A watch on a clock of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "stopped"
        self.directory.mkdir()
        self.engine = Engine()
        self.now = 1000.0
        self.doing: Doing = "idle"
        self.watch = MarkerWatch(
            self.directory, self.engine, lambda: self.doing, GRACE, lambda: self.now, get_logger("test")
        )

    def marked(self, name: str, *, up: bool = False) -> None:
        (self.directory / name).touch()
        self.engine.up[name] = up

    def after(self, seconds: float) -> list[str]:
        """Let time pass, with a look every now and then; return what was started so far."""
        until = self.now + seconds
        while self.now < until:
            self.watch.step()
            self.now += WATCHING
        self.watch.step()
        return self.engine.started


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.parametrize("doing", ["idle", "gone"])
def test_it_is_started_after_the_grace_and_the_marker_goes(scene: Scene, doing: Doing) -> None:
    scene.doing = doing
    scene.marked("db")
    assert scene.after(GRACE - WATCHING) == []
    assert scene.after(WATCHING) == ["db"]
    assert list(scene.directory.iterdir()) == []


def test_as_long_as_backrest_works_nothing_is_touched(scene: Scene) -> None:
    scene.marked("db")
    scene.doing = "busy"
    assert scene.after(10 * GRACE) == []
    scene.doing = "idle"
    assert scene.after(GRACE - WATCHING) == []
    assert scene.after(2 * WATCHING) == ["db"]


def test_the_grace_begins_anew_after_each_backup(scene: Scene) -> None:
    scene.marked("db")
    scene.after(GRACE - 2 * WATCHING)
    scene.doing = "busy"
    scene.after(WATCHING)
    scene.doing = "idle"
    assert scene.after(GRACE - WATCHING) == []


def test_what_a_person_stopped_is_respected(scene: Scene) -> None:
    scene.engine.up["db"] = False
    assert scene.after(10 * GRACE) == []


def test_a_marker_of_a_running_container_is_removed_so_that_a_later_stop_by_a_person_counts(
    scene: Scene,
) -> None:
    scene.marked("db", up=True)
    scene.after(GRACE + WATCHING)
    assert not (scene.directory / "db").exists()
    scene.engine.up["db"] = False
    assert scene.after(10 * GRACE) == []


def test_a_marker_of_a_container_that_is_gone_is_removed(scene: Scene) -> None:
    (scene.directory / "db").touch()
    scene.after(GRACE + WATCHING)
    assert not (scene.directory / "db").exists()


def test_a_start_that_fails_is_tried_again_and_keeps_the_marker(scene: Scene) -> None:
    scene.marked("db")
    scene.engine.broken = [EngineError("protocol", "port is taken"), EngineError("protocol", "port is taken")]
    assert scene.after(GRACE) == []
    assert (scene.directory / "db").exists()
    assert scene.after(15 + 30 + 2 * WATCHING) == ["db"]


def test_an_engine_that_does_not_answer_is_survived(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.marked("db")
    answers = scene.watch._doing

    def down() -> Doing:
        raise EngineError("unreachable", "nobody answers")

    scene.watch._doing = down
    assert scene.after(10 * GRACE) == []
    assert [r.message for r in caplog.records] == ["hooks.watch_failed"]
    scene.watch._doing = answers
    assert scene.after(GRACE + WATCHING) == ["db"]


def test_odd_files_are_no_markers(scene: Scene) -> None:
    for name in (".hidden", "a b", "-x", "é"):
        (scene.directory / name).touch()
    assert scene.watch.step() == NOTHING_THERE


def test_without_the_directory_there_is_nothing_to_do(scene: Scene) -> None:
    scene.directory.rmdir()
    assert scene.watch.step() == NOTHING_THERE


def test_the_decision_itself() -> None:
    markers = {"b": Marker("b", 0.0), "a": Marker("a", 50.0), "c": Marker("c", 0.0, 1, retry_at=200.0)}
    due = overdue_markers(markers, quiet_since=0.0, now=100.0, grace=60.0)
    assert [m.container for m in due] == ["b"]
    assert overdue_markers(markers, quiet_since=None, now=1e9, grace=0.0) == ()
    assert overdue_markers(markers, quiet_since=99.0, now=100.0, grace=60.0) == ()


BACKREST = Process(1, 0, "/backrest")


@pytest.mark.parametrize(
    ("processes", "running", "doing"),
    [
        ((BACKREST,), False, "idle"),
        ((BACKREST,), True, "busy"),
        ((BACKREST, Process(7, 1, "restic backup /x")), False, "busy"),
        ((BACKREST, Process(7, 1, "sh")), False, "busy"),
        ((), False, "busy"),
        (EngineError("conflict", "is not running"), False, "busy"),
    ],
)
def test_what_backrest_is_doing(
    processes: tuple[Process, ...] | EngineError, running: bool, doing: Doing
) -> None:
    engine = Engine(up={"backrest": True}, processes=processes)
    assert look(engine, running=running) == doing


def look(engine: Engine, *containers: Container, known: bool = True, running: bool = False) -> Doing:
    return backrest_doing(
        engine, "backrest", containers=lambda: containers, known=known, running=lambda: running
    )


def test_backrest_gone_down_or_coming_back() -> None:
    assert look(Engine()) == "gone"
    assert look(Engine(up={"backrest": False})) == "gone"
    assert look(Engine(up={"backrest": True}, state="paused")) == "busy"
    with pytest.raises(EngineError, match="forbidden"):
        look(Engine(up={"backrest": True}, processes=EngineError("forbidden", "forbidden")))


def test_a_backrest_that_nobody_can_see_is_not_gone() -> None:
    assert look(Engine(), known=False) == "busy"  # it may run on the host itself
    service = {"com.docker.compose.service": "backrest"}
    found = Engine(up={"stack-backrest-1": True}, processes=(BACKREST, Process(9, 1, "restic backup")))
    one = Container(
        "stack-backrest-1", "stack-backrest-1", labels={**service, "com.docker.compose.project": "a"}
    )
    two = Container("b", "b", labels={**service, "com.docker.compose.project": "b"})
    assert look(found, one) == "busy"
    assert look(Engine(), one, two) == "busy"


def marked_service(scene: Scene, replicas: int | None, text: str = "3\n") -> Path:
    marker = scene.directory / "service=shop_web"
    marker.write_text(text)
    scene.engine.swarm.replicas["shop_web"] = replicas
    return marker


@pytest.mark.parametrize(("text", "replicas"), [("3\n", 3), ("", 1), ("many", 1), ("²", 1)])
def test_a_service_is_scaled_back_to_what_it_had(scene: Scene, text: str, replicas: int) -> None:
    marker = marked_service(scene, 0, text)
    scene.after(GRACE - WATCHING)
    assert scene.engine.swarm.scaled == []
    scene.after(WATCHING)
    assert scene.engine.swarm.scaled == [("shop_web", replicas)]
    assert not marker.exists()
    assert scene.engine.started == []


@pytest.mark.parametrize("replicas", [2, None])
def test_a_service_that_has_replicas_stays_as_it_is(scene: Scene, replicas: int | None) -> None:
    marker = marked_service(scene, replicas)
    scene.after(GRACE + WATCHING)
    assert scene.engine.swarm.scaled == []
    assert not marker.exists()


def test_a_marker_of_a_service_that_is_gone_is_removed(scene: Scene) -> None:
    marker = marked_service(scene, 0)
    scene.engine.swarm.replicas.clear()
    scene.after(GRACE + WATCHING)
    assert not marker.exists()


def test_a_swarm_that_refuses_is_asked_again(scene: Scene) -> None:
    marker = marked_service(scene, 0)
    scene.engine.swarm.broken = [EngineError("conflict", "This node is not a swarm manager")]
    scene.after(GRACE)
    assert marker.exists()
    scene.after(15 + 2 * WATCHING)
    assert scene.engine.swarm.scaled == [("shop_web", 3)]


def test_half_written_markers_of_services_are_none(scene: Scene) -> None:
    (scene.directory / ".service=shop_web").write_text("3\n")
    (scene.directory / "other=shop_web").write_text("3\n")
    assert scene.watch.step() == NOTHING_THERE
