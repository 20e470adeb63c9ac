"""One cycle of Backrest: stop, write, start, see that it is up; and back again when our plans keep it down.

Between stop and start nothing is waited for. "Must be started" is on the disk before the stop, and the start does not
depend on what has become of the disk meanwhile.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sidecar.apply.config_file import ConfigFile, Written
from sidecar.apply.link import BackrestLink
from sidecar.apply.restart_queue import UNTOLD, Queue, logged_operations
from sidecar.backrest.container import (
    BackrestEngine,
    Failed,
    Pending,
    UpWatch,
    config_error_in_log,
    cut_off_operations,
    fatal_in_log,
)
from sidecar.backrest.idle import zones_of
from sidecar.backrest.start_log import ConfigFault
from sidecar.backrest.starved import starved_plans
from sidecar.engine.errors import EngineError
from sidecar.engine.types import ContainerState
from sidecar.log import get_logger
from sidecar.settings.settings import Settings
from sidecar.store.lock import LockError, LockTimeout
from sidecar.store.state import Quarantined, State, StoppedBackrest

RAN_WELL = 60.0
"""Seconds that Backrest must have run before our stop for a failed start to be blamed on our plans, unless its log
names one of them."""

PLANNED = 3.0
"""Seconds after its start by which Backrest has planned its tasks."""

log = get_logger(__name__)

Waits = Generator[float, None, "Restarted"]
"""Yields monotonic times at which to be called again."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """How it ended.

    Attributes:
        written: What was written; None when there was nothing left to do.
        restarted: Whether Backrest was stopped and started.
        owed: Why Backrest still has to take the file up; empty when it has, or will by itself.
        refused: Why it did not start with what was written, so that the previous plans were put back.
        guilty: Which plans that is blamed on.
    """

    written: Written | None
    restarted: bool = False
    owed: str = ""
    refused: str = ""
    guilty: tuple[str, ...] = ()


class RestartCycle:
    """Stops and starts Backrest's container around a write. The arguments are those of ``restarter.Restarter``."""

    def __init__(
        self,
        settings: Settings,
        file: ConfigFile,
        engine: BackrestEngine,
        *,
        link: BackrestLink | None,
        clock: Callable[[], float],
        now: Callable[[], float],
        cut_off: Callable[[], object],
    ) -> None:
        self._settings = settings
        self._file = file
        self._engine = engine
        self._link = link
        self._clock = clock
        self._now = now
        self._cut_off = cut_off
        self._said_missing = False

    def must_start(self) -> bool:
        """Start a Backrest that we stopped and did not see running again, whatever else is wrong.

        Returns:
            Whether it was started just now.

        Raises:
            EngineError: It could not be started; it is still owed.
            StateError, LockError: The state could not be read or written.
        """
        stopped = self._file.state().stopped
        if stopped is None:
            return False
        try:
            # Another sidecar between its stop and its start holds the lock: Backrest must stay down for its write.
            with self._file.locked():
                still = self._file.state().stopped
                return still is not None and self._start(still)
        except LockTimeout:
            raise
        except LockError:
            self._start(stopped)  # there can be no lock at all, so nobody else is at work either
            raise

    def _start(self, stopped: StoppedBackrest) -> bool:
        started = False
        container = self._engine.find(stopped.id) or self._engine.find(stopped.name)
        if container is None:
            # It may be on its way back, down as we left it; only when it is seen is the promise kept or void.
            if not self._said_missing:
                log.error(
                    "backrest.missing",
                    container=stopped.name,
                    reason="we had stopped it, and it is gone: it is started when it is there again",
                )
            self._said_missing = True
            return False
        self._said_missing = False
        if not container.running:
            self._engine.start(container.id)
            started = True
            log.info("backrest.started", container=container.name)
        self._file.update(lambda state: replace(state, stopped=None))
        return started

    def run(
        self,
        container: ContainerState,
        write: Callable[[], Written],
        queue: Queue,
        *,
        well: bool,
    ) -> Waits:
        """Stop the container, write, start it, and wait until it is up.

        Args:
            container: Backrest's container as it is now.
            write: Merges into the file and writes it.
            queue: What Backrest does and has in its queue.
            well: Whether it ran; False for one that was between two attempts of its restart policy.

        Raises:
            EngineError and what ``write`` raises. It is started then, or that is owed on the disk.
        """
        ran_for = self._now() - unix_time(container.started_at) if well else 0.0
        stopped_at = self._now()
        with self._file.locked():
            stopped = self._stop(container, queue)
            try:
                written = write()
            finally:
                self._start(stopped)
        started = self._now()
        seen = yield from self._up(container)
        self._report_cut_off(container, started)
        self._owe_due(queue)
        if seen is None:
            self._file.update(lambda state: replace(state, owed=None))
            if not queue.by_api:
                self._say_starved(container, queue, self._config(), stopped_at, started)
            log.info("backrest.restart", container=container.name, seconds=round(self._now() - stopped_at, 3))
            return Restarted(written, restarted=True)
        # Until 1.10 Backrest writes each fault on lines of its own, below the one that says FATAL.
        said = self._engine.logs(container.id, since=math.floor(started) - 1, tail=4000)
        fault = config_error_in_log(said)
        if fault is None or written.before is None or not _is_ours(fault, written, ran_for):
            text = (
                f"{seen.reason}; {fault.message if fault else fatal_in_log(said) or 'its log names no fault'}"
            )
            log.error(
                "backrest.not_up",
                container=container.name,
                reason=text,
                advice=f"docker logs {container.name}",
            )
            return Restarted(written, restarted=True, owed=text)
        return (yield from self._roll_back(container, written, written.before, fault, queue))

    def _config(self) -> Mapping[str, Any]:
        """Return config.json; empty for a broken one."""
        try:
            return self._file.current().data
        except self._file.Unusable:
            return {}

    def _stop(self, container: ContainerState, queue: Queue = UNTOLD) -> StoppedBackrest:
        """Stop the container, with the promise to start it on the disk before; return the promise.

        What the stop takes out of the queue is written down with it, where it can be asked for again.
        """
        now = self._now()
        stopped = StoppedBackrest(container.id, container.name, now)
        config = self._config() if queue.by_api else {}

        def stopping(state: State) -> State:
            recent = tuple(at for at in state.restarts if now - 3600 < at <= now)
            make_up = queue.lost(state.make_up, config, now)
            return replace(state, stopped=stopped, restarts=(*recent, now), make_up=make_up)

        self._file.update(stopping)
        log.info("backrest.stop", container=container.name)
        try:
            self._engine.stop(container.id, timeout=math.ceil(self._settings.restart_timeout))
        except EngineError:
            # Whether it stops or not is not known now; that it must run in the end is.
            self._start(stopped)
            raise
        return stopped

    def _up(self, container: ContainerState) -> Generator[float, None, Failed | None]:
        """Wait until Backrest is up; return why it is not."""
        # A URL that did not answer before the stop says nothing after the start: a wrong one never answers.
        link = self._link if self._link is not None and self._link.answered else None
        watch = UpWatch(
            self._engine,
            container.id,
            started=self._clock(),
            answers=(lambda: link.api().answers()) if link is not None else None,
        )
        while True:
            try:
                seen = watch.look(self._clock())
            except EngineError:
                yield self._clock() + 2.0
                continue
            match seen:
                case Pending(again_in=seconds):
                    yield self._clock() + min(seconds, 2.0)
                case Failed():
                    return seen
                case _:
                    return None

    def _owe_due(self, queue: Queue) -> None:
        """Write down what fell due while Backrest was down, longer than was foreseen at the stop, or went back."""
        if queue.by_api:
            config, now = self._config(), self._now()
            self._file.update(lambda state: replace(state, make_up=queue.due_by(state.make_up, config, now)))

    def _report_cut_off(self, container: ContainerState, since: float) -> None:
        try:
            cut = cut_off_operations(self._engine.logs(container.id, since=math.floor(since) - 1, tail=400))
        except EngineError:
            return
        if cut.count:
            log.error(
                "backrest.cut_off",
                container=container.name,
                operations=cut.count,
                reason="the restart cut running operations off; what their hooks had stopped is started now",
            )
            self._cut_off()

    def _say_starved(
        self,
        container: ContainerState,
        before: Queue,
        config: Mapping[str, Any],
        stopped: float,
        started: float,
    ) -> None:
        """Name the backups that the restart has cost, where there is no API to make them up through."""
        plans = starved_plans(
            before.operations,
            logged_operations(self._engine, container.id, math.floor(started) - 1, self._now()),
            config,
            zones_of(container),
            stopped=stopped,
            planned=started + PLANNED,
        )
        if plans:
            log.error(
                "backrest.starved",
                plans=plans,
                reason="they ran or were due when Backrest was restarted, and have not run since",
                advice="run them in Backrest; with --backrest-url that is done for you",
            )

    def _roll_back(
        self,
        container: ContainerState,
        written: Written,
        before: bytes,
        fault: ConfigFault,
        queue: Queue,
    ) -> Waits:
        """Put the previous plans back, and the guilty ones into quarantine until they or Backrest change."""
        digests = written.digests
        guilty = {fault.plan_id: digests[fault.plan_id]} if fault.plan_id in digests else digests
        marks = tuple(Quarantined(digest, container.image_id) for digest in guilty.values())
        names = tuple(sorted(guilty))
        log.error(
            "backrest.rolled_back",
            container=container.name,
            plans=names,
            reason=fault.message,
            advice="the previous plans are back; change the labels of the named ones",
        )

        def quarantine(state: State) -> State:
            owners = state.owners if written.owners_before is None else written.owners_before
            still = (entry for entry in state.quarantine if entry.image_id == container.image_id)
            return replace(state, owners=owners, quarantine=(*still, *marks), image_id=container.image_id)

        with self._file.locked():
            stopped = self._stop(container)
            try:
                self._file.plans_back(before, quarantine)
            finally:
                self._start(stopped)
        seen = yield from self._up(container)
        self._owe_due(queue)
        if seen is None:
            self._file.update(lambda state: replace(state, owed=None))
            return Restarted(written, restarted=True, refused=fault.message, guilty=names)
        return Restarted(written, restarted=True, owed=seen.reason, refused=fault.message, guilty=names)


def _is_ours(fault: ConfigFault, written: Written, ran_for: float) -> bool:
    """Whether plans of this write are what Backrest does not start with."""
    return fault.plan_id in written.digests or (fault.may_be_ours and ran_for > RAN_WELL)


def unix_time(rfc3339: str) -> float:
    """Return a time of the engine as Unix time; 0 for none. The engine writes nanoseconds, Python reads micro."""
    text = rfc3339.replace("Z", "+00:00")
    head, dot, rest = text.partition(".")
    if dot:
        digits = rest[: next((i for i, c in enumerate(rest) if not c.isdigit()), len(rest))]
        text = f"{head}.{digits[:6]}{rest[len(digits) :]}"
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
