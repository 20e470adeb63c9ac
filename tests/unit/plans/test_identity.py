"""From the command line: which container, plan and name is meant when names change or labels are misspelt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from sidecar.cli import run
from sidecar.engine.model import COMPOSE_NUMBER, COMPOSE_PROJECT, COMPOSE_REPLACE, COMPOSE_SERVICE
from sidecar.lint.checks import LintOptions, lint_files
from tests.unit.merge_rig import config

REPLIES: dict[str, Any] = {
    "volumes": {"Volumes": [], "Warnings": None},
    "images": {},
    "info": {
        "ID": "X", "OSType": "linux", "DockerRootDir": "/var/lib/docker", "ServerVersion": "28.0.0",
        "Swarm": {"LocalNodeState": "inactive"},
    },
    "version": {"Version": "28.0.0", "ApiVersion": "1.48", "MinAPIVersion": "1.24", "Os": "linux"},
}  # fmt: skip


def row(name: str, labels: dict[str, str], *, project: str = "", service: str = "") -> dict[str, Any]:
    """One entry of the engine's list, with a volume called after the project or the container."""
    every = dict(labels)
    if project:
        every |= {COMPOSE_PROJECT: project, COMPOSE_SERVICE: service, COMPOSE_NUMBER: "1"}
    data = f"{project or name}_data"
    mount = {
        "Type": "volume",
        "Name": data,
        "Source": f"/var/lib/docker/volumes/{data}/_data",
        "Destination": "/d",
    }
    return {
        "Id": (name.encode().hex() * 64)[:64], "Names": [f"/{name}"], "Image": "app", "ImageID": "sha256:" + "1" * 64,
        "Created": 1_795_380_000, "Labels": every, "State": "running", "HostConfig": {"NetworkMode": "none"},
        "Mounts": [mount],
    }  # fmt: skip


