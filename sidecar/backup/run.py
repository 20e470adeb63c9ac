"""One backup run, as a sequence of steps that always ends with everything up again.

The steps: lock → recover what an earlier run left → look → plan → journal → take down → back up → bring back →
check → forget → sum up. Containers come back as soon as the backup is done, before retention: a prune may take
hours and reads no volume. (The Go tool leaves them down until the end.)
"""

from __future__ import annotations

import contextlib
import secrets as random
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from sidecar.backrest.protected import protected
from sidecar.backup import containers, env_file, rcb, rcb_backup, requests, restic_backup, retention
from sidecar.backup.containers import Helpers, InterruptedRunError
from sidecar.backup.env_file import EnvFileError
from sidecar.backup.job import Findings, Job, ResticError
from sidecar.backup.options import BackupOptions, volatile
from sidecar.backup.rcb import RcbError
from sidecar.backup.rcb_backup import RcbBackup
from sidecar.backup.requests import Wishes
from sidecar.backup.restic_backup import ResticBackup
from sidecar.backup.steps import LeaveOut, Step
from sidecar.backup.summary import Outcome, Summary, refused_words, sum_up
from sidecar.engine.errors import EngineError
from sidecar.engine.model import EngineSnapshot
from sidecar.engine.types import ContainerState, EngineInfo
from sidecar.exit_codes import ExitCode
from sidecar.log import mask, set_secrets
from sidecar.quiesce.cleanup import RUN_LABEL, end_all
from sidecar.quiesce.journal import Journal, RunInProgressError, RunLock
from sidecar.quiesce.quiescer import BEAT, QuiesceError
from sidecar.quiesce.records import Book, JournalError
from sidecar.quiesce.recovery import Engine as RecoverEngine
from sidecar.quiesce.recovery import Tools, quiescer_for, recover_locked
from sidecar.quiesce.selection import QuiescePlan, Selector, candidates, plan

_EXPECTED = (
    EngineError,
    JournalError,
    QuiesceError,
    RcbError,
    ResticError,
    InterruptedRunError,
    EnvFileError,
)


class Engine(RecoverEngine, containers.Engine, Protocol):
    """What is needed of the engine."""

    def info(self) -> EngineInfo:
        """Return the engine's own facts."""


class RefusedError(Exception):
    """The run does not begin. The text says why and what to do."""


def run_backup_once(
    engine: Engine, options: BackupOptions, tools: Tools, environ: Mapping[str, str]
) -> Outcome:
    """Run a backup.

    Args:
        engine: The engine.
        options: The flags.
        tools: Threads, clocks, the log, and the parent's signals.
        environ: Where a bare name in the env file takes its value from.

    Returns:
        What came of it. Nothing that can be expected to go wrong is raised, and whatever is raised, containers
        are brought back first.
    """
    try:
        with _lock(options):
            return _Run(engine, options, tools, environ).run()
    except (RefusedError, RunInProgressError, *_EXPECTED) as error:
        tools.log.error("backup-once.failed", reason=str(error))
        return Outcome(ExitCode.FAILED, Summary({}, problems=(mask(str(error)),)))


def _lock(options: BackupOptions) -> contextlib.AbstractContextManager[object]:
    """Return the lock of the state directory. A dry run touches nothing, not even that."""
    return contextlib.nullcontext() if options.dry_run else RunLock(options.state_dir)


def _steps(job: Job) -> tuple[Step, ...]:
    """Return all that a run does, in order; what a dry run tells. Raises RcbError."""
    left_out = (LeaveOut(reason) for reason in job.wishes.broken)
    engine = rcb_backup if job.options.kind == "rcb" else restic_backup
    return (*left_out, *engine.steps(job))


