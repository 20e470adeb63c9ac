"""An engine with a moved data root and mapped user ids, volumes that it mounts itself, and a proxy that forbids."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.engine.client import Engine
from sidecar.plans.mounts import view_of
from sidecar.plans.render import render
from sidecar.plans.rendering import ConfigView, Rendering
from sidecar.settings.settings import resolve
from tests.engine.harness import TestEngine

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]


class Remapped(TestEngine):
    """An engine that maps user ids, with tables of its own in place of the machine's."""

    def __init__(self, root: Path) -> None:
        super().__init__(["--userns-remap=nobody:nogroup"], root=root)
        self.folder.chmod(0o755)
        table = self.folder / "subids"
        table.write_text("nobody:200000:65536\nnogroup:200000:65536\n")
        mounts = f"mount --bind {table} /etc/subuid && mount --bind {table} /etc/subgid"
        self._wrap += ["sh", "-c", f'{mounts} && exec "$@"', "sh"]


@pytest.fixture(scope="module")
def remapped(can_run_engine: None) -> Iterator[TestEngine]:
    root = Path(tempfile.mkdtemp(prefix="bsr-", dir="/var/tmp"))
    root.chmod(0o755)
    try:
        with Remapped(root) as engine:
            yield engine
    finally:
        shutil.rmtree(root, ignore_errors=True)


def rendering(engine: TestEngine, backrest: str = "", **flags: Any) -> Rendering:
    adapter = Engine(engine.host, environ={})
    try:
        snapshot = adapter.snapshot()
    finally:
        adapter.close()
    mounts = next((c.mounts for c in snapshot.containers if c.name == backrest), ())
    settings = resolve("reconcile", flags, {})
    return render(snapshot, ConfigView(("main",)), {}, settings, path_view=view_of(mounts))


def test_paths_follow_the_engine_s_own_root(remapped: TestEngine) -> None:
    remapped.run_container("web", {"backrest.enable": "true"}, ["web:/data"])
    where = remapped.root / "200000.200000" / "volumes"

    assert rendering(remapped).plans[0].plan.paths == (str(where / "web" / "_data"),)
    prefixed = rendering(remapped, **{"volume-prefix": "/host/volumes"})
    assert prefixed.plans[0].plan.paths == ("/host/volumes/web/_data",)
    assert (where / "web" / "_data").is_dir()
    adapter = Engine(remapped.host, environ={})
    assert adapter.info().userns
    adapter.close()
    remapped.clean()


def names_in(engine: TestEngine, path: str) -> list[str]:
    """Return the names in a directory as the engine sees it."""
    command = ["nsenter", "--mount", "--target", str(engine.pid), "ls", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_a_bound_volume_is_empty_while_nobody_uses_it_unless_backrest_does(remapped: TestEngine) -> None:
    source = remapped.root / "source"
    source.mkdir(mode=0o777)
    (source / "file").touch()
    options = {"type": "none", "o": "bind", "device": str(source)}
    volume = remapped.call("POST", "/volumes/create", {"Name": "bound", "DriverOpts": options})
    mountpoint = volume["Mountpoint"]
    remapped.run_container("web", {"backrest.enable": "true"}, ["bound:/data"])
    assert names_in(remapped, mountpoint) == ["file"]

    found = rendering(remapped)

    assert found.plans[0].plan.paths == (mountpoint,)
    assert [f.code for f in found.findings] == ["volume-mounted-on-use"]
    remapped.docker("stop", "--time", "1", "web")
    assert names_in(remapped, mountpoint) == []  # what a backup would have read: the reason for the warning
    remapped.run_container("backrest", volumes=["bound:/backup:ro"])
    assert names_in(remapped, mountpoint) == ["file"]
    with_backrest = rendering(remapped, "backrest")
    assert with_backrest.plans[0].plan.paths == ("/backup",)
    assert not with_backrest.findings
    remapped.clean()
