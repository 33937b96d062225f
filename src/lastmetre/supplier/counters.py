"""Originator counters: two lanes per originator and device, always rising, never used for two messages.

Rules this module keeps (reference: gbcs-messages 12.1, 12.2; design section 2):

- Ordinary lane: a device accepts a Command only above the highest counter it has accepted from this party. The next
  counter is ``max(last + 1, epoch milliseconds)``.
- Top-up lane: the device keeps a cache of UTRN counters instead. The next UTRN counter is ``max(last + 1, epoch
  seconds)`` in 32 bits; as originator counter it is shifted left by 32.
- A counter fixes key and initialisation vector of AES-GCM, so one counter for two contents breaks the cipher. The
  store hands out every value once, durably, before it is used; a value lost on the way is a gap and harms nobody.

The clock only lifts the value, so that a store restored from a backup starts above what was used before, as long as
counters were taken less often than once a millisecond (top-ups: once a second). It never lowers it.
"""

from __future__ import annotations

from typing import Final

from lastmetre.gbcs.catalogue import Lane
from lastmetre.supplier.errors import CountersExhausted

_TOP_UP_SHIFT: Final = 32
LANE_MAX: Final = {Lane.ORDINARY: 2**63 - 1, Lane.TOP_UP: 2**32 - 1}
"""Half of the wire's 64 bits on the ordinary lane: one draft type is signed (threats T17)."""


def floor(lane: Lane, now_ms: int) -> int:
    """The lowest value the clock allows."""
    return now_ms if lane is Lane.ORDINARY else now_ms // 1000


def next_value(last: int | None, lane: Lane, lowest: int) -> int:
    """The value after ``last``, at least ``lowest``; raises ``CountersExhausted`` beyond the lane's end."""
    value = lowest if last is None else max(last + 1, lowest)
    if value > LANE_MAX[lane]:
        raise CountersExhausted(f"the {lane} lane ends at {LANE_MAX[lane]}; {value} is beyond it")
    return value


def originator_counter(lane: Lane, value: int) -> int:
    """The counter as the message carries it."""
    return value << _TOP_UP_SHIFT if lane is Lane.TOP_UP else value
