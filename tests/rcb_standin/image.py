"""Images for the tests of backups: the machine's own restic, and a stand-in for rcb that runs on its own Python.

Nothing is downloaded: programs come with the libraries that ``ldd`` names, Python with the modules that the
stand-in imports, all at the paths that they have on this machine.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.engine.busybox import search_path
from tests.engine.harness import TestEngine

RESTIC_IMAGE = "restic:test"
RCB_IMAGE = "rcb:test"
_SCRIPT = Path(__file__).with_name("rcb.py")


def missing() -> str:
    """Return why the images cannot be made here, or nothing."""
    return "" if shutil.which("restic", path=search_path()) else "the tests of backups need restic"


def make(engine: TestEngine) -> None:
    """Put both images on the engine; takes a second or two."""
    restic = shutil.which("restic", path=search_path())
    assert restic is not None
    files = {"/usr/bin/restic": Path(restic).read_bytes(), **_libraries([restic])}
    engine.make_image(RESTIC_IMAGE, files, changes=['ENTRYPOINT ["/usr/bin/restic"]'])
    interpreter, python = _python()
    script = f"#!{interpreter} -IS\n{_SCRIPT.read_text()}".encode()
    files |= python | {"/usr/bin/rcb": script, "/usr/bin/restic-compose-backup": script}
    engine.make_image(RCB_IMAGE, files)


def _python() -> tuple[str, dict[str, bytes]]:
    """Return this machine's plain interpreter and every file that it opens to run the stand-in."""
    lines = [line for line in _SCRIPT.read_text().splitlines() if line.startswith(("import ", "from "))]
    code = "\n".join(lines) + (
        "\nimport sys, json, encodings.idna, encodings.latin_1, encodings.utf_8\n"
        "found = [m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)]\n"
        "print(json.dumps({'exe': os.path.realpath(sys.executable), 'files': found, 'path': sys.path}))"
    )
    base = getattr(sys, "_base_executable", "") or "python3"
    said = subprocess.run([base, "-IS", "-c", code], capture_output=True, check=True, text=True).stdout
    facts = json.loads(said)
    paths = [*facts["files"], facts["exe"]]
    binaries = [path for path in paths if not path.endswith(".py")]
    # Where Python looks for its home it wants to see os.py and lib-dynload.
    dynload = next((p for p in facts["path"] if p.endswith("lib-dynload")), "")
    files = {path: Path(path).read_bytes() for path in paths}
    if dynload:
        files.setdefault(f"{dynload}/.keep", b"")
    return facts["exe"], files | _libraries(binaries)


def _libraries(binaries: Iterable[str]) -> dict[str, bytes]:
    """Return the shared libraries that programs need, with the loader."""
    out: dict[str, bytes] = {}
    for binary in binaries:
        said = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
        for path in re.findall(r"(?:=> )?(/\S+) \(0x", said):
            out.setdefault(path, Path(path).read_bytes())
    return out
