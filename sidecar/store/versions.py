"""The previous versions of config.json that lie beside it, and the names under which they do.

``config.json.sidecar.<UTC time>`` is what stood there before one of our writes; the newest ten are kept.
``config.json.sidecar.<UTC time>.kept`` is a version of another writer that nobody has merged: it is never
removed by us. Names sort by age, also after the clock was set back: a new one is always past the newest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

KEEP = 10
MODE = 0o600
"""The file holds repository passwords, whatever mode the live one has to have."""

_FORMAT = "%Y%m%dT%H%M%S"
_STAMP = re.compile(r"(\d{8}T\d{6})\.(\d{3})Z(\.kept)?")
_STEP = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class UndoCopy:
    """One previous version on the disk.

    Attributes:
        time: When it was put aside, as its name says it.
        path: The file.
        kept: Whether it holds another writer's edit that was in nobody's merge.
    """

    time: datetime
    path: Path
    kept: bool = False

    @property
    def label(self) -> str:
        """The time as ``restore-config`` takes it."""
        return _label(self.time)


def _label(time: datetime) -> str:
    return f"{time.strftime(_FORMAT)}.{time.microsecond // 1000:03d}Z"


def _parse(name: str, base: str) -> tuple[datetime, bool] | None:
    prefix = f"{base}.sidecar."
    found = _STAMP.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
    if found is None:
        return None
    try:
        second = datetime.strptime(found[1], _FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return second + timedelta(milliseconds=int(found[2])), bool(found[3])


def listing(names: Iterable[str], path: Path) -> tuple[UndoCopy, ...]:
    """Return the previous versions of ``path`` among the names of its directory, newest first."""
    found: list[UndoCopy] = []
    for name in names:
        parsed = _parse(name, path.name)
        if parsed is not None:
            found.append(UndoCopy(parsed[0], path.with_name(name), parsed[1]))
    return tuple(sorted(found, key=lambda copy: copy.time, reverse=True))


def new_name(names: Iterable[str], path: Path, now: float, *, kept: bool = False) -> str:
    """Return the name for a version that is put aside now.

    Args:
        names: What the directory holds.
        path: The file that it is a version of.
        now: Unix time in seconds.
        kept: Whether it is another writer's unmerged version.
    """
    time = datetime.fromtimestamp(now, UTC)
    time = time.replace(microsecond=time.microsecond // 1000 * 1000)
    newest = listing(names, path)[:1]
    if newest and time <= newest[0].time:
        time = newest[0].time + _STEP
    return f"{path.name}.sidecar.{_label(time)}{'.kept' if kept else ''}"


def expired(names: Iterable[str], path: Path, keep: int = KEEP) -> tuple[str, ...]:
    """Return the names of the copies past the newest ``keep``. A kept version never is among them."""
    return tuple(copy.path.name for copy in listing(names, path) if not copy.kept)[keep:]


def choose(copies: tuple[UndoCopy, ...], time: str = "") -> UndoCopy:
    """Return the copy that a person means.

    Args:
        copies: As :func:`listing` gives them.
        time: Beginning of a copy's label, e.g. ``20260102T0304``; empty for the newest copy of ours.

    Raises:
        LookupError: None fits, or several do; the message lists what there is.
    """
    ours = [copy for copy in copies if copy.label.startswith(time)] if time else list(copies)
    if not time:
        ours = [copy for copy in copies if not copy.kept][:1]
    if len(ours) == 1:
        return ours[0]
    there = ", ".join(copy.label for copy in copies) or "none"
    if not copies:
        message = "There is no previous version of config.json to put back."
    elif not ours:
        message = f"No previous version of config.json is called {time!r}. There are: {there}."
    else:
        message = f"{time!r} fits several previous versions of config.json. There are: {there}."
    raise LookupError(message)
