"""Beneath the connection: what a session and an answer can do, and answers that go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from sidecar.engine_errors import from_exception
from sidecar.engine_unix import ProtocolError

FAILURES = (OSError, ProtocolError)
"""What a session or an answer raises; the exceptions of requests are OSErrors, too."""


class Response(Protocol):
    """One answer, its head read."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> Iterator[bytes]:
        """Give the body as it comes; a part may be empty."""

    def close(self) -> None:
        """End it, from any thread."""


class Session(Protocol):
    """A kept connection for one thread."""

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        connect_timeout: float,
        read_timeout: float,
    ) -> Response:
        """Send one request."""

    def close(self) -> None:
        """Close it."""


class Stream:
    """An answer that goes on: iterate over its chunks of bytes; ``close`` from any thread ends the iteration.

    Iterating raises :class:`EngineError` when the stream is cut or silent for longer than its read timeout, and
    ends normally only where the engine ended it, or after ``close``.
    """

    def __init__(self, response: Response, host: str, lost: Callable[[], None]) -> None:
        self._response = response
        self._host = host
        self._lost = lost
        self._closed = threading.Event()

    @property
    def content_type(self) -> str:
        """Return the media type of the answer."""
        return self._response.headers.get("content-type", "").partition(";")[0].strip()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed.is_set()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.chunks()
        except (*FAILURES, ValueError, AttributeError) as error:
            # Closed under the reader's feet, urllib3 raises nearly anything.
            if not self.closed:
                self._lost()
                raise from_exception(error, self._host) from error
        finally:
            self.close()

    def close(self) -> None:
        """End it; harmless when repeated."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._response.close()
