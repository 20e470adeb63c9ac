"""Says what changed, and says it once: a daemon that passes every minute must not repeat itself every minute."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from sidecar.backrest.protected import find_backrest
from sidecar.engine.errors import EngineError
from sidecar.engine.model import Container, EngineSnapshot
from sidecar.findings import Finding, printable
from sidecar.log import get_logger
from sidecar.merge.diff import colour, plan_diff
from sidecar.merge.result import Blocked, ChangeKind, Merge
from sidecar.plans.rendering import AMBIGUOUS_BACKREST, RenderedPlan, Rendering
from sidecar.status.board import StatusBoard

log = get_logger(__name__)


class Announcer:
    """Turns passes into log events and facts on the status board. One for each worker.

    Args:
        board: Where facts go; None for a one-shot.
        backrest: ``--backrest-container``; empty looks for none.
    """

    def __init__(self, board: StatusBoard | None = None, backrest: str = "") -> None:
        self._board = board
        self._backrest = backrest
        self._rendered: Rendering | None = None
        self._plans: dict[str, RenderedPlan] = {}
        self._findings: frozenset[Finding] = frozenset()
        self._merged: Merge | None = None
        self._merge_findings: frozenset[Finding] = frozenset()
        self._faults: frozenset[tuple[str, str]] = frozenset()
        self._blocked: frozenset[Blocked] = frozenset()
        self._notes: frozenset[str] = frozenset()
        self._unread: frozenset[str] = frozenset()
        self._paths_note = ""
        self._trouble = ""
        self._usable = False
        self._repo: tuple[str, str] | None = None
        self._shown: list[tuple[str, ChangeKind, tuple[str, ...]]] | None = None

    def engine_failed(self, error: EngineError) -> None:
        """The engine could not be listed; nothing is concluded from that."""
        if self._board is not None:
            self._board.engine_down(error.message, error.advice)
        if error.message != self._trouble:
            log.warn("engine.unreachable", reason=error.message, advice=error.advice)
        self._trouble = error.message

    def engine_seen(self, snapshot: EngineSnapshot) -> None:
        """The engine was listed."""
        if self._board is not None:
            self._board.engine_up()
            if self._backrest:
                self._board.backrest_runs(_why_down(find_backrest(snapshot, self._backrest)))
        notes = frozenset(snapshot.notes)
        for note in snapshot.notes:
            if note not in self._notes:
                log.warn("engine.limited", reason=note)
        self._notes = notes

    def paths_unknown(self, note: str) -> None:
        """Paths could not be looked up where Backrest would read them, and why; empty when they could."""
        if note and note != self._paths_note:
            log.warn("engine.limited", reason=note)
        self._paths_note = note

    def config_unusable(self, error: Exception) -> None:
        """There is no config.json to work with."""
        text = str(error)
        if not self._usable and getattr(error, "kind", "") == "missing":
            # A fresh Backrest makes the file at its first save; waiting for that is no failure.
            if text != self._trouble:
                log.info("config.waiting", reason=text)
        elif text != self._trouble:
            log.error("config.unusable", reason=text)
        self._trouble = text
        if self._board is None:
            return
        if self._usable or getattr(error, "kind", "") != "missing":
            self._board.failed(text)
        else:
            self._board.awaits_config(text)

    def rendered(self, rendering: Rendering) -> None:
        """A pass was made: name what is new or different in it."""
        self._usable = True
        if self._trouble:
            log.info("reconcile.recovered", after=self._trouble)
            if self._board is not None:
                self._board.recovered()
        self._trouble = ""
        if self._board is not None:
            self._board.rendered(rendering)
        if rendering is self._rendered:
            return
        self._rendered = rendering
        self._default_repo(rendering)
        plans = {plan.plan.id: plan for plan in rendering.plans}
        for plan_id, plan in plans.items():
            if self._plans.get(plan_id) != plan:
                log.info("plan.rendered", **_said_of(plan))
        self._plans = plans
        findings = frozenset(rendering.findings)
        say_findings(finding for finding in rendering.findings if finding not in self._findings)
        self._findings = findings

    def merged(self, merge: Merge) -> None:
        """A merge was looked at: name the faults and skips that are new."""
        if merge is self._merged:
            return
        self._merged = merge
        say_findings(finding for finding in merge.findings if finding not in self._merge_findings)
        self._merge_findings = frozenset(merge.findings)
        faults = tuple(dict.fromkeys((fault.where, fault.message) for fault in merge.preexisting))
        for where, message in faults:
            if (where, message) not in self._faults:
                log.error(
                    "config.fault",
                    where=where,
                    reason=message,
                    advice="Backrest would not start with this; it was there before us, mend it in Backrest",
                )
        self._faults = frozenset(faults)
        for blocked in merge.blocked:
            if blocked not in self._blocked:
                log.error("plan.blocked", plan=blocked.plan_id, reason=blocked.reason)
        self._blocked = frozenset(merge.blocked)

    def written(self, merge: Merge, *, unread: bool = False) -> None:
        """A merge was put in place: name what it did to whose plan.

        Args:
            merge: What it gave.
            unread: What it puts right may be nobody's edit: Backrest saved without having read our last write.
        """
        for plan_id in merge.adopted:
            log.info("plan.adopted", plan=plan_id)
        if unread:
            self._saved_unread(frozenset(reverted.plan_id for reverted in merge.reverted))
        else:
            self._unread = frozenset()
        for reverted in () if unread else merge.reverted:
            log.warn(
                "plan.reverted",
                plan=reverted.plan_id,
                field=reverted.field,
                label=reverted.label,
                what=reverted.what,
                reason="labels win over an edit in Backrest; change the label instead",
            )
        for old, new in merge.renamed:
            log.warn("plan.renamed", old=old, new=new)
        for change in merge.changes:
            log.info(
                f"plan.{_PAST.get(change.kind, change.kind)}", plan=change.plan_id, fields=list(change.fields)
            )
        for change in merge.changes:
            if "paths" in change.fields and change.before is not None and change.after is not None:
                log.warn(
                    "plan.paths_changed",
                    plan=change.plan_id,
                    old=change.before.get("paths"),
                    new=change.after.get("paths"),
                )
            if "excludes" in change.fields and change.before is not None and change.after is not None:
                log.info(
                    "plan.excludes_changed",
                    plan=change.plan_id,
                    old=change.before.get("excludes", []),
                    new=change.after.get("excludes", []),
                )

    def _saved_unread(self, plans: frozenset[str]) -> None:
        """Say once for each plan that Backrest saved over it without knowing it."""
        if not plans <= self._unread:
            log.warn(
                "backrest.saved_unread",
                plans=sorted(plans),
                reason="Backrest saved config.json from its memory, without these plans as we had written them: it "
                "reads the file only when it starts. They are written again, and run only after a restart",
                advice="restart Backrest, or use --apply to have that done",
            )
        self._unread |= plans

    def would_write(self, before: dict[str, Any], merge: Merge, *, text: bool) -> None:
        """A dry run: show what a write would change, plan by plan, without secrets.

        With ``text`` the diff goes to stdout among the log's lines. With JSON each changed plan is an event, and
        people get the diff on stderr, so that stdout stays one object a line.
        """
        shown = [(change.plan_id, change.kind, change.fields) for change in merge.changes]
        if shown == self._shown:
            return
        self._shown = shown
        for change in merge.changes:
            log.info("dry-run.plan", plan=change.plan_id, change=change.kind, fields=list(change.fields))
        for reverted in merge.reverted:
            log.warn("dry-run.revert", plan=reverted.plan_id, field=reverted.field, label=reverted.label)
        diff = plan_diff(before, merge.data)
        out = sys.stdout if text else sys.stderr
        if diff:
            out.write(colour(diff) if out.isatty() and not os.environ.get("NO_COLOR") else diff)
            out.flush()

    def _default_repo(self, rendering: Rendering) -> None:
        now = (rendering.default_repo, rendering.default_repo_error)
        if now == self._repo:
            return
        if rendering.default_repo_error:
            log.error("default.repo.unknown", reason=rendering.default_repo_error)
        if not rendering.default_repo:
            log.warn("default.repo.unset", reason="config.json has no repo; add one in Backrest")
        else:
            log.info("default.repo.resolved", repo=rendering.default_repo)
        self._repo = now


def _why_down(backrest: Container | None) -> str:
    """Return that no backup can run since the container of Backrest does not; empty where it does or is not known."""
    if backrest is None or backrest.state in {"running", "restarting"}:
        return ""
    verb = "unpause" if backrest.state == "paused" else "start"
    name = printable(backrest.name)
    return f'its container {name} is {backrest.state}: no backup runs until "docker {verb} {name}"'


_PAST = {"adopted": "taken_over"}
_ACTIONS = {"successor": "plan.successor"}


def say_findings(findings: Iterable[Finding]) -> None:
    """Log findings: skips as ``plan.skipped``, the rest as ``plan.warning`` or by an action of their own.

    What is the same of several containers, as of replicas, is said once, and names the others.
    """
    alike: dict[object, list[Finding]] = {}
    for finding in findings:
        named = finding.container and not finding.skips
        said = finding.message.replace(finding.container, "") if named else finding
        alike.setdefault((finding.code, finding.label, finding.value, said), []).append(finding)
    for finding, *others in alike.values():
        fields: dict[str, Any] = {
            name: value
            for name in ("container", "label", "value", "hint")
            if (value := getattr(finding, name))
        }
        if finding.code == AMBIGUOUS_BACKREST:
            log.error("backrest.ambiguous", reason=finding.message)
            continue
        if also := dict.fromkeys(other.container for other in others if other.container != finding.container):
            fields["also"] = list(also)
        action = _ACTIONS.get(finding.code) or ("plan.skipped" if finding.skips else "plan.warning")
        log.warn(action, code=finding.code, reason=finding.message, **fields)


def _said_of(plan: RenderedPlan) -> dict[str, Any]:
    return {
        "plan": plan.plan.id,
        "containers": list(plan.containers),
        "repo": plan.plan.repo,
        "cron": plan.plan.cron,
        "paths": list(plan.plan.paths),
        "hooks": len(plan.plan.hooks),
    }
