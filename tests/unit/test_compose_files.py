"""The stacks we ship: valid by the Compose specification, least privilege, and spelled with flags that exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from sidecar.settings.flags import flags_for
from tests.proxy_table import proxy_rows

ROOT = Path(__file__).parents[2]
COMPOSE = "compose.yaml"
PROXY = "testdata/compose.socket-proxy.yaml"
DRY_RUN = "testdata/compose.dry-run.yaml"
STACK = "stack.yaml"
FILES = (COMPOSE, PROXY, DRY_RUN, STACK)
SCHEMA = Path("/usr/lib/python3/dist-packages/compose/config/compose_spec.json")


def load(name: str) -> dict[str, Any]:
    data = YAML(typ="safe").load(ROOT / name)
    assert isinstance(data, dict)
    return data


def missing(what: str) -> None:
    """Skip where a tool is missing, unless this is CI, which installs it."""
    if os.environ.get("REQUIRE_ENGINE") == "1":
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is not installed here")


@pytest.mark.parametrize("name", FILES)
def test_valid_by_the_schema_of_the_compose_specification(name: str) -> None:
    if not SCHEMA.exists():
        missing("the Compose schema, which Debian's docker-compose brings")
    schema = json.loads(SCHEMA.read_text())
    faults = [e.message for e in jsonschema.Draft7Validator(schema).iter_errors(load(name))]
    assert faults == []


@pytest.mark.parametrize("files", [(COMPOSE,), (COMPOSE, PROXY), (DRY_RUN,)])
def test_a_compose_implementation_takes_it(files: tuple[str, ...], tmp_path: Path) -> None:
    tool = shutil.which("docker-compose")
    if tool is None:
        missing("docker-compose")
        return
    args = [part for name in files for part in ("-f", str(ROOT / name))]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    run = subprocess.run([tool, *args, "config", "--quiet"], capture_output=True, text=True, env=env)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("name", [COMPOSE, DRY_RUN, STACK])
def test_the_sidecar_has_the_least_privilege_that_works(name: str) -> None:
    service = load(name)["services"]["sidecar"]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert set(service["cap_add"]) <= {"DAC_OVERRIDE", "CHOWN", "FOWNER"}
    if name != STACK:  # `docker stack deploy` does not know security_opt
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    binds = [mount for mount in service["volumes"] if mount.startswith(("/", "${DOCKER"))]
    assert all(mount.endswith(":ro") for mount in binds)


@pytest.mark.parametrize("name", [COMPOSE, STACK])
def test_backrest_and_sidecar_share_config_and_volumes_tree(name: str) -> None:
    services = load(name)["services"]
    backrest, sidecar = services["backrest"]["volumes"], services["sidecar"]["volumes"]
    assert "backrest-config:/config" in backrest
    assert "backrest-config:/etc/backrest" in sidecar
    (tree,) = [mount for mount in sidecar if "/volumes" in mount]
    assert tree in backrest
    resolved = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", tree)
    assert resolved == "/var/lib/docker/volumes:/var/lib/docker/volumes:ro"
    assert services["backrest"]["environment"]["TZ"] == services["sidecar"]["environment"]["TZ"]


@pytest.mark.parametrize("name", [COMPOSE, DRY_RUN, STACK])
def test_commands_use_flags_and_variables_that_exist(name: str) -> None:
    service = load(name)["services"]["sidecar"]
    command, *words = service["command"]
    known = {f"--{flag.name}" for flag in flags_for(command)}
    assert {word for word in words if word.startswith("--")} <= known
    variables = {flag.env for flag in flags_for(command)} | {"TZ"}
    assert set(service.get("environment", {})) <= variables


@pytest.mark.parametrize("name", [COMPOSE, STACK])
def test_every_variable_of_the_file_is_explained_in_its_head(name: str) -> None:
    text = (ROOT / name).read_text()
    head = text.split("services:")[0]
    used = set(re.findall(r"\$\{(\w+)", text)) - {"BACKREST_IMAGE"}
    assert [variable for variable in sorted(used) if variable not in head] == []


def test_the_proxy_allows_what_its_table_says() -> None:
    rows = dict(proxy_rows((ROOT / PROXY).read_text()))
    assert len(rows) == 5
    needed = {name for row in rows.values() for name, cell in row.items() if cell == "1"}
    environment = load(PROXY)["services"]["socket-proxy"]["environment"]
    assert {name for name, value in environment.items() if value == 1} == needed
    assert environment["POST"] == 0
    assert load(PROXY)["services"]["sidecar"]["environment"]["DOCKER_HOST"] == "tcp://socket-proxy:2375"


def test_the_image_starts_as_the_contract_says() -> None:
    text = (ROOT / "Dockerfile").read_text()
    told = {
        key: json.loads(value)
        for key, value in re.findall(r"^(CMD|ENTRYPOINT) (\[.*\])$", text, re.MULTILINE)
    }
    assert told["ENTRYPOINT"] == ["backrest-sidecar"]
    assert told["CMD"] == ["daemon", "--config", "/etc/backrest/config.json", "--with-events", "--apply"]
    assert 'CMD ["backrest-sidecar", "healthcheck"]' in text
    assert "STOPSIGNAL SIGTERM" in text


def test_workflows() -> None:
    ci = load(".github/workflows/ci.yml")
    assert any("bash .ci/run" in step.get("run", "") for step in ci["jobs"]["test"]["steps"])
    image = load(".github/workflows/docker-image.yml")
    steps = {step["uses"].split("@")[0]: step for step in image["jobs"]["build"]["steps"]}
    assert steps["docker/build-push-action"]["with"]["platforms"] == "linux/amd64,linux/arm64"
    assert "docker/metadata-action" in steps
