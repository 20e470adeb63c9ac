"""Every flag with its environment variable and default, as data.

The command line, the settings and the README's table are all made from :data:`FLAGS`. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sidecar import flag_values as values
from sidecar.duration import parse_duration

RECONCILE = frozenset({"reconcile", "daemon"})
DAEMON = frozenset({"daemon"})
BACKUP = frozenset({"backup-once"})
EXPLAIN = frozenset({"explain"})
RENDERING = RECONCILE | EXPLAIN
READING_API = RECONCILE | {"restore-config"}
COMMANDS = (
    "reconcile",
    "daemon",
    "backup-once",
    "recover",
    "explain",
    "lint",
    "status",
    "healthcheck",
    "restore-config",
    "version",
    "completion",
)
ALL = frozenset(COMMANDS) - {"version", "lint", "completion", "healthcheck"}


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        name: Without the dashes.
        default: As a person would type it; None for unset.
        commands: Where it is taken.
        help: One line for ``--help`` and the README.
        env: Its environment variable; empty for none.
        parse: Makes the value from text, raising ValueError with what is wrong about it.
        many: May be repeated; the value is a tuple.
        csv: Each occurrence is split at commas.
        hidden: Not shown in ``--help``.
        secret: Its value is never shown.
    """

    name: str
    default: str | None
    commands: frozenset[str]
    help: str
    env: str = ""
    parse: Callable[[str], Any] = values.text
    many: bool = False
    csv: bool = False
    hidden: bool = False
    secret: bool = False

    @property
    def field(self) -> str:
        """The name of the setting."""
        return self.name.replace("-", "_")

    @property
    def is_switch(self) -> bool:
        """Whether it is given without a value."""
        return self.parse is values.boolean


def _switch(name: str, commands: frozenset[str], text: str, env: str = "", *, hidden: bool = False) -> Flag:
    return Flag(name, "false", commands, text, env, values.boolean, hidden=hidden)


