"""The DSP's store in one SQLite file (implements ``dcc.ports.DspStore``); it moves to PostgreSQL later.

Rules this module keeps:

* One transaction per change, durable when it ends (``synchronous=FULL``), nothing of it when it raises.
* One process owns the file: a second one is refused at opening, so no counter is ever given out twice.
* A file of another schema version is refused, never changed in passing.

64-bit unsigned counters do not fit SQLite's integers: they are kept as 16 hexadecimal digits, which sort alike.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, Final

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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from lastmetre.gbcs.catalogue import Lane

SCHEMA_VERSION: Final = 2
_SCHEMA: Final = """
create table reply (request_id text, stage text, digest blob not null, reply blob not null,
    primary key (request_id, stage)) without rowid;
create table lane (originator_id blob, target_id blob, lane text, seen text, sealed text,
    primary key (originator_id, target_id, lane)) without rowid;
create table pre_command (request_id text primary key, variant text not null, pre_command blob not null, breach text,
    effect text not null) without rowid;
create table broker_counter (target_id blob primary key, counter integer not null) without rowid;
create table command (request_id text primary key, user_id blob not null, service_reference text not null,
    variant text not null, target_id blob not null, hub_id blob not null, originator_id blob not null,
    counter text not null, command blob not null, route text not null, sealed_at integer not null,
    sent_at integer, answered_at integer, given_up_at integer, tries integer not null, tried_at integer,
    succeeded integer, dsp_schedule_id integer, effect text not null,
    unique (target_id, originator_id, counter)) without rowid;
create index command_open on command (sent_at)
    where sent_at is not null and answered_at is null and given_up_at is null;
create table outbox (number integer primary key autoincrement, kind text not null, to_id blob not null,
    body blob not null, request_id text, put_at integer not null);
create table alert (device_id blob, counter text, primary key (device_id, counter)) without rowid;
create table local_response (number integer primary key, returned_by text not null, original_request_id text,
    device_id blob not null, counter text not null, message blob not null, verdict text not null, at integer not null);
create table held (number integer primary key autoincrement, kind text not null, request_id text not null unique,
    stage text not null, service text not null, user_id blob not null, target_id blob not null, variant text not null,
    document blob not null, at integer not null, due_at integer, after_request_id text, reason text not null);
create index held_due on held (due_at) where due_at is not null;
create table failed (request_id text primary key, at integer not null) without rowid;
create table use (user_id blob not null, variant text not null, at integer not null);
create index use_by_user on use (user_id, at);
create table decision (number integer primary key, release integer not null, person text not null,
    reason text not null, at integer not null, request_id text, done_at integer);
create table top_up (originator_id blob, target_id blob, counter integer,
    primary key (originator_id, target_id, counter)) without rowid;
create table device (device_id blob primary key, body text not null) without rowid;
create table absence (hub_id blob primary key, since_at integer not null, told_at integer) without rowid;
create table block (number integer primary key, transfer blob not null, block blob not null, at integer not null,
    unique (transfer, block));
"""
_COMMAND_COLUMNS: Final = (
    "request_id, user_id, service_reference, variant, target_id, hub_id, originator_id, counter, command, route, "
    "sealed_at, sent_at, answered_at, given_up_at, tries, tried_at, succeeded, dsp_schedule_id, effect"
)
_HELD_COLUMNS: Final = (
    "number, kind, request_id, stage, service, user_id, target_id, variant, document, at, due_at, after_request_id, "
    "reason"
)


class DspStoreError(LinkError):
    """The DSP's store cannot be used; the text says why. Nothing was changed."""


