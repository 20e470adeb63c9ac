"""Rendering, rule by rule of the contract."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecar.config.plan import SNAPSHOT_END, SNAPSHOT_START
from sidecar.engine.model import COMPOSE_ONEOFF, COMPOSE_REPLACE, EngineSnapshot, Mount, Volume
from sidecar.plans.render import Memo, render
from sidecar.plans.rendering import Owner, PlanFacts
from sidecar.status.announcer import say_findings
from tests.unit.builders import bind, codes, container, one, rendering, settings, view, volume


def test_defaults() -> None:
    plan = one(container("web")).plan
    assert plan.to_json() == {
        "id": "backrest_sidecar_web",
        "repo": "main",
        "paths": ["/var/lib/docker/volumes/web_data/_data"],
        "schedule": {"cron": "0 2 * * *", "clock": "CLOCK_LOCAL"},
        "retention": {"policyTimeBucketed": {"daily": 7, "weekly": 4}},
    }


def test_nothing_enabled_gives_nothing() -> None:
    result = rendering(container("web", enable=False))
    assert result.plans == ()
    assert result.findings == ()


def test_labels_win_over_defaults() -> None:
    plan = one(container("web", {"repo": "offsite", "schedule": "t 3 * * *", "keep": "last=3"})).plan
    assert plan.repo == "offsite"
    assert plan.cron.split()[1:] == ["3", "*", "*", "*"]
    assert plan.retention == {"policyKeepLastN": 3}


class TestPaths:
    def test_every_mount_counts_but_tmpfs_and_sockets(self) -> None:
        mounts = (
            bind("/srv/b", "/b"),
            volume("a"),
            Mount("tmpfs", "", "/tmp"),
            bind("/var/run/docker.sock", "/var/run/docker.sock"),
            bind("/dev/sda", "/dev/sda"),
        )
        result = rendering(container("web", mounts=mounts))
        assert result.plans[0].plan.paths == ("/srv/b", "/var/lib/docker/volumes/a/_data")
        assert codes(result) == {"special-file"}

    def test_docker_root_and_volume_prefix(self) -> None:
        web = container("web", mounts=(volume("a", source="/elsewhere/a/_data"),))
        assert one(web).plan.paths == ("/elsewhere/a/_data",)
        assert one(web, docker_root="/big").plan.paths == ("/big/volumes/a/_data",)
        assert one(web, docker_root="/big", volume_prefix="/vols").plan.paths == ("/vols/a/_data",)
        usual = container("web", mounts=(volume("a"),))
        assert one(usual, volume_prefix="/vols").plan.paths == ("/vols/a/_data",)

    def test_docker_root_says_nothing_about_other_drivers(self) -> None:
        web = container("web", mounts=(volume("a", driver="nfs", source="/mnt/nfs/a"),))
        assert one(web, docker_root="/big").plan.paths == ("/mnt/nfs/a",)

    def test_exclude_bind_mounts(self) -> None:
        web = container("web", mounts=(bind("/srv/b", "/b"), volume("a")))
        assert one(web, exclude_bind_mounts=True).plan.paths == ("/var/lib/docker/volumes/a/_data",)

    def test_no_path_skips(self) -> None:
        result = rendering(container("web", mounts=()))
        assert result.plans == ()
        assert [f.code for f in result.findings if f.skips] == ["no-path"]
        assert result.present == {"/web"}

    def test_include_takes_the_longest_mount(self) -> None:
        mounts = (volume("outer", "/data"), volume("inner", "/data/deep"))
        web = container("web", {"paths.include": "/data/deep/x, /data/y"}, mounts)
        assert one(web).plan.paths == (
            "/var/lib/docker/volumes/inner/_data/x",
            "/var/lib/docker/volumes/outer/_data/y",
        )

    def test_include_under_no_mount_passes_with_a_warning(self) -> None:
        result = rendering(container("web", {"paths.include": "/etc/app"}))
        assert result.plans[0].plan.paths == ("/etc/app",)
        assert codes(result) == {"path-under-no-mount"}

    def test_allow_path(self) -> None:
        web = container("web", {"paths.include": "/etc/app"})
        assert rendering(web, allow_path=("/srv",)).plans == ()
        assert one(web, allow_path=("/etc",)).plan.paths == ("/etc/app",)

    def test_a_prefix_of_a_name_is_no_mount(self) -> None:
        web = container("web", {"paths.include": "/database"}, (volume("a", "/data"),))
        assert one(web).plan.paths == ("/database",)

    def test_excludes(self) -> None:
        web = container("web", {"paths.exclude": "/data/cache,*.tmp,/other/x"}, (volume("a"),))
        assert one(web).plan.excludes == (
            "/var/lib/docker/volumes/a/_data/cache",
            "/var/lib/docker/volumes/a/_data/**/*.tmp",
            "/other/x",
        )

    def test_a_volume_of_another_driver_without_a_path_is_named(self) -> None:
        web = container("web", mounts=(volume("s3", "/s", driver="s3", source=""), volume("a")))
        result = rendering(web)
        assert "volume-without-path" in codes(result)
        assert result.plans[0].plan.paths == ("/var/lib/docker/volumes/a/_data",)


class TestView:
    VIEW = (("/var/lib/docker/volumes", "/vols"), ("/srv", "/srv"))

    def test_a_path_is_written_as_backrest_sees_it(self) -> None:
        assert one(container("web"), path_view=self.VIEW).plan.paths == ("/vols/web_data/_data",)

    def test_an_unseen_path_takes_no_other_down_and_is_named(self) -> None:
        web = container("web", mounts=(bind("/opt/x", "/x"), volume("a")))
        result = rendering(web, path_view=self.VIEW)
        (found,) = result.plans
        assert (found.plan.paths, found.without) == (("/vols/a/_data",), ("/opt/x",))
        (finding,) = (f for f in result.findings if f.code == "invisible-path")
        assert "- /opt/x:/opt/x:ro" in finding.message
        assert not finding.skips

    def test_an_unseen_path_can_hold_its_plan_back(self) -> None:
        web = container("web", mounts=(bind("/opt/x", "/x"), volume("a")))
        result = rendering(web, path_view=self.VIEW, unseen_paths="keep")
        assert result.plans == ()
        assert "/web" in result.present
        assert [f.code for f in result.findings if f.skips] == ["invisible-path"]

    def test_where_nothing_is_seen_there_is_no_plan(self) -> None:
        result = rendering(container("web", mounts=(bind("/opt/x", "/x"),)), path_view=self.VIEW)
        assert result.plans == ()
        assert {f.code for f in result.findings} == {"invisible-path", "no-path"}

    def test_a_covered_path_is_not_seen(self) -> None:
        covered = (("/srv", "/srv"), ("/var/x", "/srv/app"))
        result = rendering(container("web", mounts=(bind("/srv/app/d", "/d"),)), path_view=covered)
        assert "invisible-path" in codes(result)

    def test_host_view(self) -> None:
        seen = EngineSnapshot((container("web"),))
        result = render(seen, view(), {}, settings(path_view="host"), path_view=self.VIEW)
        assert result.plans[0].plan.paths == ("/var/lib/docker/volumes/web_data/_data",)


class TestRepos:
    def test_the_first_plans_repo_is_the_fallback_for_a_new_plan(self) -> None:
        on = view(PlanFacts("hand", "offsite", ("/x",)))
        assert one(container("web"), on=on).plan.repo == "offsite"

    def test_a_standing_plan_keeps_its_repo(self) -> None:
        on = view(PlanFacts("a-usb", "offsite", ("/x",)), PlanFacts("backrest_sidecar_web", "main", ("/y",)))
        assert one(container("web"), on=on).plan.repo == "main"

    def test_an_explicit_default_that_exists_moves_it(self) -> None:
        on = view(PlanFacts("backrest_sidecar_web", "main", ("/y",)))
        assert one(container("web"), on=on, default_repo="offsite").plan.repo == "offsite"

    def test_an_explicit_default_that_does_not_exist_is_an_error_and_falls_back(self) -> None:
        result = rendering(container("web"), default_repo="nope")
        assert result.plans[0].plan.repo == "main"
        assert "nope" in result.default_repo_error
        assert "default-repo-fallback" in codes(result)

    def test_unknown_repo_skips_and_names_what_there_is(self) -> None:
        result = rendering(container("web", {"repo": "mian"}))
        assert result.plans == ()
        (finding,) = result.findings
        assert finding.code == "unknown-repo"
        assert "main" in finding.message

    def test_no_repo_at_all(self) -> None:
        result = rendering(container("web"), on=view(repos=()))
        assert result.plans == ()
        assert codes(result) == {"no-repo"}


class TestWorkloads:
    def test_replicas_give_one_plan_with_the_union(self) -> None:
        replicas = [
            container(
                f"d-web-{n}",
                {"hooks.template": "simple-stop-start"},
                (volume(f"v{n}"),),
                compose=("d", "web", str(n)),
            )
            for n in (1, 2)
        ]
        plan = one(*replicas)
        assert plan.plan.paths == ("/var/lib/docker/volumes/v1/_data", "/var/lib/docker/volumes/v2/_data")
        assert plan.containers == ("d-web-1", "d-web-2")
        assert len(plan.plan.hooks) == 2
        assert "docker stop d-web-1" in plan.plan.hooks[1].command
        assert "docker stop d-web-2" in plan.plan.hooks[1].command

    def test_replicas_that_differ_take_the_newest(self) -> None:
        old = container("d-web-1", {"schedule": "0 1 * * *"}, compose=("d", "web", "1"), created=1)
        new = container("d-web-2", {"schedule": "0 4 * * *"}, compose=("d", "web", "2"), created=2)
        result = rendering(new, old)
        assert result.plans[0].plan.cron == "0 4 * * *"
        assert "replicas-differ" in codes(result)

    def test_oneoffs_are_ignored(self) -> None:
        assert rendering(container("d-web-run-1", {COMPOSE_ONEOFF: "True"}, compose=("d", "web"))).plans == ()

    @pytest.mark.parametrize(
        ("state", "name"),
        [
            ("running", "0123456789ab_d-web-1"),
            ("exited", "0123456789ab_d-web-1"),
            (
                "created",
                "d-web-1",
            ),  # Compose starts it once the old one, which runs and bears the name, is gone
        ],
    )
    def test_the_newer_of_a_recreate_counts_alone_under_the_name_of_the_moment(
        self, state: str, name: str
    ) -> None:
        labels = {"snapshot-start": "echo $SELF"}
        old = container("d-web-1", labels, compose=("d", "web"), created=1)
        new = container(
            "0123456789ab_d-web-1",
            {**labels, COMPOSE_REPLACE: old.id},
            (volume("new"),),
            compose=("d", "web"),
            created=2,
            state=state,
        )
        plan = one(old, new)
        assert plan.containers == (name,)
        assert plan.plan.hooks[0].command == f"echo {name}"
        assert plan.plan.paths == ("/var/lib/docker/volumes/new/_data",)

    def test_a_left_over_name_is_the_name_until_it_is_renamed(self) -> None:
        labels = {"hooks.template": "stop-start", COMPOSE_REPLACE: "web-1"}
        left = container("0123456789ab_d-web-1", labels, (volume("a"),), compose=("d", "web"))
        renamed = replace(left, name="d-web-1")
        before, after = one(left), one(renamed)
        assert all("docker" in hook.command for hook in before.plan.hooks)
        for plan, name in ((before, left.name), (after, renamed.name)):
            assert plan.containers == (name,)
            assert {f"stop {name} " in hook.command for hook in plan.plan.hooks} == {True, False}
        assert (before.workload, before.plan.id) == (after.workload, after.plan.id)
        assert "docker stop d-web-1" in before.go_hooks, "the Go tool called it by its final name"

    def test_the_workload_of_a_bare_container_goes_by_its_final_name(self) -> None:
        left = container("0123456789ab_db", {COMPOSE_REPLACE: "db"}, (volume("a"),))
        assert (one(left).workload, one(left).plan.id) == ("/db", "backrest_sidecar_db")
        assert one(left).containers == ("0123456789ab_db",)

    def test_a_recreate_changes_the_hooks_for_the_moment_without_the_old_container_alone(self) -> None:
        """What the passes over Compose's create, stop, remove, rename and start see."""
        labels = {"hooks.template": "stop-start"}
        old = container("d-web-1", labels, (volume("a"),), compose=("d", "web"), created=1)
        new = replace(
            old, id="f" * 64, name="0123456789ab_d-web-1", created=2, state="created",
            labels={**old.labels, COMPOSE_REPLACE: old.id},
        )  # fmt: skip
        stopped, final = replace(old, state="exited"), replace(new, name="d-web-1")
        seen = [(old,), (old, new), (stopped, new), (new,), (final,), (replace(final, state="running"),)]
        plans = [one(*containers).plan for containers in seen]
        assert [plan == plans[0] for plan in plans] == [True, True, True, False, True, True]

    def test_same_service_of_two_projects(self) -> None:
        result = rendering(container("a", compose=("a", "web")), container("b", compose=("b", "web")))
        assert [p.plan.id for p in result.plans] == ["backrest_sidecar_b_web", "backrest_sidecar_web"]
        assert "plan-id-contested" in codes(result)

    def test_withdrawn(self) -> None:
        result = rendering(container("web", {"enable": "off"}, enable=False))
        assert result.withdrawn == {"/web"}
        assert result.plans == ()

    def test_a_wrong_label_leaves_the_workload_present(self) -> None:
        owners = {"backrest_sidecar_web": Owner("/web"), "backrest_sidecar_web_db": Owner("/web#db")}
        result = rendering(container("web", {"enable": "ture"}, enable=False), owners=owners)
        assert result.plans == ()
        assert {"/web", "/web#db"} <= result.present
        (finding,) = (f for f in result.findings if f.skips)
        assert (finding.label, finding.value) == ("backrest.enable", "ture")

    def test_renamed_by_an_option(self) -> None:
        owners = {"backrest_sidecar_web": Owner("d/web")}
        result = rendering(
            container("d-web-1", compose=("d", "web")), owners=owners, include_project_name=True
        )
        assert result.renamed == (("backrest_sidecar_web", "backrest_sidecar_d_web"),)

    def test_odd_name_has_no_id(self) -> None:
        result = rendering(container("___"))
        assert codes(result) == {"no-plan-id"}


