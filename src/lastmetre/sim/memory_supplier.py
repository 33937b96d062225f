"""One life's door to the supplier's store: the real in-memory store, whose every write may be the last thing done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lastmetre.gbcs.catalogue import Lane
    from lastmetre.sim.parties import Life
    from lastmetre.supplier.audit import ChainedEntry, Entry
    from lastmetre.supplier.orders import Order, Road, RoadFacts
    from lastmetre.supplier.ports import Document
    from lastmetre.supplier.store_memory import MemoryOrderStore


class MortalOrderStore:
    """Implements ``supplier.ports.OrderStore`` for a process that can die."""

    def __init__(self, store: MemoryOrderStore, life: Life) -> None:
        self._store = store
        self._life = life

    async def place(
        self, order: Order, entry: Entry, documents: Sequence[Document] = (), *, wake: Sequence[str] = ()
    ) -> Order:
        """As in the port."""
        self._life.write("place", "before")
        stored = await self._store.place(order, entry, documents, wake=wake)
        self._life.write("place", "after")
        return stored

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
        self._life.write(entry.event, "before")
        stored = await self._store.change(before, after, entry, documents, wake=wake)
        self._life.write(entry.event, "after")
        return stored

    async def note(self, entry: Entry, documents: Sequence[Document] = ()) -> None:
        """As in the port."""
        self._life.write(entry.event, "before")
        await self._store.note(entry, documents)
        self._life.write(entry.event, "after")

    async def next_counter(self, target_id: bytes, lane: Lane, lowest: int) -> int:
        """As in the port."""
        self._life.write("next_counter", "before")
        value = await self._store.next_counter(target_id, lane, lowest)
        self._life.write("next_counter", "after")
        return value

    async def order(self, order_id: str) -> Order | None:
        """As in the port."""
        self._life.check()
        return await self._store.order(order_id)

    async def order_by_counter(self, device_id: bytes, originator_counter: int) -> Order | None:
        """As in the port."""
        self._life.check()
        return await self._store.order_by_counter(device_id, originator_counter)

    async def orders(self, limit: int) -> list[Order]:
        """As in the port."""
        self._life.check()
        return await self._store.orders(limit)

    async def open_orders(self) -> list[Order]:
        """As in the port."""
        self._life.check()
        return await self._store.open_orders()

    async def orders_of(self, device_id: bytes, lane: Lane) -> list[Order]:
        """As in the port."""
        self._life.check()
        return await self._store.orders_of(device_id, lane)

    async def due(self, now: int, limit: int) -> list[str]:
        """As in the port."""
        self._life.check()
        return await self._store.due(now, limit)

    async def superseding(self, superseder_id: str) -> list[str]:
        """As in the port."""
        self._life.check()
        return await self._store.superseding(superseder_id)

    async def orders_for_carrier(self, carrier_id: bytes) -> list[Order]:
        """As in the port."""
        self._life.check()
        return await self._store.orders_for_carrier(carrier_id)

    async def lane_queue(self, device_id: bytes, lane: Lane) -> list[Order]:
        """As in the port."""
        self._life.check()
        return await self._store.lane_queue(device_id, lane)

    async def last_counter(self, target_id: bytes, lane: Lane) -> int | None:
        """As in the port."""
        self._life.check()
        return await self._store.last_counter(target_id, lane)

    async def at_large_by_ppmid(self) -> Mapping[tuple[bytes, int], int]:
        """As in the port."""
        self._life.check()
        return await self._store.at_large_by_ppmid()

    async def road_seen(self, way_id: bytes, road: Road, at: int) -> None:
        """As in the port."""
        self._life.check()
        await self._store.road_seen(way_id, road, at)

    async def road_failed(self, way_id: bytes, road: Road, at: int) -> None:
        """As in the port."""
        self._life.check()
        await self._store.road_failed(way_id, road, at)

    async def road_facts(self, ways: frozenset[tuple[bytes, Road]]) -> Mapping[tuple[bytes, Road], RoadFacts]:
        """As in the port."""
        self._life.check()
        return await self._store.road_facts(ways)

    async def documents(self, order_id: str) -> list[Document]:
        """As in the port."""
        self._life.check()
        return await self._store.documents(order_id)

    async def audit(self, after_seq: int, limit: int) -> list[ChainedEntry]:
        """As in the port."""
        self._life.check()
        return await self._store.audit(after_seq, limit)

    async def head(self) -> int:
        """As in the port."""
        self._life.check()
        return await self._store.head()

    async def newest_at(self) -> int:
        """As in the port."""
        self._life.check()
        return await self._store.newest_at()

    @property
    def changes(self) -> int:
        """As in the port."""
        return self._store.changes

    async def wait_for_change(self, seen: int, timeout_s: float) -> int:
        """As in the port."""
        self._life.check()
        return await self._store.wait_for_change(seen, timeout_s)
