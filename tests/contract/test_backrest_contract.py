"""What the sidecar relies on in Backrest, checked alike on the double and on a real one (BACKREST_BIN).

Where an older Backrest does otherwise, the check asks its :class:`~tests.doubles.backrest.version.Version`.
"""

from __future__ import annotations

import io
import json
import re
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.api import ApiDenied, ModnoConflict, Rejected, ids, save
from sidecar.backrest.start_log import config_error_in_log, config_faults_in_log, fatal_in_log
from tests.contract.harness import Running
from tests.contract.samples import (
    GOOD,
    HANGS,
    OLDER,
    PANICS,
    SAMPLES,
    SECRET,
    plan,
    refused_plans,
    sample_for,
)
from tests.doubles.backrest.log import log_line
from tests.doubles.backrest.server import Double
from tests.doubles.backrest.store import Fatal
from tests.doubles.backrest.version import OLDER as OLDER_VERSIONS
from tests.doubles.backrest.version import Version
from tests.waiting import eventually

GOOD_RAW = json.dumps(GOOD).encode()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _baks(config: Path) -> list[Path]:
    return sorted(config.parent.glob("config.json.bak.*"))


def _start_here(config: Path, raw: bytes, version: Version) -> tuple[int | None, str]:
    """Return exit code and log of a start of the double in this process: there are many samples."""
    config.write_bytes(raw)
    log = io.StringIO()
    try:
        with Double(config, config.parent / "data", out=log, version=version):
            pass
    except Fatal as fatal:
        return 1, log.getvalue() + log_line("FATAL", fatal.args[0], fatal.args[1], version) + "\n"
    return None, log.getvalue()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_start_takes_or_refuses(kind: str, backrest: Running, name: str) -> None:
    raw = SAMPLES[name].raw
    if kind == "real":
        backrest.start(raw)
        _check_start(name, backrest.version, backrest.exit_code, backrest.log, backrest.config)
    else:
        _check_start(
            name, backrest.version, *_start_here(backrest.config, raw, backrest.version), backrest.config
        )


