"""Random labels and random config files, nasty ones above all. Everything comes from the seed of the given dice."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar.config import document as backrest_config
from sidecar.config.document import ConfigError
from sidecar.config.validation import Checked
from sidecar.engine.model import COMPOSE_PROJECT, COMPOSE_SERVICE, Container, EngineSnapshot, Mount
from sidecar.merge.merge import MergeOptions, merge_checked
from sidecar.plans import config_view
from sidecar.plans.render import render
from sidecar.plans.rendering import Rendering
from sidecar.settings.settings import resolve

SAMPLES = Path(__file__).parents[2] / "testdata" / "configs"
NOW = 1_790_000_000.0
GUID = "0f" * 32
CONFIG: dict[str, Any] = {
    "modno": 1,
    "version": 6,
    "instance": "odd",
    "repos": [{"id": name, "uri": f"/repos/{name}", "guid": GUID, "password": "p"} for name in ("main", "b")],
    "plans": [{"id": "hand-made", "repo": "main", "paths": ["/etc"], "x": {"y": [1, None]}}],
}

KEYS = (
    "enable", "repo", "schedule", "paths.include", "paths.exclude", "keep", "snapshot-start", "snapshot-end",
    "hooks.template", "quiesce", "path.include", "nightly.schedule", "nightly.enable", "nightly.keep", "enabled",
    "a b.schedule", "..", "", "paths", "\u202eenable", "nightly.paths.include",
)  # fmt: skip
WORDS = (
    "true", "false", "yes", "ture", "main", "b", "nowhere", "0 2 * * *", "T 1 * * *", "*/0 * * * *", "@daily",
    "0 0 * * 7", "0 0 31 2 *", "5-1 * * * *", "1 2 3 4 5 6", "*/9999999999 * * * *", "60 24 32 13 8", "daily=7",
    "daily=-1,weekly=x", "last=99999999999", "within=3d5h", "all", "none", "all,none", "keep=1", "/data",
    "/data/../..", "data", "/", "//data//x/", "/data/sub", "*.tmp", "!keep", "docker exec $SELF dump", "${SELF}",
    "a 'b, c', \"d", "'", "{{ .Repo.Password }}", "stop-start", "simple-stop-start", "$(reboot)", "`id`", ";", "\\",
    "%00", "-rf",
)  # fmt: skip
PIECES = (
    "\x00", "\n", "\r\n", "\t", "\u202e", "\u200f", "\ufeff", "\u2028", "\U0001f4be", "é", "\x7f", "\x1b[31m", "'",
    '"', ",", "=", "*", "/", " ", "${", "}}", "0", "9", "a", "-", "..", "\ud800",
)  # fmt: skip
NAMES = ("web", "Web", "w.e-b", "_", "9", "ünï", "a" * 200, "x\n", "db", "d_b")


def text(dice: random.Random) -> str:
    """One value."""
    draw = dice.random()
    if draw < 0.6:
        return dice.choice(WORDS)
    if draw < 0.75:
        return ",".join(dice.choices(WORDS, k=dice.randint(1, 4)))
    if draw < 0.999:
        return "".join(dice.choices(PIECES + WORDS, k=dice.randint(0, 8)))
    return dice.choice(("x", "/", ",", "'", "0 ", "/a,", "\x00")) * 65_536


def labels(dice: random.Random) -> dict[str, str]:
    """Labels of one container; most ask for a plan."""
    made = {"backrest.enable": "true"} if dice.random() < 0.9 else {}
    for key in dice.sample(KEYS, dice.randint(0, 4)):
        made[f"backrest.{key}"] = text(dice)
    return made


def _mount(dice: random.Random) -> Mount:
    kind = dice.choice(("volume", "volume", "bind", "tmpfs", "npipe", "image"))
    name = dice.choice(("v1", "v2", "odd name", "a.b-c_D9", ""))
    source = dice.choice((f"/var/lib/docker/volumes/{name}/_data", "/srv/x", "/srv/ü\n", "", "relative", "/"))
    return Mount(kind, source, dice.choice(("/data", "/data/sub", "/", "/config", "")), name, "local")


def container(dice: random.Random, number: int) -> Container:
    """One container."""
    name = dice.choice(NAMES)
    made = labels(dice)
    if dice.random() < 0.5:
        made |= {COMPOSE_PROJECT: dice.choice(NAMES), COMPOSE_SERVICE: dice.choice(NAMES)}
    mounts = tuple(_mount(dice) for _ in range(dice.randint(0, 3)))
    return Container(id=f"{number:064x}", name=name, labels=made, mounts=mounts, created=number)


def rendering_of(dice: random.Random, data: dict[str, Any], many: int) -> Rendering:
    """Render ``many`` random containers on a document."""
    flags: dict[str, Any] = {
        "hooks": dice.choice(("all", "template", "none")),
        "hook-templates": dice.random() < 0.5,
        "include-project-name": dice.random() < 0.5,
        "plan-id-prefix": dice.choice(("backrest_sidecar_", "", "ü", "x" * 300)),
        "default-repo": dice.choice(("main", "", "nowhere")),
    }
    settings = resolve("reconcile", flags, {})
    snapshot = EngineSnapshot(tuple(container(dice, number) for number in range(many)))
    return render(snapshot, config_view.view(data), {}, settings)


def merged(
    dice: random.Random, data: dict[str, Any], rendering: Rendering, checked: Checked
) -> dict[str, Any]:
    """Merge, and assert what always holds; return the new document."""
    before = frozenset(backrest_config.validate(data, now=NOW, checked=checked))
    options = MergeOptions(prefix=dice.choice(("x_", "")), raise_modno=dice.random() < 0.5)
    out = merge_checked(data, rendering, {}, options, NOW, checked)
    again = backrest_config.parse(backrest_config.dump(out.data), where="config.json")
    assert again == out.data, "what is written is read as it was meant"
    new = [fault for fault in backrest_config.validate(again, now=NOW) if fault not in before]
    assert new == [], new
    ours = {plan.plan.id for plan in rendering.plans}
    assert _not_of(again, ours) == _not_of(data, ours)
    return out.data


def _not_of(document: dict[str, Any], ours: set[str]) -> list[Any]:
    return [plan for plan in document.get("plans") or () if plan.get("id") not in ours]


def label_rounds(count: int, seed: int) -> dict[str, Any]:
    """Put ``count`` random label sets through render, merge and validation; return figures and some documents."""
    dice = random.Random(seed)
    found: dict[str, Any] = {"label_sets": 0, "plans": 0, "findings": 0, "documents": []}
    checked = Checked()
    while found["label_sets"] < count:
        many = dice.randint(1, 12)
        rendering = rendering_of(dice, CONFIG, many)
        document = merged(dice, CONFIG, rendering, checked)
        found["label_sets"] += many
        found["plans"] += len(document["plans"]) - 1
        found["findings"] += len(rendering.findings)
        if dice.random() < 0.02 or len(found["documents"]) < 3:
            found["documents"].append(backrest_config.dump(document))
    return found


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, "", "x", "\x00",
    "CLOCK_LOCAL", "\u202e", [], {}, [None], [[]], {"": {}}, {"id": ""}, "0 2 * * *", "*/0 * * * *",
)  # fmt: skip


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) in a document."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        found += _places(inner)
    return found


def _change_values(dice: random.Random, raw: bytes) -> bytes:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    for _ in range(dice.randint(1, 4)):
        places = _places(document)
        if not places:
            break
        holder, key = dice.choice(places)
        if dice.random() < 0.3:
            del holder[key]
        elif dice.random() < 0.3 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(dice.choice(ODD))
    return json.dumps(document, ensure_ascii=dice.random() < 0.5).encode(errors="surrogatepass")


def _change_bytes(dice: random.Random, raw: bytes) -> bytes:
    out = bytearray(raw)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(out) + 1)
        match dice.randrange(4):
            case 0:
                del out[at:]
            case 1:
                del out[at : at + dice.randint(1, 40)]
            case 2:
                out[at:at] = dice.choice(
                    (b"\0", b"\xff", b"{", b"]", b'"', b",", b"99999999999999999999", b"NaN")
                )
            case _:
                out[at : at + 1] = bytes([dice.randrange(256)])
    return bytes(out)


def config_rounds(count: int, seed: int) -> dict[str, Any]:
    """Read, check and merge into ``count`` mutations of the sample files; return figures and good documents."""
    dice = random.Random(seed)
    paths = [*sorted(SAMPLES.glob("valid/*.json")) * 4, *sorted(SAMPLES.rglob("*.json"))]
    samples = [path.read_bytes() for path in paths]
    changes: tuple[Callable[[random.Random, bytes], bytes], ...] = (
        _change_values, _change_values, _change_values, _change_bytes,
    )  # fmt: skip
    found: dict[str, Any] = {"files": 0, "refused": 0, "with_faults": 0, "good": 0, "documents": []}
    renderings = [rendering_of(dice, CONFIG, 3) for _ in range(20)]
    for _ in range(count):
        raw = dice.choice(changes)(dice, dice.choice(samples))
        found["files"] += 1
        try:
            data = backrest_config.parse(raw, where="config.json")
        except ConfigError:
            found["refused"] += 1
            continue
        faults = backrest_config.validate(data, now=NOW)
        document = merged(dice, data, dice.choice(renderings), Checked())
        found["with_faults" if faults else "good"] += 1
        if not faults and dice.random() < 0.05:
            found["documents"].append(backrest_config.dump(document))
    return found
