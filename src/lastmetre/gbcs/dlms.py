"""DLMS COSEM payloads: access-request, access-response, data-notification (gbcs-messages sections 7.1 to 7.3, 7.5).

Rules this module keeps:

* Exact: a payload fills its octets to the last one, and encodes back to the same octets.
* The two lists of a request, and of a response, have equal counts; here they are one list of pairs.
* What an attribute means is not decided here; see ``payload_words`` for names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, TypeAlias

from lastmetre.gbcs.axdr import (
    Array,
    Data,
    Enum,
    LongUnsigned,
    OctetString,
    Structure,
    encode_data,
    encode_length,
    read_length,
    write_data,
)
from lastmetre.gbcs.axdr_quick import read_value, read_values
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.records import open_twin

TAG_ACCESS_REQUEST: Final = 0xD9
TAG_ACCESS_RESPONSE: Final = 0xDA
TAG_DATA_NOTIFICATION: Final = 0x0F

INVOKE_ID_FLAGS: Final = 0x20
"""Upper octet of every long-invoke-id-and-priority of the standard (section 7.1)."""

SPEC_CACHE_SIZE: Final = 8_192
"""Request specifications kept for sharing; a meter fleet uses a few hundred. Bounds what strangers can fill."""

SPEC_LISTS_CACHE_SIZE: Final = 1_024
"""Lists of specifications kept for sharing, one or two for each use case; each has ``SPECS_SHARED_MAX`` at most."""

SPECS_SHARED_MAX: Final = 64

PARAMETER_WINDOW: Final = 128
"""Octets looked at quickly for one selective access parameter; the known ones have 60 to 80."""


class AccessResult(IntEnum):
    """DLMS data-access-result codes (section 7.2). A device may send others; results are plain integers."""

    SUCCESS = 0
    HARDWARE_FAULT = 1
    TEMPORARY_FAILURE = 2
    READ_WRITE_DENIED = 3
    OBJECT_UNDEFINED = 4
    OBJECT_CLASS_INCONSISTENT = 9
    OBJECT_UNAVAILABLE = 11
    TYPE_UNMATCHED = 12
    SCOPE_OF_ACCESS_VIOLATED = 13
    DATA_BLOCK_UNAVAILABLE = 14
    LONG_GET_OR_ACTION_ABORTED = 15
    NO_LONG_GET_OR_ACTION_IN_PROGRESS = 16
    LONG_SET_ABORTED = 17
    NO_LONG_SET_IN_PROGRESS = 18
    DATA_BLOCK_NUMBER_INVALID = 19
    OTHER_REASON = 250


_OBIS_TEXT: Final = re.compile(r"(\d{1,3})-(\d{1,3}):(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Obis:
    """Name of a COSEM object: six octets, written ``A-B:C.D.E.F`` (in GBCS F often is 255, and may be left out)."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 6:
            raise GbcsValueError("an OBIS code has 6 octets")

    @classmethod
    def parse(cls, text: str) -> Obis:
        """Read ``A-B:C.D.E`` or ``A-B:C.D.E.F``; F is 255 when left out."""
        match = _OBIS_TEXT.fullmatch(text)
        numbers = [int(group or "255") for group in match.groups()] if match else [256]
        if max(numbers) > 255:
            raise GbcsValueError(f"{text!r} is no OBIS code: write A-B:C.D.E.F, each from 0 to 255")
        return cls(bytes(numbers))

    def __str__(self) -> str:
        a, b, c, d, e, f = self.raw
        return f"{a}-{b}:{c}.{d}.{e}.{f}"


@dataclass(frozen=True, slots=True)
class Get:
    """Read an attribute."""

    class_id: int
    obis: Obis
    attribute: int


@dataclass(frozen=True, slots=True)
class Set:
    """Write an attribute."""

    class_id: int
    obis: Obis
    attribute: int


@dataclass(frozen=True, slots=True)
class Action:
    """Invoke a method."""

    class_id: int
    obis: Obis
    method: int


