"""Lint's findings as text for people, JSON for programs, and annotations for GitHub. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sidecar.findings import printable
from sidecar.lint.findings import LintFinding

Format = Literal["text", "json", "github"]


def format_findings(findings: Sequence[LintFinding], fmt: Format) -> str:
    """Return the findings, one a line (JSON: an array); ends with a line break unless it is empty."""
    if fmt == "json":
        import json

        return json.dumps([_json(finding) for finding in findings], indent=2) + "\n"
    lines = [_github(finding) if fmt == "github" else _text(finding) for finding in findings]
    return "".join(f"{line}\n" for line in lines)


def _text(finding: LintFinding) -> str:
    place = finding.place
    where = f"{printable(place.file, 400)}:{place.line}:{place.column}"
    return f"{where}: {finding.level}: {finding.message} [{finding.code}]"


def _json(finding: LintFinding) -> dict[str, str | int]:
    return {
        "file": finding.place.file,
        "line": finding.place.line,
        "column": finding.place.column,
        "level": finding.level,
        "code": finding.code,
        "message": finding.message,
        "label": finding.label,
        "hint": finding.hint,
    }


def _github(finding: LintFinding) -> str:
    """Return a workflow command (docs.github.com: workflow-commands-for-github-actions)."""
    place = finding.place
    level = "notice" if finding.level == "note" else finding.level
    parts = {"file": place.file, "line": place.line, "col": place.column, "title": finding.code}
    properties = ",".join(f"{key}={_escaped(str(value), ':,')}" for key, value in parts.items())
    return f"::{level} {properties}::{_escaped(finding.message)}"


def _escaped(text: str, more: str = "") -> str:
    for char in f"%\r\n{more}":
        text = text.replace(char, f"%{ord(char):02X}")
    return text
