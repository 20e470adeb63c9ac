"""The state on the disk: ``state.json`` in the state directory, written atomically, never half.

Callers hold the lock of config.json from :meth:`StateStore.load` to :meth:`StateStore.save`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from sidecar.errors import SidecarError
from sidecar.store.fs import Fs
from sidecar.store.state import State, StateUnusable, from_json, to_json

FILE = "state.json"
_TEMP = ".state.json.new"
_MAX_BYTES = 256 << 20


_Mark = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Known:
    """What the file says, and by which status it is recognised as unchanged."""

    state: State
    raw: bytes
    mark: _Mark


class StateError(SidecarError):
    """The state could not be read or written. It is not taken for empty: plans would change hands.

    The message says what happened, where, and what to do.
    """


class StateStore:
    """The state file of one ``--state-dir``.

    Args:
        directory: Made with mode 0700 when missing, at the first save.
        clock: Unix time in seconds, for the name under which an unusable file is kept.
        read_only: Never touch the disk but to read: for ``--dry-run``, ``explain``, ``status``.
        fs: The file operations.

    Attributes:
        problem: One sentence when :meth:`load` found a file that it could not use; else empty.
        known: What was last read or saved.
    """

    def __init__(
        self, directory: Path, *, clock: Callable[[], float], read_only: bool = False, fs: Fs | None = None
    ) -> None:
        self.directory = directory
        self.problem = ""
        self._clock = clock
        self._read_only = read_only
        self._fs = fs or Fs()
        self.known: Known | None = None

    def load(self, written: Known | None = None) -> State:
        """Return the state; a fresh one when there is none, or none that this version understands.

        A file that is as we last saw it, or as ``written`` by another store of this process, is not read again.

        A file that is broken or of another version is kept as ``state.json.broken.<UTC time>`` and named in
        :attr:`problem`. Unknown fields of this version are carried along, so that a newer tool that only added
        fields can be tried and given up again; a newer *version* means fields that must not be misread.

        Raises:
            StateError: There is a file, and the system does not let us read it.
        """
        self.problem = ""
        try:
            mark = self._mark()
            for known in (self.known, written):
                if known is not None and known.mark == mark:
                    self.known = known
                    return known.state
            self.known = None
            raw, mark = self._read()
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise self._failed("read", error) from error
        try:
            data: Any = orjson.loads(raw)
            state = from_json(data)
        except StateUnusable as error:
            return self._fresh(str(error))
        except orjson.JSONDecodeError as error:
            return self._fresh(f"it is not JSON ({error})")
        self.known = Known(state, raw, mark)
        return state

    def save(self, state: State) -> bool:
        """Put the state on the disk and wait until it is there; nothing is written when it says the same.

        Returns:
            Whether anything was written.

        Raises:
            StateError: The system refused; the file is the old one, whole.
        """
        data = orjson.dumps(to_json(state), option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
        if self._read_only:
            raise StateError(f"{self.directory / FILE} is not written in a run that only reads.")
        try:
            if self.known is not None and self.known.raw == data and self._mark() == self.known.mark:
                return False
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.known = Known(state, data, self._write(data))
        except OSError as error:
            self.known = None
            raise self._failed("written", error) from error
        return True

    def _read(self) -> tuple[bytes, _Mark]:
        directory = self._fs.open_dir(str(self.directory))
        try:
            fd = self._fs.open_read(directory, FILE)
        finally:
            self._fs.close(directory)
        try:
            mark = _mark_of(self._fs.fstat(fd))
            return self._fs.read(fd, _MAX_BYTES), mark
        finally:
            self._fs.close(fd)

    def _write(self, data: bytes) -> _Mark:
        directory = self._fs.open_dir(str(self.directory))
        try:
            try:
                fd = self._fs.create(directory, _TEMP)
            except FileExistsError:  # of a process that was killed; the lock says that it is not at work
                self._fs.unlink(directory, _TEMP)
                fd = self._fs.create(directory, _TEMP)
            try:
                self._fs.write(fd, data)
                self._fs.fsync(fd)
                self._fs.rename(directory, _TEMP, FILE)
                mark = _mark_of(self._fs.fstat(fd))
            except BaseException:
                self._discard(directory)
                raise
            finally:
                self._fs.close(fd)
            self._fs.fsync(directory)
        finally:
            self._fs.close(directory)
        return mark

    def _discard(self, directory: int) -> None:
        try:
            self._fs.unlink(directory, _TEMP)
        except OSError:
            return  # the next save removes it

    def _mark(self) -> _Mark | None:
        try:
            return _mark_of(self._fs.stat_path(str(self.directory / FILE)))
        except FileNotFoundError:
            return None

    def _fresh(self, why: str) -> State:
        path = self.directory / FILE
        if self._read_only:
            self.problem = f"{path} cannot be used: {why}. This run goes on as if there were none."
            return State()
        time = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%dT%H%M%SZ")
        kept = path.with_name(f"{FILE}.broken.{time}")
        number = 1
        while os.path.lexists(kept):
            number += 1
            kept = path.with_name(f"{FILE}.broken.{time}.{number}")
        try:
            path.rename(kept)
        except OSError as error:
            raise self._failed("put aside", error) from error
        self.problem = (
            f"{path} cannot be used: {why}. It is kept as {kept.name}; a new one is begun, and the owners of the "
            "plans are found again from config.json."
        )
        return State()

    def _failed(self, what: str, error: OSError) -> StateError:
        return StateError(
            f"{self.directory / FILE} could not be {what}: {os.strerror(error.errno or 0)}. Check --state-dir: "
            "it must be a directory that the sidecar may write, on a disk with space left."
        )


def _mark_of(status: os.stat_result) -> _Mark:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
