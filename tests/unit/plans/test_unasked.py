"""Plans that nothing asks for although their containers are there: kept where labels leave it open, never "gone"."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest

from sidecar.engine.model import Volume
from sidecar.merge.merge import Merge
from sidecar.plans.rendering import Owner, PlanFacts, Rendering
from tests.unit.builders import codes, container, rendering, view, volume
from tests.unit.merge_rig import config, kinds, put, wish, wishes

KEY, ID = "/web", "backrest_sidecar_web"
OWNERS = {ID: Owner(KEY, paths=("/var/lib/docker/volumes/web_data/_data",))}
REMOVE: dict[str, Any] = {"orphans": "remove", "orphan_grace": 0.0}


def pass_over(now: Rendering) -> Merge:
    """A plan of yesterday, and what becomes of it when orphans are removed at once."""
    first = put(config(), wishes(wish(ID, workload=KEY)))
    return put(first.data, now, first.owners, **REMOVE)


@pytest.mark.parametrize(
    "labels",
    [
        {"backrest.enable: true": ""},
        {"backrset.enable": "true"},
        {"backrest": "true"},
        {"BACKREST_ENABLE": "true"},
        {"backrest_enable": "true"},
        {"Backrest.enable": "true"},
        {"backrest.enable ": "true"},
        {"backrest.enable": "ture"},
        {"backrest_enable": "false"},
        {"backrest.schedule": "0 3 * * *"},
        {"backrest.anything": "x"},
    ],
)
def test_a_plan_whose_labels_leave_it_open_stays_whatever_orphans_says(labels: dict[str, str]) -> None:
    now = rendering(replace(container("web"), labels=labels), owners=OWNERS)
    assert KEY in now.present
    assert any(finding.skips and finding.container == "web" for finding in now.findings)
    assert not any("gone" in finding.message for finding in now.findings)
    merged = pass_over(now)
    assert (merged.changed, merged.absent, merged.findings) == (False, (), ())


def test_labels_that_come_from_the_image_alone_leave_it_open() -> None:
    labels = {"backrest.enable": "true"}
    now = rendering(container("web", image_labels=labels), owners=OWNERS)
    assert KEY in now.present
    assert codes(now) == {"image-label", "not-asked"}


@pytest.mark.parametrize(
    ("state", "labels", "words"),
    [
        ("running", {}, "web runs but no longer asks for a backup (no backrest.* label for it)"),
        ("exited", {"com.example.backrest": "x"}, "web is there (exited) but no longer asks for a backup"),
        ("running", {"backrest.quiesce": "true"}, "web runs but no longer asks for a backup"),
    ],
)
def test_labels_taken_off_make_an_orphan_that_is_not_called_gone(
    state: str, labels: dict[str, str], words: str
) -> None:
    now = rendering(container("web", labels, enable=False, state=state), owners=OWNERS)
    assert KEY not in now.present
    assert now.findings == ()
    first = put(config(), wishes(wish(ID, workload=KEY)))
    kept = put(first.data, now, first.owners)
    (finding,) = kept.findings
    assert (finding.code, finding.container) == ("orphan", "web")
    assert finding.message.startswith(words)
    assert "gone" not in finding.message
    removed = pass_over(now)
    assert kinds(removed) == {ID: "removed"}
    assert "gone" not in removed.findings[0].message


def test_gone_is_said_of_what_is_gone() -> None:
    now = rendering(container("other"), owners=OWNERS)
    assert now.silent == {}
    assert "is gone; it is removed" in pass_over(now).findings[0].message


class TestNamedPlans:
    OWNERS: ClassVar = {ID: Owner(KEY), f"{ID}_db": Owner("/web#db")}

    def test_the_only_label_misspelt_keeps_the_plan(self) -> None:
        labels = {"backrest.db.paths.inclde": "/data"}
        now = rendering(container("web", labels), owners=self.OWNERS)
        assert "/web#db" in now.present
        (held,) = (finding for finding in now.findings if finding.code == "not-asked")
        assert f'"{ID}_db"' in held.message
        assert "backrest.db.enable=false" in held.message

    def test_a_named_plan_whose_labels_were_taken_off_is_an_orphan(self) -> None:
        now = rendering(container("web"), owners=self.OWNERS)
        assert now.silent == {"/web#db": "web runs but has no label backrest.db.… any more"}
        assert now.present == {KEY}

    def test_the_default_plan_is_not_held_by_labels_of_another(self) -> None:
        now = rendering(container("web", {"backrest.db.enable": "true"}, enable=False), owners=self.OWNERS)
        assert now.present == {"/web#db"}
        assert set(now.silent) == {KEY}


@pytest.mark.parametrize(("labels", "held"), [({"Backrest.enable": "true"}, True), ({"x": "y"}, False)])
def test_a_volume_that_enabled_it(labels: dict[str, str], held: bool) -> None:
    web = container("web", enable=False, mounts=(volume("data"),))
    now = rendering(web, volumes=(Volume("data", labels=labels),), owners=OWNERS)
    assert (KEY in now.present) is held
    assert (KEY in now.silent) is not held


def test_one_that_withdraws_is_withdrawn_and_a_run_of_compose_is_no_container_of_it() -> None:
    assert rendering(container("web", {"enable": "no"}, enable=False), owners=OWNERS).silent == {}
    oneoff = container("d-web-run-1", {"com.docker.compose.oneoff": "True"}, compose=("d", "web"))
    assert rendering(oneoff, owners={ID: Owner("d/web")}).silent == {}


def test_what_is_silent_keeps_its_id_from_another_of_the_same_paths() -> None:
    """Two projects, one service name, one path: the labels of the first were taken off, it still runs."""
    mounts = (volume("shared"),)
    silent = container("a-web-1", enable=False, mounts=mounts, compose=("a", "web"))
    asks = container("b-web-1", mounts=mounts, compose=("b", "web"))

    paths = ("/var/lib/docker/volumes/shared/_data",)
    on = view(PlanFacts(ID, "main", paths))
    now = rendering(silent, asks, on=on, owners={ID: Owner("a/web", paths=paths)})
    assert [plan.plan.id for plan in now.plans] == ["backrest_sidecar_b_web"]


def test_a_project_with_a_slash_in_its_name_is_found_too() -> None:
    """A label may say anything, and a key does not tell where such a name ends."""
    web = container("web", enable=False, compose=("a/b", "web"))
    now = rendering(web, owners={ID: Owner("a/b/web")})
    assert set(now.silent) == {"a/b/web"}
