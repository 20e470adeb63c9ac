"""What a SetConfig undid unseen: Backrest's own copy of the version that it replaced tells.

SetConfig replaces the whole config. AddRepo and RemoveRepo neither check nor raise ``modno`` (backrest:
internal/api/backresthandler.go:189-311), so one that comes between our last read and our save is undone, and nothing
in the API says so. But every save of Backrest copies the file that it replaces to ``config.json.bak.<time>``
(backrest: internal/config/jsonstore.go:111-144), and the sidecar shares that directory.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.backrest.api import entries_by_id, plain

Config = dict[str, Any]
Mark = Mapping[str, tuple[int, int]]
"""Copy → inode and time of change, before a save."""


@dataclass(frozen=True, slots=True)
class RepoEdits:
    """Edits of repos that a save of ours undid.

    Attributes:
        put_back: Definitions of repos that were added or changed. They hold secrets: never log them.
        remove: Ids of repos that were removed.
    """

    put_back: tuple[Config, ...] = ()
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put_back or self.remove)

    def __repr__(self) -> str:
        return f"RepoEdits({self.ids!r})"

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all of them."""
        return tuple(sorted({*(str(repo.get("id", "")) for repo in self.put_back), *self.remove}))

    def applied(self, config: Config) -> Config:
        """Return a config with these edits."""
        wanted = {str(repo.get("id", "")): repo for repo in self.put_back}
        there = entries_by_id(config, "repos")
        kept = [wanted.pop(name, repo) for name, repo in there.items() if name not in self.remove]
        return {**config, "repos": [*kept, *wanted.values()]}


class Copies:
    """Backrest's copies beside one config.json.

    Args:
        path: config.json; a link is followed.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))

    def mark(self) -> Mark:
        """Return what is there before a save; empty where the directory cannot be read."""
        found: dict[str, tuple[int, int]] = {}
        with suppress(OSError):
            for copy in self._path.parent.glob(f"{glob.escape(self._path.name)}.bak.*"):
                with suppress(FileNotFoundError):  # Backrest keeps ten of them
                    status = copy.stat()
                    found[copy.name] = status.st_ino, status.st_mtime_ns
        return found

    def undone(self, before: Mark, read: Config, sent: Config) -> RepoEdits:
        """Return the edits of repos that a save undid.

        Args:
            before: What :meth:`mark` gave before it.
            read: The config as it was read before it.
            sent: The config that was made of it, sent and taken.
        """
        fresh = sorted(
            (name for name, stamp in self.mark().items() if before.get(name) != stamp), reverse=True
        )
        documents = (self._read(name) for name in fresh)
        modno = read.get("modno", 0)
        # An AddRepo has made a copy of its own before; the newest that has our modno is ours.
        replaced = next((d for d in documents if d is not None and d.get("modno", 0) == modno), None)
        after = self._read(self._path.name)
        if replaced is None or after is None:
            return RepoEdits()
        return edits_undone(read, replaced, sent, after)

    def _read(self, name: str) -> Config | None:
        try:
            found = json.loads((self._path.parent / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


def edits_undone(read: Config, replaced: Config, sent: Config, after: Config) -> RepoEdits:
    """Return the edits of repos between ``read`` and ``replaced`` that are not in ``sent``.

    What stands ``after`` otherwise than it was sent has been edited once more since, and is not to be touched.
    """
    old, was, ours, now = (entries_by_id(config, "repos") for config in (read, replaced, sent, after))
    put_back = tuple(
        repo
        for name, repo in was.items()
        if plain(repo) != plain(old.get(name))
        and plain(repo) != plain(ours.get(name))
        and plain(now.get(name)) == plain(ours.get(name))
    )
    remove = tuple(name for name in old if name not in was and name in ours and name in now)
    return RepoEdits(put_back, remove)
