"""Takes a Swarm service down by scaling it to nothing, and brings it back: the third way of being down.

Stopping a task would only make Swarm start another. The replicas that a service had stand in the journal before it
is scaled; a service that has replicas when it is to be brought back was scaled by somebody, and stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from sidecar.engine.errors import EngineError
from sidecar.engine.model import EngineSnapshot, SwarmService
from sidecar.engine.types import SwarmTask
from sidecar.quiesce.records import Entry, State
from sidecar.quiesce.switch_result import Fate, Result

POLL = 0.2
AGENT = 20.0
"""Seconds beyond their own grace that a node's tasks get: the manager tells its nodes by and by."""
SETTLE = 2.0
"""Seconds after which a request of a process that died has come through, or never will."""


class Swarm(Protocol):
    """What is needed of the swarm's manager."""

    def service(self, name: str) -> SwarmService | None:
        """Return the service of that full name, or None."""

    def scale(self, name: str, replicas: int) -> int:
        """Set the replicas; return how many there were."""

    def tasks(self) -> Iterable[SwarmTask]:
        """Return all tasks."""


class Engine(Protocol):
    """What is needed of the engine."""

    @property
    def swarm(self) -> Swarm:
        """The swarm."""

    def snapshot(self) -> EngineSnapshot:
        """List everything."""


class ServiceSwitch:
    """Scales services. Keeps no state.

    Args:
        engine: A manager.
        now: Unix time, which the journal's times are.
        monotonic: Monotonic time in seconds.
        rest: Waits for some seconds.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        rest: Callable[[float], None],
    ) -> None:
        self._engine = engine
        self._now = now
        self._monotonic = monotonic
        self._rest = rest

    def down(self, entry: Entry) -> Result:
        """Scale to nothing and wait until no task runs on this node. Raises :class:`EngineError`.

        Tasks on other nodes end by themselves meanwhile; a node that is cut off must not hold up the backup of this.
        """
        try:
            self._engine.swarm.scale(entry.swarm, 0)
        except EngineError as error:
            if error.kind == "not-found":
                return Result(Fate.GONE, "has gone meanwhile", entry.name, touched=False)
            found = self._service(entry)
            if found is None or found.replicas != 0:
                return Result(Fate.FAILED, f"could not be scaled down: {error}", entry.name)
        until = self._monotonic() + entry.grace + AGENT
        while self._runs_here(entry):
            if self._monotonic() >= until:
                return Result(Fate.FAILED, "was scaled to nothing, and a task still runs", entry.name)
            self._rest(POLL)
        return Result(Fate.DOWN, name=entry.name)

    def _service(self, entry: Entry) -> SwarmService | None:
        try:
            return self._engine.swarm.service(entry.swarm)
        except EngineError:
            return None

    def _runs_here(self, entry: Entry) -> bool:
        """Whether a task's container runs on this node; an engine that does not answer may have one."""
        try:
            return any(
                c.swarm_service == entry.swarm and c.state in {"running", "paused", "restarting"}
                for c in self._engine.snapshot().containers
            )
        except EngineError:
            return True

    def up(self, entry: Entry, *, patience: float) -> Result:
        """Scale back to the replicas in the journal. Raises :class:`EngineError`.

        Args:
            entry: What the journal knows of it. A request that is under way is waited for first.
            patience: Seconds in which its tasks are to run.
        """
        found = self._engine.swarm.service(entry.swarm)
        if found is not None and found.replicas and entry.state is State.STOPPING:
            self._rest(max(0.0, min(SETTLE, entry.since + SETTLE - self._now())))
            found = self._engine.swarm.service(entry.swarm)
        if found is None:
            return Result(Fate.GONE, "is gone, and nothing has taken its place", entry.name)
        if found.replicas != 0:
            return Result(Fate.UP, name=entry.name, touched=False)
        self._engine.swarm.scale(entry.swarm, entry.replicas)
        until = self._monotonic() + patience
        while self._running(found.id) < entry.replicas:
            if self._monotonic() >= until:
                return Result(Fate.UP, "is scaled back, and not all of its tasks run yet", entry.name)
            self._rest(POLL)
        return Result(Fate.UP, name=entry.name)

    def _running(self, service: str) -> int:
        try:
            tasks = self._engine.swarm.tasks()
        except EngineError:
            return 0
        return sum(t.service_id == service and t.state == t.desired_state == "running" for t in tasks)
