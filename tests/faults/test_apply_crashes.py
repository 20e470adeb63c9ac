"""The process dies at every step of stop → write → start, and the next one makes good: Backrest runs, with the plans.

Every file operation and every call to the engine is a step, before and after.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.faults.scripted_fs import ScriptedFs, SimulatedCrash
from tests.unit.builders import container
from tests.unit.stage import Stage

WEB = "backrest_sidecar_web"
ENGINE_CALLS = ("find", "top", "stop", "start", "logs")


every = pytest.mark.parametrize(
    "stride", [7, pytest.param(1, marks=[pytest.mark.torture, pytest.mark.timeout(600)])]
)
"""The short form dies at every seventh step."""


def instrument(stage: Stage, fs: ScriptedFs) -> Callable[[], None]:
    """Let a scripted file system count, and end, what the stage does; return how to undo it on the engine."""
    store, states = stage.file.store, stage.file._states
    store._fs = store._intents._fs = states._fs = fs
    backrest: Any = stage.backrest

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            found = fs._run(name, lambda: real(*args, **options), ())
            fs._run(f"{name} done", lambda: None, ())
            return found

        return call

    for name in ENGINE_CALLS:
        setattr(backrest, name, counted(name, getattr(backrest, name)))

    def undo() -> None:
        for name in ENGINE_CALLS:
            delattr(backrest, name)

    return undo


def work(stage: Stage) -> None:
    stage.want(container("web"))
    stage.run()


def count_steps(directory: Path, **flags: Any) -> ScriptedFs:
    directory.mkdir()
    stage = Stage(directory, **flags)
    fs = ScriptedFs()
    instrument(stage, fs)
    work(stage)
    return fs


@every
def test_every_step_of_an_apply(memory: Path, stride: int) -> None:
    counted = count_steps(memory / "count")
    names = counted.calls
    stop, swap, start = names.index("stop"), names.index("exchange"), names.index("start")
    assert stop < swap < start
    down = 0
    for number in range(0, len(names), stride):
        directory = memory / f"{number}"
        directory.mkdir()
        stage = Stage(directory)
        fs = ScriptedFs(crash_at=number)
        undo = instrument(stage, fs)
        with suppress(SimulatedCrash):
            work(stage)
        if not fs.dead:
            break
        undo()
        assert stage.plans() in ({"hand-made"}, {"hand-made", WEB})
        down += not stage.backrest.running
        stage.sleep(120)
        stage.reborn()
        stage.file.recover()
        stage.restarter.must_start()
        assert stage.backrest.running, names[number]
        stage.want(container("web"))
        stage.run()
        assert stage.backrest.running
        assert stage.backrest.plans() == {"hand-made", WEB} == stage.plans(), names[number]
        state = stage.file.state()
        assert (state.stopped, state.owed) == (None, None), names[number]
        assert set(state.owners) == {WEB}
        assert stage.backrest.calls.count("stop") <= 2
        assert list(directory.glob(".config.json*")) == []
        assert list(directory.glob("*.kept")) == []
    assert down > 10 / stride


@every
def test_a_restart_that_a_killed_writer_owed_is_done_by_the_next_apply(memory: Path, stride: int) -> None:
    names = count_steps(memory / "count", apply=False).calls
    written = 0
    for number in range(0, len(names), stride):
        directory = memory / f"{number}"
        directory.mkdir()
        stage = Stage(directory, apply=False)
        fs = ScriptedFs(crash_at=number)
        instrument(stage, fs)
        with suppress(SimulatedCrash):
            work(stage)
        if not fs.dead:
            break
        written += stage.plans() != {"hand-made"}
        later = Stage(directory, config={}, apply=True)
        later.backrest.cache = stage.backrest.cache
        later.file.recover()
        later.restarter.must_start()
        later.sleep(120)
        later.want(container("web"))
        later.run()
        assert later.backrest.plans() == {"hand-made", WEB}, (number, names[number])
        assert later.file.state().owed is None
    assert written > 5 / stride
