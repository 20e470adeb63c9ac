"""What of a container is backed up, rule by rule, and over random containers: nothing that is asked for is lost."""

from __future__ import annotations

import json
import posixpath
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.engine import decode
from sidecar.engine.model import Container, Mount, Volume
from sidecar.labels import patterns
from sidecar.labels.policy import PlanLabels, VolumeLabels
from sidecar.plans.mounts import PathRules, in_host, under
from sidecar.plans.path_facts import PathFact
from sidecar.plans.paths import PathContext, PathDraft, draft_paths
from sidecar.plans.special_paths import why_no_data
from tests.unit.builders import bind, codes, container, one, rendering, volume

ROOT = "/var/lib/docker/volumes"
NEXTCLOUD = (
    volume("html", "/var/www/html"),
    volume("config", "/var/www/html/config"),
    volume("data", "/var/www/html/data"),
    volume("db", "/var/lib/mysql"),
)


def at(name: str) -> str:
    return f"{ROOT}/{name}/_data"


class TestInclude:
    def test_what_is_mounted_below_an_included_path_comes_with_it(self) -> None:
        web = container("web", {"paths.include": "/var/www/html"}, NEXTCLOUD)
        assert one(web).plan.paths == (at("config"), at("data"), at("html"))

    def test_below_a_path_on_a_mount_too(self) -> None:
        deep = (volume("a", "/data"), volume("b", "/data/x/deep"), volume("c", "/data/y"))
        assert one(container("web", {"paths.include": "/data/x"}, deep)).plan.paths == (
            f"{at('a')}/x",
            at("b"),
        )

    def test_above_mounts_it_means_those_and_not_the_hosts_own_path(self) -> None:
        result = rendering(container("web", {"paths.include": "/var/www"}, NEXTCLOUD))
        assert result.plans[0].plan.paths == (at("config"), at("data"), at("html"))
        assert codes(result) == set()

    def test_it_takes_a_mount_that_is_no_data_only_when_it_names_it(self) -> None:
        mounts = (volume("a", "/data"), bind("/etc/localtime", "/data/localtime"))
        below = rendering(container("web", {"paths.include": "/data"}, mounts))
        assert below.plans[0].plan.paths == (at("a"),)
        assert codes(below) == {"special-file"}
        named = container("web", {"paths.include": "/data,/data/localtime"}, mounts)
        assert one(named).plan.paths == ("/etc/localtime", at("a"))

    def test_a_volume_that_says_no_stays_out_of_an_include_above_it(self) -> None:
        web = container("web", {"paths.include": "/var/www/html"}, NEXTCLOUD)
        no = Volume("data", labels={"backrest.enable": "false"})
        assert one(web, volumes=(no,)).plan.paths == (at("config"), at("html"))

    def test_a_subpath_is_part_of_the_way(self) -> None:
        inside = Mount("volume", at("v"), "/data", "v", "local", subpath="inside")
        labels = {"paths.include": "/data/deep", "paths.exclude": "/data/deep/cache"}
        plan = one(container("web", labels, (inside,))).plan
        assert plan.paths == (f"{at('v')}/inside/deep",)
        assert plan.excludes == (f"{at('v')}/inside/deep/cache",)
        assert one(container("web", mounts=(inside,))).plan.paths == (f"{at('v')}/inside",)

    def test_labels_of_a_volume_count_from_its_root_whatever_is_mounted(self) -> None:
        inside = Mount("volume", at("v"), "/data", "v", "local", subpath="inside")
        labelled = Volume("v", labels={"backrest.exclude": "/inside/cache,*.tmp,/other"})
        plan = one(container("web", mounts=(inside,)), volumes=(labelled,)).plan
        assert plan.excludes == (f"{at('v')}/inside/cache", f"{at('v')}/**/*.tmp", f"{at('v')}/other")


