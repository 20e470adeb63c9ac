"""The lock between two sidecars, against real ``flock`` and real processes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sidecar.store.lock import ConfigLock, LockError, LockTimeout

HOLD = """
import sys
from pathlib import Path
from sidecar.store.lock import ConfigLock
with ConfigLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


class Waits:
    """A wait that takes no time; the clock moves instead."""

    def __init__(self, stop_after: int = 10**6) -> None:
        self.now = 0.0
        self.count = 0
        self._stop_after = stop_after

    def __call__(self, seconds: float) -> bool:
        self.now += seconds
        self.count += 1
        return self.count >= self._stop_after

    def clock(self) -> float:
        return self.now


def holder(directory: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_it_is_held_and_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        with ConfigLock(tmp_path) as lock:
            assert lock.path == tmp_path / ".backrest-sidecar.lock"
            assert lock.path.stat().st_mode & 0o777 == 0o600
            waits = Waits()
            with pytest.raises(LockTimeout), ConfigLock(tmp_path, wait=waits, clock=waits.clock):
                pytest.fail("two at once")


def test_waiting_is_bounded_and_names_the_holder(tmp_path: Path) -> None:
    process = holder(tmp_path)
    waits = Waits()
    with pytest.raises(LockTimeout, match=rf"for 30 s \(process {process.pid} on ") as caught:
        ConfigLock(tmp_path, wait=waits, clock=waits.clock).__enter__()
    assert "two sidecars must not write one config.json" in str(caught.value)
    assert waits.now == pytest.approx(30)
    assert waits.count <= 601
    process.communicate()


def test_being_told_to_stop_ends_the_wait(tmp_path: Path) -> None:
    with ConfigLock(tmp_path):
        waits = Waits(stop_after=3)
        with pytest.raises(LockTimeout, match="Told to stop"):
            ConfigLock(tmp_path, wait=waits, clock=waits.clock).__enter__()
        assert waits.count == 3


def test_it_is_taken_as_soon_as_it_is_free(tmp_path: Path) -> None:
    process = holder(tmp_path)
    taken = threading.Event()

    def take() -> None:
        with ConfigLock(tmp_path):
            taken.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert not taken.is_set()
    process.communicate()
    assert taken.wait(10)
    thread.join()


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.kill()
    process.communicate()
    waits = Waits(stop_after=1)
    with ConfigLock(tmp_path, wait=waits):
        assert waits.count == 0


def test_a_lock_file_that_was_deleted_is_no_lock(tmp_path: Path) -> None:
    with ConfigLock(tmp_path) as old:
        old.path.unlink()
        with ConfigLock(tmp_path) as new:
            assert new.path.read_text().startswith(f"process {os.getpid()} on ")


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="The directory does not exist"):
        ConfigLock(tmp_path / "absent").__enter__()


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".backrest-sidecar.lock").symlink_to("/etc/passwd")
    with pytest.raises(LockError):
        ConfigLock(tmp_path).__enter__()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_lock_that_the_system_refuses_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_fd: int, _how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("sidecar.store.lock.fcntl.flock", refuse)
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the listing's own descriptor is then closed
    with pytest.raises(LockError, match=os.strerror(number)):
        ConfigLock(tmp_path).__enter__()
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - the same


def test_a_lock_file_that_cannot_be_looked_at_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_lock: ConfigLock, _fd: int) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(ConfigLock, "_is_current", refuse)
    with pytest.raises(LockError, match=os.strerror(errno.EIO)):
        ConfigLock(tmp_path).__enter__()


def test_a_full_disk_does_not_take_the_lock_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: bytes, _at: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sidecar.store.lock.os.pwrite", full)
    waits = Waits(stop_after=1)
    with ConfigLock(tmp_path), pytest.raises(LockTimeout), ConfigLock(tmp_path, wait=waits):
        pytest.fail("two at once")


def test_no_descriptor_leaks(tmp_path: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the listing's own descriptor is then closed
    with ConfigLock(tmp_path):
        waits = Waits(stop_after=5)
        with pytest.raises(LockTimeout):
            ConfigLock(tmp_path, wait=waits, clock=waits.clock).__enter__()
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - the same
