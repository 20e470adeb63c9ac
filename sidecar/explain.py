"""``explain [CONTAINER…]``: why is a container backed up, or not, and how? Looks, and touches nothing."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from sidecar.backrest_idle import zones_of
from sidecar.cli import CHANGED, FAILED
from sidecar.config_file import ConfigFile
from sidecar.desired import Desired, path_view
from sidecar.engine import Engine
from sidecar.explain_model import Clock, Explanation, explain_all
from sidecar.failures import FAILURES, told
from sidecar.log import get_logger
from sidecar.messages import PlansRendered
from sidecar.model import EngineSnapshot, printable
from sidecar.paths import PathRules
from sidecar.rendering import Basis, ConfigView
from sidecar.settings import Settings
from sidecar.wiring import Source, open_engine

_MARKS = {"backed up": "green", "skipped": "red", "withdrawn": "yellow"}

log = get_logger(__name__)


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
        from sidecar.coverage import explain_nodes

        return explain_nodes(settings, hosts, all_nodes=all_nodes, as_json=as_json)
    try:
        found, notes = look(settings, open_engine(settings))
    except FAILURES as failure:
        log.error("explain.failed", **told(failure))
        return FAILED
    if containers:
        wanted = [e for e in found if containers_match(e, containers)]
        missing = [name for name in containers if not any(containers_match(e, (name,)) for e in found)]
        if missing:
            there = ", ".join(e.container for e in found) or "none"
            log.error(
                "explain.failed",
                reason=f"no container {', '.join(map(printable, missing))}; there are: {there}",
            )
            return FAILED
        found = tuple(wanted)
    if as_json:
        document = {"containers": [asdict(e) for e in found], "notes": list(notes)}
        sys.stdout.write(
            orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
        )
    else:
        _print(found, notes, detailed=bool(containers) or len(found) <= 3)
    return CHANGED


def containers_match(explanation: Explanation, names: Sequence[str]) -> bool:
    """Whether one of ``names`` means this container: its name, its service, or ``project/service``."""
    return not {
        explanation.container,
        explanation.service,
        f"{explanation.project}/{explanation.service}",
    }.isdisjoint(names)


def look(settings: Settings, engine: Source) -> tuple[tuple[Explanation, ...], tuple[str, ...]]:
    """Return an explanation of every container, and notes that concern them all. Raises one of FAILURES."""
    snapshot = engine.snapshot()
    notes = list(snapshot.notes)
    file = ConfigFile(settings, now=time.time, read_only=True)
    state = file.state()
    view = path_view(snapshot, state.view, settings)
    config_view = ConfigView()
    usable = False
    try:
        config_view = file.current().view
        usable = True
    except file.Unusable as error:
        notes.append(f"{error} Until then no plan is written.")
    basis = Basis(config_view, state.owners, view)
    rendering = Desired(settings).render(snapshot, basis)
    merge = file.preview(PlansRendered(rendering, snapshot, basis, 1, 0.0)) if usable else None
    if merge is not None:
        notes.extend(
            f"config.json has a fault that is not ours: {fault.where} {fault.message}"
            for fault in merge.preexisting
        )
    notes.extend([rendering.default_repo_error] if rendering.default_repo_error else [])
    if not view and settings.path_view == "auto":
        notes.append(
            f"No container {settings.backrest_container} was seen: whether Backrest sees a path is not known."
        )
    rules = PathRules(
        docker_root=settings.docker_root or "",
        engine_root=snapshot.docker_root,
        volume_prefix=settings.volume_prefix or "",
        exclude_binds=settings.exclude_bind_mounts,
        engine_socket=settings.docker_sock.removeprefix("unix://"),
    )
    now = dt.datetime.now(dt.UTC)
    found = explain_all(snapshot, rendering, merge, rules, view, _clock(settings, engine, snapshot), now)
    told = {finding for explanation in found for finding in explanation.findings}
    notes.extend(finding.message for finding in rendering.findings if finding not in told)
    return found, tuple(dict.fromkeys(notes))


def _clock(settings: Settings, engine: Source, snapshot: EngineSnapshot) -> Clock:
    """Return the zone that Backrest reads its schedules in, as far as it can be known from outside."""
    from sidecar.protected import find_backrest

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


def _print(found: Iterable[Explanation], notes: Iterable[str], *, detailed: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    # Piped, a line is a row however long it gets; on a terminal the table fits the window.
    console = Console(
        width=None if sys.stdout.isatty() else 4000, soft_wrap=not sys.stdout.isatty(), highlight=False
    )
    explanations = tuple(found)
    if not detailed:
        table = Table(box=None if not console.is_terminal else _box(), pad_edge=False)
        for heading in ("CONTAINER", "BACKED UP", "PLAN", "SCHEDULE", "NEXT RUN"):
            table.add_column(heading, overflow="fold")
        for e in explanations:
            table.add_row(*_row(e))
        console.print(table)
        for line in dict.fromkeys(line for e in explanations for line in _reasons(e)):
            console.print(line, markup=False)
    for e in explanations if detailed else ():
        for line in _details(e):
            console.print(line, markup=False)
    for note in notes:
        console.print(f"note: {note}", markup=False)


def _box() -> Any:
    from rich.box import SIMPLE_HEAD

    return SIMPLE_HEAD


def _row(e: Explanation) -> tuple[Any, ...]:
    from rich.text import Text

    return (
        Text(printable(e.container)),
        Text(e.verdict, style=_MARKS.get(e.verdict, "dim")),
        Text("\n".join(f"{plan.id} ({plan.in_config})" for plan in e.plans)),
        Text("\n".join(plan.cron for plan in e.plans)),
        Text("\n".join(plan.next_runs[0] if plan.next_runs else "never" for plan in e.plans)),
    )


def _reasons(e: Explanation) -> Iterable[str]:
    """Yield what a person should know of it besides the table."""
    for finding in e.findings:
        yield f"{'skipped' if finding.skips else 'warning'}: {finding.message}"


def _details(e: Explanation) -> Iterable[str]:
    of = f" of {e.project}/{e.service}" if e.project else ""
    yield f"{printable(e.container)}{of} ({e.state}): {e.verdict}" + (f": {e.reason}" if e.reason else "")
    for plan in e.plans:
        yield f"  plan       {plan.id} ({plan.in_config})"
        yield f"  repo       {plan.repo}  [{plan.sources.get('repo', '')}]"
        yield f"  schedule   {plan.cron}  [{plan.sources.get('schedule', '')}]"
        yield f"  next runs  {', '.join(plan.next_runs) or 'never'}  [{plan.clock}]"
        yield f"  keeps      {plan.retention}  [{plan.sources.get('retention', plan.sources.get('keep', ''))}]"
        for label, values in (("path", plan.paths), ("exclude", plan.excludes)):
            for value in values:
                yield f"  {label:<10} {printable(value)}"
        for condition, command in plan.hooks:
            yield f"  hook       {condition}: {printable(command)}"
    for mount in e.mounts:
        seen = mount.backrest or "not seen"
        yield (
            f"  mount      {printable(mount.destination)} <- {printable(mount.host or mount.kind)}"
            + (f"; Backrest: {printable(seen)}" if mount.host and not mount.note else "")
            + (f"; {mount.note}" if mount.note else "")
        )
    for finding in e.findings:
        if not finding.skips:
            yield f"  warning    {finding.message}"
        elif e.plans:  # one of several plans; where it is the only one, it is the reason above
            yield f"  skipped    {finding.message}"
    yield ""
