"""A stage for the writer: a real config.json and state on the disk, a Backrest that keeps books, a clock to turn.

``FakeBackrest`` is the engine's side of Backrest's container. It reads the file when it is started and refuses a
document with a plan whose id holds ``bad``, as the real one refuses a plan; so a test sees what Backrest would run
with.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from sidecar.apply.applier import Applier
from sidecar.apply.config_file import ConfigFile, Latest
from sidecar.apply.link import BackrestLink
from sidecar.apply.restarter import Restarter
from sidecar.backrest.api import BackrestApi
from sidecar.engine.errors import EngineError
from sidecar.engine.model import Container, EngineSnapshot
from sidecar.engine.types import ContainerState, Process
from sidecar.messages import Applied, PlansRendered, Report, WriteFailed
from sidecar.plans.desired import Desired, path_view
from sidecar.plans.rendering import Basis
from sidecar.settings.settings import Settings, resolve
from sidecar.status.announcer import Announcer
from sidecar.status.board import StatusBoard

START = 1_790_000_000.0
CONFIG: dict[str, Any] = {
    "modno": 3,
    "version": 6,
    "instance": "host",
    "repos": [{"id": "main", "uri": "/repo", "guid": "0" * 64, "password": "s3cret-word"}],
    "plans": [
        {
            "id": "hand-made",
            "repo": "main",
            "paths": ["/etc"],
            "schedule": {"maxFrequencyHours": 4},
            "new": {"x": 1},
        }
    ],
    "auth": {"disabled": True},
    "later": {"unknown": ["to", "us"]},
}


class Clock:
    """Monotonic and wall time that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return START + self.now

    def stamp(self) -> str:
        return dt.datetime.fromtimestamp(self.wall(), dt.UTC).isoformat().replace("+00:00", "Z")


