"""The file watcher with scripted notices, and with the real ones of the kernel on a directory of its own."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest

from sidecar.messages import ConfigChanged, RendererInbox, VolumesChanged
from sidecar.supervision.child import Context
from sidecar.supervision.mailbox import Mailbox
from sidecar.supervision.messages import Stop
from workers import filesystem
from workers.filesystem import ADDED, DELETED, MODIFIED, Batch, Watch

Step = Callable[[], Batch] | Exception


class Script:
    """A watcher that plays one list of steps a call, and ends the test's worker when there is none left."""

    def __init__(self, ctx: Context, *calls: Sequence[Step]) -> None:
        self.ctx = ctx
        self.calls = list(calls)
        self.paths: list[tuple[str, ...]] = []
        self.options: dict[str, object] = {}

    def __call__(self, *paths: str, **options: object) -> Generator[Batch, None, None]:
        self.paths.append(paths)
        self.options = options
        return self._play()

    def _play(self) -> Generator[Batch, None, None]:
        steps = self.calls.pop(0) if self.calls else []
        for step in steps:
            if isinstance(step, Exception):
                raise step
            yield step()
        if not self.calls:
            self.ctx.stop.set()


class NoWait(threading.Event):
    """A stop event whose waiting takes no time, and which counts it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []
        self.on_wait: Callable[[], None] = lambda: None

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0.0)
        self.on_wait()
        return self.is_set()


class Tree:
    """A config directory, a volumes directory, and a context that counts beats."""

    def __init__(self, root: Path) -> None:
        self.config = root / "etc" / "config.json"
        self.config.parent.mkdir()
        self.config.write_text("{}")
        self.volumes = root / "volumes"
        self.volumes.mkdir()
        self.stop = NoWait()
        self.beats: list[float] = []
        self.ctx = Context("filesystem", self.stop, self.beats.append, lambda report: None)
        self.inbox: Mailbox[RendererInbox] = Mailbox(100)
        self.volume_changes = 0
        self.now = 50.0

    def run(self, watch: Watch) -> list[RendererInbox]:
        filesystem.run(
            self.ctx,
            config=self.config,
            volumes=self.volumes,
            inbox=self.inbox,
            volumes_changed=self._volumes_changed,
            watch=watch,
            clock=lambda: self.now,
        )
        messages: list[RendererInbox] = []
        while (message := self.inbox.take(0)) is not None:
            assert message is not Stop.STOP
            messages.append(message)
        return messages

    def _volumes_changed(self) -> None:
        self.volume_changes += 1


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def gives(*changes: tuple[int, str]) -> Callable[[], Batch]:
    return lambda: set(changes)


STARTED = ConfigChanged("watch started", 50.0)


def test_only_the_exact_names_count(tree: Tree) -> None:
    etc, volumes = tree.config.parent, tree.volumes
    others = [
        etc / "config.json.tmp",
        etc / ".config.json.backrest-sidecar.lock",
        etc / "config.json.bak.1700000000",
        etc / ".backrest-sidecar",
        etc / "xconfig.json",
        volumes / "config.json" / "deeper",
    ]
    script = Script(
        tree.ctx,
        [
            gives(*((change, str(path)) for path in others for change in (ADDED, MODIFIED, DELETED))),
            gives((MODIFIED, f"{volumes}/db"), (ADDED, f"{volumes}/metadata.db"), (MODIFIED, str(volumes))),
            gives((ADDED, str(tree.config)), (DELETED, str(tree.config))),
            gives((ADDED, f"{volumes}/db")),
            gives((DELETED, f"{volumes}/db"), (MODIFIED, str(tree.config))),
        ],
    )
    assert tree.run(script) == [
        STARTED,
        ConfigChanged("added and deleted", 50.0),
        VolumesChanged("added", 50.0),
        ConfigChanged("modified", 50.0),
        VolumesChanged("deleted", 50.0),
    ]
    assert script.paths == [(str(etc), str(volumes))]


def test_a_volume_is_not_forgotten_when_the_message_about_it_finds_no_room(tree: Tree) -> None:
    tree.inbox = Mailbox(1)
    script = Script(tree.ctx, [gives((MODIFIED, str(tree.config)), (ADDED, f"{tree.volumes}/db"))])
    assert tree.run(script) == [STARTED]
    assert tree.volume_changes == 1


def test_watches_cheaply_not_recursively_and_beats_each_time(tree: Tree) -> None:
    script = Script(tree.ctx, [gives(), gives(), gives()])
    assert tree.run(script) == [STARTED]
    options = script.options
    assert options["recursive"] is False
    assert options["watch_filter"] is None
    assert options["yield_on_timeout"] is True
    assert options["stop_event"] is tree.stop
    assert options["step"] == 1000
    assert len(tree.beats) == 4
    assert min(tree.beats) >= 3 * filesystem.TICK / 1000


def test_what_the_watcher_missed_is_found_at_the_next_look(tree: Tree) -> None:
    def silent_write() -> Batch:
        tree.config.write_text('{"version": 4}')
        return set()

    def silent_volume() -> Batch:
        (tree.volumes / "new").mkdir()
        os.utime(tree.volumes, ns=(1, 1))
        return set()

    messages = tree.run(Script(tree.ctx, [silent_write, gives(), silent_volume, gives()]))
    assert messages == [
        STARTED,
        ConfigChanged("found changed", 50.0),
        VolumesChanged("found changed", 50.0),
    ]


def test_a_replaced_directory_is_watched_anew(tree: Tree) -> None:
    def replace() -> Batch:
        tree.config.parent.rename(tree.config.parent.with_name("old"))
        tree.config.parent.mkdir()
        tree.config.write_text("{}")
        return set()

    def never() -> Batch:
        raise AssertionError("the watch on the old directory was kept")

    script = Script(tree.ctx, [replace, never], [gives()])
    assert tree.run(script) == [STARTED, ConfigChanged("found changed", 50.0)]
    assert len(script.paths) == 2


def test_without_volumes_it_says_so_once_and_goes_on(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tree.volumes.rmdir()

    def appears() -> Batch:
        tree.volumes.mkdir()
        return set()

    script = Script(tree.ctx, [gives(), gives(), appears], [gives()])
    messages = tree.run(script)
    etc = str(tree.config.parent)
    assert script.paths == [(etc,), (etc, str(tree.volumes))]
    assert messages == [STARTED, VolumesChanged("found changed", 50.0)]
    said = [record.getMessage() for record in caplog.records]
    assert said.count("watch.no_volumes") == 1
    assert said.count("watch.found") == 1


def test_waits_for_the_config_directory_with_growing_pauses(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    shutil.rmtree(tree.config.parent)
    tree.volumes.rmdir()

    def appears_at_last() -> None:
        if len(tree.stop.waited) == 6:
            tree.config.parent.mkdir()
            tree.config.write_text("{}")

    tree.stop.on_wait = appears_at_last
    messages = tree.run(Script(tree.ctx, [gives()]))
    assert tree.stop.waited == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert messages == [STARTED, ConfigChanged("found changed", 50.0)]
    assert [record.getMessage() for record in caplog.records].count("watch.no_config_directory") == 1


def test_no_inotify_left_is_retried_then_polled_then_tried_again(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    full = OSError(errno.EMFILE, "Too many open files")

    def time_passes() -> None:
        tree.now += tree.stop.waited[-1]
        if len(tree.stop.waited) == 50:
            tree.config.write_text('{"version": 4}')

    tree.stop.on_wait = time_passes
    script = Script(tree.ctx, [full], [full], [full], [gives()])
    messages = tree.run(script)
    assert [message.reason for message in messages] == ["watch started", "found changed"]
    assert len(script.paths) == 4
    assert tree.stop.waited[:3] == [1.0, 2.0, filesystem.POLL]
    assert tree.now == 50.0 + 3.0 + filesystem.RETRY
    assert [record.getMessage() for record in caplog.records].count("watch.polling") == 1


def test_failures_that_are_not_in_a_row_never_end_in_polling(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    cut = OSError(errno.EIO, "cut")
    tree.run(Script(tree.ctx, [cut], [cut], [gives(), cut], [cut], [gives(), cut], [cut], [gives()]))
    assert "watch.polling" not in [record.getMessage() for record in caplog.records]


def test_a_watcher_that_ends_by_itself_is_a_failure_that_is_survived(tree: Tree) -> None:
    script = Script(tree.ctx, [gives()], [RuntimeError("Unable to decode path")], [gives()])
    assert tree.run(script) == [STARTED]
    assert len(script.paths) == 3


def test_an_error_of_another_kind_lets_it_crash(tree: Tree) -> None:
    with pytest.raises(KeyError):
        tree.run(Script(tree.ctx, [KeyError("bug")]))


class Real:
    """The worker in a thread with the kernel's notices."""

    def __init__(self, root: Path) -> None:
        self.tree = Tree(root)
        self.stop = threading.Event()
        ctx = Context("filesystem", self.stop, lambda seconds: None, lambda report: None)
        self.thread = threading.Thread(
            target=filesystem.run,
            args=(ctx,),
            kwargs={
                "config": self.tree.config,
                "volumes": self.tree.volumes,
                "inbox": self.tree.inbox,
                "volumes_changed": lambda: None,
            },
        )
        self.thread.start()
        assert self.next() == "watch started"

    def next(self) -> str:
        message = self.tree.inbox.take(15)
        assert isinstance(message, ConfigChanged | VolumesChanged)
        return message.reason

    def rewrite(self, text: str) -> None:
        new = self.tree.config.with_name(".tmp")
        new.write_text(text)
        new.replace(self.tree.config)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    real = Real(tmp_path)
    yield real
    real.stop.set()
    real.thread.join(10)
    assert not real.thread.is_alive()


def test_real_notices_of_renames_and_volumes_and_a_quick_stop(real: Real) -> None:
    real.rewrite("[1]")
    assert real.next() in {"added", "found changed"}
    real.rewrite("[2, 2]")
    assert real.next() in {"added", "found changed"}
    (real.tree.volumes / "db").mkdir()
    message = real.tree.inbox.take(15)
    assert isinstance(message, VolumesChanged)
    start = time.monotonic()
    real.stop.set()
    real.thread.join(10)
    assert time.monotonic() - start < 5  # one step, not one tick; generous for a loaded machine


def test_real_replacement_of_the_directory(real: Real) -> None:
    etc = real.tree.config.parent
    etc.rename(etc.with_name("old"))
    etc.mkdir()
    real.tree.config.write_text("[1]")
    assert real.next() in {"added", "modified", "added and modified", "found changed"}
    real.rewrite("[2, 2]")
    assert real.next() in {"added", "modified", "found changed"}
