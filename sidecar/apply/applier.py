"""Applying: the newest wish is brought into config.json and, with ``--apply``, into the running Backrest.

One generator, :meth:`Applier._work`, tells the whole story from top to bottom; wherever it has to wait it yields
the monotonic time at which it wants to be called again. So a wait is a state of the caller's loop, not a call: a
newer wish is taken up at once, and a stop is never late. Nothing that is owed is kept in memory alone: what a
crash could lose is on the disk before the step that makes it true.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from sidecar.apply.apply_make_up import MakeUps
from sidecar.apply.config_file import ConfigFile, Written
from sidecar.apply.link import BackrestLink
from sidecar.apply.live_apply import ApiApply
from sidecar.apply.restarter import Restarter
from sidecar.backrest.api import BackrestApi, Rejected
from sidecar.duration import doubling
from sidecar.engine.errors import EngineError
from sidecar.errors import SidecarError, told
from sidecar.log import get_logger
from sidecar.merge.result import Merge
from sidecar.messages import Applied, ApplyWaits, PlansRendered, Report, WriteFailed
from sidecar.settings.settings import Settings
from sidecar.status.announcer import Announcer
from sidecar.store.state import Owed

LONGEST_SETTLE = 60.0
FIRST_LOOK = 20.0
"""Seconds that a Backrest which is started together with a daemon gets until it answers."""
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0

log = get_logger(__name__)


class Applier:
    """Brings wishes about, one at a time, the newest first.

    Args:
        settings: Options.
        file: config.json and the state.
        announcer: Says what was done.
        restarter: Stops and starts Backrest; None without ``--apply``.
        api: Makes a client of Backrest's API; None when no URL is known.
        clock: Monotonic seconds.
        now: Unix time in seconds.
        report: Takes the outcome of each wish.
        patient: A daemon waits and tries again; a one-shot raises what went wrong.
        link: What is known of the API; None when no URL is known.
    """

    def __init__(
        self,
        settings: Settings,
        file: ConfigFile,
        announcer: Announcer,
        restarter: Restarter | None,
        api: Callable[[], BackrestApi] | None,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        report: Callable[[Report], None],
        patient: bool,
        link: BackrestLink | None = None,
    ) -> None:
        self._settings = settings
        self._file = file
        self._link = link
        self._announcer = announcer
        self._restarter = restarter
        self._api = api
        self._live = (
            ApiApply(settings, file, api, clock=clock, now=now, patient=patient) if api is not None else None
        )
        self._make_ups = MakeUps(
            file, api if settings.apply and not settings.dry_run else None, clock=clock, now=now
        )
        self._clock = clock
        self._report = report
        self._patient = patient
        self._wish: PlansRendered | None = None
        self._done: PlansRendered | None = None
        self._job: Iterator[float] | None = None
        self._failures = 0
        self._said = ""

    def want(self, wish: PlansRendered) -> None:
        """Take a wish; it replaces the one that waits."""
        self._wish = wish

    def step(self) -> float | None:
        """Do what is due: for the wish, and for the backups that serving one has cost.

        Returns:
            The monotonic time of the next step, or None when there is nothing to do before the next wish.

        Raises:
            SidecarError, unless patient.
        """
        due = self._step()
        if not self._patient and due is not None:
            return due
        try:
            owed = self._make_ups.step()
        except SidecarError as failure:
            if not self._patient:
                raise
            log.error("backrest.make_up_failed", **told(failure))
            owed = self._clock() + LONGEST_RETRY
        if not self._patient:
            # What is left is on the disk; what is due now is asked for before we end.
            return owed if owed is not None and owed <= self._clock() else None
        return min((at for at in (due, owed) if at is not None), default=None)

    def _step(self) -> float | None:
        if self._job is None:
            if self._wish is None or self._wish is self._done:
                return None
            self._job = self._work()
        try:
            return next(self._job)
        except StopIteration:
            self._job = None
            return None if self._wish is self._done else self._clock()
        except BaseException:
            self._job = None
            raise

    def _work(self) -> Iterator[float]:
        while self._wish is not None and self._wish is not self._done:
            wish = self._wish
            try:
                yield from self._serve()
                self._failures, self._said = 0, ""
            except SidecarError as failure:
                said = told(failure)
                self._report(WriteFailed(wish.number, said["reason"], said.get("advice", "")))
                if not self._patient:
                    raise
                if said["reason"] != self._said:
                    self._said = said["reason"]
                    log.error("config.write_failed", **said)
                self._failures += 1
                until = self._clock() + doubling(self._failures, FIRST_RETRY, LONGEST_RETRY)
                while self._clock() < until and self._wish is wish:
                    yield until

    def _serve(self) -> Iterator[float]:
        """Bring about the newest wish; return when that is done."""
        if self._restarter is not None:
            self._restarter.must_start()
        if self._settings.dry_run:
            self._dry_run(self._wanted())
            return
        if not self._settings.apply:
            self._write_only()
            return
        if self._link is not None:
            yield from self._link.first_look(self._clock, FIRST_LOOK if self._patient else 0.0)
        wish = self._wanted()
        merge = self._file.preview(wish)
        self._announcer.merged(merge)
        if not merge.changed and not self._owes():
            # Not by write(): Backrest runs, and may have saved since the preview.
            merge = self._file.remember(wish)
            if not merge.changed:
                self._finish(wish, merge, changed=False)
            return
        if self._patient and merge.changed and (yield from self._settle()):
            return
        if self._by_api():
            yield from self._apply_by_api()
        elif faults := self._file.preview(self._wanted()).preexisting:
            # Backrest runs with what it has in memory; stopped now, it would not come up again.
            self._write_only(
                owed=f"config.json has faults that are not ours: {faults[0].where} {faults[0].message}"
            )
        else:
            yield from self._apply_by_restart()

    def _dry_run(self, wish: PlansRendered) -> None:
        merge = self._file.preview(wish)
        self._announcer.merged(merge)
        before = self._file.current().data
        self._announcer.would_write(before, merge, text=self._settings.log_format == "text")
        self._finish(wish, merge, changed=False)

    def _write_only(self, owed: str = "") -> None:
        wish = self._wanted()
        owed_before = self._file.state().owed
        written = self._file.write(wish)
        self._announcer.merged(written.merge)
        self._announcer.written(written.merge, unread=self._unread(written.merge, owed_before))
        if written.changed:
            log.info(
                "config.write",
                path=str(self._settings.config),
                plans=[change.plan_id for change in written.merge.changes],
                note=owed or "Backrest sees it only after a restart; use --apply to have that done",
            )
        self._finish(wish, written.merge, changed=written.changed, owed=owed)

    def _unread(self, merge: Merge, owed: Owed | None) -> bool:
        """Whether Backrest undid plans of ours that it has never read, by a save of what it has in memory.

        It reads its file when it starts. What we have written since, its next save drops: that is nobody's edit.
        """
        if owed is None or not merge.reverted or self._restarter is None:
            return False
        try:
            return self._restarter.unread(owed)
        except EngineError:
            return True  # as far as can be seen it has not been started since

    def _settle(self) -> Generator[float, None, bool]:
        """Wait until the wish has not changed for ``--apply-settle``; return whether there is nothing left to do."""
        first = last = self._clock()
        wish = self._wanted()
        while True:
            due = min(last + self._settings.apply_settle, first + LONGEST_SETTLE)
            if self._clock() >= due:
                return False
            yield due
            newer = self._wanted()
            if newer is wish:
                continue
            merge = self._file.preview(newer)
            if not merge.changed and not self._owes():
                # Not by write(), here neither.
                merge = self._file.remember(newer)
                if not merge.changed:
                    self._finish(newer, merge, changed=False)
                    return True
            if (
                newer.rendering.plans != wish.rendering.plans
                or newer.rendering.withdrawn != wish.rendering.withdrawn
            ):
                last = self._clock()
            wish = newer

    def _by_api(self) -> bool:
        """Whether the API is the way: asked for, or there and answering."""
        if self._api is None or self._settings.apply_mode == "restart":
            return False
        if self._settings.apply_mode == "api":
            return True
        return self._link.look() if self._link is not None else self._api().answers()

    def _apply_by_api(self) -> Iterator[float]:
        assert self._live is not None  # noqa: S101  # _by_api said so
        try:
            live = yield from self._live.run(self._wanted, self._needed, self._waits)
        except Rejected as refused:
            wish = self._wanted()
            guilty = self._file.quarantine(refused.plan_ids, wish)
            if not guilty:
                raise
            # The wish stands, and is served once more without them: one plan does not keep the others waiting.
            log.error(
                "plan.refused", plans=guilty, reason=str(refused), advice="change the labels of these plans"
            )
            self._report(WriteFailed(wish.number, str(refused), "change the labels of these plans", guilty))
            return
        if live.merge is None:
            merge = self._file.remember(live.wish)  # not by write(): Backrest runs
            if not merge.changed:
                self._finish(live.wish, merge, changed=False)
            return
        self._announcer.written(live.merge)
        if live.changed and not live.unscheduled:
            log.info("backrest.applied", by="api", plans=[change.plan_id for change in live.merge.changes])
        self._finish(
            live.wish, live.merge, changed=live.changed, restarted=live.changed, owed=live.unscheduled
        )

    def _needed(self) -> bool:
        return self._file.preview(self._wanted()).changed or self._owes()

    def _apply_by_restart(self) -> Iterator[float]:
        assert self._restarter is not None  # noqa: S101  # there is one with --apply
        wish = self._wanted()

        def write() -> Written:
            # A newer wish may come while Backrest comes up: it is served after this one, not taken for done.
            nonlocal wish
            wish = self._wanted()
            return self._file.write(wish, raise_modno=True)

        outcome = yield from self._restarter.restart(write, self._needed, self._waits)
        if outcome.written is None:
            wish = self._wanted()
            merge = self._file.remember(wish)  # once more not by write()
            if not merge.changed:
                self._finish(wish, merge, changed=False, owed=outcome.owed)
            return
        if outcome.refused:
            self._finish(wish, outcome.written.merge, changed=False, restarted=True, owed=outcome.owed)
            why = f"Backrest did not start with the new plans, the previous ones are back: {outcome.refused}"
            self._report(WriteFailed(wish.number, why, "change the labels of the plan named", outcome.guilty))
            return
        self._announcer.written(outcome.written.merge)
        if outcome.written.changed:
            log.info(
                "config.write",
                path=str(self._settings.config),
                plans=[change.plan_id for change in outcome.written.merge.changes],
            )
        self._finish(
            wish,
            outcome.written.merge,
            changed=outcome.written.changed,
            restarted=outcome.restarted,
            owed=outcome.owed,
        )

    def _waits(self, reason: str, overdue: bool) -> None:
        """Tell the status for what the newest wish waits."""
        wish = self._wanted()
        plans = tuple(change.plan_id for change in self._file.preview(wish).changes)
        self._report(ApplyWaits(wish.number, reason, plans, overdue))

    def _owes(self) -> bool:
        return self._restarter is not None and self._restarter.owes()

    def _wanted(self) -> PlansRendered:
        assert self._wish is not None  # noqa: S101  # a job begins with a wish, and a wish is only ever replaced
        return self._wish

    def _finish(
        self, wish: PlansRendered, merge: Merge, *, changed: bool, restarted: bool = False, owed: str = ""
    ) -> None:
        if wish is self._wish:
            self._done = wish
        self._report(
            Applied(
                wish.number,
                changed,
                wish.at,
                self._clock(),
                restarted=restarted,
                owed="restart" if owed else "",
                reason=owed,
                skipped=tuple(sorted({finding.container for finding in merge.findings if finding.skips})),
            )
        )
        blocked = tuple(entry.plan_id for entry in merge.blocked)
        if blocked:
            reasons = "; ".join(f"{entry.plan_id}: {entry.reason}" for entry in merge.blocked)
            self._report(WriteFailed(wish.number, f"Backrest would refuse {reasons}", "", blocked))
