"""Rendering: an engine snapshot becomes the plans that its labels ask for. Pure.

In four steps: containers are gathered into workloads, each workload's labels become drafts (one for each plan),
the drafts get ids that nobody shares, and what depends on the id or on config.json (minute, repo, hooks) is
filled in. Whatever cannot be rendered is a finding that names container, label, value and reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sidecar import hooks, naming
from sidecar.backrest_plan import Hook, Plan
from sidecar.cron import CronError, normalize, note
from sidecar.labels import ContainerLabels, PlanLabels, VolumeLabels, parse, parse_volume
from sidecar.model import Container, EngineSnapshot, Finding, printable
from sidecar.naming import Workload
from sidecar.paths import PathRules, View
from sidecar.plan_paths import PathContext, PathDraft, draft_paths
from sidecar.protected import protected
from sidecar.rendering import ConfigView, Owners, RenderedPlan, Rendering
from sidecar.repo_choice import RepoChoice, no_repo_finding
from sidecar.retention import Keep
from sidecar.settings import Settings

LabelMemo = dict[str, tuple[Container, ContainerLabels]]
"""Parsed labels by container id; valid as long as the very same Container object comes again."""


@dataclass(slots=True)
class _Draft:
    """A plan before it has an id."""

    workload: Workload
    labels: PlanLabels
    containers: tuple[Container, ...]
    paths: PathDraft


@dataclass(slots=True)
class _Work:
    """What one rendering gathers."""

    findings: list[Finding] = field(default_factory=list)
    present: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    drafts: list[_Draft] = field(default_factory=list)


def render(
    snapshot: EngineSnapshot,
    view: ConfigView,
    owners: Owners,
    settings: Settings,
    *,
    path_view: View = (),
    memo: LabelMemo | None = None,
) -> Rendering:
    """Return the plans that the containers' labels ask for.

    Args:
        snapshot: The engine, wholly listed.
        view: Repos and plans that stand in config.json.
        owners: Which workload has which plan.
        settings: Options.
        path_view: The Backrest container's mounts; empty writes host paths.
        memo: Carries parsed labels from one rendering to the next; only saves time.
    """
    volume_labels = {
        name: parse_volume(volume.labels, volume=name)
        for name, volume in snapshot.volumes.items()
        if any(key.startswith("backrest.") for key in volume.labels)
    }
    context = PathContext(
        rules=PathRules(
            docker_root=settings.docker_root or "",
            engine_root=snapshot.docker_root,
            volume_prefix=settings.volume_prefix or "",
            exclude_binds=settings.exclude_bind_mounts,
            engine_socket=settings.docker_sock.removeprefix("unix://"),
        ),
        volumes=snapshot.volumes,
        volume_labels=volume_labels,
        allowed=settings.allow_path,
        view=path_view if settings.path_view == "auto" else (),
    )
    work = _Work()
    for labels in volume_labels.values():
        work.findings.extend(labels.findings)
    for group in _groups(snapshot, volume_labels):
        _draft_group(group, context, settings, memo, owners, work)
    return _finish(work, snapshot, view, owners, settings)


def _groups(
    snapshot: EngineSnapshot, volume_labels: Mapping[str, VolumeLabels]
) -> Iterator[tuple[Workload, tuple[Container, ...]]]:
    """Yield each workload that has anything to do with us, with its containers, one per slot."""
    enabled = {name for name, labels in volume_labels.items() if labels.enable}
    gathered: dict[Workload, list[Container]] = {}
    ours: set[Workload] = set()
    for container in snapshot.containers:
        labelled = any(key.startswith("backrest.") for key in container.labels)
        if container.is_oneoff:
            continue
        workload = naming.workload_of(container)
        gathered.setdefault(workload, []).append(container)
        if labelled or (enabled and any(m.name in enabled for m in container.mounts)):
            ours.add(workload)
    for workload, containers in gathered.items():
        if workload in ours:
            yield workload, naming.newest_per_slot(containers)


def _parse(container: Container, settings: Settings, memo: LabelMemo | None) -> ContainerLabels:
    hit = memo.get(container.id) if memo is not None else None
    if hit is not None and hit[0] is container:
        return hit[1]
    parsed = parse(
        container.labels,
        container=naming.final_name(container),
        image_labels=container.image_labels,
        policy=settings.label_policy,
    )
    if memo is not None:
        memo[container.id] = (container, parsed)
    return parsed


def _draft_group(
    group: tuple[Workload, tuple[Container, ...]],
    context: PathContext,
    settings: Settings,
    memo: LabelMemo | None,
    owners: Owners,
    work: _Work,
) -> None:
    workload, containers = group
    newest = max(containers, key=lambda c: (c.created, c.id))
    labels = _parse(newest, settings, memo)
    work.findings.extend(labels.findings)
    differing = [c for c in containers if c is not newest and _backrest_labels(c) != _backrest_labels(newest)]
    if differing:
        text = f"replicas of {workload} differ in their labels; those of the newest, {newest.name}, count"
        work.findings.append(Finding("replicas-differ", text, container=newest.name))
    work.withdrawn.update(replace(workload, plan=name).key for name in labels.withdrawn)
    if "" in labels.broken:
        base = workload.key
        work.present.update(o.workload for o in owners.values() if o.workload.partition("#")[0] == base)
    work.present.update(replace(workload, plan=name).key for name in labels.broken)
    plans = labels.plans
    by_volume = (
        not plans and not labels.withdrawn and not labels.broken and _has_enabled_volume(newest, context)
    )
    if by_volume:
        volume_wish = {**newest.labels, "backrest.enable": "true"}
        plans = parse(volume_wish, container=newest.name, policy=settings.label_policy).plans[:1]
    for plan in plans:
        named = replace(workload, plan=plan.name)
        work.present.add(named.key)
        paths = draft_paths(containers, plan.include, plan.exclude, context, only_enabled_volumes=by_volume)
        work.findings.extend(paths.findings)
        if not paths.skipped:
            work.drafts.append(_Draft(named, plan, containers, paths))


def _backrest_labels(container: Container) -> dict[str, str]:
    return {k: v for k, v in container.labels.items() if k.startswith("backrest.")}


def _has_enabled_volume(container: Container, context: PathContext) -> bool:
    return any(
        labels.enable
        for mount in container.mounts
        if mount.type == "volume" and (labels := context.volume_labels.get(mount.name)) is not None
    )


def _finish(
    work: _Work, snapshot: EngineSnapshot, view: ConfigView, owners: Owners, settings: Settings
) -> Rendering:
    wishes = {draft.workload: draft.paths.paths for draft in work.drafts}
    assignment = naming.assign_ids(
        wishes,
        prefix=settings.plan_id_prefix,
        include_project=settings.include_project_name,
        owned={plan_id: owner.workload for plan_id, owner in owners.items()},
        standing={
            plan.id: tuple(sorted(plan.paths))
            for plan in view.plans
            if plan.id not in owners or not owners[plan.id].disabled
        },
    )
    for loser, wanted, winner in assignment.contested:
        text = (
            f"{loser} and {printable(winner) or 'another workload'} both map to plan id {wanted}; "
            f"{loser} gets {assignment.ids[loser.key]} (see --include-project-name)"
        )
        work.findings.append(Finding("plan-id-contested", text, container=str(loser), value=wanted))
    repos = RepoChoice.of(view, settings.default_repo or "")
    guarded = protected(snapshot, settings.backrest_container, settings.docker_sock)
    plans: list[RenderedPlan] = []
    for draft in work.drafts:
        plan_id = assignment.ids.get(draft.workload.key, "")
        rendered = _render_plan(draft, plan_id, repos, guarded, settings, work.findings)
        if rendered is not None:
            plans.append(rendered)
    plans.sort(key=lambda plan: plan.plan.id)
    by_key = assignment.ids
    renamed = sorted(
        (old, by_key[owner.workload])
        for old, owner in owners.items()
        if owner.workload in by_key and by_key[owner.workload] != old and by_key[owner.workload] not in owners
    )
    return Rendering(
        plans=tuple(plans),
        findings=tuple(work.findings),
        present=frozenset(work.present),
        withdrawn=frozenset(work.withdrawn),
        renamed=tuple(renamed),
        default_repo=repos.fallback,
        default_repo_error=repos.error,
    )


def _render_plan(
    draft: _Draft,
    plan_id: str,
    repos: RepoChoice,
    guarded: Mapping[str, str],
    settings: Settings,
    findings: list[Finding],
) -> RenderedPlan | None:
    labels, name = draft.labels, naming.final_name(draft.containers[0])
    sources = dict(labels.sources)
    if not plan_id:
        text = (
            f"{name}: nothing of its name can stand in a plan id; name the container or its Compose service"
        )
        findings.append(Finding("no-plan-id", text, container=name, skips=True))
        return None
    repo, repo_source = repos.choose(labels.repo, plan_id)
    if not repo:
        findings.append(no_repo_finding(name, labels, repos))
        return None
    if repos.error and not labels.repo and plan_id not in repos.standing:
        text = f"{name}: its new plan {plan_id} goes to repo {printable(repo)}, since {repos.error}"
        findings.append(Finding("default-repo-fallback", text, container=name))
    sources.setdefault("repo", repo_source)
    try:
        cron = normalize(labels.schedule or settings.default_schedule, minute=naming.stable_minute(plan_id))
    except CronError as error:
        text = f"{name}: no schedule: {error}; set backrest.schedule or --default-schedule"
        findings.append(Finding("no-schedule", text, container=name, label="backrest.schedule", skips=True))
        return None
    sources.setdefault("schedule", "--default-schedule")
    both_days = note(cron)
    if both_days:
        findings.append(
            Finding(
                "both-day-fields",
                f"{name}: {both_days}",
                container=name,
                label="backrest.schedule",
                value=cron,
            )
        )
    plan_hooks, go_hooks = _hooks(draft, guarded, findings)
    plan = Plan(
        id=plan_id,
        repo=repo,
        paths=draft.paths.paths,
        excludes=draft.paths.excludes,
        cron=cron,
        retention=_retention(name, labels, settings, sources, findings),
        hooks=plan_hooks,
    )
    names = tuple(sorted(naming.final_name(c) for c in draft.containers))
    return RenderedPlan(plan, draft.workload.key, names, sources, go_hooks)


def _retention(
    name: str, labels: PlanLabels, settings: Settings, sources: dict[str, str], findings: list[Finding]
) -> dict[str, Any] | None:
    if labels.keep is None:
        sources.setdefault("retention", "--default-retention")
        return Keep.parse(settings.default_retention).policy() if settings.default_retention else None
    if labels.keep.inexpressible:
        label = labels.sources.get("keep", "backrest.keep")
        parts = ", ".join(labels.keep.inexpressible)
        text = (
            f"{name}: Backrest cannot express {parts} of {label}; the plan is written without retention, so "
            "Backrest forgets nothing (backup-once uses the whole spec)"
        )
        findings.append(Finding("keep-inexpressible", text, container=name, label=label, value=parts))
    return labels.keep.policy()


def _hooks(
    draft: _Draft, guarded: Mapping[str, str], findings: list[Finding]
) -> tuple[tuple[Hook, ...], tuple[str, ...]]:
    labels = draft.labels
    names = sorted(naming.final_name(c) for c in draft.containers)
    go_hooks = hooks.go_tool_commands(
        labels.start_commands, labels.end_commands, template=labels.template, container=names[0]
    )
    if labels.start_commands or labels.end_commands:
        return hooks.label_hooks(labels.start_commands, labels.end_commands, names), go_hooks
    if not labels.template:
        return (), go_hooks
    reasons = {c.name: guarded[c.id] for c in draft.containers if c.id in guarded}
    if reasons:
        name, why = next(iter(reasons.items()))
        text = f"{name}: the stop/start template is refused, since {why}; its plan is written without it"
        label = labels.sources.get("template", "backrest.hooks.template")
        findings.append(Finding("template-refused", text, container=name, label=label))
        return (), go_hooks
    return hooks.template_hooks(hooks.stop_script(names), hooks.start_script(names)), go_hooks


def skipped(findings: Iterable[Finding]) -> Sequence[Finding]:
    """Return the findings because of which something has no plan."""
    return tuple(finding for finding in findings if finding.skips)
