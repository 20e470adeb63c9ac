"""HTTP/1.1 over a unix socket: as much of it as an engine speaks, on nothing but ``socket``.

Nearly every engine is reached this way, on every look for years, so it is worth its own lines: docker-py brings
requests, urllib3, ssl and a character-set detector with it, 12 MiB of memory and most of a cold start. An engine
behind ``tcp://`` is reached through docker-py, see ``engine_remote.py``.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Iterator, Mapping

_HEAD_LIMIT = 1 << 18
_PART = 1 << 18
_BLANK = b"\r\n\r\n"
_NO_BODY = frozenset({204, 304})


class ProtocolError(Exception):
    """What came is no HTTP, or not all of it."""


class UnixSession:
    """Sends requests, one after the other, and keeps the connection in between. For one thread.

    Args:
        path: The socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: socket.socket | None = None

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        connect_timeout: float,
        read_timeout: float,
    ) -> UnixResponse:
        """Send one request; return its answer as soon as the head is there.

        Args:
            method: HTTP method.
            target: Path and query.
            body: JSON; None for none.
            connect_timeout: Seconds.
            read_timeout: Seconds of silence after which the engine counts as hung.

        Raises:
            OSError, ProtocolError: It did not work; there is no connection any more.
        """
        sock = self._connection(connect_timeout)
        try:
            sock.settimeout(read_timeout)
            sock.sendall(_head(method, target, body) + (body or b""))
            return UnixResponse(sock, self._take_back)
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Close what is kept."""
        sock, self._idle = self._idle, None
        if sock is not None:
            sock.close()

    def __del__(self) -> None:
        """A thread that ends takes its session with it."""
        self.close()

    def _connection(self, timeout: float) -> socket.socket:
        sock, self._idle = self._idle, None
        if sock is not None:
            # Whatever can be read now, an end above all, belongs to no answer: the engine has given it up.
            if not select.select([sock], [], [], 0)[0]:
                return sock
            sock.close()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        return sock

    def _take_back(self, sock: socket.socket) -> None:
        self.close()
        self._idle = sock


def _head(method: str, target: str, body: bytes | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: docker", "User-Agent: backrest-sidecar", "Accept: */*"]
    if body is not None:
        lines.append("Content-Type: application/json")
    if body is not None or method not in {"GET", "DELETE"}:
        lines.append(f"Content-Length: {len(body or b'')}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class UnixResponse:
    """One answer. Read it to its end or close it; ``close`` from another thread ends the reading.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
    """

    def __init__(self, sock: socket.socket, give_back: Callable[[socket.socket], None]) -> None:
        self._socket = sock
        self._give_back = give_back
        self._buffer = bytearray()
        self._done = False
        self.status, self.headers = self._read_head()
        while 100 <= self.status < 200 and self.status != 101:
            self.status, self.headers = self._read_head()

    def chunks(self) -> Iterator[bytes]:
        """Give the body as it comes. A part may be empty: something came, but nothing whole yet.

        Raises:
            OSError, ProtocolError: It was cut, is garbled, or silent for too long.
        """
        length = self.headers.get("content-length")
        if self.status in _NO_BODY:
            self._finish()
        elif "chunked" in self.headers.get("transfer-encoding", "").lower():
            yield from self._chunked()
        elif length is not None:
            if not length.isdecimal():
                raise ProtocolError(f"odd length {length[:20]!r}")
            yield from self._counted(int(length))
        else:
            yield from self._to_the_end()

    def close(self) -> None:
        """End it, from any thread; harmless when repeated. The connection is lost unless all was read."""
        if self._done:
            return
        self._done = True
        # A reader that is blocked in another thread wakes up from the shutdown, not from the close.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read_head(self) -> tuple[int, Mapping[str, str]]:
        while (end := self._buffer.find(_BLANK)) < 0:
            if len(self._buffer) > _HEAD_LIMIT or (
                len(self._buffer) >= 5 and not self._buffer.startswith(b"HTTP/")
            ):
                raise ProtocolError("the answer is no HTTP")
            self._fill()
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + len(_BLANK)]
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise ProtocolError("the answer is no HTTP")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if version == "HTTP/1.0":
            headers.setdefault("connection", "close")
        return int(rest[:3]), headers

    def _chunked(self) -> Iterator[bytes]:
        buffer = self._buffer
        while True:
            at, parts = 0, []
            while (end := buffer.find(b"\r\n", at)) >= 0:
                size = self._size(bytes(buffer[at:end]))
                if size == 0:
                    break
                after = end + 2 + size + 2
                if len(buffer) < after:
                    break
                parts.append(bytes(buffer[end + 2 : after - 2]))
                at = after
            # The last chunk is followed by trailers, most often none, and a blank line.
            last = end >= 0 and size == 0 and buffer.find(_BLANK, end) >= 0
            if end < 0 and len(buffer) - at > 100:
                raise ProtocolError("a chunk without a length")
            yield b"".join(parts)
            if last:
                buffer.clear()
                self._finish()
                return
            del buffer[:at]
            self._fill()

    @staticmethod
    def _size(line: bytes) -> int:
        try:
            return int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise ProtocolError("a chunk without a length") from error

    def _counted(self, length: int) -> Iterator[bytes]:
        while length > 0:
            if not self._buffer:
                self._fill()
            part = bytes(self._buffer[:length])
            del self._buffer[:length]
            length -= len(part)
            yield part
        self._finish()

    def _to_the_end(self) -> Iterator[bytes]:
        yield bytes(self._buffer)
        while data := self._socket.recv(_PART):
            yield data
        self.close()

    def _fill(self) -> None:
        data = self._socket.recv(_PART)
        if not data:
            raise ProtocolError("the engine closed the connection")
        self._buffer += data

    def _finish(self) -> None:
        """All was read: the connection can serve again, unless the engine said otherwise."""
        if self._done:
            return
        if self._buffer or "close" in self.headers.get("connection", "").lower():
            self.close()
            return
        self._done = True
        self._give_back(self._socket)
