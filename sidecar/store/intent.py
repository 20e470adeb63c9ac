"""The record that a replacement of config.json is under way: on the disk and synced before the exchange.

After a crash it tells which of two files is ours, and whether the write took place. It also carries what the
state file has to say once it has (new plan owners, say), so that a crash between the two loses neither.
The record is overwritten in place: it is only ever read when the temporary file's name shows that it was
synced, and a torn one fails its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from sidecar.store.fingerprint import Fingerprint, digest
from sidecar.store.fs import Fs

FILE = "write-intent"


@dataclass(frozen=True, slots=True)
class Intent:
    """One replacement.

    Attributes:
        token: Random part of the temporary names.
        name: Name of the file that is replaced.
        undo: Name that the old file gets.
        old: The version that was read.
        new: The version that is to stand there.
        payload: JSON of the caller's, handed back by recovery when the write took place.
    """

    token: str
    name: str
    undo: str
    old: Fingerprint
    new: Fingerprint
    payload: Mapping[str, Any] = field(default_factory=dict)

    @property
    def staged(self) -> str:
        """Name of the temporary file while only we can have written to it. Always safe to delete."""
        return f"{staged_prefix(self.name)}{self.token}"

    @property
    def swap(self) -> str:
        """Its name from just before the exchange on: what it holds may be another writer's edit."""
        return f"{swap_prefix(self.name)}{self.token}"


def staged_prefix(name: str) -> str:
    """Return how the names of unfinished temporary files for ``name`` begin."""
    return f".{name}.sidecar-new."


def swap_prefix(name: str) -> str:
    """Return how the names of temporary files that take part in an exchange begin."""
    return f".{name}.sidecar-swap."


class IntentFile:
    """The one intent record of a state directory.

    Args:
        fs: The file operations.
        directory: The state directory; must exist.
    """

    def __init__(self, fs: Fs, directory: Path) -> None:
        self._fs = fs
        self._path = directory / FILE

    def write(self, intent: Intent) -> None:
        """Put the record on the disk and wait until it is there. Raises OSError."""
        body = orjson.dumps(
            {
                "token": intent.token,
                "name": intent.name,
                "undo": intent.undo,
                "old": intent.old.to_json(),
                "new": intent.new.to_json(),
                "payload": dict(intent.payload),
            }
        )
        directory = self._fs.open_dir(str(self._path.parent))
        try:
            fd, made = self._open(directory)
            try:
                self._fs.write(fd, digest(body).encode() + b"\n" + body)
                self._fs.fsync(fd)
            finally:
                self._fs.close(fd)
            if made:
                self._fs.fsync(directory)
        finally:
            self._fs.close(directory)

    def _open(self, directory: int) -> tuple[int, bool]:
        try:
            return self._fs.create(directory, FILE), True
        except FileExistsError:
            return self._fs.open_truncated(directory, FILE), False

    def read(self) -> Intent | None:
        """Return the record, or None when there is none, or none that was finished. Raises OSError."""
        try:
            directory = self._fs.open_dir(str(self._path.parent))
        except FileNotFoundError:
            return None
        try:
            fd = self._fs.open_read(directory, FILE)
        except FileNotFoundError:
            return None
        finally:
            self._fs.close(directory)
        try:
            head, _, body = self._fs.read(fd, 1 << 30).partition(b"\n")
        finally:
            self._fs.close(fd)
        if not body or head.decode("ascii", "replace") != digest(body):
            return None
        return _decode(body)

    def pending(self) -> bool:
        """Return whether there may be a record; one ``stat``. Raises OSError."""
        try:
            return self._fs.stat_path(str(self._path)).st_size > 0
        except FileNotFoundError:
            return False

    def clear(self) -> None:
        """Forget the record. Raises OSError.

        Not synced, to save a write half its wait: a power cut in the next seconds hands the payload out again.
        """
        try:
            directory = self._fs.open_dir(str(self._path.parent))
        except FileNotFoundError:
            return
        try:
            self._fs.close(self._fs.open_truncated(directory, FILE))
        except FileNotFoundError:
            return
        finally:
            self._fs.close(directory)


def _decode(body: bytes) -> Intent | None:
    try:
        data = orjson.loads(body)
        return Intent(
            token=str(data["token"]),
            name=str(data["name"]),
            undo=str(data["undo"]),
            old=Fingerprint.from_json(data["old"]),
            new=Fingerprint.from_json(data["new"]),
            payload=dict(data["payload"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
