"""Rendering: an engine snapshot becomes the plans that its labels ask for. Pure.

In four steps: containers are gathered into workloads, each workload's labels become drafts (one for each plan),
the drafts get ids that nobody shares, and what depends on the id or on config.json (minute, repo, hooks) is
filled in. Whatever cannot be rendered is a finding that names container, label, value and reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sidecar.backrest.protected import protected
from sidecar.engine.model import Container, EngineSnapshot, Volume
from sidecar.findings import Finding
from sidecar.plans import workloads
from sidecar.plans.build import Draft, Finished, finish_plan
from sidecar.plans.discovery import asked_by, enabled_volumes, labels_of_volumes
from sidecar.plans.grouping import Grouping
from sidecar.plans.ids import assign, inherited_plan
from sidecar.plans.mounts import PathRules, View
from sidecar.plans.own_data import leave_out_own, signs
from sidecar.plans.path_facts import NO_FACTS, Facts
from sidecar.plans.paths import PathContext, draft_paths
from sidecar.plans.plan_hooks import against_stopping
from sidecar.plans.rendering import ConfigView, Owners, RenderedPlan, Rendering, origins_of
from sidecar.plans.repo_choice import RepoChoice
from sidecar.plans.succession import Heir
from sidecar.plans.unasked import unasked
from sidecar.plans.workloads import Workload
from sidecar.settings.settings import Settings


@dataclass(slots=True)
class _Group:
    """What one workload's containers ask for: the same as long as the very same containers come again."""

    containers: tuple[Container, ...]
    findings: list[Finding] = field(default_factory=list)
    present: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    drafts: list[Draft] = field(default_factory=list)
    candidates: set[str] = field(default_factory=set)
    broken: bool = False


@dataclass(slots=True)
class Memo:
    """Carries work from one rendering to the next. It only saves time: without it the result is the same.

    A container that has not changed is the same object in the next snapshot, so identity is enough.
    """

    grouping: Grouping = field(default_factory=Grouping)
    context: PathContext | None = None
    groups: dict[Workload, _Group] = field(default_factory=dict)
    plans: dict[Workload, Finished] = field(default_factory=dict)
    repos: tuple[frozenset[str], str] = (frozenset(), "")

    def begin(self, context: PathContext) -> None:
        """Forget what was made under other options, another view, or with volumes that are not the same now."""
        old, self.context = self.context, context
        if (
            old is None
            or replace(context, volumes=old.volumes, volume_labels=old.volume_labels, facts=old.facts) != old
        ):
            self.groups.clear()
            self.plans.clear()
            return
        if old.facts is not context.facts and old.selection.own != context.selection.own:
            # What is Backrest's own is left out of every plan, and no plan's candidates tell of it.
            self.groups.clear()
            self.plans.clear()
        elif old.facts is not context.facts:
            known, now = old.facts, context.facts
            changed = {p for p in known.keys() | now.keys() if known.get(p) != now.get(p)}
            self._forget(lambda group: not changed.isdisjoint(group.candidates))
        if old.volumes is not context.volumes and (altered := _altered(old.volumes, context.volumes)):
            self._forget(lambda group: any(m.name in altered for c in group.containers for m in c.mounts))

    def _forget(self, concerned: Callable[[_Group], bool]) -> None:
        self.groups = {w: group for w, group in self.groups.items() if not concerned(group)}


def _altered(old: Mapping[str, Volume], new: Mapping[str, Volume]) -> frozenset[str]:
    """Return the names of the volumes that came, went, or are not what they were."""
    changed = {
        name for name, volume in new.items() if (other := old.get(name)) is not volume and other != volume
    }
    return frozenset(changed | (old.keys() - new.keys()))


def path_context(
    snapshot: EngineSnapshot, settings: Settings, path_view: View = (), facts: Facts = NO_FACTS
) -> PathContext:
    """Return what all plans of one rendering share when paths are worked out. Arguments as for :func:`render`."""
    return PathContext(
        rules=PathRules(
            docker_root=settings.docker_root or "",
            engine_root=snapshot.docker_root,
            volume_prefix=settings.volume_prefix or "",
            exclude_binds=settings.exclude_bind_mounts,
            engine_socket=settings.docker_sock.removeprefix("unix://"),
        ),
        volumes=snapshot.volumes,
        volume_labels=labels_of_volumes(snapshot.volumes),
        allowed=settings.allow_path,
        view=path_view if settings.path_view == "auto" else (),
        facts=facts,
        unseen=settings.unseen_paths,
    )


