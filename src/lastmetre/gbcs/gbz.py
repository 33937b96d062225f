"""GBZ payloads: ZCL commands in components, and the Alert form (gbcs-messages sections 8.1 and 10.1).

Rules this module keeps:

* Exact: ``encode_gbz(decode_gbz(x)) == x``. The count, every component's length and the mark of the last one are
  checked on the way in and computed on the way out.
* A component that is encrypted stays so: ciphertext is a value (``EncryptedZcl``). Whoever holds the key opens it
  with ``open_component`` after decrypting; no key comes near this module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from struct import Struct
from typing import Final, TypeAlias

from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.records import open_twin
from lastmetre.gbcs.zcl import (
    FRAME_CLUSTER_SPECIFIC,
    FRAME_CONTROL_KNOWN,
    FRAME_FROM_SERVER,
    ZclBody,
    ZclCommand,
    decode_zcl,
    encode_zcl,
    frame_of,
)

PROFILE_ID: Final = b"\x01\x09"
"""The Smart Energy profile, with which every GBZ payload begins."""

CONTROL_LAST: Final = 0x01
CONTROL_ENCRYPTED: Final = 0x02
CONTROL_FROM_DATE_TIME: Final = 0x10
_CONTROL_KNOWN: Final = CONTROL_LAST | CONTROL_ENCRYPTED | CONTROL_FROM_DATE_TIME
_COMPONENT_START = Struct(">BHH")
"""Control, cluster, and the length of what follows."""

ENCRYPTED_START: Final = bytes.fromhex("3100000000")
"""Security control byte (authenticated encryption) and the invocation counter, always zero (section 11.1)."""

TAG_SIZE: Final = 12

CODE_FUTURE_DATED: Final = 0x00CD
CODE_FIRMWARE_RECEIPT: Final = 0x00CF
CODE_INTEGRITY_WARNING: Final = 0x00F2
CODE_BILLING_LOG: Final = 0x008B
CODES_GENERIC: Final = frozenset({0x1000, 0x1001})


@dataclass(frozen=True, slots=True)
class EncryptedZcl:
    """A ZCL payload nobody here can read: ``frame_counter`` is its place among the message's encrypted ones."""

    command_id: int
    frame_counter: int
    ciphertext: bytes
    tag: bytes

    @property
    def wire(self) -> bytes:
        """Security header, ciphertext and tag, as they stand in the message: what ``protect`` decrypts."""
        return ENCRYPTED_START + self.ciphertext + self.tag

    @classmethod
    def from_wire(cls, command_id: int, frame_counter: int, wire: bytes) -> EncryptedZcl:
        """From what ``protect`` encrypted."""
        if not wire.startswith(ENCRYPTED_START) or len(wire) < len(ENCRYPTED_START) + TAG_SIZE:
            raise GbcsValueError("an encrypted attribute is 31 00000000, ciphertext and a tag of 12 octets")
        return cls(command_id, frame_counter, wire[len(ENCRYPTED_START) : -TAG_SIZE], wire[-TAG_SIZE:])


@dataclass(frozen=True, slots=True)
class Component:
    """One ZCL command in a GBZ payload. ``from_date_time`` counts seconds since 2000 (zero: now)."""

    cluster: int
    frame_control: int
    sequence: int
    body: ZclBody | EncryptedZcl
    from_date_time: int | None = None

    @property
    def command_id(self) -> int:
        """The ZCL command id, told in clear even when the payload is encrypted."""
        return self.body.command_id if isinstance(self.body, EncryptedZcl) else frame_of(self.body)[1]


_new = object.__new__
_OpenComponent = open_twin(Component)


@dataclass(frozen=True, slots=True)
class Gbz:
    """The payload of a GBZ Command or Response."""

    components: tuple[Component, ...]


@dataclass(frozen=True, slots=True)
class FutureDatedZcl:
    """Which component of which Command an execution Alert speaks of (00CD)."""

    message_code: int
    originator_counter: int
    cluster: int
    frame_control: int
    command_id: int


