"""Entry point: ``backrest-sidecar`` and ``python -m sidecar``.

``healthcheck`` runs every few seconds for years, so it is served before anything heavy is imported.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def _leave(_number: int, _frame: FrameType | None) -> None:
    # A daemon that is told to stop has done its work, whatever else has been cut off.
    raise SystemExit(0 if "daemon" in sys.argv[1:] else 3)


def main() -> int:
    """Run the command line; return the exit code of contract §1."""
    # The first process of a container ignores what it has no handler for, and imports take a while.
    signal.signal(signal.SIGTERM, _leave)
    if len(sys.argv) > 1 and sys.argv[1] == "healthcheck":
        from sidecar.status.healthcheck import main as healthcheck

        return healthcheck(sys.argv[2:])
    # Looking for plugins of pydantic means reading what is installed, at every start; there are none of ours.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from sidecar.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
