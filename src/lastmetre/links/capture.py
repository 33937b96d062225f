"""A capture file: every frame on the air, as Wireshark reads it (pcap, link type 230).

Each frame is on disk's way when ``write`` returns, so that a process that dies leaves a readable file. An existing file
is continued; a record that a crash cut short at its end is taken away first.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from lastmetre.han.pcap import RECORD_HEADER_OCTETS, global_header, record, record_octets
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from pathlib import Path

_HEADER: Final = global_header()


class Capture:
    """An open capture file; use it as a context manager, or ``close`` it."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        try:
            self._file = _open(path)
        except OSError as error:
            raise LinkError(f"the capture {path} cannot be written: {error.strerror}") from error

    def write(self, frame: bytes, at_us: int | None = None) -> None:
        """Add a frame, heard at ``at_us`` microseconds of Unix time: now, unless told otherwise."""
        moment = time.time_ns() // 1_000 if at_us is None else at_us
        try:
            self._file.write(record(frame, moment))
            self._file.flush()
        except OSError as error:
            raise LinkError(f"the capture {self.path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path) -> BinaryIO:
    file = path.open("a+b")
    try:
        file.truncate(_whole_octets(file, path))
        if file.seek(0, 2) == 0:
            file.write(_HEADER)
            file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _whole_octets(file: BinaryIO, path: Path) -> int:
    """How much of the file is a capture up to its last whole record."""
    file.seek(0)
    begun = file.read(len(_HEADER))
    if not _HEADER.startswith(begun):
        raise LinkError(f"{path} is no capture of link type 230; name another file or move this one away")
    return _end_of_records(file) if begun == _HEADER else 0


def _end_of_records(file: BinaryIO) -> int:
    """Where the last whole record ends."""
    size = file.seek(0, 2)
    end = len(_HEADER)
    while True:
        file.seek(end)
        octets = record_octets(file.read(RECORD_HEADER_OCTETS))
        if octets is None or end + RECORD_HEADER_OCTETS + octets > size:
            return end
        end += RECORD_HEADER_OCTETS + octets
