"""The paths and excludes of one plan, out of mounts and labels. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sidecar.labels import VolumeLabels
from sidecar.model import Container, Finding, Mount, Volume, printable
from sidecar.paths import (
    PathRules,
    View,
    compose_line,
    host_path,
    in_view,
    is_special,
    longest_mount,
    through_mount,
    under,
)


@dataclass(frozen=True, slots=True)
class PathContext:
    """What all plans of one rendering share when paths are worked out.

    Attributes:
        rules: The options.
        volumes: The engine's volumes.
        volume_labels: Labels of those volumes that carry any.
        allowed: ``--allow-path`` prefixes; empty allows every path.
        view: How Backrest sees host paths; empty for not at all known.
    """

    rules: PathRules
    volumes: Mapping[str, Volume]
    volume_labels: Mapping[str, VolumeLabels]
    allowed: tuple[str, ...] = ()
    view: View = ()


@dataclass(slots=True)
class PathDraft:
    """Paths as they are to be written, with what was found on the way.

    Attributes:
        paths: Sorted, without doubles.
        excludes: In label order, without doubles.
        findings: Skips and warnings.
        unseen: Host paths that Backrest does not see.
    """

    paths: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    @property
    def skipped(self) -> bool:
        """Whether there is no plan to be made of this."""
        return any(finding.skips for finding in self.findings)


def draft_paths(
    containers: Sequence[Container],
    include: Sequence[str],
    exclude: Sequence[str],
    context: PathContext,
    *,
    only_enabled_volumes: bool = False,
) -> PathDraft:
    """Return the paths of one plan: the union over the containers (replicas) of its workload.

    Args:
        containers: At least one.
        include: ``backrest.paths.include``; empty means every mount.
        exclude: ``backrest.paths.exclude``.
        context: Options, volumes, view.
        only_enabled_volumes: Take volumes labelled ``backrest.enable=true`` alone, for a container that asks
            for nothing itself.
    """
    draft = PathDraft()
    found: dict[str, None] = {}
    for container in containers:
        if include:
            hosts = _included(container, include, context, draft)
        else:
            hosts = _discovered(container, context, draft, only_enabled_volumes)
        found.update(dict.fromkeys(hosts))
    name = containers[0].name
    if not found and not draft.skipped:
        what = (
            "none of its paths.include leads to one" if include else "it has no mount that can be backed up"
        )
        text = f"{name} has no path to back up: {what}; set backrest.paths.include"
        draft.findings.append(Finding("no-path", text, container=name, skips=True))
    draft.paths = tuple(sorted({_seen(path, name, context, draft) for path in found}))
    excludes = dict.fromkeys(
        entry
        for container in containers
        for entry in (*_excluded(container, exclude, context), *_volume_excludes(container, context))
    )
    draft.excludes = tuple(excludes)
    draft.findings = list(dict.fromkeys(draft.findings))
    return draft


def _discovered(
    container: Container, context: PathContext, draft: PathDraft, only_enabled: bool
) -> Iterator[str]:
    for mount in container.mounts:
        labels = context.volume_labels.get(mount.name) if mount.type == "volume" else None
        if labels is not None and labels.enable is False:
            continue
        if only_enabled and (labels is None or not labels.enable):
            continue
        if mount.type == "bind" and (
            context.rules.exclude_binds or _left_out(container, mount, context, draft)
        ):
            continue
        path = host_path(mount, context.rules, context.volumes)
        if path:
            _tell_mounted_on_use(container, mount, path, context, draft)
            yield posixpath.normpath(path)
        elif mount.type in {"volume", "cluster"}:
            text = (
                f"volume {printable(mount.name)} of {container.name} (driver {printable(mount.driver)}) has no path "
                "on this host and is not backed up; back it up where it lives"
            )
            draft.findings.append(Finding("volume-without-path", text, container=container.name))


def _tell_mounted_on_use(
    container: Container, mount: Mount, path: str, context: PathContext, draft: PathDraft
) -> None:
    """Warn of a volume of the local driver that the engine mounts (``o=bind``, NFS, …) for its users alone.

    When its last container stops, its directory is empty (moby: volume/local/local_unix.go, Unmount), and a mount
    that is made later does not reach a container that has the directory above it, for binds are private. Backrest
    reads the data for certain only when it mounts the volume itself.
    """
    volume = context.volumes.get(mount.name) if mount.type == "volume" else None
    if volume is None or volume.driver != "local" or not volume.options.get("device"):
        return
    if any(source == posixpath.normpath(path) for source, _ in context.view):
        return
    kind = volume.options.get("type") or "a mount"
    if kind == "none":
        kind = "a bind mount"
    text = (
        f"volume {printable(mount.name)} of {container.name} is {printable(kind)} that the engine makes only while "
        "a container uses the volume: Backrest may find an empty directory there; add to the volumes of the Backrest "
        f'service: "- {printable(mount.name)}:{printable(path)}:ro"'
    )
    draft.findings.append(
        Finding("volume-mounted-on-use", text, container=container.name, value=printable(mount.name))
    )


def _left_out(container: Container, mount: Mount, context: PathContext, draft: PathDraft) -> bool:
    if not is_special(mount.source, context.rules):
        return False
    text = f"{printable(mount.source)} of {container.name} is a socket or device of the host and is left out"
    draft.findings.append(Finding("special-file", text, container=container.name))
    return True


def _included(
    container: Container, include: Sequence[str], context: PathContext, draft: PathDraft
) -> Iterator[str]:
    for raw in include:
        path = posixpath.normpath(raw)
        mount = longest_mount(path, container.mounts)
        if mount is None:
            if _allowed(container, raw, path, context, draft):
                yield path
            continue
        if _kept_out(container, raw, mount, context, draft):
            continue
        host = through_mount(path, mount, context.rules, context.volumes)
        if host:
            base = host_path(mount, context.rules, context.volumes)
            _tell_mounted_on_use(container, mount, base, context, draft)
            yield posixpath.normpath(host)
            continue
        text = (
            f"{printable(raw)} of {container.name} lies on a {mount.type} mount, which has no path on the host; "
            "it is left out"
        )
        draft.findings.append(
            Finding(
                "no-host-path",
                text,
                container=container.name,
                label="backrest.paths.include",
                value=printable(raw),
            )
        )


def _kept_out(container: Container, raw: str, mount: Mount, context: PathContext, draft: PathDraft) -> bool:
    """Whether the volume says no for itself: that counts wherever it is mounted, asked for or not."""
    labels = context.volume_labels.get(mount.name) if mount.type == "volume" else None
    if labels is None or labels.enable is not False:
        return False
    text = (
        f"{printable(raw)} of {container.name} lies on volume {printable(mount.name)}, which says "
        "backrest.enable=false; it is left out"
    )
    label = "backrest.paths.include"
    draft.findings.append(
        Finding("volume-left-out", text, container=container.name, label=label, value=printable(raw))
    )
    return True


def _allowed(container: Container, raw: str, path: str, context: PathContext, draft: PathDraft) -> bool:
    shown = printable(raw)
    if context.allowed and all(under(path, prefix) is None for prefix in context.allowed):
        text = (
            f"{container.name}: backrest.paths.include names {shown}, which lies under no mount of the container "
            f"and below none of --allow-path {' '.join(context.allowed)}"
        )
        draft.findings.append(
            Finding(
                "path-not-allowed",
                text,
                container=container.name,
                label="backrest.paths.include",
                value=shown,
                skips=True,
            )
        )
        return False
    text = (
        f"{container.name}: {shown} lies under no mount of the container; it is taken as a path of the host"
    )
    draft.findings.append(
        Finding(
            "path-under-no-mount", text, container=container.name, label="backrest.paths.include", value=shown
        )
    )
    return True


def _excluded(container: Container, exclude: Sequence[str], context: PathContext) -> Iterator[str]:
    for pattern in exclude:
        mount = longest_mount(pattern, container.mounts) if pattern.startswith("/") else None
        host = through_mount(pattern, mount, context.rules, context.volumes) if mount else ""
        yield (in_view(host, context.view) or host) if host else pattern


def _volume_excludes(container: Container, context: PathContext) -> Iterator[str]:
    """Excludes labelled on a volume are relative to that volume and must not reach beyond it."""
    for mount in container.mounts:
        labels = context.volume_labels.get(mount.name) if mount.type == "volume" else None
        if labels is None or not labels.exclude:
            continue
        host = host_path(mount, context.rules, context.volumes)
        base = in_view(host, context.view) or host if host else ""
        for pattern in labels.exclude if base else ():
            yield f"{base}{pattern}" if pattern.startswith("/") else f"{base}/**/{pattern}"


def _seen(path: str, name: str, context: PathContext, draft: PathDraft) -> str:
    if not context.view:
        return path
    seen = in_view(path, context.view)
    if seen is not None:
        return seen
    draft.unseen.append(path)
    text = (
        f"{name}: Backrest does not see {printable(path)}, its backup will fail; "
        f'add to the volumes of the Backrest service: "{compose_line(path)}"'
    )
    draft.findings.append(Finding("invisible-path", text, container=name, value=printable(path)))
    return path
