"""Images for the tests of backups: the machine's own restic, and a stand-in for rcb that runs on its own Python.

Nothing is downloaded: programs come with the libraries that ``ldd`` names, Python with the modules that the
stand-in imports, all at the paths that they have on this machine.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.engine import closure
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
    files = {"/usr/bin/restic": Path(restic).read_bytes(), **closure.libraries([restic])}
    engine.make_image(RESTIC_IMAGE, files, changes=['ENTRYPOINT ["/usr/bin/restic"]'])
    interpreter, python = closure.python(_modules())
    script = f"#!{interpreter} -IS\n{_SCRIPT.read_text()}".encode()
    files |= python | {"/usr/bin/rcb": script, "/usr/bin/restic-compose-backup": script}
    engine.make_image(RCB_IMAGE, files)


def _modules() -> str:
    """Return the modules that the stand-in imports, comma-separated."""
    lines = (line.split() for line in _SCRIPT.read_text().splitlines())
    return ", ".join(words[1].rstrip(",") for words in lines if words[:1] in (["import"], ["from"]))
