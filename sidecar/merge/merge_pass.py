"""One pass of merging: the loop over the rendered plans, then over the plans of ours that are not rendered.

The rules stand in :mod:`sidecar.merge.plan` (one plan) and :mod:`sidecar.merge.orphans`; here they are put in order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sidecar.config.plan import Plan
from sidecar.config.protojson import MAX_INT32, as_int, digest
from sidecar.config.validation import known_repos
from sidecar.findings import Finding, printable
from sidecar.merge.orphans import Absent, look_at_absent, succeeded
from sidecar.merge.plan import (
    DISABLED,
    PlanMerge,
    disable,
    field_digest,
    is_disabled,
    merge_plan,
    new_plan,
    owner_of,
    remembers,
    stands_as_written,
    stands_exactly,
)
from sidecar.merge.result import Change, ChangeKind, Merge, MergeOptions, Reverted
from sidecar.merge.same_backup import Standing, same_backups
from sidecar.plans.rendering import Owner, Owners, RenderedPlan, Rendering
from sidecar.plans.workloads import Workload

_SOURCES = {
    "paths": ("paths", "include"),
    "excludes": ("excludes", "exclude"),
    "retention": ("keep", "retention"),
    "hooks": ("hooks", "template", "start_commands", "end_commands"),
}
"""Owned field → the names under which ``RenderedPlan.sources`` may know where it comes from."""


def plan_digest(plan: Plan) -> str:
    """Return the digest by which a rendered plan is put into quarantine."""
    return digest(plan.to_json())


def _label(rendered: RenderedPlan, field: str) -> str:
    """The label or default that a field comes from; the one that makes the plan where no other is known."""
    names = (*_SOURCES.get(field, (field,)), "enable")
    return next((rendered.sources[name] for name in names if name in rendered.sources), "backrest.enable")


Settled = dict[str, tuple[Mapping[str, Any], RenderedPlan, Owner]]
"""Plan id → the plan, rendering and record that were found to need nothing, the very objects. Only saves time."""


class MergePass:
    """One merge: the state of the loop, so that its steps are short. The arguments are those of ``merge.merge``."""

    def __init__(
        self,
        data: dict[str, Any],
        rendering: Rendering,
        owners: Owners,
        options: MergeOptions,
        now: float,
        leave: Collection[str],
        settled: Settled,
    ) -> None:
        self.data = data
        self.settled = settled
        self.rendering = rendering
        self.owners = owners
        self.options = options
        self.now = now
        self.leave = leave
        self.plans: list[dict[str, Any]] = data.get("plans") or []
        self.at: dict[str, int] = {}
        self.twice: set[str] = set()
        for index, plan in enumerate(self.plans):
            plan_id = plan.get("id") or ""
            if self.at.setdefault(plan_id, index) != index:
                self.twice.add(plan_id)
        self.new_owners: dict[str, Owner | None] = {}
        self.replaced: dict[int, Mapping[str, Any] | None] = {}
        self.added: list[dict[str, Any]] = []
        self.changes: list[Change] = []
        self.reverted: list[Reverted] = []
        self.adopted: list[str] = []
        self.findings: list[Finding] = []

    def run(self) -> Merge:
        """Return the merge; call once."""
        repos = frozenset(known_repos(self.data))
        plans, at, owners = self.plans, self.at, self.owners
        careful = bool(self.leave or self.options.quarantined or self.twice)
        for rendered in self.rendering.plans:
            plan_id = rendered.plan.id
            index, owner = at.get(plan_id), owners.get(plan_id)
            if careful and self._left_alone(rendered):
                continue
            if rendered.plan.repo not in repos:
                repo = printable(rendered.plan.repo)
                self._skip(
                    rendered,
                    "unknown-repo",
                    f'the repo "{repo}" is not in config.json; create it in Backrest',
                )
            elif index is None:
                self._add(self._writable(rendered), owner)
            elif owner is None and not self._adoptable(rendered, plans[index]):
                self._skip(
                    rendered, "id-taken", f'the id "{plan_id}" is taken by a plan that is not ours; rename it'
                )
            elif owner is None or not self._is_settled(plans[index], rendered, owner):
                self._update(self._writable(rendered), index, owner)
        absent = look_at_absent(self.rendering, owners, self.at, self.options, self.now, self._settled)
        for case in absent:
            if case.plan_id not in self.leave and case.plan_id not in self.twice:
                self._handle_absent(case)
        self.findings += self._same_backups(absent)
        return self._result(absent)

    def _same_backups(self, absent: tuple[Absent, ...]) -> list[Finding]:
        """Return what is to be said of our plans that will do the same work."""
        orphans = list(self._orphans_at_work(absent))
        both = [(item.plan.repo, item.plan.paths) for item in self.rendering.plans]
        both += [(plan.repo, plan.paths) for plan in orphans]
        if len(set(both)) == len(both):  # as nearly always
            return []
        rendered = (
            Standing(item.plan.id, item.plan.repo, item.plan.paths, next(iter(item.containers), ""))
            for item in self.rendering.plans
            if self._settled(item.plan.id)
        )
        return same_backups((*rendered, *orphans))

    def _orphans_at_work(self, absent: tuple[Absent, ...]) -> Iterator[Standing]:
        for case in absent:
            if case.orphan and (index := self.at.get(case.plan_id)) is not None:
                stands = self.replaced.get(index, self.plans[index])
                if stands is not None and not is_disabled(stands):
                    of = printable(str(Workload.of_key(case.owner.workload)))
                    paths = tuple(sorted(stands.get("paths") or ()))
                    yield Standing(case.plan_id, str(stands.get("repo")), paths, orphan=of)

    def _is_settled(self, plan: Mapping[str, Any], rendered: RenderedPlan, owner: Owner) -> bool:
        """Whether a plan stands as it is rendered, and the record says so."""
        plan_id = rendered.plan.id
        known = self.settled.get(plan_id)
        if known is not None and known[0] is plan and known[1] is rendered and known[2] is owner:
            return True
        if not (stands_exactly(plan, rendered.plan) and remembers(owner, rendered)):
            return False
        self.settled[plan_id] = plan, rendered, owner
        return True

    def _settled(self, plan_id: str) -> bool:
        """Whether a plan is ours and will stand in the merged document."""
        if plan_id in self.new_owners:
            return self.new_owners[plan_id] is not None
        return plan_id in self.owners and plan_id in self.at

    def _left_alone(self, rendered: RenderedPlan) -> bool:
        plan_id = rendered.plan.id
        if plan_id in self.twice:
            self._skip(
                rendered, "id-twice", f'the id "{plan_id}" is in config.json twice; remove one of the plans'
            )
        elif self.options.quarantined and plan_digest(rendered.plan) in self.options.quarantined:
            self._skip(rendered, "quarantined", "Backrest refused this plan; change its labels")
        elif plan_id not in self.leave:
            return False
        return True

    def _skip(self, rendered: RenderedPlan, code: str, reason: str) -> None:
        self._note(rendered, code, f'plan "{rendered.plan.id}" is left as it stands: {reason}.', skips=True)

    def _note(
        self, rendered: RenderedPlan, code: str, message: str, *, skips: bool = False, label: str = ""
    ) -> None:
        container = rendered.containers[0] if rendered.containers else ""
        self.findings.append(Finding(code, message, container=container, label=label, skips=skips))

    def _writable(self, rendered: RenderedPlan) -> RenderedPlan:
        buckets = (rendered.plan.retention or {}).get("policyTimeBucketed")
        if self.options.keep_last_n_supported or not (isinstance(buckets, dict) and "keepLastN" in buckets):
            return rendered
        self._note(
            rendered,
            "keep-last-n",
            f'plan "{rendered.plan.id}" gets no retention: this Backrest is too old to keep the last N beside time '
            "buckets, and a keep spec is never weakened. Update Backrest to v1.9.0 or later.",
            label=_label(rendered, "retention"),
        )
        return replace(rendered, plan=rendered.plan.model_copy(update={"retention": None}))

    def _adoptable(self, rendered: RenderedPlan, current: Mapping[str, Any]) -> bool:
        if self.options.prefix:
            return True
        plan = rendered.plan
        return current.get("repo") == plan.repo and field_digest(
            "paths", current.get("paths")
        ) == field_digest("paths", list(plan.paths))

    def _add(self, rendered: RenderedPlan, owner: Owner | None) -> None:
        plan_id, plan = rendered.plan.id, new_plan(rendered.plan)
        self.added.append(plan)
        self.new_owners[plan_id] = owner_of(rendered, self.now if owner is None else owner.since)
        self.changes.append(Change(plan_id, "added", tuple(key for key in plan if key != "id"), None, plan))
        if owner is not None:
            self.reverted.append(Reverted(plan_id, "", _label(rendered, "enable"), "deleted"))

    def _update(self, rendered: RenderedPlan, index: int, owner: Owner | None) -> None:
        plan_id, current = rendered.plan.id, self.plans[index]
        exact = stands_exactly(current, rendered.plan)
        merged = PlanMerge(current) if exact else merge_plan(current, rendered, owner)
        remembered = owner_of(rendered, owner.since if owner is not None else 0.0)
        if owner is not None and owner.workload != rendered.workload:
            told = succeeded(plan_id, owner, rendered.workload)
            self.findings.append(
                replace(told, container=rendered.containers[0] if rendered.containers else "")
            )
        if owner != remembered:
            self.new_owners[plan_id] = remembered
        if owner is None:
            self.adopted.append(plan_id)
        for name in merged.stopped_twice:
            self._note(
                rendered,
                "stopped-twice",
                f'plan "{plan_id}" has more than one hook that stops the container "{printable(name)}"; remove the '
                "one that was added by hand, or the label.",
            )
        if merged.stricter and "on_error" not in rendered.sources:
            self._note(
                rendered,
                "hooks-fail-backup",
                f'plan "{plan_id}": when a hook of ours before the backup fails, the backup fails from now on: '
                "without its dump it would pass for a good one. For the former way set "
                "backrest.hooks.on-error=ignore (the stop/start template always fails it).",
                label="backrest.hooks.on-error",
            )
        if not merged.fields:
            return
        kind: ChangeKind = "updated"
        if owner is None:
            kind = "adopted"
        elif owner.disabled and is_disabled(current):
            kind = "enabled"
        self._replace(index, merged.plan, kind, merged.fields)
        self.reverted += (Reverted(plan_id, f, _label(rendered, f), "edited") for f in merged.edited)

    def _replace(
        self, index: int, plan: Mapping[str, Any] | None, kind: ChangeKind, fields: tuple[str, ...]
    ) -> None:
        before = self.plans[index]
        self.replaced[index] = plan
        self.changes.append(Change(before["id"], kind, fields, before, plan))

    def _handle_absent(self, case: Absent) -> None:
        index, owner, plan_id = self.at.get(case.plan_id), case.owner, case.plan_id
        if case.finding is not None:
            self.findings.append(case.finding)
        if case.action == "forget":
            self.new_owners[plan_id] = None
        elif index is None:
            return
        elif case.action == "hand-over":
            origin = owner.origin or owner.workload
            self.new_owners[plan_id] = replace(owner, workload=case.heir, origin=origin)
        elif case.action == "remove" or (
            case.action == "retire" and stands_as_written(self.plans[index], owner)
        ):
            self.new_owners[plan_id] = None
            self._replace(index, None, "removed", ())
        elif case.action in {"disable", "retire"}:
            if not is_disabled(self.plans[index]):
                self._replace(index, disable(self.plans[index]), "disabled", ("schedule",))
                if owner.disabled:
                    self.reverted.append(Reverted(plan_id, "schedule", "backrest.enable", "edited"))
            fields = {**owner.fields, "schedule": field_digest("schedule", DISABLED)}
            after = replace(
                owner, fields=fields, disabled=True, absent_since=case.absent_since, counted=case.counted
            )
            if after != owner:
                self.new_owners[plan_id] = after
        elif (case.absent_since, case.counted) != (owner.absent_since, owner.counted):
            self.new_owners[plan_id] = replace(owner, absent_since=case.absent_since, counted=case.counted)

    def _result(self, absent: tuple[Absent, ...]) -> Merge:
        owners: Owners = self.owners
        if self.new_owners:
            both = {**owners, **self.new_owners}
            owners = {plan_id: owner for plan_id, owner in both.items() if owner is not None}
        return Merge(
            data=self._document(),
            changed=bool(self.changes),
            owners=owners,
            changes=tuple(self.changes),
            reverted=tuple(self.reverted),
            adopted=tuple(self.adopted),
            renamed=tuple((case.plan_id, case.renamed_to) for case in absent if case.renamed_to),
            absent=tuple(case.plan_id for case in absent if case.orphan),
            findings=tuple(self.findings),
        )

    def _document(self) -> dict[str, Any]:
        if not self.changes:
            return self.data
        kept = (self.replaced.get(index, plan) for index, plan in enumerate(self.plans))
        out = {**self.data, "plans": [plan for plan in kept if plan is not None] + self.added}
        if self.options.raise_modno:
            out["modno"] = min((as_int(out.get("modno")) or 0) + 1, MAX_INT32)
        return out
