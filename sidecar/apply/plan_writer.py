"""Merging a wish into config.json, remembered while nothing has changed: a pass over an unchanged world is free."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from sidecar.backrest.protected import VERSION_LABEL, find_backrest
from sidecar.config.validation import Checked
from sidecar.merge.merge import merge_checked, plan_digest
from sidecar.merge.merge_pass import Settled
from sidecar.merge.result import NO_BOOT, Boot, Merge, MergeOptions
from sidecar.messages import PlansRendered
from sidecar.plans import config_view
from sidecar.plans.desired import Desired
from sidecar.plans.rendering import ConfigView, Rendering
from sidecar.settings.settings import Settings
from sidecar.store.fingerprint import Fingerprint
from sidecar.store.state import State

KEEP_LAST_N_SINCE = (1, 9, 0)
"""First Backrest that forgets by ``keepLastN`` in time buckets: v1.8.1 has the field and ignores it
(backrest: issue 777)."""
STDIN_ONLY = ((1, 12, 1), (1, 13, 0))
"""Where ``--stdin-from-command`` alone may stand for a plan's paths: from, and up to but not with."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """The last merge, and all that it was made from."""

    fingerprint: Fingerprint
    asked: Rendering
    rendering: Rendering
    state: State
    merge: Merge


class Merger:
    """One worker's merges. Touches no disk.

    Args:
        settings: Options.
        now: Unix time in seconds.
        boot: What measures the grace of orphans.
    """

    def __init__(
        self, settings: Settings, now: Callable[[], float], boot: Callable[[], Boot] = lambda: NO_BOOT
    ) -> None:
        self._settings = settings
        self._now = now
        self._boot = boot
        self._desired = Desired(settings)
        self._rendered: Rendering | None = None
        self._tried: _Tried | None = None
        self._checked = Checked()
        self._settled: Settled = {}

    def merge(
        self,
        data: dict[str, Any],
        view: ConfigView,
        fingerprint: Fingerprint,
        state: State,
        wish: PlansRendered,
        *,
        raise_modno: bool = False,
    ) -> Merge:
        """Return the merge of a wish into config.json.

        Args:
            data: The parsed file; never changed.
            view: What plans depend on in it.
            fingerprint: Its version.
            state: The state.
            wish: The rendering; made again here when file or owners differ from what it was made from.
            raise_modno: For a write by restart.
        """
        if (known := self.known(fingerprint, state, wish)) is not None:
            return known
        rendering = self._render(view, state, wish)
        options = self._options(state, wish, raise_modno=raise_modno)
        if len(self._settled) > 2 * len(rendering.plans) + 100:
            self._settled.clear()
        merge = merge_checked(
            data, rendering, state.owners, options, self._now(), self._checked, self._settled
        )
        self._tried = _Tried(fingerprint, wish.rendering, rendering, state, merge)
        return merge

    def merge_other(self, data: dict[str, Any], state: State, wish: PlansRendered) -> Merge:
        """Return the merge of a wish into another document than the file's: what the API gave."""
        rendering = self._render(config_view.view(data), state, wish)
        options = self._options(state, wish, raise_modno=False)
        return merge_checked(data, rendering, state.owners, options, self._now())

    def known(self, fingerprint: Fingerprint, state: State, wish: PlansRendered) -> Merge | None:
        """Return the last merge when it was made from the very same things and left nothing to do."""
        tried = self._tried
        if (
            tried is None
            or tried.asked is not wish.rendering
            or tried.state is not state
            or tried.fingerprint != fingerprint
            or tried.merge.changed
            or tried.merge.owners != state.owners
            or tried.merge.absent
        ):
            return None
        self._rendered = tried.rendering
        return tried.merge

    def is_wish_itself(self, wish: PlansRendered) -> bool:
        """Whether the last merge took the wish's rendering as it came."""
        return self._rendered is wish.rendering

    def digests(self, plan_ids: Collection[str], wish: PlansRendered) -> dict[str, str]:
        """Return the digest of each of these plans that is rendered, by plan id, for the quarantine."""
        rendered = self._rendered or wish.rendering
        return {p.plan.id: plan_digest(p.plan) for p in rendered.plans if p.plan.id in plan_ids}

    def _render(self, view: ConfigView, state: State, wish: PlansRendered) -> Rendering:
        basis = replace(wish.basis, view=view, owners=state.owners)
        if basis == wish.basis:
            self._rendered = wish.rendering
        else:
            rendering = self._desired.render(wish.snapshot, basis)
            self._rendered = replace(rendering, complete=wish.rendering.complete)
        return self._rendered

    def backrest_of(self, state: State, wish: PlansRendered) -> tuple[str, str]:
        """Return image id and version of Backrest as it is now, or as last seen; empty where not known.

        Not as at the last restart: an update lifts a quarantine, and brings new fields.
        """
        backrest = find_backrest(wish.snapshot, self._settings.backrest_container)
        if backrest is None:
            return state.image_id, state.backrest_version
        version = backrest.labels.get(VERSION_LABEL, state.backrest_version)
        return backrest.image_id or state.image_id, version

    def _options(self, state: State, wish: PlansRendered, *, raise_modno: bool) -> MergeOptions:
        settings = self._settings
        image_id, version = self.backrest_of(state, wish)
        image = image_id.removeprefix("sha256:")
        return MergeOptions(
            orphans=settings.orphans,
            orphans_explicit="orphans" in settings.explicit,
            orphan_grace=settings.orphan_grace,
            prefix=settings.plan_id_prefix,
            keep_last_n_supported=not _older(version, KEEP_LAST_N_SINCE),
            stdin_only=not _older(version, STDIN_ONLY[0]) and _older(version, STDIN_ONLY[1]),
            raise_modno=raise_modno,
            quarantined=frozenset(
                entry.digest for entry in state.quarantine if entry.image_id.removeprefix("sha256:") == image
            ),
            boot=self._boot(),
        )


def _older(version: str, than: tuple[int, int, int]) -> bool:
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return found is not None and tuple(map(int, found.groups())) < than
