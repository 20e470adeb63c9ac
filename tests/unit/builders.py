"""Short ways to say what an engine has."""

from __future__ import annotations

import hashlib
from typing import Any

from sidecar.engine.model import (
    COMPOSE_NUMBER,
    COMPOSE_PROJECT,
    COMPOSE_SERVICE,
    Container,
    EngineSnapshot,
    Mount,
    Volume,
)
from sidecar.plans.render import render
from sidecar.plans.rendering import ConfigView, Owners, PlanFacts, RenderedPlan, Rendering
from sidecar.settings.settings import Settings, resolve


def volume(name: str, destination: str = "/data", driver: str = "local", source: str | None = None) -> Mount:
    where = f"/var/lib/docker/volumes/{name}/_data" if source is None else source
    return Mount("volume", where, destination, name, driver)


def bind(source: str, destination: str) -> Mount:
    return Mount("bind", source, destination)


def container(
    name: str,
    labels: dict[str, str] | None = None,
    mounts: tuple[Mount, ...] | None = None,
    *,
    compose: tuple[str, str] | tuple[str, str, str] | None = None,
    enable: bool = True,
    **fields: Any,
) -> Container:
    """A container; enabled and with one volume unless told otherwise. ``compose`` is project, service, number."""
    every = {"backrest.enable": "true"} if enable else {}
    every.update(
        {
            f"backrest.{key}" if "." not in key or key.split(".")[0] in _OURS else key: value
            for key, value in (labels or {}).items()
        }
    )
    if compose:
        every |= {COMPOSE_PROJECT: compose[0], COMPOSE_SERVICE: compose[1]}
        every[COMPOSE_NUMBER] = compose[2] if len(compose) > 2 else "1"
    found = (volume(f"{name}_data"),) if mounts is None else mounts
    fields.setdefault("id", hashlib.sha256(name.encode()).hexdigest())
    return Container(name=name, labels=every, mounts=found, **fields)


_OURS = {"paths", "hooks", "snapshot-start", "snapshot-end", "keep", "repo", "schedule"}


def settings(**flags: Any) -> Settings:
    """Settings of a reconcile; flags are spelled with underscores."""
    given = {name.replace("_", "-"): value for name, value in flags.items()}
    return resolve("reconcile", given, {})


def view(*plans: PlanFacts, repos: tuple[str, ...] = ("main", "offsite")) -> ConfigView:
    return ConfigView(repos, plans)


def rendering(
    *containers: Container,
    volumes: tuple[Volume, ...] = (),
    on: ConfigView | None = None,
    owners: Owners | None = None,
    path_view: tuple[tuple[str, str], ...] = (),
    snapshot: dict[str, Any] | None = None,
    **flags: Any,
) -> Rendering:
    seen = EngineSnapshot(containers, {v.name: v for v in volumes}, **(snapshot or {}))
    return render(seen, on or view(), owners or {}, settings(**flags), path_view=path_view)


def one(*containers: Container, **kwargs: Any) -> RenderedPlan:
    """The only plan of a rendering."""
    result = rendering(*containers, **kwargs)
    assert len(result.plans) == 1, (result.plans, result.findings)
    return result.plans[0]


def codes(result: Rendering) -> set[str]:
    return {finding.code for finding in result.findings}
