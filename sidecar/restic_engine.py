"""``--engine restic``: one ``restic backup`` for each workload, which is down for that alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from sidecar import backup_sets, naming
from sidecar.backup_job import PARTIAL, Job, Retention, why
from sidecar.backup_sets import BackupSet, BackupSets, SetRules
from sidecar.engine_errors import EngineError
from sidecar.engine_types import RunSpec
from sidecar.helpers import Ended
from sidecar.quiesce import Target
from sidecar.quiescer import QuiesceError

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
        include_project=options.include_project,
        exclude_binds=options.exclude_bind_mounts,
        engine_socket=options.socket_path,
        allowed=options.allow_path,
        volume_labels=job.wishes.volume_labels or {},
    )
    return backup_sets.build(job.wishes.wishes, rules)


def arguments(backup: BackupSet, host_name: str) -> tuple[str, ...]:
    """Return the arguments of one ``restic backup``."""
    tag = ("--tag", f"plan:{backup.plan_id}") if backup.plan_id else ()
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


class ResticBackup:
    """The backups of one run.

    Args:
        job: The run's tools.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._sets = sets_of(job)
        self._several: set[str] = set()

    def run(self) -> None:
        """Back everything up; what came of it is in the job's findings. Whatever was taken down is up again.

        Raises:
            ResticError: The repository cannot be opened; nothing was touched.
            QuiesceError: With ``--quiesce-together``: something could not be taken down.
            EngineError: The engine does not do its part; nothing was touched.
            InterruptedRunError: A stop signal came.
            JournalError: The journal could not be written.
        """
        job, sets = self._job, self._sets
        for note in sets.notes:
            job.log.warn("backup.note", reason=note)
        for sentence in sets.broken:
            job.findings.problems.append(f"left out: {sentence}")
            job.log.error("label.wrong", reason=sentence)
        if not sets.sets:
            job.log.info("backup.nothing", reason="no workload has anything to back up")
            return
        job.helpers.prepare(job.options.restic_image)
        job.list_snapshots()
        keys = [s.workload.base for s in sets.sets]
        self._several = {str(key) for key in keys if keys.count(key) > 1}
        if job.options.together:
            self._down_for(sets.sets, tuple(t.container.id for t in job.plan.targets))
            return
        for _, group in groupby(sets.sets, key=lambda s: s.workload.base):
            several = tuple(group)
            try:
                self._down_for(several, tuple(t.container.id for t in targets_for(job.plan.targets, several)))
            except QuiesceError as error:
                if job.helpers.interrupted:
                    raise
                names = ", ".join(dict.fromkeys(str(s.workload) for s in several))
                job.findings.problems.append(f"{names} is not backed up: {error}")

    def _down_for(self, sets: tuple[BackupSet, ...], ids: tuple[str, ...]) -> None:
        try:
            self._job.quiescer.take_down(ids)
            for backup in sets:
                self._back_up(backup)
        finally:
            self._job.quiescer.bring_up(ids)

    def _back_up(self, backup: BackupSet) -> None:
        job, name = self._job, str(backup.workload)
        job.log.info("backup.begin", workload=name, path=" ".join(backup.paths))
        try:
            ended = job.helpers.run(spec_of(job, backup), "restic")
        except EngineError as error:
            self._failed(name, str(error))
            return
        saved = next(self._saved(ended), "")
        if ended.exit_code != 0 or not saved:
            what = "some files could not be read: " if ended.exit_code == PARTIAL else ""
            self._failed(name, what + why(ended))
            return
        job.findings.saved.append(f"{name}: {' '.join(backup.paths)} (snapshot {saved[:8]})")
        job.log.info("backup.done", workload=name, snapshot=saved[:8])
        if backup.keep is not None:
            single = str(backup.workload.base) not in self._several
            job.findings.retentions.append(
                Retention(
                    name,
                    backup.paths,
                    backup.keep,
                    tag="" if single or not backup.plan_id else f"plan:{backup.plan_id}",
                    host=host(job),
                )
            )

    @staticmethod
    def _saved(ended: Ended) -> Iterator[str]:
        for line in ended.output:
            match = _SAVED.match(line.strip())
            if match:
                yield match[1]

    def _failed(self, name: str, reason: str) -> None:
        self._job.findings.problems.append(f"{name} is not backed up: {reason}")
        self._job.log.error("backup.failed", workload=name, reason=reason)
