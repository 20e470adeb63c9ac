"""A YAML file as a tree in which everything knows its line and column.

Built from ruamel's node graph, since what Compose does with a file (interpolation, ``extends``, ``!reset``) is
done on text and tags, not on Python values. Aliases share their node; merge keys are resolved here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sidecar.lint_model import LintFinding, Place, unreadable
from sidecar.model import printable

LARGEST = 2 << 20
"""Bytes of a YAML file that are worth reading; the parser is slow on purpose-made monsters."""
_MERGE = "<<"


@dataclass(slots=True)
class Node:
    """One node.

    Attributes:
        place: Where it begins.
        tag: An explicit local tag such as ``!reset``, else empty.
        text: The scalar's text; None for a null and for anything that is no scalar.
        items: The sequence's elements; None for anything else.
        entries: The mapping's entries by key, merge keys resolved; None for anything else.
        quoted: Whether the scalar stands in quotes (its text begins a column later).
    """

    place: Place
    tag: str = ""
    text: str | None = None
    items: list[Node] | None = None
    entries: dict[str, Entry] | None = None
    quoted: bool = False

    def get(self, *path: str) -> Node | None:
        """Return the node below, key by key, or None where one is missing."""
        node: Node | None = self
        for key in path:
            entry = node.entries.get(key) if node is not None and node.entries is not None else None
            node = entry.node if entry is not None else None
        return node

    def pairs(self) -> Iterator[tuple[str, Entry]]:
        """Yield a mapping's entries; nothing for anything else."""
        yield from (self.entries or {}).items()


@dataclass(slots=True)
class Entry:
    """A mapping's entry: where its key stands, and its value."""

    place: Place
    node: Node


@dataclass(slots=True)
class Tree:
    """The documents of one file, and what is wrong with it short of being unreadable."""

    documents: list[Node]
    findings: list[LintFinding] = field(default_factory=list)


def parse_yaml(text: str, file: str) -> Tree:
    """Return the tree of a YAML text.

    Raises:
        LintError: It is no YAML, refers to itself, or is too large or too deep.
    """
    if len(text) > LARGEST:
        raise unreadable(Place(file), f"the file is larger than {LARGEST >> 20} MiB and is not read")
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            roots = [node for node in YAML(typ="safe", pure=True).compose_all(text) if node is not None]
        builder = _Builder(file)
        return Tree([builder.build(root) for root in roots], builder.findings)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark is not None else Place(file)
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise unreadable(place, f"not YAML: {printable(said, 300)}", "not-yaml") from error
    except YAMLError as error:
        raise unreadable(Place(file), f"not YAML: {printable(str(error), 300)}", "not-yaml") from error
    except RecursionError as error:
        raise unreadable(Place(file), "nested too deeply", "not-yaml") from error


class _Builder:
    """Turns ruamel's nodes into ours, each once, so that a bomb of aliases stays as small as its text."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.findings: list[LintFinding] = []
        self._done: dict[int, Node] = {}
        self._open: set[int] = set()

    def build(self, raw: Any) -> Node:
        """Return our node for ruamel's.

        Raises:
            LintError: It contains itself.
        """
        known = self._done.get(id(raw))
        if known is not None:
            return known
        place = Place(self.file, raw.start_mark.line + 1, raw.start_mark.column + 1)
        if id(raw) in self._open:
            raise unreadable(place, "an alias refers to the node that it stands in", "not-yaml")
        self._open.add(id(raw))
        tag = str(raw.tag or "")
        node = Node(place, tag if tag.startswith("!") and len(tag) > 1 else "")
        if raw.id == "mapping":
            node.entries = self._mapping(raw.value)
        elif raw.id == "sequence":
            node.items = [self.build(item) for item in raw.value]
        else:
            node.quoted = raw.style in {"'", '"'}
            null = raw.style is None and raw.value in {"", "~", "null", "Null", "NULL"}
            node.text = None if null else str(raw.value)
        self._open.discard(id(raw))
        self._done[id(raw)] = node
        return node

    def _mapping(self, pairs: list[tuple[Any, Any]]) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        for raw_key, raw_value in pairs:
            key = self.build(raw_key)
            node = self.build(raw_value)
            name = key.text
            if name is None:
                name = "" if key.items is None and key.entries is None else "?"
            if name == _MERGE and not key.quoted:
                merged += node.items if node.items is not None else [node]
                continue
            if name in entries:
                text = (
                    f'the key "{printable(name)}" stands here for the second time, first in line '
                    f"{entries[name].place.line}; Compose refuses the file"
                )
                self.findings.append(LintFinding(key.place, "error", "duplicate-key", text))
            entries[name] = Entry(key.place, node)
        for source in merged:
            for name, entry in source.pairs():
                entries.setdefault(name, entry)
        return entries
