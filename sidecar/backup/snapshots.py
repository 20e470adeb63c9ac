"""What ``restic snapshots --json`` says. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot of a repository.

    Attributes:
        id: Full id, 64 hex digits.
        time: RFC 3339 time of the backup, as restic wrote it.
        host: Host name that it was made under.
        paths: The paths that were given to ``restic backup``.
        tags: Its tags.
    """

    id: str
    time: str = ""
    host: str = ""
    paths: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def has(self, path: str) -> bool:
        """Whether ``restic forget --path`` would select it: by the very path, not by one above or below it."""
        return path in self.paths


def parse(output: str) -> tuple[Snapshot, ...]:
    """Return the snapshots in restic's output, in its order.

    Warnings may stand on lines around the JSON line. Old versions write ``null`` for none.

    Raises:
        ValueError: There is no such line.
    """
    for line in output.splitlines():
        text = line.strip()
        if text == "null":
            return ()
        if not text.startswith("["):
            continue
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            continue
        if isinstance(found, list) and all(
            isinstance(s, dict) and isinstance(s.get("id"), str) for s in found
        ):
            return tuple(_snapshot(s) for s in found)
    raise ValueError("restic gave no list of snapshots")


def new(before: Iterable[Snapshot], after: Iterable[Snapshot]) -> tuple[Snapshot, ...]:
    """Return the snapshots that ``after`` has and ``before`` has not."""
    known = {snapshot.id for snapshot in before}
    return tuple(snapshot for snapshot in after if snapshot.id not in known)


def _snapshot(data: dict[str, object]) -> Snapshot:
    return Snapshot(
        id=str(data["id"]),
        time=str(data.get("time") or ""),
        host=str(data.get("hostname") or ""),
        paths=_strings(data.get("paths")),
        tags=_strings(data.get("tags")),
    )


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(part) for part in value) if isinstance(value, list) else ()
