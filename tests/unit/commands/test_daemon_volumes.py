"""Where the daemon watches volumes come and go."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from sidecar.commands.daemon import Daemon
from sidecar.engine.errors import EngineError
from sidecar.engine.types import EngineInfo
from sidecar.settings.settings import resolve
from sidecar.supervision.child import Context


class Supervised:
    """The supervisor's side, as far as it is needed: told to stop after so many waits."""

    def __init__(self, waits: int = 5) -> None:
        self.stop = self
        self.waits = waits

    def beat(self, _seconds: float) -> None:
        pass

    def wait(self, _seconds: float) -> bool:
        self.waits -= 1
        return self.waits < 0


def volumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *said: str | EngineError, **flags: str
) -> Path | None:
    given = {"config": str(tmp_path / "config.json"), "docker-sock": "/nowhere.sock", **flags}
    daemon = Daemon(resolve("daemon", given, {}))
    answers = list(said)

    def info() -> EngineInfo:
        found = answers.pop(0)
        if isinstance(found, EngineError):
            raise found
        return EngineInfo(id="e", docker_root=found)

    monkeypatch.setattr(daemon._engine, "info", info)
    return daemon._volumes(cast("Context", Supervised()))


def test_the_engine_names_its_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert volumes(tmp_path, monkeypatch, "/srv/docker") == Path("/srv/docker/volumes")
    assert volumes(tmp_path, monkeypatch, "") == Path("/var/lib/docker/volumes")
    given = {"docker-root": "/mnt/docker"}
    assert volumes(tmp_path, monkeypatch, **given) == Path("/mnt/docker/volumes"), "nobody is asked"


def test_an_engine_that_starts_is_waited_for_and_one_that_forbids_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    down, forbidden = EngineError("unreachable", "nobody answers"), EngineError("forbidden", "no")
    assert volumes(tmp_path, monkeypatch, down, down, "/srv/docker") == Path("/srv/docker/volumes")
    assert volumes(tmp_path, monkeypatch, forbidden) == Path("/var/lib/docker/volumes")
    assert volumes(tmp_path, monkeypatch, *[down] * 9) == Path("/var/lib/docker/volumes"), "told to stop"
