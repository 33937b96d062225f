"""The Tunneling cluster 0x0704: every command of both directions, from one table (reference/han.md 1.4).

Rules this module keeps:

* The direction picks the meaning. **Trap**: TransferData is 0x02 from client to server and 0x01 from server to client.
* ``decode_command(encode_command(c, ...)) == c``; a payload fills its octets to the last one.
* A new command is a new row of ``COMMANDS``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias, cast

from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.limits import TRANSFER_OCTETS_MAX
from lastmetre.han.zcl import HEADER_OCTETS, ZclFrame

CLUSTER: Final = 0x0704
PROTOCOL_GB_HRGP: Final = 6
"""GBCS 10.2.2 as quoted by a silicon vendor (0, point 1); tshark names it GB-HRGP."""
MANUFACTURER_NONE: Final = 0xFFFF
NO_TUNNEL: Final = 0xFFFF
"""The TunnelID of a RequestTunnelResponse that says no."""
CLOSE_TUNNEL: Final = 0x01
"""CloseTunnel's command id, as a Default Response names it."""
ATTRIBUTES: Final = {0x0000: bytes.fromhex("21ffff"), 0xFFFE: bytes.fromhex("3001")}
"""A server's attributes, type and value: CloseTunnelTimeout 0xFFFF (1.4) and AttributeReportingStatus complete."""


class TunnelStatus(IntEnum):
    """RequestTunnelResponse statuses (1.4, as tshark names them)."""

    SUCCESS = 0
    BUSY = 1
    NO_MORE_TUNNEL_IDS = 2
    PROTOCOL_NOT_SUPPORTED = 3
    FLOW_CONTROL_NOT_SUPPORTED = 4


class TransferDataStatus(IntEnum):
    """TransferDataError statuses (1.4, as tshark names them)."""

    NO_SUCH_TUNNEL = 0
    WRONG_DEVICE = 1
    DATA_OVERFLOW = 2


@dataclass(frozen=True, slots=True)
class RequestTunnel:
    """Client to server. The defaults are GBCS's own: ``06 ffff 00 dc05``."""

    protocol_id: int = PROTOCOL_GB_HRGP
    manufacturer_code: int = MANUFACTURER_NONE
    flow_control_support: bool = False
    maximum_incoming_transfer_size: int = TRANSFER_OCTETS_MAX


@dataclass(frozen=True, slots=True)
class CloseTunnel:
    """Client to server; answered by a Default Response."""

    tunnel_id: int


@dataclass(frozen=True, slots=True)
class TransferData:
    """Both directions, under different ids; the data has no length octet."""

    tunnel_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TransferDataError:
    """Both directions: a TransferData that was not taken."""

    tunnel_id: int
    status: int


@dataclass(frozen=True, slots=True)
class AckTransferData:
    """Both directions; only with flow control, which GBCS does without."""

    tunnel_id: int
    octets_left: int


@dataclass(frozen=True, slots=True)
class ReadyData:
    """Both directions; only with flow control, which GBCS does without."""

    tunnel_id: int
    octets_left: int


@dataclass(frozen=True, slots=True)
class GetSupportedTunnelProtocols:
    """Client to server."""

    protocol_offset: int


@dataclass(frozen=True, slots=True)
class RequestTunnelResponse:
    """Server to client; ``tunnel_id`` is ``NO_TUNNEL`` when the status is not Success."""

    tunnel_id: int
    status: int
    maximum_incoming_transfer_size: int = TRANSFER_OCTETS_MAX


@dataclass(frozen=True, slots=True)
class TunnelProtocol:
    """One entry of a SupportedTunnelProtocolsResponse."""

    manufacturer_code: int
    protocol_id: int


@dataclass(frozen=True, slots=True)
class SupportedTunnelProtocolsResponse:
    """Server to client."""

    list_complete: bool
    protocols: tuple[TunnelProtocol, ...]


@dataclass(frozen=True, slots=True)
class TunnelClosureNotification:
    """Server to client; optional, and a silicon vendor leaves it off by default."""

    tunnel_id: int


Command: TypeAlias = (
    RequestTunnel
    | CloseTunnel
    | TransferData
    | TransferDataError
    | AckTransferData
    | ReadyData
    | GetSupportedTunnelProtocols
    | RequestTunnelResponse
    | SupportedTunnelProtocolsResponse
    | TunnelClosureNotification
)

CLIENT_TO_SERVER: Final = False
SERVER_TO_CLIENT: Final = True

