"""Lint: what the sidecar would say about labels, said before anything runs. Without an engine.

Reads Compose files and ``docker inspect`` output, checks labels by the very rules of :mod:`sidecar.labels.reader`,
and adds what a file shows and a container does not: places, paths under no volume, plan ids that collide, commands
that cannot work. Loads neither the models nor the engine client, so that it is fit for a pre-commit hook.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sidecar.config.cron import note
from sidecar.findings import Finding, printable
from sidecar.labels.keep import parse_keep
from sidecar.labels.reader import PlanReading, Reading, ours, read_labels, read_volume_labels
from sidecar.labels.values import LabelPolicy
from sidecar.lint.findings import (
    LabelAt,
    Level,
    LintError,
    LintFinding,
    Place,
    Target,
    VolumeSays,
    unreadable,
)
from sidecar.lint.shell import command_problems, starts_and_stops
from sidecar.plans import workloads
from sidecar.plans.workloads import Workload

_WARNINGS = frozenset({"image-label", "hooks-refused"})
_STDIN = "-"


@dataclass(frozen=True, slots=True)
class LintOptions:
    """The options of the sidecar that change what is right.

    Attributes:
        policy: What labels may do.
        prefix: ``--plan-id-prefix``.
        include_project: ``--include-project-name``.
    """

    policy: LabelPolicy = field(default_factory=LabelPolicy)
    prefix: str = "backrest_sidecar_"
    include_project: bool = False


def lint_files(
    paths: Sequence[str],
    *,
    options: LintOptions,
    env: Mapping[str, str],
    separate: bool = False,
) -> tuple[LintFinding, ...]:
    """Return everything that is wrong or odd about these files, by file, line and column.

    Args:
        paths: Compose files, which are merged in this order as ``docker compose -f`` does, and JSON files as
            ``docker inspect`` writes them; ``-`` is standard input.
        options: What the sidecar will run with.
        env: Environment for ``${…}`` in Compose files.
        separate: Take each Compose file for a project of its own.
    """
    findings: list[LintFinding] = []
    targets = list(_targets(paths, env, separate, findings))
    volumes = {t.name: _volume(t, findings) for t in targets if t.container is None}
    ids: dict[str, tuple[Workload, Place]] = {}
    for target in targets:
        if target.container is not None and not target.container.is_oneoff:
            findings += _Check(target, options, volumes, ids).run()
    order = {path: number for number, path in enumerate(paths)}
    # Services that share a label by an anchor or `extends` share what is wrong about it.
    unique = {(f.place, f.code, f.message.partition(": ")[2] or f.message): f for f in reversed(findings)}
    return tuple(
        sorted(unique.values(), key=lambda f: (order.get(f.place.file, len(order)), f.place, f.code))
    )


def _targets(
    paths: Sequence[str], env: Mapping[str, str], separate: bool, findings: list[LintFinding]
) -> Iterator[Target]:
    compose = []
    for path in paths:
        try:
            text = _read(path)
            if _looks_like_json(text):
                from sidecar.lint.inspect import parse_inspect

                yield from parse_inspect(text, path)
            else:
                from sidecar.lint.yaml_tree import parse_yaml

                compose.append((path, parse_yaml(text, path)))
        except LintError as error:
            findings.append(error.finding)
    if compose:
        from sidecar.lint.compose import ComposeProject

        for files in [[file] for file in compose] if separate else [compose]:
            yield from ComposeProject(env, findings, complete=not separate).load(files)


def _looks_like_json(text: str) -> bool:
    """Whether the text is worth reading as JSON. A Compose file in JSON is YAML too and is read as that."""
    head = text.lstrip()[:1]
    return head in {"[", "{"} and not re.match(r'\s*\{\s*"(services|name|version|include)"\s*:', text)


def _read(path: str) -> str:
    from sidecar.lint.load import read_text

    if path != _STDIN:
        return read_text(Path(path), Place(path))
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise unreadable(Place(path), "standard input is not UTF-8") from error


def _volume(target: Target, findings: list[LintFinding]) -> VolumeSays:
    """Check a volume's labels; return what they say."""
    labels = {key: label.value for key, label in target.labels.items()}
    enable, exclude, found = read_volume_labels(labels, volume=target.name)
    findings += [_placed(finding, target) for finding in found]
    findings += _variables(target, ours(labels))
    return VolumeSays(enable, exclude)