class TestHooks:
    def test_commands_in_label_order_start_before_end(self) -> None:
        plan = one(container("web", {"snapshot-start": "a,b", "snapshot-end": "c"})).plan
        assert [(h.conditions[0], h.command) for h in plan.hooks] == [
            (SNAPSHOT_START, "a"),
            (SNAPSHOT_START, "b"),
            (SNAPSHOT_END, "c"),
        ]

    def test_a_command_label_switches_the_template_off(self) -> None:
        plan = one(container("web", {"snapshot-start": "a", "hooks.template": "simple-stop-start"})).plan
        assert [h.command for h in plan.hooks] == ["a"]

    @pytest.mark.parametrize(
        ("name", "image"),
        [("backrest", "any"), ("other", "garethgeorge/backrest:v1"), ("sidecar", "any")],
    )
    def test_template_is_refused_for_what_we_sit_on(self, name: str, image: str) -> None:
        guarded = container(name, {"hooks.template": "simple-stop-start"}, image=image)
        result = rendering(guarded, snapshot={"self_id": guarded.id if name == "sidecar" else ""})
        assert result.plans[0].plan.hooks == ()
        assert "template-refused" in codes(result)

    @pytest.mark.parametrize(
        ("word", "on_error"),
        [
            ("", "ON_ERROR_FATAL"),
            ("fatal", "ON_ERROR_FATAL"),
            ("Cancel", "ON_ERROR_CANCEL"),
            ("ignore", ""),
            ("retry-1m", "ON_ERROR_RETRY_1MINUTE"),
            ("retry-10m", "ON_ERROR_RETRY_10MINUTES"),
        ],
    )
    def test_a_failed_command_before_the_backup_does_what_the_label_says(
        self, word: str, on_error: str
    ) -> None:
        labels = {"snapshot-start": "a,b", "snapshot-end": "c", "hooks.on-error": word}
        plan = one(container("web", labels)).plan
        assert [h.on_error for h in plan.hooks] == [on_error, on_error, ""]

    def test_on_error_is_inherited_by_named_plans_and_may_be_their_own(self) -> None:
        labels = {
            "snapshot-start": "a",
            "hooks.on-error": "cancel",
            "backrest.db.schedule": "1 1 * * *",
            "backrest.wal.hooks.on-error": "ignore",
        }
        result = rendering(container("web", labels))
        assert {p.plan.id: p.plan.hooks[0].on_error for p in result.plans} == {
            "backrest_sidecar_web": "ON_ERROR_CANCEL",
            "backrest_sidecar_web_db": "ON_ERROR_CANCEL",
            "backrest_sidecar_web_wal": "",
        }
        assert result.findings == ()

    def test_a_wrong_on_error_leaves_the_plan_as_it_is_and_names_the_nearest(self) -> None:
        result = rendering(container("web", {"snapshot-start": "a", "hooks.on-error": "fatel"}))
        assert result.plans == ()
        (finding,) = result.findings
        assert (finding.label, finding.hint, finding.skips) == ("backrest.hooks.on-error", "fatal", True)
        (unknown,) = rendering(container("web", {"hooks.onerror": "fatal"})).findings
        assert unknown.hint == "backrest.hooks.on-error"

    @pytest.mark.parametrize("labels", [{}, {"hooks.template": "simple-stop-start"}, {"snapshot-end": "a"}])
    def test_on_error_without_a_command_to_be_for_is_said(self, labels: dict[str, str]) -> None:
        result = rendering(container("web", {**labels, "hooks.on-error": "ignore"}))
        assert codes(result) == {"on-error-unused"}
        template = [h.on_error for h in result.plans[0].plan.hooks if "v1 stop" in h.command]
        assert template == (["ON_ERROR_FATAL"] if "hooks.template" in labels else [])

    def test_the_stop_script_knows_the_workload_that_is_meant(self) -> None:
        template = {"hooks.template": "simple-stop-start"}
        stop = one(container("d-web-1", template, compose=("d", "web"))).plan.hooks[1].command
        assert '"com.docker.compose.project": "d"' in stop
        assert '"com.docker.compose.service": "web"' in stop
        assert "has taken its name" in one(container("web", template)).plan.hooks[1].command

    def test_template_is_refused_for_a_container_that_the_engine_would_remove(self) -> None:
        job = container("job", {"hooks.template": "simple-stop-start"}, auto_remove=True)
        result = rendering(job)
        assert result.plans[0].plan.hooks == ()
        (finding,) = result.findings
        assert (finding.code, finding.label) == ("template-refused", "backrest.hooks.template")
        assert "--rm" in finding.message

    def test_template_is_refused_for_the_network_that_backrest_uses(self) -> None:
        vpn = container("vpn", {"hooks.template": "simple-stop-start"})
        backrest = container("backrest", enable=False, network_mode=f"container:{vpn.id}")
        result = rendering(vpn, backrest)
        assert "template-refused" in codes(result)

    def test_template_is_refused_for_the_container_that_serves_the_engine(self) -> None:
        proxy = container("proxy", {"hooks.template": "simple-stop-start"})
        assert "template-refused" in codes(rendering(proxy, docker_sock="tcp://proxy:2375"))
        assert "template-refused" not in codes(rendering(proxy))


