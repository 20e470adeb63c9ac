"""The scripts that scale a Swarm service down and back, run by real shells against a docker that keeps books."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sidecar.plans.hooks import SERVICE_PREFIX, start_script, stop_script

FAKE_DOCKER = r"""#!/bin/sh
# state/<service> holds its replicas or "global"; ../tasks says for how many looks its tasks still run
cd "$FAKE_STATE" || exit 9
for last in "$@"; do :; done
case "$1 $2" in
  "version "*) [ ! -e ../down ];;
  "service inspect")
    if [ -e ../worker ]; then echo 'Error response from daemon: This node is not a swarm manager.' >&2; exit 1; fi
    if [ ! -e "$last" ]; then echo '[]'; echo "Error: no such service: $last" >&2; exit 1; fi
    n=$(cat "$last")
    echo '{ "Spec": { "Labels": {'
    echo '                "x": "\"Replicas\": 7"'
    if [ "$n" = global ]; then echo '                "Global": {}'; exit; fi
    echo '                    "Replicas": '"$n"
    echo '        "PreviousSpec": {'
    echo '                    "Replicas": 8';;
  "service scale")
    [ ! -e ../scale-fails ] || exit 1
    echo "${last#*=}" >"${last%%=*}";;
  "ps --quiet")
    [ ! -e ../ps-fails ] || exit 1
    left=$(cat ../tasks); [ "$left" -eq 0 ] || { echo 0123456789ab; echo $((left - 1)) >../tasks; };;
esac
"""
SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]


class Host:
    def __init__(self, root: Path) -> None:
        self.root, self.shell = root, ["sh"]
        (root / "bin").mkdir()
        (root / "bin" / "docker").write_text(FAKE_DOCKER)
        (root / "bin" / "sleep").write_text("#!/bin/sh\n")
        for tool in ("docker", "sleep"):
            (root / "bin" / tool).chmod(0o755)
        (root / "state").mkdir()
        (root / "tasks").write_text("2")
        self.marker = root / "config" / ".backrest-sidecar" / "stopped" / f"{SERVICE_PREFIX}shop_web"

    def replicas(self, value: str) -> None:
        (self.root / "state" / "shop_web").write_text(f"{value}\n")

    def now(self) -> str:
        return (self.root / "state" / "shop_web").read_text().strip()

    def has(self, trouble: str) -> None:
        (self.root / trouble).touch()

    def sh(self, script: str) -> int:
        env = {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "FAKE_STATE": str(self.root / "state"),
            "BACKREST_CONFIG": str(self.root / "config" / "config.json"),
        }
        done = subprocess.run(self.shell, input=script, text=True, env=env, capture_output=True, timeout=20)
        return done.returncode

    def stop(self) -> int:
        return self.sh(stop_script([], ["shop_web"]))

    def start(self) -> int:
        return self.sh(start_script([], ["shop_web"]))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_replicas_go_to_nothing_and_come_back(host: Host, shell: list[str]) -> None:
    host.shell = shell
    host.replicas("3")
    assert host.stop() == 0
    assert (host.now(), host.marker.read_text(), (host.root / "tasks").read_text()) == ("0", "3\n", "0\n")
    assert [path.name for path in host.marker.parent.iterdir()] == [host.marker.name]
    assert host.start() == 0
    assert host.now() == "3"
    assert not host.marker.exists()


def test_a_service_at_nothing_stays_there(host: Host) -> None:
    host.replicas("0")
    assert host.stop() == 0
    assert not host.marker.exists()
    assert host.start() == 0
    assert host.now() == "0"


def test_what_an_earlier_backup_left_down_comes_back_with_its_own_number(host: Host) -> None:
    host.replicas("5")
    host.stop()
    assert host.stop() == 0
    assert host.start() == 0
    assert host.now() == "5"


def test_what_somebody_scaled_up_in_between_stays_so(host: Host) -> None:
    host.replicas("3")
    host.stop()
    host.replicas("1")
    assert host.start() == 0
    assert host.now() == "1"
    assert not host.marker.exists()


def test_a_service_that_is_gone_fails_the_backup(host: Host) -> None:
    assert host.stop() != 0
    assert not host.marker.exists()


def test_what_fails_midway_is_scaled_back(host: Host) -> None:
    host.replicas("3")
    host.has("ps-fails")
    assert host.stop() != 0
    assert (host.now(), host.marker.exists()) == ("3", False)


@pytest.mark.parametrize("trouble", ["worker", "ps-fails", "scale-fails", "down"])
def test_what_cannot_be_done_cancels_the_backup(host: Host, trouble: str) -> None:
    host.replicas("3")
    host.has(trouble)
    assert host.stop() != 0


def test_a_global_service_cancels_the_backup(host: Host) -> None:
    host.replicas("global")
    assert host.stop() != 0
    assert not host.marker.exists()


def test_a_failed_start_keeps_the_marker_and_says_so(host: Host) -> None:
    host.replicas("3")
    host.stop()
    host.has("scale-fails")
    assert host.start() == 1
    assert host.marker.read_text() == "3\n"


def test_a_torn_marker_still_brings_one_replica_back(host: Host) -> None:
    host.replicas("3")
    host.stop()
    host.marker.write_text("")
    assert host.start() == 0
    assert host.now() == "1"


def test_the_scripts_hold_no_go_template() -> None:
    assert "{{" not in stop_script(["a"], ["shop_web"]) + start_script(["a"], ["shop_web"])
    assert "docker service scale --detach shop_web=0" in stop_script([], ["shop_web"])
    assert "service" not in stop_script(["a"]) + start_script(["a"])
