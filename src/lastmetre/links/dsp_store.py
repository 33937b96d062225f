"""The DSP's store on PostgreSQL: implements ``dcc.ports.DspStore``, each change one transaction.

Rules this module keeps (stack, first row; docs/decisions/0008):

* A schema of its own, ``dcc``, in a database of its own; nothing of a supplier's is in reach. The role is plain: no
  superuser, bypasses no row security, owns no table. Grants say what may change at all (``dcc/sql``).
* One DSP at a time: it holds an advisory lock for as long as its connection lives, so no counter is ever given out
  twice. A second one is refused at its start. An operator's command line needs no lock: it only reads and decides.
* A connection that was lost is opened again, and the lock taken again, before the next change; a change that it was
  lost in has not happened, or raises and is asked again by whoever asked (the same RequestID, the same answer).
* ``synchronous_commit`` is on: a change that ended well is on the disk.

It is not asynchronous: the core's changes are short (a few round trips on one machine), and a change that awaited in
its middle could meet another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import fields
from enum import Enum
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg

from lastmetre.dcc.ports import (
    Decision,
    DeviceRow,
    HeldKind,
    HeldRequest,
    HubAbsence,
    KeptReply,
    LaneMarks,
    LocalResponse,
    OutboxItem,
    OutboxKind,
    PreCommandRecord,
    Route,
    SealedCommand,
    Service,
    Stage,
)
from lastmetre.links.errors import LinkError
from lastmetre.links.postgres import check_migrated, check_role, migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from lastmetre.gbcs.catalogue import Lane

    Connection = psycopg.Connection[tuple[Any, ...]]  # Any: whatever the columns hold; `_read` gives them their types

Form = TypeVar("Form")

SCHEMA: Final = "dcc"
LOCK: Final = 0x6C61737464737031  # "lastdsp1": one key in this database, one DSP
LOCK_WAIT_S: Final = 5.0
"""A DSP that was killed a moment ago may still hold the lock until the server has noticed."""
TOP_UPS_KEPT: Final = 100
_LOCK_RETRY_S: Final = 0.05
_CONNECT_TIMEOUT_S: Final = 10
_KEEPALIVE_S: Final = 10
"""How soon a connection to a server that is gone is noticed, three unanswered probes later."""


class DspStoreError(LinkError):
    """The DSP's store cannot be used; the text says why. Nothing was changed."""


def migrations() -> dict[str, str]:
    """The schema's scripts, kept beside the DSP's code."""
    folder = files("lastmetre.dcc") / "sql"
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}


def prepare_schema(owner_url: str, application_role: str) -> list[str]:
    """Brings the schema up to date as its owner; returns the scripts that were run."""
    return migrate(owner_url, SCHEMA, migrations(), application_role=application_role)


