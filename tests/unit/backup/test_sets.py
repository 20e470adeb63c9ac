"""What the restic engine backs up of which workload, and under which path."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import Any

import pytest

from sidecar.backup.requests import gather
from sidecar.backup.restic_backup import targets_for
from sidecar.backup.sets import BackupSet, BackupSets, SetRules, build, directory
from sidecar.engine.model import Container, EngineSnapshot, Mount, Volume
from sidecar.engine.types import Bind
from sidecar.labels.policy import LabelPolicy
from sidecar.plans.workloads import Workload
from sidecar.quiesce.selection import Target
from tests.unit.quiesce_rig import workload

ON: dict[str, Any] = {"backrest__enable": "true"}


def sets(
    *containers: Container,
    quiesced: set[str] | None = None,
    volumes: Any = None,
    include_project: bool = False,
    **rules: Any,
) -> BackupSets:
    snapshot = EngineSnapshot(containers, volumes=volumes or {})
    wishes = gather(
        snapshot,
        quiesced or set(),
        policy=LabelPolicy(),
        plan_prefix="p_",
        include_project=include_project,
        owned={},
    )
    return build(wishes.wishes, SetRules(volume_labels=wishes.volume_labels or {}, **rules))


def only(*containers: Container, **rules: Any) -> BackupSet:
    (found,) = sets(*containers, **rules).sets
    return found


def with_mounts(container: Container, *mounts: Mount) -> Container:
    return replace(container, mounts=mounts)


def test_a_workloads_volume_at_its_own_place() -> None:
    found = only(workload("my.app-1", **ON))
    assert found.root == "/volumes/shop/my.app-1"  # raw, as rcb has it
    assert found.paths == ("/volumes/shop/my.app-1",)
    assert found.binds == (Bind("my.app-1", "/volumes/shop/my.app-1/data", read_only=True),)
    assert found.plan_id == "p_my_app_1"


def test_the_project_is_in_the_plans_id_when_asked_for_and_always_in_the_path() -> None:
    for include_project, plan_id in ((False, "p_db"), (True, "p_shop_db")):
        found = only(workload("db", **ON), include_project=include_project)
        assert (found.root, found.plan_id) == ("/volumes/shop/db", plan_id)


def test_a_workload_keeps_its_place_whoever_comes_beside_it() -> None:
    db = workload("db", **ON)
    bare = Container("bare", "db", labels={"backrest.enable": "true"}, mounts=db.mounts)
    alone = only(db)
    others = [
        replace(workload("db", project="other", **ON), id="other"),
        replace(workload("db", project="shop2", **ON), id="shop2"),
        bare,
    ]
    for number in range(1, len(others) + 1):
        found = sets(db, *others[:number])
        roots = [s.root for s in found.sets]
        assert len(set(roots)) == number + 1
        (mine,) = (s for s in found.sets if s.workload == alone.workload)
        assert (mine.root, mine.paths) == (alone.root, alone.paths)
    assert found.notes == ()


NAMES = ["db", "shop", "_", "..", ".", "a b", "a_b", "a/b", "A b", "ä", "ö", ""]


def test_no_two_workloads_share_a_place_and_none_climbs_out() -> None:
    every = [Workload(project, service) for project in NAMES for service in NAMES if service]
    every += [Workload("", "", name) for name in NAMES if name]
    roots = [directory(one, "/volumes") for one in every]
    assert len(set(roots)) == len(every)
    for root in roots:
        assert root.startswith("/volumes/")
        assert posixpath.normpath(root) == root


@pytest.mark.parametrize(
    ("workload_", "root"),
    [
        (Workload("shop", "db"), "/volumes/shop/db"),
        (Workload("", "db"), "/volumes/_/db"),
        (Workload("", "", "db"), "/volumes/db"),
        (Workload("shop", "../../etc"), "/volumes/shop/.._.._etc_74ccf3"),
        (Workload("", "", ".."), "/volumes/___5ec1f7"),
        (Workload("", "", "a b/c"), "/volumes/a_b_c_539138"),
    ],
)
def test_names_of_places(workload_: Workload, root: str) -> None:
    assert directory(workload_, "/volumes") == root


def test_who_is_backed_up() -> None:
    enabled, quiesced = workload("a", quiesce=False, **ON), workload("b")
    found = sets(
        enabled,
        quiesced,
        workload("c", quiesce=False),
        workload("d", backrest__enable="false"),
        workload("e", com__docker__compose__oneoff="True", **ON),
        quiesced={"b-id", "d-id"},
    )
    assert [s.workload.service for s in found.sets] == ["a", "b"]


def test_sockets_tmpfs_and_by_wish_binds_are_left_out() -> None:
    app = with_mounts(
        workload("app", **ON),
        Mount("bind", "/var/run/docker.sock", "/var/run/docker.sock"),
        Mount("bind", "/srv/app", "/srv"),
        Mount("tmpfs", "", "/tmp"),
        Mount("volume", "/v", "/data", name="app"),
    )
    assert [b.source for b in only(app).binds] == ["app", "/srv/app"]
    assert [b.source for b in only(app, exclude_binds=True).binds] == ["app"]


def test_without_anything_to_back_up_it_is_said() -> None:
    found = sets(with_mounts(workload("app", **ON)))
    assert found.sets == ()
    assert found.notes == ("shop/app has no volume or bind mount to back up",)


def test_includes_and_excludes_are_rewritten_below_the_root() -> None:
    app = with_mounts(
        workload(
            "app",
            backrest__paths__include="/data/db,/srv",
            backrest__paths__exclude="/data/db/tmp,*.log",
            **ON,
        ),
        Mount("volume", "/v", "/data", name="app"),
        Mount("volume", "/w", "/srv/deep", name="deep"),
        Mount("volume", "/x", "/else", name="else"),
    )
    found = only(app)
    assert found.paths == ("/volumes/shop/app/data/db", "/volumes/shop/app/srv")
    assert [b.source for b in found.binds] == ["app", "deep"]
    assert found.excludes == (
        "/volumes/shop/app/data/db/tmp",
        "/volumes/shop/app/data/db/**/*.log",
        "/volumes/shop/app/srv/**/*.log",
    )


def test_a_path_under_no_mount_comes_from_the_host_where_that_is_allowed() -> None:
    app = workload("app", backrest__paths__include="/srv/files", **ON)
    assert only(app).binds == (Bind("/srv/files", "/volumes/shop/app/srv/files", read_only=True),)
    found = sets(app, allowed=("/data",))
    assert found.sets == ()
    assert found.empty == ()
    assert "--allow-path" in found.broken[0]


def test_replicas_with_one_volume_and_with_several() -> None:
    def replica(number: str, name: str) -> Container:
        made = workload("app", com__docker__compose__container_number=number, **ON)
        labels = {**made.labels, "com.docker.compose.container-number": number}
        return replace(
            made,
            id=number,
            name=f"app-{number}",
            labels=labels,
            mounts=(Mount("volume", "/", "/data", name=name),),
        )

    assert only(replica("1", "one"), replica("2", "one")).binds == (
        Bind("one", "/volumes/shop/app/data", read_only=True),
    )
    assert only(replica("1", "one"), replica("2", "two")).binds == (
        Bind("one", "/volumes/shop/app/data", read_only=True),
        Bind("two", "/volumes/shop/app/replica-2/data", read_only=True),
    )


def test_labels_of_volumes() -> None:
    labels = {"backrest.enable": "false"}
    app = with_mounts(
        workload("app", **ON), Mount("volume", "/a", "/a", name="a"), Mount("volume", "/b", "/b", name="b")
    )
    assert [b.source for b in only(app, volumes={"a": Volume("a", labels=labels)}).binds] == ["b"]
    plain = replace(app, labels={k: v for k, v in app.labels.items() if not k.startswith("backrest")})
    enabled = {"a": Volume("a", labels={"backrest.enable": "true"})}
    assert [b.source for b in only(plain, volumes=enabled).binds] == ["a"]


def test_several_plans_of_one_workload() -> None:
    app = with_mounts(
        workload("app", backrest__logs__paths__include="/logs", backrest__logs__enable="true", **ON),
        Mount("volume", "/a", "/data", name="a"),
        Mount("volume", "/b", "/logs", name="b"),
    )
    found = sets(app).sets
    assert [(s.workload.plan, s.plan_id, s.paths) for s in found] == [
        ("", "p_app", ("/volumes/shop/app",)),
        ("logs", "p_app_logs", ("/volumes/shop/app/logs",)),
    ]


def test_who_must_be_down_for_a_backup() -> None:
    db, web, guest, other = workload("db", **ON), workload("web"), workload("guest"), workload("other")
    sharing = with_mounts(web, *db.mounts)
    targets = (
        Target(db),
        Target(sharing),
        Target(guest, host="db-id", why="it uses its network"),
        Target(other),
    )
    names = [t.container.name for t in targets_for(targets, [only(db)])]
    assert names == ["db", "web", "guest"]
