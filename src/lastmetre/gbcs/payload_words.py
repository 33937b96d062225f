"""A payload as lines for reading, in the order of the octets: what each part is, what it says, and where it stands.

``describe`` gives (label, text) pairs; ``describe_lines`` also says at which octet of the content each begins, names
the results of a Response when its Command is at hand, and shows what encrypted parts hold when they were opened
(``opening``). For people at a terminal, not for programs: the words may change; ``words`` has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lastmetre.gbcs import asn1, der
from lastmetre.gbcs.asn1_places import CODECS, places_of
from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Data,
    DoubleLongUnsigned,
    NullData,
    OctetString,
    Structure,
    encode_data,
    encode_length,
)
from lastmetre.gbcs.dlms import (
    AccessRequest,
    AccessResponse,
    Action,
    DataNotification,
    Get,
    GetWithSelection,
    ItemResult,
    Obis,
    Set,
    Spec,
    protected_octets,
)
from lastmetre.gbcs.gbz import (
    AlertNumber,
    AlertOctets,
    Component,
    EncryptedZcl,
    FutureDatedZcl,
    Gbz,
    GbzAlert,
    ImageHash,
    encode_gbz,
)
from lastmetre.gbcs.words import (
    attribute_name,
    certificate_lines,
    code_words,
    component_title,
    data_words,
    date_time_words,
    future_item,
    is_der,
    object_words,
    plain_words,
    result_words,
    spec_name,
    spec_unit,
    status_words,
    usage_words,
    zigbee_time,
)
from lastmetre.gbcs.zcl import (
    LAYOUTS,
    DefaultResponse,
    ReadAttributes,
    ReadAttributesResponse,
    ZclCommand,
    field_size,
    record_size,
)
from lastmetre.gbcs.zcl_words import CURRENCY_POUNDS, attribute_unit, attribute_words, field_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lastmetre.gbcs.opening import OpenedPart
    from lastmetre.gbcs.payload import Payload


@dataclass(frozen=True, slots=True)
class Line:
    """One line: ``offset`` counts from the start of the content, and is ``None`` for what has no octets there."""

    label: str
    text: str
    offset: int | None = None


_KINDS = {1: "read", 2: "write", 3: "do"}
_VERBS: dict[type, str] = {Get: "read", Set: "write", Action: "do", GetWithSelection: "read a part of"}


def describe(payload: Payload) -> list[tuple[str, str]]:
    """What a payload says, as pairs of label and text."""
    return [(line.label, line.text) for line in describe_lines(payload)]


def describe_lines(
    payload: Payload, *, request: AccessRequest | None = None, opened: Mapping[int, OpenedPart] | None = None
) -> list[Line]:
    """What a payload says, line by line.

    ``request``: the payload of the Command that a Response answers. ``opened``: encrypted parts by their number.
    """
    parts = opened or {}
    if isinstance(payload, AccessRequest):
        return list(_request(payload))
    if isinstance(payload, AccessResponse):
        return list(_response(payload, request, parts))
    if isinstance(payload, DataNotification):
        return list(_notification(payload, parts))
    if isinstance(payload, Gbz):
        return list(_components(payload, parts))
    if isinstance(payload, GbzAlert):
        return list(_gbz_alert(payload, parts))
    return list(_asn1(payload))


# --- DLMS ------------------------------------------------------------------------------------------------------------

_HEAD_SIZE = 6
"""Octets before the first count of a DLMS payload: tag, invoke-id, empty date-time."""


def _request(payload: AccessRequest) -> Iterator[Line]:
    count_size = len(encode_length(len(payload.items)))
    sizes = [
        10 + (1 + len(encode_data(spec.parameter)) if isinstance(spec, GetWithSelection) else 0)
        for spec, _value in payload.items
    ]
    spec_at = _HEAD_SIZE + count_size
    value_at = spec_at + sum(sizes) + count_size
    for number, ((spec, value), size) in enumerate(zip(payload.items, sizes, strict=True), 1):
        yield Line(f"{number} {_VERBS[type(spec)]}", spec_name(spec), spec_at)
        if isinstance(spec, GetWithSelection):
            yield Line("  selection", _selection_words(spec), spec_at + 10)
        if not isinstance(value, NullData):
            yield Line("  value", data_words(value, spec_unit(spec)), value_at)
        spec_at += size
        value_at += len(encode_data(value))


def _selection_words(spec: GetWithSelection) -> str:
    """The only selection in use is by range, from a time to a time (section 7.5)."""
    match spec.selector, spec.parameter:
        case 1, Structure((_restricting, DoubleLongUnsigned(first), DoubleLongUnsigned(last), _columns)):
            return f"from {zigbee_time(first)} to {zigbee_time(last)}"
    return f"selector {spec.selector}: {data_words(spec.parameter)}"


def _response(
    payload: AccessResponse, request: AccessRequest | None, opened: Mapping[int, OpenedPart]
) -> Iterator[Line]:
    count_size = len(encode_length(len(payload.results)))
    value_at = _HEAD_SIZE + 1 + count_size
    sizes = [len(encode_data(item.data)) for item in payload.results]
    result_at = value_at + sum(sizes) + count_size
    specs: list[Spec | None] = [None] * len(payload.results)
    asked: list[Data] = [NullData()] * len(payload.results)
    if request is not None and len(request.items) == len(payload.results):
        specs = [spec for spec, _value in request.items]
        asked = [value for _spec, value in request.items]
    for place, (item, size) in enumerate(zip(payload.results, sizes, strict=True)):
        spec = specs[place]
        name = f"{spec_name(spec)}: " if spec else ""
        label = f"{place + 1} {_KINDS.get(item.kind, str(item.kind))}"
        yield Line(label, name + result_words(item.result), result_at + 2 * place)
        yield from _result_value(item, spec, value_at, opened.get(place + 1), asked[place])
        value_at += size


def _result_value(item: ItemResult, spec: Spec | None, at: int, part: OpenedPart | None, asked: Data) -> Iterator[Line]:
    if isinstance(item.data, NullData):
        return
    wire = protected_octets(item.data.elements) if isinstance(item.data, Structure) else None
    if wire is None:
        yield Line("  value", data_words(item.data, spec_unit(spec) if spec else ""), at)
        return
    yield Line("  encrypted", f"{len(wire)} octets", at)
    yield from _opened_data(part, _asked_names(asked))


def _asked_names(asked: Data) -> list[str]:
    """The attributes a protected read asks for (section 11.2), in the order they are answered."""
    match asked:
        case Structure((Array(elements), _parameters)):
            parts = [element.elements for element in elements if isinstance(element, Structure)]
            return [object_words(part) or "?" for part in parts]
    return []


def _opened_data(part: OpenedPart | None, names: list[str]) -> Iterator[Line]:
    """What an encrypted DLMS value holds, or why that is not known."""
    if part is None:
        return
    if isinstance(part.content, Structure) and len(names) == len(part.content.elements):
        for name, element in zip(names, part.content.elements, strict=True):
            yield Line("  decrypted", f"{name}: {data_words(element)}")
    elif part.content is not None and not isinstance(part.content, Component):
        yield Line("  decrypted", data_words(part.content))
    else:
        yield Line("  not opened", part.words)


def _notification(payload: DataNotification, opened: Mapping[int, OpenedPart]) -> Iterator[Line]:
    at = _HEAD_SIZE + 1 + len(encode_length(2 + len(payload.extra)))
    yield Line("alert code", f"{payload.alert_code:04X}", at)
    yield Line("time", date_time_words(payload.date_time), at + 3)
    at += 3 + 2 + len(payload.date_time)
    wire = protected_octets(payload.extra)
    for number, value in enumerate(payload.extra, 1):
        if isinstance(value, OctetString) and len(value.value) == 19:
            # The reference of a future-dated execution (section 10.1): code, counter, class, OBIS, attribute.
            raw = value.value
            attribute = int.from_bytes(raw[18:], "big", signed=True)
            yield Line("of Command", f"{raw[:2].hex().upper()}, counter {int.from_bytes(raw[2:10], 'big')}", at + 2)
            name = attribute_name(int.from_bytes(raw[10:12], "big"), Obis(raw[12:18]), attribute)
            yield Line("item", name, at + 12)
        elif isinstance(value, OctetString) and value.value == wire:
            yield Line("encrypted", f"{len(wire)} octets", at)
            yield from _opened_data(opened.get(1), [])
        else:
            yield Line(f"further {number}", data_words(value), at)
        at += len(encode_data(value))


# --- GBZ -------------------------------------------------------------------------------------------------------------


def _components(payload: Gbz, opened: Mapping[int, OpenedPart]) -> Iterator[Line]:
    at = 3
    for number, part in enumerate(payload.components, 1):
        yield from _component(f"{number}", part, at, opened.get(number))
        at += component_size(part)


def component_size(part: Component) -> int:
    """How many octets a component takes."""
    return len(encode_gbz(Gbz((part,)))) - 3


def _component(number: str, part: Component, at: int, opened: OpenedPart | None = None) -> Iterator[Line]:
    yield Line(number, f"{component_title(part)}, sequence {part.sequence}", at)
    at += 5
    if part.from_date_time is not None:
        yield Line("  from", zigbee_time(part.from_date_time), at)
        at += 4
    body = part.body
    if not isinstance(body, EncryptedZcl):
        yield from _body(part, at + 3)
        return
    yield Line("  encrypted", f"{len(body.ciphertext)} octets, number {body.frame_counter}", at)
    if opened is None:
        return
    if not isinstance(opened.content, Component):
        yield Line("  not opened", opened.words)
        return
    for line in _body(opened.content, 0):
        yield Line(line.label, line.text)


def _body(part: Component, at: int) -> Iterator[Line]:
    match part.body:
        case ReadAttributes(attribute_ids):
            said = (attribute_words(part.cluster, attribute_id) for attribute_id in attribute_ids)
            yield Line("  attributes", ", ".join(said), at)
        case ReadAttributesResponse(records):
            for record in records:
                value = status_words(record.status)
                if record.type is not None:
                    value = plain_words(record.value, unit=attribute_unit(part.cluster, record.attribute_id))
                yield Line(f"  {attribute_words(part.cluster, record.attribute_id)}", value, at)
                at += record_size(record)
        case DefaultResponse() as answer:
            yield Line("  outcome", f"command {answer.command_id:02X}: {status_words(answer.status)}", at)
        case ZclCommand() as command:
            yield from _command_fields(command, at)


def _command_fields(command: ZclCommand, at: int) -> Iterator[Line]:
    layout = LAYOUTS[command.cluster, command.from_server, command.command_id]
    types = {field.name: field for field in layout.fields}
    in_pounds = dict(command.fields).get("currency", CURRENCY_POUNDS) == CURRENCY_POUNDS
    for name, value in command.fields:
        label = f"  {name.replace('_', ' ')}"
        field = types[name]
        if not isinstance(value, tuple):
            yield Line(label, plain_words(value, field.type, field_unit(command.name, name) if in_pounds else ""), at)
        elif not value:
            yield Line(label, "none", at)
        else:
            row_types = {part.name: part.type for part in field.row}
            row_at = at + field.count_size
            for row in value:
                said = (
                    f"{part.replace('_', ' ')} {plain_words(item, row_types[part], field_unit(command.name, part))}"
                    for part, item in row
                )
                yield Line(label, ", ".join(said), row_at)
                row_at += field_size(field, (row,)) - field.count_size
        at += field_size(field, value)


def _gbz_alert(alert: GbzAlert, opened: Mapping[int, OpenedPart]) -> Iterator[Line]:
    yield Line("alert code", f"{alert.alert_code:04X}", 3)
    yield Line("time", zigbee_time(alert.time), 5)
    match alert.specific:
        case FutureDatedZcl() as future:
            yield Line("of Command", f"{future.message_code:04X}, counter {future.originator_counter}", 10)
            yield Line("item", future_item(future), 20)
        case ImageHash(digest):
            yield Line("image SHA-256", digest.hex(), 9)
        case AlertNumber(value):
            yield Line("number", str(value), 9)
        case AlertOctets(octets):
            yield Line("further", octets.hex(), 9)
        case Component() as part:
            yield from _component("1", part, 9, opened.get(1))


# --- ASN.1 -----------------------------------------------------------------------------------------------------------


def _asn1(payload: asn1.Asn1) -> Iterator[Line]:
    yield Line("payload", type(payload.value).__name__, 0)
    places = iter(places_of(payload))
    codec = CODECS[type(payload.value)]
    if isinstance(codec, der.Sequence):
        next(places)
        yield from _members(codec, payload.value, "", places)
    elif codec.member is not None:
        held = getattr(payload.value, codec.member)
        yield from _member(codec.cls, codec.member, codec.inner, held, "", places)
    if payload.long_lengths:
        count = len(payload.long_lengths)
        yield Line("note", f"{count} lengths are longer than need be, as some devices write them")


def _members(codec: der.Sequence, value: Any, indent: str, places: Iterator[int]) -> Iterator[Line]:
    for member in codec.members:
        held = getattr(value, member.name)
        label = indent + member.name.replace("_", " ")
        if isinstance(member.codec, der.Null):
            next(places)
        elif member.optional and held is None:
            yield Line(label, "absent")
        elif member.default is not None and held == member.default:
            yield Line(label, _leaf(codec.cls, member.name, held))
        else:
            yield from _member(codec.cls, member.name, member.codec, held, indent, places)


def _member(
    cls: type, name: str, codec: der.Codec, value: Any, indent: str, places: Iterator[int], number: str = ""
) -> Iterator[Line]:
    """One member, where its tag stands; the places are used up in the order of reading."""
    label = f"{indent}{name.replace('_', ' ')}"
    if isinstance(codec, der.Choice):
        codec = next(option for type_, option in codec.options if isinstance(value, type_))
    place = next(places)
    if isinstance(codec, der.Sequence):
        yield Line(label + number, "", place)
        yield from _members(codec, value, indent + "  ", places)
    elif isinstance(codec, der.SequenceOf):
        if not value:
            yield Line(label, "none", place)
        for count, item in enumerate(value, 1):
            nested = f" {count}" if isinstance(codec.element, der.Sequence) else ""
            yield from _member(cls, name, codec.element, item, indent, places, nested)
    elif isinstance(value, bytes) and is_der(value):
        said, parts = certificate_lines(value)
        yield Line(label, said, place)
        for name_of_part, text in parts:
            yield Line(f"{indent}  {name_of_part}", text)
    else:
        yield Line(label, _leaf(cls, name, value), place)


def _leaf(cls: type, name: str, value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, BitString):
        return usage_words(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int):
        if name == "alert_code":
            return f"{value:04X}"
        words = code_words(cls, name, value)
        return str(value) if words is None else f"{words} ({value})"
    return "never: cancels" if value == asn1.TIME_NEVER else str(value)
