"""Kernel leases on open files: other programs that open the file wait until we let go, microseconds later.

While config.json is exchanged, nobody may act on a state that we might take back: a program that opens our file
in those microseconds waits until it is proved to stay, and one that is about to write into the old file in place
is noticed. Where there are no leases (network filesystems, another user's file without the capability LEASE) the
exchange works without them, with a window of microseconds. Source: fcntl(2), "Leases".
"""

from __future__ import annotations

import enum
import errno
import fcntl
import signal


class Grant(enum.Enum):
    """What the kernel answered to the wish for a lease."""

    HELD = "held"
    BUSY = "busy"
    """The file is open in a way that conflicts: somebody has it open for writing, or at all."""
    UNSUPPORTED = "unsupported"


class Wanted(enum.Enum):
    """What somebody is waiting for who has tried to open a leased file."""

    NOTHING = "nothing"
    READ = "read"
    WRITE = "write"


def take(fd: int, *, exclusive: bool) -> Grant:
    """Take a lease on an open file.

    Args:
        fd: The file; for a shared lease it must be open for reading only.
        exclusive: Whether readers have to wait as well as writers.
    """
    try:
        # The default signal for "somebody waits" would end the process; SIGURG is ignored by default.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK)
    except OSError as error:
        return Grant.BUSY if error.errno == errno.EAGAIN else Grant.UNSUPPORTED
    return Grant.HELD


def wanted(fd: int, *, exclusive: bool) -> Wanted:
    """Return what others are waiting for, given the kind of lease that we do hold."""
    try:
        target = fcntl.fcntl(fd, fcntl.F_GETLEASE)
    except OSError:
        return Wanted.NOTHING
    if target == fcntl.F_UNLCK:
        return Wanted.WRITE
    return Wanted.READ if exclusive and target == fcntl.F_RDLCK else Wanted.NOTHING


def release(fd: int) -> None:
    """Let go of a lease; those who wait go on."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return  # there was none
