"""Works off what a run that did not come to its end has left behind: ends its helpers, starts what it stopped.

Called first thing by every ``backup-once`` and ``daemon``, and by ``recover`` itself. It starts what the journal
lists and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sidecar.exit_codes import ExitCode
from sidecar.log import Log
from sidecar.quiesce import cleanup, switch
from sidecar.quiesce.cleanup import end_all
from sidecar.quiesce.journal import FILE_NAME, Journal, RunInProgressError, RunLock
from sidecar.quiesce.quiescer import BEAT, Quiescer, Signals
from sidecar.quiesce.records import Book, JournalError, Mode
from sidecar.quiesce.switch import HURRY, Patience, Switch


class Engine(switch.Engine, cleanup.Engine, Protocol):
    """What is needed of the engine."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run brings along besides the engine.

    Attributes:
        executor: Runs several calls at once. At least two threads; one for each container is best.
        signals: The parent.
        log: Where progress goes.
        clock: Unix time in seconds.
        monotonic: Monotonic time in seconds.
        rest: Waits for some seconds.
        patience: How long to try, as long as no stop signal has come.
    """

    executor: Executor
    signals: Signals
    log: Log
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    rest: Callable[[float], None]
    patience: Patience = field(default_factory=Patience)

    def patience_now(self) -> Patience:
        """How long to try now."""
        return HURRY if self.signals.stopped() else self.patience

    def switch(self, engine: switch.Engine, mode: Mode, timeout: float | None = None) -> Switch:
        """Return what takes containers down and brings them up."""
        return Switch(
            engine,
            mode,
            timeout,
            now=self.clock,
            monotonic=self.monotonic,
            rest=self.rest,
            patience=self.patience_now,
        )


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came of it.

    Attributes:
        found: Whether there was anything to work off.
        started: Names of containers that were owed and are up.
        failed: One sentence for everything that a person must look after; empty means that nothing is owed.
        in_progress: Who is at work with the journal right now; nothing was touched then.
    """

    found: bool = False
    started: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    in_progress: str = ""

    @property
    def exit_code(self) -> int:
        """0: something was brought back. 2: there was nothing to do. 3: something is still owed."""
        if self.failed or self.in_progress:
            return ExitCode.FAILED
        return ExitCode.CHANGED if self.found else ExitCode.UNCHANGED


def owed(state_dir: Path) -> bool:
    """Whether there is a journal at all; costs one look at the disk. Raises PermissionError where that is refused."""
    try:
        (state_dir / FILE_NAME).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def recover(engine: Engine, state_dir: Path, tools: Tools) -> Recovered:
    """Work off the journal in ``state_dir``, unless a run is at work with it."""
    try:
        if not owed(state_dir):
            return Recovered()
        with RunLock(state_dir):
            return recover_locked(engine, Journal(state_dir, tools.clock), tools)
    except RunInProgressError as error:
        return Recovered(in_progress=str(error))
    except JournalError as error:
        return Recovered(found=True, failed=(str(error),))
    except PermissionError as error:
        why = f"{error.filename} cannot be read: {error.strerror}"
        return Recovered(
            found=True, failed=(f"{why}. Run the sidecar as its owner, or as root; see --state-dir",)
        )


def recover_locked(engine: Engine, journal: Journal, tools: Tools) -> Recovered:
    """Work off a journal whose lock the caller holds.

    Raises:
        JournalError: It can neither be read nor be set aside.
    """
    log = tools.log
    tools.signals.beat(BEAT)
    try:
        book = journal.load()
    except JournalError as error:
        aside = journal.set_aside()
        log.error("recover.unreadable", reason=str(error), kept=aside)
        return Recovered(found=True, failed=(f"{error}; it is kept as {aside}",))
    if book is None:
        return Recovered()
    names = [entry.name for entry in book.owed]
    log.warn("recover.begin", run=book.run, owed=names, helpers=book.helpers, torn_lines=book.torn)
    left = end_all(engine, book.helpers, book.run, rest=tools.rest, monotonic=tools.monotonic)
    quiescer = quiescer_for(book, engine, journal, tools)
    quiescer.bring_up()
    quiescer.verify(engine)
    failed = (*quiescer.failures, *(f"{name} of the crashed run could not be removed" for name in left))
    still = {entry.name for entry in quiescer.owed}
    if not still and not left:
        journal.finish()
    started = tuple(name for name in names if name not in still)
    log.info("recover.complete", started=started, failed=failed)
    return Recovered(True, started, failed)


def quiescer_for(
    book: Book, engine: switch.Engine, journal: Journal, tools: Tools, timeout: float | None = None
) -> Quiescer:
    """Return what takes a journal's containers down and brings them back."""
    return Quiescer(
        book.entries,
        tools.switch(engine, book.mode, timeout),
        journal,
        tools.executor,
        tools.signals,
        tools.log,
        tools.monotonic,
        tools.clock,
    )
