"""A base image made with debootstrap, and our image built on it: nothing is pulled from anywhere.

A base takes a minute, so its archive is kept for the day in a directory that only this user can write to.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE, IMAGE = "sidecar-test-base:latest", "sidecar-test:latest"
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


@dataclass(frozen=True, slots=True)
class Docker:
    """The docker client, spoken to one engine."""

    host: str

    def run(self, *args: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run one command of the client; with ``check`` its failure is raised with what it said."""
        env = {**os.environ, "DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0"}
        done = subprocess.run(
            ["docker", *args], capture_output=True, text=True, env=env, timeout=timeout, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(args)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def say(self, *args: str) -> str:
        """Run one command; return what it printed, stripped."""
        return self.run(*args).stdout.strip()


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


def build(docker: Docker, directory: Path) -> Built:
    """Build the image of this tree on the debootstrap base, as ``make docker-build`` would."""
    docker.run("import", str(base_archive(directory)), BASE)
    arguments: Sequence[str] = [f"BASE={BASE}", f"PIP_CERT={BUNDLE}", "VERSION=0.0.1-test"]
    arguments = [*arguments, *(f"{name}={os.environ[name]}" for name in PASSED_ON if os.environ.get(name))]
    flags = [part for argument in arguments for part in ("--build-arg", argument)]
    before = time.monotonic()
    docker.run("build", "--network", "host", *flags, "-t", IMAGE, str(ROOT), timeout=600)
    seconds = time.monotonic() - before
    added = int(docker.say("image", "inspect", "-f", "{{.Size}}", IMAGE)) - int(
        docker.say("image", "inspect", "-f", "{{.Size}}", BASE)
    )
    return Built(IMAGE, added, seconds)
