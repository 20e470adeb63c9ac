"""Why a container is backed up, or not, and how: worked out as plain values, for a table or for JSON. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.config.cron import CronError, next_runs
from sidecar.engine.model import Container, EngineSnapshot, Mount
from sidecar.findings import Finding, printable
from sidecar.merge.result import Merge
from sidecar.plans import workloads
from sidecar.plans.mounts import host_path, in_view, under
from sidecar.plans.paths import PathContext
from sidecar.plans.rendering import RenderedPlan, Rendering
from sidecar.plans.selection import left_out

RUNS = 3


@dataclass(frozen=True, slots=True)
class MountView:
    """One mount as three parties see it. ``note`` says why it is not in a plan; empty when it may be."""

    destination: str
    kind: str
    host: str
    backrest: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class PlanView:
    """One plan of a container.

    Attributes:
        id: Plan id.
        repo: Repo id.
        cron: The expression, as written.
        next_runs: The next three, ISO 8601.
        clock: Whose clock that is.
        retention: In words.
        paths: As written.
        excludes: As written.
        without: Host paths that are asked for and left out, because Backrest cannot read them.
        hooks: (condition, first line) of each; the condition says what an error does unless that is nothing.
        in_config: ``up to date``, ``to be written``, ``blocked: …``.
        sources: Field → label or default it comes from.
    """

    id: str
    repo: str
    cron: str
    next_runs: tuple[str, ...]
    clock: str
    retention: str
    paths: tuple[str, ...]
    excludes: tuple[str, ...]
    without: tuple[str, ...]
    hooks: tuple[tuple[str, str], ...]
    in_config: str
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One container: ``verdict`` is ``backed up``, ``skipped``, ``withdrawn``, ``not enabled`` or ``ignored``.

    ``without`` are the host paths that its plans leave out, because Backrest cannot read them. ``kept`` are plans of
    its workload that stay in config.json as they are, while its labels give none; None when that is not known.
    """

    container: str
    project: str
    service: str
    state: str
    verdict: str
    reason: str
    plans: tuple[PlanView, ...]
    mounts: tuple[MountView, ...]
    findings: tuple[Finding, ...]
    without: tuple[str, ...] = ()
    kept: tuple[str, ...] | None = None

    @property
    def headline(self) -> str:
        """The verdict, with what a backup is without, and what becomes of a plan that its labels give no more."""
        left = f" without {', '.join(map(printable, self.without))}" if self.without else ""
        return self.verdict + left + (self._kept() if any(f.skips for f in self.findings) else "")

    def _kept(self) -> str:
        if self.kept:
            return f"; {', '.join(map(printable, self.kept))} left as before"
        return "; it has no plan yet: not backed up" if self.kept == () and not self.plans else ""


@dataclass(frozen=True, slots=True)
class Clock:
    """Whose time schedules follow: Backrest's zone and how it is known."""

    zone: dt.tzinfo | None
    name: str


def explain_all(
    snapshot: EngineSnapshot,
    rendering: Rendering,
    merge: Merge | None,
    context: PathContext,
    clock: Clock,
    now: dt.datetime,
) -> tuple[Explanation, ...]:
    """Return an explanation of every container, sorted by project, service and name.

    Args:
        snapshot: The engine.
        rendering: What its labels gave.
        merge: What a write would do; None when config.json cannot be used.
        context: What its paths were worked out from.
        clock: Backrest's zone.
        now: An aware time.
    """
    by_container: dict[str, list[RenderedPlan]] = {}
    for plan in rendering.plans:
        for name in plan.containers:
            by_container.setdefault(name, []).append(plan)
    findings: dict[str, list[Finding]] = {}
    for finding in (*rendering.findings, *(merge.findings if merge else ())):
        findings.setdefault(finding.container, []).append(finding)
    changed = {change.plan_id: change.kind for change in merge.changes} if merge else {}
    blocked = {entry.plan_id: entry.reason for entry in merge.blocked} if merge else {}
    left = {f.container for f in merge.findings if f.skips} if merge else set()

    def state_of(plan: RenderedPlan) -> str:
        if merge is None:
            return "unknown: config.json cannot be used"
        if plan.plan.id in blocked:
            return f"blocked: {blocked[plan.plan.id]}"
        if left & set(plan.containers):
            return "left as it stands"
        return "to be written" if plan.plan.id in changed else "up to date"

    def explain(container: Container) -> Explanation:
        name = container.name
        plans = tuple(_plan_view(plan, state_of(plan), clock, now) for plan in by_container.get(name, ()))
        own = tuple(dict.fromkeys(findings.get(name, ())))
        verdict, reason = _verdict(container, plans, own, rendering)
        paths = tuple(path for plan in plans for path in plan.paths)
        without = tuple(dict.fromkeys(path for plan in plans for path in plan.without))
        mounts = tuple(_mount_view(mount, context, paths) for mount in container.mounts)
        return Explanation(
            name,
            container.project,
            container.service,
            container.state,
            verdict,
            reason,
            plans,
            mounts,
            own,
            without,
            None if merge is None else _kept(workloads.workload_of(container).key, rendering, merge),
        )

    found = (explain(container) for container in snapshot.containers)
    return tuple(sorted(found, key=lambda e: (e.project, e.service, e.container)))


