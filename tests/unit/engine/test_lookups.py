"""What a look remembers besides containers: volumes, image labels, services; and what a proxy forbids."""

from __future__ import annotations

from typing import ClassVar

import pytest

from sidecar.engine.client import Engine, EngineError
from tests.doubles import engine as fake_engine
from tests.doubles.engine import FakeEngine, Reply, answer, container, refusal, replies, volume, volume_mount
from tests.unit.engine_fixtures import engine, fake

__all__ = ["engine", "fake"]


class TestVolumes:
    def test_are_listed_once(self, fake: FakeEngine, engine: Engine) -> None:
        fake.volumes(volume("a"))
        fake.containers(container(1, Mounts=[volume_mount("a", "/a")]))

        for _ in range(3):
            engine.snapshot()

        assert fake.asked["/volumes"] == 1

    def test_are_listed_again_for_an_unknown_one_once(self, fake: FakeEngine, engine: Engine) -> None:
        engine.snapshot()
        fake.containers(container(1, Mounts=[volume_mount("gone", "/a")]))

        for _ in range(3):
            engine.snapshot()

        assert fake.asked["/volumes"] == 2

    def test_are_listed_again_for_a_new_container(self, fake: FakeEngine, engine: Engine) -> None:
        fake.volumes(volume("a"))
        fake.containers(container(1, Mounts=[volume_mount("a", "/a")]))
        engine.snapshot()
        fake.volumes(volume("a", {"backrest.enable": "false"}))
        fake.containers(container(2, Mounts=[volume_mount("a", "/a")]))

        assert dict(engine.snapshot().volumes["a"].labels) == {"backrest.enable": "false"}

    def test_are_listed_again_when_told(self, fake: FakeEngine, engine: Engine) -> None:
        engine.snapshot()
        fake.volumes(volume("b"))
        engine.invalidate_volumes()

        assert "b" in engine.snapshot().volumes

    def test_that_have_not_changed_are_the_same_objects(self, fake: FakeEngine, engine: Engine) -> None:
        fake.volumes(volume("a"), volume("b"), volume("c"))
        before = engine.snapshot().volumes
        fake.volumes(volume("c"), volume("b", {"x": "y"}), {**volume("a"), "UsageData": {"Size": 7}})
        engine.invalidate_volumes()

        after = engine.snapshot().volumes
        assert after["a"] is before["a"]
        assert after["b"].labels == {"x": "y"}
        assert after["c"] is before["c"]

    @pytest.mark.parametrize("wrong", [refusal(500, "busy"), answer([]), answer({"Volumes": [{}]})])
    def test_are_asked_for_again_where_that_failed(
        self, fake: FakeEngine, engine: Engine, wrong: Reply
    ) -> None:
        engine.snapshot()
        fake.replies["/volumes"] = wrong
        engine.invalidate_volumes()
        with pytest.raises(EngineError):
            engine.snapshot()
        fake.volumes(volume("a"))

        assert "a" in engine.snapshot().volumes

    def test_give_the_source_that_an_engine_left_out(self, fake: FakeEngine, engine: Engine) -> None:
        fake.containers(container(1, Mounts=[volume_mount("a", "/a", source="")]))
        engine.snapshot()
        fake.volumes(volume("a"))
        engine.invalidate_volumes()

        assert engine.snapshot().containers[0].mounts[0].source == "/var/lib/docker/volumes/a/_data"