@dataclass(frozen=True, slots=True)
class GetWithSelection:
    """Read a part of an attribute: in every known use, entries of a profile between two times (section 7.5)."""

    class_id: int
    obis: Obis
    attribute: int
    selector: int
    parameter: Data


Spec: TypeAlias = Get | Set | Action | GetWithSelection


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """The payload of a DLMS Command: what to do, in order, each with its value (null-data for a get)."""

    invoke_id: int
    items: tuple[tuple[Spec, Data], ...]


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one item: ``kind`` 1 get, 2 set, 3 action; ``result`` an ``AccessResult`` or another number."""

    kind: int
    data: Data
    result: int


_OpenItemResult = open_twin(ItemResult)


@dataclass(frozen=True, slots=True)
class AccessResponse:
    """The payload of a DLMS Response: one result per item of the Command, in its order."""

    invoke_id: int
    results: tuple[ItemResult, ...]


_new = object.__new__
_OpenRequest = open_twin(AccessRequest)
_OpenResponse = open_twin(AccessResponse)


@dataclass(frozen=True, slots=True)
class DataNotification:
    """The payload of a DLMS Alert: the alert code, the device's time (12 octets), and what else the use case tells."""

    invoke_id: int
    alert_code: int
    date_time: bytes
    extra: tuple[Data, ...] = ()


def protected_octets(elements: tuple[Data, ...]) -> bytes | None:
    """The encrypted octets of a protected answer (section 11.2), or ``None`` when this is none.

    ``elements`` is the structure's of a class 30 Response item, or the ``extra`` of an Alert. What the parameters in it
    say of parties and counters is not to be used: keys are derived from the grouping header (section 11.3).
    """
    match elements:
        case (Array((Structure((Enum(2), Structure())),)), OctetString(octets)):
            return octets
    return None


# --- reading ---------------------------------------------------------------------------------------------------------


def decode_access_request(data: bytes) -> AccessRequest:
    """Read an access-request that fills ``data``."""
    invoke_id = _read_start(data, TAG_ACCESS_REQUEST, "access_request")
    count, at = _read_count(data, 6, "access_request.specifications")
    # A specification takes ten octets at least, and its value one more.
    if count * 11 > len(data) - at:
        raise GbcsDecodeError("access_request.specifications", at, f"announces {count}, more than can follow")
    specs: tuple[Spec, ...]
    end = at + 10 * count
    if count <= SPECS_SHARED_MAX and not data[at:end:10].translate(None, _PLAIN_CHOICES):
        specs, at = _plain_specs(data[at:end]), end
    else:
        specs, at = _read_specs(data, at, count)
    values, at = _read_list(data, at, len(data), count, "access_request.values")
    _end(data, at, "access_request")
    request = _new(_OpenRequest)
    request.invoke_id, request.items = invoke_id, tuple(zip(specs, values))  # noqa: B905 - so many of each were read
    request.__class__ = AccessRequest
    return request  # type: ignore[no-any-return]


def decode_access_response(data: bytes) -> AccessResponse:
    """Read an access-response that fills ``data``."""
    invoke_id = _read_start(data, TAG_ACCESS_RESPONSE, "access_response")
    if data[6:7] != b"\0":
        raise GbcsDecodeError("access_response", 6, "the request's specifications are never repeated: 00 is due here")
    count, at = _read_count(data, 7, "access_response.values")
    # Behind the values stand their count once more and two octets for each.
    behind = at - 7 + 2 * count
    values, at = _read_list(data, 7, max(at, len(data) - behind), count, "access_response.values")
    again, start = _read_count(data, at, "access_response.results")
    if again != count:
        raise GbcsDecodeError("access_response.results", at, f"announces {again} results for {count} values")
    end = start + 2 * count
    if end > len(data):
        raise GbcsDecodeError("access_response.results", at, f"announces {count}, more than can follow")
    _end(data, end, "access_response")
    kinds, results = data[start:end:2], data[start + 1 : end : 2]
    if kinds.translate(None, _KINDS):
        index = next(index for index, kind in enumerate(kinds) if kind not in _KINDS)
        raise GbcsDecodeError(
            "access_response.results", start + 2 * index, f"{kinds[index]:02X} is not get, set or action"
        )
    items = tuple(map(_OpenItemResult, kinds, values, results))
    for item in items:
        item.__class__ = ItemResult
    response = _new(_OpenResponse)
    response.invoke_id, response.results = invoke_id, items
    response.__class__ = AccessResponse
    return response  # type: ignore[no-any-return]


