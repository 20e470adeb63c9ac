"""What the daemon does about Python's own housekeeping."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.commands.daemon import Daemon
from sidecar.plans.rendering import Rendering
from sidecar.settings.settings import resolve


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_the_first_pass_made_is_not_walked_by_later_collections(tmp_path: Path) -> None:
    settings = resolve(
        "daemon", {"config": str(tmp_path / "config.json"), "docker-sock": "/nowhere.sock"}, {}
    )
    daemon = Daemon(settings)
    gc.unfreeze()
    daemon._tick(0.0)
    assert gc.get_freeze_count() == 0  # nothing is known yet
    daemon._board.rendered(Rendering())
    daemon._tick(1.0)
    frozen = gc.get_freeze_count()
    assert frozen > 0
    later: list[list[int]] = [[] for _ in range(1000)]
    daemon._tick(2.0)
    assert gc.get_freeze_count() <= frozen
    assert len(later) == 1000
