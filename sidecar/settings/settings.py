"""One frozen Settings for the whole process, made from flags and environment.

Precedence: flag, then environment, then default. An empty environment variable counts as unset, an empty flag
is a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from sidecar.config.cron import CronError, normalize
from sidecar.errors import SidecarError
from sidecar.findings import printable
from sidecar.labels.policy import LabelPolicy
from sidecar.labels.retention import Keep
from sidecar.settings.flags import Flag, flags_for


class SettingsError(SidecarError, ValueError):
    """A bad value of a flag or an environment variable. The message names it, the value and the reason."""


class Settings(BaseModel):
    """What the user asked for. A field has the name of its flag; see ``settings.flags.FLAGS`` for the meaning.

    Durations are seconds. ``explicit`` holds the names of the fields that were given by flag or environment.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    explicit: frozenset[str] = frozenset()

    config: Path = Path("./backrest.config.json")
    state_dir: Path | None = None
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["debug", "info", "warn", "error"] = "info"

    docker_sock: str = "/var/run/docker.sock"
    docker_root: str | None = None
    volume_prefix: str | None = None
    replay: Path | None = None

    default_repo: str | None = None
    default_schedule: str = "0 2 * * *"
    default_retention: str = "daily=7,weekly=4"
    plan_id_prefix: str = "backrest_sidecar_"
    include_project_name: bool = False
    exclude_bind_mounts: bool = False
    trust_image_labels: bool = False
    hooks: Literal["all", "template", "none"] = "all"
    hook_templates: bool = False
    allow_path: tuple[str, ...] = ()
    path_view: Literal["auto", "host"] = "auto"
    unseen_paths: Literal["leave-out", "keep"] = "leave-out"
    orphans: Literal["keep", "disable", "remove"] = "keep"
    orphan_grace: float = 86400.0

    apply: bool = False
    dry_run: bool = False
    strict: bool = False
    apply_mode: Literal["auto", "restart", "api"] = "auto"
    apply_force: bool = False
    apply_settle: float = 10.0
    apply_max_wait: float | None = None
    restart_timeout: float = 15.0
    restart_budget: tuple[int, int] = (1, 6)
    backrest_container: str = "backrest"
    backrest_url: str | None = None
    backrest_username: str | None = None
    backrest_password: SecretStr | None = None
    backrest_password_file: Path | None = None
    config_mode: int | None = 0o644

    interval: float = 60.0
    with_events: bool = False
    debounce: float = 0.3
    metrics_addr: str | None = None
    hook_watch_grace: float = 60.0

    rcb_image: str = "zettaio/restic-compose-backup:0.7.1"
    rcb_env_file: Path | None = None
    backup_mount: tuple[str, ...] = ()
    rcb_command: tuple[str, ...] = ("rcb", "backup")
    rcb_arg: tuple[str, ...] = ()
    quiesce_label: str = "backrest.quiesce=true"
    quiesce_timeout: float = 60.0
    quiesce_mode: Literal["stop", "pause"] = "stop"
    quiesce_together: bool = False
    engine: Literal["rcb", "restic"] = "rcb"
    restic_image: str = "restic/restic"
    restic_group_by: str = "paths"
    restic_path_prefix: str = "/volumes"
    allow_volatile_state: bool = False

    @property
    def state_path(self) -> Path:
        """The state directory: ``--state-dir``, else ``.backrest-sidecar`` beside config.json."""
        return self.state_dir or self.config.parent / ".backrest-sidecar"

    @property
    def label_policy(self) -> LabelPolicy:
        """What labels may do."""
        return LabelPolicy(
            trust_image=self.trust_image_labels, hooks=self.hooks, hook_templates=self.hook_templates
        )

    @property
    def max_wait(self) -> float:
        """``--apply-max-wait`` in seconds, with the default of the command."""
        if self.apply_max_wait is not None:
            return self.apply_max_wait
        return 6 * 3600.0 if self.command == "daemon" else 600.0

    def password(self) -> str:
        """Return the API password; read anew from its file each time, so that a rotated secret is taken up.

        Raises:
            SettingsError: The file cannot be read.
        """
        if self.backrest_password_file is not None:
            try:
                return self.backrest_password_file.read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
                raise SettingsError(
                    f"--backrest-password-file {self.backrest_password_file} cannot be read: {reason}"
                ) from error
        return self.backrest_password.get_secret_value() if self.backrest_password else ""


def resolve(command: str, given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Return the settings of one command.

    Args:
        command: Its name.
        given: Flag name → text, tuple of texts, or bool; None or absent where the flag was not given.
        environ: The environment.

    Raises:
        SettingsError: A value is wrong; the message names flag or variable, value and reason.
    """
    values: dict[str, Any] = {}
    explicit: set[str] = set()
    for flag in flags_for(command):
        raw, origin = _raw_value(flag, given, environ)
        if raw is None:
            continue
        if origin:
            explicit.add(flag.field)
        values[flag.field] = _parse(flag, raw, origin)
    settings = Settings(command=command, explicit=frozenset(explicit), **values)
    _check(settings, given)
    return settings


def _raw_value(flag: Flag, given: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[Any, str]:
    value = given.get(flag.name)
    if value is not None and value != ():
        return value, f"--{flag.name}"
    from_env = environ.get(flag.env, "") if flag.env else ""
    if from_env:
        return ((from_env,) if flag.many else from_env), flag.env
    if flag.default is None:
        return None, ""
    return ((flag.default,) if flag.many else flag.default), ""


def _parse(flag: Flag, raw: Any, origin: str) -> Any:
    if isinstance(raw, bool):
        return raw
    if not flag.many:
        return _parse_one(flag, raw, origin)
    parts = [p for item in raw for p in (item.split(",") if flag.csv or origin == flag.env else (item,))]
    return tuple(_parse_one(flag, part, origin) for part in parts if part)


def _parse_one(flag: Flag, raw: str, origin: str) -> Any:
    try:
        return flag.parse(raw)
    except ValueError as error:
        shown = "(not shown)" if flag.secret else f'"{printable(raw)}"'
        raise SettingsError(f"{origin} {shown}: {error}") from error


def _check(settings: Settings, given: Mapping[str, Any]) -> None:
    """Refuse defaults that would break every plan, and flags that contradict each other."""

    def origin(flag: str, env: str) -> str:
        return f"--{flag}" if given.get(flag) is not None else env

    if settings.default_schedule:
        try:
            normalize(settings.default_schedule, minute=0)
        except CronError as error:
            where = origin("default-schedule", "BACKREST_DEFAULT_SCHEDULE")
            raise SettingsError(f'{where} "{printable(settings.default_schedule)}": {error}') from error
    if settings.default_retention:
        try:
            Keep.parse(settings.default_retention)
        except ValueError as error:
            where = origin("default-retention", "BACKREST_DEFAULT_RETENTION")
            raise SettingsError(f'{where} "{printable(settings.default_retention)}": {error}') from error
    if (
        settings.apply_mode == "api"
        and not settings.backrest_url
        and settings.command in {"daemon", "reconcile"}
    ):
        raise SettingsError("--apply-mode api needs --backrest-url, such as http://backrest:9898")
    if settings.replay and settings.apply and not settings.dry_run:
        raise SettingsError(
            "--replay shows recorded replies, in which nothing can be restarted; leave --apply out"
        )
    if settings.backrest_password and settings.backrest_password_file:
        raise SettingsError("--backrest-password and --backrest-password-file are both given; use one")
