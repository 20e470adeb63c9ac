"""Hooks: the commands that labels ask for, and the stop/start template.

Backrest feeds a command hook to ``sh`` on stdin, without ``set -e``, after expanding ``{{`` as a Go template
(backrest: internal/hook/types/command.go). So the template's scripts avoid ``{{``, redirect stdin of everything
they call, and start with ``set -e``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from sidecar.config.plan import SNAPSHOT_END, SNAPSHOT_ERROR, SNAPSHOT_START, Hook
from sidecar.engine.model import COMPOSE_PROJECT, COMPOSE_SERVICE, SWARM_SERVICE

STOP_MARKER = ": backrest-sidecar v1 stop"
START_MARKER = ": backrest-sidecar v1 start"
_SELF = re.compile(r"\$\{SELF\}|\$SELF(?![A-Za-z0-9_])")

FATAL = "ON_ERROR_FATAL"
ON_ERROR: Mapping[str, str] = MappingProxyType(
    {
        "fatal": FATAL,
        "cancel": "ON_ERROR_CANCEL",
        "ignore": "",  # Backrest's default, which it leaves out
        "retry-1m": "ON_ERROR_RETRY_1MINUTE",
        "retry-10m": "ON_ERROR_RETRY_10MINUTES",
    }
)
"""Word of ``backrest.hooks.on-error`` → Backrest's (backrest: proto/v1/config.proto:233-239)."""

_CONFIG_FILE = '"${BACKREST_CONFIG:-${XDG_CONFIG_HOME:-${HOME:-}/.config}/backrest/config.json}"'
_DIRECTORY = f'd="$(dirname {_CONFIG_FILE})/.backrest-sidecar/stopped"'

SERVICE_PREFIX = "service="
"""Begins the name of a marker of a Swarm service; no container's name has a ``=``. It holds the replica count."""
_SCALE_WAIT = 900
"""Seconds that a service's tasks on this node get to end; the engine kills them after their own grace period."""


def _for_container(command: str, container: str) -> str:
    return _SELF.sub(lambda _: shlex.quote(container), command)


def command_hooks(
    commands: Iterable[str], condition: str, containers: Sequence[str], on_error: str = ""
) -> tuple[Hook, ...]:
    """Return a hook for each label command, in label order; one per container where it names ``$SELF``."""
    texts = [
        text
        for command in commands
        for text in dict.fromkeys(_for_container(command, name) for name in containers)
    ]
    return tuple(Hook(conditions=(condition,), command=text, on_error=on_error) for text in texts)


def label_hooks(
    start: Iterable[str], end: Iterable[str], containers: Sequence[str], on_error: str = FATAL
) -> tuple[Hook, ...]:
    """Return the hooks of ``backrest.snapshot-start`` and ``-end``: start before end.

    ``on_error`` is for the start hooks: a backup without its dump is no backup. A hook at the end has none. The
    snapshot is made by then, and a halt would skip the hooks behind it; a retry would even make the whole backup
    again (backrest: internal/orchestrator/tasks/taskbackup.go).
    """
    return (
        *command_hooks(start, SNAPSHOT_START, containers, on_error),
        *command_hooks(end, SNAPSHOT_END, containers),
    )


class Belongs(NamedTuple):
    """The Compose project and service that a container is of; empty for one that is of none.

    With the name they tell a container from another that has taken its name, and outlast a recreate.
    """

    project: str = ""
    service: str = ""


