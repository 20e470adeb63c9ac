"""What Compose does with the tree of one file before it is merged: tags, variables, long forms, absolute paths. Pure.

Trees are never changed, for aliases share nodes.

Source of the rules: compose-go: loader/reset.go, loader/interpolate.go, transform/, paths/resolve.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from sidecar.findings import printable
from sidecar.lint.findings import Place
from sidecar.lint.interpolation import InterpolationError, interpolate
from sidecar.lint.merge import Path, Refuse, as_build
from sidecar.lint.service import mount_of
from sidecar.lint.shapes import FILE, Shape
from sidecar.lint.volume import absolute, clean
from sidecar.lint.yaml_node import OVERRIDE, RESET, Entry, Node
from sidecar.lint.yaml_scalar import Scalar

_TRUE = frozenset({"true", "y", "yes", "on"})
_FALSE = frozenset({"false", "n", "no", "off"})
_WHOLE = re.compile(r"[-+]?[0-9]+", re.ASCII)


def _whole(text: str) -> Scalar:
    if not _WHOLE.fullmatch(text):
        raise ValueError("is no whole number")
    return int(text)


def _number(text: str) -> Scalar:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError("is no number") from error


def _yes_or_no(text: str) -> Scalar:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("is neither true nor false")
    return word in _TRUE


_BECOMES: Mapping[str, Callable[[str], Scalar]] = {"whole": _whole, "number": _number, "flag": _yes_or_no}
_EXTERNAL = ("networks", "volumes", "secrets", "configs")


class Interpolator:
    """Puts variables into a tree. Each node is done once, so that a bomb of aliases stays small.

    Attributes:
        variables: What ``${…}`` can mean.
        refuse: Is told what Compose refuses.
    """

    def __init__(self, variables: Mapping[str, str], refuse: Refuse) -> None:
        self.variables = variables
        self.refuse = refuse
        self._done: dict[tuple[int, int], Node] = {}

    def run(self, node: Node, shape: Shape | None = FILE, key: str = "") -> Node:
        """Return the tree with its variables replaced; what Compose would refuse stays as it is.

        Args:
            node: The root, or what is below it.
            shape: Of what stands there, which says what its texts become; None where that is open.
            key: Under which the node stands.
        """
        known = (id(node), id(shape))
        found = self._done.get(known)
        if found is None:
            found = self._done[known] = self._made(node, shape, key)
        return found

    def _made(self, node: Node, shape: Shape | None, key: str) -> Node:
        if node.entries is not None:
            entries = {k: Entry(e.place, self.run(e.node, _below(shape, k), k)) for k, e in node.pairs()}
            return replace(node, entries=entries)
        if node.items is not None:
            each = shape.each if shape is not None else None
            return replace(node, items=[self.run(item, each, key) for item in node.items])
        if not isinstance(node.value, str) or type(node.value) is not str:
            return node
        try:
            done = interpolate(node.value, self.variables)
        except InterpolationError as error:
            who = f"{printable(key)}=" if key else ""
            self.refuse(node.place, f'{who}"{printable(node.raw)}": {printable(str(error), 300)}')
            return node
        value: Scalar = done.text
        cast = _BECOMES.get(shape.becomes) if shape is not None else None
        if cast is not None:
            try:
                value = cast(done.text)
            except ValueError as error:
                self.refuse(node.place, f'{printable(key)} "{printable(done.text)}" {error}')
        return replace(node, value=value, unset=done.unset, lone=done.lone)


def _below(shape: Shape | None, key: str) -> Shape | None:
    return shape.keys.get(key, shape.rest) if shape is not None else None


def without_tags(node: Node, found: set[Path], path: Path = ()) -> Node:
    """Return a tree without what is tagged ``!reset``.

    Args:
        node: The root, or what is below it.
        found: Gets the paths of what is tagged ``!reset`` or ``!override``: those take nothing from below.
        path: Keys from the root to here.
    """
    if node.tag == OVERRIDE:
        found.add(path)
        return node
    if node.entries is not None:
        entries: dict[str, Entry] = {}
        for key, entry in node.pairs():
            if entry.node.tag == RESET:
                found.add((*path, key))
            elif len(path) < 4:
                entries[key] = Entry(entry.place, without_tags(entry.node, found, (*path, key)))
            else:
                entries[key] = entry
        return replace(node, entries=entries)
    if node.items is not None:
        return replace(node, items=[item for item in node.items if item.tag != RESET])
    return node


def without_paths(node: Node, paths: Collection[Path], path: Path = ()) -> Node:
    """Return a tree without what stands at these paths."""
    if node.entries is None or not paths or len(path) > 5:
        return node
    entries = {
        key: Entry(entry.place, without_paths(entry.node, paths, (*path, key)))
        for key, entry in node.pairs()
        if (*path, key) not in paths
    }
    return replace(node, entries=entries)


def with_services(root: Node, change: Callable[[str, Node], Node]) -> Node:
    """Return a file's tree with each service that is a mapping changed."""
    section = (root.entries or {}).get("services")
    if section is None or section.node.entries is None:
        return root
    services = {
        name: Entry(entry.place, change(name, entry.node) if entry.node.entries is not None else entry.node)
        for name, entry in section.node.pairs()
    }
    return with_entry(root, "services", Entry(section.place, replace(section.node, entries=services)))


