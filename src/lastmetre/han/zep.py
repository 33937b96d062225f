"""The Zigbee Encapsulation Protocol, version 2: a radio frame in a UDP datagram (reference/han.md 4.1).

Wireshark reads it on UDP port 17754. Rules: ``decapsulate(encapsulate(p)) == p``; the frame's check sequence
(CRC-16/KERMIT) is checked; link quality and the reserved octets are not looked at; all else is ``HanDecodeError``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from lastmetre.han.errors import HanDecodeError, HanValueError

UDP_PORT: Final = 17754
CHANNEL: Final = 15
"""DESIGN CHOICE: what the reference captures carry."""
FRAME_OCTETS_MAX: Final = 125
"""A PSDU of 127 octets less the check sequence (1.2)."""
_MAGIC: Final = b"EX\x02\x01"  # "EX", version 2, type 1: data
_MODE_CRC: Final = 1
_LQI: Final = 0xFF
_HEADER: Final = struct.Struct(">4sBHBBQI10sB")
_FCS_OCTETS: Final = 2
_NTP_UNIX_OFFSET_S: Final = 2_208_988_800
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ZepPacket:
    """What a datagram carries. ``at_us`` is Unix time in microseconds; it travels as NTP time."""

    frame: bytes
    sequence: int
    at_us: int = 0
    device_id: int = 0
    channel: int = CHANNEL


def _kermit_table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        value = octet
        for _ in range(8):
            value = (value >> 1) ^ 0x8408 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_KERMIT: Final = _kermit_table()


def frame_check(data: bytes) -> int:
    """CRC-16/KERMIT: reflected 0x8408, initial value 0; sent low octet first."""
    value = 0
    for octet in data:
        value = (value >> 8) ^ _KERMIT[(value ^ octet) & 0xFF]
    return value


def encapsulate(packet: ZepPacket) -> bytes:
    """The datagram for a frame."""
    if not 1 <= len(packet.frame) <= FRAME_OCTETS_MAX:
        raise HanValueError(f"a radio frame has 1 to {FRAME_OCTETS_MAX} octets, not {len(packet.frame)}")
    seconds, microseconds = divmod(packet.at_us, _MICROSECONDS)
    # Rounded up, so that turning the fraction back into microseconds meets the same one.
    fraction = -((-microseconds << 32) // _MICROSECONDS)
    ntp = ((seconds + _NTP_UNIX_OFFSET_S) & 0xFFFF_FFFF) << 32 | fraction
    return (
        _HEADER.pack(
            _MAGIC,
            packet.channel,
            packet.device_id,
            _MODE_CRC,
            _LQI,
            ntp,
            packet.sequence & 0xFFFF_FFFF,
            bytes(10),
            len(packet.frame) + _FCS_OCTETS,
        )
        + packet.frame
        + frame_check(packet.frame).to_bytes(_FCS_OCTETS, "little")
    )


def decapsulate(datagram: bytes) -> ZepPacket:
    """The frame in a datagram."""
    if len(datagram) < _HEADER.size:
        raise HanDecodeError("ZEP header", len(datagram), f"ends after {len(datagram)} octets; it has {_HEADER.size}")
    magic, channel, device_id, mode, _lqi, ntp, sequence, _reserved, length = _HEADER.unpack_from(datagram)
    if magic != _MAGIC:
        raise HanDecodeError("ZEP header", 0, "is no data packet of version 2")
    if mode != _MODE_CRC:
        raise HanDecodeError("ZEP mode", 7, f"{mode} has no check sequence; only mode 1 is read")
    body = datagram[_HEADER.size :]
    if length != len(body) or not 1 <= length - _FCS_OCTETS <= FRAME_OCTETS_MAX:
        raise HanDecodeError("ZEP length", _HEADER.size - 1, f"{length} does not go with {len(body)} octets")
    frame = body[:-_FCS_OCTETS]
    if int.from_bytes(body[-_FCS_OCTETS:], "little") != frame_check(frame):
        raise HanDecodeError("frame check sequence", len(datagram) - _FCS_OCTETS, "does not fit the frame")
    seconds, fraction = divmod(ntp, 1 << 32)
    at_us = (seconds - _NTP_UNIX_OFFSET_S) * _MICROSECONDS + (fraction * _MICROSECONDS >> 32)
    return ZepPacket(frame, sequence, at_us, device_id, channel)
