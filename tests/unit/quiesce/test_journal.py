"""The journal: durable before the act, readable after any crash, one run at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.quiesce import journal as journal_module
from sidecar.quiesce.journal import FILE_NAME, Journal, RunInProgressError, RunLock
from sidecar.quiesce.records import OWED, Book, Entry, JournalError, State, head_line, line, parse

RUN = "0123456789ab"
A = Entry("a" * 64, "web", "shop", "web", "1", needs=("b" * 64,), grace=5.0, since=1.0)
B = Entry("b" * 64, "db", "shop", "db", "1", grace=30.0, since=1.0)
BOOK = Book(RUN, "stop", 1.0, (B, A))


def make(directory: Path) -> Journal:
    journal = Journal(directory, lambda: 7.5)
    journal.begin(BOOK)
    return journal


def test_without_a_journal_nothing_is_owed(tmp_path: Path) -> None:
    assert Journal(tmp_path, lambda: 0.0).load() is None


def test_it_holds_everything_that_finds_a_container_again(tmp_path: Path) -> None:
    assert make(tmp_path).load() == BOOK


def test_it_and_its_directory_are_private(tmp_path: Path) -> None:
    make(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_states_follow_each_other(tmp_path: Path) -> None:
    journal = make(tmp_path)
    assert journal.load() is not None
    journal.note([A.id, B.id], State.STOPPING)
    journal.note([A.id], State.STARTED)
    book = journal.load()
    assert book is not None
    assert [(e.name, e.state, e.since) for e in book.entries] == [
        ("db", "stopping", 7.5),
        ("web", "started", 7.5),
    ]
    assert [e.name for e in book.owed] == ["db"]


def test_helpers_are_listed_until_they_are_gone(tmp_path: Path) -> None:
    journal = make(tmp_path)
    journal.helper("rcb")
    journal.helper("child")
    journal.helper("rcb", gone=True)
    book = journal.load()
    assert book is not None
    assert book.helpers == ("child",)


def test_finished_means_gone(tmp_path: Path) -> None:
    journal = make(tmp_path)
    journal.finish()
    journal.finish()
    assert journal.load() is None


def test_a_second_journal_never_replaces_the_first(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="recover"):
        make(tmp_path).begin(BOOK)


@given(cut=st.integers(min_value=0))
def test_a_line_torn_by_a_crash_counts_as_not_written(cut: int) -> None:
    whole = head_line(BOOK)
    tail = b"\n" + line({"id": A.id, "state": "stopping", "at": 2.0})
    torn = whole + tail[: cut % len(tail)]
    book = parse(torn, where="x")
    complete = torn.endswith(b"}") or torn == whole + tail
    assert [e.name for e in book.owed] == (["web"] if complete and len(torn) > len(whole) else [])


def test_what_follows_a_torn_line_is_read(tmp_path: Path) -> None:
    journal = make(tmp_path)
    with journal.path.open("ab") as file:
        file.write(b'\n{"id":"aaaa')
    journal.note([B.id], State.STOPPED)
    book = journal.load()
    assert book is not None
    assert ([e.name for e in book.owed], book.torn) == (["db"], 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{}", b"null", b"[]", b"\xff\xfe", head_line(BOOK)[:-20], b'{"version":2}',
        head_line(Book("../../etc/x", "stop", 1.0)),
    ],
)  # fmt: skip
def test_a_first_line_that_is_none_of_ours_is_refused(raw: bytes) -> None:
    with pytest.raises(JournalError, match="/state/quiesce"):
        parse(raw, where="/state/quiesce.journal")


def test_an_unreadable_journal_is_set_aside_and_kept(tmp_path: Path) -> None:
    journal = make(tmp_path)
    journal.path.write_bytes(b"\0" * 100)
    with pytest.raises(JournalError):
        journal.load()
    aside = journal.set_aside()
    assert journal.load() is None
    assert aside.read_bytes() == b"\0" * 100


def test_every_record_is_synced_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real_write, real_sync = os.write, os.fsync

    def write(fd: int, data: bytes) -> int:
        calls.append("write")
        return real_write(fd, data)

    def sync(fd: int) -> None:
        calls.append("sync")
        real_sync(fd)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "fsync", sync)
    journal = make(tmp_path)
    assert calls == ["write", "sync", "sync"]  # the file, then the directory that got its name
    calls.clear()
    journal.note([A.id, B.id], State.STOPPING)
    assert calls == ["write", "sync"]


def test_a_full_disk_is_told_and_leaves_the_journal_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = make(tmp_path)

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(JournalError, match="No space left"):
            journal.note([A.id], State.STOPPING)
    assert journal.load() == BOOK


def test_a_state_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="--state-dir"):
        Journal(tmp_path / "file" / "state", lambda: 0.0).begin(BOOK)


def test_only_what_was_taken_down_is_owed() -> None:
    assert {State.STOPPING, State.STOPPED} == OWED


def test_a_second_run_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from sidecar.quiesce.journal import RunLock\n"
        "with RunLock(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.readline()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunInProgressError, match=f"process {holder.pid}"), RunLock(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with RunLock(tmp_path):  # it died with its holder
        assert (tmp_path / journal_module.LOCK_NAME).read_text() == f"{os.getpid()}\n"


def test_the_lock_can_be_taken_again_after_its_end(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        pass
    with RunLock(tmp_path):
        pass
