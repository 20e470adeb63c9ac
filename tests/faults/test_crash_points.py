"""The process dies before each call of a replacement, alone and with other writers at work; then it is started again.

What must hold after every such story: the file is the old or the new one, whole, or another writer's edit;
no temporary file is left; and no edit of another writer is gone.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sidecar.store.errors import Changed, ConfigUnreadable, NotWritable
from tests.faults.scripted_fs import ScriptedFs, SimulatedCrash, rename_over, write_into
from tests.faults.store_rig import NEW, OLD, PAYLOAD, Rig

EDIT = OLD.replace(b"old", b"hey")
LATER = b'{"version": 6, "plans": ["a later edit"]}'

Editor = Callable[[Path, bytes], None]


every = pytest.mark.parametrize(
    "stride", [5, pytest.param(1, marks=[pytest.mark.torture, pytest.mark.timeout(600)])]
)
"""The short form takes every fifth combination, not the same ones for each first step."""


class Story:
    """One replacement with things that happen before given calls, and the next start."""

    def __init__(self, directory: Path, *, no_exchange: int = 0) -> None:
        self.rig = Rig(directory)
        self.fs = ScriptedFs(no_exchange=no_exchange)
        self.displaced: list[bytes] = []
        self.mark = self.rig.store().read().fingerprint
        self.outcome = ""

    def edit(self, number: int, content: bytes, editor: Editor = rename_over) -> None:
        def act() -> None:
            self.displaced.append(self.rig.path.read_bytes())
            editor(self.rig.path, content)

        self.fs.actions[number] = act

    def run(self, *, crash_at: int = -1) -> None:
        self.fs.crash_at = crash_at
        store = self.rig.store(self.fs)
        try:
            store.replace(NEW, self.mark, PAYLOAD)
            self.outcome = "replaced"
            store.settle()
            self.outcome = "settled"
        except SimulatedCrash:
            self.outcome += "+crashed"
        except Changed:
            self.outcome = "changed"

    def content(self) -> bytes:
        return self.rig.path.read_bytes()


def count_calls(directory: Path, no_exchange: int = 0) -> int:
    story = Story(directory, no_exchange=no_exchange)
    story.run()
    assert story.outcome == "settled"
    return len(story.fs.calls)


@pytest.mark.parametrize("no_exchange", [0, errno.EINVAL])
def test_crash_alone(memory: Path, no_exchange: int) -> None:
    seen = set()
    for number in range(count_calls(memory / "count", no_exchange)):
        story = Story(memory / f"{number}", no_exchange=no_exchange)
        story.run(crash_at=number)
        before = story.content()
        assert before in (OLD, NEW)
        recovered = story.rig.recover()
        assert story.content() == before
        assert story.rig.kept() == []
        assert not recovered.restored
        if story.outcome == "+crashed":
            assert recovered.written == (before == NEW), number
            assert recovered.payload == (PAYLOAD if before == NEW else {})
        if before == NEW:
            assert story.rig.undo() == [OLD]
            assert all(path.stat().st_mode & 0o777 == 0o600 for path in memory.glob("*/*.sidecar.*Z"))
        seen.add((before, recovered.written))
    assert seen >= {(OLD, False), (NEW, True)}


@pytest.mark.parametrize("editor", [rename_over, write_into])
def test_an_edit_at_each_call(memory: Path, editor: Editor) -> None:
    outcomes = set()
    for number in range(count_calls(memory / "count")):
        story = Story(memory / f"{number}")
        story.edit(number, EDIT, editor)
        story.run()
        outcomes.add(story.outcome)
        assert story.content() == EDIT, story.fs.calls[: number + 1]
        story.rig.recover()
        assert story.content() == EDIT
        assert story.rig.kept() == []
    assert outcomes == {"changed", "settled"}


@every
@pytest.mark.parametrize("editor", [rename_over, write_into])
def test_an_edit_and_then_a_crash(memory: Path, editor: Editor, stride: int) -> None:
    count = count_calls(memory / "count")
    restored = 0
    for edited in range(count):
        for crashed in range(edited + edited % stride, count + 6, stride):
            story = Story(memory / f"{edited}-{crashed}")
            story.edit(edited, EDIT, editor)
            story.run(crash_at=crashed)
            restored += story.rig.recover().restored
            assert story.content() == EDIT, (edited, crashed)
            story.rig.discard()
    assert restored > 0 or stride > 1


def two_edits(memory: Path, stride: int, *, crashes: bool) -> None:
    count = count_calls(memory / "count") + 6
    strays = 0
    for first in range(count):
        for second in range(first + 1 + first % stride, count, stride):
            for crash in range(second, count + 4) if crashes else (-1,):
                story = Story(memory / f"{first}-{second}-{crash}")
                story.edit(first, EDIT)
                story.edit(second, LATER)
                story.run(crash_at=crash)
                if second >= len(story.fs.calls):
                    continue
                story.rig.recover()
                everything = [story.content(), *story.rig.kept()]
                assert LATER in everything
                if not crashes:
                    assert story.content() == LATER
                # Who displaces an edit himself has taken it into account; only we may not.
                if EDIT not in story.displaced:
                    assert EDIT in everything, (first, second, crash, story.fs.calls)
                    strays += 1
                story.rig.discard()
    assert strays > 0 or stride > 1


@every
def test_two_edits(memory: Path, stride: int) -> None:
    two_edits(memory, stride, crashes=False)


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_two_edits_and_then_a_crash(memory: Path) -> None:
    two_edits(memory, 1, crashes=True)


@every
def test_recovery_itself_may_die_at_each_call(memory: Path, stride: int) -> None:
    count = count_calls(memory / "count")
    for crashed in range(count):
        for again in range(crashed % stride, 40, stride):
            story = Story(memory / f"{crashed}-{again}")
            story.run(crash_at=crashed)
            before = story.content()
            fs = ScriptedFs(crash_at=again)
            try:
                story.rig.store(fs).recover()
            except SimulatedCrash:
                pass
            else:
                break
            recovered = story.rig.recover()
            assert story.content() == before
            assert story.rig.kept() == []
            if "settled" not in story.outcome and "replaced" not in story.outcome:
                assert recovered.written == (before == NEW), (crashed, again)
            story.rig.discard()


@every
def test_recovery_may_fail_and_is_tried_again(memory: Path, stride: int) -> None:
    for crashed in range(count_calls(memory / "count")):
        for number in range(crashed % stride, 40, stride):
            story = Story(memory / f"{crashed}-{number}")
            story.edit(crashed - 1, EDIT)
            story.run(crash_at=crashed)
            fs = ScriptedFs(fail_at=number, error=errno.EIO)
            with suppress(NotWritable, ConfigUnreadable):
                story.rig.store(fs).recover()
            if number >= len(fs.calls):
                break
            story.rig.recover()
            assert EDIT in (story.content(), *story.rig.kept()) or crashed == 0, (crashed, number)
            story.rig.discard()
