"""Several bearers as one: the agent moves to the next when one is down, and back to a better one later.

Rules this module keeps:

* Both carry the same octets, so a Command that comes by two of them is one Command (the store sees to that).
* An envelope is acknowledged on the bearer it came by; a receipt goes by whichever takes it.
* Only when none works does the runner hear of an outage; its pause with jitter then holds for all of them.
* On a lesser bearer a better one is tried again after ``RETURN_S``, spread, so that a fleet does not return at once.

DESIGN CHOICE throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.agent.errors import BearerDownError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lastmetre.agent.ports import Bearer, Tell

RETURN_S: Final = 600.0
"""How long an agent stays on a lesser bearer before it tries a better one, on average."""


@dataclass(frozen=True, slots=True)
class NamedBearer:
    """A bearer and what the screen calls it."""

    name: str
    bearer: Bearer


class BearersInOrder:
    """``agent.ports.Bearer`` over several, the best first. ``counted_s`` counts seconds; ``random`` gives 0 up to 1."""

    def __init__(
        self,
        bearers: Sequence[NamedBearer],
        counted_s: Callable[[], float],
        random: Callable[[], float],
        tell: Tell,
    ) -> None:
        assert bearers
        self._bearers = tuple(bearers)
        self._counted_s = counted_s
        self._random = random
        self._tell = tell
        self._at = 0
        self._return_at = 0.0
        self._came_by = self._bearers[0].bearer

    async def next_envelope(self) -> bytes | None:
        """From the bearer in use, or from the first other one that works."""
        if self._at and self._counted_s() >= self._return_at:
            self._stay()  # if the better one fails again, the next try is as far away
            order = list(range(len(self._bearers)))
        else:
            order = self._order()
        reasons = []
        for at in order:
            bearer = self._bearers[at].bearer
            try:
                envelope = await bearer.next_envelope()
            except BearerDownError as error:
                reasons.append(f"{self._bearers[at].name}: {error}")
                continue
            self._use(at)
            self._came_by = bearer
            return envelope
        raise BearerDownError("; ".join(reasons))

    async def stored(self) -> None:
        """Acknowledged where it came from."""
        await self._came_by.stored()

    async def hand_on(self, receipt: bytes) -> None:
        """By the bearer in use, or by any other."""
        reasons = []
        for at in self._order():
            try:
                await self._bearers[at].bearer.hand_on(receipt)
            except BearerDownError as error:
                reasons.append(f"{self._bearers[at].name}: {error}")
            else:
                return
        raise BearerDownError("; ".join(reasons))

    def _order(self) -> list[int]:
        """The one in use, then the others, the best first."""
        return [self._at, *(at for at in range(len(self._bearers)) if at != self._at)]

    def _use(self, at: int) -> None:
        if at != self._at:
            self._at = at
            self._stay()
            self._tell("bearer_changed", bearer=self._bearers[at].name)

    def _stay(self) -> None:
        self._return_at = self._counted_s() + RETURN_S * (0.5 + self._random())
