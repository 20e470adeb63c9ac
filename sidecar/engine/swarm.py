"""What the sidecar asks of a swarm manager: services, nodes, tasks, and scaling a service."""

from __future__ import annotations

from typing import Any, Final

from sidecar.engine import decode
from sidecar.engine.connection import Connection, segment
from sidecar.engine.errors import EngineError
from sidecar.engine.model import SwarmService
from sidecar.engine.types import SwarmNode, SwarmTask

SCALE_TRIES: Final = 3


class Swarm:
    """Calls that only a manager answers. Every method raises :class:`EngineError`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def services(self) -> tuple[SwarmService, ...]:
        """Return all services, by name."""
        return tuple(sorted(map(decode.service, self._list("/services")), key=lambda s: s.name))

    def service(self, name: str) -> SwarmService | None:
        """Return the service of that full name or id, or None."""
        raw = self._inspect(name)
        return None if raw is None else decode.service(raw)

    def nodes(self) -> tuple[SwarmNode, ...]:
        """Return all nodes, by host name."""
        return tuple(sorted(map(_node, self._list("/nodes")), key=lambda n: (n.hostname, n.id)))

    def tasks(self) -> tuple[SwarmTask, ...]:
        """Return all tasks, the ended ones included."""
        return tuple(map(_task, self._list("/tasks")))

    def scale(self, name: str, replicas: int) -> int:
        """Set the replicas of a replicated service; return how many were wanted before.

        Raises:
            EngineError: ``conflict`` for a global service, ``not-found`` for none of that name.
        """
        for attempt in range(SCALE_TRIES):
            raw = self._inspect(name)
            if raw is None:
                raise EngineError("not-found", f"there is no service {name}")
            spec = raw["Spec"]
            replicated = (spec.get("Mode") or {}).get("Replicated")
            if replicated is None:
                raise EngineError(
                    "conflict", f"service {name} has no replicas to scale: its mode is not replicated"
                )
            before = int(replicated.get("Replicas") or 0)
            if before == replicas:
                return before
            replicated["Replicas"] = replicas
            version = int(raw["Version"]["Index"])
            try:
                self._connection.call(
                    "POST", f"/services/{raw['ID']}/update", {"version": version}, body=spec
                )
            except EngineError as error:
                if "out of sequence" not in error.message or attempt == SCALE_TRIES - 1:
                    raise
                continue  # somebody else changed it in between: read again
            return before
        raise AssertionError("unreachable: the last try returns or raises")

    def _inspect(self, name: str) -> dict[str, Any] | None:
        try:
            raw = self._connection.get_json(f"/services/{segment(name)}")
        except EngineError as error:
            if error.kind == "not-found":
                return None
            raise _explained(error) from error
        if not isinstance(raw, dict) or "Spec" not in raw:
            raise decode.wrong_shape("/services/{id}")
        return raw

    def _list(self, path: str) -> list[dict[str, Any]]:
        try:
            rows = self._connection.get_json(path)
        except EngineError as error:
            raise _explained(error) from error
        if not isinstance(rows, list):
            raise decode.wrong_shape(path)
        return rows


def _explained(error: EngineError) -> EngineError:
    if "swarm manager" in error.message:
        return EngineError("conflict", error.message, "ask a manager node of the swarm")
    return error


def _node(raw: dict[str, Any]) -> SwarmNode:
    spec, status = raw.get("Spec") or {}, raw.get("Status") or {}
    return SwarmNode(
        id=str(raw.get("ID") or ""),
        hostname=(raw.get("Description") or {}).get("Hostname") or "",
        role=spec.get("Role") or "",
        state=status.get("State") or "",
        availability=spec.get("Availability") or "",
        address=status.get("Addr") or "",
    )


def _task(raw: dict[str, Any]) -> SwarmTask:
    status = raw.get("Status") or {}
    return SwarmTask(
        id=str(raw.get("ID") or ""),
        service_id=raw.get("ServiceID") or "",
        node_id=raw.get("NodeID") or "",
        slot=int(raw.get("Slot") or 0),
        state=status.get("State") or "",
        desired_state=raw.get("DesiredState") or "",
        container_id=(status.get("ContainerStatus") or {}).get("ContainerID") or "",
    )
