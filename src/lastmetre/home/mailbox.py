"""The hub's mailbox for a gas meter that sleeps: what waits, for how long, and who may fill it.

Rules this module keeps (reference: han 2.3 and 3.4; sizes are DESIGN CHOICES there):

* Ten messages, in the order they came whatever their road; five of them at most from the HAN, so that no PPMID can
  keep the WAN out.
* Twenty-four hours each; then it is dropped, and its owner logs "GSME Command Not Retrieved".
* It lives in the hub's working memory: a power cut empties it (han 3.7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAILBOX_MAX: Final = 10
FROM_HAN_MAX: Final = 5
LIFE_S: Final = 24 * 3_600


@dataclass(frozen=True, slots=True)
class Waiting:
    """One message for the meter, when it came and whether over the HAN."""

    message: bytes
    at: int
    from_han: bool


class GasMailbox:
    """What waits for one gas meter."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: bytes, now: int, *, from_han: bool) -> bool:
        """Take a message; false when there is no room for it. Expire first."""
        theirs = sum(entry.from_han for entry in self._waiting)
        if len(self._waiting) >= MAILBOX_MAX or (from_han and theirs >= FROM_HAN_MAX):
            return False
        self._waiting.append(Waiting(message, now, from_han))
        return True

    def fetch(self) -> tuple[bytes | None, int]:
        """The oldest message and how many wait behind it."""
        if not self._waiting:
            return None, 0
        return self._waiting.pop(0).message, len(self._waiting)

    def put_back(self, message: bytes, now: int) -> None:
        """What the meter asked for did not reach it: it is the next to be fetched, room or not."""
        self._waiting.insert(0, Waiting(message, now, from_han=False))

    def expire(self, now: int) -> list[Waiting]:
        """What has waited too long leaves."""
        old = [entry for entry in self._waiting if entry.at + LIFE_S <= now]
        self._waiting = [entry for entry in self._waiting if entry.at + LIFE_S > now]
        return old

    def next_expiry(self) -> int | None:
        """When the oldest message leaves."""
        return self._waiting[0].at + LIFE_S if self._waiting else None
