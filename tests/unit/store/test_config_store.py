"""config.json on a real disk, without faults: reading, replacing, links."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from sidecar.store.config_store import ConfigStore
from sidecar.store.errors import Changed, ConfigUnreadable, NotWritable
from sidecar.store.fingerprint import MAX_BYTES, load
from tests.faults.scripted_fs import ScriptedFs
from tests.unit.stores import NEW, OLD, Clock, store_on


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_bytes(OLD)
    return path


def test_read(path: Path) -> None:
    path.chmod(0o640)
    loaded = store_on(path).read()
    assert (loaded.raw, loaded.where, loaded.mode, loaded.notes) == (OLD, path, 0o640, ())
    assert (loaded.uid, loaded.gid) == (os.geteuid(), path.stat().st_gid)
    assert loaded.fingerprint.size == len(OLD)


def test_replace(path: Path) -> None:
    store = store_on(path)
    before = path.stat().st_ino
    mark = store.read().fingerprint
    done = store.replace(NEW, mark)
    assert path.read_bytes() == NEW
    assert done.fingerprint == store.read().fingerprint
    assert done.undo == path.with_name("config.json.sidecar.20260102T030405.678Z")
    assert done.undo.read_bytes() == OLD
    assert (done.undo.stat().st_ino, stat.S_IMODE(done.undo.stat().st_mode)) == (before, 0o600)
    assert store.exchange_supported
    assert 0 < done.window_ns < 10**9
    assert done.notes == ()


def test_a_relative_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    store = ConfigStore(Path("config.json"), mode=None, state_dir=Path("state"), clock=Clock())
    loaded = store.read()
    assert (loaded.where, loaded.notes) == (path, ())
    store.replace(NEW, loaded.fingerprint)
    assert path.read_bytes() == NEW
    assert (path.parent / "state" / "write-intent").stat().st_size > 0


def test_the_fingerprint_of_a_replacement_is_good_for_the_next(path: Path) -> None:
    store = store_on(path)
    mark = store.read().fingerprint
    for number in range(5):
        mark = store.replace(b'{"modno": %d}' % number, mark).fingerprint
        assert not store.changed_since(mark)
        store.settle()
    assert path.read_bytes() == b'{"modno": 4}'


def test_equal_bytes_are_not_written(path: Path) -> None:
    store = store_on(path, mode=0o600)
    loaded = store.read()
    done = store.replace(OLD, loaded.fingerprint)
    assert (done.fingerprint, done.undo) == (loaded.fingerprint, None)
    assert stat.S_IMODE(path.stat().st_mode) == loaded.mode
    assert [entry.name for entry in path.parent.glob("config.json*")] == ["config.json"]


@pytest.mark.parametrize("how", ["rename", "in place", "in place, same size and time", "chmod", "gone"])
def test_changed_by_somebody_else(path: Path, how: str) -> None:
    store = store_on(path)
    mark = store.read().fingerprint
    status = path.stat()
    if how == "rename":
        path.with_name("theirs").write_bytes(OLD)
        path.with_name("theirs").rename(path)
    elif how == "chmod":
        path.chmod(0o600)
    elif how == "gone":
        path.unlink()
    else:
        path.write_bytes(OLD.replace(b"6", b"5") if "same" in how else b"{}")
        if "same" in how:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    theirs = path.read_bytes() if path.exists() else None
    assert store.changed_since(mark)
    with pytest.raises(ConfigUnreadable if how == "gone" else Changed):
        store.replace(NEW, mark)
    assert (path.read_bytes() if path.exists() else None) == theirs
    assert list(path.parent.glob(".config.json*")) == []


def test_changed_since_costs_no_read_once_the_stamps_are_old(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_on(path)
    fresh = store.read().fingerprint
    assert not fresh.settled
    reads = []

    def counted(*args: object, **options: object) -> object:
        reads.append(args)
        return load(*args, **options)  # type: ignore[arg-type]  # passes on what it was given

    monkeypatch.setattr("sidecar.store.config_store.load", counted)
    assert not store.changed_since(fresh)
    assert len(reads) == 1
    monkeypatch.setattr("sidecar.store.fs.Fs.now_ns", lambda _: fresh.ctime_ns + 10**9)
    for _ in range(3):
        assert not store.changed_since(fresh)
    assert len(reads) == 2
    settled = store.read().fingerprint
    assert settled.settled
    for _ in range(3):
        assert not store.changed_since(settled)
    assert len(reads) == 3


def test_changed_since_without_a_file(path: Path) -> None:
    store = store_on(path)
    mark = store.read().fingerprint
    path.unlink()
    assert store.changed_since(mark)


def make_directory(path: Path) -> None:
    path.mkdir()


def make_dangling(path: Path) -> None:
    path.symlink_to("nowhere.json")


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_huge(path: Path) -> None:
    path.touch()
    os.truncate(path, MAX_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda _: None, "missing", "does not exist. Start Backrest once"),
        (make_directory, "directory", "is a directory. Docker makes one"),
        (make_dangling, "dangling", "symlink to nowhere.json"),
        (make_loop, "dangling", "name the file itself"),
        (os.mkfifo, "not-regular", "no plain file|not a plain file"),
        (make_huge, "too-large", "more than the 64 MiB"),
    ],
)
def test_unreadable(tmp_path: Path, make: object, kind: str, words: str) -> None:
    path = tmp_path / "config.json"
    assert callable(make)
    make(path)
    with pytest.raises(ConfigUnreadable, match=words) as caught:
        store_on(path).read()
    assert caught.value.kind == kind
    assert str(path) in str(caught.value)


def test_no_directory(tmp_path: Path) -> None:
    store = store_on(tmp_path / "absent" / "config.json")
    with pytest.raises(ConfigUnreadable) as caught:
        store.read()
    assert caught.value.kind == "missing"
    assert not store.recover().written


def test_a_symlink_is_followed_and_stays(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "backrest.json").write_bytes(OLD)
    path = tmp_path / "config.json"
    path.symlink_to("real/backrest.json")
    store = store_on(path)
    loaded = store.read()
    assert loaded.where == real / "backrest.json"
    assert "is a symlink" in loaded.notes[0]
    done = store.replace(NEW, loaded.fingerprint)
    assert path.is_symlink()
    assert (real / "backrest.json").read_bytes() == NEW
    assert done.undo is not None
    assert done.undo.parent == real
    assert store.lock().path.parent == real
    assert [copy.path for copy in store.list_undo()] == [done.undo]


def test_a_link_that_is_turned_elsewhere_counts_as_changed(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).write_bytes(OLD)
    path = tmp_path / "config.json"
    path.symlink_to("one")
    store = store_on(path)
    mark = store.read().fingerprint
    path.unlink()
    path.symlink_to("other")
    assert store.changed_since(mark)
    with pytest.raises(Changed):
        store.replace(NEW, mark)
    assert (tmp_path / "other").read_bytes() == OLD


def test_a_directory_that_is_replaced(tmp_path: Path) -> None:
    directory = tmp_path / "config"
    directory.mkdir()
    path = directory / "config.json"
    path.write_bytes(OLD)
    store = ConfigStore(path, mode=None, state_dir=tmp_path / "state", clock=Clock())
    mark = store.read().fingerprint
    directory.rename(tmp_path / "away")
    directory.mkdir()
    with pytest.raises(ConfigUnreadable):
        store.replace(NEW, mark)
    path.write_bytes(OLD)
    with pytest.raises(Changed):
        store.replace(NEW, mark)
    assert (tmp_path / "away" / "config.json").read_bytes() == OLD
    store.replace(NEW, store.read().fingerprint)
    assert path.read_bytes() == NEW


def test_a_state_directory_that_cannot_be_made(path: Path) -> None:
    (path.parent / "file").touch()
    store = ConfigStore(path, mode=None, state_dir=path.parent / "file" / "state", clock=Clock())
    with pytest.raises(NotWritable):
        store.replace(NEW, store.read().fingerprint)
    assert path.read_bytes() == OLD


def test_without_the_exchange_it_is_said_once(path: Path) -> None:
    fs = ScriptedFs(no_exchange=errno.EINVAL)
    store = ConfigStore(path, mode=None, state_dir=path.parent / "state", clock=Clock(), fs=fs)
    done = store.replace(NEW, store.read().fingerprint)
    assert "cannot exchange two files" in done.notes[0]
    assert not store.exchange_supported
    assert done.undo is not None
    assert (done.undo.read_bytes(), stat.S_IMODE(done.undo.stat().st_mode)) == (OLD, 0o600)
    again = store.replace(OLD, done.fingerprint)
    assert again.notes == ()
    assert fs.calls.count("exchange") == 1
    assert path.read_bytes() == OLD
    assert list(path.parent.glob(".config.json*")) == []
