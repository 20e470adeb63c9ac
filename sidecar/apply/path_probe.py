"""Looks paths up where Backrest would read them: is it there, is it a symlink, where does that lead?

The engine tells it from outside, without a mount of ours: ``HEAD /containers/<backrest>/archive`` (Engine API:
ContainerArchiveInfo). Where no Backrest container is known, Backrest runs on the host, or nobody knows where: then
this process looks itself. Only on the host is what it does not see missing; anywhere else it may not see everything.

- The engine needs some milliseconds a path. So what this process sees for itself, through a mount of the same
  directory of the host, is not asked for; all but a plain file or directory is.
- A path is asked for when it is first needed. One that was missing is asked for again at each pass, one that was
  there once in a while: a few at a time, so that no pass is slow for it.
- Nothing is concluded from a failure: what was known stays, and what was not known stays unknown. After one that
  took long nothing is asked for a while.
- A path that was there is missing when it was missed twice.
- 404 is the answer for a missing container as well. So nothing counts as missing until the container's own root is
  seen after it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

from sidecar.backrest.protected import find_backrest
from sidecar.engine.errors import EngineError
from sidecar.engine.model import EngineSnapshot
from sidecar.engine.types import PathStat
from sidecar.plans.mounts import View, in_host, in_view, view_of
from sidecar.plans.path_facts import NO_FACTS, Facts, PathFact

REFRESH: Final = 600.0
"""Seconds after which a path that was there is looked up again."""
AGAIN: Final = 5.0
"""Seconds after which a path that was not there is looked up again."""
BATCH: Final = 20
"""So many paths that are known already are looked up again in one pass at most."""
PATIENCE: Final = 10.0
"""Seconds of one pass that are spent on paths; the rest is left to the next pass."""


@runtime_checkable
class Engine(Protocol):
    """What is asked of a live engine. A recorded one has no such method, and is not asked."""

    def stat_path(self, container_id: str, path: str, /) -> PathStat | None:
        """Return what is at a path in a container, None for nothing."""


class PathProbe:
    """Remembers what was found out about paths. One worker's; not for several threads.

    Args:
        engine: The engine; None for a recorded one.
        backrest: ``--backrest-container``.
        clock: Monotonic seconds.
        on_host: Whether this process runs on the engine's own host, outside of any container.
    """

    def __init__(
        self, engine: Engine | None, backrest: str, clock: Callable[[], float], *, on_host: bool = False
    ) -> None:
        self._engine = engine
        self._backrest = backrest
        self._clock = clock
        self._on_host = on_host
        self._where = ""
        self._known: dict[str, tuple[PathFact, float]] = {}
        self._missed: set[str] = set()
        self._facts: Facts = NO_FACTS
        self._not_before = 0.0
        self.note = ""
        """Why nothing can be looked up; empty when it can."""

    @property
    def known(self) -> Facts:
        """What :meth:`facts` gave last."""
        return self._facts

    def facts(self, candidates: Sequence[str], snapshot: EngineSnapshot, *, viewed: bool = False) -> Facts:
        """Return what is known of these paths now; the very same object while nothing has changed.

        Args:
            candidates: Paths as Backrest would be given them.
            snapshot: Where Backrest's container is looked for.
            viewed: Whether the paths are those in Backrest's container, seen now or before: this process has others
                there, so that without the container nothing is known.
        """
        backrest = find_backrest(snapshot, self._backrest)
        if backrest is None or self._engine is None:
            if not self._where and not viewed:
                knows = self._on_host and self._engine is not None
                self._look_up(candidates, lambda path: _local(path, knows=knows))
        elif backrest.state not in {"removing", "dead"}:
            if backrest.id != self._where:
                self._where, self._known, self.note, self._not_before = backrest.id, {}, "", 0.0
            if not self.note:
                engine, where = self._engine, backrest.id
                theirs, ours = view_of(backrest.mounts), self._own_view(snapshot)

                def ask(path: str) -> PathFact | None:
                    return _seen_here(path, theirs, ours) or _in_container(engine, where, path)

                self._look_up(candidates, ask)
        found = {path: self._known[path][0] for path in candidates if path in self._known}
        if found != self._facts:
            self._facts = MappingProxyType(found)
        return self._facts

    def _own_view(self, snapshot: EngineSnapshot) -> View:
        """Return how this process sees the host's paths; empty when nobody can tell."""
        if self._on_host:
            return (("/", "/"),)
        own = next((c for c in snapshot.containers if c.id == snapshot.self_id), None)
        return view_of(own.mounts) if own is not None else ()

    def _look_up(self, candidates: Sequence[str], ask: Callable[[str], PathFact | None]) -> None:
        self._known = {path: self._known[path] for path in candidates if path in self._known}
        began = self._clock()
        if began < self._not_before:
            return
        for path in self._due(candidates, began):
            try:
                fact = ask(path)
            except EngineError as error:
                if error.kind == "forbidden":
                    self.note = f"whether Backrest finds the paths of its plans is not known: {error}"
                if error.kind == "timeout":  # a disk that hangs keeps each further pass as long
                    self._not_before = self._clock() + REFRESH
                if error.kind not in {"protocol", "conflict"}:
                    return
                fact = None  # it is about this path: the engine cannot read its disk, say
            if fact is not None and self._is_sure(path, fact):
                self._known[path] = fact, began
            if self._clock() - began > PATIENCE:
                return

    def _is_sure(self, path: str, fact: PathFact) -> bool:
        """Whether a fact counts: a path that was there must be missed twice, :data:`AGAIN` seconds apart or more.

        A directory that is being replaced, or a mount that is made anew, would change the plan twice.
        """
        before, _ = self._known.get(path, (fact, 0.0))
        if before.there == fact.there or fact.there or path in self._missed:
            self._missed.discard(path)
            return True
        self._missed.add(path)
        self._known[path] = before, self._clock() - REFRESH + AGAIN
        return False

    def _due(self, candidates: Sequence[str], now: float) -> list[str]:
        """Return what to look up: all that is not known, and some of what was known long ago, the oldest first."""
        again: list[tuple[float, str]] = []
        for path, (fact, asked) in self._known.items():
            if now - asked >= (REFRESH if fact.there else AGAIN):
                again.append((asked, path))
        again.sort()
        return [path for path in candidates if path not in self._known] + [p for _, p in again[:BATCH]]


