"""The supplier's order store on PostgreSQL: `supplier.ports.OrderStore`, each promise one transaction.

Rules this module keeps (design section 5; stack, first row):

- A change is a compare-and-set: ``UPDATE .. WHERE state = :from AND version = :version``, in one transaction with its
  audit entry and its documents. Nobody's second write wins by being later.
- The audit has one chain. Its writers take an advisory lock last, just before they add their entry, so that the head
  they read is the head they extend and the lock is held for one insert and the commit.
- ``NOTIFY`` leaves with the commit; one connection listens for all waiters of this process and is renewed when lost.
- The role is plain (``postgres.refuse_powerful_role``): the database itself refuses what this module must never do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from lastmetre.gbcs.catalogue import Lane
from lastmetre.links.postgres import migrate, refuse_powerful_role
from lastmetre.supplier.ports import (
    LANE_MAX,
    WORK,
    Attempt,
    AttemptState,
    ChainedEntry,
    CountersExhausted,
    Document,
    Entry,
    KeyReused,
    LaneBusy,
    Order,
    Queue,
    Return,
    Road,
    RoadFacts,
    State,
    chain,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from psycopg import AsyncConnection

    Row = dict[str, Any]  # Any: whatever the columns hold; `_order` and `_entry` give it its types
    Connection = AsyncConnection[Row]

SCHEMA: Final = "supplier"
CHANNEL: Final = "lastmetre_supplier"
POOL_MAX: Final = 8
"""Connections of one process; each change needs one for some milliseconds."""
_AUDIT_LOCK: Final = 0x6C61737461756474  # "lastaudt": one key, one chain
_RELISTEN_S: Final = 0.5

logger = logging.getLogger(__name__)

_INSERT_ORDER: Final = """
INSERT INTO supplier.orders (order_id, device_id, service, values_json, roads, deadline_at, reason, idempotency_key,
    body_digest, accepted_at, lane, state, changed_at, version, lane_held, originator_counter, message_code, utrn, road,
    carrier_id, why, retry_at, failures, command, response, return_state, superseded_by, ordered_by, approved_by,
    policy, opened, with_copy, next_road_at, priority)
VALUES (%(order_id)s, %(device_id)s, %(service)s, %(values_json)s, %(roads)s, %(deadline_at)s, %(reason)s,
    %(idempotency_key)s, %(body_digest)s, %(accepted_at)s, %(lane)s, %(state)s, %(changed_at)s, %(version)s,
    %(lane_held)s, %(originator_counter)s, %(message_code)s, %(utrn)s, %(road)s, %(carrier_id)s,
    %(why)s, %(retry_at)s, %(failures)s, %(command)s, %(response)s, %(return_state)s,
    %(superseded_by)s, %(ordered_by)s, %(approved_by)s, %(policy)s, %(opened)s, %(with_copy)s, %(next_road_at)s,
    %(priority)s)
ON CONFLICT (idempotency_key) DO NOTHING
"""

# What was asked never changes; only how far it got does.
_UPDATE_ORDER: Final = """
UPDATE supplier.orders SET state = %(state)s, changed_at = %(changed_at)s, version = version + 1,
    lane_held = %(lane_held)s, originator_counter = %(originator_counter)s,
    message_code = %(message_code)s, utrn = %(utrn)s, road = %(road)s,
    carrier_id = %(carrier_id)s, why = %(why)s, retry_at = %(retry_at)s, failures = %(failures)s,
    command = %(command)s, response = %(response)s, return_state = %(return_state)s, superseded_by = %(superseded_by)s,
    approved_by = %(approved_by)s, opened = %(opened)s, with_copy = %(with_copy)s, next_road_at = %(next_road_at)s
WHERE order_id = %(order_id)s AND state = %(from_state)s AND version = %(from_version)s
"""

_UPSERT_ATTEMPT: Final = """
INSERT INTO supplier.attempts (order_id, number, road, carrier_id, state, handed_on_at, changed_at, tries, said, cost)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (order_id, number) DO UPDATE
    SET state = EXCLUDED.state, changed_at = EXCLUDED.changed_at, tries = EXCLUDED.tries, said = EXCLUDED.said,
        cost = EXCLUDED.cost
"""

_SELECT_ORDERS: Final = """
SELECT o.*, coalesce((
    SELECT jsonb_agg(jsonb_build_object('number', a.number, 'road', a.road, 'carrier_id', encode(a.carrier_id, 'hex'),
        'state', a.state, 'handed_on_at', a.handed_on_at, 'changed_at', a.changed_at, 'tries', a.tries,
        'said', a.said, 'cost', a.cost) ORDER BY a.number)
    FROM supplier.attempts a WHERE a.order_id = o.order_id), '[]'::jsonb) AS attempts
