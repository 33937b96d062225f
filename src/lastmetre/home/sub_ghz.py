"""The hub's sub-GHz settings (DBCH01 to DBCH09): no such radio is emulated, its bookkeeping is.

Kept are the configuration as it was set, the channel in use, and a log of changes. A scan asked for (DBCH05) finds the
first channel that the first mask allows; where that is another than the one in use, the channel changes and is logged.
What a real scan prefers is not public (DESIGN CHOICE); the layouts are those of the published messages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from lastmetre.gbcs.axdr import BitString, Data, LongUnsigned, Structure, Unsigned, decode_data, encode_data

CHANNEL_CHANGED: Final = 0x8F26
SCAN_ASSESSED: Final = 0x8F28
CONFIGURATION_CHANGED: Final = 0x8F2A
DBCH07, DBCH08, DBCH09 = 0x0111, 0x0112, 0x0113
LOG_MAX: Final = 100
MASKS: Final = 4
_NEW_MASK: Final = BitString(32, bytes.fromhex("e0000001"))
_PAGE: Final = 0xF8
"""The five high bits of a mask name its page, the others its channels (Zigbee; seen in the published messages)."""


def _new_configuration() -> bytes:
    numbers = (LongUnsigned, LongUnsigned, Unsigned, LongUnsigned, Unsigned, Unsigned, LongUnsigned, Unsigned,
               LongUnsigned, LongUnsigned, LongUnsigned)  # fmt: skip
    masks = tuple(BitString(32, bytes((page, 0, 0, 1))) for page in (0xE0, 0xE8, 0xF0, 0xF8))
    return encode_data(Structure((*masks, *(kind(1) for kind in numbers))))


NEW_CONFIGURATION: Final = _new_configuration()


@dataclass(frozen=True, slots=True)
class SubGhz:
    """Configuration (encoded), channel in use (a mask with one bit), and the log: when, event, what."""

    configuration: bytes = NEW_CONFIGURATION
    channel: bytes = _NEW_MASK.value
    log: tuple[tuple[int, int, bytes], ...] = ()

    def configuration_data(self) -> Data:
        """The configuration as it is read."""
        return decode_data(self.configuration)[0]


def is_configuration(value: Data) -> bool:
    """Whether a value has the form of a configuration."""
    new = decode_data(NEW_CONFIGURATION)[0]
    assert isinstance(new, Structure)
    return (
        isinstance(value, Structure)
        and [type(each) for each in value.elements] == [type(each) for each in new.elements]
        and all(isinstance(mask, BitString) and mask.bit_count == 32 for mask in value.elements[:MASKS])
    )


def scanned(state: SubGhz, at: int) -> tuple[SubGhz, bool]:
    """The state after a scan, and whether the channel is another. ``at`` is seconds since 2000."""
    configuration = state.configuration_data()
    assert isinstance(configuration, Structure)
    mask = configuration.elements[0]
    assert isinstance(mask, BitString)
    bits = int.from_bytes(mask.value, "big") & 0x07FFFFFF
    if not bits:
        return state, False
    lowest = bits & -bits
    channel = bytes((mask.value[0] & _PAGE, 0, 0, 0))
    found = (int.from_bytes(channel, "big") | lowest).to_bytes(4, "big")
    if found == state.channel:
        return state, False
    line = (at, CHANNEL_CHANGED, found + bytes((9, 1, lowest.bit_length() - 1)))
    return replace(state, channel=found, log=(*state.log, line)[-LOG_MAX:]), True
