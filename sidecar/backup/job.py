"""What both ways of backing up share: the run's tools, what it found out, and restic's own commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sidecar.backup import rcb, snapshots
from sidecar.backup.containers import Ended, Helpers
from sidecar.backup.options import BackupOptions
from sidecar.backup.requests import Wishes
from sidecar.backup.snapshots import Snapshot
from sidecar.backup.steps import Forget
from sidecar.engine.model import EngineSnapshot
from sidecar.engine.types import RunSpec
from sidecar.log import Log
from sidecar.quiesce.quiescer import Quiescer
from sidecar.quiesce.selection import QuiescePlan

PARTIAL = 3
"""restic's exit code when some files could not be read (restic: cmd/restic/main.go, ErrInvalidSourceData)."""
NO_REPOSITORY = 10
"""restic's exit code since 0.17 when there is no repository."""


class ResticError(Exception):
    """A command of restic failed. The text ends with what restic said last."""


@dataclass(slots=True)
class Findings:
    """What a backup came to, for the summary.

    Attributes:
        saved: What was backed up, one line each.
        forgotten: Name → number of snapshots that retention removed.
        problems: Why the run is no success, one sentence each.
        retentions: What may be forgotten now that it is backed up; empty after a failure.
        standing: The snapshots in the repository after the backup; None where that need not be known.
    """

    saved: list[str] = field(default_factory=list)
    forgotten: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    retentions: list[Forget] = field(default_factory=list)
    standing: tuple[Snapshot, ...] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """The tools of one run.

    Attributes:
        options: The flags.
        snapshot: The engine as it was at the beginning.
        plan: Who is taken down.
        wishes: What is backed up.
        variables: The env file. Never logged.
        helpers: Runs containers.
        quiescer: Takes containers down and brings them back.
        look: Lists the engine anew.
        engine_name: Host name of the engine's machine; empty where it is not known.
        log: Where progress goes.
        findings: Filled on the way.
    """

    options: BackupOptions
    snapshot: EngineSnapshot
    plan: QuiescePlan
    wishes: Wishes
    variables: Mapping[str, str] = field(repr=False)
    helpers: Helpers
    quiescer: Quiescer
    look: Callable[[], EngineSnapshot]
    engine_name: str
    log: Log
    findings: Findings

    def restic(self, args: tuple[str, ...], purpose: str, *, quiet: bool = False) -> Ended:
        """Run restic in the image of this way of backing up.

        Raises:
            EngineError: The container could not be run.
            JournalError: The journal could not be written.
            InterruptedRunError: A stop signal came.
            RcbError: The image cannot be run as things are.
        """
        if self.options.kind == "rcb":
            spec = RunSpec(
                image=self.options.rcb_image,
                command=("restic", *args),
                env=rcb.environment(self.options, self.variables),
                binds=rcb.mounts(self.options, self.snapshot),
            )
        else:
            spec = RunSpec(
                image=self.options.restic_image,
                entrypoint=("restic",),
                command=args,
                env=self.variables,
                binds=self.options.mounts,
            )
        return self.helpers.run(spec, purpose, quiet=quiet)

    def list_snapshots(self) -> tuple[Snapshot, ...]:
        """Return the snapshots in the repository.

        Raises:
            ResticError: restic could not list them.
            EngineError: And the others as for :meth:`restic`.
        """
        ended = self.restic(("snapshots", "--json"), "snapshots", quiet=True)
        if ended.exit_code != 0:
            raise ResticError(f"restic cannot list the repository's snapshots: {why(ended)}")
        try:
            return snapshots.parse("\n".join(ended.output))
        except ValueError as error:
            raise ResticError(f"{error}; is {self.options.image} the right image?") from error


def why(ended: Ended) -> str:
    """Return in a few words why a command of restic failed, out of its exit code and its last lines."""
    lines = [line.strip() for line in ended.output if line.strip()]
    said = next(
        (line for line in lines if line.startswith("Fatal:")), lines[-1] if lines else "it said nothing"
    )
    hint = ""
    if ended.exit_code == NO_REPOSITORY or any("Is there a repository at" in line for line in lines):
        hint = "; make the repository with `restic init`, or mend RESTIC_REPOSITORY in the env file"
    elif any("repository is already locked" in line for line in lines):
        hint = "; another restic is at work, or one was killed: `restic unlock` removes a stale lock"
    return f"{said} (exit code {ended.exit_code}){hint}"
