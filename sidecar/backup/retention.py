"""``restic forget`` for each workload with a keep label, after a backup that succeeded."""

from __future__ import annotations

import re

from sidecar.backup.job import Job, why
from sidecar.backup.steps import Forget
from sidecar.engine.errors import EngineError

_REMOVED = re.compile(r"^remove (\d+) snapshots?\b")


def run(job: Job) -> None:
    """Forget what the labels no longer keep. One that fails is a problem of its own; the others go on.

    Raises:
        InterruptedRunError: A stop signal came.
        JournalError: The journal could not be written.
    """
    findings = job.findings
    for step in findings.retentions:
        arguments = step.arguments()
        if not arguments:
            if step.why:
                job.log.warn("retention.none", container=step.name, reason=step.why)
            continue
        path = " ".join(step.paths)
        if findings.standing is not None and not any(step.selects(s) for s in findings.standing):
            findings.problems.append(
                f"retention of {step.name} selects nothing: no snapshot has the path {path}{_because(job)}"
            )
            job.log.error("retention.empty", container=step.name, path=path)
            continue
        job.log.info("retention.run", container=step.name, path=path)
        try:
            ended = job.restic(arguments, "retention")
        except EngineError as error:
            _failed(job, step, str(error))
            continue
        if ended.exit_code != 0:
            _failed(job, step, why(ended))
            continue
        removed = sum(int(m[1]) for line in ended.output if (m := _REMOVED.match(line.strip())))
        findings.forgotten[step.name] = removed
        job.log.info("retention.done", container=step.name, removed=removed)


def _because(job: Job) -> str:
    if job.options.kind != "rcb":
        return ""
    return " (rcb makes one snapshot of /volumes for everything; --engine restic makes one for each workload)"


def _failed(job: Job, step: Forget, reason: str) -> None:
    job.findings.problems.append(f"retention of {step.name} failed: {reason}")
    job.log.error("retention.failed", container=step.name, reason=reason)
