"""``restore-config`` as a command: what it says when it is told to stop, before and after the swap."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from sidecar.commands import restore_config
from sidecar.commands.wiring import Writing
from sidecar.engine.errors import EngineError
from tests.unit.builders import container
from tests.unit.stage import CONFIG, Stage


class TurningEvent(threading.Event):
    """A stop event whose waits turn the stage's clock; told to stop at the wait after ``tell`` says so."""

    def __init__(self, stage: Stage, tell: Callable[[], bool]) -> None:
        super().__init__()
        self._stage = stage
        self._tell = tell

    def wait(self, timeout: float | None = None) -> bool:
        if self._tell():
            self.set()
        self._stage.clock.now += timeout or 0.0
        return self.is_set()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    made.want(container("web"))
    made.run()  # so that there is a previous version
    made.backrest.calls.clear()
    made.clock.now += 3600
    return made


def restore(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tell: Callable[[], bool]
) -> tuple[int, list[dict[str, Any]]]:
    @contextmanager
    def stopping() -> Iterator[threading.Event]:
        yield TurningEvent(stage, tell)

    parts = Writing(stage.file, stage.restarter, stage.applier)
    monkeypatch.setattr(restore_config, "stopping", stopping)
    monkeypatch.setattr(restore_config, "writing", lambda *_args, **_kw: parts)
    monkeypatch.setattr(restore_config, "time", SimpleNamespace(monotonic=stage.clock))
    caplog.clear()
    with caplog.at_level("INFO"):
        code = restore_config.restore_config(stage.settings)
    return code, [{"action": record.message, **record.__dict__["fields"]} for record in caplog.records]


def last(lines: list[dict[str, Any]]) -> dict[str, Any]:
    return next(line for line in reversed(lines) if line["action"].startswith("config."))


def test_told_to_stop_after_the_swap_says_that_the_version_is_in_place(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code, lines = restore(stage, monkeypatch, caplog, lambda: "start" in stage.backrest.calls)
    assert code == 3
    assert stage.plans() == {"hand-made"}
    assert stage.backrest.running
    assert last(lines)["action"] == "config.restored"
    assert "in place" in last(lines)["reason"]
    assert not any("nothing was changed" in line.get("reason", "") for line in lines)


def test_told_to_stop_before_the_swap_says_that_nothing_was_changed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = stage.path.read_bytes()
    code, lines = restore(stage, monkeypatch, caplog, lambda: True)
    assert code == 3
    assert stage.path.read_bytes() == before
    assert stage.backrest.calls == []
    assert "nothing was changed" in last(lines)["reason"]


def test_a_failure_after_the_swap_says_that_the_version_is_in_place(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage.backrest.fail["start"] = EngineError("unreachable", "engine away", "")
    code, lines = restore(stage, monkeypatch, caplog, lambda: False)
    assert code == 3
    assert orjson.loads(stage.path.read_bytes())["plans"] == CONFIG["plans"]
    assert (last(lines)["action"], last(lines)["in_place"]) == ("config.restore_failed", True)


def test_left_alone_it_ends_well(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code, lines = restore(stage, monkeypatch, caplog, lambda: False)
    assert code == 0
    assert stage.backrest.plans() == {"hand-made"}
    assert last(lines)["action"] == "config.restored"


def test_the_list_tells_of_the_copies_that_backrest_keeps(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = Writing(stage.file, stage.restarter, stage.applier)
    monkeypatch.setattr(restore_config, "writing", lambda *_args, **_kw: parts)
    assert restore_config.restore_config(stage.settings, list_only=True) == 0
    assert capsys.readouterr().err == ""
    for minute in ("05", "04"):
        (stage.path.parent / f"{stage.path.name}.bak.2026-01-02-03-{minute}-00").write_bytes(b"{}")
    restore_config.restore_config(stage.settings, list_only=True)
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert "note: Backrest keeps 2 of its own beside it" in said.err
    assert f"the newest is {stage.path.name}.bak.2026-01-02-03-05-00." in said.err
