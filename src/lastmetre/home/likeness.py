"""Whether two Responses, or Alerts, say the same: kind, header, results, types, shapes; values where they must agree.

For comparing an emulated device with messages that others published. Rules kept here:

* Codes, kinds and counts are compared exactly; a value only where the state of a new device determines it (``FIXED``)
  or the Command does. Elsewhere types are compared, down to the elements of structures.
* Arrays are lists of like things: their lengths may differ, and an empty one is like any other.
* A compact array is compared by the description of its lines.
* Parts of a gas payload are compared by what they answer: several publications for one request are a list of like
  things too. Encrypted parts are opened and compared by what is inside.
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
from lastmetre.gbcs.axdr import Array, BitString, CompactArray, OctetString, Structure, decode_data
from lastmetre.gbcs.dlms import AccessRequest, AccessResponse, Action, DataNotification, Get
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import EncryptedZcl, FutureDatedZcl, Gbz, GbzAlert, open_component
from lastmetre.gbcs.zcl import DefaultResponse, ReadAttributesResponse, ZclCommand
from lastmetre.home.attributes import CLOCK_STATUS, CLOCK_TIME, DEVICE_ID, Attribute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.dlms import Spec
    from lastmetre.gbcs.gbz import Component
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
    open_data: Callable[[bytes], bytes | None],
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
    if isinstance(payload, Gbz) and isinstance(wanted, Gbz):
        return next(_parts(payload, wanted, open_data), None)
    if isinstance(payload, GbzAlert) and isinstance(wanted, GbzAlert):
        return None if _undirected(payload) == _undirected(wanted) else f"{payload}, the other {wanted}"
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
    mine: AccessResponse, other: AccessResponse, command: AccessRequest, open_data: Callable[[bytes], bytes | None]
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


def _value(spec: Spec, mine: Data, other: Data, open_data: Callable[[bytes], bytes | None]) -> str | None:
    if isinstance(spec, Action) and spec.class_id == _PROTECTION:
        return _protected(mine, other, open_data)
    if isinstance(spec, Get):
        attribute = Attribute(spec.class_id, spec.obis, spec.attribute)
        by_value = attribute in FIXED or (spec.class_id in _SCALES and spec.attribute == _SCALE)
        if by_value and mine != other:
            return f"value {mine}, the other {other}"
    return shape_difference(mine, other)


def _protected(mine: Data, other: Data, open_data: Callable[[bytes], bytes | None]) -> str | None:
    if not isinstance(mine, Structure) or not isinstance(other, Structure):
        return shape_difference(mine, other)
    if mine.elements[0] != other.elements[0]:
        return "protection parameters differ"
    opened = [open_data(each.elements[1].value) for each in (mine, other) if isinstance(each.elements[1], OctetString)]
    if len(opened) != 2 or opened[0] is None or opened[1] is None:
        return "one of the two does not open"
    try:
        (inner, _), (wanted, _) = (decode_data(each) for each in opened if each is not None)
    except GbcsDecodeError:
        return "what is inside one of the two cannot be read"
    return shape_difference(inner, wanted)


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


_DIRECTION: Final = 0x08


def _undirected(alert: GbzAlert) -> GbzAlert:
    """Without the direction of the part it reports: two published Alerts say another than the Command (17.4)."""
    if not isinstance(alert.specific, FutureDatedZcl):
        return alert
    control = alert.specific.frame_control & ~_DIRECTION
    return replace(alert, specific=replace(alert.specific, frame_control=control))


# --- gas -------------------------------------------------------------------------------------------------------------


def _parts(mine: Gbz, other: Gbz, open_data: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """By request answered: the same requests in the same order, and answers of the same shapes to each."""
    ours, theirs = _by_request(mine, open_data), _by_request(other, open_data)
    if list(ours) != list(theirs):
        yield f"answers requests {list(ours)}, the other {list(theirs)}"
        return
    for request, shapes in ours.items():
        if shapes != theirs[request]:
            extra, missing = (sorted(map(str, each)) for each in (shapes - theirs[request], theirs[request] - shapes))
            yield f"part (cluster, sequence) {request}: {extra}, the other {missing}"


def _by_request(
    payload: Gbz, open_data: Callable[[bytes], bytes | None]
) -> dict[tuple[int, int], set[tuple[object, ...]]]:
    found: dict[tuple[int, int], set[tuple[object, ...]]] = {}
    for part in payload.components:
        found.setdefault((part.cluster, part.sequence), set()).add(_shape(part, open_data))
    return found


ECHOED: Final = frozenset({"SupplyStatusResponse", "StartSamplingResponse", "ClearEventLogResponse"})
"""Answers whose values a new device and the Command determine."""


def _shape(part: Component, open_data: Callable[[bytes], bytes | None]) -> tuple[object, ...]:
    """What a part answers; values only where they are determined."""
    head: tuple[object, ...] = (part.frame_control, part.command_id)
    body: object = part.body
    if isinstance(body, EncryptedZcl):
        opened = open_data(body.wire)
        head = (*head, "encrypted")
        try:
            body = None if opened is None else open_component(part, opened).body
        except GbcsDecodeError:
            body = None
    match body:
        case ReadAttributesResponse(records=records):
            return (*head, *((record.attribute_id, record.status, record.type) for record in records))
        case DefaultResponse(command_id=command_id, status=status):
            return (*head, command_id, status)
        case ZclCommand(name=name, fields=fields) if name in ECHOED:
            return (*head, name, fields)
        case ZclCommand(name=name):
            return (*head, name)
        case _:
            return (*head, "not to be read")


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
