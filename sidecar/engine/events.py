"""The engine's events, as bounded windows: a window that ends on time is a sign of life, any other end a loss."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

from sidecar.engine.connection import Connection
from sidecar.engine.errors import EngineError
from sidecar.engine.transport import Stream
from sidecar.engine.types import Event

FILTERS: Final = {
    "type": ["container", "volume", "service"],
    # `remove` and `died` are Podman's words for destroy and die. exec_*, health_status, attach, top and mount
    # never pass: a health check alone makes three exec events.
    "event": ["create", "start", "die", "destroy", "rename", "update", "remove", "died"],
}
"""Server-side filter: what can change a plan."""

GRACE: Final = 5.0
"""Seconds after the end of its window at which a silent stream counts as hung."""


class EventWindow:
    """One subscription of bounded length. Iterating gives events and ends when the window has passed.

    By the time the constructor's caller has it, the engine has accepted the subscription; what happened between
    ``since`` and then is replayed. Iterating raises :class:`EngineError` when the stream is cut, garbled, silent
    beyond its end, or ended before its time.

    Attributes:
        since: Where the next window continues, ``seconds.nanoseconds`` of the engine's clock.
    """

    def __init__(
        self, connection: Connection, since: str, window: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._window = window
        self._stream: Stream | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._connection = connection
        now = engine_time(connection)
        self.since = since or f"{now - 1:.9f}"
        self._until = now + window
        self._opened = clock()
        stream = connection.stream(
            "/events",
            {
                "since": self.since,
                "until": f"{self._until:.9f}",
                "filters": orjson.dumps(FILTERS).decode(),
            },
            read_timeout=window + GRACE,
        )
        with self._lock:
            self._stream = stream

    def __iter__(self) -> Iterator[Event]:
        stream = self._stream
        if stream is None:
            return
        rest = b""
        for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield self._decode(line)
        if self._closed:
            return
        if rest.strip():
            yield self._decode(rest)
        lasted = self._clock() - self._opened
        if lasted < self._window - 2.0:  # the engine's clock has whole seconds in its Date header
            raise EngineError(
                "unreachable",
                f"the event stream of {self._connection.host} ended after {lasted:.1f} s of {self._window:.0f} s",
                "did the engine stop, or does a proxy cut long connections?",
            )
        self.since = max(self.since, f"{self._until - 1:.9f}", key=float)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def close(self) -> None:
        """End it from any thread; harmless when repeated."""
        with self._lock:
            self._closed = True
            if self._stream is not None:
                self._stream.close()

    def _decode(self, line: bytes) -> Event:
        try:
            raw: dict[str, Any] = orjson.loads(line)
            actor = raw.get("Actor") or {}
            subject = (actor.get("Attributes") or {}).get("name") or actor.get("ID") or ""
            nanos = int(raw.get("timeNano") or int(raw.get("time") or 0) * 10**9)
            event = Event(
                str(raw.get("Type") or ""),
                str(raw.get("Action") or raw.get("status") or ""),
                str(subject),
                f"{nanos // 10**9}.{nanos % 10**9:09d}",
            )
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
            self.close()
            raise EngineError(
                "protocol",
                f"the event stream of {self._connection.host} is garbled",
                "is a proxy in between?",
            ) from error
        self.since = f"{(nanos + 1) // 10**9}.{(nanos + 1) % 10**9:09d}"  # `since` includes its own moment
        return event


def engine_time(connection: Connection) -> float:
    """Return the engine's own Unix time, to a second: ``since`` and ``until`` are compared with its clock.

    Raises:
        EngineError: The engine does not answer.
    """
    stamp = connection.date()
    try:
        return parsedate_to_datetime(stamp).timestamp() if stamp else time.time()
    except ValueError:
        return time.time()
