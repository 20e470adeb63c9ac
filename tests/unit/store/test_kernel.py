"""``renameat2`` by ctypes: through the C library, by its number, and where there is neither."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.store import kernel


class OldLibrary:
    """A C library without a wrapper for the call."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        if name == "renameat2":
            raise AttributeError(name)
        return getattr(self._real, name)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "one").write_text("1")
    (tmp_path / "öther").write_text("2")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def contents(tmp_path: Path) -> tuple[str, str]:
    return (tmp_path / "one").read_text(), (tmp_path / "öther").read_text()


def test_two_names_change_places(tmp_path: Path, directory: int) -> None:
    inodes = [(tmp_path / name).stat().st_ino for name in ("one", "öther")]
    kernel.exchange(directory, "one", "öther")
    assert contents(tmp_path) == ("2", "1")
    assert [(tmp_path / name).stat().st_ino for name in ("öther", "one")] == inodes


def test_a_missing_name_changes_nothing(tmp_path: Path, directory: int) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        kernel.exchange(directory, "one", "absent")
    assert caught.value.errno not in kernel.UNSUPPORTED
    assert contents(tmp_path) == ("1", "2")


def test_by_the_number_of_the_call(tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if platform.machine() not in kernel._SYSCALL_NUMBERS:
        pytest.skip("no number known for this machine")
    real = ctypes.PyDLL
    monkeypatch.setattr(ctypes, "PyDLL", lambda *args, **options: OldLibrary(real(*args, **options)))
    monkeypatch.setattr(kernel, "_renameat2", kernel._bind())
    kernel.exchange(directory, "one", "öther")
    assert contents(tmp_path) == ("2", "1")
    with pytest.raises(FileNotFoundError):
        kernel.exchange(directory, "one", "absent")


def test_without_either_it_is_unsupported(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ctypes.PyDLL
    monkeypatch.setattr(ctypes, "PyDLL", lambda *args, **options: OldLibrary(real(*args, **options)))
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    monkeypatch.setattr(kernel, "_renameat2", kernel._bind())
    with pytest.raises(OSError) as caught:
        kernel.exchange(directory, "one", "öther")
    assert caught.value.errno == errno.ENOSYS
    assert caught.value.errno in kernel.UNSUPPORTED
    assert contents(tmp_path) == ("1", "2")
