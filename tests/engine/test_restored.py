"""Backed up as the labels say, restored, and compared file by file: by restic, and by a real Backrest.

Each stack is one that once was backed up empty, in part, or not at all, and counted as a success.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.harness import free_port, start_real
from tests.engine import sidecar_process
from tests.engine.harness import TestEngine

pytestmark = pytest.mark.engine

ON = {"backrest.enable": "true"}
Backup = Callable[[str], set[str]]
"""Backs a plan up and gives the files that come back, by their path on the host."""


class ByRestic:
    """What Backrest calls restic with (backrest: internal/orchestrator/repo/repo.go:137-185), called here."""

    def __init__(self, home: Path, restic: str) -> None:
        self.home = home
        self.restic = restic
        self.env = {
            **os.environ,
            "RESTIC_PASSWORD": sidecar_process.REPO["password"],
            "RESTIC_CACHE_DIR": str(home / "cache"),
        }
        self.config = home / "config.json"
        self.repository = home / "repository"
        self.run("init")
        sidecar_process.write_config(
            self.config, repos=[{**sidecar_process.REPO, "uri": str(self.repository)}]
        )

    def run(self, *args: str) -> None:
        command = [self.restic, "--quiet", "--repo", str(self.repository), *args]
        subprocess.run(command, env=self.env, check=True, capture_output=True)

    def back_up(self, plan_id: str) -> None:
        plan = sidecar_process.plans_in(self.config)[plan_id]
        excludes = [f"--exclude={pattern}" for pattern in plan.get("excludes", [])]
        self.run("backup", "--tag", f"plan:{plan_id}", "--exclude-caches", *excludes, *plan["paths"])

    def restored(self, plan_id: str) -> set[str]:
        target = self.home / "restored"
        shutil.rmtree(target, ignore_errors=True)
        self.run("restore", "latest", "--tag", f"plan:{plan_id}", "--target", str(target))
        return {f"/{path.relative_to(target)}" for path in target.rglob("*") if path.is_file()}

    def close(self) -> None:
        """Nothing runs."""


class ByBackrest(ByRestic):
    """A real Backrest with a real restic."""

    def __init__(self, home: Path, restic: str) -> None:
        super().__init__(home, restic)
        self.backrest = start_real(home / "backrest")
        self.backrest.environ["BACKREST_RESTIC_COMMAND"] = restic
        self.backrest.port = free_port()

    def back_up(self, plan_id: str) -> None:
        self.backrest.start(self.config.read_bytes())
        try:
            self.backrest.post("v1.Backrest/Backup", {"value": plan_id})
            found = self.backrest.api.operations()
            done = [op.status for op in found if op.kind == "backup" and op.status != "pending"]
            assert done == ["success"], self.backrest.log[-1500:]
        finally:
            self.backrest.kill()

    def close(self) -> None:
        self.backrest.kill()


def kinds() -> list[object]:
    real = os.environ.get("BACKREST_BIN") and os.environ.get("BACKREST_RESTIC_COMMAND")
    why = "BACKREST_BIN and BACKREST_RESTIC_COMMAND name no real Backrest with a real restic"
    return [
        "restic",
        pytest.param("backrest", marks=[pytest.mark.backrest, pytest.mark.skipif(not real, reason=why)]),
    ]


@pytest.fixture(params=kinds())
def backups(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ByRestic]:
    restic = os.environ.get("BACKREST_RESTIC_COMMAND") or shutil.which("restic")
    if restic is None:
        pytest.skip("restic is not installed")
    made = (ByBackrest if request.param == "backrest" else ByRestic)(tmp_path, restic)
    yield made
    made.close()


def put(engine: TestEngine, container: str, *files: str) -> None:
    """Write files as the container sees them."""
    script = "; ".join(f"mkdir -p '{Path(f).parent}' && echo {i} > '{f}'" for i, f in enumerate(files))
    engine.docker("exec", container, "sh", "-c", script)


def come_back(engine: TestEngine, backups: ByRestic, plan: str) -> set[str]:
    done = sidecar_process.run("reconcile", "--config", str(backups.config), DOCKER_HOST=engine.host)
    assert done.returncode == 0, done.stdout
    backups.back_up(f"backrest_sidecar_{plan}")
    return backups.restored(f"backrest_sidecar_{plan}")


def volume(engine: TestEngine, name: str, *files: str) -> set[str]:
    return {f"{engine.root}/volumes/{name}/_data/{file}" for file in files}


def test_volumes_below_an_included_path(engine: TestEngine, backups: ByRestic) -> None:
    """The documented layout of Nextcloud: what users have put there lies on a volume of its own."""
    labels = {**ON, "backrest.paths.include": "/var/www/html"}
    volumes = [
        "html:/var/www/html",
        "config:/var/www/html/config",
        "files:/var/www/html/data",
        "db:/var/lib/db",
    ]
    engine.run_container("app", labels, volumes)
    put(
        engine,
        "app",
        "/var/www/html/index",
        "/var/www/html/config/c",
        "/var/www/html/data/me/photo",
        "/var/lib/db/d",
    )
    wanted = (
        volume(engine, "html", "index") | volume(engine, "config", "c") | volume(engine, "files", "me/photo")
    )
    assert come_back(engine, backups, "app") == wanted


def test_words_that_are_parts_of_the_hosts_path(engine: TestEngine, backups: ByRestic) -> None:
    """``volumes`` and ``_data`` stand in the path of every volume; bare, they would take it whole."""
    labels = {**ON, "backrest.paths.exclude": "volumes,_data,var,cache,/data/tmp,*.log"}
    engine.run_container("app", labels, ["vol:/data"])
    put(
        engine,
        "app",
        "/data/keep",
        "/data/x/cache/no",
        "/data/tmp/no",
        "/data/x/no.log",
        "/data/x/var/no",
        "/data/x/yes",
    )
    assert come_back(engine, backups, "app") == volume(engine, "vol", "keep", "x/yes")


def test_an_excluded_path_with_a_volume_below_it(engine: TestEngine, backups: ByRestic) -> None:
    labels = {**ON, "backrest.paths.exclude": "/data/media"}
    engine.run_container("app", labels, ["vol:/data", "movies:/data/media/movies"])
    put(engine, "app", "/data/keep", "/data/media/no", "/data/media/movies/no")
    assert come_back(engine, backups, "app") == volume(engine, "vol", "keep")


def test_a_link_odd_names_and_files_of_the_host(
    engine: TestEngine, backups: ByRestic, tmp_path: Path
) -> None:
    real = tmp_path / "disk" / "Media [4K] *"
    (real / "cache").mkdir(parents=True)
    (real / "film").write_text("x")
    (real / "cache" / "no").write_text("x")
    (tmp_path / "link").symlink_to(real)
    labels = {**ON, "backrest.paths.exclude": "/media/cache", "backrest.paths.include": "/media,/v"}
    binds = [f"{tmp_path}/link:/media", "/etc/hosts:/v/hosts:ro", "vol:/v"]
    engine.run_container("app", labels, binds)
    put(engine, "app", "/v/keep")
    # "hosts" is the empty file that the engine makes in the volume to mount that of the host over it.
    wanted = {str(real / "film")} | volume(engine, "vol", "keep", "hosts")
    assert come_back(engine, backups, "app") == wanted


def test_a_path_that_is_missing_takes_no_other_down(
    engine: TestEngine, backups: ByRestic, tmp_path: Path
) -> None:
    """Backrest fails the whole backup for one path that it does not find."""
    (tmp_path / "gone").mkdir()
    engine.run_container("app", {**ON}, [f"{tmp_path}/gone:/gone", "vol:/v"])
    put(engine, "app", "/v/keep")
    backrest = engine.run_container("backrest", volumes=[f"{engine.root}/volumes:{engine.root}/volumes:ro"])
    assert backrest
    (tmp_path / "gone").rmdir()
    assert come_back(engine, backups, "app") == volume(engine, "vol", "keep")


def test_the_repository_below_the_path(engine: TestEngine, backups: ByRestic) -> None:
    (backups.home / "docs").mkdir()
    (backups.home / "docs" / "one").write_text("x")
    engine.run_container(
        "nas", {**ON, "backrest.paths.exclude": "/share/cache,/share/backrest"}, [f"{backups.home}:/share"]
    )
    first = come_back(engine, backups, "nas")
    assert str(backups.home / "docs" / "one") in first
    assert not any(path.startswith(str(backups.repository)) for path in first)
