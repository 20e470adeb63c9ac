"""``explain --all-nodes`` and ``explain --host …``: which workloads of several engines are covered, and by which.

Each engine is looked at as its own sidecar would look at it. With ``--all-nodes`` the swarm's manager adds what is
supposed to run: a service none of whose tasks is covered by the node it runs on is named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import orjson

from sidecar.cli import CHANGED, FAILED
from sidecar.engine import Engine
from sidecar.explain import look
from sidecar.explain_model import Explanation
from sidecar.failures import FAILURES, told
from sidecar.log import get_logger
from sidecar.model import printable
from sidecar.settings import Settings

log = get_logger(__name__)


@dataclass(slots=True)
class Coverage:
    """One workload over all engines: on which it runs, on which it is backed up, and why not on the others."""

    workload: str
    runs_on: list[str] = field(default_factory=list)
    covered_by: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``covered``, ``partly`` or ``none``."""
        if not self.covered_by:
            return "none"
        return "covered" if set(self.runs_on) <= set(self.covered_by) else "partly"


def explain_nodes(settings: Settings, hosts: Sequence[str], *, all_nodes: bool, as_json: bool) -> int:
    """Print the coverage over ``--docker-sock`` and ``hosts``; return 0, or 3 when an engine cannot be looked at."""
    found: dict[str, Coverage] = {}
    notes: list[str] = []
    failed = False
    seen_nodes: set[str] = set()
    first: Engine | None = None
    for host in (settings.docker_sock, *hosts):
        try:
            engine = Engine(host)
            info = engine.info()
            name = info.name or host
            seen_nodes.add(info.node_id or name)
            first = first or engine
            explanations, own_notes = look(settings.model_copy(update={"docker_sock": host}), engine)
        except FAILURES as failure:
            failed = True
            log.error("explain.failed", host=printable(host), **told(failure))
            continue
        notes += [f"{name}: {note}" for note in own_notes]
        for explanation in explanations:
            _count(found, explanation, name)
    if all_nodes and first is not None:
        notes += _swarm(first, found, seen_nodes)
    _print(sorted(found.values(), key=lambda c: c.workload), notes, as_json=as_json)
    return FAILED if failed else CHANGED


def _count(found: dict[str, Coverage], explanation: Explanation, node: str) -> None:
    if explanation.verdict == "ignored":
        return
    workload = "/".join(p for p in (explanation.project, explanation.service) if p) or explanation.container
    coverage = found.setdefault(workload, Coverage(workload))
    if node not in coverage.runs_on:
        coverage.runs_on.append(node)
    if explanation.verdict == "backed up":
        if node not in coverage.covered_by:
            coverage.covered_by.append(node)
    elif explanation.reason:
        coverage.reasons.append(f"{node}: {explanation.reason}")


def _swarm(engine: Engine, found: dict[str, Coverage], seen_nodes: set[str]) -> list[str]:
    """Add services whose tasks run on nodes that nobody looked at; return notes."""
    try:
        nodes = {node.id: node for node in engine.swarm.nodes()}
        services = {service.id: service for service in engine.swarm.services()}
        tasks = engine.swarm.tasks()
    except FAILURES as failure:
        return [f"--all-nodes needs a swarm manager: {failure}"]
    for task in tasks:
        service = services.get(task.service_id)
        node = nodes.get(task.node_id)
        if service is None or node is None or task.desired_state != "running" or node.id in seen_nodes:
            continue
        stack = service.labels.get("com.docker.stack.namespace", "")
        workload = f"{stack}/{service.name.removeprefix(f'{stack}_')}" if stack else service.name
        coverage = found.setdefault(workload, Coverage(workload))
        if node.hostname not in coverage.runs_on:
            coverage.runs_on.append(node.hostname)
            coverage.reasons.append(f"{node.hostname}: not looked at; add --host tcp://{node.hostname}:2376")
    return []


def _print(found: Sequence[Coverage], notes: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        rows = [{**asdict(coverage), "verdict": coverage.verdict} for coverage in found]
        document = {"workloads": rows, "notes": list(notes)}
        sys.stdout.write(
            orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
        )
        return
    for coverage in found:
        by = ", ".join(coverage.covered_by) or "nobody"
        sys.stdout.write(
            f"{coverage.verdict:<8} {coverage.workload}: on {', '.join(coverage.runs_on)}; by {by}\n"
        )
        for reason in dict.fromkeys(coverage.reasons):
            sys.stdout.write(f"         {reason}\n")
    for note in notes:
        sys.stdout.write(f"note: {note}\n")
