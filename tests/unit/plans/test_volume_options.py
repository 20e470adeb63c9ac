"""Volumes that the engine mounts when they are used, and volumes of drivers that have no path on this host."""

from __future__ import annotations

import pytest

from sidecar.engine.model import Volume
from tests.unit.builders import codes, container, one, rendering, volume

DATA = "/var/lib/docker/volumes/data/_data"
BOUND = {"type": "none", "o": "bind", "device": "/srv/data"}
NFS = {"type": "nfs", "o": "addr=192.0.2.1,password=hunter2", "device": ":/export"}


@pytest.mark.parametrize(("options", "kind"), [(BOUND, "a bind mount"), (NFS, "nfs")])
@pytest.mark.parametrize("labels", [{}, {"paths.include": "/data/sub"}])
def test_a_mount_of_the_engine_s_own_is_backed_up_at_its_mountpoint_and_it_is_said(
    options: dict[str, str], kind: str, labels: dict[str, str]
) -> None:
    web = container("web", labels, (volume("data"),))
    found = rendering(web, volumes=(Volume("data", mountpoint=DATA, options=options),))

    assert found.plans[0].plan.paths == ((f"{DATA}/sub" if labels else DATA),)
    (finding,) = [f for f in found.findings if f.code == "volume-mounted-on-use"]
    assert f"is {kind} that" in finding.message
    assert f"- data:{DATA}:ro" in finding.message
    assert "hunter2" not in finding.message


def test_a_backrest_that_mounts_the_volume_itself_sees_it() -> None:
    web = container("web", {}, (volume("data"),))
    volumes = (Volume("data", mountpoint=DATA, options=BOUND),)
    view = (("/var/lib/docker/volumes", "/var/lib/docker/volumes"), (DATA, "/data"))
    found = rendering(web, volumes=volumes, path_view=view)

    assert found.plans[0].plan.paths == ("/data",)
    assert not found.findings


def test_options_that_mount_nothing_are_no_matter() -> None:
    web = container("web", {}, (volume("data"),))
    assert not rendering(web, volumes=(Volume("data", mountpoint=DATA, options={"size": "1g"}),)).findings


def test_another_driver_counts_with_its_own_mountpoint() -> None:
    web = container("web", {}, (volume("data", driver="rclone", source="/mnt/rclone/data"),))
    assert one(web).plan.paths == ("/mnt/rclone/data",)
    assert one(web, docker_root="/elsewhere").plan.paths == ("/mnt/rclone/data",)


def test_a_volume_without_a_path_here_is_named_and_the_rest_is_backed_up() -> None:
    mounts = (volume("far", "/far", driver="cloud", source=""), volume("data"))
    found = rendering(container("web", {}, mounts))

    assert found.plans[0].plan.paths == (DATA,)
    assert "volume-without-path" in codes(found)
    assert "far" in found.findings[0].message


def test_nothing_but_such_a_volume_is_no_plan() -> None:
    found = rendering(container("web", {}, (volume("far", "/far", driver="cloud", source=""),)))
    assert not found.plans
    assert codes(found) == {"volume-without-path", "no-path"}
