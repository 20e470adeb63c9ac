"""Plans of ours that do the same work: equal repo and equal paths. Never without a word. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sidecar.findings import Finding

_MOST = 3
"""Plans that are named one by one."""


class Standing(NamedTuple):
    """One enabled plan of ours, as it will stand in config.json.

    Attributes:
        plan_id: The plan.
        repo: Its repo.
        paths: Sorted.
        container: Name of a container behind it; empty for none.
        orphan: What the plan is of, when nothing asks for it any more; else empty.
    """

    plan_id: str
    repo: str
    paths: tuple[str, ...]
    container: str = ""
    orphan: str = ""


def same_backups(plans: Iterable[Standing]) -> list[Finding]:
    """Return a finding for each group of plans that back up the same paths to the same repo."""
    groups: dict[tuple[str, tuple[str, ...]], list[Standing]] = {}
    for plan in plans:
        groups.setdefault((plan.repo, plan.paths), []).append(plan)
    return [_said(group) for (_, paths), group in groups.items() if len(group) > 1 and paths]


def _said(group: list[Standing]) -> Finding:
    group = sorted(group, key=lambda plan: (bool(plan.orphan), plan.plan_id))
    first = group[0]
    names = [f'"{plan.plan_id}" ({_of(plan)})' for plan in group[:_MOST]]
    if len(group) > _MOST:
        names.append(f"{len(group) - _MOST} more")
    orphans = [plan.plan_id for plan in group if plan.orphan]
    advice = (
        f'; disable "{orphans[0]}" in Backrest, or have it done by --orphans disable'
        if orphans
        else ". If once is enough, let one of them have other paths, or no backup"
    )
    text = (
        f"plans {' and '.join(names)} back up the same to repo {first.repo}: {', '.join(first.paths[:_MOST])}"
        f"{' …' if len(first.paths) > _MOST else ''}{advice}"
    )
    return Finding("same-backup", text, container=first.container, value=first.plan_id)


def _of(plan: Standing) -> str:
    return f"of {plan.orphan}, which asks for it no more" if plan.orphan else plan.container