class TestRetention:
    def test_inexpressible_keep_writes_none_and_says_so(self) -> None:
        result = rendering(container("web", {"keep": "daily=7,within=30d"}))
        assert result.plans[0].plan.retention is None
        assert "keep-inexpressible" in codes(result)

    def test_keep_none(self) -> None:
        assert one(container("web", {"keep": "none"})).plan.retention is None

    def test_no_default(self) -> None:
        assert one(container("web"), default_retention="").plan.retention is None


class TestVolumeLabels:
    def test_a_volume_is_left_out_wherever_it_is_mounted(self) -> None:
        web = container("web", mounts=(volume("a"), volume("cache", "/cache")))
        cache = Volume("cache", labels={"backrest.enable": "false"})
        assert one(web, volumes=(cache,)).plan.paths == ("/var/lib/docker/volumes/a/_data",)

    def test_an_enabled_volume_of_an_unlabelled_container_is_backed_up_alone(self) -> None:
        web = container("web", mounts=(volume("a"), volume("b", "/b")), enable=False)
        wanted = Volume("b", labels={"backrest.enable": "true"})
        assert one(web, volumes=(wanted,)).plan.paths == ("/var/lib/docker/volumes/b/_data",)

    def test_a_withdrawn_container_stays_withdrawn(self) -> None:
        web = container("web", {"enable": "false"}, (volume("b"),), enable=False)
        assert rendering(web, volumes=(Volume("b", labels={"backrest.enable": "true"}),)).plans == ()

    def test_excludes_of_a_volume_stay_within_it(self) -> None:
        web = container("web", mounts=(volume("a"), volume("b", "/b")))
        labelled = Volume("b", labels={"backrest.paths.exclude": "/cache,*.tmp"})
        assert one(web, volumes=(labelled,)).plan.excludes == (
            "/var/lib/docker/volumes/b/_data/cache",
            "/var/lib/docker/volumes/b/_data/**/*.tmp",
        )


