"""Waiting for something outside this process, with a deadline. Inside it, wait on an Event instead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], timeout: float = 10.0, every: float = 0.02) -> T:
    """Return the first true value of ``look``; fail after ``timeout`` seconds.

    Args:
        look: Asked again and again. An AssertionError of its own counts as "not yet" and is raised at the end.
        timeout: Seconds.
        every: Seconds between two looks.
    """
    pause = threading.Event()  # never set
    deadline = time.monotonic() + timeout
    while True:
        last: AssertionError | None = None
        value: T | None = None
        try:
            value = look()
        except AssertionError as error:
            last = error
        if value:
            return value
        if time.monotonic() >= deadline:
            raise last or AssertionError(f"not true within {timeout} s; the last value was {value!r}")
        pause.wait(every)
