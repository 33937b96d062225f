"""A payload as lines for reading: ``describe`` gives (label, text) pairs in the order of the octets.

For people at a terminal, not for programs: the words may change. Names of COSEM objects come from
``cosem_objects.toml``; codes of ASN.1 payloads from the enumerations in ``asn1`` and the table below. Whatever has no
name is shown as it is. Octets of others are shown as hexadecimal unless they are plain text.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from lastmetre.gbcs import asn1
from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Boolean,
    CompactArray,
    Data,
    DateTime,
    DoubleLongUnsigned,
    Float32,
    Float64,
    NullData,
    OctetString,
    Structure,
    Utf8String,
    VisibleString,
)
from lastmetre.gbcs.certificates import CertificateRefused, parse_certificate
from lastmetre.gbcs.datetimes import DATE_TIME_NEVER, DATE_TIME_NOW, CosemDateTime, unix_from_zigbee
from lastmetre.gbcs.dlms import (
    AccessRequest,
    AccessResponse,
    AccessResult,
    Action,
    DataNotification,
    Get,
    GetWithSelection,
    Obis,
    Set,
    Spec,
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
)
from lastmetre.gbcs.zcl import (
    CLUSTER_NAMES,
    FRAME_FROM_SERVER,
    LAYOUTS,
    STATUS_NAMES,
    DefaultResponse,
    ReadAttributes,
    ReadAttributesResponse,
    ZclCommand,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import IntEnum

    from lastmetre.gbcs.payload import Payload

Line = tuple[str, str]

_KINDS: Final = {1: "read", 2: "write", 3: "do"}


def describe(payload: Payload) -> list[Line]:
    """What a payload says, line by line."""
    if isinstance(payload, AccessRequest):
        return list(_request(payload))
    if isinstance(payload, AccessResponse):
        return list(_response(payload))
    if isinstance(payload, DataNotification):
        return list(_notification(payload))
    if isinstance(payload, Gbz):
        return [line for number, part in enumerate(payload.components, 1) for line in _component(f"{number}", part)]
    if isinstance(payload, GbzAlert):
        return list(_gbz_alert(payload))
    return list(_asn1(payload))


# --- DLMS ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Names:
    classes: dict[int, str]
    objects: dict[tuple[int, bytes], str]
    attributes: dict[tuple[int, int], str]
    methods: dict[tuple[int, int], str]


@lru_cache(1)
def _names() -> _Names:
    text = resources.files("lastmetre.gbcs").joinpath("cosem_objects.toml").read_text("utf-8")
    table = tomllib.loads(text)
    return _Names(
        {row["class"]: row["name"] for row in table["classes"]},
        {(row["class"], Obis.parse(row["obis"]).raw): row["name"] for row in table["objects"]},
        {(row["class"], row["attribute"]): row["name"] for row in table["attributes"]},
        {(row["class"], row["method"]): row["name"] for row in table["methods"]},
    )


def attribute_name(class_id: int, obis: Obis, attribute: int, *, method: bool = False) -> str:
    """The words for an attribute or method: object, member, and the numbers behind them."""
    names = _names()
    member = (names.methods if method else names.attributes).get((class_id, attribute))
    class_name = names.classes.get(class_id, f"class {class_id}")
    known = [names.objects.get((class_id, obis.raw), class_name)]
    known.append(member or f"{'method' if method else 'attribute'} {attribute}")
    return f"{': '.join(known)} ({class_id}/{obis}#{attribute})"


def _spec_name(spec: Spec) -> str:
    if isinstance(spec, Action):
        return attribute_name(spec.class_id, spec.obis, spec.method, method=True)
    return attribute_name(spec.class_id, spec.obis, spec.attribute)


def _request(payload: AccessRequest) -> Iterator[Line]:
    verbs: dict[type, str] = {Get: "read", Set: "write", Action: "do", GetWithSelection: "read a part of"}
    for number, (spec, value) in enumerate(payload.items, 1):
        yield f"{number} {verbs[type(spec)]}", _spec_name(spec)
        if isinstance(spec, GetWithSelection):
            yield "  selection", _selection_words(spec)
        if not isinstance(value, NullData):
            yield "  value", data_words(value)


def _selection_words(spec: GetWithSelection) -> str:
    """The only selection in use is by range, from a time to a time (section 7.5)."""
    match spec.selector, spec.parameter:
        case 1, Structure((_restricting, DoubleLongUnsigned(first), DoubleLongUnsigned(last), _columns)):
            return f"from {zigbee_time(first)} to {zigbee_time(last)}"
    return f"selector {spec.selector}: {data_words(spec.parameter)}"


def _response(payload: AccessResponse) -> Iterator[Line]:
    for number, item in enumerate(payload.results, 1):
        yield f"{number} {_KINDS.get(item.kind, str(item.kind))}", result_words(item.result)
        if not isinstance(item.data, NullData):
            yield "  value", data_words(item.data)


def result_words(result: int) -> str:
    """A DLMS data-access-result in words."""
    try:
        return f"{AccessResult(result).name.lower().replace('_', ' ')} ({result})"
    except ValueError:
        return f"result {result}"


def _notification(payload: DataNotification) -> Iterator[Line]:
    yield "alert code", f"{payload.alert_code:04X}"
    yield "time", str(CosemDateTime.from_bytes(payload.date_time))
    for number, value in enumerate(payload.extra, 1):
        if isinstance(value, OctetString) and len(value.value) == 19:
            # The reference of a future-dated execution (section 10.1): code, counter, class, OBIS, attribute.
            raw = value.value
            class_id = int.from_bytes(raw[10:12], "big")
            attribute = int.from_bytes(raw[18:], "big", signed=True)
            yield "of Command", f"{raw[:2].hex().upper()}, counter {int.from_bytes(raw[2:10], 'big')}"
            yield "item", attribute_name(class_id, Obis(raw[12:18]), attribute)
        else:
            yield f"further {number}", data_words(value)


def data_words(value: Data) -> str:
    """A DLMS value in one line."""
    match value:
        case NullData():
            return "null"
        case Array() | CompactArray():
            return f"[{', '.join(map(data_words, value.elements))}]"
        case Structure():
            return f"{{{', '.join(map(data_words, value.elements))}}}"
        case Boolean():
            return "true" if value.value else "false"
        case BitString():
            return f"bits {value.bits}" if value.bits else "no bits"
        case VisibleString() | Utf8String():
            return _text(value.value)
        case OctetString() | DateTime():
            return _octets(value.value)
        case Float32() | Float64():
            return str(value.number)
    return value.value.hex() if isinstance(value.value, bytes) else str(value.value)


def _text(raw: bytes) -> str:
    """Text between quotes when it is printable, else hexadecimal: a meter's text must not steer a terminal."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw.hex()
    return repr(text) if text.isprintable() else raw.hex()


