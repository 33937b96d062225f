"""Single values in words: names of objects and codes, money with its unit, times, text, certificates.

For people, not for programs: the words may change. Names and units of COSEM objects come from ``cosem_objects.toml``;
codes of ASN.1 payloads from the enumerations in ``asn1`` and the tables below. Whatever has no name is shown as it is.
Octets of others are shown as hexadecimal unless they are printable text, so that nothing steers a terminal.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from lastmetre.gbcs import asn1
from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Boolean,
    CompactArray,
    Data,
    Date,
    DateTime,
    Enum,
    Float32,
    Float64,
    Integer,
    LongUnsigned,
    NullData,
    OctetString,
    Structure,
    Time,
    Utf8String,
    VisibleString,
)
from lastmetre.gbcs.certificates import CertificateRefused, parse_certificate
from lastmetre.gbcs.datetimes import (
    ANY,
    ANY_YEAR,
    DATE_TIME_NEVER,
    DATE_TIME_NOW,
    DAY_LAST,
    DAY_SECOND_LAST,
    DEVIATION_UNSPECIFIED,
    MONTH_DST_BEGIN,
    MONTH_DST_END,
    CosemDateTime,
    unix_from_zigbee,
)
from lastmetre.gbcs.dlms import AccessResult, Action, Obis, Spec
from lastmetre.gbcs.keys import public_point
from lastmetre.gbcs.utrn import UTRN_DIGITS, Utrn, UtrnRefused
from lastmetre.gbcs.zcl import CLUSTER_NAMES, FRAME_CLUSTER_SPECIFIC, FRAME_FROM_SERVER, LAYOUTS, STATUS_NAMES, Field
from lastmetre.gbcs.zcl_words import MONEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from enum import IntEnum

    from lastmetre.gbcs.gbz import Component, FutureDatedZcl

TEXT_MIN: Final = 3
"""Fewer octets than this are never taken for text: any one or two may be printable by chance."""


# --- COSEM names and units -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Names:
    classes: dict[int, str]
    objects: dict[tuple[int, bytes], str]
    attributes: dict[tuple[int, int], str]
    methods: dict[tuple[int, int], str]
    units: dict[tuple[int, bytes, int], str]
    method_units: dict[tuple[int, int], str]


@cache
def _names() -> _Names:
    text = resources.files("lastmetre.gbcs").joinpath("cosem_objects.toml").read_text("utf-8")
    table = tomllib.loads(text)
    return _Names(
        {row["class"]: row["name"] for row in table["classes"]},
        {(row["class"], Obis.parse(row["obis"]).raw): row["name"] for row in table["objects"]},
        {(row["class"], row["attribute"]): row["name"] for row in table["attributes"]},
        {(row["class"], row["method"]): row["name"] for row in table["methods"]},
        {
            (row["class"], Obis.parse(row["obis"]).raw, attribute): row["unit"]
            for row in table["units"]
            for attribute in row["attributes"]
        },
        {(row["class"], row["method"]): row["unit"] for row in table["methods"] if "unit" in row},
    )


def attribute_name(class_id: int, obis: Obis, attribute: int, *, method: bool = False) -> str:
    """The words for an attribute or method: object, member, and the numbers behind them."""
    names = _names()
    member = (names.methods if method else names.attributes).get((class_id, attribute))
    class_name = names.classes.get(class_id, f"class {class_id}")
    known = [names.objects.get((class_id, obis.raw), class_name)]
    known.append(member or f"{'method' if method else 'attribute'} {attribute}")
    return f"{': '.join(known)} ({class_id}/{obis}#{attribute})"


def spec_name(spec: Spec) -> str:
    """The words for what one item of a request is about."""
    if isinstance(spec, Action):
        return attribute_name(spec.class_id, spec.obis, spec.method, method=True)
    return attribute_name(spec.class_id, spec.obis, spec.attribute)


def spec_unit(spec: Spec) -> str:
    """The unit of what one item of a request reads, writes or hands over; empty when none is known."""
    names = _names()
    if isinstance(spec, Action):
        return names.method_units.get((spec.class_id, spec.method), "")
    return names.units.get((spec.class_id, spec.obis.raw, spec.attribute), "")


def result_words(result: int) -> str:
    """A DLMS data-access-result in words."""
    try:
        return f"{AccessResult(result).name.lower().replace('_', ' ')} ({result})"
    except ValueError:
        return f"result {result}"


def amount_words(value: int, unit: str) -> str:
    """A number with its unit; money also in pounds."""
    if unit != MONEY:
        return f"{value} {unit}".rstrip()
    pounds, rest = divmod(abs(value), 100_000)
    decimals = f"{rest:05d}".rstrip("0").ljust(2, "0")
    return f"{value} ({'-' * (value < 0)}£{pounds}.{decimals})"


# --- DLMS values -----------------------------------------------------------------------------------------------------


def data_words(value: Data, unit: str = "") -> str:
    """A DLMS value in one line."""
    match value:
        case NullData():
            return "null"
        case Array() | CompactArray():
            return f"[{', '.join(data_words(element, unit) for element in value.elements)}]"
        case Structure((Integer(scaler), Enum(unit_code))) if unit_code in _UNIT_CODES:
            return f"{_UNIT_CODES[unit_code]} x 10^{scaler}" if scaler else _UNIT_CODES[unit_code]
        case Structure():
            return f"{{{', '.join(_structure_words(value.elements, unit))}}}"
        case Boolean():
            return "true" if value.value else "false"
        case BitString():
            return f"bits {value.bits}" if value.bits else "no bits"
        case VisibleString() | Utf8String():
            return text_words(value.value)
        case OctetString() | DateTime() | Date():
            return octets_words(value.value)
        case Time():
            return _clock_words(value.value) or value.value.hex()
        case Float32() | Float64():
            return str(value.number)
        case Enum():
            return str(value.value)
    return amount_words(value.value, unit)


def object_words(elements: tuple[Data, ...]) -> str | None:
    """The attribute that the first three parts of a structure name, or ``None``."""
    match elements:
        case (LongUnsigned(class_id), OctetString(raw), Integer(attribute), *_) if len(raw) == 6:
            return attribute_name(class_id, Obis(raw), attribute) if class_id else "no object"
    return None


def _structure_words(elements: tuple[Data, ...], unit: str) -> list[str]:
    """The parts of a structure. Object names and times of day have shapes by which they are known (section 7)."""
    parts = [data_words(element, unit) for element in elements]
    name = object_words(elements)
    if name is not None:
        parts[:3] = [name]
    sizes = {len(element.value) for element in elements if isinstance(element, OctetString)}
    if 4 in sizes and sizes & {5, 6}:
        # A switch time stands beside the script it starts, or beside its date.
        for place, element in enumerate(elements):
            if isinstance(element, OctetString) and len(element.value) == 4:
                parts[place] = _clock_words(element.value) or parts[place]
            elif isinstance(element, OctetString) and len(element.value) == 6:
                parts[place] = str(Obis(element.value))
    return parts


_UNIT_CODES: Final[dict[int, str]] = {
    # DLMS unit codes, from the Blue Book [I]; 255 is "no unit".
    7: "s", 9: "degrees C", 10: "currency", 13: "m3", 14: "m3 corrected", 27: "W", 28: "VA", 29: "var", 30: "Wh",
    31: "VAh", 32: "varh", 33: "A", 35: "V", 44: "Hz",
}  # fmt: skip


def hidden_words(value: Data) -> str | None:
    """What a value's octets mean, where its JSON does not show it; ``None`` when there is nothing to say."""
    match value:
        case OctetString() | DateTime() | Date():
            said = octets_words(value.value)
            return None if said == value.value.hex() or not value.value else said
        case Time():
            return _clock_words(value.value)
        case Float32() | Float64():
            return str(value.number)
        case Structure((LongUnsigned(class_id), OctetString(raw), Integer(attribute), *_)) if (
            len(raw) == 6 and class_id
        ):
            return attribute_name(class_id, Obis(raw), attribute)
    return None


