"""One service of a Compose file: labels, mounts and names, with their places, and how two of them merge.

Source of the rules: compose-spec: spec.md, 05-services.md, 13-merge.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from sidecar.compose_variables import InterpolationError, interpolate
from sidecar.label_guess import is_ours
from sidecar.lint_model import LabelAt, LintFinding, Place
from sidecar.model import Mount, printable
from sidecar.yaml_tree import Node

_T = TypeVar("_T")

RESET = "!reset"
OVERRIDE = "!override"


@dataclass(slots=True)
class Service:
    """What lint needs to know of a service.

    Attributes:
        name: Its key under ``services``.
        place: Where that key stands.
        labels: Of the container.
        deploy: Labels of the Swarm service.
        built: Labels of the image that ``build`` makes.
        mounts: By the path in the container.
        container_name: Empty for Compose's own choice.
        volumes_from: Names of services whose mounts it takes; an empty string for a container outside the file.
        replaced: Parts tagged ``!reset`` or ``!override``, which take nothing from the service below.
    """

    name: str
    place: Place
    labels: dict[str, LabelAt] = field(default_factory=dict)
    deploy: dict[str, LabelAt] = field(default_factory=dict)
    built: dict[str, LabelAt] = field(default_factory=dict)
    mounts: dict[str, Mount] = field(default_factory=dict)
    container_name: str = ""
    volumes_from: list[str] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)

    def over(self, base: Service) -> Service:
        """Return this service merged over ``base``, as ``extends`` and a second file do."""

        def merged(part: str, own: dict[str, _T], below: dict[str, _T]) -> dict[str, _T]:
            return dict(own) if part in self.replaced else {**below, **own}

        return Service(
            self.name,
            self.place,
            merged("labels", self.labels, base.labels),
            merged("deploy", self.deploy, base.deploy),
            merged("build", self.built, base.built),
            merged("volumes", self.mounts, base.mounts),
            self.container_name or base.container_name,
            [*base.volumes_from, *self.volumes_from],
            self.replaced | base.replaced,
        )


class Reader:
    """Reads values out of the tree, interpolated; what cannot be read becomes a finding.

    Attributes:
        variables: What ``${…}`` can mean.
        findings: Grows.
    """

    def __init__(self, variables: Mapping[str, str], findings: list[LintFinding]) -> None:
        self.variables = variables
        self.findings = findings

    def fault(self, place: Place, code: str, message: str, *, label: str = "", hint: str = "") -> None:
        """Note an error."""
        self.findings.append(LintFinding(place, "error", code, message, hint, label))

    def text(self, node: Node | None) -> str:
        """Return a scalar, interpolated; empty for a null, for no scalar, and for what Compose would refuse."""
        if node is None or node.text is None:
            return ""
        try:
            return interpolate(node.text, self.variables).text
        except InterpolationError:
            return node.text

    def texts(self, node: Node | None) -> list[str]:
        """Return a list of scalars, or one scalar as a list of one."""
        if node is None:
            return []
        return [self.text(item) for item in node.items] if node.items is not None else [self.text(node)]

    def labels(self, node: Node | None, who: str) -> dict[str, LabelAt]:
        """Return labels in either syntax: a mapping, or a list of ``key=value``."""
        found: dict[str, LabelAt] = {}
        if node is None:
            return found
        if node.items is not None:
            for item in node.items:
                raw = item.text or ""
                key, _, value = raw.partition("=")
                inside = item.place.column + len(key) + 1 + item.quoted
                place = item.place._replace(column=inside)
                self._label(found, key, value, item.place, place, who)
            return found
        for key, entry in node.pairs():
            value_node = entry.node
            if value_node.items is not None or value_node.entries is not None:
                if is_ours(key):
                    text = (
                        f"{who}: {printable(key)} is a {_shape(value_node)}, and a label's value is one text"
                    )
                    self.fault(entry.place, "invalid-compose", text, label=key)
                continue
            self._label(found, key, value_node.text or "", entry.place, value_node.place, who)
        return found

    def _label(
        self, found: dict[str, LabelAt], key: str, raw: str, key_place: Place, place: Place, who: str
    ) -> None:
        try:
            value = interpolate(raw, self.variables)
        except InterpolationError as error:
            found.pop(key, None)
            if is_ours(key):
                text = f'{who}: {printable(key)}="{printable(raw)}": {printable(str(error), 300)}'
                self.fault(place, "interpolation", text, label=key)
            return
        found[key] = LabelAt(value.text, key_place, place, value.unset)

    def mounts(self, service: Node, volume_name: Callable[[str], str]) -> dict[str, Mount]:
        """Return the mounts of ``volumes`` and ``tmpfs``, by their path in the container."""
        found: dict[str, Mount] = {}
        volumes = service.get("volumes")
        for item in (volumes.items or []) if volumes is not None else []:
            mount = (
                self._long(item, volume_name) if item.entries is not None else self._short(item, volume_name)
            )
            if mount is not None:
                found[mount.destination] = mount
        for target in self.texts(service.get("tmpfs")):
            path = target.partition(":")[0]
            if path:
                found[path] = Mount("tmpfs", "", path)
        return found

    def _short(self, item: Node, volume_name: Callable[[str], str]) -> Mount | None:
        parts = self.text(item).split(":")
        if parts == [""]:
            return None
        if len(parts) == 1:
            return Mount("volume", "", parts[0], name="(anonymous)", driver="local")
        source, target = parts[0], parts[1]
        if source[:1] in {"/", ".", "~"}:
            return Mount("bind", source, target)
        return Mount("volume", "", target, name=volume_name(source), driver="local")

    def _long(self, item: Node, volume_name: Callable[[str], str]) -> Mount | None:
        target = self.text(item.get("target"))
        kind = self.text(item.get("type")) or "volume"
        source = self.text(item.get("source"))
        if not target:
            return None
        if kind != "volume":
            return Mount(kind, source, target)
        return Mount(
            "volume", "", target, name=volume_name(source) if source else "(anonymous)", driver="local"
        )

    def service(self, name: str, place: Place, node: Node, volume_name: Callable[[str], str]) -> Service:
        """Return one service as it stands in one file, before ``extends`` and merging."""
        who = printable(name)
        service = Service(name, place)
        service.labels = self.labels(node.get("labels"), who)
        service.deploy = self.labels(node.get("deploy", "labels"), who)
        service.built = self.labels(node.get("build", "labels"), who)
        service.mounts = self.mounts(node, volume_name)
        service.container_name = self.text(node.get("container_name"))
        for source in self.texts(node.get("volumes_from")):
            service.volumes_from.append("" if source.startswith("container:") else source.partition(":")[0])
        for part in ("labels", "volumes", "deploy", "build"):
            below = node.get(part)
            inner = node.get(part, "labels")
            if any(n is not None and n.tag in {RESET, OVERRIDE} for n in (below, inner)):
                service.replaced.add(part)
            if below is not None and below.tag == RESET:
                _clear(service, part)
        return service


def _clear(service: Service, part: str) -> None:
    match part:
        case "labels":
            service.labels = {}
        case "volumes":
            service.mounts = {}
        case "deploy":
            service.deploy = {}
        case _:
            service.built = {}


def _shape(node: Node) -> str:
    return "list" if node.items is not None else "mapping"
