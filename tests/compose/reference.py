"""What Docker Compose makes of files, what lint makes of them, and the record of the former.

With COMPOSE_BIN naming a Compose v2 the real one is asked; else the record in ``testdata/compose`` holds. Write it
anew, from the root of the project: COMPOSE_BIN=… python -m tests.compose.reference
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sidecar.lint.compose import ComposeProject
from sidecar.lint.findings import LintError, LintFinding, Place
from sidecar.lint.load import read_text
from sidecar.lint.yaml_tree import parse_yaml
from tests.compose.odd_files import write_odd_project

ROOT = Path(__file__).parents[2]
CASES = ROOT / "testdata" / "compose" / "cases.json"
"""Small files by the name of their case, line by line, and what lies beside each of them."""
RECORD = CASES.with_name("expected.json")
ODD = 300
"""Made-up projects that are compared."""
HOME = "/home/somebody"
REFUSED: dict[str, Any] = {"refused": True}
OTHERS = (
    ("compose.yaml",),
    ("compose.yaml", "testdata/compose.socket-proxy.yaml"),
    ("stack.yaml",),
    ("testdata/compose.dry-run.yaml",),
    ("testdata/lint/stack/compose.yaml",),
    ("testdata/lint/stack/compose.yaml", "testdata/lint/stack/override.yaml"),
    ("testdata/lint/wrong/compose.yaml",),
)


def cases() -> list[str]:
    """Return the name of each case; of files of the project, those below its root."""
    return [*map(" ".join, OTHERS), *_told()["cases"]]


def _told() -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = json.loads(CASES.read_text())
    return told


def write_case(name: str, above: Path) -> tuple[list[str], dict[str, str], Path]:
    """Return the files of a case, the environment, and the directory to read them in.

    Args:
        name: One of :func:`cases`.
        above: A directory to write the case into. It is made below, with the name of the case.
    """
    for files in OTHERS:
        if " ".join(files) == name:
            # The name of the root must not count.
            return list(files), {"COMPOSE_PROJECT_NAME": "named"}, ROOT
    told = _told()
    directory = above.resolve() / name
    for file, lines in {**told["beside"], **told["cases"][name]}.items():
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return [file for file in ("compose.yaml", "override.yaml") if (directory / file).exists()], {}, directory


def case_by_compose(binary: str, name: str, above: Path) -> dict[str, Any]:
    """Return what Compose makes of a case."""
    files, env, directory = write_case(name, above)
    return by_compose(binary, files, env, directory)


def case_by_lint(name: str, above: Path) -> dict[str, Any]:
    """Return what lint makes of a case."""
    return by_lint(*write_case(name, above))


def by_compose(binary: str, files: Sequence[str], env: Mapping[str, str], directory: Path) -> dict[str, Any]:
    """Return what Compose makes of files; ``REFUSED`` when it refuses them."""
    args = [part for file in files for part in ("-f", file)]
    run = subprocess.run(
        [binary, *args, "--profile", "*", "config", "--format", "json"],
        capture_output=True,
        text=True,
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": HOME, "DOCKER_CONFIG": "/nowhere", **env},
        check=False,
    )
    if run.returncode:
        return REFUSED
    told = json.loads(run.stdout)
    volumes = told.get("volumes") or {}
    names = {key: volume["name"] for key, volume in volumes.items()}
    reading = {
        "name": told["name"],
        "services": {
            name: {
                "labels": _plain(service.get("labels")),
                "deploy": _plain((service.get("deploy") or {}).get("labels")),
                "mounts": _mounts(service, names),
            }
            for name, service in (told.get("services") or {}).items()
        },
        # Compose leaves out volumes that no service uses.
        "volumes": {volume["name"]: _plain(volume.get("labels")) for volume in volumes.values()},
    }
    return _anywhere(reading, directory)


def _plain(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return labels without what `config` adds: it doubles each $, and tells of x- keys that it dropped."""
    pairs = (labels or {}).items()
    return {key.replace("$$", "$"): value.replace("$$", "$") for key, value in pairs if key != "#extensions"}


