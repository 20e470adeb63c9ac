"""Who needs whom: Compose's ``depends_on`` labels, and guests in another container's network. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sidecar.engine.model import COMPOSE_DEPENDS_ON, Container


def network_hosts(containers: Iterable[Container]) -> dict[str, str]:
    """Return guest id → id of the container whose network it uses."""
    everything = tuple(containers)
    ids = {c.name: c.id for c in everything} | {c.id: c.id for c in everything}
    modes = ((c.id, c.network_mode.partition(":")) for c in everything)
    return {i: ids[owner] for i, (kind, _, owner) in modes if kind == "container" and owner in ids}


def depends_on(container: Container) -> tuple[str, ...]:
    """Return the services that a Compose container depends on.

    The label's parts are ``service:condition:restart`` since Compose 2.2, ``service:condition`` or
    ``service`` before (compose: pkg/compose/create.go, labels).
    """
    parts = container.labels.get(COMPOSE_DEPENDS_ON, "").split(",")
    return tuple(name for part in parts if (name := part.partition(":")[0].strip()))


def needs(
    containers: Iterable[Container], chosen: Mapping[str, Container]
) -> tuple[dict[str, set[str]], list[tuple[str, str]]]:
    """Return who needs whom among some containers, also through others that are not among them.

    Args:
        containers: All containers of the engine.
        chosen: The containers that the answer is about, by id.

    Returns:
        Id → ids that it needs, in an order in which what is needed comes first; and pairs of names whose
        dependency was left out because it closes a circle.
    """
    everything = {c.id: c for c in containers}
    services: dict[tuple[str, str], list[str]] = {}
    for c in everything.values():
        if c.project and c.service and not c.is_oneoff:
            services.setdefault((c.project, c.service), []).append(c.id)
    hosts = network_hosts(everything.values())
    order: dict[str, set[str]] = {}
    cut: list[tuple[str, str]] = []
    path: list[str] = []

    def direct(container: Container) -> list[str]:
        found = [i for name in depends_on(container) for i in services.get((container.project, name), ())]
        owner = hosts.get(container.id)
        return [*found, owner] if owner else found

    # Depth first without recursion: a chain may be longer than Python's stack.
    for root in everything:
        stack = [] if root in order else [(root, iter(direct(everything[root])))]
        path = [root] if stack else []
        while stack:
            current, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                known = [i for i in direct(everything[current]) if i in order]
                order[current] = set().union(*(order[i] | {i} for i in known)) if known else set()
                stack.pop()
                path.pop()
            elif following in path:
                if following != current:
                    cut.append((everything[current].name, everything[following].name))
            elif following not in order:
                stack.append((following, iter(direct(everything[following]))))
                path.append(following)
    return {i: {n for n in order[i] if n in chosen} for i in order if i in chosen}, cut
