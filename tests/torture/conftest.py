"""What the torture tests share: figures, printed as they come and kept as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import memory

__all__ = ["figures", "memory"]

RESULTS = Path(__file__).parents[2] / "bench-results" / "torture.json"


@pytest.fixture
def figures(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Callable[[dict[str, Any]], None]:
    """A function that reports one test's figures."""

    def report(found: dict[str, Any]) -> None:
        RESULTS.parent.mkdir(exist_ok=True)
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        known[request.node.name] = found
        RESULTS.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
        with capsys.disabled():
            sys.stdout.write(f"\n{request.node.name}: {json.dumps(found)}\n")

    return report