class SqliteDspStore:
    """The store behind one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        try:
            # Exclusive from now on, for as long as it is open: two DSPs on one file would repeat counters.
            for pragma in ("locking_mode=exclusive", "journal_mode=delete", "synchronous=full", "foreign_keys=on"):
                self._connection.execute(f"pragma {pragma}").fetchall()
            self._connection.execute("begin exclusive")
            self._prepare(path)
            self._connection.execute("commit")
        except sqlite3.Error as error:
            self._connection.close()
            raise DspStoreError(f"cannot open the DSP's store {path}: {error}; is another DSP using it?") from error
        except DspStoreError:
            self._connection.close()
            raise

    def _prepare(self, path: Path) -> None:
        (version,) = self._connection.execute("pragma user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";"):
                self._connection.execute(statement)
            self._connection.execute(f"pragma user_version={SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise DspStoreError(f"{path} has schema version {version}; this program reads {SCHEMA_VERSION} only")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    @contextlib.contextmanager
    def change(self) -> Iterator[SqliteDspChange]:
        """One transaction."""
        self._connection.execute("begin immediate")
        try:
            yield SqliteDspChange(self._connection)
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")


class SqliteDspChange:
    """Reading and writing inside one transaction (implements ``dcc.ports.DspChange``)."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:  # Any: what SQLite holds
        found: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return found

    def _do(self, statement: str, *values: object) -> None:
        self._connection.execute(statement, values)

    def reply(self, request_id: str, stage: Stage) -> KeptReply | None:
        """What was answered under this RequestID, if it was accepted before."""
        row = self._one("select digest, reply from reply where request_id = ? and stage = ?", request_id, stage)
        return None if row is None else KeptReply(*row)

    def keep_reply(self, request_id: str, stage: Stage, reply: KeptReply) -> None:
        """Keep an answer."""
        self._do("insert into reply values (?, ?, ?, ?)", request_id, stage, reply.digest, reply.reply)

    def lane(self, originator_id: bytes, target_id: bytes, lane: Lane) -> LaneMarks:
        """The counters reached in a lane."""
        row = self._one(
            "select seen, sealed from lane where originator_id = ? and target_id = ? and lane = ?",
            originator_id,
            target_id,
            lane,
        )
        return LaneMarks() if row is None else LaneMarks(_read_mark(row[0]), _read_mark(row[1]))

    def set_lane(self, originator_id: bytes, target_id: bytes, lane: Lane, marks: LaneMarks) -> None:
        """Move the counters of a lane."""
        self._do(
            "insert or replace into lane values (?, ?, ?, ?, ?)",
            originator_id,
            target_id,
            lane,
            _write_mark(marks.seen),
            _write_mark(marks.sealed),
        )

    def pre_command(self, request_id: str) -> PreCommandRecord | None:
        """What was transformed under this RequestID."""
        row = self._one("select variant, pre_command, breach, effect from pre_command where request_id = ?", request_id)
        return None if row is None else PreCommandRecord(*row)

    def keep_pre_command(self, request_id: str, record: PreCommandRecord) -> None:
        """Keep what was transformed under this RequestID."""
        self._do(
            "insert into pre_command values (?, ?, ?, ?, ?)",
            request_id,
            record.service_reference_variant,
            record.pre_command,
            record.breach,
            record.effect,
        )

    def next_broker_counter(self, target_id: bytes) -> int:
        """The next counter of the ACB at a device."""
        row = self._one(
            "insert into broker_counter values (?, 1) on conflict do update set counter = counter + 1 "
            "returning counter",
            target_id,
        )
        assert row is not None
        return int(row[0])

    def keep_command(self, command: SealedCommand) -> None:
        """Keep a new sealed Command."""
        self._do(
            f"insert into command ({_COMMAND_COLUMNS}) values ({_places(19)})",  # noqa: S608 - constants
            command.request_id,
            command.user_id,
            command.service_reference,
            command.service_reference_variant,
            command.target_id,
            command.hub_id,
            command.originator_id,
            _write_mark(command.counter),
            command.command,
            command.route,
            command.sealed_at,
            command.sent_at,
            command.answered_at,
            command.given_up_at,
            command.tries,
            command.tried_at,
            command.succeeded,
            command.dsp_schedule_id,
            command.effect,
        )

    def command(self, target_id: bytes, originator_id: bytes, counter: int) -> SealedCommand | None:
        """The Command that a Response with this counter answers."""
        row = self._one(
            f"select {_COMMAND_COLUMNS} from command where target_id = ? and originator_id = ? and counter = ?",  # noqa: S608
            target_id,
            originator_id,
            _write_mark(counter),
        )
        return None if row is None else _read_command(row)

    def command_of_request(self, request_id: str) -> SealedCommand | None:
        """The Command that was made from this request."""
        row = self._one(f"select {_COMMAND_COLUMNS} from command where request_id = ?", request_id)  # noqa: S608
        return None if row is None else _read_command(row)

    def mark_sent(self, request_id: str, at: int) -> None:
        """The Command of this request left by WAN."""
        self._do("update command set sent_at = ? where request_id = ? and sent_at is null", at, request_id)

    def mark_answered(self, request_id: str, at: int, *, succeeded: bool | None = None) -> None:
        """The Response was handed on or came back verified."""
        self._do(
            "update command set answered_at = ?, succeeded = ? where request_id = ? and answered_at is null",
            at,
            succeeded,
            request_id,
        )

    def mark_tried(self, request_id: str, at: int) -> None:
        """The Command is put out to leave by WAN."""
        self._do("update command set tries = tries + 1, tried_at = ? where request_id = ?", at, request_id)

    def mark_given_up(self, request_id: str, at: int) -> None:
        """The User was told that nothing came by WAN."""
        self._do("update command set given_up_at = ? where request_id = ? and given_up_at is null", at, request_id)

    def unanswered(self, sent_before: int) -> tuple[SealedCommand, ...]:
        """Commands that left by WAN before this time, neither answered nor given up."""
        rows = self._connection.execute(
            f"select {_COMMAND_COLUMNS} from command "  # noqa: S608
            "where sent_at is not null and answered_at is null and given_up_at is null and sent_at < ? "
            "order by sent_at",
            (sent_before,),
        )
        return tuple(map(_read_command, rows))

    def put_out(self, kind: OutboxKind, to_id: bytes, body: bytes, request_id: str | None, at: int) -> None:
        """Add an item to the outbox."""
        self._do(
            "insert into outbox (kind, to_id, body, request_id, put_at) values (?, ?, ?, ?, ?)",
            kind,
            to_id,
            body,
            request_id,
            at,
        )

    def outbox(self) -> tuple[OutboxItem, ...]:
        """Everything that still has to leave, oldest first."""
        rows = self._connection.execute(
            "select number, kind, to_id, body, request_id, put_at from outbox order by number"
        )
        return tuple(OutboxItem(row[0], OutboxKind(row[1]), *row[2:]) for row in rows)

    def take_out(self, number: int) -> None:
        """An item has left, or never will."""
        self._do("delete from outbox where number = ?", number)

    def keep_alert(self, device_id: bytes, counter: int) -> bool:
        """Remember an Alert; ``False`` when it was known already."""
        statement = "insert or ignore into alert values (?, ?)"
        return self._connection.execute(statement, (device_id, _write_mark(counter))).rowcount == 1

    def keep_local_response(self, response: LocalResponse) -> None:
        """Record what a User handed back."""
        self._do(
            "insert into local_response (returned_by, original_request_id, device_id, counter, message, verdict, at) "
            "values (?, ?, ?, ?, ?, ?, ?)",
            response.returned_by,
            response.original_request_id,
            response.device_id,
            _write_mark(response.counter),
            response.message,
            response.verdict,
            response.at,
        )

    def local_responses(self) -> tuple[LocalResponse, ...]:
        """Everything handed back, oldest first."""
        rows = self._connection.execute(
            "select returned_by, original_request_id, device_id, counter, message, verdict, at from local_response "
            "order by number"
        )
        return tuple(LocalResponse(row[0], row[1], row[2], int(row[3], 16), *row[4:]) for row in rows)

    def hold(self, held: HeldRequest) -> int:
        """Hold a request; its new number."""
        row = self._one(
            f"insert into held ({_HELD_COLUMNS}) values (null, {_places(12)}) returning number",  # noqa: S608
            held.kind,
            held.request_id,
            held.stage,
            held.service,
            held.user_id,
            held.target_id,
            held.service_reference_variant,
            held.document,
            held.at,
            held.due_at,
            held.after_request_id,
            held.reason,
        )
        assert row is not None
        return int(row[0])

    def _held(self, rest: str, *values: object) -> tuple[HeldRequest, ...]:
        query = f"select {_HELD_COLUMNS} from held {rest}"  # noqa: S608 - constants
        return tuple(map(_read_held, self._connection.execute(query, values)))

    def held(self, number: int) -> HeldRequest | None:
        """The held request of this number."""
        return next(iter(self._held("where number = ?", number)), None)

    def held_requests(self, kind: HeldKind | None = None) -> tuple[HeldRequest, ...]:
        """Everything held (of one kind), by number."""
        return self._held("where ?1 is null or kind = ?1 order by number", kind)

    def held_of(self, request_id: str) -> HeldRequest | None:
        """The request held under this RequestID."""
        return next(iter(self._held("where request_id = ?", request_id)), None)

    def due(self, at: int) -> tuple[HeldRequest, ...]:
        """Held requests whose time has come."""
        return self._held("where due_at <= ? order by due_at, number", at)

    def move_due(self, number: int, due_at: int) -> None:
        """A schedule's next time."""
        self._do("update held set due_at = ? where number = ?", due_at, number)

    def let_go(self, number: int) -> bool:
        """It is held no longer."""
        return self._connection.execute("delete from held where number = ?", (number,)).rowcount == 1

    def fail_request(self, request_id: str, at: int) -> None:
        """A request ended without a Command."""
        self._do("insert or ignore into failed values (?, ?)", request_id, at)

    def failed_request(self, request_id: str) -> bool:
        """Whether it did."""
        return self._one("select 1 from failed where request_id = ?", request_id) is not None

    def note_use(self, user_id: bytes, service_reference_variant: str, at: int) -> None:
        """Count one Command."""
        self._do("insert into use values (?, ?, ?)", user_id, service_reference_variant, at)

    def uses(self, user_id: bytes, service_reference_variant: str | None, since_at: int) -> int:
        """How many were counted."""
        row = self._one(
            "select count(*) from use where user_id = ?1 and at >= ?3 and (?2 is null or variant = ?2)",
            user_id,
            service_reference_variant,
            since_at,
        )
        assert row is not None
        return int(row[0])

    def forget_uses(self, before_at: int) -> None:
        """Uses before this time count no more."""
        self._do("delete from use where at < ?", before_at)

    def decide(self, decision: Decision) -> bool:
        """Write down a person's decision."""
        values = (decision.number, decision.release, decision.person, decision.reason, decision.at)
        statement = "insert or ignore into decision values (?, ?, ?, ?, ?, null, null)"
        return self._connection.execute(statement, values).rowcount == 1

    def _decisions(self, rest: str) -> tuple[Decision, ...]:
        query = (
            f"select number, release, person, reason, at, request_id, done_at from decision {rest} order by at, number"  # noqa: S608
        )
        rows = self._connection.execute(query)
        return tuple(Decision(row[0], bool(row[1]), *row[2:]) for row in rows)

    def undone_decisions(self) -> tuple[Decision, ...]:
        """Decisions not carried out."""
        return self._decisions("where done_at is null")

    def mark_decision_done(self, number: int, request_id: str | None, at: int) -> None:
        """The decision was carried out."""
        self._do("update decision set request_id = ?, done_at = ? where number = ?", request_id, at, number)

    def decisions(self) -> tuple[Decision, ...]:
        """Every decision."""
        return self._decisions("")

    def keep_top_up(self, originator_id: bytes, target_id: bytes, counter: int) -> None:
        """A top-up with this UTRN counter was sealed."""
        self._do("insert into top_up values (?, ?, ?)", originator_id, target_id, counter)

    def top_ups(self, originator_id: bytes, target_id: bytes) -> tuple[int, ...]:
        """The hundred highest."""
        rows = self._connection.execute(
            "select counter from top_up where originator_id = ? and target_id = ? order by counter desc limit 100",
            (originator_id, target_id),
        )
        return tuple(row[0] for row in rows)

    def keep_device(self, row: DeviceRow) -> None:
        """Keep a device as it is now."""
        self._do("insert or replace into device values (?, ?)", row.device_id, row.body)

    def devices(self) -> tuple[DeviceRow, ...]:
        """Every device kept."""
        return tuple(DeviceRow(*row) for row in self._connection.execute("select * from device order by device_id"))

    def hub_away(self, hub_id: bytes, at: int) -> None:
        """A hub's connection has gone."""
        self._do("insert or ignore into absence values (?, ?, null)", hub_id, at)

    def hub_back(self, hub_id: bytes) -> HubAbsence | None:
        """It is there again."""
        row = self._one("delete from absence where hub_id = ? returning hub_id, since_at, told_at", hub_id)
        return None if row is None else HubAbsence(*row)

    def absences(self) -> tuple[HubAbsence, ...]:
        """Every hub that is away."""
        rows = self._connection.execute("select hub_id, since_at, told_at from absence order by since_at, hub_id")
        return tuple(HubAbsence(*row) for row in rows)

    def mark_absence_told(self, hub_id: bytes, at: int) -> None:
        """The suppliers were told."""
        self._do("update absence set told_at = ? where hub_id = ?", at, hub_id)

    def keep_block(self, transfer: bytes, block: bytes, at: int) -> None:
        """Keep a block as it came."""
        self._do("insert or ignore into block (transfer, block, at) values (?, ?, ?)", transfer, block, at)

    def blocks(self, transfer: bytes) -> tuple[bytes, ...]:
        """The blocks of a transfer."""
        rows = self._connection.execute("select block from block where transfer = ? order by number", (transfer,))
        return tuple(row[0] for row in rows)

    def transfers(self) -> int:
        """How many transfers have begun."""
        row = self._one("select count(distinct transfer) from block")
        assert row is not None
        return int(row[0])

    def drop_blocks(self, transfer: bytes) -> None:
        """The transfer is over."""
        self._do("delete from block where transfer = ?", transfer)

    def drop_old_blocks(self, before_at: int) -> int:
        """Drop what never became whole."""
        rows = self._connection.execute("select transfer from block group by transfer having min(at) < ?", (before_at,))
        old = rows.fetchall()
        self._connection.executemany("delete from block where transfer = ?", old)
        return len(old)


def _write_mark(counter: int) -> str | None:
    return None if counter < 0 else f"{counter:016x}"


def _read_mark(text: str | None) -> int:
    return -1 if text is None else int(text, 16)


def _read_command(row: tuple[Any, ...]) -> SealedCommand:
    return SealedCommand(
        request_id=row[0],
        user_id=row[1],
        service_reference=row[2],
        service_reference_variant=row[3],
        target_id=row[4],
        hub_id=row[5],
        originator_id=row[6],
        counter=int(row[7], 16),
        command=row[8],
        route=Route(row[9]),
        sealed_at=row[10],
        sent_at=row[11],
        answered_at=row[12],
        given_up_at=row[13],
        tries=row[14],
        tried_at=row[15],
        succeeded=None if row[16] is None else bool(row[16]),
        dsp_schedule_id=row[17],
        effect=row[18],
    )


def _read_held(row: tuple[Any, ...]) -> HeldRequest:
    number, kind, request_id, stage, service, *rest = row
    return HeldRequest(number, HeldKind(kind), request_id, Stage(stage), Service(service), *rest)


def _places(count: int) -> str:
    return ", ".join("?" * count)
