"""What can go wrong with the engine, in words that say what to do.

Every failure of the adapter becomes one :class:`EngineError`. Its text never holds a container's logs or
environment: only paths, names, the engine's own one-line answer, and advice.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import orjson

from sidecar.errors import SidecarError
from sidecar.findings import printable

Kind = Literal["unreachable", "denied", "forbidden", "timeout", "not-found", "conflict", "protocol"]

PROXY_PERMISSIONS: tuple[tuple[str, str], ...] = (
    (r"/containers/[^/]+/start$", "POST=1 and ALLOW_START=1"),
    (r"/containers/[^/]+/stop$", "POST=1 and ALLOW_STOP=1"),
    (r"/containers/[^/]+/(restart|kill)$", "POST=1 and ALLOW_RESTARTS=1"),
    (r"/containers(/|$)", "CONTAINERS=1"),
    (r"/volumes(/|$)", "VOLUMES=1"),
    (r"/images(/|$)", "IMAGES=1"),
    (r"/events$", "EVENTS=1"),
    (r"/info$", "INFO=1"),
    (r"/services(/|$)", "SERVICES=1"),
    (r"/nodes(/|$)", "NODES=1"),
    (r"/tasks(/|$)", "TASKS=1"),
    (r"/version$", "VERSION=1"),
    (r"/_ping$", "PING=1"),
)
"""Path of the Engine API → variable of the usual socket proxies (tecnativa/docker-socket-proxy: README.md)."""


class EngineError(SidecarError):
    """The engine could not do what was asked.

    Attributes:
        kind: ``unreachable`` (nobody answers), ``denied`` (the socket or TLS refuses us), ``forbidden`` (the
            engine or a proxy answered 401, 403 or 405), ``timeout``, ``not-found``, ``conflict`` (409, or the wrong
            state), ``protocol`` (an answer that makes no sense, or the engine's own error).
        message: What happened, one sentence.
        advice: What a person can do; may be empty.
    """

    def __init__(self, kind: Kind, message: str, advice: str = "") -> None:
        super().__init__(message, advice)
        self.kind: Kind = kind


def from_status(status: int, body: bytes, method: str, path: str) -> EngineError:
    """Return the error for an HTTP answer outside 2xx and 304.

    Args:
        status: HTTP status.
        body: The answer; the engine's is ``{"message": …}``, a proxy's is HTML.
        method: HTTP method that was used.
        path: Path of the Engine API without its version prefix.
    """
    said = _said(body)
    what = f"{method} {path}"
    if status in {401, 403, 405}:  # 405: a proxy that goes by methods; the engine has what is asked for
        needed = missing_permission(method, path)
        return EngineError(
            "forbidden",
            f"{what} is forbidden{said}",
            f"a socket proxy or authorization plugin refuses it; a docker-socket-proxy needs {needed}",
        )
    if status == 404:
        return EngineError("not-found", f"{what} found nothing{said}")
    if status == 409:
        return EngineError("conflict", f"{what} is not possible now{said}")
    if status == 400 and "client version" in said:
        return EngineError(
            "protocol",
            f"the engine refuses the API version{said}",
            "unset DOCKER_API_VERSION, it is negotiated",
        )
    if status == 400 and b"HTTPS server" in body:
        return EngineError(
            "protocol",
            "the engine speaks TLS, this sidecar does not",
            "set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH",
        )
    if status in {408, 504}:
        return EngineError("timeout", f"{what} timed out behind a proxy{said}")
    if status in {502, 503} and "swarm" not in said:
        return EngineError("unreachable", f"{what}: the engine behind the proxy does not answer{said}")
    return EngineError("protocol", f"{what} failed with status {status}{said}")


def missing_permission(method: str, path: str) -> str:
    """Return the socket proxy variables that allow ``method`` on ``path``, e.g. ``VOLUMES=1``."""
    for pattern, needed in PROXY_PERMISSIONS:
        if re.search(pattern, path):
            return (
                needed if method in {"GET", "HEAD"} or needed.startswith("POST") else f"POST=1 and {needed}"
            )
    return "the section of " + path


def from_exception(error: BaseException, host: str) -> EngineError:
    """Return the error for an exception of the HTTP client, by the innermost cause that it carries.

    Args:
        error: What requests, urllib3, ssl or the socket raised.
        host: The engine's address as a person wrote it.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, EngineError):
            return cause
    names = {type(c).__name__ for c in causes}
    # First, for an SSL error is an OSError too, with a number of OpenSSL's in the place of errno.
    if names & {"SSLError", "SSLCertVerificationError", "CertificateError", "TLSParameterError"}:
        why = printable(str(causes[-1]))
        return EngineError(
            "denied",
            f"TLS with {host} failed: {why}",
            "check DOCKER_CERT_PATH (ca.pem, cert.pem, key.pem), DOCKER_TLS_VERIFY and the name in the certificate",
        )
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in _BY_ERRNO:
            return _from_errno(cause.errno, host)
    if names & {"gaierror", "NameResolutionError"}:
        return EngineError("unreachable", f"the name in {host} cannot be resolved", "check DOCKER_HOST")
    if names & {"ReadTimeoutError", "ReadTimeout", "ConnectTimeoutError", "ConnectTimeout", "TimeoutError"}:
        return EngineError(
            "timeout", f"the engine at {host} did not answer in time", "is it overloaded or frozen?"
        )
    if names & {"InvalidVersion"}:
        return EngineError("protocol", printable(str(error)), "unset DOCKER_API_VERSION, it is negotiated")
    if names & {
        "RemoteDisconnected",
        "IncompleteRead",
        "ProtocolError",
        "ChunkedEncodingError",
        "ConnectionError",
    }:
        return EngineError(
            "unreachable", f"the engine at {host} closed the connection", "did it stop or restart?"
        )
    return EngineError("protocol", f"the engine at {host} answered oddly: {printable(str(causes[-1]))}")


_BY_ERRNO = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED, errno.EACCES, errno.EPERM, errno.ENOTSOCK, errno.EPROTOTYPE,
    errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNRESET, errno.EPIPE,
})  # fmt: skip


