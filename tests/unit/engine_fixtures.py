"""The adapter and the scripted engine that it talks to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.engine.client import Engine
from tests.doubles.engine import FakeEngine


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path / "s") as running:
        yield running


@pytest.fixture
def engine(fake: FakeEngine) -> Iterator[Engine]:
    made = Engine(fake.host, timeout=2.0, environ={})
    yield made
    made.close()
