"""Short ways to say what is rendered and what stands in config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sidecar.config.plan import SNAPSHOT_START, Hook, Plan
from sidecar.merge.merge import Merge, MergeOptions, merge, merge_checked
from sidecar.plans.hooks import start_script, stop_script, template_hooks
from sidecar.plans.rendering import Owners, RenderedPlan, Rendering

SAMPLES = Path(__file__).parents[2] / "testdata" / "configs"
NOW = 1_790_000_000.0
GUID = "0f" * 32


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SAMPLES / name).read_text())
    return loaded


def config(*plans: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A good document with the repos ``main`` and ``usb``."""
    repos = [
        {"id": name, "uri": f"/srv/{name}", "guid": GUID, "password": "hidden"} for name in ("main", "usb")
    ]
    return {"modno": 7, "version": 6, "instance": "demo", "repos": repos, "plans": list(plans), **fields}


def wish(plan_id: str, *, workload: str = "", go_hooks: tuple[str, ...] = (), **fields: Any) -> RenderedPlan:
    """A rendered plan; its workload is called as the plan unless told otherwise."""
    values: dict[str, Any] = {
        "repo": "main",
        "paths": (f"/volumes/{plan_id}",),
        "cron": "5 2 * * *",
        "retention": {"policyTimeBucketed": {"daily": 7}},
    }
    plan = Plan(id=plan_id, **{**values, **fields})
    sources = {
        "schedule": "backrest.schedule",
        "include": "backrest.paths.include",
        "enable": "backrest.enable",
    }
    return RenderedPlan(plan, workload or f"stack/{plan_id}", (plan_id,), sources, go_hooks)


def wishes(*plans: RenderedPlan, **fields: Any) -> Rendering:
    """A rendering of these plans; their workloads are present, and others by ``present``."""
    present = frozenset(plan.workload for plan in plans) | fields.pop("present", frozenset())
    return Rendering(plans=tuple(sorted(plans, key=lambda p: p.plan.id)), present=present, **fields)


def stop_start(*containers: str) -> tuple[Hook, ...]:
    return template_hooks(stop_script(containers), start_script(containers))


def command(text: str, *conditions: str, on_error: str = "") -> Hook:
    return Hook(conditions=conditions or (SNAPSHOT_START,), command=text, on_error=on_error)


def put(
    data: dict[str, Any], rendering: Rendering, owners: Owners | None = None, now: float = NOW, **options: Any
) -> Merge:
    return merge(data, rendering, owners or {}, MergeOptions(**options), now)


def put_checked(
    data: dict[str, Any], rendering: Rendering, owners: Owners | None = None, **options: Any
) -> Merge:
    return merge_checked(data, rendering, owners or {}, MergeOptions(**options), NOW)


def plan_of(data: dict[str, Any], plan_id: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [plan for plan in data["plans"] if plan["id"] == plan_id]
    assert len(found) == 1, f"{plan_id} stands {len(found)} times"
    return found[0]


def edit(data: dict[str, Any], plan_id: str, **fields: Any) -> dict[str, Any]:
    """Return the document as somebody left it who changed fields of a plan in the UI; None takes a field out."""
    plans = []
    for plan in data["plans"]:
        edited = {key: value for key, value in {**plan, **fields}.items() if value is not None}
        plans.append(edited if plan["id"] == plan_id else plan)
    return {**data, "plans": plans}


def kinds(merged: Merge) -> dict[str, str]:
    return {change.plan_id: change.kind for change in merged.changes}


def codes(merged: Merge) -> list[str]:
    return [finding.code for finding in merged.findings]
