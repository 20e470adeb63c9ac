"""restic's patterns: our reading of them, held to restic itself where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.labels import patterns

RESTIC = shutil.which("restic")

TAKEN = [
    ("cache", "/mnt/cache/appdata"),  # any part of the host's path
    ("/mnt", "/mnt/cache"),
    ("/mnt/cache", "/mnt/cache"),
    ("*.tmp", "/a/b.tmp"),
    ("a/b", "/x/a/b/c"),
    ("/a/**/c", "/a/c"),
    ("/a/**/c", "/a/b/b/c"),
    ("/a/**", "/a"),
    ("**", "/a"),
    ("/", "/a"),
    ("[ab]x", "/ax"),
    ("[^a]x", "/bx"),
    (r"\[4K]", "/[4K]"),
    ("//a//b/", "/a/b"),
]
LEFT = [
    ("cache", "/mnt/caches"),
    ("/cache", "/mnt/cache"),
    ("/mnt/cache/x", "/mnt/cache"),
    ("[4K]", "/[4K]"),
    ("[^a]x", "/ax"),
    ("a/b", "/a/x/b"),
    ("/a/**/c", "/a/b"),
    ("?", "/ab"),
]


@pytest.mark.parametrize(("pattern", "path"), TAKEN)
def test_takes(pattern: str, path: str) -> None:
    assert patterns.takes(pattern, path)


@pytest.mark.parametrize(("pattern", "path"), LEFT)
def test_leaves(pattern: str, path: str) -> None:
    assert not patterns.takes(pattern, path)


@pytest.mark.parametrize("pattern", ["", "!", "[", "a[", "[]a]", "[a", "a\\", "[a-]", "[-a]", "x/[/y", "[^]"])
def test_what_restic_would_refuse(pattern: str) -> None:
    assert patterns.why_invalid(pattern)


@pytest.mark.parametrize(
    "pattern", ["a", "*.tmp", "[a-z]", "[^a]", "[z-a]", r"\[", "a]b", "!*.log", "/a/**/b"]
)
def test_what_restic_takes(pattern: str) -> None:
    assert patterns.why_invalid(pattern) == ""


@pytest.mark.parametrize("pattern", ["*", "**", "**/*", "*/", "./*", "?*", "**/**", ".", "./", "**/*/**"])
def test_takes_everything(pattern: str) -> None:
    assert patterns.takes_everything(patterns.clean(pattern))


@pytest.mark.parametrize("pattern", ["*.tmp", "*/*", "??", "!*", "a", "[^x]*", "*/cache"])
def test_leaves_something(pattern: str) -> None:
    assert not patterns.takes_everything(patterns.clean(pattern))


@pytest.mark.parametrize(
    ("pattern", "path", "nothing"),
    [
        ("/a/b/*", "/a/b", True),
        ("/a/*/*", "/a/b", True),
        ("/a/b/**", "/a/b", True),
        ("/a", "/a/b", True),
        ("b/*", "/a/b", True),
        ("/a/b/c", "/a/b", False),
        ("/a/b/*.tmp", "/a/b", False),
        ("/a/b/*/*", "/a/b", False),
        ("/x/*", "/a/b", False),
    ],
)
def test_leaves_nothing_of_a_path(pattern: str, path: str, nothing: bool) -> None:
    assert patterns.leaves_nothing(pattern, path) is nothing


def test_below_anchors_and_escapes() -> None:
    assert patterns.below("/srv/Media [4K]", "cache") == r"/srv/Media \[4K]/**/cache"
    assert patterns.below("/srv", "**/x") == "/srv/**/x"
    assert patterns.below("/srv", "!keep/*") == "!/srv/**/keep/*"
    assert patterns.below("/", "x") == "/**/x"


def taken(several: Sequence[str], path: str) -> bool:
    """Whether restic leaves out ``path`` for a list: later ``!`` patterns take back what others took."""
    out = False
    for pattern in several:
        mark, rest = patterns.split_negation(pattern)
        if patterns.takes(rest, path):
            out = not mark
    return out


def test_a_later_negation_takes_back() -> None:
    listed = ("/a/**/*.tmp", "!/a/**/keep.tmp")
    assert taken(listed, "/a/x.tmp")
    assert not taken(listed, "/a/keep.tmp")


NAME = st.text("ab.*[]?\\^-! ", min_size=1, max_size=5).filter(lambda s: s not in {".", ".."})
PATH = st.lists(NAME, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(PATH)
def test_an_escaped_path_is_valid_and_matches_itself(path: str) -> None:
    escaped = patterns.escape(path)
    assert patterns.why_invalid(escaped) == ""
    assert patterns.takes(escaped, path)


@given(PATH, PATH)
def test_an_escaped_path_matches_nothing_beside_it(path: str, other: str) -> None:
    inside = other == path or other.startswith(path + "/")
    assert patterns.takes(patterns.escape(path), other) is inside


@given(PATH, NAME, PATH)
def test_a_pattern_kept_below_a_path_never_takes_the_path(path: str, pattern: str, other: str) -> None:
    if patterns.why_invalid(pattern) or pattern.startswith("!"):
        return
    anchored = patterns.below(path, patterns.clean(pattern))
    if not patterns.takes_everything(patterns.clean(pattern)):
        assert not patterns.leaves_nothing(anchored, path)
    if not other.startswith(path + "/"):
        assert other == path or not patterns.takes(anchored, other)


def files_kept(trees: list[Path], excludes: list[str], repository: Path) -> set[str]:
    """What real restic backs up of these trees, by a dry run."""
    env = {**os.environ, "RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": str(repository.parent / "cache")}
    assert RESTIC is not None
    subprocess.run([RESTIC, "-q", "-r", str(repository), "init"], env=env, check=True)
    arguments = [*(f"--exclude={pattern}" for pattern in excludes), *map(str, trees)]
    done = subprocess.run(
        [RESTIC, "-r", str(repository), "backup", "--dry-run", "-vv", *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.startswith("new "))
    return {line.rpartition(", saved in")[0] for line in lines} - {""}


NAMES = [
    "a/cache/f",
    "a/b.tmp",
    "a/keep.tmp",
    "var/x",
    "x/y/z",
    "[4K]/f",
    "*/f",
    "a\\b/f",
    "b",
    "deep/a/b/f",
    "q?/f",
]
BELOW = ["cache", "*.tmp", "b", "a/b", "**/f", "[abx]", r"\[4K]", r"\*", "q?", "*.tmp !keep.tmp"]
ABSOLUTE = ["a/cache", "*/f", "**/a/**/f"]


@given(st.text("ab*?[]\\\\/", max_size=8), st.lists(PATH, max_size=3))
def test_of_many_paths_as_of_each(pattern: str, paths: list[str]) -> None:
    if not patterns.why_invalid(pattern):
        assert patterns.taken_whole(pattern, paths) == [
            p for p in paths if patterns.leaves_nothing(pattern, p)
        ]


def test_most_paths_are_not_looked_at_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr(patterns, "leaves_nothing", lambda _, path: looked.append(path))
    paths = [f"/srv/{number}" for number in range(100)]
    for path in paths:
        patterns.taken_whole(patterns.below(path, "cache"), paths)
    assert looked == paths


@pytest.mark.skipif(RESTIC is None, reason="restic is not installed")
def test_restic_reads_patterns_as_we_do(tmp_path: Path) -> None:
    """A tree of odd names for each pattern, which is kept below it: of each, restic keeps just what we say."""
    excludes: dict[Path, list[str]] = {}
    for number, words in enumerate([*BELOW, *ABSOLUTE]):
        tree = tmp_path / f"Media [4K] {number}" / "cache"
        if words in ABSOLUTE:
            excludes[tree] = [f"{patterns.escape(str(tree))}/{words}"]
        else:
            excludes[tree] = [patterns.below(str(tree), word) for word in words.split()]
        for name in NAMES:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(name)
    every = [pattern for several in excludes.values() for pattern in several]
    kept = files_kept(list(excludes), every, tmp_path / "repository")
    for tree, several in excludes.items():
        want = {str(tree / name) for name in NAMES if not taken(several, str(tree / name))}
        assert {path for path in kept if path.startswith(f"{tree}/") and Path(path).is_file()} == want, (
            several
        )
