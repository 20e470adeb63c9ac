"""A scripted Docker engine on a unix socket: it answers what a test says, or misbehaves as a test says.

A reply is a function that gets a :class:`Talk` and writes bytes. It listens in one thread and serves each
connection in another; leaving the ``with`` ends all of them.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

HEX = "0123456789abcdef"


@dataclass
class Talk:
    """One request, and the connection to answer on."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    connection: socket.socket
    closing: threading.Event

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self.connection.sendall(data)

    def head(self, status: int = 200, *headers: str) -> None:
        """Send a status line and headers."""
        lines = [f"HTTP/1.1 {status} Scripted", f"Date: {formatdate(usegmt=True)}", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    def json(self, value: object, status: int = 200) -> None:
        """Send a whole JSON answer."""
        self.whole(json.dumps(value).encode(), status)

    def whole(self, data: bytes, status: int = 200, kind: str = "application/json") -> None:
        """Send a whole answer."""
        self.head(status, f"Content-Type: {kind}", f"Content-Length: {len(data)}")
        self.send(data)

    def chunked(self) -> None:
        """Begin an answer in chunks."""
        self.head(200, "Content-Type: application/json", "Transfer-Encoding: chunked")

    def chunk(self, data: bytes) -> None:
        """Send one chunk; an empty one ends the answer."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def hang(self, seconds: float | None = None) -> None:
        """Say nothing, until the test is over or for some seconds."""
        self.closing.wait(seconds)

    def end(self) -> None:
        """Close the connection in order."""
        self.connection.recv(1)
        raise _EndOfTalk

    def reset(self) -> None:
        """Close the connection so that the other side gets ECONNRESET: with something of its unread."""
        raise _EndOfTalk


class _EndOfTalk(Exception):
    """The reply has closed the connection."""


Reply = Callable[[Talk], None]


def answer(value: object, status: int = 200) -> Reply:
    """Return a reply that is always the same JSON."""
    return lambda talk: talk.json(value, status)


def refusal(status: int, message: str = "") -> Reply:
    """Return a reply as the engine (with a message) or a proxy (HTML, without) refuses."""
    if message:
        return answer({"message": message}, status)
    return lambda talk: talk.whole(b"<html><body><h1>403 Forbidden</h1></body></html>", status, "text/html")


def container(number: int = 1, **more: Any) -> dict[str, Any]:
    """Return an entry of the container list."""
    return {
        "Id": f"{number:064x}",
        "Names": [f"/c{number}"],
        "Image": "img:1",
        "ImageID": "sha256:" + "a" * 64,
        "Created": 1_700_000_000 + number,
        "State": "running",
        "Status": "Up 3 minutes",
        "Labels": {},
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"bridge": {}}},
        "Mounts": [],
        **more,
    }


def volume_mount(name: str, destination: str, source: str | None = None) -> dict[str, Any]:
    """Return a mount of a volume."""
    source = f"/var/lib/docker/volumes/{name}/_data" if source is None else source
    return {
        "Type": "volume",
        "Name": name,
        "Source": source,
        "Destination": destination,
        "Driver": "local",
        "RW": True,
    }


def volume(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    """Return an entry of the volume list."""
    return {
        "Name": name,
        "Driver": "local",
        "Mountpoint": f"/var/lib/docker/volumes/{name}/_data",
        "Labels": labels,
    }


def event(action: str, *, kind: str = "container", nanos: int = 1_700_000_000_000_000_001) -> bytes:
    """Return one line of the event stream."""
    actor = {"ID": "f" * 64, "Attributes": {"name": "web"}}
    return json.dumps({"Type": kind, "Action": action, "Actor": actor, "timeNano": nanos}).encode() + b"\n"


@dataclass
class FakeEngine:
    """The engine. ``replies`` is by path without its version; a missing one is a 404.

    Attributes:
        path: Path of its socket; keep it short.
        replies: What it answers.
        asked: How often each path was asked for.
        talks: Every request.
    """

    path: Path
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    talks: list[Talk] = field(default_factory=list)

    def __post_init__(self) -> None:
        usual: dict[str, Reply] = {
            "/version": answer({"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Components": []}),
            "/_ping": lambda talk: talk.whole(b"OK", kind="text/plain"),
            "/info": answer({"ID": "ENGINE", "DockerRootDir": "/var/lib/docker", "Name": "host"}),
            "/containers/json": answer([]),
            "/volumes": answer({"Volumes": [], "Warnings": None}),
        }
        self.replies = {**usual, **self.replies}
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    @property
    def host(self) -> str:
        """Its address."""
        return f"unix://{self.path}"

    def containers(self, *rows: dict[str, Any]) -> None:
        """Set the container list."""
        self.replies["/containers/json"] = answer(list(rows))

    def volumes(self, *rows: dict[str, Any]) -> None:
        """Set the volume list."""
        self.replies["/volumes"] = answer({"Volumes": list(rows), "Warnings": None})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen."""
        self._closing.clear()
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        listener.listen(16)
        self._listener = listener
        self._spawn(self._accept, listener)

    def stop(self, *, keep_socket: bool = False) -> None:
        """Stop listening and cut every connection, as a killed engine does; it leaves the socket's file."""
        self._closing.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        while self._threads:
            self._threads.pop().join(5)
        if not keep_socket:
            self.path.unlink(missing_ok=True)

    def _spawn(self, target: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(connection,), name="fake engine")
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.add(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(_EndOfTalk, OSError), connection:
            while (talk := self._read(connection)) is not None:
                self.asked[talk.path] += 1
                self.talks.append(talk)
                self.replies.get(talk.path, refusal(404, f"no such thing: {talk.path}"))(talk)
                connection.recv(1)  # the byte that was left unread for reset()
        self._open.discard(connection)

    def _read(self, connection: socket.socket) -> Talk | None:
        seen = b""
        while True:
            seen = connection.recv(1 << 20, socket.MSG_PEEK)
            if not seen:
                return None
            head, found, body = seen.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
            length = int(headers.get("content-length", "0"))
            if found and len(body) >= length:
                break
            self._closing.wait(0.001)  # a peek sees the same again: let more come
        size = len(head) + 4 + length
        connection.recv(size - 1)
        method, target, _ = lines[0].split(" ")
        url = urlsplit(target)
        path = url.path
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        return Talk(method, unquote(path), query, body[:length], connection, self._closing)


def lines(*events: bytes) -> Reply:
    """Return a reply that gives some events, each as a chunk, and then stays silent."""

    def reply(talk: Talk) -> None:
        talk.chunked()
        for one in events:
            talk.chunk(one)
        talk.hang()

    return reply


def replies(*each: Reply) -> Reply:
    """Return a reply that is another one each time; the last one stays."""
    left: list[Reply] = list(each)

    def reply(talk: Talk) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(talk)

    return reply


def names(rows: Iterable[Any]) -> list[str]:
    """Return the names of containers, sorted."""
    return sorted(row.name for row in rows)
