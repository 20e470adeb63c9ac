"""The main job, whole: four Compose projects on a real engine become the plans of the golden file.

``UPDATE_GOLDEN=1`` writes that file anew; read the difference before it is committed.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.engine.harness import TestEngine
from tests.engine.sidecar_process import ROOT, events, run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

GOLDEN = ROOT / "testdata" / "golden"
PROJECTS = ("shop", "media", "office", "home")
HAND_MADE = ("by-hand", "backrest_sidecar_ghost")


@pytest.fixture
def stacks(engine: TestEngine) -> TestEngine:
    """The engine with the containers of all projects, created and not started."""
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is missing")
    for project in PROJECTS:
        yaml = (GOLDEN / "stacks" / f"{project}.yml").read_text()
        yaml = yaml.replace("${BINDS}", f"{engine.folder}/srv")
        engine.compose(project, yaml, "--no-ansi", "up", "--no-start")
    return engine


def usual(engine: TestEngine, text: str) -> str:
    """The text with the usual folders in place of the test engine's own."""
    return text.replace(str(engine.root), "/var/lib/docker").replace(str(engine.folder), "")


def marks(path: Path) -> tuple[bytes, int, int]:
    status = path.stat()
    return path.read_bytes(), status.st_mtime_ns, status.st_ino


def test_four_projects_become_the_golden_plans(stacks: TestEngine, tmp_path: Path) -> None:
    labelled = [
        one
        for one in stacks.call("GET", "/containers/json?all=1")
        if any(key.startswith("backrest.") for key in one["Labels"])
    ]
    assert len(labelled) == 20
    config = tmp_path / "config.json"
    given = (GOLDEN / "config.json").read_bytes()
    config.write_bytes(given)
    command = ("reconcile", "--config", str(config), "--docker-sock", stacks.host)

    dry = run(*command, "--dry-run")
    assert dry.returncode == 2, dry.stdout + dry.stderr
    assert config.read_bytes() == given

    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(config.read_bytes())
    plans = [plan for plan in written["plans"] if plan["id"] not in HAND_MADE]
    found = usual(stacks, json.dumps(plans, indent=2, ensure_ascii=False)) + "\n"
    golden = GOLDEN / "plans.json"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.write_text(found)
    assert found == golden.read_text()

    skipped = {
        event["container"]: event["code"]
        for event in events(done.stdout)
        if event["action"] == "plan.skipped"
    }
    assert skipped == {
        "media_music_1": "wrong-label",
        "office_calendar_1": "unknown-repo",
        "office_printer_1": "no-path",
        "office_scanner_1": "wrong-label",
        "home_camera_1": "wrong-label",
    }
    _untouched(json.loads(given), written)

    before = marks(config)
    again = run(*command)
    assert again.returncode == 2, again.stdout + again.stderr
    assert marks(config) == before


def _untouched(before: dict[str, Any], after: dict[str, Any]) -> None:
    """What was made by hand is there to the last value, its keys in their order."""
    kept = [plan for plan in after["plans"] if plan["id"] in HAND_MADE]
    assert json.dumps(kept) == json.dumps(before["plans"])
    rest = [{key: value for key, value in one.items() if key != "plans"} for one in (before, after)]
    assert json.dumps(rest[0]) == json.dumps(rest[1])
