"""The hub's mailbox for a gas meter that sleeps: what waits, for how long, and who may fill it.

Rules this module keeps (reference: han 2.3 and 3.4; sizes are DESIGN CHOICES there):

* Ten messages, in the order they came whatever their road; five of them at most from the HAN, so that no PPMID can
  keep the WAN out.
* Twenty-four hours each; then it is dropped, and its owner logs "GSME Command Not Retrieved".
* It lives in the hub's working memory: a power cut empties it (han 3.7).
* What came by a relay permit keeps its serial, also when it is put back: the permit is judged anew at each release.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

MAILBOX_MAX: Final = 10
FROM_HAN_MAX: Final = 5
LIFE_S: Final = 24 * 3_600


@dataclass(frozen=True, slots=True)
class Waiting:
    """One message for the meter, when it came and whether over the HAN; the permit it came by, if it needed one."""

    message: bytes
    at: int
    from_han: bool
    permit_serial: int | None = None


class GasMailbox:
    """What waits for one gas meter."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._given: dict[bytes, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self, count: int, *, from_han: bool) -> bool:
        """Whether so many messages more can be taken. Expire first."""
        theirs = sum(entry.from_han for entry in self._waiting)
        return len(self._waiting) + count <= MAILBOX_MAX and not (from_han and theirs + count > FROM_HAN_MAX)

    def put(self, message: bytes, now: int, *, from_han: bool, permit_serial: int | None = None) -> bool:
        """Take a message; false when there is no room for it. Expire first."""
        if not self.has_room(1, from_han=from_han):
            return False
        self._waiting.append(Waiting(message, now, from_han, permit_serial))
        return True

    def fetch(self) -> tuple[Waiting | None, int]:
        """The oldest message and how many wait behind it."""
        if not self._waiting:
            return None, 0
        entry = self._waiting.pop(0)
        self._given[entry.message] = entry
        while len(self._given) > MAILBOX_MAX:
            del self._given[next(iter(self._given))]
        return entry, len(self._waiting)

    def put_back(self, message: bytes, now: int) -> None:
        """What the meter asked for did not reach it: it is the next to be fetched, room or not."""
        given = self._given.pop(message, Waiting(message, now, from_han=False))
        self._waiting.insert(0, replace(given, at=now))

    def expire(self, now: int) -> list[Waiting]:
        """What has waited too long leaves."""
        old = [entry for entry in self._waiting if entry.at + LIFE_S <= now]
        self._waiting = [entry for entry in self._waiting if entry.at + LIFE_S > now]
        return old

    def next_expiry(self) -> int | None:
        """When the oldest message leaves."""
        return self._waiting[0].at + LIFE_S if self._waiting else None
