"""The files of one project made into one tree, as Compose does it: ``extends``, ``include``, merging, in this order.

What Compose refuses becomes a finding, and reading goes on with what can still be made of the files.

Source of the rules: compose-go: loader/loader.go, loader/extends.go, loader/include.go.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.findings import printable
from sidecar.lint import merge
from sidecar.lint.findings import LintError, LintFinding, Place, unreadable
from sidecar.lint.service import texts
from sidecar.lint.shape_check import shape_problems
from sidecar.lint.shapes import EXTENDS, FILE, Shape
from sidecar.lint.tree import (
    Interpolator,
    long_forms,
    refused_bind,
    with_entry,
    with_paths,
    without_paths,
    without_tags,
)
from sidecar.lint.volume import absolute
from sidecar.lint.yaml_node import Entry, Node, Tree
from sidecar.lint.yaml_tree import parse_yaml

if TYPE_CHECKING:
    from sidecar.lint.dotenv import DotenvValue

_REMOTE = r"(?:oci|git|ssh)://|git@|github\.com/|[\w.-]+@[\w.-]+:|https?://[^?#]*\.git(?:[?#]|$)"
_IMPORTED = ("services", "volumes", "networks", "secrets", "configs", "models")
_DEEPEST = 50


def read_text(path: Path, place: Place) -> str:
    """Return a file's text.

    Raises:
        LintError: It cannot be read, is too large or is not UTF-8; stands at ``place``.
    """
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise unreadable(place, f"{printable(str(path))} cannot be read: {said}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise unreadable(place, f"{printable(str(path))} is not UTF-8") from error


def absolute_path(path: str) -> str:
    """Return a path from the root, symbolic links left as they are."""
    return posixpath.normpath(Path(path).absolute())


def shown(path: str) -> str:
    """Return a path as people would write it: below the working directory without that."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") and path.startswith("/") else relative


