"""The command ``lint``: files in, findings on standard output, 0 or 3 out."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.exit_codes import ExitCode
from sidecar.labels.values import LabelPolicy
from sidecar.lint.checks import LintOptions, lint_files
from sidecar.lint.format import Format, format_findings


def run_lint(
    files: Sequence[str],
    fmt: Format,
    *,
    options: LintOptions,
    env: Mapping[str, str],
    separate: bool = False,
) -> tuple[int, str]:
    """Return the exit code and what to print. Notes alone leave the exit code at 0."""
    findings = lint_files(files, options=options, env=env, separate=separate)
    worst = any(finding.level != "note" for finding in findings)
    return (ExitCode.FAILED if worst else ExitCode.CHANGED), format_findings(findings, fmt)


def lint(files: Sequence[str], fmt: Format, *, separate: bool = False, **given: Any) -> int:
    """Print the findings of ``files`` and return the exit code.

    Args:
        files: As the user gave them.
        fmt: ``text``, ``json`` or ``github``.
        separate: Each Compose file is a project of its own.
        given: Flags by field name, None for those that were not given; environment and default then count.

    Raises:
        click.UsageError: A value that its flag does not take; the message names it.
    """
    from sidecar.settings.flags import flags_for

    values: dict[str, Any] = {}
    for flag in flags_for("lint"):
        value = given.get(flag.field)
        if value is None:
            value = (os.environ.get(flag.env, "") if flag.env else "") or flag.default
        values[flag.field] = _parsed(f"--{flag.name}", flag.parse, value)
    options = LintOptions(
        LabelPolicy(hooks=values["hooks"], hook_templates=bool(values["hook_templates"])),
        prefix=values["plan_id_prefix"] or "",
        include_project=bool(values["include_project_name"]),
    )
    code, text = run_lint(files, fmt, options=options, env=os.environ, separate=separate)
    sys.stdout.write(text)
    sys.stdout.flush()
    return code


def _parsed(name: str, parse: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse(value)
    except ValueError as error:
        from click import UsageError

        raise UsageError(f'{name} "{value}" {error}') from error
