"""What a run of ``backup-once`` does, step by step: made once, told by a dry run, done by a run. Pure.

A step holds all that is needed to do it, so that what is told is what is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sidecar.backup import rcb
from sidecar.backup.sets import BackupSet
from sidecar.backup.snapshots import Snapshot
from sidecar.engine.types import RunSpec
from sidecar.labels.retention import Keep
from sidecar.plans.workloads import Workload
from sidecar.quiesce.records import Mode
from sidecar.quiesce.selection import QuiescePlan, Target


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """Something that is not backed up because of a wrong label; ``reason`` is a sentence."""

    reason: str

    def words(self) -> Iterator[str]:
        """Yield what is done, for people."""
        yield f"leave out: {self.reason}"


@dataclass(frozen=True, slots=True)
class Tell:
    """Something that a person should know; ``text`` is a sentence."""

    text: str

    def words(self) -> Iterator[str]:
        """Yield what is done, for people."""
        yield f"note: {self.text}"


@dataclass(frozen=True, slots=True)
class End:
    """There is nothing to back up."""

    def words(self) -> Iterator[str]:
        """Yield what is done, for people."""
        yield "end, since no workload has anything to back up"


@dataclass(frozen=True, slots=True)
class ListSnapshots:
    """List the snapshots in the repository.

    Attributes:
        image: The image that restic runs in.
        again: After a backup, when there must be a new one.
    """

    image: str
    again: bool = False

    def words(self) -> Iterator[str]:
        """Yield what is done, for people."""
        if self.again:
            yield "list the snapshots again: there must be a new one"
        else:
            yield f"list the snapshots in the repository, in {self.image}"


@dataclass(frozen=True, slots=True)
class RunRestic:
    """Back one set up.

    Attributes:
        backup: What.
        host: The host name of its snapshots.
        spec: The container that does it.
    """

    backup: BackupSet
    host: str
    spec: RunSpec

    def words(self) -> Iterator[str]:
        """Yield what is done, for people."""
        backup = self.backup
        what = ", ".join(f"{bind.source} at {bind.target}" for bind in backup.binds)
        excludes = f", without {' '.join(backup.excludes)}" if backup.excludes else ""
        yield f"back up {backup.workload} as {' '.join(backup.paths)} of host {self.host}: {what}{excludes}"


@dataclass(frozen=True, slots=True)
class RunRcb:
    """Run rcb.

    Attributes:
        project: The Compose project that it looks at; empty for none.
        spec: The container that does it.
    """

    project: str
    spec: RunSpec

    def words(self) -> Iterator[str]:
        """Yield what is done, for people."""
        where = f" as part of project {self.project}" if self.project else ""
        yield f"run `{' '.join(self.spec.command)}` in {self.spec.image}{where}"


@dataclass(frozen=True, slots=True)
class WhileDown:
    """Take containers down, do some work, and bring them back, whatever comes of it.

    Attributes:
        targets: The containers, in the order in which they come up.
        mode: Stop or pause.
        work: What is done meanwhile.
    """

    targets: tuple[Target, ...]
    mode: Mode
    work: tuple[RunRestic, ...] | tuple[RunRcb]

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the containers."""
        return tuple(target.container.id for target in self.targets)

    def words(self) -> Iterator[str]:
        """Yield what is done, for people."""
        waves = QuiescePlan(self.targets).waves()
        for wave in reversed(waves):
            for target in wave:
                yield _down(target, self.mode)
        for one in self.work:
            yield from one.words()
        for wave in waves:
            for target in wave:
                yield _up(target, self.mode)


@dataclass(frozen=True, slots=True)
class FindUnseen:
    """Find the quiesced containers that are not in rcb's backup.

    Attributes:
        project: The project that rcb looked at.
        expected: Those of which it is known beforehand.
    """

    project: str
    expected: tuple[rcb.Unseen, ...]

    def words(self) -> Iterator[str]:
        """Yield what is done, for people."""
        for unseen in self.expected:
            yield f"say that {unseen.container} is not in the backup: {unseen.reason}; {rcb.ADVICE}"


@dataclass(frozen=True, slots=True)
class Forget:
    """One ``restic forget``, after the backup of all that it is about.

    Attributes:
        plans: The plans that it is about.
        paths: A snapshot must have all of them.
        keep: What to keep.
        group_by: ``--restic-group-by``.
        tag: A snapshot must have it; empty for no such condition.
        host: A snapshot must be of this host; empty for no such condition.
        why: Why nothing is forgotten although a label says what to keep; empty otherwise.
    """

    plans: tuple[Workload, ...]
    paths: tuple[str, ...]
    keep: Keep
    group_by: str
    tag: str = ""
    host: str = ""
    why: str = ""

    @property
    def name(self) -> str:
        """Of what, for people."""
        return ", ".join(map(str, self.plans))

    def selects(self, snapshot: Snapshot) -> bool:
        """Whether ``restic forget`` would look at this snapshot."""
        return (
            all(snapshot.has(path) for path in self.paths)
            and (not self.tag or self.tag in snapshot.tags)
            and (not self.host or self.host == snapshot.host)
        )

    def arguments(self) -> tuple[str, ...]:
        """Return restic's arguments; empty where nothing is to be forgotten."""
        flags = () if self.why else self.keep.forget_flags()
        if not flags:
            return ()
        selection = [part for path in self.paths for part in ("--path", path)]
        if self.tag:
            selection += ["--tag", self.tag]
        if self.host:
            selection += ["--host", self.host]
        return ("forget", "--group-by", self.group_by, *selection, *flags, "--prune")

    def words(self) -> Iterator[str]:
        """Yield what is done, for people."""
        arguments = self.arguments()
        if arguments:
            yield f"forget: restic {' '.join(arguments)}"
        else:
            yield f"forget nothing of {self.name}: {self.why or self.keep.words()}"


Step = LeaveOut | Tell | End | ListSnapshots | WhileDown | FindUnseen | Forget


def _down(target: Target, mode: Mode) -> str:
    why = f" ({target.why})" if target.why else ""
    if mode == "pause":
        return f"pause {target.name}{why}"
    if target.service:
        return f"scale {target.name} from {target.service.replicas} to 0{why}"
    return f"stop {target.name}, which has {target.grace:g} s to do so{why}"


def _up(target: Target, mode: Mode) -> str:
    if target.service:
        return f"scale {target.name} back to {target.service.replicas}"
    return f"{'unpause' if mode == 'pause' else 'start'} {target.name}"