@pytest.mark.parametrize("version", OLDER_VERSIONS, ids=str)
@pytest.mark.parametrize(
    "name", [*OLDER, "unknown repo", "version 1", "truncated", "good", "retention empty bucket"]
)
def test_a_start_of_an_older_one(version: Version, name: str, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    _check_start(name, version, *_start_here(config, SAMPLES[name].raw, version), config)


def _check_start(name: str, version: Version, code: int | None, log: str, config: Path) -> None:
    sample = sample_for(name, version)
    fault = config_error_in_log(log)
    if not sample.says:
        assert (code, fault, fatal_in_log(log)) == (None, None, "")
        return
    assert code == 1
    assert sample.says in log.replace('\\"', '"')
    assert fault is not None
    assert (fault.kind, fault.plan_id, fault.repo_id) == (sample.kind, sample.plan, sample.repo)
    assert SECRET not in fault.message
    assert "4711" not in fault.message
    assert config.read_bytes() == sample.raw
    assert not _baks(config)


def test_a_start_panics_on_a_negative_step(backrest: Running) -> None:
    backrest.start(PANICS)
    assert backrest.exit_code == 2
    fault = config_error_in_log(backrest.log)
    assert fault is not None
    assert fault.may_be_ours


@pytest.mark.parametrize("cron", HANGS)
def test_a_start_hangs_on_step_zero(backrest: Running, cron: str) -> None:
    """It neither listens nor ends, and says nothing: only our own check keeps such a plan out."""
    backrest.launch(HANGS[cron])
    with pytest.raises(AssertionError, match="not true within"):
        eventually(lambda: backrest.up() or backrest.exit_code is not None, timeout=1.5)
    assert config_error_in_log(backrest.log) is None


@pytest.mark.differs("1.10.1")
def test_every_fault_is_named(backrest: Running) -> None:
    config = {**GOOD, "plans": [plan(id=name, repo="x", paths=[""])["plans"][0] for name in ("one", "two")]}
    backrest.start(json.dumps(config).encode())
    faults = config_faults_in_log(backrest.log)
    assert [(fault.plan_id, fault.kind) for fault in faults] == [("one", "plan")] * 2 + [("two", "plan")] * 2


def test_it_comes_up(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    assert backrest.exit_code is None
    assert backrest.up()


@pytest.mark.differs("1.12.1", "1.8.1")
def test_the_first_start_writes_an_identity_and_the_second_nothing(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    written = backrest.config.read_bytes()
    if backrest.version.has_identity:
        identity = json.loads(written)["sync"]["identity"]
        assert identity["ed25519priv"]
        assert identity["keyId"].startswith("ed25519." if backrest.version.has_ed25519 else "ecdsa.")
        assert _mode(backrest.config) == 0o600
        assert [bak.read_bytes() for bak in _baks(backrest.config)] == [GOOD_RAW]
    else:
        assert written == GOOD_RAW
    backrest.kill()
    backrest.start()
    assert backrest.config.read_bytes() == written


def test_a_missing_file_is_fine_and_made_by_the_first_save(backrest: Running) -> None:
    backrest.start()
    assert not backrest.config.exists()
    config = backrest.api.get_config()
    assert config["auth"] == {"disabled": True}
    backrest.api.set_config(config)
    assert json.loads(backrest.config.read_bytes())["version"] == config["version"]


@pytest.mark.differs("1.12.1")
def test_an_old_version_is_migrated(backrest: Running) -> None:
    backrest.start(SAMPLES["version 3 without guid"].raw)
    config = json.loads(backrest.config.read_bytes())
    assert config["version"] == backrest.version.config
    assert len(config["repos"][0]["guid"]) == 64


@pytest.mark.differs("1.8.1")
def test_get_config_masks_hashes_and_the_identity_but_no_repo_secret(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    auth = _auth(backrest)
    backrest.client().set_config({**backrest.api.get_config(), "auth": auth})
    config = backrest.client("u", SECRET).get_config()
    if backrest.version.masks:
        assert config["auth"]["users"] == [{"name": "u", "passwordBcrypt": "********"}]
        assert list(config["sync"]["identity"]) == ["keyId"]
    else:
        assert config["auth"] == auth
    assert config["repos"][0]["password"] == SECRET


@pytest.mark.differs("1.12.1", "1.8.1")
def test_credentials(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    hashed = _auth(backrest)
    backrest.api.set_config({**backrest.api.get_config(), "auth": hashed})
    for client in (backrest.api, backrest.client("u", "wrong")):
        assert client.answers()
        with pytest.raises(ApiDenied) as denied:
            client.get_config()
        assert "wrong" not in str(denied.value)
    client = backrest.client("u", SECRET)
    client.set_config(client.get_config())  # masked hash and identity come back
    on_disk = json.loads(backrest.config.read_bytes())
    assert on_disk["auth"] == hashed
    assert not backrest.version.has_identity or on_disk["sync"]["identity"]["ed25519priv"]


def _auth(backrest: Running) -> dict[str, Any]:
    """Return an ``auth`` with one user whose password is :data:`SECRET`."""
    reply = backrest.post("v1.Authentication/HashPassword", {"value": SECRET})
    return {"users": [{"name": "u", "passwordBcrypt": reply["value"]}]}


def test_a_save_raises_modno_rewrites_the_file_and_keeps_a_copy(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    before = backrest.config.read_bytes()
    for bak in _baks(backrest.config):
        bak.unlink()
    backrest.config.chmod(0o644)
    config = backrest.api.get_config()
    answer = backrest.api.set_config(config)
    assert answer["modno"] == config.get("modno", 0) + 1
    assert json.loads(backrest.config.read_bytes())["modno"] == answer["modno"]
    assert _mode(backrest.config) == 0o600
    (bak,) = _baks(backrest.config)
    assert bak.read_bytes() == before
    assert _mode(bak) == 0o600
    assert re.search(r"\.bak\.\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d$", bak.name)


def test_only_the_newest_ten_copies_are_kept(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    for year in range(2001, 2015):
        backrest.config.with_name(f"config.json.bak.{year}-01-01-00-00-00").write_text("{}")
    backrest.api.set_config(backrest.api.get_config())
    kept = [bak.name for bak in _baks(backrest.config)]
    assert len(kept) == 10
    assert not any(name.startswith("config.json.bak.2001") for name in kept)
    assert not kept[-1].startswith("config.json.bak.2014")


@pytest.mark.differs("1.13.0", "1.12.1")
def test_a_wrong_modno_is_refused(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    config = backrest.api.get_config()
    backrest.api.set_config(config)
    written = backrest.config.read_bytes()
    with pytest.raises(ModnoConflict):
        backrest.api.set_config(config)
    with pytest.raises(ModnoConflict):
        backrest.api.set_config({**config, "modno": 77})
    assert backrest.config.read_bytes() == written


@pytest.mark.differs("1.13.0", "1.12.1", "1.10.1")
def test_refused_plans_change_nothing_and_are_named(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    config = backrest.api.get_config()
    written = backrest.config.read_bytes()
    for name, bad in refused_plans(backrest.version).items():
        other = {**GOOD["plans"][0], "id": "other"}
        with pytest.raises(Rejected) as refused:
            backrest.api.set_config({**config, "plans": [bad, other]})
        assert refused.value.plan_ids == (bad["id"],), name
    assert backrest.config.read_bytes() == written
    assert backrest.api.get_config() == config


@pytest.mark.differs("1.12.1")
def test_a_refusal_shows_no_secret(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    config = backrest.api.get_config()
    config["repos"][0]["env"] = [SECRET]
    with pytest.raises(Rejected, match="repo 'r1'") as refused:
        backrest.api.set_config(config)
    assert SECRET not in str(refused.value)
    config["repos"][0]["env"] = SECRET
    with pytest.raises(Rejected) as refused:
        backrest.api.set_config(config)
    assert SECRET not in str(refused.value)
    assert refused.value.faults[0].kind == "syntax"


@pytest.mark.differs("1.8.1")
def test_unknown_fields_are_lost_plans_and_paths_sorted(backrest: Running) -> None:
    config = {
        **GOOD,
        "mark": 1,
        "plans": [plan(id="z", mark=1)["plans"][0], plan(paths=["/b", "/a"])["plans"][0]],
    }
    backrest.start(json.dumps(config).encode())
    if not backrest.version.has_identity:  # nothing to add, so the start wrote nothing
        backrest.api.set_config(backrest.api.get_config())
    for seen in (backrest.api.get_config(), json.loads(backrest.config.read_bytes())):
        assert "mark" not in seen
        assert [entry["id"] for entry in seen["plans"]] == ["p1", "z"]
        assert seen["plans"][0]["paths"] == ["/a", "/b"]
        assert "mark" not in seen["plans"][1]


def test_an_edit_of_the_file_has_no_effect_and_is_overwritten(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    edited = json.loads(backrest.config.read_bytes())
    edited["plans"].append({**GOOD["plans"][0], "id": "by-hand"})
    for bak in _baks(backrest.config):
        bak.unlink()
    backrest.config.write_text(json.dumps(edited))
    assert ids(backrest.api.get_config(), "plans") == {"p1"}
    backrest.api.set_config(backrest.api.get_config())
    assert ids(json.loads(backrest.config.read_bytes()), "plans") == {"p1"}
    assert ids(json.loads(_baks(backrest.config)[-1].read_bytes()), "plans") == {"p1", "by-hand"}


@pytest.mark.differs("1.10.1")
def test_add_repo_does_not_raise_modno_so_a_later_set_can_undo_it(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    before = backrest.api.get_config()
    repo = {"id": "r2", "uri": str(backrest.home / "repo2"), "password": SECRET}
    backrest.add_repo(repo)
    after = backrest.api.get_config()
    assert ids(after, "repos") == {"r1", "r2"}
    assert after.get("modno", 0) == before.get("modno", 0)
    backrest.api.set_config(before)
    assert ids(backrest.api.get_config(), "repos") == {"r1"}


def test_plans_are_saved_live_and_a_save_in_between_survives(backrest: Running) -> None:
    backrest.start(GOOD_RAW)
    ours = plan(id="ours", paths=["/b", "/a"], retention={"policyTimeBucketed": {"daily": 7}})["plans"][0]
    before = backrest.api.get_config()
    theirs = {**GOOD["plans"][0], "id": "from-the-ui"}
    backrest.api.set_config({**before, "plans": [*before["plans"], theirs]})
    assert save(backrest.api, before, {**before, "plans": [*before["plans"], ours]}) is None
    now = backrest.api.get_config()
    saved = save(backrest.api, now, {**now, "plans": [*now["plans"], ours]})
    assert saved is not None
    assert (saved.unlike, saved.overtaken) == ((), False)
    assert ids(json.loads(backrest.config.read_bytes()), "plans") == {"p1", "ours", "from-the-ui"}


def test_a_schedule_stands_in_the_log_before_it_fires(backrest: Running) -> None:
    backrest.start(json.dumps(plan(schedule={"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"})).encode())
    (pending,) = eventually(backrest.api.operations)
    assert (pending.status, pending.kind, pending.plan_id) == ("pending", "backup", "p1")
    assert time.localtime(pending.start)[3:5] == (2, 0)
    assert 0 < pending.start - time.time() <= 25 * 3600
    assert backrest.api.operations_in_progress() == ()


def hooked(
    trace: Path, start: str = "true", on_error: str = "ON_ERROR_IGNORE", hold: Path | None = None
) -> bytes:
    """Return a config whose hooks write their event into ``trace``; the start hook holds until ``hold`` is gone."""

    def hook(event: str, command: str) -> dict[str, Any]:
        script = f"echo {event} >>{trace}; {command}"
        return {
            "conditions": [f"CONDITION_SNAPSHOT_{event}"],
            "onError": on_error,
            "actionCommand": {"command": script},
        }

    holding = f"while [ -e {hold} ]; do sleep 0.02; done; " if hold is not None else ""
    hooks = [hook("START", holding + start), hook("ERROR", "true"), hook("END", "true")]
    return json.dumps(plan(paths=[str(trace.parent)], hooks=hooks)).encode()


def test_hooks_run_by_sh_around_a_backup(backrest: Running, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    backrest.start(hooked(trace, start=f'echo "$0" >>{trace}'))
    backrest.backups_take(0)
    assert backrest.post("v1.Backrest/Backup", {"value": "p1"}) == {}
    assert trace.read_text().split() == ["START", "sh", "END"]


@pytest.mark.differs("1.10.1")
def test_a_start_hook_that_cancels_fires_error_and_no_end(backrest: Running, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    backrest.start(hooked(trace, start="false", on_error="ON_ERROR_CANCEL"))
    backrest.backups_take(0)
    backrest.post("v1.Backrest/Backup", {"value": "p1"})
    assert trace.read_text().split() == ["START"] + ["ERROR"] * backrest.version.tells_start_errors