COMMANDS: Final[dict[tuple[bool, int], tuple[type[Command], tuple[tuple[str, str], ...]]]] = {
    # (from the server?, command id): (record, its fields and their types).  Source: han.md 1.4, both tables.
    (CLIENT_TO_SERVER, 0x00): (
        RequestTunnel,
        (
            ("protocol_id", "u8"),
            ("manufacturer_code", "u16"),
            ("flow_control_support", "bool"),
            ("maximum_incoming_transfer_size", "u16"),
        ),
    ),
    (CLIENT_TO_SERVER, 0x01): (CloseTunnel, (("tunnel_id", "u16"),)),
    (CLIENT_TO_SERVER, 0x02): (TransferData, (("tunnel_id", "u16"), ("data", "rest"))),
    (CLIENT_TO_SERVER, 0x03): (TransferDataError, (("tunnel_id", "u16"), ("status", "u8"))),
    (CLIENT_TO_SERVER, 0x04): (AckTransferData, (("tunnel_id", "u16"), ("octets_left", "u16"))),
    (CLIENT_TO_SERVER, 0x05): (ReadyData, (("tunnel_id", "u16"), ("octets_left", "u16"))),
    (CLIENT_TO_SERVER, 0x06): (GetSupportedTunnelProtocols, (("protocol_offset", "u8"),)),
    (SERVER_TO_CLIENT, 0x00): (
        RequestTunnelResponse,
        (("tunnel_id", "u16"), ("status", "u8"), ("maximum_incoming_transfer_size", "u16")),
    ),
    (SERVER_TO_CLIENT, 0x01): (TransferData, (("tunnel_id", "u16"), ("data", "rest"))),
    (SERVER_TO_CLIENT, 0x02): (TransferDataError, (("tunnel_id", "u16"), ("status", "u8"))),
    (SERVER_TO_CLIENT, 0x03): (AckTransferData, (("tunnel_id", "u16"), ("octets_left", "u16"))),
    (SERVER_TO_CLIENT, 0x04): (ReadyData, (("tunnel_id", "u16"), ("octets_left", "u16"))),
    (SERVER_TO_CLIENT, 0x05): (
        SupportedTunnelProtocolsResponse,
        (("list_complete", "bool"), ("protocols", "protocols")),
    ),
    (SERVER_TO_CLIENT, 0x06): (TunnelClosureNotification, (("tunnel_id", "u16"),)),
}
_IDS: Final[dict[tuple[type[object], bool], int]] = {
    (row[0], from_server): command for (from_server, command), row in COMMANDS.items()
}
_SIZES: Final = {"u8": 1, "u16": 2, "bool": 1}


def command_id(kind: type[object], *, from_server: bool) -> int:
    """The id of a command in a direction."""
    try:
        return _IDS[kind, from_server]
    except KeyError:
        way = "from server to client" if from_server else "from client to server"
        raise HanValueError(f"no {kind.__name__} goes {way}") from None


def encode_command(command: Command, *, from_server: bool, sequence: int) -> ZclFrame:
    """The frame that says ``command`` in a direction."""
    identifier = command_id(type(command), from_server=from_server)
    _kind, fields = COMMANDS[from_server, identifier]
    payload = b"".join(_write(getattr(command, name), kind, name) for name, kind in fields)
    return ZclFrame(identifier, sequence, payload, from_server=from_server)


def decode_command(frame: ZclFrame) -> Command:
    """What a cluster-specific frame of this cluster says; the frame's direction decides."""
    row = COMMANDS.get((frame.from_server, frame.command))
    if row is None or not frame.cluster_specific:
        raise HanDecodeError("command", HEADER_OCTETS - 1, f"{frame.command:#04x} is no tunnelling command this way")
    kind, fields = row
    values: dict[str, object] = {}
    offset = 0
    for name, form in fields:
        values[name], offset = _read(frame.payload, offset, name, form)
    if offset != len(frame.payload):
        raise HanDecodeError(kind.__name__, HEADER_OCTETS + offset, "octets follow its end")
    return cast("type[object]", kind)(**values)  # type: ignore[return-value]  # the table names each record's fields


def _write(value: object, form: str, name: str) -> bytes:
    if form == "rest":
        return cast("bytes", value)
    if form == "protocols":
        protocols = cast("tuple[TunnelProtocol, ...]", value)
        if len(protocols) > 0xFF:
            raise HanValueError("a list of protocols has at most 255 entries")
        return bytes((len(protocols),)) + b"".join(
            struct.pack("<HB", protocol.manufacturer_code, protocol.protocol_id) for protocol in protocols
        )
    number = int(cast("int", value))
    try:
        return number.to_bytes(_SIZES[form], "little")
    except OverflowError:
        raise HanValueError(f"{name} {number} does not fit {_SIZES[form]} octets") from None


def _read(data: bytes, offset: int, name: str, form: str) -> tuple[object, int]:
    if form == "rest":
        return data[offset:], len(data)
    if form == "protocols":
        return _read_protocols(data, offset, name)
    end = offset + _SIZES[form]
    if len(data) < end:
        raise HanDecodeError(name, HEADER_OCTETS + len(data), "the payload ends before it")
    number = int.from_bytes(data[offset:end], "little")
    if form != "bool":
        return number, end
    if number > 1:
        raise HanDecodeError(name, HEADER_OCTETS + offset, f"{number:#04x} is no boolean")
    return bool(number), end


def _read_protocols(data: bytes, offset: int, name: str) -> tuple[tuple[TunnelProtocol, ...], int]:
    if len(data) <= offset or len(data) != offset + 1 + 3 * data[offset]:
        raise HanDecodeError(name, HEADER_OCTETS + offset, "its count does not go with its octets")
    entries = struct.iter_unpack("<HB", data[offset + 1 :])
    return tuple(TunnelProtocol(manufacturer, protocol) for manufacturer, protocol in entries), len(data)