FLAGS: tuple[Flag, ...] = (
    Flag("config", "./backrest.config.json", ALL, "Backrest's config.json", "BACKREST_CONFIG", values.path),
    _switch("apply", RECONCILE, "let Backrest take up changes (see --apply-mode)", "BACKREST_SIDECAR_APPLY"),
    Flag(
        "backrest-container",
        "backrest",
        ALL,
        "name or id of Backrest's container",
        "BACKREST_CONTAINER",
        values.path,
    ),
    _switch("dry-run", RECONCILE | BACKUP, "show what would be done, plan by plan; change nothing"),
    Flag(
        "docker-sock",
        "/var/run/docker.sock",
        ALL,
        "engine: a path, unix://… or tcp://…",
        "DOCKER_HOST",
        values.host,
    ),
    Flag(
        "docker-root",
        None,
        ALL,
        "the engine's data root; given, each local volume is <root>/volumes/<name>/_data, "
        "otherwise each volume's own source counts",
        "BACKREST_DOCKER_ROOT",
        values.absolute,
    ),
    Flag(
        "volume-prefix",
        None,
        RENDERING,
        "where Backrest sees <docker-root>/volumes",
        "BACKREST_VOLUME_PREFIX",
        values.absolute,
    ),
    Flag(
        "default-repo",
        None,
        RENDERING,
        "repo of plans without backrest.repo; else the repo of the first plan, else the first repo",
        "BACKREST_DEFAULT_REPO",
    ),
    Flag(
        "default-schedule",
        "0 2 * * *",
        RENDERING,
        "schedule of plans without backrest.schedule",
        "BACKREST_DEFAULT_SCHEDULE",
    ),
    Flag(
        "default-retention",
        "daily=7,weekly=4",
        RENDERING,
        "retention of plans without backrest.keep",
        "BACKREST_DEFAULT_RETENTION",
    ),
    Flag(
        "plan-id-prefix",
        "backrest_sidecar_",
        RENDERING | BACKUP | {"lint"},
        "put before every plan id; may be empty",
        "BACKREST_PLAN_ID_PREFIX",
    ),
    _switch("exclude-bind-mounts", ALL, "back up volumes only"),
    _switch("include-project-name", ALL | {"lint"}, "put the Compose project into plan ids"),
    Flag(
        "restart-timeout",
        "15s",
        READING_API,
        "how long Backrest may take to stop before it is killed",
        parse=values.positive,
    ),
    Flag("interval", "60s", DAEMON, "look at the engine at least this often", parse=values.positive),
    _switch("with-events", DAEMON, "look at the engine whenever it says that a container changed"),
    Flag(
        "debounce",
        "0.3s",
        DAEMON,
        "after the first change of a quiet period, gather what follows until it is quiet for so long "
        "(2s at most)",
        "BACKREST_SIDECAR_DEBOUNCE",
        parse_duration,
    ),
    Flag(
        "apply-settle",
        "10s",
        DAEMON,
        "let changes settle for so long before Backrest is made to take them up (60s at most)",
        "BACKREST_SIDECAR_APPLY_SETTLE",
        parse_duration,
    ),
    Flag(
        "apply-max-wait",
        None,
        READING_API,
        "how long to wait for an idle Backrest: daemon 6h, reconcile 10m",
        "BACKREST_SIDECAR_APPLY_MAX_WAIT",
        values.positive,
    ),
    Flag(
        "apply-mode",
        "auto",
        READING_API,
        "auto, restart or api; auto is api where --backrest-url answers",
        "BACKREST_SIDECAR_APPLY_MODE",
        values.choice("auto", "restart", "api"),
    ),
    _switch(
        "apply-force",
        DAEMON,
        "past --apply-max-wait, restart Backrest although it is busy",
        "BACKREST_SIDECAR_APPLY_FORCE",
    ),
    Flag("backrest-url", None, ALL, "Backrest's address, http://backrest:9898", "BACKREST_URL", values.url),
    Flag("backrest-username", None, ALL, "user of Backrest's API", "BACKREST_USERNAME"),
    Flag(
        "backrest-password",
        None,
        ALL,
        "password of that user; better: --backrest-password-file",
        "BACKREST_PASSWORD",
        secret=True,
    ),
    Flag(
        "backrest-password-file",
        None,
        ALL,
        "file that holds the password",
        "BACKREST_PASSWORD_FILE",
        values.path,
    ),
    Flag(
        "restart-budget",
        "1/6",
        DAEMON,
        "restarts of Backrest at most per minute and per hour",
        "BACKREST_SIDECAR_RESTART_BUDGET",
        values.budget,
    ),
    Flag(
        "orphans",
        "keep",
        RENDERING,
        "what becomes of our plans whose container is gone: keep, disable or remove",
        "BACKREST_SIDECAR_ORPHANS",
        values.choice("keep", "disable", "remove"),
    ),
    Flag(
        "orphan-grace",
        "24h",
        RENDERING,
        "how long a container must be gone before --orphans acts",
        "BACKREST_SIDECAR_ORPHAN_GRACE",
        parse_duration,
    ),
    Flag(
        "path-view",
        "auto",
        RENDERING,
        "auto: write paths as Backrest sees them; host: write host paths",
        "BACKREST_SIDECAR_PATH_VIEW",
        values.choice("auto", "host"),
    ),
    Flag(
        "config-mode",
        "0644",
        READING_API,
        "mode of config.json after a write: octal, or preserve",
        "BACKREST_CONFIG_MODE",
        values.mode,
    ),
    Flag(
        "state-dir",
        None,
        ALL,
        "what must survive a restart; default .backrest-sidecar beside config.json",
        "BACKREST_STATE_DIR",
        values.path,
    ),
    _switch("strict", RECONCILE, "a skipped container makes the run exit 3", "BACKREST_SIDECAR_STRICT"),
    _switch(
        "trust-image-labels",
        RENDERING | BACKUP,
        "obey backrest.* labels that an image brings along",
        "BACKREST_SIDECAR_TRUST_IMAGE_LABELS",
    ),
    Flag(
        "hooks",
        "all",
        RENDERING | {"lint"},
        "what labels may run: all, template or none",
        "BACKREST_SIDECAR_HOOKS",
        values.choice("all", "template", "none"),
    ),
    _switch(
        "hook-templates",
        RENDERING | {"lint"},
        "let hook labels use Backrest's {{ }} templates, which can read secrets",
        "BACKREST_SIDECAR_HOOK_TEMPLATES",
    ),
    Flag(
        "allow-path",
        None,
        RENDERING | BACKUP,
        "a path under no mount must lie below one of these",
        "BACKREST_SIDECAR_ALLOW_PATH",
        values.absolute,
        many=True,
    ),
    Flag(
        "metrics-addr",
        None,
        DAEMON,
        "serve Prometheus metrics here, e.g. :9099 (loopback unless a host is given)",
        "BACKREST_SIDECAR_METRICS_ADDR",
        values.address,
    ),
    Flag(
        "hook-watch-grace",
        "60s",
        DAEMON,
        "start a container that a hook of ours stopped and nobody started, after so long",
        "BACKREST_SIDECAR_HOOK_WATCH_GRACE",
        values.positive,
    ),
    Flag(
        "rcb-image",
        "zettaio/restic-compose-backup:0.7.1",
        BACKUP,
        "image of restic-compose-backup",
        parse=values.path,
    ),
    Flag(
        "rcb-env-file", None, BACKUP, "environment of that container: repository, password", parse=values.path
    ),
    Flag(
        "backup-mount",
        None,
        BACKUP,
        "further mount of the backup's containers, SOURCE:TARGET[:ro]: a local repository, a cache",
        many=True,
    ),
    Flag("rcb-command", "rcb,backup", BACKUP, "command run in it", many=True, csv=True),
    Flag("rcb-arg", None, BACKUP, "argument added to the command", many=True),
    Flag(
        "quiesce-label",
        "backrest.quiesce=true",
        BACKUP,
        "which containers to stop for the backup",
        parse=values.label,
    ),
    Flag("quiesce-timeout", "60s", BACKUP, "how long a container may take to stop", parse=values.positive),
    Flag("quiesce-mode", "stop", BACKUP, "stop or pause", parse=values.choice("stop", "pause")),
    _switch("quiesce-together", BACKUP, "with --engine restic: all down together, not one by one"),
    Flag(
        "engine",
        "rcb",
        BACKUP,
        "rcb, or restic: one backup per workload",
        parse=values.choice("rcb", "restic"),
    ),
    Flag("restic-image", "restic/restic", BACKUP, "image used by --engine restic", parse=values.path),
    Flag("restic-group-by", "paths", BACKUP, "restic forget --group-by"),
    Flag("restic-path-prefix", "/volumes", BACKUP, "where a snapshot has its volumes", parse=values.absolute),
    _switch("allow-volatile-state", BACKUP, "quiesce although the journal would die with this container"),
    Flag(
        "log-format",
        "json",
        ALL,
        "json or text",
        "BACKREST_SIDECAR_LOG_FORMAT",
        values.choice("json", "text"),
    ),
    Flag(
        "log-level",
        "info",
        ALL,
        "debug, info, warn or error",
        "BACKREST_SIDECAR_LOG_LEVEL",
        values.choice("debug", "info", "warn", "error"),
    ),
    Flag(
        "replay",
        None,
        RENDERING,
        "read recorded engine replies from this directory instead of an engine",
        parse=values.path,
        hidden=True,
    ),
)


def flags_for(command: str) -> tuple[Flag, ...]:
    """Return the flags that ``command`` takes."""
    return tuple(flag for flag in FLAGS if command in flag.commands)
