"""Our hooks in Backrest, the double and the real one: a failed dump is a failed backup, and nothing stays down.

Holds for every version from v1.8.1 on. Up to v1.11 a start hook that halts is followed by no hook at all.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.plan import Hook
from sidecar.merge.hooks import merge_hooks
from sidecar.plans.hooks import label_hooks, start_script, stop_script, template_hooks
from tests.contract.harness import Running
from tests.contract.samples import plan
from tests.waiting import eventually

DOCKER = """#!/bin/sh
cd "$(dirname "$0")" || exit 9
for name in "$@"; do :; done
case "$1" in
  inspect) [ -e "$name" ] && printf '{"Running": %s}' "$([ "$(cat "$name")" = up ] && echo true || echo false)";;
  stop) [ ! -e "$name.stays" ] && echo down >"$name" && echo "stop $name" >>calls;;
  start) echo up >"$name";;
esac
"""


class Site:
    """One Backrest with a docker command that keeps books beside it."""

    def __init__(self, backrest: Running, root: Path) -> None:
        self.backrest = backrest
        self.bin = root / "bin"
        self.bin.mkdir()
        (self.bin / "docker").write_text(DOCKER)
        (self.bin / "docker").chmod(0o755)
        self.trace = root / "trace"
        path = f"{self.bin}:{backrest.environ['PATH']}"
        backrest.environ.update(PATH=path, BACKREST_CONFIG=str(backrest.config))

    def have(self, *names: str) -> None:
        for name in names:
            (self.bin / name).write_text("up\n")

    def state(self, name: str) -> str:
        return (self.bin / name).read_text().strip()

    def stopped(self) -> list[str]:
        calls = self.bin / "calls"
        return calls.read_text().split("\n")[:-1] if calls.exists() else []

    def back_up(self, ours: tuple[Hook, ...], users: list[dict[str, Any]] | None = None) -> str:
        """Run the backup of a plan with these hooks; return how it ended."""
        success = {
            "conditions": ["CONDITION_SNAPSHOT_SUCCESS"],
            "actionCommand": {"command": f"echo done >>{self.trace}"},
        }
        merged = merge_hooks([*(users or []), success], ours)
        config = {**plan(paths=[str(self.bin)], hooks=merged.hooks), "version": 4}
        self.backrest.start(json.dumps(config).encode())
        self.backrest.backups_take(0)

        def run() -> None:  # a backup that is to be tried again never answers
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                self.backrest.post("v1.Backrest/Backup", {"value": "p1"})

        threading.Thread(target=run, daemon=True).start()
        return str(eventually(self._outcome))

    def _outcome(self) -> str:
        """Return the backup's status once its hooks have run; pending again when it is to be tried again."""
        found = self.backrest.api.operations()
        over = any(op.kind == "runHook" for op in found) and not any(
            op.status == "inprogress" for op in found
        )
        return next((op.status for op in found if op.kind == "backup"), "") if over else ""

    def snapshot(self) -> bool:
        return self.trace.exists()


@pytest.fixture
def site(backrest: Running, tmp_path: Path) -> Site:
    return Site(backrest, tmp_path)


@pytest.mark.parametrize(
    ("on_error", "status", "snapshot"),
    [("ON_ERROR_FATAL", "error", False), ("ON_ERROR_CANCEL", "usercancelled", False), ("", "success", True)],
)
def test_a_dump_that_fails(site: Site, on_error: str, status: str, snapshot: bool) -> None:
    assert site.back_up(label_hooks(["echo dump; false"], [], ["db"], on_error)) == status
    assert site.snapshot() is snapshot


def test_a_dump_that_works_is_backed_up(site: Site) -> None:
    assert site.back_up(label_hooks(["echo dump"], ["false"], ["db"])) == "success"
    assert site.snapshot()


def test_what_the_template_stops_is_up_again(site: Site) -> None:
    site.have("a", "b")
    assert site.back_up(template_hooks(stop_script("ab"), start_script("ab"))) == "success"
    assert site.stopped() == ["stop a", "stop b"]
    assert (site.state("a"), site.state("b"), site.snapshot()) == ("up", "up", True)


@pytest.mark.parametrize("trouble", ["gone", "stays"])
def test_a_stop_hook_that_fails_fails_the_backup_and_leaves_nothing_down(site: Site, trouble: str) -> None:
    site.have("a", *(["b"] if trouble == "stays" else []))
    (site.bin / "b.stays").touch()
    assert site.back_up(template_hooks(stop_script("ab"), start_script("ab"))) == "error"
    assert site.stopped() == (["stop a"] if trouble == "stays" else [])
    assert (site.state("a"), site.snapshot()) == ("up", False)
    assert list((site.backrest.config.parent / ".backrest-sidecar" / "stopped").iterdir()) == []


@pytest.mark.parametrize("on_error", ["ON_ERROR_CANCEL", "ON_ERROR_FATAL", "ON_ERROR_RETRY_1MINUTE"])
def test_a_start_hook_of_the_user_that_halts_leaves_nothing_down(site: Site, on_error: str) -> None:
    site.have("a")
    halts = {
        "conditions": ["CONDITION_SNAPSHOT_START"],
        "onError": on_error,
        "actionCommand": {"command": "exit 3"},
    }
    site.back_up(template_hooks(stop_script("a"), start_script("a")), [halts])
    assert (site.state("a"), site.stopped(), site.snapshot()) == ("up", [], False)