def _octets(raw: bytes) -> str:
    """Octets as hexadecimal, except twelve that read as a date-time."""
    if not raw:
        return "no octets"
    if len(raw) == 12:
        moment = CosemDateTime.from_bytes(raw)
        if raw in {DATE_TIME_NOW, DATE_TIME_NEVER} or (moment.year < 10_000 and moment.unix_seconds() is not None):
            return str(moment)
    return raw.hex()


# --- GBZ -------------------------------------------------------------------------------------------------------------


def zigbee_time(seconds: int) -> str:
    """Seconds since 2000 in words; zero means now, the two highest values cancel (section 10.3)."""
    if seconds == 0:
        return "now (0)"
    if seconds >= 0xFFFF_FFFE:
        return f"never ({seconds:08X})"
    return str(CosemDateTime.from_unix(unix_from_zigbee(seconds)))


def _status(code: int) -> str:
    return f"{STATUS_NAMES.get(code, 'status')} ({code:02X})"


def _component(number: str, part: Component) -> Iterator[Line]:
    side = "from server" if part.frame_control & FRAME_FROM_SERVER else "to server"
    cluster = CLUSTER_NAMES.get(part.cluster, f"cluster {part.cluster:04X}")
    body = part.body
    name = body.name if isinstance(body, ZclCommand) else type(body).__name__
    yield number, f"{cluster} {name}, {side}, sequence {part.sequence}"
    if part.from_date_time is not None:
        yield "  from", zigbee_time(part.from_date_time)
    match body:
        case EncryptedZcl():
            specific = bool(part.frame_control & 1)
            layout = LAYOUTS.get((part.cluster, bool(part.frame_control & FRAME_FROM_SERVER), part.command_id))
            what = layout.name if specific and layout else f"command {body.command_id:02X}"
            yield "  encrypted", f"{what}, {len(body.ciphertext)} octets, number {body.frame_counter}"
        case ReadAttributes():
            yield "  attributes", ", ".join(f"{attribute_id:04X}" for attribute_id in body.attribute_ids)
        case ReadAttributesResponse():
            for record in body.records:
                value = _status(record.status) if record.type is None else _plain(record.value)
                yield f"  {record.attribute_id:04X}", value
        case DefaultResponse():
            yield "  outcome", f"command {body.command_id:02X}: {_status(body.status)}"
        case ZclCommand():
            yield from _command_fields(body)


