"""``kill -9`` in a run on a real engine, then ``recover``: what ran runs again, what was down stays down.

The long form dies at every step, before it, in the middle and after; the short form at those that matter most.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doubles.rcb import image
from tests.engine.backup_rig import QUIESCE, RCB, Site
from tests.engine.harness import TestEngine

pytestmark = pytest.mark.engine

SLOW_TO_STOP = ("sh", "-c", 'trap "sleep 0.4; exit 0" TERM; sleep 100000 & wait')
"""Takes longer to stop than the driver's moment, so that a kill can fall into a stop."""
HOWS = ("before", "during", "after")
MODES: dict[str, dict[str, Any]] = {
    "rcb": {"kind": "rcb", "quiesce_timeout": 2.0},
    "restic": {"kind": "restic", "quiesce_timeout": 2.0},
    "pause": {"kind": "restic", "mode": "pause", "together": True},
}


@pytest.fixture(scope="module")
def site(shared_engine: TestEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A stack of which two are quiesced, one is down, one is paused, and one does not ask."""
    if image.missing():
        pytest.skip(image.missing())
    image.make(shared_engine)
    made = Site(shared_engine, tmp_path_factory.mktemp("site"))
    made.init()
    made.service("db", RCB | QUIESCE, command=SLOW_TO_STOP)
    made.service("web", RCB | QUIESCE | {"com.docker.compose.depends_on": "db"}, command=SLOW_TO_STOP)
    for name, verb in (("down", "stop"), ("held", "pause")):
        made.service(name, RCB | QUIESCE)
        shared_engine.call("POST", f"/containers/shop-{name}-1/{verb}")
    made.service("other", RCB)
    yield made
    shared_engine.clean()


def steps(site: Site, mode: dict[str, Any]) -> list[str]:
    """Return the names of all steps of a run."""
    said = site.driver("count", **mode).communicate(timeout=120)[0]
    found = re.search(r"^STEPS (.*)$", said, re.MULTILINE)
    assert found, said
    names: list[str] = json.loads(found[1])
    return names


def kill_and_recover(site: Site, mode: dict[str, Any], step: int, how: str) -> None:
    before = site.states()
    process = site.driver(f"{step}:{how}", **mode)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == -signal.SIGKILL, said
    recovered = site.recover()
    what = f"step {step} {how}, {site.states()}, {said[-2000:]}"
    assert not recovered.failed, what
    assert site.states() == before, what
    assert site.recover().exit_code == 2, what


@pytest.mark.timeout(240)
def test_killed_where_it_matters_most(site: Site) -> None:
    mode = MODES["restic"]
    names = steps(site, mode)
    stop = names.index("stop")
    # A helper's start comes right after its creation.
    start = next(i for i, name in enumerate(names) if name == "start" and names[i - 1] != "create_and_start")
    backup = max(i for i, name in enumerate(names[:start]) if name == "wait")
    chosen = [(stop, "during"), (stop, "after"), (start, "before"), (start, "during"), (backup, "during")]
    for step, how in chosen:
        kill_and_recover(site, mode, step, how)


@pytest.mark.torture
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("mode", MODES)
def test_killed_at_every_step(site: Site, mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = steps(site, MODES[mode])
    for step in range(len(names)):
        for how in HOWS:
            kill_and_recover(site, MODES[mode], step, how)
    with capsys.disabled():
        sys.stdout.write(f"\n{mode}: {len(names) * len(HOWS)} kills, every container as before\n")
