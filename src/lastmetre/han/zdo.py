"""The Zigbee Device Object messages the emulator speaks: a device announces that it is (back) on the network, and is
asked which of its endpoints serve a cluster.

General Zigbee knowledge (GEN in reference/han.md): a device that joins or rejoins announces its addresses, and the hub
then holds its old tunnel for dead (1.4: leaving and rejoining invalidates it). A real announcement is a broadcast; ours
goes to the hub alone, so that it is acknowledged (DESIGN CHOICE).

Real devices find endpoints by a match request before they open a tunnel (1.1). Ours answer such requests, for stacks
that ask; they do not ask themselves, as they have endpoint 1 everywhere (DESIGN CHOICE there).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from lastmetre.han.errors import HanDecodeError

PROFILE: Final = 0x0000
ENDPOINT: Final = 0
DEVICE_ANNOUNCE: Final = 0x0013
MATCH_REQUEST: Final = 0x0006
MATCH_RESPONSE: Final = 0x8006
CAPABILITY_MAINS_ALWAYS_ON: Final = 0x8C
"""Allocate address, receiver on when idle, mains powered: a meter or PPMID that does not sleep."""
_OCTETS: Final = 12


@dataclass(frozen=True, slots=True)
class DeviceAnnounce:
    """Who is here, under which short address."""

    sequence: int
    short_address: int
    eui64: bytes
    capability: int = CAPABILITY_MAINS_ALWAYS_ON

    def encode(self) -> bytes:
        """The bytes of the ASDU."""
        return struct.pack("<BH8sB", self.sequence, self.short_address, self.eui64[::-1], self.capability)


def parse_announce(data: bytes) -> DeviceAnnounce:
    """Read an ASDU of profile 0, cluster 0x0013."""
    if len(data) != _OCTETS:
        raise HanDecodeError("device announcement", 0, f"has {len(data)} octets; {_OCTETS} are right")
    sequence, short_address, eui64, capability = struct.unpack("<BH8sB", data)
    return DeviceAnnounce(sequence, short_address, eui64[::-1], capability)


@dataclass(frozen=True, slots=True)
class MatchRequest:
    """Which endpoints of a node have one of these clusters on their server's or client's side."""

    sequence: int
    short_address: int
    profile: int
    input_clusters: tuple[int, ...]
    output_clusters: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """The bytes of the ASDU."""
        head = struct.pack("<BHH", self.sequence, self.short_address, self.profile)
        return head + _clusters(self.input_clusters) + _clusters(self.output_clusters)


@dataclass(frozen=True, slots=True)
class MatchResponse:
    """The endpoints; none is no failure."""

    sequence: int
    short_address: int
    endpoints: tuple[int, ...]

    def encode(self) -> bytes:
        """The bytes of the ASDU: status success, for the node is the one that was asked about."""
        head = struct.pack("<BBHB", self.sequence, 0, self.short_address, len(self.endpoints))
        return head + bytes(self.endpoints)


def _clusters(clusters: tuple[int, ...]) -> bytes:
    return bytes((len(clusters),)) + b"".join(cluster.to_bytes(2, "little") for cluster in clusters)


def parse_match_request(data: bytes) -> MatchRequest:
    """Read an ASDU of profile 0, cluster 0x0006."""
    try:
        sequence, short_address, profile = struct.unpack_from("<BHH", data)
        inputs = struct.unpack_from(f"<{data[5]}H", data, 6)
        place = 6 + 2 * len(inputs)
        outputs = struct.unpack_from(f"<{data[place]}H", data, place + 1)
    except (struct.error, IndexError):
        raise HanDecodeError("match request", len(data), "ends before its lists") from None
    if place + 1 + 2 * len(outputs) != len(data):
        raise HanDecodeError("match request", place, "octets follow its lists")
    return MatchRequest(sequence, short_address, profile, inputs, outputs)
