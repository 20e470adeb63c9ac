"""What a quiesce journal says: pure values, their lines on disk, and how these are read again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Literal

import orjson

VERSION = 1
_RUN_ID = re.compile(r"[0-9a-f]{12}")

Mode = Literal["stop", "pause"]


class JournalError(Exception):
    """The journal cannot be written, or not be read. The text says what, where, and what to do."""


class State(StrEnum):
    """How far we are with one container. Only ``STOPPING`` and ``STOPPED`` are owed."""

    PLANNED = "planned"
    STOPPING = "stopping"
    STOPPED = "stopped"
    STARTED = "started"
    GONE = "gone"


OWED = frozenset({State.STOPPING, State.STOPPED})


@dataclass(frozen=True, slots=True)
class Entry:
    """One container that a run takes down.

    Attributes:
        id: Its id when the run began; after a recreate it is found by what follows.
        name: Its name.
        project: Compose project, or empty.
        service: Compose service, or empty.
        number: Compose container number, or empty.
        swarm: Full name of the Swarm service that is scaled to nothing, or empty for a container.
        replicas: The replicas that such a service had.
        needs: Ids of the entries that must be up before it.
        grace: Seconds that the engine may still work on its stop after being asked.
        state: How far we are.
        since: Unix time of that state.
    """

    id: str
    name: str
    project: str = ""
    service: str = ""
    number: str = ""
    needs: tuple[str, ...] = ()
    grace: float = 10.0
    state: State = State.PLANNED
    since: float = 0.0
    swarm: str = ""
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class Book:
    """The journal as a whole.

    Attributes:
        run: Id of the run that wrote it; containers that it started itself carry it in a label.
        mode: Whether the entries are stopped or paused.
        began: Unix time of its beginning.
        entries: In the order in which they come up again, as far as order matters.
        helpers: Ids or names of the containers that the run started itself and has not removed yet.
        torn: How many lines could not be read.
    """

    run: str
    mode: Mode = "stop"
    began: float = 0.0
    entries: tuple[Entry, ...] = ()
    helpers: tuple[str, ...] = ()
    torn: int = 0

    @property
    def owed(self) -> tuple[Entry, ...]:
        """The entries that we may have taken down and have not brought back."""
        return tuple(entry for entry in self.entries if entry.state in OWED)


def parse(raw: bytes, *, where: str) -> Book:
    """Return the journal that these bytes are.

    Args:
        raw: The whole file.
        where: Its path, for the error.

    Raises:
        JournalError: The first line is none of ours. Any other that makes no sense is counted and skipped.
    """
    first, *rest = raw.split(b"\n")
    try:
        head = orjson.loads(first)
        if (
            head["version"] != VERSION
            or not _RUN_ID.fullmatch(head["run"])
            or head["mode"] not in {"stop", "pause"}
        ):
            raise ValueError("of another version")
        entries = {str(e["id"]): _entry(e) for e in head["containers"]}
        book = Book(head["run"], head["mode"], float(head["began"]), tuple(entries.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalError(
            f"{where} cannot be understood ({type(error).__name__}); look at it and at `docker ps -a`,"
            " and start what is down"
        ) from error
    helpers: dict[str, None] = {}
    torn = 0
    for text in rest:
        if not text.strip():
            continue
        try:
            record = orjson.loads(text)
            if "helper" in record:
                if record["gone"]:
                    helpers.pop(str(record["helper"]), None)
                else:
                    helpers[str(record["helper"])] = None
            else:
                known = entries[record["id"]]
                entries[known.id] = replace(known, state=State(record["state"]), since=float(record["at"]))
        except (ValueError, KeyError, TypeError):
            torn += 1
    return replace(book, entries=tuple(entries.values()), helpers=tuple(helpers), torn=torn)


def head_line(book: Book) -> bytes:
    """Return the journal's first line: the run and everything that it is about to take down."""
    containers = [asdict(entry) for entry in book.entries]
    head = {"version": VERSION, "run": book.run, "mode": book.mode, "began": book.began}
    return line({**head, "containers": containers})


def line(record: Mapping[str, Any]) -> bytes:
    """Return one record as the line that goes into the file."""
    return orjson.dumps(record) + b"\n"


def _entry(data: Mapping[str, Any]) -> Entry:
    return Entry(
        id=str(data["id"]),
        name=str(data["name"]),
        project=str(data["project"]),
        service=str(data["service"]),
        number=str(data["number"]),
        needs=tuple(str(need) for need in data["needs"]),
        grace=float(data["grace"]),
        state=State(data["state"]),
        since=float(data["since"]),
        # Journals of versions that knew no services lack these.
        swarm=str(data.get("swarm", "")),
        replicas=int(data.get("replicas", 0)),
    )
