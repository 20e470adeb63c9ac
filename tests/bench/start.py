"""How long commands take from cold to exit, beside a bare interpreter."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.figures import Figure, Sample, figure
from tests.bench.probe import LIBRARIES, Run, run
from tests.bench.world import write_config
from tests.engine.harness import TestEngine
from tests.engine.sidecar_process import ROOT, environment

_COMPOSE = ROOT / "testdata" / "compose.dry-run.yaml"


def start(engine: TestEngine, folder: Path, rounds: int) -> Iterator[Figure]:
    """Give whole processes: ``reconcile`` on the containers that are there, and the small commands."""
    config = folder / "start.json"
    write_config(config, 10)
    reconcile = ("reconcile", f"--config={config}", f"--docker-sock={engine.socket}")
    commands: dict[str, tuple[tuple[str, ...], float, set[int]]] = {
        "reconcile, nothing to change, 100 containers": (reconcile, 0.35, {2}),
        "reconcile --dry-run, all plans new": (
            ("reconcile", "--dry-run", f"--config={_fresh(folder)}", f"--docker-sock={engine.socket}"),
            0.35,
            {2},
        ),
        "version": (("version",), 0.15, {0}),
        "healthcheck": (("healthcheck", f"--state-dir={folder}"), 0.15, {0, 1}),
        "lint of one file": (("lint", str(_COMPOSE)), 0.15, {0, 3}),
    }
    _ours(reconcile)
    alone = Sample.of(run([sys.executable, "-c", LIBRARIES], environment()).wall for _ in range(rounds))
    yield figure("start", "the libraries, imported and nothing else", alone, "s")
    for name, (args, budget, codes) in commands.items():
        _ours(args)
        bare: list[Run] = []
        ours: list[Run] = []
        for _ in range(rounds):
            bare.append(run([sys.executable, "-c", "pass"], environment()))
            ours.append(_ours(args))
        if not {one.code for one in ours} <= codes:
            raise RuntimeError(f"{name}: exit codes {sorted({one.code for one in ours})}")
        yield figure(
            "start",
            name,
            Sample.of(one.wall for one in ours),
            "s",
            floor=Sample.of(one.wall for one in bare).median,
            floor_name="bare interpreter",
            budget=budget,
            note=f"{Sample.of(one.cpu for one in ours).median * 1000:.0f} ms of a processor; "
            f"a bare interpreter {Sample.of(one.cpu for one in bare).median * 1000:.0f} ms",
        )


def _fresh(folder: Path) -> Path:
    config = folder / "fresh" / "config.json"
    config.parent.mkdir(exist_ok=True)
    write_config(config, 10)
    return config


def _ours(args: Sequence[str]) -> Run:
    # As installed: the compiled modules are there, and nothing is imported beside them.
    env = {k: v for k, v in environment().items() if k != "PYTHONDONTWRITEBYTECODE"}
    return run([sys.executable, "-P", "-m", "sidecar", *args], env)
