"""``explain --all-nodes`` and ``explain --host …``: which workloads of several engines are covered, and by which.

Each engine is looked at as its own sidecar would look at it, with this node's config.json: another node's file cannot
be read from here. An engine on which no Backrest runs covers nothing. With ``--all-nodes`` the swarm's manager adds
what is supposed to run where, so that a task on a node that nobody looked at is named.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

import orjson

from sidecar.backrest.protected import choose_backrest
from sidecar.engine.client import Engine
from sidecar.engine.model import SwarmService
from sidecar.engine.types import SwarmNode, SwarmTask
from sidecar.errors import SidecarError
from sidecar.exit_codes import ExitCode
from sidecar.explain.command import look
from sidecar.explain.model import Explanation
from sidecar.findings import printable
from sidecar.plans.workloads import workload_of_service
from sidecar.settings.settings import Settings

_NO_TASK = frozenset({"new", "pending", "rejected", "failed", "shutdown", "orphaned", "remove", "complete"})
"""States of a task that has no node yet, or none any more."""


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


@dataclass(slots=True)
class Survey:
    """What has been found so far.

    Attributes:
        found: Coverage by workload.
        notes: Sentences that concern a whole node.
        names: Name that a node has here, by its id in the swarm or else by its address.
        alive: (workload, node) of what runs, as opposed to what an ended task left behind.
        manager: The first engine that answered as a manager; None without one.
    """

    found: dict[str, Coverage] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    alive: set[tuple[str, str]] = field(default_factory=set)
    manager: Engine | None = None

    def of(self, workload: str) -> Coverage:
        """Return the coverage of a workload, a new one where it was not seen yet."""
        return self.found.setdefault(workload, Coverage(workload))


def explain_nodes(settings: Settings, hosts: Sequence[str], *, all_nodes: bool, as_json: bool) -> int:
    """Print the coverage over ``--docker-sock`` and ``hosts``; return 0, or 3 when an engine cannot be looked at."""
    survey = Survey()
    failed = False
    for host in dict.fromkeys((settings.docker_sock, *hosts)):
        try:
            _look_at(survey, host, settings)
        except SidecarError as failure:
            failed = True
            survey.notes.append(f"{printable(host)} cannot be looked at: {failure}")
    if all_nodes:
        try:
            failed = not _ask_manager(survey) or failed
        except SidecarError as failure:
            failed = True
            survey.notes.append(f"the swarm does not answer: {failure}")
    _print(sorted(survey.found.values(), key=lambda c: c.workload), survey.notes, as_json=as_json)
    return ExitCode.FAILED if failed else ExitCode.CHANGED


def _look_at(survey: Survey, host: str, settings: Settings) -> None:
    """Count what one engine has."""
    engine = Engine(host)
    info = engine.info()
    explanations, notes = look(settings.model_copy(update={"docker_sock": host}), engine)
    choice = choose_backrest(engine.snapshot().containers, settings.backrest_container)
    backrest = choice.container
    name = info.name or host
    if name in survey.names.values():
        name = f"{name} ({host})"
    survey.names[info.node_id or host] = name
    if survey.manager is None and info.swarm == "manager":
        survey.manager = engine
    survey.notes += [f"{name}: {note}" for note in notes]
    # On this node Backrest may run outside of containers; on others nobody could tell.
    absent = host != settings.docker_sock and (backrest is None or backrest.state != "running")
    for explanation in explanations:
        against = (
            "which container is Backrest there is not clear" if choice.ambiguous else "no Backrest runs there"
        )
        _count(survey, explanation, name, against if absent else "")


def _count(survey: Survey, explanation: Explanation, node: str, against: str) -> None:
    if explanation.verdict == "ignored":
        return
    workload = "/".join(p for p in (explanation.project, explanation.service) if p) or explanation.container
    coverage = survey.of(workload)
    if explanation.state in {"running", "paused", "restarting"}:
        survey.alive.add((workload, node))
    if node not in coverage.runs_on:
        coverage.runs_on.append(node)
    if explanation.verdict == "backed up" and not against:
        if node not in coverage.covered_by:
            coverage.covered_by.append(node)
    else:
        coverage.reasons.append(f"{node}: {against or explanation.reason}")


def _ask_manager(survey: Survey) -> bool:
    """Put right what single nodes cannot know, by what the swarm says is to run where; return whether it could.

    Raises SidecarError.
    """
    if survey.manager is None:
        survey.notes.append("none of these engines is a manager of a swarm; --all-nodes needs one")
        return False
    swarm = survey.manager.swarm
    nodes = {node.id: node for node in swarm.nodes()}
    where = _placements(swarm.tasks())
    for service in swarm.services():
        workload = str(workload_of_service(service))
        standing = where.get(service.id, set())
        _forget_ended(survey, service, workload, {survey.names.get(i, "") for i in standing})
        for node in (nodes[i] for i in sorted(standing) if i in nodes and i not in survey.names):
            _unseen(survey.of(workload), node)
        if service.replicas == 0 and workload not in survey.found:
            survey.of(workload).reasons.append("it is scaled to nothing")
    return True


def _placements(tasks: Iterable[SwarmTask]) -> dict[str, set[str]]:
    """Return the ids of the nodes on which tasks are to run, by service id."""
    where: dict[str, set[str]] = {}
    for task in tasks:
        if task.node_id and task.desired_state == "running" and task.state not in _NO_TASK:
            where.setdefault(task.service_id, set()).add(task.node_id)
    return where


def _forget_ended(survey: Survey, service: SwarmService, workload: str, standing: set[str]) -> None:
    """Take out nodes where only an ended task's container is left: a worker cannot tell that the service moved."""
    coverage = survey.found.get(workload)
    if coverage is None or service.may_end or service.replicas == 0:
        return
    for node in [n for n in coverage.runs_on if n not in standing and (workload, n) not in survey.alive]:
        coverage.runs_on.remove(node)
        if node in coverage.covered_by:
            coverage.covered_by.remove(node)
            coverage.reasons.append(
                f"{node}: what a task left there is still backed up; the service has moved"
            )


def _unseen(coverage: Coverage, node: SwarmNode) -> None:
    if node.hostname not in coverage.runs_on:
        coverage.runs_on.append(node.hostname)
        coverage.reasons.append(f"{node.hostname}: not looked at; add --host tcp://{node.hostname}:2376")


def _print(found: Sequence[Coverage], notes: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        rows = [{**asdict(coverage), "verdict": coverage.verdict} for coverage in found]
        document = {"workloads": rows, "notes": list(notes)}
        sys.stdout.write(
            orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
        )
        return
    for coverage in found:
        on = ", ".join(coverage.runs_on) or "no node"
        by = ", ".join(coverage.covered_by) or "nobody"
        sys.stdout.write(f"{coverage.verdict:<8} {printable(coverage.workload)}: on {on}; by {by}\n")
        for reason in dict.fromkeys(coverage.reasons):
            sys.stdout.write(f"         {reason}\n")
    for note in notes:
        sys.stdout.write(f"note: {note}\n")