FROM supplier.orders o
"""

_NEXT_COUNTER: Final = """
INSERT INTO supplier.counters AS c (target_id, lane, last) VALUES (%s, %s, %s)
ON CONFLICT (target_id, lane) DO UPDATE SET last = greatest(c.last + 1, EXCLUDED.last)
RETURNING last
"""

_INSERT_AUDIT: Final = """
INSERT INTO supplier.audit (seq, order_id, at, event, from_state, to_state, detail, documents, previous, hash)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


# Each arm has an index of its own (0004, 0005).
_DUE: Final = """
SELECT order_id FROM (
    SELECT order_id, deadline_at AS at FROM supplier.orders
        WHERE state IN ('accepted', 'prepared', 'sealed', 'at_large') AND deadline_at <= %(now)s
    UNION ALL
    SELECT order_id, retry_at FROM supplier.orders
        WHERE retry_at > 0 AND retry_at <= %(now)s AND (return_state = 'due' OR state IN
            ('accepted', 'prepared', 'sealed', 'at_large', 'unknown', 'superseding'))
    UNION ALL
    SELECT order_id, next_road_at FROM supplier.orders
        WHERE next_road_at > 0 AND next_road_at <= %(now)s AND state IN ('accepted', 'sealed', 'at_large')
) AS due GROUP BY order_id ORDER BY min(at), order_id LIMIT %(limit)s
"""

_ROAD_SEEN: Final = """
INSERT INTO supplier.road_facts AS f (way_id, road, seen_at, failures, failed_at)
VALUES (%(way_id)s, %(road)s, %(at)s, 0, 0)
ON CONFLICT (way_id, road) DO UPDATE SET seen_at = greatest(f.seen_at, EXCLUDED.seen_at), failures = 0
"""

_ROAD_FAILED: Final = """
INSERT INTO supplier.road_facts AS f (way_id, road, seen_at, failures, failed_at)
VALUES (%(way_id)s, %(road)s, 0, 1, %(at)s)
ON CONFLICT (way_id, road) DO UPDATE SET failures = f.failures + 1, failed_at = EXCLUDED.failed_at
"""


def migrations() -> dict[str, str]:
    """The schema's scripts, kept beside the supplier's code."""
    folder = files("lastmetre.supplier") / "sql"
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}


def prepare_schema(owner_url: str, application_role: str) -> list[str]:
    """Brings the schema up to date as its owner; returns the scripts that were run."""
    return migrate(owner_url, SCHEMA, migrations(), application_role=application_role)


