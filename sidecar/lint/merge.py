"""How Compose lays one tree over another: ``extends``, a second file, ``include``. Pure.

Trees are never changed, for aliases share nodes; what is merged is made anew. What Compose refuses on the way is
told through ``refuse``, and the merge goes on with what can still be made of it.

Source of the rules: compose-go: override/merge.go, override/uncity.go, loader/include.go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sidecar.findings import printable
from sidecar.lint.findings import Place
from sidecar.lint.volume import VolumeError, parse_volume
from sidecar.lint.yaml_node import Entry, Node
from sidecar.lint.yaml_scalar import Scalar, go_text

Path = tuple[str, ...]
Refuse = Callable[[Place, str], None]
"""Takes what Compose refuses: where, and why."""

_ANY = "*"
_AS_SEQUENCE = (
    "annotations", "build.args", "build.additional_contexts", "build.labels", "deploy.labels", "dns", "dns_opt",
    "dns_search", "env_file", "label_file", "environment", "labels", "sysctls", "tmpfs", "build.extra_hosts",
    "extra_hosts",
)  # fmt: skip
_OVERRIDDEN = ("command", "entrypoint", "healthcheck.test")
_AS_MAPPING = ("models", "networks")
_KEY_VALUES = (
    "annotations", "build.args", "build.additional_contexts", "build.platform", "build.tags", "build.labels",
    "cap_add", "cap_drop", "deploy.labels", "dns", "dns_opt", "dns_search", "environment", "labels", "links",
    "profiles", "sysctls", "tmpfs",
)  # fmt: skip


def _table(names: tuple[str, ...], value: str) -> dict[Path, str]:
    return {("services", _ANY, *name.split(".")): value for name in names}


_HOW: dict[Path, str] = {
    **_table(_AS_SEQUENCE, "sequence"),
    **_table(_OVERRIDDEN, "override"),
    **_table(_AS_MAPPING, "mapping"),
    **_table(("depends_on",), "needs"),
    **_table(("build",), "build"),
    **_table(("logging",), "logging"),
    **_table(("ulimits.*",), "override"),
    ("volumes", _ANY, "labels"): "sequence",
    ("networks", _ANY, "labels"): "sequence",
    ("networks", _ANY, "ipam", "config"): "override",
}
_UNIQUE: dict[Path, str] = {
    **_table(_KEY_VALUES, "pair"),
    **_table(("volumes",), "volume"),
    **_table(("env_file",), "path"),
    ("networks", _ANY, "labels"): "pair",
}


def _looked_up(table: dict[Path, str], path: Path) -> str:
    """Return what a table says of a path; its second part is always a name, and the last may be."""
    if len(path) < 3:
        return ""
    found = table.get((path[0], _ANY, *path[2:]))
    return found or table.get((path[0], _ANY, *path[2:-1], _ANY), "")


def merge(below: Node, over: Node, refuse: Refuse, path: Path = ()) -> Node:
    """Return ``over`` laid over ``below``.

    Args:
        below: Of the file before, or of the service that is extended.
        over: What wins.
        refuse: Is told what Compose refuses.
        path: Keys from the root of the file to here.
    """
    how = _looked_up(_HOW, path)
    if how == "sequence":
        return replace(over, value=None, entries=None, items=[*_sequence(below), *_sequence(over)])
    if how == "override":
        return over
    if how in {"mapping", "needs", "build"}:
        below, over = _mapping(below, how), _mapping(over, how)
        if below.entries is None or over.entries is None:
            return over if over.entries is not None else below
    elif over.null:
        return below
    elif how == "logging" and _drivers_differ(below, over):
        return over
    if below.entries is not None and over.entries is not None:
        return _merged_mappings(below, over, refuse, path)
    if below.items is not None and over.items is not None:
        return replace(over, items=[*below.items, *over.items])
    if below.entries is not None or below.items is not None:
        refuse(over.place, f"{'.'.join(path)} cannot be laid over what stands there in {below.place.file}")
    return over


def _merged_mappings(below: Node, over: Node, refuse: Refuse, path: Path) -> Node:
    entries = dict(below.entries or {})
    for key, entry in over.pairs():
        old = entries.get(key)
        node = merge(old.node, entry.node, refuse, (*path, key)) if old is not None else entry.node
        entries[key] = Entry(entry.place, node)
    return replace(over, entries=entries)


def _drivers_differ(below: Node, over: Node) -> bool:
    one, other = below.get("driver"), over.get("driver")
    return one is not None and other is not None and one.value != other.value


def _sequence(node: Node) -> list[Node]:
    """Return a node as a list: a mapping as ``key=value``, sorted, a text as a list of one."""
    if node.items is not None:
        return node.items
    if node.entries is None:
        return [node] if isinstance(node.value, str) else []
    found: list[Node] = []
    for key, entry in node.pairs():
        values = entry.node.items if entry.node.items is not None else [entry.node]
        for value in values:
            # Go prints what is no scalar in a form of its own, of which no label can be made by intent.
            text = "" if value.entries is not None or value.items is not None else go_text(value.value)
            pair = key if entry.node.null else f"{key}={text}"
            found.append(
                Node(entry.place, value=pair, unset=value.unset, lone=value.lone, value_place=value.place)
            )
    return sorted(found, key=lambda item: str(item.value))


def _mapping(node: Node, how: str) -> Node:
    if how == "build":
        return as_build(node)
    if node.items is None:
        return node
    return replace(
        node,
        items=None,
        entries={item.text or "": Entry(item.place, _named(item, how)) for item in node.items},
    )


def _named(item: Node, how: str) -> Node:
    """Return what an element of a list becomes as an entry of a mapping."""
    if how != "needs":
        return Node(item.place)
    said: dict[str, Scalar] = {"condition": "service_started", "required": True}
    return Node(
        item.place, entries={k: Entry(item.place, Node(item.place, value=v)) for k, v in said.items()}
    )


def as_build(node: Node) -> Node:
    """Return ``build`` in its long form."""
    if not isinstance(node.value, str):
        return node
    return replace(node, value=None, entries={"context": Entry(node.place, node)})


def without_doubles(root: Node, refuse: Refuse) -> Node:
    """Return a file's tree in which each list holds each key once, the last one in the place of the first."""
    entries = dict(root.entries or {})
    for top in ("services", "networks"):
        section = entries.get(top)
        if section is None or section.node.entries is None:
            continue
        named = {
            name: Entry(entry.place, _unique(entry.node, (top, name), refuse))
            for name, entry in section.node.pairs()
        }
        entries[top] = Entry(section.place, replace(section.node, entries=named))
    return replace(root, entries=entries)


