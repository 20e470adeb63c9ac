"""Ends the containers that a run started itself, by whatever name they are known."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Protocol

from sidecar.engine.errors import EngineError
from sidecar.engine.model import Container, EngineSnapshot
from sidecar.engine.types import ContainerState

RUN_LABEL = "backrest-sidecar.run"
"""Label of every container that a run starts, with the run's id."""

POLITE = 2.0
"""Seconds that an interrupted restic gets to remove its lock from the repository."""
TICK = 0.05


class Engine(Protocol):
    """What is needed of the engine."""

    def snapshot(self) -> EngineSnapshot:
        """List everything."""

    def find(self, name: str, /) -> ContainerState | None:
        """Inspect one container; None when there is none."""

    def kill(self, container_id: str, /, signal: str = "SIGKILL") -> None:
        """Send its main process a signal."""

    def remove(self, container_id: str, /, force: bool = False) -> None:
        """Remove it."""


def end_all(
    engine: Engine,
    names: Iterable[str],
    run: str,
    *,
    rest: Callable[[float], None],
    monotonic: Callable[[], float],
) -> tuple[str, ...]:
    """End and remove a run's helpers, and what lives in their network: the container that rcb starts.

    Args:
        engine: The engine.
        names: Names or ids that the journal lists.
        run: The run's id; whoever carries it in the label is a helper.
        rest: Waits for some seconds.
        monotonic: Monotonic time in seconds.

    Returns:
        Names of those that may still be there. Nothing is raised, for containers wait to be started.
    """
    wanted, hosts, seen = set(names), set[str](), set[str]()
    left: list[str] = []
    while True:
        try:
            everything = engine.snapshot().containers
        except EngineError:
            return (*left, *wanted) if not seen else tuple(left)
        ours = [c for c in everything if c.labels.get(RUN_LABEL) == run or c.name in wanted or c.id in wanted]
        hosts |= {f"container:{ref}" for c in ours for ref in (c.id, c.name)}
        ours = [*(c for c in everything if c.network_mode in hosts and c not in ours), *ours]
        # rcb may start its container after we have listed and before we end rcb: so again, until none is new.
        new = [c for c in ours if c.id not in seen]
        if not new:
            return tuple(left)
        seen.update(c.id for c in new)
        left += _end(engine, new, rest=rest, monotonic=monotonic)


def _end(
    engine: Engine,
    containers: Iterable[Container],
    *,
    rest: Callable[[float], None],
    monotonic: Callable[[], float],
) -> list[str]:
    """End and remove containers, politely at first; return the names of those that may still be there."""
    ours = list(containers)
    running = [c.id for c in ours if c.state not in {"created", "exited", "dead"}]
    for container in running:
        with contextlib.suppress(EngineError):
            engine.kill(container, "SIGINT")
    until = monotonic() + POLITE
    while running and monotonic() < until:
        rest(TICK)
        running = [i for i in running if _runs(engine, i)]
    left: list[str] = []
    for c in ours:
        try:
            engine.remove(c.id, force=True)
        except EngineError as error:
            if error.kind != "not-found" and not (
                error.kind == "conflict" and "in progress" in error.message
            ):
                left.append(c.name)
    return left


def _runs(engine: Engine, container: str) -> bool:
    try:
        state = engine.find(container)
    except EngineError:
        return True
    return state is not None and state.running
