"""What lint says of empty and half backups, out of a Compose file alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.lint.checks import LintOptions, lint_files


def said(tmp_path: Path, labels: str, mounts: str, more: str = "") -> list[tuple[str, str]]:
    file = tmp_path / "compose.yaml"
    file.write_text(
        f"services: {{web: {{image: x, labels: {{backrest.enable: true, {labels}}}, volumes: [{mounts}]}}}}\n"
        f"volumes: {{data: , media: {{{more}}}}}\n"
    )
    return [(f.level, f.code) for f in lint_files([str(file)], options=LintOptions(), env={"HOME": "/h"})]


@pytest.mark.parametrize("exclude", ["*", "'**'", "/data", "/data/*", "/", "'/**'"])
def test_an_exclude_that_leaves_nothing(tmp_path: Path, exclude: str) -> None:
    assert said(tmp_path, f"backrest.paths.exclude: '{exclude.strip(chr(39))}'", "'data:/data'") == [
        ("error", "wrong-label")
    ]


@pytest.mark.parametrize("exclude", ["cache", "data", "*.tmp", "/data/cache"])
def test_an_exclude_that_leaves_something(tmp_path: Path, exclude: str) -> None:
    assert said(tmp_path, f"backrest.paths.exclude: '{exclude}'", "'data:/data'") == []


def test_an_exclude_of_nothing(tmp_path: Path) -> None:
    found = said(tmp_path, "backrest.paths.exclude: /elsewhere", "'data:/data'")
    assert found == [("warning", "exclude-under-no-volume")]


def test_an_include_above_mounts_takes_them_and_one_beside_them_is_of_the_host(tmp_path: Path) -> None:
    mounts = "'data:/srv/data', 'media:/srv/media'"
    assert said(tmp_path, "backrest.paths.include: /srv", mounts) == []
    assert said(tmp_path, "backrest.paths.include: /var", mounts) == [("warning", "path-under-no-volume")]


def test_patterns_are_not_expanded_in_an_include(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(
        "services: {web: {image: x, labels: [backrest.enable=yes, 'backrest.paths.include=/data/db/*.sqlite'],"
        " volumes: ['data:/data']}}\nvolumes: {data: }\n"
    )
    (finding,) = lint_files([str(file)], options=LintOptions(), env={})
    assert (finding.code, finding.hint, finding.place.column) == ("pattern-in-include", "/data/db", 82)
    assert said(tmp_path, "backrest.paths.include: '/data/[old]'", "'data:/data'") == []


@pytest.mark.parametrize(
    "source",
    [
        "/etc/localtime",
        "/etc/timezone",
        "/lib/modules",
        "/proc",
        "/sys",
        "/dev",
        "/run",
        "/",
        "/var/lib/docker",
    ],
)
def test_what_is_of_the_host_is_left_out_unless_it_is_included(tmp_path: Path, source: str) -> None:
    mounts = f"'data:/data', '{source}:/host:ro'"
    assert said(tmp_path, "", mounts) == [("note", "special-file")]
    assert said(tmp_path, "backrest.paths.include: '/data,/host'", mounts) == []
    # With nothing else to back up that is an empty backup.
    alone = said(tmp_path, "", f"'{source}:/host:ro'")
    assert sorted(alone) == [("note", "special-file"), ("warning", "no-path")]


def test_two_things_left_out_are_both_said(tmp_path: Path) -> None:
    found = said(tmp_path, "", "'data:/data', '/etc/localtime:/l', '/var/run/docker.sock:/s'")
    assert found == [("note", "special-file")] * 2


def test_a_relative_source_is_looked_at_where_it_leads(tmp_path: Path) -> None:
    up = "../" * len(tmp_path.parts)
    assert said(tmp_path, "", f"'data:/data', '{up}proc:/p'") == [("note", "special-file")]


def test_what_volumes_say_counts(tmp_path: Path) -> None:
    labels = "labels: {backrest.enable: false}"
    assert said(tmp_path, "", "'media:/media'", labels) == [("warning", "no-path")]
    found = said(tmp_path, "backrest.paths.include: /media", "'data:/data', 'media:/media'", labels)
    assert sorted(found) == [("note", "volume-left-out"), ("warning", "no-path")]
    whole = "labels: {backrest.exclude: '*'}"
    assert said(tmp_path, "", "'media:/media'", whole) == [("warning", "exclude-ignored")]


def test_a_tmpfs_cannot_be_backed_up(tmp_path: Path) -> None:
    found = said(tmp_path, "backrest.paths.include: '/data,/t'", "'data:/data', {type: tmpfs, target: /t}")
    assert found == [("warning", "path-under-no-volume")]