def decode_data_notification(data: bytes) -> DataNotification:
    """Read a data-notification that fills ``data``."""
    invoke_id = _read_start(data, TAG_DATA_NOTIFICATION, "data_notification")
    body, at = read_value(data, 6, len(data))
    _end(data, at, "data_notification")
    if not isinstance(body, Structure) or len(body.elements) < 2:
        raise GbcsDecodeError("data_notification", 6, "must hold a structure of the alert code, the time and the rest")
    code, when, *extra = body.elements
    if not isinstance(code, LongUnsigned):
        raise GbcsDecodeError("data_notification.alert_code", 8, "must be a long-unsigned")
    if not isinstance(when, OctetString) or len(when.value) != 12:
        raise GbcsDecodeError("data_notification.date_time", 8, "must be an octet-string of 12")
    return DataNotification(invoke_id, code.value, when.value, tuple(extra))


def _read_start(data: bytes, tag: int, field: str) -> int:
    """Check the tag and the empty date-time; returns the 24 bits of the invoke-id."""
    if len(data) >= 6 and data[0] == tag and data[1] == INVOKE_ID_FLAGS and not data[5]:
        return data[2] << 16 | data[3] << 8 | data[4]
    if len(data) < 6:
        raise GbcsDecodeError(field, len(data), "cut short")
    if data[0] != tag:
        raise GbcsDecodeError(field, 0, f"begins with {tag:02X}, not {data[0]:02X}")
    if data[1] != INVOKE_ID_FLAGS:
        raise GbcsDecodeError(f"{field}.invoke_id", 1, f"begins with {INVOKE_ID_FLAGS:02X}, not {data[1]:02X}")
    raise GbcsDecodeError(f"{field}.date_time", 5, "must be empty")


def _read_count(data: bytes, at: int, field: str) -> tuple[int, int]:
    """As ``read_length``, quicker for the usual one octet."""
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1
    return read_length(data, at, field)


def _end(data: bytes, at: int, field: str) -> None:
    if at != len(data):
        raise GbcsDecodeError(field, at, f"{len(data) - at} octets follow its end")


def _read_list(data: bytes, at: int, end: int, count: int, field: str) -> tuple[tuple[Data, ...], int]:
    """Read a count that must be ``count``, and so many values with tags."""
    again, start = _read_count(data, at, field)
    if again != count:
        raise GbcsDecodeError(field, at, f"announces {again} values for {count} specifications")
    return read_values(data, start, end, count, field)


@lru_cache(SPEC_LISTS_CACHE_SIZE)
def _plain_specs(raw: bytes) -> tuple[Spec, ...]:
    """A list of specifications of ten octets each: it is the same in every request of a use case."""
    return tuple(_plain_spec(raw[at : at + 10]) for at in range(0, len(raw), 10))


def _read_specs(data: bytes, at: int, count: int) -> tuple[tuple[Spec, ...], int]:
    specs = []
    for _ in range(count):
        spec, at = _read_spec(data, at)
        specs.append(spec)
    return tuple(specs), at


@lru_cache(SPEC_CACHE_SIZE)
def _plain_spec(raw: bytes) -> Get | Set | Action:
    """A specification from its ten octets. Requests repeat themselves, and equal frozen values may be one."""
    cls = _PLAIN_SPECS[raw[0]]
    return cls(
        int.from_bytes(raw[1:3], "big"),
        Obis(raw[3:9]),
        int.from_bytes(raw[9:], "big", signed=True),
    )


