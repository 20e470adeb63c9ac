"""Every system call of a replacement fails once with every errno: the file is old or new, and nothing leaks."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path

import pytest

from sidecar.store.errors import Changed, ConfigUnreadable, NotWritable, SingleFileMount
from tests.faults.scripted_fs import ScriptedFs, open_files, rename_over
from tests.faults.store_rig import NEW, OLD, PAYLOAD, Rig

ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EBUSY, errno.EACCES, errno.EINTR)
NO_EXCHANGE = (0, errno.EINVAL)


def calls_of_one_replacement(directory: Path, no_exchange: int) -> list[str]:
    rig = Rig(directory)
    fs = ScriptedFs(no_exchange=no_exchange)
    store = rig.store(fs)
    mark = store.read().fingerprint
    fs.calls.clear()
    store.replace(NEW, mark, PAYLOAD)
    store.settle()
    return fs.calls


@pytest.mark.parametrize("no_exchange", NO_EXCHANGE)
@pytest.mark.parametrize("code", ERRNOS, ids=lambda code: errno.errorcode[code])
def test_each_call_may_fail(memory: Path, code: int, no_exchange: int) -> None:
    count = len(calls_of_one_replacement(memory / "count", no_exchange))
    assert count > 20
    outcomes = set()
    for number in range(count):
        rig = Rig(memory / f"at-{number}")
        mark = rig.store().read().fingerprint
        files = open_files()
        fs = ScriptedFs(fail_at=number, error=code, no_exchange=no_exchange)
        store = rig.store(fs)
        try:
            store.replace(NEW, mark, PAYLOAD)
        except (NotWritable, ConfigUnreadable):
            assert rig.path.read_bytes() == OLD, fs.calls[number]
            assert rig.undo() in ([], [OLD])
            outcomes.add("old")
        else:
            assert rig.path.read_bytes() == NEW, fs.calls[number]
            outcomes.add("new")
        assert open_files() == files, fs.calls[number]
        recovered = rig.recover()
        assert recovered.kept == (), fs.calls[number]
        assert rig.path.read_bytes() in (OLD, NEW)
        if rig.path.read_bytes() == NEW:
            assert recovered.written == (len(fs.calls) <= number or "settle" not in fs.calls)
            assert rig.undo() == [OLD], fs.calls[number]
    assert outcomes == {"old", "new"}


def test_busy_is_a_single_file_mount(memory: Path) -> None:
    rig = Rig(memory / "busy")
    fs = ScriptedFs()
    mark = rig.store().read().fingerprint
    names = calls_of_one_replacement(memory / "count", 0)
    fs.fail_at, fs.error = names.index("exchange"), errno.EBUSY
    with pytest.raises(SingleFileMount, match=r"mounted as a single file.*Mount the directory"):
        rig.store(fs).replace(NEW, mark)
    assert rig.leftovers() == []
    assert rig.path.read_bytes() == OLD


@pytest.mark.parametrize("no_exchange", NO_EXCHANGE)
def test_a_failed_replacement_leaves_nothing_and_the_next_one_works(memory: Path, no_exchange: int) -> None:
    names = calls_of_one_replacement(memory / "count", no_exchange)
    for number in range(len(names)):
        rig = Rig(memory / f"at-{number}")
        fs = ScriptedFs(fail_at=number, error=errno.ENOSPC, no_exchange=no_exchange)
        store = rig.store(fs)
        mark = rig.store().read().fingerprint
        try:
            store.replace(NEW, mark)
        except (NotWritable, ConfigUnreadable):
            store.replace(NEW, store.read().fingerprint)
        assert rig.path.read_bytes() == NEW
        store.settle()
        store.replace(b"{}", store.read().fingerprint)
        store.settle()
        assert rig.path.read_bytes() == b"{}"
        assert rig.kept() == []
        assert rig.leftovers() == [], names[number]


@pytest.mark.parametrize("code", ERRNOS, ids=lambda code: errno.errorcode[code])
def test_a_read_that_fails_says_so(memory: Path, code: int) -> None:
    rig = Rig(memory / "count")
    counting = ScriptedFs()
    rig.store(counting).read()
    outcomes = []
    for number in range(len(counting.calls)):
        fs = ScriptedFs(fail_at=number, error=code)
        files = open_files()
        try:
            loaded = rig.store(fs).read()
        except ConfigUnreadable as error:
            outcomes.append(str(rig.path) in str(error))
        else:
            outcomes.append(loaded.raw == OLD)
        assert open_files() == files
    assert all(outcomes)


def test_a_failure_after_an_edit_came_out_never_loses_the_edit(memory: Path) -> None:
    names = calls_of_one_replacement(memory / "count", 0)
    swap = names.index("exchange")
    edit = b'{"version": 6, "plans": ["theirs"]}'
    said = set()
    for failures in (1, 2):
        for number in range(swap, swap + 14):
            rig = Rig(memory / f"{failures}-{number}")
            fs = ScriptedFs(fail_at=number, fail_for=failures)
            fs.actions[swap] = partial(rename_over, rig.path, edit)
            store = rig.store(fs)
            try:
                store.replace(NEW, rig.store().read().fingerprint)
            except Changed:
                said.add("changed")
                assert rig.path.read_bytes() == edit
            except NotWritable as error:
                said.add("stuck" if "could not be put back" in str(error) else "failed")
            rig.recover()
            assert rig.path.read_bytes() == edit, (failures, number)
            assert rig.kept() == []
    assert said == {"changed", "failed", "stuck"}
