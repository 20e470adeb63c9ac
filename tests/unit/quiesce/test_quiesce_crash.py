"""The process dies at every single step of a run, before it, in the middle, or after; then recovery puts all right.

Enumerated, not sampled: a run is first counted, then repeated once for each step and each manner of dying. Every
write of the journal and every call to the engine is a step.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from sidecar.backup.options import BackupOptions
from sidecar.backup.run import run_backup_once
from sidecar.quiesce.journal import FILE_NAME
from sidecar.quiesce.recovery import recover
from tests.unit.quiesce_rig import Died, FakeEngine, tools, use_journal, workload

MODES: list[dict[str, Any]] = [
    {"kind": "rcb", "mode": "stop"},
    {"kind": "rcb", "mode": "pause"},
    {"kind": "restic", "mode": "stop"},
    {"kind": "restic", "mode": "stop", "together": True},
    {"kind": "restic", "mode": "pause"},
]


def world() -> FakeEngine:
    """Three that run and depend on each other, one alone, one down, one paused, one that does not ask."""
    engine = FakeEngine(script=script)
    engine.add(workload("db", backrest__enable="true", backrest__keep="daily=7"))
    engine.add(workload("api", com__docker__compose__depends_on="db:service_healthy:false"))
    engine.add(workload("web", com__docker__compose__depends_on="api"))
    engine.add(workload("alone", backrest__enable="true"))
    engine.add(workload("down"), state="exited")
    engine.add(workload("held"), state="paused")
    engine.add(workload("other", quiesce=False))
    return engine


def script(engine: FakeEngine, spec: Any) -> tuple[int, list[str]]:
    command = (*spec.entrypoint, *spec.command)
    if "snapshots" in command:
        made = sum(verb == "run" and "backup" in name for verb, name in engine.calls)
        listed = ",".join(f'{{"id":"{n:064x}","paths":["/volumes"]}}' for n in range(made))
        return 0, [f"[{listed}]"]
    if command[:2] == ("rcb", "backup"):
        return 0, ["Backup container exit code: 0"]
    return 0, ["snapshot 01234567 saved"]


def run(engine: FakeEngine, state_dir: Path, mode: dict[str, Any]) -> None:
    run_backup_once(engine, BackupOptions(state_dir=state_dir, **mode), tools(engine), {})


def steps_of(mode: dict[str, Any], state_dir: Path) -> int:
    engine = world()
    with pytest.MonkeyPatch.context() as patch:
        use_journal(engine, patch)
        run(engine, state_dir, mode)
    assert engine.states() == world().states()
    return engine.steps


@pytest.mark.parametrize("how", ["before", "during", "after"])
@pytest.mark.parametrize("mode", MODES, ids=lambda m: "-".join(map(str, m.values())))
def test_whatever_step_it_dies_at_everything_comes_back(
    mode: dict[str, Any], how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = steps_of(mode, tmp_path / "count")
    assert count > 30
    for at in range(count):
        engine = world()
        engine.die_at, engine.die_how = at, how
        state_dir = tmp_path / str(at)
        use_journal(engine, monkeypatch)
        with contextlib.suppress(Died):
            run(engine, state_dir, mode)
        assert engine.dead
        last = engine.calls[-1]
        engine.dead, engine.die_at = False, -1
        before = len(engine.calls)
        outcome = recover(engine, state_dir, tools(engine))
        engine.rest(60.0)  # whatever the dead process had asked for has happened by now
        assert not outcome.failed, (at, last)
        assert engine.states() == world().states(), (at, last, engine.calls[before:])
        assert not engine.helpers(), (at, last)
        touched = {
            name for verb, name in engine.calls[before:] if verb in {"start", "stop", "unpause", "pause"}
        }
        assert touched <= {"db", "api", "web", "alone"}, (at, last)
        assert recover(engine, state_dir, tools(engine)).exit_code == 2, (at, last)


def test_it_dies_while_it_recovers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mode = MODES[0]
    for at in range(40):
        engine = world()
        use_journal(engine, monkeypatch)
        state_dir = tmp_path / str(at)
        engine.hook = die_in_backup
        with contextlib.suppress(Died):
            run(engine, state_dir, mode)
        engine.dead, engine.hook = False, None
        engine.die_at, engine.die_how = engine.steps + at, "during"
        with contextlib.suppress(Died):
            recover(engine, state_dir, tools(engine))
        engine.dead, engine.die_at = False, -1
        assert not recover(engine, state_dir, tools(engine)).failed
        engine.rest(60.0)
        assert engine.states() == world().states(), at
        assert not engine.helpers()


def die_in_backup(engine: FakeEngine, verb: str, name: str) -> None:
    if verb == "wait" and "-rcb-" in name:
        engine.dead = True
        raise Died


def test_a_journal_that_may_not_be_looked_for_is_not_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refused)
    outcome = recover(world(), tmp_path, tools(world()))
    assert outcome.exit_code == 3
    (failed,) = outcome.failed
    assert failed.startswith(
        f"{tmp_path / FILE_NAME} cannot be read: Permission denied. Run the sidecar as its owner"
    )
