"""Which paths of the host hold no data worth a backup, although containers mount them. Pure.

Decided by name alone, since the host's files need not be visible here. An explicit ``backrest.paths.include`` takes
such a path all the same.
"""

from __future__ import annotations

from sidecar.plans.mounts import DEFAULT_DOCKER_ROOT, PathRules, under

_DEVICES = ("/dev", "/proc", "/sys")
_HOST_TREES = (
    "/boot",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/pki",
    "/etc/ssl/certs",
    "/lib/firmware",
    "/lib/modules",
    "/run",
    "/tmp/.X11-unix",  # noqa: S108  # a name to compare with, nothing is made there
    "/usr/lib/firmware",
    "/usr/lib/modules",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/usr/src",
    "/var/run",
)
_HOST_FILES = frozenset(
    f"/etc/{name}"
    for name in (
        "group",
        "group-",
        "gshadow",
        "hostname",
        "hosts",
        "ld.so.cache",
        "localtime",
        "machine-id",
        "mtab",
        "nsswitch.conf",
        "os-release",
        "passwd",
        "passwd-",
        "resolv.conf",
        "shadow",
        "subgid",
        "subuid",
        "timezone",
    )
) | {"/usr/lib/os-release", "/var/lib/dbus/machine-id"}
_WITH_DATA = ("/run/desktop/mnt", "/run/media", "/var/run/desktop/mnt", "/var/run/media")
"""Where desktops mount disks, and Docker Desktop the directories of its Windows host: they hold data."""
_ENGINES = frozenset(
    {
        "aufs",
        "btrfs",
        "buildkit",
        "builder",
        "cache",
        "containerd",
        "containers",
        "devicemapper",
        "engine-id",
        "fuse-overlayfs",
        "image",
        "libpod",
        "mounts",
        "network",
        "networks",
        "overlay",
        "overlay-containers",
        "overlay-images",
        "overlay-layers",
        "overlay2",
        "plugins",
        "rootfs",
        "runtimes",
        "secrets",
        "swarm",
        "tmp",
        "trust",
        "vfs",
        "vfs-containers",
        "vfs-images",
        "vfs-layers",
        "zfs",
    }
)
"""What Docker and Podman keep in their data root; whatever else is in it, a person has put there."""


def why_no_data(path: str, rules: PathRules) -> str:
    """Return what a bind's source is when it is nothing to back up, as a noun phrase; empty when it may be data.

    Args:
        path: On the engine's host, normalised.
        rules: For the engine's socket and its data root.
    """
    if path == "/":
        return "the host's whole file system"
    socket = rules.engine_socket
    if socket and path in {socket, f"/run{socket.removeprefix('/var/run')}"}:
        return "a socket or device of the host"
    if path.endswith((".sock", ".socket")) or _below(path, _DEVICES):
        return "a socket or device of the host"
    if path in _HOST_FILES or (_below(path, _HOST_TREES) and not _below(path, _WITH_DATA)):
        return "a part of the host's system"
    return "the engine's own directory" if _is_engines_own(path, rules) else ""


def _is_engines_own(path: str, rules: PathRules) -> bool:
    """Whether it is the engine's data root, the directory of its volumes, or another one that it keeps there."""
    for root in {rules.docker_root, rules.engine_root or DEFAULT_DOCKER_ROOT} - {""}:
        rest = under(path, root)
        if rest in {"", "volumes"} or (rest is not None and rest.partition("/")[0] in _ENGINES):
            return True
    return False


def _below(path: str, trees: tuple[str, ...]) -> bool:
    return any(under(path, tree) is not None for tree in trees)