def _unique(node: Node, path: Path, refuse: Refuse) -> Node:
    if node.entries is not None:
        # Nothing below needs it deeper than this.
        if len(path) > 3:
            return node
        entries = {k: Entry(e.place, _unique(e.node, (*path, k), refuse)) for k, e in node.pairs()}
        return replace(node, entries=entries)
    how = _UNIQUE.get((path[0], _ANY, *path[2:])) if node.items is not None else None
    if how is None:
        return node
    found: dict[str, Node] = {}
    for number, item in enumerate(node.items or []):
        try:
            key = _key_of(item, how)
        except (ValueError, VolumeError) as error:
            refuse(item.place, f"{'.'.join(path)}: {error}")
            # Kept, so that what is right about it is still read.
            key = f"\0{number}"
        found[key] = item
    return replace(node, items=list(found.values()))


def _key_of(item: Node, how: str) -> str:
    """Return what makes an element of a list the same as another.

    Raises:
        ValueError: Compose refuses the element.
    """
    if how == "pair":
        if not isinstance(item.value, str):
            raise ValueError(_no_text(item))
        return item.value.partition("=")[0]
    if how == "path":
        if item.entries is None:
            return item.text or ""
        path = item.get("path")
        if path is None or not isinstance(path.value, str):
            raise ValueError("an element has no path")
        return path.value
    if item.entries is not None:
        target = item.get("target")
        if target is None or not isinstance(target.value, str):
            raise ValueError("a mount has no target")
        return target.value
    return parse_volume(item.value).target if isinstance(item.value, str) else ""


def _no_text(item: Node) -> str:
    if item.entries:
        key, entry = next(iter(item.entries.items()))
        value = entry.node.text or ""
        return (
            f'an element is a mapping, not key=value: put all of it in quotes, or write "{printable(key)}='
            f'{printable(value)}" (": " makes a mapping of a text without quotes)'
        )
    if item.entries is not None or item.items is not None:
        return "an element is a list or a mapping, not key=value"
    return f'an element is no text: "{printable(item.raw)}"; put it in quotes'


def same(one: Node, other: Node) -> bool:
    """Whether two nodes say the same, wherever they stand."""
    if one is other:
        return True
    if one.entries is not None and other.entries is not None:
        return one.entries.keys() == other.entries.keys() and all(
            same(entry.node, other.entries[key].node) for key, entry in one.pairs()
        )
    if one.items is not None and other.items is not None:
        return len(one.items) == len(other.items) and all(map(same, one.items, other.items))
    if (
        one.entries is not None
        or one.items is not None
        or other.entries is not None
        or other.items is not None
    ):
        return False
    return type(one.value) is type(other.value) and one.value == other.value
