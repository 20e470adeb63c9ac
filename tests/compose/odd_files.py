"""Small made-up Compose projects, mostly sane and a little odd, the same for the same number on every machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

_ODD = 0.015
"""How often an odd part is taken where a sane one could stand."""

_SCALARS = (
    "true", '"true"', "yes", "no", "1.0", "010", "1_000", "null", "", "a b", "$X", "${X}", "${A}", "${A:-d}",
    "${X:-d}", "${X:+y}", "$$A", "$1", "a$", "$(date)", '"a: b"', "12", "${A:-${X:-z}}", "0 3 * * *", ".5", "1e6",
)  # fmt: skip
_ODD_SCALARS = (
    "0o10", "~", "2024-01-01", '"2024-01-01"', "0x1F", "-1", "+1", ".inf", "'it''s'", "${X-}", "${A:+y}",
    '"${A} ${X:-q}"', "${X:?no}", "${", "${}", "${1}", "${X:-{}}", "a#b", "a #b", "!!str 010", "!foo 1",
    '!!int "5"', "!!float 1", "!!bool yes", "[a, b]", "{a: b}", "[]", "{}", "*x", "08", "1:30",
    "99999999999999999999", "C:\\x", '"\\t"', '"a\\nb"', "${A:-a}b}c", "$A$A", "${EMPTY:-e}", "${EMPTY-e}", "${A",
    "$", '"$"', "|\n          block\n          text", ">-\n          folded\n          text", "0b11", "Null",
    '"${COMPOSE_PROJECT_NAME}"',
)  # fmt: skip
_KEYS = (
    "backrest.enable",
    "backrest.repo",
    "a",
    '"b"',
    "a.b",
    '"a b"',
    "${A}",
    '"$X"',
    "a/b",
    "backrest.${A}.x",
)
_ODD_KEYS = ("1", "true", "yes", "null", "2024-01-01", "<<", "x-y", "é", "a")
_ITEMS = (
    "a=b", "a = b", "a", "a=", "=b", "backrest.enable=true", "backrest.${A}.enable=1", "a=$1", '"x=a: b"',
    "$A=$A", "a==b", "b=c", "c=1.0", "y=$$z",
)  # fmt: skip
_ODD_ITEMS = (
    "backrest.enable: true", '"backrest.enable: true"', "x=a: b", "'x=a: b'", "${A}=${X:-v}", "a=$(x)", "5", "true",
    "null", "~", '"a=b"', "\"a='b'\"", "{a: b}", "[a]", "a=b # c", "a=b#c", "x=${", "1.0", "2024-01-01", "", "- a",
    "z=!x", "!!str 5", "q=${A:-${X:-n}}",
)  # fmt: skip
_MOUNTS = (
    "data:/data", "data:/data:ro", "data:/data/", "./x:/x", "../x:/x", "/abs:/abs", "~/h:/h", "/anon",
    "C:\\Users\\me:/data", '"C:/x:/d"', "${X:-./d}:/d", "${X:-data}:/d:rw", "/a//b:/a//b", "/a/../b:/c/./d",
    ".:/dot", "{type: volume, source: data, target: /l}", "{type: bind, source: ./r, target: /l}",
    "{type: tmpfs, target: /t}", "{type: volume, target: /anon2, read_only: true}", "data:/data2:nocopy",
    "ext:/ext", "named:/named",
)  # fmt: skip
_ODD_MOUNTS = (
    "a", "ab", "data", "data:", '":/x"', "a:b:c:d", "C:/d", "c:/d:ro", "\\\\host\\s:/d", "$X:/x", "${A}:/a", "~:/h",
    "undeclared:/u", "5", "{type: bind, target: /l}", "{source: data, target: /l}", "{type: volume, source: data}",
    '{type: bind, source: "$A", target: /l, read_only: "yes"}', "{type: npipe, source: a, target: b}",
    "{type: odd, source: a, target: b}", "null", "[a]", "true", "{type: bind, source: x/y, target: rel}",
    "{type: volume, source: data, target: /l/, read_only: maybe}", '"/x:/x:ro,z"',
    "{type: image, source: busybox, target: /img}", "{type: bind, source: ~/q, target: /q}", "${A:-x}${X}:/t",
)  # fmt: skip
_VOLUMES = ("", " {}", ' {name: "n-$A"}', " {external: true}", " {labels: {a: 1.0}}")
_ODD_VOLUMES = (
    ' {external: "yes"}', " {external: {name: en}}", " {external: true, labels: {a: b}}", " x", " {name: 5}",
    " {labels: [a=b, a=b]}", ' {labels: ["a: b"]}', " {external: false}", " {name: x, external: {name: x}}",
)  # fmt: skip
_EXTENDS = ("web", "db", "{service: web}", "{file: base.yaml, service: b}", "{file: base.yaml, service: c}")
_ODD_EXTENDS = (
    "nothing", "{file: base.yaml, service: none}", "{file: none.yaml, service: b}", "{file: base.yaml}", "5", "[a]",
    "{file: sub/base.yaml, service: s}",
)  # fmt: skip
_LABEL_FILES = ("l.labels", "[l.labels, m.labels]", "sub/s.labels")
_ODD_LABEL_FILES = ("./none.labels", "bad.labels", "5", "[l.labels, l.labels]")
_MORE = (
    "scale: 2", "profiles: [debug]", 'ports: ["80:80"]', "restart: always", "user: $A", "x-any: {a: 1}",
    "container_name: named", "environment: {A: }", 'volumes_from: ["container:x"]', "tmpfs: [/t, /u]",
    "tmpfs: /t:size=1m", 'privileged: "yes"', "build: .", "stop_signal: 9x",
)  # fmt: skip
_ODD_MORE = (
    "volume: x", "label: {a: b}", "privileged: $A", "read_only: ${X}", "depends_on: [zz]", "networks: [nn]",
    "secrets: [s]", "healthcheck: {test: [a]}", "command: 5", "entrypoint: [5]", "cpus: x", "init: 1", "user: 5",
    "hostname: true", "tmpfs: [/t, /t]", "tmpfs: [/data]", "volumes_from: [zz:ro]", "volumes_from: text",
    "build: 5", "build: {}", 'environment: ["A: b"]', 'container_name: "!"', "depends_on: [web]",
)  # fmt: skip
_INCLUDES = (
    " [inc.yaml]", " [sub/inc.yaml]", "\n  - path: inc.yaml\n    env_file: vars.env",
    "\n  - path: [inc.yaml, inc2.yaml]", "\n  - {path: sub/inc.yaml, project_directory: .}",
    "\n  - path: sub/inc.yaml\n    env_file: [vars.env, v2.env]", " [nest.yaml]",
)  # fmt: skip
_ODD_INCLUDES = (
    " inc.yaml", " [none.yaml]", " []", " ", " [5]", " [inc.yaml, inc.yaml]", " [cyc.yaml]",
    "\n  - {path: inc.yaml, env_file: none.env}", "\n  - {path: inc.yaml, other: x}",
)  # fmt: skip
_PROJECTS = ("proj", "p_1", '"${A}-x"')
_ODD_PROJECTS = ("Proj", '"$X"', "5", '""', "-x", "[a]")
_VERSIONS = ('"3"', '"3.8"')
_ODD_VERSIONS = ("3", "")
_WHOLE = (
    "", "# c\n", "a\n", "services:\n", "services: []\n", "---\n---\n", "services: {a: {image: x}}\n---\n", "a: 1\n",
    "services: {a: {image: x}}\n---\nservices: {a: {labels: [b=c]}}\n",
)  # fmt: skip
_DOTENVS = (
    "COMPOSE_PROJECT_NAME=fromenv\nA=1\n", "COMPOSE_PROJECT_NAME=Bad Name\n", "A b=1\n", 'A="open\n', "A=$\n",
    "A=${\n", "A=$(x)\n", "1A=x\nA=y\n", "COMPOSE_PROJECT_NAME=\n", "A=1\nA=$A$A\n",
)  # fmt: skip
_BESIDE = {
    "base.yaml": 'services:\n  b:\n    image: b\n    labels: {a: base, ba: 1.0, "c$A": "$A"}\n'
    "    volumes: [./bx:/bx, data:/data]\n  c:\n    extends: {file: sub/base.yaml, service: s}\n"
    "    labels: [cc=1]\n",
    "sub/base.yaml": "services:\n  s:\n    image: s\n    labels: [ss=1, a=sub]\n"
    '    volumes: ["./sx:/sx", "../u:/u"]\n    label_file: ./s.labels\n',
    "inc.yaml": 'services:\n  i: {image: i, labels: {i: "${V}", a: "$A"}, volumes: ["./ix:/ix","data2:/d"]}\n'
    "volumes: {data2: }\n",
    "inc2.yaml": "services:\n  i: {labels: [j=2]}\n",
    "nest.yaml": "include: [sub/inc.yaml]\nservices: {n: {image: n}}\n",
    "cyc.yaml": "include: [cyc.yaml]\nservices: {n: {image: n}}\n",
    "sub/inc.yaml": 'services:\n  si: {image: i, labels: {i: "${V}", a: "$A", s: "${S}"}, '
    'volumes: ["./ix:/ix","~/q:/q"], label_file: s.labels}\n',
    "sub/.env": "S=subenv\nV=subv\nA=subA\n",
    "vars.env": "V=fromvars\nW=$A-x\n",
    "v2.env": "export V=two\nS='single $A'\nT=\"dbl $V\\n\"\n",
    "l.labels": 'backrest.enable=true\n# c\nl.a = x # y\nl.b="q $l.a ${X:-z}"\nl.c\nl.d: colon\nexport l.e=1\n',
    "m.labels": "a=fromfile\nm='m $A'\nn=$A\no=${m:-d}\n",
    "bad.labels": "a b=1\n",
    "sub/s.labels": "sub.label=1\n",
    ".env": "A=aval\nEMPTY=\nD=${A:-x}y\n",
}


class _Maker:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def one(self, sane: Sequence[str], odd: Sequence[str], share: float = _ODD) -> str:
        return self.random.choice(odd if self.chance(share) else sane)

    def labels(self, indent: int) -> str:
        pad = " " * indent
        if self.chance(_ODD):
            return f" {self.random.choice(('a=b', '', '[]', '{}', 'null', '[{a: b}]', '*x', '!override [a=b]'))}\n"
        if self.chance(0.5):
            keys = self.random.sample(_KEYS, self.random.randint(1, 4))
            keys += [self.random.choice(_ODD_KEYS)] if self.chance(_ODD * 3) else []
            return "\n" + "".join(
                f"{pad}{key}: {self.one(_SCALARS, _ODD_SCALARS, _ODD * 3)}\n" for key in keys
            )
        count = self.random.randint(1, 4)
        return "\n" + "".join(f"{pad}- {self.one(_ITEMS, _ODD_ITEMS, _ODD * 2)}\n" for _ in range(count))

    def service(self, name: str, *, override: bool) -> str:
        out = f"  {name}:\n"
        if not override or self.chance(0.2):
            out += f"    image: {self.one(('busybox',), ('$A', '${X}', '5'))}\n"
        if self.chance(0.8):
            out += f"    labels:{self.labels(6)}"
        if self.chance(0.5):
            mounts = [self.one(_MOUNTS, _ODD_MOUNTS) for _ in range(self.random.randint(1, 3))]
            out += "    volumes:" + "".join(f"\n      - {mount}" for mount in mounts) + "\n"
        if self.chance(0.15):
            out += f"    deploy:\n      labels:{self.labels(8)}"
        if self.chance(0.12):
            out += f"    extends: {self.one(_EXTENDS, _ODD_EXTENDS, _ODD * 4)}\n"
        if self.chance(0.08):
            out += f"    label_file: {self.one(_LABEL_FILES, _ODD_LABEL_FILES, _ODD * 4)}\n"
        if self.chance(0.15):
            out += f"    {self.one(_MORE, _ODD_MORE, 0.2)}\n"
        return out if len(out) > len(name) + 5 else f"{out}    tty: true\n"

    def file(self, *, override: bool) -> str:
        if self.chance(_ODD):
            return self.random.choice(_WHOLE)
        out = ""
        if self.chance(0.3):
            out += f"x-l: &x {self.one(('{a: anchored, q: 1}', '[a=anchored]'), ('text', '{a: [b]}'))}\n"
        if self.chance(0.15):
            out += f"name: {self.one(_PROJECTS, _ODD_PROJECTS, 0.2)}\n"
        if self.chance(0.05):
            out += f"version: {self.one(_VERSIONS, _ODD_VERSIONS, 0.2)}\n"
        if self.chance(0.12) and not override:
            out += f"include:{self.one(_INCLUDES, _ODD_INCLUDES, 0.2)}\n"
        names = ("web", "db") if override else self.random.sample(("web", "db", "a.b", "c_d", "E"), 2)
        out += "services:\n" + "".join(self.service(name, override=override) for name in names)
        out += f"volumes:\n  data:{self.one(_VOLUMES, _ODD_VOLUMES)}\n"
        return out + ("" if override else "  ext: {external: true}\n  named: {name: given}\n")


def write_odd_project(seed: int, directory: Path) -> tuple[list[str], dict[str, str]]:
    """Write a made-up project; return its files, below the directory, and the environment to read it with.

    Args:
        seed: The same project for the same number.
        directory: Made, with what is missing above it.
    """
    maker = _Maker(seed)
    beside = dict(_BESIDE)
    if maker.chance(0.05):
        beside[".env"] = maker.random.choice(_DOTENVS)
    files = {"compose.yaml": maker.file(override=False)}
    if maker.chance(0.3):
        files["override.yaml"] = maker.file(override=True)
    for name, text in {**beside, **files}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    env = (
        {"COMPOSE_PROJECT_NAME": "envname"}
        if maker.chance(0.05)
        else {"A": "envA"}
        if maker.chance(0.05)
        else {}
    )
    return list(files), env
