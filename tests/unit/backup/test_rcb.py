"""What rcb is given, what it can see, and how its end is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.backup import rcb
from sidecar.backup.options import BackupOptions, on_host, parse_mount, volatile
from sidecar.backup.snapshots import Snapshot, new, parse
from sidecar.engine.model import Container, EngineSnapshot, Mount
from sidecar.engine.types import Bind
from sidecar.quiesce.selection import Target
from tests.unit.quiesce_rig import workload

OPTIONS = BackupOptions(state_dir=Path("/state"))
DB = workload("db")


def snapshot(*containers: Container, self_id: str = "") -> EngineSnapshot:
    return EngineSnapshot(containers, docker_root="/srv/docker", self_id=self_id)


def test_the_call_is_the_go_tools_with_the_project() -> None:
    options = replace(OPTIONS, exclude_bind_mounts=True, rcb_args=("--log-level", "debug"))
    spec = rcb.backup_spec(options, {"RESTIC_PASSWORD": "x"}, snapshot(DB), "shop")
    assert spec.command == ("rcb", "backup", "--log-level", "debug")
    assert spec.binds == (
        Bind("/var/run/docker.sock", "/tmp/docker.sock", read_only=True),
        Bind("/srv/docker", "/var/lib/docker", read_only=True),
    )
    assert spec.env == {"RESTIC_PASSWORD": "x", "EXCLUDE_BIND_MOUNTS": "1", "INCLUDE_PROJECT_NAME": "0"}
    assert spec.labels == {"com.docker.compose.project": "shop", "com.docker.compose.oneoff": "True"}
    assert spec.hostname == ""  # rcb finds itself by the short id
    assert "RESTIC_PASSWORD" not in repr(spec)


def test_the_flags_win_over_the_env_file_and_the_docker_root_over_the_engines() -> None:
    options = replace(
        OPTIONS, include_project=True, docker_root="/data/docker/", docker_host="unix:///run/d.sock"
    )
    spec = rcb.backup_spec(options, {"INCLUDE_PROJECT_NAME": "0"}, snapshot(), "")
    assert spec.env["INCLUDE_PROJECT_NAME"] == "1"
    assert [b.source for b in spec.binds] == ["/run/d.sock", "/data/docker"]
    assert spec.labels == {}


def test_in_a_container_the_sockets_place_on_the_host_is_mounted() -> None:
    me = Container(
        "me", "sidecar", mounts=(Mount("bind", "/run/user/1000/docker.sock", "/var/run/docker.sock"),)
    )
    spec = rcb.backup_spec(OPTIONS, {}, snapshot(me, self_id="me"), "")
    assert spec.binds[0].source == "/run/user/1000/docker.sock"
    assert on_host("/elsewhere", snapshot(me, self_id="me")) == "/elsewhere"


def test_a_remote_engine_is_refused_with_the_way_out() -> None:
    with pytest.raises(rcb.RcbError, match="--engine restic"):
        rcb.mounts(replace(OPTIONS, docker_host="tcp://proxy:2375"), snapshot())


@pytest.mark.parametrize(
    ("command", "child"),
    [
        (("rcb", "backup"), True),
        (("/usr/bin/restic-compose-backup", "backup"), True),
        (("rcb", "--log-level", "debug", "backup"), True),
        (("rcb", "status"), False),
        (("sh", "-c", "restic backup /x"), False),
        (("rcb",), False),
    ],
)
def test_which_commands_do_their_work_in_a_second_container(command: tuple[str, ...], child: bool) -> None:
    assert rcb.starts_child(replace(OPTIONS, rcb_command=command)) is child


def test_the_second_container_is_known_by_its_network() -> None:
    assert rcb.is_child(Container("c", "x", network_mode="container:abc"), "abc")
    assert not rcb.is_child(Container("c", "x", network_mode="container:abcd"), "abc")


def test_its_exit_code_is_read_from_the_log() -> None:
    line = "2024-01-01 00:00:00,000 - restic_compose_backup.cli - INFO: Backup container exit code: "
    assert rcb.child_exit(["x", f"{line}0"]) == 0
    assert rcb.child_exit([f"{line}137\r", "more"]) == 137
    assert rcb.child_exit(["Backup process container: happy"]) is None


@pytest.mark.parametrize(
    ("containers", "targets", "project"),
    [
        ([DB], [], "shop"),
        ([DB, workload("x", project="other")], [], ""),
        ([DB, workload("x", project="other")], [DB], "shop"),
        ([], [], ""),
        ([workload("x", restic_compose_backup__volumes="no")], [], ""),
    ],
)
def test_which_project_it_is_told_to_look_at(
    containers: list[Container], targets: list[Container], project: str
) -> None:
    fixed = [
        replace(
            c,
            labels={
                k.replace("restic_compose_backup", "restic-compose-backup"): v for k, v in c.labels.items()
            },
        )
        for c in containers
    ]
    assert rcb.project_for(snapshot(*fixed), [Target(c) for c in targets]) == project


def unseen(
    container: Container, mounts: tuple[Mount, ...] | None = None, *, mode: str = "pause", swarm: str = ""
) -> str:
    options = replace(OPTIONS, mode=mode)  # type: ignore[arg-type]  # one of the two words
    found = rcb.unseen(
        [Target(container)], mounts, project="shop", options=options, variables={"SWARM_MODE": swarm}
    )
    return found[0].reason if found else ""


def test_what_it_cannot_have_seen_is_named_with_the_reason() -> None:
    assert unseen(DB) == ""
    assert "stopped" in unseen(DB, mode="stop")
    other = workload("db", project="other")
    assert unseen(other) == "it is of project other, and rcb looked at project shop alone"
    assert unseen(other, swarm="false") == ""  # any text counts as yes
    bare = Container("b", "bare", mounts=DB.mounts)
    assert "no Compose project" in unseen(bare)
    assert "no Compose service" in unseen(bare, swarm="1")
    plain = replace(DB, labels={k: v for k, v in DB.labels.items() if "restic" not in k})
    assert "no label restic-compose-backup.volumes" in unseen(plain)


def test_what_was_mounted_into_its_second_container_is_the_truth() -> None:
    mounted = (Mount("bind", DB.mounts[0].source, "/volumes/db/data"),)
    assert unseen(DB, mounted, mode="stop") == ""  # another container that runs has the same volume
    elsewhere = (Mount("bind", DB.mounts[0].source, "/var/lib/docker"),)
    assert "none of its volumes reached" in unseen(DB, elsewhere)
    dumped = replace(DB, labels={**DB.labels, "restic-compose-backup.mysql": "true"})
    assert unseen(dumped, ()) == ""


def test_without_data_nothing_is_missing() -> None:
    assert unseen(replace(DB, mounts=()), mode="stop") == ""
    socket = Mount("bind", "/var/run/docker.sock", "/var/run/docker.sock")
    assert unseen(replace(DB, mounts=(socket,)), mode="stop") == ""


def test_snapshots_are_read_whatever_stands_around_them() -> None:
    text = 'warning: x\n[{"id":"ab","time":"t","paths":["/volumes"],"hostname":"h","tags":null}]\n'
    assert parse(text) == (Snapshot("ab", "t", "h", ("/volumes",), ()),)
    assert parse("null\n") == ()
    assert parse("[]") == ()
    assert new(parse("[]"), parse(text)) == parse(text)
    assert parse(text)[0].has("/volumes")
    assert not parse(text)[0].has("/volumes/db")


@pytest.mark.parametrize("text", ["", "Fatal: wrong password", "[not json", '[{"paths":[]}]', '["x"]'])
def test_what_is_no_list_of_snapshots_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no list"):
        parse(text)


@pytest.mark.parametrize(
    ("mounts", "why"),
    [
        ((), "throw-away layer"),
        ((Mount("volume", "/v", "/other"),), "throw-away layer"),
        ((Mount("tmpfs", "", "/etc"),), "tmpfs"),
        ((Mount("bind", "/host", "/etc"), Mount("tmpfs", "", "/etc/backrest")), "tmpfs"),
        ((Mount("bind", "/host", "/etc/backrest"),), ""),
        ((Mount("volume", "/v", "/etc/backrest", name="v"),), ""),
    ],
)
def test_where_a_journal_would_not_survive(mounts: tuple[Mount, ...], why: str) -> None:
    me = Container("me", "sidecar", mounts=mounts)
    found = volatile(Path("/etc/backrest/.backrest-sidecar"), snapshot(me, self_id="me"))
    assert (why in found) if why else found == ""
    assert volatile(Path("/etc/backrest"), snapshot(me)) == ""


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("repo:/repo", Bind("repo", "/repo")),
        ("/srv/repo:/repo:ro", Bind("/srv/repo", "/repo", read_only=True)),
        ("c:/c:rw", Bind("c", "/c")),
    ],
)
def test_mounts(text: str, bind: Bind) -> None:
    assert parse_mount(text) == bind


@pytest.mark.parametrize("text", ["", "repo", "repo:", ":/repo", "repo:relative", "repo:/x:z"])
def test_mounts_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match="SOURCE:TARGET"):
        parse_mount(text)
