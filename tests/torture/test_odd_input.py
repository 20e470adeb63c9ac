"""Random labels and config files: no crash, and no output that our validation or a real Backrest refuses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.harness import start_real
from tests.torture.odd_input import config_rounds, label_rounds

Figures = Callable[[dict[str, Any]], None]
SAMPLE = 25
"""How many documents a real Backrest is started on."""


def test_label_sets() -> None:
    found = label_rounds(600, seed=1)
    assert found["plans"] > 60
    assert found["findings"] > 60


def test_config_files() -> None:
    found = config_rounds(400, seed=2)
    assert min(found["refused"], found["with_faults"], found["good"]) > 20


def accepted(home: Path, documents: Iterable[bytes]) -> int:
    """Start the real Backrest on each document; return how many it came up with."""
    count = 0
    for number, raw in enumerate(documents):
        with start_real(home / str(number)) as backrest:
            backrest.start(raw)
            assert backrest.exit_code is None, backrest.log[-1500:]
        count += 1
    return count


def tell(figures: Figures, found: dict[str, Any], folder: Path) -> None:
    """Tell what was found, and on how many of its documents Backrest started, where there is one."""
    documents = found.pop("documents")[:SAMPLE]
    if os.environ.get("BACKREST_BIN"):
        found["started_on"] = accepted(folder, documents)
    figures(found)


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_label_sets(figures: Figures, tmp_path: Path) -> None:
    found = label_rounds(100_000, seed=20260104)
    tell(figures, found, tmp_path)
    assert found["label_sets"] >= 100_000


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_ten_thousand_config_files(figures: Figures, tmp_path: Path) -> None:
    found = config_rounds(10_000, seed=20260105)
    tell(figures, found, tmp_path)
    assert found["files"] == 10_000
