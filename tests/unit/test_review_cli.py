"""Exit codes of ends that nobody has planned."""

from __future__ import annotations

import signal

import pytest

from sidecar import __main__ as entry
from sidecar.cli import run
from sidecar.commands import reconcile


def test_a_fault_of_ours_is_3_and_not_bad_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> int:
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(reconcile, "reconcile", broken)
    assert run(["reconcile"]) == 3
    assert "nobody thought of this" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "code"), [("daemon", 0), ("reconcile", 3)])
def test_told_to_stop_before_anything_was_done(
    monkeypatch: pytest.MonkeyPatch, command: str, code: int
) -> None:
    monkeypatch.setattr("sys.argv", ["backrest-sidecar", command])
    with pytest.raises(SystemExit) as left:
        entry._leave(signal.SIGTERM, None)
    assert left.value.code == code
