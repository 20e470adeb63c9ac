"""What merging takes and gives: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sidecar.config.validation import Fault
from sidecar.findings import Finding
from sidecar.plans.rendering import Owners

ChangeKind = Literal["added", "adopted", "updated", "enabled", "disabled", "removed"]


class Boot(NamedTuple):
    """What of time no clock that is set can change.

    Attributes:
        id: The boot's id; empty where the machine does not tell.
        uptime: Seconds since it.
    """

    id: str = ""
    uptime: float = 0.0


NO_BOOT = Boot()


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """How to merge.

    Attributes:
        orphans: What becomes of a plan of ours whose workload is gone.
        orphans_explicit: Whether ``orphans`` was given by flag or environment. An explicit ``keep`` also keeps the
            plan of a withdrawn workload.
        orphan_grace: Seconds for which a workload must be absent without a break before its plan is an orphan.
        prefix: The plan id prefix. With one, a plan of a rendered id is adopted; without, only where repo and
            paths are equal too.
        keep_last_n_supported: Whether the running Backrest heeds ``keepLastN`` within time buckets: from v1.9.0 on.
            v1.8.1 has the field, but forgets without it (backrest: issue 777).
        stdin_only: Whether the running Backrest is v1.12.1, see ``config.validation.plan_problems``.
        raise_modno: Raise ``modno`` by one when anything changes: for a write by restart, and for no other.
        quarantined: Digests (see ``merge.plan_digest``) of plans that Backrest did not come up with.
        boot: What measures the grace of orphans; without an id the wall clock does.
    """

    orphans: Literal["keep", "disable", "remove"] = "keep"
    orphans_explicit: bool = False
    orphan_grace: float = 86400.0
    prefix: str = "backrest_sidecar_"
    keep_last_n_supported: bool = True
    stdin_only: bool = False
    raise_modno: bool = False
    quarantined: frozenset[str] = frozenset()
    boot: Boot = NO_BOOT

    @property
    def keeps_all(self) -> bool:
        """Whether somebody said that no plan is to be touched because of what became of its workload."""
        return self.orphans == "keep" and self.orphans_explicit


@dataclass(frozen=True, slots=True)
class Change:
    """One plan that differs between the file and the merged document.

    Attributes:
        plan_id: The plan.
        kind: ``adopted`` is the first update of a plan that was not ours before; ``enabled`` brings back one that
            we had disabled.
        fields: Names of the fields that change.
        before: The plan as it stands, None for a new one.
        after: The plan as it will be, None for a removed one.
    """

    plan_id: str
    kind: ChangeKind
    fields: tuple[str, ...]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Reverted:
    """Somebody's edit of a plan of ours that the labels overrode.

    Attributes:
        plan_id: The plan.
        field: The field that was edited; empty for a deleted plan.
        label: The label or default that wins; empty where it is not known.
        what: ``edited`` or ``deleted``.
    """

    plan_id: str
    field: str
    label: str
    what: Literal["edited", "deleted"]


@dataclass(frozen=True, slots=True)
class Blocked:
    """A plan that is not written because Backrest would refuse to start with it, and why."""

    plan_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Merge:
    """What a merge gave.

    Attributes:
        data: The merged document; the very object that was given when nothing changes.
        changed: Whether there is anything to write.
        owners: What the state is to remember once ``data`` is written.
        changes: One entry for each plan that differs.
        reverted: Edits and deletions that the labels overrode.
        adopted: Plans that became ours.
        renamed: (old id, new id) of workloads whose plan id changed with this merge.
        absent: Plans of ours in the file whose workload is gone or has another id now.
        findings: Skips and warnings.
        preexisting: Faults that stood in the file before; set by ``merge_checked``.
        blocked: Plans left out for a fault that they would have brought; set by ``merge_checked``.
    """

    data: dict[str, Any]
    owners: Owners
    changed: bool = False
    changes: tuple[Change, ...] = ()
    reverted: tuple[Reverted, ...] = ()
    adopted: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    preexisting: tuple[Fault, ...] = ()
    blocked: tuple[Blocked, ...] = ()
