"""What the list of containers does not tell: whether the engine removes one when it stops. Asked once for each.

Only containers whose labels ask for the stop/start template are asked about, so an engine of a thousand others
costs no call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sidecar.engine_errors import EngineError

_PREFIX, _TEMPLATE = "backrest.", "hooks.template"


class AutoRemoves:
    """Tells which containers run with ``--rm``; that never changes in a container's life. Not for several threads.

    Args:
        fetch: Returns the engine's JSON answer to a GET. Raises :class:`EngineError`.
        note: Takes what could not be looked up: a key, what follows from it, the error.
    """

    def __init__(self, fetch: Callable[[str], Any], note: Callable[[str, str, EngineError], object]) -> None:
        self._fetch = fetch
        self._note = note
        self._known: dict[str, bool] = {}
        self._refused = False

    def reset(self) -> None:
        """Forget everything: another engine may answer, or the same one with other permissions."""
        self._known, self._refused = {}, False

    def keep(self, there: Collection[str]) -> None:
        """Forget the containers that are not among these ids."""
        if len(self._known) > len(there):
            self._known = {i: answer for i, answer in self._known.items() if i in there}

    def of(self, container_id: str, labels: Mapping[str, str]) -> bool:
        """Return whether the engine removes a container when it stops; False where its labels ask for no template.

        Where nobody may ask it is a note, and False: the stop hook looks once more.

        Raises:
            EngineError: The engine does not answer.
        """
        if not any(key.startswith(_PREFIX) and key.endswith(_TEMPLATE) for key in labels):
            return False
        if container_id not in self._known and not self._refused:
            try:
                raw = self._fetch(f"/containers/{container_id}/json")
                self._known[container_id] = bool((raw.get("HostConfig") or {}).get("AutoRemove"))
            except EngineError as error:
                if error.kind in {"unreachable", "timeout", "denied"}:
                    raise
                self._refused = error.kind == "forbidden"
                if error.kind != "not-found":
                    what = "whether a container runs with --rm is unknown, its stop hook looks before it stops it"
                    self._note("removed", what, error)
        return self._known.get(container_id, False)
