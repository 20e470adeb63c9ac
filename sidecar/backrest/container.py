"""The running Backrest: where its container is, and whether it came up.

What it is doing is in ``backrest_idle``, what its log says in ``backrest_log``, its API in ``backrest_api``; the
names of those that callers need together are here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from sidecar.backrest.idle import IdleLook, IdleState, IdleWatch, idle_report, zones_of
from sidecar.backrest.protected import choose_backrest, is_by_id
from sidecar.backrest.queue import Operation
from sidecar.backrest.start_log import ConfigFault, config_error_in_log, cut_off_in_log, fatal_in_log
from sidecar.engine.model import Container
from sidecar.engine.types import ContainerState, Process

__all__ = [
    "BackrestEngine",
    "ConfigFault",
    "CutOff",
    "Failed",
    "IdleLook",
    "IdleState",
    "IdleWatch",
    "Located",
    "Pending",
    "Up",
    "UpWatch",
    "config_error_in_log",
    "cut_off_operations",
    "fatal_in_log",
    "idle_report",
    "locate",
    "zones_of",
]

UP_AFTER = 10.0
"""Seconds without an exit after which Backrest counts as up. It refuses a config within the first."""
LOOPING = 3
"""Restarts by the restart policy from which a container that does not stay up counts as crash-looping."""

Whereabouts = Literal["missing", "created", "running", "restarting", "crash-looping", "paused", "exited"]


class BackrestEngine(Protocol):
    """The part of the engine that concerns Backrest's container; ``engine.client.Engine`` satisfies it."""

    def find(self, name: str, /) -> ContainerState | None:
        """Return the container of that name or id (or a unique start of one), or None."""

    def top(self, container_id: str, /) -> tuple[Process, ...]:
        """Return the processes of a running container."""

    def stop(self, container_id: str, /, timeout: int | None = None) -> object:
        """Stop it; SIGKILL after ``timeout`` seconds."""

    def start(self, container_id: str, /) -> object:
        """Start it."""

    def logs(self, container_id: str, /, since: float = 0, tail: int = 200) -> str:
        """Return the end of its log."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where Backrest is.

    Attributes:
        state: ``missing``, ``created`` (never started), ``running``, ``restarting`` (between two attempts of its
            restart policy), ``crash-looping`` (the same for at least the third time), ``paused``, ``exited``.
        container: The container; None when missing.
        renamed: It goes by another name than asked for: found by its Compose service.
        reason: One sentence when it is not running.
        ambiguous: It is missing because nobody can tell which of several it is; one of them may well run.
    """

    state: Whereabouts
    container: ContainerState | None = None
    renamed: bool = False
    reason: str = ""
    ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """Not known yet. ``again_in`` is in seconds."""

    again_in: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Up:
    """Backrest is up."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Backrest did not come up.

    Attributes:
        kind: ``gone`` (no such container any more), ``exited``, ``restarted`` (by its restart policy, so it had
            exited), ``no-answer`` (it runs, but its port does not answer).
        reason: One sentence.
    """

    kind: Literal["gone", "exited", "restarted", "no-answer"]
    reason: str


@dataclass(frozen=True, slots=True)
class CutOff:
    """Operations that a stop of Backrest cut off.

    Attributes:
        count: How many, hooks included.
        plan_ids: Their plans, where the API told them.
    """

    count: int = 0
    plan_ids: tuple[str, ...] = ()


def locate(
    engine: BackrestEngine, name: str, containers: Callable[[], Iterable[Container]] = lambda: ()
) -> Located:
    """Return where the container is that ``choose_backrest`` chooses.

    Args:
        engine: The engine.
        name: What ``--backrest-container`` says.
        containers: Lists all containers; asked only when the name itself finds nothing, which costs more.
    """
    found = engine.find(name)
    renamed = False
    if found is None or not (found.name == name or is_by_id(found.id, name)):
        choice = choose_backrest(containers(), name)
        if choice.ambiguous:
            return Located("missing", reason=choice.ambiguous, ambiguous=True)
        if choice.container is not None:
            found = engine.find(choice.container.id)
            renamed = True
    if found is None:
        return Located(
            "missing", reason=f"there is no container {name!r}, and no Compose service of that name"
        )
    state = _whereabouts(found)
    return Located(state, found, renamed=renamed, reason=_not_running(found, state))


