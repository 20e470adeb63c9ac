"""Paths as a real engine tells them: links, what is missing, what restic would make of it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.apply.observe import Observer
from sidecar.engine.client import Engine
from sidecar.engine.types import PathStat
from sidecar.plans.rendering import ConfigView, Rendering
from sidecar.settings.settings import resolve
from tests.engine.harness import TestEngine

pytestmark = pytest.mark.engine


@pytest.fixture
def disk() -> Iterator[Path]:
    """A directory of the host: data, a link to it, and a link that leads out of Backrest's sight."""
    folder = Path(tempfile.mkdtemp(prefix="bsp-", dir="/var/tmp"))
    (folder / "real" / "deep").mkdir(parents=True)
    (folder / "real" / "file").write_text("precious")
    (folder / "link").symlink_to(folder / "real")
    (folder / "upper").symlink_to(folder / "real")
    (folder / "out").symlink_to("/opt/elsewhere")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def adapter(engine: TestEngine) -> Iterator[Engine]:
    found = Engine(engine.host, environ={})
    yield found
    found.close()


def rendered(adapter: Engine) -> Rendering:
    observer = Observer(resolve("reconcile", {}, {}), adapter, time.monotonic)
    return observer.render(adapter.snapshot(), ConfigView(("main",)), {}, ()).rendering


def test_what_the_engine_tells_of_a_path(engine: TestEngine, adapter: Engine, disk: Path) -> None:
    engine.run_container("backrest", volumes=[f"{disk}:/seen:ro"])
    (disk / "inside").symlink_to("/seen/real")
    for state in ("running", "stopped"):
        assert adapter.stat_path("backrest", "/seen/real") == PathStat(), state
        assert adapter.stat_path("backrest", "/seen/inside") == PathStat("/seen/real")
        assert (
            adapter.stat_path("backrest", "/seen/inside/deep") == PathStat()
        )  # a link higher up does no harm
        assert adapter.stat_path("backrest", "/seen/missing") is None
        assert adapter.stat_path("nobody", "/seen") is None
        engine.docker("stop", "--time", "1", "backrest")


def test_a_link_a_typo_and_a_glob_on_a_real_engine(engine: TestEngine, adapter: Engine, disk: Path) -> None:
    engine.run_container("backrest", volumes=[f"{disk}:{disk}:ro"])
    asked = {"backrest.enable": "true", "backrest.paths.include": "/a,/b/typo,/b/*.db,/b/deep,/out"}
    (disk / "out").unlink()
    (disk / "out").symlink_to("/opt/elsewhere")
    Path(f"{disk}-x").mkdir(exist_ok=True)
    try:
        engine.run_container("web", asked, [f"{disk}/link:/a", f"{disk}/real:/b", f"{disk}-x:/out"])
        result = rendered(adapter)
    finally:
        Path(f"{disk}-x").rmdir()
    (plan,) = result.plans
    assert plan.plan.paths == (f"{disk}/real", f"{disk}/real/deep")
    assert plan.without == (f"{disk}-x", f"{disk}/real/*.db", f"{disk}/real/typo")
    assert {f.code for f in result.findings} == {"symlink-followed", "invisible-path"}


def test_a_volume_whose_directory_was_moved_and_left_as_a_link(
    engine: TestEngine, adapter: Engine, disk: Path
) -> None:
    """The habit of moving a big volume to another disk: ``_data`` is a link then."""
    volumes = f"{engine.root}/volumes"
    engine.run_container("backrest", volumes=[f"{volumes}:{volumes}:ro", f"{disk}:{disk}:ro"])
    engine.run_container("web", {"backrest.enable": "true"}, ["moved:/data"])
    data = Path(volumes) / "moved" / "_data"
    data.rmdir()
    data.symlink_to(disk / "real")
    assert rendered(adapter).plans[0].plan.paths == (f"{disk}/real",)


def test_looking_up_a_hundred_paths_is_quick(engine: TestEngine, adapter: Engine, disk: Path) -> None:
    engine.run_container("backrest", volumes=[f"{disk}:{disk}:ro"])
    began = time.monotonic()
    for number in range(100):
        adapter.stat_path("backrest", f"{disk}/real/{number}")
    assert time.monotonic() - began < 10.0
    print(f"{(time.monotonic() - began) * 10:.1f} ms a path")  # noqa: T201  # a figure for the reader of -s
