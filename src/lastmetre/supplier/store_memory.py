"""The order store in memory: the same promises as PostgreSQL's while the process lives. For tests and simulations."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from lastmetre.supplier.audit import ChainedEntry, Entry, chain
from lastmetre.supplier.counters import next_value
from lastmetre.supplier.errors import KeyReused, LaneBusy
from lastmetre.supplier.orders import BEFORE_THE_END, OPEN, WORK, Order, Return, Road, RoadFacts, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lastmetre.gbcs.catalogue import Lane
    from lastmetre.supplier.ports import Document
    from lastmetre.supplier.queue_memory import Jobs


class MemoryOrderStore:
    """Implements ``ports.OrderStore``. No step of it awaits in its middle, so each is a transaction."""

    def __init__(self, jobs: Jobs | None = None) -> None:
        self._jobs = jobs
        self._orders: dict[str, Order] = {}
        self._by_key: dict[str, str] = {}
        self._documents: dict[str, list[Document]] = {}
        self._counters: dict[tuple[bytes, Lane], int] = {}
        self._audit: list[ChainedEntry] = []
        self._facts: dict[tuple[bytes, Road], RoadFacts] = {}
        self._changes = 0
        self._changed = asyncio.Condition()

    async def place(
        self, order: Order, entry: Entry, documents: Sequence[Document] = (), *, wake: Sequence[str] = ()
    ) -> Order:
        """As in the port."""
        known = self._by_key.get(order.idempotency_key)
        if known is not None:
            stored = self._orders[known]
            if stored.body_digest != order.body_digest:
                raise KeyReused(
                    f"idempotency key {order.idempotency_key} belongs to order {known}, which says otherwise"
                )
            return stored
        self._orders[order.order_id] = order
        self._by_key[order.idempotency_key] = order.order_id
        self._wake(wake)
        await self._wrote(entry, documents)
        return order

    async def change(
        self,
        before: Order,
        after: Order,
        entry: Entry,
        documents: Sequence[Document] = (),
        *,
        wake: Sequence[str] = (),
    ) -> Order | None:
        """As in the port."""
        stored = self._orders[before.order_id]
        if (stored.state, stored.version) != (before.state, before.version):
            return None
        if after.lane_held:
            queue = await self.lane_queue(after.device_id, after.lane)
            if any(order.lane_held and order.order_id != after.order_id for order in queue):
                raise LaneBusy(f"another order holds the {after.lane} lane of {after.device_id.hex()}")
        new = replace(after, version=before.version + 1)
        self._orders[before.order_id] = new
        self._wake(wake)
        await self._wrote(entry, documents)
        return new

    async def note(self, entry: Entry, documents: Sequence[Document] = ()) -> None:
        """As in the port."""
        await self._wrote(entry, documents)

    async def order(self, order_id: str) -> Order | None:
        """As in the port."""
        return self._orders.get(order_id)

    async def order_by_counter(self, device_id: bytes, originator_counter: int) -> Order | None:
        """As in the port."""
        wanted = (device_id, originator_counter)
        return next((o for o in self._orders.values() if (o.device_id, o.originator_counter) == wanted), None)

    async def orders(self, limit: int) -> list[Order]:
        """As in the port."""
        return list(reversed(self._orders.values()))[:limit]

    async def open_orders(self) -> list[Order]:
        """As in the port."""
        return [o for o in self._orders.values() if o.state in OPEN or o.returning is Return.DUE]

    async def orders_of(self, device_id: bytes, lane: Lane) -> list[Order]:
        """As in the port."""
        return [o for o in self._orders.values() if o.device_id == device_id and o.lane is lane]

    async def due(self, now: int, limit: int) -> list[str]:
        """As in the port."""
        moments = ((_due_at(order), order.order_id) for order in self._orders.values())
        return [order_id for at, order_id in sorted(moments) if 0 < at <= now][:limit]

    async def superseding(self, superseder_id: str) -> list[str]:
        """As in the port."""
        waits = State.SUPERSEDING
        return [o.order_id for o in self._orders.values() if o.superseded_by == superseder_id and o.state is waits]

    def _wake(self, order_ids: Sequence[str]) -> None:
        if self._jobs is not None:
            for order_id in order_ids:
                self._jobs.add(WORK, order_id)

    async def orders_for_carrier(self, carrier_id: bytes) -> list[Order]:
        """As in the port."""
        with_carrier = {State.SEALED, State.AT_LARGE}
        return [o for o in self._orders.values() if o.carrier_id == carrier_id and o.state in with_carrier]

    async def lane_queue(self, device_id: bytes, lane: Lane) -> list[Order]:
        """As in the port."""
        of_lane = [o for o in self._orders.values() if o.device_id == device_id and o.lane is lane]
        waiting = [order for order in of_lane if order.state in BEFORE_THE_END]
        return sorted(waiting, key=lambda order: -order.priority)

    async def next_counter(self, target_id: bytes, lane: Lane, lowest: int) -> int:
        """As in the port."""
        value = next_value(self._counters.get((target_id, lane)), lane, lowest)
        self._counters[target_id, lane] = value
        return value

    async def last_counter(self, target_id: bytes, lane: Lane) -> int | None:
        """As in the port."""
        return self._counters.get((target_id, lane))

    async def at_large_by_ppmid(self) -> dict[tuple[bytes, int], int]:
        """As in the port."""
        out = {State.AT_LARGE, State.UNKNOWN, State.SUPERSEDING}
        return Counter(
            (o.device_id, o.message_code or 0)
            for o in self._orders.values()
            if o.state in out and any(attempt.road is Road.PPMID for attempt in o.attempts)
        )

    async def road_seen(self, way_id: bytes, road: Road, at: int) -> None:
        """As in the port."""
        self._facts[way_id, road] = RoadFacts(seen_at=at)

    async def road_failed(self, way_id: bytes, road: Road, at: int) -> None:
        """As in the port."""
        known = self._facts.get((way_id, road), RoadFacts())
        self._facts[way_id, road] = replace(known, failures=known.failures + 1, failed_at=at)

    async def road_facts(self, ways: frozenset[tuple[bytes, Road]]) -> dict[tuple[bytes, Road], RoadFacts]:
        """As in the port."""
        return {way: facts for way, facts in self._facts.items() if way in ways}

    async def documents(self, order_id: str) -> list[Document]:
        """As in the port."""
        return list(self._documents.get(order_id, ()))

    async def audit(self, after_seq: int, limit: int) -> list[ChainedEntry]:
        """As in the port."""
        return self._audit[after_seq : after_seq + limit]

    async def head(self) -> int:
        """As in the port."""
        return len(self._audit)

    async def newest_at(self) -> int:
        """As in the port."""
        return self._audit[-1].entry.at if self._audit else 0

    @property
    def changes(self) -> int:
        """As in the port."""
        return self._changes

    async def wait_for_change(self, seen: int, timeout_s: float) -> int:
        """As in the port."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self._changes != seen)
        except TimeoutError:
            pass
        return self._changes

    async def _wrote(self, entry: Entry, documents: Sequence[Document]) -> None:
        self._audit.append(chain(entry, self._audit[-1] if self._audit else None))
        self._documents.setdefault(entry.order_id, []).extend(documents)
        self._changes += 1
        async with self._changed:
            self._changed.notify_all()


def _due_at(order: Order) -> int:
    """The earliest moment at which the clock alone has something to do for it; 0 when there is none."""
    moments = [order.deadline_at] if order.state in BEFORE_THE_END else []
    if order.retry_at and (order.state in OPEN or order.returning is Return.DUE):
        moments.append(order.retry_at)
    if order.next_road_at and order.state in {State.ACCEPTED, State.SEALED, State.AT_LARGE}:
        moments.append(order.next_road_at)
    return min(moments, default=0)
