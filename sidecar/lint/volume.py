"""The short syntax of a mount, ``source:target:options``, as Compose takes it apart. Pure.

Source of the rules: compose-go: format/volume.go, transform/volume.go, paths/unix.go.
"""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

_BRACES = re.compile(r"\$\{|\}")


class VolumeError(ValueError):
    """Compose would refuse the mount. The message says why."""


class VolumeSpec(NamedTuple):
    """What a short syntax says. ``source`` is empty for an anonymous volume."""

    type: str
    source: str
    target: str
    read_only: bool = False


def parse_volume(spec: str) -> VolumeSpec:
    """Return a mount in the short syntax taken apart.

    Raises:
        VolumeError: Compose would refuse it.
    """
    if not spec:
        raise VolumeError("a mount is empty")
    if len(spec.encode()) <= 2:
        return VolumeSpec("volume", "", spec)
    parts = _parts(spec)
    if any(not part for part in parts):
        raise VolumeError(f'"{spec}" has an empty part between its colons')
    if len(parts) > 3:
        raise VolumeError(f'"{spec}" has too many colons')
    if len(parts) == 1:
        return VolumeSpec("volume", "", parts[0])
    read_only = False
    for option in parts[2].split(",") if len(parts) > 2 else ():
        read_only = option == "ro" or (read_only and option != "rw")
    return VolumeSpec("bind" if is_path(parts[0]) else "volume", parts[0], parts[1], read_only)


def _parts(spec: str) -> list[str]:
    """Return the spec split at its colons; not at that of a drive (``C:``) nor in what is left of a ``${…}``."""
    parts: list[str] = []
    for piece in spec.split(":"):
        if parts and (_is_letter(parts[-1]) or _is_open(parts[-1])):
            parts[-1] += f":{piece}"
        else:
            parts.append(piece)
    return parts


def _is_letter(part: str) -> bool:
    return len(part) == 1 and part.isalpha()


def _is_open(part: str) -> bool:
    depth = 0
    for brace in _BRACES.findall(part):
        depth = max(depth + (1 if brace == "${" else -1), 0)
    return depth > 0


def is_path(source: str) -> bool:
    """Whether a source is a path of the host, of any system, and no name of a volume."""
    return source[:1] in {".", "/", "~"} or source.startswith("\\\\") or is_drive(source)


def is_drive(source: str) -> bool:
    """Whether a source begins with a Windows drive."""
    return source[1:2] == ":" and source[0].isalpha()


def absolute(source: str, directory: str, home: str) -> str:
    """Return a source as Compose gives it to the engine.

    Args:
        source: As it stands in the file.
        directory: Of the file's project, absolute.
        home: What ``~`` means; empty for not known, and then it stays.
    """
    if source.startswith("~") and home:
        source = posixpath.normpath(posixpath.join(home, source[1:].lstrip("/")))
    on_windows = is_drive(source) and source[2:3] in {"\\", "/"}
    if on_windows or source.startswith(("/", "\\\\")):
        return source
    return posixpath.normpath(posixpath.join(directory, source))


def clean(target: str) -> str:
    """Return a path in the container without doubled slashes and dots (Go: path.Clean)."""
    cleaned = posixpath.normpath(target) if target else "."
    return cleaned[1:] if cleaned.startswith("//") else cleaned
