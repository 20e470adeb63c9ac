"""Whether ``--backrest-url`` answers: found out where it is used, said once for each change, kept for ``status``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sidecar.backrest.api import ApiDenied, BackrestApi, BackrestApiError, Operation
from sidecar.log import get_logger
from sidecar.status.board import StatusBoard

log = get_logger(__name__)

_ADVICE = (
    "see --backrest-url; until it answers, --apply-mode auto restarts Backrest and judges it by its container"
)
_DENIED = (
    "give --backrest-username and --backrest-password-file; until then --apply-mode auto restarts Backrest"
)


class BackrestLink:
    """The way to Backrest's API, and what is known of it.

    Args:
        api: Makes a client.
        board: Where it is shown; None for a one-shot.
    """

    def __init__(self, api: Callable[[], BackrestApi], board: StatusBoard | None = None) -> None:
        self.api = api
        self._board = board
        self._said: str | None = None
        self._answered: bool | None = None

    @property
    def answered(self) -> bool | None:
        """Whether it answered when it was asked last, if only to refuse the credentials; None before."""
        return self._answered

    @property
    def usable(self) -> bool:
        """Whether it did, and took the credentials."""
        return self._said == ""

    def look(self) -> bool:
        """Ask, and return whether the API can be used."""
        try:
            self.api().get_config()
        except BackrestApiError as error:
            self._note(error)
        else:
            self._note(None)
        return self.usable

    def first_look(self, clock: Callable[[], float], moment: float) -> Iterator[float]:
        """Find out whether it answers, and say so; as long as it cannot be used, anew at each call.

        A daemon may be up before Backrest is: it gives it a moment, once, before it says that nobody answers.

        Args:
            clock: Monotonic seconds.
            moment: So many seconds.

        Yields:
            The monotonic time of the next look.
        """
        if self.usable:
            return
        until = clock() + (moment if self._answered is None else 0.0)
        while clock() < until and not self.api().answers():
            yield min(until, clock() + 2.0)
        self.look()

    def operations(self) -> tuple[Operation, ...] | None:
        """Return what the API lists, or None where it does not answer."""
        try:
            found = self.api().operations()
        except BackrestApiError as error:
            self._note(error)
            return None
        self._note(None)
        return found

    def _note(self, error: BackrestApiError | None) -> None:
        said = str(error) if error is not None else ""
        denied = isinstance(error, ApiDenied)
        self._answered = error is None or denied
        if said == self._said:
            return
        first, self._said = self._said is None, said
        url = self.api().where
        if error is not None:
            event = "backrest.api_denied" if denied else "backrest.api_unreachable"
            log.warn(event, url=url, reason=said, advice=_DENIED if denied else _ADVICE)
        elif not first:
            log.info("backrest.api_answers", url=url)
        if self._board is not None:
            self._board.backrest_answers(url, said)
