import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from sidecar import log as logs
from sidecar.config.plan import Plan
from sidecar.engine.model import EngineSnapshot
from sidecar.findings import Finding
from sidecar.messages import Applied, WriteFailed
from sidecar.plans.rendering import RenderedPlan, Rendering
from sidecar.status.announcer import Announcer
from sidecar.status.board import LATENCY_BUCKETS, StatusBoard
from sidecar.status.file import MOST_FINDINGS, StatusFile, document
from sidecar.status.show import render_status
from sidecar.store.errors import ConfigUnreadable
from sidecar.supervision.child import WorkerFacts
from tests.unit.builders import container

WALL = 1_700_000_000.0  # 2023-11-14T22:13:20Z


class World:
    """A board on two clocks by hand, and a status file of it."""

    def __init__(self, directory: Path) -> None:
        self.now = 100.0
        self.board = StatusBoard(wall=lambda: WALL + self.now, clock=lambda: self.now)
        self.workers: tuple[WorkerFacts, ...] = (WorkerFacts("writer", "running", 0, 99.0),)
        self.file = StatusFile(directory, self.board, lambda: self.workers, wall=lambda: WALL + self.now)

    def tick(self, later: float = 0.0) -> bool:
        self.now += later
        return self.file.tick(self.now)

    def read(self) -> Any:
        return json.loads(self.file.path.read_bytes())

    def status(self) -> dict[str, Any]:
        return document(self.board.facts, self.workers, self.now, WALL + self.now)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / ".backrest-sidecar")


def rendering(*skipped: Finding, plans: int = 1) -> Rendering:
    made = tuple(
        RenderedPlan(
            plan=Plan(id=f"p{number}", repo="r", paths=("/a",), cron="0 2 * * *"),
            workload="w",
            containers=("c",),
        )
        for number in range(plans)
    )
    return Rendering(plans=made, findings=skipped)


def test_the_engine_keeps_the_time_of_its_first_failure(world: World) -> None:
    assert world.status()["engine"]["reachable"] is None
    world.board.engine_up()
    world.now = 110
    world.board.engine_up()
    assert world.status()["engine"]["for_seconds"] == 10
    world.board.engine_down("no socket", "is Docker running?")
    world.now = 130
    world.board.engine_down("refused", "is Docker running?")
    engine = world.status()["engine"]
    assert (engine["reachable"], engine["for_seconds"], engine["reason"]) == (False, 20, "refused")
    world.board.engine_up()
    assert world.status()["engine"]["reason"] == ""


def test_a_rendering_gives_counts_skips_and_invisible_paths(world: World) -> None:
    world.board.rendered(
        rendering(
            Finding("wrong-label", "bad cron", container="web", label="backrest.schedule", skips=True),
            Finding("no-path", "no path", container="web", skips=True),
            Finding("invisible-path", "Backrest cannot see /srv", container="db"),
            Finding("unknown-label", "did you mean", container="db"),
            plans=3,
        )
    )
    status = world.status()
    assert status["plans"] == {"active": 3, "withdrawn": 0, "skipped": 1}
    assert [row["reason"] for row in status["skipped"]] == ["bad cron", "no path"]
    assert [row["reason"] for row in status["invisible"]] == ["Backrest cannot see /srv"]
    assert status["counts"]["reconciles"] == 1
    assert status["last"]["reconcile"] == "2023-11-14T22:15:00Z"


def test_reports_of_the_writer(world: World) -> None:
    board = world.board
    board.reported(WriteFailed(1, "disk full", "make room", ("p1",)))
    world.now = 105
    board.reported(WriteFailed(2, "disk full", "make room", ("p1",)))
    assert world.status()["failure"]["for_seconds"] == 5
    board.reported(Applied(3, changed=True, at=104.9, done_at=105.0, owed="restart", reason="busy"))
    first = world.status()
    assert first["failure"] is None
    assert (first["counts"]["writes"], first["counts"]["restarts"]) == (1, 0)
    assert first["last"]["write"] == "2023-11-14T22:15:05Z"
    world.now = 165
    board.reported(Applied(4, changed=True, at=160, done_at=165, owed="restart", reason="still busy"))
    owed = world.status()["owed"]
    assert owed == {
        "kind": "restart",
        "since": first["owed"]["since"],
        "for_seconds": 60,
        "why": "still busy",
    }
    board.reported(Applied(5, changed=False, at=0, done_at=165, restarted=True))
    last = world.status()
    assert last["owed"] is None
    assert last["last"]["apply"] == "2023-11-14T22:16:05Z"
    assert (last["counts"]["writes"], last["counts"]["restarts"]) == (2, 1)


