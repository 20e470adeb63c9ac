"""A run as a whole, on a scripted engine: the order of what it does, and every way it can go wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.backup.options import BackupOptions
from sidecar.backup.run import run_backup_once
from sidecar.backup.summary import Outcome
from sidecar.engine.errors import EngineError, Kind
from sidecar.engine.model import Container, Mount
from sidecar.engine.types import RunSpec
from sidecar.quiesce.cleanup import RUN_LABEL
from sidecar.quiesce.journal import RunLock
from sidecar.quiesce.recovery import recover
from tests.unit.quiesce.test_quiesce_crash import script
from tests.unit.quiesce_rig import FakeEngine, journal_states, tools, workload

KEEP: dict[str, Any] = {"backrest__enable": "true", "backrest__keep": "last=2"}


def run(
    engine: FakeEngine, state_dir: Path, *, stopped: Callable[[], bool] = lambda: False, **options: Any
) -> Outcome:
    return run_backup_once(
        engine, BackupOptions(state_dir=state_dir, **options), tools(engine, stopped=stopped), {}
    )


def verbs(engine: FakeEngine, *wanted: str) -> list[str]:
    return [f"{verb} {name}" for verb, name in engine.calls if verb in wanted]


@pytest.fixture
def engine() -> FakeEngine:
    made = FakeEngine(script=script)
    made.add(workload("db", **KEEP))
    made.add(workload("web", com__docker__compose__depends_on="db:service_healthy:true"))
    return made


def fail(
    verb: str, name: str, kind: Kind = "protocol", times: int = 99
) -> Callable[[FakeEngine, str, str], None]:
    left = [times]

    def hook(_engine: FakeEngine, called: str, on: str) -> None:
        if (called, on) == (verb, name) and left[0] > 0:
            left[0] -= 1
            raise EngineError(kind, f"{verb} of {name} failed")

    return hook


def test_the_steps_come_in_order_and_containers_are_up_before_retention(
    engine: FakeEngine, tmp_path: Path
) -> None:
    outcome = run(engine, tmp_path, kind="restic", together=True)
    assert outcome.exit_code == 0
    assert verbs(engine, "run", "stop", "start") == [
        "run restic snapshots --json",
        "stop web",
        "stop db",
        "run restic backup --host",
        "run restic backup --host",
        "start db",
        "start web",
        "run restic forget --group-by",
    ]


def test_each_workload_is_down_for_its_own_backup_alone(engine: FakeEngine, tmp_path: Path) -> None:
    run(engine, tmp_path, kind="restic")
    assert verbs(engine, "stop", "start") == ["stop db", "start db", "stop web", "start web"]


def test_nothing_labelled_is_nothing_to_do(tmp_path: Path) -> None:
    engine = FakeEngine(script=script)
    engine.add(workload("plain", quiesce=False))
    assert run(engine, tmp_path, kind="restic").exit_code == 2
    assert verbs(engine, "run", "stop", "start") == []


@pytest.mark.parametrize("kind", ["rcb", "restic"])
def test_a_failed_backup_forgets_nothing_and_ends_with_3(
    engine: FakeEngine, tmp_path: Path, kind: str
) -> None:
    def failing(fake: FakeEngine, spec: RunSpec) -> tuple[int, list[str]]:
        return (1, ["Fatal: no"]) if "backup" in spec.command else script(fake, spec)

    engine.script = failing
    outcome = run(engine, tmp_path, kind=kind)
    assert outcome.exit_code == 3
    assert not any("forget" in call for call in verbs(engine, "run"))
    assert engine.states() == {"db": "running", "web": "running"}


def test_an_incomplete_backup_is_no_success(engine: FakeEngine, tmp_path: Path) -> None:
    def partial(fake: FakeEngine, spec: RunSpec) -> tuple[int, list[str]]:
        lines = ["error: permission denied", "snapshot 01234567 saved"]
        return (3, lines) if "backup" in spec.command else script(fake, spec)

    engine.script = partial
    outcome = run(engine, tmp_path, kind="restic")
    assert outcome.exit_code == 3
    assert "some files could not be read" in outcome.summary.problems[0]
    assert not any("forget" in call for call in verbs(engine, "run"))


def test_retention_that_fails_leaves_the_others_alone(engine: FakeEngine, tmp_path: Path) -> None:
    engine.add(workload("files", **KEEP))

    def failing(fake: FakeEngine, spec: RunSpec) -> tuple[int, list[str]]:
        if "forget" in spec.command:
            return (
                (1, ["Fatal: locked"]) if "/volumes/shop/db" in spec.command else (0, ["remove 3 snapshots:"])
            )
        return script(fake, spec)

    engine.script = failing
    outcome = run(engine, tmp_path, kind="restic")
    assert outcome.exit_code == 3
    assert outcome.summary.forgotten == {"shop/files": 3}
    assert outcome.summary.problems == ("retention of shop/db failed: Fatal: locked (exit code 1)",)


def test_the_whole_keep_spec_is_used(tmp_path: Path) -> None:
    engine = FakeEngine(script=script)
    engine.add(workload("db", backrest__enable="true", backrest__keep="last=2,within-d=7d"))
    seen: list[RunSpec] = []

    def noting(fake: FakeEngine, spec: RunSpec) -> tuple[int, list[str]]:
        seen.append(spec)
        return script(fake, spec)

    engine.script = noting
    run(engine, tmp_path, kind="restic", group_by="host,paths")
    assert seen[-1].command == (
        "forget", "--group-by", "host,paths", "--path", "/volumes/shop/db", "--host", "host1",
        "--keep-last", "2", "--keep-within-daily", "7d", "--prune",
    )  # fmt: skip


def test_a_wrong_label_is_left_out_and_told(engine: FakeEngine, tmp_path: Path) -> None:
    engine.add(workload("odd", quiesce=False, backrest__enable="true", backrest__keep="daily=x"))
    outcome = run(engine, tmp_path, kind="restic")
    assert outcome.exit_code == 3
    assert len(outcome.summary.problems) == 1
    assert "odd" in outcome.summary.problems[0]
    assert "backrest.keep" in outcome.summary.problems[0]


def test_a_stop_that_fails_starts_what_was_stopped_and_backs_nothing_up(
    engine: FakeEngine, tmp_path: Path
) -> None:
    engine.hook = fail("stop", "db")
    outcome = run(engine, tmp_path)
    assert outcome.exit_code == 3
    assert not any("rcb backup" in call for call in verbs(engine, "run"))
    assert engine.states() == {"db": "running", "web": "running"}
    assert journal_states(tmp_path) == {}


def test_a_stop_that_timed_out_and_happens_counts_as_stopped(engine: FakeEngine, tmp_path: Path) -> None:
    def slow(fake: FakeEngine, verb: str, name: str) -> None:
        if (verb, name) == ("stop", "web"):
            fake.later.append((fake.now + 2.0, "web-id", "exited"))
            raise EngineError("timeout", "no answer")

    engine.hook = slow
    run(engine, tmp_path)
    assert any("rcb backup" in call for call in verbs(engine, "run"))
    assert engine.states() == {"db": "running", "web": "running"}


def test_a_stop_that_happens_long_after_we_gave_up_is_made_good(engine: FakeEngine, tmp_path: Path) -> None:
    def very_slow(fake: FakeEngine, verb: str, name: str) -> None:
        if (verb, name) == ("stop", "web") and fake.boxes["web-id"].starts == 0:
            fake.later.append((fake.now + 14.0, "web-id", "exited"))  # its own time is 10 s
            raise EngineError("timeout", "no answer")

    engine.hook = very_slow
    assert run(engine, tmp_path).exit_code == 3
    assert engine.states() == {"db": "running", "web": "running"}


def test_a_start_that_fails_once_is_tried_again(engine: FakeEngine, tmp_path: Path) -> None:
    engine.hook = fail("start", "db", times=2)
    outcome = run(engine, tmp_path, kind="restic")
    assert outcome.exit_code == 0
    assert engine.states() == {"db": "running", "web": "running"}


def test_a_start_that_never_works_is_told_stays_owed_and_keeps_no_other_down(
    engine: FakeEngine, tmp_path: Path
) -> None:
    engine.hook = fail("start", "db")
    outcome = run(engine, tmp_path)
    assert outcome.exit_code == 3
    assert any("db could not be started" in p for p in outcome.summary.problems)
    assert engine.states() == {"db": "exited", "web": "running"}
    assert journal_states(tmp_path) == {"db": "stopped", "web": "started"}
    engine.hook = None
    assert recover(engine, tmp_path, tools(engine)).started == ("db",)
    assert engine.states() == {"db": "running", "web": "running"}


def test_the_next_run_starts_first_what_the_last_one_left(engine: FakeEngine, tmp_path: Path) -> None:
    engine.hook = fail("start", "db")
    run(engine, tmp_path)
    engine.hook = None
    engine.calls.clear()
    run(engine, tmp_path)
    assert verbs(engine, "start", "stop", "run")[0] == "start db"


def test_a_dependent_waits_for_healthy(engine: FakeEngine, tmp_path: Path) -> None:
    engine.boxes["db-id"].health = "healthy"
    at: dict[str, float] = {}

    def slowly_healthy(fake: FakeEngine, verb: str, name: str) -> None:
        if verb == "start":
            at[name] = fake.now
            fake.boxes["db-id"].health = "starting"
        if "db" in at and fake.now - at["db"] > 2.0:
            fake.boxes["db-id"].health = "healthy"

    engine.hook = slowly_healthy
    run(engine, tmp_path)
    assert at["web"] - at["db"] > 2.0


def test_one_that_never_gets_healthy_keeps_nobody_down_for_ever(engine: FakeEngine, tmp_path: Path) -> None:
    engine.boxes["db-id"].health = "starting"
    run(engine, tmp_path, mode="stop")
    assert engine.states() == {"db": "running", "web": "running"}


def test_one_that_goes_down_again_is_tried_once_more_and_told(engine: FakeEngine, tmp_path: Path) -> None:
    def crash(fake: FakeEngine, verb: str, name: str) -> None:
        box = fake.boxes["web-id"]
        if verb == "snapshot" and box.starts and box.state == "running":
            box.state, box.exit_code = "exited", 1
        if verb == "find" and name == "web-id" and box.starts > 1:
            box.state, box.exit_code = "exited", 1

    engine.hook = crash
    outcome = run(engine, tmp_path)
    assert engine.boxes["web-id"].starts == 2
    assert any("web was started and went down again" in p for p in outcome.summary.problems)


def test_a_recreated_container_is_found_by_project_service_and_number(
    engine: FakeEngine, tmp_path: Path
) -> None:
    def recreate(fake: FakeEngine, verb: str, name: str) -> None:
        if verb == "wait" and "-rcb-" in name and "web-id" in fake.boxes:
            old = fake.boxes.pop("web-id").container
            fake.add(Container("new-id", "web-new", labels=old.labels), state="created")

    engine.hook = recreate
    run(engine, tmp_path)
    assert engine.states() == {"db": "running", "web-new": "running"}


def test_a_container_removed_meanwhile_is_told_and_owed_no_longer(engine: FakeEngine, tmp_path: Path) -> None:
    def remove(fake: FakeEngine, verb: str, name: str) -> None:
        if verb == "wait" and "-rcb-" in name:
            fake.boxes.pop("web-id", None)

    engine.hook = remove
    outcome = run(engine, tmp_path)
    assert outcome.exit_code == 3
    assert any("web is gone" in p for p in outcome.summary.problems)
    assert journal_states(tmp_path) == {}


def test_a_stop_signal_ends_the_helper_and_starts_everything(engine: FakeEngine, tmp_path: Path) -> None:
    told: list[bool] = []

    def signal(fake: FakeEngine, verb: str, name: str) -> None:
        if verb == "run" and "rcb backup" in name:
            told.append(True)

    engine.hook = signal
    outcome = run(engine, tmp_path, stopped=lambda: bool(told))
    assert outcome.exit_code == 3
    assert engine.states() == {"db": "running", "web": "running"}
    assert not any("forget" in call for call in verbs(engine, "run"))
    assert journal_states(tmp_path) == {}


def test_a_stop_signal_between_two_stops(engine: FakeEngine, tmp_path: Path) -> None:
    outcome = run(engine, tmp_path, stopped=lambda: engine.boxes["web-id"].stops > 0)
    assert outcome.exit_code == 3
    assert engine.boxes["db-id"].stops == 0
    assert engine.states() == {"db": "running", "web": "running"}


@pytest.mark.parametrize("verb", ["stop", "run", "wait", "snapshot", "find", "remove"])
def test_a_bug_anywhere_leaves_nothing_down(engine: FakeEngine, tmp_path: Path, verb: str) -> None:
    for at in range(12):
        seen = [0]

        def bug(_fake: FakeEngine, called: str, _name: str, at: int = at, seen: list[int] = seen) -> None:
            if called == verb:
                seen[0] += 1
                if seen[0] == at + 1:
                    raise ZeroDivisionError

        engine.hook = bug
        with contextlib.suppress(ZeroDivisionError):
            run(engine, tmp_path / str(at))
        engine.hook = None
        recover(engine, tmp_path / str(at), tools(engine))
        assert {engine.state_of("db"), engine.state_of("web")} == {"running"}, at


def test_two_runs_at_once_the_second_is_refused(engine: FakeEngine, tmp_path: Path) -> None:
    with RunLock(tmp_path):
        outcome = run(engine, tmp_path)
    assert outcome.exit_code == 3
    assert "is at work" in outcome.summary.problems[0]
    assert engine.calls == []


def test_a_run_with_another_state_directory_is_seen_by_its_helper(engine: FakeEngine, tmp_path: Path) -> None:
    engine.add(Container("h", "backrest-sidecar-rcb-x", labels={RUN_LABEL: "feedfeedfeed"}))
    outcome = run(engine, tmp_path)
    assert outcome.exit_code == 3
    assert "another state directory" in outcome.summary.problems[0]
    assert verbs(engine, "stop", "run") == []


def test_the_protected_are_not_stopped_and_it_is_said(engine: FakeEngine, tmp_path: Path) -> None:
    engine.add(workload("backrest"))
    outcome = run(engine, tmp_path)
    assert outcome.summary.refused == ("backrest: it runs Backrest",)
    assert engine.boxes["backrest-id"].stops == 0


def test_a_throw_away_state_directory_is_refused_unless_accepted(engine: FakeEngine, tmp_path: Path) -> None:
    me = engine.add(Container("me", "sidecar", mounts=(Mount("volume", "/v", "/else", name="v"),)))
    real = engine.snapshot

    def seen_from_inside() -> Any:
        found = real()
        return type(found)(found.containers, found.volumes, docker_root=found.docker_root, self_id="me")

    engine.snapshot = seen_from_inside  # type: ignore[method-assign]  # as an engine that knows which is ours
    outcome = run(engine, tmp_path)
    assert outcome.exit_code == 3
    assert "--allow-volatile-state" in outcome.summary.problems[0]
    assert verbs(engine, "stop", "run") == []
    run(engine, tmp_path, allow_volatile_state=True)
    assert "stop db" in verbs(engine, "stop")
    assert me.stops == 0


def test_an_image_is_pulled_before_anything_is_down(engine: FakeEngine, tmp_path: Path) -> None:
    engine.images.clear()
    run(engine, tmp_path, kind="restic")
    assert verbs(engine, "pull", "stop")[:2] == ["pull restic/restic", "stop db"]


def test_downtime_is_counted_per_container(engine: FakeEngine, tmp_path: Path) -> None:
    def takes_time(fake: FakeEngine, verb: str, name: str) -> None:
        if verb == "wait" and "-rcb-" in name:
            fake.rest(30.0)

    engine.hook = takes_time
    downtime = run(engine, tmp_path).summary.downtime
    assert set(downtime) == {"db", "web"}
    assert all(30.0 <= seconds < 32.0 for seconds in downtime.values())


def test_the_env_files_secrets_are_in_no_log_line(
    engine: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    env_file = tmp_path / "env"
    env_file.write_text("RESTIC_PASSWORD=hunter2-secret\n")

    def leaking(fake: FakeEngine, spec: RunSpec) -> tuple[int, list[str]]:
        code, lines = script(fake, spec)
        return (1, ["Fatal: wrong hunter2-secret"]) if "backup" in spec.command else (code, lines)

    engine.script = leaking
    outcome = run(engine, tmp_path, kind="restic", env_file=env_file)
    assert outcome.exit_code == 3
    assert "hunter2" not in str(outcome)


def test_the_journal_that_cannot_be_written_stops_nothing(engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = run(engine, tmp_path / "file" / "state")
    assert outcome.exit_code == 3
    assert "--state-dir" in outcome.summary.problems[0]
    assert verbs(engine, "stop", "run") == []


def test_a_dry_run_tells_the_whole_order(
    engine: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert run(engine, tmp_path / "state", dry_run=True, kind="restic", together=True).exit_code == 2
    told = [r.__dict__["fields"]["does"] for r in caplog.records if r.message == "dry-run.step"]
    assert [line.split(",")[0].split(" as ")[0].split(":")[0] for line in told] == [
        "list the snapshots in the repository",
        "stop web",
        "stop db",
        "back up shop/db",
        "back up shop/web",
        "start db",
        "start web",
        "forget",
    ]
    assert {verb for verb, _ in engine.calls} <= {"snapshot", "find"}
    assert not (tmp_path / "state").exists()


def test_one_that_somebody_pauses_or_stops_first_is_not_ours_to_bring_back(
    engine: FakeEngine, tmp_path: Path
) -> None:
    def meddle(fake: FakeEngine, verb: str, name: str) -> None:
        if verb == "pause":
            fake.boxes[f"{name}-id"].state = {"web": "paused", "db": "exited"}[name]

    engine.hook = meddle
    run(engine, tmp_path, mode="pause")
    assert engine.states() == {"db": "exited", "web": "paused"}
    assert journal_states(tmp_path) == {}


def test_pausing_keeps_what_was_paused_before_as_it_was(engine: FakeEngine, tmp_path: Path) -> None:
    engine.add(workload("held"), state="paused")
    run(engine, tmp_path, mode="pause")
    assert engine.states() == {"db": "running", "web": "running", "held": "paused"}
    assert verbs(engine, "stop", "start") == []


def test_progress_is_told_as_it_happens(
    engine: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run(engine, tmp_path, kind="restic", together=True)
    told = [
        r.message
        for r in caplog.records
        if not r.message.endswith(".output") and r.message.startswith(("quiesce", "retention", "backup-once"))
    ]
    assert told == [
        "backup-once.begin",
        "quiesce.stop",
        "quiesce.stopped",
        "quiesce.stop",
        "quiesce.stopped",
        "quiesce.started",
        "quiesce.started",
        "retention.run",
        "retention.done",
        "backup-once.complete",
    ]


def test_a_database_that_rcb_dumps_is_not_paused_under_it(engine: FakeEngine, tmp_path: Path) -> None:
    dumped = workload("mysql")
    engine.add(replace(dumped, labels={**dumped.labels, "restic-compose-backup.mysql": "true"}))
    outcome = run(engine, tmp_path, mode="pause")
    assert "pause mysql" not in verbs(engine, "pause")
    assert "mysql: rcb dumps its database" in outcome.summary.refused[0]
    engine.calls.clear()
    run(engine, tmp_path, mode="pause", kind="restic")
    assert "pause mysql" in verbs(engine, "pause")
