"""Edits of repos that a save undid are found in Backrest's own copy of what it replaced, and made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.backrest.api import BackrestApi, ids
from sidecar.backrest.copies import Copies, RepoEdits, edits_undone
from tests.doubles.backrest.server import Double
from tests.unit.builders import container
from tests.unit.conftest import SECRET
from tests.unit.stage import Stage

R1, R2 = {"id": "r1", "uri": "/one"}, {"id": "r2", "uri": "/two", "password": SECRET}
OTHER = {"id": "r1", "uri": "/another"}


def repos(*found: dict[str, Any]) -> dict[str, Any]:
    return {"repos": list(found)}


@pytest.mark.parametrize(
    ("replaced", "after", "edits"),
    [
        (repos(R1), repos(R1), RepoEdits()),
        (repos(R1, R2), repos(R1), RepoEdits(put_back=(R2,))),
        (repos(R1, R2), repos(R1, R2), RepoEdits()),
        (repos(OTHER), repos(R1), RepoEdits(put_back=(OTHER,))),
        (repos(OTHER), repos({**R1, "uri": "/once-more"}), RepoEdits()),
        (repos(), repos(R1), RepoEdits(remove=("r1",))),
        (repos(), repos(), RepoEdits()),
        (repos(R1), repos(R1, R2), RepoEdits()),
    ],
    ids=[
        "nothing",
        "added",
        "added-again",
        "changed",
        "changed-since",
        "removed",
        "gone-again",
        "added-later",
    ],
)
def test_what_a_save_undid(replaced: dict[str, Any], after: dict[str, Any], edits: RepoEdits) -> None:
    assert edits_undone(repos(R1), replaced, repos(R1), after) == edits


def test_our_own_edit_of_repos_is_no_removal_by_somebody() -> None:
    assert not edits_undone(repos(R1), repos(R1), repos(R1, R2), repos(R1, R2))


def test_edits_show_no_secret_and_apply() -> None:
    edits = RepoEdits((R2, OTHER), ("r3",))
    assert SECRET not in repr(edits)
    config = {"modno": 4, **repos(R1, {"id": "r3"})}
    assert edits.applied(config) == {"modno": 4, **repos(OTHER, R2)}


def test_only_a_copy_of_this_save_counts(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    old = tmp_path / "config.json.bak.2020-01-01-00-00-00"
    old.write_text(json.dumps({"modno": 7, **repos(R1, R2)}))
    config.write_text(json.dumps({"modno": 8, **repos(R1)}))
    copies = Copies(config)
    mark, read = copies.mark(), {"modno": 7, **repos(R1)}
    assert not copies.undone(mark, read, read)
    new = tmp_path / "config.json.bak.2020-01-01-00-00-01"
    new.write_text(json.dumps({"modno": 7, **repos(R1, R2)}))
    assert copies.undone(mark, read, read) == RepoEdits(put_back=(R2,))
    new.write_text("{")
    assert not copies.undone(mark, read, read)


def _call(double: Double, method: str, body: dict[str, Any]) -> Callable[[], None]:
    def now() -> None:
        double.before.clear()
        double.call(method, json.dumps(body).encode())

    return now


@pytest.mark.parametrize(
    ("method", "body", "left"),
    [
        ("AddRepo", {"repo": {"id": "r2", "uri": "/r2"}}, {"r1": "/repo", "r2": "/r2"}),
        ("AddRepo", {"repo": {"id": "r1", "uri": "/moved"}}, {"r1": "/moved"}),
    ],
)
def test_a_repo_edited_in_the_moment_of_our_save_is_put_back(
    tmp_path: Path, method: str, body: dict[str, Any], left: dict[str, str]
) -> None:
    from tests.unit.conftest import CONFIG

    stage = Stage(tmp_path, CONFIG, apply_mode="api", backrest_url="http://unused", default_repo="r1")
    with Double(stage.path, tmp_path / "data") as double:
        api = BackrestApi(double.url)
        stage.api = lambda: api
        stage.reborn()
        double.before["SetConfig"] = _call(double, method, body)
        stage.want(container("web"))
        stage.run(longest=60)
        config = api.get_config()
    assert {repo["id"]: repo["uri"] for repo in config["repos"]} == left
    assert "backrest_sidecar_web" in ids(config, "plans")
