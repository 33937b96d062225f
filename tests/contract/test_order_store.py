"""The order store's promises, kept by the one in memory and the one on PostgreSQL alike."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from lastmetre.gbcs.catalogue import Lane
from lastmetre.links.order_store import open_store, prepare_schema
from lastmetre.links.postgres import APPLICATION_ROLE, DatabaseUrls, EmbeddedPostgres
from lastmetre.supplier import audit
from lastmetre.supplier.errors import CountersExhausted, KeyReused, LaneBusy
from lastmetre.supplier.orders import (
    FINAL,
    AttemptState,
    Event,
    Order,
    Return,
    Road,
    RoadFacts,
    State,
    attempt_changed,
    moved,
    with_attempt,
)
from lastmetre.supplier.ports import Document, Entry, OrderStore
from lastmetre.supplier.store_memory import MemoryOrderStore

OpenStore = Callable[[], AbstractAsyncContextManager[OrderStore]]
NOW = 1_800_000_000


@pytest.fixture(scope="session")
def database() -> Iterator[DatabaseUrls]:
    """The embedded server, started once for all these tests."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "store")
        try:
            urls = server.start()
            prepare_schema(urls.owner, APPLICATION_ROLE)
            yield urls
        finally:
            server.remove()


@contextlib.asynccontextmanager
async def _memory() -> AsyncIterator[OrderStore]:
    yield MemoryOrderStore()


@pytest.fixture(params=["memory", "postgres"])
def opened(request: pytest.FixtureRequest) -> OpenStore:
    """A way to open the store under test; PostgreSQL keeps what earlier tests wrote, so tests use their own devices."""
    if request.param == "memory":
        return _memory
    database: DatabaseUrls = request.getfixturevalue("database")
    return lambda: open_store(database.application)


def run(opened: OpenStore, work: Callable[[OrderStore], Awaitable[None]]) -> None:
    """Runs one test's work on an open store."""

    async def main() -> None:
        async with opened() as store:
            await work(store)

    asyncio.run(main())


def new_order(device_id: bytes | None = None, **changes: object) -> Order:
    """An order for a device of its own."""
    order_id = uuid.uuid4().hex
    order = Order(
        order_id=order_id,
        device_id=device_id or uuid.uuid4().bytes[:8],
        service="arm_supply",
        values_json="{}",
        roads=(Road.PPMID, Road.WAN),
        deadline_at=NOW + 60,
        reason="a test",
        idempotency_key=f"key {order_id}",
        body_digest=hashlib.sha256(b"body").digest(),
        accepted_at=NOW,
        lane=Lane.ORDINARY,
        changed_at=NOW,
    )
    return replace(order, **changes)  # type: ignore[arg-type]


def entry(order: Order, event: str = "accepted") -> Entry:
    """An audit entry about it."""
    return Entry(order.order_id, NOW, event, None, order.state.value, "because – ü", (("a", bytes(32)),))


def test_what_is_placed_is_read_back(opened: OpenStore) -> None:
    """Every field survives the store, each way of asking finds it."""

    async def work(store: OrderStore) -> None:
        order = with_attempt(
            new_order(
                utrn="7" * 20,
                originator_counter=(2**32 - 1) << 32,
                lane=Lane.TOP_UP,
                why="ü",
                command=b"\xdd\x00",
                carrier_id=uuid.uuid4().bytes[:8],
                state=State.SEALED,
                road=Road.PPMID,
            ),
            Road.CODE,
            b"",
            NOW,
        )
        await store.place(order, entry(order), [Document("code", NOW, b"digits")])
        assert await store.order(order.order_id) == order
        assert await store.order_by_counter(order.device_id, (2**32 - 1) << 32) == order
        assert order in await store.orders(1000)
        assert order in await store.open_orders()
        assert await store.orders_for_carrier(order.carrier_id) == [order]
        assert await store.documents(order.order_id) == [Document("code", NOW, b"digits")]
        assert await store.order("other") is None

    run(opened, work)


def test_the_same_key_and_body_is_the_same_order(opened: OpenStore) -> None:
    """A caller that asks again because it saw no answer gets the first order, and no second audit entry."""

    async def work(store: OrderStore) -> None:
        first = new_order()
        await store.place(first, entry(first))
        again = replace(first, order_id=uuid.uuid4().hex)
        before = len(await store.audit(0, 10_000))
        assert await store.place(again, entry(again)) == first
        assert len(await store.audit(0, 10_000)) == before
        with pytest.raises(KeyReused):
            await store.place(replace(again, body_digest=bytes(32)), entry(again))

    run(opened, work)


