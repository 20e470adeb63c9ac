"""Whether Backrest does nothing, by its processes, its operations and its schedules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sidecar.backrest.container import IdleWatch, idle_report, zones_of
from sidecar.backrest.queue import Operation
from sidecar.engine.model import Mount
from sidecar.engine.types import ContainerState, Process

NOW = dt.datetime(2026, 11, 22, 1, 0, 0, tzinfo=dt.UTC)
RUNNING = ContainerState(id="b" * 64, name="backrest", tz="UTC", started_at="2026-11-20T00:00:00Z")
IMAGE = (
    Process(100, 90, "/sbin/tini -- /docker-entrypoint /backrest"),
    Process(110, 100, "/docker-entrypoint /backrest"),
    Process(111, 110, "/backrest"),
)


# --- idle_report


@pytest.mark.parametrize(
    ("processes", "busy"),
    [
        (IMAGE, ()),
        (IMAGE[2:], ()),
        ([Process(1, 0, "/sbin/docker-init -- /docker-entrypoint /backrest"), *IMAGE[1:]], ()),
        ([Process(1, 0, "/dev/init -- /backrest"), Process(2, 1, "/backrest")], ()),
        ([Process(1, 0, "dumb-init /backrest"), Process(2, 1, "/backrest")], ()),
        ([Process(1, 0, "s6-svscan /run"), Process(2, 1, "s6-supervise backrest"), Process(3, 2, "/backrest")], ()),
        ([Process(1, 0, "sh -c mkdir -p /x; /backrest"), Process(2, 1, "/backrest")], ()),
        ([Process(1, 0, "python3 -u /backrest --config /config/config.json")], ()),
        ([Process(1, 0, "/usr/bin/python3.11 /backrest")], ()),
        ([*IMAGE, Process(120, 111, "[restic] <defunct>")], ()),
        ([*IMAGE, Process(120, 111, "sh")], ("sh",)),
        ([*IMAGE, Process(120, 111, "sh"), Process(121, 120, "docker stop db")], ("sh", "docker")),
        ([*IMAGE, Process(120, 111, "/bin/restic backup --json /data")], ("restic",)),
        ([*IMAGE, Process(120, 111, "restic prune"), Process(121, 120, "rclone serve")], ("restic", "rclone")),
        ([*IMAGE, Process(120, 111, "ionice -c 3 nice -n 10 restic backup")], ("ionice",)),
        ([*IMAGE, Process(120, 111, "/usr/bin/env python3 hook.py")], ("env",)),
        ([*IMAGE, Process(120, 111, "python3 /hooks/dump.py")], ("dump.py",)),
        ([*IMAGE, Process(120, 111, "sh"), Process(121, 120, "/backrest -version")], ("sh", "backrest")),
        ([*IMAGE, Process(500, 7, "bash")], ("bash",)),
        ([*IMAGE, Process(500, 7, "")], ("(nameless)",)),
        ([*IMAGE, Process(120, 111, "backrest-hook")], ("backrest-hook",)),
    ],
)  # fmt: skip
def test_idle_report(processes: Sequence[Process], busy: tuple[str, ...]) -> None:
    look = idle_report(processes)
    assert look.busy == busy
    assert look.backrest
    assert look.idle is (not busy)


@pytest.mark.parametrize("processes", [(), IMAGE[:2], [Process(1, 0, "backrest-sidecar daemon")]])
def test_without_backrest_it_is_not_idle(processes: Sequence[Process]) -> None:
    assert not idle_report(processes).idle


def test_arguments_are_never_shown() -> None:
    look = idle_report(
        [*IMAGE, Process(1200, 111, "restic -p hunter2"), Process(1201, 111, "/x\x1b[31m\nfake y")]
    )
    assert look.busy == ("restic", "x\\x1b[31m")


def test_a_circle_of_parents_ends() -> None:
    assert idle_report([Process(1, 2, "/backrest"), Process(2, 1, "sh")]).busy == ()


def test_zones() -> None:
    assert zones_of(replace(RUNNING, tz="Europe/Berlin")) == (ZoneInfo("Europe/Berlin"),)
    assert zones_of(replace(RUNNING, tz=":Europe/Berlin")) == (ZoneInfo("Europe/Berlin"),)
    assert zones_of(replace(RUNNING, tz="")) == (None, dt.UTC)
    assert zones_of(replace(RUNNING, tz="Nowhere/At all")) == (None, dt.UTC)
    assert zones_of(replace(RUNNING, tz="../etc/passwd")) == (None, dt.UTC)
    localtime = Mount("bind", "/etc/localtime", "/etc/localtime")
    assert zones_of(replace(RUNNING, tz="", mounts=(localtime,))) == (None,)


# --- IdleWatch


def scheduled(**fields: Any) -> dict[str, Any]:
    return {"plans": [{"id": "p1", "schedule": fields}]}


class Clock:
    """One time for both clocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> dt.datetime:
        return NOW + dt.timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> IdleWatch:
    return IdleWatch(clock=clock, now=clock.now)


