"""What the end of Backrest does to a backup in progress, checked alike on the double and on a real one."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.backrest.api import ApiUnreachable
from sidecar.backrest.container import cut_off_operations
from sidecar.backrest.idle import idle_report
from sidecar.backrest.start_log import config_error_in_log, cut_off_in_log, fatal_in_log
from sidecar.engine.types import Process
from tests.contract.harness import Running
from tests.contract.test_backrest_contract import GOOD_RAW, hooked
from tests.waiting import eventually


@contextlib.contextmanager
def _backup(backrest: Running) -> Iterator[None]:
    """A backup of plan p1 in the background; what becomes of its call is not looked at."""

    def run() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            backrest.post("v1.Backrest/Backup", {"value": "p1"})

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)


def _children(pid: int) -> tuple[Process, ...]:
    """Return the process ``pid`` and what it started, as the engine's top shows a container."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            ppid = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if command and pid in (int(entry.name), ppid):
                found.append(
                    Process(int(entry.name), ppid, "/backrest" if int(entry.name) == pid else command)
                )
    return tuple(found)


def _backs_up(backrest: Running) -> bool:
    """Return whether the start hook is done and the backup itself runs."""
    kinds = {op.kind for op in backrest.api.operations_in_progress()}
    return kinds == {"backup"} and len(_children(backrest.pid)) > 1


def test_what_runs_shows_in_the_process_list_and_in_the_log(backrest: Running, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    backrest.start(hooked(tmp_path / "trace", hold=hold))
    backrest.backups_take(1.0)
    assert idle_report(_children(backrest.pid)).idle
    with _backup(backrest):
        running = eventually(backrest.api.operations_in_progress)
        assert {op.plan_id for op in running} == {"p1"}
        eventually(lambda: {op.kind for op in backrest.api.operations_in_progress()} == {"backup", "runHook"})
        eventually(lambda: idle_report(_children(backrest.pid)).busy == ("sh",))
        hold.unlink()
        eventually(lambda: _backs_up(backrest))
        assert not idle_report(_children(backrest.pid)).idle
    eventually(lambda: backrest.api.operations_in_progress() == ())
    eventually(lambda: idle_report(_children(backrest.pid)).idle)


def test_a_kill_cuts_the_backup_off_and_the_next_start_says_so(backrest: Running, tmp_path: Path) -> None:
    trace, hold = tmp_path / "trace", tmp_path / "hold"
    hold.touch()
    backrest.start(hooked(trace, hold=hold))
    with _backup(backrest):
        eventually(lambda: trace.exists() and len(backrest.api.operations_in_progress()) == 2)
        backrest.kill()
    hold.unlink()
    backrest.start()
    assert cut_off_in_log(backrest.log) == 2
    cut = cut_off_operations(backrest.log, backrest.api.operations())
    assert (cut.count, cut.plan_ids) == (2, ("p1",))
    known = frozenset(op.id for op in backrest.api.operations() if op.cut_off)
    assert cut_off_operations("", backrest.api.operations(), known).count == 0
    assert trace.read_text().split() == ["START"]  # neither ERROR nor END ever ran
    backrest.kill()
    backrest.start()
    assert cut_off_in_log(backrest.log) == 0


def test_sigterm_lets_the_hooks_run(backrest: Running, tmp_path: Path) -> None:
    """Sent to Backrest itself. In the image its wrapper does not pass it on."""
    trace = tmp_path / "trace"
    backrest.start(hooked(trace))
    backrest.backups_take(30)
    with _backup(backrest):
        eventually(lambda: _backs_up(backrest))
        assert backrest.terminate() == 0
    assert trace.read_text().split() == ["START", "ERROR", "END"]


@pytest.mark.differs("1.10.1")
def test_a_second_one_on_the_same_data_does_not_start(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    other = type(backrest)(backrest.command, backrest.home, backrest.environ, backrest.version, log="log2")
    with other:
        other.launch()
        eventually(lambda: other.exit_code is not None)
        assert other.exit_code == 1
        assert "locked by another instance" in fatal_in_log(other.log)
        assert config_error_in_log(other.log) is None


@pytest.mark.parametrize("sent", ["GetConfig", "SetConfig"])
def test_a_stopped_backrest_is_unreachable(backrest: Running, sent: str) -> None:
    backrest.start(GOOD_RAW)
    config = backrest.api.get_config()
    backrest.terminate()
    with pytest.raises(ApiUnreachable):
        backrest.api.get_config() if sent == "GetConfig" else backrest.api.set_config(config)
    assert not backrest.api.answers()
