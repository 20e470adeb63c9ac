"""The client of Backrest's API."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from sidecar.backrest.api import (
    ApiDenied,
    ApiUnreachable,
    BackrestApi,
    BackrestApiError,
    ModnoConflict,
    Rejected,
    UnexpectedReply,
)
from sidecar.backrest.http import strict_json
from tests.doubles.backrest.server import Double, hash_password
from tests.unit.conftest import PLAN, SECRET


def test_operations(api: BackrestApi, double: Double) -> None:
    assert api.operations() == ()
    running = double.oplog.add("STATUS_INPROGRESS", "operationRunHook", 100.5, planId="p1", repoId="r1")
    double.oplog.add("STATUS_PENDING", "operationBackup", 200, planId="p1", repoId="r1")
    (op,) = api.operations_in_progress()
    assert (op.id, op.kind, op.status, op.plan_id, op.repo_id, op.start) == (
        1,
        "runHook",
        "inprogress",
        "p1",
        "r1",
        100.5,
    )
    assert [o.status for o in api.operations()] == ["inprogress", "pending"]
    assert [o.id for o in api.operations(last=1)] == [2]
    double.oplog.end(running, "STATUS_ERROR", "Operation was incomplete when orchestrator was restarted.")
    assert [o.id for o in api.operations() if o.cut_off] == [1]
    assert api.operations_in_progress() == ()


def test_operations_of_other_instances_do_not_count(api: BackrestApi, double: Double) -> None:
    double.oplog.add(
        "STATUS_INPROGRESS", "operationBackup", 100, planId="p1", originalInstanceKeyid="ed25519.x"
    )
    assert api.operations() == ()


def test_credentials_come_from_the_url_too_and_are_shown_nowhere(double: Double) -> None:
    double.store.cached["auth"] = {"users": [{"name": "me", "passwordBcrypt": hash_password(SECRET)}]}
    with_them = double.url.replace("//", f"//me:{SECRET}@")
    api = BackrestApi(with_them)
    assert api.get_config()["plans"] == [PLAN]
    assert SECRET not in f"{api!r} {api.where} {vars(api)}"
    for other in (BackrestApi(double.url), BackrestApi(double.url, "me", "wrong-" + SECRET)):
        assert other.answers()
        with pytest.raises(ApiDenied) as denied:
            other.get_config()
        assert SECRET not in str(denied.value)


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "unix:///x", "http://host:notaport"])
def test_wrong_urls(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|port|Port"):
        BackrestApi(url)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("backrest:9898", "http://backrest:9898"),
        ("https://b.example/backrest/", "https://b.example:443/backrest"),
        ("http://[::1]:9898", "http://[::1]:9898"),
    ],
)
def test_where(url: str, where: str) -> None:
    assert BackrestApi(url).where == where


@contextlib.contextmanager
def speaking(*parts: bytes | None) -> Iterator[str]:
    """A server that answers one connection with ``parts``, and stalls at None until the test ends."""
    done = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            with connection:
                asked = b""
                while not asked.endswith(b"{}"):
                    asked += connection.recv(1 << 16)
                for part in parts:
                    if part is None:
                        done.wait(20)
                    else:
                        connection.sendall(part)
                        done.wait(0.05)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        done.set()
        server.close()
        thread.join()


def reply(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("prefix", ["", "failed to update config: "])
@pytest.mark.parametrize(
    ("message", "error", "says"),
    [
        ("config modno mismatch, reload and try again", ModnoConflict, "saved by somebody else"),
        (
            "validation error: 1 error occurred:\n\t* plan p1: duplicate id\n\n",
            Rejected,
            "plan 'p1': duplicate id",
        ),
        ("write config file: no space left; validation error: x", UnexpectedReply, "code unknown"),
    ],
)
def test_what_was_unknown_before_1_14(prefix: str, message: str, error: type[Exception], says: str) -> None:
    """Until 1.13 every error of SetConfig has the code ``unknown``; 1.13 puts a prefix before its message."""
    body = json.dumps({"code": "unknown", "message": prefix + message}).encode()
    with speaking(reply(body, "500 Internal Server Error")) as url, pytest.raises(error, match=says):
        BackrestApi(url).set_config({})
    with speaking(reply(body, "500 Internal Server Error")) as url, pytest.raises(UnexpectedReply):
        BackrestApi(url).get_config()


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (b"", ApiUnreachable, "no Backrest answers"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", UnexpectedReply, "does not speak HTTP"),
        (reply(b"<html>"), UnexpectedReply, "is the URL right"),
        (reply(b"404 page not found\n", "404 Not Found"), UnexpectedReply, "status 404"),
        (reply(b"", "301 Moved Permanently"), UnexpectedReply, "status 301"),
        (reply(b"[1]"), UnexpectedReply, "not a JSON object"),
        (reply(b'{"a":1,"a":2}'), UnexpectedReply, "a doubled key"),
        (reply(b'{"a":18446744073709551616}'), UnexpectedReply, "outside 64 bits"),
        (reply(b'{"code":"internal","message":"x"}', "500 Oops"), UnexpectedReply, "code internal"),
        (reply(b'{"code":"unavailable","message":"x"}', "503 Oops"), ApiUnreachable, "not available"),
        (reply(b'{"code":"unauthenticated","message":"x"}', "500 Oops"), ApiDenied, "user and password"),
        (reply(b"{}")[:-1], ApiUnreachable, "broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{", ApiUnreachable, "broke off"),
    ],
)
def test_odd_answers(answer: bytes, error: type[BackrestApiError], says: str) -> None:
    with speaking(answer) as url:
        api = BackrestApi(url, "user", SECRET, timeout=5)
        with pytest.raises(error, match=says) as raised:
            api.get_config()
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("parts", [(None,), (reply(b"{}")[:10], None), (reply(b"{}")[:-1], None)])
def test_a_stalled_server_is_given_up(parts: tuple[bytes | None, ...]) -> None:
    with speaking(*parts) as url, pytest.raises(ApiUnreachable, match=r"did not answer in 0\.3 s"):
        BackrestApi(url, timeout=0.3).get_config()


def test_a_trickling_server_is_given_up() -> None:
    trickle = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b" "] * 100]
    with speaking(*trickle) as url, pytest.raises(ApiUnreachable, match="did not answer"):
        BackrestApi(url, timeout=0.4).get_config()


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        api = BackrestApi(f"http://127.0.0.1:{probe.getsockname()[1]}", timeout=2)
        with pytest.raises(ApiUnreachable, match="Connection refused"):
            api.get_config()
        assert not api.answers()


def test_tls_that_is_none(double: Double) -> None:
    with pytest.raises(ApiUnreachable, match="TLS with Backrest"):
        BackrestApi(double.url.replace("http", "https"), timeout=5).get_config()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"a":NaN}', "NaN"),
        (b'{"a":1e999}', "64 bits"),
        (b'{"a":-9223372036854775809}', "64 bits"),
        (b'{"a":' + b"9" * 5000 + b"}", "64 bits"),
        (b'{"a":{"b":1,"b":2}}', "doubled"),
        (b"\xff", "UTF-8"),
        (b"[" * 100_000, "deep"),
        (b"", "not JSON"),
    ],
)
def test_what_could_not_be_sent_back_unchanged_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        strict_json(raw)


def test_what_can_be_sent_back_is_taken() -> None:
    raw = b'{"a":[18446744073709551615,-9223372036854775808,0.1,1e-7,"\\u00e9",null,true,{}]}'
    assert json.loads(json.dumps(strict_json(raw))) == json.loads(raw)


def test_a_backup_is_asked_for_and_not_waited_for(
    api: BackrestApi, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.backrest.api.BACKUP_TIMEOUT", 0.3)
    api = BackrestApi(double.url)
    double.tasks.seconds = 1.5
    first, second = api.back_up("p1"), api.back_up("p1")
    assert (first.status, first.plan_id) == ("inprogress", "p1")
    assert (second.id, second.status) == (first.id + 1, "pending")
    double.tasks.cancel()


def test_a_backup_that_has_ended_or_failed_at_once_has_run(api: BackrestApi, double: Double) -> None:
    assert api.back_up("p1").status == "success"
    double.tasks.fail = True
    assert api.back_up("p1").status == "error"


def test_a_backup_that_cannot_begin_says_why(api: BackrestApi) -> None:
    api.back_up("p1")
    with pytest.raises(BackrestApiError, match="not_found"):
        api.back_up("p2")
