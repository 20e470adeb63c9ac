"""Previous versions of config.json: their names, how many are kept, and finding one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.store import versions
from tests.unit.stores import OLD, Clock, store_on


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_bytes(OLD)
    return path


def test_the_newest_ten_are_kept_and_nobody_elses(path: Path) -> None:
    clock = Clock()
    store = store_on(path, clock=clock)
    foreign = [
        path.with_name(name)
        for name in (
            "config.json.bak.2020-01-01-00-00-00",
            "config.json.sidecar.mine",
            "config.json.sidecar.20200101T000000.000Z.kept",
            "config.json.sidecar.20200101T000000Z",
            "other.json.sidecar.20200101T000000.000Z",
        )
    ]
    for file in foreign:
        file.write_bytes(b"not ours")
    for number in range(13):
        clock.now += 60
        store.replace(b'{"modno": %d}' % number, store.read().fingerprint)
        store.settle()
    ours = [copy for copy in store.list_undo() if not copy.kept]
    assert [copy.path.read_bytes() for copy in ours] == [b'{"modno": %d}' % n for n in range(11, 1, -1)]
    assert all(file.read_bytes() == b"not ours" for file in foreign)


def test_a_clock_that_is_set_back_loses_no_copy(path: Path) -> None:
    clock = Clock()
    store = store_on(path, clock=clock)
    for number in range(4):
        store.replace(b'{"modno": %d}' % number, store.read().fingerprint)
        store.settle()
        clock.now -= 86_400 * number
    contents = [copy.path.read_bytes() for copy in store.list_undo()]
    assert contents == [b'{"modno": 2}', b'{"modno": 1}', b'{"modno": 0}', OLD]
    assert [copy.label for copy in store.list_undo()][:2] == ["20260102T030405.681Z", "20260102T030405.680Z"]


def test_read_undo(path: Path) -> None:
    clock = Clock()
    store = store_on(path, clock=clock)
    with pytest.raises(LookupError, match="no previous version"):
        store.read_undo()
    for number in range(3):
        store.replace(b'{"modno": %d}' % number, store.read().fingerprint)
        store.settle()
        clock.now += 60
    assert store.read_undo()[1] == b'{"modno": 1}'
    copy, raw = store.read_undo("20260102T030505")
    assert (raw, copy.time) == (b'{"modno": 0}', datetime(2026, 1, 2, 3, 5, 5, 678000, UTC))
    with pytest.raises(LookupError, match=r"fits several .*20260102T030605.678Z"):
        store.read_undo("2026")
    with pytest.raises(LookupError, match=r"is called '1999'"):
        store.read_undo("1999")


def test_names_of_copies() -> None:
    path = Path("config.json")
    name = versions.new_name([], path, 0.0015)
    assert name == "config.json.sidecar.19700101T000000.001Z"
    assert versions.new_name([name], path, 0.0, kept=True) == "config.json.sidecar.19700101T000000.002Z.kept"
    assert versions.listing(["config.json.sidecar.20261399T000000.000Z"], path) == ()
