"""The compare-and-swap itself: our file goes in only where the version that we read comes out.

The kernel has no "rename if unchanged". It has an exchange, which hands back what was there: if that is not
what we read, another exchange puts it back at once. Between the two our file is visible for some
microseconds, which is why nothing but one look at the inode happens in between, and why both files are on
lease meanwhile (see ``lease``): whoever opens one waits until it is settled which of them stands.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sidecar.store import kernel
from sidecar.store.fingerprint import MAX_BYTES, Fingerprint, digest, gone
from sidecar.store.fs import Fs
from sidecar.store.intent import Intent
from sidecar.store.lease import Wanted

IsOurs = Callable[[os.stat_result], bool]


class ExchangeUnsupported(Exception):
    """This kernel or filesystem cannot exchange two names. Nothing was changed."""


class NotOurs(Exception):
    """The exchange brought out an edit that we had not read. It was put back.

    Attributes:
        stray: The temporary name still holds a foreign version, which a yet newer one had replaced.
    """

    def __init__(self, *, stray: bool) -> None:
        super().__init__()
        self.stray = stray


class Stuck(Exception):
    """Our file stands where another writer's edit has to go back, which lies at the temporary name.

    Attributes:
        error: What the system answered to the way back.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Window:
    """How long config.json was unguarded: from the last look at it to the end of the swap, in nanoseconds."""

    ns: int


def by_exchange(fs: Fs, dir_fd: int, path: Path, intent: Intent, old_fd: int, *, leased: bool) -> Window:
    """Swap the temporary file in, and prove that what came out is what we read.

    Args:
        fs: The file operations.
        dir_fd: The directory.
        path: The file that is replaced; its name counts, the rest is for messages.
        intent: Names and versions; ``intent.swap`` holds the new file.
        old_fd: The version that we read, open.
        leased: Whether it is on a shared lease.

    Returns:
        The window. ``intent.swap`` now holds the old file.

    Raises:
        Changed: Seen before the exchange; nothing was touched.
        NotOurs: Seen after it; the edit of the other writer stands.
        ExchangeUnsupported: Nothing was touched.
        OSError: A call failed; the old file stands.
        Stuck: A call failed on the way back; recovery has to try it again.
    """
    expected = intent.old
    began = fs.ticks_ns()
    if not expected.untouched(fs.lstat(dir_fd, intent.name)):
        raise gone(path)
    try:
        fs.exchange(dir_fd, intent.swap, intent.name)
    except FileNotFoundError as error:
        raise gone(path) from error
    except OSError as error:
        if error.errno in kernel.UNSUPPORTED:
            raise ExchangeUnsupported from error
        raise
    try:
        came_out = fs.lstat(dir_fd, intent.swap)
        ended = fs.ticks_ns()
        as_read = expected.same_content_stamp(came_out) and _reads(fs, old_fd, expected)
        # Who waits to write into the old file has to find it in its place.
        as_read = as_read and not (leased and _is_wanted(fs, old_fd))
    except OSError:  # what cannot be proved does not count
        put_back(fs, dir_fd, intent, intent.new.same_content_stamp)
        raise
    if not as_read:
        raise NotOurs(stray=put_back(fs, dir_fd, intent, intent.new.same_content_stamp))
    return Window(ended - began)


def by_rename(fs: Fs, dir_fd: int, path: Path, intent: Intent, old_fd: int, *, leased: bool) -> Window:
    """Rename the temporary file over the target, after a last look at it.

    For filesystems without the exchange: an edit within the window is lost, which is why this is the second
    choice and is said.

    Raises:
        Changed: Seen before the rename; nothing was touched.
        OSError: The rename failed; nothing was touched.
    """
    if not _reads(fs, old_fd, intent.old) or (leased and _is_wanted(fs, old_fd)):
        raise gone(path)
    began = fs.ticks_ns()
    if not intent.old.untouched(fs.lstat(dir_fd, intent.name)):
        raise gone(path)
    fs.rename(dir_fd, intent.swap, intent.name)
    return Window(fs.ticks_ns() - began)


def put_back(fs: Fs, dir_fd: int, intent: Intent, is_ours: IsOurs) -> bool:
    """Give the target back the newest version that other writers made of it.

    The temporary name holds an edit that our file has displaced. Each exchange brings out what was written
    meanwhile: our own file, and all is as it was; or a newer edit, which then has to go in again.

    Args:
        fs: The file operations.
        dir_fd: The directory.
        intent: The names.
        is_ours: Whether a status is that of our own, untouched file.

    Returns:
        Whether the temporary name holds a foreign version in the end (to be kept), not our own file.

    Raises:
        Stuck: A call failed twice, and the temporary name holds a foreign version.
    """
    try:
        return _put_back(fs, dir_fd, intent, is_ours)
    except OSError:
        pass
    try:  # nothing but this can help, so a passing error gets a second chance
        return _put_back(fs, dir_fd, intent, is_ours)
    except OSError as error:
        raise Stuck(error) from error


def _put_back(fs: Fs, dir_fd: int, intent: Intent, is_ours: IsOurs) -> bool:
    previous: tuple[int, ...] | None = None
    while True:
        put = fs.lstat(dir_fd, intent.swap)
        if is_ours(put):
            return False  # an earlier try got this far
        try:
            fs.exchange(dir_fd, intent.swap, intent.name)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return True  # the target was deleted meanwhile, which is an edit too
            raise
        out = fs.lstat(dir_fd, intent.swap)
        if is_ours(out):
            return False
        if _identity(out) == previous:
            return True
        previous = _identity(put)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _is_wanted(fs: Fs, fd: int) -> bool:
    return fs.lease_wanted(fd, exclusive=False) is not Wanted.NOTHING


def _reads(fs: Fs, fd: int, expected: Fingerprint) -> bool:
    return digest(fs.read(fd, MAX_BYTES + 1)) == expected.digest
