"""Lint: what it says about whole files, where, and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.cli import run
from sidecar.labels.values import LabelPolicy
from sidecar.lint.checks import LintOptions, lint_files
from sidecar.lint.command import run_lint
from sidecar.lint.findings import LintFinding, Place
from sidecar.lint.format import format_findings

ROOT = Path(__file__).parents[3]
WRONG = "testdata/lint/wrong/compose.yaml"
STACK = "testdata/lint/stack/compose.yaml"
OVERRIDE = "testdata/lint/stack/override.yaml"
BOTH = (
    "services:\n  web:\n    labels: {backrest.enable: 'true'}\n    image: example\n    volumes: ['data:/data']\n"
    "volumes: {data: }\n"
)


@pytest.fixture(autouse=True)
def _in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def found(
    *paths: str | Path, env: dict[str, str] | None = None, policy: LabelPolicy | None = None
) -> tuple[LintFinding, ...]:
    options = LintOptions(policy or LabelPolicy())
    return lint_files([str(path) for path in paths], options=options, env=env or {})


def codes(*paths: str | Path, policy: LabelPolicy | None = None) -> list[str]:
    return [finding.code for finding in found(*paths, policy=policy)]


def test_a_file_full_of_mistakes() -> None:
    code, text = run_lint([WRONG], "text", options=LintOptions(), env={})
    assert code == 3
    assert text == (ROOT / "testdata/lint/wrong/expected.txt").read_text()


def test_a_stack_that_is_right() -> None:
    assert run_lint([STACK], "text", options=LintOptions(), env={}) == (0, "")


def test_files_are_merged_and_the_place_is_the_file_that_says_it() -> None:
    (finding,) = found(STACK, OVERRIDE)
    assert finding.place == Place(OVERRIDE, 4, 24)
    assert finding.hint == "true"


def test_a_lone_dollar_is_a_note_and_the_label_counts(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(
        BOTH.replace("'true'}", "'true', backrest.snapshot-start: 'docker exec -it a sh -c $(x)'}")
    )
    assert [(f.level, f.code) for f in found(file)] == [("note", "lone-dollar"), ("error", "no-terminal")]


def test_notes_alone_are_clean(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(BOTH.replace("'true'}", "'true', backrest.schedule: 0 0 13 * 5}"))
    code, text = run_lint([str(file)], "text", options=LintOptions(), env={})
    assert (code, "both-day-fields" in text) == (0, True)


def test_the_environment_wins_over_dotenv() -> None:
    (finding,) = found(STACK, env={"SCHEDULE": "@daily"})
    assert (finding.code, finding.place.file) == ("wrong-label", "testdata/lint/stack/base.yaml")


def test_inspect_output() -> None:
    findings = found("testdata/lint/inspect.json", "testdata/lint/ps.json")
    assert [(f.code, f.label, f.place.file.rpartition("/")[2], f.place.line) for f in findings] == [
        ("wrong-label", "backrest.keep", "inspect.json", 28),
        ("image-label", "backrest.snapshot-end", "inspect.json", 29),
        ("unknown-label", "backrest.include", "inspect.json", 41),
        ("unknown-label", "backrest.shedule", "ps.json", 2),
    ]


def test_policy(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(BOTH.replace("'true'}", "'true', backrest.snapshot-start: 'echo {{ .X }}'}"))
    assert codes(file) == ["wrong-label"]
    assert codes(file, policy=LabelPolicy(hook_templates=True)) == []
    assert codes(file, policy=LabelPolicy(hooks="none")) == ["hooks-refused"]


def test_two_projects_with_one_service_name_collide_unless_the_project_is_in_the_id(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files.append(str(tmp_path / name / "compose.yaml"))
        Path(files[-1]).write_text(BOTH)

    def separate(*, include_project: bool) -> list[str]:
        options = LintOptions(include_project=include_project)
        return [f.code for f in lint_files(files, options=options, env={}, separate=True)]

    assert separate(include_project=False) == ["plan-id-collides"]
    assert separate(include_project=True) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\xff\xfe", "unreadable"),
        (b"a: [1", "not-yaml"),
        (b"a: &x [*x]", "not-yaml"),
        (b"a: \t b\n\t- c", "not-yaml"),
        (b"- just\n- a list\n", "invalid-compose"),
        (b"services: {web: [1]}", "invalid-compose"),
        (b"services: {web: {labels: {backrest.enable: [1]}}}", "invalid-compose"),
        (b"[1, 2", "not-json"),
        (b'[{"a": 1}]', "not-inspect"),
        (b"[" * 100_000, "not-json"),
        (b"a: " + b"[" * 1000, "not-yaml"),
        (b"services: {web: {extends: other}}", "extends"),
        (b"services: {web: {extends: web}}", "extends"),
        (b"services: {a: {extends: b}, b: {extends: a}}", "extends"),
        (b"services: {web: {extends: {file: missing.yaml, service: x}}}", "unreadable"),
        (b"include: [missing.yaml]", "unreadable"),
        (b"x: " + b"a" * (3 << 20), "unreadable"),
        (b"\0", "not-yaml"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_finding(tmp_path: Path, content: bytes, code: str) -> None:
    file = tmp_path / "compose.yaml"
    file.write_bytes(content)
    findings = found(file)
    assert code in [finding.code for finding in findings]
    assert all(finding.message.isprintable() for finding in findings)


@pytest.mark.parametrize("content", [b"[]", b"services: {}\n", b"services: {web: {image: x}}"])
def test_a_file_without_labels_is_clean(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "compose.yaml"
    file.write_bytes(content)
    assert codes(file) == []


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"services:\n", b"services: {web: }", b"a: {b: c}"])
def test_a_file_that_compose_refuses_is_not_clean(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "compose.yaml"
    file.write_bytes(content)
    assert "invalid-compose" in codes(file)


def test_what_a_part_of_a_project_lacks_is_a_note_where_each_file_stands_for_itself(tmp_path: Path) -> None:
    file = tmp_path / "compose.override.yaml"
    file.write_text("services: {web: {labels: {backrest.enable: yes}, volumes: ['data:/data']}}\n")
    for separate, level in ((True, "note"), (False, "error")):
        findings = lint_files([str(file)], options=LintOptions(), env={}, separate=separate)
        assert [(f.code, f.level) for f in findings] == [("incomplete-compose", level)] * 2


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        assert codes(path) == ["unreadable"]


def test_includes_are_read_once_each(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("include: [part.yaml, {path: [part.yaml]}]\nservices: {}\n")
    (tmp_path / "part.yaml").write_text("include: [compose.yaml, part.yaml]\n" + BOTH.replace("true", "ture"))
    findings = found(tmp_path / "compose.yaml")
    assert {finding.code for finding in findings} == {"include", "wrong-label"}
    assert [Path(f.place.file).name for f in findings if f.code == "wrong-label"] == ["part.yaml"]


def test_a_bomb_of_aliases_is_harmless(tmp_path: Path) -> None:
    lines = ["a0: &a0 {backrest.enable: 'true'}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    file = tmp_path / "compose.yaml"
    file.write_text("\n".join([*lines, BOTH]))
    assert set(codes(file)) == {"invalid-compose"}  # keys that Compose does not know, and nothing else
    file.write_text("\n".join([f"x-{line}" for line in lines] + [BOTH]))
    assert codes(file) == []


FINDING = LintFinding(Place("a,b:c.yaml", 3, 7), "note", "x-y", 'web: 100% "odd"', "h", "backrest.keep")


def test_formats() -> None:
    assert format_findings([FINDING], "text") == 'a,b:c.yaml:3:7: note: web: 100% "odd" [x-y]\n'
    assert format_findings([FINDING], "github") == (
        '::notice file=a%2Cb%3Ac.yaml,line=3,col=7,title=x-y::web: 100%25 "odd"\n'
    )
    assert json.loads(format_findings([FINDING], "json")) == [
        {
            "file": "a,b:c.yaml",
            "line": 3,
            "column": 7,
            "level": "note",
            "code": "x-y",
            "message": 'web: 100% "odd"',
            "label": "backrest.keep",
            "hint": "h",
        }
    ]
    assert format_findings([], "text") == ""
    assert format_findings([], "json") == "[]\n"


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCHEDULE", "REPO", "KEEP", "COMPOSE_PROJECT_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert run(["lint", STACK]) == 0
    assert capsys.readouterr().out == ""
    assert run(["lint", "--format", "json", STACK, OVERRIDE]) == 3
    assert [f["code"] for f in json.loads(capsys.readouterr().out)] == ["wrong-label"]
    monkeypatch.setenv("BACKREST_SIDECAR_HOOKS", "none")
    assert run(["lint", "--separate", STACK]) == 3
    assert "hooks-refused" in capsys.readouterr().out
    assert run(["lint", "--hooks", "all", STACK]) == 0
    assert run(["lint", "--hooks", "some", STACK]) == 1
    assert run(["lint"]) == 1


def test_standard_input() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "lint", "-"],
        input=BOTH.replace("true", "ture").encode(),
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "COMPOSE_PROJECT_NAME": "x"},
    )
    assert done.returncode == 3
    assert done.stdout.startswith(b"-:3:")


def test_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys, sidecar.lint.command as c; from sidecar.lint.checks import LintOptions as O;"
        f"c.run_lint([{STACK!r}], 'text', options=O(), env={{}});"
        "heavy = {'pydantic', 'docker', 'croniter', 'rich', 'requests', 'hashlib', 'json'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


YAML_TEXT = st.text(st.sampled_from("ab:-[]{}'\"&*!<>|%@#,$ \n\t?servicelabk.="), max_size=80)


@settings(max_examples=150, deadline=None)
@given(YAML_TEXT, st.sampled_from(["", "services:\n  web:\n    labels:\n      ", "services: {web: ", "["]))
def test_any_text_is_clean_or_has_findings(text: str, start: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "compose.yaml")
        file.write_text(start + text)
        for finding in found(file):
            assert finding.message.isprintable()
