"""The recorded engine that ships with the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.engine.errors import EngineError
from sidecar.engine.recorded import ReplayEngine

RECORDED = Path(__file__).parents[3] / "testdata" / "engine"


def test_the_recording_holds_what_its_readme_says() -> None:
    snapshot = ReplayEngine(RECORDED).snapshot()

    by_service: dict[tuple[str, str], list[str]] = {}
    for one in snapshot.containers:
        by_service.setdefault((one.project, one.service), []).append(one.name)
    named = {c.name: c for c in snapshot.containers}
    assert len(snapshot.containers) >= 12
    assert sorted(by_service["shop", "web"]) == ["shop_web_1", "shop_web_2", "shop_web_3"]
    assert [c.service for c in snapshot.containers if c.is_oneoff] == ["db"]
    assert named["notes"].image_labels["backrest.enable"] == "true"
    assert {m.type for m in named["media_jellyfin_1"].mounts} == {"bind", "volume"}
    assert any(m.source == "/var/run/docker.sock" for m in named["backrest"].mounts)
    assert snapshot.volumes["shop_web-cache"].labels["backrest.enable"] == "false"
    assert (snapshot.docker_root, snapshot.self_id, snapshot.notes) == ("/var/lib/docker", "", ())


def test_it_is_the_same_at_every_look() -> None:
    engine = ReplayEngine(RECORDED)
    first = engine.snapshot()
    engine.invalidate_volumes()

    assert engine.snapshot() == first
    assert engine.info().name == "nas"


def test_nothing_of_the_recording_machine_is_in_it() -> None:
    for file in RECORDED.glob("*.json"):
        text = file.read_text()
        assert not any(path in text for path in ("/var/tmp", "/tmp/", "/home/", "/root/")), file.name


def test_a_folder_without_recordings_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"containers\.json.*record_engine") as caught:
        ReplayEngine(tmp_path).snapshot()

    assert caught.value.kind == "unreachable"
