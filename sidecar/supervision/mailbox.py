"""A worker's inbox: a bounded stdlib queue that never blocks the sender.

It guarantees to be:

* never blocking: ``offer`` and ``replace`` return at once, so a cycle of full inboxes cannot deadlock;
* coalescing: a full inbox already says "look again", so what does not fit is dropped without loss;
* fair to the urgent: ``overtake`` puts a message in the place of one that is in less of a hurry;
* latest wins: ``replace`` throws out what still waits, so a slow reader never acts on an old wish;
* ordered: messages that were taken in come out in the order they went in, each exactly once;
* stoppable: ``stop`` overtakes everything, succeeds on a full inbox, and is final: from then on ``take``
  gives ``Stop.STOP`` to every reader every time, and nothing more is taken in.

Any number of senders, any number of readers. A message outlives its reader: a worker that is restarted finds
what its predecessor had not taken out.
"""

from __future__ import annotations

import queue
import threading
from typing import Generic, TypeVar

from sidecar.supervision.messages import Stop

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A bounded inbox, see the module.

    Attributes:
        maxsize: How many messages fit; at least 1. Use 1 with ``replace``.
    """

    def __init__(self, maxsize: int = 1) -> None:
        if maxsize < 1:
            raise ValueError(f"a mailbox holds at least one message, not {maxsize}")
        self.maxsize = maxsize
        self._queue: queue.Queue[T | Stop] = queue.Queue(maxsize)
        self._senders = threading.Lock()  # held for microseconds; readers never need it
        self._stopped = False

    def offer(self, message: T) -> bool:
        """Put ``message`` in if there is room; return whether it was taken in."""
        with self._senders:
            if self._stopped:
                return False
            try:
                self._queue.put_nowait(message)
            except queue.Full:
                return False
            return True

    def overtake(self, message: T, kind: type[object]) -> bool:
        """Put ``message`` in as ``offer`` does; in a full inbox of one, also in the place of a waiting ``kind``.

        One that can wait must not keep out one that cannot.
        """
        with self._senders:
            if self._stopped:
                return False
            if not self._queue.full():
                self._queue.put_nowait(message)
                return True
            if self.maxsize > 1:
                return False
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:  # a reader was faster
                waiting = message
            found = waiting is message or isinstance(waiting, kind)
            self._queue.put_nowait(message if found else waiting)
            return found

    def replace(self, message: T) -> bool:
        """Put ``message`` in and throw out everything that waits; return False only when stopped."""
        with self._senders:
            if self._stopped:
                return False
            self._empty()
            self._queue.put_nowait(message)
            return True

    def take(self, timeout: float | None) -> T | Stop | None:
        """Return the next message, ``Stop.STOP`` after a stop, or None when nothing came in time.

        Args:
            timeout: Seconds to wait; 0 or less looks once, None waits until something comes.
        """
        try:
            if timeout is not None and timeout <= 0:
                message = self._queue.get_nowait()
            else:
                message = self._queue.get(timeout=timeout)
        except queue.Empty:
            return Stop.STOP if self._stopped else None
        if message is Stop.STOP:
            # Put back for the next reader. There is room: since the stop nobody puts in anything else.
            self._queue.put_nowait(Stop.STOP)
        return message

    def stop(self) -> None:
        """End the inbox: wake every reader with ``Stop.STOP`` and drop what still waits. May be repeated."""
        with self._senders:
            if self._stopped:
                return
            self._stopped = True
            self._empty()
            self._queue.put_nowait(Stop.STOP)

    def _empty(self) -> None:
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return