def test_latency_is_counted_in_its_bucket_for_writes_only(world: World) -> None:
    for took in (0.0, 0.01, 0.011, 59.0, 61.0):
        world.board.reported(Applied(1, changed=True, at=100.0, done_at=100.0 + took))
    world.board.reported(Applied(1, changed=False, at=100.0, done_at=101.0))
    facts = world.board.facts
    assert sum(facts.latency) == 5
    assert facts.latency_sum == pytest.approx(120.021)
    by_bound = dict(zip((*LATENCY_BUCKETS, float("inf")), facts.latency, strict=True))
    assert by_bound[0.01] >= 1
    assert by_bound[60.0] == 1
    assert by_bound[float("inf")] == 1


def test_what_cannot_be_written_at_all_is_said_until_it_can(world: World) -> None:
    world.board.failed("config.json is missing", "start Backrest once")
    world.now += 5
    world.board.failed("config.json is empty")
    failure = world.status()["failure"]
    assert (failure["reason"], failure["for_seconds"], failure["blocked"]) == ("config.json is empty", 5, [])
    world.board.recovered()
    assert world.status()["failure"] is None


def test_publishing_from_many_threads_loses_nothing(world: World) -> None:
    def publish() -> None:
        for _ in range(300):
            world.board.event_seen()
            world.board.stream_renewed()

    threads = [threading.Thread(target=publish) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (world.board.facts.events, world.board.facts.reconnects) == (1800, 1800)


def test_written_on_change_at_most_every_two_seconds_and_as_a_sign_of_life(world: World) -> None:
    assert world.tick()
    assert not world.tick(2.5)
    world.board.event_seen()
    world.board.rendered(Rendering())
    world.now += 2
    world.tick()
    world.board.event_seen()
    world.board.rendered(Rendering())
    assert not world.tick(5)  # an event, and a look that found nothing new, wake no disk
    world.board.engine_up()
    assert world.tick(0.1)
    world.board.engine_down("gone")
    assert not world.tick(1.9)
    assert world.tick(0.2)
    assert world.read()["engine"]["reason"] == "gone"
    world.workers = (WorkerFacts("writer", "backoff", 0, 99.0, "ValueError: x"),)
    assert world.tick(2)
    assert not world.tick(29.9)
    assert world.tick(0.2)
    assert world.read()["monotonic"] == world.now


def test_the_file_is_private_whole_and_leaves_no_other(world: World) -> None:
    world.tick()
    world.tick(60)
    directory = world.file.path.parent
    assert [path.name for path in directory.iterdir()] == ["status.json"]
    assert stat.S_IMODE(world.file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    found = world.read()
    assert (found["pid"], found["written"], found["format"]) == (os.getpid(), "2023-11-14T22:16:00Z", 1)
    assert found["workers"] == [
        {
            "name": "writer",
            "state": "running",
            "overdue": False,
            "restarts": 0,
            "last_beat": "2023-11-14T22:14:59Z",
            "error": "",
        }
    ]
    world.file.close(world.now)
    assert world.read()["stopped"] is True


def test_a_directory_that_cannot_be_written_is_said_once_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world = World(tmp_path / "absent" / ".backrest-sidecar")
    assert not world.tick()
    assert not world.tick(60)
    assert [record.getMessage() for record in caplog.records] == ["status.not_written"]
    world.file.path.parent.parent.mkdir()
    assert world.tick(60)


def test_a_link_in_place_of_our_temporary_file_is_not_followed(world: World, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    world.file.path.parent.mkdir()
    (world.file.path.parent / "status.json.tmp").symlink_to(victim)
    assert not world.tick()
    assert victim.read_text() == "precious"


def test_no_secret_and_no_flood(world: World) -> None:
    logs.set_secrets(["hunter2"])
    try:
        many = [Finding("no-path", f"reason {n}", container="c", skips=True) for n in range(5000)]
        world.board.rendered(rendering(Finding("x", "uses hunter2 \udcff", skips=True), *many))
        world.board.engine_down("hunter2 refused")
        assert world.tick()
    finally:
        logs.set_secrets(())
    text = world.file.path.read_text()
    assert "hunter2" not in text
    assert "*** refused" in text
    found = world.read()
    assert (len(found["skipped"]), found["skipped_count"]) == (MOST_FINDINGS, 5001)


def test_for_people(world: World) -> None:
    board = world.board
    board.engine_up()
    board.rendered(rendering(Finding("no-path", "no\x1b[2J path", container="web", skips=True)))
    board.reported(Applied(2, changed=False, at=0, done_at=0, owed="restart", reason="Backrest is busy"))
    board.reported(WriteFailed(3, "disk full", "make room", ("p1",)))
    world.workers = (
        WorkerFacts("writer", "running", 0, 99.0),
        WorkerFacts("docker-events", "backoff", 2, 98.0, "OSError: cut"),
    )
    text = render_status(world.status(), world.now + 5)
    rows = {" ".join(line.split()) for line in text.splitlines()}
    assert {
        "health unhealthy: the worker docker-events is down (backoff): OSError: cut",
        "engine reachable since 2023-11-14T22:15:00Z",
        "last write never",
        "owed restart since 2023-11-14T22:15:00Z: Backrest is busy",
        "why disk full",
        "plans p1",
        "docker-events backoff 2023-11-14T22:14:58Z restarted 2 times; last failure: OSError: cut",
        "Skipped (1)",
        "web no\\x1b[2J path",
    } <= rows
    assert "\x1b" not in text


def test_for_people_when_all_is_well(world: World) -> None:
    world.board.engine_up()
    world.board.rendered(Rendering())
    text = render_status(world.status(), world.now)
    assert "health          healthy" in text
    assert "owed            nothing" in text
    assert "Skipped" not in text


def test_a_config_json_that_is_awaited_is_said_until_it_is_there(world: World) -> None:
    announcer = Announcer(world.board)
    announcer.config_unusable(ConfigUnreadable("missing", "there is none; start Backrest"))
    world.now += 5
    announcer.config_unusable(ConfigUnreadable("missing", "there is none; start Backrest"))
    line = "waiting         for config.json since 2023-11-14T22:15:00Z: there is none; start Backrest"
    text = render_status(world.status(), world.now).splitlines()
    assert line in text
    assert "health          healthy" in text
    announcer.rendered(rendering())
    assert "waiting" not in render_status(world.status(), world.now)


def test_an_awaited_config_json_that_cannot_be_used_is_a_failure_alone(world: World) -> None:
    world.board.awaits_config("there is none")
    world.board.failed("it is empty")
    status = world.status()
    assert (status["config_awaited"], status["failure"]["reason"]) == (None, "it is empty")


def test_a_container_is_named_once_in_its_row(world: World) -> None:
    world.board.rendered(rendering(Finding("wrong-label", "web: backrest.keep is wrong", "web", skips=True)))
    assert "  web  backrest.keep is wrong" in render_status(world.status(), world.now).splitlines()


def test_a_backrest_that_does_not_run_is_said_until_it_does(world: World) -> None:
    announcer = Announcer(world.board, "backrest")

    def rows(state: str) -> list[str]:
        world.now += 5
        announcer.engine_seen(EngineSnapshot((container("backrest", enable=False, state=state),), {}))
        return [" ".join(line.split()) for line in render_status(world.status(), world.now).splitlines()]

    said = (
        "backrest its container backrest is {}: no backup runs until "
        '"docker {} backrest", since 2023-11-14T22:15:05Z or before'
    )
    assert said.format("exited", "start") in rows("exited")
    assert said.format("paused", "unpause") in rows("paused")
    assert not [row for row in rows("running") if row.startswith("backrest ")]
