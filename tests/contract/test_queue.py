"""The queue's five verbs, in memory and on PostgreSQL: what comes, when, how often, and what a dead worker leaves."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from lastmetre.gbcs.catalogue import Lane
from lastmetre.links.order_store import open_store, prepare_schema
from lastmetre.links.postgres import APPLICATION_ROLE, EmbeddedPostgres
from lastmetre.links.queue_pg import open_queue, prepare_queue
from lastmetre.supplier.orders import WORK, Order, Road
from lastmetre.supplier.ports import Entry, Queue
from lastmetre.supplier.queue_memory import Jobs, MemoryQueue

if TYPE_CHECKING:
    from lastmetre.links.postgres import DatabaseUrls

OpenQueue = Callable[[], AbstractAsyncContextManager[Queue]]
SOON_S = 10.0


@pytest.fixture(scope="module")
def database() -> Iterator[DatabaseUrls]:
    """The embedded server with store and queue."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "store")
        try:
            urls = server.start()
            prepare_schema(urls.owner, APPLICATION_ROLE)
            prepare_queue(urls.owner, APPLICATION_ROLE)
            prepare_queue(urls.owner, APPLICATION_ROLE)  # a second start finds it there
            yield urls
        finally:
            server.remove()


@contextlib.asynccontextmanager
async def _memory() -> AsyncIterator[Queue]:
    yield MemoryQueue(Jobs(), time.time)


@pytest.fixture(params=["memory", "postgres"])
def opened(request: pytest.FixtureRequest) -> OpenQueue:
    """A way to open the queue under test."""
    if request.param == "memory":
        return _memory
    database: DatabaseUrls = request.getfixturevalue("database")
    return lambda: open_queue(database.application)


class Done:
    """What was done, in order."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.changed = asyncio.Event()

    async def __call__(self, key: str) -> None:
        """Notes it."""
        self.keys.append(key)
        self.changed.set()

    async def until(self, *keys: str) -> None:
        """Waits until all of these were done."""
        async with asyncio.timeout(SOON_S):
            while not set(keys) <= set(self.keys):
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def running(queue: Queue) -> AsyncIterator[None]:
    """A worker on it."""
    work = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


def run(opened: OpenQueue, story: Callable[[Queue, Done, str], Awaitable[None]]) -> None:
    """One story on an open queue, with a name of its own for the work."""

    async def main() -> None:
        async with opened() as queue:
            await story(queue, Done(), f"work-{uuid.uuid4().hex}")

    asyncio.run(main())


def test_what_is_enqueued_is_done(opened: OpenQueue) -> None:
    """Before and while a worker runs; the same key twice is two jobs, and with ``once`` one."""

    async def story(queue: Queue, done: Done, work: str) -> None:
        queue.handler(work, done)
        await queue.enqueue(work, "before")
        for _ in range(2):
            await queue.enqueue(work, "twice")
            await queue.enqueue(work, "once", once=True)
        async with running(queue):
            await done.until("before", "twice", "once")
            await queue.enqueue(work, "while")
            await done.until("while")
        assert sorted(done.keys) == ["before", "once", "twice", "twice", "while"]

    run(opened, story)


def test_later_is_not_now_and_cancelled_is_never(opened: OpenQueue) -> None:
    """What is for later waits for its time; what is cancelled meanwhile is not done."""

    async def story(queue: Queue, done: Done, work: str) -> None:
        queue.handler(work, done)
        began = time.time()
        await queue.enqueue_at(work, "later", int(began) + 2)
        await queue.enqueue_at(work, "cancelled", int(began) + 2)
        async with running(queue):
            await queue.enqueue(work, "now")
            await done.until("now")
            assert done.keys == ["now"]
            await queue.cancel(work, "cancelled")
            await done.until("later")
            assert time.time() >= int(began) + 2
            await queue.enqueue(work, "last")
            await done.until("last")
        assert done.keys == ["now", "later", "last"]

    run(opened, story)


def test_a_cron_comes_again_and_again(opened: OpenQueue) -> None:
    """Every so often, by itself."""

    async def story(queue: Queue, done: Done, work: str) -> None:
        async def tick() -> None:
            await done(str(len(done.keys)))

        queue.cron(work, 1, tick)
        async with running(queue):
            await done.until("0", "1")

    run(opened, story)


def _order() -> Order:
    order_id = uuid.uuid4().hex
    return Order(
        order_id=order_id, device_id=uuid.uuid4().bytes[:8], service="arm_supply", values_json="{}",
        roads=(Road.PPMID,), deadline_at=2_000_000_000, reason="", idempotency_key=order_id, body_digest=bytes(32),
        accepted_at=1_800_000_000, lane=Lane.ORDINARY,
    )  # fmt: skip


def test_a_job_is_there_when_its_transaction_is(database: DatabaseUrls) -> None:
    """An order and its job are one: stored together; where the one is rolled back the other never was."""

    async def story() -> None:
        done = Done()
        async with open_queue(database.application) as queue, open_store(database.application, queue) as store:
            queue.handler(WORK, done)
            order = _order()
            async with await psycopg.AsyncConnection.connect(database.application) as connection:
                await queue.enqueue(WORK, "rolled back", connection)
                await connection.rollback()
            await store.place(order, Entry(order.order_id, 1, "order_accepted"), wake=(order.order_id,))
            async with running(queue):
                await done.until(order.order_id)
            assert done.keys == [order.order_id]

    asyncio.run(story())


_WORKER = """
import asyncio, sys
from lastmetre.links.queue_pg import open_queue

async def main():
    async with open_queue(sys.argv[1], 2.0) as queue:
        async def hang(key):
            print(key, flush=True)
            await asyncio.sleep(3600)
        queue.handler(sys.argv[2], hang)
        await queue.run()

asyncio.run(main())
"""


def test_a_killed_workers_job_is_taken_over(database: DatabaseUrls) -> None:
    """Kill -9 in the middle of a job: another worker does it within some heartbeats, without anybody's help."""
    work = f"work-{uuid.uuid4().hex}"

    async def story() -> None:
        done = Done()
        async with open_queue(database.application, 2.0) as queue:
            await queue.enqueue(work, "in the middle")
            command = [sys.executable, "-c", _WORKER, database.application, work]
            victim = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            assert victim.stdout is not None
            assert await victim.stdout.readline() == b"in the middle\n"
            queue.handler(work, done)
            async with running(queue):
                victim.kill()
                await victim.wait()
                await done.until("in the middle")

    asyncio.run(story())
