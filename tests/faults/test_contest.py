"""No lost edit, the short form: the torture has the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.contest import contest


@pytest.mark.parametrize("role", ["editor", "cached"])
def test_no_edit_is_lost(memory: Path, role: str) -> None:
    outcome = contest(memory, role, 300, timeout=50)
    assert outcome.lost == set()
    assert outcome.leftovers == []
    assert outcome.sidecar["writes"] > 0
