"""One draft made a plan: what depends on its id and on config.json is filled in. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.config.cron import CronError, normalize, note
from sidecar.config.plan import Plan
from sidecar.engine.model import Container
from sidecar.findings import Finding, printable
from sidecar.labels.policy import PlanLabels
from sidecar.labels.retention import Keep
from sidecar.plans import workloads
from sidecar.plans.own_data import OwnData
from sidecar.plans.paths import PathDraft
from sidecar.plans.plan_hooks import plan_hooks
from sidecar.plans.rendering import RenderedPlan
from sidecar.plans.repo_choice import RepoChoice, no_repo_finding
from sidecar.plans.workloads import Workload
from sidecar.settings.settings import Settings


@dataclass(slots=True)
class Draft:
    """A plan before it has an id."""

    workload: Workload
    labels: PlanLabels
    containers: tuple[Container, ...]
    paths: PathDraft


@dataclass(frozen=True, slots=True)
class Finished:
    """A rendered plan and what was found on the way, with all that it was made from."""

    draft: Draft
    basis: tuple[object, ...]
    plan: RenderedPlan | None
    findings: tuple[Finding, ...]


def finish_plan(
    draft: Draft,
    plan_id: str,
    chosen: tuple[str, str],
    repos: RepoChoice,
    against: Sequence[tuple[str, str]],
    settings: Settings,
    own: OwnData,
    findings: list[Finding],
) -> RenderedPlan | None:
    """Return the plan of a draft; None, with a finding that says why, where there can be none.

    Args:
        draft: Its labels, containers and paths.
        plan_id: Its id; empty where nothing of its name can stand in one.
        chosen: Repo, and where that comes from, see ``RepoChoice.choose``.
        repos: For what is said of the repo.
        against: Why its containers must not be stopped, see ``plans.plan_hooks.against_stopping``.
        settings: Options.
        own: Its paths and excludes without what no plan should hold.
        findings: What is found is added here.
    """
    labels, name = draft.labels, draft.containers[0].name
    sources = dict(labels.sources)
    if not plan_id:
        text = (
            f"{name}: nothing of its name can stand in a plan id; name the container or its Compose service"
        )
        findings.append(Finding("no-plan-id", text, container=name, skips=True))
        return None
    repo, repo_source = chosen
    if not repo:
        findings.append(no_repo_finding(name, labels, repos))
        return None
    if repos.error and not labels.repo and plan_id not in repos.standing:
        text = f"{name}: its new plan {plan_id} goes to repo {printable(repo)}, since {repos.error}"
        findings.append(Finding("default-repo-fallback", text, container=name))
    sources.setdefault("repo", repo_source)
    try:
        cron = normalize(
            labels.schedule or settings.default_schedule, minute=workloads.stable_minute(plan_id)
        )
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
    findings.extend(own.findings)
    if not own.paths:
        text = f"{name}: nothing but the plan's own repository would be backed up"
        findings.append(Finding("no-path", text, container=name, skips=True))
        return None
    rendered = plan_hooks(labels, draft.containers, against)
    findings.extend(rendered.findings)
    plan = Plan(
        id=plan_id,
        repo=repo,
        paths=own.paths,
        excludes=own.excludes,
        cron=cron,
        retention=_retention(name, labels, settings, sources, findings),
        hooks=rendered.hooks,
    )
    names = tuple(sorted(c.name for c in draft.containers))
    return RenderedPlan(plan, draft.workload.key, names, sources, rendered.go_hooks, draft.paths.without)


def _retention(
    name: str, labels: PlanLabels, settings: Settings, sources: dict[str, str], findings: list[Finding]
) -> dict[str, Any] | None:
    keep, label = labels.keep, labels.sources.get("keep", "backrest.keep")
    if keep is None:
        label = sources.setdefault("retention", "--default-retention")
        keep = Keep.parse(settings.default_retention) if settings.default_retention else None
    if keep is not None and keep.inexpressible:
        parts = ", ".join(keep.inexpressible)
        text = (
            f"{name}: Backrest cannot express {parts} of {label}; the plan is written without retention, so "
            f"Backrest forgets nothing{' (backup-once uses the whole spec)' if labels.keep else ''}"
        )
        findings.append(Finding("keep-inexpressible", text, container=name, label=label, value=parts))
    return keep.policy() if keep is not None else None
