"""config.json on the disk: read with a fingerprint, replaced by compare-and-swap, undone, recovered.

- A read is of one version, whole.
- A replacement takes effect only over the version that was read; otherwise :class:`Changed` is raised and the
  caller starts over from a fresh read.
- At every instant the file is the old or the new one, whole, also after a kill or a power cut.
- No edit of another writer is ever unlinked: it stands, or it lies beside the file and is reported.
- Callers hold ``store.lock.ConfigLock`` from the read to the end of the replacement; it keeps two sidecars apart.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sidecar.labels.keys import NO_LABELS
from sidecar.store import errors, recovery, versions
from sidecar.store.errors import Changed
from sidecar.store.fingerprint import Fingerprint, Loaded, load
from sidecar.store.fs import Fs
from sidecar.store.intent import IntentFile
from sidecar.store.lock import ConfigLock
from sidecar.store.recovery import Recovered
from sidecar.store.replacement import Replaced, Replacement

NO_EXCHANGE = (
    "The filesystem of {path} cannot exchange two files (renameat2): an edit by another program in the "
    "microseconds between the last look and the rename would be lost. Prefer a local filesystem."
)
PATIENCE = 10
"""Attempts in a row that give way to a program that has the file open for writing. One that keeps it open for
good would else stop us for good."""

LINKED = "{path} is a symlink: the file that it points to, {real}, is replaced, and the link stays."


class ConfigStore:
    """One config.json.

    Args:
        path: The file; a symlink is followed at each use.
        mode: Permission bits of each file that we put there; None keeps those of the old file.
        state_dir: Where the intent record lies; made with mode 0700 when missing.
        clock: Unix time in seconds, for the names of previous versions.
        fs: The file operations.
    """

    def __init__(
        self,
        path: Path,
        *,
        mode: int | None,
        state_dir: Path,
        clock: Callable[[], float],
        fs: Fs | None = None,
    ) -> None:
        self.path = path
        self._mode = mode
        self._state_dir = state_dir
        self._clock = clock
        self._fs = fs or Fs()
        self._intents = IntentFile(self._fs, state_dir)
        self._exchange: bool | None = None
        self._token = ""
        self._unfinished = False
        self._busy = 0
        self._vouched: Fingerprint | None = None

    @property
    def exchange_supported(self) -> bool | None:
        """Whether the filesystem has the exchange; None before the first replacement."""
        return self._exchange

    def lock(self, wait: Callable[[float], bool] | None = None) -> ConfigLock:
        """Return the lock beside the real file, see :class:`sidecar.store.lock.ConfigLock`."""
        return ConfigLock(self._real().parent, wait=wait)

    def read(self) -> Loaded:
        """Return the file's content and version.

        Raises:
            ConfigUnreadable: With what is wrong, where, and what to do.
        """
        real = self._real()
        if self.path.is_symlink() and not real.exists():
            raise errors.unreadable(FileNotFoundError(errno.ENOENT, ""), self.path)
        with self._opened(real) as directory:
            loaded = load(self._fs, directory, real)
        if not self.path.is_symlink():
            return loaded
        return replace(loaded, notes=(LINKED.format(path=self.path, real=real),))

    def changed_since(self, mark: Fingerprint) -> bool:
        """Return whether the file may be another version than ``mark``; one ``stat`` in nearly all cases.

        A file that was read within the tick of its last stamp is read and compared by its digest; it is never
        parsed. A file that cannot be read counts as changed.
        """
        try:
            status = self.path.stat()
            if not mark.untouched(status):
                return True
            if mark.settled or mark == self._vouched:
                return False
            fresh = self.read().fingerprint
            if fresh.settled and fresh == mark:
                self._vouched = fresh
            return fresh.digest != mark.digest
        except (OSError, errors.ConfigUnreadable):
            return True

    def replace(self, new: bytes, expected: Fingerprint, payload: Mapping[str, Any] = NO_LABELS) -> Replaced:
        """Put ``new`` in the place of the version ``expected``.

        The intent record stays until :meth:`settle`, so that a crash before the caller saved its state is
        made good by :meth:`recover`, which hands ``payload`` back.

        Args:
            new: The whole new content.
            expected: The version that ``new`` was made from, as :meth:`read` gave it.
            payload: JSON values; what the state has to say once the write has taken place.

        Raises:
            Changed: Another program wrote the file since. Start over from :meth:`read`.
            SingleFileMount: The file is a mount point of its own.
            NotWritable: The system refused; the old file stands.
            ConfigUnreadable: The file is gone or is no plain file any more.
        """
        real = self._real()
        with self._opened(real) as directory:
            try:
                notes = self._finish_earlier(directory, real)
                old_fd = self._fs.open_read(directory, real.name)
            except FileNotFoundError as error:
                raise errors.unreadable(error, self.path) from error
            except OSError as error:
                raise errors.not_writable(error, real) from error
            way = Replacement(
                self._fs,
                directory,
                real,
                old_fd,
                self._intents,
                try_exchange=self._exchange is not False,
                patient=self._busy < PATIENCE,
            )
            try:
                self._make_state_dir()
                done = way.run(new, expected, self._mode, self._clock(), payload)
            except OSError as error:
                raise errors.not_writable(error, real) from error
            finally:
                self._token, self._unfinished = way.token, way.unfinished
                self._busy = self._busy + 1 if way.busy else 0
                self._fs.close(old_fd)
        if done.undo is not None:
            if self._exchange is None and not way.exchanged:
                notes = (*notes, NO_EXCHANGE.format(path=real))
            self._exchange = way.exchanged
        return replace(done, notes=(*notes, *done.notes))

    def settle(self) -> None:
        """Forget the intent record: the caller has saved what the last replacement or recovery told it.

        A record that cannot be cleared, or is cleared moments before a power cut, is handed out once more at the
        next start, which is why a payload must be such that applying it twice does no harm.
        """
        if self._unfinished:
            return
        with suppress(OSError):
            self._intents.clear()

    def recover(self) -> Recovered:
        """Finish or undo what a killed process left behind; call it once at start, under the lock.

        Calling it again is harmless. When :attr:`Recovered.written` is set, save its payload, then
        :meth:`settle`.

        Raises:
            NotWritable: The system refused.
        """
        real = self._real()
        try:
            directory = self._fs.open_dir(str(real.parent))
        except FileNotFoundError:
            return Recovered()
        except OSError as error:
            raise errors.not_writable(error, real) from error
        try:
            return recovery.recover(self._fs, directory, real, self._intents, self._clock())
        except OSError as error:
            raise errors.not_writable(error, real) from error
        finally:
            self._unfinished = False
            self._fs.close(directory)

    def list_undo(self) -> tuple[versions.UndoCopy, ...]:
        """Return the previous versions that lie beside the file, newest first. Raises ConfigUnreadable."""
        real = self._real()
        try:
            return versions.listing((entry.name for entry in real.parent.iterdir()), real)
        except OSError as error:
            raise errors.unreadable(error, real.parent) from error

    def read_undo(self, time: str = "") -> tuple[versions.UndoCopy, bytes]:
        """Return one previous version and its content.

        Args:
            time: Beginning of its time as :attr:`undo.UndoCopy.label` gives it; empty for the newest.

        Raises:
            LookupError: No such version, or several fit.
            ConfigUnreadable: It cannot be read.
        """
        copy = versions.choose(self.list_undo(), time)
        with self._opened(copy.path) as directory:
            return copy, load(self._fs, directory, copy.path).raw

    def _finish_earlier(self, directory: int, real: Path) -> tuple[str, ...]:
        """Work off what an earlier replacement could not clean up, ours or that of a killed sidecar."""
        if not (self._intents.pending() or recovery.leftovers(self._fs.listdir(directory), real.name)):
            return ()
        recovered = recovery.recover(self._fs, directory, real, self._intents, self._clock())
        self._unfinished = False
        if recovered.written and recovered.token != self._token:
            self.settle()
            raise Changed(
                f"{real} was replaced by another sidecar, which was killed before it saved its state.",
                recovered.kept,
                recovered.payload,
            )
        return (
            recovered.notes[1:] if recovered.written else recovered.notes
        )  # the first tells of our own write

    def _make_state_dir(self) -> None:
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _real(self) -> Path:
        try:
            return Path(os.path.realpath(self.path)) if self.path.is_symlink() else self.path.absolute()
        except OSError as error:
            raise errors.unreadable(error, self.path) from error

    @contextmanager
    def _opened(self, real: Path) -> Iterator[int]:
        try:
            directory = self._fs.open_dir(str(real.parent))
        except OSError as error:
            raise errors.unreadable(error, self.path) from error
        try:
            yield directory
        finally:
            self._fs.close(directory)
