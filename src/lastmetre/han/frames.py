"""The layers below the Zigbee Cluster Library: IEEE 802.15.4 MAC header, Zigbee NWK and APS (reference/han.md 1.1).

Rules this module keeps:

* ``parse_x(data).encode() == data`` for everything accepted; what has no place in the records is refused.
* Data frames with short addresses inside one PAN, unicast. MAC acknowledgements, beacons, NWK commands and routing
  are radio business and not modelled (DESIGN CHOICE). Security is put on and taken off by ``security``; a frame that
  still has it here is refused as such.
* Integers are little-endian. An EUI-64 is eight octets in the order people write it; it is turned round on the air.
* Bad bytes raise ``HanDecodeError``; a record that cannot be said raises ``HanValueError`` when encoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.limits import NWK_RADIUS

MAC_FRAME_CONTROL: Final = 0x8841
"""Data frame, PAN id compressed, short destination and source. On the air low octet first: ``41 88``."""
MAC_ACK_REQUEST: Final = 0x0020
MAC_HEADER_OCTETS: Final = 9
BROADCAST: Final = 0xFFF8
"""Short addresses from here up are broadcasts or reserved."""

NWK_FRAME_CONTROL: Final = 0x0008
"""Data frame, protocol version 2."""
NWK_DISCOVER_ROUTE: Final = 0x0040
NWK_SECURITY: Final = 0x0200
NWK_SOURCE_EUI64: Final = 0x1000
NWK_HEADER_OCTETS: Final = 8

APS_TYPE_DATA: Final = 0x00
APS_TYPE_ACK: Final = 0x02
APS_TYPE_MASK: Final = 0x03
APS_SECURITY: Final = 0x20
APS_ACK_REQUEST: Final = 0x40
APS_EXTENDED: Final = 0x80
APS_HEADER_OCTETS: Final = 8
FIRST_BLOCK: Final = 0x01
LATER_BLOCK: Final = 0x02
EUI64_OCTETS: Final = 8


def _need(data: bytes, octets: int, field: str) -> None:
    if len(data) < octets:
        raise HanDecodeError(field, len(data), f"ends after {len(data)} octets; {octets} are needed")


def _octet(value: int, name: str) -> int:
    if not 0 <= value <= 0xFF:
        raise HanValueError(f"{name} {value} does not fit one octet")
    return value


def _short(value: int, name: str) -> int:
    if not 0 <= value <= 0xFFFF:
        raise HanValueError(f"{name} {value} does not fit two octets")
    return value


# --- IEEE 802.15.4 ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MacFrame:
    """A MAC data frame without its check sequence."""

    sequence: int
    pan_id: int
    destination: int
    source: int
    payload: bytes
    ack_request: bool = True

    def encode(self) -> bytes:
        """The bytes of the frame."""
        control = MAC_FRAME_CONTROL | (MAC_ACK_REQUEST if self.ack_request else 0)
        return (
            struct.pack(
                "<HBHHH",
                control,
                _octet(self.sequence, "the MAC sequence"),
                _short(self.pan_id, "the PAN id"),
                _short(self.destination, "the MAC destination"),
                _short(self.source, "the MAC source"),
            )
            + self.payload
        )


def parse_mac(data: bytes) -> MacFrame:
    """Read a frame off the air."""
    _need(data, MAC_HEADER_OCTETS, "MAC header")
    control, sequence, pan_id, destination, source = struct.unpack_from("<HBHHH", data)
    if control & ~MAC_ACK_REQUEST != MAC_FRAME_CONTROL:
        raise HanDecodeError("MAC frame control", 0, f"{control:#06x} is no data frame with short addresses in one PAN")
    return MacFrame(
        sequence, pan_id, destination, source, data[MAC_HEADER_OCTETS:], ack_request=bool(control & MAC_ACK_REQUEST)
    )


# --- Zigbee NWK -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NwkFrame:
    """A network data frame; ``source_eui64`` only when the header carries it."""

    destination: int
    source: int
    sequence: int
    payload: bytes
    radius: int = NWK_RADIUS
    source_eui64: bytes | None = None
    discover_route: bool = True

    def encode(self) -> bytes:
        """The bytes of the frame."""
        control = NWK_FRAME_CONTROL | (NWK_DISCOVER_ROUTE if self.discover_route else 0)
        address = b""
        if self.source_eui64 is not None:
            if len(self.source_eui64) != EUI64_OCTETS:
                raise HanValueError(f"an EUI-64 has {EUI64_OCTETS} octets, not {len(self.source_eui64)}")
            control |= NWK_SOURCE_EUI64
            address = self.source_eui64[::-1]
        header = struct.pack(
            "<HHHBB",
            control,
            _short(self.destination, "the NWK destination"),
            _short(self.source, "the NWK source"),
            _octet(self.radius, "the radius"),
            _octet(self.sequence, "the NWK sequence"),
        )
        return header + address + self.payload


def parse_nwk(data: bytes) -> NwkFrame:
    """Read the payload of a MAC frame."""
    _need(data, NWK_HEADER_OCTETS, "NWK header")
    control, destination, source, radius, sequence = struct.unpack_from("<HHHBB", data)
    if control & NWK_SECURITY:
        raise HanDecodeError("NWK frame control", 0, "the frame is secured; this network runs without NWK security")
    if control & ~(NWK_DISCOVER_ROUTE | NWK_SOURCE_EUI64) != NWK_FRAME_CONTROL:
        raise HanDecodeError("NWK frame control", 0, f"{control:#06x} is no plain data frame of protocol version 2")
    rest = NWK_HEADER_OCTETS
    address = None
    if control & NWK_SOURCE_EUI64:
        _need(data, NWK_HEADER_OCTETS + EUI64_OCTETS, "NWK source EUI-64")
        rest += EUI64_OCTETS
        address = data[NWK_HEADER_OCTETS:rest][::-1]
    return NwkFrame(
        destination, source, sequence, data[rest:], radius, address, discover_route=bool(control & NWK_DISCOVER_ROUTE)
    )


# --- Zigbee APS -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FirstBlock:
    """The first block of a fragmented message: how many blocks there are in all."""

    blocks: int


@dataclass(frozen=True, slots=True)
class LaterBlock:
    """A later block: which one, counted from 0, so never 0 here."""

    index: int


@dataclass(frozen=True, slots=True)
class ApsData:
    """A unicast data frame: an ASDU, or one block of it."""

    destination_endpoint: int
    cluster: int
    profile: int
    source_endpoint: int
    counter: int
    payload: bytes
    fragment: FirstBlock | LaterBlock | None = None
    ack_request: bool = True

    def encode(self) -> bytes:
        """The bytes of the frame."""
        control = APS_TYPE_DATA | (APS_ACK_REQUEST if self.ack_request else 0)
        extension = b""
        if self.fragment is not None:
            control |= APS_EXTENDED
            if isinstance(self.fragment, FirstBlock):
                extension = bytes((FIRST_BLOCK, _octet(self.fragment.blocks, "the number of blocks")))
            else:
                extension = bytes((LATER_BLOCK, _octet(self.fragment.index, "the block's index")))
        return _aps_header(control, self) + extension + self.payload


@dataclass(frozen=True, slots=True)
class AckedBlocks:
    """Which blocks an acknowledgement speaks of.

    ``first`` is the first block of the window. In ``bitmap`` a 0 stands for a missing block; unused high bits are 1.
    """

    first: int
    bitmap: int


@dataclass(frozen=True, slots=True)
class ApsAck:
    """An acknowledgement: the endpoints stand as its sender sees them, so swapped against the frame acknowledged."""

    destination_endpoint: int
    cluster: int
    profile: int
    source_endpoint: int
    counter: int
    blocks: AckedBlocks | None = None

    def encode(self) -> bytes:
        """The bytes of the frame."""
        if self.blocks is None:
            return _aps_header(APS_TYPE_ACK, self)
        kind = FIRST_BLOCK if self.blocks.first == 0 else LATER_BLOCK
        extension = bytes((kind, _octet(self.blocks.first, "the window's first block"), self.blocks.bitmap & 0xFF))
        return _aps_header(APS_TYPE_ACK | APS_EXTENDED, self) + extension


ApsFrame: TypeAlias = ApsData | ApsAck


def _aps_header(control: int, frame: ApsFrame) -> bytes:
    return struct.pack(
        "<BBHHBB",
        control,
        _octet(frame.destination_endpoint, "the destination endpoint"),
        _short(frame.cluster, "the cluster"),
        _short(frame.profile, "the profile"),
        _octet(frame.source_endpoint, "the source endpoint"),
        _octet(frame.counter, "the APS counter"),
    )


def parse_aps(data: bytes) -> ApsFrame:
    """Read the payload of a NWK frame."""
    _need(data, APS_HEADER_OCTETS, "APS header")
    control, destination, cluster, profile, source, counter = struct.unpack_from("<BBHHBB", data)
    if control & APS_SECURITY:
        raise HanDecodeError("APS frame control", 0, "the frame is secured; this network runs without APS security")
    flags = control & ~APS_TYPE_MASK
    kind = control & APS_TYPE_MASK
    if kind == APS_TYPE_ACK and flags & ~APS_EXTENDED == 0:
        blocks = _acked_blocks(data) if flags else None
        if blocks is None and len(data) != APS_HEADER_OCTETS:
            raise HanDecodeError("APS acknowledgement", APS_HEADER_OCTETS, "octets follow its end")
        return ApsAck(destination, cluster, profile, source, counter, blocks)
    if kind != APS_TYPE_DATA or flags & ~(APS_ACK_REQUEST | APS_EXTENDED):
        raise HanDecodeError("APS frame control", 0, f"{control:#04x} is neither unicast data nor an acknowledgement")
    fragment, rest = _fragment(data) if control & APS_EXTENDED else (None, APS_HEADER_OCTETS)
    acknowledged = bool(control & APS_ACK_REQUEST)
    return ApsData(
        destination, cluster, profile, source, counter, data[rest:], fragment=fragment, ack_request=acknowledged
    )


def _fragment(data: bytes) -> tuple[FirstBlock | LaterBlock, int]:
    _need(data, APS_HEADER_OCTETS + 2, "APS extended header")
    kind, number = data[APS_HEADER_OCTETS], data[APS_HEADER_OCTETS + 1]
    if number == 0:
        raise HanDecodeError("APS block number", APS_HEADER_OCTETS + 1, "0 is no count and no later block")
    if kind == FIRST_BLOCK:
        return FirstBlock(number), APS_HEADER_OCTETS + 2
    if kind == LATER_BLOCK:
        return LaterBlock(number), APS_HEADER_OCTETS + 2
    raise HanDecodeError("APS extended header", APS_HEADER_OCTETS, f"{kind:#04x} is neither first nor later block")


def _acked_blocks(data: bytes) -> AckedBlocks:
    octets = APS_HEADER_OCTETS + 3
    _need(data, octets, "APS acknowledgement")
    if len(data) != octets:
        raise HanDecodeError("APS acknowledgement", octets, "octets follow its end")
    kind, first, bitmap = data[APS_HEADER_OCTETS:]
    if kind != (FIRST_BLOCK if first == 0 else LATER_BLOCK):
        raise HanDecodeError("APS acknowledgement", APS_HEADER_OCTETS, f"{kind:#04x} does not go with block {first}")
    return AckedBlocks(first, bitmap)
