"""What the restic engine backs up of which workload, and under which path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidecar.backup_sets import BackupSet, BackupSets, SetRules, build, restic_root
from sidecar.backup_wishes import gather
from sidecar.engine_types import Bind
from sidecar.labels import LabelPolicy
from sidecar.model import Container, EngineSnapshot, Mount, Volume
from sidecar.naming import Workload
from sidecar.quiesce import Target
from sidecar.restic_engine import targets_for
from tests.unit.quiesce_rig import workload

ON: dict[str, Any] = {"backrest__enable": "true"}


def sets(
    *containers: Container, quiesced: set[str] | None = None, volumes: Any = None, **rules: Any
) -> BackupSets:
    snapshot = EngineSnapshot(containers, volumes=volumes or {})
    wishes = gather(
        snapshot,
        quiesced or set(),
        policy=LabelPolicy(),
        plan_prefix="p_",
        include_project=rules.get("include_project", False),
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
    assert found.root == "/volumes/my.app-1"  # raw, as rcb has it
    assert found.paths == ("/volumes/my.app-1",)
    assert found.binds == (Bind("my.app-1", "/volumes/my.app-1/data", read_only=True),)
    assert found.plan_id == "p_my_app_1"


def test_the_project_in_the_path_when_asked_for() -> None:
    assert only(workload("db", **ON), include_project=True).root == "/volumes/shop/db"
    assert only(workload("db", **ON), include_project=True).plan_id == "p_shop_db"


def test_two_projects_with_one_service_stay_apart() -> None:
    two = replace(workload("db", project="other", **ON), id="db2-id")
    found = sets(workload("db", **ON), two)
    assert [s.root for s in found.sets] == ["/volumes/other/db", "/volumes/shop/db"]
    assert "would share /volumes/db" in found.notes[0]


@pytest.mark.parametrize(
    ("workload_", "root"),
    [
        (Workload("shop", "../../etc"), "/volumes/.._.._etc"),
        (Workload("", "", ".."), "/volumes/__"),
        (Workload("", "", "a b/c"), "/volumes/a_b_c"),
    ],
)
def test_no_name_climbs_out_of_the_directory(workload_: Workload, root: str) -> None:
    assert restic_root(workload_, "/volumes", include_project=False) == root


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
    assert found.paths == ("/volumes/app/data/db", "/volumes/app/srv")
    assert [b.source for b in found.binds] == ["app", "deep"]
    assert found.excludes == (
        "/volumes/app/data/db/tmp",
        "/volumes/app/data/db/**/*.log",
        "/volumes/app/srv/**/*.log",
    )


def test_a_path_under_no_mount_comes_from_the_host_where_that_is_allowed() -> None:
    app = workload("app", backrest__paths__include="/srv/files", **ON)
    assert only(app).binds == (Bind("/srv/files", "/volumes/app/srv/files", read_only=True),)
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
        Bind("one", "/volumes/app/data", read_only=True),
    )
    assert only(replica("1", "one"), replica("2", "two")).binds == (
        Bind("one", "/volumes/app/data", read_only=True),
        Bind("two", "/volumes/app/replica-2/data", read_only=True),
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
        ("", "p_app", ("/volumes/app",)),
        ("logs", "p_app_logs", ("/volumes/app/logs",)),
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
