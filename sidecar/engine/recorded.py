"""Recorded replies of a real engine in the place of one, so that the main job can be shown where none answers.

The folder holds what ``scripts/record_engine.py`` wrote: ``containers.json``, ``volumes.json``, ``info.json``,
``version.json`` and ``images.json`` (inspects by image id). The same code decodes them as a live engine's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

from sidecar.engine import decode
from sidecar.engine.errors import EngineError
from sidecar.engine.model import EngineSnapshot
from sidecar.engine.snapshot import Snapshots
from sidecar.engine.types import EngineInfo

_FILES = {
    "/containers/json": "containers.json",
    "/volumes": "volumes.json",
    "/info": "info.json",
    "/version": "version.json",
    "/services": "services.json",
}


class ReplayEngine:
    """An engine that only answers with what was recorded.

    Args:
        folder: Where the recordings are.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._snapshots = Snapshots(self, own_ids=lambda: ())

    @property
    def host(self) -> str:
        """Return where the recordings are."""
        return f"replay://{self._folder}"

    @property
    def generation(self) -> int:
        """A recording never changes."""
        return 0

    @property
    def api_version(self) -> str:
        """Unknown: no inspect was recorded, so none is asked for."""
        return ""

    def fetch(self, path: str) -> bytes:
        """Return the recorded answer. Raises :class:`EngineError` where there is none."""
        bare = path.partition("?")[0]
        if bare.startswith("/images/"):
            wanted = unquote(bare.removeprefix("/images/").removesuffix("/json"))
            images: dict[str, Any] = decode.loads(self._read("images.json"), "/images")
            if wanted not in images:
                raise EngineError("not-found", f"image {wanted} was not recorded")
            return orjson.dumps(images[wanted])
        if bare not in _FILES:
            raise EngineError("not-found", f"{bare} was not recorded")
        return self._read(_FILES[bare])

    def snapshot(self) -> EngineSnapshot:
        """Return everything that was recorded. Raises :class:`EngineError`."""
        return self._snapshots.take()

    def info(self) -> EngineInfo:
        """Return the facts of the recorded engine. Raises :class:`EngineError`."""
        return self._snapshots.info()

    def invalidate_volumes(self) -> None:
        """Read volumes again at the next snapshot."""
        self._snapshots.invalidate()

    def close(self) -> None:
        """Do nothing: no connection is open."""

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise EngineError(
                "unreachable",
                f"no recorded engine in {self._folder}: {name}: {error.strerror}",
                "name a folder made by scripts/record_engine.py",
            ) from error
