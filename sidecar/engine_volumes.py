"""What is known of the engine's volumes: asked for once, and again when somebody says that one may have changed.

One whose name is told is asked for by name, for the engine needs long to list hundreds. A volume in use cannot be
replaced, so one that a new container mounts is asked for anew, and all others are what they were.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from sidecar import engine_decode
from sidecar.engine_errors import EngineError
from sidecar.model import Volume

FEW: Final = 8
"""So many volumes at most are asked for one by one; for more, the whole list is cheaper."""


class Volumes:
    """The volumes as last seen. ``tell`` may be called by any thread, everything else by one at a time.

    Args:
        ask: Gives the decoded answer to a GET, None where it is forbidden; raises :class:`EngineError`.

    Attributes:
        known: By name; another object only when something has changed.
    """

    def __init__(self, ask: Callable[[str], Any]) -> None:
        self.known: Mapping[str, Volume] = MappingProxyType({})
        self._ask = ask
        self._missing: frozenset[str] = frozenset()
        self._fresh: set[str] = set()
        self._all_fresh = False
        self._forbidden = False
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def tell(self, name: str) -> None:
        """Have one asked for again by the next :meth:`renew`. Never blocks."""
        with self._lock:
            self._told.add(name)

    def renew(self, *, everything: bool) -> bool:
        """Ask again, once the containers have just been listed.

        Args:
            everything: For all of them; else for those told of.

        Returns:
            Whether what was made of a container before may be another now.
        """
        with self._lock:
            told, self._told = self._told, set()
        self._fresh, self._all_fresh = set(), False
        try:
            return self._look(told, everything=everything)
        except EngineError:
            with self._lock:
                self._told |= told
            raise

    def need(self, mounted: Collection[str], anew: Collection[str]) -> bool:
        """Know what containers mount that are seen for the first time, or changed.

        Args:
            mounted: Names of all that they mount.
            anew: Those among them that are asked for though they are known: a new container mounts them.

        Returns:
            As :meth:`renew`.
        """
        unknown = (set(mounted) - self.known.keys() - self._missing) | set(anew)
        altered = self._look(unknown, everything=False)
        self._missing |= set(mounted) - self.known.keys()
        return altered

    def _look(self, names: Iterable[str], *, everything: bool) -> bool:
        wanted = set() if self._all_fresh else set(names) - self._fresh
        if everything or len(wanted) > FEW:
            return self._list()
        if not wanted or self._forbidden:
            return False
        found = dict(self.known)
        for name in wanted:
            found.pop(name, None)
            try:
                answer = self._ask(f"/volumes/{quote(name, safe='')}")
            except EngineError as error:
                if error.kind == "not-found":
                    continue
                answer = None
            if answer is None:  # a driver that does not answer spoils its own volume only, and not the list
                return self._list()
            found[name] = engine_decode.volume(answer)
        self._fresh |= wanted
        return self._put(found)

    def _list(self) -> bool:
        answer = self._ask("/volumes")
        self._forbidden, self._all_fresh = answer is None, True
        rows = (answer or {}).get("Volumes") or ()
        return self._put({one.name: one for one in map(engine_decode.volume, rows)})

    def _put(self, new: Mapping[str, Volume]) -> bool:
        old = self.known
        altered = any((other := new.get(name)) is not one and other != one for name, one in old.items())
        if altered or len(new) != len(old):
            self.known = MappingProxyType(new)
        back = self._missing & new.keys()
        self._missing -= back
        return altered or bool(back)
