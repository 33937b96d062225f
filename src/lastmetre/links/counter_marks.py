"""Counter marks in a file of their own (implements ``supplier.ports.Marks``): on another disk than the database, best.

Rules this module keeps: several processes of one service may share it, since the store gives each value once whoever
asks; reading and writing take an exclusive lock in turn. A line is appended and forced to the disk before ``save``
returns; a torn last line is the write of a process that died before it could use what it reserved, and is cut off.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from typing import TYPE_CHECKING, Self

from lastmetre.gbcs.catalogue import Lane
from lastmetre.links.errors import LinkError
from lastmetre.supplier.ports import Mark

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType


class CounterMarksError(LinkError):
    """The file of counter marks cannot be used; the text says why. No counter is given out without it."""


class FileMarks:
    """Marks behind one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CounterMarksError(f"cannot open {path}: {error.strerror}") from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as error:
            raise CounterMarksError(f"cannot use {self._path}: {error.strerror}") from error
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def load(self) -> dict[tuple[bytes, Lane], Mark]:
        """As in the port."""
        with self._alone():
            data = self._path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if whole != data:
                os.ftruncate(self._file, len(whole))
                os.fsync(self._file)
        marks: dict[tuple[bytes, Lane], Mark] = {}
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                target, lane, taken, reserved = json.loads(line)
                key, mark = (bytes.fromhex(target), Lane(lane)), Mark(int(taken), int(reserved))
            except (ValueError, TypeError) as error:
                raise CounterMarksError(f"{self._path}:{number} is no mark: {error}") from error
            before = marks.get(key)
            marks[key] = mark if before is None or mark.reserved > before.reserved else before
        return marks

    def save(self, target_id: bytes, lane: Lane, mark: Mark) -> None:
        """As in the port."""
        line = json.dumps([target_id.hex(), lane.value, mark.taken, mark.reserved]) + "\n"
        try:
            with self._alone():
                os.write(self._file, line.encode())
                os.fsync(self._file)
        except OSError as error:
            raise CounterMarksError(f"cannot write {self._path}: {error.strerror}") from error
