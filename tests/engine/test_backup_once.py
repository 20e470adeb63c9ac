"""backup-once on a real engine with a real restic: what is down, what is saved, what is forgotten."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.doubles.rcb import image
from tests.engine.backup_rig import PASSWORD, QUIESCE, RCB, Site
from tests.engine.harness import TestEngine
from tests.waiting import eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(180)]

ENABLED = {"backrest.enable": "true"}


@pytest.fixture(scope="module", autouse=True)
def images(shared_engine: TestEngine) -> None:
    if image.missing():
        pytest.skip(image.missing())
    image.make(shared_engine)


@pytest.fixture
def site(engine: TestEngine, tmp_path: Path) -> Site:
    return Site(engine, tmp_path)


def test_restic_backs_up_each_workload_and_everything_runs_again(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.init()
    site.service("db", ENABLED | QUIESCE | {"backrest.keep": "last=1"})
    site.service("web", ENABLED | QUIESCE | {"com.docker.compose.depends_on": "db:service_started:false"})
    site.service("plain", ENABLED | {"backrest.paths.exclude": "/data/cache"})
    site.data("plain").joinpath("cache").mkdir()
    site.data("plain").joinpath("cache", "junk").write_text("junk")
    site.service("down", ENABLED | QUIESCE)
    site.engine.call("POST", "/containers/shop-down-1/stop")
    site.service("held", ENABLED | QUIESCE)
    site.engine.call("POST", "/containers/shop-held-1/pause")
    site.service("person", {})
    before = site.states()

    outcome = site.run(site.options(kind="restic", include_project=True))

    assert outcome.summary.problems == ()
    assert outcome.exit_code == 0
    assert site.states() == before
    assert set(outcome.summary.downtime) == {"shop-db-1", "shop-web-1"}
    found = site.snapshots()
    assert sorted((*s["paths"], *s["tags"]) for s in found) == [
        (f"/volumes/shop/{name}", f"plan:backrest_sidecar_shop_{name}")
        for name in ("db", "down", "held", "plain", "web")
    ]
    plain = next(s for s in found if s["paths"] == ["/volumes/shop/plain"])
    assert site.restored(plain["id"], tmp_path / "restored") == {
        "volumes/shop/plain/data/file": "data of plain\n"
    }
    assert not site.state_dir.joinpath("quiesce.journal").exists()
    assert PASSWORD not in str([record.__dict__ for record in caplog.records])


def test_forget_really_forgets_and_only_what_the_label_is_about(site: Site) -> None:
    site.init()
    site.service("db", ENABLED | {"backrest.keep": "last=1"})
    site.service("web", ENABLED)
    for _ in range(2):
        assert site.run(site.options(kind="restic")).exit_code == 0
    outcome = site.run(site.options(kind="restic"))
    assert outcome.summary.forgotten == {"shop/db": 1}
    paths = [path for s in site.snapshots() for path in s["paths"]]
    assert sorted(paths) == ["/volumes/shop/db", *["/volumes/shop/web"] * 3]


def test_restic_stops_nothing_when_the_repository_cannot_be_opened(site: Site) -> None:
    site.engine.call("POST", "/volumes/create", {"Name": "repo"})
    site.service("db", ENABLED | QUIESCE)
    started = site.inspect("shop-db-1")["State"]["StartedAt"]
    outcome = site.run(site.options(kind="restic"))
    assert outcome.exit_code == 3
    assert "restic init" in outcome.summary.problems[0]
    assert site.inspect("shop-db-1")["State"]["StartedAt"] == started


def test_one_workload_that_fails_does_not_stop_the_others(site: Site) -> None:
    site.init()
    site.service("db", ENABLED | QUIESCE | {"backrest.keep": "last=1"})
    # Its bind vanishes after it was started: the backup's container cannot be made.
    gone = site.folder / "gone"
    gone.mkdir()
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "aa", **ENABLED, **QUIESCE}
    site.engine.run_container("shop-aa-1", labels, (f"{gone}:/data",))
    gone.rename(site.folder / "moved")
    outcome = site.run(site.options(kind="restic"))
    assert outcome.exit_code == 3
    assert [p for p in outcome.summary.problems if not p.startswith("shop/aa is not backed up")] == []
    assert [s["paths"] for s in site.snapshots()] == [["/volumes/shop/db"]]
    assert site.states() == {"shop-db-1": "running", "shop-aa-1": "running"}


def test_rcb_with_stop_says_what_it_did_not_back_up(site: Site) -> None:
    site.service("db", RCB | QUIESCE)
    site.service("web", RCB)
    outcome = site.run()
    assert outcome.exit_code == 3
    (problem,) = outcome.summary.problems
    assert problem.startswith("shop-db-1 is not in the backup: it was stopped, and rcb backs up running")
    assert problem.endswith("use --quiesce-mode pause, or --engine restic")
    assert [s["paths"] for s in site.snapshots()] == [["/volumes"]]
    assert "/volumes/web/data/file" in site.restic("ls", "latest")
    assert "/volumes/db" not in site.restic("ls", "latest")
    assert site.states() == {"shop-db-1": "running", "shop-web-1": "running"}


def test_rcb_with_pause_backs_up_what_is_paused(site: Site) -> None:
    site.service("db", RCB | QUIESCE)
    site.service("web", RCB)
    started = site.inspect("shop-db-1")["State"]["StartedAt"]
    outcome = site.run(site.options(mode="pause"))
    assert outcome.summary.problems == ()
    assert outcome.exit_code == 0
    assert "/volumes/db/data/file" in site.restic("ls", "latest")
    assert site.states() == {"shop-db-1": "running", "shop-web-1": "running"}
    assert site.inspect("shop-db-1")["State"]["StartedAt"] == started
    assert set(outcome.summary.downtime) == {"shop-db-1"}


@pytest.mark.torture
def test_rcb_does_not_see_another_project(site: Site) -> None:
    site.service("db", RCB | QUIESCE)
    site.service("files", QUIESCE | RCB, project="other")
    outcome = site.run(site.options(mode="pause"))
    assert outcome.exit_code == 3
    assert all("of project" in p or "no new snapshot" in p or "failed" in p for p in outcome.summary.problems)
    site.add_env(SWARM_MODE="1")
    assert site.run(site.options(mode="pause")).exit_code == 0


def test_retention_by_rcbs_paths_selects_nothing_and_says_so(site: Site) -> None:
    site.service("db", RCB | ENABLED | {"backrest.keep": "last=1"})
    outcome = site.run(site.options(mode="pause"))
    assert outcome.exit_code == 3
    (problem,) = outcome.summary.problems
    assert "selects nothing: no snapshot has the path /volumes/db" in problem
    assert "--engine restic" in problem


def test_a_failed_child_is_a_failure_although_rcb_ends_with_0(site: Site) -> None:
    site.service("db", RCB | ENABLED | QUIESCE | {"backrest.keep": "last=1"})
    site.add_env(STANDIN_FAIL="--no-such-option")
    outcome = site.run(site.options(mode="pause"))
    assert outcome.exit_code == 3
    assert outcome.summary.problems[:2] == (
        "the container that rcb backs up in failed with exit code 1",
        "there is no new snapshot in the repository",
    )
    assert outcome.summary.forgotten == {}
    assert site.states() == {"shop-db-1": "running"}


def test_a_dry_run_touches_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.service("db", ENABLED | QUIESCE)
    began = site.inspect("shop-db-1")["State"]["StartedAt"]
    for kind in ("rcb", "restic"):
        assert site.run(site.options(kind=kind, dry_run=True)).exit_code == 2
    assert site.inspect("shop-db-1")["State"]["StartedAt"] == began
    assert site.states() == {"shop-db-1": "running"}
    assert not site.state_dir.exists()


def test_a_stop_signal_in_the_backup_ends_it_and_starts_everything(site: Site) -> None:
    site.init()
    site.service("db", RCB | QUIESCE)
    site.add_env(STANDIN_WAIT="60")
    stop = threading.Event()

    def in_the_backup() -> bool:
        return any(
            name != "shop-db-1" and "-rcb-" not in name and "snapshots" not in name for name in site.states()
        )

    def stop_it() -> None:
        eventually(in_the_backup, 30)
        stop.set()

    watcher = threading.Thread(target=stop_it)
    watcher.start()
    outcome = site.run(stop=stop)
    watcher.join()
    assert outcome.exit_code == 3
    assert "stop signal" in outcome.summary.problems[0]
    assert site.states() == {"shop-db-1": "running"}


def test_a_container_recreated_meanwhile_is_found_again(site: Site) -> None:
    site.init()
    old = site.service("db", RCB | QUIESCE)
    site.add_env(STANDIN_WAIT="3")

    def recreate() -> None:
        eventually(lambda: any("-rcb-" in name for name in site.states()), 30)
        site.engine.remove("shop-db-1")
        new = site.engine.run_container(
            "shop-db-1",
            {
                "com.docker.compose.project": "shop",
                "com.docker.compose.service": "db",
                "com.docker.compose.container-number": "1",
            },
            ("shop_db:/data",),
            start=False,
        )
        assert new != old

    recreation = threading.Thread(target=recreate)
    recreation.start()
    site.run()
    recreation.join()
    assert site.states() == {"shop-db-1": "running"}