def _placed(finding: Finding, target: Target) -> LintFinding:
    """Return a finding of the label reader with its place."""
    level: Level = "warning" if finding.code in _WARNINGS else "error"
    place = target.place
    for key, label in target.labels.items():
        if finding.label and printable(key) == finding.label:
            place = label.value_place if finding.code == "wrong-label" else label.key_place
            break
    return LintFinding(place, level, finding.code, finding.message, finding.hint, finding.label)


def _variables(target: Target, keys: Sequence[str]) -> Iterator[LintFinding]:
    """Say which variables nothing sets. ``$SELF`` is ours, and Compose takes it away unless it is doubled."""
    for key in keys:
        label = target.labels[key]
        if label.lone:
            text = (
                f"{target.name}: a $ in {printable(key)} begins no variable; Compose leaves it as it is, older ones "
                "(before autumn 2022) refuse the file; $$ is right in all"
            )
            yield LintFinding(label.value_place, "note", "lone-dollar", text, "", key)
        for name in dict.fromkeys(label.unset):
            if name == "SELF":
                text = f"{target.name}: Compose replaces $SELF in {printable(key)} by nothing; write $$SELF"
                yield LintFinding(label.value_place, "error", "self-not-escaped", text, "$$SELF", key)
            else:
                text = (
                    f"{target.name}: {printable(key)} uses ${name}, which neither the environment nor .env sets; "
                    "Compose puts nothing there"
                )
                yield LintFinding(label.value_place, "note", "variable-unset", text, "", key)