_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What Compose lets a project or service be called. Labels can be set by hand, and ``{{`` would be expanded."""

_REFUSE = 'refuse() { echo "$1: $2; no backup is made" >&2; exit 1; }'
_LOOK = """\
look() {
  s=$(docker inspect --type container "$1" 2>&1 </dev/null) || refuse "$1" "it is gone or cannot be looked at: $s"
  case "$s" in *'"AutoRemove": true'*)
    refuse "$1" 'it runs with --rm, so the engine would remove it and its anonymous volumes when it stops'
  ;; esac
}"""
_OF = """\
of() {
  case "$s" in *"$2"*) ;; *) refuse "$1" "it is not the container that the plan means, which has $2" ;; esac
}"""
_FLUSH = """\
flush() { sync "$1" "$d" "${d%/*}" "${d%/*/*}" 2>/dev/null || sync || :; }"""
"""Puts a marker and the directories above it on the disk: after a crash it is all that tells what was stopped."""


def stop_script(
    containers: Sequence[str],
    services: Sequence[str] = (),
    belongs: Mapping[str, Belongs] = MappingProxyType({}),
) -> str:
    """Return the script that stops what runs, and marks what it stopped before it does.

    All of them are looked at before the first is stopped. One that is gone, that is not the one meant, or that the
    engine would remove fails the script, as does an engine that does not answer: what would be backed up then is
    not known to be at rest. A container that is down or paused is left alone: its data does not change, and it must
    not be started afterwards. A Swarm service is scaled to nothing, since Swarm would replace a task that is
    stopped; its marker holds the replicas it had.

    A script that fails starts again what it has stopped: up to v1.11 Backrest runs no hook after a start hook
    that fails (backrest: v1.10.1 internal/orchestrator/tasks/taskbackup.go:128-132).

    Args:
        containers: Names of containers.
        services: Full names of replicated services; the engine must be a manager of their swarm.
        belongs: By name; of a container that is not in it the name alone counts.
    """
    lines = [STOP_MARKER, "set -eu", _DIRECTORY, "docker version >/dev/null </dev/null", 'mkdir -p "$d"']
    lines += [_REFUSE, _FLUSH]
    lines += [_REPLICAS] if services else []
    lines += ["undo() {", "r=0", *_start_again(containers, services), "}"]
    lines.append('trap \'c=$?; set +e; [ "$c" -eq 0 ] || undo; exit "$c"\' EXIT')
    lines += [_LOOK, _OF] if containers else []
    for name in containers:
        lines += [f"look {shlex.quote(name)}", *_identity(name, belongs.get(name))]
    for name in containers:
        quoted = shlex.quote(name)
        lines += [
            f"look {quoted}",
            'case "$s" in',
            "*'\"Paused\": true'*) ;;",
            f'*\'"Running": true\'*) : >"$d"/{quoted}; flush "$d"/{quoted}; docker stop {quoted} </dev/null ;;',
            "esac",
        ]
    for name in services:
        lines += _scale_down(name)
    return "\n".join(lines) + "\n"


def _identity(name: str, belongs: Belongs | None) -> list[str]:
    """Return the lines that refuse a container that only has the name."""
    if belongs is None:
        return []
    quoted = shlex.quote(name)
    if not (belongs.project or belongs.service):
        other = f"refuse {quoted} 'a service of Compose has taken its name'"
        return [f'case "$s" in *\'"{COMPOSE_SERVICE}": "\'*) {other} ;; esac']
    labels = ((COMPOSE_PROJECT, belongs.project), (COMPOSE_SERVICE, belongs.service))
    return [f'of {quoted} \'"{key}": "{value}"\'' for key, value in labels if _PLAIN.fullmatch(value)]


_REPLICAS = (
    'replicas() { printf "%s\\n" "$1" | sed -n \'s/^ *"Replicas": \\([0-9][0-9]*\\),*$/\\1/p\' | head -n 1; }'
)
"""Takes the replica count out of ``docker service inspect``: the specification comes before the previous one."""


def _scale_down(service: str) -> list[str]:
    quoted, marker = shlex.quote(service), shlex.quote(SERVICE_PREFIX + service)
    tasks = f"docker ps --quiet --filter label={SWARM_SERVICE}={quoted} </dev/null"
    return [
        f's=$(docker service inspect {quoted} 2>&1 </dev/null) || refuse {quoted} "$s"',
        'n=$(replicas "$s")',
        'case "$n" in',
        f"'') refuse {quoted} 'it has no replicas to scale' ;;",
        "0) ;;",
        # In one step, so that nobody reads half a number.
        f'*) echo "$n" >"$d"/.{marker}; flush "$d"/.{marker}; mv "$d"/.{marker} "$d"/{marker}',
        f'  flush "$d"/{marker}',
        f"  docker service scale --detach {quoted}=0 </dev/null ;;",
        "esac",
        "t=0",
        "while :; do",
        f"  c=$({tasks})",
        '  [ -n "$c" ] || break',
        f"  [ \"$t\" -lt {_SCALE_WAIT} ] || refuse {quoted} 'a task of it still runs here'",
        "  t=$((t + 1)); sleep 1",
        "done",
    ]


def start_script(containers: Sequence[str], services: Sequence[str] = ()) -> str:
    """Return the script that starts what :func:`stop_script` stopped, and nothing else.

    A service that somebody has scaled up in between stays as it is.
    """
    lines = [START_MARKER, _DIRECTORY, "r=0", *([_REPLICAS] if services else [])]
    return "\n".join([*lines, *_start_again(containers, services), "exit $r"]) + "\n"


def _start_again(containers: Sequence[str], services: Sequence[str]) -> list[str]:
    """Return the lines that start what has a marker; ``r`` is 1 after them when something did not start."""
    lines = []
    for name in containers:
        quoted = shlex.quote(name)
        lines.append(
            f'if [ -e "$d"/{quoted} ]; then'
            f' if docker start {quoted} </dev/null; then rm -f "$d"/{quoted}; else r=1; fi; fi'
        )
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
    return lines


def template_hooks(stop: str, start: str) -> tuple[Hook, ...]:
    """Return the two hooks of the stop/start template, the start hook first.

    ``SNAPSHOT_END`` alone does not come after a failed start hook or a failed auto-unlock, so the start hook
    takes ``SNAPSHOT_ERROR`` too; it stands first since an earlier hook that halts would skip it. The stop hook
    fails the backup when it fails: no silent backup of live files, and "cancelled by the user" counts nowhere
    as a failure (backrest: internal/orchestrator/tasks/taskbackup.go:148-156, internal/hook/hook.go:18-56).
    """
    return (
        Hook(conditions=(SNAPSHOT_END, SNAPSHOT_ERROR), command=start),
        Hook(conditions=(SNAPSHOT_START,), command=stop, on_error=FATAL),
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
