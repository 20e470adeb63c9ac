"""``reconcile`` from the command line on: with ``--apply``, with what is owed, on a config.json that is no good."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from sidecar.cli import run
from sidecar.commands import reconcile, wiring
from sidecar.engine.client import Engine
from sidecar.engine.errors import EngineError
from sidecar.engine.model import Container, EngineSnapshot
from sidecar.engine.types import ContainerState
from tests.unit.builders import container
from tests.unit.machine_rig import SlowBackrest
from tests.unit.stage import CONFIG, Clock, FakeBackrest

ROOT = Path(__file__).resolve().parents[3]
WEB = "backrest_sidecar_web"


class Turning(threading.Event):
    """An event whose waits turn the clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            self._clock.now += timeout or 0.0
        return self.is_set()


class StandIn(Engine):
    """An engine with containers that a test gives and the stage's Backrest. Nothing connects."""

    def __init__(self, backrest: FakeBackrest) -> None:
        self.there: tuple[Container, ...] = (container("web"),)
        for name in ("find", "top", "stop", "start", "logs"):
            setattr(self, name, getattr(backrest, name))

    def snapshot(self) -> EngineSnapshot:
        return EngineSnapshot(self.there)


class Rig:
    """One directory, one engine; :meth:`apply` is one run of the command."""

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.path = root / "config.json"
        self.path.write_bytes(orjson.dumps(CONFIG))
        self.clock = Clock()
        self.backrest = SlowBackrest(self.path, self.clock)
        self.engine = StandIn(self.backrest)
        self.stop = Turning(self.clock)
        self._capsys = capsys
        time = SimpleNamespace(monotonic=self.clock, time=self.clock.wall)
        monkeypatch.setattr(reconcile, "time", time)
        monkeypatch.setattr(wiring, "time", time)
        monkeypatch.setattr(reconcile, "open_engine", lambda *_: self.engine)
        monkeypatch.setattr(reconcile, "stopping", self._stopping)

    @contextmanager
    def _stopping(self) -> Iterator[threading.Event]:
        self.stop = Turning(self.clock)
        yield self.stop

    def stop_now(self) -> None:
        self.stop.set()

    def is_up(self) -> bool:
        return self.backrest.running

    def apply(self, *args: str) -> int:
        self.clock.now += 5
        self.events: list[dict[str, Any]] = []
        code = run(["reconcile", "--apply", "--config", str(self.path), *args])
        self.events = [orjson.loads(line) for line in self._capsys.readouterr().out.splitlines()]
        self.clock.now += 5
        return code

    def said(self, action: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["action"] == action]

    def plans(self) -> set[str]:
        return {plan["id"] for plan in orjson.loads(self.path.read_bytes())["plans"]}


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rig:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return Rig(tmp_path, monkeypatch, capsys)


def test_a_change_is_applied_0_and_then_there_is_nothing_to_do_2(rig: Rig) -> None:
    assert rig.apply() == 0
    assert rig.backrest.calls == ["stop", "start"]
    assert rig.backrest.plans() == {"hand-made", WEB}
    raw, before = rig.path.read_bytes(), rig.path.stat()
    assert rig.apply() == 2
    assert rig.backrest.calls == ["stop", "start"]
    after = rig.path.stat()
    assert (rig.path.read_bytes(), after.st_ino, after.st_mtime_ns) == (
        raw,
        before.st_ino,
        before.st_mtime_ns,
    )


def test_a_busy_backrest_is_3_and_the_next_run_applies_0(rig: Rig) -> None:
    rig.backrest.busy = ["restic"]
    began = rig.clock.now
    assert rig.apply() == 3
    assert 600 <= rig.clock.now - began < 700, "ten minutes unless told otherwise"
    assert "restic" in rig.said("reconcile.failed")[0]["reason"]
    assert rig.backrest.calls == []
    assert rig.plans() == {"hand-made"}, "nothing is written while Backrest runs"
    rig.backrest.busy = []
    assert rig.apply() == 0
    assert rig.backrest.plans() == {"hand-made", WEB}


def test_no_backrest_is_3_and_the_run_that_only_restarts_is_0(rig: Rig) -> None:
    rig.backrest.exists = False
    assert rig.apply() == 3
    assert rig.plans() == {"hand-made", WEB}, "the file is right"
    assert rig.said("restart.owed")[0]["advice"]
    assert rig.apply() == 3, "still owed"
    raw = rig.path.read_bytes()
    rig.backrest.exists = True
    assert rig.apply() == 0
    assert rig.backrest.calls == ["stop", "start"]
    assert rig.backrest.plans() == {"hand-made", WEB}
    assert rig.path.read_bytes() == raw
    assert rig.apply() == 2


