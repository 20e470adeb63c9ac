"""Watches two directories: that of config.json, and the volumes of the Docker root. Neither recursively.

The kernel's notices only make things faster; what is relied on is a look at two inodes every few seconds. It
finds what inotify does not tell: an overflow, a directory that was replaced by another of the same name (the
watch on the old one stays silent for ever), a file behind a symlink, a network or virtual-machine mount. So a
watch that cannot be had (no inotify instance left) is a slower one, never a failure.

The directory is watched, not the file: a rename over config.json ends a watch on the file itself. Other names in
it (our temporary files, Backrest's backups) say nothing. Our own write does: the renderer compares contents.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Generator
from collections.abc import Set as AbstractSet
from contextlib import closing
from pathlib import Path

from sidecar.log import get_logger
from sidecar.messages import ConfigChanged, RendererInbox, VolumesChanged
from sidecar.supervision.child import Context
from sidecar.supervision.mailbox import Mailbox

STEP = 1_000
"""Milliseconds between two wake-ups of the native watcher; a change is told after one or two of them."""
TICK = 5_000
"""Milliseconds after which the watcher comes back without a change: our heartbeat."""
BEAT = 3 * TICK / 1000
POLL = 2.0
"""Seconds between two looks when there is no native watch."""
FAILURES = 3
"""Failures of the native watcher in a row after which it is left alone for a while."""
RETRY = 300.0
"""Seconds after which the native watcher is tried again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0

ADDED, MODIFIED, DELETED = 1, 2, 3
"""watchfiles: watchfiles/main.py, ``Change``."""
_REASONS = {ADDED: "added", MODIFIED: "modified", DELETED: "deleted"}
_NO_VOLUME = frozenset({"metadata.db", "backingFsBlockDev"})
"""The engine's own files among the volumes (moby: volume/local, volume/service/db.go)."""

Batch = AbstractSet[tuple[int, str]]
Watch = Callable[..., Generator[Batch, None, None]]
"""The shape of ``watchfiles.watch``: yields (change, path) pairs, an empty set when its timeout passes."""
Identity = tuple[int, int]
log = get_logger(__name__)


