"""The one Zigbee Device Object message the emulator speaks: a device announces that it is (back) on the network.

General Zigbee knowledge (GEN in reference/han.md): a device that joins or rejoins announces its addresses, and the hub
then holds its old tunnel for dead (1.4: leaving and rejoining invalidates it). A real announcement is a broadcast; ours
goes to the hub alone, so that it is acknowledged (DESIGN CHOICE).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from lastmetre.han.errors import HanDecodeError

PROFILE: Final = 0x0000
ENDPOINT: Final = 0
DEVICE_ANNOUNCE: Final = 0x0013
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
