"""The file operations behind config.json and the state: one small class, so that a test can fail any of them.

Names are relative to the descriptor of an open directory: when the directory is replaced by another of the
same path in the middle of a write, the write ends in the directory in which it began.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

from sidecar.store import kernel
from sidecar.store import lease as leases

_NO_XATTR = frozenset({errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.ENODATA, errno.ENOSYS})


class Fs:
    """The kernel's file operations, unchanged but for loops over short reads and writes.

    Every method raises OSError as its system call does.
    """

    def open_dir(self, path: str) -> int:
        """Open a directory by path and return its descriptor."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def open_read(self, dir_fd: int, name: str) -> int:
        """Open a file for reading. A symlink fails with ELOOP; a pipe does not block."""
        flags = os.O_RDONLY | os.O_NOFOLLOW
        try:
            return os.open(name, flags | os.O_NONBLOCK, dir_fd=dir_fd)
        except BlockingIOError:  # another sidecar, or a thread of ours, has it on lease for a moment
            if not is_regular(self.lstat(dir_fd, name)):
                raise
            return os.open(name, flags, dir_fd=dir_fd)

    def create(self, dir_fd: int, name: str) -> int:
        """Make a new file of mode 0600 for writing; EEXIST when the name is taken, by a symlink too."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.open(name, flags, 0o600, dir_fd=dir_fd)

    def open_truncated(self, dir_fd: int, name: str) -> int:
        """Open an existing file for writing and empty it."""
        return os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW, dir_fd=dir_fd)

    def close(self, fd: int) -> None:
        """Close a descriptor. Never raises what a disk may answer: what counts was synced before."""
        try:
            os.close(fd)
        except OSError as error:
            if error.errno == errno.EBADF:
                raise

    def read(self, fd: int, limit: int) -> bytes:
        """Return the file's content from its beginning, at most ``limit`` bytes."""
        chunks: list[bytes] = []
        got = 0
        while got < limit:
            chunk = os.pread(fd, min(1 << 20, limit - got), got)
            if not chunk:
                break
            chunks.append(chunk)
            got += len(chunk)
        return b"".join(chunks)

    def write(self, fd: int, data: bytes) -> None:
        """Write all of ``data``."""
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def fsync(self, fd: int) -> None:
        """Wait until a file or a directory is on the disk."""
        os.fsync(fd)

    def fstat(self, fd: int) -> os.stat_result:
        """Return the status of an open file."""
        return os.fstat(fd)

    def lstat(self, dir_fd: int, name: str) -> os.stat_result:
        """Return the status of a name, not following a symlink."""
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)

    def stat_path(self, path: str) -> os.stat_result:
        """Return the status of a path, following symlinks."""
        return Path(path).stat()

    def listdir(self, dir_fd: int) -> list[str]:
        """Return the names in a directory."""
        return os.listdir(dir_fd)

    def rename(self, dir_fd: int, old: str, new: str) -> None:
        """Rename within the directory; what ``new`` was before is gone."""
        os.rename(old, new, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    def exchange(self, dir_fd: int, one: str, other: str) -> None:
        """Swap two names of the directory, see :func:`sidecar.store.kernel.exchange`."""
        kernel.exchange(dir_fd, one, other)

    def unlink(self, dir_fd: int, name: str) -> None:
        """Remove a name."""
        os.unlink(name, dir_fd=dir_fd)

    def chmod(self, fd: int, mode: int) -> None:
        """Set the mode of an open file."""
        os.fchmod(fd, mode)

    def chown(self, fd: int, uid: int, gid: int) -> None:
        """Set the owner of an open file."""
        os.fchown(fd, uid, gid)

    def copy_xattrs(self, source: int, target: int) -> tuple[str, ...]:
        """Copy the extended attributes (ACLs, SELinux labels) of one open file to another.

        Returns:
            The names that could not be copied, none where the filesystem has no such attributes at all.
        """
        try:
            names = os.listxattr(source)
        except OSError as error:
            if error.errno in _NO_XATTR:
                return ()
            raise
        missed: list[str] = []
        for name in names:
            try:
                value = os.getxattr(source, name)
                if _xattr(target, name) != value:
                    os.setxattr(target, name, value)
            except OSError as error:
                if error.errno not in _NO_XATTR:
                    raise
                missed.append(name)
        return tuple(missed)

    def lease(self, fd: int, *, exclusive: bool) -> leases.Grant:
        """Make others who open the file wait, see :func:`sidecar.store.lease.take`. Never raises."""
        return leases.take(fd, exclusive=exclusive)

    def lease_wanted(self, fd: int, *, exclusive: bool) -> leases.Wanted:
        """Return what others wait for who opened a file on lease. Never raises."""
        return leases.wanted(fd, exclusive=exclusive)

    def unlease(self, fd: int) -> None:
        """Let those who wait go on. Never raises."""
        leases.release(fd)

    def truncate(self, fd: int) -> None:
        """Empty an open file and go to its beginning."""
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)

    def now_ns(self) -> int:
        """Return the clock by which the kernel stamps files, in nanoseconds since 1970."""
        return time.time_ns()

    def ticks_ns(self) -> int:
        """Return a monotonic clock in nanoseconds, to measure a span."""
        return time.perf_counter_ns()


def _xattr(fd: int, name: str) -> bytes | None:
    try:
        return os.getxattr(fd, name)
    except OSError:
        return None


def is_regular(status: os.stat_result) -> bool:
    """Return whether a status is that of a plain file."""
    return stat.S_ISREG(status.st_mode)