class TestNamedPlans:
    def test_named_plans_inherit_and_get_an_id_of_their_own(self) -> None:
        web = container("web", {"keep": "last=2", "backrest.db.schedule": "0 5 * * *"})
        result = rendering(web)
        plans = {p.plan.id: p.plan for p in result.plans}
        assert set(plans) == {"backrest_sidecar_web", "backrest_sidecar_web_db"}
        assert plans["backrest_sidecar_web_db"].cron == "0 5 * * *"
        assert plans["backrest_sidecar_web_db"].retention == {"policyKeepLastN": 2}


def test_both_day_fields_are_told() -> None:
    assert "both-day-fields" in codes(rendering(container("web", {"schedule": "0 0 13 * 5"})))


def test_memo_changes_nothing_and_reuses_what_has_not_changed() -> None:
    several = tuple(container(f"c{n}", {"schedule": "T 1 * * *"}) for n in range(5))
    memo = Memo()
    options = settings()
    first = render(EngineSnapshot(several), view(), {}, options, memo=memo)
    second = render(EngineSnapshot((*several[:4], container("new"))), view(), {}, options, memo=memo)
    fresh = render(EngineSnapshot((*several[:4], container("new"))), view(), {}, options)
    assert second == fresh
    reused = {id(p) for p in first.plans} & {id(p) for p in second.plans}
    assert len(reused) == 4


def test_what_is_the_same_of_all_replicas_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    labels = {"paths.include": "/v,/nope", "paths.exclude": "/zzz"}
    replicas = [
        container(f"web-{n}", labels, (volume("v", "/v"),), compose=("shop", "web", str(n)))
        for n in (1, 2, 3)
    ]
    say_findings(rendering(*replicas).findings)
    told = [r.__dict__["fields"] for r in caplog.records]
    said = [(fields["code"], fields.get("also")) for fields in told]
    assert said == [("path-under-no-mount", ["web-2", "web-3"]), ("exclude-under-no-mount", None)], (
        caplog.text
    )
