"""The walk over one container's labels: which plans they ask for, and every finding on the way.

Gives plain values; ``policy.py`` makes the frozen models of them. Kept apart so that ``lint`` reads labels
by the same rules without the time that the models take to load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sidecar.findings import Finding, printable
from sidecar.labels.guess import is_ours, nearest_key, unknown_reason
from sidecar.labels.keys import NO_LABELS, VOLUME_KEYS, classify, parse_bool
from sidecar.labels.values import LabelPolicy, WrongValueError, read_value

MAX_UNKNOWN = 20
"""Unknown labels of one container that are reported one by one; the rest is counted."""

_FIELDS = {
    "repo": "repo",
    "schedule": "schedule",
    "paths.include": "include",
    "paths.exclude": "exclude",
    "keep": "keep",
    "snapshot-start": "start_commands",
    "snapshot-end": "end_commands",
    "hooks.template": "template",
    "hooks.on-error": "on_error",
}
_STAYS = ", its plan stays as it is"
_COMMANDS = ("snapshot-start", "snapshot-end")


# Plain classes: a dataclass takes a millisecond to make, which a pre-commit hook waits for.


class PlanReading:
    """One plan's values after inheritance, by field name, and the label each came from."""

    __slots__ = ("name", "sources", "values")

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}


class Reading:
    """What a container's labels say.

    Attributes:
        plans: Plans asked for, without those that are broken.
        withdrawn: Names of plans that say ``enable=false``.
        broken: Names of plans left out because of a wrong label.
        idle: Names of plans that have labels but that nothing enables or withdraws.
        quiesce: ``backrest.quiesce``.
        findings: In label order.
    """

    __slots__ = ("broken", "findings", "idle", "plans", "quiesce", "withdrawn")

    def __init__(self) -> None:
        self.plans: list[PlanReading] = []
        self.withdrawn: list[str] = []
        self.broken: list[str] = []
        self.idle: list[str] = []
        self.quiesce = False
        self.findings: list[Finding] = []


class _Level:
    """The labels of one plan name: values by short key, the full keys they have, and those that are wrong."""

    __slots__ = ("keys", "values", "wrong")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.keys: dict[str, str] = {}
        self.wrong: set[str] = set()


def ours(labels: Mapping[str, str]) -> list[str]:
    """Return the keys that are of this tool's namespace, or look as if they were meant to be."""
    return [key for key in labels if is_ours(key)]


def read_labels(
    labels: Mapping[str, str],
    keys: list[str],
    *,
    container: str,
    image_labels: Mapping[str, str] = NO_LABELS,
    policy: LabelPolicy,
) -> Reading:
    """Return what the labels say. ``keys`` is :func:`ours` of them. Raises nothing, whatever the labels hold."""
    reading = Reading()
    levels: dict[str, _Level] = {"": _Level()}
    unknown = 0
    for key in keys:
        raw = labels[key]
        if not policy.trust_image and image_labels and image_labels.get(key) == raw:
            reading.findings.append(_from_image(container, key, raw))
            continue
        text = raw.strip()
        known = classify(key)
        if known is None:
            unknown += 1
            if unknown <= MAX_UNKNOWN:
                _unknown(container, key, text, labels, levels, reading)
        elif text:
            level = levels.get(known.plan)
            if level is None:
                level = levels[known.plan] = _Level()
            short = known.short
            level.keys[short] = key
            try:
                level.values[short] = read_value(known.kind, text, policy)
            except WrongValueError as error:
                level.wrong.add(short)
                reading.findings.append(_wrong(container, key, text, error))
    if unknown > MAX_UNKNOWN:
        more = f"{_who(container)} {unknown - MAX_UNKNOWN} more labels are not labels of this tool"
        reading.findings.append(Finding("unknown-label", more, container=container))
    _conclude(levels, reading, container, policy)
    return reading


def _conclude(levels: dict[str, _Level], reading: Reading, container: str, policy: LabelPolicy) -> None:
    base = levels[""]
    reading.quiesce = bool(base.values.get("quiesce"))
    quiesce_wrong = "quiesce" in base.wrong
    taken: dict[str, str] = {}
    for name, own in levels.items():
        decides = own if "enable" in own.keys else base
        enabled = decides.values.get("enable")
        if "enable" in decides.wrong:
            reading.broken.append(name)
        elif enabled is None:
            if own.keys.keys() - {"quiesce"}:
                reading.idle.append(name)
        elif not enabled:
            reading.withdrawn.append(name)
        elif quiesce_wrong or _any_wrong(own, base):
            reading.broken.append(name)
        elif (rival := taken.setdefault(name.lower().replace("-", "_"), name)) != name:
            text = f'{_who(container)} the plan names "{rival}" and "{name}" give one plan id; rename one of them'
            label = next(iter(own.keys.values()))
            reading.findings.append(
                Finding("plan-names-collide", text, container=container, label=label, skips=True)
            )
            reading.broken.append(name)
        else:
            reading.plans.append(_plan(name, own, base, reading, container, policy))


