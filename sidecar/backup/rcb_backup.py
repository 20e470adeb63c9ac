"""``--engine rcb``: one run of rcb with everything down, and what it did not do found out afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for

from sidecar.backup import rcb, snapshots
from sidecar.backup.containers import Ended
from sidecar.backup.job import Job, ResticError
from sidecar.backup.sets import Wish
from sidecar.backup.snapshots import Snapshot
from sidecar.backup.steps import FindUnseen, Forget, ListSnapshots, RunRcb, Step, WhileDown
from sidecar.engine.errors import EngineError
from sidecar.engine.model import Mount
from sidecar.labels.retention import most_generous

CHILD_PATIENCE = 5.0


def steps(job: Job) -> tuple[Step, ...]:
    """Return what a run does, in order.

    Raises:
        RcbError: rcb cannot be run as things are.
    """
    options, targets = job.options, job.plan.targets
    project = rcb.project_for(job.snapshot, targets)
    spec = rcb.backup_spec(options, job.variables, job.snapshot, project)
    unseen = rcb.unseen(targets, None, project=project, options=options, variables=job.variables)
    return (
        ListSnapshots(options.rcb_image),
        WhileDown(targets, options.mode, (RunRcb(project, spec),)),
        ListSnapshots(options.rcb_image, again=True),
        FindUnseen(project, unseen),
        *_forgets(job),
    )


def _forgets(job: Job) -> Iterator[Forget]:
    """Yield one retention for each of rcb's directories that a keep label is about.

    All plans of a workload, and workloads of one name in several projects, lie in one directory and in one snapshot.
    So their keeps are put together to the most generous; where one of them has none, nothing is forgotten.
    """
    sharing: dict[str, list[Wish]] = {}
    for wish in job.wishes.wishes:
        sharing.setdefault(rcb.directory(wish.workload, job.options), []).append(wish)
    doubtful: dict[str, list[str]] = {}
    for workload in sorted(job.wishes.doubtful):
        doubtful.setdefault(rcb.directory(workload, job.options), []).append(str(workload))
    for directory, wishes in sharing.items():
        keeps = [wish.labels.keep for wish in wishes if wish.labels and wish.labels.keep is not None]
        if not keeps:
            continue
        silent = [str(wish.workload) for wish in wishes if wish.labels is None or wish.labels.keep is None]
        reason = ""
        if directory in doubtful:
            reason = f"a label of {', '.join(doubtful[directory])} is wrong, and its data lies there too"
        elif silent:
            reason = f"{', '.join(silent)} has no backrest.keep, and its data lies there too"
        yield Forget(
            plans=tuple(wish.workload for wish in wishes),
            paths=(directory,),
            keep=most_generous(keeps),
            group_by=job.options.group_by,
            why=reason,
        )


class RcbBackup:
    """One backup by rcb.

    Args:
        job: The run's tools.
        steps: What is done, see :func:`steps`.
        executor: Waits for the end of the container that rcb starts.
    """

    def __init__(self, job: Job, steps: Iterable[Step], executor: Executor) -> None:
        self._job = job
        self._steps = tuple(steps)
        self._executor = executor
        self._child = ""
        self._child_end: Future[int] | None = None
        self._child_mounts: tuple[Mount, ...] | None = None
        self._before: tuple[Snapshot, ...] = ()
        self._failures: list[str] = []

    def run(self) -> None:
        """Back up; what came of it is in the job's findings. What was taken down is up again in any case.

        Raises:
            QuiesceError: Something could not be taken down.
            EngineError: rcb's container could not be run.
            InterruptedRunError: A stop signal came.
            JournalError: The journal could not be written.
        """
        job = self._job
        for step in self._steps:
            match step:
                case ListSnapshots(again=False):
                    job.helpers.prepare(step.image)
                    self._before = self._list_before()
                case ListSnapshots():
                    self._list_after()
                case WhileDown():
                    self._while_down(step)
                case FindUnseen():
                    self._find_unseen(step)
                case Forget():
                    if not self._failures:
                        job.findings.retentions.append(step)

    def _while_down(self, step: WhileDown) -> None:
        job = self._job
        watch = self._watch if rcb.starts_child(job.options) else None
        try:
            job.quiescer.take_down(step.ids)
            for one in step.work:
                if isinstance(one, RunRcb):
                    job.log.info("backup.begin", image=one.spec.image, project=one.project)
                    self._failures += self._failures_of(job.helpers.run(one.spec, "rcb", watch=watch))
        finally:
            job.quiescer.bring_up()

    def _list_before(self) -> tuple[Snapshot, ...]:
        try:
            return self._job.list_snapshots()
        except ResticError as error:
            # rcb makes the repository when it is missing (cli.py: status), so this is no reason to give up.
            self._job.log.warn("snapshots.unknown", reason=str(error))
            return ()

    def _watch(self, parent: str) -> None:
        """Look for the container that rcb starts, until it is found; journal it, and wait for its end."""
        if self._child:
            return
        try:
            found = next((c for c in self._job.look().containers if rcb.is_child(c, parent)), None)
        except EngineError:
            return  # looked for again at the next tick
        if found is None:
            return
        self._child, self._child_mounts = found.id, found.mounts
        self._child_end = self._executor.submit(self._job.helpers.end_of, found.id)
        self._job.helpers.adopt(found.id)
        self._job.log.info("rcb.child", container=found.name)

    def _list_after(self) -> None:
        job, findings = self._job, self._job.findings
        try:
            findings.standing = job.list_snapshots()
        except (ResticError, EngineError) as error:
            self._failures.append(f"nobody knows whether there is a new snapshot: {error}")
        else:
            new = snapshots.new(self._before, findings.standing)
            if not new:
                self._failures.append("there is no new snapshot in the repository")
            elif not self._failures:
                findings.saved += [f"{' '.join(s.paths)} (snapshot {s.id[:8]})" for s in new]
        findings.problems += self._failures

    def _find_unseen(self, step: FindUnseen) -> None:
        job = self._job
        left_out = rcb.unseen(
            job.plan.targets,
            self._child_mounts,
            project=step.project,
            options=job.options,
            variables=job.variables,
        )
        for unseen in left_out:
            job.findings.problems.append(
                f"{unseen.container} is not in the backup: {unseen.reason}; {rcb.ADVICE}"
            )
            job.log.error(
                "backup.unseen", container=unseen.container, reason=unseen.reason, advice=rcb.ADVICE
            )

    def _failures_of(self, ended: Ended) -> list[str]:
        """Return what rcb itself failed at. Its own exit code is 0 even when its second container failed."""
        if ended.exit_code != 0:
            return [f"rcb failed with exit code {ended.exit_code}"]
        if not rcb.starts_child(self._job.options):
            return []
        code = rcb.child_exit(ended.output)
        if code is None and self._child_end is not None:
            wait_for((self._child_end,), timeout=CHILD_PATIENCE)
            if self._child_end.done() and self._child_end.exception() is None:
                code = self._child_end.result()
        if code is None:
            what = (
                "how its backup container ended" if self._child else "of a backup container that it started"
            )
            return [f"nothing is known {what}: rcb's word alone is no success"]
        return [] if code == 0 else [f"the container that rcb backs up in failed with exit code {code}"]
