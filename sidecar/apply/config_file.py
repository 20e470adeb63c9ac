"""config.json together with the state that belongs to it: look, try a merge, write one.

Each worker has an instance of its own; the disk is what they share, and :class:`Latest` saves one from parsing
what another has parsed. Everything that is known to be unchanged is remembered: a pass over an unchanged world
parses nothing and merges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sidecar.apply.failures import Contended
from sidecar.apply.plan_writer import Merger
from sidecar.config import document
from sidecar.config.document import ConfigError
from sidecar.config.secrets import secrets_of
from sidecar.log import get_logger, set_secrets
from sidecar.merge.result import NO_BOOT, Boot, Merge
from sidecar.messages import PlansRendered
from sidecar.plans.config_view import view
from sidecar.plans.rendering import ConfigView, Owners
from sidecar.settings.settings import Settings
from sidecar.store.config_store import ConfigStore
from sidecar.store.errors import Changed, ConfigUnreadable, NotWritable
from sidecar.store.fingerprint import Loaded
from sidecar.store.state import Owed, Quarantined, State, StateUnusable, expecting, from_json, to_json
from sidecar.store.state_store import Known, StateStore

ATTEMPTS = 50
"""Fresh starts after another writer got in between, before giving up for this time. Each takes milliseconds."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Current:
    """config.json as it stands: the parsed document (never changed), its version, and what plans depend on."""

    data: dict[str, Any]
    loaded: Loaded
    view: ConfigView


