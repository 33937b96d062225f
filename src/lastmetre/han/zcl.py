"""The Zigbee Cluster Library's frame: three octets and a payload, and the Default Response (reference/han.md 1.3).

Rules this module keeps: ``parse_zcl(data).encode() == data`` for everything accepted; manufacturer's own commands and
reserved bits are refused, for nothing on this network uses them. GBCS carries the same header inside its messages:
``lastmetre.gbcs`` reads those; this one reads what is on the air.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from lastmetre.han.errors import HanDecodeError, HanValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

CLUSTER_SPECIFIC: Final = 0x01
FROM_SERVER: Final = 0x08
DISABLE_DEFAULT_RESPONSE: Final = 0x10
READ_ATTRIBUTES: Final = 0x00
READ_ATTRIBUTES_RESPONSE: Final = 0x01
DEFAULT_RESPONSE: Final = 0x0B
HEADER_OCTETS: Final = 3


class Status(IntEnum):
    """The Default Response's statuses this package sends; any octet may come in (1.4, 3.5; the ZCL's own values)."""

    SUCCESS = 0x00
    FAILURE = 0x01
    NOT_AUTHORIZED = 0x7E
    MALFORMED_COMMAND = 0x80
    UNSUPPORTED_CLUSTER_COMMAND = 0x81
    UNSUPPORTED_ATTRIBUTE = 0x86
    NOT_FOUND = 0x8B
    NO_IMAGE_AVAILABLE = 0x98


@dataclass(frozen=True, slots=True)
class ZclFrame:
    """One ZCL frame. ``from_server`` is the direction: the same command id means other things the other way."""

    command: int
    sequence: int
    payload: bytes = b""
    from_server: bool = False
    cluster_specific: bool = True
    disable_default_response: bool = False

    def encode(self) -> bytes:
        """The bytes of the frame."""
        if not (0 <= self.command <= 0xFF and 0 <= self.sequence <= 0xFF):
            raise HanValueError("a ZCL command and sequence are one octet each")
        control = CLUSTER_SPECIFIC if self.cluster_specific else 0
        control |= FROM_SERVER if self.from_server else 0
        control |= DISABLE_DEFAULT_RESPONSE if self.disable_default_response else 0
        return bytes((control, self.sequence, self.command)) + self.payload

    @property
    def is_default_response(self) -> bool:
        """Whether this frame is itself the answer of last resort."""
        return not self.cluster_specific and self.command == DEFAULT_RESPONSE


@dataclass(frozen=True, slots=True)
class DefaultResponse:
    """What a Default Response says: how the command with id ``command`` ended."""

    command: int
    status: int


def parse_zcl(data: bytes) -> ZclFrame:
    """Read an ASDU."""
    if len(data) < HEADER_OCTETS:
        raise HanDecodeError("ZCL header", len(data), f"ends after {len(data)} octets; {HEADER_OCTETS} are needed")
    control, sequence, command = data[:HEADER_OCTETS]
    if control & ~(CLUSTER_SPECIFIC | FROM_SERVER | DISABLE_DEFAULT_RESPONSE):
        raise HanDecodeError("ZCL frame control", 0, f"{control:#04x} has a manufacturer's or reserved bit set")
    return ZclFrame(
        command,
        sequence,
        data[HEADER_OCTETS:],
        from_server=bool(control & FROM_SERVER),
        cluster_specific=bool(control & CLUSTER_SPECIFIC),
        disable_default_response=bool(control & DISABLE_DEFAULT_RESPONSE),
    )


def default_response(to: ZclFrame, status: int) -> ZclFrame:
    """The Default Response to ``to``: its sequence, the other direction, and no answer wanted."""
    return ZclFrame(
        DEFAULT_RESPONSE,
        to.sequence,
        bytes((to.command, status)),
        from_server=not to.from_server,
        cluster_specific=False,
        disable_default_response=True,
    )


def read_default_response(frame: ZclFrame) -> DefaultResponse:
    """What a Default Response says."""
    if not frame.is_default_response or len(frame.payload) != 2:
        raise HanDecodeError("Default Response", HEADER_OCTETS, "is a command id and a status, two octets")
    return DefaultResponse(frame.payload[0], frame.payload[1])


def read_attributes_response(asked: ZclFrame, attributes: Mapping[int, bytes]) -> ZclFrame:
    """The answer to Read Attributes; ``attributes`` are type and value, as they go on the air, by their ids."""
    if len(asked.payload) % 2:
        raise HanDecodeError("Read Attributes", HEADER_OCTETS, "is a list of two-octet attribute ids")
    answers = []
    for at in range(0, len(asked.payload), 2):
        number = asked.payload[at : at + 2]
        value = attributes.get(int.from_bytes(number, "little"))
        answers.append(number + (bytes((Status.UNSUPPORTED_ATTRIBUTE,)) if value is None else b"\x00" + value))
    return ZclFrame(
        READ_ATTRIBUTES_RESPONSE,
        asked.sequence,
        b"".join(answers),
        from_server=not asked.from_server,
        cluster_specific=False,
        disable_default_response=True,
    )
