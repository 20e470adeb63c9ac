"""What ``--engine restic`` backs up: for each plan of each workload one ``restic backup``. Pure.

A workload's mounts appear read-only below ``<prefix>[/<project>]/<service>``, each at its own destination, and
that directory is what restic is given. So ``restic forget --path`` with the same directory selects exactly the
workload's snapshots.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sidecar import naming
from sidecar.engine_types import Bind
from sidecar.labels import PlanLabels, VolumeLabels
from sidecar.model import COMPOSE_NUMBER, Container, Mount, printable
from sidecar.naming import Workload
from sidecar.paths import PathRules, is_special, join, longest_mount, under
from sidecar.retention import Keep

_SEGMENT = re.compile(r"[^A-Za-z0-9._-]")


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
    """

    workload: Workload
    plan_id: str
    containers: tuple[str, ...]
    root: str
    paths: tuple[str, ...]
    binds: tuple[Bind, ...]
    excludes: tuple[str, ...] = ()
    keep: Keep | None = None

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
    """

    workload: Workload
    plan_id: str
    containers: tuple[Container, ...]
    labels: PlanLabels | None = None
    only_volumes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class SetRules:
    """The options that decide where things are mounted.

    Attributes:
        prefix: ``--restic-path-prefix``.
        include_project: ``--include-project-name``.
        exclude_binds: ``--exclude-bind-mounts``.
        engine_socket: Path of the engine's socket; never backed up.
        allowed: ``--allow-path``; empty allows any.
        volume_labels: Labels of volumes that have any, by name.
    """

    prefix: str = "/volumes"
    include_project: bool = False
    exclude_binds: bool = False
    engine_socket: str = ""
    allowed: tuple[str, ...] = ()
    volume_labels: Mapping[str, VolumeLabels] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BackupSets:
    """The backups, sorted by workload; notes for people; workloads that have nothing to back up."""

    sets: tuple[BackupSet, ...] = ()
    notes: tuple[str, ...] = ()
    empty: tuple[Workload, ...] = ()


def restic_root(workload: Workload, prefix: str, *, include_project: bool) -> str:
    """Return ``<prefix>[/<project>]/<service>``, with raw names as rcb has them.

    What could climb out of the directory, or hide in it, is replaced by ``_``: names come from labels.
    """
    parts = [workload.project] if include_project and workload.project else []
    parts.append(workload.service or workload.container)
    return posixpath.join(prefix, *(_segment(part) for part in parts))


def build(wishes: Sequence[Wish], rules: SetRules) -> BackupSets:
    """Return the backups for these wishes.

    Two workloads that would share a directory both get one with their project in it, and it is said: their
    snapshots must stay apart, or one's retention would forget the other's.
    """
    notes: list[str] = []
    sets: list[BackupSet] = []
    empty: list[Workload] = []
    roots = _roots(wishes, rules, notes)
    for wish in sorted(wishes, key=lambda w: w.workload):
        found = _build(wish, roots[wish.workload.base], rules, notes)
        if found is None:
            empty.append(wish.workload)
        else:
            sets.append(found)
    return BackupSets(tuple(sets), tuple(dict.fromkeys(notes)), tuple(empty))


def _roots(wishes: Sequence[Wish], rules: SetRules, notes: list[str]) -> dict[Workload, str]:
    """Return the directory of each workload, no two the same."""
    bases = sorted({wish.workload.base for wish in wishes})
    sharing: dict[str, list[Workload]] = {}
    for base in bases:
        root = restic_root(base, rules.prefix, include_project=rules.include_project)
        sharing.setdefault(root, []).append(base)
    roots: dict[Workload, str] = {}
    for root, several in sharing.items():
        if len(several) > 1:
            names = " and ".join(map(str, several))
            notes.append(
                f"{names} would share {root}; each gets its project in its path (--include-project-name)"
            )
        for base in several:
            mine = root if len(several) == 1 else restic_root(base, rules.prefix, include_project=True)
            taken = mine in roots.values() or (len(several) > 1 and mine == root)
            roots[base] = f"{mine}_{naming.stable_minute(base.key)}{len(roots)}" if taken else mine
    return roots


def _build(wish: Wish, root: str, rules: SetRules, notes: list[str]) -> BackupSet | None:
    binds: dict[str, Bind] = {}
    paths: dict[str, None] = {}
    excludes: dict[str, None] = {}
    include = wish.labels.include if wish.labels else ()
    for number, container in enumerate(wish.containers, start=1):
        mounts = tuple(_mounts(container, wish, rules, notes))
        base = root
        if any(binds.get(join_root(root, m.destination), _bind(m, root)) != _bind(m, root) for m in mounts):
            base = posixpath.join(root, f"replica-{container.labels.get(COMPOSE_NUMBER) or number}")
        wanted = (
            mounts if not include else tuple(_included(container, mounts, include, base, paths, notes, rules))
        )
        for mount in wanted:
            bind = _bind(mount, base)
            binds[bind.target] = bind
        excludes.update(dict.fromkeys(_excludes(mounts, wish, base, rules)))
    if not binds:
        notes.append(f"{wish.workload} has no volume or bind mount to back up")
        return None
    return BackupSet(
        workload=wish.workload,
        plan_id=wish.plan_id,
        containers=tuple(c.id for c in wish.containers),
        root=root,
        paths=tuple(paths) or (root,),
        binds=tuple(binds[target] for target in sorted(binds)),
        excludes=tuple(excludes),
        keep=wish.labels.keep if wish.labels else None,
    )


def _mounts(container: Container, wish: Wish, rules: SetRules, notes: list[str]) -> Iterator[Mount]:
    """Yield the mounts of a container that hold data worth a backup."""
    for mount in container.mounts:
        if mount.type in {"volume", "cluster"}:
            labels = rules.volume_labels.get(mount.name)
            asked = wish.only_volumes is None or mount.name in wish.only_volumes
            if asked and not (labels and labels.enable is False) and (mount.name or mount.source):
                yield mount
        elif mount.type == "bind" and not rules.exclude_binds and wish.only_volumes is None:
            if is_special(mount.source, PathRules(engine_socket=rules.engine_socket)):
                notes.append(
                    f"{printable(mount.source)} of {container.name} is a socket or device and is left out"
                )
            else:
                yield mount


def _included(
    container: Container,
    mounts: Sequence[Mount],
    include: Sequence[str],
    base: str,
    paths: dict[str, None],
    notes: list[str],
    rules: SetRules,
) -> Iterator[Mount]:
    """Yield the mounts that the included paths need, and put those paths down as arguments for restic."""
    for raw in include:
        path = posixpath.normpath(raw)
        mount = longest_mount(path, mounts)
        below = [
            m for m in mounts if m is not mount and under(posixpath.normpath(m.destination), path) is not None
        ]
        if mount is None and not below:
            if longest_mount(path, container.mounts) is not None:
                notes.append(f"{printable(raw)} of {container.name} lies on a mount that is left out")
                continue
            if rules.allowed and all(under(path, prefix) is None for prefix in rules.allowed):
                notes.append(
                    f"{printable(raw)} of {container.name} is below none of --allow-path and is left out"
                )
                continue
            notes.append(
                f"{printable(raw)} of {container.name} lies under no mount; it is taken from the host"
            )
            mount = Mount("bind", path, path)
        paths[join_root(base, path)] = None
        if mount is not None:
            yield mount
        yield from below


def _excludes(mounts: Sequence[Mount], wish: Wish, base: str, rules: SetRules) -> Iterator[str]:
    for pattern in wish.labels.exclude if wish.labels else ():
        under_mount = pattern.startswith("/") and longest_mount(pattern, mounts) is not None
        yield join_root(base, pattern) if under_mount else pattern
    for mount in mounts:
        labels = rules.volume_labels.get(mount.name) if mount.name else None
        for pattern in labels.exclude if labels else ():
            inside = join_root(base, mount.destination)
            yield f"{inside}{pattern}" if pattern.startswith("/") else f"{inside}/**/{pattern}"


def join_root(root: str, path: str) -> str:
    """Return an absolute path as it stands below ``root``."""
    return join(root, posixpath.normpath(path).lstrip("/"))


def _bind(mount: Mount, root: str) -> Bind:
    source = mount.name if mount.type != "bind" and mount.name else mount.source
    return Bind(source, join_root(root, mount.destination), read_only=True)


def _segment(text: str) -> str:
    clean = _SEGMENT.sub("_", text)
    return clean if clean.strip(".") else clean.replace(".", "_") or "_"
