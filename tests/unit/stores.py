"""A store on a config.json, and a clock to turn."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sidecar.store.config_store import ConfigStore

OLD = b'{"version": 6}'
NEW = b'{"version": 6, "plans": []}'
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC).timestamp()


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def store_on(path: Path, *, mode: int | None = 0o644, clock: Clock | None = None) -> ConfigStore:
    return ConfigStore(path, mode=mode, state_dir=path.parent / ".backrest-sidecar", clock=clock or Clock())
