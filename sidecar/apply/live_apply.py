"""Taking up new plans through Backrest's API: wait until it costs no backup, save, see that they are scheduled.

A SetConfig disturbs nothing that runs, but it throws the queue away (see :mod:`sidecar.backrest.queue`), and may
itself go unheard: from 1.10 on Backrest drops the news of a change while it takes up the one before (backrest:
internal/eventemitter/eventemitter.go:45-58). So it is sent when nothing is due or about to be; what it may cost all
the same is on the disk before it (see ``make_up.py``); and it counts as applied once every plan has a run in
the queue that was planned after it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from sidecar.apply.config_file import ConfigFile
from sidecar.apply.failures import Busy
from sidecar.apply.make_up import at_risk
from sidecar.backrest.api import BackrestApi, Config, ModnoConflict, Operation, Rejected, Saved, save
from sidecar.backrest.copies import Copies, RepoEdits
from sidecar.backrest.queue import Wait, entries, interval_plans, scheduled_plans, waits_for
from sidecar.log import get_logger
from sidecar.merge.result import Merge
from sidecar.messages import PlansRendered
from sidecar.plans.rendering import Owners
from sidecar.settings.settings import Settings
from sidecar.store.state import expecting

ATTEMPTS = 5
"""Saves that somebody else's save beats, one after the other, before it is given up for this time."""
REPO_ATTEMPTS, REPO_SECONDS = 20, 60.0
"""The same for a save that puts back what ours undid, all in one step; and the seconds after which none begins."""
SAVES_AGAIN = 2
"""Saves more, for plans that Backrest has not scheduled."""
TAKES_UP = 10.0
"""Seconds that Backrest is given to schedule what was saved before us; then we save all the same."""
SCHEDULES = 3.0
"""Seconds that it is given after our save, and :data:`SCHEDULES_PLAN` more for each plan (400 take 0.6 s)."""
SCHEDULES_PLAN = 0.01
LOOKS_APART = 0.25
"""Seconds between two looks at what it has scheduled."""
ZONES = (None, dt.UTC)
"""In which it may read the crons of a plan that it has not told a time for."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Live:
    """How :meth:`ApiApply.run` ended.

    Attributes:
        wish: The rendering that was served.
        merge: Its merge into Backrest's config; None when there was nothing left to do.
        changed: Whether something was saved.
        unscheduled: Which enabled plans Backrest will not run by itself, as one clause; empty when there are none.
    """

    wish: PlansRendered
    merge: Merge | None
    changed: bool = False
    unscheduled: str = ""


@dataclass(frozen=True, slots=True)
class _Done:
    """What one attempt did; ``newest`` is the last operation before it, ``mended`` says that it saved twice."""

    merge: Merge
    changed: bool
    config: Config
    newest: int = 0
    mended: bool = False


class ApiApply:
    """Brings wishes into a running Backrest through its API.

    Args:
        settings: Options.
        file: config.json and the state.
        api: Makes a client.
        clock: Monotonic seconds.
        now: Unix time in seconds.
        patient: A daemon keeps waiting; a one-shot raises :class:`Busy`.
    """

    def __init__(
        self,
        settings: Settings,
        file: ConfigFile,
        api: Callable[[], BackrestApi],
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        patient: bool,
    ) -> None:
        self._settings = settings
        self._file = file
        self._api = api
        self._clock = clock
        self._now = now
        self._patient = patient
        self._copies = Copies(settings.config)
        self._said = ""
        self._intervals: tuple[str, ...] = ()

    def run(
        self,
        wanted: Callable[[], PlansRendered],
        needed: Callable[[], bool],
        waits: Callable[[str, bool], object] = lambda _reason, _overdue: None,
    ) -> Generator[float, None, Live]:
        """Bring Backrest to run with what is wanted.

        Args:
            wanted: Returns the newest wish.
            needed: Whether there is still anything to do; asked anew after each wait.
            waits: Told for what it waits, and whether it does so for longer than ``--apply-max-wait``.

        Raises:
            Busy: It could not be done in time without costing a backup; only when not patient.
            Rejected: Backrest refuses the plans; nothing was changed.
            BackrestApiError and what the state raises. What may have been lost is written down.
        """
        began, late, conflicts, again, changed = self._clock(), False, 0, 0, False
        while True:
            wish = wanted()
            if not again and not needed():
                return Live(wish, None)
            forced = late and self._settings.apply_force
            done = self._attempt(
                wish, resave=again > 0, forced=forced, patience=self._clock() - began < TAKES_UP
            )
            if isinstance(done, Wait):
                late = self._waits(done, began, waits, said=late)
                if not (late and self._settings.apply_force):
                    yield self._clock() + done.again_in
                continue
            if done is None:
                conflicts += 1
                if conflicts == ATTEMPTS:
                    raise ModnoConflict(
                        f"the config of Backrest at {self._api().where} was saved by somebody else at each of "
                        f"{ATTEMPTS} attempts; nothing of ours is lost, the next run tries again"
                    )
                yield self._clock() + 0.2 * conflicts
                continue
            self._said = ""
            changed = changed or done.changed
            if not done.changed:
                return Live(wish, done.merge, changed)
            missing = yield from self._unscheduled(done)
            if not (missing or done.mended) or again == SAVES_AGAIN:
                return Live(wish, done.merge, changed, _say_unscheduled(missing))
            again += 1
            if missing:
                log.warn(
                    "backrest.not_scheduled",
                    plans=missing,
                    reason="Backrest has taken the config and not scheduled these plans; it is saved once more",
                )

    def _waits(self, wait: Wait, began: float, waits: Callable[[str, bool], object], *, said: bool) -> bool:
        """Say for what we wait; return whether that takes too long."""
        late = self._clock() - began >= self._settings.max_wait
        if _steady(wait.reason) != _steady(self._said):
            log.info("backrest.busy", reason=wait.reason)
        if late and not self._patient and not self._settings.apply_force:
            raise Busy(wait.reason, self._clock() - began, live=True)
        if late and not said:
            if self._settings.apply_force:
                log.warn("backrest.forced", reason=wait.reason)
            else:
                log.error(
                    "backrest.busy_too_long",
                    reason=wait.reason,
                    advice="the new plans wait until saving them costs no backup; --apply-force makes it up",
                )
        if _steady(wait.reason) != _steady(self._said) or late != said:
            waits(wait.reason, late)
        self._said = wait.reason
        return late

    def _attempt(
        self, wish: PlansRendered, *, resave: bool, forced: bool, patience: bool
    ) -> _Done | Wait | None:
        """Save once, unless there is something to wait for; None when somebody else saved meanwhile."""
        api = self._api()
        config = api.get_config()
        operations = _listed(api, config)
        if not forced and (wait := self._not_yet(config, operations, patience=patience)) is not None:
            return wait
        merge = self._file.merge_into(config, wish)
        if not merge.changed and not resave:
            self._taken(merge, wish)
            return _Done(merge, changed=False, config=config)
        sent = {**config, "plans": merge.data.get("plans", [])} if merge.changed else config
        saved = self._save(api, config, sent, operations, merge.owners)
        if saved is None:
            return None
        self._taken(merge, wish)
        seen, mended = saved
        newest = max((op.id for op in operations), default=0)
        return _Done(merge, changed=True, config=seen, newest=newest, mended=mended)

    def _not_yet(self, config: Config, operations: tuple[Operation, ...], *, patience: bool) -> Wait | None:
        now = dt.datetime.fromtimestamp(self._now(), dt.UTC)
        wait = waits_for(operations, config, now, ZONES, live=True)
        if wait is None and patience:
            told = {op.plan_id for op in operations if op.kind == "backup" and (op.pending or op.runs)}
            if any(plan not in told for plan in scheduled_plans(config)):
                # It would not hear of our save before it is done with that one.
                return Wait("Backrest is still taking up the save before", LOOKS_APART)
        return wait

    def _save(
        self,
        api: BackrestApi,
        config: Config,
        sent: Config,
        operations: tuple[Operation, ...],
        owners: Owners,
    ) -> tuple[Config, bool] | None:
        """Save, and put right what that undid unseen.

        Returns:
            The config as read back, and whether there was something to put right: a second save, of which Backrest
            hears only after it has taken up the first. None for a conflict.
        """
        self._say_intervals(config)
        now = self._now()
        self._file.update(
            lambda state: replace(
                expecting(state, owners), make_up=at_risk(state.make_up, operations, config, now)
            )
        )
        saved, edits = self._send(api, config, sent)
        if saved is None:
            return None
        seen = self._put_right(api, edits) if edits else saved.config
        if saved.unlike and saved.overtaken:
            return None  # saved right after us: look at what became of it
        if saved.unlike:
            log.warn(
                "backrest.unlike",
                plans=list(saved.unlike),
                reason="Backrest took these plans otherwise than we sent them; is it older than their fields?",
            )
        return seen, bool(edits)

    def _send(self, api: BackrestApi, config: Config, sent: Config) -> tuple[Saved | None, RepoEdits]:
        """Save, and look at once for edits of repos that this undid: the next save may write over the copy."""
        mark, edits = self._copies.mark(), RepoEdits()

        def look() -> None:
            nonlocal edits
            edits = self._copies.undone(mark, config, sent)

        saved = save(api, config, sent, look)
        return saved, edits

    def _put_right(self, api: BackrestApi, edits: RepoEdits) -> Config:
        """Make edits of repos again that our save undid; return the config as it is then."""
        reason = "an edit of these repos came to Backrest in the very moment of our save, which undid it"
        advice = (
            "look at these repos in Backrest, and add or edit them again where they are not as you left them"
        )
        ends = self._clock() + REPO_SECONDS
        for _ in range(REPO_ATTEMPTS):
            if self._clock() > ends:
                break
            config = api.get_config()
            try:
                saved, undone = self._send(api, config, edits.applied(config))
            except Rejected as refused:
                log.error("backrest.repo_lost", repos=edits.ids, reason=f"{reason}: {refused}", advice=advice)
                return config
            if saved is None:
                continue
            log.warn("backrest.repo_kept", repos=edits.ids, reason=f"{reason}; it was put back")
            if not undone:
                return saved.config
            edits = undone
        log.error("backrest.repo_lost", repos=edits.ids, reason=reason, advice=advice)
        return api.get_config()

    def _taken(self, merge: Merge, wish: PlansRendered) -> None:
        view = wish.basis.path_view
        self._file.update(
            lambda state: replace(state, owners=merge.owners, owed=None, view=view or state.view)
        )

    def _unscheduled(self, done: _Done) -> Generator[float, None, tuple[str, ...]]:
        """Wait until every enabled plan has been scheduled after our save; return those that have not in time."""
        wanted = scheduled_plans(done.config)
        ends = self._clock() + SCHEDULES + SCHEDULES_PLAN * len(wanted)
        while True:
            there = {
                op.plan_id
                for op in _listed(self._api(), done.config)
                if op.kind == "backup" and op.id > done.newest
            }
            missing = tuple(plan for plan in wanted if plan not in there)
            if not missing or self._clock() >= ends:
                return missing
            yield self._clock() + LOOKS_APART

    def _say_intervals(self, config: Config) -> None:
        intervals = tuple(sorted(interval_plans(config)))
        if intervals and intervals != self._intervals:
            log.warn(
                "backrest.intervals",
                plans=intervals,
                reason="each save of the config begins their maxFrequency anew; they run at their time all the same",
                advice="give them a cron schedule, or the clock Last Run Time",
            )
        self._intervals = intervals


def _say_unscheduled(plans: tuple[str, ...]) -> str:
    if not plans:
        return ""
    reason = f"Backrest has not scheduled {', '.join(plans)}, though its config has them"
    advice = "restart Backrest, or save something in its web page, and look into its log"
    log.error("backrest.not_scheduled", plans=plans, reason=reason, advice=advice)
    return reason


def _listed(api: BackrestApi, config: Config) -> tuple[Operation, ...]:
    """Return what runs and what pends, at least: a run for each plan, three tasks for each repo, and what is new."""
    return api.operations(200 + 2 * len(entries(config, "plans")) + 4 * len(entries(config, "repos")))


def _steady(reason: str) -> str:
    """Return a reason without what changes from look to look."""
    return reason.rpartition(" in ")[0] or reason
