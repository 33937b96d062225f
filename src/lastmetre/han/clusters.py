"""What a PPMID says to its ESME without GBCS: three plain Smart Energy commands (reference/han.md 2.5).

Their use-case codes (PECS01-03) exist for event logs only; on the air they are ordinary ZCL from client to server.
Rules: ``decode_zse(encode_zse(c)) == c``; a payload fills its octets to the last one; a new command is a new row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.zcl import HEADER_OCTETS, ZclFrame

if TYPE_CHECKING:
    from collections.abc import Callable

METERING: Final = 0x0702
PREPAYMENT: Final = 0x0705
ORIGINATING_DEVICE_IN_HOME_DISPLAY: Final = 0x02
"""What the reference frames of 2.5 carry for a PPMID."""
SUPPLY_ON: Final = 0x02
"""The only proposed status that can succeed (2.5)."""
UTRN_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class ConsumerTopUp:
    """PECS01: a top-up code typed in at the PPMID, 20 digits."""

    digits: str
    originating_device: int = ORIGINATING_DEVICE_IN_HOME_DISPLAY


@dataclass(frozen=True, slots=True)
class SelectAvailableEmergencyCredit:
    """PECS02: the customer takes the emergency credit; issue time 0 says now."""

    issue_time: int = 0
    originating_device: int = ORIGINATING_DEVICE_IN_HOME_DISPLAY


@dataclass(frozen=True, slots=True)
class LocalChangeSupply:
    """PECS03: the customer asks for the supply to come on."""

    proposed_status: int = SUPPLY_ON


ZseCommand: TypeAlias = ConsumerTopUp | SelectAvailableEmergencyCredit | LocalChangeSupply


def _octets(payload: bytes, octets: int, name: str) -> None:
    if len(payload) != octets:
        raise HanDecodeError(name, HEADER_OCTETS, f"has {len(payload)} octets of payload; {octets} are right")


def _write_top_up(command: ZseCommand) -> bytes:
    assert isinstance(command, ConsumerTopUp)
    if len(command.digits) != UTRN_DIGITS or not (command.digits.isascii() and command.digits.isdigit()):
        raise HanValueError(f"a top-up code is {UTRN_DIGITS} digits")
    return bytes((command.originating_device, UTRN_DIGITS)) + command.digits.encode("ascii")


def _read_top_up(payload: bytes) -> ConsumerTopUp:
    _octets(payload, 2 + UTRN_DIGITS, "ConsumerTopUp")
    digits = payload[2:]
    if payload[1] != UTRN_DIGITS or not digits.isdigit():
        raise HanDecodeError("top-up code", HEADER_OCTETS + 1, f"is not a string of {UTRN_DIGITS} digits")
    return ConsumerTopUp(digits.decode("ascii"), payload[0])


def _write_emergency_credit(command: ZseCommand) -> bytes:
    assert isinstance(command, SelectAvailableEmergencyCredit)
    return command.issue_time.to_bytes(4, "little") + bytes((command.originating_device,))


def _read_emergency_credit(payload: bytes) -> SelectAvailableEmergencyCredit:
    _octets(payload, 5, "SelectAvailableEmergencyCredit")
    return SelectAvailableEmergencyCredit(int.from_bytes(payload[:4], "little"), payload[4])


def _write_change_supply(command: ZseCommand) -> bytes:
    assert isinstance(command, LocalChangeSupply)
    return bytes((command.proposed_status,))


def _read_change_supply(payload: bytes) -> LocalChangeSupply:
    _octets(payload, 1, "LocalChangeSupply")
    return LocalChangeSupply(payload[0])


@dataclass(frozen=True, slots=True)
class _Row:
    use_case: str
    message_code: int
    cluster: int
    command: int
    kind: type[ZseCommand]
    write: Callable[[ZseCommand], bytes]
    read: Callable[[bytes], ZseCommand]


_ROWS: Final = (
    # Source: han.md 2.5, the table of plain frames, proven with tshark.
    _Row("PECS01", 0x0116, PREPAYMENT, 0x04, ConsumerTopUp, _write_top_up, _read_top_up),
    _Row(
        "PECS02",
        0x0117,
        PREPAYMENT,
        0x00,
        SelectAvailableEmergencyCredit,
        _write_emergency_credit,
        _read_emergency_credit,
    ),
    _Row("PECS03", 0x0118, METERING, 0x0C, LocalChangeSupply, _write_change_supply, _read_change_supply),
)
_BY_KIND: Final = {row.kind: row for row in _ROWS}
_BY_ID: Final = {(row.cluster, row.command): row for row in _ROWS}
CLUSTERS: Final = frozenset(row.cluster for row in _ROWS)


def use_case_of(command: ZseCommand) -> tuple[str, int]:
    """The use case's name and its message code, for event logs."""
    row = _BY_KIND[type(command)]
    return row.use_case, row.message_code


def encode_zse(command: ZseCommand, sequence: int) -> tuple[int, ZclFrame]:
    """The cluster and the frame that say ``command``."""
    row = _BY_KIND[type(command)]
    return row.cluster, ZclFrame(row.command, sequence, row.write(command))


def decode_zse(cluster: int, frame: ZclFrame) -> ZseCommand:
    """What a frame from client to server says."""
    row = _BY_ID.get((cluster, frame.command))
    if row is None or frame.from_server or not frame.cluster_specific:
        raise HanDecodeError("command", HEADER_OCTETS - 1, f"{frame.command:#04x} is unknown in cluster {cluster:#06x}")
    return row.read(frame.payload)
