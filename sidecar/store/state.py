"""What has to outlive a crash, apart from config.json: who owns which plan, and what is still owed.

All values are frozen; a change is a new :class:`State` by ``dataclasses.replace``. ``state_store`` puts it on
the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sidecar.plans.rendering import NOT_COUNTED, Counted, Owner, Owners

VERSION = 1


@dataclass(frozen=True, slots=True)
class Owed:
    """A restart of Backrest that has to happen: the file is right, the running Backrest has not read it.

    Attributes:
        since: Unix time in seconds of the last write that asked for it. A start after it settles it.
        reason: For people.
        digest: Digest of the rendering that is to take effect.
    """

    since: float
    reason: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class StoppedBackrest:
    """Backrest, stopped by us: it must be started again, whatever else happens.

    Attributes:
        id: Container id.
        name: Container name, for when it was recreated meanwhile.
        at: Unix time in seconds, from before the stop.
    """

    id: str
    name: str
    at: float


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A rendering that Backrest did not start with. It is not tried again with this image."""

    digest: str
    image_id: str


@dataclass(frozen=True, slots=True)
class MakeUp:
    """A backup that a save of ours has taken out of Backrest's queue, or may have: it must run all the same.

    Attributes:
        plan_id: Its plan.
        at: Unix time in seconds at which it was due.
        operation: Its number in Backrest's log. A backup of the plan with this number or a later one that has begun
            settles it.
        calls: How often Backrest was asked for it.
    """

    plan_id: str
    at: float
    operation: int
    calls: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """The whole durable state.

    Attributes:
        owners: Plan id → what we remember of that plan of ours.
        owed: A restart not yet done.
        stopped: A Backrest that we stopped and have not yet seen running again.
        restarts: Unix times of our restarts of Backrest, for the budget.
        quarantine: Renderings not to be tried again.
        make_up: Backups that our saves may have cost, until they have begun.
        view: (host path, path inside Backrest) of its mounts, as last seen.
        backrest_version: As last seen; empty when never.
        image_id: Image of the Backrest container, as last seen.
        extra: Fields of the file that this version does not know. They are written back as they were.
    """

    owners: Owners = field(default_factory=dict)
    owed: Owed | None = None
    stopped: StoppedBackrest | None = None
    restarts: tuple[float, ...] = ()
    quarantine: tuple[Quarantined, ...] = ()
    make_up: tuple[MakeUp, ...] = ()
    view: tuple[tuple[str, str], ...] = ()
    backrest_version: str = ""
    image_id: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


def expecting(state: State, after: Owners) -> State:
    """Return the state for the moment in which plans may be as before or as they are to be.

    Hooks of both are known as ours then, whatever becomes of this process.

    Args:
        state: As before.
        after: The owners as they are to be.
    """
    owners = {
        plan_id: replace(owner, hooks=tuple(dict.fromkeys((*owner.hooks, *after[plan_id].hooks))))
        for plan_id, owner in state.owners.items()
        if plan_id in after
    }
    return replace(state, owners={**state.owners, **owners})


class StateUnusable(Exception):
    """The bytes are no state of this version; the message says why."""


_NONE: Mapping[str, str] = {}
_KNOWN = frozenset(State.__slots__) - {"extra"} | {"version"}


def to_json(state: State) -> dict[str, Any]:
    """Return the state as plain JSON values; what is empty is left out."""
    out: dict[str, Any] = {**state.extra, "version": VERSION}
    out["owners"] = {plan: owner_to_json(owner) for plan, owner in state.owners.items()}
    if state.owed is not None:
        out["owed"] = {"since": state.owed.since, "reason": state.owed.reason, "digest": state.owed.digest}
    if state.stopped is not None:
        out["stopped"] = {"id": state.stopped.id, "name": state.stopped.name, "at": state.stopped.at}
    if state.restarts:
        out["restarts"] = list(state.restarts)
    if state.quarantine:
        out["quarantine"] = [{"digest": q.digest, "image_id": q.image_id} for q in state.quarantine]
    if state.make_up:
        out["make_up"] = [
            {"plan_id": m.plan_id, "at": m.at, "operation": m.operation, "calls": m.calls}
            for m in state.make_up
        ]
    if state.view:
        out["view"] = [list(pair) for pair in state.view]
    texts = {name: getattr(state, name) for name in ("backrest_version", "image_id")}
    return out | {name: text for name, text in texts.items() if text}


