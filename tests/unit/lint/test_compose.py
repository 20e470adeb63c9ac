"""Compose files: labels and mounts as Compose would give them to the engine, with their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.lint.compose import ComposeProject
from sidecar.lint.findings import LintFinding, Target
from sidecar.lint.yaml_tree import parse_yaml


def load(directory: Path, *texts: str, **env: str) -> tuple[dict[str, Target], list[LintFinding]]:
    findings: list[LintFinding] = []
    trees = []
    for number, text in enumerate(texts):
        file = str(directory / f"{number}.yaml")
        Path(file).write_text(text)
        trees.append((file, parse_yaml(text, file)))
    targets = ComposeProject(env, findings, complete=False).load(trees)
    return {target.name: target for target in targets}, [f for f in findings if f.level == "error"]


def labels(target: Target) -> dict[str, str]:
    return {key: label.value for key, label in target.labels.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("labels: {a: b, c: 1, d: true, e: , f: ''}", {"a": "b", "c": "1", "d": "true", "e": "", "f": ""}),
        ("labels: ['a=b', 'c=d=e', 'f', 'g=']", {"a": "b", "c": "d=e", "f": "", "g": ""}),
        ("labels: {<<: {a: 1, b: 2}, b: 3}", {"a": "1", "b": "3"}),
        ("labels: {<<: [{a: 1}, {a: 2, b: 2}]}", {"a": "1", "b": "2"}),
        ("labels: {a: '$$x ${Y:-z}'}", {"a": "$x z"}),
        (
            "labels: {a: 1.0, b: 010, c: 1_000, d: yes, e: 0o10, f: 1e6, g: ~}",
            {"a": "1", "b": "8", "c": "1000", "d": "yes", "e": "8", "f": "1e+06", "g": ""},
        ),
        ("labels: ['a.${Y:-z}=$$', 'b = c', 'd=$1']", {"a.z": "$", "b ": " c", "d": "$1"}),
        ("labels: {'$$k': v, x-y: gone}", {"$$k": "v"}),
    ],
)
def test_labels(tmp_path: Path, text: str, expected: dict[str, str]) -> None:
    targets, _ = load(tmp_path, f"services:\n  web:\n    {text}\n")
    assert labels(targets["web"]) == expected


def test_places(tmp_path: Path) -> None:
    text = 'services:\n  web:\n    labels:\n      a: x\n      b: "y"\n'
    text += '  db:\n    labels:\n      - c=x\n      - "d=y"\n'
    targets, _ = load(tmp_path, text)
    web, db = targets["web"].labels, targets["db"].labels
    places = [web["a"], web["b"], db["c"], db["d"]]
    assert [(p.key_place[1:], p.value_place[1:]) for p in places] == [
        ((4, 7), (4, 10)),
        ((5, 7), (5, 10)),
        ((8, 9), (8, 11)),
        ((9, 9), (9, 12)),
    ]


def test_mounts(tmp_path: Path) -> None:
    text = """
services:
  web:
    volumes: [data:/data:ro, ./rel:/rel, /abs:/abs, ~/home:/home, /anon, own:/own, ext:/ext]
    tmpfs: [/tmp:size=1m]
  long:
    volumes:
      - {type: volume, source: data, target: /data, read_only: true}
      - {type: bind, source: ./rel, target: /rel}
      - {type: tmpfs, target: /tmp}
      - {type: volume, source: data, target: /again}
    volumes_from: [web:ro]
volumes:
  data:
  own: {name: own-name}
  ext: {external: true}
