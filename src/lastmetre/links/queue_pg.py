"""The supplier's queue on PostgreSQL: PgQueuer behind ``supplier.ports.Queue``; workers on asyncpg.

Rules this module keeps (stack-notes, traps 9 and 10; decision 0010):

- What is enqueued inside a transaction of the order store is there when that transaction is, and never otherwise: it
  goes over that very connection.
- A worker that dies loses nothing: its jobs go to another as soon as its heartbeats are older than ``heartbeat_s``.
  A job may therefore be done twice; what it does to an order is a compare-and-set, so that the second time finds
  nothing to do.
- The schema belongs to the owner, like every other; the application's role may use it and no more.

A job says only that there is something to do about a key. What, the store knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

import asyncpg  # type: ignore[import-untyped]
import psycopg
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings
from pgqueuer.types import Channel
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from pgqueuer.models import Job, Schedule
    from pgqueuer.ports.driver import Driver
    from pgqueuer.types import JobId

SCHEMA: Final = "supplier_queue"
HEARTBEAT_S: Final = 5.0
"""A worker silent for so long is taken for dead, and its jobs go to another."""
POOL_MAX: Final = 4
BATCH: Final = 16
AT_ONCE_MAX: Final = 32
"""Jobs of one worker under way: enough to hide the DCC's answer times, too few to hurt it."""
MINUTE_S: Final = 60


def _settings() -> DBSettings:
    return DBSettings(db_schema=SCHEMA, channel=Channel("lastmetre_supplier_queue"))


def _queries(driver: Driver) -> Queries:
    settings = _settings()
    return Queries(
        driver, QueryBuilderEnvironment(settings), QueryQueueBuilder(settings), QuerySchedulerBuilder(settings)
    )


class _InTransaction(PsycopgDriver):
    """PgQueuer on somebody's open transaction: it enqueues there, and neither begins nor ends anything.

    The library's own driver asks for autocommit, which says nothing about a transaction that is open.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection


def prepare_queue(owner_url: str, application_role: str) -> None:
    """Installs or upgrades PgQueuer's schema as its owner. Blocks; for the start of a process."""
    asyncio.run(_prepare(owner_url, application_role))


async def _prepare(owner_url: str, application_role: str) -> None:
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as connection:
        queries = _queries(PsycopgDriver(connection))
        async with queries.schema_lock():
            if not await queries.schema_is_installed():
                await queries.install()
            else:
                await queries.upgrade()
            role, schema = sql.Identifier(application_role), sql.Identifier(SCHEMA)
            for text in (
                "GRANT USAGE ON SCHEMA {schema} TO {role}",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
                "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
            ):
                await connection.execute(sql.SQL(text).format(schema=schema, role=role))


class PgQueue:
    """Implements ``supplier.ports.Queue``; made by ``open_queue``."""

    def __init__(self, pool: asyncpg.Pool, heartbeat_s: float = HEARTBEAT_S) -> None:
        driver = AsyncpgPoolDriver(pool)
        self._queries = _queries(driver)
        self._heartbeat_s = heartbeat_s
        self._queuer = PgQueuer(connection=driver, channel=Channel(_settings().channel), queries=self._queries)

    async def enqueue(self, work: str, key: str, transaction: object | None = None, *, once: bool = False) -> None:
        """As in the port; ``transaction`` is the psycopg connection that has one open."""
        queries = self._queries
        if transaction is not None:
            queries = _queries(_InTransaction(cast("psycopg.AsyncConnection[Any]", transaction)))
        dedupe_key = f"{work} {key}" if once else None
        await queries.enqueue(work, key.encode(), dedupe_key=dedupe_key, on_conflict="skip")

    async def enqueue_at(self, work: str, key: str, at: int) -> None:
        """As in the port."""
        after = timedelta(seconds=max(0.0, at - time.time()))
        # The same work at another time is other work: the earlier one harms nobody.
        await self._queries.enqueue(
            work, key.encode(), execute_after=after, dedupe_key=f"{work} {key} {at}", on_conflict="skip"
        )

    async def cancel(self, work: str, key: str) -> None:
        """As in the port."""
        query = f"SELECT id FROM {SCHEMA}.{_settings().queue_table} WHERE entrypoint = $1 AND payload = $2"  # noqa: S608 - our own names
        rows = await self._queries.driver.fetch(query, work, key.encode())
        if rows:
            await self._queries.mark_job_as_cancelled([cast("JobId", row["id"]) for row in rows])

    def handler(self, work: str, do: Callable[[str], Awaitable[None]]) -> None:
        """As in the port."""

        async def run(job: Job) -> None:
            await do((job.payload or b"").decode())

        self._queuer.entrypoint(work)(run)

    def cron(self, name: str, every_s: int, do: Callable[[], Awaitable[None]]) -> None:
        """As in the port."""
        if not 1 <= every_s < MINUTE_S or MINUTE_S % every_s:
            raise ValueError("a cron's seconds must divide a minute")

        async def run(_schedule: Schedule) -> None:
            await do()

        self._queuer.schedule(name, f"* * * * * */{every_s}")(run)

    async def run(self) -> None:
        """As in the port."""
        await self._queuer.run(
            dequeue_timeout=timedelta(seconds=self._heartbeat_s),  # an idle worker looks for orphans this often
            batch_size=BATCH,
            max_concurrent_tasks=AT_ONCE_MAX,
            heartbeat_timeout=timedelta(seconds=self._heartbeat_s),
        )


@contextlib.asynccontextmanager
async def open_queue(application_url: str, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[PgQueue]:
    """The queue, on a schema that ``prepare_queue`` made."""
    async with asyncpg.create_pool(**_for_asyncpg(application_url), min_size=1, max_size=POOL_MAX) as pool:
        yield PgQueue(pool, heartbeat_s)


_SAME_NAMES: Final = ("host", "port", "user", "password", "passfile")


def _for_asyncpg(url: str) -> dict[str, Any]:
    """A URL that libpq reads, in asyncpg's words: it hands what it does not know to the server as a setting."""
    parts = conninfo_to_dict(url)
    options: dict[str, Any] = {name: parts[name] for name in _SAME_NAMES if parts.get(name)}
    if parts.get("dbname"):
        options["database"] = parts["dbname"]
    if parts.get("sslmode"):
        options["ssl"] = _tls(parts) if parts["sslmode"] in {"verify-ca", "verify-full"} else parts["sslmode"]
    return options


def _tls(parts: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=parts.get("sslrootcert"))
    context.check_hostname = parts["sslmode"] == "verify-full"
    if parts.get("sslcert"):
        context.load_cert_chain(str(parts["sslcert"]), parts.get("sslkey"))
    return context
