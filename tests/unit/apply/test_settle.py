"""What is learnt while a change settles is kept, though nothing is left to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.builders import container
from tests.unit.stage import Stage


@pytest.mark.parametrize("seconds", [2.0, 11.0])
def test_an_absence_first_seen_before_a_change_is_taken_back_counts(tmp_path: Path, seconds: float) -> None:
    """Taken back while it settles, or while Backrest is waited for."""
    stage = Stage(tmp_path, orphans="remove", orphan_grace="1h")
    stage.want(container("gone"), container("web"))
    stage.run()
    stage.want(container("web"), container("late"))
    stage.run(longest=seconds)
    stage.want(container("web"))
    stage.run(longest=60.0)
    assert stage.file.state().owners["backrest_sidecar_gone"].absent_since > 0
    stage.sleep(3700)
    stage.want(container("web"))
    stage.run()
    assert stage.backrest.plans() == {"hand-made", "backrest_sidecar_web"}
