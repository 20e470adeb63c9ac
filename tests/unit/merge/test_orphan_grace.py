"""The grace of orphans is measured by the machine's uptime: no clock that is set can eat it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.apply.boot import read_boot
from sidecar.merge.merge import Merge
from sidecar.merge.result import NO_BOOT, Boot
from sidecar.plans.rendering import NOT_COUNTED, Counted, Owner
from sidecar.store.state import StateUnusable, from_json, owner_from_json, owner_to_json
from tests.unit.merge_rig import NOW, codes, config, put, wish, wishes

HOUR, DAY, YEAR = 3600.0, 86400.0, 365 * 86400.0


class Machine:
    """A machine with a clock and an uptime, on which ``a`` is missed from the first pass on."""

    def __init__(self, orphans: str = "remove") -> None:
        first = put(config(), wishes(wish("a"), wish("b")))
        self.data, self.owners = first.data, first.owners
        self.clock, self.boot = NOW, Boot("one", 1000.0)
        self.options: dict[str, Any] = {"orphans": orphans, "orphan_grace": DAY}
        self.missed()

    def missed(self, after: float = 0.0, clock: float | None = None) -> Merge:
        """One pass ``after`` seconds; the clock goes on as well, or by ``clock``."""
        self.clock += after if clock is None else clock
        self.boot = self.boot._replace(uptime=self.boot.uptime + after)
        merged = put(self.data, wishes(wish("b")), self.owners, self.clock, boot=self.boot, **self.options)
        self.data, self.owners = merged.data, merged.owners
        return merged

    def reboot(self, name: str, uptime: float = 30.0) -> None:
        self.boot = Boot(name, uptime)

    @property
    def stands(self) -> bool:
        return any(plan["id"] == "a" for plan in self.data["plans"])


@pytest.mark.parametrize("jump", [YEAR, 50 * YEAR, -YEAR, -NOW, -NOW - 70 * YEAR])
def test_a_clock_that_is_set_changes_nothing(jump: float) -> None:
    machine = Machine()
    machine.missed(2.0, clock=jump)
    machine.missed(DAY - 3.0)
    assert machine.stands
    assert codes(machine.missed(1.0)) == ["orphan-removed"]
    assert not machine.stands


@pytest.mark.parametrize("clock", [0.0, -70 * YEAR])
def test_a_clock_that_stands_at_the_beginning_of_time_is_no_presence(clock: float) -> None:
    machine = Machine()
    machine.owners = put(config(), wishes(wish("a"), wish("b"))).owners
    machine.clock = clock
    assert codes(machine.missed()) == ["orphan"]
    assert codes(machine.missed(DAY / 2)) == []
    assert codes(machine.missed(DAY / 2, clock=50 * YEAR)) == ["orphan-removed"]


def test_a_nightly_run_on_a_machine_that_stays_on() -> None:
    machine = Machine()
    assert codes(machine.missed(DAY)) == ["orphan-removed"]


def test_of_the_time_before_a_boot_what_was_counted_is_known() -> None:
    machine = Machine()
    for _ in range(20):
        machine.missed(HOUR)
    machine.reboot("two", 60.0)
    machine.missed(clock=YEAR)
    for _ in range(3):
        machine.missed(HOUR)
    assert machine.stands
    assert machine.owners["a"].counted == Counted(23 * HOUR + 60.0, "two", 60.0 + 3 * HOUR)
    assert codes(machine.missed(HOUR)) == ["orphan-removed"]


def test_a_machine_that_boots_each_night_gets_there() -> None:
    machine = Machine()
    for night in range(3):
        if not machine.stands:
            break
        for _ in range(15):
            machine.missed(HOUR)
        machine.reboot(str(night))
    assert not machine.stands


def test_the_count_is_written_once_an_hour_and_only_where_it_matters() -> None:
    machine = Machine()
    before = machine.owners
    for _ in range(59):
        assert machine.missed(60.0).owners is before
    assert machine.missed(60.0).owners is not before
    for orphans in ("keep", "disable"):
        machine = Machine(orphans)
        for _ in range(25):
            machine.missed(HOUR)
        settled = machine.owners
        machine.reboot("two")
        assert machine.missed(HOUR).owners is settled, orphans


def test_coming_back_ends_the_count() -> None:
    machine = Machine()
    machine.missed(20 * HOUR)
    back = put(machine.data, wishes(wish("a"), wish("b")), machine.owners, NOW, boot=machine.boot)
    assert back.owners["a"].counted == NOT_COUNTED
    held = wishes(wish("b"), present=frozenset({"stack/a"}))
    assert put(machine.data, held, machine.owners, NOW, boot=machine.boot).owners["a"].counted == NOT_COUNTED


def test_a_record_of_a_version_that_did_not_count_begins_now() -> None:
    machine = Machine()
    machine.owners = {**machine.owners, "a": Owner("stack/a", paths=("/a",), absent_since=NOW - YEAR)}
    assert codes(machine.missed()) == []
    assert machine.owners["a"].absent_since == NOW - YEAR
    machine.missed(DAY - 1.0)
    assert machine.stands
    machine.missed(1.0)
    assert not machine.stands


def test_the_record_survives_the_state_file() -> None:
    owner = Owner("/a", absent_since=1.0, origin="/b", since=2.0, counted=Counted(3.0, "boot", 4.5))
    data = owner_to_json(owner)
    assert data["counted"] == [3.0, "boot", 4.5]
    back = owner_from_json(data)
    assert (back, back.since) == (owner, 2.0)
    assert owner_to_json(Owner("/a")) == {"workload": "/a"}
    for wrong in ({"counted": [1]}, {"counted": [1, 2, 3]}, {"origin": 1}, {"since": "x"}, {"counted": 5}):
        with pytest.raises(StateUnusable):
            from_json({"version": 1, "owners": {"a": {**data, **wrong}}})


def test_uptime_and_boot_are_read_from_the_system(tmp_path: Path) -> None:
    assert read_boot(tmp_path) == NO_BOOT
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("0f1e\n")
    (tmp_path / "uptime").write_text("12.34 56.78\n")
    assert read_boot(tmp_path) == Boot("0f1e", 12.34)
    (tmp_path / "uptime").write_text("\n")
    assert read_boot(tmp_path) == NO_BOOT
    first, second = read_boot(), read_boot()
    assert (first.id, first.uptime <= second.uptime) == (second.id, True)
