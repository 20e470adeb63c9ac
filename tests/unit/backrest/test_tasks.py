"""Backrest's queue by its own log, in the words of 1.8 and of 1.10 and newer."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from sidecar.backrest.tasks import SHORT, STALE, UNSEEN_END, tasks_in_log

DAY = "2026-11-25T"


def at(clock: str) -> float:
    return dt.datetime.fromisoformat(f"{DAY}{clock}+00:00").timestamp()


class Log:
    """A log as Backrest writes it, line by line."""

    def __init__(self, *, old: bool = False) -> None:
        self.text = ""
        self.old = old

    def say(self, clock: str, message: str) -> Log:
        self.text += f"{DAY}{clock}.000Z\t\x1b[34mINFO\x1b[0m\t{message}\n"
        return self

    def reset(self, clock: str) -> Log:
        return self.say(clock, 'reset task queue, scheduling new task set\t{"timezone": "UTC"}')

    def _task(self, clock: str, said: str, name: str, run_at: str) -> Log:
        return self.say(clock, f"{said} task\t" + json.dumps({"task": name, "runAt": f"{DAY}{run_at}Z"}))

    def scheduled(self, clock: str, name: str, run_at: str) -> Log:
        return self._task(clock, "scheduled", name, run_at)

    def retrying(self, clock: str, name: str, run_at: str) -> Log:
        return self._task(clock, "retrying", name, run_at)

    def running(self, clock: str, name: str) -> Log:
        return self._task(clock, "running", name, clock)

    def finished(self, clock: str, name: str) -> Log:
        return self.say(clock, f'{name}\ttask finished\t{{"duration": "1s"}}') if self.old else self

    def failed(self, clock: str, name: str) -> Log:
        return self.say(clock, f'{name}\ttask failed\t{{"error": "x"}}')

    def seen(self, clock: str) -> list[tuple[str, str, str]]:
        found = tasks_in_log(self.text, at(clock))
        assert found is not None
        return [
            (op.kind, op.status, op.plan_id or op.repo_id)
            for op in found.operations
            if op.status != "success"
        ]


A, B = 'backup for plan "a"', 'backup for plan "b"'
SLACK = "run hook slack hook plan/a/hook/0"


def night(*, old: bool = False) -> Log:
    """Two plans of one minute; the first has begun."""
    log = (
        Log(old=old)
        .reset("00:00:00")
        .scheduled("00:00:00", A, "02:00:00")
        .scheduled("00:00:00", B, "02:00:00")
    )
    return log.running("02:00:00", A)


@pytest.mark.parametrize("old", [True, False])
def test_a_night_from_the_first_plan_to_the_last(old: bool) -> None:
    log = night(old=old)
    assert log.seen("02:00:01") == [("backup", "pending", "b"), ("backup", "inprogress", "a")]
    log.running("02:00:02", SLACK)
    assert log.seen("02:00:27") == [("backup", "pending", "b"), ("backup", "inprogress", "a")]
    log.finished("02:00:27", SLACK)
    index = 'index snapshots for repo "r"'
    log.scheduled("02:00:30", index, "02:00:30").finished("02:00:30", A).scheduled("02:00:30", A, "23:00:00")
    assert log.seen("02:00:30") == [
        ("backup", "pending", "a"),
        ("backup", "pending", "b"),
        ("index", "pending", "r"),
    ]
    log.running("02:00:30", index).finished("02:00:31", index).running("02:00:31", B)
    assert log.seen("02:00:32") == [("backup", "pending", "a"), ("backup", "inprogress", "b")]
    log.finished("02:00:35", B).scheduled("02:00:35", B, "23:00:00")
    assert log.seen("02:00:36") == [("backup", "pending", "a"), ("backup", "pending", "b")]


def test_a_hook_without_a_process_counts_for_its_patience_and_no_longer() -> None:
    log = night().running("02:00:02", SLACK)
    assert ("backup", "inprogress", "a") in log.seen("02:10:01")
    assert UNSEEN_END == 600
    assert log.seen("02:10:03") == []


def test_what_works_in_a_process_alone_is_short() -> None:
    log = Log().reset("00:00:00").running("02:00:00", 'prune repo "r"')
    assert log.seen("02:00:05") == [("prune", "inprogress", "r")]
    assert SHORT == 5
    assert log.seen("02:00:06") == []
    log.running("02:00:07", "run hook command hook plan/_system_/hook/0")
    assert log.seen("02:00:30") == [], "a command shows as a process"
    log.running("02:00:31", "run hook discord hook repo/r/hook/1")
    assert log.seen("02:05:00") == [("prune", "inprogress", "r")]


def test_a_failure_is_an_end_and_a_retry_waits() -> None:
    log = night().failed("02:00:05", A)
    assert log.seen("02:00:06") == [("backup", "pending", "b")]
    log.retrying("02:00:05", A, "02:05:05")
    assert log.seen("02:00:06") == [("backup", "pending", "a"), ("backup", "pending", "b")]


def test_a_saved_config_plans_anew_and_ends_nothing_that_runs() -> None:
    log = night().reset("02:00:05").scheduled("02:00:05", A, "03:00:00")
    assert log.seen("02:00:06") == [("backup", "pending", "a"), ("backup", "inprogress", "a")]


def test_a_task_that_somebody_cancelled_does_not_wait_for_ever() -> None:
    log = Log().reset("00:00:00").scheduled("00:00:00", A, "02:00:00")
    assert log.seen("02:00:59") == [("backup", "pending", "a")]
    assert STALE == 60
    assert log.seen("02:01:01") == []


def test_a_busy_queue_keeps_what_is_long_due() -> None:
    log = night().running("02:00:02", SLACK)
    assert ("backup", "pending", "b") in log.seen("02:09:00")


def test_a_backup_that_is_over_still_tells_when_it_began() -> None:
    found = tasks_in_log(night().scheduled("02:01:00", A, "23:00:00").text, at("02:01:10"))
    assert found is not None
    assert [(op.plan_id, op.start) for op in found.operations if op.status == "success"] == [
        ("a", at("02:00:00"))
    ]
    assert found.newest == at("02:01:00")
    assert len({op.id for op in found.operations}) == len(found.operations)


def test_other_zones_and_odd_names() -> None:
    text = '2026-11-25T03:00:00.000+0100\tINFO\tscheduled task\t{"task": "backup for plan \\"d\\\\\\"b\\"", '
    text += '"runAt": "2026-11-25T04:00:00+01:00"}\n'
    found = tasks_in_log(text, at("02:00:00"))
    assert found is not None
    (op,) = found.operations
    assert (op.plan_id, op.start, found.newest) == ('d"b', at("03:00:00"), at("02:00:00"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello\n",
        f"{DAY}02:00:00.000Z\tINFO\tstarting web server\t{{}}\n",
        f"{DAY}02:00:00.000Z\tINFO\trunning task\t{{",
    ],
)
def test_a_log_without_tasks_tells_nothing(text: str) -> None:
    assert tasks_in_log(text, at("02:00:00")) is None


def test_a_log_that_was_cut_at_its_start() -> None:
    log = Log().scheduled("02:00:30", A, "23:00:00").running("02:00:31", B)
    assert log.seen("02:00:32") == [("backup", "pending", "a"), ("backup", "inprogress", "b")]
