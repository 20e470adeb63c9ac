"""Starts what a stop hook in Backrest stopped and nothing started again.

The stop template writes a marker before it stops a container, the start template removes it after the start. When
Backrest dies, is restarted or skips its end hook in between, marker and stopped container stay. A container that
is down without a marker was stopped by a person, and stays down. The marker of a Swarm service holds the replicas
that it had, and it is scaled back to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from sidecar.backrest.container import BackrestEngine, locate
from sidecar.backrest.idle import idle_report
from sidecar.duration import doubling
from sidecar.engine.errors import EngineError
from sidecar.engine.model import Container, SwarmService
from sidecar.log import Log
from sidecar.plans.hooks import SERVICE_PREFIX

Doing = Literal["idle", "gone", "busy"]

NOTHING_THERE = 30.0
"""Seconds between two looks into an empty directory: one system call, and markers matter only after a grace."""
WATCHING = 5.0
RETRY = 15.0
LONGEST_RETRY = 300.0
_NAME = re.compile(rf"(?:{SERVICE_PREFIX})?[a-zA-Z0-9][a-zA-Z0-9_.-]{{0,254}}")
MOST_REPLICAS = 100_000


class Swarm(Protocol):
    """What is needed of the swarm."""

    def service(self, name: str) -> SwarmService | None:
        """Return the service of that full name, or None."""

    def scale(self, name: str, replicas: int) -> int:
        """Set the replicas of a service."""


class Engine(BackrestEngine, Protocol):
    """What is needed of the engine."""

    @property
    def swarm(self) -> Swarm:
        """The swarm that it is a manager of; asked for services alone."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker as this process knows it.

    Attributes:
        container: The file's name: the container's, or ``service=`` and the service's.
        seen: Monotonic time at which it was first seen; the file's own time depends on a clock that may be set.
        tries: How often a start has failed.
        retry_at: Monotonic time before which it is not tried again.
    """

    container: str
    seen: float
    tries: int = 0
    retry_at: float = 0.0


def overdue_markers(
    markers: Mapping[str, Marker], *, quiet_since: float | None, now: float, grace: float
) -> tuple[Marker, ...]:
    """Return the markers that nobody will work off any more.

    Args:
        markers: By container name.
        quiet_since: Monotonic time since which Backrest has been idle or gone without a break; None while it works.
        now: Monotonic time.
        grace: Seconds that the end hook gets, counted from the moment that both hold.
    """
    if quiet_since is None:
        return ()
    return tuple(
        marker
        for _, marker in sorted(markers.items())
        if now - max(marker.seen, quiet_since) >= grace and now >= marker.retry_at
    )


def backrest_doing(
    engine: BackrestEngine,
    name: str,
    *,
    containers: Callable[[], Iterable[Container]],
    known: bool,
    running: Callable[[], bool] = lambda: False,
) -> Doing:
    """Return what Backrest is doing.

    Args:
        engine: The engine.
        name: ``--backrest-container``.
        containers: Lists all containers; asked only when the name finds nothing.
        known: Whether there has ever been such a container. Without one Backrest may run outside of containers,
            where nobody can see what it does.
        running: Whether its API lists an operation in progress; False where it does not answer.

    Raises:
        EngineError: Nobody can tell.
    """
    located = locate(engine, name, containers)
    if located.state == "missing" and (not known or any(c.service == name for c in containers())):
        return "busy"  # or so it must be taken: nobody can tell which it is, or whether it is one at all
    if located.state in {"missing", "created", "exited"}:
        return "gone"
    if located.state != "running" or located.container is None:
        return "busy"  # paused or between two attempts: it comes back, and its own end hook with it
    if running():
        return "busy"
    try:
        look = idle_report(engine.top(located.container.id))
    except EngineError as error:
        if error.kind in {"conflict", "not-found"}:
            return "busy"  # it has just gone down; the next look will tell
        raise
    return "idle" if look.idle else "busy"


class MarkerWatch:
    """Looks at the markers; never waits. Not for several threads.

    Args:
        directory: ``stopped`` in ``.backrest-sidecar`` beside config.json, whatever ``--state-dir`` says.
        engine: The engine.
        doing: Tells what Backrest does, see :func:`backrest_doing`.
        grace: Seconds that the end hook gets after Backrest has become idle.
        monotonic: Monotonic time in seconds.
        log: Where it says what it does.

    Attributes:
        started: Containers and services that it has started, by their markers' names.
    """

    def __init__(
        self,
        directory: Path,
        engine: Engine,
        doing: Callable[[], Doing],
        grace: float,
        monotonic: Callable[[], float],
        log: Log,
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._doing = doing
        self._grace = grace
        self._monotonic = monotonic
        self._log = log
        self._markers: dict[str, Marker] = {}
        self._quiet_since: float | None = None
        self._trouble = ""
        self._hurried = False
        self.started: list[str] = []

    @property
    def left(self) -> tuple[str, ...]:
        """Names of the markers that are there, as of the last step."""
        return tuple(sorted(self._markers))

    @property
    def failed(self) -> tuple[str, ...]:
        """Those among them whose container could not be started."""
        return tuple(name for name in self.left if self._markers[name].tries)

    @property
    def quiet(self) -> bool:
        """Whether Backrest was idle or gone at the last step."""
        return self._quiet_since is not None

    def hurry(self) -> None:
        """No end hook will come, as when Backrest was restarted in the middle: what is marked now has no grace."""
        self._hurried = True

    def step(self) -> float:
        """Look once, start what is overdue; return the seconds until the next look makes sense. Raises nothing."""
        try:
            self._refresh()
            if not self._markers:
                self._quiet_since, self._hurried = None, False
                return NOTHING_THERE
            self._look_at_backrest()
            now = self._monotonic()
            for marker in overdue_markers(
                self._markers,
                quiet_since=self._quiet_since,
                now=now,
                grace=0.0 if self._hurried else self._grace,
            ):
                self._work_off(marker)
            self._trouble = ""
        except (EngineError, OSError) as error:
            self._quiet_since = None
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._log.warn("hooks.watch_failed", reason=self._trouble)
        return WATCHING if self._markers else NOTHING_THERE

    def _refresh(self) -> None:
        try:
            names = {path.name for path in self._directory.iterdir() if _NAME.fullmatch(path.name)}
        except (FileNotFoundError, NotADirectoryError):
            names = set()
        now = self._monotonic()
        self._markers = {name: self._markers.get(name) or Marker(name, now) for name in names}

    def _look_at_backrest(self) -> None:
        if self._doing() == "busy":
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = self._monotonic()

    def _work_off(self, marker: Marker) -> None:
        name = marker.container
        if name.startswith(SERVICE_PREFIX):
            self._scale_back(marker, name.removeprefix(SERVICE_PREFIX))
            return
        state = self._engine.find(name)
        if state is None:
            self._forget(name, "the container is gone")
            return
        if state.running:
            # Its start hook ran and could not remove the marker, or a person started it. A marker that stayed
            # would have us start it when a person stops it one day.
            self._forget(name, "the container runs")
            return
        try:
            self._engine.start(state.id)
        except EngineError as error:
            self._later(marker, error)
            return
        self._log.warn(
            "hooks.started",
            container=name,
            reason="a hook stopped it for a backup, and Backrest never started it",
        )
        self.started.append(name)
        self._forget(name, "")

    def _scale_back(self, marker: Marker, service: str) -> None:
        try:
            found = self._engine.swarm.service(service)
            if found is None:
                self._forget(marker.container, "the service is gone")
                return
            if found.replicas != 0:
                self._forget(marker.container, "the service has replicas")
                return
            replicas = self._replicas(marker.container)
            self._engine.swarm.scale(service, replicas)
        except EngineError as error:
            self._later(marker, error)
            return
        self._log.warn(
            "hooks.started",
            service=service,
            replicas=replicas,
            reason="a hook scaled it down for a backup, and Backrest never scaled it back",
        )
        self.started.append(marker.container)
        self._forget(marker.container, "")

    def _replicas(self, name: str) -> int:
        """Return what the marker says; one, when nobody can read it."""
        text = (self._directory / name).read_text("ascii", "replace").strip()
        return min(int(text), MOST_REPLICAS) if text.isascii() and text.isdigit() else 1

    def _later(self, marker: Marker, error: EngineError) -> None:
        name = marker.container
        delay = doubling(marker.tries + 1, RETRY, LONGEST_RETRY)
        self._markers[name] = Marker(name, marker.seen, marker.tries + 1, self._monotonic() + delay)
        self._log.error("hooks.start_failed", container=name, reason=str(error), again_in=delay)

    def _forget(self, name: str, reason: str) -> None:
        (self._directory / name).unlink(missing_ok=True)
        self._markers.pop(name, None)
        if reason:
            self._log.info("hooks.marker_removed", container=name, reason=reason)