def from_json(data: Any) -> State:
    """Build the state back from :func:`to_json`.

    Raises:
        StateUnusable: It is of another version, or not of the right shape.
    """
    if not isinstance(data, dict):
        raise StateUnusable("it is not a JSON object")
    if data.get("version") != VERSION:
        raise StateUnusable(
            f"it is of version {data.get('version')!r}, and this tool writes version {VERSION}"
        )
    try:
        owed, stopped = data.get("owed"), data.get("stopped")
        return State(
            owners={plan: owner_from_json(owner) for plan, owner in data.get("owners", {}).items()},
            owed=Owed(_number(owed["since"]), _text(owed["reason"]), _text(owed["digest"])) if owed else None,
            stopped=StoppedBackrest(_text(stopped["id"]), _text(stopped["name"]), _number(stopped["at"]))
            if stopped
            else None,
            restarts=tuple(_number(when) for when in data.get("restarts", ())),
            quarantine=tuple(
                Quarantined(_text(entry["digest"]), _text(entry["image_id"]))
                for entry in data.get("quarantine", ())
            ),
            make_up=tuple(
                MakeUp(
                    _text(entry["plan_id"]),
                    _number(entry["at"]),
                    int(_number(entry["operation"])),
                    int(_number(entry.get("calls", 0))),
                )
                for entry in data.get("make_up", ())
            ),
            view=tuple((_text(host), _text(inside)) for host, inside in data.get("view", ())),
            backrest_version=_text(data.get("backrest_version", "")),
            image_id=_text(data.get("image_id", "")),
            extra={name: value for name, value in data.items() if name not in _KNOWN},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateUnusable(f"a field is missing or of the wrong kind ({error})") from error


def owner_to_json(owner: Owner) -> dict[str, Any]:
    """Return one owner as plain JSON values, also for the payload of a write."""
    out: dict[str, Any] = {"workload": owner.workload}
    if owner.fields:
        out["fields"] = owner.fields if type(owner.fields) is dict else dict(owner.fields)
    if owner.hooks:
        out["hooks"] = owner.hooks
    if owner.paths:
        out["paths"] = owner.paths
    if owner.absent_since:
        out["absent_since"] = owner.absent_since
    if owner.disabled:
        out["disabled"] = True
    if owner.origin:
        out["origin"] = owner.origin
    if owner.since:
        out["since"] = owner.since
    if owner.counted.boot:
        out["counted"] = list(owner.counted)
    return out


def owner_from_json(data: Any) -> Owner:
    """Build an owner back from :func:`owner_to_json`. Raises KeyError, TypeError or ValueError."""
    get = data.get
    fields, hooks, paths = get("fields", _NONE), get("hooks", ()), get("paths", ())
    absent_since = get("absent_since", 0.0)
    _check_texts(data["workload"], fields, hooks, paths)
    return Owner(
        data["workload"],
        fields,
        tuple(hooks),
        tuple(paths),
        _number(absent_since) if absent_since else 0.0,
        get("disabled", False) is True,
        _text(get("origin", "")),
        _number(get("since", 0.0)),
        _counted(data["counted"]) if "counted" in data else NOT_COUNTED,
    )


def _counted(value: Any) -> Counted:
    seconds, boot, uptime = value
    return Counted(_number(seconds), _text(boot), _number(uptime))


def _check_texts(text: object, table: object, *lists: object) -> None:
    """Raise TypeError unless these are a text, a table of texts, and lists of texts.

    ``join`` looks at each item's type at the speed of C: there may be 10,000 owners.
    """
    if not isinstance(text, str):
        raise TypeError(f"text expected, not {type(text).__name__}")
    if not isinstance(table, dict):
        raise TypeError(f"an object expected, not {type(table).__name__}")
    "".join(table.values())
    for values in lists:
        if not isinstance(values, list | tuple):
            raise TypeError(f"a list expected, not {type(values).__name__}")
        "".join(values)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text expected, not {type(value).__name__}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a number expected, not {type(value).__name__}")
    return float(value)