@dataclass(frozen=True, slots=True)
class ImageHash:
    """SHA-256 of the firmware image received (00CF)."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class AlertNumber:
    """A number of 16 bits: the integrity issue (00F2), or the user interface command (generic alerts [S])."""

    value: int


@dataclass(frozen=True, slots=True)
class AlertOctets:
    """What an Alert of a use case unknown here carries."""

    octets: bytes


AlertSpecific: TypeAlias = FutureDatedZcl | ImageHash | AlertNumber | Component | AlertOctets


@dataclass(frozen=True, slots=True)
class GbzAlert:
    """The payload of a GBZ Alert; ``time`` counts seconds since 2000."""

    alert_code: int
    time: int
    specific: AlertSpecific | None = None


# --- reading ---------------------------------------------------------------------------------------------------------


def decode_gbz(data: bytes) -> Gbz:
    """Read a GBZ payload that fills ``data``."""
    count = _read_start(data)
    if not count:
        raise GbcsDecodeError("gbz.count", 2, "there must be a component")
    at = 3
    components = []
    for number in range(1, count + 1):
        component, at = _read_component(data, at, last=number == count)
        components.append(component)
    if at != len(data):
        raise GbcsDecodeError("gbz", at, f"{len(data) - at} octets follow the last component")
    return Gbz(tuple(components))


def _read_start(data: bytes) -> int:
    if len(data) < 3:
        raise GbcsDecodeError("gbz", len(data), "cut short")
    if data[:2] != PROFILE_ID:
        raise GbcsDecodeError("gbz.profile", 0, f"begins with 0109, not {data[:2].hex().upper()}")
    return data[2]


def _read_component(data: bytes, at: int, *, last: bool) -> tuple[Component, int]:
    start = at + _COMPONENT_START.size
    if start > len(data):
        raise GbcsDecodeError("gbz.component", at, "cut short or missing")
    control, cluster, length = _COMPONENT_START.unpack_from(data, at)
    if control & ~_CONTROL_KNOWN:
        raise GbcsDecodeError("gbz.component.control", at, f"{control:02X} sets bits GBCS does not use")
    if bool(control & CONTROL_LAST) is not last:
        raise GbcsDecodeError("gbz.component.control", at, "the last component, and no other, is marked as the last")
    end = start + length
    if end > len(data):
        raise GbcsDecodeError(
            "gbz.component.length", at + 3, f"announces {length} octets where {len(data) - start} follow"
        )
    at = start
    from_date_time = None
    if control & CONTROL_FROM_DATE_TIME:
        at += 4
        if at > end:
            raise GbcsDecodeError("gbz.component.from_date_time", start, "cut short")
        from_date_time = int.from_bytes(data[start:at], "big")
    if control & CONTROL_ENCRYPTED:
        return _read_encrypted(data, at, end, cluster, from_date_time), end
    if at + 3 > end:
        raise GbcsDecodeError("gbz.component", at, "its ZCL header is cut short")
    frame_control = data[at]
    body = decode_zcl(cluster, frame_control, data[at + 2], data, at + 3, end)
    component = _new(_OpenComponent)
    component.cluster, component.frame_control, component.sequence = cluster, frame_control, data[at + 1]
    component.body, component.from_date_time = body, from_date_time
    component.__class__ = Component
    return component, end


def _read_encrypted(data: bytes, at: int, end: int, cluster: int, from_date_time: int | None) -> Component:
    header = data[at : min(at + 7, end)]
    if len(header) != 7:
        raise GbcsDecodeError("gbz.component", at, "its headers are cut short")
    if header[0]:
        raise GbcsDecodeError("gbz.component.additional_header", at, "its control must be 00")
    _control, frame_counter, frame_control, sequence, command_id = header[:5]
    if frame_control & ~FRAME_CONTROL_KNOWN:
        raise GbcsDecodeError("zcl.frame_control", at + 2, f"{frame_control:02X} sets bits GBCS does not use")
    length = int.from_bytes(header[5:], "big")
    start = at + 7
    if length != end - start:
        raise GbcsDecodeError(
            "gbz.component.ciphertext", at + 5, f"announces {length} octets where {end - start} follow"
        )
    if length < len(ENCRYPTED_START) + TAG_SIZE:
        raise GbcsDecodeError("gbz.component.ciphertext", at + 5, "too short to hold its security header and tag")
    text = start + len(ENCRYPTED_START)
    if data[start:text] != ENCRYPTED_START:
        raise GbcsDecodeError("gbz.component.ciphertext", start, "the security header must be 31 00000000")
    body = EncryptedZcl(command_id, frame_counter, data[text : end - TAG_SIZE], data[end - TAG_SIZE : end])
    return Component(cluster, frame_control, sequence, body, from_date_time)


def open_component(component: Component, plaintext: bytes) -> Component:
    """The component with its body read from the decrypted ``plaintext``."""
    if not isinstance(component.body, EncryptedZcl):
        raise GbcsValueError("this component is not encrypted")
    body = decode_zcl(component.cluster, component.frame_control, component.body.command_id, plaintext)
    return replace(component, body=body)


def decode_gbz_alert(message_code: int, data: bytes) -> GbzAlert:
    """Read a GBZ Alert that fills ``data``; the message code says what follows the time."""
    count = _read_start(data)
    if len(data) < 9:
        raise GbcsDecodeError("gbz_alert", len(data), "cut short")
    if count > 1 or bool(count) is not (len(data) > 9):
        raise GbcsDecodeError("gbz_alert.count", 2, "is 00 when nothing follows the time, else 01")
    alert_code, time = int.from_bytes(data[3:5], "big"), int.from_bytes(data[5:9], "big")
    return GbzAlert(alert_code, time, _read_specific(message_code, data, 9) if count else None)


def _read_specific(message_code: int, data: bytes, at: int) -> AlertSpecific:
    size = len(data) - at
    if message_code == CODE_FUTURE_DATED:
        if size != 15 or data[at] != 14:
            raise GbcsDecodeError("gbz_alert.future_dated", at, "has 14 octets behind their length")
        fields = data[at + 1 :]
        return FutureDatedZcl(
            int.from_bytes(fields[:2], "big"),
            int.from_bytes(fields[2:10], "big"),
            int.from_bytes(fields[10:12], "big"),
            fields[12],
            fields[13],
        )
    if message_code == CODE_FIRMWARE_RECEIPT:
        if size != 34 or data[at : at + 2] != b"\x09\x20":
            raise GbcsDecodeError("gbz_alert.image_hash", at, "is an octet-string of 32")
        return ImageHash(data[at + 2 :])
    if message_code == CODE_BILLING_LOG:
        component, end = _read_component(data, at, last=True)
        if end != len(data):
            raise GbcsDecodeError("gbz_alert", end, f"{len(data) - end} octets follow the component")
        return component
    if message_code == CODE_INTEGRITY_WARNING and size != 2:
        raise GbcsDecodeError("gbz_alert.integrity_issue", at, "has two octets")
    if message_code == CODE_INTEGRITY_WARNING or (message_code in CODES_GENERIC and size == 2):
        return AlertNumber(int.from_bytes(data[at:], "big"))
    return AlertOctets(data[at:])


# --- writing ---------------------------------------------------------------------------------------------------------


def encode_gbz(payload: Gbz) -> bytes:
    """The octets of a GBZ payload."""
    count = len(payload.components)
    if not 1 <= count <= 0xFF:
        raise GbcsValueError("a GBZ payload has 1 to 255 components")
    out = bytearray(PROFILE_ID)
    out.append(count)
    for number, component in enumerate(payload.components, 1):
        _write_component(out, component, last=number == count)
    return bytes(out)


def encode_gbz_alert(alert: GbzAlert) -> bytes:
    """The octets of a GBZ Alert."""
    start = bytearray(PROFILE_ID)
    start.append(0 if alert.specific is None else 1)
    start += _big(alert.alert_code, 2, "alert code") + _big(alert.time, 4, "time")
    if alert.specific is not None:
        _write_specific(start, alert.specific)
        if len(start) == 9:
            raise GbcsValueError("an Alert with nothing behind its time has no specific part")
    return bytes(start)


def _write_specific(out: bytearray, specific: AlertSpecific) -> None:
    if isinstance(specific, FutureDatedZcl):
        out.append(14)
        out += _big(specific.message_code, 2, "message code")
        out += _big(specific.originator_counter, 8, "Originator Counter")
        out += _big(specific.cluster, 2, "cluster")
        out += _big(specific.frame_control, 1, "frame control")
        out += _big(specific.command_id, 1, "command id")
    elif isinstance(specific, ImageHash):
        if len(specific.digest) != 32:
            raise GbcsValueError("a SHA-256 digest has 32 octets")
        out += b"\x09\x20" + specific.digest
    elif isinstance(specific, AlertNumber):
        out += _big(specific.value, 2, "alert number")
    elif isinstance(specific, Component):
        _write_component(out, specific, last=True)
    else:
        out += specific.octets


def _write_component(out: bytearray, component: Component, *, last: bool) -> None:
    control = CONTROL_LAST if last else 0
    inner = b""
    if component.from_date_time is not None:
        control |= CONTROL_FROM_DATE_TIME
        inner = _big(component.from_date_time, 4, "From Date Time")
    if component.frame_control & ~FRAME_CONTROL_KNOWN:
        raise GbcsValueError(f"frame control {component.frame_control:02X} sets bits GBCS does not use")
    body = component.body
    zcl_header = (
        _big(component.frame_control, 1, "frame control")
        + _big(component.sequence, 1, "sequence number")
        + _big(component.command_id, 1, "command id")
    )
    if isinstance(body, EncryptedZcl):
        if len(body.tag) != TAG_SIZE:
            raise GbcsValueError("an authentication tag has 12 octets")
        control |= CONTROL_ENCRYPTED
        text = body.wire
        inner += b"\0" + _big(body.frame_counter, 1, "frame counter") + zcl_header
        inner += _big(len(text), 2, "length of the ciphertext") + text
    else:
        _check_frame(component, body)
        inner += zcl_header + encode_zcl(body)
    out.append(control)
    out += _big(component.cluster, 2, "cluster") + _big(len(inner), 2, "length of the component") + inner


def _check_frame(component: Component, body: ZclBody) -> None:
    """The frame control and the body must say the same, or what we write would be read as something else."""
    specific = bool(component.frame_control & FRAME_CLUSTER_SPECIFIC)
    if specific is not frame_of(body)[0]:
        raise GbcsValueError("the frame control's type does not match the command")
    if isinstance(body, ZclCommand):
        from_server = bool(component.frame_control & FRAME_FROM_SERVER)
        if (body.cluster, body.from_server) != (component.cluster, from_server):
            raise GbcsValueError("the component's cluster and direction do not match the command")


def _big(value: int, size: int, name: str) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise GbcsValueError(f"{name}: {value} is no number of {size} octets") from None
