from __future__ import annotations

import pytest

from sidecar.apply.failures import Busy, Contended
from sidecar.backrest.http import ApiUnreachable
from sidecar.config.document import ConfigError
from sidecar.engine.errors import EngineError
from sidecar.errors import SidecarError, told
from sidecar.settings.settings import SettingsError
from sidecar.store.errors import ConfigUnreadable, NotWritable
from sidecar.store.lock import LockTimeout
from sidecar.store.state_store import StateError

EVERYTHING: list[SidecarError] = [
    ConfigError("what", "syntax"),
    ConfigUnreadable("missing", "what"),
    NotWritable(28, "what"),
    StateError("what"),
    LockTimeout("what"),
    EngineError("timeout", "what"),
    ApiUnreachable("what"),
    SettingsError("what"),
    Contended("what"),
]


@pytest.mark.parametrize("error", EVERYTHING, ids=lambda error: type(error).__name__)
def test_what_goes_wrong_outside_is_told_by_its_message(error: SidecarError) -> None:
    assert (str(error), told(error)) == ("what", {"reason": "what"})


def test_advice_stands_apart_in_the_log_and_behind_the_message_for_people() -> None:
    error = EngineError("denied", "may not be opened", "join the group docker")
    assert told(error) == {"reason": "may not be opened", "advice": "join the group docker"}
    assert str(error) == "may not be opened — join the group docker"


def test_busy_keeps_its_reason() -> None:
    assert Busy("a backup runs", 30).reason == "a backup runs"
    assert told(Busy("a backup runs", 30, live=True))["reason"].startswith(
        "Backrest was not idle within 30 s (a "
    )
