"""Looking paths up where Backrest reads them: what is asked, how often, and what is concluded from silence."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sidecar.apply import path_probe
from sidecar.apply.observe import Observer
from sidecar.apply.path_probe import PathProbe
from sidecar.engine.errors import EngineError, Kind
from sidecar.engine.model import Container, EngineSnapshot
from sidecar.engine.types import PathStat
from sidecar.plans.path_facts import PathFact
from sidecar.plans.rendering import Rendering
from tests.unit.builders import bind, codes, container, settings, view, volume

BACKREST = container("backrest", enable=False, mounts=(bind("/srv", "/srv"), bind("/data/backrest", "/data")))
SEEN = EngineSnapshot((BACKREST,))


class Files:
    """An engine that knows the files of one container."""

    def __init__(self, *there: str, links: dict[str, str] | None = None) -> None:
        self.there = {"/", *there}
        self.links = links or {}
        self.asked: list[str] = []
        self.failure: EngineError | None = None
        self.gone = False
        self.shown = SEEN

    def stat_path(self, container_id: str, path: str, /) -> PathStat | None:
        assert container_id == BACKREST.id
        self.asked.append(path)
        if self.failure is not None:
            raise self.failure
        if self.gone:
            return None
        if path in self.links:
            return PathStat(self.links[path])
        return PathStat() if path in self.there else None

    def snapshot(self) -> EngineSnapshot:
        return self.shown


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def probe(files: Files, clock: Clock | None = None) -> PathProbe:
    return PathProbe(files, "backrest", clock or Clock())


def test_what_is_there_what_is_missing_and_where_links_lead() -> None:
    files = Files("/srv/a", "/disk/x", links={"/srv/link": "/disk/x", "/srv/dangling": "/mnt/y"})
    found = probe(files).facts(("/srv/a", "/srv/b", "/srv/dangling", "/srv/link"), SEEN)
    assert found == {
        "/srv/a": PathFact(True),
        "/srv/b": PathFact(False),
        "/srv/dangling": PathFact(False, "/mnt/y"),
        "/srv/link": PathFact(True, "/disk/x"),
    }


def test_a_path_is_asked_for_once_and_the_answer_is_the_same_object() -> None:
    files, clock = Files("/srv/a"), Clock()
    looking = probe(files, clock)
    first = looking.facts(("/srv/a",), SEEN)
    clock.now += 60
    assert looking.facts(("/srv/a",), SEEN) is first
    assert files.asked == ["/srv/a"]


def test_what_was_missing_is_asked_for_again_and_what_was_there_once_in_a_while() -> None:
    files, clock = Files("/srv/a"), Clock()
    looking = probe(files, clock)
    looking.facts(("/srv/a", "/srv/b"), SEEN)
    files.there.add("/srv/b")
    clock.now += path_probe.AGAIN
    assert looking.facts(("/srv/a", "/srv/b"), SEEN)["/srv/b"] == PathFact(True)
    files.there.remove("/srv/a")
    assert looking.facts(("/srv/a", "/srv/b"), SEEN)["/srv/a"] == PathFact(True)
    clock.now += path_probe.REFRESH
    for missing_yet in (False, False, True):  # the second look comes too soon to say more
        found = looking.facts(("/srv/a", "/srv/b"), SEEN)
        assert found["/srv/a"] == PathFact(not missing_yet)
        clock.now += path_probe.AGAIN - 1


def test_a_mount_that_is_gone_for_one_look_changes_nothing() -> None:
    files, clock = Files("/srv/a"), Clock()
    looking = probe(files, clock)
    first = looking.facts(("/srv/a",), SEEN)
    for _ in range(3):
        files.there.remove("/srv/a")
        clock.now += path_probe.REFRESH
        assert looking.facts(("/srv/a",), SEEN) is first
        files.there.add("/srv/a")
        clock.now += path_probe.AGAIN
        assert looking.facts(("/srv/a",), SEEN) is first


def test_a_pass_looks_up_a_few_of_what_it_knows() -> None:
    paths = tuple(f"/srv/{number:03}" for number in range(100))
    files, clock = Files(*paths), Clock()
    looking = probe(files, clock)
    looking.facts(paths, SEEN)
    files.asked.clear()
    clock.now += path_probe.REFRESH
    for _ in range(5):
        looking.facts(paths, SEEN)
        clock.now += 1
    assert sorted(files.asked) == list(paths)
    assert len(paths) / 5 == path_probe.BATCH


def test_a_container_that_goes_in_the_middle_makes_nothing_missing() -> None:
    files = Files("/srv/a")
    looking = probe(files)
    files.gone = True
    assert looking.facts(("/srv/a",), SEEN) == {}


@pytest.mark.parametrize("kind", ["timeout", "unreachable", "protocol"])
def test_a_failure_leaves_what_was_known(kind: Kind) -> None:
    files, clock = Files("/srv/a"), Clock()
    looking = probe(files, clock)
    looking.facts(("/srv/a",), SEEN)
    files.failure = EngineError(kind, "no")
    clock.now += path_probe.REFRESH
    assert looking.facts(("/srv/a", "/srv/b"), SEEN) == {"/srv/a": PathFact(True)}
    files.failure = None
    clock.now += path_probe.REFRESH
    assert looking.facts(("/srv/a", "/srv/b"), SEEN)["/srv/b"] == PathFact(False)


def test_a_path_that_the_engine_cannot_read_keeps_no_other_from_being_looked_up() -> None:
    class Broken(Files):
        def stat_path(self, container_id: str, path: str, /) -> PathStat | None:
            if path == "/srv/broken":
                raise EngineError("protocol", "HEAD failed with status 500")
            return super().stat_path(container_id, path)

    paths = ("/srv/a", "/srv/broken", "/srv/typo")
    found = probe(Broken("/srv/a")).facts(paths, SEEN)
    assert found == {"/srv/a": PathFact(True), "/srv/typo": PathFact(False)}


def test_after_a_disk_that_hangs_nothing_is_asked_for_a_while() -> None:
    files, clock = Files("/srv/a"), Clock()
    looking = probe(files, clock)
    files.failure = EngineError("timeout", "took too long")
    for _ in range(5):
        looking.facts(("/srv/a", "/srv/b"), SEEN)
        clock.now += 60
    assert files.asked == ["/srv/a"]
    clock.now += path_probe.REFRESH
    files.failure = None
    assert looking.facts(("/srv/a", "/srv/b"), SEEN) == {"/srv/a": PathFact(True), "/srv/b": PathFact(False)}


def test_a_proxy_that_forbids_it_is_asked_once_and_named() -> None:
    files = Files("/srv/a")
    files.failure = EngineError("forbidden", "HEAD is forbidden", "CONTAINERS=1")
    looking = probe(files)
    for _ in range(3):
        assert looking.facts(("/srv/a",), SEEN) == {}
    assert files.asked == ["/srv/a"]
    assert "CONTAINERS=1" in looking.note


def test_while_backrest_is_being_recreated_nothing_changes() -> None:
    files = Files("/srv/a")
    looking = probe(files)
    first = looking.facts(("/srv/a", "/srv/b"), SEEN)
    assert looking.facts(("/srv/a", "/srv/b"), EngineSnapshot(())) is first


def test_time_of_one_pass_is_bounded() -> None:
    clock = Clock()

    class Slow(Files):
        def stat_path(self, container_id: str, path: str, /) -> PathStat | None:
            clock.now += 3.0
            return super().stat_path(container_id, path)

    paths = tuple(f"/srv/{number}" for number in range(10))
    files = Slow(*paths)
    looking = probe(files, clock)
    assert len(looking.facts(paths, SEEN)) == 4
    while len(looking.facts(paths, SEEN)) < len(paths):
        pass


def test_what_this_process_sees_in_the_same_directory_of_the_host_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    backrest = container("backrest", enable=False, mounts=(bind("/host", "/b"),))
    own = container("sidecar", enable=False, mounts=(bind("/host", str(tmp_path)),))
    snapshot = EngineSnapshot((backrest, own), self_id=own.id)
    files = Files(links={"/b/link": "/b/plain"})
    files.there |= {"/b/missing-here", "/b/plain"}
    found = probe(files).facts(("/b/link", "/b/missing-here", "/b/plain"), snapshot)
    assert found["/b/link"] == PathFact(True, "/b/plain")
    assert found["/b/missing-here"] == PathFact(True)
    assert found["/b/plain"] == PathFact(True)
    assert files.asked == [
        "/b/link",
        "/b/plain",
        "/b/missing-here",
    ]  # the second to see what the link leads to


def test_without_a_container_of_backrest_this_process_looks_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    paths = tuple(str(tmp_path / name) for name in ("link", "missing", "real"))
    found = PathProbe(None, "backrest", Clock()).facts(paths, EngineSnapshot(()))
    assert found == {paths[0]: PathFact(True, str(tmp_path / "real")), paths[2]: PathFact(True)}
    on_host = PathProbe(Files(), "backrest", Clock(), on_host=True).facts(paths, EngineSnapshot(()))
    assert on_host == {**found, paths[1]: PathFact(False)}


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOTCONN, errno.EIO, errno.ESTALE])
def test_what_this_process_may_not_or_cannot_look_at_is_not_known(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(path: object, **_: object) -> os.stat_result:
        raise OSError(code, os.strerror(code), str(path))

    backrest = container("backrest", enable=False, mounts=(bind("/srv", "/b"),))
    files = Files("/b/a")
    monkeypatch.setattr(os, "stat", refused)
    monkeypatch.setattr(os, "lstat", refused)
    alone = PathProbe(Files(), "backrest", Clock(), on_host=True)
    assert alone.facts(("/srv/a",), EngineSnapshot(())) == {}
    beside = PathProbe(files, "backrest", Clock(), on_host=True)
    assert beside.facts(("/b/a",), EngineSnapshot((backrest,))) == {"/b/a": PathFact(True)}
    assert files.asked == ["/b/a"]


def test_a_link_on_the_way_is_for_the_engine_to_follow(tmp_path: Path) -> None:
    (tmp_path / "real" / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    backrest = container("backrest", enable=False, mounts=(bind("/host", "/b"),))
    own = container("sidecar", enable=False, mounts=(bind("/host", str(tmp_path)),))
    files = Files()
    found = probe(files).facts(("/b/link/x",), EngineSnapshot((backrest, own), self_id=own.id))
    assert found == {"/b/link/x": PathFact(False)}


# --- what comes of it --------------------------------------------------------------------------------------


def seen(files: Files, *others: Container, **flags: Any) -> Rendering:
    files.shown = EngineSnapshot((BACKREST, *others))
    return Observer(settings(**flags), files, Clock()).render(files.shown, view(), {}, ()).rendering


def test_of_a_symlink_the_target_is_written_and_said() -> None:
    files = Files("/srv/x", links={"/srv/link": "/srv/x"})
    result = seen(files, container("web", {"paths.exclude": "cache,/d/tmp"}, (bind("/srv/link", "/d"),)))
    assert result.plans[0].plan.paths == ("/srv/x",)
    assert result.plans[0].plan.excludes == ("/srv/x/**/cache", "/srv/x/tmp")
    assert codes(result) == {"symlink-followed"}


def test_a_link_that_leads_out_of_backrests_sight_is_left_out_with_the_line_that_mends_it() -> None:
    files = Files("/srv/a", links={"/srv/link": "/mnt/disk"})
    web = container("web", mounts=(bind("/srv/a", "/a"), bind("/srv/link", "/l")))
    result = seen(files, web)
    (plan,) = result.plans
    assert (plan.plan.paths, plan.without) == (("/srv/a",), ("/srv/link",))
    assert any("- /mnt/disk:/mnt/disk:ro" in f.message for f in result.findings)


@pytest.mark.parametrize("place", ["", "/host/log"])
def test_a_link_to_what_backrests_image_has_too_is_none_to_that(place: str) -> None:
    mounts = (bind("/srv", "/srv"), *((bind("/var/log", place),) if place else ()))
    files = Files("/srv/a", "/var/log", "/host/log", links={"/srv/logs": "/var/log"})
    web = container("web", mounts=(bind("/srv/a", "/a"), bind("/srv/logs", "/l")))
    files.shown = EngineSnapshot((container("backrest", enable=False, mounts=mounts), web))
    result = Observer(settings(), files, Clock()).render(files.shown, view(), {}, ()).rendering
    (plan,) = result.plans
    assert plan.plan.paths == (("/host/log", "/srv/a") if place else ("/srv/a",))
    assert plan.without == (() if place else ("/srv/logs",))
    assert place or any("- /var/log:/var/log:ro" in finding.message for finding in result.findings)


def test_a_link_to_what_backrest_has_under_another_name_is_followed_there() -> None:
    backrest = container("backrest", enable=False, mounts=(bind("/srv", "/srv"), bind("/mnt/disk", "/big")))
    files = Files("/big/app", links={"/srv/link": "/mnt/disk/app"})
    web = container("web", {"paths.exclude": "/l/tmp"}, (bind("/srv/link", "/l"),))
    files.shown = EngineSnapshot((backrest, web))
    result = Observer(settings(), files, Clock()).render(files.shown, view(), {}, ()).rendering
    assert result.plans[0].plan.paths == ("/big/app",)
    assert result.plans[0].plan.excludes == ("/big/app/tmp",)


def test_a_typo_and_a_glob_are_found_before_the_night() -> None:
    files = Files("/srv/a")
    labels = {"paths.include": "/a,/a/typo,/a/*.db"}
    result = seen(files, container("web", labels, (bind("/srv/a", "/a"),)))
    (plan,) = result.plans
    assert plan.plan.paths == ("/srv/a",)
    assert plan.without == ("/srv/a/*.db", "/srv/a/typo")
    said = [finding.message for finding in result.findings]
    assert any("correct backrest.paths.include" in text for text in said)
    assert any("Backrest does not expand patterns" in text for text in said)


def test_a_plan_is_held_back_where_that_was_asked_for() -> None:
    files = Files("/srv/a")
    web = container("web", {"paths.include": "/a,/a/typo"}, (bind("/srv/a", "/a"),))
    result = seen(files, web, unseen_paths="keep")
    assert result.plans == ()
    assert "/web" in result.present


def test_backrests_own_data_is_excluded_where_it_proves_to_be_that() -> None:
    whole = container("web", mounts=(bind("/data", "/d"),))
    backrest = container(
        "backrest", enable=False, mounts=(bind("/data", "/host"), bind("/data/backrest", "/data"))
    )
    for sign, excludes in (("/data/oplog.sqlite", ("/host/backrest",)), ("/data/photo.jpg", ())):
        files = Files("/host", sign)
        files.shown = EngineSnapshot((backrest, whole))
        result = Observer(settings(), files, Clock()).render(files.shown, view(), {}, ()).rendering
        assert result.plans[0].plan.excludes == excludes


def test_what_changes_on_the_disk_changes_the_plan_at_a_later_pass() -> None:
    files, clock = Files("/srv/a"), Clock()
    web = container(
        "web", {"paths.include": "/a,/v"}, (bind("/srv/a", "/a"), volume("v", "/v", source="/srv/v"))
    )
    files.shown = EngineSnapshot((BACKREST, web))
    observer = Observer(settings(), files, clock)
    first = observer.render(files.shown, view(), {}, ())
    assert first.rendering.plans[0].plan.paths == ("/srv/a",)
    again = observer.render(files.shown, view(), {}, ())
    assert again.rendering is first.rendering
    files.there.add("/srv/v")
    clock.now += path_probe.AGAIN
    assert observer.render(files.shown, view(), {}, ()).rendering.plans[0].plan.paths == ("/srv/a", "/srv/v")
