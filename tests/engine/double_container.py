"""The double of Backrest as a container on the tests' engine, without an image of its own.

The busybox image has no Python, so this machine's is mounted into it, read-only. In the container's process list the
double stands as ``python3 /backrest``, which counts as Backrest.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.backrest.api import BackrestApi
from tests.contract.harness import free_port
from tests.engine.harness import TestEngine
from tests.waiting import eventually

TESTS = Path(__file__).resolve().parent.parent


@dataclass
class DoubleContainer:
    """One container in which the double runs.

    Attributes:
        engine: Where it runs.
        home: A directory of the host: ``config/config.json`` and ``data``.
        name: Its name.
        port: Its port on this machine.
        id: Its id.
    """

    engine: TestEngine
    home: Path
    name: str = "backrest"
    port: int = field(default_factory=free_port)
    id: str = ""

    @property
    def config(self) -> Path:
        """Its config.json, seen from the host."""
        return self.home / "config" / "config.json"

    @property
    def api(self) -> BackrestApi:
        """A client of it."""
        return BackrestApi(f"http://127.0.0.1:{self.port}")

    def run(self, config: dict[str, Any] | None, *, wait: bool = True, **host_config: Any) -> DoubleContainer:
        """Create and start it, with ``config`` as its file where given; wait until it answers."""
        self.config.parent.mkdir(parents=True, exist_ok=True)
        if config is not None:
            self.config.write_text(json.dumps(config))
        python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        needed = {"/usr", "/lib", "/lib64", sys.base_prefix}
        mounts = [f"{path}:{path}:ro" for path in sorted(needed) if Path(path).exists()]
        mounts += [f"{TESTS}:/tests:ro", f"{TESTS / 'doubles/backrest/server.py'}:/backrest:ro"]
        mounts += [f"{self.config.parent}:/config", f"{self.home / 'data'}:/data"]
        volumes = self.engine.root / "volumes"
        mounts += [f"{volumes}:{volumes}:ro"]
        places = ["--config", "/config/config.json", "--data", "/data", "--bind", f"127.0.0.1:{self.port}"]
        self.id = self.engine.run_container(
            self.name,
            volumes=mounts,
            command=[str(python), "-B", "/backrest", *places],
            network="host",
            HostConfig={"Init": True, **host_config},
        )
        if wait:
            eventually(self.api.answers)
        return self
