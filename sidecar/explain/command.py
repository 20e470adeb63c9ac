"""``explain [CONTAINER…]``: why is a container backed up, or not, and how? Looks, and touches nothing."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import orjson

from sidecar.apply.boot import read_boot
from sidecar.apply.config_file import ConfigFile
from sidecar.apply.observe import Observer
from sidecar.backrest.idle import zones_of
from sidecar.engine.client import Engine
from sidecar.engine.model import EngineSnapshot
from sidecar.engine.source import Source, open_engine
from sidecar.errors import SidecarError
from sidecar.exit_codes import ExitCode
from sidecar.explain.model import Clock, Explanation, explain_all
from sidecar.findings import Finding, printable
from sidecar.messages import PlansRendered
from sidecar.plans.render import path_context
from sidecar.plans.rendering import AMBIGUOUS_BACKREST, ConfigView
from sidecar.plans.workloads import without_temporary
from sidecar.settings.settings import Settings


def explain(
    settings: Settings,
    *,
    containers: Sequence[str] = (),
    as_json: bool = False,
    all_nodes: bool = False,
    hosts: Sequence[str] = (),
) -> int:
    """Explain the named containers, or all; return 0, or 3 when the engine or a name cannot be found."""
    if all_nodes or hosts:
        from sidecar.explain.nodes import explain_nodes

        return explain_nodes(settings, hosts, all_nodes=all_nodes, as_json=as_json)
    try:
        found, notes = look(settings, open_engine(settings.docker_sock, settings.replay))
    except SidecarError as failure:
        return _fail(str(failure))
    if containers:
        named = {name: [e for e in found if containers_match(e, (name,))] for name in containers}
        for name, hits in named.items():
            # By the name that it will have, too, once Compose has ended a recreate.
            coming = [] if hits else [e for e in found if without_temporary(e.container) == name]
            hits.extend(coming if len(coming) == 1 else ())
        wanted = [e for e in found if any(e in hits for hits in named.values())]
        missing = [name for name, hits in named.items() if not hits]
        if missing:
            there = ", ".join(e.container for e in found) or "none"
            return _fail(f"no container {', '.join(map(printable, missing))}; there are: {there}")
        found = tuple(wanted)
    if as_json:
        document = {"containers": [asdict(e) for e in found], "notes": list(notes)}
        sys.stdout.write(
            orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
        )
    else:
        from sidecar.explain.text import show

        show(found, notes, detailed=bool(containers) or len(found) <= 3)
    return ExitCode.CHANGED


def _fail(reason: str) -> int:
    """Say it where it is no part of ``--json``."""
    sys.stderr.write(f"Error: {reason}\n")
    return ExitCode.FAILED


def containers_match(explanation: Explanation, names: Sequence[str]) -> bool:
    """Whether one of ``names`` means this container: its name, its service, or ``project/service``."""
    return not {
        explanation.container,
        explanation.service,
        f"{explanation.project}/{explanation.service}",
    }.isdisjoint(names)


def look(settings: Settings, engine: Source) -> tuple[tuple[Explanation, ...], tuple[str, ...]]:
    """Return an explanation of every container, and notes that concern them all. Raises SidecarError."""
    observer = Observer(settings, engine, time.monotonic)
    snapshot = observer.snapshot()
    notes = list(snapshot.notes)
    file = ConfigFile(settings, now=time.time, read_only=True, boot=read_boot)
    state = file.state()
    config_view = ConfigView()
    usable = False
    try:
        config_view = file.current().view
        usable = True
    except file.Unusable as error:
        notes.append(f"{error} Until then no plan is written.")
    seen = observer.render(snapshot, config_view, state.owners, state.view)
    rendering, basis = seen.rendering, seen.basis
    notes.extend([observer.note] if observer.note else [])
    if not usable:
        rendering = replace(rendering, findings=tuple(map(_repo_unknown, rendering.findings)))
    merge = file.preview(PlansRendered(rendering, snapshot, basis, 1, 0.0)) if usable else None
    if merge is not None:
        notes.extend(
            f"config.json has a fault that is not ours: {fault.where} {fault.message}"
            for fault in merge.preexisting
        )
    notes.extend([rendering.default_repo_error] if rendering.default_repo_error else [])
    unclear = any(finding.code == AMBIGUOUS_BACKREST for finding in rendering.findings)
    if not basis.path_view and settings.path_view == "auto" and not unclear:
        notes.append(
            f"No container {settings.backrest_container} was seen: whether Backrest sees a path is not known."
        )
    context = path_context(snapshot, settings, basis.path_view, basis.facts)
    now = dt.datetime.now(dt.UTC)
    found = explain_all(snapshot, rendering, merge, context, _clock(settings, engine, snapshot), now)
    told = {finding for explanation in found for finding in explanation.findings}
    notes.extend(finding.message for finding in rendering.findings if finding not in told)
    return found, tuple(dict.fromkeys(notes))


def _repo_unknown(finding: Finding) -> Finding:
    """Return a finding that does not ask for a repo where nobody could look whether there is one."""
    if finding.code != "no-repo":
        return finding
    return replace(finding, message=f"{finding.container}: its repo is not known, config.json cannot be used")


def _clock(settings: Settings, engine: Source, snapshot: EngineSnapshot) -> Clock:
    """Return the zone that Backrest reads its schedules in, as far as it can be known from outside."""
    from sidecar.backrest.protected import find_backrest

    backrest = find_backrest(snapshot, settings.backrest_container)
    if backrest is not None and isinstance(engine, Engine):
        state = engine.find(backrest.id)
        if state is not None:
            zones = zones_of(state)
            if len(zones) == 1:
                name = state.tz or "the host's zone, which it mounts"
                return Clock(zones[0], f"Backrest's clock ({name})")
            return Clock(dt.UTC, "Backrest's clock, taken for UTC (its container sets no TZ)")
    return Clock(None, "this machine's clock; Backrest's own is not known")
