"""The hooks of one plan: what labels ask for, and who must not be stopped or cannot be. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidecar.config.plan import Hook
from sidecar.engine.model import COMPOSE_PROJECT, COMPOSE_SERVICE, Container, EngineSnapshot
from sidecar.findings import Finding
from sidecar.labels.policy import PlanLabels
from sidecar.plans import hooks, workloads

REMOVED = "the engine removes it and its anonymous volumes when it stops (--rm)"


@dataclass(frozen=True, slots=True)
class PlanHooks:
    """Hooks as they are to be written.

    Attributes:
        hooks: Start before end; the template's start hook first.
        go_hooks: What the Go tool would have rendered from the same labels, to recognise its hooks.
        findings: Why there is no template, and what of the labels has no effect.
    """

    hooks: tuple[Hook, ...] = ()
    go_hooks: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def against_stopping(
    containers: Sequence[Container], guarded: Mapping[str, str], snapshot: EngineSnapshot
) -> tuple[tuple[str, str], ...]:
    """Return (name, reason) for each container of a workload that no template may stop.

    Args:
        containers: The workload's containers.
        guarded: Container id → reason, see ``backrest.protected.protected``.
        snapshot: For the swarm's services.
    """
    found = [(c.name, guarded[c.id]) for c in containers if c.id in guarded]
    found += [(c.name, REMOVED) for c in containers if c.auto_remove]
    for service in services_of(containers):
        why = against_scaling(service, snapshot)
        if why:
            found.append((service, why))
    return tuple(found)


def against_scaling(service: str, snapshot: EngineSnapshot) -> str:
    """Return why a Swarm service cannot be scaled to nothing and back from this engine; empty when it can.

    Args:
        service: Its full name.
        snapshot: The engine.
    """
    what = "it is a Swarm service, which must be scaled down since Swarm replaces a task that is stopped"
    if snapshot.swarm == "worker":
        return f"{what}, and this engine is a worker: only a manager can scale"
    known = snapshot.services.get(service)
    if known is None:
        return f"{what}, and this engine does not tell about services"
    if known.mode != "replicated":
        return f"{what}, and its mode is {known.mode}: only a replicated service has a scale"
    return ""


def services_of(containers: Sequence[Container]) -> tuple[str, ...]:
    """Return the full names of the Swarm services whose tasks these containers are."""
    return tuple(sorted({c.swarm_service for c in containers if c.swarm_service}))


def plan_hooks(
    labels: PlanLabels, containers: Sequence[Container], against: Sequence[tuple[str, str]]
) -> PlanHooks:
    """Return the hooks of one plan.

    Args:
        labels: The plan's labels.
        containers: The workload's containers.
        against: What :func:`against_stopping` said.
    """
    names = sorted(c.name for c in containers)
    # That tool knew a container by the one name or the other, whatever it is called today.
    all_names = dict.fromkeys((*names, *map(workloads.final_name, containers)))
    go_hooks = hooks.go_tool_commands(
        labels.start_commands, labels.end_commands, template=labels.template, containers=tuple(all_names)
    )
    idle = _without_effect(labels, names[0])
    if labels.start_commands or labels.end_commands:
        on_error = hooks.ON_ERROR[labels.on_error or "fatal"]
        ours = hooks.label_hooks(labels.start_commands, labels.end_commands, names, on_error)
        return PlanHooks(ours, go_hooks, idle)
    if not labels.template:
        return PlanHooks((), go_hooks, idle)
    if against:
        name, why = against[0]
        text = f"{name}: the stop/start template is refused, since {why}; its plan is written without it"
        label = labels.sources.get("template", "backrest.hooks.template")
        owner = names[0] if any(c.swarm_service == name for c in containers) else name
        refused = Finding("template-refused", text, container=owner, label=label)
        return PlanHooks((), go_hooks, (refused, *idle))
    services = services_of(containers)
    belongs = {
        c.name: hooks.Belongs(c.labels.get(COMPOSE_PROJECT, ""), c.labels.get(COMPOSE_SERVICE, ""))
        for c in containers
        if not c.swarm_service
    }
    single = sorted(belongs)
    scripts = hooks.stop_script(single, services, belongs), hooks.start_script(single, services)
    return PlanHooks(hooks.template_hooks(*scripts), go_hooks, idle)


def _without_effect(labels: PlanLabels, container: str) -> tuple[Finding, ...]:
    """Return a finding where the plan's own ``on-error`` has no command to be for."""
    label = labels.sources.get("on_error", "")
    own = "backrest." + (f"{labels.name}." if labels.name else "") + "hooks.on-error"
    if label != own or labels.start_commands:
        return ()
    what = "the stop/start template always fails the backup" if labels.template else "it has none"
    text = f"{container}: {label} has no effect: it is for commands of snapshot-start, and {what}"
    return (Finding("on-error-unused", text, container=container, label=label),)
