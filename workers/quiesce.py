"""The quiesce worker: one backup run, or the recovery of one, under the supervisor.

It brings the threads along that take containers down and up in parallel, wait for the ends of containers and
carry their output; everything else is in ``sidecar.backup.run`` and ``sidecar.quiesce.recovery``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sidecar.backup.options import BackupOptions
from sidecar.backup.run import Engine, run_backup_once
from sidecar.log import get_logger
from sidecar.quiesce.quiescer import Signals
from sidecar.quiesce.recovery import Engine as RecoverEngine
from sidecar.quiesce.recovery import Recovered, Tools, recover
from sidecar.supervision.child import Context

THREADS = 32
"""So many containers are taken down or brought up at once. A thread is only made when it is needed."""

SHUTDOWN = 600.0
"""Seconds that the supervisor must leave it after a stop signal: containers have to come up again, in order.

It ends much sooner: see ``sidecar.quiesce.switch.HURRY``."""


def backup_worker(
    engine: Engine, options: BackupOptions, environ: Mapping[str, str]
) -> Callable[[Context], int]:
    """Return a worker that runs one backup and returns its exit code."""

    def run(context: Context) -> int:
        with tools_for(context) as tools:
            return run_backup_once(engine, options, tools, environ).exit_code

    return run


def recover_worker(engine: RecoverEngine, state_dir: Path) -> Callable[[Context], int]:
    """Return a worker that works off the journal and returns its exit code: 0, 2 for nothing to do, or 3."""

    def run(context: Context) -> int:
        with tools_for(context) as tools:
            found = recover(engine, state_dir, tools)
            _say(found, tools)
            return found.exit_code

    return run


@contextmanager
def tools_for(context: Context) -> Iterator[Tools]:
    """Give a run its threads, its clocks and its parent's signals."""
    pause = threading.Event()  # never set: a stop signal shortens the patience, not each look
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix=context.name)
    try:
        yield Tools(
            executor=executor,
            signals=Signals(context.stop.is_set, context.beat),
            log=get_logger(__name__),
            clock=time.time,
            monotonic=time.monotonic,
            rest=partial(_rest, pause),
        )
    finally:
        # A thread may hang in a call that nobody can cancel (a pull); the process must not wait for it here.
        executor.shutdown(wait=False, cancel_futures=True)


def _rest(pause: threading.Event, seconds: float) -> None:
    pause.wait(seconds)


def _say(found: Recovered, tools: Tools) -> None:
    if found.in_progress:
        tools.log.error("recover.refused", reason=found.in_progress)
    elif not found.found:
        tools.log.info("recover.nothing")
    for sentence in found.failed:
        tools.log.error("recover.failed", reason=sentence)
