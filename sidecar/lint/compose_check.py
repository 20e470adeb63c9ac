"""What Compose refuses about a project as a whole: names that nothing declares, mounts in one place. Pure.

Source of the rules: compose-go: loader/validate.go, validation/, loader/normalize.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from sidecar.findings import printable
from sidecar.lint.findings import Place
from sidecar.lint.service import texts
from sidecar.lint.yaml_node import Node

_SHARED = ("network_mode", "ipc", "pid", "uts", "cgroup")
_TESTS = frozenset({"CMD", "CMD-SHELL", "NONE"})

Problem = tuple[Place, str]


def consistency_problems(root: Node) -> list[Problem]:
    """Return what Compose refuses about a merged file that is right in each of its parts."""
    services = root.get("services")
    found: list[Problem] = []
    needs: dict[str, set[str]] = {}
    for name, entry in services.pairs() if services is not None else ():
        if entry.node.entries is not None:
            found += _of_service(name, entry.place, entry.node, root)
            needs[name] = set(_needed(entry.node))
            for other in sorted(needs[name]):
                if services is None or services.get(other) is None:
                    text = f"service {printable(name)} depends on {printable(other)}, which does not exist"
                    found.append((entry.place, text))
    found += _circles(root, needs)
    found += _of_resources(root)
    return found


def _text(node: Node | None) -> str:
    return (node.text or "") if node is not None else ""


def _of_service(name: str, place: Place, service: Node, root: Node) -> Iterator[Problem]:
    who = f"service {printable(name)}"
    if service.get("build") is None and not _text(service.get("image")) and service.get("provider") is None:
        yield place, f"{who} has neither an image nor a build"
    networks = service.get("networks")
    if networks is not None and (networks.entries or networks.items) and _text(service.get("network_mode")):
        yield networks.place, f"{who} has network_mode and networks; one excludes the other"
    for kind, key in (("network", "networks"), ("model", "models")):
        for used in _names(service.get(key)):
            if used != "default" and root.get(key, used) is None and not _declared(root, key, used):
                yield place, f"{who} uses the {kind} {printable(used)}, which nothing declares"
    for kind, key in (("secret", "secrets"), ("config", "configs")):
        for used in _sources(service.get(key)):
            if not _declared(root, key, used):
                yield place, f"{who} uses the {kind} {printable(used)}, which nothing declares"
    test = service.get("healthcheck", "test")
    if test is not None and test.items and _text(test.items[0]) not in _TESTS:
        yield test.place, f"{who}: healthcheck.test begins with one of {', '.join(sorted(_TESTS))}"
    replicas = service.get("scale") or service.get("deploy", "replicas")
    many = replicas is not None and isinstance(replicas.value, int) and replicas.value > 1
    if replicas is not None and many and _text(service.get("container_name")):
        yield replicas.place, f"{who} has a container_name and more than one container"
    yield from _of_mounts(who, service, root)


def _of_mounts(who: str, service: Node, root: Node) -> Iterator[Problem]:
    taken: dict[str, Place] = {}
    tmpfs = service.get("tmpfs")
    for item in (tmpfs.items or ()) if tmpfs is not None else ():
        path = _text(item).partition(":")[0]
        if path in taken:
            yield item.place, f"{who} mounts {printable(path)} twice, first in line {taken[path].line}"
        taken[path] = item.place
    volumes = service.get("volumes")
    for item in (volumes.items or ()) if volumes is not None else ():
        kind, source, target = (_text(item.get(key)) for key in ("type", "source", "target"))
        if kind == "volume" and source and not _declared(root, "volumes", source):
            text = f"{who} uses the volume {printable(source)}, which nothing declares: add it under volumes"
            yield item.place, text
        path = target.rstrip("/") or target
        if path in taken:
            yield item.place, f"{who} mounts {printable(path)} twice, first in line {taken[path].line}"
        taken[path] = item.place


def _declared(root: Node, section: str, name: str) -> bool:
    node = root.get(section)
    return node is not None and name in (node.entries or {})


def _names(node: Node | None) -> list[str]:
    if node is None:
        return []
    return list(node.entries) if node.entries is not None else texts(node)


def _sources(node: Node | None) -> list[str]:
    items = (node.items or []) if node is not None else []
    return [_text(item.get("source")) if item.entries is not None else _text(item) for item in items]


def _needed(service: Node) -> Iterator[str]:
    """Yield the services that one waits for, as Compose works it out."""
    depends_on = service.get("depends_on")
    if depends_on is not None and depends_on.entries is not None:
        for name, entry in depends_on.pairs():
            required = entry.node.get("required")
            if required is None or required.value is not False:
                yield name
    else:
        yield from texts(depends_on)
    for link in texts(service.get("links")):
        parts = link.split(":")
        yield parts[0] if len(parts) == 2 else link
    for key in _SHARED:
        mode = _text(service.get(key))
        if mode.startswith("service:"):
            yield mode.removeprefix("service:")
    for source in texts(service.get("volumes_from")):
        if not source.startswith("container:"):
            yield source.partition(":")[0]


def _circles(root: Node, needs: dict[str, set[str]]) -> Iterator[Problem]:
    """Yield the first circle of services that wait for one another."""
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        waiting = [(start, False)]
        while waiting:
            name, left = waiting.pop()
            if left:
                path.pop()
                done.add(name)
            elif name in path:
                entry = (root.get("services") or Node(Place(""))).entries or {}
                circle = " -> ".join([*path[path.index(name) :], name])
                yield entry[name].place, f"services wait for one another: {printable(circle, 200)}"
                return
            elif name not in done:
                path.append(name)
                waiting.append((name, True))
                waiting += [(other, False) for other in sorted(needs.get(name, ()))]


def _of_resources(root: Node) -> Iterator[Problem]:
    volumes = root.get("volumes")
    for name, entry in volumes.pairs() if volumes is not None else ():
        external = entry.node.get("external")
        if external is None or external.value is False or (external.entries is None and not external.value):
            continue
        for key, other in entry.node.pairs():
            if key not in {"name", "external"} and not key.startswith("x-"):
                yield other.place, f"volume {printable(name)} is external and cannot have {printable(key)}"
    for section, ways in (
        ("secrets", ("file", "environment")),
        ("configs", ("file", "environment", "content")),
    ):
        node = root.get(section)
        for name, entry in node.pairs() if node is not None else ():
            given = [way for way in ways if entry.node.get(way) is not None]
            elsewhere = entry.node.get("driver") is not None or entry.node.get("external") is not None
            if len(given) > 1 or (not given and not elsewhere):
                yield entry.place, f"{section}.{printable(name)} needs one of {', '.join(ways)}"
