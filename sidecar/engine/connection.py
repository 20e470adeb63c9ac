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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import docker
import orjson
import requests
from docker.tls import TLSConfig

from sidecar.engine import decode
from sidecar.engine.address import normalize_host
from sidecar.engine.errors import EngineError, from_exception, from_status
from sidecar.engine.transport import Stream, UnixAdapter

CONNECT_TIMEOUT: Final = 5.0
ANY_VERSION: Final = "1.41"
"""Given to docker-py so that it does not ask; our own paths carry the negotiated one."""
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
        return decode.loads(self.get(path, params, timeout=timeout), path)

    def call(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        *,
        body: object = None,
        timeout: float | None = None,
        may_run_out: bool = False,
    ) -> tuple[int, bytes]:
        """Return status (2xx or 304) and whole answer of one call. Raises :class:`EngineError`.

        Args:
            method: HTTP method.
            path: Path of the Engine API without version, already quoted.
            params: Query.
            body: Sent as JSON when given.
            timeout: Seconds for the whole call; the connection's own by default.
            may_run_out: A timeout is one of the answers, and says nothing against the engine.
        """
        seconds = self.timeout if timeout is None else timeout
        return self._whole(method, path, params, body, seconds, f"/v{self._negotiated()}", may_run_out)

    def _whole(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: object,
        seconds: float,
        version: str,
        may_run_out: bool = False,
    ) -> tuple[int, bytes]:
        deadline = time.monotonic() + seconds
        response = self._send(method, version + path, params, body, seconds, may_run_out)
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
            failure = from_exception(error, self.host)
            self._lost(failure, may_run_out)
            raise failure from error
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
        response = self._send(method, f"/v{self._negotiated()}{path}", params, None, read_timeout)
        if response.status_code >= 300:
            try:
                answer = response.content
            except (requests.RequestException, OSError) as error:
                raise from_exception(error, self.host) from error
            raise from_status(response.status_code, answer, method, path)
        return Stream(response, self.host, self.drop)

    def head(self, path: str, params: Params, header: str) -> str:
        """Return one header of the answer to a HEAD; empty where it is not there. Raises :class:`EngineError`.

        A timeout says nothing against the engine: the file that is asked for may lie on a disk that hangs.
        """
        response = self._send("HEAD", f"/v{self._negotiated()}{path}", params, None, self.timeout, True)
        response.close()
        if response.status_code >= 300:
            raise from_status(response.status_code, b"", "HEAD", path)
        return str(response.headers.get(header, ""))

    def date(self) -> str:
        """Return the ``Date`` header of a ping: the engine's own clock. Raises :class:`EngineError`.

        A proxy that forbids the ping still answers; its clock stands in.
        """
        response = self._send("GET", f"/v{self._negotiated()}/_ping", None, None, self.timeout)
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

    def _lost(self, failure: EngineError, may_run_out: bool) -> None:
        """Connect afresh next time. After a timeout that may be, what is remembered of the engine still holds."""
        if may_run_out and failure.kind == "timeout":
            self.close()
        else:
            self.drop()

    def _send(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: object,
        read_timeout: float,
        may_run_out: bool = False,
    ) -> requests.Response:
        client = self._client()
        url = client.base_url + path
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
                verify=client.verify,  # said again, or REQUESTS_CA_BUNDLE would win over DOCKER_CERT_PATH
            )
        except (requests.RequestException, OSError, docker.errors.DockerException) as error:
            failure = from_exception(error, self.host)
            self._lost(failure, may_run_out)
            raise failure from error
        return response

    def _client(self) -> Any:
        """Return this thread's session. With a version given the constructor of docker-py does no I/O."""
        client = getattr(self._local, "client", None)
        if client is not None:
            return client
        try:
            client = docker.APIClient(base_url=self.host, version=ANY_VERSION, tls=self._tls())
        except (docker.errors.DockerException, OSError, ValueError) as error:
            raise from_exception(error, self.host) from error
        if self.socket_path:
            client.mount("http+docker://", UnixAdapter(f"http+unix://{self.socket_path}", self.timeout))
            client.trust_env = False  # no proxy and no .netrc concerns a unix socket; reading them costs time
        self._local.client = client
        return client

    def _negotiated(self) -> str:
        """Return the API version: the one asked for, else the engine's newest, which it serves by definition."""
        with self._lock:
            version = self._version
        if version:
            return version
        version = self._environ.get("DOCKER_API_VERSION", "").strip()
        if not version:
            _, body = self._whole("GET", "/version", None, None, self.timeout, "")
            answer = decode.loads(body, "/version")
            version = str(answer.get("ApiVersion") or "") if isinstance(answer, dict) else ""
            if not version:
                raise decode.wrong_shape("/version")
        with self._lock:
            self._version = version
        return version

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
