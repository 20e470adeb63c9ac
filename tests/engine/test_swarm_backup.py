"""``backup-once`` of a Swarm service on a swarm of one node: scaled down and back, kill -9 included."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import pytest

from tests.doubles.rcb import image
from tests.engine.backup_rig import Site
from tests.engine.harness import TestEngine
from tests.engine.swarm_rig import replicas, running
from tests.waiting import eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]

RESTIC = {"kind": "restic"}


@pytest.fixture(scope="module")
def site(swarm_engine: TestEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if image.missing():
        pytest.skip(image.missing())
    image.make(swarm_engine)
    made = Site(swarm_engine, tmp_path_factory.mktemp("site"))
    made.init()
    eventually(lambda: running(swarm_engine, "db") == 1, 60)
    made.data("db").joinpath("file").write_text("data of db\n")
    swarm_engine.docker("service", "scale", "--detach", "shop_db=2")
    eventually(lambda: running(swarm_engine, "db") == 2, 60)
    yield made
    swarm_engine.docker("service", "scale", "--detach", "shop_db=1")


def steps(site: Site) -> list[str]:
    """Make a whole run; return the names of all its steps."""
    process = site.driver("count", **RESTIC)
    said = process.communicate(timeout=120)[0]
    found = re.search(r"^STEPS (.*)$", said, re.MULTILINE)
    assert found, said
    assert process.returncode == 0, said
    names: list[str] = json.loads(found[1])
    return names


def kill_and_recover(site: Site, step: int, how: str) -> None:
    eventually(lambda: running(site.engine, "db") == 2, 60)
    process = site.driver(f"{step}:{how}", **RESTIC)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == -signal.SIGKILL, said
    recovered = site.recover()
    assert not recovered.failed, (step, how, recovered, said[-2000:])
    assert replicas(site.engine, "db") == 2, (step, how)
    assert site.recover().exit_code == 2


def test_it_is_scaled_down_for_its_backup_and_back_also_after_a_kill_in_it(site: Site) -> None:
    names = steps(site)
    assert replicas(site.engine, "db") == 2
    assert "/volumes/shop/db" in [path for snapshot in site.snapshots() for path in snapshot["paths"]]
    kill_and_recover(site, names.index("wait", names.index("note")), "during")


@pytest.mark.torture
@pytest.mark.parametrize("how", ["before", "after"])
def test_killed_at_every_note_its_replicas_come_back(site: Site, how: str) -> None:
    """Scaling lies between two notes of the journal, down and up alike."""
    for step, name in enumerate(steps(site)):
        if name in {"begin", "note", "finish"}:
            kill_and_recover(site, step, how)
