"""A scripted engine that runs in one thread on a clock of its own, and can die with the process at any call.

It knows containers, helpers (what a command prints and returns is scripted) and time: a stop that a dead process
asked for still happens, a little later, as with the real one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from sidecar.backup import run
from sidecar.engine.errors import EngineError
from sidecar.engine.model import Container, EngineSnapshot, Mount, SwarmService
from sidecar.engine.types import ContainerState, EngineInfo, RunSpec
from sidecar.log import get_logger
from sidecar.quiesce import recovery
from sidecar.quiesce.journal import Journal
from sidecar.quiesce.quiescer import Signals
from sidecar.quiesce.records import State
from sidecar.quiesce.recovery import Tools
from sidecar.quiesce.switch import Patience
from tests.doubles import swarm as fake_swarm

STOP_TAKES = 1.0
SNAPSHOT_LINE = '[{"id":"%s","time":"t","hostname":"h","paths":["/volumes"],"tags":[]}]'


T = TypeVar("T")


class Died(BaseException):
    """The process was killed at this point."""


class InlineExecutor(Executor):
    """Does everything at once, in the thread that asks."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - as the real one does
            future.set_exception(error)
        return future


@dataclass
class Box:
    """A container as the engine has it."""

    container: Container
    state: str = "running"
    stop_timeout: int | None = None
    auto_remove: bool = False
    health: str = ""
    exit_code: int = 0
    output: tuple[bytes, ...] = ()
    starts: int = 0
    stops: int = 0


Hook = Callable[["FakeEngine", str, str], None]


@dataclass
class FakeEngine:
    """The engine. ``calls`` has every call in order, as ``(verb, container's name)``."""

    boxes: dict[str, Box] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    now: float = 1000.0
    later: list[tuple[float, str, str]] = field(default_factory=list)
    hook: Hook | None = None
    script: Callable[[FakeEngine, RunSpec], tuple[int, list[str]]] = lambda _e, _s: (0, [])
    die_at: int = -1
    die_how: str = ""
    steps: int = 0
    dead: bool = False
    images: set[str] = field(default_factory=lambda: {"zettaio/restic-compose-backup:0.7.1", "restic/restic"})
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    volumes: dict[str, Any] = field(default_factory=dict)
    services: dict[str, SwarmService] = field(default_factory=dict)

    # --- the world -----------------------------------------------------------------------------------------

    def add(self, container: Container, **more: Any) -> Box:
        box = self.boxes[container.id] = Box(container, **{"state": container.state, **more})
        return box

    def state_of(self, name: str) -> str:
        return next(b.state for b in self.boxes.values() if b.container.name == name)

    def states(self) -> dict[str, str]:
        return {b.container.name: b.state for b in self.boxes.values()}

    def helpers(self) -> list[str]:
        return [b.container.name for b in self.boxes.values() if "backrest-sidecar" in b.container.name]

    def rest(self, seconds: float) -> None:
        self.now += seconds
        for due in [d for d in self.later if d[0] <= self.now]:
            self.later.remove(due)
            if due[1] in self.boxes:
                self.boxes[due[1]].state = due[2]

    # --- dying ---------------------------------------------------------------------------------------------

    def step(self, verb: str, name: str, act: Callable[[], T], late: Callable[[], None] | None = None) -> T:
        """One thing that the process does to the world outside. It may die before, after, or in the middle."""
        if self.dead:
            raise Died
        number, self.steps = self.steps, self.steps + 1
        self.calls.append((verb, name))
        dies = number == self.die_at
        if dies and self.die_how == "before":
            self.dead = True
            raise Died
        if dies and self.die_how == "during":
            self.dead = True
            (late or act)()
            raise Died
        if self.hook is not None:
            self.hook(self, verb, name)
        result = act()
        if dies:
            self.dead = True
            raise Died
        return result

    # --- the engine's calls --------------------------------------------------------------------------------

    def _box(self, ref: str) -> Box:
        for box in self.boxes.values():
            if ref in {box.container.id, box.container.name}:
                return box
        raise EngineError("not-found", f"there is no {ref}")

    def snapshot(self) -> EngineSnapshot:
        def act() -> EngineSnapshot:
            return EngineSnapshot(
                tuple(replace(b.container, state=b.state) for b in self.boxes.values()),
                volumes=dict(self.volumes),
                docker_root="/var/lib/docker",
                swarm="manager" if self.services else "none",
                services=dict(self.services),
            )

        return self.step("snapshot", "", act)

    def info(self) -> EngineInfo:
        return EngineInfo(name="host1")

    def find(self, name: str, /) -> ContainerState | None:
        def act() -> ContainerState | None:
            try:
                box = self._box(name)
            except EngineError:
                return None
            c = box.container
            return ContainerState(
                c.id, c.name, status=box.state, running=box.state in {"running", "paused", "restarting"},
                paused=box.state == "paused", health=box.health, labels=c.labels, stop_timeout=box.stop_timeout,
                auto_remove=box.auto_remove, exit_code=box.exit_code,
            )  # fmt: skip

        return self.step("find", name, act)

    def stop(self, container_id: str, /, timeout: int | None = None) -> bool:
        box = self._box(container_id)

        def act() -> bool:
            was = box.state in {"running", "paused"}
            box.state, box.stops = "exited", box.stops + 1
            return was

        def late() -> None:
            self.later.append((self.now + STOP_TAKES, container_id, "exited"))

        return self.step("stop", box.container.name, act, late)

    def start(self, container_id: str, /) -> bool:
        box = self._box(container_id)

        def act() -> bool:
            was = box.state in {"exited", "created"}
            box.state, box.starts = "running", box.starts + 1
            return was

        return self.step("start", box.container.name, act)

    def pause(self, container_id: str, /) -> None:
        box = self._box(container_id)

        def act() -> None:
            if box.state != "running":
                raise EngineError("conflict", f"{box.container.name} is {box.state}")
            box.state = "paused"

        self.step("pause", box.container.name, act)

    def unpause(self, container_id: str, /) -> None:
        box = self._box(container_id)

        def act() -> None:
            if box.state != "paused":
                raise EngineError("conflict", f"{box.container.name} is {box.state}")
            box.state = "running"

        self.step("unpause", box.container.name, act)

    @property
    def swarm(self) -> fake_swarm.FakeSwarm:
        return fake_swarm.FakeSwarm(self)

    def has_image(self, image: str, /) -> bool:
        return image in self.images

    def pull(self, image: str, /) -> None:
        self.step("pull", image, lambda: self.images.add(image))

    def create_and_start(self, spec: RunSpec, /) -> str:
        made = f"helper{next(self.ids)}"

        def act() -> str:
            code, lines = self.script(self, spec)
            container = Container(made, spec.name, labels=dict(spec.labels), image=spec.image)
            output = tuple(f"{line}\n".encode() for line in lines)
            self.boxes[made] = Box(container, state="running", exit_code=code, output=output)
            return made

        return self.step("run", " ".join((*spec.entrypoint, *spec.command[:2])), act)

    def wait(self, container_id: str, /, timeout: float) -> int | None:
        box = self._box(container_id)

        def act() -> int:
            box.state = "exited"
            return box.exit_code

        return self.step("wait", box.container.name, act)

    def kill(self, container_id: str, /, signal: str = "SIGKILL") -> None:
        box = self._box(container_id)

        def act() -> None:
            box.state = "exited"

        self.step("kill", box.container.name, act)

    def remove(self, container_id: str, /, force: bool = False) -> None:
        box = self._box(container_id)
        self.step("remove", box.container.name, lambda: self.boxes.pop(container_id))

    def stream_logs(self, container_id: str, /, since: float = 0) -> Lines:
        return Lines(self._box(container_id).output)


