"""Faults that the kernel itself makes: full disk, read-only, no permission, a file that is a mount, links."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.faults import mounts
from tests.faults.mounts import Namespace

OLD = b'{"version": 6, "plans": []}'
NEW = b'{"version": 6, "plans": ["new"]}'

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user's file needs root")


def tmpfs(namespace: Namespace, directory: Path, size: str) -> Path:
    directory.mkdir()
    namespace.run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory))
    namespace.run("sh", "-c", f"cat > {directory}/config.json", stdin=OLD)
    return directory / "config.json"


def content(namespace: Namespace, path: Path) -> bytes:
    return namespace.run("cat", str(path))


def leftovers(namespace: Namespace, path: Path) -> list[str]:
    names = namespace.run("ls", "-A", str(path.parent)).decode().split()
    return [name for name in names if name.startswith(".config.json")]


def test_disk_full(namespace: Namespace, tmp_path: Path) -> None:
    path = tmpfs(namespace, tmp_path / "full", "64k")
    seen = namespace.replace(path, NEW + b" " * 100_000)
    assert (seen["error"], seen["errno"]) == ("NotWritable", errno.ENOSPC)
    assert "Free some space" in seen["message"]
    assert content(namespace, path) == OLD
    assert leftovers(namespace, path) == []
    assert namespace.replace(path, NEW)["error"] == ""
    assert content(namespace, path) == NEW


def test_disk_full_to_the_last_byte(namespace: Namespace, tmp_path: Path) -> None:
    path = tmpfs(namespace, tmp_path / "full", "64k")
    namespace.run("sh", "-c", f"cat /dev/zero > {path.parent}/big 2>/dev/null || true")
    seen = namespace.replace(path, NEW)
    assert (seen["error"], seen["errno"], seen["locked"]) == ("NotWritable", errno.ENOSPC, "yes")
    assert content(namespace, path) == OLD
    assert leftovers(namespace, path) == []


def test_read_only(namespace: Namespace, tmp_path: Path) -> None:
    path = tmpfs(namespace, tmp_path / "ro", "1m")
    namespace.run("mount", "-o", "remount,ro", str(path.parent))
    seen = namespace.replace(path, NEW)
    assert (seen["error"], seen["errno"]) == ("NotWritable", errno.EROFS)
    assert "read-write" in seen["message"]
    assert "read-write" in seen["locked"]
    assert content(namespace, path) == OLD


def test_single_file_bind_mount(namespace: Namespace, tmp_path: Path) -> None:
    real = tmp_path / "on-the-host.json"
    real.write_bytes(OLD)
    inside = tmp_path / "container"
    inside.mkdir()
    path = inside / "config.json"
    path.touch()
    namespace.run("mount", "--bind", str(real), str(path))
    seen = namespace.replace(path, NEW)
    assert (seen["error"], seen["errno"]) == ("SingleFileMount", errno.EBUSY)
    assert "Mount the directory" in seen["message"]
    assert content(namespace, path) == OLD
    assert real.read_bytes() == OLD
    assert leftovers(namespace, path) == []


def test_directory_bind_mount(namespace: Namespace, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "config.json").write_bytes(OLD)
    inside = tmp_path / "inside"
    inside.mkdir()
    namespace.run("mount", "--bind", str(host), str(inside))
    seen = namespace.replace(inside / "config.json", NEW)
    assert (seen["error"], seen["exchange"]) == ("", True)
    assert (host / "config.json").read_bytes() == NEW


def test_overlay(namespace: Namespace, tmp_path: Path) -> None:
    root = tmp_path / "root"
    tmpfs(namespace, root, "4m")
    lower, upper, work, merged = (root / name for name in ("lower", "upper", "work", "merged"))
    namespace.run("mkdir", *(str(path) for path in (lower, upper, work, merged)))
    namespace.run("sh", "-c", f"cat > {lower}/config.json", stdin=OLD)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    namespace.run("mount", "-t", "overlay", "overlay", "-o", options, str(merged))
    for new in (NEW, OLD):
        seen = namespace.replace(merged / "config.json", new)
        assert seen["error"] == "", seen["message"]
        assert content(namespace, merged / "config.json") == new
        assert leftovers(namespace, merged / "config.json") == []


@needs_root
@pytest.mark.parametrize(("kind", "size"), [("ext4", "16m"), ("xfs", "320m"), ("btrfs", "160m")])
def test_filesystems_that_have_the_exchange(
    namespace: Namespace, tmp_path: Path, kind: str, size: str
) -> None:
    make = shutil.which(f"mkfs.{kind}")
    if make is None:
        pytest.skip(f"no mkfs.{kind}")
    disk, directory = tmp_path / "disk", tmp_path / kind
    directory.mkdir()
    namespace.run("truncate", "-s", size, str(disk))
    namespace.run(make, "-q", str(disk))
    try:
        namespace.run("mount", "-o", "loop", str(disk), str(directory))
    except AssertionError as error:
        pytest.skip(f"no loop mount of {kind}: {error}")
    namespace.run("sh", "-c", f"cat > {directory}/config.json", stdin=OLD)
    seen = namespace.replace(directory / "config.json", NEW)
    assert (seen["error"], seen["exchange"], seen["notes"]) == ("", True, [])
    assert content(namespace, directory / "config.json") == NEW


@needs_root
def test_no_permission(tmp_path: Path) -> None:
    directory = shared(tmp_path)
    path = directory / "config.json"
    path.write_bytes(OLD)
    os.chown(path, 65534, 65534)
    directory.chmod(0o755)
    seen = mounts.replace(path, NEW, uid=65534, state=shared(tmp_path, "state", 65534))
    assert (seen["error"], seen["errno"]) == ("NotWritable", errno.EACCES)
    assert "write permission on the directory" in seen["message"]
    path.chmod(0o600)
    os.chown(path, 0, 0)
    seen = mounts.replace(path, NEW, uid=65534)
    assert seen["error"] == "ConfigUnreadable"
    assert "may not be read by user 65534" in seen["message"]
    assert path.read_bytes() == OLD


@needs_root
def test_an_owner_that_we_cannot_give(tmp_path: Path) -> None:
    directory = shared(tmp_path)
    directory.chmod(0o777)
    path = directory / "config.json"
    path.write_bytes(OLD)
    path.chmod(0o644)
    seen = mounts.replace(path, NEW, uid=65534)
    assert (seen["error"], seen["errno"]) == ("NotWritable", errno.EPERM)
    assert "belongs to 0:0" in seen["message"]
    assert 'user: "0:0"' in seen["message"]
    assert path.read_bytes() == OLD
    assert list(directory.glob(".config.json*")) == []


@needs_root
@pytest.mark.parametrize(("mode", "expected"), [("preserve", 0o640), ("644", 0o644), ("600", 0o600)])
def test_owner_and_mode(tmp_path: Path, mode: str, expected: int) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(OLD)
    path.chmod(0o640)
    os.chown(path, 1234, 4321)
    assert mounts.replace(path, NEW, mode=mode)["error"] == ""
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 4321, expected)
    (copy,) = tmp_path.glob("config.json.sidecar.*")
    status = copy.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 4321, 0o600)
    assert stat.S_IMODE((tmp_path / ".backrest-sidecar").stat().st_mode) == 0o700


def test_extended_attributes_come_along(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(OLD)
    try:
        os.setxattr(path, "user.note", b"kept")
    except OSError:
        pytest.skip("no extended attributes on this filesystem")
    assert mounts.replace(path, NEW)["error"] == ""
    assert os.getxattr(path, "user.note") == b"kept"


@needs_root
def test_an_immutable_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(OLD)
    if subprocess.run(["chattr", "+i", str(path)], capture_output=True).returncode != 0:
        pytest.skip("no immutable files on this filesystem")
    try:
        seen = mounts.replace(path, NEW)
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)
    assert (seen["error"], seen["errno"]) == ("NotWritable", errno.EPERM)
    assert seen["exchange"] is None
    assert path.read_bytes() == OLD
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == [".backrest-sidecar", ".backrest-sidecar.lock", "config.json"]


def shared(tmp_path: Path, name: str = "shared", owner: int = 0) -> Path:
    """Make a directory that other users can reach, which pytest's own cannot be by default."""
    for parent in (tmp_path, *tmp_path.parents[:3]):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    directory = tmp_path / name
    directory.mkdir()
    os.chown(directory, owner, owner)
    return directory
