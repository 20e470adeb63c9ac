"""``restic forget`` for each workload with a keep label, after a backup that succeeded."""

from __future__ import annotations

import re

from sidecar.backup_job import Job, Retention, why
from sidecar.engine_errors import EngineError

_REMOVED = re.compile(r"^remove (\d+) snapshots?\b")


def arguments(retention: Retention, group_by: str) -> tuple[str, ...]:
    """Return the arguments of one ``restic forget``."""
    selection = [part for path in retention.paths for part in ("--path", path)]
    if retention.tag:
        selection += ["--tag", retention.tag]
    if retention.host:
        selection += ["--host", retention.host]
    return ("forget", "--group-by", group_by, *selection, *retention.keep.forget_flags(), "--prune")


def run(job: Job) -> None:
    """Forget what the labels no longer keep. One that fails is a problem of its own; the others go on.

    Raises:
        InterruptedRunError: A stop signal came.
        JournalError: The journal could not be written.
    """
    findings = job.findings
    for retention in findings.retentions:
        if not retention.keep.forget_flags():
            continue  # `all` or `none`: nothing is to be forgotten
        if findings.standing is not None and not any(retention.selects(s) for s in findings.standing):
            findings.problems.append(
                f"retention of {retention.name} selects nothing: no snapshot has the path "
                f"{' '.join(retention.paths)}{_because(job)}"
            )
            job.log.error("retention.empty", container=retention.name, path=" ".join(retention.paths))
            continue
        job.log.info("retention.run", container=retention.name, path=" ".join(retention.paths))
        try:
            ended = job.restic(arguments(retention, job.options.group_by), "retention")
        except EngineError as error:
            _failed(job, retention, str(error))
            continue
        if ended.exit_code != 0:
            _failed(job, retention, why(ended))
            continue
        removed = sum(int(m[1]) for line in ended.output if (m := _REMOVED.match(line.strip())))
        findings.forgotten[retention.name] = removed
        job.log.info("retention.done", container=retention.name, removed=removed)


def _because(job: Job) -> str:
    if job.options.kind != "rcb":
        return ""
    return " (rcb makes one snapshot of /volumes for everything; --engine restic makes one for each workload)"


def _failed(job: Job, retention: Retention, reason: str) -> None:
    job.findings.problems.append(f"retention of {retention.name} failed: {reason}")
    job.log.error("retention.failed", container=retention.name, reason=reason)
