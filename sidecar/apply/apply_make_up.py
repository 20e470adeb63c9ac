"""Backups that a save or restart of ours took out of Backrest's queue are asked for, until each has begun.

What is owed stands in the state file, so a crash forgets none; what was asked for and thrown out of the queue again,
by a save of somebody else or a restart, is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sidecar.apply.config_file import ConfigFile
from sidecar.apply.make_up import BEGINS, queued, settled
from sidecar.backrest.api import PLAN_OPERATIONS, BackrestApi, BackrestApiError
from sidecar.backrest.queue import scheduled_plans
from sidecar.duration import doubling
from sidecar.log import get_logger
from sidecar.settings.settings import SettingsError
from sidecar.store.state import MakeUp, State

FIRST_PAUSE, LONGEST_PAUSE = 15.0, 600.0
"""Seconds between two looks at what is owed and due; they double with each time that it was asked for in vain."""
LONGEST_WAIT = 60.0
"""Seconds until the wall clock is looked at again: it may be set."""
MOST_CALLS = 30
"""How often a backup is asked for, hours in all, before it is left to a person."""
AT_A_TIME = 3
"""Backups that one step asks for."""

log = get_logger(__name__)


class MakeUps:
    """Sees to it that what is owed runs.

    Args:
        file: Holds the state.
        api: Makes a client of Backrest's API; None when no URL is known: then nothing is ever owed here.
        clock: Monotonic seconds.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        file: ConfigFile,
        api: Callable[[], BackrestApi] | None,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._file = file
        self._api = api
        self._clock = clock
        self._now = now
        self._again = 0.0
        self._said = ""

    def step(self) -> float | None:
        """Ask for what is due.

        Returns:
            The monotonic time of the next look, or None when nothing is owed.

        Raises:
            StateError, LockError: The state cannot be read or written.
        """
        owed = self._file.state().make_up if self._api is not None else ()
        if not owed:
            return None
        mono, wait = self._clock(), min(entry.at for entry in owed) + BEGINS - self._now()
        if wait > 0:
            return mono + min(wait, LONGEST_WAIT)
        if mono < self._again:
            return self._again
        try:
            more = self._ask(tuple(entry for entry in owed if entry.at + BEGINS <= self._now()))
            self._said = ""
        except (BackrestApiError, SettingsError) as error:
            more = False
            if str(error) != self._said:
                self._said = str(error)
                log.warn("backrest.make_up_waits", plans=_plans(owed), reason=self._said)
        pause = doubling(max(1, *(entry.calls for entry in owed)), FIRST_PAUSE, LONGEST_PAUSE)
        self._again = mono if more else mono + pause
        return self._again if self._file.state().make_up else None

    def _ask(self, owed: tuple[MakeUp, ...]) -> bool:
        """Look at each that is due, ask for some; return whether others are left to ask for at once."""
        assert self._api is not None  # noqa: S101  # step() has seen to it
        api = self._api()
        scheduled = frozenset(scheduled_plans(api.get_config()))
        asked = 0
        for plan in _plans(owed):
            entries = tuple(entry for entry in owed if entry.plan_id == plan)
            operations = api.operations(PLAN_OPERATIONS, plan)
            # A log that was cleared counts from one again.
            newest = max((op.id for op in operations), default=0)
            open_ = [
                entry
                for entry in entries
                if not settled(replace(entry, operation=min(entry.operation, newest + 1)), operations)
            ]
            if not open_ or plan not in scheduled:
                self._forget(entries)
            elif queued(open_[0], operations, self._now()):
                continue
            elif open_[0].calls >= MOST_CALLS:
                self._forget(entries)
                log.error(
                    "backrest.starved",
                    plans=(plan,),
                    reason=f"its backup was asked for {MOST_CALLS} times and has never begun",
                    advice="run it in Backrest, and look into Backrest's log",
                )
            elif asked == AT_A_TIME:
                return True
            else:
                asked += 1
                self._count(tuple(open_), newest)
                api.back_up(plan)
                log.warn(
                    "backrest.made_up",
                    plans=(plan,),
                    reason="a save of Backrest's config or a restart took its backup out of the queue; it is run now",
                )
        return False

    def _count(self, entries: tuple[MakeUp, ...], newest: int) -> None:
        """Write down that they are asked for, before that: with the number after which the log shows it."""

        def counted(entry: MakeUp) -> MakeUp:
            return replace(entry, calls=entry.calls + 1, operation=min(entry.operation, newest + 1))

        self._update(lambda entry: counted(entry) if entry in entries else entry)

    def _forget(self, entries: tuple[MakeUp, ...]) -> None:
        self._update(lambda entry: None if entry in entries else entry)

    def _update(self, change: Callable[[MakeUp], MakeUp | None]) -> None:
        def changed(state: State) -> State:
            kept = (change(entry) for entry in state.make_up)
            return replace(state, make_up=tuple(entry for entry in kept if entry is not None))

        self._file.update(changed)


def _plans(owed: tuple[MakeUp, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.plan_id for entry in owed))
