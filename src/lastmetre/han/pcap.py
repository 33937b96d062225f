"""A capture file's bytes: classic pcap, link type 230, IEEE 802.15.4 without check sequence (reference/han.md 4.1)."""

from __future__ import annotations

import struct
from typing import Final

LINK_TYPE_802_15_4_NOFCS: Final = 230
LINK_TYPE_IPV4: Final = 228
_SNAP_OCTETS: Final = 0xFFFF
_RECORD: Final = struct.Struct("<IIII")
RECORD_HEADER_OCTETS: Final = _RECORD.size
_MICROSECONDS: Final = 1_000_000


def global_header(link_type: int = LINK_TYPE_802_15_4_NOFCS) -> bytes:
    """What a file begins with."""
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAP_OCTETS, link_type)


def record(frame: bytes, at_us: int) -> bytes:
    """One frame, heard at ``at_us`` microseconds of Unix time."""
    seconds, microseconds = divmod(at_us, _MICROSECONDS)
    return _RECORD.pack(seconds & 0xFFFF_FFFF, microseconds, len(frame), len(frame)) + frame


def record_octets(header: bytes) -> int | None:
    """How many octets of frame follow a record's header, or ``None`` when it is no whole header."""
    if len(header) < RECORD_HEADER_OCTETS:
        return None
    captured: int = _RECORD.unpack_from(header)[2]
    return captured if captured <= _SNAP_OCTETS else None
