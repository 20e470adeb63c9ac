"""A unix socket that passes everything on to the engine's, and can go away and come back while the engine lives."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from pathlib import Path

_REQUEST = re.compile(rb"^(GET|HEAD|POST|PUT|DELETE) (?:/v[\d.]+)?(/[^ ?]*)[^ ]* HTTP/1", re.MULTILINE)


_BODY = b"<html><body><h1>403 Forbidden</h1></body></html>"
_PAGE = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


class Relay:
    """Serves ``path`` by connecting each caller to ``target``; ``stop`` cuts all of them and removes the socket.

    ``requests`` holds what was asked so far: method and path, without version and query.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self.requests: set[tuple[str, str]] = set()
        self._target = target
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to listen."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        self.path.chmod(0o660)
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def stop(self) -> None:
        """Be gone: no socket file, no listener, every connection cut."""
        self.path.unlink(missing_ok=True)
        listener, self._listener = self._listener, None
        with self._lock:
            ends = [*self._open, *([listener] if listener else [])]
            self._open.clear()
        for end in ends:
            _cut(end)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = listener.accept()
                engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                engine.connect(str(self._target))
                with self._lock:
                    self._open |= {caller, engine}
                for source, sink in ((caller, engine), (engine, caller)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        """Pass on what comes until one end closes; then close both."""
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                self.requests |= {(verb.decode(), path.decode()) for verb, path in _REQUEST.findall(chunk)}
                sink.sendall(chunk)
        with self._lock:
            self._open -= {source, sink}
        _cut(source)
        _cut(sink)


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


class Forbidding(Relay):
    """A socket proxy: what begins with one of ``forbidden`` is answered by a page that says 403, as HAProxy does."""

    def __init__(self, path: Path, target: Path, forbidden: tuple[str, ...]) -> None:
        super().__init__(path, target)
        self.forbidden = forbidden

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                asked = _REQUEST.match(chunk)
                if asked:
                    self.requests.add((asked[1].decode(), asked[2].decode()))
                if asked and asked[2].decode().startswith(self.forbidden):
                    source.sendall(_PAGE)
                else:
                    sink.sendall(chunk)
        with self._lock:
            self._open -= {source, sink}
        _cut(source)
        _cut(sink)
