"""Takes the planned containers down in order, and brings them back in order: the journal first, then the act.

Independent containers go in parallel, by the executor that the worker brings along; the thread that calls is the
only one that writes the journal. Bringing back never gives up early: one that fails does not keep another down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from sidecar.engine.errors import EngineError
from sidecar.engine.model import EngineSnapshot
from sidecar.engine.types import ContainerState
from sidecar.log import Log
from sidecar.quiesce.records import OWED, Entry, JournalError, State
from sidecar.quiesce.switch import Switch, heir_of
from sidecar.quiesce.switch_result import Fate, Result

TICK = 0.5
BEAT = 600.0
"""Seconds within which the next sign of life comes. Long on purpose: every engine call has a deadline of its own,
and a parent that gave up on a slow engine would leave containers down."""


class Notes(Protocol):
    """The part of the journal that is needed here."""

    def note(self, ids: Iterable[str], state: State) -> None:
        """Append a state, synced."""


class Looker(Protocol):
    """What looks at the engine."""

    def snapshot(self) -> EngineSnapshot:
        """List everything."""

    def find(self, name: str, /) -> ContainerState | None:
        """Inspect one container; None when there is none."""


class QuiesceError(Exception):
    """Something could not be taken down, so that a backup would read live files. The text names it."""


@dataclass(frozen=True, slots=True)
class Signals:
    """How a run hears of its parent.

    Attributes:
        stopped: Whether a stop signal has come.
        beat: Announces the seconds until the next sign of life.
    """

    stopped: Callable[[], bool]
    beat: Callable[[float], None]


class Quiescer:
    """The containers of one run. Not for several threads.

    Args:
        entries: What may be taken down, what is needed first in front.
        switch: Does the work.
        journal: Is told before and after.
        executor: Runs the switch, several at once.
        signals: The parent.
        log: Where progress goes.
        monotonic: Monotonic time in seconds.

    Attributes:
        oddities: One sentence for each container that came back in an odd way.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        switch: Switch,
        journal: Notes,
        executor: Executor,
        signals: Signals,
        log: Log,
        monotonic: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._entries = {entry.id: entry for entry in entries}
        self._switch = switch
        self._journal = journal
        self._executor = executor
        self._signals = signals
        self._log = log
        self._monotonic = monotonic
        self._clock = clock
        self._down_since: dict[str, float] = {}
        self._downtime: dict[str, float] = {}
        self._failures: dict[str, str] = {}
        self.oddities: list[str] = []

    @property
    def downtime(self) -> dict[str, float]:
        """Container name → seconds from the moment it was told to stop until it ran again, so far."""
        now = self._monotonic()
        open_ = {i: self._downtime.get(i, 0.0) + now - since for i, since in self._down_since.items()}
        return {self._entries[i].name: round(s, 3) for i, s in ({**self._downtime, **open_}).items()}

    @property
    def failures(self) -> tuple[str, ...]:
        """One sentence for each container that could not be brought back."""
        return tuple(self._failures.values())

    @property
    def owed(self) -> tuple[Entry, ...]:
        """What is down because of us."""
        return tuple(entry for entry in self._entries.values() if entry.state in OWED)

    def take_down(self, ids: Iterable[str]) -> None:
        """Take some of the containers down, those that need others first.

        Raises:
            QuiesceError: One could not be taken down, or a stop signal came; some may be down.
            JournalError: The journal could not be written; some may be down.
        """
        waiting = {i: self._entries[i] for i in ids}
        failed: list[str] = []
        working: dict[Future[Result], Entry] = {}
        try:
            while waiting or working:
                if not failed and not self._signals.stopped():
                    held = {n for e in (*waiting.values(), *working.values()) for n in e.needs}
                    ready = [i for i in waiting if i not in held]
                    self._note(ready, State.STOPPING)
                    for i in ready:
                        del waiting[i]
                        self._log.info("quiesce.stop", container=self._entries[i].name)
                        self._down_since.setdefault(i, self._monotonic())
                        working[self._submit(self._switch.down, self._entries[i])] = self._entries[i]
                if not working:
                    break
                failed += self._downs(working)
        finally:
            while working:
                failed += self._downs(working)
        if failed:
            raise QuiesceError("; ".join(failed))
        if waiting:
            raise QuiesceError("a stop signal came before everything was down")

    def _downs(self, working: dict[Future[Result], Entry]) -> list[str]:
        """Wait a little for stops that are under way; return the failures among those that are over."""
        failed: list[str] = []
        down: list[str] = []
        for entry, result in self._over(working):
            if result.fate is Fate.DOWN:
                down.append(entry.id)
                self._log.info("quiesce.stopped", container=entry.name, **_because(result))
            elif result.fate is Fate.GONE:
                self._down_since.pop(entry.id, None)
                self._set([entry.id], State.GONE)
                self._log.warn("quiesce.gone", container=entry.name, reason=result.reason)
            else:
                failed.append(f"{entry.name} {result.reason}")
                self._log.error("quiesce.stop_failed", container=entry.name, reason=result.reason)
        self._set(down, State.STOPPED)
        return failed

    def bring_up(self, ids: Iterable[str] | None = None) -> None:
        """Bring back what is owed (of ``ids``, when given), what is needed first. Raises nothing of its own."""
        wanted = {e.id for e in self.owed} if ids is None else {e.id for e in self.owed} & set(ids)
        waiting = {i: e for i, e in self._entries.items() if i in wanted}
        needed = {n for entry in waiting.values() for n in entry.needs}
        working: dict[Future[Result], Entry] = {}
        while waiting or working:
            pending = {*waiting, *(e.id for e in working.values())}
            for i in [i for i, e in waiting.items() if not pending.intersection(e.needs)]:
                entry = waiting.pop(i)
                up = partial(self._switch.up, healthy=i in needed)
                working[self._submit(up, entry)] = entry
            self._ups(working)

    def verify(self, engine: Looker) -> None:
        """Look once more at everything that was brought back: what went down again at once is tried once more.

        A stop that the engine finished late, or a program that ends because what it needs was not there yet.
        """
        try:
            standing = engine.snapshot()
        except EngineError as error:
            self._log.warn("quiesce.unverified", reason=str(error))
            return
        by_id = {c.id: c for c in standing.containers}
        down: dict[str, str] = {}
        for i, entry in self._entries.items():
            if entry.state is State.STARTED and i not in self._failures:
                found = by_id.get(i) or heir_of(entry, standing)
                if found is not None and found.state in {"created", "exited", "dead"}:
                    down[i] = found.id
        if not down:
            return
        for i in down:
            self._entries[i] = replace(self._entries[i], state=State.STOPPED)
        self.bring_up(down)
        for i, found_id in down.items():
            name = self._entries[i].name
            try:
                state = engine.find(found_id)
            except EngineError:
                continue
            # One that ended well (a job that is done) is no failure.
            if self._entries[i].state is State.STARTED and state and not state.running and state.exit_code:
                again = "was started and went down again by itself"
                self._failures[i] = f"{name} {again}; see `docker logs {name}`"
                self._log.error("quiesce.start_failed", container=name, reason="it went down again by itself")

    def _ups(self, working: dict[Future[Result], Entry]) -> None:
        started: list[str] = []
        for entry, result in self._over(working):
            if result.fate is Fate.FAILED:
                self._failures[entry.id] = f"{entry.name} {result.reason}"
                self._log.error("quiesce.start_failed", container=entry.name, reason=result.reason)
                continue
            self._failures.pop(entry.id, None)
            self._closed(entry.id)
            if result.fate is Fate.GONE:
                self._failures[entry.id] = f"{entry.name} {result.reason}"
                self._log.error("quiesce.start_failed", container=entry.name, reason=result.reason)
                self._set([entry.id], State.GONE)
                continue
            started.append(entry.id)
            if result.reason:
                self.oddities.append(f"{result.name} {result.reason}")
            down = self._downtime.get(entry.id)
            seconds = {} if down is None else {"down_seconds": round(down, 3)}
            self._log.info("quiesce.started", container=result.name, **seconds, **_because(result))
        self._set(started, State.STARTED)

    def _over(self, working: dict[Future[Result], Entry]) -> list[tuple[Entry, Result]]:
        """Wait for one tick at most; take out what is over. A bug in the switch is a failure like any other."""
        self._signals.beat(BEAT)
        done, _ = wait(working, timeout=TICK, return_when=FIRST_COMPLETED)
        over: list[tuple[Entry, Result]] = []
        for future in done:
            entry = working.pop(future)
            error = future.exception()
            over.append((entry, Result(Fate.FAILED, f"met a bug: {error!r}") if error else future.result()))
        return over

    def _submit(self, work: Callable[[Entry], Result], entry: Entry) -> Future[Result]:
        """Have it done by the executor, or here when that cannot take it: no more threads, or at its end."""
        try:
            return self._executor.submit(work, entry)
        except RuntimeError:
            future: Future[Result] = Future()
            future.set_result(work(entry))
            return future

    def _closed(self, container: str) -> None:
        since = self._down_since.pop(container, None)
        if since is not None:
            self._downtime[container] = self._downtime.get(container, 0.0) + self._monotonic() - since

    def _note(self, ids: list[str], state: State) -> None:
        """Journal a state before the act it announces."""
        if ids:
            self._journal.note(ids, state)
            now = self._clock()
            for i in ids:
                self._entries[i] = replace(self._entries[i], state=state, since=now)

    def _set(self, ids: list[str], state: State) -> None:
        """Journal a state after the fact: that may fail, since an older state only makes recovery look again."""
        try:
            self._note(ids, state)
        except JournalError as error:
            for i in ids:
                self._entries[i] = replace(self._entries[i], state=state)
            self._log.warn("journal.failed", reason=str(error))


def _because(result: Result) -> dict[str, str]:
    return {"reason": result.reason} if result.reason else {}