class TestImageLabels:
    IMAGE = "/images/sha256:" + "a" * 64 + "/json"

    def test_are_asked_for_once_and_only_where_labels_are_ours(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        other = "sha256:" + "b" * 64
        fake.containers(
            container(1, Labels={"backrest.enable": "true"}), container(2, ImageID=other, Labels={"x": "y"})
        )
        fake.replies[self.IMAGE] = answer({"Config": {"Labels": {"backrest.enable": "true", "other": "x"}}})

        for _ in range(2):
            snapshot = engine.snapshot()

        assert dict(snapshot.containers[0].image_labels) == {"backrest.enable": "true"}
        assert fake.asked[self.IMAGE] == 1
        assert fake.asked[f"/images/{other}/json"] == 0

    def test_of_an_image_that_is_gone_are_none(self, fake: FakeEngine, engine: Engine) -> None:
        fake.containers(container(1, Labels={"backrest.enable": "true"}))

        snapshot = engine.snapshot()

        assert dict(snapshot.containers[0].image_labels) == {}
        assert snapshot.notes == ()

    def test_that_may_not_be_asked_for_are_a_note_and_no_flood(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        rows = [
            container(n, ImageID=f"sha256:{n:064x}", Labels={"backrest.enable": "true"}) for n in range(1, 6)
        ]
        fake.containers(*rows)
        for row in rows:
            fake.replies[f"/images/{row['ImageID']}/json"] = refusal(403)

        snapshot = engine.snapshot()

        assert len(snapshot.notes) == 1
        assert "IMAGES=1" in snapshot.notes[0]
        assert sum(count for path, count in fake.asked.items() if path.startswith("/images/")) == 1


class TestAutoRemove:
    """The list does not tell ``--rm``; who asks for the stop/start template is looked at, once."""

    TEMPLATE: ClassVar = {"backrest.enable": "true", "backrest.hooks.template": "simple-stop-start"}

    def test_is_asked_for_once_and_only_where_the_template_is_wanted(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        others = [container(n, Labels={"backrest.enable": "true"}) for n in (2, 3)]
        named = container(4, Labels={"backrest.db.hooks.template": "stop-start"})
        rows = [container(1, Labels=self.TEMPLATE), *others, named]
        fake.containers(*rows)
        for row, removed in ((rows[0], True), (named, False)):
            fake.replies[f"/containers/{row['Id']}/json"] = answer({"HostConfig": {"AutoRemove": removed}})

        before = engine.snapshot()
        fake.containers(*({**row, "Status": "Up 4 minutes"} for row in rows))
        after = engine.snapshot()

        assert [one.auto_remove for one in before.containers] == [True, False, False, False]
        assert after.containers == before.containers
        inspects = {path: n for path, n in fake.asked.items() if path.endswith("/json") and n}
        assert inspects.pop("/containers/json") == 2
        assert {p: n for p, n in inspects.items() if p.startswith("/containers/")} == {
            f"/containers/{row['Id']}/json": 1 for row in (rows[0], named)
        }

    def test_that_may_not_be_asked_for_is_a_note_and_no_flood(self, fake: FakeEngine, engine: Engine) -> None:
        rows = [container(n, Labels=self.TEMPLATE) for n in range(1, 6)]
        fake.containers(*rows)
        for row in rows:
            fake.replies[f"/containers/{row['Id']}/json"] = refusal(403)

        snapshot = engine.snapshot()

        assert [one.auto_remove for one in snapshot.containers] == [False] * 5
        assert [note for note in snapshot.notes if "--rm" in note]
        assert sum(fake.asked[f"/containers/{row['Id']}/json"] for row in rows) == 1

    def test_of_a_container_that_has_gone_meanwhile_is_no_failure(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        fake.containers(container(1, Labels=self.TEMPLATE))

        assert engine.snapshot().containers[0].auto_remove is False
        assert engine.snapshot().notes == ()


class TestSubpath:
    """The list does not tell what of a volume is mounted; engines that know subpaths are asked, once."""

    VOLUME: ClassVar = {
        "Type": "volume",
        "Name": "v",
        "Source": "/v/v/_data",
        "Destination": "/data",
        "Driver": "local",
    }
    INSPECT: ClassVar = {
        "HostConfig": {
            "Mounts": [
                {"Type": "volume", "Source": "v", "Target": "/data", "VolumeOptions": {"Subpath": "inside/"}},
                {"Type": "bind", "Source": "/x", "Target": "/x"},
            ]
        }
    }

    @pytest.mark.parametrize(
        ("version", "subpath", "asked"),
        [("1.41", "", 0), ("1.44", "", 0), ("1.45", "inside", 1), ("1.100", "inside", 1)],
    )
    def test_is_asked_for_where_the_engine_knows_it(
        self, fake: FakeEngine, engine: Engine, version: str, subpath: str, asked: int
    ) -> None:
        fake.replies["/version"] = answer({"ApiVersion": version, "MinAPIVersion": "1.24", "Components": []})
        ours = container(1, Labels={"backrest.enable": "true"}, Mounts=[self.VOLUME])
        other = container(2, Labels={"com.example": "x"}, Mounts=[self.VOLUME])
        without = container(3, Labels={"backrest.enable": "true"})
        fake.containers(ours, other, without)
        inspect = f"/containers/{ours['Id']}/json"
        fake.replies[inspect] = answer(self.INSPECT)

        first = engine.snapshot()
        fake.containers({**ours, "Status": "Up 4 minutes"}, other, without)
        second = engine.snapshot()

        assert [m.subpath for one in first.containers for m in one.mounts] == [subpath, ""]
        assert second.containers == first.containers
        assert fake.asked[inspect] == asked
        assert fake.asked[f"/containers/{other['Id']}/json"] == 0
        assert fake.asked[f"/containers/{without['Id']}/json"] == 0

    def test_also_of_a_container_whose_volume_carries_the_label(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        fake.replies["/version"] = answer({"ApiVersion": "1.45", "MinAPIVersion": "1.24", "Components": []})
        row = container(1, Mounts=[self.VOLUME])
        fake.containers(row)
        volumes = [{"Name": "v", "Driver": "local", "Labels": {"backrest.enable": "true"}}]
        fake.replies["/volumes"] = answer({"Volumes": volumes})
        fake.replies[f"/containers/{row['Id']}/json"] = answer(self.INSPECT)

        assert engine.snapshot().containers[0].mounts[0].subpath == "inside"


class TestSwarm:
    TASK: ClassVar = {"com.docker.swarm.service.name": "shop_db", "backrest.keep": "daily=3"}
    MANAGER: ClassVar = {
        "ID": "E",
        "Swarm": {"LocalNodeState": "active", "ControlAvailable": True, "NodeID": "n1"},
    }

    def test_labels_of_the_service_stand_below_the_container_s(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        fake.containers(container(1, Labels=self.TASK))
        fake.replies["/info"] = answer(self.MANAGER)
        labels = {"backrest.enable": "true", "backrest.keep": "daily=9"}
        fake.replies["/services"] = answer([{"ID": "s", "Spec": {"Name": "shop_db", "Labels": labels}}])

        assert dict(engine.snapshot().containers[0].labels) == {**self.TASK, "backrest.enable": "true"}

    def test_new_labels_of_a_service_are_seen_though_its_tasks_stay(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        fake.containers(container(1, Labels=self.TASK), container(2))
        fake.replies["/info"] = answer(self.MANAGER)
        fake.replies["/services"] = replies(
            answer([{"ID": "s", "Spec": {"Name": "shop_db", "Labels": {}}}]),
            answer([{"ID": "s", "Spec": {"Name": "shop_db", "Labels": {"backrest.enable": "true"}}}]),
        )

        before, after, again = engine.snapshot(), engine.snapshot(), engine.snapshot()

        assert "backrest.enable" not in before.containers[0].labels
        assert after.containers[0].labels["backrest.enable"] == "true"
        assert after.containers[1] is before.containers[1]
        assert again.containers[0] is after.containers[0]

    def test_a_swarm_without_leader_keeps_what_was_known(self, fake: FakeEngine, engine: Engine) -> None:
        fake.containers(container(1, Labels=self.TASK))
        fake.replies["/info"] = answer(self.MANAGER)
        services = answer([{"ID": "s", "Spec": {"Name": "shop_db", "Labels": {"backrest.enable": "true"}}}])
        fake.replies["/services"] = replies(
            services, refusal(500, "The swarm does not have a leader"), services
        )

        engine.snapshot()
        without, again = engine.snapshot(), engine.snapshot()

        assert without.containers[0].labels["backrest.enable"] == "true"
        assert "does not have a leader" in without.notes[0]
        assert again.notes == ()

    def test_a_worker_node_says_that_it_cannot_know(self, fake: FakeEngine, engine: Engine) -> None:
        fake.containers(container(1, Labels=self.TASK))
        fake.replies["/info"] = answer(
            {"ID": "E", "Swarm": {"LocalNodeState": "active", "ControlAvailable": False}}
        )

        snapshot = engine.snapshot()

        assert "worker node" in snapshot.notes[0]
        assert fake.asked["/services"] == 0

    def test_services_are_not_asked_for_without_tasks(self, fake: FakeEngine, engine: Engine) -> None:
        fake.containers(container(1))
        fake.replies["/info"] = answer(self.MANAGER)

        engine.snapshot()

        assert fake.asked["/services"] == 0

    def test_a_service_that_somebody_else_changes_is_scaled_all_the_same(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        service = {
            "ID": "sid",
            "Version": {"Index": 5},
            "Spec": {"Name": "web", "Mode": {"Replicated": {"Replicas": 3}}},
        }
        fake.replies["/services/web"] = answer(service)
        fake.replies["/services/sid/update"] = replies(
            refusal(500, "rpc error: update out of sequence"), answer({})
        )

        assert engine.swarm.scale("web", 0) == 3
        assert fake.asked["/services/sid/update"] == 2

    def test_a_global_service_is_not_scaled(self, fake: FakeEngine, engine: Engine) -> None:
        fake.replies["/services/web"] = answer(
            {"ID": "s", "Version": {"Index": 5}, "Spec": {"Mode": {"Global": {}}}}
        )

        with pytest.raises(EngineError) as caught:
            engine.swarm.scale("web", 0)

        assert caught.value.kind == "conflict"


class TestProxy:
    def test_what_is_forbidden_besides_the_list_is_a_note(self, fake: FakeEngine, engine: Engine) -> None:
        fake.containers(container(1, Mounts=[volume_mount("a", "/a")]))
        fake.replies["/volumes"] = refusal(403)
        fake.replies["/info"] = refusal(403)

        snapshot = engine.snapshot()
        again = engine.snapshot()

        assert fake_engine.names(snapshot.containers) == ["c1"]
        assert any("VOLUMES=1" in note for note in snapshot.notes)
        assert any("INFO=1" in note for note in snapshot.notes)
        assert again.notes == snapshot.notes
        assert fake.asked["/info"] == 1

    def test_a_forbidden_list_is_a_failure_that_names_the_permission(
        self, fake: FakeEngine, engine: Engine
    ) -> None:
        fake.replies["/containers/json"] = refusal(403)

        with pytest.raises(EngineError, match="CONTAINERS=1") as caught:
            engine.snapshot()

        assert caught.value.kind == "forbidden"

    @pytest.mark.parametrize("status", [403, 405])
    def test_a_refused_look_at_a_path_names_what_it_needs_and_no_more(
        self, fake: FakeEngine, engine: Engine, status: int
    ) -> None:
        fake.replies["/containers/web/archive"] = refusal(status)

        with pytest.raises(EngineError, match=r"needs CONTAINERS=1") as caught:
            engine.stat_path("web", "/srv")

        assert caught.value.kind == "forbidden"

    def test_a_forbidden_stop_names_its_permission(self, fake: FakeEngine, engine: Engine) -> None:
        fake.replies["/containers/web/stop"] = refusal(403)

        with pytest.raises(EngineError, match=r"POST=1 and ALLOW_STOP=1"):
            engine.stop("web", timeout=1)
