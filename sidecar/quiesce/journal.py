"""The quiesce journal: what we took down and still have to bring back, on disk before it is touched.

One file in the state directory, JSON lines, only ever appended to. The first line (what is about to be
stopped) is complete or not there at all: it is written beside, synced and renamed. Every further line is one
change of state, synced before the act that it announces. A line that a crash tore counts as never written,
which is right, for then the act it announces has not begun. The file goes when nothing is owed any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from sidecar.findings import printable
from sidecar.quiesce.records import Book, JournalError, State, head_line, line, parse

FILE_NAME = "quiesce.journal"
LOCK_NAME = "backup-once.lock"


class RunInProgressError(Exception):
    """Another run holds the lock of this state directory."""


class RunLock:
    """The lock of a state directory: one run at a time. It dies with the process, whatever ends it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_NAME
        self._fd = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            RunInProgressError: Another process has it.
            JournalError: The lock file cannot be made.
        """
        try:
            _make_directory(self._path.parent)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _cannot("lock", self._path, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = printable(os.read(fd, 32).decode("ascii", "replace").strip()) or "unknown"
            os.close(fd)
            raise RunInProgressError(
                f"another run (process {holder}) is at work with {self._path.parent}; wait for its end"
            ) from None
        except OSError as error:
            os.close(fd)
            raise _cannot("lock", self._path, error) from error
        self._fd = fd
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        self._fd = -1


class Journal:
    """The writing side. Not for several threads: the run's own thread writes, whoever does the work.

    Args:
        directory: The state directory; made with mode 0700 when missing.
        clock: Unix time in seconds.
    """

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self.path = directory / FILE_NAME
        self._clock = clock

    def load(self) -> Book | None:
        """Return what the journal holds, None when there is none.

        Raises:
            JournalError: It cannot be read, or its first line makes no sense.
        """
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _cannot("read", self.path, error) from error
        return parse(raw, where=str(self.path))

    def begin(self, book: Book) -> None:
        """Put a new journal in place, synced. There must be none.

        Raises:
            JournalError: It cannot be written, or one is there already.
        """
        if self.path.exists():
            raise JournalError(f"{self.path} is there already; run `backrest-sidecar recover` first")
        temporary = self.path.with_name(f"{FILE_NAME}.new")
        try:
            _make_directory(self.path.parent)
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write(fd, head_line(book))
            finally:
                os.close(fd)
            temporary.rename(self.path)
            _sync_directory(self.path.parent)
        except OSError as error:
            raise _cannot("write", self.path, error) from error

    def note(self, ids: Iterable[str], state: State) -> None:
        """Append the new state of some containers, synced.

        Raises:
            JournalError: It could not be written; the act it announces must not begin.
        """
        now = self._clock()
        self._append([{"id": i, "state": state.value, "at": now} for i in ids])

    def helper(self, name: str, *, gone: bool = False) -> None:
        """Append that the run is about to start a container of its own, or has removed it.

        Raises:
            JournalError: It could not be written.
        """
        self._append([{"helper": name, "gone": gone}])

    def finish(self) -> None:
        """Remove the journal: nothing is owed any more.

        Raises:
            JournalError: It could not be removed.
        """
        try:
            self.path.unlink(missing_ok=True)
            _sync_directory(self.path.parent)
        except OSError as error:
            raise _cannot("remove", self.path, error) from error

    def set_aside(self) -> Path:
        """Rename an unreadable journal, so that it blocks nobody and can be looked at; return its new path.

        Raises:
            JournalError: It could not be renamed.
        """
        aside = self.path.with_name(f"{FILE_NAME}.unreadable.{int(self._clock())}")
        try:
            self.path.rename(aside)
            _sync_directory(aside.parent)
        except OSError as error:
            raise _cannot("rename", self.path, error) from error
        return aside

    def _append(self, records: list[dict[str, Any]]) -> None:
        if not records:
            return
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                # The blank line in front ends a line that a full disk or a crash may have torn.
                _write(fd, b"\n" + b"".join(line(record) for record in records))
            finally:
                os.close(fd)
        except OSError as error:
            raise _cannot("write", self.path, error) from error


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.fsync(fd)


def _make_directory(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _cannot(verb: str, path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"cannot {verb} {path}: {error.strerror or error};"
        " the state directory must be writable and kept, see --state-dir"
    )