def test_a_change_replaces_what_was_read(opened: OpenStore) -> None:
    """State, attempts and documents change together, the version rises."""

    async def work(store: OrderStore) -> None:
        order = await store.place(new := new_order(), entry(new))
        prepared = moved(order, Event.PREPARED, NOW + 1, "waits")
        assert prepared is not None
        stored = await store.change(order, prepared, entry(prepared), [Document("request", NOW, b"<xml/>")])
        assert stored == replace(prepared, version=2)
        handed = moved(stored, Event.HANDED_ON, NOW + 2)
        assert handed is not None
        handed = with_attempt(handed, Road.WAN, bytes(8), NOW + 2)
        stored = await store.change(stored, handed, entry(handed))
        assert stored is not None
        taken = attempt_changed(stored, stored.attempts[0], NOW + 3, state=AttemptState.TAKEN_BY_DCC, said="I99")
        stored = await store.change(stored, taken, entry(taken))
        assert stored is not None
        assert await store.order(order.order_id) == stored == replace(taken, version=4)
        assert [document.name for document in await store.documents(order.order_id)] == ["request"]

    run(opened, work)


def test_a_change_of_something_else_is_refused(opened: OpenStore) -> None:
    """Who read the order before another's change does not overwrite it, even when the state is the same."""

    async def work(store: OrderStore) -> None:
        order = await store.place(new := new_order(), entry(new))
        assert await store.change(order, replace(order, why="first"), entry(order)) is not None
        before = len(await store.audit(0, 10_000))
        document = Document("lost", NOW, b"")
        assert await store.change(order, replace(order, why="second"), entry(order), [document]) is None
        stored = await store.order(order.order_id)
        assert stored is not None
        assert stored.why == "first"
        assert await store.documents(order.order_id) == []
        assert len(await store.audit(0, 10_000)) == before

    run(opened, work)


def test_many_changers_one_winner(opened: OpenStore) -> None:
    """Twenty at once read the same order; exactly one change is taken."""

    async def work(store: OrderStore) -> None:
        order = await store.place(new := new_order(), entry(new))
        changes = [store.change(order, replace(order, why=str(n)), entry(order)) for n in range(20)]
        taken = [result for result in await asyncio.gather(*changes) if result is not None]
        assert len(taken) == 1
        assert await store.order(order.order_id) == taken[0]

    run(opened, work)


def test_a_lane_has_one_holder(opened: OpenStore) -> None:
    """One Command in flight per device and lane; the other lane and other devices are free; an end frees it."""

    async def work(store: OrderStore) -> None:
        first = await store.place(new := new_order(), entry(new))
        second = await store.place(new := new_order(first.device_id), entry(new))
        top_up = await store.place(new := new_order(first.device_id, lane=Lane.TOP_UP), entry(new))
        held = await store.change(first, replace(first, lane_held=True), entry(first))
        assert held is not None
        assert await store.lane_queue(first.device_id, Lane.ORDINARY) == [held, second]
        with pytest.raises(LaneBusy):
            await store.change(second, replace(second, lane_held=True), entry(second))
        assert await store.change(top_up, replace(top_up, lane_held=True), entry(top_up)) is not None
        cancelled = moved(held, Event.CANCELLED, NOW)
        assert cancelled is not None
        await store.change(held, cancelled, entry(cancelled))
        assert await store.lane_queue(first.device_id, Lane.ORDINARY) == [second]
        assert await store.change(second, replace(second, lane_held=True), entry(second)) is not None

    run(opened, work)


def test_counters_never_repeat(opened: OpenStore) -> None:
    """A hundred at once get a hundred values, each above the clock's floor; lanes and targets do not mix."""

    async def work(store: OrderStore) -> None:
        target, other = uuid.uuid4().bytes[:8], uuid.uuid4().bytes[:8]
        values = await asyncio.gather(*(store.next_counter(target, Lane.ORDINARY, 1000) for _ in range(100)))
        assert sorted(values) == list(range(1000, 1100))
        assert await store.next_counter(target, Lane.ORDINARY, 5000) == 5000
        assert await store.next_counter(target, Lane.ORDINARY, 10) == 5001
        assert await store.next_counter(target, Lane.TOP_UP, 7) == 7
        assert await store.next_counter(other, Lane.ORDINARY, 7) == 7
        with pytest.raises(CountersExhausted):
            await store.next_counter(other, Lane.TOP_UP, 2**32)

    run(opened, work)


