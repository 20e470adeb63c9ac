"""An engine behind ``tcp://``, with or without TLS, through docker-py. Imported only where there is one.

Of ``docker.APIClient`` only the ``requests.Session`` that it is gets used. Its convenience methods look up
containers one by one, have no deadline above a stop timeout of the container's own, and end a broken event stream
like a finished one (docker-py: docker/types/daemon.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import docker
import requests
from docker.tls import TLSConfig
from docker.types import CancellableStream

ANY_VERSION: Final = "1.41"
"""Given to docker-py so that it does not ask; our own paths carry the negotiated one."""


class RemoteSession:
    """Sends requests and keeps the connection in between. For one thread.

    Args:
        host: ``tcp://…`` or ``http://…``.
        environ: For ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH``.

    Raises:
        OSError: The address or the certificates cannot be used.
    """

    def __init__(self, host: str, environ: Mapping[str, str]) -> None:
        try:
            # With a version given the constructor does no I/O but reading certificates.
            self._client: Any = docker.APIClient(
                base_url=host, version=ANY_VERSION, tls=tls_of(host, environ)
            )
        except (docker.errors.DockerException, ValueError) as error:
            raise ConnectionError(str(error)) from error

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        connect_timeout: float,
        read_timeout: float,
    ) -> RemoteResponse:
        """Send one request; see ``engine_unix.UnixSession.request``."""
        try:
            response = self._client.request(
                method,
                self._client.base_url + target,
                data=body,
                headers={} if body is None else {"Content-Type": "application/json"},
                timeout=(connect_timeout, read_timeout),
                stream=True,
                allow_redirects=False,
                verify=self._client.verify,  # said again, or REQUESTS_CA_BUNDLE would win over DOCKER_CERT_PATH
            )
        except docker.errors.DockerException as error:
            raise ConnectionError(str(error)) from error
        return RemoteResponse(response)

    def close(self) -> None:
        """Close what is kept."""
        self._client.close()


class RemoteResponse:
    """One answer; see ``engine_unix.UnixResponse``."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._chunks: Iterator[bytes] = response.iter_content(chunk_size=None)
        # The public way of docker-py to shut the socket down under a blocked reader.
        self._canceller = CancellableStream(self._chunks, response)
        self._whole = False

    def chunks(self) -> Iterator[bytes]:
        """Give the body as it comes. Raises OSError (requests' own are), or what a closed stream raises."""
        yield from self._chunks
        self._whole = True

    def close(self) -> None:
        """End it, from any thread; harmless when repeated."""
        if not self._whole:
            # What has ended already has no socket any more.
            with contextlib.suppress(OSError, AttributeError, docker.errors.DockerException):
                self._canceller.close()
        self._response.close()


def tls_of(host: str, environ: Mapping[str, str]) -> TLSConfig | bool:
    """Return the TLS settings by the variables of the Docker client (docker/cli: cli/command/cli.go)."""
    certs = environ.get("DOCKER_CERT_PATH", "").strip()
    verify = bool(environ.get("DOCKER_TLS_VERIFY", "").strip())
    if host.startswith("http://") or not (certs or verify):
        return False
    folder = Path(certs) if certs else Path.home() / ".docker"
    return TLSConfig(
        client_cert=(str(folder / "cert.pem"), str(folder / "key.pem")),
        ca_cert=str(folder / "ca.pem") if verify else None,
        verify=verify,
    )
