"""Is Backrest doing nothing, so that a restart harms nobody?

A restart kills a running backup, and the hooks that would start the stopped containers again never run (backrest:
internal/orchestrator/orchestrator.go:94-149). Backrest says nowhere that it is idle, so three signs count together:
its container's process list, its own operation log where the API answers, and the time until a schedule fires.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sidecar.backrest.queue import LOOKS_APART, Operation, Wait, waits_for
from sidecar.engine.types import ContainerState, Process
from sidecar.findings import printable

BLIND = 30.0
"""The same where nobody tells what Backrest does, neither its API nor its log: a hook that is an HTTP call shows in
no process list, and the queue may hold more."""

_INITS = frozenset({"init", "tini", "tini-static", "docker-init", "podman-init", "dumb-init", "catatonit"})
_ENTRYPOINTS = frozenset({"docker-entrypoint", "docker-entrypoint.sh"})
_INTERPRETER = re.compile(r"^(python|pypy)[0-9.]*$")
_LOCALTIME = "/etc/localtime"


@dataclass(frozen=True, slots=True)
class IdleLook:
    """One look at a process list.

    Attributes:
        busy: Names of the processes that are a hook or a backup, each once; program names only, since arguments
            may hold secrets.
        backrest: Whether Backrest itself is there.
    """

    busy: tuple[str, ...]
    backrest: bool

    @property
    def idle(self) -> bool:
        """Whether there is Backrest and nothing that works for it."""
        return self.backrest and not self.busy


@dataclass(frozen=True, slots=True)
class IdleState:
    """What :class:`IdleWatch` knows now.

    Attributes:
        idle: Whether a restart may begin now.
        reason: Why not, as one clause; empty when idle.
        again_in: Seconds after which another look makes sense.
    """

    idle: bool
    reason: str = ""
    again_in: float = LOOKS_APART


def idle_report(processes: Iterable[Process]) -> IdleLook:
    """Return what a container's process list says.

    Harmless are Backrest itself, an init, the image's entrypoint wrapper (backrest: Dockerfile.alpine:18-19), and
    whatever Backrest was started by, e.g. a shell as entrypoint. Everything else works: hooks run as children
    (``sh``, ``docker``, …), backups as ``restic``.
    """
    found = {process.pid: process for process in processes if "<defunct>" not in process.command}
    main = next((pid for pid in sorted(found) if _is_backrest(found[pid])), None)
    harmless: set[int] = set()
    pid = main
    while pid is not None and pid in found and pid not in harmless:
        harmless.add(pid)
        pid = found[pid].ppid
    busy = [
        _name(process)
        for key, process in sorted(found.items())
        if key not in harmless and not _is_wrapper(_name(process))
    ]
    return IdleLook(busy=tuple(dict.fromkeys(busy)), backrest=main is not None)


def zones_of(container: ContainerState) -> tuple[dt.tzinfo | None, ...]:
    """Return the zones in which Backrest may read its schedules; None is the local one.

    ``TZ`` of the container decides. Without it a container runs in UTC unless the host's zone is mounted or in the
    image, which cannot be seen from here: then both count, and a restart waits for either.
    """
    if container.tz:
        try:
            return (ZoneInfo(container.tz.removeprefix(":")),)
        except (ZoneInfoNotFoundError, ValueError):
            return (None, dt.UTC)
    if any(mount.destination == _LOCALTIME for mount in container.mounts):
        return (None,)
    return (None, dt.UTC)


class IdleWatch:
    """Decides over several looks whether Backrest is idle. It waits for nothing; the caller comes again.

    Args:
        clock: Monotonic seconds.
        now: The time as an aware datetime.
    """

    def __init__(
        self, *, clock: Callable[[], float], now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    ) -> None:
        self._clock = clock
        self._now = now
        self._clean: tuple[str, float] | None = None

    def reset(self) -> None:
        """Forget the looks so far."""
        self._clean = None

    def look(
        self,
        container: ContainerState,
        processes: Sequence[Process],
        config: Mapping[str, Any],
        operations: Sequence[Operation] | None = None,
        stopped: Sequence[str] = (),
    ) -> IdleState:
        """Take one look into account.

        Args:
            container: Backrest's container, as inspected now.
            processes: Its process list, taken after the inspect.
            config: The config that Backrest runs with, or the file's.
            operations: What the API lists, or else what the log tells; None where neither is to be had.
            stopped: What hooks have stopped and not started yet, by name; empty where the API answers, which knows.
        """
        wait = self._busy(container, processes, config, operations, stopped)
        if wait is not None:
            self._clean = None
            return IdleState(idle=False, reason=wait.reason, again_in=wait.again_in)
        mono = self._clock()
        # A task that ran between two looks has left its trace: then they are no two looks at the same quiet.
        newest = max((max(op.end, op.start) for op in operations or () if not op.pending), default=0.0)
        key = f"{container.id} {container.started_at} {newest}"
        if self._clean is None or self._clean[0] != key:
            self._clean = (key, mono)
        left = self._clean[1] + (LOOKS_APART if operations is not None else BLIND) - mono
        if left > 0:
            reason = (
                "it looks idle, and is looked at once more"
                if operations is not None
                else "nobody tells what Backrest does"
            )
            return IdleState(idle=False, reason=reason, again_in=min(left, LOOKS_APART))
        return IdleState(idle=True, again_in=0.0)

    def _busy(
        self,
        container: ContainerState,
        processes: Sequence[Process],
        config: Mapping[str, Any],
        operations: Sequence[Operation] | None,
        stopped: Sequence[str],
    ) -> Wait | None:
        """Return why it is busy, or None."""
        wait = waits_for(operations, config, self._now(), zones_of(container))
        if wait is not None:
            return wait
        seen = idle_report(processes)
        if seen.busy:
            return Wait(f"in Backrest's container runs {', '.join(seen.busy)}")
        if not seen.backrest:
            return Wait("Backrest itself is not among its container's processes")
        if stopped:
            return Wait(f"a hook has stopped {', '.join(map(printable, stopped))}, which is not started yet")
        return None


def _name(process: Process) -> str:
    """Return the program's name: of a script when its interpreter is Python."""
    words = process.command.split()
    if not words:
        return "(nameless)"
    first = _base(words[0])
    if _INTERPRETER.match(first):
        script = next((word for word in words[1:] if not word.startswith("-")), "")
        return _base(script) if script else first
    return first


def _base(word: str) -> str:
    return printable(word.rpartition("/")[2].strip("[]:-") or word, 40)


def _is_backrest(process: Process) -> bool:
    return _name(process) == "backrest"


def _is_wrapper(name: str) -> bool:
    return name in _INITS or name in _ENTRYPOINTS or name.startswith("s6-")
