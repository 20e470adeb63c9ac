"""Put a rendering into config.json: our plans only, and of those only our fields.

Guarantees:

- Pure: the input is never changed; what does not change is shared with the result.
- Nothing but plans of ours is touched, and a plan is ours only by the state file, or by adoption when its id is one
  that we render now. A prefix proves nothing.
- Idempotent: merging the same rendering again changes nothing, and an equal file gives back the same object.
- Safe: :func:`merge_checked` never adds a fault for which Backrest would refuse to start.
- Linear in the number of plans.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sidecar.config.validation import Checked, Fault, day_of, known_repos, plan_problems, validate
from sidecar.merge.merge_pass import MergePass, Settled, plan_digest
from sidecar.merge.result import Blocked, Change, Merge, MergeOptions, Reverted
from sidecar.plans.rendering import Owners, Rendering

__all__ = ["Blocked", "Change", "Merge", "MergeOptions", "Reverted", "merge", "merge_checked", "plan_digest"]


def merge_checked(
    data: dict[str, Any],
    rendering: Rendering,
    owners: Owners,
    options: MergeOptions,
    now: float,
    checked: Checked | None = None,
    settled: Settled | None = None,
) -> Merge:
    """Merge, and leave out what would keep Backrest from starting.

    A plan whose new version has a fault that its version in the file has not is blocked: the file's version stays,
    and the plan is named in ``Merge.blocked``. Faults that were there before are in ``Merge.preexisting``.

    Args and result are those of :func:`merge`; ``checked`` remembers from one call to the next which plans are good.
    Whoever keeps ``checked`` or ``settled`` never changes a document in place.
    """
    checked = checked or Checked()
    stdin_only = options.stdin_only
    preexisting = validate(data, now=now, checked=checked, stdin_only=stdin_only)
    merged = merge(data, rendering, owners, options, now, settled=settled)
    blocked: dict[str, str] = {}
    if merged.changed:
        repos, today = frozenset(known_repos(data)), day_of(now)
        for change in merged.changes:
            if change.after is None:
                continue
            rules = (repos, today, stdin_only)
            before = plan_problems(change.before, *rules) if change.before is not None else ()
            new = [problem for problem in plan_problems(change.after, *rules) if problem not in before]
            if new:
                blocked[change.plan_id] = "; ".join(new)
        if blocked:
            merged = merge(data, rendering, owners, options, now, leave=blocked.keys(), settled=settled)
    if merged.changed and (
        new_faults := _introduced(
            validate(merged.data, now=now, checked=checked, stdin_only=stdin_only), preexisting
        )
    ):
        # Not to be reached: every change is one plan, and each was checked. Better no write than a dead Backrest.
        blocked |= {fault.plan_id or fault.where: fault.message for fault in new_faults}
        merged = Merge(data=data, owners=owners, findings=merged.findings)
    return replace(
        merged,
        preexisting=preexisting,
        blocked=tuple(Blocked(plan_id, reason) for plan_id, reason in sorted(blocked.items())),
    )


def _introduced(after: Collection[Fault], before: Collection[Fault]) -> list[Fault]:
    known = frozenset(before)
    return [fault for fault in after if fault not in known]


def merge(
    data: dict[str, Any],
    rendering: Rendering,
    owners: Owners,
    options: MergeOptions,
    now: float,
    *,
    leave: Collection[str] = (),
    settled: Settled | None = None,
) -> Merge:
    """Merge a rendering into a document.

    Args:
        data: The document, of the shape that ``config.document.parse`` guarantees. Never changed.
        rendering: The whole wish.
        owners: What the state remembers, by plan id.
        options: See :class:`MergeOptions`.
        now: Unix time in seconds; starts and measures the grace of orphans.
        leave: Plan ids that are left as they stand.
        settled: Remembers from one call to the next what needs nothing; only saves time.

    Returns:
        The merged document with all that a person should know about it. ``Merge.owners`` are to be saved once the
        document has been written; they may change though the document does not.
    """
    return MergePass(data, rendering, owners, options, now, leave, {} if settled is None else settled).run()
