"""How a backup run ended, for the exit code and for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.backup.job import Job
from sidecar.exit_codes import ExitCode
from sidecar.log import mask
from sidecar.quiesce.selection import QuiescePlan


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run came to.

    Attributes:
        downtime: Container name → seconds from being told to stop until it ran again.
        backed_up: What was backed up, one line each.
        forgotten: Name → number of snapshots that retention removed.
        problems: Why the run is no success, one sentence each.
        refused: Containers that ask to be quiesced and must not be, with the reason.
    """

    downtime: Mapping[str, float]
    backed_up: tuple[str, ...] = ()
    forgotten: Mapping[str, int] | None = None
    problems: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: the exit code (contract: 0 done, 2 nothing to do or a dry run, 3 failure) and the rest."""

    exit_code: int
    summary: Summary


def sum_up(job: Job, quiesce: QuiescePlan) -> Outcome:
    """Return how a run ended, and say it."""
    findings = job.findings
    summary = Summary(
        downtime=job.quiescer.downtime,
        backed_up=tuple(findings.saved),
        forgotten=dict(findings.forgotten),
        problems=tuple(mask(problem) for problem in dict.fromkeys(findings.problems)),
        refused=refused_words(quiesce),
    )
    code = ExitCode.FAILED if summary.problems else ExitCode.CHANGED if findings.saved else ExitCode.UNCHANGED
    say = job.log.error if summary.problems else job.log.info
    say(
        "backup-once.complete",
        exit_code=code,
        downtime_seconds=dict(summary.downtime),
        backed_up=summary.backed_up,
        forgotten=dict(findings.forgotten),
        problems=summary.problems,
        refused=summary.refused,
    )
    return Outcome(code, summary)


def refused_words(quiesce: QuiescePlan) -> tuple[str, ...]:
    """Return one line for each container that must not be taken down."""
    return tuple(f"{refusal.container}: {refusal.reason}" for refusal in quiesce.refused)