@dataclass
class Lines:
    """Output that is all there at once."""

    chunks: tuple[bytes, ...]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def close(self) -> None:
        pass


class DyingJournal(Journal):
    """A journal whose every write is a step at which the process may die; in the middle leaves a torn line."""

    engine: FakeEngine

    def _append(self, records: list[dict[str, Any]]) -> None:
        def torn() -> None:
            with self.path.open("ab") as file:
                file.write(b'\n{"id":"torn')

        if records:
            self.engine.step("journal", str(len(records)), lambda: Journal._append(self, records), torn)

    def begin(self, book: Any) -> None:
        def torn() -> None:
            self.path.with_name(f"{self.path.name}.new").write_bytes(b'{"version":1,')

        self.engine.step("journal", "begin", lambda: Journal.begin(self, book), torn)

    def finish(self) -> None:
        self.engine.step("journal", "finish", lambda: Journal.finish(self))


def tools(
    engine: FakeEngine, *, stopped: Callable[[], bool] = lambda: False, executor: Executor | None = None
) -> Tools:
    """Return what a run needs, on the engine's clock and in one thread."""
    return Tools(
        executor=executor or InlineExecutor(),
        signals=Signals(stopped, lambda _seconds: None),
        log=get_logger("test"),
        clock=lambda: engine.now,
        monotonic=lambda: engine.now,
        rest=engine.rest,
        patience=Patience(start=5.0, engine=5.0, health=5.0),
    )


def use_journal(engine: FakeEngine, monkeypatch: Any) -> None:
    """Make runs and recoveries of this engine use a journal that dies with it."""
    kind = type("BoundJournal", (DyingJournal,), {"engine": engine})
    monkeypatch.setattr(run, "Journal", kind)
    monkeypatch.setattr(recovery, "Journal", kind)


def workload(name: str, *, project: str = "shop", quiesce: bool = True, **labels: str) -> Container:
    """Return a Compose container with one volume of its own."""
    wanted = {
        "com.docker.compose.project": project,
        "com.docker.compose.service": name,
        "com.docker.compose.container-number": "1",
        "restic-compose-backup.volumes": "true",
        **({"backrest.quiesce": "true"} if quiesce else {}),
        **{key.replace("__", "."): value for key, value in labels.items()},
    }
    mount = Mount("volume", f"/var/lib/docker/volumes/{name}/_data", "/data", name=name, driver="local")
    return Container(f"{name}-id", name, labels=wanted, mounts=(mount,))


def journal_states(state_dir: Path) -> dict[str, State]:
    """Return what the journal says, by container name; empty without one."""
    book = Journal(state_dir, lambda: 0.0).load()
    return {e.name: e.state for e in book.entries} if book else {}
