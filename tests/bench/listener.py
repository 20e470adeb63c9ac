"""Listens to the engine, past what is measured: what happened when, by the engine's own clock."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import orjson

from tests.bench.world import RawEngine
from tests.engine.harness import TestEngine


class Moments(threading.Thread):
    """The engine's events of containers, for as long as the ``with`` lasts; an engine remembers only its last 256.

    Attributes:
        seen: Every event, in order.
        created: Container name → Unix time of its creation.
    """

    def __init__(self, engine: TestEngine, actions: tuple[str, ...] = ("create",)) -> None:
        super().__init__(name="moments")
        self.seen: list[dict[str, Any]] = []
        self.created: dict[str, float] = {}
        self._raw = RawEngine(engine.socket)
        filters = orjson.dumps({"type": ["container"], "event": list(actions)}).decode()
        self._raw.request("GET", f"/events?filters={quote(filters)}")
        assert self._raw.sock is not None
        self._raw.sock.settimeout(None)
        self._answer = self._raw.getresponse()

    def run(self) -> None:
        while line := self._answer.readline():
            if line.strip():
                event = orjson.loads(line)
                self.seen.append(event)
                if event["Action"] == "create":
                    self.created[event["Actor"]["Attributes"]["name"]] = event["timeNano"] / 1e9

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._raw.sock is not None:
            self._raw.sock.shutdown(socket.SHUT_RDWR)
        self.join(10)
        self._answer.close()
        self._raw.close()
