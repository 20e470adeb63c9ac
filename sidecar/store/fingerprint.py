"""Which version of a file we read: enough of its status and content to tell whether it is still the same."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.store.errors import Changed, ConfigUnreadable, unreadable
from sidecar.store.fs import Fs

MAX_BYTES = 64 << 20
"""Larger than any config.json: 10,000 plans with their hooks are some 10 MB."""

_ATTEMPTS = 20
_SETTLED_NS = 100_000_000
"""Kernels stamp files by a tick of 1 to 10 ms: two edits within one can have one stamp. A file that was read
this long after its last stamp cannot have been edited since under the same stamp."""


def digest(data: bytes) -> str:
    """Return the digest by which contents are compared, 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """One version of a file.

    Attributes:
        dev: Device number.
        ino: Inode number.
        size: Size in bytes.
        mtime_ns: Last change of the content, nanoseconds since 1970.
        ctime_ns: Last change of content or status, likewise.
        digest: Digest of the content.
        settled: Whether the stamps were old enough at the read to vouch for the content alone.
    """

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    digest: str
    settled: bool = field(default=True, compare=False)

    @classmethod
    def of(cls, status: os.stat_result, content: str, now_ns: int) -> Fingerprint:
        """Return the fingerprint of a file with this status and this digest, looked at at ``now_ns``."""
        newest = max(status.st_mtime_ns, status.st_ctime_ns)
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            content,
            now_ns - newest > _SETTLED_NS,
        )

    def same_content_stamp(self, status: os.stat_result) -> bool:
        """Return whether a status is that of this inode with its content untouched.

        The change time is left out: renaming and exchanging move it.
        """
        return (status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns) == (
            self.ino,
            self.dev,
            self.size,
            self.mtime_ns,
        )

    def untouched(self, status: os.stat_result) -> bool:
        """Return whether a status is wholly that of this version."""
        return self.same_content_stamp(status) and status.st_ctime_ns == self.ctime_ns

    def to_json(self) -> dict[str, Any]:
        """Return the fingerprint for the intent record."""
        return {
            "dev": self.dev,
            "ino": self.ino,
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "ctime_ns": self.ctime_ns,
            "digest": self.digest,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Fingerprint:
        """Build the fingerprint back from :meth:`to_json`. Raises KeyError, TypeError or ValueError."""
        return cls(
            int(data["dev"]),
            int(data["ino"]),
            int(data["size"]),
            int(data["mtime_ns"]),
            int(data["ctime_ns"]),
            str(data["digest"]),
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one read gave.

    Attributes:
        raw: The content.
        fingerprint: Its version.
        where: The file that was read; another than the one asked for when that is a symlink.
        mode: Permission bits.
        uid: Owner.
        gid: Group.
        notes: Things to say once, e.g. that the file is reached by a symlink.
    """

    raw: bytes
    fingerprint: Fingerprint
    where: Path
    mode: int
    uid: int
    gid: int
    notes: tuple[str, ...] = ()


def load(fs: Fs, dir_fd: int, path: Path, limit: int = MAX_BYTES) -> Loaded:
    """Read a file whole, from one inode and at one moment.

    A file that is renamed over or written to in the middle of the read is read again.

    Args:
        fs: The file operations.
        dir_fd: Descriptor of the file's directory.
        path: The file; its name is looked up in ``dir_fd``, the rest is for messages.
        limit: Size in bytes from which on the file is refused.

    Raises:
        ConfigUnreadable: The file is no readable plain file of a sensible size.
    """
    for _ in range(_ATTEMPTS):
        try:
            fd = fs.open_read(dir_fd, path.name)
        except OSError as error:
            raise unreadable(error, path) from error
        try:
            before = fs.fstat(fd)
            _refuse_odd(before, path, limit)
            raw = fs.read(fd, limit + 1)
            after = fs.fstat(fd)
        except OSError as error:
            raise unreadable(error, path) from error
        finally:
            fs.close(fd)
        mark = Fingerprint.of(before, digest(raw), fs.now_ns())
        if mark.same_content_stamp(after) and len(raw) == before.st_size:
            mode = stat.S_IMODE(before.st_mode)
            return Loaded(raw, mark, path, mode, before.st_uid, before.st_gid)
    raise ConfigUnreadable(
        "unstable", f"{path} changed during each of {_ATTEMPTS} reads. Another program keeps writing to it."
    )


def _refuse_odd(status: os.stat_result, path: Path, limit: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ConfigUnreadable(
            "directory",
            f"{path} is a directory. Docker makes one when a bind mount's source file does not exist: remove "
            "it if it is empty, and mount the directory that holds config.json. If config.json lies in it, name "
            f"the file: --config {path / 'config.json'}.",
        )
    if not stat.S_ISREG(status.st_mode):
        raise ConfigUnreadable("not-regular", f"{path} is not a plain file. Check --config.")
    if status.st_size > limit:
        raise ConfigUnreadable(
            "too-large",
            f"{path} has {status.st_size} bytes, more than the {limit >> 20} MiB that any config.json of "
            "Backrest could need. Check --config.",
        )


def gone(path: Path) -> Changed:
    """Return the exception for a file that is no longer the version that was read."""
    return Changed(f"{path} was changed by another program after it was read; it is read again.")
