"""The adapter: addresses, versions, and one look at the engine."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from sidecar.engine.client import Engine, EngineError
from sidecar.engine.snapshot import read_own_ids
from tests.doubles import engine as fake_engine
from tests.doubles.engine import FakeEngine, answer, container, refusal, volume, volume_mount
from tests.unit.engine_fixtures import engine, fake

__all__ = ["engine", "fake"]


class TestAddress:
    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ("", "unix:///var/run/docker.sock"),
            ("/run/x.sock", "unix:///run/x.sock"),
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("unix://run/x.sock", "unix:///run/x.sock"),
            ("tcp://10.0.0.5:2375", "tcp://10.0.0.5:2375"),
        ],
    )
    def test_is_a_path_or_a_url(self, given: str, meant: str) -> None:
        assert Engine(given, environ={}).host == meant

    @pytest.mark.parametrize(
        "given", ["ssh://me@nas", "npipe:////./pipe/docker_engine", "fd://", "tcp://", "x://y"]
    )
    def test_that_cannot_be_used_is_refused_at_once(self, given: str) -> None:
        with pytest.raises(EngineError) as caught:
            Engine(given, environ={})

        assert given in caught.value.message
        assert caught.value.advice

    def test_nothing_is_done_before_the_first_call(self, tmp_path: Path) -> None:
        Engine(str(tmp_path / "nothing.sock"), environ={})


class TestNegotiation:
    def test_takes_the_engine_s_own_version(self, fake: FakeEngine, engine: Engine) -> None:
        fake.replies["/version"] = answer({"ApiVersion": "1.52", "MinAPIVersion": "1.44"})

        engine.snapshot()

        assert engine.api_version == "1.52"

    def test_honours_docker_api_version(self, fake: FakeEngine) -> None:
        engine = Engine(fake.host, environ={"DOCKER_API_VERSION": "1.40"})

        engine.ping()

        assert engine.api_version == "1.40"
        assert fake.asked["/version"] == 0
        engine.close()

    def test_a_refused_version_says_which_variable(self, fake: FakeEngine) -> None:
        fake.replies["/_ping"] = refusal(
            400, "client version 1.24 is too old. Minimum supported API version is 1.44"
        )
        engine = Engine(fake.host, environ={"DOCKER_API_VERSION": "1.24"})

        with pytest.raises(EngineError, match=r"too old.*DOCKER_API_VERSION"):
            engine.ping()

        engine.close()


class TestSnapshot:
    def test_takes_one_list_call_for_all_containers(self, fake: FakeEngine, engine: Engine) -> None:
        fake.containers(*(container(n, Labels={"backrest.enable": "true"}) for n in range(1, 50)))
        fake.replies["/images/sha256:" + "a" * 64 + "/json"] = answer({"Config": {"Labels": None}})

        snapshot = engine.snapshot()
        engine.snapshot()

        assert len(snapshot.containers) == 49
        assert fake.asked["/containers/json"] == 2
        assert sum(fake.asked.values()) == 2 + len(
            {"/version", "/info", "/version again", "/volumes", "image"}
        )
        listing = next(talk for talk in fake.talks if talk.path == "/containers/json")
        assert listing.query == {"all": "1"}

    def test_says_what_the_engine_said(self, fake: FakeEngine, engine: Engine) -> None:
        bind = {"Type": "bind", "Source": "/srv/a", "Destination": "/a", "RW": False}
        fake.containers(
            container(
                7,
                Names=["/other/alias", "/web"],
                Labels={"k": "v"},
                Mounts=[volume_mount("data", "/data"), bind],
                HostConfig={"NetworkMode": "container:abc"},
                NetworkSettings={"Networks": {"b": {}, "a": {}}},
                State="exited",
            )
        )
        fake.volumes(volume("data", {"backrest.enable": "false"}))

        snapshot = engine.snapshot()

        one = snapshot.containers[0]
        assert (one.id, one.name, one.state, one.created) == (f"{7:064x}", "web", "exited", 1_700_000_007)
        assert dict(one.labels) == {"k": "v"}
        assert [(m.type, m.source, m.destination, m.name, m.read_only) for m in one.mounts] == [
            ("bind", "/srv/a", "/a", "", True),
            ("volume", "/var/lib/docker/volumes/data/_data", "/data", "data", False),
        ]
        assert one.network_mode == "container:abc"
        assert one.networks == ("a", "b")
        assert dict(snapshot.volumes["data"].labels) == {"backrest.enable": "false"}
        assert (snapshot.engine_id, snapshot.docker_root, snapshot.notes) == ("ENGINE", "/var/lib/docker", ())

    @pytest.mark.parametrize(
        "row",
        [
            {"Id": "b" * 64},
            {
                "Id": "b" * 64,
                "Names": None,
                "Labels": None,
                "Mounts": None,
                "NetworkSettings": None,
                "HostConfig": None,
            },
        ],
    )
    def test_takes_what_an_engine_leaves_out_as_empty(
        self, fake: FakeEngine, engine: Engine, row: dict[str, object]
    ) -> None:
        fake.replies["/containers/json"] = answer([row])
        fake.replies["/volumes"] = answer({"Volumes": None})

        one = engine.snapshot().containers[0]

        assert (one.name, dict(one.labels), one.mounts) == ("b" * 12, {}, ())

    def test_an_unchanged_container_is_the_same_object(self, fake: FakeEngine, engine: Engine) -> None:
        mounts = [volume_mount("a", "/a"), volume_mount("b", "/b")]
        fake.volumes(volume("a"), volume("b"))
        fake.containers(container(1, Mounts=mounts), container(2))
        before = engine.snapshot()
        fake.containers(
            container(1, Mounts=mounts[::-1], Status="Up 4 minutes"),
            container(2, State="exited"),
            container(3),
        )

        after = engine.snapshot()

        assert after.containers[0] is before.containers[0]
        assert after.containers[1] is not before.containers[1]
        assert [c.state for c in after.containers] == ["running", "exited", "running"]

    def test_a_relabelled_or_renamed_container_is_another_value(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        fake.containers(container(1))
        before = engine.snapshot()
        fake.containers(container(1, Names=["/new"]))
        renamed = engine.snapshot()
        fake.containers(container(1))

        again = engine.snapshot()

        assert fake_engine.names(renamed.containers) == ["new"]
        assert again.containers == before.containers

    def test_a_removed_container_is_gone(self, fake: FakeEngine, engine: Engine) -> None:
        fake.containers(container(1), container(2))
        engine.snapshot()
        fake.containers(container(2))

        assert fake_engine.names(engine.snapshot().containers) == ["c2"]

    def test_of_a_list_that_is_spelt_otherwise_is_the_same(self, fake: FakeEngine, engine: Engine) -> None:
        fake.containers(container(1), container(2))
        expected = engine.snapshot().containers
        rows = [dict(reversed(container(n).items())) for n in (1, 2)]  # Id comes last
        fake.replies["/containers/json"] = answer(rows)

        assert engine.snapshot().containers == expected

    def test_a_label_may_hold_what_looks_like_the_next_entry(self, fake: FakeEngine, engine: Engine) -> None:
        odd = '"},{"Id":"' + "e" * 64
        fake.replies["/containers/json"] = lambda talk: talk.whole(
            orjson.dumps([container(1, Labels={"x": odd, odd: "y"}), container(2)])
        )

        containers = engine.snapshot().containers

        assert fake_engine.names(containers) == ["c1", "c2"]
        assert dict(containers[0].labels) == {"x": odd, odd: "y"}


class TestOwnId:
    MINE = "a" * 64
    OTHER = "b" * 64

    def test_is_read_from_the_files_that_the_engine_mounts(self, tmp_path: Path) -> None:
        lines = [
            f"1 2 8:1 /lib/docker/containers/{self.OTHER}/mounts /host/docker/containers/x rw - ext4 /dev/sda rw",
            f"3 2 8:1 /lib/docker/containers/{self.MINE}/hostname /etc/hostname rw - ext4 /dev/sda rw",
        ]
        (tmp_path / "mountinfo").write_text("\n".join(lines))

        assert read_own_ids(tmp_path, hostname="nas") == (self.MINE,)

    def test_is_read_from_cgroup_or_hostname(self, tmp_path: Path) -> None:
        (tmp_path / "cgroup").write_text(f"1:name=systemd:/docker/{self.MINE}\n0::/\n")

        assert read_own_ids(tmp_path, hostname="bbbbbbbbbbbb") == (self.MINE, "b" * 12)
        assert read_own_ids(tmp_path / "none", hostname="my-host") == ()