class PostgresOrderStore:
    """Implements ``supplier.ports.OrderStore``; made by ``open_store``."""

    def __init__(self, pool: AsyncConnectionPool[Connection], url: str, queue: Queue | None = None) -> None:
        self._pool = pool
        self._queue = queue
        self._url = url
        self._changes = 0
        self._changed = asyncio.Condition()

    # -- changes -------------------------------------------------------------------------------------------------

    async def place(
        self, order: Order, entry: Entry, documents: Sequence[Document] = (), *, wake: Sequence[str] = ()
    ) -> Order:
        """As in the port."""
        async with self._pool.connection() as connection, connection.transaction():
            stored = await connection.execute(_INSERT_ORDER, _columns(order))
            if stored.rowcount:
                await _save_attempts(connection, order, ())
                await _add(connection, entry, documents)
                await self._wake(connection, wake)
                return order
            known = await _one(connection, "WHERE o.idempotency_key = %s", order.idempotency_key)
        assert known is not None
        if known.body_digest != order.body_digest:
            text = f"idempotency key {order.idempotency_key} belongs to order {known.order_id}, which says otherwise"
            raise KeyReused(text)
        return known

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
        columns = _columns(after) | {"from_state": before.state.value, "from_version": before.version}
        try:
            async with self._pool.connection() as connection, connection.transaction():
                updated = await connection.execute(_UPDATE_ORDER, columns)
                if updated.rowcount == 0:
                    return None
                await _save_attempts(connection, after, before.attempts)
                await _add(connection, entry, documents)
                await self._wake(connection, wake)
                return await _one(connection, "WHERE o.order_id = %s", after.order_id)
        except psycopg.errors.UniqueViolation as error:
            if error.diag.constraint_name == "one_in_flight":
                raise LaneBusy(f"another order holds the {after.lane} lane of {after.device_id.hex()}") from None
            raise

    async def _wake(self, connection: Connection, order_ids: Sequence[str]) -> None:
        """Into the queue, as one with the change that makes it necessary."""
        if self._queue is not None:
            for order_id in order_ids:
                await self._queue.enqueue(WORK, order_id, connection)

    async def note(self, entry: Entry, documents: Sequence[Document] = ()) -> None:
        """As in the port."""
        async with self._pool.connection() as connection, connection.transaction():
            await _add(connection, entry, documents)

    async def next_counter(self, target_id: bytes, lane: Lane, lowest: int) -> int:
        """As in the port."""
        async with self._pool.connection() as connection, connection.transaction():
            row = await (await connection.execute(_NEXT_COUNTER, [target_id, lane.value, lowest])).fetchone()
            assert row is not None
            value = int(row["last"])
            if value > LANE_MAX[lane]:
                raise CountersExhausted(f"the {lane} lane of {target_id.hex()} ends before {value}")
        return value

    async def last_counter(self, target_id: bytes, lane: Lane) -> int | None:
        """As in the port."""
        query = "SELECT last FROM supplier.counters WHERE target_id = %s AND lane = %s"
        async with self._pool.connection() as connection:
            row = await (await connection.execute(query, [target_id, lane.value])).fetchone()
        return None if row is None else int(row["last"])

    # -- reading -------------------------------------------------------------------------------------------------

    async def order(self, order_id: str) -> Order | None:
        """As in the port."""
        async with self._pool.connection() as connection:
            return await _one(connection, "WHERE o.order_id = %s", order_id)

    async def order_by_counter(self, device_id: bytes, originator_counter: int) -> Order | None:
        """As in the port."""
        async with self._pool.connection() as connection:
            condition = "WHERE o.device_id = %s AND o.originator_counter = %s"
            return await _one(connection, condition, device_id, originator_counter)

    async def orders(self, limit: int) -> list[Order]:
        """As in the port."""
        return await self._many("ORDER BY o.placed_as DESC LIMIT %s", limit)

    async def open_orders(self) -> list[Order]:
        """As in the port."""
        return await self._many(
            "WHERE o.state IN ('accepted', 'prepared', 'sealed', 'at_large', 'unknown', 'superseding')"
            " OR o.return_state = 'due' ORDER BY o.placed_as"
        )

    async def orders_of(self, device_id: bytes, lane: Lane) -> list[Order]:
        """As in the port."""
        condition = "WHERE o.device_id = %s AND o.lane = %s ORDER BY o.placed_as"
        return await self._many(condition, device_id, lane.value)

    async def due(self, now: int, limit: int) -> list[str]:
        """As in the port."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_DUE, {"now": now, "limit": limit})).fetchall()
        return [row["order_id"] for row in rows]

    async def superseding(self, superseder_id: str) -> list[str]:
        """As in the port."""
        query = "SELECT order_id FROM supplier.orders WHERE superseded_by = %s AND state = 'superseding'"
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(query, [superseder_id])).fetchall()
        return [row["order_id"] for row in rows]

    async def orders_for_carrier(self, carrier_id: bytes) -> list[Order]:
        """As in the port."""
        condition = "WHERE o.carrier_id = %s AND o.state IN ('sealed', 'at_large') ORDER BY o.placed_as"
        return await self._many(condition, carrier_id)

    async def lane_queue(self, device_id: bytes, lane: Lane) -> list[Order]:
        """As in the port."""
        condition = (
            "WHERE o.device_id = %s AND o.lane = %s AND o.state IN ('accepted', 'prepared', 'sealed', 'at_large')"
            " ORDER BY o.priority DESC, o.placed_as"
        )
        return await self._many(condition, device_id, lane.value)

    async def at_large_by_ppmid(self) -> dict[tuple[bytes, int], int]:
        """As in the port."""
        query = (
            "SELECT o.device_id, o.message_code, count(*) AS count FROM supplier.orders o"
            " WHERE o.state IN ('at_large', 'unknown', 'superseding') AND EXISTS"
            " (SELECT FROM supplier.attempts a WHERE a.order_id = o.order_id AND a.road = 'ppmid')"
            " GROUP BY o.device_id, o.message_code"
        )
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(query)).fetchall()
        return {(bytes(row["device_id"]), row["message_code"] or 0): row["count"] for row in rows}

    async def road_seen(self, way_id: bytes, road: Road, at: int) -> None:
        """As in the port."""
        async with self._pool.connection() as connection:
            await connection.execute(_ROAD_SEEN, {"way_id": way_id, "road": road.value, "at": at})

    async def road_failed(self, way_id: bytes, road: Road, at: int) -> None:
        """As in the port."""
        async with self._pool.connection() as connection:
            await connection.execute(_ROAD_FAILED, {"way_id": way_id, "road": road.value, "at": at})

    async def road_facts(self, ways: frozenset[tuple[bytes, Road]]) -> dict[tuple[bytes, Road], RoadFacts]:
        """As in the port."""
        query = "SELECT * FROM supplier.road_facts WHERE way_id = ANY(%s)"
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(query, [[way_id for way_id, _ in ways]])).fetchall()
        facts = {
            (bytes(row["way_id"]), Road(row["road"])): RoadFacts(row["seen_at"], row["failures"], row["failed_at"])
            for row in rows
        }
        return {way: fact for way, fact in facts.items() if way in ways}

    async def documents(self, order_id: str) -> list[Document]:
        """As in the port."""
        query = "SELECT name, at, content FROM supplier.documents WHERE order_id = %s ORDER BY number"
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(query, [order_id])).fetchall()
        return [Document(row["name"], row["at"], bytes(row["content"])) for row in rows]

    async def audit(self, after_seq: int, limit: int) -> list[ChainedEntry]:
        """As in the port."""
        query = "SELECT * FROM supplier.audit WHERE seq > %s ORDER BY seq LIMIT %s"
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(query, [after_seq, limit])).fetchall()
        return [_chained(row) for row in rows]

    async def head(self) -> int:
        """As in the port."""
        query = "SELECT coalesce(max(seq), 0) AS head FROM supplier.audit"
        async with self._pool.connection() as connection:
            row = await (await connection.execute(query)).fetchone()
        assert row is not None
        return int(row["head"])

    async def newest_at(self) -> int:
        """As in the port."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT at FROM supplier.audit ORDER BY seq DESC LIMIT 1")
            row = await cursor.fetchone()
        return 0 if row is None else int(row["at"])

    async def _many(self, condition: str, *parameters: object) -> list[Order]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute((_SELECT_ORDERS + condition).encode(), parameters)
            return [_order(row) for row in await cursor.fetchall()]

    # -- waiting -------------------------------------------------------------------------------------------------

    @property
    def changes(self) -> int:
        """As in the port."""
        return self._changes

    async def wait_for_change(self, seen: int, timeout_s: float) -> int:
        """As in the port."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self._changes != seen)
        return self._changes

    async def listen(self) -> None:
        """Runs until cancelled. While it has no connection it counts changes it may have missed."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}".encode())
                    await self._count()
                    async for _ in connection.notifies():
                        await self._count()
            except psycopg.OperationalError as error:
                logger.warning("the listening connection was lost and is made again: %s", error)
            await asyncio.sleep(_RELISTEN_S)
            await self._count()

    async def _count(self) -> None:
        async with self._changed:
            self._changes += 1
            self._changed.notify_all()