class UpWatch:
    """Follows Backrest after a start until it is up or has failed. It waits for nothing; the caller comes again.

    Up means: :data:`UP_AFTER` seconds without an exit or a further restart, and its port answers where it is known.
    A port alone would not do: Backrest listens only after it took its config, and may still die after.

    Args:
        engine: The engine.
        container_id: Backrest's container.
        started: When it was started, by the clock that ``look`` is given.
        answers: Asks its port; None where it is not known. Asked only once it has run long enough.
        patience: Seconds after the start until an unanswering port is a failure. Before it listens, Backrest unlocks
            the repos of operations that were cut off, which takes as long as their storage does.
    """

    def __init__(
        self,
        engine: BackrestEngine,
        container_id: str,
        *,
        started: float,
        answers: Callable[[], bool] | None = None,
        patience: float = 120.0,
    ) -> None:
        self._engine = engine
        self._id = container_id
        self._started = started
        self._answers = answers
        self._patience = patience
        self._first: ContainerState | None = None

    def look(self, now: float) -> Pending | Up | Failed:
        """Return what is known at ``now``.

        Raises:
            EngineError: The engine cannot be asked; nothing is known then, come again.
        """
        state = self._engine.find(self._id)
        if state is None:
            return Failed("gone", "Backrest's container is gone")
        first = self._first or state
        self._first = first
        if state.status == "restarting" or state.restart_count > first.restart_count:
            return Failed(
                "restarted", f"Backrest exited with code {state.exit_code} and was restarted by its policy"
            )
        if not state.running:
            return Failed("exited", f"Backrest exited with code {state.exit_code}")
        if state.started_at != first.started_at:
            # By somebody else, who did no harm: it reads the same file. It is up when this start holds.
            self._first, self._started = state, now
        left = self._started + UP_AFTER - now
        if left > 0:
            return Pending(left, "Backrest has just started")
        if self._answers is None or self._answers():
            return Up()
        if now - self._started >= self._patience:
            return Failed("no-answer", f"Backrest runs but has not answered for {self._patience:.0f} s")
        return Pending(1.0, "Backrest runs but does not answer yet")


def cut_off_operations(
    log: str, operations: Iterable[Operation] | None = None, known: frozenset[int] = frozenset()
) -> CutOff:
    """Return what Backrest's last stop cut off, as its next start found it.

    Args:
        log: Its log since that start.
        operations: What its API lists now, where it answers.
        known: Ids of operations that counted as cut off before.
    """
    found = [op for op in operations or () if op.cut_off and op.id not in known]
    plans = tuple(sorted({op.plan_id for op in found if op.plan_id}))
    return CutOff(count=max(len(found), cut_off_in_log(log)), plan_ids=plans)


def _whereabouts(container: ContainerState) -> Whereabouts:
    match container.status:
        case "restarting":
            return "crash-looping" if container.restart_count >= LOOPING else "restarting"
        case "paused":
            return "paused"
        case "created":
            return "created"
        case "removing":
            return "missing"
        case "exited" | "dead":
            return "exited"
    return "paused" if container.paused else "running"


def _not_running(container: ContainerState, state: Whereabouts) -> str:
    name = container.name
    match state:
        case "restarting" | "crash-looping":
            tries = (
                f"for the {container.restart_count}. time"
                if container.restart_count
                else "by its restart policy"
            )
            return f"{name} exits with code {container.exit_code} and is restarted {tries}: see its log"
        case "paused":
            return f"{name} is paused: docker unpause {name}"
        case "exited":
            return f"{name} is not running (exit code {container.exit_code})"
        case "created":
            return f"{name} was never started"
        case "missing":
            return f"{name} is being removed"
    return ""
