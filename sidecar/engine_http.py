"""The connection to the engine: address, TLS, API version, deadlines, and one kind of error for all of it.

``docker.APIClient`` is a ``requests.Session`` that knows unix sockets and negotiates the API version. Its
convenience methods are not used: they look up containers one by one, have no deadline above a stop timeout of
the container's own, and end a broken event stream like a finished one (docker-py: docker/types/daemon.py).
Sessions are not promised to be thread-safe, so each thread has its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import docker
import orjson
import requests
from docker.tls import TLSConfig
from docker.types import CancellableStream

from sidecar import engine_decode
from sidecar.engine_errors import EngineError, from_exception, from_status
from sidecar.model import printable

DEFAULT_SOCKET: Final = "/var/run/docker.sock"
CONNECT_TIMEOUT: Final = 5.0
Params = Mapping[str, str | int | bool]


def normalize_host(host: str) -> str:
    """Return the engine's address with its scheme, e.g. ``unix:///var/run/docker.sock``.

    Args:
        host: A path, ``unix://…``, ``tcp://…``, ``http://…``, ``https://…``, or empty for the default socket.

    Raises:
        EngineError: ``ssh://``, ``npipe://``, ``fd://`` or another scheme that cannot be used.
    """
    host = host.strip() or DEFAULT_SOCKET
    scheme, separator, rest = host.partition("://")
    if not separator:
        return f"unix://{Path(host).absolute()}"
    if scheme == "unix":
        return f"unix:///{rest.lstrip('/')}"
    if scheme in {"tcp", "http", "https"} and rest.strip("/"):
        return host
    if scheme == "ssh":
        raise EngineError(
            "unreachable",
            f"ssh:// is not supported ({printable(host)})",
            "forward the socket instead (ssh -L /run/engine.sock:/var/run/docker.sock …) and use its path, or tcp://"
            " with TLS",
        )
    raise EngineError(
        "unreachable",
        f"{printable(host)} is no address of an engine",
        "use a path, unix://… or tcp://host:port",
    )


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
        try:
            self._canceller.close()
        except (OSError, AttributeError, docker.errors.DockerException):
            pass  # it has ended already
        finally:
            self._response.close()


class Connection:
    """Calls to one engine. No I/O before the first call; after a failure the next call connects afresh."""

    def __init__(self, host: str, *, timeout: float = 10.0, environ: Mapping[str, str] | None = None) -> None:
        self.host = normalize_host(host)
        self.timeout = timeout
        self.generation = 0
        self._environ: Mapping[str, str] = os.environ if environ is None else environ
        self._local = threading.local()
        self._lock = threading.Lock()
        self._version = ""

    @property
    def socket_path(self) -> str:
        """Return the path of the unix socket; empty for ``tcp://``."""
        return self.host.removeprefix("unix://") if self.host.startswith("unix://") else ""

    @property
    def api_version(self) -> str:
        """Return the negotiated API version; empty before the first call."""
        return self._version

    def get(self, path: str, params: Params | None = None, *, timeout: float | None = None) -> bytes:
        """Return the whole answer to a GET. Raises :class:`EngineError`.

        Args:
            path: Path of the Engine API without version, already quoted.
            params: Query.
            timeout: Seconds for the whole answer, not only between two of its bytes.
        """
        return self.call("GET", path, params, timeout=timeout)[1]

    def get_json(self, path: str, params: Params | None = None, *, timeout: float | None = None) -> Any:
        """Return the decoded answer to a GET. Raises :class:`EngineError`."""
        return engine_decode.loads(self.get(path, params, timeout=timeout), path)

    def call(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        *,
        body: object = None,
        timeout: float | None = None,
    ) -> tuple[int, bytes]:
        """Return status (2xx or 304) and whole answer of one call. Raises :class:`EngineError`.

        Args:
            method: HTTP method.
            path: Path of the Engine API without version, already quoted.
            params: Query.
            body: Sent as JSON when given.
            timeout: Seconds for the whole call; the connection's own by default.
        """
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        response = self._send(method, path, params, body, self.timeout if timeout is None else timeout)
        try:
            parts: list[bytes] = []
            for part in response.iter_content(chunk_size=None):
                parts.append(part)
                if time.monotonic() > deadline:
                    raise EngineError(
                        "timeout", f"{method} {path} took too long", "is the engine overloaded or frozen?"
                    )
            answer = parts[0] if len(parts) == 1 else b"".join(parts)
        except (requests.RequestException, OSError, EngineError) as error:
            self.drop()
            raise from_exception(error, self.host) from error
        finally:
            response.close()
        if not (200 <= response.status_code < 300 or response.status_code == 304):
            raise from_status(response.status_code, answer, method, path)
        return response.status_code, answer

    def stream(
        self, path: str, params: Params | None = None, *, read_timeout: float, method: str = "GET"
    ) -> Stream:
        """Open an answer that goes on. Raises :class:`EngineError`.

        Args:
            path: Path of the Engine API without version, already quoted.
            params: Query.
            read_timeout: Seconds of silence after which the stream counts as hung.
            method: HTTP method.
        """
        response = self._send(method, path, params, None, read_timeout)
        if response.status_code >= 300:
            try:
                answer = response.content
            except (requests.RequestException, OSError) as error:
                raise from_exception(error, self.host) from error
            raise from_status(response.status_code, answer, method, path)
        return Stream(response, self.host, self.drop)

    def date(self) -> str:
        """Return the ``Date`` header of a ping: the engine's own clock. Raises :class:`EngineError`.

        A proxy that forbids the ping still answers; its clock stands in.
        """
        response = self._send("GET", "/_ping", None, None, self.timeout)
        response.close()
        return str(response.headers.get("Date", ""))

    def drop(self) -> None:
        """Forget this thread's session and the negotiated version: the next call connects afresh."""
        client = getattr(self._local, "client", None)
        self._local.client = None
        with self._lock:
            self._version = ""
            self.generation += 1
        if client is not None:
            client.close()

    def close(self) -> None:
        """Close this thread's session, if it has one."""
        client = getattr(self._local, "client", None)
        self._local.client = None
        if client is not None:
            client.close()

    def _send(
        self, method: str, path: str, params: Params | None, body: object, read_timeout: float
    ) -> requests.Response:
        client = self._client()
        url = f"{client.base_url}/v{client.api_version}{path}"
        data = None if body is None else orjson.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connect = min(CONNECT_TIMEOUT, read_timeout)
        try:
            response: requests.Response = client.request(
                method,
                url,
                params=params,
                data=data,
                headers=headers,
                timeout=(connect, read_timeout),
                stream=True,
                allow_redirects=False,
            )
        except (requests.RequestException, OSError, docker.errors.DockerException) as error:
            self.drop()
            raise from_exception(error, self.host) from error
        return response

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is not None:
            return client
        with self._lock:
            version = self._version or self._environ.get("DOCKER_API_VERSION", "").strip() or None
        try:
            client = docker.APIClient(
                base_url=self.host, version=version, timeout=max(1, int(self.timeout)), tls=self._tls()
            )
        except (docker.errors.DockerException, requests.RequestException, OSError, ValueError) as error:
            raise from_exception(error, self.host) from error
        if self.socket_path:
            client.trust_env = False  # no proxy and no .netrc concerns a unix socket; reading them costs time
        with self._lock:
            self._version = client.api_version
        self._local.client = client
        return client

    def _tls(self) -> TLSConfig | bool:
        """Return the TLS settings by the variables of the Docker client (docker/cli: cli/command/cli.go)."""
        certs = self._environ.get("DOCKER_CERT_PATH", "").strip()
        verify = bool(self._environ.get("DOCKER_TLS_VERIFY", "").strip())
        if self.socket_path or self.host.startswith("http://") or not (certs or verify):
            return False
        folder = Path(certs) if certs else Path.home() / ".docker"
        return TLSConfig(
            client_cert=(str(folder / "cert.pem"), str(folder / "key.pem")),
            ca_cert=str(folder / "ca.pem") if verify else None,
            verify=verify,
        )


def segment(text: str) -> str:
    """Return ``text`` quoted as one segment of a path."""
    return quote(text, safe="")
