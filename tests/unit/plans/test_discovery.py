"""What workloads ask for: one answer for Backrest's plans and for ``backup-once``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sidecar.backup.options import BackupOptions
from sidecar.backup.requests import Wishes, gather
from sidecar.backup.run import run_backup_once
from sidecar.backup.sets import BackupSets, SetRules, build
from sidecar.engine.model import COMPOSE_NUMBER, Container, EngineSnapshot, Mount, Volume
from sidecar.engine.types import RunSpec
from sidecar.labels.policy import LabelPolicy
from tests.unit.builders import rendering
from tests.unit.quiesce.test_quiesce_crash import script
from tests.unit.quiesce_rig import FakeEngine, tools, workload

IMAGE = {"backrest.paths.include": "/etc", "backrest.keep": "last=1", "backrest.repo": "offsite"}
DATA = "/var/lib/docker/volumes/app/_data"
ENABLED = Volume("app", mountpoint=DATA, labels={"backrest.enable": "true"})


def from_its_image(container: Container, labels: dict[str, str]) -> Container:
    """The container with labels that its image gave it."""
    return replace(container, labels={**container.labels, **labels}, image_labels=labels)


def plain(name: str = "app", **labels: str) -> Container:
    return workload(name, quiesce=False, **labels)


def wishes(
    *containers: Container, volume: Volume = ENABLED, quiesced: tuple[str, ...] = (), trust: bool = False
) -> Wishes:
    snapshot = EngineSnapshot(containers, volumes={volume.name: volume})
    policy = LabelPolicy(trust_image=trust)
    return gather(snapshot, set(quiesced), policy=policy, plan_prefix="p_", include_project=False, owned={})


def sets(found: Wishes) -> BackupSets:
    return build(found.wishes, SetRules(volume_labels=found.volume_labels or {}))


def test_labels_of_the_image_of_an_enabled_volumes_container_do_not_count() -> None:
    app = from_its_image(plain(), IMAGE)
    (backup,) = sets(wishes(app)).sets
    assert (backup.paths, [b.source for b in backup.binds], backup.keep) == (
        ("/volumes/shop/app",),
        ["app"],
        None,
    )
    (plan,) = rendering(app, volumes=(ENABLED,)).plans
    assert (plan.plan.paths, plan.plan.repo) == ((DATA,), "main")
    assert plan.sources.get("retention", "") != "backrest.keep"


def test_that_they_do_not_count_is_said() -> None:
    notes = wishes(from_its_image(plain(), IMAGE)).notes
    assert len([note for note in notes if "comes from the image and is ignored" in note]) == len(IMAGE)


def test_they_count_where_images_are_trusted() -> None:
    app = from_its_image(plain(), IMAGE)
    (wish,) = wishes(app, trust=True).wishes
    assert wish.labels is not None
    assert (wish.labels.include, wish.labels.keep is None) == (("/etc",), False)
    (plan,) = rendering(app, volumes=(ENABLED,), trust_image_labels=True).plans
    assert plan.plan.repo == "offsite"


def test_an_image_that_enables_as_well_takes_nothing_away() -> None:
    app = from_its_image(plain(), {"backrest.enable": "true"})
    assert [b.source for b in sets(wishes(app)).sets[0].binds] == ["app"]
    assert len(rendering(app, volumes=(ENABLED,)).plans) == 1


def test_the_containers_own_labels_do_count() -> None:
    (wish,) = wishes(plain(backrest__keep="last=3")).wishes
    assert wish.labels is not None
    assert wish.labels.keep is not None
    assert wish.labels.keep.forget_flags() == ("--keep-last", "3")


def test_of_an_enabled_volume_the_default_plan_alone_comes() -> None:
    """A named plan that nothing enables must not stand in for a default plan with a wrong label."""
    labels: dict[str, Any] = {"backrest__schedule": "nonsense", "backrest__logs__schedule": "0 3 * * *"}
    found = wishes(plain(**labels))
    assert found.wishes == ()
    assert "nonsense" in found.broken[0]
    rendered = rendering(plain(**labels), volumes=(ENABLED,))
    assert rendered.plans == ()
    assert "shop/app" in rendered.present


def test_an_enabled_volume_of_any_replica_counts() -> None:
    first = replace(plain(), id="1", created=1)
    newer = replace(
        plain(), id="2", created=2, mounts=(Mount("volume", "/other", "/data", name="other", driver="local"),)
    )
    newer = replace(newer, labels={**newer.labels, COMPOSE_NUMBER: "2"})
    assert [b.source for s in sets(wishes(first, newer)).sets for b in s.binds] == ["app"]
    assert [plan.plan.paths for plan in rendering(first, newer, volumes=(ENABLED,)).plans] == [(DATA,)]


def test_what_is_taken_down_is_backed_up_whole_though_one_volume_asks_as_well() -> None:
    two = replace(plain(), mounts=(*plain().mounts, Mount("volume", "/more", "/more", name="more")))
    (backup,) = sets(wishes(two, quiesced=("app-id",))).sets
    assert [b.source for b in backup.binds] == ["app", "more"]


def test_a_misspelt_namespace_is_told_by_both() -> None:
    odd = plain(Backrest__enable="true")
    assert any("Backrest.enable" in text for text in wishes(odd, volume=Volume("else")).broken)
    assert any(f.label == "Backrest.enable" for f in rendering(odd).findings)


def test_a_misspelt_namespace_on_a_volume_is_told() -> None:
    odd = Volume("app", mountpoint=DATA, labels={"Backrest.enable": "true"})
    assert any("volume app" in note for note in wishes(plain(), volume=odd).notes)
    assert any(f.container == "volume app" for f in rendering(plain(), volumes=(odd,)).findings)


def test_nothing_is_forgotten_because_an_image_says_so(tmp_path: Path) -> None:
    specs: list[RunSpec] = []

    def noting(engine: FakeEngine, spec: RunSpec) -> tuple[int, list[str]]:
        specs.append(spec)
        return script(engine, spec)

    engine = FakeEngine(script=noting, volumes={"app": ENABLED})
    engine.add(from_its_image(plain(), IMAGE))
    options = BackupOptions(state_dir=tmp_path, kind="restic")
    assert run_backup_once(engine, options, tools(engine), {}).exit_code == 0
    assert not any("forget" in spec.command for spec in specs)
    (backup,) = [spec for spec in specs if "backup" in spec.command]
    assert [bind.source for bind in backup.binds] == ["app"]


def test_replicas_that_differ_are_told_by_both() -> None:
    first = replace(plain(backrest__enable="true"), id="1", created=1)
    newer = replace(plain(backrest__enable="true", backrest__keep="last=1"), id="2", created=2)
    newer = replace(newer, labels={**newer.labels, COMPOSE_NUMBER: "2"})
    assert any("differ in their labels" in note for note in wishes(first, newer).notes)
    assert any(f.code == "replicas-differ" for f in rendering(first, newer).findings)