@contextlib.asynccontextmanager
async def open_store(application_url: str, queue: Queue | None = None) -> AsyncIterator[PostgresOrderStore]:
    """The store on an up-to-date schema, with its pool and its listener; refuses a role that is too powerful."""
    pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
        application_url,
        min_size=1,
        max_size=POOL_MAX,
        open=False,
        kwargs={"row_factory": dict_row, "autocommit": True},
        check=AsyncConnectionPool.check_connection,  # one that a restart of the database cut is made anew
    )
    async with pool:
        async with pool.connection() as connection:
            await refuse_powerful_role(connection)
        store = PostgresOrderStore(pool, application_url, queue)
        listener = asyncio.create_task(store.listen())
        try:
            yield store
        finally:
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener


# -- inside a transaction ----------------------------------------------------------------------------------------------


async def _one(connection: Connection, condition: str, *parameters: object) -> Order | None:
    row = await (await connection.execute((_SELECT_ORDERS + condition).encode(), parameters)).fetchone()
    return None if row is None else _order(row)


async def _save_attempts(connection: Connection, order: Order, before: tuple[Attempt, ...]) -> None:
    for a in order.attempts:
        if a not in before:
            fields = [
                a.number,
                a.road.value,
                a.carrier_id,
                a.state.value,
                a.handed_on_at,
                a.changed_at,
                a.tries,
                a.said,
                a.cost,
            ]
            await connection.execute(_UPSERT_ATTEMPT, [order.order_id, *fields])


