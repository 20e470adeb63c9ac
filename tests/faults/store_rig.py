"""One config.json in a directory of its own, and the questions that every fault test asks of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from sidecar.store.config_store import ConfigStore
from sidecar.store.fs import Fs
from sidecar.store.recovery import Recovered

OLD = b'{"version": 6, "plans": ["old"]}'
NEW = b'{"version": 6, "plans": ["new"], "more": true}'
PAYLOAD = {"owners": {"plan": "workload"}}
NOW = 1_800_000_000.0


class Rig:
    """A directory with a config.json.

    Args:
        directory: An empty directory.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.path = directory / "config.json"
        self.path.write_bytes(OLD)

    def store(self, fs: Fs | None = None, *, mode: int | None = 0o644) -> ConfigStore:
        """Return a store on the file, as a newly started process has it."""
        return ConfigStore(
            self.path, mode=mode, state_dir=self.directory / "state", clock=lambda: NOW, fs=fs or QuickFs()
        )

    def recover(self) -> Recovered:
        """Recover as the next start does, and check that nothing is left to do."""
        recovered = self.store().recover()
        assert self.leftovers() == []
        again = self.store().recover()
        assert (again.written, again.payload) == (recovered.written, recovered.payload)
        assert (again.removed, again.restored, again.kept) == (0, False, ())
        return recovered

    def discard(self) -> None:
        """Remove everything: a test that tells thousands of stories needs no record of the good ones."""
        shutil.rmtree(self.directory)

    def leftovers(self) -> list[str]:
        """Return the names in the directory that are neither the file, its copies, nor the state."""
        known = ("config.json", "state")
        return sorted(
            entry.name
            for entry in self.directory.iterdir()
            if entry.name not in known and not entry.name.startswith("config.json.sidecar.")
        )

    def kept(self) -> list[bytes]:
        """Return the contents that were put aside as somebody else's."""
        return [path.read_bytes() for path in sorted(self.directory.glob("config.json.sidecar.*.kept"))]

    def undo(self) -> list[bytes]:
        """Return the contents of the undo copies, oldest first."""
        copies = sorted(self.directory.glob("config.json.sidecar.*Z"))
        return [path.read_bytes() for path in copies]


class QuickFs(Fs):
    """The real thing without waiting for the disk."""

    def fsync(self, fd: int) -> None:
        """Do nothing."""
