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

from sidecar.backrest import BackrestEngine, IdleWatch, Located, locate
from sidecar.backrest_api import BackrestApi, BackrestApiError, Operation
from sidecar.config_file import ConfigFile, Written
from sidecar.engine_errors import EngineError
from sidecar.engine_types import ContainerState
from sidecar.failures import Busy
from sidecar.log import get_logger
from sidecar.model import Container
from sidecar.protected import VERSION_LABEL
from sidecar.restart_cycle import RestartCycle, Restarted, Waits, unix_time
from sidecar.settings import Settings

log = get_logger(__name__)


class Restarter:
    """Knows how to stop and start Backrest around a write.

    Args:
        settings: Options.
        file: config.json and the state.
        engine: The engine.
        containers: Lists all containers, for a Backrest that goes by another name.
        api: Makes a client of Backrest's API, which knows best what runs; None when no URL is known.
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
        api: Callable[[], BackrestApi] | None,
        clock: Callable[[], float],
        now: Callable[[], float],
        patient: bool,
        cut_off: Callable[[], object] = lambda: None,
    ) -> None:
        self._settings = settings
        self._file = file
        self._engine = engine
        self._containers = containers
        self._api = api
        self._clock = clock
        self._now = now
        self._patient = patient
        self._cycle = RestartCycle(settings, file, engine, api=api, clock=clock, now=now, cut_off=cut_off)
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
        if owed is None:
            return False
        located = locate(self._engine, self._settings.backrest_container, self._containers)
        if located.container is None:
            return True
        local = "://" not in self._settings.docker_sock or self._settings.docker_sock.startswith("unix://")
        started = unix_time(located.container.started_at)
        if located.state in {"exited", "created"} or (
            local and located.state == "running" and started > owed.since
        ):
            self._file.update(lambda state: replace(state, owed=None))
            return False
        return True

    def restart(self, write: Callable[[], Written], needed: Callable[[], bool]) -> Waits:
        """Bring Backrest to run with what ``write`` writes.

        Args:
            write: Merges the newest wish into the file.
            needed: Whether there is still anything to do; asked anew after each wait.

        Raises:
            Busy: It was not idle in time; only when not patient.
            EngineError and what ``write`` raises. Backrest is running again then, or that is owed on the disk.
        """
        began = self._clock()
        watch = IdleWatch(clock=self._clock, now=lambda: dt.datetime.fromtimestamp(self._now(), dt.UTC))
        warned = False
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
            reason, again_in = self._not_yet(located, watch)
            if not reason:
                well = located.state == "running"
                return (yield from self._cycle.run(located.container, write, well=well))
            if reason.partition(" in ")[0] != self._said.partition(" in ")[0]:
                log.info("backrest.busy", reason=reason)
            self._said = reason
            if self._clock() - began >= self._settings.max_wait:
                if not self._patient:
                    raise Busy(reason, self._clock() - began)
                if self._settings.apply_force and located.state == "running":
                    log.warn("backrest.forced", reason=reason)
                    return (yield from self._cycle.run(located.container, write, well=True))
                if not warned:
                    warned = True
                    log.error(
                        "backrest.busy_too_long",
                        reason=reason,
                        advice="the new plans wait until Backrest is idle; --backrest-url needs no restart",
                    )
            yield self._clock() + again_in

    def _not_yet(self, located: Located, watch: IdleWatch) -> tuple[str, float]:
        """Return why Backrest may not be stopped now and when to look again; an empty reason when it may."""
        container = located.container
        assert container is not None  # noqa: S101  # restart() has seen to it
        if located.state == "paused":
            return located.reason, 5.0
        wait = self._budget_wait()
        if wait > 0:
            per_minute, per_hour = self._settings.restart_budget
            return (
                f"the restart budget is used up ({per_minute} a minute, {per_hour} an hour): is somebody, or "
                "another program, changing the same plans back?"
            ), wait
        if located.state in {"restarting", "crash-looping"}:
            return "", 0.0  # down for reasons of its own between two attempts; no idle look could succeed
        look = watch.look(container, self._engine.top(container.id), self._document(), self._operations())
        return ("", 0.0) if look.idle else (look.reason, look.again_in)

    def _document(self) -> Mapping[str, Any]:
        """Return config.json for the schedules in it; empty for a broken one, which an undo is to replace."""
        try:
            return self._file.current().data
        except self._file.Unusable:
            return {}

    def _operations(self) -> tuple[Operation, ...] | None:
        if self._api is None:
            return None
        try:
            return self._api().operations()
        except BackrestApiError:
            return None

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