def _from_errno(code: int, host: str) -> EngineError:
    path = host.removeprefix("unix://") if host.startswith("unix://") else ""
    if code in {errno.EACCES, errno.EPERM} and path:
        return EngineError("denied", f"no permission for the engine socket {path}", _who_may(path))
    if code in {errno.ENOENT, errno.ENOTDIR}:
        return EngineError(
            "unreachable",
            f"there is no engine socket at {path or host}",
            "is Docker running, and is its socket mounted into this container? Another place: --docker-sock or"
            " DOCKER_HOST (rootless: unix:///run/user/<uid>/docker.sock)",
        )
    if code in {errno.ENOTSOCK, errno.EPROTOTYPE}:
        return _no_socket(path or host)
    if code == errno.ECONNREFUSED and path and not _is_socket(path):
        return _no_socket(path)
    if code == errno.ECONNREFUSED and path:
        return EngineError(
            "unreachable",
            f"nobody listens on the engine socket {path}",
            "is Docker running? If it was restarted, a bind-mounted socket file is stale: restart this container,"
            " or mount the directory of the socket",
        )
    if code == errno.ETIMEDOUT:
        return EngineError(
            "timeout", f"the engine at {host} did not answer in time", "is it overloaded or frozen?"
        )
    if code in {errno.ECONNRESET, errno.EPIPE}:
        return EngineError(
            "unreachable", f"the engine at {host} cut the connection", "did it stop or restart?"
        )
    return EngineError(
        "unreachable", f"the engine at {host} cannot be reached", "is it running, is the port right?"
    )


def _no_socket(path: str) -> EngineError:
    return EngineError("unreachable", f"{path} is not a socket", "check --docker-sock or DOCKER_HOST")


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return True  # gone in between: the usual advice fits


def _who_may(path: str) -> str:
    """Say who may use the socket at ``path``, from its owner and mode."""
    with contextlib.suppress(OSError):
        info = Path(path).stat()
        mode = stat.S_IMODE(info.st_mode)
        return (
            f"this process runs as uid {os.geteuid()}, the socket belongs to uid {info.st_uid} and gid {info.st_gid}"
            f" (mode {mode:04o}): run as root, or add the group (group_add: [{str(info.st_gid)!r}])"
        )
    return "run as root, or add this user to the group of the socket"


def _said(body: bytes) -> str:
    """Return the engine's own sentence as ``": …"``, or nothing for a proxy's page."""
    with contextlib.suppress(orjson.JSONDecodeError, AttributeError):
        message = orjson.loads(body).get("message")
        if isinstance(message, str) and message:
            return ": " + printable(message.strip(), 300)
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and what it wraps, outermost first: causes, contexts, arguments and ``reason``."""
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        one = queue.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        queue += [getattr(one, "reason", None), one.__cause__, *one.args, one.__context__]
