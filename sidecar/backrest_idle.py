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

from sidecar.backrest_api import Operation
from sidecar.cron import next_runs
from sidecar.engine_types import ContainerState, Process
from sidecar.model import printable

LOOKS_APART = 2.0
"""Seconds between the two looks that must both find nothing. A hook's process lives shorter than a backup, and
between two of them the list is clean for a moment."""
QUIET = 60.0
"""Seconds before a schedule fires in which no restart begins."""
JUST_FIRED = 5.0
"""Seconds after a schedule fired in which its first process may not be there yet."""

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
class Firing:
    """The next time that something is scheduled: when, and what as people say it."""

    at: dt.datetime
    what: str


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


def next_firing(config: Mapping[str, Any], now: dt.datetime, zone: dt.tzinfo | None = None) -> Firing | None:
    """Return what fires first after ``now``: a backup, or a repo's prune, check or forget.

    Cron alone can be foretold. ``maxFrequency…`` counts from a moment that only Backrest knows (backrest:
    internal/protoutil/schedule.go:33-65); its pending operations tell it, where the API answers.

    Args:
        config: A parsed config.json.
        now: An aware time.
        zone: Backrest's zone; without one the local zone. Backrest reads every cron in it, ``CLOCK_UTC`` included.
    """
    local = now.astimezone(zone)
    firings = [
        Firing(run, what)
        for what, expression in _crons(config)
        if (run := _next(expression, local)) is not None
    ]
    return min(firings, key=lambda firing: firing.at, default=None)


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
    ) -> IdleState:
        """Take one look into account.

        Args:
            container: Backrest's container, as inspected now.
            processes: Its process list, taken after the inspect.
            config: The config that Backrest runs with, or the file's.
            operations: What the API lists, or None where it does not answer.
        """
        reason = self._running(processes, operations)
        if reason:
            self._clean = None
            return IdleState(idle=False, reason=reason)
        firing = self._soon(container, config, operations)
        if firing is not None:
            self._clean = None
            left = (firing.at - self._now()).total_seconds()
            return IdleState(
                idle=False, reason=_when(firing, left), again_in=max(LOOKS_APART, left + JUST_FIRED)
            )
        mono = self._clock()
        key = f"{container.id} {container.started_at}"
        if self._clean is None or self._clean[0] != key:
            self._clean = (key, mono)
        left = self._clean[1] + LOOKS_APART - mono
        if left > 0:
            return IdleState(idle=False, reason="a second look is due", again_in=left)
        return IdleState(idle=True, again_in=0.0)

    def _running(self, processes: Sequence[Process], operations: Sequence[Operation] | None) -> str:
        """Return what runs in Backrest, or empty."""
        running = [op for op in operations or () if op.status == "inprogress"]
        if running:
            first = running[0]
            of = f" of plan {printable(first.plan_id)!r}" if first.plan_id else ""
            return f"Backrest runs a {first.kind or 'task'}{of}"
        seen = idle_report(processes)
        if seen.busy:
            return f"in Backrest's container runs {', '.join(seen.busy)}"
        return "" if seen.backrest else "Backrest itself is not among its container's processes"

    def _soon(
        self, container: ContainerState, config: Mapping[str, Any], operations: Sequence[Operation] | None
    ) -> Firing | None:
        """Return what fires within :data:`QUIET` seconds, or fired a moment ago."""
        now = self._now()
        since = now - dt.timedelta(seconds=JUST_FIRED)
        found = [next_firing(config, since, zone) for zone in zones_of(container)]
        for op in operations or ():
            if op.status == "pending" and op.start:
                at = dt.datetime.fromtimestamp(op.start, dt.UTC)
                found.append(Firing(at, f"the {op.kind or 'task'} of plan {printable(op.plan_id)!r}"))
        soon = [
            firing for firing in found if firing is not None and (firing.at - now).total_seconds() <= QUIET
        ]
        return min(soon, key=lambda firing: firing.at, default=None)


def _when(firing: Firing, left: float) -> str:
    return f"{firing.what} fires in {left:.0f} s" if left > 0 else f"{firing.what} has just fired"


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


def _crons(config: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield what is scheduled by cron, and the expression."""
    for plan in _entries(config, "plans"):
        yield f"the backup of plan {printable(str(plan.get('id', '')))!r}", _cron(plan)
    for repo in _entries(config, "repos"):
        name = printable(str(repo.get("id", "")))
        for key, snake in (
            ("prunePolicy", "prune_policy"),
            ("checkPolicy", "check_policy"),
            ("forgetPolicy", "forget_policy"),
        ):
            policy = repo.get(key) or repo.get(snake)
            if isinstance(policy, dict):
                yield f"the {key.removesuffix('Policy')} of repo {name!r}", _cron(policy)


def _entries(config: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    entries = config.get(key)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _cron(owner: Mapping[str, Any]) -> str:
    schedule = owner.get("schedule")
    expression = schedule.get("cron") if isinstance(schedule, dict) else None
    return expression if isinstance(expression, str) else ""


def _next(expression: str, after: dt.datetime) -> dt.datetime | None:
    """Return the next firing; None for one that never fires, is absent, or that no Backrest would run with."""
    if not expression:
        return None
    try:
        return next(iter(next_runs(expression, after, 1)), None)
    except ValueError:
        return None
