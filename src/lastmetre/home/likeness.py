"""Whether two Responses, or Alerts, say the same: kind, header, results, types, shapes; values where they must agree.

For comparing an emulated device with messages that others published. Rules kept here:

* Codes, kinds and counts are compared exactly; a value only where the state of a new device determines it (``FIXED``)
  or the Command does. Elsewhere types are compared, down to the elements of structures.
* Arrays are lists of like things: their lengths may differ, and an empty one is like any other.
* A compact array is compared by the description of its lines.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.asn1 import (
    Asn1,
    CredentialsDetails,
    FirmwareActivatedAlert,
    FirmwareVersion,
    IssueCredentialsResponse,
)
from lastmetre.gbcs.axdr import Array, BitString, CompactArray, OctetString, Structure
from lastmetre.gbcs.dlms import AccessRequest, AccessResponse, Action, DataNotification, Get
from lastmetre.home.attributes import CLOCK_STATUS, CLOCK_TIME, DEVICE_ID, Attribute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.dlms import Spec
    from lastmetre.gbcs.message import GroupingHeader, Message
    from lastmetre.gbcs.payload import Payload


FIXED: Final = frozenset({DEVICE_ID, CLOCK_TIME, CLOCK_STATUS})
"""Attributes whose value is the same in every new device of that name at that time."""
_SCALES: Final = frozenset({3, 4})
"""Registers: their attribute 3, scale and unit, is part of the model and compared by value."""
_SCALE: Final = 3
_PROTECTION: Final = 30


def first_difference(
    ours: tuple[Message, Payload],
    theirs: tuple[Message, Payload],
    command: Payload,
    open_data: Callable[[bytes], Data | None],
) -> str | None:
    """The first thing in which an answer of ours differs from theirs, in words; ``None`` for none.

    ``open_data`` decrypts a protected answer, of either side.
    """
    (mine, payload), (other, wanted) = ours, theirs
    for difference in _headers(mine.header, other.header):
        return difference
    for name, a, b in (
        ("a MAC", mine.mac is not None, other.mac is not None),
        ("a signature", bool(mine.signature), bool(other.signature)),
    ):
        if a is not b:
            return f"{'has' if a else 'lacks'} {name}, the other {'has' if b else 'lacks'} one"
    if (
        isinstance(payload, AccessResponse)
        and isinstance(wanted, AccessResponse)
        and isinstance(command, AccessRequest)
    ):
        return next(_results(payload, wanted, command, open_data), None)
    if isinstance(payload, DataNotification) and isinstance(wanted, DataNotification):
        return _notifications(payload, wanted)
    if isinstance(payload, Asn1) and isinstance(wanted, Asn1):
        mine_value, other_value = _settled(payload.value), _settled(wanted.value)
        return None if mine_value == other_value else _asn1(mine_value, other_value)
    return f"carries {type(payload).__name__}, the other {type(wanted).__name__}"


def _headers(mine: GroupingHeader, other: GroupingHeader) -> Iterator[str]:
    for field in fields(mine):
        a, b = getattr(mine, field.name), getattr(other, field.name)
        if field.name == "other_information":
            # The device's own counter: any number will do, where there is one.
            has = (a.supplementary_originator_counter is None, b.supplementary_originator_counter is None)
            a, b = (replace(each, supplementary_originator_counter=None) for each in (a, b))
            if has[0] is not has[1]:
                yield "header: own counter is there in one of them only"
        if a != b:
            yield f"header: {field.name} {_shown(a)}, the other {_shown(b)}"


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _results(
    mine: AccessResponse, other: AccessResponse, command: AccessRequest, open_data: Callable[[bytes], Data | None]
) -> Iterator[str]:
    codes = tuple([(item.kind, item.result) for item in each.results] for each in (mine, other))
    if mine.invoke_id != other.invoke_id:
        yield f"invoke id {mine.invoke_id}, the other {other.invoke_id}"
    if codes[0] != codes[1]:
        yield f"results (kind, code) {codes[0]}, the other {codes[1]}"
        return
    for number, (a, b, (spec, _asked)) in enumerate(zip(mine.results, other.results, command.items, strict=True), 1):
        difference = _value(spec, a.data, b.data, open_data)
        if difference:
            yield f"item {number}: {difference}"


def _value(spec: Spec, mine: Data, other: Data, open_data: Callable[[bytes], Data | None]) -> str | None:
    if isinstance(spec, Action) and spec.class_id == _PROTECTION:
        return _protected(mine, other, open_data)
    if isinstance(spec, Get):
        attribute = Attribute(spec.class_id, spec.obis, spec.attribute)
        by_value = attribute in FIXED or (spec.class_id in _SCALES and spec.attribute == _SCALE)
        if by_value and mine != other:
            return f"value {mine}, the other {other}"
    return shape_difference(mine, other)


def _protected(mine: Data, other: Data, open_data: Callable[[bytes], Data | None]) -> str | None:
    if not isinstance(mine, Structure) or not isinstance(other, Structure):
        return shape_difference(mine, other)
    if mine.elements[0] != other.elements[0]:
        return "protection parameters differ"
    opened = [open_data(each.elements[1].value) for each in (mine, other) if isinstance(each.elements[1], OctetString)]
    if len(opened) != 2 or opened[0] is None or opened[1] is None:
        return "one of the two does not open"
    return shape_difference(opened[0], opened[1])


def shape_difference(mine: Data, other: Data) -> str | None:
    """Where two values differ in type, in words."""
    if type(mine) is not type(other):
        return f"a {type(mine).__name__}, the other a {type(other).__name__}"
    if isinstance(mine, BitString) and isinstance(other, BitString) and mine.bit_count != other.bit_count:
        return f"{mine.bit_count} bits, the other {other.bit_count}"
    if isinstance(mine, CompactArray) and isinstance(other, CompactArray):
        return (
            None
            if mine.description == other.description
            else f"lines of {mine.description}, the other {other.description}"
        )
    if isinstance(mine, Structure) and isinstance(other, Structure):
        if len(mine.elements) != len(other.elements):
            return f"a structure of {len(mine.elements)}, the other of {len(other.elements)}"
        pairs = zip(mine.elements, other.elements, strict=True)
        return next((found for found in (shape_difference(a, b) for a, b in pairs) if found), None)
    if isinstance(mine, Array) and isinstance(other, Array) and mine.elements and other.elements:
        for element in other.elements:
            found = shape_difference(mine.elements[0], element)
            # A special day's bits, and the like, are as many as the table beside them has rows.
            if found and "bits" not in found:
                return f"in an array, {found}"
    return None


def _notifications(mine: DataNotification, other: DataNotification) -> str | None:
    for name in ("alert_code", "date_time", "extra"):
        if getattr(mine, name) != getattr(other, name):
            return f"{name} {getattr(mine, name)}, the other {getattr(other, name)}"
    return None


def _settled(value: object) -> object:
    """Without what the state of a new device does not determine: counters so far, a new key, firmware versions."""
    match value:
        case CredentialsDetails(roles=roles):
            return CredentialsDetails(
                tuple(replace(role, current_counter=None if role.current_counter is None else 0) for role in roles)
            )
        case IssueCredentialsResponse(result=bytes()):
            return IssueCredentialsResponse(b"a certification request")
        case FirmwareVersion() | FirmwareActivatedAlert():
            return replace(value, firmware_version=b"")
        case _:
            return value


def _asn1(mine: object, other: object) -> str:
    return f"{mine}, the other {other}"
