"""Programs of this machine as files of an image: nothing is downloaded, no package is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def libraries(binaries: Iterable[str]) -> dict[str, bytes]:
    """Return the shared libraries that programs need, with the loader, as ``ldd`` names them."""
    out: dict[str, bytes] = {}
    for binary in binaries:
        said = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
        for path in re.findall(r"(?:=> )?(/\S+) \(0x", said):
            out.setdefault(path, Path(path).read_bytes())
    return out


def python(imports: str, folder: Path | None = None) -> tuple[str, dict[str, bytes]]:
    """Return this machine's plain interpreter, and every file that it opens for ``imports``.

    Args:
        imports: Module names, comma-separated.
        folder: Where modules of our own are found.
    """
    found_in = f"sys.path.insert(0, {str(folder)!r});" if folder else ""
    code = (
        f"import sys, json, encodings.idna, encodings.latin_1, encodings.utf_8;{found_in}import {imports}, os\n"
        "found = [m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)]\n"
        "print(json.dumps({'exe': os.path.realpath(sys.executable), 'files': found, 'path': sys.path}))"
    )
    base = getattr(sys, "_base_executable", None) or "python3"
    said = subprocess.run([base, "-IS", "-c", code], capture_output=True, check=True, text=True).stdout
    facts = json.loads(said)
    files = {path: Path(path).read_bytes() for path in (*facts["files"], facts["exe"])}
    # Where Python looks for its home it wants to see os.py and lib-dynload.
    dynload = next((p for p in facts["path"] if p.endswith("lib-dynload")), "")
    if dynload:
        files.setdefault(f"{dynload}/.keep", b"")
    binaries = [path for path in files if not path.endswith((".py", ".keep"))]
    return facts["exe"], files | libraries(binaries)
