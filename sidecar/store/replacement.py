"""One replacement of config.json, step by step.

stage (a private temporary file, whole and synced) → record the intent (synced) → rename to the swap name →
exchange → prove what came out → keep the old file as the undo copy → sync the directory → prune old copies.
The temporary file has two names so that a leftover tells by its name alone whether it may hold anything but
our own bytes. What fails up to the exchange leaves the old file; what fails after it is a note.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sidecar.store import errors, swap
from sidecar.store import versions as undo
from sidecar.store.aside import drop_ours, keep_aside, prune, retire
from sidecar.store.fingerprint import MAX_BYTES, Fingerprint, digest, gone
from sidecar.store.fs import Fs
from sidecar.store.intent import Intent, IntentFile
from sidecar.store.lease import Grant, Wanted

_FOREIGN_OWNER = frozenset({errno.EPERM, errno.EINVAL, errno.EACCES})


@dataclass(frozen=True, slots=True)
class Replaced:
    """A replacement that took place.

    Attributes:
        fingerprint: The version that stands there now.
        undo: Where the old version lies; None when the bytes were equal and nothing was written.
        window_ns: How long the file was unguarded, see ``store.swap.Window``.
        notes: Things to report, e.g. that the filesystem has no exchange.
    """

    fingerprint: Fingerprint
    undo: Path | None
    window_ns: int = 0
    notes: tuple[str, ...] = ()


class Replacement:
    """One attempt to replace one file.

    Args:
        fs: The file operations.
        dir_fd: The directory, open.
        path: The file, not a symlink.
        old_fd: The file as it stands, open for reading.
        intents: The intent record.
        try_exchange: False where the filesystem is known to lack the exchange.
        patient: Whether to give up, and be called again, while another program has the file open for writing.

    Attributes:
        busy: Whether another program had the file open for writing.
        exchanged: Whether the exchange was used, once :meth:`run` has returned.
        token: The random part of the temporary names.
        unfinished: Whether the intent record has to stay, because a file still lies at its temporary name.
    """

    def __init__(
        self,
        fs: Fs,
        dir_fd: int,
        path: Path,
        old_fd: int,
        intents: IntentFile,
        *,
        try_exchange: bool,
        patient: bool,
    ) -> None:
        self._fs = fs
        self._dir = dir_fd
        self._path = path
        self._old = old_fd
        self._intents = intents
        self._patient = patient
        self._old_leased = False
        self._new_leased = False
        self.busy = False
        self.exchanged = try_exchange
        self.unfinished = False
        self.token = secrets.token_hex(8)

    def run(
        self, new: bytes, expected: Fingerprint, mode: int | None, now: float, payload: Mapping[str, Any]
    ) -> Replaced:
        """Replace the file.

        Args:
            new: The new content.
            expected: The version that it was made from.
            mode: Permission bits, None to keep the old ones.
            now: Unix time in seconds, for the name of the undo copy.
            payload: For the intent record.

        Raises:
            Changed: The file is not ``expected`` any more.
            OSError: A system call failed; the old file stands.
        """
        status = self._fs.fstat(self._old)
        if not expected.untouched(status):
            raise gone(self._path)
        content = digest(new)
        if content == expected.digest:
            return Replaced(expected, None)
        names = self._fs.listdir(self._dir)
        planned = Fingerprint(0, 0, 0, 0, 0, content)
        undo_name = undo.new_name(names, self._path, now)
        intent = Intent(self.token, self._path.name, undo_name, expected, planned, payload)
        new_fd = self._fs.create(self._dir, intent.staged)
        try:
            missed = self._fill(new_fd, new, status, mode)
            mark = Fingerprint.of(self._fs.fstat(new_fd), content, self._fs.now_ns())
            intent = replace(intent, new=mark)
            window = self._put_in(intent, new_fd, now)
            notes = (*self._retire(intent), *_about_xattrs(missed))
            final = self._after(new_fd, mark)
        except BaseException:
            self._drop(intent)
            raise
        finally:
            self._fs.close(new_fd)
        return Replaced(final, self._path.with_name(intent.undo), window.ns, notes)

    def _fill(self, fd: int, new: bytes, old: os.stat_result, mode: int | None) -> tuple[str, ...]:
        """Make the staged file complete: owner first, while it is still empty."""
        own = self._fs.fstat(fd)
        if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid):
            try:
                self._fs.chown(fd, old.st_uid, old.st_gid)
            except OSError as error:
                if error.errno not in _FOREIGN_OWNER:
                    raise
                raise errors.owner_kept_out(error, self._path, old.st_uid, old.st_gid) from error
        self._fs.write(fd, new)
        missed = self._fs.copy_xattrs(self._old, fd)
        self._fs.chmod(fd, stat.S_IMODE(old.st_mode) if mode is None else mode)
        self._fs.fsync(fd)
        return missed

    def _put_in(self, intent: Intent, new_fd: int, now: float) -> swap.Window:
        self._intents.write(intent)
        self._fs.rename(self._dir, intent.staged, intent.swap)
        if not self._same_directory():
            raise gone(self._path)
        try:
            grant = self._fs.lease(self._old, exclusive=False)
            self._old_leased, self.busy = grant is Grant.HELD, grant is Grant.BUSY
            if self.busy and self._patient:
                raise errors.Changed(
                    f"{self._path} is open for writing in another program; it is read again."
                )
            self._new_leased = self._fs.lease(new_fd, exclusive=True) is Grant.HELD
            return self._swap(intent, new_fd, now)
        finally:
            self._fs.unlease(new_fd)
            self._fs.unlease(self._old)

    def _swap(self, intent: Intent, new_fd: int, now: float) -> swap.Window:
        leased = self._old_leased
        if self.exchanged:
            try:
                return swap.by_exchange(self._fs, self._dir, self._path, intent, self._old, leased=leased)
            except swap.NotOurs as error:
                raise self._changed(intent, new_fd, now, stray=error.stray) from error
            except swap.Stuck as stuck:
                self.unfinished = True
                raise errors.stuck(stuck.error, self._path, intent.swap) from stuck
            except swap.ExchangeUnsupported:
                self.exchanged = False
        self._copy_old(intent)
        try:
            return swap.by_rename(self._fs, self._dir, self._path, intent, self._old, leased=leased)
        except Exception:
            with suppress(OSError):
                self._fs.unlink(self._dir, intent.undo)
            raise

    def _changed(self, intent: Intent, new_fd: int, now: float, *, stray: bool) -> errors.Changed:
        """Clean up after the edit of another writer was put back; return what to raise.

        Our file goes back to its private name first. Who opened it while it stood there waits for our lease:
        a reader then finds in it what stands there now; a writer's edit is kept beside the file.
        """
        kept: list[Path] = []
        if stray:
            kept.append(keep_aside(self._fs, self._dir, self._path, intent.swap, now))
        else:
            self._fs.rename(self._dir, intent.swap, intent.staged)
        with suppress(OSError):
            self._show_present(new_fd)
        if not stray:
            if self._new_leased and self._fs.lease_wanted(new_fd, exclusive=True) is Wanted.WRITE:
                kept.append(keep_aside(self._fs, self._dir, self._path, intent.staged, now, fd=new_fd))
            else:
                self._fs.unlink(self._dir, intent.staged)
        self._intents.clear()
        if not kept:
            return gone(self._path)
        return errors.Changed(
            f"{self._path} was written several times by another program while it was being replaced. The "
            f"newest version stands; another one, which cannot be told from a lost edit, is kept as {kept[0]}.",
            tuple(kept),
        )

    def _show_present(self, new_fd: int) -> None:
        """Fill our file, which stands nowhere any more, with what stands in its place."""
        fd = self._fs.open_read(self._dir, self._path.name)
        try:
            present = self._fs.read(fd, MAX_BYTES + 1)
        finally:
            self._fs.close(fd)
        self._fs.truncate(new_fd)
        self._fs.write(new_fd, present)

    def _copy_old(self, intent: Intent) -> None:
        """Write the undo copy ahead, where the old file will not come out of an exchange."""
        name = f"{intent.staged}-undo"
        fd = self._fs.create(self._dir, name)
        try:
            self._fs.write(fd, self._fs.read(self._old, MAX_BYTES + 1))
            self._fs.fsync(fd)
            self._fs.rename(self._dir, name, intent.undo)
        except Exception:
            with suppress(OSError):
                self._fs.unlink(self._dir, name)
            raise
        finally:
            self._fs.close(fd)

    def _retire(self, intent: Intent) -> tuple[str, ...]:
        """Name the old file as the undo copy, sync, prune. The new file stands: nothing may raise here."""
        try:
            if self.exchanged:
                self.unfinished = True
                retire(self._fs, self._dir, self._old, intent)
                self.unfinished = False
            self._fs.fsync(self._dir)
            prune(self._fs, self._dir, self._path)
        except OSError as error:
            what = os.strerror(error.errno or 0)
            return (
                f"{self._path} was replaced, but its previous version could not be put in order: {what}.",
            )
        return ()

    def _after(self, new_fd: int, mark: Fingerprint) -> Fingerprint:
        """Return the version that stands now: the renames have moved its change time."""
        try:
            return Fingerprint.of(self._fs.fstat(new_fd), mark.digest, self._fs.now_ns())
        except OSError:
            return mark  # the caller takes the file for changed, and reads it

    def _same_directory(self) -> bool:
        try:
            there = self._fs.stat_path(str(self._path.parent))
        except FileNotFoundError:
            return False
        ours = self._fs.fstat(self._dir)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _drop(self, intent: Intent) -> None:
        """Remove our temporary file, under whichever name; anything else there is left for recovery."""
        with suppress(OSError):
            if intent.new.ino and intent.new.same_content_stamp(self._fs.lstat(self._dir, intent.swap)):
                drop_ours(self._fs, self._dir, intent, self._intents)
        with suppress(OSError):
            self._fs.unlink(self._dir, intent.staged)


def _about_xattrs(missed: tuple[str, ...]) -> tuple[str, ...]:
    if not missed:
        return ()
    return (f"Extended attributes of config.json could not be carried over: {', '.join(missed)}.",)
