"""What Backrest's log says. The lines are as Backrest 1.14.1 wrote them, those of testdata as each version did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.backrest.api import Operation
from sidecar.backrest.container import config_error_in_log, cut_off_operations, fatal_in_log
from sidecar.backrest.start_log import config_faults_in_log

SAMPLES = Path(__file__).resolve().parents[3] / "testdata" / "backrest-logs"
VERSIONS = ("1.8.1", "1.10.1", "1.12.1", "1.13.0", "1.14.1")
SEEN = {
    version: {
        case: "\n".join(lines)
        for case, lines in json.loads((SAMPLES / f"{version}.json").read_text("utf-8")).items()
    }
    for version in VERSIONS
}
NAMED = {  # case → kinds and owners of its faults; what the FATAL line says
    "bad cron": (["plan p1"], "error loading config"),
    "unknown repo": (["plan p1"], "error loading config"),
    "two plans of one id": (["plan p1"], "error loading config"),
    "no paths": (["plan p1"], "error loading config"),
    "retention without a policy": (["plan p1"], "error loading config"),
    "several faults": (["repo r1", "plan p1", "plan p2", "plan p2"], "error loading config"),
    "env with a secret": (["repo r1"], "error loading config"),
    "version 1": (["version"], "error loading config"),
    "no version": (["version"], "error loading config"),
    "truncated": (["syntax"], "error loading config"),
    "duplicate key": (["syntax"], "error loading config"),
    "auth without users": (["auth"], "error loading config"),
    "negative step": (["plan"], "Backrest panicked"),
    "auto-initialise fails": (["repo r1"], "error creating orchestrator"),
    "data in use": ([], "oplog is locked by another instance of backrest"),
    "taken": ([], ""),
}

LOADING = "error loading config"
START = '2026-11-22T20:11:03.516Z\t\x1b[34mINFO\x1b[0m\tbackrest starting\t{"version": "1.14.1"}\n'
WEB = '2026-11-22T20:11:03.587Z\t\x1b[34mINFO\x1b[0m\tstarting web server\t{"addr": "127.0.0.1:19898"}\n'
SCRUBBED = (
    "2026-11-22T20:18:04.580Z\t\x1b[34mINFO\x1b[0m\tscrubbed operation log for incomplete operations\t"
    '{"duration": "3.649888ms", "incomplete_ops": 2, "incomplete_repos": 1, "deleted_ops": 1}\n'
)


def loading(error: str) -> str:
    return fatal("error loading config", '{"error": ' + error)


def fatal(message: str, fields: str) -> str:
    return f"2026-11-22T20:18:42.208Z\t\x1b[31mFATAL\x1b[0m\t{message}\t{fields}\n\n"


UNKNOWN_REPO = fatal(
    "error loading config",
    r'{"error": "validation after migration: 2 errors occurred:\n\t* repo r1: 1 error occurred:\n\t* uri is required'
    r'\n\n\n\t* plan p1: 1 error occurred:\n\t* repo \"nope\" not found\n\n\n\n"}',
)
AUTO_INIT = fatal(
    "error creating orchestrator",
    r'{"error": "auto-initialize repos: auto-initialize repo \"r1\": command \"/usr/bin/restic init\" failed: exit'
    r' status 1\nOutput:\nFatal: create repository at rest:https://u:hunter2@host failed"}',
)
LOCKED = fatal("oplog is locked by another instance of backrest", '{"data_dir": "/data"}')
PANIC = (
    "panic: runtime error: negative shift amount\n\ngoroutine 1 [running]:\ngithub.com/x/cronexpr.y(...)\n"
)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", NAMED)
def test_every_version_is_read_alike(version: str, case: str) -> None:
    if case == "no paths" and version in {"1.8.1", "1.10.1"}:
        assert case not in SEEN[version], "taken before 1.12.1"
        return
    text = SEEN[version][case]
    owners, said = NAMED[case]
    found = config_faults_in_log(text)
    assert [" ".join((f.kind, f.plan_id or f.repo_id)).strip() for f in found] == owners
    assert fatal_in_log(text) == said
    assert "hunter2" not in " ".join(map(str, found))
    assert all("\n" not in fault.message for fault in found)


@pytest.mark.parametrize("version", VERSIONS)
def test_only_the_last_start_counts_on_every_version(version: str) -> None:
    taken, refused = SEEN[version]["taken"], SEEN[version]["bad cron"]
    assert config_error_in_log(refused + taken) is None
    assert fatal_in_log(refused + taken) == ""
    for text in (taken + refused, refused + SEEN[version]["truncated"] + refused, refused + refused[:70]):
        fault = config_error_in_log(text)
        assert fault is not None
        assert (fault.plan_id, fault.may_be_ours) == ("p1", True)
        assert (
            fault.message
            == "plan 'p1': backup schedule: invalid cron \"bad\": The length of fields must be five."
        )


def test_a_container_with_a_terminal_ends_its_lines_otherwise() -> None:
    for version in VERSIONS:
        text = SEEN[version]["several faults"]
        assert config_faults_in_log(text.replace("\n", "\r\n")) == config_faults_in_log(text)


def test_the_plan_comes_before_other_faults() -> None:
    fault = config_error_in_log(START + UNKNOWN_REPO)
    assert fault is not None
    assert (fault.kind, fault.plan_id, fault.message) == ("plan", "p1", "plan 'p1': repo \"nope\" not found")
    assert fault.may_be_ours


@pytest.mark.parametrize(
    ("log", "fatal_says", "kind"),
    [
        ("", "", ""),
        (START + WEB, "", ""),
        (START + UNKNOWN_REPO + START + WEB, "", ""),
        (START + WEB + START + UNKNOWN_REPO, "error loading config", "plan"),
        (START + LOCKED, "oplog is locked by another instance of backrest", ""),
        (START + LOCKED + START + UNKNOWN_REPO, "error loading config", "plan"),
        (START + UNKNOWN_REPO + START + LOCKED, "oplog is locked by another instance of backrest", ""),
        (START + PANIC, "Backrest panicked", "plan"),
        (START + PANIC.replace("cronexpr", "other"), "Backrest panicked", ""),
        (START + AUTO_INIT, "error creating orchestrator", "repo"),
        (START + loading('"failed to read config file: /x: denied"}'), LOADING, "file"),
        (START + loading('"IMPORTANT: a potential password conflict"}'), LOADING, "environment"),
        (START + loading('"something of the fut'), LOADING, "other"),
        (START + loading("3}"), LOADING, "other"),
    ],
)  # fmt: skip
def test_the_log_of_the_last_start(log: str, fatal_says: str, kind: str) -> None:
    fault = config_error_in_log(log)
    assert fatal_in_log(log) == fatal_says
    assert (fault.kind if fault else "") == kind
    assert fault is None or "hunter2" not in fault.message


def test_faults_that_cannot_be_ours_say_so() -> None:
    fault = config_error_in_log(START + AUTO_INIT)
    assert fault is not None
    assert (fault.repo_id, fault.may_be_ours) == ("r1", False)


def test_cut_off() -> None:
    assert cut_off_operations(START + SCRUBBED + WEB).count == 2
    assert cut_off_operations(START + SCRUBBED.replace(": 2", ": 0") + WEB).count == 0
    assert cut_off_operations("nothing").count == 0
    listed_now = [
        Operation(1, "backup", "error", "old", cut_off=True),
        Operation(2, "backup", "error", "db", cut_off=True),
        Operation(3, "runHook", "error", "db", cut_off=True),
        Operation(4, "backup", "success", "web"),
    ]
    cut = cut_off_operations("", listed_now, frozenset({1}))
    assert (cut.count, cut.plan_ids) == (2, ("db",))
