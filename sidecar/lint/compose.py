"""Compose files as Compose reads them, as far as labels and mounts go: merged, extended, included, interpolated.

Several files are one project, as ``docker compose -f a -f b`` makes them. Nothing is asked of an engine, so an
image's own labels and volumes are unknown here.

Source of the rules: compose-go v2.9.1: cli/options.go, loader/loader.go, loader/normalize.go, types/project.go.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sidecar.engine.model import COMPOSE_PROJECT, COMPOSE_SERVICE, Container, Mount
from sidecar.findings import printable
from sidecar.lint.compose_check import consistency_problems
from sidecar.lint.findings import LabelAt, Level, LintFinding, Place, Target
from sidecar.lint.interpolation import InterpolationError, interpolate
from sidecar.lint.load import Loader, Scope, absolute_path, shown
from sidecar.lint.service import Service, read_labels, read_service
from sidecar.lint.yaml_node import Node, Tree

if TYPE_CHECKING:
    from sidecar.lint.dotenv import DotenvValue

_NAME = "COMPOSE_PROJECT_NAME"
_NO_DOTENV = "COMPOSE_DISABLE_ENV_FILE"
_GO_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})


class _Volume(NamedTuple):
    place: Place
    name: str
    labels: dict[str, LabelAt]


class ComposeProject:
    """One project out of one or several files.

    Attributes:
        env: The environment; wins over ``.env``.
        findings: What is wrong with the files themselves; grows.
        complete: Whether the files are all of the project; if not, what they lack is only a note.
        name: Of the project.
        services: By key, merged.
        volumes: By key, merged.
    """

    def __init__(self, env: Mapping[str, str], findings: list[LintFinding], *, complete: bool = True) -> None:
        self.env = env
        self.findings = findings
        self.complete = complete
        self.name = ""
        self.services: dict[str, Service] = {}
        self.volumes: dict[str, _Volume] = {}

    def load(self, trees: Iterable[tuple[str, Tree]]) -> list[Target]:
        """Return what the files declare, merged in their order."""
        files = list(trees)
        loader = Loader(self.env, self.findings)
        directory = posixpath.dirname(absolute_path(files[0][0]))
        dotenv = posixpath.join(directory, ".env")
        wanted = Path(dotenv).is_file() and self.env.get(_NO_DOTENV, "") not in _GO_TRUE
        variables = loader.variables([dotenv] if wanted else [], Place(dotenv), self.env)
        self.name = self._project_name(files, directory, variables, loader)
        variables[_NAME] = self.name
        root = loader.model(files, Scope(directory, variables))
        if not root.entries:
            loader.refuse(Place(files[0][0]), "the file is empty")
        for place, text in consistency_problems(root):
            level: Level = "error" if self.complete and not loader.partial else "note"
            self.findings.append(LintFinding(place, level, "incomplete-compose", text))
        self._read_volumes(root)
        self._read_services(root, directory, loader)
        return [*map(self._target, self.services.values()), *map(_volume_target, self.volumes.values())]

    def _project_name(
        self, files: list[tuple[str, Tree]], directory: str, variables: Mapping[str, str], loader: Loader
    ) -> str:
        given = variables.get(_NAME, "")
        if given:
            if given != _normalized(given):
                text = (
                    f'{_NAME}="{printable(given)}" is no project name: lower-case letters, digits, - and _ only, '
                    "a letter or a digit first; Compose refuses it"
                )
                loader.refuse(Place(files[0][0]), text)
            return given
        named: Node | None = None
        for _, tree in files:
            for document in tree.documents:
                node = document.get("name")
                named = node if node is not None and node.text else named
        if named is None:
            name = _normalized(posixpath.basename(directory))
        else:
            try:
                name = _normalized(interpolate(named.text or "", variables).text)
            except InterpolationError:  # The loader tells it, with its place.
                name = _normalized(named.text or "")
        if not name:
            place = named.place if named is not None else Place(files[0][0])
            loader.refuse(place, "the project has no name: nothing of its directory's name can stand in one")
        return name

    def _read_volumes(self, root: Node) -> None:
        section = root.get("volumes")
        for name, entry in section.pairs() if section is not None else ():
            node = entry.node
            said, external = node.get("name"), node.get("external")
            inside = external.get("name") if external is not None else None
            explicit = next((n.text for n in (said, inside) if n is not None and n.text), "")
            outside = external is not None and (external.entries is not None or external.value is True)
            fallback = name if outside else f"{self.name}_{name}"
            self.volumes[name] = _Volume(entry.place, explicit or fallback, read_labels(node.get("labels")))

    def _read_services(self, root: Node, directory: str, loader: Loader) -> None:
        section = root.get("services")
        for name, entry in section.pairs() if section is not None else ():
            if entry.node.entries is None:
                continue
            service = read_service(
                name, entry.place, entry.node, self._volume_name, directory, self.env.get("HOME", "")
            )
            service.labels = {**self._from_files(service, loader), **service.labels}
            self.services[name] = service

    def _from_files(self, service: Service, loader: Loader) -> dict[str, LabelAt]:
        found: dict[str, LabelAt] = {}
        for place, path in service.label_files:
            if not Path(path).exists():
                text = f"the label_file {printable(path)} does not exist; Compose refuses the file"
                loader.refuse(place, text, "label-file")
                continue
            before = {key: label.value for key, label in found.items()}
            nothing: dict[str, DotenvValue] = {}
            for key, value in loader.dotenv(path, place, before, nothing).items():
                at = Place(shown(path), value.line)
                found[key] = LabelAt(value.text, at, at, value.unset)
        return found

    def _volume_name(self, name: str) -> str:
        volume = self.volumes.get(name)
        return volume.name if volume else f"{self.name}_{name}"

    def _all_mounts(self, service: Service, chain: tuple[str, ...]) -> tuple[dict[str, Mount], bool]:
        """Return the mounts, those of ``volumes_from`` included, and whether the files show all of them."""
        found: dict[str, Mount] = {}
        known = True
        for name in service.volumes_from:
            other = self.services.get(name)
            if other is None or name in chain:
                known = False
                continue
            more, all_of_them = self._all_mounts(other, (*chain, service.name))
            found |= more
            known = known and all_of_them
        return {**found, **service.mounts}, known

    def _target(self, service: Service) -> Target:
        labels = {**service.built, **service.deploy, **service.labels}
        values = {key: label.value for key, label in labels.items()}
        values |= {COMPOSE_PROJECT: self.name, COMPOSE_SERVICE: service.name}
        name = service.container_name or f"{self.name}-{service.name}-1"
        mounts, known = self._all_mounts(service, ())
        container = Container(id=name, name=name, labels=values, mounts=tuple(mounts.values()))
        return Target(
            service.name,
            service.place,
            labels,
            container,
            image_labels={key: label.value for key, label in service.built.items()},
            deploy_labels=tuple(key for key in service.deploy if key not in service.labels),
            all_mounts=known,
        )


def _volume_target(volume: _Volume) -> Target:
    return Target(volume.name, volume.place, volume.labels)


def _normalized(name: str) -> str:
    """Return the project name that Compose makes of a text (compose-go: NormalizeProjectName)."""
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")