def forget_specs() -> None:
    """Let go of the specifications kept for sharing: for measurements."""
    _plain_specs.cache_clear()
    _plain_spec.cache_clear()


def _read_spec(data: bytes, at: int) -> tuple[Spec, int]:
    end = at + 10
    raw = data[at:end]
    if len(raw) != 10:
        raise GbcsDecodeError("access_request.specifications", at, "cut short")
    choice = raw[0]
    if choice in _PLAIN_SPECS:
        return _plain_spec(raw), end
    if choice != 4:
        raise GbcsDecodeError(
            "access_request.specifications", at, f"{choice:02X} is not get, set, action or get-with-selection"
        )
    if end >= len(data):
        raise GbcsDecodeError("access_request.specifications", end, "the access-selector is missing")
    parameter, after = read_value(data, end + 1, min(end + PARAMETER_WINDOW, len(data)))
    attribute = int.from_bytes(raw[9:], "big", signed=True)
    return GetWithSelection(int.from_bytes(raw[1:3], "big"), Obis(raw[3:9]), attribute, data[end], parameter), after


# --- writing ---------------------------------------------------------------------------------------------------------


def encode_access_request(request: AccessRequest) -> bytes:
    """The octets of an access-request."""
    out = _start(TAG_ACCESS_REQUEST, request.invoke_id)
    count = encode_length(len(request.items))
    out += count
    for spec, _value in request.items:
        _write_spec(out, spec)
    out += count
    for _spec, value in request.items:
        write_data(out, value)
    return bytes(out)


def encode_access_response(response: AccessResponse) -> bytes:
    """The octets of an access-response."""
    out = _start(TAG_ACCESS_RESPONSE, response.invoke_id)
    out.append(0)
    count = encode_length(len(response.results))
    out += count
    for result in response.results:
        write_data(out, result.data)
    out += count
    for result in response.results:
        if result.kind not in {1, 2, 3} or not 0 <= result.result <= 0xFF:
            raise GbcsValueError(f"{result} has kind 1 get, 2 set or 3 action and a result of one octet")
        out.append(result.kind)
        out.append(result.result)
    return bytes(out)


def encode_data_notification(notification: DataNotification) -> bytes:
    """The octets of a data-notification."""
    if len(notification.date_time) != 12:
        raise GbcsValueError("an alert's date-time has 12 octets")
    out = _start(TAG_DATA_NOTIFICATION, notification.invoke_id)
    head = (LongUnsigned(notification.alert_code), OctetString(notification.date_time))
    out += encode_data(Structure((*head, *notification.extra)))
    return bytes(out)


def _start(tag: int, invoke_id: int) -> bytearray:
    if not 0 <= invoke_id < 1 << 24:
        raise GbcsValueError("an invoke-id has 24 bits: the low ones of the message's counter")
    return bytearray((tag, INVOKE_ID_FLAGS)) + invoke_id.to_bytes(3, "big") + b"\0"


def _write_spec(out: bytearray, spec: Spec) -> None:
    member = spec.method if isinstance(spec, Action) else spec.attribute
    if not 0 <= spec.class_id <= 0xFFFF or not -128 <= member <= 127:
        raise GbcsValueError(f"{spec}: a class has 16 bits, an attribute or method lies between -128 and 127")
    out.append(_CHOICES[type(spec)])
    out += spec.class_id.to_bytes(2, "big")
    out += spec.obis.raw
    out += member.to_bytes(1, "big", signed=True)
    if isinstance(spec, GetWithSelection):
        if not 0 <= spec.selector <= 0xFF:
            raise GbcsValueError("an access-selector has one octet")
        out.append(spec.selector)
        write_data(out, spec.parameter)


_PLAIN_SPECS: Final[dict[int, type[Get | Set | Action]]] = {1: Get, 2: Set, 3: Action}
_KINDS: Final = b"\1\2\3"
_PLAIN_CHOICES: Final = bytes(_PLAIN_SPECS)
_CHOICES: Final[dict[type, int]] = {Get: 1, Set: 2, Action: 3, GetWithSelection: 4}
