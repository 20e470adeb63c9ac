"""Compose files as Compose reads them, as far as labels and mounts go: merged, extended, included, interpolated.

Several files are one project, as ``docker compose -f a -f b`` makes them. Nothing is asked of an engine, so an
image's own labels and volumes are unknown here.

Source of the rules: compose-spec: spec.md, 05-services.md ("extends"), 13-merge.md, 14-include.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from sidecar.compose_service import Reader, Service
from sidecar.compose_variables import parse_dotenv
from sidecar.lint_model import LabelAt, LintError, LintFinding, Place, Target, unreadable
from sidecar.model import COMPOSE_PROJECT, COMPOSE_SERVICE, Container, Mount, printable
from sidecar.yaml_tree import Node, Tree, parse_yaml

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


class _Volume(NamedTuple):
    place: Place
    name: str
    labels: dict[str, LabelAt]


class ComposeProject:
    """One project out of one or several files.

    Attributes:
        env: The environment; wins over ``.env``.
        findings: What is wrong with the files themselves; grows.
        name: Of the project.
        services: By key, merged.
        volumes: By key, merged.
        trees: Files that were read, by real path.
        included: Files that belong to the project.
    """

    def __init__(
        self, env: Mapping[str, str], findings: list[LintFinding], parent: ComposeProject | None = None
    ) -> None:
        self.env = env
        self.findings = findings
        self.name: str = parent.name if parent else ""
        self.services: dict[str, Service] = {}
        self.volumes: dict[str, _Volume] = {}
        self.trees: dict[Path, Tree] = parent.trees if parent else {}
        self.included: set[Path] = parent.included if parent else set()

    def load(self, trees: Iterable[tuple[str, Tree]]) -> list[Target]:
        """Return what the files declare, merged in their order."""
        files = list(trees)
        first = Path(files[0][0])
        reader = Reader(self._variables(first.parent), self.findings)
        self.name = self.env.get("COMPOSE_PROJECT_NAME", "")
        for _, tree in () if self.name else files:
            for document in tree.documents:
                self.name = reader.text(document.get("name")) or self.name
        self.name = self.name or _project_name(first)
        for file, tree in files:
            self.trees[Path(file).resolve()] = tree
            self.included.add(Path(file).resolve())
            self.findings += tree.findings
        self._merge(files, reader)
        self._take_volumes_from()
        return [*map(self._target, self.services.values()), *map(_volume_target, self.volumes.values())]

    def _variables(self, directory: Path) -> Mapping[str, str]:
        try:
            text = read_text(directory / ".env", Place(str(directory / ".env")))
        except LintError:
            return self.env
        return {**parse_dotenv(text, self.env), **self.env}

    def _merge(self, files: list[tuple[str, Tree]], reader: Reader) -> None:
        for file, tree in files:
            for document in tree.documents:
                if document.entries is None:
                    text = "a Compose file is a mapping with services in it"
                    reader.fault(document.place, "invalid-compose", text)
                    continue
                self._include(document, file, reader)
                self._document(document, file, reader)

    def _document(self, document: Node, file: str, reader: Reader) -> None:
        volumes = document.get("volumes")
        for name, entry in volumes.pairs() if volumes is not None else ():
            own = reader.labels(entry.node.get("labels"), f"volume {printable(name)}")
            before = self.volumes.get(name)
            explicit = reader.text(entry.node.get("name"))
            external = reader.text(entry.node.get("external")).lower() == "true"
            fallback = before.name if before else name if external else f"{self.name}_{name}"
            labels = {**before.labels, **own} if before else own
            self.volumes[name] = _Volume(entry.place, explicit or fallback, labels)
        services = document.get("services")
        for name, entry in services.pairs() if services is not None else ():
            if entry.node.entries is None:
                if entry.node.tag == "!reset":
                    self.services.pop(name, None)
                elif entry.node.text is not None or entry.node.items is not None:
                    text = f"service {printable(name)} is no mapping"
                    reader.fault(entry.place, "invalid-compose", text)
                continue
            service = self._extended(name, entry.place, entry.node, file, reader, ())
            below = self.services.get(name)
            self.services[name] = service.over(below) if below else service

    def _extended(
        self,
        name: str,
        place: Place,
        node: Node,
        file: str,
        reader: Reader,
        chain: tuple[tuple[str, str], ...],
    ) -> Service:
        """Return a service over what it extends."""
        service = reader.service(name, place, node, self._volume_name)
        extends = node.get("extends")
        if extends is None:
            return service
        wanted = reader.text(extends if extends.entries is None else extends.get("service"))
        other = reader.text(extends.get("file")) if extends.entries is not None else ""
        base_file = str(Path(file).parent / other) if other else file
        link = (str(Path(base_file).resolve()), wanted)
        here = (str(Path(file).resolve()), name)
        if link in (*chain, here) or len(chain) > _DEEPEST:
            reader.fault(extends.place, "extends", f"service {printable(name)} extends itself")
            return service
        try:
            tree = self._tree(base_file, extends.place)
        except LintError as error:
            self.findings.append(error.finding)
            return service
        for document in tree.documents:
            services = document.get("services")
            entry = (services.entries or {}).get(wanted) if services is not None else None
            if entry is not None:
                base = self._extended(wanted, entry.place, entry.node, base_file, reader, (*chain, here))
                return service.over(base)
        where = f" in {printable(base_file)}" if other else ""
        text = f"service {printable(name)} extends {printable(wanted)}, which does not exist{where}"
        reader.fault(extends.place, "extends", text)
        return service

    def _tree(self, file: str, place: Place) -> Tree:
        key = Path(file).resolve()
        tree = self.trees.get(key)
        if tree is None:
            text = read_text(Path(file), place)
            tree = self.trees[key] = parse_yaml(text, file)
        return tree

    def _include(self, document: Node, file: str, reader: Reader) -> None:
        """Take over what included files declare and this project does not."""
        include = document.get("include")
        for item in (include.items or []) if include is not None else []:
            paths = reader.texts(item.get("path") if item.entries is not None else item)
            try:
                files = [
                    (str(Path(file).parent / path), self._tree(str(Path(file).parent / path), item.place))
                    for path in paths
                ]
            except LintError as error:
                self.findings.append(error.finding)
                continue
            # Each file once: two that include one another are an error of Compose's, and no endless loop of ours.
            files = [pair for pair in files if Path(pair[0]).resolve() not in self.included]
            self.included.update(Path(path).resolve() for path, _ in files)
            part = ComposeProject(self.env, self.findings, self)
            directory = Path(files[0][0]).parent if files else Path(file).parent
            variables = {**part._variables(directory), **reader.variables}
            part._merge(files, Reader(variables, self.findings))
            self.services = {**part.services, **self.services}
            self.volumes = {**part.volumes, **self.volumes}

    def _volume_name(self, name: str) -> str:
        volume = self.volumes.get(name)
        return volume.name if volume else f"{self.name}_{name}"

    def _take_volumes_from(self) -> None:
        for service in self.services.values():
            for name in service.volumes_from:
                other = self.services.get(name)
                service.mounts = {**(other.mounts if other else {}), **service.mounts}

    def _target(self, service: Service) -> Target:
        labels = {**service.built, **service.deploy, **service.labels}
        values = {key: label.value for key, label in labels.items()}
        values |= {COMPOSE_PROJECT: self.name, COMPOSE_SERVICE: service.name}
        name = service.container_name or f"{self.name}-{service.name}-1"
        mounts: tuple[Mount, ...] = tuple(service.mounts.values())
        container = Container(id=name, name=name, labels=values, mounts=mounts)
        return Target(
            service.name,
            service.place,
            labels,
            container,
            image_labels={key: label.value for key, label in service.built.items()},
            deploy_labels=tuple(key for key in service.deploy if key not in service.labels),
            all_mounts="" not in service.volumes_from,
        )


def _volume_target(volume: _Volume) -> Target:
    return Target(volume.name, volume.place, volume.labels)


def _project_name(first: Path) -> str:
    """Return the project name that Compose makes of a directory (compose-go: loader/loader.go)."""
    lowered = first.resolve().parent.name.lower()
    return re.sub(r"[^a-z0-9_-]", "", lowered).lstrip("_-") or "default"
