"""A file system seam that fails, dies, or lets somebody else in, at the call that a test names.

Everything else really happens, on a real directory; only ``fsync`` is left out, for speed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.store.fs import Fs
from sidecar.store.lease import Grant

LEASES = frozenset({"lease", "lease_wanted", "unlease"})
"""Left out: an editor who is played by the same thread cannot wait until we let go."""

OPERATIONS = frozenset(
    name for name in vars(Fs) if not name.startswith("_") and name not in {"now_ns", "ticks_ns"}
)


class SimulatedCrash(BaseException):
    """The process is dead from here on: no clean-up of its own reaches the disk."""


@dataclass
class ScriptedFs(Fs):
    """A :class:`Fs` that runs an action before its n-th call.

    Attributes:
        actions: Call number (from 0) → what to do before that call.
        fail_at: Number of the call that fails with :attr:`error`; a write gets half of its bytes out first.
        fail_for: How many calls fail from there on.
        error: Its errno.
        crash_at: Number of the call before which the process dies; a write gets half of its bytes out first.
        no_exchange: The errno with which each exchange is refused, 0 to do it.
        calls: What was called, in order.
    """

    actions: dict[int, Callable[[], None]] = field(default_factory=dict)
    fail_at: int = -1
    fail_for: int = 1
    error: int = errno.EIO
    crash_at: int = -1
    no_exchange: int = 0
    calls: list[str] = field(default_factory=list)
    dead: bool = False

    def __getattribute__(self, name: str) -> Any:
        real = super().__getattribute__(name)
        if name == "lease":
            return lambda fd, *, exclusive: Grant.UNSUPPORTED
        if name not in OPERATIONS - LEASES:
            return real

        def call(*args: Any) -> Any:
            return self._run(name, real, args)

        return call

    def _run(self, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self.dead:
            if name == "close":
                return real(*args)
            raise SimulatedCrash
        number = len(self.calls)
        self.calls.append(name)
        self.actions.get(number, _nothing)()
        failing = self.fail_at >= 0 and 0 <= number - self.fail_at < self.fail_for
        if number == self.crash_at or failing:
            if name == "write":
                fd, data = args
                real(fd, data[: len(data) // 2])
            if name == "close":  # it never fails, see Fs.close, and a dead process's files are closed
                real(*args)
            if number == self.crash_at:
                self.dead = True
                raise SimulatedCrash
            if name == "close":
                return None
            raise OSError(self.error, os.strerror(self.error))
        if name == "fsync":
            return None
        if name == "exchange" and self.no_exchange:
            raise OSError(self.no_exchange, os.strerror(self.no_exchange))
        return real(*args)


def _nothing() -> None:
    return None


def rename_over(path: Path, content: bytes) -> None:
    """Edit a file as careful programs do, Backrest among them: temporary file and rename."""
    other = path.with_name("their-temporary-file")
    other.write_bytes(content)
    other.rename(path)


def write_into(path: Path, content: bytes) -> None:
    """Edit a file as careless programs do: in place, and with its old modification time put back."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def open_files() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
