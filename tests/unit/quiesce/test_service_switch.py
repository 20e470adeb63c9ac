"""Swarm services in a backup: scaled to nothing and back, whatever happens in between."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from sidecar.backup.options import BackupOptions
from sidecar.backup.run import run_backup_once
from sidecar.backup.summary import Outcome
from sidecar.engine.errors import EngineError
from sidecar.quiesce.journal import Journal
from sidecar.quiesce.recovery import recover
from tests.doubles.swarm import add_service
from tests.unit.quiesce.test_quiesce_crash import script
from tests.unit.quiesce_rig import Died, FakeEngine, tools, use_journal, workload


def world() -> FakeEngine:
    engine = FakeEngine(script=script)
    engine.add(workload("db"))
    add_service(engine, "web", replicas=2)
    add_service(engine, "idle", replicas=0)
    return engine


def run(engine: FakeEngine, state_dir: Path, **options: Any) -> Outcome:
    flags = BackupOptions(**{"state_dir": state_dir, "kind": "restic", "mode": "stop", **options})
    return run_backup_once(engine, flags, tools(engine), {})


def running(engine: FakeEngine) -> dict[str, int]:
    """Return how many containers run, by service."""
    found: dict[str, int] = {}
    for box in engine.boxes.values():
        if box.state == "running":
            name = box.container.swarm_service or box.container.name
            found[name] = found.get(name, 0) + 1
    return found


def test_it_is_down_while_it_is_backed_up_and_has_its_replicas_again(tmp_path: Path) -> None:
    engine = world()
    during: list[dict[str, int]] = []

    def look(engine: FakeEngine, spec: Any) -> tuple[int, list[str]]:
        if "backup" in spec.command and "/volumes/shop/web" in spec.command:
            during.append(running(engine))
        return script(engine, spec)

    engine.script = look
    outcome = run(engine, tmp_path)

    assert outcome.exit_code == 0, outcome
    assert during
    assert all("shop_web" not in seen for seen in during)
    assert running(engine) == {"db": 1, "shop_web": 2}
    assert [call for call in engine.calls if call[0] == "scale"] == [
        ("scale", "shop_web=0"),
        ("scale", "shop_web=2"),
    ]
    assert engine.services["shop_idle"].replicas == 0


def test_the_journal_has_the_replicas_before_it_is_scaled(tmp_path: Path) -> None:
    engine = world()
    held: list[tuple[str, int, str]] = []

    def hook(_engine: FakeEngine, verb: str, name: str) -> None:
        if (verb, name) == ("scale", "shop_web=0"):
            book = Journal(tmp_path, lambda: 0.0).load()
            assert book is not None
            held.extend((e.swarm, e.replicas, e.state.value) for e in book.entries if e.swarm)

    engine.hook = hook
    run(engine, tmp_path)

    assert held == [("shop_web", 2, "stopping")]


@pytest.mark.parametrize("how", ["before", "during", "after"])
def test_whatever_step_it_dies_at_the_replicas_come_back(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = world()
    with pytest.MonkeyPatch.context() as patch:
        use_journal(counted, patch)
        run(counted, tmp_path / "count")
    assert counted.steps > 20
    for at in range(counted.steps):
        engine = world()
        engine.die_at, engine.die_how = at, how
        use_journal(engine, monkeypatch)
        with contextlib.suppress(Died):
            run(engine, tmp_path / str(at))
        engine.dead, engine.die_at = False, -1

        recovered = recover(engine, tmp_path / str(at), tools(engine))

        engine.rest(10.0)
        assert not recovered.failed, (at, recovered)
        assert running(engine) == {"db": 1, "shop_web": 2}, at
        assert {name: s.replicas for name, s in engine.services.items()} == {"shop_web": 2, "shop_idle": 0}


def test_what_somebody_scaled_in_between_stays_so(tmp_path: Path) -> None:
    engine = world()

    def look(engine: FakeEngine, spec: Any) -> tuple[int, list[str]]:
        if "/volumes/shop/web" in spec.command:
            engine.swarm.scale("shop_web", 5)
        return script(engine, spec)

    engine.script = look
    run(engine, tmp_path)

    assert engine.services["shop_web"].replicas == 5


def test_a_task_that_does_not_end_is_no_quiet_backup(tmp_path: Path) -> None:
    engine = world()

    def hook(engine: FakeEngine, verb: str, _name: str) -> None:
        if verb == "snapshot":
            engine.later = [due for due in engine.later if due[2] != "exited"]

    engine.hook = hook
    outcome = run(engine, tmp_path)

    assert outcome.exit_code == 3
    assert any("a task still runs" in problem for problem in outcome.summary.problems)
    assert engine.services["shop_web"].replicas == 2


def test_a_manager_that_refuses_fails_the_backup_of_that_service_alone(tmp_path: Path) -> None:
    engine = world()

    def hook(_engine: FakeEngine, verb: str, name: str) -> None:
        if (verb, name) == ("scale", "shop_web=0"):
            raise EngineError("forbidden", "POST /services is forbidden")

    engine.hook = hook
    outcome = run(engine, tmp_path)

    assert outcome.exit_code == 3
    assert any("shop/web is not backed up" in problem for problem in outcome.summary.problems)
    assert any("db" in line for line in outcome.summary.backed_up)
    assert running(engine) == {"db": 1, "shop_web": 2}


def test_a_dry_run_says_what_it_would_scale(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = world()
    caplog.set_level("INFO")

    run(engine, tmp_path, dry_run=True)

    said = [str(getattr(record, "fields", record.__dict__)) for record in caplog.records]
    assert any("scale shop_web from 2 to 0" in line for line in said)
    assert any("scale shop_web back to 2" in line for line in said)
    assert not [call for call in engine.calls if call[0] == "scale"]
