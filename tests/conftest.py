"""Fixtures of all tests: an engine where one can be started, and no thread left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.engine import harness
from tests.engine.harness import TestEngine

# A busy machine is no fault of the code: pytest's own timeout is the only one.
settings.register_profile("sidecar", deadline=None)
settings.load_profile("sidecar")


@pytest.fixture(autouse=True)
def _no_thread_left_behind() -> Iterator[None]:
    """Fail a test after which a thread of its own still runs: it would keep the process from ending."""
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and not t.daemon]
    for thread in left:
        thread.join(2.0)
    names = [t.name for t in left if t.is_alive()]
    assert not names, f"threads left running: {names}"


@pytest.fixture(scope="session")
def can_run_engine() -> None:
    """Skip where no engine of our own can be started; fail there with REQUIRE_ENGINE=1."""
    why = harness.missing()
    if why and os.environ.get("REQUIRE_ENGINE") == "1":
        pytest.fail(f"REQUIRE_ENGINE=1, but {why}")
    if why:
        pytest.skip(why)


@pytest.fixture(scope="session")
def shared_engine(can_run_engine: None) -> Iterator[TestEngine]:
    """One engine for the session. Use ``engine``, which is clean."""
    with TestEngine() as running:
        yield running


@pytest.fixture
def engine(shared_engine: TestEngine) -> Iterator[TestEngine]:
    """The session's engine with nothing in it but images. A test that kills it must start it again."""
    yield shared_engine
    shared_engine.thaw()
    if not shared_engine.running:
        shared_engine.start()
    shared_engine.clean()


@pytest.fixture
def own_engine(can_run_engine: None) -> Iterator[TestEngine]:
    """An engine for one test that kills or freezes it."""
    with TestEngine() as running:
        yield running
