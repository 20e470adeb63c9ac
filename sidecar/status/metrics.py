"""Prometheus metrics of the daemon, served on loopback unless told otherwise. Off by default.

Nobody counts for Prometheus: a collector turns the facts that the workers publish anyway into metrics at the
moment of a scrape. So prometheus-client is imported only where ``--metrics-addr`` is given, and by nobody else.
Names of containers and plans are no label values: their number is not ours to bound.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sidecar import __version__
from sidecar.log import get_logger
from sidecar.settings.address import parse_address
from sidecar.status.board import LATENCY_BUCKETS, Facts, Moment, StatusBoard
from sidecar.supervision.child import ChildSpec, Context, WorkerFacts

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

PREFIX = "backrest_sidecar_"
BEAT = 15.0
WAIT = 30.0
"""Seconds for which it sleeps when nobody asks; a heartbeat lies between two of them."""
EXCHANGE = 2.0
"""Seconds that one scraper may take, from its connection to the last byte of its answer."""
LONGEST_REQUEST = 16_384
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

log = get_logger(__name__)
Workers = Callable[[], Sequence[WorkerFacts]]


class MetricsServer:
    """The worker that serves ``/metrics``, one short request at a time; see :meth:`spec`.

    Attributes:
        address: Where it listens, once ``listening`` is set; port 0 takes any.
        listening: Set while it listens.
    """

    def __init__(self, address: str, board: StatusBoard, workers: Workers) -> None:
        self.address = parse_address(address)
        self.listening = threading.Event()
        self._board = board
        self._workers = workers
        self._wake, self._woken = socket.socketpair()

    def spec(self) -> ChildSpec:
        """Return its child spec."""
        return ChildSpec("metrics", self.run, shutdown=2 * EXCHANGE, inbox=self)

    def stop(self) -> None:
        """Wake the worker, which then sees that it is to stop."""
        with suppress(OSError):
            self._wake.send(b"!")

    def run(self, ctx: Context) -> None:
        """Serve until told to stop. An address that cannot be had is tried again: no backup depends on it."""
        own = registry(self._board, self._workers)
        pause = FIRST_PAUSE
        while not ctx.stop.is_set():
            try:
                family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
                listener = socket.create_server(self.address, family=family)
            except OSError as error:
                log.error("metrics.not_listening", address=_show(self.address), error=error, again_in=pause)
                ctx.beat(pause + BEAT)
                ctx.stop.wait(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            with listener:
                self.address = listener.getsockname()[:2]
                log.info("metrics.listening", address=_show(self.address))
                self.listening.set()
                self._serve(ctx, listener, own)
            self.listening.clear()
        self._wake.close()
        self._woken.close()

    def _serve(self, ctx: Context, listener: socket.socket, own: CollectorRegistry) -> None:
        while not ctx.stop.is_set():
            ctx.beat(WAIT + BEAT)
            ready, _, _ = select.select([listener, self._woken], [], [], WAIT)
            if listener not in ready:
                continue
            ctx.beat(BEAT)
            try:
                connection, _ = listener.accept()
                with connection:
                    _answer(connection, own)
            except OSError as error:  # a scraper that went away, or was too slow
                log.debug("metrics.request_failed", error=error)


def _answer(connection: socket.socket, own: CollectorRegistry) -> None:
    """Read one request and answer it, both within :data:`EXCHANGE` seconds, so that no peer can hold us up."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    deadline = time.monotonic() + EXCHANGE
    request = b""
    while b"\r\n\r\n" not in request:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(4096)
        request += part
        if not part or len(request) > LONGEST_REQUEST:
            return
    method, _, rest = request.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    status, kind, body = "200 OK", "text/plain; charset=utf-8", b"see /metrics\n"
    if method not in {"GET", "HEAD"}:
        status, body = "405 Method Not Allowed", b"GET only\n"
    elif path == "/metrics":
        kind, body = CONTENT_TYPE_LATEST, generate_latest(own)
    elif path != "/":
        status, body = "404 Not Found", b"see /metrics\n"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    connection.settimeout(max(0.001, deadline - time.monotonic()))
    connection.sendall(head.encode() + (b"" if method == "HEAD" else body))