def test_two_looks_two_seconds_apart_where_backrest_tells_what_it_does(
    watch: IdleWatch, clock: Clock
) -> None:
    first = watch.look(RUNNING, IMAGE, {}, ())
    assert (first.idle, first.again_in) == (False, 2.0)
    clock.seconds = 1.5
    assert watch.look(RUNNING, IMAGE, {}, ()).again_in == 0.5
    clock.seconds = 2.0
    assert watch.look(RUNNING, IMAGE, {}, ()).idle
    watch.reset()
    assert not watch.look(RUNNING, IMAGE, {}, ()).idle


def test_where_nobody_tells_half_a_minute_must_be_clean(watch: IdleWatch, clock: Clock) -> None:
    for seconds in range(0, 30, 2):
        clock.seconds = seconds
        state = watch.look(RUNNING, IMAGE, {})
        assert (state.idle, state.reason) == (False, "nobody tells what Backrest does")
        assert state.again_in == 2.0
    clock.seconds = 30
    assert watch.look(RUNNING, IMAGE, {}).idle


def test_a_task_between_two_looks_starts_them_anew(watch: IdleWatch, clock: Clock) -> None:
    done = Operation(1, "backup", "success", "a", start=NOW.timestamp() - 900, end=NOW.timestamp() - 890)
    watch.look(RUNNING, IMAGE, {}, [done])
    clock.seconds = 2
    short = replace(done, id=2, start=NOW.timestamp() + 1, end=NOW.timestamp() + 1.5)
    assert not watch.look(RUNNING, IMAGE, {}, [done, short]).idle
    clock.seconds = 4
    assert watch.look(RUNNING, IMAGE, {}, [done, short]).idle


@pytest.mark.parametrize(
    ("processes", "operations", "reason"),
    [
        ([*IMAGE, Process(120, 111, "sh")], (), "in Backrest's container runs sh"),
        (IMAGE[:1], (), "Backrest itself is not among its container's processes"),
        (IMAGE, [Operation(1, "backup", "inprogress", "db")], "Backrest runs a backup of plan 'db'"),
        (
            IMAGE,
            [Operation(1, "backup", "pending", "db", start=NOW.timestamp() - 300)],
            "in Backrest's queue a backup of plan 'db' is due",
        ),
    ],
)
def test_work_starts_the_looks_anew(
    watch: IdleWatch,
    clock: Clock,
    processes: Sequence[Process],
    operations: Sequence[Operation],
    reason: str,
) -> None:
    watch.look(RUNNING, IMAGE, {}, ())
    clock.seconds = 5
    assert watch.look(RUNNING, processes, {}, operations).reason == reason
    clock.seconds = 10
    assert watch.look(RUNNING, IMAGE, {}, ()).reason == "it looks idle, and is looked at once more"
    clock.seconds = 12
    assert watch.look(RUNNING, IMAGE, {}, ()).idle


def test_what_a_hook_has_stopped_is_waited_for(watch: IdleWatch, clock: Clock) -> None:
    watch.look(RUNNING, IMAGE, {}, ())
    clock.seconds = 5
    state = watch.look(RUNNING, IMAGE, {}, (), ["db", "service=web"])
    assert state.reason == "a hook has stopped db, service=web, which is not started yet"


def test_a_restart_in_between_starts_the_looks_anew(watch: IdleWatch, clock: Clock) -> None:
    watch.look(RUNNING, IMAGE, {}, ())
    clock.seconds = 5
    assert not watch.look(replace(RUNNING, started_at="2026-11-22T01:00:03Z"), IMAGE, {}, ()).idle


def idle_at(
    clock: Clock, seconds: float, config: dict[str, Any], operations: Sequence[Operation] = ()
) -> bool:
    watch = IdleWatch(clock=clock, now=clock.now)
    clock.seconds = seconds - 2
    watch.look(RUNNING, IMAGE, config, operations)
    clock.seconds = seconds
    return watch.look(RUNNING, IMAGE, config, operations).idle


@pytest.mark.parametrize(
    ("seconds", "idle"),
    [(-120.0, True), (-61, True), (-59, False), (-1, False), (0, False), (4, False), (10, True)],
)
def test_no_restart_just_before_or_at_a_firing(clock: Clock, seconds: float, idle: bool) -> None:
    fires_at = 600.0
    assert idle_at(clock, fires_at + seconds, scheduled(cron="10 1 * * *")) is idle
    pending = [Operation(1, "backup", "pending", "p", start=NOW.timestamp() + fires_at)]
    assert idle_at(clock, fires_at + seconds, {}, pending) is (idle if seconds < 0 else False)


def test_a_coming_firing_is_named_and_says_when_to_come_again(watch: IdleWatch, clock: Clock) -> None:
    clock.seconds = 570
    state = watch.look(RUNNING, IMAGE, scheduled(cron="10 1 * * *"))
    assert state.reason == "the backup of plan 'p1' fires in 30 s"
    assert state.again_in == 35


def test_a_plan_that_fires_every_minute_leaves_room(clock: Clock) -> None:
    free = [second for second in range(120, 180) if idle_at(clock, second, scheduled(cron="* * * * *"))]
    assert free == list(range(127, 165)), "not within 5 s after it fired and 2 of looks, nor 15 s before"


def test_without_tz_the_local_zone_and_utc_both_count(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = replace(RUNNING, tz="")
    clock.seconds = 570
    state = IdleWatch(clock=clock, now=clock.now).look(unknown, IMAGE, scheduled(cron="10 1 * * *"))
    assert "fires in 30 s" in state.reason
