"""What becomes of the file that comes out of an exchange: the undo copy, a kept version, or nothing.

Each step is one rename or unlink, in an order that recovery understands wherever a kill interrupts it.
"""

from __future__ import annotations

from pathlib import Path

from sidecar.store import versions
from sidecar.store.fs import Fs
from sidecar.store.intent import Intent, IntentFile


def drop_ours(fs: Fs, dir_fd: int, intent: Intent, intents: IntentFile) -> None:
    """Remove our own file from the swap name, in an order that a crash cannot mistake for a write.

    Raises:
        OSError: Something is left, under a name that the next recovery understands.
    """
    fs.rename(dir_fd, intent.swap, intent.staged)
    intents.clear()
    fs.unlink(dir_fd, intent.staged)


def retire(fs: Fs, dir_fd: int, old_fd: int, intent: Intent) -> None:
    """Turn the old file at the swap name into the undo copy. Raises OSError."""
    fs.chmod(old_fd, versions.MODE)
    fs.rename(dir_fd, intent.swap, intent.undo)


def keep_aside(fs: Fs, dir_fd: int, path: Path, name: str, now: float, *, fd: int = -1) -> Path:
    """Give another writer's version that lies under a temporary name its own, and return that path.

    Args:
        fs: The file operations.
        dir_fd: The directory.
        path: The file that it is a version of.
        name: The temporary name.
        now: Unix time in seconds.
        fd: The version, where it is open already.

    Raises:
        OSError: It lies where it lay.
    """
    kept = path.with_name(versions.new_name(fs.listdir(dir_fd), path, now, kept=True))
    opened = fd if fd >= 0 else fs.open_read(dir_fd, name)
    try:
        fs.chmod(opened, versions.MODE)
    finally:
        if fd < 0:
            fs.close(opened)
    fs.rename(dir_fd, name, kept.name)
    fs.fsync(dir_fd)
    return kept


def prune(fs: Fs, dir_fd: int, path: Path) -> None:
    """Remove our undo copies past the newest ten. Raises OSError."""
    for name in versions.expired(fs.listdir(dir_fd), path):
        fs.unlink(dir_fd, name)
