"""The life of a Command in the agent: one table.

    TAKEN --offer--> OFFERED --accept--> BY_TUNNEL
      any of them --response--> ANSWERED
      any of the first three --expire or supersede--> EXPIRED --response--> ANSWERED

A Command is marked OFFERED in the store *before* its first octet goes up the tunnel: after a power cut the agent must
know that the Command may be at large.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """What the agent knows of a Command."""

    TAKEN = "taken"
    """In the store; never offered to the hub."""
    OFFERED = "offered"
    """Offered at least once; the hub has not acknowledged the transport."""
    BY_TUNNEL = "by_tunnel"
    """The hub acknowledged the transport at least once."""
    ANSWERED = "answered"
    """A message that answers it came down the tunnel."""
    EXPIRED = "expired"
    """Its time passed, or another superseded it, without an answer; it is never offered again."""


class Happening(StrEnum):
    """What can happen to a Command."""

    OFFER = "offer"
    ACCEPT = "accept"
    RESPONSE = "response"
    EXPIRE = "expire"
    SUPERSEDE = "supersede"
    """A Command with a higher counter for the same device was taken: this one would be refused, or run before it."""


OPEN: Final = frozenset({State.TAKEN, State.OFFERED, State.BY_TUNNEL})
"""Commands that may still be offered."""

MOVES: Final = {
    (State.TAKEN, Happening.OFFER): State.OFFERED,
    (State.OFFERED, Happening.OFFER): State.OFFERED,
    (State.BY_TUNNEL, Happening.OFFER): State.BY_TUNNEL,
    (State.OFFERED, Happening.ACCEPT): State.BY_TUNNEL,
    (State.BY_TUNNEL, Happening.ACCEPT): State.BY_TUNNEL,
    (State.ANSWERED, Happening.ACCEPT): State.ANSWERED,  # the Response overtook the acknowledgement
    (State.TAKEN, Happening.RESPONSE): State.ANSWERED,  # it came to the meter by another road
    (State.OFFERED, Happening.RESPONSE): State.ANSWERED,
    (State.BY_TUNNEL, Happening.RESPONSE): State.ANSWERED,
    (State.ANSWERED, Happening.RESPONSE): State.ANSWERED,
    (State.EXPIRED, Happening.RESPONSE): State.ANSWERED,  # late, and still true
    (State.TAKEN, Happening.EXPIRE): State.EXPIRED,
    (State.OFFERED, Happening.EXPIRE): State.EXPIRED,
    (State.BY_TUNNEL, Happening.EXPIRE): State.EXPIRED,
    (State.TAKEN, Happening.SUPERSEDE): State.EXPIRED,
    (State.OFFERED, Happening.SUPERSEDE): State.EXPIRED,
    (State.BY_TUNNEL, Happening.SUPERSEDE): State.EXPIRED,
}
"""Every move there is; anything else is a mistake in this program."""
