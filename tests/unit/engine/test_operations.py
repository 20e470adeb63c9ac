"""What is done to single containers."""

from __future__ import annotations

import threading
from typing import ClassVar

import pytest

from sidecar.engine.client import Engine, EngineError
from sidecar.engine.types import Bind, RunSpec
from tests.doubles.engine import FakeEngine, Talk, answer, container, refusal, replies
from tests.unit.engine_fixtures import engine, fake

__all__ = ["engine", "fake"]


def slow_success(talk: Talk) -> None:
    talk.hang(0.6)
    talk.head(204)


class TestOperations:
    INSPECT: ClassVar = {
        "Id": "c" * 64,
        "Name": "/web",
        "Image": "sha256:abc",
        "State": {"Status": "running", "Running": True, "Health": {"Status": "starting"}, "Pid": 42},
        "Config": {
            "Image": "web:1",
            "Env": ["SECRET=hunter2", "TZ=Europe/Berlin"],
            "StopTimeout": 30,
            "Labels": {"a": "b"},
        },
        "HostConfig": {"NetworkMode": "bridge", "AutoRemove": True},
        "NetworkSettings": {"Networks": {"net": {"Aliases": ["web", "c1"]}}},
        "RestartCount": 2,
    }

    def test_find_keeps_of_the_environment_only_the_time_zone(self, fake: FakeEngine, engine: Engine) -> None:
        fake.replies["/containers/web/json"] = answer(self.INSPECT)

        found = engine.find("web")

        assert found is not None
        assert (found.name, found.tz, found.stop_timeout, found.health) == (
            "web",
            "Europe/Berlin",
            30,
            "starting",
        )
        assert (found.restart_count, found.auto_remove, found.pid) == (2, True, 42)
        assert found.networks[0].aliases == ("web", "c1")
        assert "hunter2" not in repr(found)

    def test_find_of_nothing_is_none(self, fake: FakeEngine, engine: Engine) -> None:
        assert engine.find("web") is None
        assert engine.find("") is None
        assert engine.find("../../info") is None
        assert fake.asked["/info"] == 0

    def test_stop_waits_longer_than_the_container_s_own_timeout(self, fake: FakeEngine) -> None:
        engine = Engine(fake.host, timeout=0.2, environ={})
        fake.replies["/containers/web/json"] = answer(self.INSPECT)
        fake.replies["/containers/web/stop"] = slow_success

        assert engine.stop("web") is True

        stop = next(talk for talk in fake.talks if talk.path.endswith("/stop"))
        assert stop.query == {}
        engine.close()

    def test_stop_with_a_timeout_says_so_to_the_engine(self, fake: FakeEngine, engine: Engine) -> None:
        fake.replies["/containers/web/stop"] = lambda talk: talk.head(304)

        assert engine.stop("web", timeout=7) is False
        assert fake.talks[-1].query == {"t": "7"}

    def test_stop_of_nothing_is_not_found(self, engine: Engine) -> None:
        with pytest.raises(EngineError) as caught:
            engine.stop("web", timeout=1)

        assert caught.value.kind == "not-found"

    def test_wait_comes_back_while_the_container_runs(self, fake: FakeEngine, engine: Engine) -> None:
        fake.replies["/containers/web/wait"] = replies(lambda talk: talk.hang(), answer({"StatusCode": 3}))
        fake.replies["/containers/web/json"] = answer(self.INSPECT)

        assert engine.wait("web", timeout=0.1) is None
        assert engine.wait("web", timeout=5) == 3

    def test_a_wait_that_runs_out_forgets_nothing_of_the_engine(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        fake.replies["/containers/web/wait"] = replies(lambda talk: talk.hang(), lambda talk: talk.hang())
        fake.replies["/containers/web/json"] = answer(self.INSPECT)
        engine.snapshot()
        known = [fake.asked[path] for path in ("/version", "/info", "/volumes")]

        assert engine.wait("web", timeout=0.1) is None
        engine.snapshot()

        assert [fake.asked[path] for path in ("/version", "/info", "/volumes")] == known

    def test_an_engine_that_hangs_during_a_wait_is_asked_anew(self, fake: FakeEngine, engine: Engine) -> None:
        fake.replies["/containers/web/wait"] = lambda talk: talk.hang()
        fake.replies["/containers/web/json"] = lambda talk: talk.hang()
        engine.snapshot()

        with pytest.raises(EngineError) as caught:
            engine.wait("web", timeout=0.1)

        assert caught.value.kind == "timeout"
        engine.snapshot()
        assert fake.asked["/info"] == 2

    def test_top_reads_any_columns(self, fake: FakeEngine, engine: Engine) -> None:
        docker = {
            "Titles": ["UID", "PID", "PPID", "C", "CMD"],
            "Processes": [["root", "10", "1", "0", "backrest"], ["root", "12", "10", "0", "restic backup"]],
        }
        podman = {"Titles": ["USER", "PID", "PPID", "COMMAND"], "Processes": [["root", "1", "0", "sleep 9"]]}
        busybox = {
            "Titles": ["PID   PPID  COMMAND"],
            "Processes": [["    1     0 sh -c x  y"], ["  6  1 sleep 9"]],
        }
        fake.replies["/containers/web/top"] = replies(answer(docker), answer(podman), answer(busybox))

        assert [(p.pid, p.ppid, p.command) for p in engine.top("web")] == [
            (10, 1, "backrest"),
            (12, 10, "restic backup"),
        ]
        assert [(p.pid, p.ppid, p.command) for p in engine.top("web")] == [(1, 0, "sleep 9")]
        assert [(p.pid, p.ppid, p.command) for p in engine.top("web")] == [
            (1, 0, "sh -c x  y"),
            (6, 1, "sleep 9"),
        ]

    def test_logs_are_both_streams_in_order(self, fake: FakeEngine, engine: Engine) -> None:
        def frames(talk: Talk) -> None:
            talk.chunked()
            data = b"\1\0\0\0\0\0\0\4out\n\2\0\0\0\0\0\0\4err\n"
            talk.chunk(data[:6])
            talk.chunk(data[6:])
            talk.chunk(b"")

        fake.replies["/containers/web/json"] = answer(self.INSPECT)
        fake.replies[f"/containers/{'c' * 64}/logs"] = frames

        assert engine.logs("web", tail=5) == "out\nerr\n"
        assert fake.talks[-1].query["tail"] == "5"

    def test_a_log_that_is_followed_ends_when_it_is_closed(self, fake: FakeEngine, engine: Engine) -> None:
        def forever(talk: Talk) -> None:
            talk.chunked()
            talk.chunk(b"\1\0\0\0\0\0\0\3one")
            talk.hang()

        fake.replies["/containers/web/json"] = answer(self.INSPECT)
        fake.replies[f"/containers/{'c' * 64}/logs"] = forever
        stream = engine.stream_logs("web")
        closer = threading.Timer(0.1, stream.close)
        closer.start()

        assert list(stream) == [b"one"]
        closer.join()

    def test_run_pulls_a_missing_image_and_removes_what_does_not_start(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        missing = refusal(404, "No such image: acme/rcb:1")
        fake.replies["/containers/create"] = replies(missing, answer({"Id": "d" * 64}, 201))
        fake.replies["/images/create"] = lambda talk: talk.whole(b'{"status":"x"}\r\n{"status":"done"}\r\n')
        fake.replies[f"/containers/{'d' * 64}/start"] = refusal(500, "bind source path does not exist: /x")
        fake.replies[f"/containers/{'d' * 64}"] = lambda talk: talk.head(204)
        spec = RunSpec(
            "acme/rcb:1", ("run",), {"PASSWORD": "hunter2"}, (Bind("/x", "/y", True), Bind("v", "/z"))
        )

        with pytest.raises(EngineError, match="bind source path") as caught:
            engine.create_and_start(spec)

        assert "hunter2" not in str(caught.value)
        assert "hunter2" not in repr(spec)
        pull = next(talk for talk in fake.talks if talk.path == "/images/create")
        assert pull.query == {"fromImage": "acme/rcb", "tag": "1"}
        assert fake.talks[-1].method == "DELETE"

    def test_a_refused_variable_is_not_quoted(self, fake: FakeEngine, engine: Engine) -> None:
        fake.replies["/containers/create"] = refusal(400, "invalid environment variable: =hunter2")

        with pytest.raises(EngineError, match=r"invalid environment variable: =\*\*\*") as caught:
            engine.create(RunSpec("img", env={"": "hunter2"}))

        assert caught.value.__cause__ is None
        assert "hunter2" not in str(caught.value)

    def test_a_failed_pull_says_why(self, fake: FakeEngine, engine: Engine) -> None:
        fake.replies["/images/create"] = lambda talk: talk.whole(b'{"error":"manifest unknown"}\r\n')

        with pytest.raises(EngineError, match="manifest unknown"):
            engine.pull("acme/rcb")

        assert fake.talks[-1].query == {"fromImage": "acme/rcb", "tag": "latest"}

    def test_each_thread_has_its_own_connection(self, fake: FakeEngine, engine: Engine) -> None:
        def work() -> None:
            for _ in range(20):
                engine.snapshot()
            engine.close()

        fake.containers(container(1))
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert fake.asked["/containers/json"] == 80