class _Run:
    def __init__(
        self, engine: Engine, options: BackupOptions, tools: Tools, environ: Mapping[str, str]
    ) -> None:
        self._engine = engine
        self._options = options
        self._tools = tools
        self._environ = environ
        self._journal = Journal(options.state_dir, tools.clock)
        self._id = random.token_hex(6)

    def run(self) -> Outcome:
        """Do the steps in order."""
        options = self._options
        self._tools.signals.beat(BEAT)
        leftovers: tuple[str, ...] = ()
        if not options.dry_run:
            leftovers = recover_locked(self._engine, self._journal, self._tools).failed
        variables = env_file.read(options.env_file, self._environ) if options.env_file else {}
        set_secrets(env_file.secrets(variables))
        snapshot = self._engine.snapshot()
        quiesce = self._plan(snapshot)
        self._refuse(snapshot, quiesce)
        self._tell(quiesce)
        wishes = self._wishes(snapshot, quiesce)
        now = self._tools.clock()
        book = Book(self._id, options.mode, now, quiesce.entries(now))
        job = self._job(book, snapshot, quiesce, wishes, variables)
        steps = _steps(job)
        if options.dry_run:
            self._tell_steps(steps)
            return Outcome(ExitCode.UNCHANGED, Summary({}, refused=refused_words(quiesce)))
        self._journal.begin(book)
        job.findings.problems += leftovers
        try:
            self._back_up(job, steps)
        finally:
            self._bring_back(job)
        return sum_up(job, quiesce)

    def _tell_steps(self, steps: Iterable[Step]) -> None:
        """Say what a run would do: first what an earlier one left, then its own steps."""
        before = self._journal.load()
        lines = [f"start {e.name}, which an earlier run left down" for e in (before.owed if before else ())]
        lines += [line for step in steps for line in step.words()]
        for number, line in enumerate(lines, start=1):
            self._tools.log.info("dry-run.step", number=number, does=line)
        self._tools.log.info("dry-run.complete")

    def _refuse(self, snapshot: EngineSnapshot, quiesce: QuiescePlan) -> None:
        options = self._options
        why = volatile(options.state_dir.resolve(), snapshot) if quiesce.targets else ""
        if why and not options.allow_volatile_state:
            raise RefusedError(
                f"{why}, so that the journal would die with it and containers stay down; mount a volume there, give"
                " --state-dir, or accept it with --allow-volatile-state"
            )
        other = next((c for c in snapshot.containers if RUN_LABEL in c.labels and c.state == "running"), None)
        if other is not None and not options.dry_run:
            raise RefusedError(
                f"{other.name} is at work for a run with another state directory; wait for its end, or remove it"
            )

    def _plan(self, snapshot: EngineSnapshot) -> QuiescePlan:
        options = self._options
        selector = Selector.parse(options.quiesce_label)
        details: dict[str, ContainerState] = {}
        for container in candidates(snapshot, selector):
            state = self._engine.find(container.id)
            if state is not None:
                details[container.id] = state
        guarded = dict(protected(snapshot, options.backrest_container, options.docker_host))
        if options.kind == "rcb" and options.mode == "pause":
            guarded |= rcb.must_run(snapshot)
        return plan(
            snapshot,
            selector,
            protected=guarded,
            details=details,
            mode=options.mode,
            timeout=options.quiesce_timeout,
            trust_image=options.policy.trust_image,
        )

    def _tell(self, quiesce: QuiescePlan) -> None:
        for refusal in quiesce.refused:
            self._tools.log.warn("quiesce.refused", container=refusal.container, reason=refusal.reason)
        for name in quiesce.idle:
            self._tools.log.info("quiesce.idle", container=name)
        for note in quiesce.notes:
            self._tools.log.warn("quiesce.note", reason=note)

    def _wishes(self, snapshot: EngineSnapshot, quiesce: QuiescePlan) -> Wishes:
        wishes = requests.gather(
            snapshot,
            {t.container.id for t in quiesce.targets if not t.why},
            policy=self._options.policy,
            plan_prefix=self._options.plan_id_prefix,
            include_project=self._options.include_project,
            owned=self._options.plan_owners,
            origins=self._options.plan_origins,
        )
        for note in wishes.notes:
            self._tools.log.warn("label.note", reason=note)
        return wishes

    def _job(
        self,
        book: Book,
        snapshot: EngineSnapshot,
        quiesce: QuiescePlan,
        wishes: Wishes,
        variables: Mapping[str, str],
    ) -> Job:
        tools, options = self._tools, self._options
        try:
            name = self._engine.info().name
        except EngineError:
            name = ""  # a socket proxy may forbid it
        return Job(
            options=options,
            snapshot=snapshot,
            plan=quiesce,
            wishes=wishes,
            variables=variables,
            helpers=Helpers(
                self._engine,
                self._journal,
                self._id,
                tools.executor,
                tools.signals,
                tools.log,
                rest=tools.rest,
                monotonic=tools.monotonic,
                clock=tools.clock,
            ),
            quiescer=quiescer_for(book, self._engine, self._journal, tools, options.quiesce_timeout),
            look=self._engine.snapshot,
            engine_name=name,
            log=tools.log,
            findings=Findings(),
        )

    def _back_up(self, job: Job, steps: tuple[Step, ...]) -> None:
        """Back up and forget; what is expected to go wrong becomes a problem in the summary."""
        for step in steps:
            if isinstance(step, LeaveOut):
                job.findings.problems.append(f"left out: {step.reason}")
                job.log.error("label.wrong", reason=step.reason)
        job.log.info("backup-once.begin", run=self._id, engine=self._options.kind)
        if self._options.kind == "rcb":
            backed_up = self._tried(job, RcbBackup(job, steps, self._tools.executor).run)
        else:
            backed_up = self._tried(job, ResticBackup(job, steps).run)
        if backed_up:
            self._tried(job, lambda: retention.run(job))

    def _tried(self, job: Job, step: Callable[[], None]) -> bool:
        """Do a step and make sure that everything is up after it; return whether it went through."""
        done = False
        try:
            step()
            done = True
        except _EXPECTED as error:
            job.findings.problems.append(str(error))
            job.log.error("backup.failed", reason=str(error))
        job.quiescer.bring_up()
        job.quiescer.verify(self._engine)
        return done

    def _bring_back(self, job: Job) -> None:
        """Whatever happened: end what we started, start what we stopped, and drop the journal when that is so."""
        left: tuple[str, ...] = ()
        self._tools.signals.beat(BEAT)
        try:
            # By the run's id alone: each of ours carries it.
            left = end_all(self._engine, (), self._id, rest=self._tools.rest, monotonic=self._tools.monotonic)
        finally:
            job.quiescer.bring_up()
        job.findings.problems += job.quiescer.failures
        if not job.quiescer.owed and not left:
            self._journal.finish()
            return
        advice = "run `backrest-sidecar recover`"
        for entry in job.quiescer.owed:
            job.log.error("quiesce.start_failed", container=entry.name, reason="still down", advice=advice)
