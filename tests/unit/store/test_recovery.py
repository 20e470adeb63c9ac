"""What a killed sidecar left behind, seen by the next one. The crash points themselves are in tests/faults."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sidecar.store.errors import Changed
from tests.unit.stores import NEW, OLD, store_on


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_bytes(OLD)
    return path


def test_a_payload_is_handed_out_until_it_is_settled(path: Path) -> None:
    store = store_on(path)
    assert not store.recover().written
    store.replace(NEW, store.read().fingerprint, {"owners": {"ä": 1}})
    for _ in range(2):
        recovered = store_on(path).recover()
        assert (recovered.written, recovered.payload) == (True, {"owners": {"ä": 1}})
        assert "its work is finished" in recovered.notes[0]
    store.settle()
    recovered = store_on(path).recover()
    assert (recovered.written, recovered.payload, recovered.notes) == (False, {}, ())


def test_a_write_of_a_killed_sidecar_is_told_before_the_next_one(path: Path) -> None:
    killed, alive = store_on(path), store_on(path)
    mark = killed.replace(NEW, killed.read().fingerprint, {"owners": ["theirs"]}).fingerprint
    with pytest.raises(Changed) as caught:
        alive.replace(OLD, mark)
    assert caught.value.payload == {"owners": ["theirs"]}
    alive.replace(OLD, mark)
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("damage", [b"", b"{}", b"0" * 32 + b"\n{}", b"\xff\n\xff"])
def test_a_damaged_intent_record_counts_as_none(path: Path, damage: bytes) -> None:
    store = store_on(path)
    store.replace(NEW, store.read().fingerprint)
    (path.parent / ".backrest-sidecar" / "write-intent").write_bytes(damage)
    assert not store_on(path).recover().written
    assert path.read_bytes() == NEW


def test_unknown_leftovers_are_kept_and_said(path: Path) -> None:
    swap = path.with_name(".config.json.sidecar-swap.0123")
    swap.write_bytes(b"somebody's")
    path.with_name(".config.json.sidecar-new.0123").write_bytes(b"half of ou")
    recovered = store_on(path).recover()
    (kept,) = recovered.kept
    assert (kept.read_bytes(), stat.S_IMODE(kept.stat().st_mode)) == (b"somebody's", 0o600)
    assert str(kept) in recovered.notes[0]
    assert recovered.removed == 1
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["config.json", kept.name]