def test_open_orders_are_those_with_work_left(opened: OpenStore) -> None:
    """An ended order comes back only while its Response is still to be returned."""

    async def work(store: OrderStore) -> None:
        for state in State:
            order = await store.place(new := new_order(state=state), entry(new))
            assert (order in await store.open_orders()) is (state not in FINAL)
        due = await store.place(new := new_order(state=State.CONFIRMED, returning=Return.DUE), entry(new))
        assert due in await store.open_orders()

    run(opened, work)


def test_the_audit_is_one_chain(opened: OpenStore) -> None:
    """Entries of changes made at once follow each other without a gap, and the chain verifies from its first entry."""

    async def work(store: OrderStore) -> None:
        orders = [new_order() for _ in range(20)]
        await asyncio.gather(*(store.place(order, entry(order)) for order in orders))
        await store.note(Entry("", NOW, "looked"))
        entries: list[audit.ChainedEntry] = []
        while page := await store.audit(len(entries), 7):
            entries += page
        head = audit.verify(entries)
        assert head is not None
        assert head.seq == len(entries)
        assert head.entry == Entry("", NOW, "looked")
        assert entries[-2].entry in [entry(order) for order in orders]

    run(opened, work)


def test_a_change_wakes_who_waits(opened: OpenStore) -> None:
    """No change is missed between reading and waiting; without one the wait ends at its time-out."""

    async def work(store: OrderStore) -> None:
        await store.wait_for_change(store.changes, 0.2)  # the listener has begun
        seen = store.changes
        assert await store.wait_for_change(seen, 0.01) == seen
        waiter = asyncio.create_task(store.wait_for_change(seen, 5))
        order = new_order()
        await store.place(order, entry(order))
        assert await asyncio.wait_for(waiter, 5) != seen
        assert await store.wait_for_change(seen, 5) != seen

    run(opened, work)


def test_the_database_refuses_what_the_service_must_not_do(database: DatabaseUrls) -> None:
    """Even with the application's password, audit and documents stay as written and counters only rise."""
    asyncio.run(_fill(database.application))
    allowed = psycopg.errors.InsufficientPrivilege
    for statement in (
        "DELETE FROM supplier.orders",
        "UPDATE supplier.audit SET detail = ''",
        "DELETE FROM supplier.audit",
        "UPDATE supplier.documents SET content = ''",
        "TRUNCATE supplier.counters",
        "DROP TABLE supplier.audit",
        "INSERT INTO supplier.migrations VALUES ('x', 'y')",
    ):
        with psycopg.connect(database.application) as connection, pytest.raises(allowed):
            connection.execute(statement.encode())
    with (
        psycopg.connect(database.application) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="only rises"),
    ):
        connection.execute("UPDATE supplier.counters SET last = last - 1")
    for statement in ("UPDATE supplier.audit SET detail = ''", "DELETE FROM supplier.documents"):
        with psycopg.connect(database.owner) as connection, pytest.raises(psycopg.errors.RaiseException, match="never"):
            connection.execute(statement.encode())


async def _fill(url: str) -> None:
    async with open_store(url) as store:
        order = new_order()
        await store.place(order, entry(order), [Document("a", NOW, b"a")])
        await store.next_counter(order.device_id, Lane.ORDINARY, 1)


def test_a_restart_keeps_everything(database: DatabaseUrls) -> None:
    """What one process stored, the next one reads: orders, documents, counters, audit."""

    async def write() -> Order:
        async with open_store(database.application) as store:
            order = await store.place(new := new_order(), entry(new), [Document("a", NOW, b"a")])
            await store.next_counter(order.device_id, Lane.ORDINARY, 100)
            return order

    async def read(order: Order) -> None:
        async with open_store(database.application) as store:
            assert await store.order(order.order_id) == order
            assert await store.documents(order.order_id) == [Document("a", NOW, b"a")]
            assert await store.next_counter(order.device_id, Lane.ORDINARY, 1) == 101

    asyncio.run(read(asyncio.run(write())))


def test_newest_at_is_the_last_entrys_time(opened: OpenStore) -> None:
    """A clock that may not go back asks the store what it has seen."""

    async def work(store: OrderStore) -> None:
        await store.note(Entry("", NOW + 77, "something_happened"))
        assert await store.newest_at() == NOW + 77

    run(opened, work)


