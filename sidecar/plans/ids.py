"""Which plan id each draft gets: its own, one that it keeps, or that of a workload whose successor it is. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sidecar.findings import Finding, printable
from sidecar.plans import workloads
from sidecar.plans.build import Draft
from sidecar.plans.rendering import ConfigView, Owners, RenderedPlan, origins_of
from sidecar.plans.succession import Heir, heirs
from sidecar.plans.workloads import Workload
from sidecar.settings.settings import Settings


def assign(
    drafts: Sequence[Draft],
    view: ConfigView,
    owners: Owners,
    settings: Settings,
    findings: list[Finding],
    *,
    living: Collection[str],
    gone: Collection[str],
) -> tuple[Mapping[str, str], Mapping[str, Heir]]:
    """Return the plan id of each draft, and who takes over whose plan, by workload key.

    Args:
        drafts: The plans that are wanted.
        view: Repos and plans that stand in config.json.
        owners: Which workload has which plan.
        settings: Options.
        findings: What is found is added here.
        living: Keys of the workloads that there are, also of those that get no plan now.
        gone: Keys of the workloads that have a plan and no container.
    """
    wishes = {draft.workload: draft.paths.paths for draft in drafts}
    owned = {plan_id: owner.workload for plan_id, owner in owners.items()}
    standing = {plan.id: plan.paths for plan in view.plans}

    def ids_with(heirs: Mapping[str, Heir]) -> workloads.Assignment:
        return workloads.assign_ids(
            wishes,
            prefix=settings.plan_id_prefix,
            include_project=settings.include_project_name,
            owned=owned | {heir.plan_id: key for key, heir in heirs.items()},
            standing={
                plan_id: paths
                for plan_id, paths in standing.items()
                if plan_id not in owners or not owners[plan_id].disabled
            },
            living=living,
            origins=origins_of(owners) | {key: heir.origin for key, heir in heirs.items()},
        )

    assignment, inherited = ids_with({}), dict[str, Heir]()
    if gone:
        known = frozenset(owned.values())
        newcomers = {
            workload: paths
            for workload, paths in wishes.items()
            if workload.key not in known and assignment.ids.get(workload.key, "") not in standing
        }
        inherited, said = heirs(newcomers, owners, gone, standing) if newcomers else (inherited, ())
        findings.extend(said)
        if inherited:
            assignment = ids_with(inherited)
    for loser, wanted, winner in assignment.contested:
        text = (
            f"{loser} and {printable(winner) or 'another workload'} both map to plan id {wanted}; "
            f"{loser} gets {assignment.ids[loser.key]} (see --include-project-name)"
        )
        findings.append(Finding("plan-id-contested", text, container=str(loser), value=wanted))
    return assignment.ids, inherited


def inherited_plan(plan: RenderedPlan, workload: Workload, origin: str, settings: Settings) -> RenderedPlan:
    """Return a plan with the word that it was made for another workload, unless its id is its own."""
    own = workloads.candidate_ids(
        workload, settings.plan_id_prefix, include_project=settings.include_project_name
    )
    if plan.plan.id in own:
        return plan
    sources = {**plan.sources, "id": f"the plan of {Workload.of_key(origin)}, whose paths it has"}
    return replace(plan, sources=sources, origin=origin)
