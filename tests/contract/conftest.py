"""Each test of the contract runs on the double, and on the real Backrest that BACKREST_BIN names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.harness import Running, start_double, start_real

REAL = pytest.param(
    "real",
    marks=[
        pytest.mark.backrest,
        pytest.mark.skipif(not os.environ.get("BACKREST_BIN"), reason="BACKREST_BIN names no real Backrest"),
    ],
)


@pytest.fixture(params=["double", REAL])
def kind(request: pytest.FixtureRequest) -> str:
    """``double`` or ``real``."""
    return str(request.param)


@pytest.fixture
def backrest(kind: str, tmp_path: Path) -> Iterator[Running]:
    """One Backrest, not started yet; killed at the end."""
    with (start_real if kind == "real" else start_double)(tmp_path / "backrest") as running:
        yield running