def test_an_order_remembers_its_people_and_its_superseder(opened: OpenStore) -> None:
    """Who ordered, who approved and which order makes it harmless are kept with it."""

    async def work(store: OrderStore) -> None:
        order = await store.place(new_order(ordered_by="ann"), Entry("o", NOW, "order_accepted"))
        after = replace(order, superseded_by="another", approved_by="bob")
        stored = await store.change(order, after, Entry(order.order_id, NOW, "supersession_started"))
        assert stored is not None
        assert (stored.superseded_by, stored.ordered_by, stored.approved_by) == ("another", "ann", "bob")

    run(opened, work)


def test_last_counter_is_what_was_given_last(opened: OpenStore) -> None:
    """A mark outside the store is compared with it at the start."""

    async def work(store: OrderStore) -> None:
        device_id = uuid.uuid4().bytes[:8]
        assert await store.last_counter(device_id, Lane.TOP_UP) is None
        value = await store.next_counter(device_id, Lane.TOP_UP, 7)
        assert await store.last_counter(device_id, Lane.TOP_UP) == value
        assert await store.last_counter(device_id, Lane.ORDINARY) is None

    run(opened, work)


def test_an_order_remembers_its_roads(opened: OpenStore) -> None:
    """Policy, roads taken, the copy, when the next road is due, and what each use of a road cost."""

    async def work(store: OrderStore) -> None:
        placed = new_order(policy="race", roads=(Road.BOTH, Road.HHT))
        order = await store.place(placed, Entry(placed.order_id, NOW, "order_accepted"))
        after = replace(order, opened=(Road.WAN, Road.PPMID), with_copy=True, next_road_at=NOW + 9)
        after = with_attempt(after, Road.WAN, bytes(8), NOW, 20)
        stored = await store.change(order, after, Entry(order.order_id, NOW, "road_added"))
        assert stored is not None
        again = attempt_changed(stored, stored.attempts[0], NOW + 1, again=True, cost=20)
        stored = await store.change(stored, again, Entry(order.order_id, NOW, "command_handed_on_again"))
        assert stored is not None
        assert await store.order(order.order_id) == stored
        assert (stored.policy, stored.roads) == ("race", (Road.BOTH, Road.HHT))
        assert (stored.opened, stored.with_copy, stored.next_road_at) == ((Road.WAN, Road.PPMID), True, NOW + 9)
        assert (stored.cost, stored.attempts[0].tries) == (40, 2)

    run(opened, work)


def test_what_was_seen_of_a_way(opened: OpenStore) -> None:
    """Failures add up until it is heard of again; ways are told apart, roads too."""

    async def work(store: OrderStore) -> None:
        way, other = uuid.uuid4().bytes[:8], uuid.uuid4().bytes[:8]
        ways = frozenset({(way, Road.PPMID), (other, Road.WAN)})
        assert await store.road_facts(ways) == {}
        await store.road_failed(way, Road.PPMID, NOW)
        await store.road_failed(way, Road.PPMID, NOW + 1)
        await store.road_seen(other, Road.WAN, NOW + 2)
        await store.road_failed(way, Road.WAN, NOW)
        facts = await store.road_facts(ways)
        assert facts[way, Road.PPMID] == RoadFacts(0, 2, NOW + 1)
        assert facts[other, Road.WAN] == RoadFacts(seen_at=NOW + 2)
        assert len(facts) == 2
        await store.road_seen(way, Road.PPMID, NOW + 5)
        seen = (await store.road_facts(ways))[way, Road.PPMID]
        assert (seen.seen_at, seen.failures) == (NOW + 5, 0)

    run(opened, work)


def test_what_is_at_large_with_ppmids_is_counted(opened: OpenStore) -> None:
    """By device and message code; what only the DCC has, or has ended, is none."""

    async def work(store: OrderStore) -> None:
        device_id = uuid.uuid4().bytes[:8]
        for state, road in (
            (State.AT_LARGE, Road.PPMID),
            (State.UNKNOWN, Road.PPMID),
            (State.AT_LARGE, Road.WAN),
            (State.CONFIRMED, Road.PPMID),
        ):
            order = with_attempt(new_order(device_id, state=state, message_code=0x44), road, bytes(8), NOW)
            await store.place(order, Entry(order.order_id, NOW, "order_accepted"))
        counts = await store.at_large_by_ppmid()
        assert {key: count for key, count in counts.items() if key[0] == device_id} == {(device_id, 0x44): 2}

    run(opened, work)
