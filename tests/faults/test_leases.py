"""Programs that open config.json in the very microseconds of an exchange, on real leases.

Each story stops the replacement right before or after its first exchange, lets another program open the file, and
goes on once the kernel says that this program waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.store.errors import Changed
from sidecar.store.fs import Fs
from sidecar.store.lease import Grant
from tests.faults.scripted_fs import rename_over
from tests.faults.store_rig import NEW, OLD, Rig
from tests.waiting import eventually

EDIT = b'{"version": 6, "plans": ["theirs"]}'
LATER = b'{"version": 6, "plans": ["in place"]}'


class StoppedFs(Fs):
    """The real thing, stopped around the first exchange."""

    def __init__(self) -> None:
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self._first = True

    def exchange(self, dir_fd: int, one: str, other: str) -> None:
        """Swap two names; let others in around the first time."""
        first, self._first = self._first, False
        if first:
            self.before()
        super().exchange(dir_fd, one, other)
        if first:
            self.after()


class Other:
    """Another program, which opens the file and waits for us."""

    def __init__(self, rig: Rig, act: Callable[[], object]) -> None:
        self.result: object = None
        self._directory = rig.directory
        self._thread = threading.Thread(target=self._run, args=(act,))

    def _run(self, act: Callable[[], object]) -> None:
        self.result = act()

    def start_and_wait_until_it_waits(self) -> None:
        """Start it, and return when the kernel has it in the queue for a lease."""
        self._thread.start()
        eventually(self._waits, 10)

    def _waits(self) -> bool:
        inodes = {str(entry.stat().st_ino) for entry in self._directory.iterdir()}
        lines = Path("/proc/locks").read_text().splitlines()
        return any("BREAKING" in line and line.split()[-3].split(":")[-1] in inodes for line in lines)

    def join(self) -> object:
        """Wait for its end; return what it found."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.result


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    probe = tmp_path / "probe"
    probe.touch()
    with probe.open("r+b") as file:
        if Fs().lease(file.fileno(), exclusive=True) is not Grant.HELD:
            pytest.skip("no leases on this filesystem")
    return Rig(tmp_path / "config")


def test_a_reader_waits_for_a_good_swap_and_reads_ours(rig: Rig) -> None:
    fs, reader = StoppedFs(), Other(rig, rig.path.read_bytes)
    fs.after = reader.start_and_wait_until_it_waits
    store = rig.store(fs)
    store.replace(NEW, store.read().fingerprint)
    assert reader.join() == NEW


def test_our_own_reader_waits_too(rig: Rig) -> None:
    fs = StoppedFs()
    store = rig.store(fs)
    reader = Other(rig, lambda: rig.store(Fs()).read().raw)
    fs.after = reader.start_and_wait_until_it_waits
    store.replace(NEW, store.read().fingerprint)
    assert reader.join() == NEW


def test_a_reader_never_sees_what_is_taken_back(rig: Rig) -> None:
    fs, reader = StoppedFs(), Other(rig, rig.path.read_bytes)
    fs.before = lambda: rename_over(rig.path, EDIT)
    fs.after = reader.start_and_wait_until_it_waits
    store = rig.store(fs)
    with pytest.raises(Changed):
        store.replace(NEW, store.read().fingerprint)
    assert reader.join() == EDIT
    assert rig.path.read_bytes() == EDIT
    assert rig.leftovers() == []


def test_a_writer_into_the_old_file_finds_it_in_its_place(rig: Rig) -> None:
    fs, writer = StoppedFs(), Other(rig, lambda: rig.path.write_bytes(LATER))
    fs.before = writer.start_and_wait_until_it_waits
    store = rig.store(fs)
    with pytest.raises(Changed):
        store.replace(NEW, store.read().fingerprint)
    writer.join()
    assert rig.path.read_bytes() == LATER
    assert (rig.leftovers(), rig.undo(), rig.kept()) == ([], [], [])


def test_a_writer_into_what_is_taken_back_is_kept(rig: Rig) -> None:
    fs, writer = StoppedFs(), Other(rig, lambda: rig.path.write_bytes(LATER))
    fs.before = lambda: rename_over(rig.path, EDIT)
    fs.after = writer.start_and_wait_until_it_waits
    store = rig.store(fs)
    with pytest.raises(Changed) as caught:
        store.replace(NEW, store.read().fingerprint)
    writer.join()
    assert rig.path.read_bytes() == EDIT
    assert [path.read_bytes() for path in caught.value.kept] == [LATER] == rig.kept()
    assert str(caught.value.kept[0]) in str(caught.value)
    assert rig.leftovers() == []


def test_a_file_that_is_open_for_writing_is_given_time(rig: Rig) -> None:
    store = rig.store(Fs())
    mark = store.read().fingerprint
    with rig.path.open("r+b"):
        for _ in range(10):
            with pytest.raises(Changed, match="open for writing"):
                store.replace(NEW, mark)
            assert rig.path.read_bytes() == OLD
            assert rig.leftovers() == []
        store.replace(NEW, mark)
    assert rig.path.read_bytes() == NEW
    store.replace(OLD, store.read().fingerprint)
    assert rig.path.read_bytes() == OLD