def run(
    ctx: Context,
    *,
    config: Path,
    volumes: Path | None,
    inbox: Mailbox[RendererInbox],
    volumes_changed: Callable[[], None],
    watch: Watch | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Watch until told to stop; say "look again" to the renderer.

    Args:
        ctx: The supervisor's side.
        config: config.json; it and its directory may come and go.
        volumes: ``<docker-root>/volumes`` as this process sees it; None when there is nothing to watch.
        inbox: The renderer's.
        volumes_changed: Called when a volume came or went, before the renderer is told: what it is told may be
            dropped, for whatever waits in its inbox says "look again" as well.
        watch: ``watchfiles.watch`` when None.
        clock: Monotonic time in seconds.
    """
    if watch is None:
        from watchfiles import watch as native

        watch = native
    places = [_Place(Path(os.path.abspath(config)), whole=False)]  # noqa: PTH100 - resolve() would follow links
    if volumes is not None:
        places.append(_Place(Path(os.path.abspath(volumes)), whole=True))  # noqa: PTH100 - the same
    _Watcher(ctx, places, inbox, volumes_changed, watch, clock).run()


class _Place:
    """One directory, and what of it counts: one file (``whole`` false), or every entry."""

    def __init__(self, path: Path, *, whole: bool) -> None:
        self.whole = whole
        self.path = str(path)
        self.directory = self.path if whole else str(path.parent)
        self.problem = ""
        self._seen = self._fingerprint()

    def message(self, reason: str, at: float) -> RendererInbox:
        return VolumesChanged(reason, at) if self.whole else ConfigChanged(reason, at)

    def identity(self) -> Identity | None:
        """Return which directory stands there, None when none can be watched; ``problem`` then says why."""
        try:
            info = Path(self.directory).stat()
        except OSError as error:
            self.problem = error.strerror or str(error)
            return None
        if not stat.S_ISDIR(info.st_mode):
            self.problem = "it is not a directory"
        elif not os.access(self.directory, os.R_OK | os.X_OK):
            self.problem = "it may not be read"
        else:
            self.problem = ""
            return info.st_dev, info.st_ino
        return None

    def changed(self) -> bool:
        """Whether it differs from the last look."""
        before, self._seen = self._seen, self._fingerprint()
        return before != self._seen

    def concerned(self, change: int, path: str) -> bool:
        """Whether a notice of the watcher is about it."""
        if not self.whole:
            return path == self.path
        parent, _, name = path.rpartition("/")
        return parent == self.directory and change != MODIFIED and name not in _NO_VOLUME

    def _fingerprint(self) -> tuple[int, ...] | None:
        try:
            info = Path(self.path).stat()
        except OSError:
            return None
        # The size and the link count of a directory are its file system's affair.
        return info.st_dev, info.st_ino, info.st_mtime_ns, 0 if self.whole else info.st_size


class _Watcher:
    def __init__(
        self,
        ctx: Context,
        places: list[_Place],
        inbox: Mailbox[RendererInbox],
        volumes_changed: Callable[[], None],
        watch: Watch,
        clock: Callable[[], float],
    ) -> None:
        self._ctx = ctx
        self._places = places
        self._inbox = inbox
        self._volumes_changed = volumes_changed
        self._watch = watch
        self._clock = clock
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._said: dict[str, str] = {}

    def run(self) -> None:
        # What changed before the first look, or while a predecessor was dead, nobody has told.
        self._inbox.offer(ConfigChanged("watch started", self._clock()))
        while not self._ctx.stop.is_set():
            self._ctx.beat(BEAT)
            present = self._present()
            self._announce()
            if not present:
                self._wait(self._pause)
                self._pause = min(LONGEST_PAUSE, self._pause * 2)
                continue
            self._pause = FIRST_PAUSE
            try:
                self._follow(present)
            except (OSError, RuntimeError) as error:
                self._failed(error)

    def _follow(self, present: dict[str, Identity]) -> None:
        """Take what the native watcher tells until a directory came, went or was replaced."""
        notices = self._watch(
            *present,
            watch_filter=None,  # filtered below: a batch that was filtered there would never come back to us
            debounce=2 * STEP,
            step=STEP,
            stop_event=self._ctx.stop,
            rust_timeout=TICK,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
            debug=False,
        )
        with closing(notices):
            for batch in notices:
                self._failures = 0
                self._ctx.beat(BEAT)
                self._tell(batch)
                if self._present() != present:
                    log.info("watch.renewed", reason="a directory came, went or was replaced")
                    return
        if not self._ctx.stop.is_set():
            raise RuntimeError("the file watcher ended by itself")

    def _tell(self, batch: Batch = frozenset()) -> None:
        """Pass on what the watcher told, and what a look finds that it did not."""
        now = self._clock()
        for place in self._places:
            changes = sorted({change for change, path in batch if place.concerned(change, path)})
            differs = place.changed()
            if not (changes or differs):
                continue
            if place.whole:
                self._volumes_changed()
            reason = " and ".join(_REASONS[change] for change in changes) or "found changed"
            self._inbox.offer(place.message(reason, now))

    def _present(self) -> dict[str, Identity]:
        found = ((place.directory, place.identity()) for place in self._places)
        return {directory: identity for directory, identity in found if identity is not None}

    def _announce(self) -> None:
        """Say once what cannot be watched, and once that it can be again."""
        for place in self._places:
            if place.problem == self._said.get(place.path, ""):
                continue
            self._said[place.path] = place.problem
            if not place.problem:
                log.info("watch.found", path=place.directory)
            elif place.whole:
                log.info(
                    "watch.no_volumes",
                    path=place.directory,
                    reason=place.problem,
                    advice="new volumes are found at the next interval; mount the Docker root read-only"
                    " and give --docker-root to find them at once",
                )
            else:
                log.warn(
                    "watch.no_config_directory",
                    path=place.directory,
                    reason=place.problem,
                    advice="mount Backrest's config directory here, or correct --config; waiting for it",
                )

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures < FAILURES:
            log.info("watch.failed", error=error)
            self._wait(FIRST_PAUSE * 2.0**self._failures)
            return
        log.warn(
            "watch.polling",
            error=error,
            advice=f"looking every {POLL:g} s instead; if no inotify instance is left, raise"
            " fs.inotify.max_user_instances on the host",
        )
        again = self._clock() + RETRY
        while not self._ctx.stop.is_set() and self._clock() < again:
            self._wait(POLL)

    def _wait(self, seconds: float) -> None:
        """Wait for the stop or the time to pass, then look."""
        self._ctx.beat(seconds + BEAT)
        if not self._ctx.stop.wait(seconds):
            self._tell()
