"""The image of the tests: the machine's static busybox, with a link for each applet."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

_APPLETS = """
    ash cat chmod chown cp date dd df du echo env false find grep head hostname httpd id kill ln ls md5sum mkdir mv nc
    printf ps rm sed seq sh sleep sort stat sync tail tar tee test touch tr true wc wget xargs
"""


def search_path() -> str:
    """Return PATH with the places of system tools."""
    return os.environ.get("PATH", "") + os.pathsep + "/usr/sbin:/sbin:/usr/local/sbin"


def binary() -> str | None:
    """Return the path of busybox, if there is one."""
    return shutil.which("busybox", path=search_path())


def root_filesystem(files: Mapping[str, bytes]) -> bytes:
    """Return a root file system as a tar archive: busybox, and ``files`` by path, executable."""
    found = binary()
    assert found is not None, "there is no busybox"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add(tar, "bin/busybox", Path(found).read_bytes())
        for applet in _APPLETS.split():
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for folder in ("tmp", "root", "etc", "data"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(made)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
        for path, content in files.items():
            _add(tar, path.lstrip("/"), content)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))
