"""Beneath the connection: docker-py's transport for unix sockets, mended, and answers that go on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import docker
import requests
from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool
from docker.types import CancellableStream

from sidecar.engine.errors import from_exception


class _UnixConnection(UnixHTTPConnection):  # type: ignore[misc]  # docker-py has no types
    """Closes its socket when it cannot connect; docker-py leaves it to the garbage collector, with a warning."""

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self.unix_socket)
        except OSError:
            sock.close()
            raise
        self.sock = sock


class _UnixPool(UnixHTTPConnectionPool):  # type: ignore[misc]  # docker-py has no types
    def _new_conn(self) -> _UnixConnection:
        return _UnixConnection(self.base_url, self.socket_path, self.timeout)


class UnixAdapter(UnixHTTPAdapter):  # type: ignore[misc]  # docker-py has no types
    """docker-py's adapter for ``http+docker://``, with connections that clean up after themselves."""

    def get_connection(self, url: str, proxies: object = None) -> Any:  # noqa: ARG002 - the signature of requests
        """Return the pool of connections for ``url``."""
        with self.pools.lock:
            pool = self.pools.get(url)
            if pool is None:
                pool = self.pools[url] = _UnixPool(
                    url, self.socket_path, self.timeout, maxsize=self.max_pool_size
                )
            return pool


class Stream:
    """An answer that goes on: iterate over its chunks of bytes; ``close`` from any thread ends the iteration.

    Iterating raises :class:`EngineError` when the stream is cut or silent for longer than its read timeout, and
    ends normally only where the engine ended it, or after ``close``.
    """

    def __init__(self, response: requests.Response, host: str, lost: Callable[[], None]) -> None:
        self._response = response
        self._host = host
        self._lost = lost
        self._closed = threading.Event()
        # The public way of docker-py to shut the socket down under a blocked reader.
        self._chunks = response.iter_content(chunk_size=None)
        self._canceller = CancellableStream(self._chunks, response)

    @property
    def content_type(self) -> str:
        """Return the media type of the answer."""
        return self._response.headers.get("Content-Type", "").partition(";")[0].strip()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed.is_set()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except (requests.RequestException, OSError, ValueError, AttributeError) as error:
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
        # What has ended already has no socket any more.
        with contextlib.suppress(OSError, AttributeError, docker.errors.DockerException):
            self._canceller.close()
        self._response.close()