class Host:
    """An engine that answers from files, and a config.json."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config, self.replies, self._capsys = root / "config.json", root / "replies", capsys
        self.config.write_bytes(orjson.dumps(config()))
        self.replies.mkdir()
        for name, reply in REPLIES.items():
            (self.replies / f"{name}.json").write_text(json.dumps(reply))

    def has(self, *rows: dict[str, Any]) -> None:
        (self.replies / "containers.json").write_text(json.dumps(rows))

    def run(self, *args: str) -> tuple[int, str]:
        code = run([args[0], "--replay", str(self.replies), "--config", str(self.config), *args[1:]])
        said = self._capsys.readouterr()
        return code, said.out + said.err

    def reconcile(self, *args: str) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.run("reconcile", *args)[1].splitlines()]

    def enabled(self) -> list[str]:
        plans = orjson.loads(self.config.read_bytes())["plans"]
        return [plan["id"] for plan in plans if not plan["schedule"].get("disabled")]


@pytest.fixture
def host(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return Host(tmp_path, capsys)


LEFT_OVER = "249662c60a09_test-web-1"


def test_a_left_over_name_is_hooked_and_explained_as_it_is(host: Host) -> None:
    labels = {"backrest.enable": "true", "backrest.hooks.template": "stop-start", COMPOSE_REPLACE: "web-1"}
    host.has(row(LEFT_OVER, labels, project="test", service="web"))
    host.reconcile()
    (plan,) = orjson.loads(host.config.read_bytes())["plans"]
    assert plan["id"] == "backrest_sidecar_web"
    assert f"docker stop {LEFT_OVER} " in plan["hooks"][1]["actionCommand"]["command"]
    for name in (LEFT_OVER, "test-web-1", "web", "test/web"):
        code, text = host.run("explain", name)
        assert code == 0, name
        assert text.startswith(f"{LEFT_OVER} of test/web (running): backed up"), name
    assert host.run("explain", "web-1")[0] == 3

    host.has(row("test-web-1", labels, project="test", service="web"))
    host.reconcile()
    (plan,) = orjson.loads(host.config.read_bytes())["plans"]
    assert "docker stop test-web-1 " in plan["hooks"][1]["actionCommand"]["command"]


def test_explain_takes_no_final_name_that_two_could_have(host: Host) -> None:
    names = ("249662c60a09_db", "0123456789ab_db")
    host.has(*(row(name, {"backrest.enable": "true"}) for name in names))
    assert host.run("explain", "db")[0] == 3
    assert host.run("explain", *names)[0] == 0


def test_three_deploys_under_new_names_are_one_plan(host: Host) -> None:
    def deploy(time: str) -> dict[str, Any]:
        return row(f"u0-{time}", {"backrest.enable": "true"}, project="u0", service=f"u0-{time}")

    said = []
    for time in ("110", "113", "135"):
        host.has(deploy(time))
        said += host.reconcile()
    assert host.enabled() == ["backrest_sidecar_u0_110"]
    successions = [event for event in said if event["action"] == "plan.successor"]
    assert [event["container"] for event in successions] == ["u0-113", "u0-135"]
    assert not [event for event in said if event.get("code") == "orphan"]
    text = host.run("explain", "u0-135")[1]
    assert "backrest_sidecar_u0_110 (up to date)  [the plan of u0/u0-110, whose paths it has]" in text


MISTYPED = {
    "backrest.enable: true": "", "backrest.enable ": "true", "Backrest.enable": "true", "backrest_enable": "true",
    "backrset.enable": "true", "BACKREST_ENABLE": "true", "backrest": "true",
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), MISTYPED.items())
def test_a_mistyped_enable_is_said_by_daemon_explain_and_lint_alike(
    host: Host, tmp_path: Path, key: str, value: str
) -> None:
    host.has(row("alpha-app-1", {"backrest.enable": "true"}, project="alpha", service="app"))
    host.reconcile()
    host.has(row("alpha-app-1", {key: value}, project="alpha", service="app"))
    events = host.reconcile("--orphans", "remove", "--orphan-grace", "0s")
    assert host.enabled() == ["backrest_sidecar_app"]
    (skipped,) = (event for event in events if event["action"] == "plan.skipped")
    assert (skipped["label"], skipped["hint"]) == (key, "backrest.enable")
    assert not any("gone" in str(event.get("reason")) for event in events)
    text = host.run("explain", "alpha-app-1")[1]
    assert "alpha-app-1 of alpha/app (running): skipped" in text
    assert "did you mean backrest.enable?" in text

    compose = tmp_path / "compose.yaml"
    item = json.dumps(f"{key}={value}" if value else key)
    compose.write_text(
        f"services:\n  app:\n    image: a\n    volumes: [d:/d]\n    labels:\n      - {item}\nvolumes: {{d: }}\n"
    )
    (finding,) = lint_files([str(compose)], options=LintOptions(), env={})
    assert (finding.code, finding.level, finding.hint) == ("unknown-label", "error", "backrest.enable")
    assert "did you mean backrest.enable?" in finding.message


def test_labels_taken_off_a_running_container_are_said_as_they_are(host: Host) -> None:
    host.has(row("alpha-app-1", {"backrest.enable": "true"}, project="alpha", service="app"))
    host.reconcile()
    host.has(row("alpha-app-1", {}, project="alpha", service="app"))
    events = host.reconcile("--orphans", "disable", "--orphan-grace", "0s")
    assert host.enabled() == []
    (event,) = (event for event in events if event.get("code") == "orphan-disabled")
    assert event["reason"].startswith("alpha-app-1 runs but no longer asks for a backup")
    assert not any("gone" in str(event.get("reason")) for event in events)


def test_a_clock_set_ahead_between_two_runs_removes_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [row("a", {"backrest.enable": "true"}), row("b", {"backrest.enable": "true"})]
    host.has(*both)
    host.reconcile()
    host.has(both[1])
    clock = [1_735_689_600.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    host.reconcile("--orphans", "remove")
    clock[0] += 400 * 86400.0
    events = host.reconcile("--orphans", "remove")
    assert host.enabled() == ["backrest_sidecar_a", "backrest_sidecar_b"]
    assert not [event for event in events if "orphan" in str(event.get("code"))]