def _mounts(service: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, list[str]]:
    found = {}
    for mount in service.get("volumes") or []:
        source = mount.get("source", "")
        if mount["type"] == "volume":
            source = names.get(source, source) or "(anonymous)"
        found[mount["target"]] = [mount["type"], source.replace("$$", "$")]
    for mount in service.get("tmpfs") or []:
        found[mount.partition(":")[0]] = ["tmpfs", ""]
    return found


def _anywhere(reading: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Return a reading in which no source of a mount has a name of this machine."""
    text = json.dumps(reading, sort_keys=True)
    for known, word in ((directory, "DIRECTORY"), (directory.parent, "ABOVE")):
        for end in ("/", '"'):
            text = text.replace(f'["bind", "{known}{end}', f'["bind", "{word}{end}')
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def by_lint(files: Sequence[str], env: Mapping[str, str], directory: Path) -> dict[str, Any]:
    """Return what lint makes of files; ``REFUSED`` when it says that Compose refuses them."""
    findings: list[LintFinding] = []
    whole = {"HOME": HOME, **env}
    before = Path.cwd()
    os.chdir(directory)
    try:
        trees = [(file, parse_yaml(read_text(Path(file), Place(file)), file)) for file in files]
        project = ComposeProject(whole, findings)
        project.load(trees)
    except LintError:
        return REFUSED
    finally:
        os.chdir(before)
    if any(finding.level == "error" for finding in findings):
        return REFUSED
    used = {m.name for service in project.services.values() for m in service.mounts.values()}
    reading = {
        "name": project.name,
        "services": {
            name: {
                "labels": {key: label.value for key, label in service.labels.items()},
                "deploy": {key: label.value for key, label in service.deploy.items()},
                "mounts": {
                    target: [mount.type, mount.name if mount.type == "volume" else mount.source]
                    for target, mount in service.mounts.items()
                },
            }
            for name, service in project.services.items()
        },
        "volumes": {
            volume.name: {key: label.value for key, label in volume.labels.items()}
            for volume in project.volumes.values()
            if volume.name in used
        },
    }
    return _anywhere(reading, directory)


def digest(reading: Mapping[str, Any]) -> str:
    """Return a short word for a reading; ``refused`` for that."""
    if reading == REFUSED:
        return "refused"
    return hashlib.sha256(json.dumps(reading, sort_keys=True).encode()).hexdigest()[:16]


def odd_project(seed: int, directory: Path) -> tuple[list[str], dict[str, str]]:
    """Write a made-up project into a directory; return its files and its environment."""
    place = directory / f"odd{seed}"
    return write_odd_project(seed, place)


def odd_by_compose(binary: str, seed: int, directory: Path) -> dict[str, Any]:
    """Return what Compose makes of a made-up project."""
    files, env = odd_project(seed, directory)
    return by_compose(binary, files, env, directory / f"odd{seed}")


def odd_by_lint(seed: int, directory: Path) -> dict[str, Any]:
    """Return what lint makes of a made-up project."""
    files, env = odd_project(seed, directory)
    return by_lint(files, env, directory / f"odd{seed}")


def record(binary: str) -> dict[str, Any]:
    """Return what a Compose says of all that is compared."""
    version = subprocess.run([binary, "version", "--short"], capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory() as directory:
        above = Path(directory).resolve()
        return {
            "compose": version.stdout.strip(),
            "cases": {name: case_by_compose(binary, name, above) for name in cases()},
            "odd": [digest(odd_by_compose(binary, seed, above)) for seed in range(ODD)],
        }


if __name__ == "__main__":
    RECORD.write_text(json.dumps(record(os.environ["COMPOSE_BIN"]), indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"{RECORD} is written\n")
