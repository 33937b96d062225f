"""The agent's memory: one SQLite file that survives the power going at any write.

Rules this module keeps: write-ahead log with ``synchronous=FULL``, so a transaction is on the disk when its method
returns; one transaction per change; one process at a time (an exclusive lock that ends with the process); the file is
readable by its owner alone; a schema this version does not know is refused, never guessed at.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Final, Self

from lastmetre.agent.ports import CommandKey, HeldCommand, NewCommand, State, StoreError, WaitingReceipt
from lastmetre.relay import CommandClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SCHEMA_VERSION: Final = 2
LOCK_WAIT_S: Final = 5.0
"""How long to wait for a predecessor's lock: a killed process lets go at once, a stopping one needs a moment."""

_SCHEMA: Final = """
CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;
CREATE TABLE latest (only INTEGER PRIMARY KEY CHECK (only = 1), at INTEGER NOT NULL) STRICT;
INSERT INTO latest VALUES (1, 0);
CREATE TABLE commands (
    number INTEGER PRIMARY KEY AUTOINCREMENT,   -- the order of arrival
    order_id TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL,
    originator_id BLOB NOT NULL,
    target_id BLOB NOT NULL,
    originator_counter BLOB NOT NULL,           -- 8 octets: SQLite's integers are signed
    message_code INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    command BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('taken', 'offered', 'by_tunnel', 'answered', 'expired')),
    responses INTEGER NOT NULL DEFAULT 0,
    receipt BLOB NOT NULL,                      -- the latest one made for it
    command_class INTEGER NOT NULL,
    permit BLOB                                 -- for the hub, sent ahead of the Command
) STRICT;
CREATE INDEX commands_by_key ON commands (originator_id, target_id, originator_counter);
CREATE TABLE receipts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    receipt BLOB NOT NULL UNIQUE                -- one that waits already is not queued twice
) STRICT;
"""
_COLUMNS: Final = (
    "number, order_id, digest, originator_id, target_id, originator_counter, message_code, expires_at, command, state,"
    " responses, receipt, command_class, permit"
)


