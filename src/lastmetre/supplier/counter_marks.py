"""Counters with a high-water mark outside the database: a restored backup never gives a counter to two messages.

Rules this module keeps (threats T18, R07; design section 2):

- The store hands out every value; a mark beside it says how far values are *reserved*. No value above the mark is used
  before a higher mark is durable, so the mark is never behind what was used.
- A new process begins above every mark: what another life may have used inside its reservation is skipped. Gaps harm
  nobody.
- A store that is behind the value at which its reservation was made was restored from a backup, or is another one: the
  service refuses to start. Which orders are missing is then the question, not which counter comes next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from lastmetre.gbcs.catalogue import Lane
from lastmetre.supplier.errors import CountersBehind

if TYPE_CHECKING:
    from collections.abc import Mapping

AHEAD: Final = {Lane.ORDINARY: 60_000, Lane.TOP_UP: 60}
"""How far values are reserved: about a minute of either lane's clock, so that a busy device costs a write a minute."""

LaneKey = tuple[bytes, Lane]


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a lane is reserved, and the value that was taken when it was."""

    taken: int
    reserved: int


class Marks(Protocol):
    """Keeps marks where no restore of the database reaches them. One process at a time has them open."""

    def load(self) -> Mapping[LaneKey, Mark]:
        """All marks."""

    def save(self, target_id: bytes, lane: Lane, mark: Mark) -> None:
        """Puts a higher mark in the place of the old one, durable when it returns."""


class Counters(Protocol):
    """Whoever hands out counters: the order store itself, or ``MarkedCounters`` before it."""

    async def next_counter(self, target_id: bytes, lane: Lane, lowest: int) -> int:
        """A lane value never given before, at least ``lowest``."""


class CountedStore(Counters, Protocol):
    """A store that can say how far it is."""

    async def last_counter(self, target_id: bytes, lane: Lane) -> int | None:
        """The value given last; ``None`` before any."""


class MarkedCounters:
    """Implements ``Counters`` on a store and its marks; made by ``open_counters``."""

    def __init__(self, store: CountedStore, marks: Marks, known: Mapping[LaneKey, Mark]) -> None:
        self._store = store
        self._marks = marks
        self._reserved = {key: mark.reserved for key, mark in known.items()}
        self._before_me = dict(self._reserved)

    async def next_counter(self, target_id: bytes, lane: Lane, lowest: int) -> int:
        """A value above everything any life of this service can have used."""
        key = (target_id, lane)
        value = await self._store.next_counter(target_id, lane, max(lowest, self._before_me.get(key, -1) + 1))
        if value > self._reserved.get(key, -1):
            mark = Mark(value, value + AHEAD[lane])
            self._marks.save(target_id, lane, mark)
            self._reserved[key] = mark.reserved
        return value


async def open_counters(store: CountedStore, marks: Marks, *, resynchronised: bool = False) -> MarkedCounters:
    """The allocator; raises ``CountersBehind`` for a store behind its marks, unless told that it was looked into."""
    known = marks.load()
    for (target_id, lane), mark in sorted(known.items()):
        last = await store.last_counter(target_id, lane)
        if (last is None or last < mark.taken) and not resynchronised:
            raise CountersBehind(
                f"the {lane} lane of {target_id.hex()} gave out {mark.taken}, and the store knows of "
                f"{'none' if last is None else last}: it was restored from an older backup, or is another one. Bring "
                "back the newer store. If it is lost: read each device's counters (SRV 6.24.1), reconcile the orders "
                "with the audit's copy, and then start once with counters_resynchronised = true"
            )
    return MarkedCounters(store, marks, known)
