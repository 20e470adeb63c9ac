"""The stop/start scripts, run by a real shell against a docker command that only keeps books."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sidecar.config.plan import SNAPSHOT_END, SNAPSHOT_ERROR, SNAPSHOT_START
from sidecar.engine.model import COMPOSE_PROJECT, COMPOSE_SERVICE
from sidecar.plans.hooks import (
    Belongs,
    go_tool_commands,
    label_hooks,
    start_script,
    stop_script,
    template_hooks,
)

FAKE_DOCKER = """#!/bin/sh
# state/<name> holds running, paused or exited; a missing file is a missing container; labels/<name>, removed/<name>
cd "$FAKE_STATE" || exit 9
echo "$*" >>../calls
for name in "$@"; do :; done
case "$1" in
  version) [ ! -e ../down ];;
  inspect) if [ ! -e "$name" ]; then echo '[]'; echo "Error: No such container: $name" >&2; exit 1; fi
    r=false; p=false; a=false; s=$(cat "$name")
    [ "$s" = exited ] || r=true
    [ "$s" != paused ] || p=true
    [ ! -e "../removed/$name" ] || a=true
    printf '[\\n    {\\n        "State": {\\n            "Running": %s,\\n            "Paused": %s\\n' $r $p
    printf '        "HostConfig": {\\n            "AutoRemove": %s,\\n' $a
    printf '            "Env": ["X=\\\\"AutoRemove\\\\": true"],\\n'
    [ ! -e "../labels/$name" ] || cat "../labels/$name";;
  stop) if grep -qx "$name" ../stop-fails 2>/dev/null; then exit 1; fi; echo exited >"$name";;
  start) [ -e "$name" ] || exit 1; echo running >"$name";;