def test_a_start_that_failed_is_3_and_the_run_that_makes_it_good_is_0(rig: Rig) -> None:
    rig.backrest.fail["start"] = EngineError("unreachable", "the engine is away", "start it")
    assert rig.apply() == 3
    assert not rig.is_up()
    assert rig.apply() == 3, "still away"
    del rig.backrest.fail["start"]
    assert rig.apply() == 0
    assert rig.is_up()
    assert rig.backrest.plans() == {"hand-made", WEB}
    assert rig.backrest.calls.count("stop") == 1
    assert rig.apply() == 2


def test_a_plan_that_backrest_does_not_start_with_is_3_though_it_runs_again(rig: Rig) -> None:
    rig.engine.there = (container("bad"),)
    assert rig.apply() == 3
    assert rig.said("backrest.rolled_back")[0]["plans"] == ["backrest_sidecar_bad"]
    assert rig.backrest.running


def test_what_an_earlier_run_owes_is_done_whatever_else_is_wrong(rig: Rig) -> None:
    rig.backrest.fail["start"] = EngineError("unreachable", "the engine is away", "start it")
    assert rig.apply() == 3
    del rig.backrest.fail["start"]
    rig.engine.snapshot = _away  # type: ignore[method-assign]  # the list call fails
    assert rig.apply() == 3
    assert rig.backrest.running


def _away() -> EngineSnapshot:
    raise EngineError("timeout", "no answer", "look at the engine")


def test_told_to_stop_between_stop_and_start_it_starts_all_the_same(rig: Rig) -> None:
    rig.backrest.on_stop = rig.stop_now
    assert rig.apply() == 3
    assert rig.said("reconcile.stopped")
    assert rig.backrest.calls == ["stop", "start"]
    assert rig.backrest.plans() == {"hand-made", WEB}
    rig.backrest.on_stop = lambda: None
    assert rig.apply() == 2, "Backrest was started after the write, and has the plans"
    assert rig.backrest.calls == ["stop", "start"]


def test_a_backrest_that_was_down_stays_down_0(rig: Rig) -> None:
    rig.backrest.running = False
    assert rig.apply() == 0
    assert rig.backrest.calls == []
    assert rig.plans() == {"hand-made", WEB}
    assert rig.apply() == 2


def test_skips_leave_the_exit_code_unless_strict(rig: Rig) -> None:
    rig.engine.there = (container("web"), container("odd", {"schedule": "@daily"}))
    assert rig.apply() == 0
    assert rig.said("reconcile.complete")[0]["skipped"] == 1
    assert rig.apply() == 2
    assert rig.apply("--strict") == 3
    assert rig.backrest.calls == ["stop", "start"]


def test_a_fault_that_is_not_ours_is_written_around_but_not_restarted_into_3(rig: Rig) -> None:
    broken = {"id": "broken", "repo": "gone", "paths": ["/x"]}
    rig.path.write_bytes(orjson.dumps({**CONFIG, "plans": [broken]}))
    assert rig.apply() == 3
    assert rig.plans() == {"broken", WEB}
    assert rig.backrest.calls == []
    assert "broken" in rig.said("config.fault")[0]["where"] + rig.said("config.fault")[0]["reason"]
    assert "gone" in rig.said("restart.owed")[0]["reason"]


# --- a config.json that is no good ------------------------------------------------------------------------------

