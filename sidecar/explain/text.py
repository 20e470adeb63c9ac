"""What ``explain`` prints for people: a table of all containers, or every detail of some."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from sidecar.explain.model import Explanation, PlanView
from sidecar.findings import printable

_HEAD = ("CONTAINER", "BACKED UP", "PLAN", "SCHEDULE", "NEXT RUN")
_MARKS = {"backed up": "green", "in part": "red", "skipped": "red", "withdrawn": "yellow"}
_INDENT = 13
"""Width of a detail's name; a line too long for a terminal goes on below its value."""


def show(found: Sequence[Explanation], notes: Iterable[str], *, detailed: bool) -> None:
    """Print explanations, then notes. Piped, a line is a row however long it gets."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if detailed:
        lines = [line for e in found for line in _details(e)]
    else:
        lines = []
        if width:
            _table(found)
        else:
            lines += _plain_table(found)
        lines += dict.fromkeys(line for e in found for line in _reasons(e))
        clocks = dict.fromkeys(plan.clock for e in found for plan in e.plans)
        lines += [f"note: the next run is by {clock}" for clock in clocks]
    lines += [f"note: {note}" for note in notes]
    sys.stdout.writelines(f"{_wrapped(line, width)}\n" for line in lines)


def _wrapped(line: str, width: int) -> str:
    """Return ``line`` broken between words where it is too long; a path stays in one piece, to be copied."""
    if not width or len(line) <= width:
        return line
    indent = " " * (_INDENT if line.startswith("  ") else 2)
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _rows(found: Iterable[Explanation]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each plan of a container, or one for a container without any."""
    for e in found:
        name = printable(e.container)
        for plan in e.plans:
            state = "" if plan.in_config == "up to date" else f" ({plan.in_config})"
            verdict = "in part" if plan.without else e.verdict
            yield name, verdict, plan.id + state, plan.cron, _next(plan)
        if any(finding.skips for finding in e.findings):
            for kept in e.kept or ():
                yield name, "skipped", f"{printable(kept)} (left as before)", "", ""
        if not e.plans and not (e.verdict == "skipped" and e.kept):
            yield name, e.verdict, "", "", ""


def _next(plan: PlanView) -> str:
    """Return the next run to the minute, without its offset; whose clock it is stands below the table."""
    return plan.next_runs[0][:16].replace("T", " ") if plan.next_runs else "never"


def _plain_table(found: Iterable[Explanation]) -> list[str]:
    rows = [_HEAD, *_rows(found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _table(found: Iterable[Explanation]) -> None:
    """Print the table as wide as the terminal; of what does not fit only names are broken."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in _HEAD:
        table.add_column(heading, overflow="fold", no_wrap=heading not in {"CONTAINER", "PLAN"})
    for name, verdict, *rest in _rows(found):
        table.add_row(Text(name), Text(verdict, style=_MARKS.get(verdict, "dim")), *map(Text, rest))
    Console(highlight=False).print(table)


def _reasons(e: Explanation) -> Iterator[str]:
    """Yield what a person should know of it besides the table."""
    for finding in e.findings:
        yield f"{'skipped' if finding.skips else 'warning'}: {finding.message}"


def _details(e: Explanation) -> Iterator[str]:
    of = f" of {e.project}/{e.service}" if e.project else ""
    skips = [finding for finding in e.findings if finding.skips]
    reason = "" if e.verdict == "skipped" and skips else e.reason  # then all the reasons follow below
    yield f"{printable(e.container)}{of} ({e.state}): {e.headline}" + (f": {reason}" if reason else "")
    for plan in e.plans:
        yield from _plan(plan)
    for mount in e.mounts:
        seen = mount.backrest or "not seen"
        yield (
            f"  mount      {printable(mount.destination)} <- {printable(mount.host or mount.kind)}"
            + (f"; Backrest: {printable(seen)}" if mount.host and not mount.note else "")
            + (f"; {mount.note}" if mount.note else "")
        )
    for finding in e.findings:
        text = finding.message.removeprefix(f"{finding.container}: ")
        yield f"  {'skipped' if finding.skips else 'warning'}    {text}"
    yield ""


def _plan(plan: PlanView) -> Iterator[str]:
    inherited = f"  [{plan.sources['id']}]" if "id" in plan.sources else ""
    yield f"  plan       {plan.id} ({plan.in_config}){inherited}"
    yield f"  repo       {plan.repo}  [{plan.sources.get('repo', '')}]"
    yield f"  schedule   {plan.cron}  [{plan.sources.get('schedule', '')}]"
    yield f"  next runs  {', '.join(plan.next_runs) or 'never'}  [{plan.clock}]"
    yield f"  keeps      {plan.retention}  [{plan.sources.get('retention', plan.sources.get('keep', ''))}]"
    for label, values in (("path", plan.paths), ("without", plan.without), ("exclude", plan.excludes)):
        for value in values:
            yield f"  {label:<10} {printable(value)}"
    for condition, command in plan.hooks:
        yield f"  hook       {condition}: {printable(command)}"
