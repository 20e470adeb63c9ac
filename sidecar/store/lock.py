"""The lock that keeps two sidecars apart: ``flock`` on a file beside config.json.

Not on config.json itself, whose inode changes at every write. The kernel lets go of the lock when its holder
dies, so there is nothing to clean up; the file stays. Backrest takes no part in it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from sidecar.errors import SidecarError

FILE = ".backrest-sidecar.lock"
TIMEOUT = 30.0
_STEP = 0.05


class LockError(SidecarError):
    """The lock could not be taken; the message says why and what to do."""


class LockTimeout(LockError):
    """Another sidecar held the lock all the time, or we were told to stop waiting."""


class ConfigLock:
    """A context manager that holds the lock of one directory.

    Two instances exclude each other also within one process. Not reentrant.

    Args:
        directory: The directory of config.json.
        timeout: How long to wait, in seconds.
        wait: Waits that many seconds, or less and returns True when waiting has to end; ``Event.wait`` of the
            caller's stop event is one.
        clock: Monotonic seconds.

    Raises:
        LockTimeout: On entry.
        LockError: On entry: the lock file cannot be made or locked.
    """

    def __init__(
        self,
        directory: Path,
        *,
        timeout: float = TIMEOUT,
        wait: Callable[[float], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = directory / FILE
        self._timeout = timeout
        self._wait = wait or threading.Event().wait
        self._clock = clock
        self._fd = -1

    def __enter__(self) -> Self:
        deadline = self._clock() + self._timeout
        while not self._try():
            left = deadline - self._clock()
            if left <= 0:
                raise LockTimeout(
                    f"Another sidecar has held {self.path} for {self._timeout:g} s ({self._holder()}). "
                    "Let it finish or stop it: two sidecars must not write one config.json."
                )
            if self._wait(min(_STEP, left)):
                raise LockTimeout(f"Told to stop while waiting for {self.path}.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        self._fd = -1

    def _try(self) -> bool:
        fd = self._open()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            current = self._is_current(fd)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as error:
            os.close(fd)
            raise self._failed(error) from error
        if not current:
            os.close(fd)
            return False
        self._fd = fd
        # The lock is ours, whether our name can be written into it or not: the disk may be full.
        with suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        return True

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._failed(error) from error

    def _is_current(self, fd: int) -> bool:
        """Return whether the locked file is the one that others find: it may have been deleted meanwhile."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(fd)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _holder(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").strip() or "an unknown process"
        except OSError:
            return "an unknown process"

    def _failed(self, error: OSError) -> LockError:
        if error.errno == errno.ENOENT:
            advice = "The directory does not exist: check --config and the mount of its directory"
        elif error.errno == errno.EROFS:
            advice = "Mount the directory of config.json read-write into the sidecar"
        elif error.errno in (errno.EACCES, errno.EPERM):
            advice = "Run the sidecar as the owner of that directory, or as root"
        else:
            advice = "Does this filesystem support file locks?"
        return LockError(
            f"The lock {self.path} could not be taken: {os.strerror(error.errno or 0)}. {advice}."
        )
