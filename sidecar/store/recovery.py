"""What to do at start about a replacement of config.json that a kill or a power cut has ended.

A leftover goes only when its name, or the intent record, proves that it holds what we produced or read.
An edit of another writer that our file had displaced goes back in its place, where the next pass merges it;
where a yet newer version stands, it is kept beside it and reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.store import swap
from sidecar.store.aside import drop_ours, keep_aside, retire
from sidecar.store.errors import ConfigUnreadable
from sidecar.store.fingerprint import Fingerprint, Loaded, load
from sidecar.store.fs import Fs
from sidecar.store.intent import Intent, IntentFile, staged_prefix, swap_prefix


@dataclass(frozen=True, slots=True)
class Recovered:
    """What recovery found.

    Attributes:
        written: A replacement took place whose caller never said that its state was saved.
        payload: What that caller had put into the intent record.
        token: The random part of that replacement's temporary names.
        removed: How many temporary files of ours were removed.
        restored: Another writer's edit, displaced by our file, was put back.
        kept: Other writers' versions that now lie beside the file and are in nobody's merge.
        notes: The above, for people.
    """

    written: bool = False
    payload: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    removed: int = 0
    restored: bool = False
    kept: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def leftovers(names: Iterable[str], name: str) -> tuple[str, ...]:
    """Return the temporary files of replacements of ``name`` among the names of its directory."""
    prefixes = (staged_prefix(name), swap_prefix(name))
    return tuple(sorted(entry for entry in names if entry.startswith(prefixes)))


def recover(fs: Fs, dir_fd: int, path: Path, intents: IntentFile, now: float) -> Recovered:
    """Clean up after a process that died while it replaced ``path``.

    Args:
        fs: The file operations.
        dir_fd: The directory, open.
        path: The file, not a symlink.
        intents: The intent record; it stays when the replacement took place, see :attr:`Recovered.written`.
        now: Unix time in seconds, for the name of what is kept.

    Raises:
        OSError: A system call failed; another call goes on from there.
    """
    try:
        return _Recovery(fs, dir_fd, path, intents, now).run()
    except swap.Stuck as stuck:
        raise stuck.error from stuck


class _Recovery:
    def __init__(self, fs: Fs, dir_fd: int, path: Path, intents: IntentFile, now: float) -> None:
        self._fs = fs
        self._dir = dir_fd
        self._path = path
        self._intents = intents
        self._now = now
        self._removed = 0
        self._restored = False
        self._kept: list[Path] = []

    def run(self) -> Recovered:
        intent = self._intents.read()
        if intent is not None and intent.name != self._path.name:
            intent = None
        left = leftovers(self._fs.listdir(self._dir), self._path.name)
        swaps = [name for name in left if name.startswith(swap_prefix(self._path.name))]
        # Its staged name shows that the exchange was never reached, or was given up.
        given_up = intent is not None and intent.staged in left
        for name in swaps:
            if intent is not None and name == intent.swap:
                given_up = not self._finish(intent) or given_up
            else:
                self._keep(name)
        written = intent is not None and not given_up and self._took_place(intent)
        if intent is not None and not written:
            self._intents.clear()
        for name in leftovers(self._fs.listdir(self._dir), self._path.name):
            if name.startswith(staged_prefix(self._path.name)):
                self._fs.unlink(self._dir, name)
                self._removed += 1
        if left:
            self._fs.fsync(self._dir)
        return Recovered(
            written=written,
            payload=intent.payload if intent is not None and written else {},
            token=intent.token if intent is not None and written else "",
            removed=self._removed,
            restored=self._restored,
            kept=tuple(self._kept),
            notes=self._notes(written=written),
        )

    def _finish(self, intent: Intent) -> bool:
        """Deal with the file at the swap name; return whether our new file got in its place."""
        there = self._load(intent.swap)
        if there is not None and _is(there, intent.new):
            drop_ours(self._fs, self._dir, intent, self._intents)
            self._removed += 1
            return False
        if there is not None and there.fingerprint.digest == intent.old.digest:
            fd = self._fs.open_read(self._dir, intent.swap)
            try:
                retire(self._fs, self._dir, fd, intent)
            finally:
                self._fs.close(fd)
            return True
        current = self._load(intent.name)
        if there is not None and current is not None and _is(current, intent.new):
            ours = (current.fingerprint.ino, current.fingerprint.size, current.fingerprint.mtime_ns)
            stray = swap.put_back(
                self._fs, self._dir, intent, lambda st: (st.st_ino, st.st_size, st.st_mtime_ns) == ours
            )
            self._restored = True
            if not stray:
                drop_ours(self._fs, self._dir, intent, self._intents)
                self._removed += 1
                return False
        self._keep(intent.swap)
        return False

    def _took_place(self, intent: Intent) -> bool:
        current = self._load(intent.name)
        if current is not None and current.fingerprint.ino == intent.new.ino:
            return True
        return intent.undo in self._fs.listdir(self._dir)

    def _keep(self, name: str) -> None:
        self._kept.append(keep_aside(self._fs, self._dir, self._path, name, self._now))

    def _load(self, name: str) -> Loaded | None:
        try:
            return load(self._fs, self._dir, self._path.with_name(name))
        except ConfigUnreadable:
            return None

    def _notes(self, *, written: bool) -> tuple[str, ...]:
        notes: list[str] = []
        if written:
            notes.append(
                f"An earlier run was cut off after it had replaced {self._path}; its work is finished."
            )
        if self._restored:
            notes.append(
                f"An earlier run was cut off while it replaced {self._path}; an edit that another program made "
                "in that moment has been put back."
            )
        notes += [
            f"{kept} holds a version of {self._path.name} by another program that is not in the present file: "
            "compare the two, and remove it when nothing in it is missed."
            for kept in self._kept
        ]
        return tuple(notes)


def _is(loaded: Loaded, mark: Fingerprint) -> bool:
    """Return whether a file is this version. The device number is left out: a reboot may change it."""
    found = loaded.fingerprint
    return (found.ino, found.digest) == (mark.ino, mark.digest)
