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

from sidecar.engine_types import Bind
from sidecar.labels import PlanLabels, VolumeLabels
from sidecar.model import COMPOSE_NUMBER, Container, Mount, printable
from sidecar.naming import Workload
from sidecar.paths import PathRules, is_special, join, longest_mount, under
from sidecar.retention import Keep

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


@dataclass(frozen=True, slots=True)
class BackupSets:
    """The backups, sorted by workload; notes for people; workloads that have nothing to back up."""

    sets: tuple[BackupSet, ...] = ()
    notes: tuple[str, ...] = ()
    empty: tuple[Workload, ...] = ()


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
    for wish in sorted(wishes, key=lambda w: w.workload):
        found = _build(wish, directory(wish.workload.base, rules.prefix), rules, notes)
        if found is None:
            empty.append(wish.workload)
        else:
            sets.append(found)
    return BackupSets(tuple(sets), tuple(dict.fromkeys(notes)), tuple(empty))


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
        alone=wish.alone,
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
    clean = clean if clean.strip(".") else clean.replace(".", "_")
    if clean == text != _NO_PROJECT:
        return clean
    return f"{clean}_{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:6]}"
