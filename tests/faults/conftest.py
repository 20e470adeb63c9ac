"""What the fault tests share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import mounts


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """An empty directory in memory, where there is such a place: for thousands of stories that wait for no disk."""
    shm = Path("/dev/shm")
    if not shm.is_dir():
        yield tmp_path
        return
    directory = Path(tempfile.mkdtemp(dir=shm, prefix="sidecar-test-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def namespace() -> Iterator[mounts.Namespace]:
    """A mount namespace of its own; skips where the machine allows none."""
    try:
        namespace = mounts.Namespace()
    except mounts.NotAllowed as error:
        pytest.skip(f"no mount namespace here: {error}")
    with namespace:
        yield namespace