class FakeBackrest:
    """The container ``backrest`` and what the writer does to it.

    Attributes:
        tasks: What its log says of tasks since its start; None when nothing of them is to be had.
    """

    def __init__(self, config: Path, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.calls: list[str] = []
        self.exists = True
        self.running = True
        self.status = "running"
        self.busy: list[str] = []
        self.started_at = clock.stamp()
        self.cache = config.read_bytes() if config.exists() else b"{}"
        self.log = ""
        self.tasks: str | None = ""
        self.fail: dict[str, EngineError] = {}
        self.on_stop: Callable[[], None] = lambda: None
        self.restarts = 0
        self.image_id = "sha256:one"
        self.name = "backrest"

    def find(self, name: str, /) -> ContainerState | None:
        self._maybe_fail("find")
        if not self.exists or name not in {self.name, "b" * 64}:
            return None
        status = self.status if self.running or self.status != "running" else "exited"
        return ContainerState(
            id="b" * 64,
            name=self.name,
            status=status,
            running=self.running,
            started_at=self.started_at,
            image_id=self.image_id,
            restart_count=self.restarts,
            exit_code=0 if self.running else 1,
            tz="UTC",
        )

    def top(self, container_id: str, /) -> tuple[Process, ...]:
        self._maybe_fail("top")
        own = (Process(1, 0, "tini -- /docker-entrypoint /backrest"), Process(2, 1, "/backrest"))
        return own + tuple(Process(10 + n, 2, name) for n, name in enumerate(self.busy))

    def stop(self, container_id: str, /, timeout: int | None = None) -> None:
        self.calls.append("stop")
        self.on_stop()
        self._maybe_fail("stop")
        self.running = False

    def start(self, container_id: str, /) -> None:
        self._maybe_fail("start")
        self.calls.append("start")
        self.started_at = self.clock.stamp()
        raw = self.config.read_bytes()
        bad = [plan["id"] for plan in orjson.loads(raw).get("plans", []) if "bad" in plan["id"]]
        if bad:
            self.running = False
            fields = orjson.dumps({"error": f"1 error occurred:\n\t* plan {bad[0]}: invalid\n\n"}).decode()
            self.log = f"2026-01-01T00:00:00Z\tFATAL\terror loading config\t{fields}\n"
        else:
            self.running = True
            self.cache = raw

    def ui_save(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Somebody saves in the web page: the file is written whole from the cache, never read before."""
        data = orjson.loads(self.cache)
        change(data)
        data["modno"] = data.get("modno", 0) + 1
        self.cache = orjson.dumps(data, option=orjson.OPT_INDENT_2)
        temporary = self.config.with_name("backrest.tmp")
        temporary.write_bytes(self.cache)
        temporary.chmod(0o600)
        temporary.replace(self.config)

    def logs(self, container_id: str, /, since: float = 0, tail: int = 200) -> str:
        if self.tasks is None:  # a log driver that keeps nothing
            return self.log
        began = dt.datetime.fromisoformat(self.started_at).isoformat(timespec="milliseconds")
        began = began.replace("+00:00", "Z")
        return f"{began}\tINFO\treset task queue, scheduling new task set\t{{}}\n{self.tasks}{self.log}"

    def plans(self) -> set[str]:
        """Ids of the plans that this Backrest runs with."""
        return {plan["id"] for plan in orjson.loads(self.cache)["plans"]}

    def _maybe_fail(self, call: str) -> None:
        if call in self.fail:
            raise self.fail[call]


class Stage:
    """Everything a writer needs, in one directory."""

    def __init__(self, root: Path, config: dict[str, Any] | None = None, **flags: Any) -> None:
        self.path = root / "config.json"
        if config is None or config:
            self.path.write_bytes(orjson.dumps(config or CONFIG, option=orjson.OPT_INDENT_2))
        self.clock = Clock()
        given = {"config": str(self.path), "apply": True, "config-mode": "preserve"}
        given |= {name.replace("_", "-"): value for name, value in flags.items()}
        self.settings: Settings = resolve("daemon", given, {})
        self.backrest = FakeBackrest(self.path, self.clock)
        self.reports: list[Report] = []
        self.number = 0
        self.desired = Desired(self.settings)
        self.api: Callable[[], BackrestApi] | None = None
        self.reborn()

    def reborn(self, *, patient: bool = True) -> None:
        """The process died and is started anew: nothing but the disk remains."""
        self.latest = Latest()
        self.file = ConfigFile(self.settings, now=self.clock.wall, latest=self.latest)
        self.board = StatusBoard(wall=self.clock.wall, clock=self.clock)
        self.link = BackrestLink(self.api, self.board) if self.api is not None else None
        self.restarter = Restarter(
            self.settings,
            self.file,
            self.backrest,
            lambda: (),
            link=self.link,
            clock=self.clock,
            now=self.clock.wall,
            patient=patient,
        )
        self.applier = Applier(
            self.settings,
            self.file,
            Announcer(),
            self.restarter,
            self.api,
            clock=self.clock,
            now=self.clock.wall,
            report=self.report,
            patient=patient,
            link=self.link,
        )

    def report(self, report: Report) -> None:
        self.reports.append(report)
        self.board.reported(report)

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds

    def want(self, *containers: Container, complete: bool = True) -> PlansRendered:
        snapshot = EngineSnapshot(containers)
        state = self.file.state()
        basis = Basis(self.file.current().view, state.owners, path_view(snapshot, state.view, self.settings))
        self.number += 1
        rendering = self.desired.render(snapshot, basis)
        wish = PlansRendered(rendering, snapshot, basis, self.number, self.clock())
        self.applier.want(wish)
        return wish

    def run(self, longest: float = 1000.0) -> None:
        """Step until nothing is due, turning the clock as far as each step asks for."""
        ends = self.clock.now + longest
        due = self.applier.step()
        while due is not None and due <= ends:
            self.clock.now = max(self.clock.now, due)
            due = self.applier.step()
        self.clock.now = max(self.clock.now, min(ends, due)) if due is not None else self.clock.now

    def document(self) -> dict[str, Any]:
        return orjson.loads(self.path.read_bytes())  # type: ignore[no-any-return]  # an object, as every test writes it

    def plans(self) -> set[str]:
        return {plan["id"] for plan in self.document().get("plans", [])}

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Another program saves the file, as an editor does."""
        data = self.document()
        change(data)
        temporary = self.path.with_name("editor.tmp")
        temporary.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        temporary.replace(self.path)

    @property
    def applied(self) -> Applied:
        return [report for report in self.reports if isinstance(report, Applied)][-1]

    @property
    def failed(self) -> WriteFailed | None:
        found = [report for report in self.reports if isinstance(report, WriteFailed)]
        return found[-1] if found else None
