"""Which labels are this tool's: what is claimed, what it was meant to be, and what is another tool's."""

from __future__ import annotations

import pytest

from sidecar.labels.guess import is_ours, nearest_key, unknown_reason
from sidecar.labels.policy import parse, parse_volume

ENABLE = "backrest.enable"
MISTYPED = [
    "Backrest.enable", "BACKREST_ENABLE", "BackRest.Enable", "backrest_enable", "backrest-enable", "backrest/enable",
    "backrest:enable", "backrest..enable", "backrest.enable ", " backrest.enable", "backrest .enable",
    "backrest.enable\t",
    "backrest.enable: true", "backrest.enable:true", "backrest.enable true", "backrest.enable: ", '"backrest.enable"',
    "- backrest.enable", "backrset.enable", "backrst.enable", "backreest.enable", "bacrkest.enable",
    "abckrest.enable",
    "backresr.enable", "ackrest.enable", "backres.enable", "backrests.enable", "backrset_enable", "back-rest.enable",
    "back_rest_enable", "backrest-sidecar.enable", "backrest", "Backrest", "backrest: true", "backrest:yes",
    "Backrest.enabel", "backrest.enabel: true",
]  # fmt: skip
OTHERS = [
    "backup.enable", "backups.enable", "com.example.backrest", "com.backrest.enable", "traefik.enable",
    "restic.enable",
    "backtest.enable", "backrestic.enable", "bestrest.enable", "backend.enable", "latest.enable", "back.enable",
    "rest.enable", "backrest-ui.enable", "backrest-ui.theme", "backrest-exporter.port", "backrset", "backrset.theme",
    "backrset.enabel", "backrest: usb disk", "backrest=usb", "org.opencontainers.image.title", "", "b", ".",
    "com.docker.compose.project", "traefik.http.routers.backrest.rule", "backrest1.enable", "bacula.backup.enable",
    "offen.docker-volume-backup.stop-during-backup", "label.backrest.enable", "best.enable",
]  # fmt: skip


@pytest.mark.parametrize("key", MISTYPED)
def test_an_enable_that_is_ours_but_for_its_spelling_keeps_the_plan(key: str) -> None:
    value = "" if ":" in key or key.endswith("true") else "true"
    assert is_ours(key)
    assert nearest_key(key) == ENABLE
    labels = parse({key: value}, container="app")
    assert (labels.plans, labels.broken, labels.withdrawn) == ((), ("",), ())
    (finding,) = labels.findings
    assert (finding.code, finding.hint, finding.skips) == ("unknown-label", ENABLE, True)
    assert "did you mean backrest.enable?" in finding.message
    assert "its plan stays as it is" in finding.message


@pytest.mark.parametrize("key", MISTYPED)
def test_a_right_enable_counts_beside_a_mistyped_one(key: str) -> None:
    labels = parse({key: "true", ENABLE: "true"}, container="app")
    assert [plan.name for plan in labels.plans] == [""]
    assert [finding.skips for finding in labels.findings] == [False]


@pytest.mark.parametrize("key", OTHERS)
def test_another_tools_label_is_never_claimed(key: str) -> None:
    assert not is_ours(key)
    assert parse({key: "true"}, container="app").findings == ()


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("Backrest.Repo", "backrest.repo"),
        ("BACKREST_SNAPSHOT_START", "backrest.snapshot-start"),
        ("backrset.paths.include", "backrest.paths.include"),
        ("backrest.schedule: 0 3 * * *", "backrest.schedule"),
        ("backrest.paths.include: /data", "backrest.paths.include"),
        ("Backrest.db.enable", "backrest.db.enable"),
        ("backrset.db.schedule", "backrest.db.schedule"),
        ("BACKREST_DB_ENABLE", "backrest.db.enable"),
        ("BACKREST_MY_DB_PATHS_INCLUDE", "backrest.my_db.paths.include"),
        ("backrest.Db.enable: true", "backrest.Db.enable"),
        ("backrest.db.paths.inclde", "backrest.db.paths.include"),
    ],
)
def test_other_keys_are_guessed_too(key: str, meant: str) -> None:
    assert is_ours(key)
    assert nearest_key(key) == meant


def test_what_cannot_be_seen_is_said() -> None:
    assert "a blank before or after" in unknown_reason("backrest.enable ")
    assert "key=value" in unknown_reason("backrest.enable: true")
    assert "key=value" in unknown_reason("backrest: true")
    assert unknown_reason("Backrest.enable").endswith("did you mean backrest.enable?")


def test_a_mistyped_enable_of_a_named_plan_keeps_that_plan() -> None:
    labels = parse({ENABLE: "true", "backrset.db.enable": "true"}, container="app")
    assert ([plan.name for plan in labels.plans], labels.broken) == ([""], ("db",))


def test_a_mistyped_no_is_no_wish() -> None:
    assert parse({"backrest_enable": "false"}, container="app").broken == ()


def test_a_mistyped_enable_of_a_volume_leaves_it_open() -> None:
    for labels in ({"Backrest.enable": "true"}, {"backrest.enable": "ture"}, {"backrest.enable ": "true"}):
        assert parse_volume(labels, volume="data").doubtful
    for labels in ({"backrest.enable": "true"}, {"backrest.exclude": "/x"}, {"Backrest.exclude": "/x"}):
        assert not parse_volume(labels, volume="data").doubtful
    (finding,) = parse_volume({"Backrest.exclude": "/x"}, volume="data").findings
    assert finding.hint == "backrest.exclude"


def test_a_long_key_costs_little_and_is_printed_short() -> None:
    key = "backrset." + "a:" * 40_000
    assert not is_ours(key)
    assert is_ours("backrest." + "a:" * 40_000)
    assert len(unknown_reason(key)) < 100
