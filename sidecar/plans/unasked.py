"""Plans of ours that nothing asks for now although their containers are there. Pure.

Absence of labels means that no backup is asked for any more. But a container whose labels are wrong, half there, or
ignored is not one without labels: its plan stays as it is, and it is said. And of no container that is there anybody
is told that it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sidecar.engine.model import Container
from sidecar.findings import Finding, printable
from sidecar.labels.guess import ENABLE, is_ours, meant_key
from sidecar.labels.keys import classify
from sidecar.plans.rendering import Owners

There = Callable[[str], Sequence[Container]]


@dataclass(frozen=True, slots=True)
class Unasked:
    """Workload keys of plans that nothing asks for.

    Attributes:
        held: Those whose labels leave it open; their plans stay as they are.
        silent: Those whose labels were taken off, each with a clause that says so.
        gone: Those that the engine has no container of.
        findings: One for each that is held.
    """

    held: frozenset[str] = frozenset()
    silent: Mapping[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()


_NONE = Unasked()


def unasked(owners: Owners, asked: AbstractSet[str], there: There, doubtful: Collection[str]) -> Unasked:
    """Return what became of the workloads of plans that nothing asks for.

    Args:
        owners: What the state remembers.
        asked: Keys of the workloads that ask, rightly or wrongly, or that withdraw.
        there: Gives the containers that count of a workload, by the key of its default plan, whatever their labels.
        doubtful: Names of volumes whose labels leave open whether they are to be backed up.
    """
    open_cases = {plan_id: owner for plan_id, owner in owners.items() if owner.workload not in asked}
    if not open_cases:
        return _NONE
    held: set[str] = set()
    silent: dict[str, str] = {}
    gone: set[str] = set()
    findings: list[Finding] = []
    for plan_id, owner in open_cases.items():
        base, _, name = owner.workload.partition("#")
        containers = there(base)
        if not containers:
            gone.add(owner.workload)
            continue
        newest = max(containers, key=lambda c: (c.created, c.id))
        why = _hint_of_a_wish(newest, name, doubtful)
        if why:
            held.add(owner.workload)
            findings.append(_left_open(newest, plan_id, name, why))
        else:
            silent[owner.workload] = _says_nothing(newest, name)
    return Unasked(frozenset(held), silent, frozenset(gone), tuple(findings))


def _hint_of_a_wish(container: Container, plan: str, doubtful: Collection[str]) -> str:
    """Return the label, if any, that shows that a plan is still thought of. ``quiesce`` asks for no plan."""
    for key in container.labels:
        if is_ours(key):
            known = classify(key) or meant_key(key)
            of = known.plan if known is not None else ""
            if of.lower() == plan.lower() and not (known is not None and known.short == "quiesce"):
                return key
    volumes = [m.name for m in container.mounts if m.name in doubtful] if not plan else []
    return f"a label of the volume {volumes[0]}" if volumes else ""


def _left_open(container: Container, plan_id: str, plan: str, label: str) -> Finding:
    enable = f"backrest.{plan}.enable" if plan else ENABLE
    text = (
        f"{container.name}: it has {printable(label)}, and nothing that counts asks for its plan "
        f'"{plan_id}" any more, which stays as it is; set {enable}=true to go on, or {enable}=false to end it'
    )
    return Finding("not-asked", text, container=container.name, label=printable(label), skips=True)


def _says_nothing(container: Container, plan: str) -> str:
    runs = "runs" if container.state == "running" else f"is there ({container.state})"
    if plan:
        return f"{container.name} {runs} but has no label backrest.{plan}.… any more"
    return f"{container.name} {runs} but no longer asks for a backup (no backrest.* label for it)"
