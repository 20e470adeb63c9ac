"""What can be counted instead of timed: engine calls and writes of a pass, passes of a storm, what is held."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from sidecar.apply.config_file import ConfigFile
from sidecar.engine.model import EngineSnapshot
from sidecar.engine.snapshot import Snapshots
from sidecar.messages import ConfigChanged, EngineChanged, PlansRendered, RendererInbox, VolumesChanged
from sidecar.plans import workloads
from sidecar.status.announcer import Announcer
from sidecar.supervision.child import Context
from sidecar.supervision.mailbox import Mailbox
from sidecar.supervision.messages import Stop
from tests.unit.stage import CONFIG, Clock, Stage
from workers import renderer
from workers.renderer import Renderer


class CountingEngine:
    """Answers from memory and counts what it is asked."""

    generation = 0
    api_version = ""

    def __init__(self, containers: int) -> None:
        self.asked: list[str] = []
        self.rows = [row(number) for number in range(containers)]
        self._snapshots = Snapshots(self, own_ids=lambda: ())

    def fetch(self, path: str) -> bytes:
        self.asked.append(path.partition("?")[0])
        if path.startswith("/containers/json"):
            return orjson.dumps(self.rows)
        if path == "/volumes":
            names = {m["Name"] for r in self.rows for m in r["Mounts"] if m["Type"] == "volume"}
            return orjson.dumps({"Volumes": [{"Name": n, "Mountpoint": f"/v/{n}"} for n in sorted(names)]})
        return orjson.dumps({"ID": "counting", "DockerRootDir": "/var/lib/docker", "Config": {}})

    def snapshot(self) -> EngineSnapshot:
        return self._snapshots.take()

    def invalidate_volumes(self) -> None:
        self._snapshots.invalidate()


def row(number: int, **labels: str) -> dict[str, Any]:
    return {
        "Id": f"{number:064x}",
        "Names": [f"/web{number}"],
        "Image": "web",
        "ImageID": "sha256:one",
        "Created": 1_700_000_000,
        "State": "running",
        "Labels": {"backrest.enable": "true", **labels},
        "Mounts": [
            {"Type": "volume", "Name": f"data{number}", "Source": f"/v/data{number}", "Destination": "/d"}
        ],
    }


class Passes:
    """A renderer and a writer without threads, on a stage of the writer's tests."""

    def __init__(self, root: Path, containers: int) -> None:
        self.engine = CountingEngine(containers)
        self.stage = Stage(root, apply=False)
        self.out: Mailbox[PlansRendered] = Mailbox(1)
        file = ConfigFile(
            self.stage.settings,
            now=self.stage.clock.wall,
            read_only=True,
            latest=self.stage.latest,
        )
        looks: Mailbox[RendererInbox] = Mailbox(1)
        self.renderer = Renderer(
            self.stage.settings, self.engine, file, looks, self.out, self.stage.clock, Announcer()
        )

    def run(self) -> PlansRendered:
        assert self.renderer.look(self.stage.clock())
        wish = self.out.take(0)
        assert isinstance(wish, PlansRendered)
        self.stage.applier.want(wish)
        assert self.stage.applier.step() is None
        return wish

    @property
    def file(self) -> tuple[int, int]:
        status = self.stage.path.stat()
        return status.st_ino, status.st_mtime_ns


@pytest.fixture
def passes(tmp_path: Path) -> Passes:
    return Passes(tmp_path, 30)


def test_the_first_pass_asks_each_thing_once(passes: Passes) -> None:
    passes.run()
    assert sorted(passes.engine.asked) == [
        "/containers/json",
        "/images/sha256:one/json",
        "/info",
        "/version",
        "/volumes",
    ]
    assert len(passes.stage.plans()) == 31


