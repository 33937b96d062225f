"""Changing one value of a payload, whichever family it is of, and knowing what the change must be called."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from lastmetre.duis.transform import Document, Item, Part, TransformResult
from lastmetre.duis.use_cases.terms import leaves
from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    Asn1,
    CellId,
    RoleCounter,
    SpecialistCounter,
)
from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Boolean,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    Integer,
    Long,
    LongUnsigned,
    NullData,
    OctetString,
    Structure,
    Unsigned,
    VisibleString,
)
from lastmetre.gbcs.dlms import AccessRequest
from lastmetre.gbcs.gbz import Gbz
from lastmetre.gbcs.message import Message, df_part, parse_message
from lastmetre.gbcs.payload import decode_payload, encode_payload
from lastmetre.gbcs.zcl import ReadAttributes, ZclCommand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.gbcs.payload import Payload

T = TypeVar("T")

PRESENT: dict[str, Any] = {
    "execution_time": "20300101000000Z",
    "plaintext_symmetric_key": bytes(16),
    "apply_time_checks": 1,
    "authorising_cell": CellId(2, KEY_USAGE_DIGITAL_SIGNATURE),
    "new_floor": 7,
    "new_specialist_floor": (SpecialistCounter(0, 7),),
    "other_changes": (RoleCounter(2, 7),),
    "specialist": (SpecialistCounter(0, 7),),
    "certificate": b"\x30\x00",
}
"""What an ASN.1 field that is left out becomes when it is there."""


def changed(value: Any) -> Any:
    """Another value of the same type, as near as can be."""
    match value:
        case NullData():
            return Integer(0)
        case Boolean(truth):
            return Boolean(not truth)
        case OctetString(octets) | VisibleString(octets):
            return type(value)(changed(octets))
        case BitString(0, _):
            return BitString(1, b"\x80")
        case BitString(count, octets):
            return BitString(count, bytes((octets[0] ^ 0x80,)) + octets[1:])
        case Array(elements) | Structure(elements):
            return type(value)((*elements, NullData()))
        case Integer(number) | Unsigned(number) | Long(number) | LongUnsigned(number) | Enum(number):
            return type(value)(number ^ 1)
        case DoubleLong(number) | DoubleLongUnsigned(number):
            return type(value)(number ^ 1)
        case bytes():
            return value[:-1] + bytes((value[-1] ^ 1,)) if value else b"\x00"
        case str():
            return f"{value[:-2]}{int(value[-2]) ^ 1}Z"
        case int():
            return int(value) ^ 1
        case ():
            return (0,)
        case _:
            raise AssertionError(f"no published message holds {value!r}")


def replaced(value: Any, path: tuple[int, ...]) -> Any:
    """The value with only what stands at a path changed."""
    if not path:
        return changed(value)
    at, rest = path[0], path[1:]
    if isinstance(value, Array | Structure):
        return type(value)(replaced(value.elements, path))
    if isinstance(value, tuple):
        return (*value[:at], replaced(value[at], rest), *value[at + 1 :])
    name = fields(value)[at].name
    inner = getattr(value, name)
    return replace(value, **{name: PRESENT[name] if inner is None and not rest else replaced(inner, rest)})


def content_of(message: Message) -> Payload:
    """The payload of a message."""
    return decode_payload(message.header.message_code, message.header.cra, message.content)


def with_content(df: bytes, content: Payload) -> bytes:
    """The message without MAC, with another content."""
    message = parse_message(df)
    return df_part(replace(message, content=encode_payload(content)))


def single_changes(result: TransformResult, df: bytes) -> Iterator[tuple[str, bytes]]:
    """Every message that differs in one value, with the name under which the difference must be reported.

    Times of issue are left out: they are compared by range.
    """
    content = content_of(parse_message(df))
    if isinstance(content, AccessRequest):
        yield from _dlms_changes(result, content, df)
    elif isinstance(content, Gbz):
        yield from _gbz_changes(result, content, df)
    elif isinstance(content, Asn1):
        assert isinstance(result.filled, Document)
        for path, name, _ in leaves(content.value, result.filled.term):
            if path:
                yield name, with_content(df, Asn1(replaced(content.value, path)))


def _dlms_changes(result: TransformResult, content: AccessRequest, df: bytes) -> Iterator[tuple[str, bytes]]:
    for at, item in enumerate(_parts(result, Item)):
        spec, data = content.items[at]
        for path, name, _ in leaves(data, item.term):
            items = (*content.items[:at], (spec, replaced(data, path)), *content.items[at + 1 :])
            yield name, with_content(df, replace(content, items=items))


def _gbz_changes(result: TransformResult, content: Gbz, df: bytes) -> Iterator[tuple[str, bytes]]:
    for at, part in enumerate(_parts(result, Part)):
        component = content.components[at]
        changes = []
        if component.from_date_time is not None:
            later = replace(component, from_date_time=component.from_date_time ^ 1)
            changes.append((f"activation time of the {part.name}", later))
        changes.append((f"sequence number of the {part.name}", replace(component, sequence=99)))
        for path, name, _ in leaves(part.values, part.term):
            body = component.body
            assert isinstance(body, ZclCommand | ReadAttributes)
            if isinstance(body, ZclCommand) and body.fields[path[0]][0] in part.issuer_times:
                continue
            changes.append((name, replace(component, body=_changed_body(body, path))))
        for name, other in changes:
            components = (*content.components[:at], other, *content.components[at + 1 :])
            yield name, with_content(df, Gbz(components))


def issue_changes(result: TransformResult, df: bytes, seconds: int) -> Iterator[tuple[str, str, bytes]]:
    """Every message with one time of issue set to another: field, name, octets."""
    content = content_of(parse_message(df))
    if not isinstance(content, Gbz):
        return
    for at, part in enumerate(_parts(result, Part)):
        component = content.components[at]
        for field in sorted(part.issuer_times):
            body = component.body
            assert isinstance(body, ZclCommand)
            given = tuple((name, seconds if name == field else value) for name, value in body.fields)
            other = replace(component, body=replace(body, fields=given))
            components = (*content.components[:at], other, *content.components[at + 1 :])
            name = f"time of issue ({field.replace('_', ' ')}) of the {part.name}"
            yield field, name, with_content(df, Gbz(components))


def _changed_body(body: ZclCommand | ReadAttributes, path: tuple[int, ...]) -> ZclCommand | ReadAttributes:
    if isinstance(body, ReadAttributes):
        return ReadAttributes(replaced(body.attribute_ids, path[1:]))
    field, *rest = path
    name, value = body.fields[field]
    if not rest:
        value = changed(value)
    else:
        row, column = rest
        assert isinstance(value, tuple)
        cells = value[row]
        cell = (cells[column][0], changed(cells[column][1]))
        cells = (*cells[:column], cell, *cells[column + 1 :])
        value = (*value[:row], cells, *value[row + 1 :])
    return replace(body, fields=(*body.fields[:field], (name, value), *body.fields[field + 1 :]))


def _parts(result: TransformResult, kind: type[T]) -> list[T]:
    assert isinstance(result.filled, tuple)
    return [part for part in result.filled if isinstance(part, kind)]
