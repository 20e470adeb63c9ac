"""Fixtures of the tests that run the image."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import image_base, swarm_rig
from tests.engine.harness import TestEngine
from tests.engine.image_base import Built


@pytest.fixture(scope="session")
def image_engine(can_run_engine: None) -> Iterator[TestEngine]:
    """An engine in the machine's own network: building the image installs packages."""
    with TestEngine(keep_network=True) as engine:
        yield engine


@pytest.fixture(scope="session")
def swarm_engine(can_run_engine: None) -> Iterator[TestEngine]:
    """A swarm of one node with a stack of three services, see ``swarm_rig``."""
    with swarm_rig.swarm_of_one() as node:
        yield node


@pytest.fixture(scope="session")
def built(image_engine: TestEngine) -> Built:
    """The image, built once."""
    kept = Path(tempfile.gettempdir()) / f"backrest-sidecar-test-base-{os.getuid()}"
    return image_base.build(image_engine, kept)


@pytest.fixture
def host(image_engine: TestEngine, built: Built) -> Iterator[TestEngine]:
    """The engine that has the image, with no container left after the test."""
    yield image_engine
    image_engine.clean()
