"""``reconcile``: one pass, in the order look, render, write, apply; the exit code says how it went."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.apply.config_file import ConfigFile
from sidecar.apply.observe import Observer
from sidecar.commands.left_down import WorkedOff, work_off
from sidecar.commands.wiring import Writing, api_maker, writing
from sidecar.engine.client import Engine
from sidecar.engine.source import Source, open_engine
from sidecar.errors import SidecarError, told
from sidecar.exit_codes import ExitCode
from sidecar.log import get_logger
from sidecar.messages import Applied, PlansRendered, Report, WriteFailed
from sidecar.plans.render import skipped
from sidecar.plans.rendering import AMBIGUOUS_BACKREST
from sidecar.settings.settings import Settings
from sidecar.status.announcer import Announcer

log = get_logger(__name__)


def reconcile(settings: Settings) -> int:
    """Make one pass; return the exit code of contract §1."""
    reports: list[Report] = []
    announcer = Announcer()
    try:
        with stopping() as stop:
            engine = open_engine(settings.docker_sock, settings.replay)
            parts = writing(settings, engine, announcer, reports.append, stop=stop, patient=False)
            brought_back = not settings.dry_run and parts.work_off()
            containers = _start_what_is_left_down(settings, engine, parts, stop)
            wish = look(settings, engine, parts.file, announcer)
            _drive(parts, wish, stop)
    except SidecarError as failure:
        log.error("reconcile.failed", **told(failure))
        return ExitCode.FAILED
    code = _outcome(settings, wish, reports, brought_back=brought_back or bool(containers.started))
    return ExitCode.FAILED if containers.failed else code


def _start_what_is_left_down(
    settings: Settings, engine: Source, parts: Writing, stop: threading.Event
) -> WorkedOff:
    """Start what a stop hook in Backrest left down: without a daemon nobody else does."""
    if settings.dry_run or not isinstance(engine, Engine):
        return WorkedOff()
    return work_off(settings, engine, parts.file, api_maker(settings), stop=stop, monotonic=time.monotonic)


def look(settings: Settings, engine: Source, file: ConfigFile, announcer: Announcer) -> PlansRendered:
    """List the engine, read config.json, render. Raises one of :class:`SidecarError`."""
    began = time.monotonic()
    observer = Observer(settings, engine, time.monotonic)
    snapshot = observer.snapshot()
    announcer.engine_seen(snapshot)
    state = file.state()
    seen = observer.render(snapshot, file.current().view, state.owners, state.view)
    announcer.paths_unknown(observer.note)
    announcer.rendered(seen.rendering)
    return PlansRendered(seen.rendering, snapshot, seen.basis, 1, began)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set, for as long as it lasts: what has begun is ended in order."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _drive(parts: Writing, wish: PlansRendered, stop: threading.Event) -> None:
    parts.applier.want(wish)
    due = parts.applier.step()
    while due is not None and not stop.is_set():
        stop.wait(max(0.0, due - time.monotonic()))
        if not stop.is_set():
            due = parts.applier.step()
    if stop.is_set() and due is not None:
        log.warn("reconcile.stopped", reason="told to stop before all was done; run again")


def _outcome(settings: Settings, wish: PlansRendered, reports: list[Report], *, brought_back: bool) -> int:
    applied = next((report for report in reports if isinstance(report, Applied)), None)
    failed = [report for report in reports if isinstance(report, WriteFailed)]
    changed = brought_back or (applied is not None and (applied.changed or applied.restarted))
    left_out = {finding.container for finding in skipped(wish.rendering.findings)}
    skips = len(left_out.union(applied.skipped if applied is not None else ()))
    fields = {
        "plans": len(wish.rendering.plans),
        "skipped": skips,
        "changed": changed,
        "seconds": round(time.monotonic() - wish.at, 3),
    }
    log.info("dry-run.complete" if settings.dry_run else "reconcile.complete", **fields)
    if applied is None or failed or applied.owed:
        if applied is not None and applied.owed:
            log.error(
                "restart.owed", reason=applied.reason, advice="run again with --apply, or restart Backrest"
            )
        return ExitCode.FAILED
    if any(finding.code == AMBIGUOUS_BACKREST for finding in wish.rendering.findings):
        return ExitCode.FAILED
    if settings.strict and skips:
        return ExitCode.FAILED
    return ExitCode.CHANGED if changed and not settings.dry_run else ExitCode.UNCHANGED
