"""How an engine can fail, and what is said then."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.engine.client import Engine, EngineError
from sidecar.engine.errors import from_exception
from tests.doubles import engine as fake_engine
from tests.doubles.engine import FakeEngine, Talk, answer, container, refusal, volume_mount
from tests.unit.engine_fixtures import engine, fake

__all__ = ["engine", "fake"]


def cut_in_a_chunk(talk: Talk) -> None:
    talk.chunked()
    talk.send(b'400\r\n[{"Id":"abc')
    talk.end()


def cut_in_the_body(talk: Talk) -> None:
    talk.head(200, "Content-Length: 1000")
    talk.send(b"[" + b" " * 500)
    talk.end()


def drip(talk: Talk) -> None:
    talk.chunked()
    while not talk.closing.wait(0.05):
        talk.chunk(b" ")


def no_http(talk: Talk) -> None:
    talk.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    talk.end()


class TestFailure:
    @pytest.mark.parametrize(
        ("reply", "kind"),
        [
            (lambda talk: talk.end(), "unreachable"),
            (lambda talk: talk.reset(), "unreachable"),
            (cut_in_a_chunk, "unreachable"),
            (cut_in_the_body, "unreachable"),
            (lambda talk: talk.hang(), "timeout"),
            (drip, "timeout"),
            (lambda talk: talk.whole(b'[{"Id": "abc", "Names'), "protocol"),
            (lambda talk: talk.whole(b""), "protocol"),
            (lambda talk: talk.whole(b"<html>hello</html>", kind="text/html"), "protocol"),
            (no_http, "unreachable"),
            (answer({"message": "?"}), "protocol"),
            (answer([1, 2]), "protocol"),
            (answer([{"Names": ["/no-id"]}]), "protocol"),
            (answer([{"Id": "a" * 64, "Labels": 5, "Mounts": "x"}]), "protocol"),
            (refusal(500, "boom"), "protocol"),
            (refusal(502), "unreachable"),
        ],
    )
    def test_of_the_listing_raises_and_the_next_look_works(
        self, fake: FakeEngine, reply: Callable[[Talk], None], kind: str
    ) -> None:
        engine = Engine(fake.host, timeout=0.4, environ={})
        fake.containers(container(1))
        engine.snapshot()
        good = fake.replies["/containers/json"]
        fake.replies["/containers/json"] = reply

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sidecar.engine.client.LIST_TIMEOUT", 0.4)
            with pytest.raises(EngineError) as caught:
                engine.snapshot()

        assert caught.value.kind == kind
        fake.replies["/containers/json"] = good
        assert fake_engine.names(engine.snapshot().containers) == ["c1"]
        engine.close()

    @pytest.mark.parametrize("path", ["/volumes", "/info"])
    def test_of_what_is_needed_besides_fails_the_whole_look(
        self, fake: FakeEngine, engine: Engine, path: str
    ) -> None:
        fake.containers(container(1, Mounts=[volume_mount("a", "/a")]))
        good = fake.replies[path]
        fake.replies[path] = lambda talk: talk.end()

        with pytest.raises(EngineError):
            engine.snapshot()

        fake.replies[path] = good
        assert len(engine.snapshot().containers) == 1

    def test_without_a_socket_says_where_and_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(EngineError) as caught:
            Engine(str(tmp_path / "none.sock"), environ={}).snapshot()

        assert caught.value.kind == "unreachable"
        assert str(tmp_path / "none.sock") in caught.value.message
        assert "is Docker running" in caught.value.advice

    def test_of_a_socket_that_nobody_serves_speaks_of_a_stale_mount(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / "left.sock"))

        with pytest.raises(EngineError, match="nobody listens") as caught:
            Engine(str(tmp_path / "left.sock"), environ={}).snapshot()

        assert "stale" in caught.value.advice

    def test_of_a_path_that_is_no_socket(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")

        with pytest.raises(EngineError, match="is not a socket"):
            Engine(str(tmp_path / "file"), environ={}).snapshot()

    def test_of_permission_names_owner_group_and_mode(self, fake: FakeEngine) -> None:
        fake.path.chmod(0o660)
        owner = fake.path.stat()

        error = from_exception(PermissionError(errno.EACCES, "Permission denied"), fake.host)

        assert error.kind == "denied"
        assert str(fake.path) in error.message
        assert f"uid {owner.st_uid} and gid {owner.st_gid} (mode 0660)" in error.advice
        assert f"group_add: ['{owner.st_gid}']" in error.advice

    def test_of_tls_without_certificates_names_the_variables(self, tmp_path: Path) -> None:
        environ = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}

        with pytest.raises(EngineError, match="DOCKER_CERT_PATH") as caught:
            Engine("tcp://127.0.0.1:1", environ=environ).snapshot()

        assert caught.value.kind == "denied"

    def test_of_tcp_says_the_address(self) -> None:
        with pytest.raises(EngineError, match=r"tcp://127\.0\.0\.1:1") as caught:
            Engine("tcp://127.0.0.1:1", environ={}).snapshot()

        assert caught.value.kind == "unreachable"

    def test_a_restarted_engine_is_found_again_and_asked_for_everything(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        fake.containers(container(1))
        engine.snapshot()
        fake.stop()
        with pytest.raises(EngineError):
            engine.snapshot()
        fake.replies["/info"] = answer({"ID": "ANOTHER", "DockerRootDir": "/data"})
        fake.start()

        snapshot = engine.snapshot()

        assert (snapshot.engine_id, snapshot.docker_root) == ("ANOTHER", "/data")
