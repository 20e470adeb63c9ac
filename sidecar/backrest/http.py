"""One call to Backrest's API: HTTP, credentials, deadlines, strict JSON, and errors that say what to do.

Standard library only, and its heavy parts only once there is a call to make: a sidecar without a URL makes none.
No text that leaves this module holds credentials or a value of the config.
"""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sidecar.backrest.start_log import ConfigFault, parse_refusal
from sidecar.errors import SidecarError

if TYPE_CHECKING:
    import http.client
    import socket

MAX_REPLY = 64 * 1024 * 1024


class BackrestApiError(SidecarError):
    """The API could not do what was asked. The text says what, where, and what to do."""


class ApiUnreachable(BackrestApiError):
    """Nobody answers, or not in time. After a SetConfig it is unknown whether the config was taken."""


class ApiDenied(BackrestApiError):
    """Backrest wants other credentials."""


class ModnoConflict(BackrestApiError):
    """Somebody saved since the config was read. Read again."""


class UnexpectedReply(BackrestApiError):
    """Something answers, but not as Backrest does."""


class Rejected(BackrestApiError):
    """Backrest's validation refuses the config; nothing was changed.

    Attributes:
        faults: What it refuses, each without secrets.
    """

    def __init__(self, where: str, faults: tuple[ConfigFault, ...]) -> None:
        said = "; ".join(str(fault) for fault in faults)
        super().__init__(f"Backrest at {where} refuses the config, nothing was changed: {said}")
        self.faults = faults

    @property
    def plan_ids(self) -> tuple[str, ...]:
        """Ids of the plans that Backrest names, each once."""
        return tuple(dict.fromkeys(fault.plan_id for fault in self.faults if fault.plan_id))


class BackrestHttp:
    """Calls to one Backrest: ``POST /v1.Backrest/<Method>`` with plain JSON. One connection a call.

    Args:
        url: ``http://host:port`` or ``https://…``, with a path when a proxy serves it below one. Credentials in
            it count when ``username`` is empty.
        username: For HTTP Basic; empty for a Backrest without authentication.
        password: The password in clear. Kept in memory only.
        timeout: Seconds for a whole call.
        clock: Monotonic seconds.

    Raises:
        ValueError: The URL is not one that can be used.
    """

    def __init__(
        self,
        url: str,
        username: str = "",
        password: str = "",
        timeout: float = 10.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the Backrest URL must look like http://backrest:9898")
        self._https = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._https else 80)
        self._path = parts.path.rstrip("/")
        self._timeout = timeout
        self._clock = clock
        if not username and parts.username:
            username, password = unquote(parts.username), unquote(parts.password or "")
        pair = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
        self._authorization = f"Basic {pair}" if username else ""
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self.where = f"{parts.scheme}://{shown}:{self._port}{self._path}"

    def __repr__(self) -> str:
        return f"BackrestHttp({self.where!r})"

    def call(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer of ``method``, a JSON object that survives a round trip unchanged."""
        status, raw = self._post(f"{self._path}/v1.Backrest/{method}", json.dumps(body).encode("ascii"))
        if status in {401, 403}:
            raise ApiDenied(
                f"Backrest at {self.where} refuses the credentials: give the user and password of a Backrest user"
            )
        try:
            reply = strict_json(raw)
        except ValueError as error:
            raise UnexpectedReply(
                f"{self.where} does not answer as Backrest does (status {status}, {error}): is the URL right, "
                "with the path when a proxy serves Backrest below one?"
            ) from None
        if status == 200:
            return reply
        message = reply.get("message")
        raise self._error(
            str(reply.get("code", "")), message if isinstance(message, str) else "", method, status
        )

    def _error(self, code: str, message: str, method: str, status: int) -> BackrestApiError:
        """Return the error for a Connect code; the HTTP status says less."""
        if method == "SetConfig" and code == "unknown":
            code = _code_of(message)
        match code:
            case "failed_precondition" if method == "SetConfig":
                return ModnoConflict(
                    f"the config of Backrest at {self.where} was saved by somebody else: read it again"
                )
            case "invalid_argument" if method == "SetConfig":
                return Rejected(self.where, parse_refusal(message))
            case "unauthenticated" | "permission_denied":
                return ApiDenied(f"Backrest at {self.where} refuses {method}: check its user and password")
            case "unavailable" | "deadline_exceeded":
                return ApiUnreachable(
                    f"Backrest at {self.where} is not available for {method}: try again later"
                )
        named = f"code {code}" if code.replace("_", "").isalpha() else f"status {status}"
        return UnexpectedReply(f"Backrest at {self.where} failed at {method} ({named}): see Backrest's log")

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body of one POST, within the timeout as a whole."""
        import http.client
        import ssl

        deadline = self._clock() + self._timeout
        connection: http.client.HTTPConnection
        if self._https:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._authorization:
            headers["Authorization"] = self._authorization
        try:
            connection.request("POST", path, body=body, headers=headers)
            sock = connection.sock  # the response may take it over ("Connection: close")
            response = connection.getresponse()
            return response.status, self._read(response, sock, deadline)
        except TimeoutError:
            raise ApiUnreachable(f"Backrest at {self.where} did not answer in {self._timeout:g} s") from None
        except ssl.SSLError as error:
            raise ApiUnreachable(
                f"TLS with Backrest at {self.where} failed: {error.reason or 'see its log'}"
            ) from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise ApiUnreachable(
                f"no Backrest answers at {self.where} ({why}): is it up, is the URL right?"
            ) from None
        except http.client.IncompleteRead:
            raise ApiUnreachable(f"Backrest at {self.where} broke off in its answer: did it stop?") from None
        except http.client.HTTPException as error:
            raise UnexpectedReply(
                f"{self.where} does not speak HTTP as Backrest does: {type(error).__name__}"
            ) from None
        finally:
            connection.close()

    def _read(self, response: http.client.HTTPResponse, sock: socket.socket, deadline: float) -> bytes:
        """Return the body. A server that trickles is cut at the deadline."""
        from http.client import IncompleteRead

        parts: list[bytes] = []
        size = 0
        while True:
            left = deadline - self._clock()
            if left <= 0:
                raise TimeoutError
            if not response.isclosed():
                sock.settimeout(left)
            part = response.read1(1 << 16)
            if not part:
                if response.length:
                    raise IncompleteRead(b"")
                return b"".join(parts)
            size += len(part)
            if size > MAX_REPLY:
                raise UnexpectedReply(f"{self.where} answered with more than {MAX_REPLY >> 20} MiB")
            parts.append(part)


def _code_of(message: str) -> str:
    """Return the code that Backrest gives since 1.14 to what SetConfig said before with code ``unknown``.

    backrest: internal/api/backresthandler.go:73-97 (v1.12.1: :81, :88; v1.13.0: :76, :80, and :85 the prefix).
    """
    said = message.removeprefix("failed to update config: ")
    if said.startswith("config modno mismatch"):
        return "failed_precondition"
    return "invalid_argument" if said.startswith("validation error: ") else "unknown"


def strict_json(raw: bytes) -> dict[str, Any]:
    """Return a JSON object that we can send back as it came.

    Raises:
        ValueError: Not JSON, not an object, or something that a round trip would change: a doubled key, a number
            outside 64 bits (orjson would make it a float), NaN.
    """
    try:
        found = json.loads(
            raw,
            object_pairs_hook=_unique,
            parse_int=_bounded,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    except json.JSONDecodeError:
        raise ValueError("not JSON") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a doubled key")
    return found


def _bounded(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise ValueError("a number outside 64 bits")
    return int(text)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number outside 64 bits")
    return number
