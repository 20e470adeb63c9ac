"""``--engine rcb``: one run of rcb with everything down, and what it did not do found out afterwards."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from concurrent.futures import wait as wait_for

from sidecar import rcb, snapshots
from sidecar.backup_job import Job, ResticError, Retention
from sidecar.backup_sets import Wish, restic_root
from sidecar.engine_errors import EngineError
from sidecar.helpers import Ended
from sidecar.model import Mount

CHILD_PATIENCE = 5.0


class RcbBackup:
    """One backup by rcb.

    Args:
        job: The run's tools.
        executor: Waits for the end of the container that rcb starts.
    """

    def __init__(self, job: Job, executor: Executor) -> None:
        self._job = job
        self._executor = executor
        self._child = ""
        self._child_end: Future[int] | None = None
        self._child_mounts: tuple[Mount, ...] | None = None
        self._project = rcb.project_for(job.snapshot, job.plan.targets)

    def run(self) -> None:
        """Back up; what came of it is in the job's findings. What was taken down is up again in any case.

        Raises:
            RcbError: rcb cannot be run as things are; nothing was touched.
            QuiesceError: Something could not be taken down.
            EngineError: rcb's container could not be run.
            InterruptedRunError: A stop signal came.
            JournalError: The journal could not be written.
        """
        job = self._job
        spec = rcb.backup_spec(job.options, job.variables, job.snapshot, self._project)
        job.helpers.prepare(job.options.rcb_image)
        before = self._list_before()
        try:
            job.quiescer.take_down(t.container.id for t in job.plan.targets)
            job.log.info("backup.begin", image=job.options.rcb_image, project=self._project)
            ended = job.helpers.run(spec, "rcb", watch=self._watch if rcb.starts_child(job.options) else None)
        finally:
            job.quiescer.bring_up()
        self._judge(ended, before)

    def _list_before(self) -> tuple[snapshots.Snapshot, ...] | None:
        try:
            return self._job.list_snapshots()
        except ResticError as error:
            # rcb makes the repository when it is missing (cli.py: status), so this is no reason to give up.
            self._job.log.warn("snapshots.unknown", reason=str(error))
            return None

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

    def _judge(self, ended: Ended, before: tuple[snapshots.Snapshot, ...] | None) -> None:
        job, findings = self._job, self._job.findings
        failures = self._failures(ended)
        try:
            findings.standing = job.list_snapshots()
        except (ResticError, EngineError) as error:
            failures.append(f"nobody knows whether there is a new snapshot: {error}")
        else:
            new = snapshots.new(before or (), findings.standing)
            if not new:
                failures.append("there is no new snapshot in the repository")
            elif not failures:
                findings.saved += [f"{' '.join(s.paths)} (snapshot {s.id[:8]})" for s in new]
        findings.problems += failures
        left_out = rcb.unseen(
            job.plan.targets,
            self._child_mounts,
            project=self._project,
            options=job.options,
            variables=job.variables,
        )
        for unseen in left_out:
            findings.problems.append(
                f"{unseen.container} is not in the backup: {unseen.reason}; {rcb.ADVICE}"
            )
            job.log.error(
                "backup.unseen", container=unseen.container, reason=unseen.reason, advice=rcb.ADVICE
            )
        if not failures:
            findings.retentions += self._retentions()

    def _failures(self, ended: Ended) -> list[str]:
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

    def _retentions(self) -> list[Retention]:
        """Return one retention for each workload with a keep label: rcb has one directory for each service."""
        options = self._job.options
        first: dict[str, Wish] = {}
        for wish in self._job.wishes.wishes:
            if wish.labels is not None and wish.labels.keep is not None:
                root = restic_root(
                    wish.workload, options.path_prefix, include_project=options.include_project
                )
                first.setdefault(root, wish)
        return [
            Retention(str(wish.workload), (root,), wish.labels.keep)
            for root, wish in first.items()
            if wish.labels is not None and wish.labels.keep is not None
        ]
