"""The permits' store in one SQLite file (implements ``dcc.ports.PermitStore``).

Rules this module keeps: durable when a change ends (``synchronous=FULL``); one process owns the file, so that no
serial is given twice; a file of another schema version is refused. Serials have 64 bits unsigned in the record, but are
counted up from one: SQLite's signed integers hold every one there will ever be.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Final, Self

from lastmetre.dcc.ports import PermitRecord
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
create table hub (hub_id blob primary key, last_serial integer not null, void_below integer not null) without rowid;
create table permit (hub_id blob, serial integer, request_id text not null, user_id blob not null,
    carrier_id blob not null, digest blob not null, issued_at integer not null, not_after integer not null,
    permit blob not null, primary key (hub_id, serial)) without rowid;
create index permit_of_request on permit (request_id, issued_at)
"""
_COLUMNS: Final = "serial, hub_id, request_id, user_id, carrier_id, digest, issued_at, not_after, permit"


class PermitStoreError(LinkError):
    """The permits' store cannot be used; the text says why. Nothing was changed."""


class SqlitePermitStore:
    """The store behind one SQLite file."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            for pragma in ("locking_mode=exclusive", "journal_mode=delete", "synchronous=full"):
                self._db.execute(f"pragma {pragma}").fetchall()
            self._db.execute("begin exclusive")
            (version,) = self._db.execute("pragma user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"pragma user_version={SCHEMA_VERSION}")
            self._db.execute("commit")
        except sqlite3.Error as error:
            raise PermitStoreError(
                f"cannot open the permits' store {path}: {error}; is another DSP using it?"
            ) from error
        if version not in {0, SCHEMA_VERSION}:
            self._db.close()
            raise PermitStoreError(f"{path} has schema version {version}; this program reads {SCHEMA_VERSION} only")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    @contextlib.contextmanager
    def change(self) -> Iterator[SqlitePermitChange]:
        """One transaction."""
        self._db.execute("begin immediate")
        try:
            yield SqlitePermitChange(self._db)
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")


class SqlitePermitChange:
    """Reading and writing inside one transaction (implements ``dcc.ports.PermitChange``)."""

    __slots__ = ("_db",)

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def next_serial(self, hub_id: bytes) -> int:
        """A serial for a hub."""
        (serial,) = self._db.execute(
            "insert into hub values (?, 1, 0) on conflict do update set last_serial = last_serial + 1 "
            "returning last_serial",
            (hub_id,),
        ).fetchone()
        return int(serial)

    def void_below(self, hub_id: bytes) -> int:
        """Below which serial every permit is dead."""
        row = self._db.execute("select void_below from hub where hub_id = ?", (hub_id,)).fetchone()
        return 0 if row is None else int(row[0])

    def void(self, hub_id: bytes) -> int:
        """Have every serial given so far dead."""
        (first,) = self._db.execute(
            "insert into hub values (?, 0, 1) on conflict do update set void_below = last_serial + 1 "
            "returning void_below",
            (hub_id,),
        ).fetchone()
        return int(first)

    def keep(self, record: PermitRecord) -> None:
        """Keep a permit."""
        self._db.execute(
            f"insert into permit ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
            (
                record.serial, record.hub_id, record.request_id, record.user_id, record.carrier_id, record.digest,
                record.issued_at, record.not_after, record.permit,
            ),
        )  # fmt: skip

    def issued(self, request_id: str, since_at: int) -> int:
        """How many permits were made for the Command of a request since then."""
        query = "select count(*) from permit where request_id = ? and issued_at > ?"
        (count,) = self._db.execute(query, (request_id, since_at)).fetchone()
        return int(count)

    def records(self, hub_id: bytes) -> tuple[PermitRecord, ...]:
        """Every permit made for a hub, oldest first."""
        query = f"select {_COLUMNS} from permit where hub_id = ? order by serial"  # noqa: S608 - constants
        return tuple(PermitRecord(*row) for row in self._db.execute(query, (hub_id,)))
