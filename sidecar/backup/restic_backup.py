"""``--engine restic``: one ``restic backup`` for each workload, which is down for that alone."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from sidecar.backup import sets as backup_sets
from sidecar.backup.containers import Ended
from sidecar.backup.job import PARTIAL, Job, why
from sidecar.backup.sets import BackupSet, BackupSets, SetRules
from sidecar.backup.snapshots import Snapshot
from sidecar.backup.steps import End, Forget, LeaveOut, ListSnapshots, RunRestic, Step, Tell, WhileDown
from sidecar.engine.errors import EngineError
from sidecar.engine.types import RunSpec
from sidecar.labels.retention import Keep
from sidecar.plans import workloads as naming
from sidecar.plans.workloads import Workload
from sidecar.quiesce.quiescer import QuiesceError
from sidecar.quiesce.selection import Target

_SAVED = re.compile(r"^snapshot ([0-9a-f]{8,64}) saved")
FALLBACK_HOST = "backrest-sidecar"


def host(job: Job) -> str:
    """Return the host name that snapshots are made under: restic finds the previous one by it.

    The container's own is another one each time.
    """
    return job.variables.get("RESTIC_HOST") or job.engine_name or FALLBACK_HOST


def sets_of(job: Job) -> BackupSets:
    """Return what is to be backed up."""
    options = job.options
    rules = SetRules(
        prefix=options.path_prefix,
        exclude_binds=options.exclude_bind_mounts,
        engine_socket=options.socket_path,
        allowed=options.allow_path,
        volume_labels=job.wishes.volume_labels or {},
    )
    return backup_sets.build(job.wishes.wishes, rules)


def arguments(backup: BackupSet, host_name: str) -> tuple[str, ...]:
    """Return the arguments of one ``restic backup``."""
    tag = ("--tag", _tag(backup)) if backup.plan_id else ()
    excludes = tuple(f"--exclude={pattern}" for pattern in backup.excludes)
    return ("backup", "--host", host_name, *tag, *excludes, "--", *backup.paths)


def spec_of(job: Job, backup: BackupSet) -> RunSpec:
    """Return the container that backs one set up."""
    return RunSpec(
        image=job.options.restic_image,
        entrypoint=("restic",),
        command=arguments(backup, host(job)),
        env=job.variables,
        binds=(*job.options.mounts, *backup.binds),
    )


def targets_for(targets: Iterable[Target], sets: Iterable[BackupSet]) -> tuple[Target, ...]:
    """Return who must be down for these backups: their containers, whoever shares their volumes, and guests."""
    several = tuple(sets)
    ids = {i for backup in several for i in backup.containers}
    workloads = {backup.workload.base for backup in several}
    sources = {source for backup in several for source in backup.sources}
    everything = tuple(targets)
    chosen = {
        t.container.id
        for t in everything
        if t.container.id in ids
        or (t.service and naming.workload_of(t.container) in workloads)
        or sources & {m.name or m.source for m in t.container.mounts}
    }
    return tuple(t for t in everything if t.container.id in chosen or t.host in chosen)


def steps(job: Job) -> tuple[Step, ...]:
    """Return what a run does, in order."""
    options, found = job.options, sets_of(job)
    notes: tuple[Step, ...] = tuple(LeaveOut(sentence) for sentence in found.broken)
    notes += tuple(Tell(note) for note in found.notes)
    if not found.sets:
        return (*notes, End())
    if options.together:
        groups = [found.sets]
    else:
        groups = [tuple(g) for _, g in groupby(found.sets, key=lambda s: s.workload.base)]
    return (
        *notes,
        ListSnapshots(options.restic_image),
        *(_while_down(job, group) for group in groups),
        *(_forget(job, backup, backup.keep) for backup in found.sets if backup.keep is not None),
    )


def _while_down(job: Job, group: tuple[BackupSet, ...]) -> WhileDown:
    targets = job.plan.targets if job.options.together else targets_for(job.plan.targets, group)
    work = tuple(RunRestic(backup, host(job), spec_of(job, backup)) for backup in group)
    return WhileDown(targets, job.options.mode, work)


def _forget(job: Job, backup: BackupSet, keep: Keep) -> Forget:
    """Return the retention of one backup: by its path, and by its plan where the workload has several."""
    tag, why_not = "", ""
    if not backup.alone:
        tag = _tag(backup)
        why_not = (
            "" if tag else "it has no plan id, by which to tell its snapshots from those of its other plans"
        )
    return Forget(
        plans=(backup.workload,),
        paths=backup.paths,
        keep=keep,
        group_by=job.options.group_by,
        tag=tag,
        host=host(job),
        why=why_not,
    )


def _tag(backup: BackupSet) -> str:
    return f"plan:{backup.plan_id}" if backup.plan_id else ""


class ResticBackup:
    """The backups of one run.

    Args:
        job: The run's tools.
        steps: What is done, see :func:`steps`.
    """

    def __init__(self, job: Job, steps: Iterable[Step]) -> None:
        self._job = job
        self._steps = tuple(steps)
        self._saved: set[Workload] = set()

    def run(self) -> None:
        """Back everything up; what came of it is in the job's findings. Whatever was taken down is up again.

        Raises:
            ResticError: The repository cannot be opened; nothing was touched.
            QuiesceError: With ``--quiesce-together``: something could not be taken down.
            EngineError: The engine does not do its part; nothing was touched.
            InterruptedRunError: A stop signal came.
            JournalError: The journal could not be written.
        """
        job = self._job
        for step in self._steps:
            match step:
                case Tell():
                    job.log.warn("backup.note", reason=step.text)
                case End():
                    job.log.info("backup.nothing", reason="no workload has anything to back up")
                case ListSnapshots():
                    job.helpers.prepare(step.image)
                    self._tell_new_histories(job.list_snapshots())
                case WhileDown():
                    self._while_down(step)
                case Forget():
                    if self._saved.issuperset(step.plans):
                        job.findings.retentions.append(step)

    def _tell_new_histories(self, standing: Iterable[Snapshot]) -> None:
        """Say where a workload's snapshots lay before every directory had the project in it; once they are new."""
        known = {path for snapshot in standing for path in snapshot.paths}
        work = [one for step in self._steps if isinstance(step, WhileDown) for one in step.work]
        backups = [one.backup for one in work if isinstance(one, RunRestic)]
        for root, workload in {backup.root: backup.workload.base for backup in backups}.items():
            before = posixpath.join(self._job.options.path_prefix, workload.service or workload.container)
            if before != root and _any_below(before, known) and not _any_below(root, known):
                self._job.log.warn(
                    "backup.new_history",
                    workload=str(workload),
                    path=root,
                    old=before,
                    reason="its snapshots now lie below its project, so that no other project's service of this name "
                    "shares its history; the older ones stay, and nothing forgets them",
                    advice=f"when nobody wants them any more: restic forget --path {before} --keep-last 1 --prune",
                )

    def _while_down(self, step: WhileDown) -> None:
        job = self._job
        try:
            self._down_for(step)
        except QuiesceError as error:
            if job.options.together or job.helpers.interrupted:
                raise
            backups = [one.backup for one in step.work if isinstance(one, RunRestic)]
            names = ", ".join(dict.fromkeys(str(backup.workload) for backup in backups))
            job.findings.problems.append(f"{names} is not backed up: {error}")

    def _down_for(self, step: WhileDown) -> None:
        try:
            self._job.quiescer.take_down(step.ids)
            for one in step.work:
                if isinstance(one, RunRestic):
                    self._back_up(one)
        finally:
            self._job.quiescer.bring_up(step.ids)

    def _back_up(self, step: RunRestic) -> None:
        job, backup, name = self._job, step.backup, str(step.backup.workload)
        job.log.info("backup.begin", workload=name, path=" ".join(backup.paths))
        try:
            ended = job.helpers.run(step.spec, "restic")
        except EngineError as error:
            self._failed(name, str(error))
            return
        saved = next(_snapshots_in(ended), "")
        if ended.exit_code != 0 or not saved:
            what = "some files could not be read: " if ended.exit_code == PARTIAL else ""
            self._failed(name, what + why(ended))
            return
        job.findings.saved.append(f"{name}: {' '.join(backup.paths)} (snapshot {saved[:8]})")
        job.log.info("backup.done", workload=name, snapshot=saved[:8])
        self._saved.add(backup.workload)

    def _failed(self, name: str, reason: str) -> None:
        self._job.findings.problems.append(f"{name} is not backed up: {reason}")
        self._job.log.error("backup.failed", workload=name, reason=reason)


def _snapshots_in(ended: Ended) -> Iterator[str]:
    for line in ended.output:
        match = _SAVED.match(line.strip())
        if match:
            yield match[1]


def _any_below(directory: str, paths: Iterable[str]) -> bool:
    return any(path == directory or path.startswith(f"{directory}/") for path in paths)