class SqliteAgentStore:
    """``agent.ports.Store`` on a file. Open it once per process, close it or let the process die: both are safe."""

    def __init__(self, path: Path) -> None:
        try:
            # Made with the right mode from the start: SQLite gives its log files the mode of the database.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"cannot open the agent's store {path}: {error}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise StoreError(f"cannot use the agent's store {path}: {error}; is another agent running?") from error
        except StoreError:
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            known = self._db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'").fetchone()[0]
            if not known:
                for statement in _SCHEMA.split(";\n"):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA_VERSION,))
            version = self._db.execute("SELECT max(version) FROM schema_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise StoreError(f"the agent's store has schema {version}; this program knows {SCHEMA_VERSION} only")

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _change(self, at: int | None = None) -> Iterator[None]:
        """One transaction that also moves the latest time on; SQLite's errors become ours."""
        try:
            with self._transaction():
                if at is not None:
                    self._db.execute("UPDATE latest SET at = max(at, ?)", (at,))
                yield
        except sqlite3.Error as error:
            raise StoreError(f"the agent's store refused a change: {error}") from error

    def add(self, command: NewCommand, receipt: bytes, at: int) -> None:
        """Keep a new Command in state TAKEN, and its receipt for the bearer."""
        values = (
            command.order_id,
            command.digest,
            *_key_values(command.key),
            command.message_code,
            command.expires_at,
            command.command,
            State.TAKEN.value,
            receipt,
            int(command.command_class),
            command.permit,
        )
        with self._change(at):
            self._db.execute(
                "INSERT INTO commands (order_id, digest, originator_id, target_id, originator_counter, message_code,"
                " expires_at, command, state, receipt, command_class, permit)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            self._queue(receipt)

    def move(self, order_id: str, before: State, after: State, receipt: bytes | None, at: int) -> None:
        """Compare and set the state; with a receipt, queue it and remember it as the latest."""
        responses = 1 if after is State.ANSWERED and receipt is not None else 0
        with self._change(at):
            cursor = self._db.execute(
                "UPDATE commands SET state = ?, responses = responses + ?, receipt = coalesce(?, receipt)"
                " WHERE order_id = ? AND state = ?",
                (after.value, responses, receipt, order_id, before.value),
            )
            if cursor.rowcount != 1:
                raise StoreError(f"order {order_id} is not {before.value} in the store")
            if receipt is not None:
                self._queue(receipt)

    def renew(self, order_id: str, permit: bytes, at: int) -> None:
        """Keep another permit for a Command; it changes nothing else."""
        with self._change(at):
            self._db.execute("UPDATE commands SET permit = ? WHERE order_id = ?", (permit, order_id))

    def queue(self, receipt: bytes, at: int) -> None:
        """Queue a receipt that changes no Command."""
        with self._change(at):
            self._queue(receipt)

    def _queue(self, receipt: bytes) -> None:
        self._db.execute("INSERT INTO receipts (receipt) VALUES (?) ON CONFLICT DO NOTHING", (receipt,))

    def drop_receipt(self, number: int) -> None:
        """Forget a receipt that the bearer handed on."""
        with self._change():
            self._db.execute("DELETE FROM receipts WHERE number = ?", (number,))

    def forget(self, expired_before: int) -> int:
        """Forget Commands that are done with and expired before then; no write when there are none."""
        done = "FROM commands WHERE state IN ('answered', 'expired') AND expires_at < ?"
        if not self._number(f"SELECT count(*) {done}", expired_before):
            return 0
        with self._change():
            return self._db.execute(f"DELETE {done}", (expired_before,)).rowcount

    def by_order(self, order_id: str) -> HeldCommand | None:
        """The Command of an order."""
        found = self._commands("WHERE order_id = ?", order_id)
        return found[0] if found else None

    def by_key(self, key: CommandKey) -> HeldCommand | None:
        """The Command that a Response answers; the one that came last when an expired one came again."""
        where = "WHERE originator_id = ? AND target_id = ? AND originator_counter = ? ORDER BY number DESC LIMIT 1"
        found = self._commands(where, *_key_values(key))
        return found[0] if found else None

    def open_commands(self) -> Sequence[HeldCommand]:
        """Commands that may still be offered, in order of arrival."""
        return self._commands("WHERE state IN ('taken', 'offered', 'by_tunnel') ORDER BY number")

    def highest_counter(self, originator_id: bytes, target_id: bytes) -> int | None:
        """The highest counter remembered for this pair, top-ups apart; eight octets sort as numbers do."""
        rows = self._rows(
            "SELECT max(originator_counter) FROM commands"
            " WHERE originator_id = ? AND target_id = ? AND command_class <> ?",
            originator_id,
            target_id,
            int(CommandClass.TOP_UP),
        )
        return None if rows[0][0] is None else int.from_bytes(rows[0][0], "big")

    def count(self) -> int:
        """Commands remembered, in any state."""
        return self._number("SELECT count(*) FROM commands")

    def waiting_receipts(self, limit: int) -> Sequence[WaitingReceipt]:
        """Receipts for the bearer, oldest first."""
        rows = self._rows("SELECT number, receipt FROM receipts ORDER BY number LIMIT ?", limit)
        return [WaitingReceipt(number, receipt) for number, receipt in rows]

    def waiting_receipt_count(self) -> int:
        """How many receipts wait."""
        return self._number("SELECT count(*) FROM receipts")

    def latest_at(self) -> int:
        """The latest time of any change; 0 when there was none."""
        return self._number("SELECT at FROM latest")

    def _commands(self, where: str, *values: object) -> list[HeldCommand]:
        return [
            HeldCommand(
                number,
                order_id,
                digest,
                CommandKey(originator_id, target_id, int.from_bytes(counter, "big")),
                message_code,
                expires_at,
                command,
                State(state),
                responses,
                receipt,
                CommandClass(command_class),
                permit,
            )
            for (
                number,
                order_id,
                digest,
                originator_id,
                target_id,
                counter,
                message_code,
                expires_at,
                command,
                state,
                responses,
                receipt,
                command_class,
                permit,
            ) in self._rows(f"SELECT {_COLUMNS} FROM commands {where}", *values)  # noqa: S608  # constants of this file
        ]

    def _number(self, query: str, *values: object) -> int:
        return int(self._rows(query, *values)[0][0])

    def _rows(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]  # columns differ
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the agent's store cannot be read: {error}") from error


def _key_values(key: CommandKey) -> tuple[bytes, bytes, bytes]:
    return key.originator_id, key.target_id, key.originator_counter.to_bytes(8, "big")
