"""Flags, environment and defaults: who wins, and that a bad value is named."""

from __future__ import annotations

import pytest

from sidecar.cli import run
from sidecar.exit_codes import ExitCode
from sidecar.findings import printable
from sidecar.settings.flags import COMMANDS, FLAGS, Flag
from sidecar.settings.settings import Settings, SettingsError, resolve

BAD = {
    "docker-sock": "ssh://nas",
    "docker-root": "var/lib/docker",
    "volume-prefix": "volumes",
    "default-schedule": "*/0 * * * *",
    "default-retention": "daily=some",
    "restart-budget": "6/1",
    "backrest-url": "ftp://backrest",
    "config-mode": "0999",
    "metrics-addr": "here:there",
    "quiesce-label": "=true",
    "allow-path": "srv",
    "restic-path-prefix": "volumes",
}
"""A value that is wrong for a flag; a word does for switches, durations and choices, a NUL byte for plain text."""
DURATIONS = {
    "restart-timeout", "interval", "debounce", "apply-settle", "apply-max-wait", "orphan-grace",
    "hook-watch-grace", "quiesce-timeout",
}  # fmt: skip
CHOICES = {
    "apply-mode", "orphans", "path-view", "unseen-paths", "hooks", "quiesce-mode", "engine", "log-format",
    "log-level",
}  # fmt: skip

with_env = [flag for flag in FLAGS if flag.env]
each = pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
each_with_env = pytest.mark.parametrize("flag", with_env, ids=lambda flag: flag.env)


def bad(flag: Flag) -> str:
    if flag.is_switch or flag.name in DURATIONS | CHOICES:
        return "perhaps"
    return BAD.get(flag.name, "a\x00b")


def command(flag: Flag) -> str:
    return next(name for name in COMMANDS if name in flag.commands)


@each
def test_a_bad_flag_is_named_with_its_value(flag: Flag, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command(flag), f"--{flag.name}={bad(flag)}"]) == ExitCode.BAD_USAGE
    said = capsys.readouterr().err
    assert f"--{flag.name}" in said
    assert (printable(bad(flag)) in said) is not flag.secret
    assert "Traceback" not in said


@each_with_env
def test_a_bad_variable_is_named_with_its_value(flag: Flag) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(command(flag), {}, {flag.env: bad(flag)})
    assert str(caught.value).startswith(flag.env)
    assert (printable(bad(flag)) in str(caught.value)) is not flag.secret


def test_a_bad_variable_exits_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for flag in with_env:
        if "\x00" in bad(flag):
            continue  # no environment can hold it
        monkeypatch.setenv(flag.env, bad(flag))
        assert run([command(flag)]) == ExitCode.BAD_USAGE, flag.env
        assert flag.env in capsys.readouterr().err
        monkeypatch.delenv(flag.env)


GOOD = {
    "config": ("/a/c.json", "/b/c.json"),
    "backrest-url": ("http://a:1", "http://b:2"),
    "restart-budget": ("1/2", "3/4"),
    "config-mode": ("0600", "preserve"),
    "metrics-addr": (":1", ":2"),
    "default-schedule": ("1 1 * * *", "2 2 * * *"),
    "default-retention": ("daily=1", "all"),
    "apply-mode": ("restart", "auto"),
    "orphans": ("disable", "remove"),
    "path-view": ("host", "auto"),
    "unseen-paths": ("keep", "leave-out"),
    "hooks": ("none", "template"),
    "log-format": ("text", "json"),
    "log-level": ("debug", "error"),
}


def pair(flag: Flag) -> tuple[str, str]:
    """Two good values that differ, the first not the default."""
    if flag.is_switch:
        return "true", "no"
    if flag.name in DURATIONS:
        return "1m30s", "2.5"
    return GOOD.get(flag.name, ("/one", "/two"))


@each_with_env
def test_flag_beats_environment_beats_default(flag: Flag) -> None:
    def value(given: dict[str, str], environ: dict[str, str]) -> object:
        texts = {name: (text,) if flag.many else text for name, text in given.items()}
        return getattr(resolve(command(flag), texts, environ), flag.field)

    one, other = pair(flag)
    default = value({}, {})
    assert value({}, {flag.env: ""}) == default, "an empty variable is none"
    by_env = value({}, {flag.env: one})
    assert by_env != default
    assert value({flag.name: one}, {}) == by_env
    by_flag = value({flag.name: other}, {flag.env: one})
    assert by_flag != by_env
    assert by_flag == value({flag.name: other}, {})


@pytest.mark.parametrize(
    "name", ["plan-id-prefix", "default-repo", "default-schedule", "default-retention", "backrest-username"]
)
def test_an_empty_flag_is_a_value(name: str) -> None:
    flag = next(flag for flag in FLAGS if flag.name == name)
    settings = resolve("reconcile", {name: ""}, {flag.env: "daily=1" if "retention" in name else "1 1 * * *"})
    assert getattr(settings, flag.field) == ""
    assert flag.field in settings.explicit


def test_every_flag_is_a_setting_with_the_same_default() -> None:
    fields = Settings.model_fields
    for flag in FLAGS:
        assert flag.field in fields
        given = getattr(resolve(command(flag), {}, {}), flag.field)
        assert given == fields[flag.field].default, flag.name


def test_what_was_given_is_known() -> None:
    settings = resolve(
        "reconcile", {"orphans": "keep"}, {"BACKREST_DEFAULT_REPO": "r", "BACKREST_CONFIG": ""}
    )
    assert settings.explicit == {"orphans", "default_repo"}


def test_flags_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match="--backrest-url"):
        resolve("reconcile", {"apply-mode": "api"}, {})
    with pytest.raises(SettingsError, match="use one"):
        resolve("daemon", {"backrest-password": "p"}, {"BACKREST_PASSWORD_FILE": "/p"})


def test_a_password_never_stands_in_an_error_or_in_the_settings_text() -> None:
    settings = resolve("daemon", {"backrest-password": "hunter2"}, {})
    assert "hunter2" not in repr(settings)
    assert settings.password() == "hunter2"
