"""Hooks: the commands that labels ask for, and the stop/start template.

Backrest feeds a command hook to ``sh`` on stdin, without ``set -e``, after expanding ``{{`` as a Go template
(backrest: internal/hook/types/command.go). So the template's scripts avoid ``{{``, redirect stdin of everything
they call, and start with ``set -e``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from sidecar.backrest_plan import SNAPSHOT_END, SNAPSHOT_ERROR, SNAPSHOT_START, Hook
from sidecar.model import SWARM_SERVICE

STOP_MARKER = ": backrest-sidecar v1 stop"
START_MARKER = ": backrest-sidecar v1 start"
_SELF = re.compile(r"\$\{SELF\}|\$SELF(?![A-Za-z0-9_])")

_CONFIG_FILE = '"${BACKREST_CONFIG:-${XDG_CONFIG_HOME:-${HOME:-}/.config}/backrest/config.json}"'
_DIRECTORY = f'd="$(dirname {_CONFIG_FILE})/.backrest-sidecar/stopped"'


SERVICE_PREFIX = "service="
"""Begins the name of a marker of a Swarm service; no container's name has a ``=``. It holds the replica count."""
_SCALE_WAIT = 900
"""Seconds that a service's tasks on this node get to end; the engine kills them after their own grace period."""


def _for_container(command: str, container: str) -> str:
    return _SELF.sub(lambda _: shlex.quote(container), command)


def command_hooks(commands: Iterable[str], condition: str, containers: Sequence[str]) -> tuple[Hook, ...]:
    """Return a hook for each label command, in label order; one per container where it names ``$SELF``."""
    texts = [
        text
        for command in commands
        for text in dict.fromkeys(_for_container(command, name) for name in containers)
    ]
    return tuple(Hook(conditions=(condition,), command=text) for text in texts)


def label_hooks(start: Iterable[str], end: Iterable[str], containers: Sequence[str]) -> tuple[Hook, ...]:
    """Return the hooks of ``backrest.snapshot-start`` and ``-end``: start before end."""
    return (
        *command_hooks(start, SNAPSHOT_START, containers),
        *command_hooks(end, SNAPSHOT_END, containers),
    )


def stop_script(containers: Sequence[str], services: Sequence[str] = ()) -> str:
    """Return the script that stops what runs, and marks what it stopped before it does.

    A container that is gone, down or paused is left alone: its data does not change, and it must not be started
    afterwards. An engine that does not answer fails the script, for then nobody knows. A Swarm service is scaled
    to nothing, since Swarm would replace a task that is stopped; its marker holds the replicas it had.

    Args:
        containers: Names of containers.
        services: Full names of replicated services; the engine must be a manager of their swarm.
    """
    lines = [STOP_MARKER, "set -eu", _DIRECTORY, "docker version >/dev/null </dev/null", 'mkdir -p "$d"']
    for name in containers:
        quoted = shlex.quote(name)
        lines += [
            f"s=$(docker inspect --type container {quoted} 2>/dev/null </dev/null) || s=",
            'case "$s" in',
            "*'\"Paused\": true'*) ;;",
            f'*\'"Running": true\'*) : >"$d"/{quoted}; docker stop {quoted} </dev/null ;;',
            "esac",
        ]
    lines += [_REPLICAS] if services else []
    for name in services:
        lines += _scale_down(name)
    return "\n".join(lines) + "\n"


_REPLICAS = (
    'replicas() { printf "%s\\n" "$1" | sed -n \'s/^ *"Replicas": \\([0-9][0-9]*\\),*$/\\1/p\' | head -n 1; }'
)
"""Takes the replica count out of ``docker service inspect``: the specification comes before the previous one."""


def _scale_down(service: str) -> list[str]:
    quoted, marker = shlex.quote(service), shlex.quote(SERVICE_PREFIX + service)
    tasks = f"docker ps --quiet --filter label={SWARM_SERVICE}={quoted} </dev/null"
    return [
        f"if s=$(docker service inspect {quoted} 2>&1 </dev/null); then",
        '  n=$(replicas "$s")',
        '  case "$n" in',
        f"  '') echo {quoted}' has no replicas to scale' >&2; exit 1 ;;",
        "  0) ;;",
        # In one step, so that nobody reads half a number.
        f'  *) echo "$n" >"$d"/.{marker}; mv "$d"/.{marker} "$d"/{marker}',
        f"    docker service scale --detach {quoted}=0 </dev/null ;;",
        "  esac",
        "  t=0",
        "  while :; do",
        f"    c=$({tasks})",
        '    [ -n "$c" ] || break',
        f"    if [ \"$t\" -ge {_SCALE_WAIT} ]; then echo {quoted}' still runs here' >&2; exit 1; fi",
        "    t=$((t + 1)); sleep 1",
        "  done",
        'else case "$s" in',
        "  *[Nn]'o such service'*) ;;",
        '  *) echo "$s" >&2; exit 1 ;;',
        "esac; fi",
    ]


def start_script(containers: Sequence[str], services: Sequence[str] = ()) -> str:
    """Return the script that starts what :func:`stop_script` stopped, and nothing else.

    A service that somebody has scaled up in between stays as it is.
    """
    lines = [START_MARKER, _DIRECTORY, "r=0"]
    for name in containers:
        quoted = shlex.quote(name)
        lines.append(
            f'if [ -e "$d"/{quoted} ]; then'
            f' if docker start {quoted} </dev/null; then rm -f "$d"/{quoted}; else r=1; fi; fi'
        )
    lines += [_REPLICAS] if services else []
    for name in services:
        quoted, marker = shlex.quote(name), shlex.quote(SERVICE_PREFIX + name)
        lines += [
            f'if [ -e "$d"/{marker} ]; then',
            f'  n=$(cat "$d"/{marker}); case "$n" in \'\' | *[!0-9]*) n=1 ;; esac',
            f"  s=$(docker service inspect {quoted} </dev/null) || s=",
            '  case "$(replicas "$s")" in',
            "  '') r=1 ;;",
            f'  0) if docker service scale --detach {quoted}="$n" </dev/null;',
            f'    then rm -f "$d"/{marker}; else r=1; fi ;;',
            f'  *) rm -f "$d"/{marker} ;;',
            "  esac",
            "fi",
        ]
    lines.append("exit $r")
    return "\n".join(lines) + "\n"


def template_hooks(stop: str, start: str) -> tuple[Hook, ...]:
    """Return the two hooks of the stop/start template, the start hook first.

    ``SNAPSHOT_END`` alone does not come after a failed start hook or a failed auto-unlock, so the start hook
    takes ``SNAPSHOT_ERROR`` too; it stands first since an earlier hook that halts would skip it. The stop hook
    cancels the backup when it fails: no silent backup of live files
    (backrest: internal/orchestrator/tasks/taskbackup.go:148-156, internal/hook/hook.go:18-56).
    """
    return (
        Hook(conditions=(SNAPSHOT_END, SNAPSHOT_ERROR), command=start),
        Hook(conditions=(SNAPSHOT_START,), command=stop, on_error="ON_ERROR_CANCEL"),
    )


def go_tool_commands(
    start: Iterable[str], end: Iterable[str], *, template: bool, containers: Sequence[str]
) -> tuple[str, ...]:
    """Return what the Go tool of this name renders from the same labels, to recognise its hooks.

    Of several replicas it wrote the hooks of any one: its plans overwrite each other.
    """
    commands = (*start, *end)
    if not commands and template:
        return tuple(f"docker {verb} {name}" for name in containers for verb in ("stop", "start"))
    return commands
