"""What a restart waits for, that it is said, and that what it cost is made up."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.api import BackrestApi
from sidecar.backrest.http import ApiDenied, ApiUnreachable, BackrestApiError
from sidecar.backrest.queue import Operation
from sidecar.messages import ApplyWaits
from sidecar.status.file import document
from sidecar.status.healthcheck import judge
from sidecar.status.metrics import registry
from sidecar.status.show import render_status
from sidecar.store.state import MakeUp
from tests.unit.builders import container
from tests.unit.stage import CONFIG, Stage

WEB = "backrest_sidecar_web"
SLACK = "run hook slack hook plan/hand-made/hook/0"
DAILY: dict[str, Any] = {**CONFIG, "plans": [{**CONFIG["plans"][0], "schedule": {"cron": "0 2 * * *"}}]}


class Api(BackrestApi):
    """A Backrest that answers what a test says."""

    def __init__(self) -> None:
        super().__init__("http://backrest:9898")
        self.error: BackrestApiError | None = None
        self.listed: list[Operation] = []
        self.begun: list[str] = []

    def get_config(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return DAILY

    def operations(self, last: int = 1000, plan: str = "") -> tuple[Operation, ...]:
        self.get_config()
        return tuple(self.listed)

    def back_up(self, plan: str) -> Operation:
        self.get_config()
        self.begun.append(plan)
        self.listed.append(Operation(9, "backup", "success", plan))
        return self.listed[-1]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def api() -> Api:
    return Api()


def with_api(tmp_path: Path, api: Api, config: dict[str, Any] | None = None, **flags: Any) -> Stage:
    """A stage whose Backrest has an API that ``--apply-mode restart`` asks what runs."""
    stage = Stage(tmp_path, config, **flags)
    stage.api = lambda: api
    stage.reborn()
    return stage


def line(stage: Stage, said: str, task: str, run_at: float | None = None) -> None:
    """Backrest says something of a task, now."""

    def stamp(wall: float) -> str:
        return (
            dt.datetime.fromtimestamp(wall, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )

    now = stage.clock.wall()
    fields = json.dumps({"task": task, "runAt": stamp(now if run_at is None else run_at)})
    assert stage.backrest.tasks is not None
    stage.backrest.tasks += f"{stamp(now)}\tINFO\t{said} task\t{fields}\n"


def status(stage: Stage) -> dict[str, Any]:
    return document(stage.board.facts, (), stage.clock(), stage.clock.wall())


def metrics(stage: Stage) -> Mapping[str, float]:
    found = registry(stage.board, lambda: ()).collect()
    return {
        sample.name.removeprefix("backrest_sidecar_"): sample.value for one in found for sample in one.samples
    }


# --- what it waits for


def test_a_slow_http_hook_shows_in_no_process_list_but_in_the_log(stage: Stage) -> None:
    line(stage, "running", 'backup for plan "hand-made"')
    line(stage, "running", SLACK)
    stage.want(container("web"))
    stage.run(longest=25)
    assert stage.backrest.calls == []
    assert status(stage)["waiting"]["why"] == "Backrest runs a backup of plan 'hand-made'"
    line(stage, "scheduled", 'backup for plan "hand-made"', stage.clock.wall() + 14400)
    stage.run(longest=10)
    assert stage.backrest.calls == ["stop", "start"]


def test_a_queue_between_two_tasks_is_not_idle(stage: Stage) -> None:
    line(stage, "scheduled", 'backup for plan "hand-made"', stage.clock.wall() + 5)
    line(stage, "running", "collect garbage")
    stage.sleep(20)
    stage.want(container("web"))
    stage.run(longest=20)
    assert stage.backrest.calls == []
    assert status(stage)["waiting"]["why"] == "in Backrest's queue a backup of plan 'hand-made' is due"


def test_what_a_hook_has_stopped_is_waited_for(stage: Stage) -> None:
    markers = stage.path.parent / ".backrest-sidecar" / "stopped"
    markers.mkdir(parents=True)
    (markers / "db").touch()
    os.utime(markers / "db", (stage.clock.wall(), stage.clock.wall()))
    stage.want(container("web"))
    stage.run(longest=600)
    assert stage.backrest.calls == []
    assert status(stage)["waiting"]["why"] == "a hook has stopped db, which is not started yet"
    (markers / "db").unlink()
    stage.run()
    assert stage.backrest.calls == ["stop", "start"]


def test_a_marker_of_an_earlier_run_keeps_nothing_waiting(stage: Stage) -> None:
    markers = stage.path.parent / ".backrest-sidecar" / "stopped"
    markers.mkdir(parents=True)
    (markers / "db").touch()
    os.utime(markers / "db", (stage.clock.wall() - 1, stage.clock.wall() - 1))
    stage.want(container("web"))
    stage.run(longest=60)
    assert stage.backrest.calls == ["stop", "start"]


def test_where_the_log_tells_nothing_half_a_minute_must_be_quiet(stage: Stage) -> None:
    stage.backrest.tasks = None
    stage.want(container("web"))
    stage.run(longest=38)
    assert stage.backrest.calls == []
    stage.run(longest=5)
    assert stage.backrest.calls == ["stop", "start"]


def test_the_api_is_asked_before_the_log(tmp_path: Path, api: Api) -> None:
    stage = with_api(tmp_path, api, apply_mode="restart")
    line(stage, "running", 'backup for plan "hand-made"')
    api.listed = [Operation(1, "backup", "pending", "x", start=stage.clock.wall() - 60)]
    stage.want(container("web"))
    stage.run(longest=60)
    assert status(stage)["waiting"]["why"] == "in Backrest's queue a backup of plan 'x' is due"
    api.listed = []
    stage.run(longest=20)
    assert stage.backrest.calls == ["stop", "start"]


# --- that it is said


def test_what_waits_since_when_and_for_what_is_in_status_metrics_and_health(tmp_path: Path) -> None:
    stage = Stage(tmp_path, apply_max_wait="60s")
    stage.backrest.busy = ["restic"]
    stage.want(container("web"))
    stage.run(longest=40)
    waiting = status(stage)["waiting"]
    assert waiting["plans"] == [WEB]
    assert waiting["why"] == "in Backrest's container runs restic"
    assert 25 < waiting["for_seconds"] <= 40
    assert not waiting["overdue"]
    assert metrics(stage)["waiting_applies"] == 1
    assert metrics(stage)["waiting_since_timestamp_seconds"] == stage.clock.wall() - waiting["for_seconds"]
    healthy = {**status(stage), "engine": {"reachable": True, "since": "now"}}
    assert judge(healthy, stage.clock(), 60, 60) == ""
    shown = render_status(status(stage), stage.clock())
    assert f"to be applied since {waiting['since']} ({WEB}): in Backrest's container runs restic" in shown
    stage.run(longest=60)
    late = {**status(stage), "engine": {"reachable": True, "since": "now"}}
    assert late["waiting"]["overdue"]
    assert metrics(stage)["waiting_overdue"] == 1
    said = judge(late, stage.clock(), 60, 60)
    assert said.startswith(f"the apply of plans {WEB} has waited for ")
    assert said.endswith("for an idle Backrest: in Backrest's container runs restic")
    assert "longer than --apply-max-wait" in render_status(late, stage.clock())
    stage.backrest.busy = []
    stage.run()
    assert status(stage)["waiting"] is None
    assert metrics(stage)["waiting_applies"] == 0
    assert "waiting" not in render_status(status(stage), stage.clock())


def test_what_waits_for_the_api_is_in_the_status_too(tmp_path: Path, api: Api) -> None:
    stage = with_api(tmp_path, api, DAILY)
    api.listed = [Operation(1, "backup", "pending", "hand-made", start=stage.clock.wall() - 60)]
    stage.want(container("web"))
    stage.run(longest=60)
    waiting = status(stage)["waiting"]
    assert waiting["why"] == "in Backrest's queue a backup of plan 'hand-made' is due"
    assert waiting["plans"] == [WEB]
    assert stage.backrest.calls == []


def test_each_wait_is_said_anew_though_its_reason_is_the_same(stage: Stage) -> None:
    for turn in range(2):
        stage.backrest.busy = ["restic"]
        stage.want(container("web", {"schedule": f"{turn} 1 * * *"}))
        stage.run(longest=30)
        assert status(stage)["waiting"]["why"] == "in Backrest's container runs restic"
        stage.backrest.busy = []
        stage.run()
        assert status(stage)["waiting"] is None
        stage.sleep(600)
    reasons = [report.reason for report in stage.reports if isinstance(report, ApplyWaits)]
    assert reasons.count("in Backrest's container runs restic") == 2


def test_a_second_change_within_a_minute_is_nobodys_fault(stage: Stage) -> None:
    stage.want(container("web"))
    stage.run()
    stage.want(container("web"), container("db"))
    stage.run(longest=15)
    why = status(stage)["waiting"]["why"]
    assert why.startswith(
        "Backrest has been restarted for a change already, and the restart budget allows 1 a minute"
    )
    assert "somebody" not in why
    stage.run()
    assert stage.backrest.plans() == {"hand-made", WEB, "backrest_sidecar_db"}


# --- a URL that does not answer


def test_a_url_that_does_not_answer_is_named_and_blames_nobody(
    tmp_path: Path, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.error = ApiUnreachable("no Backrest answers at http://backrest:9898 (refused)")
    stage = with_api(tmp_path, api)
    stage.want(container("web"))
    stage.run()
    assert stage.backrest.calls == ["stop", "start"]
    assert not stage.applied.owed
    assert "not_up" not in caplog.text
    assert caplog.text.count("backrest.api_unreachable") == 1
    shown = status(stage)["backrest"]
    assert (shown["url"], shown["answers"]) == ("http://backrest:9898", False)
    assert shown["reason"] == "no Backrest answers at http://backrest:9898 (refused)"
    assert metrics(stage)["backrest_api_up"] == 0
    caplog.set_level("INFO")
    assert "http://backrest:9898 does not serve us" in render_status(status(stage), stage.clock())
    api.error = None
    stage.want(container("web"))
    stage.run()
    assert caplog.text.count("backrest.api_answers") == 1
    assert status(stage)["backrest"]["answers"]
    assert metrics(stage)["backrest_api_up"] == 1


def test_it_is_said_at_the_first_look_though_nothing_is_to_be_done(
    tmp_path: Path, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.error = ApiUnreachable("no Backrest answers")
    stage = with_api(tmp_path, api)
    stage.want()
    stage.run()
    assert stage.backrest.calls == []
    assert "backrest.api_unreachable" in caplog.text


def test_a_backrest_that_starts_with_the_daemon_gets_a_moment(
    tmp_path: Path, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.error = ApiUnreachable("no Backrest answers")
    stage = with_api(tmp_path, api)
    stage.want()
    stage.run(longest=8)
    api.error = None
    stage.run()
    assert "backrest.api_unreachable" not in caplog.text
    assert status(stage)["backrest"]["answers"]


def test_refused_credentials_restart_and_are_said(
    tmp_path: Path, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.error = ApiDenied("Backrest at http://backrest:9898 refuses the credentials")
    stage = with_api(tmp_path, api)
    stage.want(container("web"))
    stage.run()
    assert stage.backrest.plans() == {"hand-made", WEB}
    assert "backrest.api_denied" in caplog.text
    assert not status(stage)["backrest"]["answers"]


# --- what it cost is made up


def test_what_a_forced_restart_has_starved_is_run_afterwards(
    tmp_path: Path, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    stage = with_api(tmp_path, api, DAILY, apply_mode="restart", apply_max_wait="30s", apply_force=True)
    api.listed = [Operation(7, "backup", "inprogress", "hand-made", start=stage.clock.wall())]
    owed: list[MakeUp] = []

    def stopped() -> None:
        owed.extend(stage.file.state().make_up)
        api.listed = [Operation(7, "backup", "error", "hand-made", cut_off=True)]

    stage.backrest.on_stop = stopped
    stage.want(container("web"))
    stage.run(longest=120)
    assert stage.backrest.calls == ["stop", "start"]
    assert [(entry.plan_id, entry.operation) for entry in owed] == [("hand-made", 8)], (
        "on the disk before the stop"
    )
    assert api.begun == ["hand-made"]
    assert "backrest.made_up" in caplog.text
    assert "backrest.starved" not in caplog.text


@pytest.mark.parametrize("name", ["web", "bad"])
def test_what_fell_due_while_backrest_came_up_slowly_or_went_back_is_run(
    tmp_path: Path, api: Api, name: str
) -> None:
    stage = with_api(tmp_path, api, DAILY, apply_mode="restart")
    api.listed = [Operation(7, "backup", "pending", "hand-made", start=stage.clock.wall() + 100)]
    start = stage.backrest.start

    def slowly(container_id: str, /) -> None:
        stage.clock.now += 120
        api.listed = [Operation(8, "backup", "pending", "hand-made", start=stage.clock.wall() + 86_400)]
        start(container_id)

    stage.backrest.start = slowly  # type: ignore[method-assign]
    stage.want(container(name))
    stage.run(longest=600)
    assert stage.backrest.calls == ["stop", "start"] * (2 if name == "bad" else 1)
    assert api.begun == ["hand-made"]
    assert stage.file.state().make_up == ()


def test_without_the_api_it_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path, DAILY, apply_max_wait="30s", apply_force=True)
    line(stage, "running", 'backup for plan "hand-made"')
    line(stage, "running", SLACK)

    def restarted() -> None:
        stage.backrest.tasks = ""

    stage.backrest.on_stop = restarted
    stage.want(container("web"))
    stage.run(longest=120)
    assert stage.backrest.calls == ["stop", "start"]
    starved = [record.__dict__["fields"] for record in caplog.records if record.message == "backrest.starved"]
    assert [fields["plans"] for fields in starved] == [("hand-made",)]


# --- a save in the UI at the wrong moment


def test_a_save_between_preview_and_write_is_not_swapped_under_a_running_backrest(stage: Stage) -> None:
    stage.want(container("web"))
    stage.run()
    stage.sleep(600)
    stage.backrest.busy = ["restic"]
    stage.want(container("web", {"schedule": "5 1 * * *"}))
    stage.run(longest=30)
    stage.want(container("web"))  # back to what stands there: nothing is needed any more
    real = stage.file.preview
    saved = False

    def preview(wish: Any) -> Any:
        nonlocal saved
        merge = real(wish)
        if not merge.changed and not saved:
            saved = True
            stage.backrest.ui_save(lambda data: data["plans"].pop())
        return merge

    stage.file.preview = preview  # type: ignore[method-assign]  # somebody saves right after it
    stage.run(longest=60)
    assert saved
    assert stage.plans() == {"hand-made"}, "it runs, so nothing is written"
    stage.backrest.busy = []
    stage.run()
    assert stage.backrest.plans() == {"hand-made", WEB}


def test_without_apply_a_save_from_memory_is_nobodys_deletion(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path, apply=False)
    stage.want(container("web"))
    stage.run()
    for turn in range(3):
        stage.sleep(60)
        stage.backrest.ui_save(lambda data: data.update(turn=turn))  # noqa: B023 # called at once
        assert stage.plans() == {"hand-made"}
        stage.want(container("web"))
        stage.run()
        assert stage.plans() == {"hand-made", WEB}
    assert caplog.text.count("backrest.saved_unread") == 1
    assert "plan.reverted" not in caplog.text


def test_without_apply_a_deletion_after_a_restart_is_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path, apply=False)
    stage.want(container("web"))
    stage.run()
    stage.sleep(60)
    stage.backrest.start("b" * 64)
    stage.backrest.ui_save(lambda data: data["plans"].pop())
    assert stage.plans() == {"hand-made"}
    stage.want(container("web"))
    stage.run()
    assert "plan.reverted" in caplog.text
    assert "backrest.saved_unread" not in caplog.text
