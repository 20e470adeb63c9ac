"""What can go wrong with config.json on the disk, each said as what happened, where, and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from sidecar.errors import SidecarError

Kind = Literal[
    "missing", "dangling", "directory", "not-regular", "permission", "too-large", "unstable", "unreadable"
]


class StoreError(SidecarError):
    """Base of everything that reading or replacing config.json raises. The message is for people."""


class ConfigUnreadable(StoreError):
    """The file cannot be read at all.

    Attributes:
        kind: Stable word for programs; ``missing`` is the one that a daemon waits out.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Changed(StoreError):
    """Somebody else wrote the file since it was read. Start over from a fresh read; nothing is lost.

    Attributes:
        kept: Versions of another writer that had to be put aside, see ``undo``; nearly always empty.
        payload: What the state has to say of a write by another sidecar that was killed before it could save
            it; nearly always None.
    """

    def __init__(
        self, message: str, kept: tuple[Path, ...] = (), payload: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.kept = kept
        self.payload = payload


class NotWritable(StoreError):
    """The file could not be replaced; the old one stands, whole.

    Attributes:
        errno: The error of the system call behind it.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.errno = code


class SingleFileMount(NotWritable):
    """The file itself is a mount point, so nothing can be renamed over it."""


_ADVICE = {
    errno.ENOSPC: "Free some space on that filesystem; the write is tried again",
    errno.EDQUOT: "Free some space or raise the quota; the write is tried again",
    errno.EROFS: "Mount the directory of config.json read-write into the sidecar",
    errno.EACCES: "Give the sidecar's user write permission on the directory, or run it as root",
    errno.EPERM: "The file or its directory forbids changes (immutable, sticky, or a security module)",
    errno.EIO: "The disk or the network filesystem reported an error: look at the kernel's log",
    errno.ENOENT: "The directory went away in the middle of the write; the write is tried again",
    errno.EMFILE: "The sidecar has too many open files: please report this",
}


def not_writable(error: OSError, path: Path) -> NotWritable:
    """Return the exception for a failed system call while ``path`` was being replaced."""
    code = error.errno or 0
    if code in (errno.EBUSY, errno.EXDEV):
        return SingleFileMount(
            code,
            f"{path} cannot be replaced: it is mounted as a single file ({os.strerror(code)}). "
            "Mount the directory that holds it instead, e.g. `- ./backrest/config:/etc/backrest`.",
        )
    advice = _ADVICE.get(code, "The old file stands unchanged")
    return NotWritable(code, f"{path} was not replaced, the old file stands: {os.strerror(code)}. {advice}.")


def stuck(error: OSError, path: Path, swap: str) -> NotWritable:
    """Return the exception for an edit of another program that could not be put back at once."""
    return NotWritable(
        error.errno or 0,
        f"{path} was edited by another program while it was being replaced, and that edit could not be put back: "
        f"{os.strerror(error.errno or 0)}. It is safe in {path.with_name(swap)}; the next attempt, or the next "
        "start, puts it back.",
    )


def owner_kept_out(error: OSError, path: Path, uid: int, gid: int) -> NotWritable:
    """Return the exception for an owner that we may not give to the new file."""
    return NotWritable(
        error.errno or 0,
        f"{path} was not replaced: it belongs to {uid}:{gid} and the sidecar, running as {os.geteuid()}:"
        f"{os.getegid()}, may not create files of that owner, so Backrest could not read the new file. "
        f'Run the sidecar as that user (`user: "{uid}:{gid}"`), or as root with the capability CHOWN.',
    )


def unreadable(error: OSError, path: Path) -> ConfigUnreadable:
    """Return the exception for a failed system call while ``path`` was being opened or read."""
    code = error.errno or 0
    if code in (errno.ENOENT, errno.ENOTDIR):
        if path.is_symlink():
            return ConfigUnreadable(
                "dangling",
                f"{path} is a symlink to {path.readlink()}, which does not exist here. "
                "Mount the directory that it points into, or name the file itself with --config.",
            )
        return ConfigUnreadable(
            "missing",
            f"{path} does not exist. Start Backrest once and save its first settings, so that it makes the "
            "file; or check --config and the mount of its directory.",
        )
    if code in (errno.EACCES, errno.EPERM):
        return ConfigUnreadable(
            "permission",
            f"{path} may not be read by user {os.geteuid()}. "
            "Run the sidecar as the file's owner or as root (Backrest writes the file with mode 0600).",
        )
    if code == errno.ELOOP:
        return ConfigUnreadable(
            "dangling",
            f"{path} is a symlink that leads nowhere (a loop). Name the file itself with --config.",
        )
    return ConfigUnreadable("unreadable", f"{path} could not be read: {os.strerror(code)}.")
