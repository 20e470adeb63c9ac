"""One service out of a merged Compose file: labels, mounts and names, with their places.

Source of the rules: compose-go: types/labels.go, types/project.go, loader/normalize.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sidecar.engine.model import Mount
from sidecar.lint.findings import LabelAt, Place
from sidecar.lint.volume import VolumeError, absolute, clean, parse_volume
from sidecar.lint.yaml_node import Node


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
        label_files: Files with more labels, which win over nothing: where each is named, and its path.
    """

    name: str
    place: Place
    labels: dict[str, LabelAt] = field(default_factory=dict)
    deploy: dict[str, LabelAt] = field(default_factory=dict)
    built: dict[str, LabelAt] = field(default_factory=dict)
    mounts: dict[str, Mount] = field(default_factory=dict)
    container_name: str = ""
    volumes_from: list[str] = field(default_factory=list)
    label_files: list[tuple[Place, str]] = field(default_factory=list)


def texts(node: Node | None) -> list[str]:
    """Return a list of scalars, or one scalar as a list of one; what is no text is left out."""
    if node is None:
        return []
    items = node.items if node.items is not None else [node]
    return [item.text for item in items if item.text is not None]


def read_labels(node: Node | None) -> dict[str, LabelAt]:
    """Return labels in either syntax: a mapping, or a list of ``key=value``."""
    found: dict[str, LabelAt] = {}
    if node is None:
        return found
    for item in node.items or ():
        if not isinstance(item.value, str):
            continue
        key, _, value = item.value.partition("=")
        place = item.value_place
        if place is None:
            # Interpolation may have made the key longer; the place is that of the text in the file.
            place = item.place._replace(column=item.place.column + item.raw.find("=") + 1 + item.quoted)
        found[key] = LabelAt(value, item.place, place, item.unset, item.lone)
    for key, entry in node.pairs():
        value_node = entry.node
        # Compose takes keys of a mapping that begin so for extensions of the file, and drops them.
        if key.startswith("x-"):
            continue
        if value_node.items is None and value_node.entries is None:
            text = value_node.text or ""
            found[key] = LabelAt(text, entry.place, value_node.place, value_node.unset, value_node.lone)
    return found


def read_service(
    name: str, place: Place, node: Node, volume_name: Callable[[str], str], directory: str, home: str
) -> Service:
    """Return what a service of a merged file says.

    Args:
        name: Its key.
        place: Where the key stands.
        node: The service.
        volume_name: Gives the engine's name for a volume of the file.
        directory: That relative paths are below, absolute.
        home: What ``~`` means; empty for not known.
    """
    service = Service(name, place)
    service.labels = read_labels(node.get("labels"))
    service.deploy = read_labels(node.get("deploy", "labels"))
    service.built = read_labels(node.get("build", "labels"))
    for mount in _mounts(node, volume_name, directory, home):
        service.mounts[mount.destination] = mount
    container_name = node.get("container_name")
    service.container_name = (container_name.text or "") if container_name is not None else ""
    for source in texts(node.get("volumes_from")):
        service.volumes_from.append("" if source.startswith("container:") else source.partition(":")[0])
    files = node.get("label_file")
    for item in (files.items if files.items is not None else [files]) if files is not None else ():
        if item.text is not None:
            service.label_files.append((item.place, absolute(item.text, directory, home)))
    return service


def _mounts(service: Node, volume_name: Callable[[str], str], directory: str, home: str) -> Iterator[Mount]:
    for text in texts(service.get("tmpfs")):
        path = text.partition(":")[0]
        if path:
            yield Mount("tmpfs", "", path)
    volumes = service.get("volumes")
    for item in (volumes.items or ()) if volumes is not None else ():
        spec = mount_of(item)
        if spec is None or not spec[2]:
            continue
        kind, source, target, read_only = spec
        target = clean(target)
        if kind == "volume":
            name = volume_name(source) if source else "(anonymous)"
            yield Mount("volume", "", target, name=name, driver="local", read_only=read_only)
        else:
            source = absolute(source, directory, home) if kind == "bind" and source else source
            yield Mount(kind, source, target, read_only=read_only)


def mount_of(item: Node) -> tuple[str, str, str, bool] | None:
    """Return type, source, target and read-only of a mount as it stands in the file; None for one that is wrong."""
    if item.entries is None:
        try:
            return parse_volume(item.value) if isinstance(item.value, str) else None
        except VolumeError:
            return None

    def said(key: str) -> str:
        node = item.get(key)
        return (node.text or "") if node is not None else ""

    return said("type") or "volume", said("source"), said("target"), said("read_only") == "true"
