"""What a run would do, in order and in words, for ``--dry-run``. Nothing is touched to find that out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from sidecar import rcb, retention_run
from sidecar.backup_job import Job, Retention
from sidecar.backup_sets import BackupSet, restic_root
from sidecar.quiesce import QuiescePlan, Target
from sidecar.restic_engine import host, sets_of, targets_for


def plan_of_action(job: Job) -> tuple[str, ...]:
    """Return one sentence for each thing that the run would do, in order."""
    return tuple(_rcb(job) if job.options.kind == "rcb" else _restic(job))


def _rcb(job: Job) -> Iterator[str]:
    options = job.options
    project = rcb.project_for(job.snapshot, job.plan.targets)
    command = " ".join((*options.rcb_command, *options.rcb_args))
    yield f"list the snapshots in the repository, in {options.rcb_image}"
    yield from _down(job, job.plan.targets)
    where = f" as part of project {project}" if project else ""
    yield f"run `{command}` in {options.rcb_image}{where}"
    yield from _up(job, job.plan.targets)
    yield "list the snapshots again: there must be a new one"
    for unseen in rcb.unseen(
        job.plan.targets, None, project=project, options=options, variables=job.variables
    ):
        yield f"say that {unseen.container} is not in the backup: {unseen.reason}; {rcb.ADVICE}"
    for wish in job.wishes.wishes:
        if wish.labels is not None and wish.labels.keep is not None:
            root = restic_root(wish.workload, options.path_prefix, include_project=options.include_project)
            yield _forget(Retention(str(wish.workload), (root,), wish.labels.keep), options.group_by)


def _restic(job: Job) -> Iterator[str]:
    options, found = job.options, sets_of(job)
    for note in found.notes:
        yield f"note: {note}"
    if not found.sets:
        yield "end, since no workload has anything to back up"
        return
    yield f"list the snapshots in the repository, in {options.restic_image}"
    if options.together:
        groups = [found.sets]
    else:
        groups = [tuple(g) for _, g in groupby(found.sets, key=lambda s: s.workload.base)]
    for group in groups:
        targets = job.plan.targets if options.together else targets_for(job.plan.targets, group)
        yield from _down(job, targets)
        for backup in group:
            yield _back_up(backup, host(job))
        yield from _up(job, targets)
    for backup in found.sets:
        if backup.keep is not None:
            yield _forget(
                Retention(str(backup.workload), backup.paths, backup.keep, host=host(job)), options.group_by
            )


def _back_up(backup: BackupSet, host_name: str) -> str:
    what = ", ".join(f"{bind.source} at {bind.target}" for bind in backup.binds)
    excludes = f", without {' '.join(backup.excludes)}" if backup.excludes else ""
    return f"back up {backup.workload} as {' '.join(backup.paths)} of host {host_name}: {what}{excludes}"


def _forget(retention: Retention, group_by: str) -> str:
    flags = retention.keep.forget_flags()
    if not flags:
        return f"forget nothing of {retention.name}: {retention.keep.words()}"
    return f"forget: restic {' '.join(retention_run.arguments(retention, group_by))}"


def _down(job: Job, targets: tuple[Target, ...]) -> Iterator[str]:
    for wave in reversed(QuiescePlan(targets).waves()):
        for target in wave:
            why = f" ({target.why})" if target.why else ""
            if job.options.mode == "pause":
                yield f"pause {target.name}{why}"
            elif target.service:
                yield f"scale {target.name} from {target.service.replicas} to 0{why}"
            else:
                yield f"stop {target.name}, which has {target.grace:g} s to do so{why}"


def _up(job: Job, targets: tuple[Target, ...]) -> Iterator[str]:
    verb = "unpause" if job.options.mode == "pause" else "start"
    for wave in QuiescePlan(targets).waves():
        for target in wave:
            if target.service:
                yield f"scale {target.name} back to {target.service.replicas}"
            else:
                yield f"{verb} {target.name}"