def render(
    snapshot: EngineSnapshot,
    view: ConfigView,
    owners: Owners,
    settings: Settings,
    *,
    path_view: View = (),
    facts: Facts = NO_FACTS,
    memo: Memo | None = None,
) -> Rendering:
    """Return the plans that the containers' labels ask for.

    Args:
        snapshot: The engine, wholly listed.
        view: Repos and plans that stand in config.json.
        owners: Which workload has which plan.
        settings: Options.
        path_view: The Backrest container's mounts; empty writes host paths.
        facts: What is known of paths as Backrest sees them.
        memo: Carries work from one rendering to the next; only saves time.
    """
    context = path_context(snapshot, settings, path_view, facts)
    volume_labels = context.volume_labels
    memo = memo or Memo()
    memo.begin(context)
    enabled = enabled_volumes(volume_labels)
    before, memo.groups = memo.groups, {}
    for workload, containers in memo.grouping.groups(snapshot, enabled):
        group = before.get(workload)
        if group is None or group.containers != containers:  # the very same objects are equal at once
            group = _draft_group(workload, containers, enabled, context, settings)
        memo.groups[workload] = group
    groups = tuple(memo.groups.values())
    findings = [finding for labels in volume_labels.values() for finding in labels.findings]
    findings += [finding for group in groups for finding in group.findings]
    broken = {workload.key for workload, group in memo.groups.items() if group.broken}
    present = {key for group in groups for key in group.present}
    # A service that is scaled to nothing (by our own hook, say) has no container here, and is no orphan for that.
    asleep = {workloads.workload_of_service(s).key for s in snapshot.services.values() if s.replicas == 0}
    if broken or asleep:
        held = broken | asleep
        present.update(o.workload for o in owners.values() if o.workload.partition("#")[0] in held)
    drafts = [draft for group in groups for draft in group.drafts]
    withdrawn = frozenset(key for group in groups for key in group.withdrawn)
    doubtful = frozenset(name for name, labels in volume_labels.items() if labels.doubtful)
    others = unasked(
        owners, present | withdrawn, lambda key: memo.grouping.of(key, snapshot), doubtful=doubtful
    )
    present |= others.held
    findings += others.findings
    living = present | withdrawn | others.silent.keys()
    ids, inherited = assign(drafts, view, owners, settings, findings, living=living, gone=others.gone)
    present.update(heir.before for heir in inherited.values())  # its plan stays until the successor has it
    plans = _finish(drafts, ids, snapshot, view, owners, settings, context, memo, findings, inherited)
    renamed = sorted(
        (old, ids[owner.workload])
        for old, owner in owners.items()
        if owner.workload in ids and ids[owner.workload] != old and ids[owner.workload] not in owners
    )
    repos = RepoChoice.of(view, settings.default_repo or "")
    return Rendering(
        plans=plans,
        findings=tuple(findings),
        present=frozenset(present),
        withdrawn=withdrawn,
        silent=others.silent,
        renamed=tuple(renamed),
        candidates=tuple(
            sorted({path for group in groups for path in group.candidates}.union(signs(context.view)))
        ),
        default_repo=repos.fallback,
        default_repo_error=repos.error,
    )


def _draft_group(
    workload: Workload,
    containers: tuple[Container, ...],
    enabled: frozenset[str],
    context: PathContext,
    settings: Settings,
) -> _Group:
    """Read the labels of one workload and draft its plans."""
    asked = asked_by(workload, containers, enabled, settings.label_policy)
    group = _Group(containers, list(asked.findings), broken="" in asked.broken)
    group.withdrawn.update(workload.named(name).key for name in asked.withdrawn)
    group.present.update(workload.named(name).key for name in asked.broken)
    for plan in asked.plans:
        named = workload.named(plan.name) if plan.name else workload
        group.present.add(named.key)
        paths = draft_paths(containers, plan, context, only_enabled_volumes=bool(asked.by_volume))
        group.findings.extend(paths.findings)
        group.candidates.update(paths.candidates)
        if not paths.skipped:
            group.drafts.append(Draft(named, plan, containers, paths))
    return group


def _finish(
    drafts: Sequence[Draft],
    ids: Mapping[str, str],
    snapshot: EngineSnapshot,
    view: ConfigView,
    owners: Owners,
    settings: Settings,
    context: PathContext,
    memo: Memo,
    findings: list[Finding],
    inherited: Mapping[str, Heir],
) -> tuple[RenderedPlan, ...]:
    """Fill in what depends on the id, on config.json, and on who must not be stopped."""
    repos = RepoChoice.of(view, settings.default_repo or "")
    directories = dict(view.local_repos)
    guarded = protected(snapshot, settings.backrest_container, settings.docker_sock)
    former = {owner.workload: plan_id for plan_id, owner in owners.items() if plan_id in repos.standing}
    before = memo.plans if memo.repos == (repos.known, repos.error) else {}
    memo.plans, memo.repos = {}, (repos.known, repos.error)
    plans: list[RenderedPlan] = []
    origins = origins_of(owners) | {key: heir.origin for key, heir in inherited.items()}
    for draft in drafts:
        plan_id = ids.get(draft.workload.key, "")
        repo = repos.choose(draft.labels.repo, plan_id, former.get(draft.workload.key, ""))
        against = against_stopping(draft.containers, guarded, snapshot) if draft.labels.template else ()
        origin = origins.get(draft.workload.key, "")
        repository = directories.get(repo[0], "")
        basis = (plan_id, repo, against, plan_id in repos.standing, repository, origin)
        done = before.get(draft.workload)
        if done is None or done.draft is not draft or done.basis != basis:
            found: list[Finding] = []
            own = leave_out_own(
                draft.paths.paths,
                draft.paths.excludes,
                repository,
                context.view,
                context.facts,
                draft.containers[0].name,
            )
            plan = finish_plan(draft, plan_id, repo, repos, against, settings, own, found)
            plan = inherited_plan(plan, draft.workload, origin, settings) if plan and origin else plan
            done = Finished(draft, basis, plan, tuple(found))
        memo.plans[draft.workload] = done
        findings.extend(done.findings)
        if done.plan is not None:
            plans.append(done.plan)
    plans.sort(key=lambda plan: plan.plan.id)
    return tuple(plans)


def skipped(findings: Iterable[Finding]) -> Sequence[Finding]:
    """Return the findings because of which something has no plan."""
    return tuple(finding for finding in findings if finding.skips)