def _any_wrong(own: _Level, base: _Level) -> bool:
    return bool(own.wrong) or any(short not in own.keys for short in base.wrong)


def _plan(
    name: str, own: _Level, base: _Level, reading: Reading, container: str, policy: LabelPolicy
) -> PlanReading:
    """Return one plan: its own labels, and for the rest those of the default plan."""
    plan = PlanReading(name)
    for level in (base,) if own is base else (base, own):
        for short, value in level.values.items():
            # A list of nothing (",") is no value, as an empty label is none.
            if short in _FIELDS and value != ():
                plan.values[_FIELDS[short]] = value
                plan.sources[_FIELDS[short]] = level.keys[short]
    if own is not base and own.values.get("hooks.template") and not any(c in own.keys for c in _COMMANDS):
        # The named plan's own template stands nearer than the commands that it would inherit.
        for short in _COMMANDS:
            plan.values.pop(_FIELDS[short], None)
            plan.sources.pop(_FIELDS[short], None)
    commands: list[str] = [f for f in ("start_commands", "end_commands") if f in plan.values]
    if commands or not plan.values.get("template"):
        plan.values.pop("template", None)
        plan.sources.pop("template", None)
    if policy.hooks != "all":
        refused = commands or (["template"] if policy.hooks == "none" and "template" in plan.values else [])
        for target in refused:
            reading.findings.append(_refused(container, plan.sources[target], policy))
            del plan.values[target], plan.sources[target]
    return plan


def _who(container: str) -> str:
    return f"{printable(container)}:"


def _refused(container: str, key: str, policy: LabelPolicy) -> Finding:
    text = (
        f"{_who(container)} {key} is not obeyed, since --hooks {policy.hooks} is given; its plan is written "
        "without that hook"
    )
    return Finding("hooks-refused", text, container=container, label=key)


def _from_image(container: str, key: str, value: str) -> Finding:
    shown = printable(value)
    text = (
        f'{_who(container)} {printable(key)}="{shown}" comes from the image and is ignored; trust images with '
        '--trust-image-labels, or set it on the container in another spelling (say "yes" for "true")'
    )
    return Finding("image-label", text, container=container, label=printable(key), value=shown)


def _wrong(
    container: str, key: str, value: str, error: WrongValueError, outcome: str = "it is skipped" + _STAYS
) -> Finding:
    shown = printable(value)
    text = f'{_who(container)} {key}="{shown}" {error.reason}; {outcome}'
    return Finding(
        "wrong-label", text, container=container, label=key, value=shown, hint=error.hint, skips=True
    )


def _unknown(
    container: str,
    key: str,
    value: str,
    labels: Mapping[str, str],
    levels: dict[str, _Level],
    reading: Reading,
) -> None:
    near = nearest_key(key)
    shown = printable(value)
    text = f'{_who(container)} {printable(key)}="{shown}" {unknown_reason(key)}'
    meant = classify(near) if near else None
    # A misspelt enable must not look like a container that wants no backup: that would end one that ran yesterday.
    skips = (
        meant is not None
        and meant.short == "enable"
        and near not in labels
        and parse_bool(value) is not False
    )
    if meant is not None and skips:
        level = levels.setdefault(meant.plan, _Level())
        level.keys["enable"] = key
        level.wrong.add("enable")
        text += "; it is skipped" + _STAYS
    reading.findings.append(
        Finding(
            "unknown-label",
            text,
            container=container,
            label=printable(key),
            value=shown,
            hint=near,
            skips=skips,
        )
    )


def read_volume_labels(
    labels: Mapping[str, str], *, volume: str
) -> tuple[bool | None, tuple[str, ...], tuple[Finding, ...]]:
    """Return a volume's enable (None: not said), its excludes, and the findings. Raises nothing."""
    table = {entry.key: entry for entry in VOLUME_KEYS}
    enable: bool | None = None
    exclude: list[str] = []
    findings: list[Finding] = []
    who = f"volume {volume}"
    for key in ours(labels):
        text = labels[key].strip()
        entry = table.get(key)
        if entry is None:
            message = f'{_who(who)} {printable(key)}="{printable(text)}" {unknown_reason(key, volume=True)}'
            near = nearest_key(key, volume=True)
            findings.append(
                Finding(
                    "unknown-label",
                    message,
                    label=printable(key),
                    value=printable(text),
                    hint=near,
                    container=who,
                )
            )
        elif text:
            try:
                value = read_value(entry.kind, text, LabelPolicy())
            except WrongValueError as error:
                findings.append(replace(_wrong(who, key, text, error, "it is ignored"), skips=False))
                continue
            if entry.kind == "bool":
                enable = value
            else:
                exclude += [pattern for pattern in value if pattern not in exclude]
    return enable, tuple(exclude), tuple(findings)
