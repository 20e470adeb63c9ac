"""Taking up a new config.json by restart: wait until Backrest is idle, stop, write, start, see that it is up.

Backrest reads its config once and writes it from its cache (backrest: internal/config/config.go:70-151), so the
file is only ours while Backrest is down. A restart in the middle of a backup kills that backup and leaves down what
its hooks had stopped (backrest: internal/orchestrator/orchestrator.go:112-150). So: no stop before two idle looks,
"must be started" on the disk before the stop, and no wait between stop and start.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sidecar.apply.config_file import ConfigFile, Written
from sidecar.apply.failures import Busy
from sidecar.apply.link import BackrestLink
from sidecar.apply.restart_cycle import RestartCycle, Restarted, Waits, unix_time
from sidecar.apply.restart_queue import UNTOLD, Queue, logged_operations, stopped_by_hooks
from sidecar.backrest.container import BackrestEngine, IdleWatch, Located, locate
from sidecar.backrest.protected import VERSION_LABEL
from sidecar.engine.errors import EngineError
from sidecar.engine.model import Container
from sidecar.engine.types import ContainerState
from sidecar.log import get_logger
from sidecar.settings.settings import Settings
from sidecar.store.state import Owed

log = get_logger(__name__)


class Restarter:
    """Knows how to stop and start Backrest around a write.

    Args:
        settings: Options.
        file: config.json and the state.
        engine: The engine.
        containers: Lists all containers, for a Backrest that goes by another name.
        link: The way to Backrest's API, which knows best what runs; None when no URL is known.
        clock: Monotonic seconds.
        now: Unix time in seconds.
        patient: A daemon keeps waiting and has a budget; a one-shot raises :class:`Busy`.
        cut_off: Called when a restart cut an operation off: start what its hooks had stopped.
    """

    def __init__(
        self,
        settings: Settings,
        file: ConfigFile,
        engine: BackrestEngine,
        containers: Callable[[], Iterable[Container]],
        *,
        link: BackrestLink | None,
        clock: Callable[[], float],
        now: Callable[[], float],
        patient: bool,
        cut_off: Callable[[], object] = lambda: None,
    ) -> None:
        self._settings = settings
        self._file = file
        self._engine = engine
        self._containers = containers
        self._link = link
        self._clock = clock
        self._now = now
        self._patient = patient
        self._cycle = RestartCycle(settings, file, engine, link=link, clock=clock, now=now, cut_off=cut_off)
        self._said = ""
        self._said_missing = ""

    def must_start(self) -> bool:
        """Start a Backrest that we stopped and did not see running again, see :meth:`RestartCycle.must_start`."""
        return self._cycle.must_start()

    def owes(self) -> bool:
        """Whether the running Backrest has not read the file as we wrote it.

        A start after the write settles it, whoever started it. With a remote engine the clocks may differ, so
        only our own restart does.
        """
        owed = self._file.state().owed
        if owed is None or self.unread(owed):
            return owed is not None
        self._file.update(lambda state: replace(state, owed=None))
        return False

    def unread(self, owed: Owed) -> bool:
        """Whether the running Backrest has not been started since ``owed``, and one that is down will not read it."""
        located = locate(self._engine, self._settings.backrest_container, self._containers)
        if located.container is None:
            return True
        local = "://" not in self._settings.docker_sock or self._settings.docker_sock.startswith("unix://")
        started = unix_time(located.container.started_at)
        return located.state not in {"exited", "created"} and not (
            local and located.state == "running" and started > owed.since
        )

    def restart(
        self,
        write: Callable[[], Written],
        needed: Callable[[], bool],
        waits: Callable[[str, bool], object] = lambda _reason, _overdue: None,
    ) -> Waits:
        """Bring Backrest to run with what ``write`` writes.

        Args:
            write: Merges the newest wish into the file.
            needed: Whether there is still anything to do; asked anew after each wait.
            waits: Told for what it waits, and whether it does so for longer than ``--apply-max-wait``.

        Raises:
            Busy: It was not idle in time; only when not patient.
            EngineError and what ``write`` raises. Backrest is running again then, or that is owed on the disk.
        """
        began = self._clock()
        watch = IdleWatch(clock=self._clock, now=lambda: dt.datetime.fromtimestamp(self._now(), dt.UTC))
        warned = False
        shown = ("", False)
        while True:
            if not needed():
                return Restarted(None)
            located = locate(self._engine, self._settings.backrest_container, self._containers)
            if located.ambiguous:  # one of them runs, and would undo what is written beside it
                raise EngineError("conflict", located.reason)
            if located.container is None or located.state in {"exited", "created"}:
                return self._write_beside(located, write)
            self._said_missing = ""
            self._remember(located.container)
            reason, again_in, queue = self._not_yet(located, watch)
            if not reason:
                well = located.state == "running"
                return (yield from self._cycle.run(located.container, write, queue, well=well))
            late = self._clock() - began >= self._settings.max_wait
            if _steady(reason) != _steady(self._said):
                log.info("backrest.busy", reason=reason)
            self._said = reason
            if (_steady(reason), late) != shown:
                shown = (_steady(reason), late)
                waits(reason, late)
            if late:
                if not self._patient:
                    raise Busy(reason, self._clock() - began)
                if self._settings.apply_force and located.state == "running":
                    log.warn("backrest.forced", reason=reason)
                    return (yield from self._cycle.run(located.container, write, queue, well=True))
                if not warned:
                    warned = True
                    log.error(
                        "backrest.busy_too_long",
                        reason=reason,
                        advice="the new plans wait until Backrest is idle; --backrest-url needs no restart",
                    )
            yield self._clock() + again_in

    def _not_yet(self, located: Located, watch: IdleWatch) -> tuple[str, float, Queue]:
        """Return why Backrest may not be stopped now, when to look again, and what it is known to do.

        The reason is empty when it may.
        """
        container = located.container
        assert container is not None  # noqa: S101  # restart() has seen to it
        if located.state == "paused":
            return located.reason, 5.0, UNTOLD
        wait = self._budget_wait()
        if wait > 0:
            per_minute, per_hour = self._settings.restart_budget
            budget = f"the restart budget allows {per_minute} a minute and {per_hour} an hour"
            said = f"Backrest has been restarted for a change already, and {budget}: the next one may begin"
            return f"{said} in {wait:.0f} s", wait, UNTOLD
        if located.state in {"restarting", "crash-looping"}:
            return "", 0.0, UNTOLD  # down between two attempts of its own; no idle look could succeed
        processes = self._engine.top(container.id)
        told = self._link.operations() if self._link is not None else None
        since = unix_time(container.started_at)
        # With an API nothing runs unseen: a marker is then what an earlier run or a failed hook has left.
        stopped = stopped_by_hooks(self._settings.config, since) if told is None else ()
        operations = (
            told if told is not None else logged_operations(self._engine, container.id, since, self._now())
        )
        look = watch.look(container, processes, self._document(), operations, stopped)
        queue = Queue(operations, by_api=told is not None)
        return ("", 0.0, queue) if look.idle else (look.reason, look.again_in, queue)

    def _document(self) -> Mapping[str, Any]:
        """Return config.json for the schedules in it; empty for a broken one, which an undo is to replace."""
        try:
            return self._file.current().data
        except self._file.Unusable:
            return {}

    def _budget_wait(self) -> float:
        if not self._patient:
            return 0.0
        now = self._now()
        waits = [0.0]
        for limit, window in zip(self._settings.restart_budget, (60.0, 3600.0), strict=True):
            recent = sorted(at for at in self._file.state().restarts if now - window < at <= now)
            if len(recent) >= limit:
                waits.append(recent[-limit] + window - now)
        return max(waits)

    def _write_beside(self, located: Located, write: Callable[[], Written]) -> Restarted:
        """Write while no Backrest runs. One that was down before is not started: its next start reads the file."""
        written = write()
        if located.state == "missing":
            if located.reason != self._said_missing:
                log.warn("backrest.missing", reason=located.reason, advice="see --backrest-container")
            self._said_missing = located.reason
            return Restarted(written, owed=located.reason)
        if self.owes():
            return Restarted(written, owed="Backrest was started while its file was being written")
        log.info("backrest.down", reason=f"{located.reason}; it reads the file at its next start")
        return Restarted(written)

    def _remember(self, container: ContainerState) -> None:
        version = container.labels.get(VERSION_LABEL, "")
        state = self._file.state()
        if (state.image_id, state.backrest_version) != (container.image_id, version):
            self._file.update(
                lambda known: replace(known, image_id=container.image_id, backrest_version=version)
            )


def _steady(reason: str) -> str:
    """Return a reason without what changes from look to look, which stands behind its last " in "."""
    return reason.rpartition(" in ")[0] or reason
