"""A YAML file as a tree in which everything knows its line and column, and scalars mean what Compose takes them for.

Built from ruamel's events, since what Compose does with a file (interpolation, ``extends``, ``!reset``) needs tags
and places. Aliases share their node; merge keys are resolved here.

Source of the rules: go-yaml v3: decode.go; compose-go: loader/reset.go, loader/loader.go.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

from sidecar.findings import printable
from sidecar.lint.findings import LintFinding, Place, unreadable
from sidecar.lint.yaml_node import Entry, Node, Tree
from sidecar.lint.yaml_scalar import ScalarError, read_scalar

LARGEST = 2 << 20
"""Bytes of a YAML file that are worth reading; the parser is slow on purpose-made monsters."""
_MERGE = "<<"
_SURROGATE = re.compile("[\ud800-\udfff]")
_STANDARD = "tag:yaml.org,2002:"


def parse_yaml(text: str, file: str) -> Tree:
    """Return the tree of a YAML text.

    Raises:
        LintError: It is no YAML, refers to itself, or is too large or too deep.
    """
    if len(text) > LARGEST:
        raise unreadable(Place(file), f"the file is larger than {LARGEST >> 20} MiB and is not read")
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError

    from sidecar.lint.yaml_scanner import GoScanner

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            yaml = YAML(typ="safe", pure=True)
            yaml.Scanner = GoScanner
            builder = _Builder(file, yaml.parse(text))
            return Tree(builder.documents(), builder.findings)
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
    """Turns ruamel's events into nodes, each anchored one once, so that a bomb of aliases stays small."""

    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self.file = file
        self.events = events
        self.findings: list[LintFinding] = []
        self._anchors: dict[str, Node | None] = {}

    def documents(self) -> list[Node]:
        """Return the roots.

        Raises:
            LintError: An alias stands in what it refers to, or refers to nothing.
        """
        found = []
        for event in self.events:
            if type(event).__name__ == "DocumentStartEvent":
                self._anchors = {}
                found.append(self._node(next(self.events)))
        return found

    def _place(self, event: Any) -> Place:
        return Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _fault(self, place: Place, text: str, code: str = "invalid-compose") -> None:
        self.findings.append(LintFinding(place, "error", code, f"{text}; Compose refuses the file"))

    def _node(self, event: Any) -> Node:
        kind = type(event).__name__
        place = self._place(event)
        if kind == "AliasEvent":
            known = self._anchors.get(event.anchor)
            if known is not None:
                return known
            inside = event.anchor in self._anchors
            text = "an alias refers to the node that it stands in" if inside else "an alias refers to nothing"
            raise unreadable(place, text, "not-yaml")
        tag = str(event.tag or "").replace(_STANDARD, "")
        tag = "" if tag == "!" else tag
        node = Node(place, tag if tag.startswith("!") else "")
        if event.anchor:
            self._anchors[event.anchor] = None
        if kind == "MappingStartEvent":
            node.entries = self._mapping()
        elif kind == "SequenceStartEvent":
            node.items = []
            while type(inner := next(self.events)).__name__ != "SequenceEndEvent":
                node.items.append(self._node(inner))
        else:
            node.raw = str(event.value)
            node.quoted = event.style in {"'", '"'}
            if node.quoted and not node.raw.isprintable() and _SURROGATE.search(node.raw):
                self._fault(place, "an escape stands for half a character")
                node.raw = _SURROGATE.sub("\ufffd", node.raw)
            try:
                node.value = read_scalar(node.raw, tag, quoted=event.style is not None)
            except ScalarError as error:
                self._fault(place, printable(str(error)))
                node.value = node.raw
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _mapping(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        seen: dict[str, int] = {}
        merged: list[Node] = []
        while type(event := next(self.events)).__name__ != "MappingEndEvent":
            key = self._node(event)
            node = self._node(next(self.events))
            name = key.raw
            if name in seen:
                text = (
                    f'the key "{printable(name)}" stands here for the second time, first in line {seen[name]}'
                )
                self._fault(key.place, text, "duplicate-key")
            seen.setdefault(name, key.place.line)
            if name == _MERGE and not key.quoted:
                merged += self._merged(node)
                continue
            if not isinstance(key.value, str) or type(key.value) is not str:
                self._fault(key.place, f'the key "{printable(name)}" is no text: write it in quotes')
            entries[name] = Entry(key.place, node)
        for source in merged:
            for name, entry in source.pairs():
                entries.setdefault(name, entry)
        return entries

    def _merged(self, node: Node) -> list[Node]:
        """Return the mappings that a merge key takes over, the strongest first."""
        found = node.items if node.items is not None else [node]
        for item in found:
            if item.entries is None:
                self._fault(item.place, "a merge key (<<) takes a mapping, or a list of mappings")
        return found
