"""The engine's API without any library: what the tests use to set up and to look, past what they test."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any


def request(path_of_socket: Path, method: str, path: str, body: object, timeout: float) -> tuple[int, Any]:
    """Send one call; return the status, and the answer decoded where it is JSON. Raises OSError."""
    connection = _UnixConnection(str(path_of_socket), timeout)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        answer = connection.getresponse()
        raw = answer.read()
    finally:
        connection.close()
    try:
        return answer.status, json.loads(raw)
    except ValueError:
        return answer.status, raw


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("engine", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