def _command_fields(command: ZclCommand) -> Iterator[Line]:
    layout = LAYOUTS.get((command.cluster, command.from_server, command.command_id))
    types = {field.name: field for field in layout.fields} if layout else {}
    for name, value in command.fields:
        label = f"  {name.replace('_', ' ')}"
        field = types.get(name)
        if not isinstance(value, tuple):
            yield label, _plain(value, field.type if field else "")
            continue
        row_types = {part.name: part.type for part in field.row} if field else {}
        if not value:
            yield label, "none"
        for row in value:
            yield (
                label,
                ", ".join(f"{part.replace('_', ' ')} {_plain(item, row_types.get(part, ''))}" for part, item in row),
            )


def _plain(value: int | bytes | None, type_: str = "") -> str:
    if value is None:
        return "no value"
    if isinstance(value, int):
        if type_ == "utc":
            return zigbee_time(value)
        return f"{value:#x}" if type_.startswith("b") else str(value)
    return _text(value) if type_ in {"os", ""} else value.hex()


def _gbz_alert(alert: GbzAlert) -> Iterator[Line]:
    yield "alert code", f"{alert.alert_code:04X}"
    yield "time", zigbee_time(alert.time)
    match alert.specific:
        case FutureDatedZcl() as future:
            yield "of Command", f"{future.message_code:04X}, counter {future.originator_counter}"
            from_server = bool(future.frame_control & FRAME_FROM_SERVER)
            layout = LAYOUTS.get((future.cluster, from_server, future.command_id))
            cluster = CLUSTER_NAMES.get(future.cluster, f"cluster {future.cluster:04X}")
            yield "item", f"{cluster} {layout.name if layout else f'command {future.command_id:02X}'}"
        case ImageHash(digest):
            yield "image SHA-256", digest.hex()
        case AlertNumber(value):
            yield "number", str(value)
        case AlertOctets(octets):
            yield "further", octets.hex()
        case Component() as part:
            yield from _component("1", part)


# --- ASN.1 -----------------------------------------------------------------------------------------------------------

_ENUMERATIONS: Final[dict[str, type[IntEnum]]] = {
    "role": asn1.Role,
    "wanted": asn1.Role,
    "cell_usage": asn1.CellUsage,
    "status": asn1.CredentialStatus,
    "mode": asn1.UpdateMode,
    "type": asn1.DeviceType,
}

