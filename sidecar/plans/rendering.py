"""What rendering gives and what merging needs: values only, no logic.

``plans.render.render`` makes a :class:`Rendering` from an engine snapshot; ``merge.merge`` puts it into a document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sidecar.config.plan import Plan
from sidecar.findings import Finding
from sidecar.labels.keys import NO_LABELS
from sidecar.plans.mounts import View
from sidecar.plans.path_facts import Facts, no_facts

AMBIGUOUS_BACKREST = "backrest-ambiguous"
"""Code of the finding that nobody can tell which container is Backrest."""


def _nothing() -> Mapping[str, Any]:
    return NO_LABELS


class Counted(NamedTuple):
    """How long a workload has been missed, by the machine's uptime, which no clock that is set can change.

    Attributes:
        seconds: Counted until then.
        boot: Id of the boot in which that was; empty where there is none, and the wall clock counts.
        uptime: Seconds since that boot.
    """

    seconds: float = 0.0
    boot: str = ""
    uptime: float = 0.0


NOT_COUNTED = Counted()


@dataclass(frozen=True, slots=True)
class Owner:
    """What the state remembers of one plan of ours.

    Attributes:
        workload: Key of the workload it belongs to, see ``plans.workloads.Workload.key``.
        fields: For each owned field the digest of the value that we wrote last. Tells a UI edit (the file
            differs from this) from a label change (the rendering differs from this).
        hooks: Digests of the hooks that we wrote last.
        paths: The paths that we wrote last; they find the owner again and tell what a view switch changed.
        absent_since: Unix time since when the workload has been continuously absent; 0 = present.
        disabled: We disabled it (withdrawn or orphaned), and must enable it again when it comes back.
        origin: Key of the workload that the plan, and its id, was made for, where another has taken it over.
        since: Unix time at which we added the plan; 0 for one that stood before, or of an older version. Two records
            that differ in nothing else are equal.
        counted: How long the workload has been missed.
    """

    workload: str
    fields: Mapping[str, str] = field(default_factory=_nothing)
    hooks: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    absent_since: float = 0.0
    disabled: bool = False
    origin: str = ""
    since: float = field(default=0.0, compare=False)
    counted: Counted = NOT_COUNTED


Owners = Mapping[str, Owner]
"""Plan id → owner."""


def origins_of(owners: Owners) -> dict[str, str]:
    """Return workload key → key of the workload whose plan it has taken over."""
    return {owner.workload: owner.origin for owner in owners.values() if owner.origin}


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What rendering needs to know of a plan that stands in config.json."""

    id: str
    repo: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConfigView:
    """The part of config.json that rendering depends on.

    Attributes:
        repo_ids: In the file's order.
        plans: In the file's order.
        local_repos: (repo id, directory) of the repositories that are a directory where Backrest runs.
    """

    repo_ids: tuple[str, ...] = ()
    plans: tuple[PlanFacts, ...] = ()
    local_repos: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Basis:
    """What a rendering was made from, besides the snapshot.

    Attributes:
        view: Repos and plans in config.json.
        owners: Which workload has which plan.
        path_view: The Backrest container's mounts, as seen now or last.
        facts: What is known of paths as Backrest sees them.
    """

    view: ConfigView
    owners: Owners
    path_view: View
    facts: Facts = field(default_factory=no_facts)


@dataclass(frozen=True, slots=True)
class RenderedPlan:
    """One plan as the labels want it.

    Attributes:
        plan: The plan.
        workload: Key of the workload.
        containers: Names of the containers behind it (several for replicas).
        sources: For each field the label or default it comes from, e.g. ``{"schedule": "backrest.schedule"}``.
        go_hooks: What the Go tool would have rendered from the same labels, to recognise its hooks.
        without: Host paths that the labels ask for and that are left out, because Backrest cannot read them.
        origin: Key of the workload that the plan was made for, where this one has taken it over.
    """

    plan: Plan
    workload: str
    containers: tuple[str, ...]
    sources: Mapping[str, str] = field(default_factory=_nothing)
    go_hooks: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A whole wish, never a delta.

    Attributes:
        plans: Sorted by id; ids are unique.
        findings: Skips and warnings, in the engine's order.
        present: Workload keys that exist on the engine and ask for a plan, rendered or skipped. The plan of
            a present workload is no orphan.
        silent: Workload keys of plans of ours whose containers are there and do not ask for them any more; each
            with a clause that says so.
        withdrawn: Workload keys whose label says ``backrest.enable=false``.
        renamed: (old id, new id) pairs of workloads whose id changed through an option.
        complete: False when the engine could not be listed wholly; absence then proves nothing.
        candidates: Paths as Backrest would see them, whatever is known of them; to be looked up.
        warnings_default_repo: A sentence when the explicit default repo does not exist, else empty.
    """

    plans: tuple[RenderedPlan, ...] = ()
    findings: tuple[Finding, ...] = ()
    present: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()
    silent: Mapping[str, str] = field(default_factory=_nothing)
    renamed: tuple[tuple[str, str], ...] = ()
    complete: bool = True
    candidates: tuple[str, ...] = ()
    default_repo: str = ""
    default_repo_error: str = ""