class PostgresDspStore:
    """The store behind one connection."""

    def __init__(self, url: str, *, sole: bool = True, lock_wait_s: float = LOCK_WAIT_S) -> None:
        """``sole`` for the DSP itself: no other one may have it open. Raises ``LinkError`` when it cannot be used."""
        self._url = url
        self._sole = sole
        self._lock_wait_s = lock_wait_s
        self._connection: Connection | None = None
        self._open()

    def __repr__(self) -> str:
        return f"PostgresDspStore(sole={self._sole})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the store back."""
        if self._connection is not None:
            self._connection.close()

    @contextlib.contextmanager
    def change(self) -> Iterator[PostgresDspChange]:
        """One transaction; raises ``DspStoreError`` when the database is lost in it, and nothing of it holds."""
        with self.transaction() as connection:
            yield PostgresDspChange(connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The connection inside one transaction, for what else the DSP keeps here (``dsp_store_permits``)."""
        connection = self._open()
        try:
            with connection.transaction():
                yield connection
        except psycopg.OperationalError as error:
            raise DspStoreError(f"the DSP's store was lost: {str(error).strip()}") from error

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            try:
                self._connection = self._connect()
            except psycopg.Error as error:
                raise DspStoreError(f"cannot use the DSP's store: {str(error).strip()}") from error
        return self._connection

    def _connect(self) -> Connection:
        connection = psycopg.connect(
            self._url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S, application_name="lastmetre dcc",
            keepalives_idle=_KEEPALIVE_S, keepalives_interval=_KEEPALIVE_S, keepalives_count=3,
        )  # fmt: skip
        try:
            check_role(connection)
            check_migrated(connection, SCHEMA, migrations())
            if self._sole:
                self._take_lock(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _take_lock(self, connection: Connection) -> None:
        deadline = time.monotonic() + self._lock_wait_s
        while not _one_value(connection, "SELECT pg_try_advisory_lock(%s)", LOCK):
            if time.monotonic() >= deadline:
                raise DspStoreError("another DSP has this store open: two of them would repeat counters; end one")
            time.sleep(_LOCK_RETRY_S)


class PostgresDspChange:
    """Reading and writing inside one transaction (implements ``dcc.ports.DspChange``, method by method)."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # --- requests and Commands

    def reply(self, request_id: str, stage: Stage) -> KeptReply | None:
        """As in the port."""
        return self._find(KeptReply, "replies", "WHERE request_id = %s AND stage = %s", request_id, stage)

    def keep_reply(self, request_id: str, stage: Stage, reply: KeptReply) -> None:
        """As in the port."""
        self._do("INSERT INTO dcc.replies VALUES (%s, %s, %s, %s)", request_id, stage, reply.digest, reply.reply)

    def lane(self, originator_id: bytes, target_id: bytes, lane: Lane) -> LaneMarks:
        """As in the port."""
        where = "WHERE originator_id = %s AND target_id = %s AND lane = %s"
        return self._find(LaneMarks, "lanes", where, originator_id, target_id, lane) or LaneMarks()

    def set_lane(self, originator_id: bytes, target_id: bytes, lane: Lane, marks: LaneMarks) -> None:
        """As in the port."""
        self._do(
            "INSERT INTO dcc.lanes VALUES (%s, %s, %s, %s, %s) ON CONFLICT (originator_id, target_id, lane)"
            " DO UPDATE SET seen = EXCLUDED.seen, sealed = EXCLUDED.sealed",
            originator_id, target_id, lane, marks.seen, marks.sealed,
        )  # fmt: skip

    def pre_command(self, request_id: str) -> PreCommandRecord | None:
        """As in the port."""
        return self._find(PreCommandRecord, "pre_commands", "WHERE request_id = %s", request_id)

    def keep_pre_command(self, request_id: str, record: PreCommandRecord) -> None:
        """As in the port."""
        self._keep(record, "pre_commands", request_id=request_id)

    def next_broker_counter(self, target_id: bytes) -> int:
        """As in the port."""
        statement = (
            "INSERT INTO dcc.broker_counters AS b VALUES (%s, 1)"
            " ON CONFLICT (target_id) DO UPDATE SET counter = b.counter + 1 RETURNING counter"
        )
        return int(_one_value(self._connection, statement, target_id))

    def keep_command(self, command: SealedCommand) -> None:
        """As in the port."""
        self._keep(command, "commands")

    def command(self, target_id: bytes, originator_id: bytes, counter: int) -> SealedCommand | None:
        """As in the port."""
        where = "WHERE target_id = %s AND originator_id = %s AND counter = %s"
        return self._find(SealedCommand, "commands", where, target_id, originator_id, counter)

    def command_of_request(self, request_id: str) -> SealedCommand | None:
        """As in the port."""
        return self._find(SealedCommand, "commands", "WHERE request_id = %s", request_id)

    def mark_sent(self, request_id: str, at: int) -> None:
        """As in the port."""
        self._do("UPDATE dcc.commands SET sent_at = %s WHERE request_id = %s AND sent_at IS NULL", at, request_id)

    def mark_answered(self, request_id: str, at: int, *, succeeded: bool | None = None) -> None:
        """As in the port."""
        statement = (
            "UPDATE dcc.commands SET answered_at = %s, succeeded = %s WHERE request_id = %s AND answered_at IS NULL"
        )
        self._do(statement, at, succeeded, request_id)

    def mark_tried(self, request_id: str, at: int) -> None:
        """As in the port."""
        self._do("UPDATE dcc.commands SET tries = tries + 1, tried_at = %s WHERE request_id = %s", at, request_id)

    def mark_given_up(self, request_id: str, at: int) -> None:
        """As in the port."""
        statement = "UPDATE dcc.commands SET given_up_at = %s WHERE request_id = %s AND given_up_at IS NULL"
        self._do(statement, at, request_id)

    def unanswered(self, sent_before: int) -> tuple[SealedCommand, ...]:
        """As in the port."""
        where = "WHERE sent_at < %s AND answered_at IS NULL AND given_up_at IS NULL ORDER BY sent_at, request_id"
        return self._all(SealedCommand, "commands", where, sent_before)

    # --- the way out, and what came back

    def put_out(self, kind: OutboxKind, to_id: bytes, body: bytes, request_id: str | None, at: int) -> None:
        """As in the port."""
        statement = "INSERT INTO dcc.outbox (kind, to_id, body, request_id, put_at) VALUES (%s, %s, %s, %s, %s)"
        self._do(statement, kind, to_id, body, request_id, at)

    def outbox(self) -> tuple[OutboxItem, ...]:
        """As in the port."""
        return self._all(OutboxItem, "outbox", "ORDER BY number")

    def destinations(self) -> frozenset[tuple[OutboxKind, bytes]]:
        """As in the port."""
        rows = self._connection.execute("SELECT DISTINCT kind, to_id FROM dcc.outbox")
        return frozenset((OutboxKind(kind), to_id) for kind, to_id in rows)

    def next_out(self, kind: OutboxKind, to_id: bytes) -> OutboxItem | None:
        """As in the port."""
        return self._find(OutboxItem, "outbox", "WHERE kind = %s AND to_id = %s ORDER BY number LIMIT 1", kind, to_id)

    def take_out(self, number: int) -> None:
        """As in the port."""
        self._do("DELETE FROM dcc.outbox WHERE number = %s", number)

    def keep_alert(self, device_id: bytes, counter: int) -> bool:
        """As in the port."""
        return self._do("INSERT INTO dcc.alerts VALUES (%s, %s) ON CONFLICT DO NOTHING", device_id, counter) == 1

    def keep_local_response(self, response: LocalResponse) -> None:
        """As in the port."""
        self._keep(response, "local_responses")

    def local_responses(self) -> tuple[LocalResponse, ...]:
        """As in the port."""
        return self._all(LocalResponse, "local_responses", "ORDER BY number")

    # --- requests that are held

    def hold(self, held: HeldRequest) -> int:
        """As in the port."""
        names = [name for name in _names(HeldRequest) if name != "number"]
        statement = f"INSERT INTO dcc.held ({', '.join(names)}) VALUES ({_places(names)}) RETURNING number"  # noqa: S608
        return int(_one_value(self._connection, statement, *(_plain(getattr(held, name)) for name in names)))

    def held(self, number: int) -> HeldRequest | None:
        """As in the port."""
        return self._find(HeldRequest, "held", "WHERE number = %s", number)

    def held_requests(self, kind: HeldKind | None = None) -> tuple[HeldRequest, ...]:
        """As in the port."""
        where = "WHERE coalesce(kind = %s, true) ORDER BY number"
        return self._all(HeldRequest, "held", where, kind)

    def held_of(self, request_id: str) -> HeldRequest | None:
        """As in the port."""
        return self._find(HeldRequest, "held", "WHERE request_id = %s", request_id)

    def due(self, at: int) -> tuple[HeldRequest, ...]:
        """As in the port."""
        return self._all(HeldRequest, "held", "WHERE due_at <= %s ORDER BY due_at, number", at)

    def move_due(self, number: int, due_at: int) -> None:
        """As in the port."""
        self._do("UPDATE dcc.held SET due_at = %s WHERE number = %s", due_at, number)

    def let_go(self, number: int) -> bool:
        """As in the port."""
        return self._do("DELETE FROM dcc.held WHERE number = %s", number) == 1

    def fail_request(self, request_id: str, at: int) -> None:
        """As in the port."""
        self._do("INSERT INTO dcc.failed VALUES (%s, %s) ON CONFLICT DO NOTHING", request_id, at)

    def failed_request(self, request_id: str) -> bool:
        """As in the port."""
        question = "SELECT EXISTS (SELECT FROM dcc.failed WHERE request_id = %s)"
        return bool(_one_value(self._connection, question, request_id))

    # --- anomalies

    def note_use(self, user_id: bytes, service_reference_variant: str, at: int) -> None:
        """As in the port."""
        self._do("INSERT INTO dcc.uses VALUES (%s, %s, %s)", user_id, service_reference_variant, at)

    def uses(self, user_id: bytes, service_reference_variant: str | None, since_at: int) -> int:
        """As in the port."""
        question = (
            "SELECT count(*) FROM dcc.uses WHERE user_id = %s AND at >= %s"
            " AND coalesce(service_reference_variant = %s, true)"
        )
        return int(_one_value(self._connection, question, user_id, since_at, service_reference_variant))

    def forget_uses(self, before_at: int) -> None:
        """As in the port."""
        self._do("DELETE FROM dcc.uses WHERE at < %s", before_at)

    def decide(self, decision: Decision) -> bool:
        """As in the port."""
        return self._keep(decision, "decisions", "ON CONFLICT (number) DO NOTHING") == 1

    def undone_decisions(self) -> tuple[Decision, ...]:
        """As in the port."""
        return self._all(Decision, "decisions", "WHERE done_at IS NULL ORDER BY written_as")

    def mark_decision_done(self, number: int, request_id: str | None, at: int) -> None:
        """As in the port."""
        statement = "UPDATE dcc.decisions SET request_id = %s, done_at = %s WHERE number = %s AND done_at IS NULL"
        self._do(statement, request_id, at, number)

    def decisions(self) -> tuple[Decision, ...]:
        """As in the port."""
        return self._all(Decision, "decisions", "ORDER BY written_as")

    # --- counters of top-ups

    def keep_top_up(self, originator_id: bytes, target_id: bytes, counter: int) -> None:
        """As in the port."""
        self._do("INSERT INTO dcc.top_ups VALUES (%s, %s, %s)", originator_id, target_id, counter)

    def top_ups(self, originator_id: bytes, target_id: bytes) -> tuple[int, ...]:
        """As in the port."""
        question = (
            "SELECT counter FROM dcc.top_ups WHERE originator_id = %s AND target_id = %s ORDER BY counter DESC LIMIT %s"
        )
        return tuple(row[0] for row in self._connection.execute(question, [originator_id, target_id, TOP_UPS_KEPT]))

    # --- the inventory

    def keep_device(self, row: DeviceRow) -> None:
        """As in the port."""
        self._keep(row, "devices", "ON CONFLICT (device_id) DO UPDATE SET body = EXCLUDED.body")

    def devices(self) -> tuple[DeviceRow, ...]:
        """As in the port."""
        return self._all(DeviceRow, "devices", "ORDER BY device_id")

    # --- hubs that are away, and blocks of Responses

    def hub_away(self, hub_id: bytes, at: int) -> None:
        """As in the port."""
        self._keep(HubAbsence(hub_id, at), "absences", "ON CONFLICT (hub_id) DO NOTHING")

    def hub_back(self, hub_id: bytes) -> HubAbsence | None:
        """As in the port."""
        absence = self._find(HubAbsence, "absences", "WHERE hub_id = %s", hub_id)
        self._do("DELETE FROM dcc.absences WHERE hub_id = %s", hub_id)
        return absence

    def absences(self) -> tuple[HubAbsence, ...]:
        """As in the port."""
        return self._all(HubAbsence, "absences", "ORDER BY since_at, hub_id")

    def mark_absence_told(self, hub_id: bytes, at: int) -> None:
        """As in the port."""
        self._do("UPDATE dcc.absences SET told_at = %s WHERE hub_id = %s", at, hub_id)

    def keep_block(self, transfer: bytes, block: bytes, at: int) -> None:
        """As in the port."""
        statement = (
            "INSERT INTO dcc.blocks (transfer, block_digest, block, at) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (transfer, block_digest) DO NOTHING"
        )
        self._do(statement, transfer, hashlib.sha256(block).digest(), block, at)

    def blocks(self, transfer: bytes) -> tuple[bytes, ...]:
        """As in the port."""
        question = "SELECT block FROM dcc.blocks WHERE transfer = %s ORDER BY number"
        return tuple(row[0] for row in self._connection.execute(question, [transfer]))

    def transfers(self) -> int:
        """As in the port."""
        return int(_one_value(self._connection, "SELECT count(DISTINCT transfer) FROM dcc.blocks"))

    def drop_blocks(self, transfer: bytes) -> None:
        """As in the port."""
        self._do("DELETE FROM dcc.blocks WHERE transfer = %s", transfer)

    def drop_old_blocks(self, before_at: int) -> int:
        """As in the port."""
        question = (
            "SELECT transfer FROM (SELECT DISTINCT ON (transfer) transfer, at FROM dcc.blocks"
            " ORDER BY transfer, number) AS first WHERE at < %s"
        )
        old = [row[0] for row in self._connection.execute(question, [before_at])]
        self._do("DELETE FROM dcc.blocks WHERE transfer = ANY(%s)", old)
        return len(old)

    # --- records as rows: columns are called as the record's fields are

    def _do(self, statement: str, *values: object) -> int:
        """How many rows it touched."""
        return self._connection.execute(statement.encode(), [*map(_plain, values)]).rowcount

    def _keep(self, record: object, table: str, on_conflict: str = "", **more: object) -> int:
        names = [*more, *_names(type(record))]
        statement = f"INSERT INTO dcc.{table} ({', '.join(names)}) VALUES ({_places(names)}) {on_conflict}"  # noqa: S608
        return self._do(statement, *more.values(), *(getattr(record, name) for name in _names(type(record))))

    def _find(self, form: Callable[..., Form], table: str, where: str, *values: object) -> Form | None:
        return next(iter(self._all(form, table, where, *values)), None)

    def _all(self, form: Callable[..., Form], table: str, where: str, *values: object) -> tuple[Form, ...]:
        names = _names(form)
        statement = f"SELECT {', '.join(names)} FROM dcc.{table} {where}"  # noqa: S608 - our own words only
        rows = self._connection.execute(statement.encode(), [*map(_plain, values)])
        readers = _READERS.get(form, {})
        return tuple(
            form(*(_value(readers.get(name), value) for name, value in zip(names, row, strict=True))) for row in rows
        )


_READERS: Final[Mapping[object, Mapping[str, Callable[[Any], object]]]] = {
    LaneMarks: {"seen": int, "sealed": int},
    SealedCommand: {"counter": int, "route": Route},
    LocalResponse: {"counter": int},
    OutboxItem: {"kind": OutboxKind},
    HeldRequest: {"kind": HeldKind, "stage": Stage, "service": Service},
}
"""What a column's value becomes, where it is not what the record has: numbers of 64 bits without sign, and words."""


def _names(form: Any) -> list[str]:  # Any: a dataclass
    return [each.name for each in fields(form)]


def _places(names: list[str]) -> str:
    return ", ".join(["%s"] * len(names))


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def _value(reader: Callable[[Any], object] | None, value: object) -> object:
    return value if reader is None or value is None else reader(value)


def _one_value(connection: Connection, statement: str, *values: object) -> Any:  # Any: what the statement selects
    row = connection.execute(statement.encode(), [*map(_plain, values)]).fetchone()
    assert row is not None
    return row[0]