class _Check:
    """All checks of one service or container."""

    def __init__(
        self,
        target: Target,
        options: LintOptions,
        volumes: Mapping[str, VolumeSays],
        ids: dict[str, tuple[Workload, Place]],
    ) -> None:
        self.target = target
        self.options = options
        self.volumes = volumes
        self.ids = ids

    def run(self) -> list[LintFinding]:
        target = self.target
        labels = {key: label.value for key, label in target.labels.items()}
        keys = ours(labels)
        if not keys:
            return []
        reading = read_labels(
            labels,
            keys,
            container=target.name,
            image_labels=target.image_labels,
            policy=self.options.policy,
        )
        found = list(_variables(target, keys))
        found += [
            _placed(finding, target)
            for finding in reading.findings
            # What is wrong with a value that is not known here cannot be said.
            if not (finding.code == "wrong-label" and self._at(finding.label).unset)
        ]
        found += self._deploy(keys)
        found += self._idle(reading)
        for plan in reading.plans:
            found += self._schedule(plan)
            found += self._paths(plan)
            found += self._commands(plan)
            found += self._id(plan)
        return found

    def _at(self, key: str) -> LabelAt:
        return self.target.labels.get(key) or LabelAt("", self.target.place, self.target.place)

    def _say(self, level: Level, code: str, key: str, text: str, hint: str = "") -> LintFinding:
        message = f"{printable(self.target.name)}: {text}"
        return LintFinding(self._at(key).value_place, level, code, message, hint, key)

    def _deploy(self, keys: Sequence[str]) -> Iterator[LintFinding]:
        swarm = [key for key in keys if key in self.target.deploy_labels]
        if swarm:
            text = (
                f"{printable(swarm[0])} stands in deploy.labels, which only Swarm reads; outside a swarm it has no "
                "effect: put it under labels"
            )
            yield self._say("warning", "deploy-labels", swarm[0], text)

    def _idle(self, reading: Reading) -> Iterator[LintFinding]:
        container = self.target.container
        mounts = container.mounts if container else ()
        if any((says := self.volumes.get(mount.name)) and says.enable for mount in mounts):
            return
        others = {plan.name for plan in reading.plans} | {*reading.broken, *reading.withdrawn}
        # Plain labels are only defaults where a named plan takes them; a named plan waits for the plain enable too.
        names = [] if others and "" in reading.idle else [""] if "" in reading.idle else reading.idle
        for name in names:
            start = f"backrest.{name}." if name else "backrest."
            key = next(
                (key for key in self.target.labels if key.startswith(start) and not self._built(key)), ""
            )
            text = (
                f'nothing is backed up: {printable(key)} is set, and {start}enable is not; set it to "true"'
            )
            yield self._say("warning", "not-enabled", key, text, f"{start}enable")

    def _built(self, key: str) -> bool:
        return self.target.image_labels.get(key) == self._at(key).value

    def _schedule(self, plan: PlanReading) -> Iterator[LintFinding]:
        schedule = plan.values.get("schedule")
        said = note(schedule) if schedule else ""
        if said:
            yield self._say("note", "both-day-fields", plan.sources["schedule"], said)
        keep = plan.values.get("keep")
        withins = parse_keep(keep).withins if keep else ()
        if withins:
            text = (
                f"Backrest cannot express {withins[0][0]}={withins[0][1]}, so its plan forgets nothing; only "
                "backup-once obeys it"
            )
            yield self._say("note", "keep-inexpressible", plan.sources["keep"], text)

    def _paths(self, plan: PlanReading) -> Iterator[LintFinding]:
        container = self.target.container
        if container is None or not self.target.all_mounts:
            return
        from sidecar.lint.paths import path_problems

        known = replace(container, name=self.target.name)
        for problem in path_problems(known, plan, self.volumes):
            key = problem.label if problem.label in self.target.labels else self._enable_key(plan)
            yield LintFinding(
                self._at(key).value_place, problem.level, problem.code, problem.message, problem.hint, key
            )

    def _enable_key(self, plan: PlanReading) -> str:
        own = f"backrest.{plan.name}.enable" if plan.name else ""
        return own if own in self.target.labels else "backrest.enable"

    def _commands(self, plan: PlanReading) -> Iterator[LintFinding]:
        for field_name in ("start_commands", "end_commands"):
            for command in plan.values.get(field_name, ()):
                for problem in command_problems(command):
                    text = f'"{printable(command)}" {problem.message}'
                    yield self._say(problem.level, problem.code, plan.sources[field_name], text)
        _, stopped = starts_and_stops(plan.values.get("start_commands", ()))
        started, _ = starts_and_stops(plan.values.get("end_commands", ()))
        if stopped - started:
            name = printable(min(stopped - started))
            text = f"stops {name} before the backup, and nothing in snapshot-end starts it again"
            yield self._say("warning", "never-started", plan.sources["start_commands"], text)
        template = "backrest.hooks.template"
        wanted = self._at(template).value.strip().lower() not in {"", "none"}
        if wanted and ("start_commands" in plan.values or "end_commands" in plan.values):
            text = "the template has no effect beside snapshot-start or snapshot-end; remove one of them"
            yield self._say("warning", "template-ignored", template, text)

    def _id(self, plan: PlanReading) -> Iterator[LintFinding]:
        container = self.target.container
        if container is None:
            return
        workload = workloads.workload_of(container).named(plan.name)
        base = workloads.base_id(workload, include_project=self.options.include_project)
        wanted = workloads.plan_id(self.options.prefix, base, plan.name)
        key = self._enable_key(plan)
        if not wanted:
            text = "nothing of its name can stand in a plan id; give it another name"
            yield self._say("error", "no-plan-id", key, text)
            return
        other, place = self.ids.setdefault(wanted, (workload, self._at(key).key_place))
        if other.key != workload.key:
            text = (
                f"plan id {wanted} is also that of {other} ({place.file}:{place.line}); one of them gets a longer "
                "id: choose which by renaming, or use --include-project-name"
            )
            yield self._say("warning", "plan-id-collides", key, text)