async def _add(connection: Connection, entry: Entry, documents: Sequence[Document]) -> None:
    """Documents, then the audit entry behind the chain's lock, then the word to whoever waits."""
    insert = "INSERT INTO supplier.documents (order_id, name, at, content) VALUES (%s, %s, %s, %s)"
    for document in documents:
        await connection.execute(insert, [entry.order_id, document.name, document.at, document.content])
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_AUDIT_LOCK])
    row = await (await connection.execute("SELECT * FROM supplier.audit ORDER BY seq DESC LIMIT 1")).fetchone()
    new = chain(entry, None if row is None else _chained(row))
    digests = json.dumps({name: digest.hex() for name, digest in entry.documents})
    fields = [new.seq, entry.order_id, entry.at, entry.event, entry.from_state, entry.to_state, entry.detail, digests]
    await connection.execute(_INSERT_AUDIT, [*fields, new.previous, new.hash])
    await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, entry.order_id])


# -- rows and records --------------------------------------------------------------------------------------------------


def _columns(order: Order) -> Row:
    return {
        "order_id": order.order_id,
        "device_id": order.device_id,
        "service": order.service,
        "values_json": order.values_json,
        "roads": [road.value for road in order.roads],
        "deadline_at": order.deadline_at,
        "reason": order.reason,
        "idempotency_key": order.idempotency_key,
        "body_digest": order.body_digest,
        "accepted_at": order.accepted_at,
        "lane": order.lane.value,
        "state": order.state.value,
        "changed_at": order.changed_at,
        "version": order.version,
        "lane_held": order.lane_held,
        "originator_counter": order.originator_counter,
        "message_code": order.message_code,
        "utrn": order.utrn,
        "road": None if order.road is None else order.road.value,
        "carrier_id": order.carrier_id,
        "why": order.why,
        "retry_at": order.retry_at,
        "failures": order.failures,
        "command": order.command,
        "response": order.response,
        "return_state": order.returning.value,
        "superseded_by": order.superseded_by,
        "ordered_by": order.ordered_by,
        "approved_by": order.approved_by,
        "policy": order.policy,
        "opened": [road.value for road in order.opened],
        "priority": order.priority,
        "with_copy": order.with_copy,
        "next_road_at": order.next_road_at,
    }


def _order(row: Row) -> Order:
    counter = row["originator_counter"]
    return Order(
        order_id=row["order_id"],
        device_id=bytes(row["device_id"]),
        service=row["service"],
        values_json=row["values_json"],
        roads=tuple(Road(road) for road in row["roads"]),
        deadline_at=row["deadline_at"],
        reason=row["reason"],
        idempotency_key=row["idempotency_key"],
        body_digest=bytes(row["body_digest"]),
        accepted_at=row["accepted_at"],
        lane=Lane(row["lane"]),
        state=State(row["state"]),
        changed_at=row["changed_at"],
        version=row["version"],
        lane_held=row["lane_held"],
        originator_counter=None if counter is None else int(counter),
        message_code=row["message_code"],
        utrn=row["utrn"],
        road=None if row["road"] is None else Road(row["road"]),
        carrier_id=bytes(row["carrier_id"]),
        why=row["why"],
        retry_at=row["retry_at"],
        failures=row["failures"],
        command=bytes(row["command"]),
        response=bytes(row["response"]),
        returning=Return(row["return_state"]),
        superseded_by=row["superseded_by"],
        ordered_by=row["ordered_by"],
        approved_by=row["approved_by"],
        policy=row["policy"],
        opened=tuple(Road(road) for road in row["opened"]),
        priority=row["priority"],
        with_copy=row["with_copy"],
        next_road_at=row["next_road_at"],
        attempts=tuple(_attempt(attempt) for attempt in row["attempts"]),
    )


def _attempt(row: Row) -> Attempt:
    return Attempt(
        number=row["number"],
        road=Road(row["road"]),
        carrier_id=bytes.fromhex(row["carrier_id"]),
        state=AttemptState(row["state"]),
        handed_on_at=row["handed_on_at"],
        changed_at=row["changed_at"],
        tries=row["tries"],
        said=row["said"],
        cost=row["cost"],
    )


def _chained(row: Row) -> ChainedEntry:
    documents = tuple(sorted((name, bytes.fromhex(digest)) for name, digest in row["documents"].items()))
    entry = Entry(
        row["order_id"], row["at"], row["event"], row["from_state"], row["to_state"], row["detail"], documents
    )
    return ChainedEntry(row["seq"], entry, bytes(row["previous"]), bytes(row["hash"]))