class TestExclude:
    def test_a_word_counts_below_each_path_only(self) -> None:
        web = container("web", {"paths.exclude": "cache"}, (bind("/mnt/cache/app", "/app"), volume("v")))
        assert one(web).plan.excludes == ("/mnt/cache/app/**/cache", f"{at('v')}/**/cache")

    @pytest.mark.parametrize(
        "exclude", ["/data", "/data/", "/data/*", "/data/**", "*", "**/*", "/", "/d*", "/**"]
    )
    def test_one_that_leaves_nothing_is_a_wrong_label(self, exclude: str) -> None:
        result = rendering(container("web", {"paths.exclude": exclude}, (volume("v"), volume("w", "/w"))))
        assert result.plans == ()
        (finding,) = (f for f in result.findings if f.skips)
        assert (finding.code, finding.label) == ("wrong-label", "backrest.paths.exclude")
        assert exclude in finding.message
        assert "/web" in result.present  # the plan it had stays as it is

    def test_mounts_below_an_excluded_path_are_excluded_too(self) -> None:
        web = container("web", {"paths.exclude": "/var/www/html/data"}, NEXTCLOUD)
        plan = one(web).plan
        assert set(plan.paths) == {at("db"), at("config"), at("html")}
        assert f"{at('html')}/data" in plan.excludes

    def test_a_pattern_in_the_container_reaches_every_mount_that_it_matches(self) -> None:
        mounts = (volume("a", "/srv/a"), volume("b", "/srv/b"))
        plan = one(container("web", {"paths.exclude": "/srv/*/cache,/srv/**/tmp"}, mounts)).plan
        assert set(plan.excludes) == {f"{at(v)}/{rest}" for v in "ab" for rest in ("cache", "**/tmp")}

    @pytest.mark.parametrize(
        ("exclude", "written"),
        [
            ("/data/*,!/data/keep", (f"{at('v')}/*", f"!{at('v')}/keep")),
            ("*,!*.db", (f"{at('v')}/**/*", f"!{at('v')}/**/*.db")),
        ],
    )
    def test_everything_but_what_a_later_pattern_takes_back(
        self, exclude: str, written: tuple[str, ...]
    ) -> None:
        """As restic's manual has it: a directory's entries are excluded, and one of them is not."""
        assert one(container("web", {"paths.exclude": exclude}, (volume("v"),))).plan.excludes == written

    @pytest.mark.parametrize(
        "exclude", ["/data,!/data/keep", "/data/*,!/other/keep", "!/data/keep,/data/*", "*"]
    )
    def test_what_nothing_can_take_back_is_a_wrong_label(self, exclude: str) -> None:
        result = rendering(container("web", {"paths.exclude": exclude}, (volume("v"),)))
        assert result.plans == ()
        assert "wrong-label" in codes(result)

    def test_a_negation_is_kept(self) -> None:
        plan = one(container("web", {"paths.exclude": "*.log,!keep.log,!/data/x"}, (volume("v"),))).plan
        assert plan.excludes == (f"{at('v')}/**/*.log", f"!{at('v')}/**/keep.log", f"!{at('v')}/x")

    def test_doubled_slashes_and_brackets_of_the_host(self) -> None:
        odd = (bind("/srv/Media [4K]", "/media"),)
        plan = one(container("web", {"paths.exclude": "/media//cache/,*.nfo"}, odd)).plan
        assert plan.excludes == (r"/srv/Media \[4K]/cache", r"/srv/Media \[4K]/**/*.nfo")

    def test_a_path_of_the_host_below_the_plans_path_is_one(self) -> None:
        web = container("web", {"paths.exclude": "/srv/x/cache"}, (bind("/srv/x", "/data"),))
        result = rendering(web)
        assert result.plans[0].plan.excludes == ("/srv/x/cache",)
        assert codes(result) == set()

    def test_a_path_of_the_host_that_takes_the_plans_path_is_wrong(self) -> None:
        result = rendering(container("web", {"paths.exclude": "/srv"}, (bind("/srv/x", "/data"),)))
        assert result.plans == ()
        assert codes(result) == {"wrong-label"} | (codes(result) & {"exclude-under-no-mount"})

    def test_one_that_a_named_plan_inherits_does_not_empty_it(self) -> None:
        labels = {
            "paths.exclude": "/data/cache",
            "backrest.small.paths.include": "/data/cache",
        }
        result = rendering(container("web", labels, (volume("v"),)))
        by_id = {plan.plan.id: plan.plan for plan in result.plans}
        assert by_id["backrest_sidecar_web"].excludes == (f"{at('v')}/cache",)
        assert by_id["backrest_sidecar_web_small"].paths == (f"{at('v')}/cache",)
        assert by_id["backrest_sidecar_web_small"].excludes == ()
        assert "exclude-not-inherited" in codes(result)

    @pytest.mark.parametrize("exclude", ["/", "*", "/x", "x"])
    def test_a_volumes_label_empties_no_plan(self, exclude: str) -> None:
        labelled = Volume("v", labels={"backrest.exclude": exclude})
        web = container("web", {"paths.include": "/data/x"}, (volume("v"),))
        result = rendering(web, volumes=(labelled,))
        assert result.plans[0].plan.excludes == ()
        assert "exclude-ignored" in codes(result)


