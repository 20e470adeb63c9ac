"""The connection to the engine: address, TLS, API version, deadlines, and one kind of error for all of it.

A unix socket is spoken to directly (``engine_unix.py``), anything else through docker-py (``engine_remote.py``). A
session serves one thread, so each thread has its own.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from sidecar import engine_decode
from sidecar.engine_address import normalize_host
from sidecar.engine_errors import EngineError, from_exception, from_status
from sidecar.engine_transport import FAILURES, Response, Session, Stream
from sidecar.engine_unix import UnixSession

CONNECT_TIMEOUT: Final = 5.0
Params = Mapping[str, str | int | bool]


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
        seconds = self.timeout if timeout is None else timeout
        return self._whole(method, path, params, body, seconds, f"/v{self._negotiated()}")

    def _whole(
        self, method: str, path: str, params: Params | None, body: object, seconds: float, version: str
    ) -> tuple[int, bytes]:
        deadline = time.monotonic() + seconds
        response = self._send(method, version + path, params, body, seconds)
        try:
            parts: list[bytes] = []
            for part in response.chunks():
                if part:
                    parts.append(part)
                if time.monotonic() > deadline:
                    raise EngineError(
                        "timeout", f"{method} {path} took too long", "is the engine overloaded or frozen?"
                    )
            answer = parts[0] if len(parts) == 1 else b"".join(parts)
        except (*FAILURES, EngineError) as error:
            self.drop()
            raise from_exception(error, self.host) from error
        finally:
            response.close()
        if not (200 <= response.status < 300 or response.status == 304):
            raise from_status(response.status, answer, method, path)
        return response.status, answer

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
        response = self._send(method, f"/v{self._negotiated()}{path}", params, None, read_timeout)
        if response.status >= 300:
            try:
                answer = b"".join(response.chunks())
            except FAILURES as error:
                raise from_exception(error, self.host) from error
            finally:
                response.close()
            raise from_status(response.status, answer, method, path)
        return Stream(response, self.host, self.drop)

    def date(self) -> str:
        """Return the ``Date`` header of a ping: the engine's own clock. Raises :class:`EngineError`.

        A proxy that forbids the ping still answers; its clock stands in.
        """
        response = self._send("GET", f"/v{self._negotiated()}/_ping", None, None, self.timeout)
        with contextlib.suppress(*FAILURES):
            for _ in response.chunks():  # read to its end, the connection serves again
                pass
        response.close()
        return response.headers.get("date", "")

    def drop(self) -> None:
        """Forget this thread's session and the negotiated version: the next call connects afresh."""
        session = self._forget()
        with self._lock:
            self._version = ""
            self.generation += 1
        if session is not None:
            session.close()

    def close(self) -> None:
        """Close this thread's session, if it has one."""
        session = self._forget()
        if session is not None:
            session.close()

    def _forget(self) -> Session | None:
        session: Session | None = getattr(self._local, "session", None)
        self._local.session = None
        return session

    def _send(
        self, method: str, path: str, params: Params | None, body: object, read_timeout: float
    ) -> Response:
        target = f"{path}?{urlencode(params)}" if params else path
        data = None if body is None else orjson.dumps(body)
        connect = min(CONNECT_TIMEOUT, read_timeout)
        try:
            session = self._session()
            return session.request(method, target, data, connect_timeout=connect, read_timeout=read_timeout)
        except FAILURES as error:
            self.drop()
            raise from_exception(error, self.host) from error

    def _session(self) -> Session:
        """Return this thread's session. Raises OSError for certificates or an address that cannot be used."""
        session: Session | None = getattr(self._local, "session", None)
        if session is not None:
            return session
        if self.socket_path:
            session = UnixSession(self.socket_path)
        else:
            from sidecar.engine_remote import RemoteSession

            session = RemoteSession(self.host, self._environ)
        self._local.session = session
        return session

    def _negotiated(self) -> str:
        """Return the API version: the one asked for, else the engine's newest, which it serves by definition."""
        with self._lock:
            version = self._version
        if version:
            return version
        version = self._environ.get("DOCKER_API_VERSION", "").strip()
        if not version:
            _, body = self._whole("GET", "/version", None, None, self.timeout, "")
            answer = engine_decode.loads(body, "/version")
            version = str(answer.get("ApiVersion") or "") if isinstance(answer, dict) else ""
            if not version:
                raise engine_decode.wrong_shape("/version")
        with self._lock:
            self._version = version
        return version


def segment(text: str) -> str:
    """Return ``text`` quoted as one segment of a path."""
    return quote(text, safe="")