esac
"""


class Host:
    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()
        (root / "bin" / "docker").write_text(FAKE_DOCKER)
        (root / "bin" / "docker").chmod(0o755)
        for folder in ("state", "config", "labels", "removed"):
            (root / folder).mkdir()
        self.shell, self.said = ["sh"], ""
        self.markers = root / "config" / ".backrest-sidecar" / "stopped"

    def have(self, **states: str) -> None:
        for name, state in states.items():
            (self.root / "state" / name).write_text(f"{state}\n")

    def compose(self, name: str, project: str, service: str) -> None:
        """Label a container as Compose does; as ``docker inspect`` prints it."""
        labels = {"backrest.enable": "true", COMPOSE_PROJECT: project, COMPOSE_SERVICE: service}
        (self.root / "labels" / name).write_text(json.dumps({"Labels": labels}, indent=4))

    def stop_of(self, *names: str) -> None:
        """Have ``docker stop`` of these containers fail."""
        (self.root / "stop-fails").write_text("".join(f"{name}\n" for name in names))

    def calls(self, verb: str) -> list[str]:
        """Return the names that a docker command was called with."""
        lines = (self.root / "calls").read_text().splitlines()
        return [line.split()[-1] for line in lines if line.startswith(verb)]

    def state(self, name: str) -> str:
        return (self.root / "state" / name).read_text().strip()

    def sh(self, script: str) -> int:
        env = {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "FAKE_STATE": str(self.root / "state"),
            "BACKREST_CONFIG": str(self.root / "config" / "config.json"),
        }
        done = subprocess.run(self.shell, input=script, text=True, env=env, capture_output=True, timeout=20)
        self.said = done.stderr
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


SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_container_that_is_gone_fails_the_backup_before_another_is_stopped(
    host: Host, shell: list[str]
) -> None:
    host.shell = shell
    host.have(a="running")
    assert host.sh(stop_script(["a", "b"])) != 0
    assert "b: it is gone or cannot be looked at: " in host.said
    assert "No such container: b" in host.said
    assert (host.state("a"), host.marked(), host.calls("stop")) == ("running", set(), [])


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_stop_that_fails_fails_the_backup_and_what_was_stopped_is_up_again(
    host: Host, shell: list[str]
) -> None:
    """Backrest up to v1.11 runs no hook after a start hook that fails."""
    host.shell = shell
    host.have(a="running", b="running", c="exited")
    host.stop_of("b")
    assert host.sh(stop_script(["c", "a", "b"])) != 0
    assert {name: host.state(name) for name in "abc"} == {"a": "running", "b": "running", "c": "exited"}
    assert (host.marked(), host.calls("stop"), host.calls("start")) == (set(), ["a", "b"], ["a", "b"])


def test_what_cannot_be_started_again_keeps_its_marker(host: Host) -> None:
    host.have(a="running", b="running")
    host.stop_of("b")
    (host.root / "bin" / "docker").write_text(FAKE_DOCKER.replace("start) [ -e", "start) false && [ -e"))
    assert host.sh(stop_script(["a", "b"])) != 0
    assert host.marked() == {"a", "b"}


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_container_that_the_engine_would_remove_is_never_stopped(host: Host, shell: list[str]) -> None:
    host.shell = shell
    host.have(a="running", job="running")
    (host.root / "removed" / "job").touch()
    assert host.sh(stop_script(["a", "job"])) != 0
    assert "job: it runs with --rm" in host.said
    assert (host.state("job"), host.calls("stop"), host.marked()) == ("running", [], set())


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_container_of_another_workload_is_not_the_one_meant(host: Host, shell: list[str]) -> None:
    host.shell = shell
    meant = {"web": Belongs("shop", "web")}
    host.have(web="running")
    host.compose("web", "blog", "web")
    assert host.sh(stop_script(["web"], belongs=meant)) != 0
    assert "web: it is not the container that the plan means" in host.said
    assert host.state("web") == "running"
    (host.root / "labels" / "web").unlink()
    assert host.sh(stop_script(["web"], belongs=meant)) != 0
    host.compose("web", "shop", "web-2")
    assert host.sh(stop_script(["web"], belongs=meant)) != 0
    assert host.calls("stop") == []
    host.compose("web", "shop", "web")
    assert host.sh(stop_script(["web"], belongs=meant)) == 0
    assert host.state("web") == "exited"


def test_a_service_of_compose_that_took_a_bare_containers_name_is_not_the_one_meant(host: Host) -> None:
    host.have(web="running")
    assert host.sh(stop_script(["web"], belongs={"web": Belongs()})) == 0
    host.have(web="running")
    host.compose("web", "shop", "web")
    assert host.sh(stop_script(["web"], belongs={"web": Belongs()})) != 0
    assert "a service of Compose has taken its name" in host.said
    assert host.state("web") == "running"


def test_labels_that_compose_does_not_write_stay_out_of_the_script() -> None:
    odd = stop_script(["web"], belongs={"web": Belongs("{{ .Repo.Password }}", "'; rm -rf /; '")})
    assert "{{" not in odd
    assert "rm -rf" not in odd


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("fails", [False, True])
def test_the_marker_is_on_the_disk_before_the_stop(host: Host, shell: list[str], fails: bool) -> None:
    """A ``sync`` that takes no file is called without; one that never works fails no backup."""
    host.shell = shell
    tool = host.root / "bin" / "sync"
    tool.write_text(f'#!/bin/sh\necho "sync $*" >>"$FAKE_STATE/../calls"\n{"false" if fails else ""}\n')
    tool.chmod(0o755)
    host.have(web="running")
    # busybox would take its own applet
    script = stop_script(["web"]).replace("sync ", f"{tool} ").replace("|| sync", f"|| {tool}")
    assert host.sh(script) == 0
    calls = [c for c in (host.root / "calls").read_text().splitlines() if c.split()[0] in ("sync", "stop")]
    stopped, kept = host.markers, host.markers.parent
    first = f"sync {stopped}/web {stopped} {kept} {kept.parent}"
    assert calls == [first, *(["sync "] if fails else []), "stop web"]


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
    assert stop.on_error == "ON_ERROR_FATAL"


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
    assert [h.on_error for h in hooks] == ["ON_ERROR_FATAL"] * 4 + [""]


def test_go_tool_commands() -> None:
    assert go_tool_commands([], [], template=True, containers=["web"]) == (
        "docker stop web",
        "docker start web",
    )
    assert go_tool_commands(["a"], ["b"], template=True, containers=["web"]) == ("a", "b")
