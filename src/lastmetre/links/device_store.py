"""The states of devices in a SQLite file: each saved in one durable transaction, or not at all.

Rules this module keeps:

* When ``save`` returns, the state is on the disk: all of it, and nothing of what was before.
* A save writes what changed (``state_delta``), so that a Command costs a few hundred octets and not its meter's logs;
  when the changes have grown as long as the state, it is written whole again and they are taken away, in one step.
* One process holds a file. A file may hold many devices (``DeviceShelf``): a thousand homes need one file, not
  thousands of open ones.
"""

from __future__ import annotations

import sqlite3
import zlib
from typing import TYPE_CHECKING, Final, Self

from lastmetre.links.errors import LinkError
from lastmetre.links.state_delta import difference, patched

if TYPE_CHECKING:
    from pathlib import Path

LOCK_WAIT_S: Final = 5.0
"""How long to wait for a predecessor's lock."""
CHANGES_OCTETS_MIN: Final = 65_536
"""Changes are kept at least up to this much before a state is written whole."""
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS devices (name TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS changes (number INTEGER PRIMARY KEY, name TEXT NOT NULL, change BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS changes_by_name ON changes (name, number)",
)
_ONLY: Final = ""
"""The name of the device in a file of one."""


class DeviceShelf:
    """A file with the states of many devices, by their names."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        try:
            self.db: Final = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
            for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                self.db.execute(f"PRAGMA {pragma}")
            for statement in _SCHEMA:
                self.db.execute(statement)
            self._take_over()
        except sqlite3.Error as error:
            raise LinkError(f"{path} cannot hold a device's state: {error}") from error

    def _take_over(self) -> None:
        """A file of the first form has one device and no changes."""
        if not self.db.execute("SELECT 1 FROM sqlite_master WHERE name = 'device'").fetchone():
            return
        self.db.execute("BEGIN IMMEDIATE")
        for (state,) in self.db.execute("SELECT state FROM device").fetchall():
            self.db.execute("INSERT INTO devices VALUES (?, ?)", (_ONLY, zlib.compress(state, 1)))
        self.db.execute("DROP TABLE device")
        self.db.execute("COMMIT")

    def store(self, name: str) -> ShelvedStore:
        """One device's place."""
        return ShelvedStore(self, name)

    def close(self) -> None:
        """Let the file go."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ShelvedStore:
    """``home.ports.DeviceStore`` for one device of a shelf."""

    def __init__(self, shelf: DeviceShelf, name: str) -> None:
        self._shelf = shelf
        self._name = name
        self._saved: bytes | None = None
        self._whole_octets = 0
        self._changes_octets = 0
        self.written_octets = 0
        """What the last save wrote."""

    def load(self) -> bytes | None:
        """What was saved last, or ``None`` for a new device."""
        db, name = self._shelf.db, self._name
        row = db.execute("SELECT state FROM devices WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        self._changes_octets = 0
        self._whole_octets = len(row[0])
        try:
            state = zlib.decompress(row[0])
            for (change,) in db.execute("SELECT change FROM changes WHERE name = ? ORDER BY number", (name,)):
                state = patched(state, change)
                self._changes_octets += len(change)
        except (zlib.error, ValueError) as error:
            raise LinkError(f"{self._shelf.path} holds a damaged state of {name or 'its device'}: {error}") from error
        self._saved = state
        return state

    def save(self, state: bytes) -> None:
        """Replace what was saved; it is on the disk when this returns."""
        if state == self._saved:
            self.written_octets = 0
            return
        try:
            change = self._change_to(state)
            if change is None:
                self._write_whole(state)
            else:
                self._shelf.db.execute("INSERT INTO changes (name, change) VALUES (?, ?)", (self._name, change))
                self._changes_octets += len(change)
                self.written_octets = len(change)
        except sqlite3.Error as error:
            raise LinkError(f"{self._shelf.path} did not take a device's state: {error}") from error
        self._saved = state

    def _change_to(self, state: bytes) -> bytes | None:
        if self._saved is None or self._changes_octets > max(CHANGES_OCTETS_MIN, self._whole_octets):
            return None
        return difference(self._saved, state)

    def _write_whole(self, state: bytes) -> None:
        db, packed = self._shelf.db, zlib.compress(state, 1)
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute("DELETE FROM changes WHERE name = ?", (self._name,))
            db.execute("INSERT OR REPLACE INTO devices VALUES (?, ?)", (self._name, packed))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self._whole_octets, self._changes_octets, self.written_octets = len(packed), 0, len(packed)


class SqliteDeviceStore(ShelvedStore):
    """``home.ports.DeviceStore`` on a file of one device."""

    def __init__(self, path: Path) -> None:
        self._file = DeviceShelf(path)
        super().__init__(self._file, _ONLY)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
