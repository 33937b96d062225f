"""The counters a device keeps: what has been said before may not be said again.

Rules this module keeps (reference: gbcs-messages 12.1, 12.2, 13.4):

* Ordinary Commands: one high-water mark for each remote party role; a Command must be strictly above it.
* Top-ups have a lane of their own: the last 100 UTRN counters are remembered and none of them works twice. Once the
  cache is full, a counter below all of them is too old to place and is refused too.
* States are values. The device stores the new state together with the Command's effect, in one step, or neither.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, replace
from typing import Final

from lastmetre.gbcs.catalogue import Lane, Role

UTRN_CACHE_SIZE: Final = 100
"""UTRN counters a device remembers (section 12.2)."""
COUNTER_MAX: Final = (1 << 64) - 1
UTRN_COUNTER_MAX: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class CounterState:
    """High-water marks by role, and the UTRN Counter Cache in rising order (32-bit counters)."""

    ordinary: tuple[tuple[Role, int], ...] = ()
    utrn_cache: tuple[int, ...] = ()

    def high_water(self, role: Role) -> int:
        """The highest ordinary counter accepted from a role; zero before any."""
        return dict(self.ordinary).get(role, 0)

    @property
    def utrn_highest(self) -> int:
        """The highest UTRN counter in the cache; zero before any."""
        return self.utrn_cache[-1] if self.utrn_cache else 0

    def refuses_utrn(self, utrn_counter: int) -> bool:
        """Whether a UTRN counter was used already, is too old to place, or is no 32-bit counter at all.

        Completing the ten bits of a token (section 13.4) may lead below zero or above 32 bits: no counter is there.
        """
        if not 0 <= utrn_counter <= UTRN_COUNTER_MAX:
            return True
        cache = self.utrn_cache
        at = bisect_left(cache, utrn_counter)
        if at < len(cache) and cache[at] == utrn_counter:
            return True
        return at == 0 and len(cache) >= UTRN_CACHE_SIZE

    def refuses(self, role: Role, lane: Lane, originator_counter: int) -> bool:
        """Whether a Command under this counter may not be executed (any more)."""
        if lane is Lane.TOP_UP:
            utrn_counter, low = divmod(originator_counter, 1 << 32)
            return low != 0 or self.refuses_utrn(utrn_counter)
        return not self.high_water(role) < originator_counter <= COUNTER_MAX

    def with_utrn(self, utrn_counter: int) -> CounterState:
        """The state after a UTRN counter was used; the lowest leaves a full cache."""
        cache = list(self.utrn_cache)
        insort(cache, utrn_counter)
        return replace(self, utrn_cache=tuple(cache[-UTRN_CACHE_SIZE:]))

    def with_accepted(self, role: Role, lane: Lane, originator_counter: int) -> CounterState:
        """The state after a Command was accepted."""
        if lane is Lane.TOP_UP:
            return self.with_utrn(originator_counter >> 32)
        marks = dict(self.ordinary)
        marks[role] = max(originator_counter, marks.get(role, 0))
        return replace(self, ordinary=tuple(sorted(marks.items())))