def with_entry(node: Node, key: str, entry: Entry | None) -> Node:
    """Return a mapping with one entry set, or taken out."""
    entries = dict(node.entries or {})
    entries.pop(key, None) if entry is None else entries.update({key: entry})
    return replace(node, entries=entries)


def long_forms(root: Node) -> Node:
    """Return a file's tree with its short forms of mounts, ``build`` and ``label_file`` written out."""

    def change(_: str, service: Node) -> Node:
        entries = dict(service.entries or {})
        for key, entry in service.pairs():
            node = entry.node
            if key == "volumes" and node.items is not None:
                entries[key] = Entry(
                    entry.place, replace(node, items=[_long_mount(item) for item in node.items])
                )
            elif key == "build":
                entries[key] = Entry(entry.place, as_build(node))
            elif key in {"label_file", "tmpfs"} and isinstance(node.value, str):
                entries[key] = Entry(entry.place, Node(node.place, items=[node]))
        return replace(service, entries=entries)

    return _with_plain_externals(with_services(root, change))


def _with_plain_externals(root: Node) -> Node:
    """Return a file's tree in which ``external: {name: x}`` is ``external: true`` beside ``name: x``."""
    for section in _EXTERNAL:
        top = (root.entries or {}).get(section)
        if top is None or top.node.entries is None:
            continue
        changed = dict(top.node.entries)
        for name, entry in top.node.pairs():
            external = (entry.node.entries or {}).get("external")
            if external is None or external.node.entries is None:
                continue
            flag = Node(external.node.place, value=True)
            node = with_entry(entry.node, "external", replace(external, node=flag))
            inside = external.node.entries.get("name")
            if inside is not None and node.get("name") is None:
                node = with_entry(node, "name", inside)
            changed[name] = replace(entry, node=node)
        root = with_entry(root, section, replace(top, node=replace(top.node, entries=changed)))
    return root


def _long_mount(item: Node) -> Node:
    spec = mount_of(item) if item.entries is None else None
    if spec is None:
        return item
    kind, source, target, read_only = spec
    said: dict[str, Scalar] = {
        "type": kind,
        "source": source,
        "target": clean(target),
        "read_only": read_only,
    }
    entries = {key: Entry(item.place, Node(item.place, value=value)) for key, value in said.items() if value}
    return Node(item.place, entries=entries, unset=item.unset)


def with_paths(root: Node, directory: str, home: str) -> Node:
    """Return a file's tree, in its long forms, with mounts and label files by their absolute paths.

    Args:
        root: The file.
        directory: That relative paths are below.
        home: What ``~`` means; empty for not known.
    """

    def made(node: Node) -> Node:
        if not isinstance(node.value, str) or not node.value:
            return node
        return replace(node, value=absolute(node.value, directory, home))

    def mount(item: Node) -> Node:
        kind, source = item.get("type"), (item.entries or {}).get("source")
        if source is None or kind is None or kind.value != "bind":
            return item
        return with_entry(item, "source", Entry(source.place, made(source.node)))

    def change(_: str, service: Node) -> Node:
        entries = dict(service.entries or {})
        for key, entry in service.pairs():
            node = entry.node
            if key == "volumes" and node.items is not None:
                entries[key] = Entry(entry.place, replace(node, items=[mount(item) for item in node.items]))
            elif key == "label_file" and node.items is not None:
                entries[key] = Entry(entry.place, replace(node, items=[made(item) for item in node.items]))
            elif key == "extends" and (file := (node.entries or {}).get("file")) is not None:
                changed = with_entry(node, "file", Entry(file.place, made(file.node)))
                entries[key] = Entry(entry.place, changed)
        return replace(service, entries=entries)

    return with_services(root, change)


def refused_bind(service: Node) -> Place | None:
    """Return where a service has a bind mount without a source, which Compose refuses."""
    volumes = service.get("volumes")
    for item in (volumes.items or ()) if volumes is not None else ():
        kind = item.get("type")
        if kind is not None and kind.value == "bind" and item.get("source") is None:
            return item.place
    return None
