"""The stop/start scripts, run by a real shell against a docker command that only keeps books."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sidecar.backrest_plan import SNAPSHOT_END, SNAPSHOT_ERROR, SNAPSHOT_START
from sidecar.hooks import go_tool_commands, label_hooks, start_script, stop_script, template_hooks

FAKE_DOCKER = """#!/bin/sh
# state/<name> holds running, paused or exited; a missing file is a missing container
cd "$FAKE_STATE" || exit 9
echo "$*" >>../calls
for name in "$@"; do :; done
case "$1" in
  version) [ ! -e ../down ];;
  inspect) [ -e "$name" ] || exit 1
    r=false; p=false; s=$(cat "$name")
    [ "$s" = exited ] || r=true
    [ "$s" != paused ] || p=true
    printf '[\\n    {\\n        "State": {\\n            "Running": %s,\\n            "Paused": %s\\n' $r $p;;
  stop) [ ! -e ../stop-fails ] || exit 1; echo exited >"$name";;
  start) [ -e "$name" ] || exit 1; echo running >"$name";;
esac
"""


class Host:
    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()
        (root / "bin" / "docker").write_text(FAKE_DOCKER)
        (root / "bin" / "docker").chmod(0o755)
        (root / "state").mkdir()
        (root / "config").mkdir()
        self.markers = root / "config" / ".backrest-sidecar" / "stopped"

    def have(self, **states: str) -> None:
        for name, state in states.items():
            (self.root / "state" / name).write_text(f"{state}\n")

    def state(self, name: str) -> str:
        return (self.root / "state" / name).read_text().strip()

    def sh(self, script: str) -> int:
        env = {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "FAKE_STATE": str(self.root / "state"),
            "BACKREST_CONFIG": str(self.root / "config" / "config.json"),
        }
        done = subprocess.run(["sh"], input=script, text=True, env=env, capture_output=True, timeout=20)
        return done.returncode

    def marked(self) -> set[str]:
        return {path.name for path in self.markers.iterdir()} if self.markers.exists() else set()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_what_ran_is_stopped_and_started_again(host: Host) -> None:
    host.have(web="running")
    assert host.sh(stop_script(["web"])) == 0
    assert host.state("web") == "exited"
    assert host.marked() == {"web"}
    assert host.sh(start_script(["web"])) == 0
    assert host.state("web") == "running"
    assert host.marked() == set()


@pytest.mark.parametrize("state", ["exited", "paused"])
def test_what_did_not_run_is_left_alone(host: Host, state: str) -> None:
    host.have(web=state)
    assert host.sh(stop_script(["web"])) == 0
    assert host.sh(start_script(["web"])) == 0
    assert host.state("web") == state


def test_a_container_that_is_gone_does_not_cancel_the_backup(host: Host) -> None:
    host.have(b="running")
    assert host.sh(stop_script(["a", "b"])) == 0
    assert host.marked() == {"b"}


def test_a_stop_that_fails_cancels_the_backup_and_leaves_the_marker(host: Host) -> None:
    host.have(web="running")
    (host.root / "stop-fails").touch()
    assert host.sh(stop_script(["web"])) != 0
    assert host.marked() == {"web"}
    assert host.sh(start_script(["web"])) == 0


def test_an_engine_that_does_not_answer_cancels_the_backup(host: Host) -> None:
    host.have(web="running")
    (host.root / "down").touch()
    assert host.sh(stop_script(["web"])) != 0
    assert host.state("web") == "running"


def test_start_goes_on_after_a_failure_and_reports_it(host: Host) -> None:
    host.have(a="running", b="running")
    assert host.sh(stop_script(["a", "b"])) == 0
    (host.root / "state" / "a").unlink()
    assert host.sh(start_script(["a", "b"])) == 1
    assert host.state("b") == "running"
    assert host.marked() == {"a"}


def test_start_without_a_marker_starts_nothing(host: Host) -> None:
    host.have(web="exited")
    assert host.sh(start_script(["web"])) == 0
    assert host.state("web") == "exited"


def test_scripts_hold_no_go_template_and_say_docker_stop() -> None:
    stop, start = stop_script(["web"]), start_script(["web"])
    assert "{{" not in stop + start
    assert "docker stop web " in stop
    assert "docker start web " in start
    assert stop.splitlines()[0] == ": backrest-sidecar v1 stop"
    assert start.splitlines()[0] == ": backrest-sidecar v1 start"


def test_template_binds_the_start_hook_to_end_and_error_and_puts_it_first() -> None:
    start, stop = template_hooks(stop_script(["web"]), start_script(["web"]))
    assert start.conditions == (SNAPSHOT_END, SNAPSHOT_ERROR)
    assert start.on_error == ""
    assert stop.conditions == (SNAPSHOT_START,)
    assert stop.on_error == "ON_ERROR_CANCEL"


def test_self_becomes_the_container_and_is_said_once_for_each_replica() -> None:
    hooks = label_hooks(["docker exec $SELF sync", "echo ${SELF}x $SELFISH"], ["date"], ["a-1", "a-2"])
    assert [h.command for h in hooks] == [
        "docker exec a-1 sync",
        "docker exec a-2 sync",
        "echo a-1x $SELFISH",
        "echo a-2x $SELFISH",
        "date",
    ]
    assert [h.conditions[0] for h in hooks] == [SNAPSHOT_START] * 4 + [SNAPSHOT_END]


def test_go_tool_commands() -> None:
    assert go_tool_commands([], [], template=True, containers=["web"]) == (
        "docker stop web",
        "docker start web",
    )
    assert go_tool_commands(["a"], ["b"], template=True, containers=["web"]) == ("a", "b")