@pytest.mark.parametrize("exclude", ["data", "/app/data", "/app/*"])
def test_a_mount_of_a_directory_in_another_one_is_not_excluded_without_a_word(exclude: str) -> None:
    mounts = (bind("/srv/app", "/app"), bind("/srv/app/data", "/uploads"), bind("/srv/x", "/x"))
    result = rendering(container("web", {"paths.exclude": exclude}, mounts))
    (finding,) = result.findings
    assert finding.code == ("wrong-label" if exclude == "/app/*" else "exclude-takes-path")
    assert ("/srv/app/data" in finding.message) is (exclude != "/app/*")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/etc/localtime",
        "/etc/timezone",
        "/etc/resolv.conf",
        "/lib/modules",
        "/lib/modules/6.1",
        "/proc",
        "/sys/fs/cgroup",
        "/dev/dri",
        "/run/udev",
        "/var/run/docker.sock",
        "/var/lib/docker",
        "/var/lib/docker/volumes",
        "/var/lib/docker/containers",
        "/srv/app.sock",
        "/etc/ssl/certs",
        "/usr/share/zoneinfo/Europe",
    ],
)
def test_no_data(path: str) -> None:
    assert why_no_data(path, PathRules())


@pytest.mark.parametrize(
    "path",
    [
        "/etc",
        "/etc/app",
        "/etc/localtime.d",
        "/run/media/me/disk",
        "/run/desktop/mnt/host/c/Users/me/data",
        "/var/run/desktop/mnt/host/wsl/docker-desktop-bind-mounts/Ubuntu/1f",
        "/var/lib/docker/appdata/db",
        "/var/lib/docker/volumes/x/_data",
        "/var/lib/dockerx",
        "/devices",
        "/home/me/run",
        "/var/log",
        "/var/lib",
        "/srv/lib/modules",
    ],
)
def test_may_be_data(path: str) -> None:
    assert why_no_data(path, PathRules()) == ""


def test_the_moved_data_root_is_the_engines() -> None:
    rules = PathRules(engine_root="/mnt/big/docker")
    assert why_no_data("/mnt/big/docker", rules)
    assert why_no_data("/mnt/big/docker/volumes", rules)
    assert not why_no_data("/mnt/big", rules)


# --- random containers -------------------------------------------------------------------------------------

PARTS = ["a", "b", "cache", "data", "x [4]", "*"]
DESTINATION = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
BINDS = st.sampled_from(
    [
        "/srv/a",
        "/srv/a/b",
        "/mnt/cache/app",
        "/srv/x [4]/*",
        "/etc/localtime",
        "/run/udev",
        "/",
        "/srv/link",
        "/srv/gone",
        "/opt/unseen",
    ]
)
FACTS = {
    "/srv/link": PathFact(True, "/disk/real"),
    "/srv/gone": PathFact(False),
    "/srv/a/b/gone": PathFact(False),
}
VIEW = tuple(sorted((p, p) for p in ("/srv", "/mnt", "/disk", "/etc", "/run", "/var/lib/docker/volumes")))


@st.composite
def mounts(draw: st.DrawFn) -> tuple[Mount, ...]:
    made = []
    for number, destination in enumerate(draw(st.lists(DESTINATION, max_size=5, unique=True))):
        kind = draw(st.sampled_from(["volume", "volume", "bind", "tmpfs"]))
        if kind == "volume":
            sub = draw(st.sampled_from(["", "", "inside", "inside/deep"]))
            made.append(Mount(kind, at(f"v{number}"), destination, f"v{number}", "local", subpath=sub))
        else:
            made.append(Mount(kind, draw(BINDS) if kind == "bind" else "", destination))
    return tuple(made)


WORDS = st.sampled_from(["cache", "*.tmp", "*", "**", "a/b", "!a", r"x \[4]", "**/cache", "./data"])
PLACES = st.one_of(
    DESTINATION, DESTINATION.map(lambda d: d + "/cache"), st.sampled_from(["/", "/a", "/srv/a/b"])
)


