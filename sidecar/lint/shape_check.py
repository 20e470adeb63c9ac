"""Holds a Compose file's tree to the table of :mod:`sidecar.lint.shapes`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from sidecar.findings import printable
from sidecar.lint.findings import Place
from sidecar.lint.shapes import FILE, VERSION, Shape
from sidecar.lint.yaml_node import Node
from sidecar.lint.yaml_scalar import Timestamp

_MANY = 20
_WORDS = {"flag": "true or false", "whole": "a whole number", "number": "a number", "nothing": "empty"}


class ShapeProblem(NamedTuple):
    """Something that Compose does not take.

    Attributes:
        place: Where it stands.
        path: Keys from the root of the file.
        text: What is wrong, as a clause after the path.
    """

    place: Place
    path: tuple[str, ...]
    text: str


def shape_problems(node: Node, shape: Shape = FILE, path: tuple[str, ...] = ()) -> tuple[ShapeProblem, ...]:
    """Return what in a tree has no place there, or the wrong shape; at most twenty things.

    Args:
        node: The root of a file, or what stands at ``path``.
        shape: What it may be.
        path: Keys from the root to the node.
    """
    found = dict.fromkeys(_Checker().check(shape, node))
    return tuple(problem._replace(path=(*path, *problem.path)) for problem in found)[:_MANY]


class _Checker:
    """Holds each node to each shape once, so that a bomb of aliases stays small."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[ShapeProblem, ...]] = {}

    def check(self, shape: Shape, node: Node) -> tuple[ShapeProblem, ...]:
        key = (id(shape), id(node))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = tuple(self._problems(shape, node))
        return found

    def _problems(self, shape: Shape, node: Node) -> Iterator[ShapeProblem]:
        if "anything" in shape.plain:
            return
        if node.entries is not None and shape.mapping:
            yield from self._mapping(shape, node)
        elif node.items is not None and shape.each is not None:
            yield from self._list(shape, shape.each, node)
        elif _kind(node) not in _taken(shape):
            yield ShapeProblem(node.place, (), f"must be {_wanted(shape)}, and is {_what(node)}")
        elif shape.like and isinstance(node.value, str) and not re.fullmatch(shape.like, node.value):
            yield ShapeProblem(node.place, (), f"must match {shape.like}, and is {_what(node)}")

    def _mapping(self, shape: Shape, node: Node) -> Iterator[ShapeProblem]:
        for name in shape.needs:
            if node.get(name) is None:
                yield ShapeProblem(node.place, (), f"needs {name}")
        for name, entry in node.pairs():
            part = shape.keys.get(name)
            if part is None and (not shape.names or re.fullmatch(shape.names, name)):
                part = shape.rest
            if part is not None:
                for problem in self.check(part, entry.node):
                    yield problem._replace(path=(name, *problem.path))
            elif not (shape.own and name.startswith("x-")):
                text = f"is no key that Compose (as of {VERSION}) knows here"
                yield ShapeProblem(entry.place, (name,), text)

    def _list(self, shape: Shape, each: Shape, node: Node) -> Iterator[ShapeProblem]:
        seen: set[tuple[str, object]] = set()
        for number, item in enumerate(node.items or ()):
            for problem in self.check(each, item):
                yield problem._replace(path=(str(number), *problem.path))
            if not shape.once or item.entries is not None or item.items is not None:
                continue
            value = (_kind(item), item.value)
            if value in seen:
                text = f'stands there for the second time: "{printable(item.text or "")}"'
                yield ShapeProblem(item.place, (str(number),), text)
            seen.add(value)


def _kind(node: Node) -> str:
    """Return a word for what stands there; ``mapping``, ``list`` and ``date`` are no word of a scalar's shape."""
    value = node.value
    if node.entries is not None:
        return "mapping"
    if node.items is not None:
        return "list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, str):
        return "date" if isinstance(value, Timestamp) else "text"
    return "whole" if isinstance(value, int) or value.is_integer() else "number"


def _taken(shape: Shape) -> tuple[str, ...]:
    return (*shape.plain, "whole") if "number" in shape.plain else shape.plain


def _wanted(shape: Shape) -> str:
    words = [_WORDS.get(word, word) for word in shape.plain]
    words += ["a list"] if shape.each is not None else []
    words += ["a mapping"] if shape.mapping else []
    return " or ".join(words)


def _what(node: Node) -> str:
    kind = _kind(node)
    if kind in {"mapping", "list"}:
        return f"a {kind}"
    if kind == "nothing":
        return "empty"
    shown = f'"{printable(node.raw or node.text or "", 60)}"'
    if kind == "date":
        return f"a date ({shown}; put it in quotes)"
    return f"{shown}, {'true or false' if kind == 'flag' else 'text' if kind == 'text' else 'a number'}"
