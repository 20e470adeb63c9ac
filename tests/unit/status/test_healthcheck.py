import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.messages import Applied, WriteFailed
from sidecar.status import healthcheck
from sidecar.status.board import StatusBoard
from sidecar.status.file import StatusFile, document
from sidecar.status.healthcheck import judge, main, status_path
from sidecar.supervision.child import WorkerFacts


class World:
    """A healthy daemon's status, to be spoilt."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.board = StatusBoard(wall=lambda: 5000.0 + self.now, clock=lambda: self.now)
        self.board.engine_up()
        self.workers = [WorkerFacts("writer", "running"), WorkerFacts("renderer", "running")]

    def status(self) -> dict[str, Any]:
        found = document(self.board.facts, self.workers, self.now, 5000.0 + self.now)
        assert isinstance(found, dict)
        return found

    def reason(self, later: float = 0.0) -> str:
        return judge(self.status(), self.now + later, 60.0, 3600.0)


@pytest.fixture
def world() -> World:
    return World()


def test_healthy(world: World) -> None:
    assert world.reason() == ""
    assert world.reason(later=89) == ""


def test_nobody_writes_any_more(world: World) -> None:
    assert "no sign of life: its status was last written 91 s ago" in world.reason(later=91)
    assert "before this machine was started" in world.reason(later=-1)


def test_a_worker_that_hangs_or_is_down(world: World) -> None:
    world.workers[1] = WorkerFacts("renderer", "overdue")
    assert world.reason() == "the worker renderer hangs"
    world.workers[1] = WorkerFacts("renderer", "backoff", 1, 0.0, "ValueError: x")
    assert world.reason() == "the worker renderer is down (backoff): ValueError: x"


def test_the_engine_may_be_away_for_a_minute(world: World) -> None:
    world.board.engine_down("no socket", "is Docker running?")
    world.now += 50
    assert world.reason() == ""
    assert "unreachable for 65 s: no socket; is Docker running?" in world.reason(later=15)
    world.board.engine_up()
    assert world.reason() == ""


def test_an_engine_that_never_answered(world: World) -> None:
    world.board = StatusBoard(wall=lambda: 0.0, clock=lambda: world.now)
    assert world.reason() == ""
    world.now += 61
    assert world.reason().endswith("it has not answered yet")


def test_a_plan_or_a_file_that_cannot_be_written(world: World) -> None:
    world.board.reported(WriteFailed(1, "disk full", "make room"))
    assert world.reason() == "config.json cannot be written: disk full; make room"
    world.board.reported(WriteFailed(1, "bad", blocked=("a", "b", "c", "d", "e")))
    assert world.reason() == "plans a, b, c and 2 more cannot be written: bad"
    world.board.reported(Applied(2, changed=True, at=0, done_at=0))
    assert world.reason() == ""


def test_a_restart_owed_for_too_long(world: World) -> None:
    world.board.reported(
        Applied(1, changed=False, at=0, done_at=0, owed="restart", reason="Backrest is busy")
    )
    world.now += 3590
    assert world.reason() == ""
    assert world.reason(later=20) == "Backrest is owed a restart for 60 min: Backrest is busy"


def test_a_daemon_that_was_stopped(world: World) -> None:
    assert "was stopped at" in judge({**world.status(), "stopped": True}, world.now, 60, 60)


def check(
    *argv: str, env: dict[str, str] | None = None, proc: str = "/nonexistent", now: float = 1000.0
) -> tuple[int, str]:
    said: list[str] = []
    code = main(argv, environ=env or {}, proc=proc, clock=lambda: now, say=said.append)
    assert len(said) == 1
    return code, said[0]


@pytest.fixture
def state(tmp_path: Path, world: World) -> Path:
    directory = tmp_path / "etc" / ".backrest-sidecar"
    directory.parent.mkdir()
    assert StatusFile(directory, world.board, lambda: world.workers, wall=lambda: 0.0).tick(1000.0)
    return directory


def test_one_line_and_the_exit_code(state: Path) -> None:
    assert check("--state-dir", str(state)) == (0, "healthy")
    code, line = check(f"--state-dir={state}", now=2000)
    assert (code, line.split(":")[0]) == (1, "unhealthy")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"monotonic": "x"}', '{"monotonic": 999}'])
def test_a_damaged_file(state: Path, content: str) -> None:
    (state / "status.json").write_text(content)
    code, line = check("--state-dir", str(state))
    assert (code, line) == (1, f"unhealthy: the status file {state}/status.json is damaged")


def test_no_file_and_no_permission(state: Path) -> None:
    code, line = check("--state-dir", str(state / "none"))
    assert (code, "there is no status file" in line) == (1, True)
    (state / "status.json").unlink()
    (state / "status.json").mkdir()
    code, line = check("--state-dir", str(state))
    assert (code, "cannot be read: Is a directory" in line) == (1, True)


def test_bad_flags_are_unhealthy_because_docker_knows_no_other_code() -> None:
    assert check("--wat") == (1, "unhealthy: unknown argument '--wat'; see --help")
    assert check("--state-dir") == (1, "unhealthy: --state-dir needs a value")
    assert check("--engine-limit", "soon")[0] == 1
    assert check("--help")[0] == 0


def test_limits_from_flag_and_environment(world: World, state: Path) -> None:
    world.board.engine_down("gone")
    world.now += 100
    StatusFile(state, world.board, lambda: world.workers, wall=lambda: 0.0).tick(world.now)
    where = ("--state-dir", str(state))
    assert check(*where, now=world.now)[0] == 1
    assert check(*where, "--engine-limit", "2m", now=world.now)[0] == 0
    assert check(*where, env={"BACKREST_SIDECAR_ENGINE_LIMIT": "120"}, now=world.now)[0] == 0
    assert (
        check(*where, "--engine-limit=99s", env={"BACKREST_SIDECAR_ENGINE_LIMIT": "1h"}, now=world.now)[0]
        == 1
    )


def process(proc: Path, number: int, *words: str, cwd: str = "/app", mounts: str = "mnt:[1]") -> None:
    place = proc / str(number)
    (place / "ns").mkdir(parents=True)
    (place / "cmdline").write_bytes(b"\0".join(word.encode() for word in words) + b"\0")
    (place / "cwd").symlink_to(cwd)
    (place / "ns" / "mnt").symlink_to(mounts)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    proc = tmp_path / "proc"
    (proc / "self" / "ns").mkdir(parents=True)
    (proc / "self" / "ns" / "mnt").symlink_to("mnt:[1]")
    return proc


PYTHON, OURS = "/usr/local/bin/python3", "/usr/local/bin/backrest-sidecar"


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (
            (PYTHON, OURS, "daemon", "--config", "/etc/backrest/config.json"),
            "/etc/backrest/.backrest-sidecar",
        ),
        ((PYTHON, OURS, "daemon", "--apply", "--config=/etc/b/c.json"), "/etc/b/.backrest-sidecar"),
        ((PYTHON, OURS, "--config", "/x/c.json", "daemon", "--state-dir", "/state"), "/state"),
        ((PYTHON, "-m", "sidecar", "daemon", "--config", "sub/c.json"), "/app/sub/.backrest-sidecar"),
        ((PYTHON, OURS, "daemon"), "/app/.backrest-sidecar"),
        ((OURS, "daemon", "--state-dir=rel"), "/app/rel"),
    ],
)
def test_the_daemons_own_arguments_are_found(proc: Path, words: tuple[str, ...], path: str) -> None:
    process(proc, 1, "/sbin/tini", "--", "sh")
    process(proc, 7, *words)
    assert status_path({}, {}, str(proc)) == f"{path}/status.json"


def test_the_daemons_flag_wins_over_the_environment_and_an_own_flag_over_both(proc: Path) -> None:
    env = {"BACKREST_CONFIG": "/env/c.json", "BACKREST_STATE_DIR": ""}
    assert status_path({}, env, str(proc)) == "/env/.backrest-sidecar/status.json"
    process(proc, 1, PYTHON, OURS, "daemon", "--config", "/flag/c.json")
    assert status_path({}, env, str(proc)) == "/flag/.backrest-sidecar/status.json"
    own = {"--config": "/own/c.json"}
    assert status_path(own, env, str(proc)) == "/own/.backrest-sidecar/status.json"
    assert status_path({}, {"BACKREST_STATE_DIR": "/s"}, str(proc)) == "/s/status.json"


def test_other_processes_and_other_containers_are_not_the_daemon(proc: Path) -> None:
    process(proc, 1, "/usr/bin/containerd", "daemon", "--config", "/no/c.json")
    process(proc, 2, PYTHON, OURS, "healthcheck", "--config", "/no/c.json")
    process(proc, 3, "vim", "daemon", OURS)
    process(proc, 4, PYTHON, OURS, "daemon", "--config", "/other/c.json", mounts="mnt:[2]")
    (proc / "5").mkdir()
    process(proc, 30, PYTHON, OURS, "daemon", "--config", "/yes/c.json")
    assert status_path({}, {}, str(proc)) == "/yes/.backrest-sidecar/status.json"


def test_nothing_known_means_the_default_place() -> None:
    assert status_path({}, {}, "/nonexistent") == ".backrest-sidecar/status.json"


def test_the_real_process_imports_nothing_heavy_and_says_what_it_found(state: Path) -> None:
    script = (
        "import sys\n"
        "sys.argv = ['backrest-sidecar', 'healthcheck', *sys.argv[1:]]\n"
        "from sidecar.__main__ import main\n"
        "code = main()\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
        "raise SystemExit(code)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(healthcheck.__file__).parent.parent.parent)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, "--state-dir", str(state)],
        capture_output=True,
        text=True,
        timeout=30,
        env=env,
    )
    line, modules = done.stdout.splitlines()
    assert (done.returncode, line.split(":")[0]) == (1, "unhealthy")
    heavy = {"click", "docker", "orjson", "pydantic", "rich", "logging", "pathlib", "typing", "dataclasses"}
    assert not heavy & set(modules.split())


def test_the_file_on_disk_is_what_is_judged(state: Path) -> None:
    found = json.loads((state / "status.json").read_bytes())
    found["engine"] = {"reachable": False, "for_seconds": 61.0, "reason": "gone", "advice": ""}
    (state / "status.json").write_text(json.dumps(found))
    assert check("--state-dir", str(state)) == (
        1,
        "unhealthy: the Docker engine has been unreachable for 61 s: gone",
    )
