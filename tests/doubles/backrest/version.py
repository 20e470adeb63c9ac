"""What differs between the versions of Backrest, as far as another writer of config.json meets it.

Each property names the version since which it is so: found in the source of every release from 1.8.0 on, and seen on
running ones of 1.8.1, 1.10.1, 1.12.1, 1.13.0 and 1.14.1. Standard library only, Python 3.9 and later, see
``double_messages``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True, order=True)
class Version:
    """One release of Backrest.

    Attributes:
        number: Major, minor, patch.
    """

    number: tuple[int, int, int]

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the first version that a text names, e.g. ``1.10.1`` or ``v1.14``.

        Raises:
            ValueError: It names none.
        """
        found = re.search(r"\b(\d+)\.(\d+)(?:\.(\d+))?", text.replace("v", " "))
        if found is None:
            raise ValueError(f"no version of Backrest in {text!r}")
        return cls((int(found[1]), int(found[2]), int(found[3] or 0)))

    def __str__(self) -> str:
        return ".".join(map(str, self.number))

    def since(self, text: str) -> bool:
        """Return whether this is the named version or a later one."""
        return self.number >= Version.of(text).number

    @property
    def config(self) -> int:
        """The config format that it writes. backrest: internal/config/migrations/migrations.go:11-18."""
        return 6 if self.since("1.13") else 4

    @property
    def has_identity(self) -> bool:
        """Whether it makes a sync identity, and refuses one without a key; before, it knows none."""
        return self.since("1.9")

    @property
    def has_ed25519(self) -> bool:
        """Whether that identity is a bare ed25519 key; before it is an ECDSA key as PEM."""
        return self.since("1.13")

    @property
    def masks(self) -> bool:
        """Whether GetConfig hides password hashes and the private key. backrest: …/config/networksanitize.go."""
        return self.since("1.9")

    @property
    def masks_answers(self) -> bool:
        """Whether the answer of SetConfig hides them too."""
        return self.since("1.13")

    @property
    def has_codes(self) -> bool:
        """Whether conflicts, refusals and unknown plans have codes of their own; before, all are ``unknown``."""
        return self.since("1.14")

    @property
    def prefixes_errors(self) -> bool:
        """Whether a SetConfig without a code of its own says "failed to update config: " first."""
        return self.since("1.13")

    @property
    def logs_fields(self) -> bool:
        """Whether the reason of a FATAL line is a field; before it is in the message, on several lines."""
        return self.since("1.11")

    @property
    def wraps_repo(self) -> bool:
        """Whether AddRepo takes ``{"repo": …}``; before, the repo itself. backrest: proto/v1/service.proto."""
        return self.since("1.12")

    @property
    def names_repo_id(self) -> bool:
        """Whether RemoveRepo takes ``repoId``; before, ``value``."""
        return self.since("1.14")

    @property
    def wants_a_path(self) -> bool:
        """Whether a plan without paths and flags is refused. backrest: internal/config/validate.go:156."""
        return self.since("1.12.1")

    @property
    def wants_stdin(self) -> bool:
        """Whether ``--stdin-from-command`` is the only flag that stands for paths."""
        return self.since("1.12.1") and not self.since("1.13")

    @property
    def cron_must_fire(self) -> bool:
        """Whether a cron that never fires is refused. backrest: internal/protoutil/schedule.go:122-126."""
        return self.since("1.12")

    @property
    def names_retention(self) -> bool:
        """Whether a fault of a plan's retention begins with that word."""
        return self.since("1.13")

    @property
    def has_forget_policy(self) -> bool:
        """Whether a repo may have a forget policy, be shared, or come from a peer."""
        return self.since("1.13")

    @property
    def empty_schedule_forgets(self) -> bool:
        """Whether a forget policy whose schedule chooses nothing counts as active."""
        return not self.since("1.14.1")

    @property
    def tells_start_errors(self) -> bool:
        """Whether a START hook that halts fires the ERROR hooks. backrest: …/tasks/taskbackup.go:148-152."""
        return self.since("1.11")


NEWEST = Version((1, 14, 1))
OLDER = tuple(Version.of(text) for text in ("1.13.0", "1.12.1", "1.10.1", "1.8.1"))
"""The older ones that the contract was checked on."""
