"""A base image made with debootstrap, and our image built on it: nothing is pulled from anywhere.

A base takes a minute, so its archive is kept for the day in a directory that only this user can write to.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.harness import TestEngine

ROOT = Path(__file__).parents[2]
BASE, IMAGE, DOUBLE = "sidecar-test-base:latest", "sidecar-test:latest", "sidecar-test-double:latest"
PACKAGES = "python3,python3-venv,ca-certificates"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
PASSED_ON = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)


@dataclass(frozen=True, slots=True)
class Built:
    """The image as it was built.

    Attributes:
        tag: Its name on the engine.
        added: Bytes on top of the base.
        seconds: What the build took, the base not counted.
    """

    tag: str
    added: int
    seconds: float


def base_archive(directory: Path) -> Path:
    """Return today's base as a tar archive; make it when it is not there.

    Args:
        directory: Where archives are kept; made with mode 0700.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid() or directory.stat().st_mode & 0o022:
        raise AssertionError(f"{directory} belongs to somebody else, or others may write to it: remove it")
    archive = directory / f"base-{dt.datetime.now(dt.UTC):%Y-%m-%d}.tar"
    if archive.exists():
        return archive
    for old in directory.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    tree = directory / "tree"
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(tree)],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=600,
    )
    _trust_what_we_trust(tree)
    partial = archive.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        tar.add(tree, arcname=".", filter=_without_packages)
    shutil.rmtree(tree)
    return partial.rename(archive)


def _trust_what_we_trust(tree: Path) -> None:
    """Give the base this machine's certificate bundle: registries may be reached through a proxy of its own."""
    bundle = Path(os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or BUNDLE)
    if bundle.exists():
        shutil.copyfile(bundle, tree / BUNDLE.lstrip("/"))


def _without_packages(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what apt downloaded."""
    waste = ("./var/cache/apt/archives/", "./var/lib/apt/lists/")
    return None if member.isfile() and member.name.startswith(waste) else member


def build(engine: TestEngine, directory: Path) -> Built:
    """Build the image of this tree on the debootstrap base, as ``make docker-build`` would.

    The older builder is asked for: BuildKit is a program of its own, which need not be there.
    """
    engine.docker("import", str(base_archive(directory)), BASE)
    arguments = [f"BASE={BASE}", f"PIP_CERT={BUNDLE}", "VERSION=0.0.1-test"]
    arguments += [f"{name}={os.environ[name]}" for name in PASSED_ON if os.environ.get(name)]
    flags = [part for argument in arguments for part in ("--build-arg", argument)]
    before = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_BUILDKIT", "0")
        engine.docker("build", "--network", "host", *flags, "-t", IMAGE, str(ROOT), timeout=600)
    seconds = time.monotonic() - before
    base, ours = (int(engine.call("GET", f"/images/{tag}/json")["Size"]) for tag in (BASE, IMAGE))
    return Built(IMAGE, ours - base, seconds)


def build_double(engine: TestEngine) -> None:
    """Make an image in which the double of Backrest runs, named and found like the real one."""
    with tempfile.TemporaryDirectory() as directory:
        context = Path(directory)
        doubles = context / "tests" / "doubles"
        shutil.copytree(ROOT / "tests" / "doubles" / "backrest", doubles / "backrest")
        for package in (doubles, doubles.parent):
            (package / "__init__.py").touch()
        (context / "backrest").write_text(
            "from tests.doubles.backrest.server import main\n\nraise SystemExit(main())\n"
        )
        (context / "Dockerfile").write_text(
            f"FROM {BASE}\nCOPY . /backrest/\nENV BACKREST_PORT=0.0.0.0:9898\n"
            'ENTRYPOINT ["python3", "/backrest/backrest"]\n'
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_BUILDKIT", "0")
            engine.docker("build", "-t", DOUBLE, directory)
