"""The README's tables of labels and flags, made from the code: ``python scripts/readme_tables.py`` puts them in.

A test fails when they are not current.
"""

from __future__ import annotations

import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
sys.path.insert(0, str(README.parent))

from sidecar.labels.keys import KEYS  # noqa: E402  # the same
from sidecar.settings.flags import BACKUP, DAEMON, FLAGS, Flag  # noqa: E402  # the path comes first


def labels_table() -> str:
    """Return the table of labels."""
    rows = [f"| `{key.key}` | {key.summary} | `{key.example}` |" for key in KEYS]
    return "\n".join(["| label | meaning | example |", "|---|---|---|", *rows])


def flags_table() -> str:
    """Return the table of flags, in the order of the code."""
    rows = [_row(flag) for flag in FLAGS if not flag.hidden]
    return "\n".join(["| flag | environment | default | on | meaning |", "|---|---|---|---|---|", *rows])


def _row(flag: Flag) -> str:
    default = {None: "", "false": "off", "": "(empty)"}.get(flag.default, f"`{flag.default}`")
    env = f"`{flag.env}`" if flag.env else ""
    return f"| `--{flag.name}` | {env} | {default} | {_where(flag)} | {_cell(flag.help)} |"


def _cell(text: str) -> str:
    """Return ``text`` as Markdown shows it: a bare <word> would be taken for HTML and vanish."""
    return text.replace("<", "&lt;").replace("|", "\\|")


def _where(flag: Flag) -> str:
    if flag.commands == DAEMON:
        return "daemon"
    if flag.commands == BACKUP:
        return "backup-once"
    if {"reconcile", "backup-once", "status"} <= flag.commands:
        return "all"
    return ", ".join(sorted(flag.commands))


def with_tables(text: str) -> str:
    """Return the README with both tables current.

    Raises:
        ValueError: When a table has no place in the text.
    """
    for name, table in (("labels", labels_table()), ("flags", flags_table())):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"the README has no place, or two, for the table of {name}")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{table}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
