"""A device's state in one SQLite file: replaced in one durable transaction, or not at all."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, Self

from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from pathlib import Path

LOCK_WAIT_S: Final = 5.0
"""How long to wait for a predecessor's lock."""


class SqliteDeviceStore:
    """``home.ports.DeviceStore`` on a file that one process holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
            for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS device (only INTEGER PRIMARY KEY CHECK (only = 1), state BLOB NOT NULL)"
            )
        except sqlite3.Error as error:
            raise LinkError(f"{path} cannot hold a device's state: {error}") from error

    def load(self) -> bytes | None:
        """What was saved last, or ``None`` for a new device."""
        row = self._db.execute("SELECT state FROM device").fetchone()
        return None if row is None else bytes(row[0])

    def save(self, state: bytes) -> None:
        """Replace what was saved; it is on the disk when this returns."""
        try:
            self._db.execute(
                "INSERT INTO device VALUES (1, ?) ON CONFLICT (only) DO UPDATE SET state = excluded.state", (state,)
            )
        except sqlite3.Error as error:
            raise LinkError(f"{self._path} did not take a device's state: {error}") from error

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
