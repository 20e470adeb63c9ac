"""A dry run tells the steps that a run does, and what is forgotten where several plans share a place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.backup.options import BackupOptions
from sidecar.backup.run import run_backup_once
from sidecar.engine.model import Container
from sidecar.engine.types import RunSpec
from tests.unit.quiesce_rig import FakeEngine, tools, workload

Log = pytest.LogCaptureFixture
ON: dict[str, Any] = {"backrest__enable": "true"}
LOGS: dict[str, Any] = {"backrest__logs__enable": "true"}


class Repository:
    """What the engine runs is noted; each backup makes a snapshot, of everything that is given as ``there``."""

    def __init__(self, there: Iterable[str] = ()) -> None:
        self.there = [(path, "") for path in there]
        self.specs: list[RunSpec] = []

    def script(self, _engine: FakeEngine, spec: RunSpec) -> tuple[int, list[str]]:
        command = spec.command
        self.specs.append(spec)
        if "snapshots" in command:
            listed = [
                {"id": f"{number:064x}", "paths": [path], "hostname": "host1", "tags": [tag]}
                for number, (path, tag) in enumerate(self.there)
            ]
            return 0, [json.dumps(listed)]
        if command[:2] == ("rcb", "backup"):
            self.there += [("/volumes", ""), ("/volumes/app", "")]
            return 0, ["Backup container exit code: 0"]
        if "backup" in command:
            self.there += [(path, "") for path in command[command.index("--") + 1 :]]
        return 0, ["snapshot 01234567 saved"]

    def commands(self, verb: str) -> list[str]:
        """What restic was told to do, as one would type it."""
        return [
            " ".join(("restic", *spec.command[spec.command.index(verb) :]))
            for spec in self.specs
            if verb in spec.command and spec.command[:2] != ("rcb", "backup")
        ]


def run(
    containers: Iterable[Container], state_dir: Path, repository: Repository | None = None, **options: Any
) -> tuple[int, Repository]:
    repository = repository or Repository()
    engine = FakeEngine(script=repository.script)
    for container in containers:
        engine.add(container)
    outcome = run_backup_once(engine, BackupOptions(state_dir=state_dir, **options), tools(engine), {})
    return outcome.exit_code, repository


def told(containers: Iterable[Container], state_dir: Path, log: Log, **options: Any) -> list[str]:
    """Return what a dry run says."""
    log.clear()
    with log.at_level("INFO"):
        run(containers, state_dir, dry_run=True, **options)
    return [r.__dict__["fields"]["does"] for r in log.records if r.message == "dry-run.step"]


def reasons(log: Log, event: str) -> list[str]:
    return [r.__dict__["fields"]["reason"] for r in log.records if r.message == event]


def app(**labels: str) -> Container:
    return workload("app", quiesce=False, **{**ON, **labels})


KEEPS = {
    "one plan": [app(backrest__keep="daily=7")],
    "two plans of one place": [app(backrest__keep="daily=7", backrest__logs__keep="yearly=3", **LOGS)],
    "two plans, one without a keep": [app(backrest__logs__keep="last=2", **LOGS)],
    "two plans, one wrong": [app(backrest__keep="daily=7", backrest__logs__keep="nonsense", **LOGS)],
    "two plans, one withdrawn": [app(backrest__keep="daily=7", backrest__logs__enable="false")],
    "two projects with one service": [
        app(backrest__keep="last=2"),
        replace(workload("app", project="zoo", quiesce=False, **ON, backrest__keep="last=9"), id="zoo"),
    ],
    "one plan and one that is only taken down": [app(backrest__keep="last=2"), workload("db")],
    "a keep that forgets nothing": [app(backrest__keep="all")],
}


@pytest.mark.parametrize("kind", ["rcb", "restic"])
@pytest.mark.parametrize("case", KEEPS)
def test_what_a_dry_run_says_is_forgotten_is_what_a_run_forgets(
    tmp_path: Path, caplog: Log, kind: str, case: str
) -> None:
    lines = told(KEEPS[case], tmp_path, caplog, kind=kind)
    announced = [line.removeprefix("forget: ") for line in lines if line.startswith("forget: ")]
    _, repository = run(KEEPS[case], tmp_path, kind=kind)
    assert repository.commands("forget") == announced


@pytest.mark.parametrize("kind", ["rcb", "restic"])
def test_a_dry_run_says_what_is_left_out(tmp_path: Path, caplog: Log, kind: str) -> None:
    first = told(KEEPS["two plans, one wrong"], tmp_path, caplog, kind=kind)[0]
    assert first.startswith("leave out: ")
    assert "nonsense" in first


def test_a_dry_run_finds_that_rcb_cannot_be_run(tmp_path: Path) -> None:
    remote: dict[str, Any] = {"docker_host": "tcp://far:2375", "kind": "rcb"}
    for dry_run in (True, False):
        code, repository = run([app()], tmp_path, dry_run=dry_run, **remote)
        assert (code, repository.specs) == (3, [])


# --- what is forgotten under rcb, which has one place for all plans of a service


def forgets(tmp_path: Path, *containers: Container, kind: str = "rcb") -> list[str]:
    return run(containers, tmp_path, kind=kind)[1].commands("forget")


def test_rcb_forgets_by_the_most_generous_of_several_keeps(tmp_path: Path) -> None:
    plans = app(
        backrest__keep="daily=7,last=2,within=1y",
        backrest__logs__keep="daily=3,yearly=10,within=500d",
        **LOGS,
    )
    (command,) = forgets(tmp_path, plans)
    flags = command.removeprefix("restic forget --group-by paths --path /volumes/app ")
    assert flags == "--keep-last 2 --keep-daily 7 --keep-yearly 10 --keep-within 1y500d --prune"


@pytest.mark.parametrize("labels", [{}, {"backrest__keep": "all"}, {"backrest__keep": "none"}])
def test_rcb_forgets_nothing_where_one_of_the_plans_wants_that(
    tmp_path: Path, labels: dict[str, str]
) -> None:
    assert forgets(tmp_path, app(backrest__logs__keep="last=1", **LOGS, **labels)) == []


def test_rcb_forgets_nothing_where_nobody_knows_what_one_of_the_plans_wants(
    tmp_path: Path, caplog: Log
) -> None:
    assert forgets(tmp_path, *KEEPS["two plans, one wrong"]) == []
    assert "a label of shop/app is wrong" in reasons(caplog, "retention.none")[0]


def test_rcb_puts_the_keeps_of_two_projects_together_which_share_its_place(tmp_path: Path) -> None:
    containers = KEEPS["two projects with one service"]
    assert forgets(tmp_path, *containers) == [
        "restic forget --group-by paths --path /volumes/app --keep-last 9 --prune"
    ]
    _, repository = run(containers, tmp_path, kind="rcb", include_project=True)
    assert (
        repository.commands("forget") == []
    )  # rcb's directories are apart then, and none of these has a snapshot


# --- restic has one place for each workload, and a tag for each plan


def test_each_plan_of_a_workload_forgets_its_own(tmp_path: Path) -> None:
    commands = forgets(tmp_path, *KEEPS["two plans of one place"], kind="restic")
    assert [command.partition("/volumes/shop/app ")[2] for command in commands] == [
        "--tag plan:backrest_sidecar_app --host host1 --keep-daily 7 --prune",
        "--tag plan:backrest_sidecar_app_logs --host host1 --keep-yearly 3 --prune",
    ]


@pytest.mark.parametrize("case", ["two plans, one wrong", "two plans, one withdrawn"])
def test_a_typo_in_one_plan_does_not_hand_its_snapshots_to_the_other(tmp_path: Path, case: str) -> None:
    (command,) = forgets(tmp_path, *KEEPS[case], kind="restic")
    assert "--tag plan:backrest_sidecar_app " in command
    assert "--tag" not in forgets(tmp_path, *KEEPS["one plan"], kind="restic")[0]


def test_where_the_history_begins_anew_is_said_once(tmp_path: Path, caplog: Log) -> None:
    repository = Repository(there=["/volumes/app", "/volumes/elsewhere"])
    for _ in range(2):
        run([app(), workload("new", **ON)], tmp_path, repository, kind="restic")
    said = [r.__dict__["fields"] for r in caplog.records if r.message == "backup.new_history"]
    assert [(fields["workload"], fields["old"], fields["path"]) for fields in said] == [
        ("shop/app", "/volumes/app", "/volumes/shop/app")
    ]


def steps_of(
    containers: list[Container], tmp_path: Path, log: Log, **options: Any
) -> Callable[[str], list[int]]:
    lines = told(containers, tmp_path, log, **options)
    return lambda start: [number for number, line in enumerate(lines) if line.startswith(start)]


def test_a_run_by_rcb_is_told_in_its_order(tmp_path: Path, caplog: Log) -> None:
    containers = [workload("db", **ON, backrest__keep="last=2")]
    at = steps_of(containers, tmp_path, caplog, kind="rcb")
    order = [
        "list the",
        "stop db",
        "run `rcb backup`",
        "start db",
        "list the snapshots again",
        "say that db",
        "forget",
    ]
    positions = [at(start)[-1] if start == "forget" else at(start)[0] for start in order]
    assert positions == sorted(positions)
