"""The containers that a run starts itself (rcb, restic): run to their end, or ended; never left behind.

Each is in the journal before it exists and carries the run's id in a label, so that whoever comes after a crash
finds it. Its output is passed on line by line as it comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from sidecar.backup import output as helper_output
from sidecar.backup.output import Follower
from sidecar.engine.errors import EngineError
from sidecar.engine.types import RunSpec
from sidecar.log import Log
from sidecar.quiesce import cleanup
from sidecar.quiesce.cleanup import RUN_LABEL, end_all
from sidecar.quiesce.quiescer import BEAT, Signals
from sidecar.quiesce.records import JournalError

TICK = 0.25
STARTING = 10.0
"""Seconds for a container to be created and started before a stop signal is looked at: it must be known, to be
removed."""
LAST_OUTPUT = 5.0
LONG_WAIT = 30.0
ENGINE_PATIENCE = 60.0
KEPT_LINES = 2000

T = TypeVar("T")


class Engine(cleanup.Engine, helper_output.Engine, Protocol):
    """What is needed of the engine."""

    def has_image(self, image: str, /) -> bool:
        """Whether it has the image."""

    def pull(self, image: str, /) -> None:
        """Pull the image."""

    def create_and_start(self, spec: RunSpec, /) -> str:
        """Create and start a container; return its id."""

    def wait(self, container_id: str, /, timeout: float) -> int | None:
        """Return its exit code, None when it has none after ``timeout`` seconds."""


class Notes(Protocol):
    """The part of the journal that is needed here."""

    def helper(self, name: str, *, gone: bool = False) -> None:
        """Append that a helper is about to be, or is gone."""


class InterruptedRunError(Exception):
    """A stop signal came while a helper ran. It has been ended."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a helper ended.

    Attributes:
        exit_code: Its exit code.
        output: The last lines of its output.
    """

    exit_code: int
    output: tuple[str, ...] = ()


class Helpers:
    """Starts and ends the helpers of one run.

    Args:
        engine: The engine.
        journal: Is told before one is created.
        run: Id of the run.
        executor: Carries output and waits for ends.
        signals: The parent.
        log: Where output goes.
        rest: Waits for some seconds.
        monotonic: Monotonic time in seconds.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Notes,
        run: str,
        executor: Executor,
        signals: Signals,
        log: Log,
        *,
        rest: Callable[[float], None],
        monotonic: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._run = run
        self._executor = executor
        self._signals = signals
        self._log = log
        self._rest = rest
        self._monotonic = monotonic
        self._clock = clock
        self._count = 0
        self._adopted: list[str] = []

    def prepare(self, image: str) -> None:
        """Pull an image that the engine does not have; better now than with containers down.

        Raises:
            EngineError: It cannot be had.
            InterruptedRunError: A stop signal came.
        """
        if not self._engine.has_image(image):
            self._log.info("image.pull", image=image)
            self._patiently(self._executor.submit(self._engine.pull, image), f"{image} was being pulled")

    def run(
        self, spec: RunSpec, purpose: str, *, quiet: bool = False, watch: Callable[[str], None] | None = None
    ) -> Ended:
        """Run a container to its end and remove it.

        Args:
            spec: What to run; name and label are filled in.
            purpose: Short word for its name and its lines in the log.
            quiet: Keep its output out of the log (it is meant for us).
            watch: Called with its id every now and then while it runs.

        Raises:
            EngineError: It could not be run.
            JournalError: The journal could not be written; nothing was started.
            InterruptedRunError: A stop signal came; it has been ended and removed.
        """
        self._count += 1
        name = f"backrest-sidecar-{purpose}-{self._run}-{self._count}"
        if self._signals.stopped():
            raise InterruptedRunError(f"a stop signal came before {purpose} was started")
        self._journal.helper(name)
        spec = replace(spec, name=name, labels={**spec.labels, RUN_LABEL: self._run})
        lines: deque[str] = deque(maxlen=KEPT_LINES)
        follower: Follower | None = None
        try:
            start = self._executor.submit(self._engine.create_and_start, spec)
            wait((start,), timeout=STARTING)
            container = self._patiently(start, f"{purpose} was being started")
            follower = Follower(
                self._engine, container, partial(self._line, purpose, lines, quiet), self._clock
            )
            output = self._executor.submit(follower.run)
            end = self._executor.submit(self.end_of, container)
            code = self._patiently(
                end, f"{purpose} was running", partial(watch, container) if watch else None
            )
            wait((output,), timeout=LAST_OUTPUT)
            return Ended(code, tuple(lines))
        finally:
            if follower is not None:
                follower.close()
            names = (name, *self._adopted)
            self._adopted.clear()
            left = end_all(self._engine, names, self._run, rest=self._rest, monotonic=self._monotonic)
            if left:
                self._log.error("helper.left", containers=left)
            else:
                self._forget(names)

    @property
    def interrupted(self) -> bool:
        """Whether a stop signal has come."""
        return self._signals.stopped()

    def adopt(self, container: str) -> None:
        """Journal a container that one of ours has started, so that it is ended with it."""
        self._adopted.append(container)
        try:
            self._journal.helper(container)
        except JournalError as error:
            self._log.warn("journal.failed", reason=str(error))

    def _patiently(self, future: Future[T], doing: str, watch: Callable[[], None] | None = None) -> T:
        """Return what a call gives, and hear a stop signal while it is under way."""
        while not future.done():
            self._signals.beat(BEAT)
            if self._signals.stopped():
                raise InterruptedRunError(f"a stop signal came while {doing}")
            if watch is not None:
                watch()
            wait((future,), timeout=TICK)
        return future.result()

    def end_of(self, container: str) -> int:
        """Wait for the end of a container, also across a restart of the engine."""
        silent_since: float | None = None
        while True:
            try:
                code = self._engine.wait(container, timeout=LONG_WAIT)
            except EngineError as error:
                now = self._monotonic()
                silent_since = now if silent_since is None else silent_since
                if error.kind not in {"unreachable", "timeout"} or now - silent_since > ENGINE_PATIENCE:
                    raise
                self._rest(1.0)
                continue
            silent_since = None
            if code is not None:
                return code

    def _line(self, purpose: str, lines: deque[str], quiet: bool, text: str) -> None:
        lines.append(text)
        if text.strip() and not quiet:
            self._log.info(f"{purpose}.output", line=text)

    def _forget(self, names: tuple[str, ...]) -> None:
        try:
            for name in names:
                self._journal.helper(name, gone=True)
        except JournalError as error:
            self._log.warn("journal.failed", reason=str(error))
