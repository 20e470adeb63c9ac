"""What stop hooks of Backrest left down, without a daemon: one go at their markers, by ``recover`` and ``reconcile``.

It is the daemon's watch (``watchdog.py``) for as long as it takes: a container whose backup runs right
now is not touched. Where Backrest's API says that nothing is in progress, nobody has to wait; else Backrest must look
idle for ``--hook-watch-grace`` without a break, since a hook that waits for an answer shows in no process list.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sidecar.apply.config_file import ConfigFile
from sidecar.backrest.api import BackrestApi, BackrestApiError
from sidecar.backrest.container import locate
from sidecar.engine.client import Engine
from sidecar.engine.model import Container
from sidecar.log import get_logger
from sidecar.quiesce.watchdog import Doing, MarkerWatch, backrest_doing
from sidecar.settings.settings import Settings
from sidecar.store.state_store import StateError

log = get_logger(__name__)


def directory_of(settings: Settings) -> Path:
    """Return where the stop hooks put their markers: beside config.json, whatever ``--state-dir`` says."""
    return settings.config.parent / ".backrest-sidecar" / "stopped"


class BackrestLook:
    """Tells what Backrest is doing, by its container and, where it answers, by its API.

    Args:
        settings: Names its container.
        engine: The engine.
        file: Its state tells whether there has ever been such a container.
        api: Makes a client of the API; None when no URL is known.

    Attributes:
        certain: Whether the API said at the last look that nothing is in progress. Hooks run within an operation,
            so no hook of a running backup is to come then.
    """

    def __init__(
        self, settings: Settings, engine: Engine, file: ConfigFile, api: Callable[[], BackrestApi] | None
    ) -> None:
        self._name = settings.backrest_container
        self._engine = engine
        self._file = file
        self._api = api
        self.certain = False

    def __call__(self) -> Doing:
        """Look once. Raises EngineError where nobody can tell."""
        in_progress = self._in_progress()
        self.certain = in_progress is False
        if self.certain and locate(self._engine, self._name, self._containers).state == "missing":
            return "idle"  # it runs outside of containers, and answers for itself
        return backrest_doing(
            self._engine,
            self._name,
            containers=self._containers,
            known=self._seen_before(),
            running=lambda: bool(in_progress),
        )

    def _containers(self) -> Iterable[Container]:
        return self._engine.snapshot().containers

    def _in_progress(self) -> bool | None:
        """Whether the API lists an operation in progress; None where it does not answer."""
        if self._api is None:
            return None
        try:
            return bool(self._api().operations_in_progress())
        except BackrestApiError:
            return None

    def _seen_before(self) -> bool:
        try:
            return bool(self._file.state().view)
        except StateError:  # whoever writes says so
            return False


@dataclass(frozen=True, slots=True)
class WorkedOff:
    """What came of it: names of markers. ``left`` are still there; ``failed`` among them could not be started."""

    started: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def work_off(
    settings: Settings,
    engine: Engine,
    file: ConfigFile,
    api: Callable[[], BackrestApi] | None,
    *,
    stop: threading.Event,
    monotonic: Callable[[], float],
) -> WorkedOff:
    """Start what is down with a marker, unless Backrest works; raise nothing, say everything.

    Takes one look at the disk when there is no marker, else ``--hook-watch-grace`` and the time of the starts at
    most. Ends early when ``stop`` is set or Backrest is found at work.
    """
    look = BackrestLook(settings, engine, file, api)
    watch = MarkerWatch(directory_of(settings), engine, look, settings.hook_watch_grace, monotonic, log)
    wait = watch.step()
    if watch.left and watch.quiet:
        log.warn("hooks.left_down", containers=list(watch.left), reason="a hook stopped them for a backup")
    while watch.left and watch.quiet and not watch.failed and not stop.is_set():
        if look.certain:
            watch.hurry()
        else:
            stop.wait(wait)
        wait = watch.step()
    if watch.left and not watch.quiet:
        log.warn(
            "hooks.not_started",
            containers=list(watch.left),
            reason="Backrest is at work and starts them at its end, or nobody can tell what it does",
            advice="run again when no backup runs, or `docker start` them; --backrest-url tells for sure",
        )
    return WorkedOff(tuple(watch.started), watch.left, watch.failed)
