"""Puts the parts of a reconcile together, for the daemon and for the one-shot alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sidecar.apply.applier import Applier
from sidecar.apply.boot import read_boot
from sidecar.apply.config_file import ConfigFile, Latest
from sidecar.apply.link import BackrestLink
from sidecar.apply.restarter import Restarter
from sidecar.backrest.api import BackrestApi
from sidecar.engine.client import Engine
from sidecar.engine.model import Container
from sidecar.engine.source import Source
from sidecar.messages import Report
from sidecar.settings.settings import Settings
from sidecar.status.announcer import Announcer
from sidecar.status.board import StatusBoard


def api_maker(settings: Settings) -> Callable[[], BackrestApi] | None:
    """Return what makes a client of Backrest's API, or None when no URL is known."""
    url = settings.backrest_url
    if url is None:
        return None
    return lambda: BackrestApi(url, settings.backrest_username or "", settings.password())


@dataclass(frozen=True, slots=True)
class Writing:
    """What the writer works with.

    Attributes:
        file: config.json and the state.
        restarter: Stops and starts Backrest; None when Backrest is not ours to touch.
        applier: Brings wishes about.
    """

    file: ConfigFile
    restarter: Restarter | None
    applier: Applier

    def work_off(self) -> bool:
        """Do first what an earlier process left: half a write, and a Backrest that must be started.

        Returns:
            Whether Backrest was started for it.

        Raises:
            SidecarError: Backrest was tried to be started all the same.
        """
        try:
            self.file.recover()
        finally:
            started = self.restarter is not None and self.restarter.must_start()
        return started


def writing(
    settings: Settings,
    engine: Source,
    announcer: Announcer,
    report: Callable[[Report], None],
    *,
    stop: threading.Event,
    patient: bool,
    cut_off: Callable[[], object] = lambda: None,
    latest: Latest | None = None,
    board: StatusBoard | None = None,
) -> Writing:
    """Return a writer's parts. ``stop`` ends its waits; the renderer has the same ``latest``."""
    file = ConfigFile(
        settings,
        now=time.time,
        read_only=settings.dry_run,
        wait=stop.wait,
        latest=latest,
        boot=read_boot,
    )
    api = api_maker(settings)
    link = BackrestLink(api, board) if api is not None else None
    restarter = None
    if isinstance(engine, Engine) and not settings.dry_run:

        def containers() -> Iterable[Container]:
            return engine.snapshot().containers

        restarter = Restarter(
            settings,
            file,
            engine,
            containers,
            link=link,
            clock=time.monotonic,
            now=time.time,
            patient=patient,
            cut_off=cut_off,
        )
    applier = Applier(
        settings,
        file,
        announcer,
        restarter,
        api,
        clock=time.monotonic,
        now=time.time,
        report=report,
        patient=patient,
        link=link,
    )
    return Writing(file, restarter, applier)
