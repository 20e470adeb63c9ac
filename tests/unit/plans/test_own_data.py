"""A plan never holds its own repository."""

from __future__ import annotations

import pytest

from sidecar.engine.model import EngineSnapshot, Mount
from sidecar.plans.config_view import local_directory, view
from sidecar.plans.path_facts import PathFact
from sidecar.plans.render import Memo, render
from sidecar.plans.rendering import ConfigView, Rendering
from tests.unit.builders import bind, codes, container, settings, volume

VIEW = (
    ("/srv/nas", "/nas"),
    ("/srv/nas/backups", "/repos"),
    ("/var/lib/docker/volumes", "/var/lib/docker/volumes"),
)


def rendered(
    repository: str, *mounts: tuple[str, str], path_view: tuple[tuple[str, str], ...] = ()
) -> Rendering:
    binds = tuple(bind(source, destination) for source, destination in mounts)
    seen = EngineSnapshot((container("samba", mounts=(*binds, volume("conf", "/conf"))),))
    on = ConfigView(("main",), (), (("main", repository),) if repository else ())
    return render(seen, on, {}, settings(), path_view=path_view)


def test_it_is_excluded_from_a_path_that_holds_it() -> None:
    result = rendered("/srv/nas/my [x]", ("/srv/nas", "/share"))
    assert r"/srv/nas/my \[x]" in result.plans[0].plan.excludes
    assert codes(result) == {"own-repository"}


def test_also_where_backrest_has_it_under_another_name() -> None:
    result = rendered("/repos/one", ("/srv/nas", "/share"), path_view=VIEW)
    assert result.plans[0].plan.paths == ("/nas", "/var/lib/docker/volumes/conf/_data")
    assert result.plans[0].plan.excludes == ("/nas/backups/one",)


@pytest.mark.parametrize("source", ["/srv/nas/backups", "/srv/nas/backups/data"])
def test_a_path_in_it_is_left_out(source: str) -> None:
    result = rendered("/srv/nas/backups", (source, "/share"))
    assert result.plans[0].plan.paths == ("/var/lib/docker/volumes/conf/_data",)
    assert codes(result) == {"own-repository"}


def test_a_plan_of_nothing_else_is_none() -> None:
    seen = EngineSnapshot((container("rest-server", mounts=(bind("/srv/repo", "/data"),)),))
    result = render(seen, ConfigView(("main",), (), (("main", "/srv/repo"),)), {}, settings())
    assert result.plans == ()
    assert codes(result) == {"own-repository", "no-path"}


def test_another_plans_repository_may_be_backed_up() -> None:
    result = rendered("", ("/srv/nas", "/share"))
    assert result.plans[0].plan.excludes == ()


def test_which_repositories_are_a_directory() -> None:
    assert local_directory("/srv/repo/") == "/srv/repo"
    assert local_directory("local:/srv/repo") == "/srv/repo"
    for uri in ("", "relative", "sftp:host:/srv", "rest:http://x/", "s3:x/y", "rclone:x:y", "/srv/${X}"):
        assert local_directory(uri) == ""
    data = {"repos": [{"id": "a", "uri": "/srv/a"}, {"id": "b", "uri": "s3:x"}], "plans": []}
    assert view(data).local_repos == (("a", "/srv/a"),)


@pytest.mark.parametrize(
    "mounts", [(bind("/srv", "/srv"),), (bind("/srv/br", "/data"), volume("conf", "/conf"))]
)
def test_backrests_own_data_is_left_out_from_the_moment_it_proves_to_be_that(
    mounts: tuple[Mount, ...],
) -> None:
    seen = EngineSnapshot((container("app", mounts=mounts),))
    on_view, memo = (("/srv", "/srv"), ("/srv/br", "/data")), Memo()
    before = {"/srv": PathFact(True), "/data": PathFact(True), "/data/oplog.sqlite": PathFact(False)}
    after = {**before, "/data/oplog.sqlite": PathFact(True)}
    on = ConfigView(("main",))
    first = render(seen, on, {}, settings(), path_view=on_view, facts=before, memo=memo)
    again = render(seen, on, {}, settings(), path_view=on_view, facts=after, memo=memo)
    assert again != first
    assert again == render(seen, on, {}, settings(), path_view=on_view, facts=after)