def text_words(raw: bytes) -> str:
    """Text between quotes when it is printable, else hexadecimal: a meter's text must not steer a terminal."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw.hex()
    return repr(text) if text.isprintable() else raw.hex()


def octets_words(raw: bytes) -> str:
    """Octets as what they most likely are: a UTRN, a date-time, a date, plain text; else hexadecimal."""
    if not raw:
        return "no octets"
    if len(raw) == 12 and _is_date_time(raw):
        return date_time_words(raw)
    if len(raw) == 5 and _is_date(raw) and int.from_bytes(raw[:2], "big") >= 1970:
        return _date_words(raw)
    if len(raw) == UTRN_DIGITS and raw.isdigit():
        return f"{text_words(raw)} ({_utrn_words(raw.decode())})"
    if len(raw) >= TEXT_MIN and raw.isascii() and raw.decode().isprintable():
        return text_words(raw)
    return raw.hex()


def _utrn_words(digits: str) -> str:
    try:
        utrn = Utrn.parse(digits)
        pounds, pence = divmod(utrn.pence, 100)
    except UtrnRefused as error:
        return f"no UTRN: {error}"
    return f"UTRN of £{pounds}.{pence:02d}, not checked for authenticity"


# --- times -----------------------------------------------------------------------------------------------------------


def date_time_words(raw: bytes) -> str:
    """A COSEM date-time; ``*`` stands for any."""
    if raw in {DATE_TIME_NOW, DATE_TIME_NEVER}:
        return str(CosemDateTime.from_bytes(raw))
    moment = CosemDateTime.from_bytes(raw)
    zone = "Z"
    if moment.deviation_minutes not in {DEVIATION_UNSPECIFIED, 0}:
        zone = f" {-moment.deviation_minutes:+d} min"
    date, _space, weekday = _date_words(raw[:5]).partition(_WEEKDAY_MARK)
    return f"{date}T{_clock_words(raw[5:9]) or raw[5:9].hex()}{zone}{f', {weekday}' if weekday else ''}"


def _is_date(raw: bytes) -> bool:
    year, month, day, weekday = int.from_bytes(raw[:2], "big"), raw[2], raw[3], raw[4]
    return (
        (1 <= year <= 9999 or year == ANY_YEAR)
        and (1 <= month <= 12 or month in {ANY, MONTH_DST_BEGIN, MONTH_DST_END})
        and (1 <= day <= 31 or day in {ANY, DAY_LAST, DAY_SECOND_LAST})
        and (1 <= weekday <= 7 or weekday == ANY)
    )


def _is_date_time(raw: bytes) -> bool:
    if raw in {DATE_TIME_NOW, DATE_TIME_NEVER}:
        return True
    deviation = int.from_bytes(raw[9:11], "big", signed=True)
    return (
        _is_date(raw)
        and _clock_words(raw[5:9]) is not None
        and (-840 <= deviation <= 840 or deviation == DEVIATION_UNSPECIFIED)
    )


_WEEKDAY_MARK: Final = ", "
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final[Mapping[int, str]] = {ANY: "*", MONTH_DST_BEGIN: "DST begin", MONTH_DST_END: "DST end"}
_DAYS: Final[Mapping[int, str]] = {ANY: "*", DAY_LAST: "last", DAY_SECOND_LAST: "last but one"}


def _date_words(raw: bytes) -> str:
    year, month, day, weekday = int.from_bytes(raw[:2], "big"), raw[2], raw[3], raw[4]
    date = "-".join(
        (
            "*" if year == ANY_YEAR else f"{year:04d}",
            _MONTHS.get(month, f"{month:02d}"),
            _DAYS.get(day, f"{day:02d}"),
        )
    )
    return f"{date}{_WEEKDAY_MARK}{_WEEKDAYS[weekday - 1]}" if 1 <= weekday <= 7 else date


def _clock_words(raw: bytes) -> str | None:
    """Four octets as a time of day, or ``None`` when they are none."""
    hour, minute, second, hundredths = raw
    limits = ((hour, 23), (minute, 59), (second, 59), (hundredths, 99))
    if not all(value <= limit or value == ANY for value, limit in limits):
        return None
    return ":".join("*" if value == ANY else f"{value:02d}" for value in (hour, minute, second))


def zigbee_time(seconds: int) -> str:
    """Seconds since 2000 in words; zero means now, the two highest values cancel (section 10.3)."""
    if seconds == 0:
        return "now (0)"
    if seconds >= 0xFFFF_FFFE:
        return f"never ({seconds:08X})"
    return str(CosemDateTime.from_unix(unix_from_zigbee(seconds)))


# --- Zigbee ----------------------------------------------------------------------------------------------------------


def status_words(status: int) -> str:
    """A ZCL status."""
    return f"{STATUS_NAMES.get(status, 'status')} ({status:02X})"


def command_name(cluster: int, frame_control: int, command_id: int) -> str:
    """The cluster and the command of a ZCL header."""
    where = CLUSTER_NAMES.get(cluster, f"cluster {cluster:04X}")
    if not frame_control & FRAME_CLUSTER_SPECIFIC:
        return f"{where} {_PROFILE_WIDE.get(command_id, f'command {command_id:02X}')}"
    layout = LAYOUTS.get((cluster, bool(frame_control & FRAME_FROM_SERVER), command_id))
    return f"{where} {layout.name if layout else f'command {command_id:02X}'}"


_PROFILE_WIDE: Final = {0x00: "ReadAttributes", 0x01: "ReadAttributesResponse", 0x0B: "DefaultResponse"}


def component_title(part: Component) -> str:
    """What a component is, encrypted or not."""
    side = "from server" if part.frame_control & FRAME_FROM_SERVER else "to server"
    return f"{command_name(part.cluster, part.frame_control, part.command_id)}, {side}"


def future_item(future: FutureDatedZcl) -> str:
    """Which component an execution Alert speaks of."""
    return command_name(future.cluster, future.frame_control, future.command_id)


def plain_words(value: int | bytes | None, type_: str = "", unit: str = "") -> str:
    """One field of a cluster command, or one attribute."""
    if value is None:
        return "no value"
    if isinstance(value, int):
        if type_ == "utc":
            return zigbee_time(value)
        return f"{value:#x}" if type_.startswith("b") else amount_words(value, unit)
    if type_ == "date":
        year = value[0] + 1900 if value[0] != ANY else ANY_YEAR
        raw = year.to_bytes(2, "big") + value[1:]
        return _date_words(raw) if _is_date(raw) else value.hex()
    if type_ in {"os", ""}:
        return octets_words(value) if len(value) == UTRN_DIGITS else text_words(value)
    return value.hex()


def field_words(layout: tuple[Field, ...], pairs: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """What the times and dates among some fields mean."""
    types = {field.name: field.type for field in layout}
    return {name: plain_words(value, types[name]) for name, value in pairs if types.get(name) in {"utc", "date"}}


# --- ASN.1 -----------------------------------------------------------------------------------------------------------

_ENUMERATIONS: Final[dict[str, type[IntEnum]]] = {
    "role": asn1.Role,
    "wanted": asn1.Role,
    "cell_usage": asn1.CellUsage,
    "status": asn1.CredentialStatus,
    "mode": asn1.UpdateMode,
    "type": asn1.DeviceType,
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

_CODES: Final[dict[tuple[type, str], tuple[str, ...]]] = {
    # Codes from 0 upwards, by class and member. Source: section 9.3.
    (asn1.IssueCredentialsResponse, "result"): (
        "",
        "invalid key usage",
        "key pair generation failed",
        "request production failed",
    ),
    (asn1.UpdateDeviceCertificateResponse, "result"): (
        "ok",
        "invalid certificate",
        "wrong device identity",
        "invalid key usage",
        "no corresponding key pair",
        "wrong public key",
        "storage failed",
        "private key change failed",
    ),
    (asn1.ProvideDeviceCertificateResponse, "result"): ("", "invalid key usage", "none held", "retrieval failure"),
    (asn1.Join, "method"): ("A, initiator", "A, responder", "B", "C"),
    (asn1.JoinResponse, "result"): _JOIN_RESULTS,
    (asn1.RestoredEntry, "join_response"): _JOIN_RESULTS,
    (asn1.UnjoinResponse, "result"): ("ok", "not in log", "other"),
    (asn1.JoinDetails, "result"): ("ok", "read failure"),
    (asn1.FirmwareOutcome, "result"): ("ok", "no image", "hash mismatch", "activation failure"),
    (asn1.FirmwareVersion, "result"): ("ok", "failure"),
    (asn1.FirmwareActivatedAlert, "result"): ("ok", "failure"),
    (asn1.FirmwareTransferAlert, "result"): ("ok", "image discarded", "hardware mismatch", "transfer failure"),
    (asn1.ClockResponse, "result"): ("reliable", "invalid", "unreliable"),
    (asn1.UpdateControl, "apply_time_checks"): ("apply", "do not apply"),
    (asn1.SpecialistCounter, "usage"): ("prepayment top up",),
}

_KEY_USAGES: Final = {
    asn1.KEY_USAGE_DIGITAL_SIGNATURE: "digital signature",
    asn1.KEY_USAGE_KEY_AGREEMENT: "key agreement",
    asn1.KEY_USAGE_KEY_CERT_SIGN: "certificate signing",
}


def code_words(cls: type, name: str, value: int) -> str | None:
    """What a code in a member of an ASN.1 payload means, or ``None``."""
    words = _CODES.get((cls, name), ())
    if value < len(words):
        return words[value] or None
    enumeration = _ENUMERATIONS.get(name)
    if enumeration is not None and value in {member.value for member in enumeration}:
        return enumeration(value).name.lower().replace("_", " ")
    return None


def usage_words(bits: BitString) -> str:
    """A key usage."""
    return _KEY_USAGES.get(bits, f"bits {bits.bits}")


def is_der(octets: bytes) -> bool:
    """Whether octets in an ASN.1 payload are a certificate or a certification request, not an identifier or hash."""
    return octets[:1] == b"\x30" and len(octets) > 40


def certificate_lines(der: bytes) -> tuple[str, list[tuple[str, str]]]:
    """What a certificate says, field by field; other DER is told by its size and why it is no certificate."""
    try:
        certificate = parse_certificate(der)
    except CertificateRefused as refusal:
        return f"DER of {len(der)} octets; as a certificate refused: {refusal.words}", []
    return f"certificate, {len(der)} octets", list(certificate.words())


def certificate_facts(der: bytes) -> dict[str, Any] | None:
    """What a certificate of the profile says: its subject, its issuer, its identifiers and its key."""
    try:
        certificate = parse_certificate(der)
    except CertificateRefused:
        return None
    return {
        "subject": certificate.subject_name,
        "entity_id": certificate.entity_id.hex() if certificate.entity_id else None,
        "role": None if certificate.role is None else certificate.role.name.lower().replace("_", " "),
        "usage": certificate.usage.value,
        "issuer": certificate.issuer_name,
        "serial_number": f"{certificate.serial_number:x}",
        "subject_key_id": certificate.subject_key_id.hex(),
        "public_key": public_point(certificate.public_key).hex(),
    }


def member_words(value: Any) -> dict[str, Any]:
    """What the codes, key usages and certificates among the members of an ASN.1 value mean."""
    words: dict[str, Any] = {}
    for member in fields(value):
        held = getattr(value, member.name)
        if isinstance(held, tuple):
            said = [_one_member(type(value), member.name, item) for item in held]
            if any(said):
                words[member.name] = said
        elif (one := _one_member(type(value), member.name, held)) is not None:
            words[member.name] = one
    return words


def _one_member(cls: type, name: str, held: Any) -> Any:
    if isinstance(held, BitString):
        return usage_words(held)
    if isinstance(held, bytes):
        return certificate_facts(held) if is_der(held) else None
    if isinstance(held, int):
        return code_words(cls, name, held)
    return "never: cancels" if held == asn1.TIME_NEVER else None
