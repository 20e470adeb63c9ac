"""A container's output, passed on line by line as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from sidecar.engine.errors import EngineError

TRIES = 5


class Output(Protocol):
    """A container's output as it comes."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield it piece by piece."""

    def close(self) -> None:
        """End it, from any thread."""


class Engine(Protocol):
    """What is needed of the engine."""

    def stream_logs(self, container_id: str, /, since: float = 0) -> Output:
        """Return its output from ``since`` (Unix time) until it ends."""


class Follower:
    """Passes a container's output on, line by line; opens it again when the engine ends it too early."""

    def __init__(
        self, engine: Engine, container: str, line: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._container = container
        self._line = line
        self._clock = clock
        self._output: Output | None = None
        self._closed = False

    def run(self) -> None:
        """Pass on everything until the output ends or is closed."""
        since, rest, tries = 0.0, b"", 0
        while not self._closed and tries < TRIES:
            try:
                self._output = self._engine.stream_logs(self._container, since=since)
                for chunk in self._output:
                    since, tries = self._clock(), 0
                    *whole, rest = (rest + chunk).split(b"\n")
                    for raw in whole:
                        self._say(raw)
                break
            except EngineError as error:
                if error.kind == "not-found":
                    break
                tries += 1  # hours of silence, or the engine restarted
                since = since or self._clock()
        if rest:
            self._say(rest)

    def close(self) -> None:
        """End it, from any thread."""
        self._closed = True
        if self._output is not None:
            self._output.close()

    def _say(self, raw: bytes) -> None:
        self._line(raw.decode("utf-8", "replace").rstrip("\r"))