def _show(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def registry(board: StatusBoard, workers: Workers) -> CollectorRegistry:
    """Return a registry of our own with one collector: nothing of the process's default registry is in it."""
    from prometheus_client import CollectorRegistry

    own = CollectorRegistry(auto_describe=False)
    own.register(_Collector(board, workers))
    return own


class _Collector:
    def __init__(self, board: StatusBoard, workers: Workers) -> None:
        self._board = board
        self._workers = workers

    def collect(self) -> Iterable[Metric]:
        return _metrics(self._board.facts, self._workers())


def _metrics(facts: Facts, workers: Sequence[WorkerFacts]) -> Iterator[Metric]:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
    )

    def gauge(name: str, text: str, value: float | None) -> Iterator[Metric]:
        if value is not None:
            yield GaugeMetricFamily(PREFIX + name, text, value=value)

    def counter(name: str, text: str, value: float) -> Metric:
        return CounterMetricFamily(PREFIX + name, text, value=value)

    def by(family: Any, name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
        metric: Any = family(PREFIX + name, text, labels=[label])
        for key, value in values:
            metric.add_metric([key], value)
        return metric  # type: ignore[no-any-return] # the two families share no typed constructor

    yield InfoMetricFamily(PREFIX + "build", "What runs.", value={"version": __version__})
    yield by(GaugeMetricFamily, "plans", "Plans by state.", "state", sorted(facts.plans.items()))
    skips = Counter(finding.code for finding in facts.skipped)
    yield by(
        GaugeMetricFamily,
        "skipped",
        "Skipped containers and plans by reason.",
        "reason",
        sorted(skips.items()),
    )
    yield from gauge("invisible_paths", "Paths that Backrest cannot see.", len(facts.invisible))
    yield from gauge("blocked_plans", "Plans that cannot be put into config.json.", _blocked(facts))
    yield from gauge(
        "write_failing", "1 while config.json cannot be written.", int(facts.failure is not None)
    )
    yield from gauge(
        "owed_applies", "1 while Backrest has to be restarted yet.", int(facts.owing is not None)
    )
    yield from gauge(
        "owed_since_timestamp_seconds", "Since when it is owed.", facts.owing.since if facts.owing else None
    )
    waiting, backrest = facts.waiting, facts.backrest
    yield from gauge(
        "waiting_applies", "1 while plans wait until Backrest may be told of them.", int(waiting is not None)
    )
    yield from gauge(
        "waiting_since_timestamp_seconds",
        "Since when they wait.",
        _wall(waiting.since if waiting is not None else None),
    )
    yield from gauge(
        "waiting_overdue",
        "1 while they wait for longer than --apply-max-wait.",
        int(waiting is not None and waiting.overdue),
    )
    yield from gauge(
        "backrest_api_up",
        "1 while --backrest-url answers.",
        None if backrest is None else int(not backrest.reason),
    )
    yield from gauge("engine_up", "1 while the Docker engine answers.", int(facts.engine.reachable is True))
    yield from gauge(
        "last_reconcile_timestamp_seconds",
        "The last pass over the engine.",
        _wall(facts.last_reconcile),
    )
    yield from gauge(
        "last_write_timestamp_seconds",
        "The last write of config.json.",
        _wall(facts.last_write),
    )
    yield from gauge("start_timestamp_seconds", "The start of the daemon.", facts.started.wall)
    yield counter("reconciles", "Passes over the engine.", facts.reconciles)
    yield counter("events", "Events of the engine that could change a plan.", facts.events)
    yield counter("writes", "Writes of config.json.", facts.writes)
    yield counter("backrest_restarts", "Restarts of Backrest, and applies through its API.", facts.restarts)
    yield counter("event_stream_reconnects", "Event streams that had to be renewed.", facts.reconnects)
    yield by(
        CounterMetricFamily,
        "worker_restarts",
        "Restarts of a worker by the supervisor.",
        "worker",
        [(worker.name, worker.restarts) for worker in workers],
    )
    yield by(
        GaugeMetricFamily,
        "worker_up",
        "1 while a worker runs and is not overdue.",
        "worker",
        [(worker.name, int(worker.state == "running")) for worker in workers],
    )
    total, buckets = 0, []
    for bound, count in zip((*map(str, LATENCY_BUCKETS), "+Inf"), facts.latency, strict=True):
        total += count
        buckets.append((bound, total))
    histogram = HistogramMetricFamily(
        PREFIX + "event_to_disk_seconds", "From a cause to config.json on the disk."
    )
    histogram.add_metric([], buckets, sum_value=facts.latency_sum)
    yield histogram


def _wall(moment: Moment | None) -> float | None:
    return moment.wall if moment is not None else None


def _blocked(facts: Facts) -> int:
    return len(facts.failure.blocked) if facts.failure is not None else 0
