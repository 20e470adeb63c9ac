"""The README's database recipes, run by real shells: a dump that fails is a failure, and costs no former dump."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sidecar.labels.policy import parse
from sidecar.plans.hooks import label_hooks
from tests.unit.test_readme import blocks

DOCKER = """#!/bin/sh
[ "$1 $2" = "exec shop-db-1" ] || exit 9
shift 2
exec "$@"
"""
TOOL = """#!/bin/sh
[ "${MYSQL_PWD-s3cret word}" = "s3cret word" ] || exit 8
case "$HOW" in
  works) echo 'CREATE TABLE t;';;
  nothing) ;;
  fails) echo 'CREATE TAB'; exit 1;;
esac
"""
DATA = {"postgres": "/var/lib/postgresql", "mariadb": "/var/lib/mysql"}
SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]


def recipes() -> dict[str, dict[str, Any]]:
    """Return the services of the README that have a command before the backup, by image."""
    services = [s for block in blocks("yaml") for s in YAML(typ="safe").load(block)["services"].values()]
    return {s["image"]: s for s in services if "backrest.snapshot-start" in s.get("labels", {})}


@pytest.fixture(params=recipes())
def recipe(request: pytest.FixtureRequest) -> dict[str, Any]:
    return recipes()[request.param]


def dump(recipe: dict[str, Any], root: Path, shell: list[str], how: str) -> int:
    """Run the hook that the recipe gives, with the volume of the dump at ``root``; return its exit code."""
    labels = {key: value.replace("$$", "$") for key, value in recipe["labels"].items()}
    (plan,) = parse(labels, container="shop-db-1").plans
    (hook,) = label_hooks(plan.start_commands, plan.end_commands, ["shop-db-1"])
    assert hook.on_error == "ON_ERROR_FATAL"
    tools = root.parent / "bin"
    tools.mkdir(exist_ok=True)
    for name, text in (("docker", DOCKER), ("pg_dumpall", TOOL), ("mariadb-dump", TOOL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    env = {"PATH": path, "HOW": how, "MARIADB_ROOT_PASSWORD": "s3cret word"}
    script = hook.command.replace("/dump/", f"{root}/")
    return subprocess.run(
        shell, input=script, text=True, env=env, capture_output=True, timeout=20, check=False
    ).returncode


def test_there_are_recipes_for_these() -> None:
    assert {image.partition(":")[0] for image in recipes()} == set(DATA)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_dump_takes_the_former_ones_place_only_when_it_is_whole(
    recipe: dict[str, Any], shell: list[str], tmp_path: Path
) -> None:
    root = tmp_path / "dump"
    root.mkdir()
    assert dump(recipe, root, shell, "works") == 0
    (file,) = root.iterdir()
    assert file.read_text() == "CREATE TABLE t;\n"
    file.write_text("the former one\n")
    for how in ("fails", "nothing"):
        assert dump(recipe, root, shell, how) != 0, how
        assert file.read_text() == "the former one\n", how
    assert dump(recipe, root, shell, "works") == 0
    assert [found.name for found in root.iterdir()] == [file.name]
    assert file.read_text() == "CREATE TABLE t;\n"


def test_the_dump_lies_in_a_volume_that_is_backed_up_and_the_live_data_does_not(
    recipe: dict[str, Any],
) -> None:
    mounts = dict(reversed(mount.split(":")) for mount in recipe["volumes"])
    include = recipe["labels"]["backrest.paths.include"]
    assert include in mounts
    assert f" >{include}/new " in recipe["labels"]["backrest.snapshot-start"]
    assert DATA[recipe["image"].partition(":")[0]] in mounts
    assert mounts[include] != mounts[DATA[recipe["image"].partition(":")[0]]]
