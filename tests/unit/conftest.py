"""Fixtures: a double of Backrest inside the test's process, with one repo and one plan, and a client of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.api import BackrestApi
from tests.doubles.backrest.server import Double

GUID = "a" * 64
SECRET = "hunter2-never-shown"
PLAN = {"id": "p1", "repo": "r1", "paths": ["/data"]}
CONFIG: dict[str, Any] = {
    "version": 6,
    "instance": "test",
    "repos": [{"id": "r1", "uri": "/repo", "guid": GUID, "password": SECRET}],
    "plans": [PLAN],
}


@pytest.fixture
def double(tmp_path: Path) -> Iterator[Double]:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    with Double(config, tmp_path / "data") as running:
        yield running


@pytest.fixture
def api(double: Double) -> BackrestApi:
    return BackrestApi(double.url)