_RESULTS: Final[dict[type, tuple[str, ...]]] = {
    # Results from 0 upwards. Source: section 9.3.
    asn1.IssueCredentialsResponse: ("", "invalid key usage", "key pair generation failed", "request production failed"),
    asn1.UpdateDeviceCertificateResponse: (
        "ok",
        "invalid certificate",
        "wrong device identity",
        "invalid key usage",
        "no corresponding key pair",
        "wrong public key",
        "storage failed",
        "private key change failed",
    ),
    asn1.ProvideDeviceCertificateResponse: ("", "invalid key usage", "none held", "retrieval failure"),
    asn1.UnjoinResponse: ("ok", "not in log", "other"),
    asn1.JoinDetails: ("ok", "read failure"),
    asn1.FirmwareOutcome: ("ok", "no image", "hash mismatch", "activation failure"),
    asn1.FirmwareVersion: ("ok", "failure"),
    asn1.FirmwareActivatedAlert: ("ok", "failure"),
    asn1.FirmwareTransferAlert: ("ok", "image discarded", "hardware mismatch", "transfer failure"),
    asn1.ClockResponse: ("reliable", "invalid", "unreliable"),
}

_JOIN_RESULTS: Final = (
    "ok",
    "invalid code for method and role",
    "invalid method and role",
    "incompatible with entry",
    "log full",
    "write failure",
    "key agreement: no resources",
    "key agreement: unknown issuer",
    "key agreement: unsupported suite",
    "key agreement: bad message",
    "key agreement: bad key confirmation",
    "invalid or missing certificate",
    "no partner link key",
    "no CBKE response",
)

_KEY_USAGES: Final = {
    asn1.KEY_USAGE_DIGITAL_SIGNATURE: "digital signature",
    asn1.KEY_USAGE_KEY_AGREEMENT: "key agreement",
    asn1.KEY_USAGE_KEY_CERT_SIGN: "certificate signing",
}


def _asn1(payload: asn1.Asn1) -> Iterator[Line]:
    yield "payload", type(payload.value).__name__
    yield from _members(payload.value, "")
    if payload.long_lengths:
        yield "note", f"{len(payload.long_lengths)} lengths are longer than need be, as some devices write them"


def _members(value: Any, indent: str) -> Iterator[Line]:
    for member in fields(value):
        if member.name != "accepted":
            yield from _member(type(value), member.name, getattr(value, member.name), indent)


def _member(cls: type, name: str, value: Any, indent: str) -> Iterator[Line]:
    label = indent + name.replace("_", " ")
    if isinstance(value, tuple):
        if not value:
            yield label, "none"
        for number, item in enumerate(value, 1):
            yield from (
                _member(cls, name, item, indent)
                if not is_dataclass(item)
                else _nested(f"{label} {number}", item, indent)
            )
    elif value is None:
        yield label, "absent"
    elif isinstance(value, BitString):
        yield label, _KEY_USAGES.get(value, f"bits {value.bits}")
    elif is_dataclass(value):
        yield from _nested(label, value, indent)
    elif isinstance(value, bytes):
        if value[:1] == b"\x30" and len(value) > 40:
            yield from _certificate(label, value, indent + "  ")
        else:
            yield label, value.hex()
    elif isinstance(value, int):
        yield label, _code(cls, name, value)
    else:
        yield label, "never: cancels" if value == asn1.TIME_NEVER else str(value)


def _nested(label: str, value: Any, indent: str) -> Iterator[Line]:
    yield label, ""
    yield from _members(value, indent + "  ")


def _code(cls: type, name: str, value: int) -> str:
    if name == "alert_code":
        return f"{value:04X}"
    words: tuple[str, ...] = _JOIN_RESULTS if cls is asn1.JoinResponse or name == "join_response" else ()
    if name == "result":
        words = words or _RESULTS.get(cls, ())
    if value < len(words):
        return f"{words[value]} ({value})"
    enumeration = _ENUMERATIONS.get(name)
    if enumeration is not None and value in {member.value for member in enumeration}:
        return f"{enumeration(value).name.lower().replace('_', ' ')} ({value})"
    return str(value)


def _certificate(label: str, der: bytes, indent: str) -> Iterator[Line]:
    """What a certificate says, if it is one of the profile; a certification request or another is told by its size."""
    try:
        certificate = parse_certificate(der)
    except CertificateRefused as refusal:
        yield label, f"DER of {len(der)} octets; as a certificate refused: {refusal.words}"
        return
    yield label, f"certificate, {len(der)} octets"
    for name, text in certificate.words():
        yield indent + name, text
