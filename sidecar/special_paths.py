"""Which paths of the host hold no data worth a backup, although containers mount them. Pure.

Decided by name alone, since the host's files need not be visible here. An explicit ``backrest.paths.include`` takes
such a path all the same.
"""

from __future__ import annotations

from sidecar.paths import DEFAULT_DOCKER_ROOT, PathRules, under

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
_REMOVABLE = ("/run/media", "/var/run/media")
"""Where desktops mount disks, which hold data."""


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
    if path in _HOST_FILES or (_below(path, _HOST_TREES) and not _below(path, _REMOVABLE)):
        return "a part of the host's system"
    return "the engine's own directory" if _is_engines_own(path, rules) else ""


def _is_engines_own(path: str, rules: PathRules) -> bool:
    """Whether it is the engine's data root, or in it, and not in one of its volumes."""
    for root in {rules.docker_root, rules.engine_root or DEFAULT_DOCKER_ROOT} - {""}:
        rest = under(path, root)
        if rest is None:
            continue
        parts = [part for part in rest.split("/") if part]
        if parts[:1] != ["volumes"] or len(parts) < 2:
            return True
    return False


def _below(path: str, trees: tuple[str, ...]) -> bool:
    return any(under(path, tree) is not None for tree in trees)
