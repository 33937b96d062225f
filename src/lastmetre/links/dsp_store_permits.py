"""The relay permits' part of the DSP's store on PostgreSQL (implements ``dcc.ports.PermitStore``).

It shares the DSP's connection, and so its lock: as long as one DSP has the store open, no other gives out a serial.
"""

from __future__ import annotations

import contextlib
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.ports import PermitRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.links.dsp_store import Connection, PostgresDspStore

_NAMES: Final = [each.name for each in fields(PermitRecord)]
_INSERT: Final = f"INSERT INTO dcc.permits ({', '.join(_NAMES)}) VALUES ({', '.join(['%s'] * len(_NAMES))})"  # noqa: S608
_RECORDS: Final = f"SELECT {', '.join(_NAMES)} FROM dcc.permits WHERE hub_id = %s ORDER BY serial"  # noqa: S608
_NEXT_SERIAL: Final = (
    "INSERT INTO dcc.permit_hubs AS h VALUES (%s, 1, 0)"
    " ON CONFLICT (hub_id) DO UPDATE SET last_serial = h.last_serial + 1 RETURNING last_serial"
)
_VOID: Final = (
    "INSERT INTO dcc.permit_hubs AS h VALUES (%s, 0, 1)"
    " ON CONFLICT (hub_id) DO UPDATE SET void_below = h.last_serial + 1 RETURNING void_below"
)


class PostgresPermitStore:
    """The permits in a DSP's store."""

    def __init__(self, store: PostgresDspStore) -> None:
        self._store = store

    @contextlib.contextmanager
    def change(self) -> Iterator[PostgresPermitChange]:
        """One transaction."""
        with self._store.transaction() as connection:
            yield PostgresPermitChange(connection)


class PostgresPermitChange:
    """Reading and writing inside one transaction (implements ``dcc.ports.PermitChange``)."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def next_serial(self, hub_id: bytes) -> int:
        """As in the port."""
        return self._number(_NEXT_SERIAL, hub_id)

    def void_below(self, hub_id: bytes) -> int:
        """As in the port."""
        question = "SELECT coalesce(max(void_below), 0) FROM dcc.permit_hubs WHERE hub_id = %s"
        return self._number(question, hub_id)

    def void(self, hub_id: bytes) -> int:
        """As in the port."""
        return self._number(_VOID, hub_id)

    def keep(self, record: PermitRecord) -> None:
        """As in the port."""
        self._connection.execute(_INSERT.encode(), astuple(record))

    def issued(self, request_id: str, since_at: int) -> int:
        """As in the port."""
        question = "SELECT count(*) FROM dcc.permits WHERE request_id = %s AND issued_at > %s"
        return self._number(question, request_id, since_at)

    def records(self, hub_id: bytes) -> tuple[PermitRecord, ...]:
        """As in the port."""
        return tuple(PermitRecord(*row) for row in self._connection.execute(_RECORDS.encode(), [hub_id]))

    def _number(self, statement: str, *values: object) -> int:
        row = self._connection.execute(statement.encode(), values).fetchone()
        assert row is not None
        return int(row[0])
