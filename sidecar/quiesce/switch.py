"""Takes one container down and brings it up again, come what may in between.

Several threads use one switch at once: it keeps no state but its settings. Stop and pause are the two ways of
being down that a container has; a Swarm service, which is scaled to nothing and back, is the third one behind the
same two methods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from sidecar.engine.errors import EngineError
from sidecar.engine.model import COMPOSE_NUMBER, Container, EngineSnapshot
from sidecar.engine.types import ContainerState
from sidecar.quiesce.records import Entry, Mode, State
from sidecar.quiesce.service_switch import ServiceSwitch, Swarm
from sidecar.quiesce.switch_result import Fate, Result

POLL = 0.2
MARGIN = 3.0
"""Seconds beyond a stop's own time in which the engine may still be killing the container."""


class Engine(Protocol):
    """What a switch needs of the engine."""

    @property
    def swarm(self) -> Swarm:
        """The swarm that it is a manager of; asked for services alone."""

    def snapshot(self) -> EngineSnapshot:
        """List everything."""

    def find(self, name: str, /) -> ContainerState | None:
        """Inspect one container; None when there is none."""

    def stop(self, container_id: str, /, timeout: int | None = None) -> bool:
        """Stop it; False when it was down already."""

    def start(self, container_id: str, /) -> bool:
        """Start it; False when it ran already."""

    def pause(self, container_id: str, /) -> None:
        """Pause it."""

    def unpause(self, container_id: str, /) -> None:
        """Let it go on."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on trying, in seconds.

    Attributes:
        start: For a start that the engine refuses.
        engine: For an engine that does not answer.
        health: For a container to become healthy before what needs it is started.
    """

    start: float = 10.0
    engine: float = 60.0
    health: float = 60.0


HURRY = Patience(start=3.0, engine=10.0, health=2.0)
"""After a stop signal: whoever sent it will not wait for ever."""


