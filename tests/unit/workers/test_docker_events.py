"""The event listener against a scripted engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.engine.client import Engine
from sidecar.supervision.mailbox import Mailbox
from tests.doubles.engine import FakeEngine, Talk, answer, event, lines, refusal, replies
from tests.listening import SOON, Rig
from workers import docker_events


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path / "s") as running:
        yield running


@pytest.fixture
def rig(fake: FakeEngine) -> Rig:
    return Rig(Engine(fake.host, timeout=2.0, environ={}))


class TestListening:
    def test_has_the_renderer_look_once_it_is_subscribed_and_not_before(
        self, fake: FakeEngine, rig: Rig
    ) -> None:
        asked = threading.Event()
        go_on = threading.Event()

        def slow(talk: Talk) -> None:
            asked.set()
            go_on.wait(SOON)
            lines()(talk)

        fake.replies["/events"] = slow
        with rig:
            assert asked.wait(SOON)
            assert rig.next(timeout=0) == ""
            go_on.set()
            assert rig.next() == "engine connected"

    def test_passes_on_that_something_happened(self, fake: FakeEngine, rig: Rig) -> None:
        go_on = threading.Event()

        def reply(talk: Talk) -> None:
            talk.chunked()
            go_on.wait(SOON)
            talk.chunk(event("create")[:20])
            talk.chunk(event("create")[20:])
            talk.hang()

        fake.replies["/events"] = reply
        with rig:
            assert rig.next() == "engine connected"
            go_on.set()
            assert rig.next() == "container create"

    def test_asks_the_engine_itself_to_leave_out_what_changes_no_plan(
        self, fake: FakeEngine, rig: Rig
    ) -> None:
        fake.replies["/events"] = lines()
        with rig:
            rig.next()

        query = next(talk.query for talk in fake.talks if talk.path == "/events")
        assert "exec" not in query["filters"]
        assert "health" not in query["filters"]
        for action in ("create", "start", "die", "destroy", "rename", "volume"):
            assert f'"{action}"' in query["filters"]
        assert 18 <= float(query["until"]) - float(query["since"]) <= 22

    def test_a_thousand_events_do_not_block_it(self, fake: FakeEngine, rig: Rig) -> None:
        done = threading.Event()

        def flood(talk: Talk) -> None:
            talk.chunked()
            for _ in range(1000):
                talk.chunk(event("create"))
            done.set()
            talk.hang()

        fake.replies["/events"] = flood
        with rig:
            assert done.wait(SOON)
            assert rig.next()

    def test_volumes_are_looked_at_afresh_after_their_events(self, fake: FakeEngine, rig: Rig) -> None:
        go_on = threading.Event()

        def reply(talk: Talk) -> None:
            talk.chunked()
            go_on.wait(SOON)
            talk.chunk(event("create", kind="volume"))
            talk.hang()

        fake.replies["/events"] = reply
        with rig:
            rig.next()
            rig.engine.snapshot()
            go_on.set()
            assert rig.next() == "volume create"
            rig.engine.snapshot()

        assert fake.asked["/volumes"] == 2
        rig.engine.close()


class TestWindow:
    def test_that_ends_on_time_is_followed_by_the_next_without_a_look(self, fake: FakeEngine) -> None:
        ended = threading.Event()
        far = 4_000_000_000_000_000_000

        def first(talk: Talk) -> None:
            talk.chunked()
            talk.chunk(event("create", nanos=far))
            talk.chunk(b"")

        def second(talk: Talk) -> None:
            ended.set()
            lines()(talk)

        fake.replies["/events"] = replies(first, second)
        rig = Rig(Engine(fake.host, environ={}), window=1.0)  # so short a window never ends too early
        rig.inbox = Mailbox(8)
        with rig:
            assert ended.wait(SOON)
            assert [rig.next(), rig.next()] == ["engine connected", "container create"]
            assert rig.next(timeout=0.05) == ""

        since = [talk.query["since"] for talk in fake.talks if talk.path == "/events"][1]
        assert since == "4000000000.000000001"
        assert rig.beats

    @pytest.mark.parametrize("how", ["ended early", "cut", "reset", "garbage"])
    def test_that_breaks_is_renewed_and_followed_by_a_look(
        self, fake: FakeEngine, rig: Rig, how: str
    ) -> None:
        connected = threading.Event()

        def breaks(talk: Talk) -> None:
            talk.chunked()
            connected.wait(SOON)
            match how:
                case "ended early":
                    talk.chunk(b"")
                case "cut":
                    talk.send(b"fff\r\n{half")
                    talk.end()
                case "reset":
                    talk.reset()
                case _:
                    talk.chunk(b"this is no event\n")
                    talk.hang(1.0)

        fake.replies["/events"] = replies(breaks, lines())
        with rig:
            assert rig.next() == "engine connected"
            connected.set()
            assert rig.next() == "engine back"

        assert fake.asked["/events"] == 2

    def test_that_hangs_is_noticed_by_itself(self, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sidecar.engine.events.GRACE", 0.2)
        fake.replies["/events"] = lines()
        with Rig(Engine(fake.host, environ={}), window=0.2) as rig:
            assert rig.next() == "engine connected"
            assert rig.next() == "engine back"

    def test_that_is_closed_by_the_supervisor_is_renewed(self, fake: FakeEngine, rig: Rig) -> None:
        fake.replies["/events"] = lines()
        with rig:
            assert rig.next() == "engine connected"
            rig.engine.close_events()
            assert rig.next() == "engine back"


class TestLoss:
    def test_no_engine_at_start_is_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(docker_events, "LONGEST_DELAY", 0.02)
        fake = FakeEngine(tmp_path / "s", {"/events": lines()})
        with Rig(Engine(fake.host, environ={})) as rig:
            assert rig.next(timeout=0.3) == ""
            with fake:
                assert rig.next() == "engine connected"
                rig.end()

    def test_an_engine_that_died_is_found_again(self, fake: FakeEngine, rig: Rig) -> None:
        fake.replies["/events"] = lines()
        with rig:
            assert rig.next() == "engine connected"
            fake.stop()
            fake.start()
            assert rig.next() == "engine back"

    def test_an_engine_that_refuses_is_asked_again(self, fake: FakeEngine, rig: Rig) -> None:
        fake.replies["/events"] = replies(
            lambda talk: talk.end(), refusal(403), refusal(403), answer({}, 500), lines()
        )
        with rig:
            assert rig.next() == "engine connected"

        assert rig.result == [0]