"""
    targets, _ = load(tmp_path, f"name: shop{text}", HOME="/h")
    web = targets["web"].container
    long = targets["long"].container
    assert web is not None
    assert long is not None
    found = {m.destination: (m.type, m.name or m.source) for m in web.mounts}
    assert found == {
        "/data": ("volume", "shop_data"),
        "/rel": ("bind", str(tmp_path / "rel")),
        "/abs": ("bind", "/abs"),
        "/home": ("bind", "/h/home"),
        "/anon": ("volume", "(anonymous)"),
        "/own": ("volume", "own-name"),
        "/ext": ("volume", "ext"),
        "/tmp": ("tmpfs", ""),
    }
    assert {m.destination for m in long.mounts} == {*found, "/again"}


def test_names(tmp_path: Path) -> None:
    text = "services: {web: {}, named: {container_name: $N}}\n"
    directory = tmp_path / "My.Shop"
    directory.mkdir()
    for texts, env, project in (
        ((text,), {}, "myshop"),
        ((f"name: a\n{text}", "name: b\n"), {}, "b"),
        ((f"name: a\n{text}",), {"COMPOSE_PROJECT_NAME": "c"}, "c"),
    ):
        targets, _ = load(directory, *texts, N="n", **env)
        container = targets["web"].container
        assert container is not None
        assert (container.name, container.project, container.service) == (f"{project}-web-1", project, "web")
        named = targets["named"].container
        assert named is not None
        assert named.name == "n"


def test_extends_takes_labels_and_mounts_and_own_ones_win(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yaml").write_text(
        "services:\n  base: {labels: {a: 1, b: 1}, volumes: [vx:/x], extends: deep}\n  deep: {labels: [c=1, b=0]}\n"
    )
    text = "services:\n  web:\n    extends: {file: sub/base.yaml, service: base}\n    labels: [b=2]\n"
    targets, findings = load(tmp_path, text)
    assert findings == []
    assert labels(targets["web"]) == {"a": "1", "b": "2", "c": "1"}
    container = targets["web"].container
    assert container is not None
    assert [m.destination for m in container.mounts] == ["/x"]


def test_merging_files(tmp_path: Path) -> None:
    first = "services: {web: {labels: {a: 1, b: 1}, volumes: [vx:/x, vy:/y]}, "
    first += "db: {labels: {a: 1}}, old: {labels: [a]}}\n"
    second = (
        "services:\n"
        "  web: {labels: [b=2], volumes: [vz:/x]}\n"
        "  db: {labels: !override {c: 1}, deploy: {labels: {a: 2, d: 1}}}\n"
        "  old: {labels: !reset null}\n"
    )
    targets, _ = load(tmp_path, "name: p\n" + first, second)
    assert labels(targets["web"]) == {"a": "1", "b": "2"}
    container = targets["web"].container
    assert container is not None
    assert {m.destination: m.name for m in container.mounts} == {"/x": "p_vz", "/y": "p_vy"}
    assert labels(targets["db"]) == {"a": "2", "d": "1", "c": "1"}
    assert targets["db"].deploy_labels == ("a", "d")
    assert labels(targets["old"]) == {}


def test_volume_labels_and_several_documents(tmp_path: Path) -> None:
    text = "volumes: {data: {labels: {a: 1}}}\n---\nvolumes: {data: {labels: [b=2]}}\n"
    targets, _ = load(tmp_path, "name: p\n" + text)
    assert labels(targets["p_data"]) == {"a": "1", "b": "2"}
    assert targets["p_data"].container is None


def test_include_has_its_own_dotenv(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / ".env").write_text("V=part\nW=part\n")
    (tmp_path / ".env").write_text("W=main\n")
    (tmp_path / "part" / "compose.yaml").write_text("services: {db: {labels: {v: $V, w: $W}}}\n")
    targets, findings = load(
        tmp_path, "include:\n  - path: part/compose.yaml\nservices: {web: {labels: {w: $W}}}\n"
    )
    assert findings == []
    assert labels(targets["db"]) == {"v": "part", "w": "main"}
    assert labels(targets["web"]) == {"w": "main"}


def test_duplicate_keys_are_reported(tmp_path: Path) -> None:
    _, findings = load(tmp_path, "services:\n  web: {labels: {a: 1, a: 2}}\n  web: {}\n")
    assert [(f.code, f.place.line) for f in findings] == [("duplicate-key", 2), ("duplicate-key", 3)]


def test_labels_of_a_file_stand_in_that_file_and_weaker_than_those_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "web.labels").write_text("# ours\na=1\nb='2'\n")
    targets, findings = load(tmp_path, "services: {web: {label_file: web.labels, labels: [b=3]}}\n")
    assert findings == []
    assert labels(targets["web"]) == {"a": "1", "b": "3"}
    assert targets["web"].labels["a"].value_place == (str(tmp_path / "web.labels"), 2, 1)
    _, findings = load(tmp_path, "services: {web: {label_file: none.labels}}\n")
    assert [(f.code, f.place.line) for f in findings] == [("label-file", 1)]


@pytest.mark.parametrize(
    "path", ["oci://example/app:1", "https://example.org/app.git", "git@example.org:a/b.git"]
)
def test_what_lies_elsewhere_is_noted_and_not_missed(tmp_path: Path, path: str) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(f"include: ['{path}']\nservices: {{web: {{image: x, volumes: ['theirs:/t']}}}}\n")
    findings: list[LintFinding] = []
    ComposeProject({}, findings).load([(str(file), parse_yaml(file.read_text(), str(file)))])
    assert [(f.level, f.code) for f in findings] == [("note", "remote-file"), ("note", "incomplete-compose")]


def test_volumes_from_takes_mounts_of_services_and_admits_what_it_cannot_see(tmp_path: Path) -> None:
    text = "services: {a: {volumes: ['/a:/a']}, b: {volumes_from: [a], volumes: ['/b:/b']}, c: {volumes_from: [b]}"
    targets, _ = load(tmp_path, text + ", d: {volumes_from: ['container:x']}, e: {volumes_from: [d, a]}}\n")
    seen = {
        name: ([m.destination for m in target.container.mounts], target.all_mounts)
        for name, target in targets.items()
        if target.container
    }
    assert seen["c"] == (["/a", "/b"], True)
    assert seen["d"] == ([], False)
    assert seen["e"] == (["/a"], False)
