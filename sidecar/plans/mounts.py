"""From what a container calls a path to what the host calls it, and from there to what Backrest sees.

Two steps, both pure. A container's path becomes a host path through the container's mounts; a host path becomes
the path to write through the mounts of the Backrest container (its *view*), when that is known.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sidecar.engine.model import Mount, Volume

DEFAULT_DOCKER_ROOT = "/var/lib/docker"

View = tuple[tuple[str, str], ...]
"""(host path, path in the Backrest container) of each of its mounts; empty when never seen."""


@dataclass(frozen=True, slots=True)
class PathRules:
    """The options that decide host paths.

    Attributes:
        docker_root: ``--docker-root``; empty when not given, and then a volume's own source counts.
        engine_root: What the engine says its data root is; only a base for ``volume_prefix``.
        volume_prefix: ``--volume-prefix``; empty for none.
        exclude_binds: ``--exclude-bind-mounts``.
        engine_socket: Path of the engine's socket on this side; no data wherever it is mounted.
    """

    docker_root: str = ""
    engine_root: str = ""
    volume_prefix: str = ""
    exclude_binds: bool = False
    engine_socket: str = ""


def under(path: str, base: str) -> str | None:
    """Return the remainder of ``path`` below ``base`` (empty when they are equal), or None when it is not below."""
    if path == base:
        return ""
    prefix = base if base.endswith("/") else f"{base}/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def join(base: str, rest: str) -> str:
    """Return ``base`` with ``rest`` appended; ``rest`` may be empty."""
    return posixpath.join(base, rest) if rest else base


def volume_path(mount: Mount, rules: PathRules, volumes: Mapping[str, Volume]) -> str:
    """Return where a volume's root lies, after ``--volume-prefix``; empty when it has no path on this host.

    With ``--docker-root`` every volume of the local driver is ``<root>/volumes/<name>/_data``, whatever the
    engine reports (contract §2); without it the engine's own answer counts, which is right for a moved root,
    rootless, and other drivers.
    """
    driver = mount.driver or "local"
    if rules.docker_root and driver == "local" and mount.name:
        source = f"{rules.docker_root}/volumes/{mount.name}/_data"
    else:
        volume = volumes.get(mount.name)
        source = mount.source or (volume.mountpoint if volume else "")
        if not source and driver == "local" and mount.name:
            source = f"{rules.engine_root or DEFAULT_DOCKER_ROOT}/volumes/{mount.name}/_data"
    if rules.volume_prefix and source:
        base = f"{rules.docker_root or rules.engine_root or DEFAULT_DOCKER_ROOT}/volumes"
        rest = under(source, base)
        if rest is not None:
            return join(rules.volume_prefix, rest)
    return source


def host_path(mount: Mount, rules: PathRules, volumes: Mapping[str, Volume]) -> str:
    """Return the host path of a mount; empty for one that has none (tmpfs, npipe, a driver without a path)."""
    if mount.type == "bind":
        return mount.source
    if mount.type in {"volume", "cluster"}:
        root = volume_path(mount, rules, volumes)
        return join(root, mount.subpath) if root else ""
    return ""


def longest_mount(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """Return the mount whose destination is the longest prefix of ``path``, or None."""
    best: Mount | None = None
    best_length = -1
    for mount in mounts:
        destination = posixpath.normpath(mount.destination) if mount.destination else ""
        if destination and under(path, destination) is not None and len(destination) > best_length:
            best, best_length = mount, len(destination)
    return best


def through_mount(path: str, mount: Mount, rules: PathRules, volumes: Mapping[str, Volume]) -> str:
    """Return the host path of a container path below ``mount``; empty when the mount has none."""
    source = host_path(mount, rules, volumes)
    rest = under(path, posixpath.normpath(mount.destination)) or ""
    return join(source, rest) if source else ""


def in_view(path: str, view: View) -> str | None:
    """Return a host path as Backrest sees it, or None when it does not see it.

    The mount with the longest matching source wins, unless another mount of Backrest lies over that place.
    """
    hits = ((source, inside) for source, inside in view if under(path, source) is not None)
    for source, inside in sorted(hits, key=lambda pair: len(pair[0]), reverse=True):
        seen = join(inside, under(path, source) or "")
        covering = max(
            (pair for pair in view if under(seen, pair[1]) is not None), key=lambda pair: len(pair[1])
        )
        if covering == (source, inside):
            return seen
    return None


def in_host(path: str, view: View) -> str | None:
    """Return the host path of what Backrest calls ``path``, or None where that lies on none of its mounts."""
    best = max(
        (pair for pair in view if under(path, pair[1]) is not None),
        key=lambda pair: len(pair[1]),
        default=None,
    )
    return None if best is None else join(best[0], under(path, best[1]) or "")


def view_of(mounts: Iterable[Mount]) -> View:
    """Return the view that a Backrest container with these mounts has."""
    return tuple(
        sorted(
            (posixpath.normpath(m.source), posixpath.normpath(m.destination))
            for m in mounts
            if m.type in {"bind", "volume"} and m.source and m.destination
        )
    )


def compose_line(path: str) -> str:
    """Return the line of a Compose file that would let Backrest see ``path``."""
    return f"- {path}:{path}:ro"
