"""Where snapshots come from: a live engine, or the recorded replies that stand in for one."""

from __future__ import annotations

from pathlib import Path

from sidecar.engine.client import Engine
from sidecar.engine.recorded import ReplayEngine

Source = Engine | ReplayEngine
"""Where snapshots come from."""


def open_engine(address: str, replay: Path | None) -> Source:
    """Return the engine at ``address``, or the replies recorded in ``replay``. EngineError: a bad address."""
    return ReplayEngine(replay) if replay else Engine(address)