def _kept(workload: str, rendering: Rendering, merge: Merge) -> tuple[str, ...] | None:
    """Return the plans of a workload that stand in config.json and are not rendered, the disabled ones marked.

    None where other containers of the workload give it a plan: nothing is left of this one's own.
    """
    rendered = {plan.plan.id for plan in rendering.plans}
    ours = {key for key, owner in merge.owners.items() if owner.workload.partition("#")[0] == workload}
    kept = tuple(
        plan["id"] + (" (disabled)" if (plan.get("schedule") or {}).get("disabled") else "")
        for plan in merge.data.get("plans") or ()
        if plan.get("id") in ours - rendered
    )
    return kept or (None if ours & rendered else ())


def _verdict(
    container: Container, plans: Sequence[PlanView], findings: Sequence[Finding], rendering: Rendering
) -> tuple[str, str]:
    if container.is_oneoff:
        return "ignored", "made by compose run; its service is what counts"
    if plans:
        return "backed up", _withdrawn_words(workloads.workload_of(container).key, rendering)
    if container.swarm_service and container.state not in {"running", "paused", "restarting"}:
        return "ignored", "its Swarm task does not run; others of its service count"
    workload = workloads.workload_of(container)
    if workload.key in rendering.withdrawn:
        return "withdrawn", "backrest.enable says no; its plan is disabled, its snapshots stay"
    skip = next((finding for finding in findings if finding.skips), None)
    if skip is not None:
        return "skipped", skip.message
    if workload.key in rendering.present:
        return "skipped", "another container of this workload counts"
    return "not enabled", "it has no label backrest.enable=true"


def _withdrawn_words(workload: str, rendering: Rendering) -> str:
    """Return which of a workload's plans are withdrawn while others stand; empty for none."""
    names = (
        key.partition("#")[2] for key in sorted(rendering.withdrawn) if key.partition("#")[0] == workload
    )
    words = [f"plan {name}" if name else "the default plan" for name in names]
    return f"withdrawn: {', '.join(words)}" if words else ""


def _plan_view(plan: RenderedPlan, state: str, clock: Clock, now: dt.datetime) -> PlanView:
    try:
        runs = next_runs(plan.plan.cron, now.astimezone(clock.zone), RUNS)
    except CronError:
        runs = ()
    hooks = tuple(
        (
            "+".join(c.removeprefix("CONDITION_SNAPSHOT_").lower() for c in hook.conditions)
            + _on_error(hook.on_error),
            _first_line(hook.command),
        )
        for hook in plan.plan.hooks
    )
    return PlanView(
        id=plan.plan.id,
        repo=plan.plan.repo,
        cron=plan.plan.cron,
        next_runs=tuple(run.isoformat(timespec="minutes") for run in runs),
        clock=clock.name,
        retention=retention_words(plan.plan.retention),
        paths=plan.plan.paths,
        excludes=plan.plan.excludes,
        without=plan.without,
        hooks=hooks,
        in_config=state,
        sources=dict(plan.sources),
    )


def retention_words(policy: Mapping[str, Any] | None) -> str:
    """Return a retention policy of Backrest in words."""
    if policy is None:
        return "none: Backrest forgets nothing"
    if "policyKeepLastN" in policy:
        return f"the last {policy['policyKeepLastN']}"
    if "policyTimeBucketed" not in policy:
        return "everything"
    buckets = dict(policy["policyTimeBucketed"])
    last = buckets.pop("keepLastN", 0)
    parts = [f"the last {last}"] if last else []
    return ", ".join(parts + [f"{count} {unit}" for unit, count in buckets.items()])


def _on_error(value: str) -> str:
    return f" (on error: {value.removeprefix('ON_ERROR_').lower()})" if value else ""


def _first_line(command: str) -> str:
    """Return what a hook does in one line; a template's marker says more than its script."""
    first = command.splitlines()[0] if command else ""
    return {
        ": backrest-sidecar v1 stop": "stop it (template)",
        ": backrest-sidecar v1 start": "start it (template)",
    }.get(first, first)


def _mount_view(mount: Mount, context: PathContext, paths: Sequence[str]) -> MountView:
    """Return one mount as three parties see it; ``paths`` are those of its container's plans."""
    host = host_path(mount, context.rules, context.volumes)
    kind = f"{mount.type} {mount.name}" if mount.name else mount.type
    if not host:
        return MountView(mount.destination, kind, "", "", "it has no path on the host")
    seen = in_view(host, context.view) if context.view else host
    fact = context.facts.get(seen or "")
    real = fact.target if fact is not None and fact.target and fact.there else seen or ""
    code, why = left_out(mount, context.selection)
    if code and not any(under(real, path) is not None or under(path, real) for path in paths):
        return MountView(
            mount.destination, kind, host, "", f"{why}: left out" if code == "special-file" else why
        )
    if seen is None:
        return MountView(mount.destination, kind, host, "", "Backrest does not see it")
    if fact is not None and not fact.there:
        return MountView(mount.destination, kind, host, "", "it is not there where Backrest would read it")
    return MountView(mount.destination, kind, host, real)
