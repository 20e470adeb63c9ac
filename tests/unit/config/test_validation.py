"""Backrest's rules: every sample that Backrest takes passes, every one it refuses is named."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.backrest_cron import cron_problem
from sidecar.config.document import parse
from sidecar.config.validation import Checked, validate
from tests.contract.harness import binary_version
from tests.unit.merge_rig import GUID, NOW, SAMPLES, config, sample
from tests.waiting import eventually

INVALID = {
    "auth-without-users": "auth: is on, but there is no user",
    "auto-initialize-v3": 'repo "main": has autoInitialize together with a guid (which the migration adds)',
    "auto-initialize-with-guid": 'repo "main": has autoInitialize together with a guid',
    "check-mode-twice": "checkPolicy has both structureOnly and readDataSubsetPercent",
    "cron-macro": 'plan "web": schedule cron "@daily" has 1 field instead of five',
    "cron-negative-step": "on which Backrest crashes",
    "cron-never": "never fires within five years",
    "cron-range": "never fires within five years",
    "cron-step-zero": "on which Backrest hangs for ever",
    "cron-sunday-7": "never fires within five years",
    "disabled-false": 'schedule has "disabled": false',
    "duplicate-plan": 'plan "web": the id is given twice',
    "duplicate-repo": 'repo "main": the id is given twice',
    "empty-path": "has an empty path",
    "empty-retention": "retention names no policy",
    "env-without-equals": "env[0] is not of the form KEY=VALUE",
    "forget-without-retention": "forget policy: has no retention",
    "hook-with-two-actions": "hooks[0] has both actionCommand and actionSlack",
    "identity-broken": "sync: identity has a keyId that does not belong to its public key",
    "instance-too-long": "instance: the name is longer than 50 bytes",
    "modno-text": "modno must be a whole number of 32 bits",
    "no-guid-v4": "has neither a guid nor autoInitialize",
    "no-id": "the id is empty",
    "no-path": "has no path",
    "no-uri": "has no uri",
    "paths-not-a-list": "paths must be a list",
    "peer-without-url": 'host "office" has no instanceUrl',
    "reserved-id": "starts and ends with '_'",
    "short-guid": "has a guid that is not 64 characters long",
    "two-schedules": "schedule has both disabled and cron",
    "two-spellings": "skipIfUnchanged is given twice, also as skip_if_unchanged",
    "unknown-repo": 'names the repo "attic", which does not exist',
    "user-without-password": 'user "admin" has no password',
    "version-too-old": "too old for Backrest",
    "zero-buckets": "retention keeps nothing in any time bucket",
    "zero-days": "maxFrequencyDays must be at least 1",
}
VALID = sorted(path.stem for path in (SAMPLES / "valid").iterdir())


@pytest.mark.parametrize("name", VALID)
def test_valid_sample_has_no_fault(name: str) -> None:
    assert validate(sample(f"valid/{name}.json"), now=NOW) == ()


def test_every_invalid_sample_is_expected() -> None:
    assert {path.stem for path in (SAMPLES / "invalid").iterdir()} == set(INVALID)


@pytest.mark.parametrize("name", INVALID)
def test_invalid_sample_is_named(name: str) -> None:
    faults = validate(parse((SAMPLES / "invalid" / f"{name}.json").read_bytes(), where="c"), now=NOW)
    assert len(faults) == 1
    assert INVALID[name] in str(faults[0])
    assert "made-up" not in str(faults[0])


def test_a_fault_names_its_plan_or_repo() -> None:
    (fault,) = validate(sample("invalid/unknown-repo.json"))
    assert (fault.plan_id, fault.repo_id) == ("web", "")
    (fault,) = validate(sample("invalid/short-guid.json"))
    assert (fault.plan_id, fault.repo_id) == ("", "main")


def test_all_faults_are_reported() -> None:
    data = config({"id": "", "paths": [""], "schedule": {"cron": "x"}, "retention": {}}, version=1, auth={})
    texts = [str(fault) for fault in validate(data)]
    assert len(texts) == 7, texts


@pytest.mark.parametrize(
    ("flags", "anywhere", "on_1_12_1"),
    [
        ([], False, False),
        (["--files-from /list"], True, False),
        (["--stdin-from-command", "--", "true"], True, True),
        (["--stdin-from-command -- true"], True, False),
    ],
)
def test_flags_instead_of_paths(flags: list[str], anywhere: bool, on_1_12_1: bool) -> None:
    data = config({"id": "p", "repo": "main", "paths": [], "backup_flags": flags})
    checked = Checked()
    for _ in range(2):  # what one kind of Backrest takes is not remembered for the other
        assert (validate(data, checked=checked) == ()) is anywhere
        assert (validate(data, checked=checked, stdin_only=True) == ()) is on_1_12_1


def test_an_id_cannot_forge_a_line() -> None:
    data = config({"id": "x\n\x1b[2J", "repo": "main"})
    assert "\n" not in str(validate(data)[0])


@pytest.mark.parametrize(
    ("retention", "good"),
    [
        ({"policyKeepAll": False}, True),
        ({"policyKeepLastN": 0}, True),
        ({"policyKeepLastN": None}, False),
        ({"policyTimeBucketed": {"keepLastN": "3"}}, True),
        ({"policy_time_bucketed": {"keep_last_n": 1}}, True),
        ({"policyTimeBucketed": {"daily": "0"}}, False),
        ({"policyTimeBucketed": {"daily": -1}}, True),
        ({"policyTimeBucketed": {"fortnightly": 3}}, False),
        ({"keepDaily": 7}, False),
        ({"policyTimeBucketed": {"daily": 1e2}}, True),
        ({"policyTimeBucketed": {"daily": 1.5}}, False),
        ({"policyTimeBucketed": {"daily": 2**31}}, False),
    ],
)
def test_retention(retention: dict[str, Any], good: bool) -> None:
    data = config({"id": "p", "repo": "main", "paths": ["/a"], "retention": retention})
    assert (validate(data) == ()) is good


@pytest.mark.parametrize(
    ("hook", "good"),
    [
        ({"conditions": ["CONDITION_OF_THE_FUTURE", 999]}, True),
        ({"conditions": [1.0]}, True),
        ({"conditions": ["1"]}, True),
        ({"conditions": [None]}, False),
        ({"conditions": "CONDITION_SNAPSHOT_START"}, False),
        ({"onError": 2, "on_error": 2}, False),
        ({"onError": True}, False),
        ({"actionCommand": None, "actionSlack": {}}, True),
        ({"actionGotify": {"priority": "5"}}, True),
        ({"actionGotify": {"priority": " 5"}}, False),
        ({"actionUnknown": 5}, True),
    ],
)
def test_hooks_are_read_as_protojson_reads_them(hook: dict[str, Any], good: bool) -> None:
    data = config({"id": "p", "repo": "main", "paths": ["/a"], "hooks": [hook]})
    assert (validate(data) == ()) is good


def test_a_repo_without_guid_is_fine_below_version_4_only() -> None:
    repos = [{"id": "main", "uri": "/r"}]
    assert validate(config(version=3, repos=repos)) == ()
    assert len(validate(config(version=4, repos=repos))) == 1


def test_a_legacy_identity_is_fine_below_version_6_only() -> None:
    sync = {"identity": {"keyId": "ecdsa.x", "ed25519priv": "p", "ed25519pub": "q"}}
    assert validate(config(version=5, sync=sync)) == ()
    assert len(validate(config(version=6, multihost=sync))) == 1
    assert validate(config(version=6, sync={"identity": None})) == ()


def test_a_type_fault_in_a_repo_that_is_to_be_removed_still_counts() -> None:
    repos = [{"id": "main", "uri": "/r", "guid": GUID}, {"id": "far", "originInstanceId": "gone", "env": 5}]
    assert [fault.repo_id for fault in validate(config(repos=repos))] == ["far"]


ACCEPTED = [
    "1,60 * * * *",
    "0 0/24 * * *",
    "0 0 * * 5,7",
    "5-1/0,3 * * * *",
    "1* * * * *",
    "+5 2 * * *",
    "0 0 29 2 *",
    "0 0 * JAN-mar sUn",
    "0\u00a00\u2003* * *",
    "0-99999 * * * *",
    "0 0 31 4,5 *",
]
REFUSED = [
    "",
    "* * * *",
    "* * * * * *",
    "*/0 * * * *",
    "1/-1 * * * *",
    "9223372036854775807 * * * *",
    "9223372036854775808 * * * *",
    "0-9223372036854775807 * * * *",
    "60 * * * *",
    "0 24 * * *",
    "0 0 0 * *",
    "0 0 31 4 *",
    "0 0 * 13 *",
    "0 0 * * 7",
    "0 0 * * tues",
    "MON * * * *",
    "** * * * *",
    "*-5 * * * *",
    "1/2/3 * * * *",
    "1,,2 * * * *",
    "-5 * * * *",
    "0 0 * * *\x1c",
]


@pytest.mark.parametrize("expression", ACCEPTED)
def test_cron_that_backrest_takes(expression: str) -> None:
    assert cron_problem(expression, dt.date(2026, 1, 1)) == ""
    assert cron_problem(expression) == ""


@pytest.mark.parametrize("expression", REFUSED)
def test_cron_that_backrest_refuses(expression: str) -> None:
    assert cron_problem(expression, dt.date(2026, 1, 1))
    assert cron_problem(expression)


def test_both_day_fields_must_match_within_five_years() -> None:
    expression = "0 0 29 2 1"  # A 29 February that is a Monday: 2016, then 2044.
    assert cron_problem(expression) == ""
    assert cron_problem(expression, dt.date(2011, 1, 1)) == ""
    assert "never fires" in cron_problem(expression, dt.date(2025, 1, 1))
    assert cron_problem(expression, dt.date(2040, 1, 1)) == ""


def test_ten_thousand_plans_are_checked_quickly() -> None:
    plans = [
        {"id": f"p{n}", "repo": "main", "paths": [f"/v/{n}"], "schedule": {"cron": f"{n % 60} 2 * * *"}}
        for n in range(10_000)
    ]
    data = config(*plans)
    start = time.process_time()
    assert validate(data, now=NOW) == ()
    assert time.process_time() - start < 1.0, "some forty milliseconds; a second means it is not linear"


@pytest.fixture
def restic_stub(tmp_path: Path) -> Path:
    stub = tmp_path / "restic"
    stub.write_text('#!/bin/sh\necho "restic 0.19.1 compiled with go1.26 on linux/amd64"\n')
    stub.chmod(0o755)
    return stub


def _starts(binary: str, restic: Path, file: Path, work: Path) -> bool:
    """Whether Backrest comes up with a file: it listens only after it has taken its config."""
    target = work / "config.json"
    shutil.copy(file, target)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    process = subprocess.Popen(
        [binary, "-config-file", target, "-data-dir", work / "data", "-bind-address", address],
        env={"PATH": os.environ["PATH"], "HOME": str(work), "BACKREST_RESTIC_COMMAND": str(restic)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        if process.poll() is not None:
            return True
        try:
            urllib.request.urlopen(f"http://{address}/", timeout=1).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    try:
        eventually(answers, 10.0)
        return process.poll() is None
    except AssertionError:
        return False
    finally:
        process.kill()
        process.wait()


@pytest.mark.backrest
@pytest.mark.timeout(240)
@pytest.mark.parametrize("folder", ["valid", "invalid"])
def test_the_real_backrest_agrees(folder: str, tmp_path: Path, restic_stub: Path) -> None:
    binary = os.environ.get("BACKREST_BIN")
    if not binary:
        pytest.skip("BACKREST_BIN names no Backrest")
    version = binary_version(binary)
    wrong = []
    for file in sorted((SAMPLES / folder).iterdir()):
        work = tmp_path / file.stem
        work.mkdir()
        if file.stem in ("v6-rich", "v6-snake-case"):
            continue  # They hold a repo with autoInitialize, and so need a real restic to start with.
        if _starts(binary, restic_stub, file, work) is not (folder == "valid"):
            wrong.append(file.stem)
    if folder == "invalid":
        taken = {
            "cron-never": not version.cron_must_fire,
            "cron-range": not version.cron_must_fire,
            "cron-sunday-7": not version.cron_must_fire,
            "no-path": not version.wants_a_path,
            "forget-without-retention": not version.has_forget_policy,
            "identity-broken": not version.has_identity,
        }
        assert wrong == sorted(name for name, older in taken.items() if older), "our rules are stricter there"
    else:  # the sample's keys are no real ones, and only a Backrest that makes such keys looks into them
        made_up = version.has_identity and not version.has_ed25519
        assert wrong == ["v4-legacy-identity"] * made_up
