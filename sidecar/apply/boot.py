"""How long this machine has been up: time that goes on evenly, whatever the clock is set to."""

from __future__ import annotations

from pathlib import Path

from sidecar.merge.result import NO_BOOT, Boot


def read_boot(proc: Path = Path("/proc")) -> Boot:
    """Return the boot's id and its seconds, those that the machine slept included; ``NO_BOOT`` where it is not told.

    Read from files, so that it is the same for every process on the machine (proc(5): uptime, random/boot_id).
    """
    try:
        boot_id = (proc / "sys/kernel/random/boot_id").read_text().strip()
        return Boot(boot_id, float((proc / "uptime").read_text().split()[0]))
    except (OSError, ValueError, IndexError):
        return NO_BOOT
