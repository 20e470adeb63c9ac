"""The entries that a user of the Go tool knows, make verbs and dry-run scripts, run with note-taking programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERBS = (
    "install run dry-run test cov check fmt bench torture "
    "build image compose docker-build docker-run docker-push clean"
)


def run(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run([*map(str, args)], capture_output=True, text=True, cwd="/", env={**base, **env})


def note_taker(path: Path, exit_code: int = 0) -> Path:
    """Make a program that notes its arguments, one call a line, and a few variables."""
    notes = path.with_suffix(".notes")
    path.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >> "{notes}"\n'
        f'echo "BACKREST_CONFIG=$BACKREST_CONFIG CONFIG_DIR=$CONFIG_DIR" >> "{notes}"\n'
        f"exit {exit_code}\n"
    )
    path.chmod(0o755)
    return notes


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my configs" / "config.json"
    path.parent.mkdir()
    path.write_text("{}")
    return path


def test_make_alone_lists_its_verbs() -> None:
    done = run("make", "-C", ROOT, "--no-print-directory")
    listed = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert done.returncode == 0
    assert set(VERBS.split()) <= set(listed)


def test_make_compose_has_a_stable_project_and_takes_overrides() -> None:
    plain = run("make", "-C", ROOT, "-n", "compose", "COMPOSE_CMD=up -d", "COMPOSE=C").stdout
    assert (
        "COMPOSE_PROJECT_NAME=backrest-dev C -p backrest-dev -f testdata/compose.dry-run.yaml up -d" in plain
    )
    other = run(
        "make", "-C", ROOT, "-n", "compose", "COMPOSE=C", "COMPOSE_FILE=a.yaml", "COMPOSE_PROJECT=p"
    ).stdout
    assert "C -p p -f a.yaml ps" in other


def test_make_docker_run_mounts_the_directory_of_the_config(tmp_path: Path, config: Path) -> None:
    notes = note_taker(tmp_path / "docker")
    done = run("make", "-C", ROOT, "docker-run", f"DOCKER={tmp_path}/docker", f"CONFIG={config}", "TAG=x:y")
    assert done.returncode == 0, done.stderr
    _, run_line = [line for line in notes.read_text().splitlines() if line.startswith(("build", "run"))]
    assert f"-v {config.parent}:/etc/backrest " in run_line
    assert run_line.endswith(" x:y daemon --config /etc/backrest/config.json --with-events --apply")


def test_make_dry_run_without_a_config_says_what_to_set() -> None:
    done = run("make", "-C", ROOT, "-o", "bin/backrest-sidecar", "dry-run", "CONFIG=/nowhere.json")
    assert done.returncode == 2
    assert "CONFIG '/nowhere.json' not found; set CONFIG=/path/to/config.json" in done.stderr


def test_an_old_python_is_refused_by_name(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.2"\nexit 1\n')
    old.chmod(0o755)
    done = run("make", "-C", ROOT, "build", f"PYTHON={old}", f"VENV={tmp_path}/venv")
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "Python 3.9.2" in done.stderr


@pytest.mark.parametrize("name", ["dry-run-binary.sh", "dry-run-make.sh"])
def test_a_missing_config_is_named(name: str) -> None:
    done = run(ROOT / "scripts" / name, CONFIG="/nowhere.json")
    assert done.returncode == 1
    assert "Config file '/nowhere.json' not found. Override CONFIG=/path/to/config.json" in done.stderr


def test_the_binary_script_passes_arguments_and_the_exit_code_on(tmp_path: Path, config: Path) -> None:
    notes = note_taker(tmp_path / "tool", exit_code=2)
    done = run(
        ROOT / "scripts/dry-run-binary.sh",
        "--default-repo",
        "r",
        CONFIG=str(config),
        BINARY=str(tmp_path / "tool"),
    )
    assert done.returncode == 2
    arguments, environment = notes.read_text().splitlines()
    assert arguments == "reconcile --dry-run --default-repo r"
    assert environment.startswith(f"BACKREST_CONFIG={config} ")


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """Put a docker with a compose plugin on the PATH; return its notes."""
    (tmp_path / "path").mkdir()
    return note_taker(tmp_path / "path" / "docker")


def test_the_docker_script_adds_its_arguments_to_a_dry_run(
    tmp_path: Path, config: Path, docker: Path
) -> None:
    path = f"{tmp_path}/path:{os.environ['PATH']}"
    script = ROOT / "scripts/dry-run-docker.sh"
    done = run(
        script, "--log-level", "debug", PATH=path, CONFIG_DIR=str(config.parent), CONFIG_FILE="config.json"
    )
    assert done.returncode == 0, done.stderr
    head = f"compose -p backrest-sidecar -f {ROOT}/testdata/compose.dry-run.yaml "
    build, pass_, down = [line for line in docker.read_text().splitlines() if line.startswith("compose -p")]
    assert build == head + "build sidecar"
    assert pass_ == (
        head + "run --rm sidecar reconcile --dry-run --config /etc/backrest/config.json "
        "--include-project-name --log-format text --log-level debug"
    )
    assert down == head + "down --volumes"
    assert f"CONFIG_DIR={config.parent}" in docker.read_text()


def test_the_docker_script_takes_a_whole_command_and_an_image(
    tmp_path: Path, config: Path, docker: Path
) -> None:
    path = f"{tmp_path}/path:{os.environ['PATH']}"
    env = {
        "PATH": path,
        "CONFIG_DIR": str(config.parent),
        "CONFIG_FILE": "config.json",
        "SIDECAR_IMAGE": "i:1",
    }
    done = run(ROOT / "scripts/dry-run-docker.sh", "explain", "web", **env)
    assert done.returncode == 0, done.stderr
    calls = [
        line.split(" -f ")[1].split(" ", 1)[1] for line in docker.read_text().splitlines() if "-f " in line
    ]
    assert calls == ["run --rm sidecar explain web", "down --volumes"]


def test_the_docker_script_names_a_missing_config(tmp_path: Path) -> None:
    done = run(ROOT / "scripts/dry-run-docker.sh", CONFIG_DIR=str(tmp_path), CONFIG_FILE="c.json")
    assert done.returncode == 1
    assert f"Config file '{tmp_path}/c.json' not found. Override CONFIG_FILE=<name>" in done.stderr


def test_the_demo_needs_no_engine_and_shows_plans_but_no_secret(tmp_path: Path) -> None:
    sample = ROOT / "testdata/example-sidecar.config.json"
    before = sample.read_bytes()
    nowhere = f"unix://{tmp_path}/no.sock"

    done = run(
        sys.executable,
        "-P",
        ROOT / "scripts/demo.py",
        DOCKER_HOST=nowhere,
        BACKREST_SIDECAR_APPLY="true",
        TMPDIR=str(tmp_path),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "recorded engine replies are used" in done.stdout
    assert done.stdout.count("backrest_sidecar_db") >= 2
    assert "documents                          made by hand, unchanged" in done.stdout
    assert "+++ plans/backrest_sidecar_db" in done.stdout
    assert "made-up" not in done.stdout + done.stderr
    assert sample.read_bytes() == before
    assert list(tmp_path.iterdir()) == []
