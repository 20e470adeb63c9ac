"""Several plans for one container, and labels on volumes: as plans, in explain, and in lint."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from sidecar.engine.model import SWARM_SERVICE, Container, EngineSnapshot, Volume
from sidecar.explain.model import Clock, Explanation, explain_all
from sidecar.lint.checks import LintOptions, lint_files
from sidecar.plans.render import path_context
from sidecar.plans.rendering import Owner, Rendering
from tests.unit.builders import codes, container, one, rendering, settings, volume
from tests.unit.merge_rig import config, put

DB, UPLOADS = "/var/lib/docker/volumes/db/_data", "/var/lib/docker/volumes/uploads/_data"
BOTH = (volume("db", "/db"), volume("uploads", "/uploads"))
NOON = dt.datetime(2025, 1, 1, 12, tzinfo=dt.UTC)


def labelled(name: str, **labels: str) -> Volume:
    keys = {f"backrest.{key.replace('_', '.')}": value for key, value in labels.items()}
    return Volume(name, mountpoint=f"/var/lib/docker/volumes/{name}/_data", labels=keys)


def explained(found: Rendering, *containers: Container, volumes: tuple[Volume, ...] = ()) -> Explanation:
    """The explanation of the first container."""
    snapshot = EngineSnapshot(containers, {v.name: v for v in volumes})
    clock = Clock(dt.UTC, "UTC")
    every = explain_all(snapshot, found, None, path_context(snapshot, settings()), clock, NOON)
    return next(e for e in every if e.container == containers[0].name)


def test_explain_names_the_plan_that_a_wrong_label_leaves_alone() -> None:
    written = put(config(), rendering(container("web")))
    wrong = (container("web", {"schedule": "hourly"}), container("new", {"schedule": "hourly"}))
    twin = container("twin", {"schedule": "hourly"}, compose=("shop", "db", "1"))
    every = (*wrong, twin, container("db", compose=("shop", "db", "2")))
    now = rendering(*every, owners=written.owners)
    merged = put(written.data, now, written.owners)
    context = path_context(EngineSnapshot(every, {}), settings())
    found = explain_all(EngineSnapshot(every, {}), now, merged, context, Clock(dt.UTC, "UTC"), NOON)
    kept = {e.container: e.kept for e in found}
    assert (kept["web"], kept["new"], kept["twin"]) == (("backrest_sidecar_web",), (), None)


class TestNamedPlans:
    def test_each_has_its_own_id_minute_paths_and_owner(self) -> None:
        labels = {
            "schedule": "0 3 * * *",
            "backrest.db.schedule": "T * * * *",
            "backrest.db.paths.include": "/db",
            "backrest.up.paths.include": "/uploads/a",
        }
        plans = {p.plan.id: p for p in rendering(container("web", labels, BOTH)).plans}
        web, db, uploads = (plans[f"backrest_sidecar_web{name}"] for name in ("", "_db", "_up"))

        assert (web.plan.cron, db.plan.cron, uploads.plan.cron) == ("0 3 * * *", "36 * * * *", "0 3 * * *")
        assert (db.plan.paths, uploads.plan.paths) == ((DB,), (f"{UPLOADS}/a",))
        assert web.plan.paths == (DB, UPLOADS)
        assert (web.workload, db.workload) == ("/web", "/web#db")
        assert (db.sources["schedule"], uploads.sources["schedule"]) == (
            "backrest.db.schedule",
            "backrest.schedule",
        )

    def test_an_id_that_a_service_has_too_goes_to_its_owner(self) -> None:
        web = container("web", {"backrest.db.paths.include": "/db"}, BOTH)
        owners = {"backrest_sidecar_web_db": Owner("/web-db")}
        found = rendering(web, container("web-db"), owners=owners)
        ids = {plan.workload: plan.plan.id for plan in found.plans}

        assert ids["/web-db"] == "backrest_sidecar_web_db"
        assert ids["/web#db"] not in {"backrest_sidecar_web_db", ids["/web"]}
        assert len(set(ids.values())) == 3
        assert "plan-id-contested" in codes(found)

    def test_two_names_that_are_one_id_are_refused(self) -> None:
        labels = {"backrest.a-b.schedule": "0 1 * * *", "backrest.a_b.schedule": "0 2 * * *"}
        found = rendering(container("web", labels))
        (finding,) = [f for f in found.findings if f.code == "plan-names-collide"]

        assert finding.skips
        assert {p.plan.cron for p in found.plans} == {"0 2 * * *", "0 1 * * *"}
        assert {"/web#a-b", "/web#a_b"} <= found.present  # neither plan that stood before is an orphan

    def test_a_wrong_label_of_one_leaves_the_others_alone_and_explain_names_it(self) -> None:
        web = container("web", {"backrest.db.schedule": "61 * * * *"})
        found = rendering(web)
        explanation = explained(found, web)

        assert [plan.workload for plan in found.plans] == ["/web"]
        assert "/web#db" in found.present
        assert explanation.verdict == "backed up"
        assert [f.label for f in explanation.findings if f.skips] == ["backrest.db.schedule"]

    @pytest.mark.parametrize(
        ("labels", "left", "words"),
        [
            ({"backrest.db.enable": "false"}, ["/web"], "withdrawn: plan db"),
            (
                {"backrest.enable": "false", "backrest.db.enable": "true"},
                ["/web#db"],
                "withdrawn: the default plan",
            ),
        ],
    )
    def test_one_may_be_withdrawn_and_explain_says_which(
        self, labels: dict[str, str], left: list[str], words: str
    ) -> None:
        web = container("web", labels)
        found = rendering(web)

        assert [plan.workload for plan in found.plans] == left
        assert explained(found, web).reason == words

    def test_lint_sees_that_a_name_meets_a_service(self, tmp_path: Path) -> None:
        file = tmp_path / "compose.yaml"
        file.write_text(
            "services:\n"
            "  web:\n"
            "    image: a\n"
            "    labels: {backrest.enable: 'true', backrest.db.schedule: '0 1 * * *'}\n"
            "    volumes: [web:/data]\n"
            "  web-db:\n"
            "    image: a\n"
            "    labels: {backrest.enable: 'true'}\n"
            "    volumes: [db:/data]\n"
            "volumes: {web: {}, db: {}}\n"
        )
        found = lint_files([str(file)], options=LintOptions(), env={})
        assert [(f.code, "backrest_sidecar_web_db" in f.message) for f in found] == [
            ("plan-id-collides", True)
        ]


class TestVolumeLabels:
    @pytest.mark.parametrize("labels", [{}, {"paths.include": "/db,/uploads"}])
    def test_left_out_means_left_out_wherever_it_is_mounted(self, labels: dict[str, str]) -> None:
        no = labelled("db", enable="false")
        web = container("web", labels, BOTH)
        found = rendering(web, volumes=(no,))

        assert [plan.plan.paths for plan in found.plans] == [(UPLOADS,)]
        assert codes(found) == ({"volume-left-out"} if labels else set())
        mounts = {m.destination: m.note for m in explained(found, web, volumes=(no,)).mounts}
        assert mounts == {"/db": "the volume says backrest.enable=false", "/uploads": ""}

    def test_all_left_out_is_no_plan_and_says_why(self) -> None:
        found = rendering(container("web", {}, BOTH[:1]), volumes=(labelled("db", enable="false"),))
        assert not found.plans
        assert codes(found) == {"no-path"}
        assert "/web" in found.present

    def test_an_enabled_volume_brings_its_users_a_plan_of_it_alone(self) -> None:
        users = (container(name, {}, BOTH, enable=False) for name in ("a", "b"))
        found = rendering(*users, volumes=(labelled("db", enable="true"),))
        assert {p.plan.id: p.plan.paths for p in found.plans} == {
            "backrest_sidecar_a": (DB,),
            "backrest_sidecar_b": (DB,),
        }

    def test_a_container_s_own_no_stands_above_its_volume_s_yes(self) -> None:
        web = container("web", {"backrest.enable": "false"}, BOTH)
        found = rendering(web, volumes=(labelled("db", enable="true"),))
        assert not found.plans
        assert found.withdrawn == {"/web"}

    def test_excludes_go_where_the_volume_is_as_backrest_sees_it(self) -> None:
        volumes = (labelled("db", exclude="*.tmp,/cache"),)
        plan = one(
            container("web", {}, BOTH), volumes=volumes, path_view=(("/var/lib/docker/volumes", "/v"),)
        )
        assert plan.plan.excludes == ("/v/db/_data/**/*.tmp", "/v/db/_data/cache")

    def test_a_wrong_label_of_a_volume_is_told_and_stops_nobody(self) -> None:
        found = rendering(container("web", {}, BOTH), volumes=(labelled("db", enable="maybe", schedule="x"),))
        assert len(found.plans) == 1
        assert codes(found) == {"wrong-label", "unknown-label"}
        assert all("volume db" in f.message and not f.skips for f in found.findings)


def test_explain_ignores_the_container_of_an_ended_task() -> None:
    ended = container("shop_web.1.x", {SWARM_SERVICE: "shop_web"}, state="exited")
    alive = container("shop_web.1.y", {SWARM_SERVICE: "shop_web"})
    assert explained(rendering(ended, alive), ended, alive).verdict == "ignored"
