"""The durable state: round trips, other versions, damage, faults."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import fields, replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.plans.rendering import Owner
from sidecar.store.state import Owed, Quarantined, State, StateUnusable, StoppedBackrest, from_json, to_json
from sidecar.store.state_store import StateError, StateStore
from tests.faults.scripted_fs import ScriptedFs, SimulatedCrash

NOW = 1_767_323_045.0
FULL = State(
    owners={
        "backrest_sidecar_web": Owner(
            "proj/web", {"repo": "d1", "paths": "d2"}, ("h1",), ("/a", "/b"), 12.5, disabled=True
        ),
        "backrest_sidecar_ä": Owner("proj/ä"),
    },
    owed=Owed(1.0, "plans changed", "abc"),
    stopped=StoppedBackrest("0123", "backrest", 2.0),
    restarts=(1.0, 2.5),
    quarantine=(Quarantined("abc", "sha256:1"),),
    view=(("/srv", "/userdata"),),
    backrest_version="1.14.1",
    image_id="sha256:1",
    extra={"newer": {"field": [1, None]}},
)


def store_in(directory: Path, *, read_only: bool = False) -> StateStore:
    return StateStore(directory, clock=lambda: NOW, read_only=read_only)


def test_round_trip(tmp_path: Path) -> None:
    assert store_in(tmp_path / "state").save(FULL)
    loaded = store_in(tmp_path / "state").load()
    assert loaded == FULL
    assert all(getattr(loaded, field.name) == getattr(FULL, field.name) for field in fields(State))


def test_the_directory_and_the_file_are_ours_alone(tmp_path: Path) -> None:
    store_in(tmp_path / "a" / "state").save(State())
    assert stat.S_IMODE((tmp_path / "a" / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "state" / "state.json").stat().st_mode) == 0o600
    assert [entry.name for entry in (tmp_path / "a" / "state").iterdir()] == ["state.json"]


def test_none_yet(tmp_path: Path) -> None:
    store = store_in(tmp_path / "absent")
    assert (store.load(), store.problem) == (State(), "")
    assert not (tmp_path / "absent").exists()


def test_the_same_is_not_written_again(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert store.save(FULL)
    before = (tmp_path / "state.json").stat()
    assert not store.save(FULL)
    other = store_in(tmp_path)
    assert not other.save(other.load())
    assert (tmp_path / "state.json").stat() == before
    assert other.save(replace(FULL, owed=None))
    assert store.load() == replace(FULL, owed=None)
    assert store.save(FULL)
    (tmp_path / "state.json").unlink()
    assert store.save(FULL)
    assert store_in(tmp_path).load() == FULL


def test_a_file_that_is_as_we_left_it_is_not_read_again(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.save(FULL)
    assert store.load() is FULL
    store_in(tmp_path).save(State())
    assert store.load() == State()
    (tmp_path / "state.json").unlink()
    assert store.load() == State()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"version": 2}', "of version 2"),
        (b"{}", "of version None"),
        (b'{"version": 1, "owners": []}', "wrong kind"),
        (b'{"version": 1, "owners": {"a": {}}}', "wrong kind"),
        (b'{"version": 1, "owners": {"a": {"workload": 1}}}', "text expected, not int"),
        (b'{"version": 1, "owners": {"a": {"workload": "w", "fields": []}}}', "an object expected"),
        (b'{"version": 1, "owners": {"a": {"workload": "w", "fields": {"a": 1}}}}', "wrong kind"),
        (b'{"version": 1, "owners": {"a": {"workload": "w", "paths": "/a"}}}', "a list expected"),
        (b'{"version": 1, "owners": {"a": {"workload": "w", "hooks": [1]}}}', "wrong kind"),
        (b'{"version": 1, "owners": {"a": {"workload": "w", "absent_since": "x"}}}', "a number expected"),
        (b'{"version": 1, "owed": {"since": 1}}', "wrong kind"),
        (b'{"version": 1, "restarts": [true]}', "a number expected, not bool"),
        (b'{"version": 1, "view": [["a"]]}', "wrong kind"),
        (b'{"version": 1, "stopped": "backrest"}', "wrong kind"),
    ],
)
def test_damage_is_put_aside_and_said(tmp_path: Path, raw: bytes, why: str) -> None:
    path = tmp_path / "state.json"
    for kept in ("state.json.broken.20260102T030405Z", "state.json.broken.20260102T030405Z.2"):
        path.write_bytes(raw)
        reader = store_in(tmp_path, read_only=True)
        assert reader.load() == State()
        assert why in reader.problem
        assert path.read_bytes() == raw
        store = store_in(tmp_path)
        assert store.load() == State()
        assert why in store.problem
        assert kept in store.problem
        assert (tmp_path / kept).read_bytes() == raw
        assert not path.exists()
    assert store.save(FULL)
    assert store.load() == FULL
    assert store.problem == ""


def test_what_cannot_be_read_is_not_taken_for_empty(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(StateError, match=r"could not be read.*Check --state-dir"):
        store_in(tmp_path).load()


def test_a_run_that_only_reads_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="only reads"):
        store_in(tmp_path, read_only=True).save(FULL)
    assert list(tmp_path.iterdir()) == []


def test_each_call_may_fail_or_be_the_last(tmp_path: Path) -> None:
    later = replace(FULL, owed=None)
    counting = ScriptedFs()
    store = StateStore(tmp_path, clock=lambda: NOW, fs=counting)
    store.save(FULL)
    assert len(counting.calls) > 6
    for number in range(len(counting.calls)):
        for crash in (False, True):
            store_in(tmp_path).save(FULL)
            fs = ScriptedFs(error=errno.ENOSPC)
            fs.crash_at, fs.fail_at = (number, -1) if crash else (-1, number)
            store = StateStore(tmp_path, clock=lambda: NOW, fs=fs)
            saved = False
            try:
                saved = store.save(later)
            except (StateError, SimulatedCrash):
                assert fs.calls
            found = store_in(tmp_path).load()
            assert found in (FULL, later)
            assert found == later or not saved
            if not crash:
                assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"] or number > 5
                assert store_in(tmp_path).save(later) or found == later
                assert store_in(tmp_path).load() == later


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="could not be written"):
        store_in(tmp_path / "file" / "state").save(FULL)


texts = st.text(max_size=8)
owners = st.builds(
    Owner,
    workload=texts,
    fields=st.dictionaries(texts, texts, max_size=3),
    hooks=st.lists(texts, max_size=3).map(tuple),
    paths=st.lists(texts, max_size=3).map(tuple),
    absent_since=st.floats(min_value=0, max_value=2e9),
    disabled=st.booleans(),
)
states = st.builds(
    State,
    owners=st.dictionaries(texts, owners, max_size=4),
    restarts=st.lists(st.floats(min_value=0, max_value=2e9), max_size=3).map(tuple),
    view=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
)


@given(states)
def test_any_state_survives(state: State) -> None:
    assert from_json(orjson.loads(orjson.dumps(to_json(state)))) == state


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([field.name for field in fields(State)])


@given(st.dictionaries(names, json_values, max_size=3))
def test_any_damage_is_recognised_or_harmless(data: dict[str, object]) -> None:
    try:
        state = from_json({**data, "version": 1})
    except StateUnusable:
        return
    assert from_json(orjson.loads(orjson.dumps(to_json(state)))) == state


def test_the_file_is_owned_by_whoever_runs(tmp_path: Path) -> None:
    store_in(tmp_path).save(State())
    assert (tmp_path / "state.json").stat().st_uid == os.geteuid()
