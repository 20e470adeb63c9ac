import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from sidecar.findings import Finding
from sidecar.messages import Applied, WriteFailed
from sidecar.plans.rendering import Rendering
from sidecar.settings.address import parse_address
from sidecar.status import metrics
from sidecar.status.board import StatusBoard
from sidecar.status.metrics import MetricsServer, registry
from sidecar.supervision.child import Context, WorkerFacts


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9099", ("127.0.0.1", 9099)),
        ("9099", ("127.0.0.1", 9099)),
        ("0.0.0.0:9099", ("0.0.0.0", 9099)),
        ("[::1]:9099", ("::1", 9099)),
        ("[::]:0", ("::", 0)),
        (" localhost:80 ", ("localhost", 80)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", ":", "host", "host:", ":http", ":65536", ":-1", "::1:9099", "a:٣"])
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"address"):
        parse_address(text)


WORKERS = (WorkerFacts("writer", "running", 2), WorkerFacts("renderer", "backoff", 0))


def board() -> StatusBoard:
    return StatusBoard(wall=lambda: 1.7e9, clock=lambda: 100.0)


def scraped(facts: StatusBoard) -> dict[str, float]:
    samples = [sample for family in registry(facts, lambda: WORKERS).collect() for sample in family.samples]
    found = {}
    for sample in samples:
        labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
        found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_every_fact_has_its_metric() -> None:
    facts = board()
    facts.engine_up()
    facts.event_seen(3)
    facts.stream_renewed()
    facts.rendered(
        Rendering(
            findings=(
                Finding("no-path", "x", container="a", skips=True),
                Finding("no-path", "x", container="b", skips=True),
                Finding("wrong-label", "x", container="b", skips=True),
                Finding("invisible-path", "x", container="c"),
            )
        )
    )
    facts.reported(Applied(1, changed=True, at=100.0, done_at=100.2, restarted=True))
    facts.reported(Applied(2, changed=True, at=100.0, done_at=200.0, owed="restart", reason="busy"))
    facts.reported(WriteFailed(3, "full", blocked=("p", "q")))
    found = scraped(facts)
    expected = {
        "plans{state=active}": 0,
        "plans{state=skipped}": 2,
        "skipped{reason=no-path}": 2,
        "skipped{reason=wrong-label}": 1,
        "invisible_paths": 1,
        "blocked_plans": 2,
        "write_failing": 1,
        "owed_applies": 1,
        "owed_since_timestamp_seconds": 1.7e9,
        "engine_up": 1,
        "reconciles_total": 1,
        "events_total": 3,
        "writes_total": 2,
        "backrest_restarts_total": 1,
        "event_stream_reconnects_total": 1,
        "worker_restarts_total{worker=writer}": 2,
        "worker_restarts_total{worker=renderer}": 0,
        "worker_up{worker=writer}": 1,
        "worker_up{worker=renderer}": 0,
        "event_to_disk_seconds_bucket{le=0.1}": 0,
        "event_to_disk_seconds_bucket{le=0.25}": 1,
        "event_to_disk_seconds_bucket{le=60.0}": 1,
        "event_to_disk_seconds_bucket{le=+Inf}": 2,
        "event_to_disk_seconds_count": 2,
        "last_write_timestamp_seconds": 1.7e9,
    }
    assert {key: found[metrics.PREFIX + key] for key in expected} == expected
    assert found[metrics.PREFIX + "event_to_disk_seconds_sum"] == pytest.approx(100.2)


def test_what_never_happened_has_no_time() -> None:
    found = scraped(board())
    assert found[metrics.PREFIX + "engine_up"] == 0
    assert not any("last_write" in name or "owed_since" in name for name in found)


class Running:
    """The server in a thread, on any free port of loopback."""

    def __init__(self, address: str = ":0") -> None:
        self.server = MetricsServer(address, board(), lambda: WORKERS)
        self.stop = threading.Event()
        self.thread = threading.Thread(
            target=self.server.run,
            args=(Context("metrics", self.stop, lambda seconds: None, lambda report: None),),
        )
        self.thread.start()

    def url(self, path: str) -> str:
        assert self.server.listening.wait(10)
        return f"http://{self.server.address[0]}:{self.server.address[1]}{path}"

    def end(self) -> None:
        self.stop.set()
        self.server.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.end()


def get(url: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_served_on_loopback(running: Running) -> None:
    status, kind, body = get(running.url("/metrics?x=1"))
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert 'backrest_sidecar_worker_up{worker="writer"} 1.0' in body
    assert "python_info" not in body
    assert running.server.address[0] == "127.0.0.1"
    assert get(running.url("/nope"))[0] == 404
    assert get(running.url("/"))[0] == 200


def raw(running: Running, request: bytes) -> bytes:
    running.url("/")
    with socket.create_connection(running.server.address, timeout=10) as peer:
        peer.sendall(request)
        answer = b""
        while part := peer.recv(65536):
            answer += part
    return answer


def test_odd_requests(running: Running) -> None:
    assert raw(running, b"POST /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    assert raw(running, b"HEAD /metrics HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")
    assert raw(running, b"\xff\xfe \x00\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    assert get(running.url("/metrics"))[0] == 200


def test_a_peer_that_says_nothing_holds_nobody_up_for_long(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "EXCHANGE", 0.2)
    running.url("/")
    with socket.create_connection(running.server.address, timeout=10) as mute:
        assert get(running.url("/metrics"))[0] == 200
        assert mute.recv(1) == b""


def test_an_address_in_use_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "FIRST_PAUSE", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        running = Running(f":{squatter.getsockname()[1]}")
        try:
            assert not running.server.listening.wait(0.1)
            assert running.thread.is_alive()
            squatter.close()
            assert get(running.url("/metrics"))[0] == 200
        finally:
            running.end()
    assert "metrics.not_listening" in [record.getMessage() for record in caplog.records]


def test_the_spec_stops_at_once() -> None:
    server = MetricsServer(":0", board(), lambda: WORKERS)
    spec = server.spec()
    stop = threading.Event()
    thread = threading.Thread(
        target=spec.run, args=(Context("metrics", stop, lambda seconds: None, lambda report: None),)
    )
    thread.start()
    assert server.listening.wait(10)
    stop.set()
    assert spec.inbox is not None
    spec.inbox.stop()
    thread.join(10)
    assert not thread.is_alive()
    spec.inbox.stop()


def test_prometheus_is_imported_by_nobody_who_does_not_serve() -> None:
    script = (
        "import sys; import sidecar.status.metrics, sidecar.status.board, sidecar.supervision.supervisor;"
        " sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=30).returncode == 0