class Scope:
    """Where relative paths of a file are below, and what its variables mean.

    Attributes:
        directory: Absolute.
        variables: By name.
        files: Files that are being read, from the outermost in; one that includes one of them is a circle.
    """

    __slots__ = ("directory", "files", "variables")

    def __init__(self, directory: str, variables: Mapping[str, str], files: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.variables = variables
        self.files = files


class Loader:
    """Reads files into one tree.

    Attributes:
        env: The environment; ``HOME`` is what ``~`` means.
        findings: Grows.
        partial: Whether something is left out that lies elsewhere (a remote include).
    """

    def __init__(self, env: Mapping[str, str], findings: list[LintFinding]) -> None:
        self.env = env
        self.findings = findings
        self.partial = False
        self._trees: dict[str, Tree] = {}

    def refuse(self, place: Place, text: str, code: str = "invalid-compose") -> None:
        """Note what Compose refuses."""
        finding = LintFinding(place, "error", code, text)
        if finding not in self.findings:
            self.findings.append(finding)

    def dotenv(
        self, path: str, place: Place, environ: Mapping[str, str], before: Mapping[str, DotenvValue]
    ) -> dict[str, DotenvValue]:
        """Return the variables of a file, and those from before. What is wrong with it becomes a finding."""
        from sidecar.lint.dotenv import DotenvError, parse_dotenv

        try:
            return parse_dotenv(read_text(Path(path), place), environ, before)
        except LintError as error:
            self.refuse(error.finding.place, error.finding.message, error.finding.code)
            return dict(before)
        except DotenvError as error:
            text = f"{printable(str(error), 300)}; Compose refuses the file"
            self.refuse(Place(shown(path), error.line), text, "dotenv")
            return error.read

    def variables(self, files: Sequence[str], place: Place, environ: Mapping[str, str]) -> dict[str, str]:
        """Return what variables mean with these env files; the environment wins."""
        found: dict[str, DotenvValue] = {}
        for file in files:
            found = self.dotenv(file, place, environ, found)
        return {**{name: value.text for name, value in found.items()}, **environ}

    def model(self, files: Sequence[tuple[str, Tree]], scope: Scope) -> Node:
        """Return the files merged in their order, in long forms, with absolute paths."""
        root = Node(Place(files[0][0] if files else ""), entries={})
        for file, tree in files:
            self._trees.setdefault(absolute_path(file), tree)
            for finding in tree.findings:
                self.refuse(finding.place, finding.message, finding.code)
            for document in tree.documents:
                root = self._document(root, document, file, scope)
        services = root.get("services")
        for name, entry in services.pairs() if services is not None else ():
            place = refused_bind(entry.node)
            if place is not None:
                self.refuse(place, f"service {printable(name)} has a bind mount without a source")
        return with_paths(root, scope.directory, self.env.get("HOME", ""))

    def _document(self, root: Node, document: Node, file: str, scope: Scope) -> Node:
        if document.entries is None:
            self.refuse(document.place, "a Compose file is a mapping with services in it")
            return root
        resets: set[tuple[str, ...]] = set()
        node = without_tags(document, resets)
        node = Interpolator(scope.variables, self._refuse_value).run(node)
        node = self._extended(node, file, scope, resets)
        root = without_paths(root, resets)
        node = self._included(node, file, scope)
        root = merge.merge(root, node, self.refuse)
        root = merge.without_doubles(root, self.refuse)
        self._hold(root, FILE)
        root = with_entry(root, "version", None)
        return merge.without_doubles(long_forms(root), self.refuse)

    def _hold(self, node: Node, shape: Shape, *path: str) -> bool:
        """Refuse what is not of its shape; return whether there is anything."""
        problems = shape_problems(node, shape, path)
        for problem in problems:
            self.refuse(problem.place, f"{printable('.'.join(problem.path), 300)} {problem.text}".strip())
        return bool(problems)

    def _refuse_value(self, place: Place, text: str) -> None:
        self.refuse(place, text, "interpolation")

    # --- extends -------------------------------------------------------------------------------------------

    def _extended(self, root: Node, file: str, scope: Scope, resets: set[tuple[str, ...]]) -> Node:
        section = (root.entries or {}).get("services")
        if section is None or section.node.entries is None:
            if section is not None:
                self.refuse(section.place, "services must be a mapping")
            return root
        services = dict(section.node.entries)
        for name in list(services):
            node = self._service(name, services, file, scope, resets, ())
            services[name] = replace(services[name], node=node)
        return with_entry(root, "services", replace(section, node=replace(section.node, entries=services)))

    def _service(
        self,
        name: str,
        services: dict[str, Entry],
        file: str,
        scope: Scope,
        resets: set[tuple[str, ...]],
        chain: tuple[tuple[str, str], ...],
    ) -> Node:
        """Return a service over what it extends."""
        service = services[name].node
        extends = service.get("extends")
        if extends is None:
            return service
        whole = with_entry(service, "extends", None)
        if self._hold(extends, EXTENDS, "services", name, "extends"):
            return whole
        wanted = (extends.text if extends.entries is None else _text(extends.get("service"))) or ""
        other = _text(extends.get("file")) if extends.entries is not None else ""
        base_file = absolute(other, scope.directory, self.env.get("HOME", "")) if other else file
        link = (base_file, name)
        if link in chain or len(chain) > _DEEPEST:
            self.refuse(extends.place, f"service {printable(name)} extends itself", "extends")
            return whole
        base_resets = resets
        base_services = services
        if other:
            if _is_remote(other):
                self._remote(extends.place, other)
                return whole
            base_resets = set()
            try:
                base_services = self._base(base_file, extends.place, scope, base_resets)
            except LintError as error:
                self.refuse(error.finding.place, error.finding.message, error.finding.code)
                return whole
        if wanted not in base_services:
            where = f" in {printable(shown(base_file))}" if other else ""
            text = f"service {printable(name)} extends {printable(wanted)}, which does not exist{where}"
            self.refuse(extends.place, text, "extends")
            return whole
        base = self._service(wanted, base_services, file, scope, base_resets, (*chain, link))
        if base.null:
            return whole
        base = without_paths(base, [path[2:] for path in resets if path[:2] == ("services", name)])
        return with_entry(merge.merge(base, service, self.refuse, ("services", "x")), "extends", None)

    def _base(self, file: str, place: Place, scope: Scope, resets: set[tuple[str, ...]]) -> dict[str, Entry]:
        """Return the services of a file that one is extended from.

        Raises:
            LintError: The file cannot be read.
        """
        root = Node(place, entries={})
        for document in self._tree(file, place).documents:
            node = Interpolator(scope.variables, self._refuse_value).run(without_tags(document, resets))
            root = merge.merge(without_paths(root, resets), node, self.refuse)
            root = merge.without_doubles(root, self.refuse)
        root = with_paths(long_forms(root), posixpath.dirname(file), self.env.get("HOME", ""))
        services = root.get("services")
        if services is None or services.entries is None:
            raise unreadable(place, f"{printable(shown(file))} has no services to extend", "extends")
        return dict(services.entries)

    def _tree(self, file: str, place: Place) -> Tree:
        tree = self._trees.get(file)
        if tree is None:
            text = read_text(Path(file), place._replace(file=place.file))
            tree = self._trees[file] = parse_yaml(text, shown(file))
            for finding in tree.findings:
                self.refuse(finding.place, finding.message, finding.code)
        return tree

    def _remote(self, place: Place, path: str) -> None:
        self.partial = True
        text = f"{printable(path, 200)} lies elsewhere and is not read here: what it says of labels is not checked"
        finding = LintFinding(place, "note", "remote-file", text)
        if finding not in self.findings:
            self.findings.append(finding)

    # --- include -------------------------------------------------------------------------------------------

    def _included(self, root: Node, file: str, scope: Scope) -> Node:
        """Return a file's tree with what it includes."""
        include = root.get("include")
        if include is None:
            return root
        own = with_entry(root, "include", None)
        if not include.null:
            self._hold(include, FILE.keys["include"], "include")
        for item in include.items or []:
            own = self._imported(own, item, file, scope)
        return own

    def _imported(self, root: Node, item: Node, file: str, scope: Scope) -> Node:
        listed = item.get("path") if item.entries is not None else item
        paths = texts(listed)
        found: list[tuple[str, Tree]] = []
        here = (*scope.files, absolute_path(file))
        for number, path in enumerate(paths):
            if _is_remote(path):
                self._remote(item.place, path)
                return root
            full = path if path.startswith("/") else posixpath.join(scope.directory, path)
            full = posixpath.normpath(full)
            if not number and full in here:
                self.refuse(item.place, f"{printable(shown(full))} includes itself", "include")
                return root
            try:
                found.append((shown(full), self._tree(full, item.place)))
            except LintError as error:
                self.refuse(error.finding.place, error.finding.message, error.finding.code)
                return root
        directory = _text(item.get("project_directory"))
        if directory or not found:
            directory = posixpath.join(scope.directory, directory)
        else:
            directory = posixpath.dirname(absolute_path(found[0][0]))
        directory = posixpath.normpath(directory)
        files = [posixpath.join(scope.directory, name) for name in texts(item.get("env_file"))]
        default = posixpath.join(directory, ".env")
        if not files and Path(default).is_file():
            files = [default]
        variables = self.variables(files, item.place, scope.variables)
        if not found or len(here) > _DEEPEST:
            return root
        part = self.model(found, Scope(directory, variables, here))
        return self._united(root, part)

    def _united(self, root: Node, part: Node) -> Node:
        """Return a tree with what another declares; Compose refuses two that are not the same under one name."""
        entries = dict(root.entries or {})
        for section in _IMPORTED:
            taken = (part.entries or {}).get(section)
            if taken is None or taken.node.entries is None:
                continue
            own = entries.get(section)
            if own is None or own.node.entries is None:
                entries[section] = taken
                continue
            both = dict(own.node.entries)
            for name, entry in taken.node.pairs():
                if name in both and not merge.same(both[name].node, entry.node):
                    text = f"{section}.{printable(name)} stands here and in what is included, in another form"
                    self.refuse(both[name].place, text, "include")
                both.setdefault(name, entry)
            entries[section] = replace(own, node=replace(own.node, entries=both))
        return replace(root, entries=entries)


def _is_remote(path: str) -> bool:
    return re.match(_REMOTE, path, re.ASCII) is not None


def _text(node: Node | None) -> str:
    return (node.text or "") if node is not None else ""
