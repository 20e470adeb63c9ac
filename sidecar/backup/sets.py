"""What ``--engine restic`` backs up: for each plan of each workload one ``restic backup``. Pure.

A workload's mounts appear read-only below ``<prefix>/<project>/<service>``, each at its own destination, and that
directory is what restic is given. So ``restic forget --path`` with the same directory selects exactly the workload's
snapshots. No two workloads share a directory, and none has another one because of others beside it: a directory that
changed would begin a new history, and nothing would ever be forgotten of the old one.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sidecar.engine.model import COMPOSE_NUMBER, Container, Mount
from sidecar.engine.types import Bind
from sidecar.labels.patterns import below, clean, escape, split_negation
from sidecar.labels.policy import PlanLabels, VolumeLabels
from sidecar.labels.retention import Keep
from sidecar.plans.chosen import Exclude, SelectionRules
from sidecar.plans.excludes import inside_mount
from sidecar.plans.mounts import PathRules, join, under
from sidecar.plans.selection import select
from sidecar.plans.workloads import Workload

_SEGMENT = re.compile(r"[^A-Za-z0-9._-]")
_NO_PROJECT = "_"


@dataclass(frozen=True, slots=True)
class BackupSet:
    """One backup.

    Attributes:
        workload: The plan that it belongs to.
        plan_id: Its plan id, for the tag.
        containers: Ids of the containers whose data it is.
        root: The directory below which everything is mounted.
        paths: What restic is given: ``root``, or the included paths below it.
        binds: The mounts, read-only.
        excludes: For ``--exclude``.
        keep: What its label says about keeping, None without one.
        alone: Whether the workload's labels name no other plan, right or wrong.
    """

    workload: Workload
    plan_id: str
    containers: tuple[str, ...]
    root: str
    paths: tuple[str, ...]
    binds: tuple[Bind, ...]
    excludes: tuple[str, ...] = ()
    keep: Keep | None = None
    alone: bool = True

    @property
    def sources(self) -> frozenset[str]:
        """Volumes and host paths that it reads."""
        return frozenset(bind.source for bind in self.binds)


@dataclass(frozen=True, slots=True)
class Wish:
    """A plan that labels (or a quiesce label alone) ask for, before its mounts were looked at.

    Attributes:
        workload: The workload, with the plan's name.
        plan_id: Its id.
        containers: One container a replica.
        labels: The plan's labels; None for a workload that is only quiesced.
        only_volumes: Names of the volumes to take; None for all.
        alone: Whether the workload's labels name no other plan, right or wrong.
    """

    workload: Workload
    plan_id: str
    containers: tuple[Container, ...]
    labels: PlanLabels | None = None
    only_volumes: frozenset[str] | None = None
    alone: bool = True


@dataclass(frozen=True, slots=True)
class SetRules:
    """The options that decide where things are mounted.

    Attributes:
        prefix: ``--restic-path-prefix``.
        exclude_binds: ``--exclude-bind-mounts``.
        engine_socket: Path of the engine's socket; never backed up.
        allowed: ``--allow-path``; empty allows any.
        volume_labels: Labels of volumes that have any, by name.
    """

    prefix: str = "/volumes"
    exclude_binds: bool = False
    engine_socket: str = ""
    allowed: tuple[str, ...] = ()
    volume_labels: Mapping[str, VolumeLabels] = field(default_factory=dict)

    @property
    def selection(self) -> SelectionRules:
        """The part of it that ``selection`` needs."""
        paths = PathRules(exclude_binds=self.exclude_binds, engine_socket=self.engine_socket)
        return SelectionRules(paths, self.volume_labels, self.allowed)


@dataclass(frozen=True, slots=True)
class BackupSets:
    """The backups, sorted by workload.

    Attributes:
        sets: The backups.
        notes: Oddities, one sentence each.
        empty: Workloads that have nothing to back up.
        broken: One sentence for each that is left out because of a wrong label.
    """

    sets: tuple[BackupSet, ...] = ()
    notes: tuple[str, ...] = ()
    empty: tuple[Workload, ...] = ()
    broken: tuple[str, ...] = ()


def directory(workload: Workload, prefix: str) -> str:
    """Return the directory of a workload: a function of its name alone, and no two workloads have one.

    ``<prefix>/<project>/<service>``; ``_`` stands for no project, and a bare container is ``<prefix>/<container>``.
    What could climb out of the directory, or hide in it, is replaced by ``_``, with six hex digits of the name's
    hash behind it: names come from labels.
    """
    if workload.service:
        project = _segment(workload.project) or _NO_PROJECT
        return posixpath.join(prefix, project, _segment(workload.service))
    return posixpath.join(prefix, _segment(workload.container))


def build(wishes: Sequence[Wish], rules: SetRules) -> BackupSets:
    """Return the backups for these wishes."""
    notes: list[str] = []
    sets: list[BackupSet] = []
    empty: list[Workload] = []
    broken: list[str] = []
    for wish in sorted(wishes, key=lambda w: w.workload):
        wrong = len(broken)
        found = _build(wish, directory(wish.workload.base, rules.prefix), rules, notes, broken)
        if found is not None:
            sets.append(found)
        elif len(broken) == wrong:
            empty.append(wish.workload)
    return BackupSets(tuple(sets), tuple(dict.fromkeys(notes)), tuple(empty), tuple(dict.fromkeys(broken)))


def _build(wish: Wish, root: str, rules: SetRules, notes: list[str], broken: list[str]) -> BackupSet | None:
    binds: dict[str, Bind] = {}
    paths: dict[str, None] = {}
    excludes: list[tuple[str, Exclude]] = []
    labels = wish.labels or PlanLabels()
    for number, container in enumerate(wish.containers, start=1):
        chosen = select(container, labels, rules.selection, only_enabled=wish.only_volumes is not None)
        wrong = [finding.message for finding in chosen.findings if finding.skips]
        if wrong:
            broken += wrong
            return None
        notes += (finding.message for finding in chosen.findings)
        mounts = [pick.mount or Mount("bind", pick.path, pick.path) for pick in chosen.picks]
        base = root
        if any(binds.get(join_root(root, m.destination), _bind(m, root)) != _bind(m, root) for m in mounts):
            base = posixpath.join(root, f"replica-{container.labels.get(COMPOSE_NUMBER) or number}")
        binds.update((bind.target, bind) for bind in (_bind(mount, base) for mount in mounts))
        for raw in labels.include:
            path = clean(raw)
            if any(under(pick.path, path) is not None for pick in chosen.picks):
                paths[join_root(base, path)] = None
        excludes += ((base, exclude) for exclude in chosen.excludes)
    if not binds:
        notes.append(f"{wish.workload} has no volume or bind mount to back up")
        return None
    given = tuple(paths) or (root,)
    return BackupSet(
        workload=wish.workload,
        plan_id=wish.plan_id,
        containers=tuple(c.id for c in wish.containers),
        root=root,
        paths=given,
        binds=tuple(binds[target] for target in sorted(binds)),
        excludes=tuple(dict.fromkeys(p for base, one in excludes for p in _patterns(one, base, given))),
        keep=wish.labels.keep if wish.labels else None,
        alone=wish.alone,
    )


def _patterns(exclude: Exclude, base: str, paths: Sequence[str]) -> Iterator[str]:
    """Yield the patterns that restic is to be given for one exclude."""
    mark, rest = split_negation(exclude.pattern)
    if exclude.mount is not None:
        inside = inside_mount(exclude)
        if inside is not None:
            mark, rest = split_negation(inside)
            yield f"{mark}{escape(join_root(base, exclude.mount.destination))}/{rest}"
    elif not rest.startswith(
        "/"
    ):  # else it names no place in the container, and here nothing of the host is seen
        yield from (below(path, exclude.pattern) for path in paths)


def join_root(root: str, path: str) -> str:
    """Return an absolute path as it stands below ``root``."""
    return join(root, posixpath.normpath(path).lstrip("/"))


def _bind(mount: Mount, root: str) -> Bind:
    source = mount.name if mount.type != "bind" and mount.name else mount.source
    return Bind(source, join_root(root, mount.destination), read_only=True, subpath=mount.subpath)


def _segment(text: str) -> str:
    clean = _SEGMENT.sub("_", text)
    clean = clean if clean.strip(".") else clean.replace(".", "_")
    if clean == text != _NO_PROJECT:
        return clean
    return f"{clean}_{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:6]}"
