"""What is learnt while a change settles is kept, though nothing is left to write."""

from __future__ import annotations

from pathlib import Path

from tests.unit.builders import container
from tests.unit.stage import Stage


def test_an_absence_first_seen_while_settling_counts_from_then_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path, orphans="remove", orphan_grace="1h")
    stage.want(container("gone"), container("web"))
    stage.run()
    stage.want(container("web"), container("late"))
    stage.run(longest=2.0)
    stage.want(container("web"))
    stage.run(longest=60.0)
    assert stage.file.state().owners["backrest_sidecar_gone"].absent_since > 0
    stage.sleep(3700)
    stage.want(container("web"))
    stage.run()
    assert stage.backrest.plans() == {"hand-made", "backrest_sidecar_web"}