def test_a_pass_over_an_unchanged_world_is_one_list_call_and_no_write(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = passes.run()
    passes.run()
    passes.engine.asked.clear()
    found = passes.file
    refuse(
        monkeypatch,
        "sidecar.engine.decode.loads",
        "sidecar.plans.desired.render",
        "sidecar.apply.plan_writer.merge_checked",
    )
    refuse(monkeypatch, "sidecar.config.document.parse", "sidecar.store.config_store.ConfigStore.lock")
    for _ in range(5):
        again = passes.run()
    assert passes.engine.asked == ["/containers/json"] * 5
    assert passes.file == found
    assert (
        again.rendering.plans is not before.rendering.plans or again.rendering.plans == before.rendering.plans
    )
    assert again.snapshot is passes.engine.snapshot()


def refuse(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def never(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("nothing has changed, and it is worked out again")

    for name in names:
        monkeypatch.setattr(name, never)


def test_a_new_container_with_a_new_volume_costs_two_calls_one_parse_and_one_write(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes.run()
    passes.run()
    parsed = count(monkeypatch, "sidecar.engine.decode.container")
    drafted = count(monkeypatch, "sidecar.plans.render._draft_group")
    checked = count(monkeypatch, "sidecar.config.validation.plan_problems")
    compared = count(monkeypatch, "sidecar.merge.merge_pass.stands_exactly")
    passes.engine.asked.clear()
    passes.engine.rows.append(row(30))
    passes.engine.invalidate_volumes()  # as the event of the volume has it
    before = passes.file
    passes.run()
    assert passes.engine.asked.count("/containers/json") == 1
    assert passes.engine.asked == ["/containers/json", "/volumes"]
    assert (len(parsed), len(drafted), len(checked), len(compared)) == (1, 1, 1, 0)
    assert passes.file != before
    assert len(passes.stage.plans()) == 32


def test_what_the_writer_wrote_nobody_parses_and_what_a_person_wrote_one_alone(
    passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes.run()
    parsed = count(monkeypatch, "sidecar.config.document.parse")
    states = count(monkeypatch, "sidecar.store.state_store.from_json")
    passes.engine.rows.append(row(30))
    written = passes.run()
    after = passes.run()
    assert after.number == written.number + 1
    assert len(after.basis.view.plans) == 32
    assert (len(parsed), len(states)) == (0, 0)

    document = orjson.loads(passes.stage.path.read_bytes())
    document["plans"] = [plan for plan in document["plans"] if plan["id"] != "backrest_sidecar_web30"]
    passes.stage.path.write_bytes(orjson.dumps(document))
    seen = passes.run()
    assert len(seen.basis.view.plans) == 31
    assert len(parsed) == 1
    assert len(passes.stage.plans()) == 32


def count(monkeypatch: pytest.MonkeyPatch, name: str) -> list[object]:
    """Replace a function by itself, and return the list that grows with each call."""
    module, _, attribute = name.rpartition(".")
    from importlib import import_module

    real: Callable[..., object] = getattr(import_module(module), attribute)
    calls: list[object] = []

    def counting(*args: object, **kwargs: object) -> object:
        calls.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(name, counting)
    return calls


def test_work_grows_with_the_containers_and_not_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = count(monkeypatch, "sidecar.plans.workloads.plan_id")
    checked = count(monkeypatch, "sidecar.config.validation.plan_problems")
    made: list[tuple[int, int]] = []
    for size in (100, 400):
        workloads.candidate_ids.cache_clear()
        hashed.clear()
        checked.clear()
        place = tmp_path / str(size)
        place.mkdir()
        Passes(place, size).run()
        made.append((len(hashed), len(checked)))
    assert made[1][0] <= 4 * made[0][0]
    assert made[1][1] <= 4 * made[0][1] + 10


def test_two_thousand_passes_hold_no_more_threads_descriptors_or_objects(passes: Passes) -> None:
    def some(count: int) -> None:
        for number in range(count):
            if number % 50 == 0:
                passes.engine.rows[0] = row(0, **{"backrest.schedule": f"{number // 50 % 60} 4 * * *"})
            passes.run()
        passes.stage.reports.clear()  # the test's own
        gc.collect()

    some(200)
    held = descriptors(), threading.active_count(), len(gc.get_objects())
    some(1800)
    assert descriptors() == held[0]
    assert threading.active_count() == held[1]
    assert len(gc.get_objects()) < held[2] + 2000


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Script:
    """An inbox whose messages come at given times of a clock that waiting turns."""

    def __init__(self, clock: Clock, messages: list[tuple[float, RendererInbox]]) -> None:
        self._clock = clock
        self._began = clock.now
        self._messages = list(messages)

    def take(self, timeout: float) -> RendererInbox | Stop | None:
        now = self._clock.now - self._began
        if not self._messages and timeout > 30:
            return Stop.STOP
        if self._messages and self._messages[0][0] <= now + timeout:
            at, message = self._messages.pop(0)
            # Whatever came while nobody took: a full inbox already says "look again".
            while self._messages and self._messages[0][0] < now:
                self._messages.pop(0)
            self._clock.now = self._began + max(now, at)
            return message
        self._clock.now += timeout
        return None


def looks(tmp_path: Path, messages: list[tuple[float, RendererInbox]], takes: float = 0.04) -> list[float]:
    """Return at what times the renderer looked, each look taking so many seconds."""
    stage = Stage(tmp_path, CONFIG, apply=False)
    began = stage.clock.now
    inbox: Any = Script(stage.clock, messages)
    out: Mailbox[PlansRendered] = Mailbox(1)
    work = Renderer(stage.settings, CountingEngine(1), stage.file, inbox, out, stage.clock, Announcer())
    found: list[float] = []

    def look(_cause: float) -> bool:
        found.append(round(stage.clock.now - began, 3))
        stage.clock.now += takes
        return True

    work.look = look  # type: ignore[method-assign,assignment]  # the look is not what is tested here
    work.run(Context("renderer", threading.Event(), lambda _seconds: None, lambda _report: None))
    return found


def engine(*times: float) -> list[tuple[float, RendererInbox]]:
    return [(at, EngineChanged("container create", at)) for at in times]


def test_the_first_event_of_a_quiet_period_is_served_at_once(tmp_path: Path) -> None:
    assert looks(tmp_path, engine(5.0)) == [0.0, 5.0]


def test_what_follows_is_gathered_until_it_is_quiet(tmp_path: Path) -> None:
    assert looks(tmp_path, engine(5.0, 5.1, 5.3, 5.5)) == [0.0, 5.0, 5.8]


def test_a_trickle_is_served_every_two_seconds_at_first(tmp_path: Path) -> None:
    found = looks(tmp_path, engine(*(5 + number / 5 for number in range(15))))
    assert found == [0.0, 5.0, 7.2, 8.1]


def test_our_own_write_delays_no_event(tmp_path: Path) -> None:
    told: list[tuple[float, RendererInbox]] = [(5.0, ConfigChanged("modified", 5.0))]
    assert looks(tmp_path, told + engine(5.1)) == [0.0, 5.0, 5.1]


def test_a_new_volume_waits_for_its_container_and_the_container_for_nothing(tmp_path: Path) -> None:
    told: list[tuple[float, RendererInbox]] = [(5.0, VolumesChanged("volume create", 5.0))]
    assert looks(tmp_path, told + engine(5.05)) == [0.0, 5.05]


def test_a_volume_alone_is_looked_at_when_it_is_quiet(tmp_path: Path) -> None:
    assert looks(tmp_path, [(5.0, VolumesChanged("volume create", 5.0))]) == [0.0, 5.3]


def test_a_thousand_containers_within_seconds_cost_two_passes(tmp_path: Path) -> None:
    # Two events each, as with a volume of its own.
    found = looks(tmp_path, engine(*(5 + number / 200 for number in range(2000))))
    assert len(found) - 1 == 2
    assert found[-1] == pytest.approx(5 + 10 + 0.3, abs=0.01)


def test_a_storm_that_does_not_end_is_served_all_the_same(tmp_path: Path) -> None:
    found = looks(tmp_path, engine(*(5 + number / 50 for number in range(50 * 60))))
    assert len(found) - 1 <= 1 + 60 / renderer.STORM_WINDOW + 1
    assert max(b - a for a, b in pairwise(found[1:])) <= renderer.STORM_WINDOW + 0.5
