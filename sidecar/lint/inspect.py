"""What ``docker inspect``, ``docker ps --format json`` and the engine's list give, as targets of lint.

Accepts an array of objects, or objects one after another; containers, volumes and images among each other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from sidecar.engine.model import Container, Mount
from sidecar.findings import printable
from sidecar.labels.guess import is_ours
from sidecar.labels.keep import COUNTS, WITHINS
from sidecar.lint.findings import LabelAt, Place, Target, unreadable

_BLANK = re.compile(r"[\s,]*")
_PAIR = re.compile(rf",(?!(?:{'|'.join((*COUNTS, *WITHINS))})=)(?=[A-Za-z0-9][A-Za-z0-9._/-]*=)")
"""A comma between two labels as ``docker ps`` joins them; those of a keep spec look the same."""


class _Piece(NamedTuple):
    """One object of the file and where its text begins and ends."""

    data: dict[str, Any]
    start: int
    end: int


def parse_inspect(text: str, file: str) -> list[Target]:
    """Return the containers and volumes of the file.

    Raises:
        LintError: It is no JSON, or no object in it is a container, a volume or an image.
    """
    pieces = list(_pieces(text, file))
    lines = _Lines(text, file)
    images = {
        str(piece.data.get("Id", "")): _labels(piece.data)
        for piece in pieces
        if "RepoTags" in piece.data or "RepoDigests" in piece.data
    }
    targets: list[Target] = []
    known = 0
    for piece in pieces:
        data = piece.data
        if str(data.get("Id", "")) in images and "RepoTags" in data:
            known += 1
        elif "Mountpoint" in data or data.get("Scope") == "local":
            known += 1
            name = printable(str(data.get("Name", "")))
            targets.append(Target(name, lines.place(piece.start), _labels_at(piece, lines)))
        elif any(key in data for key in ("Config", "Labels", "Names", "ID", "Id")):
            known += 1
            targets.append(_container(piece, lines, images))
    if not known and any(piece.data for piece in pieces):
        raise unreadable(Place(file), "this JSON holds no container, volume or image", "not-inspect")
    return targets


class _Lines:
    """Turns offsets into places."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self._at = 0
        self._line = 1

    def place(self, offset: int) -> Place:
        if offset < self._at:
            self._at, self._line = 0, 1
        self._line += self.text.count("\n", self._at, offset)
        self._at = offset
        return Place(self.file, self._line, offset - self.text.rfind("\n", 0, offset))


def _pieces(text: str, file: str) -> Iterator[_Piece]:
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    in_array = text.startswith("[", at)
    at = _skip(text, at + 1) if in_array else at
    while at < len(text) and not (in_array and text[at] == "]"):
        try:
            data, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            place = _Lines(text, file).place(min(error.pos, len(text)))
            raise unreadable(place, f"not JSON: {error.msg}", "not-json") from error
        except RecursionError as error:
            raise unreadable(Place(file), "nested too deeply", "not-json") from error
        if isinstance(data, dict):
            yield _Piece(data, at, end)
        at = _skip(text, end)
    if in_array and at >= len(text):
        raise unreadable(_Lines(text, file).place(len(text)), "not JSON: the array is not closed", "not-json")


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _labels(data: dict[str, Any]) -> dict[str, str]:
    config = data.get("Config")
    raw = data.get("Labels")
    if raw is None and isinstance(config, dict):
        raw = config.get("Labels")
    if isinstance(raw, dict):
        return {str(key): value if isinstance(value, str) else "" for key, value in raw.items()}
    if isinstance(raw, str):
        # `docker ps` joins labels by commas, which values may hold too; a part without = belongs to the one before.
        pairs = (pair.partition("=") for pair in _PAIR.split(raw) if pair)
        return {key: value for key, _, value in pairs}
    return {}


def _labels_at(piece: _Piece, lines: _Lines) -> dict[str, LabelAt]:
    found: dict[str, LabelAt] = {}
    at = piece.start
    for key, value in _labels(piece.data).items():
        if is_ours(key):
            hit = lines.text.find(f"{json.dumps(key)}", piece.start, piece.end)
            hit = lines.text.find(f"{key}=", piece.start, piece.end) if hit < 0 else hit
            at = hit if hit >= 0 else at
            place = lines.place(at)
        else:
            place = Place(lines.file)
        found[key] = LabelAt(value, place, place)
    return found


def _container(piece: _Piece, lines: _Lines, images: dict[str, dict[str, str]]) -> Target:
    data = piece.data
    labels = _labels_at(piece, lines)
    names = data.get("Name") or data.get("Names") or ""
    name = str(names[0] if isinstance(names, list) and names else names).split(",")[0].lstrip("/")
    mounts = data.get("Mounts")
    known = isinstance(mounts, list)
    container_id = str(data.get("Id") or data.get("ID") or name)
    image_id = str(data.get("ImageID") or data.get("Image") or "")
    container = Container(
        id=container_id,
        name=name or container_id[:12],
        labels={key: label.value for key, label in labels.items()},
        mounts=tuple(_mount(m) for m in mounts if isinstance(m, dict)) if isinstance(mounts, list) else (),
    )
    return Target(
        container.name,
        lines.place(piece.start),
        labels,
        container,
        image_labels=images.get(image_id, {}),
        all_mounts=known,
    )


def _mount(data: dict[str, Any]) -> Mount:
    return Mount(
        type=str(data.get("Type") or "volume"),
        source=str(data.get("Source") or ""),
        destination=str(data.get("Destination") or ""),
        name=str(data.get("Name") or ""),
        driver=str(data.get("Driver") or ""),
    )
