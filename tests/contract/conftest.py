"""Each test of the contract runs on the double, and on the real Backrest that BACKREST_BIN names.

A test says with ``@pytest.mark.differs("1.12.1", …)`` which older versions the double plays for it besides. When
BACKREST_BIN names an older Backrest, the double plays that one in every test, so both pass the same checks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.harness import Running, binary_version, start_double, start_real
from tests.doubles.backrest.version import NEWEST, Version

REAL = pytest.param(
    "real",
    marks=[
        pytest.mark.backrest,
        pytest.mark.skipif(not os.environ.get("BACKREST_BIN"), reason="BACKREST_BIN names no real Backrest"),
    ],
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = any(mark.args[0] == "kind" for mark in metafunc.definition.iter_markers("parametrize"))
    if given or "kind" not in metafunc.fixturenames:
        return
    older = {Version.of(text) for mark in metafunc.definition.iter_markers("differs") for text in mark.args}
    if os.environ.get("BACKREST_BIN"):
        older.add(real_version())
    played = [f"double {version}" for version in sorted(older - {NEWEST}, reverse=True)]
    metafunc.parametrize("kind", ["double", *played, REAL])


def real_version() -> Version:
    """The version of the Backrest that BACKREST_BIN names."""
    return binary_version(os.environ["BACKREST_BIN"])


@pytest.fixture
def version(kind: str) -> Version:
    """The version of what is tested."""
    if kind == "real":
        return real_version()
    return Version.of(kind) if " " in kind else NEWEST


@pytest.fixture
def backrest(kind: str, version: Version, tmp_path: Path) -> Iterator[Running]:
    """One Backrest, not started yet; killed at the end."""
    home = tmp_path / "backrest"
    with start_real(home, version) if kind == "real" else start_double(home, version) as running:
        yield running