GOOD = orjson.dumps(CONFIG)
TOO_LONG = 50 * 1024 * 1024
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "blank": (b" \n\n", "empty"),
    "truncated": (GOOD[: len(GOOD) // 2], "truncated"),
    "not UTF-8": (GOOD.replace(b"host", b"h\xfcst"), "UTF-8"),
    "a list": (b"[]", "object"),
    "plans as an object": (b'{"version": 6, "plans": {}}', "plans"),
    "a key twice": (b'{"version": 6, "repos": [], "version": 6}', "twice"),
    "2^64": (b'{"version": 6, "modno": 18446744073709551616}', "64 bits"),
    "50 MB of brackets": (b"[" * TOO_LONG, "deep"),
    "50 MB and cut off": (b'{"version": 6, "note": "' + b"x" * TOO_LONG, "truncated"),
    "more than 64 MiB": (b" " * (64 * 1024 * 1024) + GOOD, "64 MiB"),
}


class Refused:
    """Runs the command on a file and sees that it is refused."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, path: Path, *args: str) -> str:
        replay = str(ROOT / "testdata" / "engine")
        assert run(["reconcile", "--replay", replay, "--config", str(path), *args]) == 3
        out = self._capsys.readouterr()
        events = [orjson.loads(line) for line in out.out.splitlines()]
        failed = [event for event in events if event["action"] == "reconcile.failed"]
        assert len(failed) == 1
        assert path.name in failed[0]["reason"]
        assert "s3cret-word" not in out.out + out.err
        return str(failed[0]["reason"])


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    return Refused(capsys)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_3_with_a_clear_word_and_stays_as_it_is(
    kind: str, tmp_path: Path, refused: Refused
) -> None:
    raw, word = BROKEN[kind]
    path = tmp_path / "config.json"
    path.write_bytes(raw)
    before = path.stat()
    for args in ([], ["--dry-run"])[: 2 if len(raw) < TOO_LONG else 1]:
        assert word in refused(path, *args)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_mode,
    )
    assert path.read_bytes() == raw


def test_a_missing_file_is_3_and_none_is_made(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "config.json"
    assert "Start Backrest once" in refused(path)
    assert not path.exists()
    assert "Start Backrest once" in refused(tmp_path / "no" / "such" / "config.json")
    assert not (tmp_path / "no").exists()


def test_a_directory_is_3(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "config.json"
    path.mkdir()
    assert "directory" in refused(path)
    assert list(path.iterdir()) == []


@pytest.fixture
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of an unprivileged user, who is us for a while."""
    if os.geteuid() != 0:
        yield tmp_path_factory.mktemp("own")
        return
    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(directory)
        finally:
            os.seteuid(0)


def test_an_unreadable_file_is_3(nobody: Path, refused: Refused) -> None:
    path = nobody / "config.json"
    path.write_bytes(GOOD)
    path.chmod(0)
    reason = refused(path, "--dry-run")
    assert "may not be read" in reason
    assert refused(path) == reason
    path.chmod(0o600)
    assert path.read_bytes() == GOOD


def test_a_good_file_of_50_mb_is_carried_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.json"
    document = {**CONFIG, "note": ["x" * 1000] * 50_000}
    path.write_bytes(orjson.dumps(document))
    assert run(["reconcile", "--replay", str(ROOT / "testdata" / "engine"), "--config", str(path)]) == 0
    after = orjson.loads(path.read_bytes())
    assert after["note"] == document["note"]
    assert after["plans"][0] == CONFIG["plans"][0]
    assert len(after["plans"]) > 1
    capsys.readouterr()


def down_with_a_marker(rig: Rig, name: str = "db") -> list[str]:
    """Have a container down that a stop hook marked; return the list of what is started."""
    markers = rig.path.parent / ".backrest-sidecar" / "stopped"
    markers.mkdir(parents=True, exist_ok=True)
    (markers / name).touch()
    started: list[str] = []
    find, start = rig.engine.find, rig.engine.start

    def find_it(wanted: str, /) -> ContainerState | None:
        return ContainerState(name, name, status="exited", running=False) if wanted == name else find(wanted)

    def start_it(container_id: str, /) -> Any:
        return started.append(container_id) if container_id == name else start(container_id)

    rig.engine.find, rig.engine.start = find_it, start_it  # type: ignore[method-assign]
    return started


def test_what_a_stop_hook_left_down_is_started(rig: Rig) -> None:
    rig.apply()
    started = down_with_a_marker(rig)
    assert rig.apply() == 0
    assert started == ["db"]
    assert [event["container"] for event in rig.said("hooks.started")] == ["db"]
    assert rig.apply() == 2


def test_what_a_stop_hook_left_down_stays_while_backrest_works(rig: Rig) -> None:
    rig.apply()
    started = down_with_a_marker(rig)
    rig.backrest.busy = ["restic"]
    assert rig.apply() == 2
    assert started == []
    assert [event["containers"] for event in rig.said("hooks.not_started")] == [["db"]]


def test_a_dry_run_starts_nothing(rig: Rig) -> None:
    started = down_with_a_marker(rig)
    assert rig.apply("--dry-run") == 2
    assert started == []


def test_what_cannot_be_started_is_3(rig: Rig) -> None:
    rig.apply()
    down_with_a_marker(rig)

    def refuse(container_id: str, /) -> Any:
        raise EngineError("protocol", "port is taken")

    rig.engine.start = refuse  # type: ignore[method-assign]
    assert rig.apply() == 3
    assert [event["reason"] for event in rig.said("hooks.start_failed")] == ["port is taken"]


def test_hooks_that_fail_the_backup_from_now_on_are_said_once_and_in_a_dry_run(rig: Rig) -> None:
    rig.engine.there = (container("web", {"snapshot-start": "dump"}),)
    start = {"conditions": ["CONDITION_SNAPSHOT_START"], "actionCommand": {"command": "dump"}}
    former = {
        "id": WEB,
        "repo": "main",
        "paths": ["/var/lib/docker/volumes/web_data/_data"],
        "hooks": [start],
    }
    rig.backrest.cache = orjson.dumps({**CONFIG, "plans": [*CONFIG["plans"], former]})
    rig.path.write_bytes(rig.backrest.cache)

    def warned() -> list[str]:
        return [event["code"] for event in rig.said("plan.warning")]

    assert rig.apply("--dry-run") == 2
    assert warned() == ["hooks-fail-backup"]
    assert rig.apply() == 0
    assert warned() == ["hooks-fail-backup"]
    (plan,) = [plan for plan in orjson.loads(rig.path.read_bytes())["plans"] if plan["id"] == WEB]
    assert plan["hooks"] == [{**start, "onError": "ON_ERROR_FATAL"}]
    assert rig.apply() == 2
    assert warned() == []
