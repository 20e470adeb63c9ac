"""The adapter on a real engine: what a snapshot says, what operations do, what a lost engine looks like."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.engine.client import Engine, EngineError
from sidecar.engine.types import Bind, RunSpec
from tests.engine.harness import BUSYBOX, TestEngine
from tests.waiting import eventually

pytestmark = pytest.mark.engine


@pytest.fixture
def adapter(engine: TestEngine) -> Iterator[Engine]:
    made = Engine(engine.host, environ={})
    yield made
    made.close()


class TestSnapshot:
    def test_tells_containers_mounts_volumes_and_image_labels(
        self, engine: TestEngine, adapter: Engine, tmp_path: Path
    ) -> None:
        engine.make_image("labelled:1", labels={"backrest.enable": "true", "maintainer": "me"})
        engine.call("POST", "/volumes/create", {"Name": "data", "Labels": {"backrest.enable": "false"}})
        engine.run_container(
            "web", {"backrest.repo": "r"}, ["data:/data:ro", f"{tmp_path}:/srv"], image="labelled:1"
        )
        engine.run_container("made", start=False)

        snapshot = adapter.snapshot()

        web, made = sorted(snapshot.containers, key=lambda c: c.name, reverse=True)
        assert (web.name, web.state, made.name, made.state) == ("web", "running", "made", "created")
        assert dict(web.labels) == {"backrest.enable": "true", "maintainer": "me", "backrest.repo": "r"}
        assert dict(web.image_labels) == {"backrest.enable": "true"}
        assert [(m.type, m.source, m.destination, m.read_only) for m in web.mounts] == [
            ("volume", f"{engine.root}/volumes/data/_data", "/data", True),
            ("bind", str(tmp_path), "/srv", False),
        ]
        assert snapshot.volumes["data"].mountpoint == f"{engine.root}/volumes/data/_data"
        assert dict(snapshot.volumes["data"].labels) == {"backrest.enable": "false"}
        assert snapshot.docker_root == str(engine.root)
        assert snapshot.engine_id
        assert snapshot.notes == ()

    def test_gives_the_same_objects_for_what_stays(self, engine: TestEngine, adapter: Engine) -> None:
        engine.run_container("stays", volumes=["v1:/a", "v2:/b", "v3:/c", "v4:/d"])
        before = adapter.snapshot().containers[0]
        for number in range(5):
            engine.run_container(f"other{number}", start=False)
            found = {c.name: c for c in adapter.snapshot().containers}

            assert found["stays"] is before

    def test_follows_renaming_and_removal(self, engine: TestEngine, adapter: Engine) -> None:
        engine.run_container("one")
        engine.run_container("two", start=False)
        adapter.snapshot()
        engine.call("POST", "/containers/one/rename?name=uno")
        engine.remove("two")

        assert [c.name for c in adapter.snapshot().containers] == ["uno"]

    def test_has_odd_volume_names_and_64_kib_labels(self, engine: TestEngine, adapter: Engine) -> None:
        long = "x" * 65_536
        odd = {"backrest.snapshot-start": 'a\n"},{"Id":"b\x00c\u202e', "long": long}
        engine.run_container("odd", odd, ["a.b-c_D9:/data"])

        one = adapter.snapshot().containers[0]

        assert dict(one.labels) == odd
        assert one.mounts[0].name == "a.b-c_D9"

    def test_knows_the_sources_of_stopped_containers_after_a_restart(self, own_engine: TestEngine) -> None:
        own_engine.run_container("stopped", volumes=["data:/data"], start=False)
        own_engine.restart()
        adapter = Engine(own_engine.host, environ={})

        mount = adapter.snapshot().containers[0].mounts[0]

        assert mount.source == f"{own_engine.root}/volumes/data/_data"
        adapter.close()


class TestOperations:
    def test_stop_and_start_say_whether_they_did_anything(self, engine: TestEngine, adapter: Engine) -> None:
        engine.run_container("web")

        assert adapter.stop("web") is True
        assert adapter.stop("web", timeout=5) is False
        assert adapter.start("web") is True
        assert adapter.start("web") is False
        adapter.restart("web", timeout=1)
        found = adapter.find("web")
        assert found is not None
        assert found.running

    def test_a_container_that_ignores_the_signal_is_killed_after_the_timeout(
        self, engine: TestEngine, adapter: Engine
    ) -> None:
        engine.run_container("deaf", command=("sleep", "1000"), StopTimeout=1)
        began = time.monotonic()

        assert adapter.stop("deaf") is True

        found = adapter.find("deaf")
        assert found is not None
        assert (found.stop_timeout, found.exit_code, found.status) == (1, 137, "exited")
        assert time.monotonic() - began < 9

    def test_pause_is_told_apart(self, engine: TestEngine, adapter: Engine) -> None:
        engine.run_container("web")
        adapter.pause("web")

        found = adapter.find("web")
        assert found is not None
        assert found.paused
        assert found.running
        with pytest.raises(EngineError) as caught:
            adapter.pause("web")
        assert caught.value.kind in {"conflict", "protocol"}
        adapter.unpause("web")

    def test_find_takes_names_and_starts_of_ids(self, engine: TestEngine, adapter: Engine) -> None:
        made = engine.run_container("web", {"a": "b"}, Env=["TZ=Asia/Tokyo", "PASSWORD=hunter2"])

        by_name, by_id = adapter.find("web"), adapter.find(made[:12])

        assert by_name == by_id
        assert by_name is not None
        assert (by_name.id, by_name.tz, by_name.image, by_name.labels["a"]) == (
            made,
            "Asia/Tokyo",
            BUSYBOX,
            "b",
        )
        assert "hunter2" not in repr(by_name)
        assert adapter.find("nothing") is None

    def test_top_lists_processes(self, engine: TestEngine, adapter: Engine) -> None:
        engine.run_container("web")

        processes = eventually(lambda: p if len(p := adapter.top("web")) == 2 else ())

        assert any(p.command == "sleep 100000" for p in processes)
        assert {p.ppid for p in processes} & {p.pid for p in processes}

    def test_run_gives_mounts_environment_logs_and_the_exit_code(
        self, engine: TestEngine, adapter: Engine, tmp_path: Path
    ) -> None:
        (tmp_path / "a:b").mkdir()
        (tmp_path / "a:b" / "file").write_text("content\n")
        spec = RunSpec(
            BUSYBOX,
            ("sh", "-c", 'cat /in/file; echo "$WORD" >&2; touch /in/x || exit 7'),
            {"WORD": "from the environment"},
            (Bind(str(tmp_path / "a:b"), "/in", read_only=True), Bind("out1", "/out")),
            network_mode="none",
            labels={"k": "v"},
            name="job",
        )

        made = adapter.create_and_start(spec)

        said = b"".join(adapter.stream_logs(made)).splitlines()  # two streams, in either order
        assert {b"content", b"from the environment"} <= set(said)
        assert adapter.wait("job", timeout=30) == 7
        assert "from the environment" in adapter.logs("job", tail=50)
        adapter.remove("job")
        assert adapter.find("job") is None

    def test_run_refuses_a_path_that_is_not_there_and_leaves_nothing(
        self, engine: TestEngine, adapter: Engine, tmp_path: Path
    ) -> None:
        spec = RunSpec(BUSYBOX, binds=(Bind(str(tmp_path / "none"), "/in"),), name="job", network_mode="none")

        with pytest.raises(EngineError, match="bind source path does not exist"):
            adapter.create_and_start(spec)

        assert adapter.find("job") is None
        assert not (tmp_path / "none").exists()

    def test_logs_of_a_terminal_are_plain(self, engine: TestEngine, adapter: Engine) -> None:
        engine.run_container("tty", command=("echo", "hello"), Tty=True)
        adapter.wait("tty", timeout=10)

        assert adapter.logs("tty") == "hello\r\n"

    def test_a_followed_log_ends_when_it_is_closed(self, engine: TestEngine, adapter: Engine) -> None:
        engine.run_container("web", command=("sh", "-c", 'echo up; trap "exit 0" TERM; sleep 1000 & wait'))
        stream = adapter.stream_logs("web")
        closer = threading.Timer(0.5, stream.close)
        closer.start()

        assert b"".join(stream) == b"up\n"
        closer.join()


class TestLostEngine:
    def test_a_frozen_engine_is_a_timeout_and_an_ended_one_unreachable(self, own_engine: TestEngine) -> None:
        adapter = Engine(own_engine.host, timeout=1.0, environ={})
        adapter.ping()
        own_engine.freeze()
        with pytest.raises(EngineError) as frozen:
            adapter.ping()
        own_engine.thaw()
        own_engine.stop()
        with pytest.raises(EngineError) as stopped:
            adapter.ping()
        own_engine.start()
        adapter.ping()
        adapter.close()

        assert (frozen.value.kind, stopped.value.kind) == ("timeout", "unreachable")