@st.composite
def drafted(draw: st.DrawFn) -> tuple[Container, PlanLabels, PathContext, PathDraft]:
    box = container("web", mounts=draw(mounts()))
    labels = PlanLabels(
        include=tuple(draw(st.lists(PLACES.filter(lambda p: "*" not in p), max_size=3))),
        exclude=tuple(draw(st.lists(st.one_of(WORDS, PLACES), max_size=3))),
    )
    names = [m.name for m in box.mounts if m.name]
    context = PathContext(
        rules=PathRules(),
        volumes={},
        volume_labels={n: VolumeLabels(exclude=(draw(st.one_of(WORDS, PLACES)),)) for n in names[:1]},
        view=draw(st.sampled_from([(), VIEW])),
        facts=FACTS,
    )
    return box, labels, context, draft_paths([box], labels, context)


def inside(mount: Mount) -> str:
    return posixpath.join(mount.source, mount.subpath) if mount.subpath else mount.source


def asked(box: Container, labels: PlanLabels) -> list[tuple[str, str, str]]:
    """Every place that the labels ask for: (path in the container, path on the host, what may name it)."""
    found = []
    for mount in box.mounts:
        if mount.type == "tmpfs":
            continue
        if not labels.include or any(
            under(mount.destination, p) for p in map(posixpath.normpath, labels.include)
        ):
            found.append((mount.destination, inside(mount), mount.source))
    for path in map(posixpath.normpath, labels.include):
        over = [m for m in box.mounts if under(path, m.destination) is not None]
        if over:
            mount = max(over, key=lambda m: len(m.destination))
            rest = under(path, mount.destination) or ""
            host = posixpath.join(inside(mount), rest) if rest else inside(mount)
            found.append((path, host, path if mount.type == "tmpfs" else host))
        elif not any(under(m.destination, path) for m in box.mounts):
            found.append((path, path, path))
    return found


def excluded(place: str, labels: PlanLabels) -> bool:
    return any(patterns.takes(p, place) for p in labels.exclude if p.startswith("/"))


Drafted = tuple[Container, PlanLabels, PathContext, PathDraft]


def check_nothing_is_lost(found: Drafted) -> None:
    """What the labels ask for is in the plan, or a finding names it."""
    box, labels, context, draft = found
    said = " ".join(finding.message for finding in draft.findings)
    if draft.skipped:
        assert said
        return
    real = {"/srv/link": "/disk/real"}
    for place, host, name in asked(box, labels):
        wanted = real.get(host, host)
        backed_up = any(
            under(wanted, in_host(path, context.view) or path) is not None for path in draft.paths
        )
        assert backed_up or name in said or excluded(place, labels), (place, host)


def check_no_exclude_takes_a_path(found: Drafted) -> None:
    """No exclude of a label removes a whole path, but one that lies below another of the plan's paths."""
    draft = found[-1]
    if draft.skipped:
        return
    assert draft.paths
    for at, pattern in enumerate(draft.excludes, start=1):
        assert patterns.why_invalid(pattern) == ""
        for path in draft.paths:
            back = any(
                one.startswith("!") and under(one[1:], patterns.escape(path)) for one in draft.excludes[at:]
            )
            if back and not patterns.takes(pattern, path):
                continue  # what is in the path is taken, and some of it taken back
            if not pattern.startswith("!") and patterns.leaves_nothing(pattern, path):
                assert any(under(path, other) for other in draft.paths), (pattern, path)
                assert any(path in finding.message for finding in draft.findings), (pattern, path)


@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(drafted())
def test_random_containers(found: Drafted) -> None:
    check_nothing_is_lost(found)
    check_no_exclude_takes_a_path(found)


@pytest.mark.torture
@pytest.mark.timeout(900)
@settings(max_examples=10_000, suppress_health_check=[HealthCheck.too_slow])
@given(drafted())
def test_ten_thousand_random_containers(found: Drafted) -> None:
    check_nothing_is_lost(found)
    check_no_exclude_takes_a_path(found)


@pytest.mark.parametrize("view", [(), VIEW], ids=["host", "backrest"])
def test_every_mount_of_the_recorded_stacks_is_backed_up_or_named(view: tuple[tuple[str, str], ...]) -> None:
    recorded = json.loads((Path(__file__).parents[3] / "testdata/engine/containers.json").read_text())
    boxes = [decode.container(row) for row in recorded]
    seen = 0
    for box in boxes:
        context = PathContext(rules=PathRules(), volumes={}, volume_labels={}, view=view)
        draft = draft_paths([box], PlanLabels(), context)
        said = " ".join(finding.message for finding in draft.findings)
        for mount in box.mounts:
            hosts = [in_host(path, view) or path for path in draft.paths]
            assert mount.source in hosts or mount.source in said, (box.name, mount)
            seen += 1
    assert seen > 15