class Switch:
    """One way of taking containers down.

    Args:
        engine: The engine.
        mode: ``stop`` or ``pause``.
        timeout: Seconds for every container to stop; None lets each container's own setting win.
        now: Unix time, which the journal's times are.
        monotonic: Monotonic time in seconds.
        rest: Waits for some seconds.
        patience: Asked anew each time, so that a stop signal shortens what is under way.
    """

    def __init__(
        self,
        engine: Engine,
        mode: Mode,
        timeout: float | None,
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        rest: Callable[[float], None],
        patience: Callable[[], Patience],
    ) -> None:
        self._engine = engine
        self._mode = mode
        self._timeout = timeout
        self._now = now
        self._monotonic = monotonic
        self._rest = rest
        self._patience = patience
        self._services = ServiceSwitch(engine, now=now, monotonic=monotonic, rest=rest)

    def down(self, entry: Entry) -> Result:
        """Take a container down. Whatever the engine answers, it counts as down once it is seen to be down."""
        if entry.swarm:
            return self._services.down(entry)
        try:
            if self._mode == "pause":
                return self._pause(entry)
            self._engine.stop(entry.id, None if self._timeout is None else ceil(self._timeout))
        except EngineError as error:
            if error.kind == "not-found":
                return Result(Fate.GONE, "has gone meanwhile", entry.name, touched=False)
            if self._seen_down(entry):
                return Result(Fate.DOWN, f"went down although the engine said: {error.message}", entry.name)
            return Result(Fate.FAILED, f"could not be taken down: {error}", entry.name)
        return Result(Fate.DOWN, name=entry.name)

    def _pause(self, entry: Entry) -> Result:
        try:
            self._engine.pause(entry.id)
        except EngineError as error:
            state = self._engine.find(entry.id) if error.kind == "conflict" else None
            if state is None or (state.running and not state.paused):
                raise
            what = "was paused" if state.paused else "went down"
            return Result(Fate.GONE, f"{what} by someone else meanwhile", entry.name, touched=False)
        return Result(Fate.DOWN, name=entry.name)

    def _seen_down(self, entry: Entry) -> bool:
        """Look until the time for a stop is over: the engine may be at it although it did not say so."""
        until = self._monotonic() + entry.grace + MARGIN
        while True:
            state = self._inspect(entry.id)
            if state is not None and (not state.running or (self._mode == "pause" and state.paused)):
                return True
            if self._monotonic() >= until:
                return False
            self._rest(POLL)

    def _inspect(self, ref: str) -> ContainerState | None:
        try:
            return self._engine.find(ref)
        except EngineError:
            return None

    def up(self, entry: Entry, *, healthy: bool = False) -> Result:
        """Bring a container up again, found by id, else by project, service and number, else by name.

        Args:
            entry: What the journal knows of it. One whose stop is under way is waited for first.
            healthy: Wait for its healthcheck, if it has one, because something needs it.
        """
        began = self._monotonic()
        delay = POLL
        while True:
            try:
                result = (
                    self._services.up(entry, patience=self._patience().start)
                    if entry.swarm
                    else self._up(entry)
                )
                break
            except EngineError as error:
                patience = self._patience()
                unheard = error.kind in {"unreachable", "timeout", "denied"}
                if self._monotonic() - began + delay > (patience.engine if unheard else patience.start):
                    return Result(Fate.FAILED, f"could not be started: {error}", entry.name)
            self._rest(delay)
            delay = min(2 * delay, 2.0)
        if result.fate is Fate.UP and healthy and not entry.swarm:
            return self._healthy(result, entry)
        return result

    def _up(self, entry: Entry) -> Result:
        state = self._find(entry)
        if state is None:
            return Result(Fate.GONE, "is gone, and nothing has taken its place", entry.name)
        if entry.state is State.STOPPING and state.running and not state.paused and state.id == entry.id:
            state = self._settled(entry, state)
        if state.paused:
            if self._mode == "stop":
                return Result(Fate.UP, "was paused by someone else meanwhile", state.name, touched=False)
            self._engine.unpause(state.id)
        elif not state.running:
            self._engine.start(state.id)
        else:
            return Result(Fate.UP, name=state.name, touched=False)
        return Result(Fate.UP, name=state.name)

    def _settled(self, entry: Entry, state: ContainerState) -> ContainerState:
        """Wait until a stop that was asked for, perhaps by a process that died, has happened or never will."""
        grace = entry.grace if self._mode == "stop" else 0.0
        left = min(grace, max(0.0, entry.since + grace - self._now())) + MARGIN
        until = self._monotonic() + left
        while state.running and not state.paused and self._monotonic() < until:
            self._rest(POLL)
            state = self._engine.find(entry.id) or state
        return state

    def _find(self, entry: Entry) -> ContainerState | None:
        state = self._engine.find(entry.id)
        if state is not None:
            return state
        heir = heir_of(entry, self._engine.snapshot())
        return self._engine.find(heir.id) if heir is not None else None

    def _healthy(self, result: Result, entry: Entry) -> Result:
        began = self._monotonic()
        while True:
            state = self._inspect(result.name)
            if state is not None and (state.health in {"", "healthy"} or not state.running):
                return result
            if self._monotonic() - began >= self._patience().health:
                return Result(Fate.UP, "is up and not healthy yet", result.name or entry.name)
            self._rest(POLL)


def heir_of(entry: Entry, snapshot: EngineSnapshot) -> Container | None:
    """Return the container that has taken the place of a journalled one, None when there is none.

    By project, service and number: that is what Compose keeps when it recreates; else by name. The newest wins.
    """
    same = [
        c
        for c in snapshot.containers
        if entry.service
        and not c.is_oneoff
        and (c.project, c.service) == (entry.project, entry.service)
        and c.labels.get(COMPOSE_NUMBER, "") == entry.number
    ]
    found = same or [c for c in snapshot.containers if c.name == entry.name]
    return max(found, key=lambda c: (c.created, c.id), default=None)
