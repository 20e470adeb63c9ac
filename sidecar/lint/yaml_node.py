"""The nodes of a YAML tree: values that know their line and column. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sidecar.lint.findings import LintFinding, Place
from sidecar.lint.yaml_scalar import Scalar, go_text

RESET = "!reset"
OVERRIDE = "!override"


@dataclass(slots=True, eq=False, repr=False)
class Node:
    """One node. Never changed once the tree is built, for aliases share it.

    Attributes:
        place: Where it begins.
        tag: An explicit local tag such as ``!reset``, else empty.
        value: The scalar's value; None for a null and for anything that is no scalar.
        items: The sequence's elements; None for anything else.
        entries: The mapping's entries by key, merge keys resolved; None for anything else.
        quoted: Whether the scalar stands in quotes (its text begins a column later).
        raw: The scalar's text as it stands in the file, before interpolation.
        unset: Variables in it that nothing sets.
        lone: Whether a ``$`` in it begins no variable.
        value_place: Where the value begins in what was an entry of a mapping and became ``key=value``.
    """

    place: Place
    tag: str = ""
    value: Scalar = None
    items: list[Node] | None = None
    entries: dict[str, Entry] | None = None
    quoted: bool = False
    raw: str = ""
    unset: tuple[str, ...] = ()
    lone: bool = False
    value_place: Place | None = None

    @property
    def null(self) -> bool:
        """Whether it is a null."""
        return self.value is None and self.items is None and self.entries is None

    @property
    def text(self) -> str | None:
        """The scalar's text as Compose prints it; None for a null and for no scalar."""
        return None if self.value is None else go_text(self.value)

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


@dataclass(slots=True, eq=False, repr=False)
class Entry:
    """A mapping's entry: where its key stands, and its value."""

    place: Place
    node: Node


@dataclass(slots=True, eq=False, repr=False)
class Tree:
    """The documents of one file, and what is wrong with it short of being unreadable."""

    documents: list[Node]
    findings: list[LintFinding] = field(default_factory=list)