@dataclass(slots=True)
class Latest:
    """What one worker parsed or wrote last, so that another need not parse it. Nobody changes what is in it.

    It is only ever believed of a file whose content, or whose status, is the same.

    Attributes:
        current: config.json.
        state: The state that was saved. Never one that was read: the renderer takes a broken one for empty, and
            only the writer puts it aside.
    """

    current: Current | None = None
    state: Known | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did.

    Attributes:
        merge: The merge that it put in place, or that found nothing to do.
        changed: Whether the file was replaced.
        before: The content that stood there before; None when nothing was written.
        digests: Plan id → digest of each rendered plan that was changed, for the quarantine.
        owners_before: What the state said of owners before, for a roll-back; None when nothing was written.
    """

    merge: Merge
    changed: bool
    before: bytes | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    owners_before: Owners | None = None


class ConfigFile:
    """One worker's view of config.json and the state.

    Args:
        settings: Options.
        now: Unix time in seconds.
        read_only: For commands that only look.
        wait: Waits so many seconds for the lock, or less and returns True when it has to end.
        latest: Shared by renderer and writer.
        boot: What measures the grace of orphans; by the wall clock where it is not given.
    """

    Unusable = (ConfigError, ConfigUnreadable)
    """What :meth:`current` raises when there is no file to work with."""

    def __init__(
        self,
        settings: Settings,
        *,
        now: Callable[[], float],
        read_only: bool = False,
        wait: Callable[[float], bool] | None = None,
        latest: Latest | None = None,
        boot: Callable[[], Boot] = lambda: NO_BOOT,
    ) -> None:
        self._settings = settings
        self._now = now
        self._wait = wait
        directory = settings.state_path
        self.store = ConfigStore(settings.config, mode=settings.config_mode, state_dir=directory, clock=now)
        self._states = StateStore(directory, clock=now, read_only=read_only)
        self._current: Current | None = None
        self._latest = latest or Latest()
        self._merger = Merger(settings, now, boot)
        self._noted: set[str] = set()
        self._held = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that keeps two sidecars apart. It may be held already, by this object. Raises LockError."""
        if self._held:
            yield
            return
        with self.store.lock(self._wait):
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def recover(self) -> None:
        """Finish or undo what a killed process left behind. Call once at start, before anything else.

        Raises:
            StoreError, LockError, StateError: The system refused.
        """
        if not self._settings.config.parent.is_dir():
            return
        with self.locked():
            recovered = self.store.recover()
            for note in recovered.notes:
                log.warn("config.recovered", reason=note)
            if recovered.written:
                self.save(_after_payload(self.state(), recovered.payload))
            self.store.settle()

    def current(self) -> Current:
        """Return config.json as it stands; parsed only when it may have changed.

        Raises:
            ConfigError, ConfigUnreadable: There is no file to work with.
        """
        known = self._current
        if known is not None and not self.store.changed_since(known.loaded.fingerprint):
            return known
        loaded = self.store.read()
        for note in loaded.notes:
            self._say_once("config.linked", note)
        for one in (known, self._latest.current):
            if one is not None and one.loaded.fingerprint.digest == loaded.fingerprint.digest:
                self._current = replace(one, loaded=loaded)
                return self._current
        return self._make_current(document.parse(loaded.raw, where=str(self._settings.config)), loaded)

    def _make_current(self, data: dict[str, Any], loaded: Loaded) -> Current:
        set_secrets(secrets_of(data))
        current = self._current = self._latest.current = Current(data, loaded, view(data))
        return current

    def state(self) -> State:
        """Return the state as it is on the disk. Raises StateError."""
        state = self._states.load(self._latest.state)
        if self._states.problem:
            self._say_once("state.unusable", self._states.problem)
        return state

    def save(self, state: State) -> None:
        """Put the state on the disk. Raises StateError."""
        self._states.save(state)
        self._latest.state = self._states.known

    def update(self, change: Callable[[State], State]) -> State:
        """Change the state under the lock; return it. Raises StateError, LockError."""
        with self.locked():
            state = change(self.state())
            self.save(state)
        return state

    def preview(self, wish: PlansRendered) -> Merge:
        """Return what a write would do now. Writes nothing. Raises what :meth:`current` raises, and StateError."""
        return self._merge(self.current(), self.state(), wish)

    def merge_into(self, data: dict[str, Any], wish: PlansRendered) -> Merge:
        """Return the merge of a wish into another document than the file's: what the API gave. Raises StateError."""
        return self._merger.merge_other(data, self.state(), wish)

    def remember(self, wish: PlansRendered) -> Merge:
        """Save what a merge that changes nothing says of owners and absences. Never writes config.json.

        Returns:
            The merge. When it does change something after all, somebody wrote in between; nothing was saved.

        Raises:
            ConfigError, ConfigUnreadable, StateError, LockError: Nothing was saved.
        """
        with self.locked():
            current, state = self.current(), self.state()
            merge = self._merge(current, state, wish)
            if not merge.changed:
                self.save(self._state_after(state, merge, wish))
        return merge

    def write(self, wish: PlansRendered, *, raise_modno: bool = False) -> Written:
        """Merge a wish into the file as it stands and replace it; start over when somebody else wrote meanwhile.

        Args:
            wish: The rendering; made again here when file or owners differ from what it was made from.
            raise_modno: Whether stale tabs of Backrest's UI are to be refused, for a write by restart.

        Raises:
            ConfigError, ConfigUnreadable, NotWritable, StateError, LockError: The file is as it was.
            Contended: It was, each time, another one than we had read.
        """
        if (known := self._nothing_to_do(wish)) is not None:
            return Written(known, changed=False)
        with self.locked():
            for _ in range(ATTEMPTS):
                current, state = self.current(), self.state()
                merge = self._merge(current, state, wish, raise_modno=raise_modno)
                after = self._state_after(state, merge, wish)
                if not merge.changed:
                    if after != state:
                        self.save(after)
                    return Written(merge, changed=False)
                digest = current.loaded.fingerprint.digest
                # Since the last write, not the first: a start between two of them has not read the second.
                after = replace(after, owed=Owed(self._now(), "config.json was written", digest))
                if self._replace(document.dump(merge.data), merge.data, current.loaded, after):
                    before, digests = current.loaded.raw, self._digests(merge, wish)
                    return Written(merge, True, before, digests, state.owners)
        raise self._contended()

    def _digests(self, merge: Merge, wish: PlansRendered) -> dict[str, str]:
        return self._merger.digests({change.plan_id for change in merge.changes}, wish)

    def expect(self, after: Owners) -> None:
        """Say that plans are about to go to the API, see ``store.state.expecting``. Raises StateError, LockError."""
        self.update(lambda state: expecting(state, after))

    def quarantine(self, plan_ids: Collection[str], wish: PlansRendered) -> tuple[str, ...]:
        """Leave plans out until their labels or Backrest change; return those that are rendered at all.

        Raises:
            StateError, LockError: Nothing was saved.
        """
        digests = self._merger.digests(plan_ids, wish)

        def marked(state: State) -> State:
            image_id, _ = self._merger.backrest_of(state, wish)
            marks = (Quarantined(digest, image_id) for digest in digests.values())
            return replace(state, quarantine=tuple(dict.fromkeys((*state.quarantine, *marks))))

        if digests:
            self.update(marked)
        return tuple(sorted(digests))

    def put(self, data: dict[str, Any], change: Callable[[State], State]) -> None:
        """Replace the document by ``data`` whatever stands there now, broken or not. Raises as :meth:`write`."""
        with self.locked():
            for _ in range(ATTEMPTS):
                if self._replace(document.dump(data), data, self.store.read(), change(self.state())):
                    return
        raise self._contended()

    def plans_back(self, before: bytes, change: Callable[[State], State]) -> None:
        """Put the plans of an earlier version back; everything else stays as it is now. Raises as :meth:`write`."""
        earlier = document.parse(before, where="the previous config.json")
        self.put({**self.current().data, "plans": earlier.get("plans", [])}, change)

    def _replace(self, new: bytes, data: dict[str, Any], old: Loaded, after: State) -> bool:
        """Swap the file and save the state; return False when somebody else wrote meanwhile."""
        payload = to_json(State(owners=after.owners, owed=after.owed))
        try:
            done = self.store.replace(new, old.fingerprint, payload)
        except Changed as changed:
            if changed.payload is not None:
                self.save(_after_payload(self.state(), changed.payload))
            for kept in changed.kept:
                log.warn("config.kept", path=str(kept), reason="another program's edit that is in no merge")
            return False
        for note in done.notes:
            self._say_once("config.no_exchange", note)
        if after.owed is not None:  # a Backrest that started before the swap has read the old file
            after = replace(after, owed=replace(after.owed, since=self._now()))
        self.save(after)
        self.store.settle()
        self._make_current(data, replace(old, raw=new, fingerprint=done.fingerprint))
        return True

    def _contended(self) -> Contended:
        path = self._settings.config
        return Contended(f"{path} was written by another program at each of {ATTEMPTS} attempts")

    def _merge(
        self, current: Current, state: State, wish: PlansRendered, *, raise_modno: bool = False
    ) -> Merge:
        mark = current.loaded.fingerprint
        merge = self._merger.merge(current.data, current.view, mark, state, wish, raise_modno=raise_modno)
        if (
            current is self._current
            and self._merger.is_wish_itself(wish)
            and current.view is not wish.basis.view
        ):
            # The very same object next time: comparing the view with the renderer's then costs nothing.
            self._current = replace(current, view=wish.basis.view)
        return merge

    def _nothing_to_do(self, wish: PlansRendered) -> Merge | None:
        """Return the last merge when neither the file nor the state would be another after a write; one look each."""
        current, state = self.current(), self.state()
        merge = self._merger.known(current.loaded.fingerprint, state, wish)
        return merge if merge is not None and self._state_after(state, merge, wish) == state else None

    def _state_after(self, state: State, merge: Merge, wish: PlansRendered) -> State:
        return replace(
            state,
            owners=merge.owners,
            view=wish.basis.path_view or state.view,
        )

    def _say_once(self, action: str, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            log.warn(action, reason=text)


def _after_payload(state: State, payload: Mapping[str, Any]) -> State:
    """Return the state with what a killed process had no time to say of its write: the owners, the restart."""
    try:
        said = from_json(payload)
    except StateUnusable:
        return state
    return replace(state, owners=said.owners, owed=said.owed or state.owed)


__all__ = ["ConfigFile", "Contended", "Current", "NotWritable", "Written"]