def _seen_here(path: str, theirs: View, ours: View) -> PathFact | None:
    """Return that a path of Backrest's is there, when this process sees a plain file or directory in its place."""
    host = in_host(path, theirs) if ours else None
    here = in_view(host, ours) if host is not None else None
    if here is None:
        return None
    # Where a link leads on the way is for Backrest's own eyes.
    return PathFact(True) if _is_there(here) and os.path.realpath(here) == here else None


def _in_container(engine: Engine, container_id: str, path: str) -> PathFact | None:
    """Return what is at a path in Backrest's container; None where it has no container any more."""
    found = engine.stat_path(container_id, path)
    if found is None:
        return PathFact(False) if engine.stat_path(container_id, "/") is not None else None
    if not found.link_target:
        return PathFact(True)
    return PathFact(engine.stat_path(container_id, found.link_target) is not None, found.link_target)


def _local(path: str, *, knows: bool) -> PathFact | None:
    """Return what this process sees at a path; None for nothing, unless it ``knows`` what is there."""
    if os.path.islink(path):  # noqa: PTH114  # Path's raises where nobody may look
        return PathFact(True, os.path.realpath(path))
    there = _is_there(path)
    return PathFact(there) if there or (there is False and knows) else None


def _is_there(path: str) -> bool | None:
    """Whether there is something at a path; None where that cannot be told: no permission, a mount that is broken."""
    try:
        os.stat(path)  # noqa: PTH116
    except OSError as error:
        return False if error.errno in {errno.ENOENT, errno.ENOTDIR} else None
    except ValueError:  # a NUL in it
        return False
    return True
