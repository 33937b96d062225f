"""DUIS documents as values: requests, responses and what they carry.

Rules kept here (reference: duis sections 1.2 to 1.6 and 2.3):

* ``parse_*`` reads structure, all of it (``structure``), and believes nothing. ``read_signed_*`` is the only door to
  trusted values: what comes through it was read from the very tree whose signature verified, and the right party
  signed it.
* A document is written with its elements in schema order and without whitespace between them, ready to be signed.
* The body of a request stays a tree of ``Element``; ``transform`` and ``compose`` know what is inside.
* An unsigned response is believed for nothing but this: an acknowledgement or an error that carries no payload.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from lastmetre.duis.catalogue import SIGNED_PRE_COMMAND, Misfit, check_request
from lastmetre.duis.errors import DuisDecodeError, DuisValueError, SignatureReason, SignatureRefused
from lastmetre.duis.identifiers import RequestID, ResponseID
from lastmetre.duis.signature import (
    Canonical,
    FindCertificate,
    Signer,
    SignerCertificate,
    require_signer,
    sign_document,
    verify_document,
)
from lastmetre.duis.structure import check_answer, check_body
from lastmetre.duis.xml import DS, SR, Element, read_document, write_element

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA_VERSION: Final = "5.4"

USER_ROLES: Final = frozenset({2, 3, 8, 0x87})
"""Certificate roles that may sign a Request: supplier, network operator, load controller and 0x87, seen in the test PKI
on certificates for XML signing by Users. DESIGN CHOICE; the profile itself names no role."""
DSP_ROLES: Final = frozenset({4, 0x89})
"""Certificate roles that may sign a Response: access control broker and 0x89, the DSP's XML signing certificate in the
test PKI. DESIGN CHOICE."""

_DECIMAL: Final = re.compile(r"[0-9]{1,20}")
_SCHEMA_VERSION: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4})?")
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_RESPONSE_CODE: Final = re.compile(r"[IEW][0-9]{1,6}")
_DATE_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)?", flags=re.ASCII
)


# --- scalar forms


def parse_date_time(text: str, where: str) -> int:
    """An xs:dateTime as Unix seconds; a time without zone is UTC, as every DUIS time is."""
    match = _DATE_TIME.fullmatch(text.strip())
    if match is None:
        raise DuisDecodeError(where, f"{text[:40]!r} is not a date and time")
    *numbers, zone = match.groups()
    offset = 0
    if numbers[3:] == ["24", "00", "00"]:  # the end of a day is the start of the next
        numbers[3], offset = "00", -86_400
    if zone not in (None, "Z"):
        offset += (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60) * (-1 if zone[0] == "-" else 1)
    try:
        moment = datetime(*map(int, numbers), tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        raise DuisDecodeError(where, f"{text[:40]!r} is not a date and time") from None
    return int(moment.timestamp()) - offset


def write_date_time(at: int) -> str:
    """Unix seconds as DUIS writes a time: ``2030-01-15T09:00:00Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_base64(text: str, where: str) -> bytes:
    """Octets from base64 text, which may be broken into lines."""
    try:
        return b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise DuisDecodeError(where, "is not base64") from None


def _decimal(text: str, where: str) -> int:
    text = text.strip()
    if not _DECIMAL.fullmatch(text):
        raise DuisDecodeError(where, f"{text[:40]!r} is not a number")
    return int(text)


# --- requests


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """Who asks for what, how it is to travel, and where it stands in a sequence."""

    request_id: RequestID
    command_variant: int
    service_reference: str
    service_reference_variant: str
    first_in_sequence: bool | None = None
    preceding_service_request_id: RequestID | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A Service Request, a Signed Pre-Command or a request to the DCC itself. ``body`` is the child of Body."""

    header: RequestHeader
    body: Element
    schema_version: str = SCHEMA_VERSION

    @property
    def misfit(self) -> Misfit | None:
        """Why the parts of this request do not belong together, or None (the schema does not check it)."""
        header = self.header
        return check_request(
            header.service_reference, header.service_reference_variant, header.command_variant, self.body.name
        )

    @property
    def execution_at(self) -> int | None:
        """The ExecutionDateTime as Unix seconds, or None: at once."""
        text = self.body.find_text("ExecutionDateTime")
        return None if text is None else parse_date_time(text, "ExecutionDateTime")

    @property
    def signed_pre_command(self) -> bytes | None:
        """The GBCS message inside a Signed Pre-Command; None for any other request."""
        if self.body.name != SIGNED_PRE_COMMAND:
            return None
        return parse_base64(_text(self.body, "GBCSPayload"), "SignedPreCommand/GBCSPayload")

    @property
    def returned_response(self) -> ReturnedResponse | None:
        """The device's answer inside a Return Local Command Response (SRV 8.13); None for any other request."""
        if self.body.name != "ReturnLocalCommandResponse":
            return None
        original = self.body.find_text("OriginalRequestID")
        payload = parse_base64(_text(self.body, "DeviceGBCSResponse"), "DeviceGBCSResponse")
        return ReturnedResponse(payload, None if original is None else RequestID.parse(original, "OriginalRequestID"))


@dataclass(frozen=True, slots=True)
class ReturnedResponse:
    """What SRV 8.13 hands back: the device's Response and, where given, the request it belongs to."""

    device_gbcs_response: bytes
    original_request_id: RequestID | None = None


# --- responses


@dataclass(frozen=True, slots=True)
class PreCommand:
    """The answer of the Transform service: what the User is to check and sign."""

    gbcs_version: str
    gbcs_payload: bytes


@dataclass(frozen=True, slots=True)
class LocalCommand:
    """A finished Command for Local Delivery; its octets are not to be changed by anyone."""

    gbcs_payload: bytes


@dataclass(frozen=True, slots=True)
class GbcsPayload:
    """A device's Response, as it came."""

    gbcs_payload: bytes


@dataclass(frozen=True, slots=True)
class FutureDatedAlert:
    """The outcome of one instruction of a future-dated Command."""

    alert_code: int
    gbcs_payload: bytes
    instruction_number: int
    total_command_instructions: int


@dataclass(frozen=True, slots=True)
class ScheduledMessage:
    """The result of a read that the DCC made by schedule."""

    gbcs_payload: bytes
    dsp_schedule_id: int


@dataclass(frozen=True, slots=True)
class OtherPayload:
    """A payload of the DCC itself (inventory, WAN matrix, schedules ...), as a tree."""

    element: Element


Payload: TypeAlias = PreCommand | LocalCommand | GbcsPayload | FutureDatedAlert | ScheduledMessage | OtherPayload


@dataclass(frozen=True, slots=True)
class ResponseHeader:
    """What an answer belongs to and how it went. The time is kept as written; ``at`` reads it."""

    response_code: str
    response_date_time: str
    request_id: RequestID | None = None
    response_id: ResponseID | None = None

    @property
    def at(self) -> int:
        """When the answer was made, in Unix seconds."""
        return parse_date_time(self.response_date_time, "ResponseDateTime")

    @property
    def good(self) -> bool:
        """Success, with or without a warning; anything unknown is a failure."""
        return self.response_code[:1] in ("I", "W")


@dataclass(frozen=True, slots=True)
class ResponseMessage:
    """The answer to a request; without payload it is an acknowledgement or an error."""

    service_reference: str
    service_reference_variant: str
    payload: Payload | None = None


@dataclass(frozen=True, slots=True)
class DeviceAlert:
    """An Alert that a device sent, with the GBCS message."""

    alert_code: int
    gbcs_payload: bytes
    throttled_alert_sequence_id: int | None = None
    throttled_alert_count: int | None = None


@dataclass(frozen=True, slots=True)
class OtherMessage:
    """A DCC Alert or a SMETS1 document, as a tree."""

    element: Element


@dataclass(frozen=True, slots=True)
class Response:
    """A document from the DCC."""

    header: ResponseHeader
    body: ResponseMessage | DeviceAlert | OtherMessage
    schema_version: str = SCHEMA_VERSION

    @property
    def payload(self) -> Payload | None:
        """The payload of a ResponseMessage, if there is one."""
        return self.body.payload if isinstance(self.body, ResponseMessage) else None


@dataclass(frozen=True, slots=True)
class VerifiedRequest:
    """A request that its originator signed."""

    request: Request
    signer: SignerCertificate


@dataclass(frozen=True, slots=True)
class VerifiedResponse:
    """A response that the DSP signed."""

    response: Response
    signer: SignerCertificate


@dataclass(frozen=True, slots=True)
class UnsignedNotice:
    """An acknowledgement or an error without a signature: anybody may have written it, so it moves nothing."""

    response: Response


class BodyError(DuisDecodeError):
    """A request whose header can be read and whose body is not as schema 5.4 has it.

    ``request`` is kept for the answer: for its header only, nobody has looked at the rest of its body.
    """

    def __init__(self, request: Request, error: DuisDecodeError) -> None:
        super().__init__(error.where, error.reason)
        self.request = request


# --- reading


class _Children:
    """The children of an element, taken in schema order; whatever is left over is an error."""

    def __init__(self, element: Element) -> None:
        self._element = element
        self._left: Iterator[Element] = iter(element.children)
        self._next: Element | None = next(self._left, None)

    def optional(self, name: str) -> Element | None:
        if self._next is None or self._next.name != name:
            return None
        found, self._next = self._next, next(self._left, None)
        return found

    def required(self, name: str) -> Element:
        found = self.optional(name)
        if found is None:
            raise DuisDecodeError(self._element.name, f"{name} is missing or out of order")
        return found

    def text(self, name: str) -> str:
        return self.required(name).text.strip()

    def optional_text(self, name: str) -> str | None:
        found = self.optional(name)
        return None if found is None else found.text.strip()

    def any(self) -> Element | None:
        found, self._next = self._next, next(self._left, None)
        return found

    def end(self) -> None:
        if self._next is not None:
            raise DuisDecodeError(self._element.name, f"{self._next.name} is not expected there")


def _text(element: Element, path: str) -> str:
    text = element.find_text(path)
    if text is None:
        raise DuisDecodeError(element.name, f"{path} is missing")
    return text


def _base64(children: _Children, name: str) -> bytes:
    return parse_base64(children.text(name), name)


def _envelope(root: Element, name: str) -> tuple[Element, Element, str]:
    """Header, the one child of Body and the schema version of a document."""
    if root.name != name:
        raise DuisDecodeError("document", f"its root is {root.name}, not {name}")
    version = (root.attribute("schemaVersion") or "").strip()
    if version != SCHEMA_VERSION and not _SCHEMA_VERSION.fullmatch(version):
        raise DuisDecodeError(name, "schemaVersion is missing or no decimal number")
    parts = root.children
    if len(parts) == 2 and (parts[0].name, parts[1].name) == ("Header", "Body"):
        header, body = parts
    else:
        children = _Children(root)
        header, body = children.required("Header"), children.required("Body")
        children.optional(_SIGNATURE)
        children.end()
    if len(body.children) != 1:
        raise DuisDecodeError("Body", f"holds {len(body.children)} elements; it must hold exactly one")
    return header, body.children[0], version


_SIGNATURE: Final = f"{{{DS}}}Signature"
_USUAL_HEADER: Final = ["RequestID", "CommandVariant", "ServiceReference", "ServiceReferenceVariant"]
_COMMAND_VARIANTS: Final = {str(number): number for number in range(1, 9)}


def _request(root: Element) -> Request:
    request = _unchecked_request(root)
    try:
        check_body(request.body)
    except DuisDecodeError as error:
        raise BodyError(request, error) from None
    return request


def _unchecked_request(root: Element) -> Request:
    header, body, version = _envelope(root, "Request")
    if [child[0] for child in header.children] == _USUAL_HEADER:
        # The header of nearly all requests, without the detour by names.
        identifier, variant, reference, service = [child[1].strip() for child in header.children]
        number = _COMMAND_VARIANTS.get(variant)
        if number is None:
            number = _decimal(variant, "CommandVariant")
        return Request(RequestHeader(RequestID.parse(identifier), number, reference, service), body, version)
    children = _Children(header)
    request_id = RequestID.parse(children.text("RequestID"))
    first = children.optional_text("FirstInSequence")
    preceding = children.optional_text("PrecedingServiceRequestID")
    if first is not None and first not in _BOOLEANS:
        raise DuisDecodeError("FirstInSequence", f"{first[:20]!r} is neither true nor false")
    parsed = RequestHeader(
        request_id=request_id,
        command_variant=_decimal(children.text("CommandVariant"), "CommandVariant"),
        service_reference=children.text("ServiceReference"),
        service_reference_variant=children.text("ServiceReferenceVariant"),
        first_in_sequence=None if first is None else _BOOLEANS[first],
        preceding_service_request_id=(
            None if preceding is None else RequestID.parse(preceding, "PrecedingServiceRequestID")
        ),
    )
    children.end()
    return Request(parsed, body, version)


def _payload(element: Element) -> Payload:
    children = _Children(element)
    payload: Payload
    match element.name:
        case "GBCSPayload":
            return GbcsPayload(parse_base64(element.text, "GBCSPayload"))
        case "PreCommand":
            payload = PreCommand(children.text("GBCSVersion"), _base64(children, "GBCSPayload"))
        case "LocalCommand":
            payload = LocalCommand(_base64(children, "GBCSPayload"))
        case "FutureDatedDeviceAlertMessage":
            payload = FutureDatedAlert(
                _alert_code(children.text("FutureDatedAlertCode")),
                _base64(children, "GBCSPayload"),
                _decimal(children.text("InstructionNumber"), "InstructionNumber"),
                _decimal(children.text("TotalCommandInstructions"), "TotalCommandInstructions"),
            )
        case "DSPScheduledMessage":
            payload = ScheduledMessage(
                _base64(children, "GBCSPayload"), _decimal(children.text("DSPScheduleID"), "DSPScheduleID")
            )
        case _:
            check_answer(element, "ResponseMessage")
            return OtherPayload(element)
    children.end()
    return payload


def _alert_code(text: str) -> int:
    if not re.fullmatch(r"[0-9A-Fa-f]{4}", text.strip()):
        raise DuisDecodeError("AlertCode", f"{text[:20]!r} is not four hexadecimal digits")
    return int(text, 16)


def _device_alert(element: Element) -> DeviceAlert:
    children = _Children(element)
    code = _alert_code(children.text("AlertCode"))
    sequence = children.optional_text("ThrottledAlertSequenceId")
    count = children.optional_text("ThrottledAlertCount")
    alert = DeviceAlert(
        code,
        _base64(children, "GBCSPayload"),
        None if sequence is None else _decimal(sequence, "ThrottledAlertSequenceId"),
        None if count is None else _decimal(count, "ThrottledAlertCount"),
    )
    children.end()
    return alert


def _response(root: Element) -> Response:
    header, body, version = _envelope(root, "Response")
    children = _Children(header)
    request_id = children.optional_text("RequestID")
    response_id = children.optional_text("ResponseID")
    code, date_time = children.text("ResponseCode"), children.text("ResponseDateTime")
    children.end()
    if not _RESPONSE_CODE.fullmatch(code):
        raise DuisDecodeError("ResponseCode", f"{code[:20]!r} is no response code")
    parse_date_time(date_time, "ResponseDateTime")
    parsed = ResponseHeader(
        response_code=code,
        response_date_time=date_time,
        request_id=None if request_id is None else RequestID.parse(request_id),
        response_id=None if response_id is None else ResponseID.parse(response_id),
    )
    return Response(parsed, _response_body(body), version)


def _response_body(body: Element) -> ResponseMessage | DeviceAlert | OtherMessage:
    if body.name == "DeviceAlertMessage":
        return _device_alert(body)
    if body.name != "ResponseMessage":
        # A SMETS1 document is its own provider's, with a signature of its own; no more is read of it than that it came.
        if body.name != "SMETS1ResponseMessage":
            check_answer(body, "Body")
        return OtherMessage(body)
    children = _Children(body)
    reference, variant = children.text("ServiceReference"), children.text("ServiceReferenceVariant")
    payload = children.any()
    children.end()
    return ResponseMessage(reference, variant, None if payload is None else _payload(payload))


def parse_request(document: bytes) -> Request:
    """What a request says; nobody vouches for it. ``BodyError`` when only its body cannot be read."""
    return _request(read_document(document))


def parse_response(document: bytes) -> Response:
    """What a response says; nobody vouches for it."""
    return _response(read_document(document))


def read_signed_request(
    document: bytes,
    find_certificate: FindCertificate,
    *,
    at: int | None = None,
    roles: frozenset[int] = USER_ROLES,
) -> VerifiedRequest:
    """A request that the originator named in its RequestID signed. ``at``: now, to check the certificate's period.

    ``BodyError`` says that the originator did sign it, and that its body cannot be read.
    """
    verified = verify_document(document, find_certificate)
    try:
        request = _request(verified.element)
    except BodyError as error:
        require_signer(verified, error.request.header.request_id.originator, roles, at=at)
        raise
    require_signer(verified, request.header.request_id.originator, roles, at=at)
    return VerifiedRequest(request, verified.signer)


def read_signed_response(
    document: bytes,
    find_certificate: FindCertificate,
    dsp_id: bytes,
    *,
    at: int | None = None,
    roles: frozenset[int] = DSP_ROLES,
) -> VerifiedResponse | UnsignedNotice:
    """A response that the DSP signed, or an unsigned notice that carries nothing; any other is refused."""
    try:
        verified = verify_document(document, find_certificate)
    except SignatureRefused as refusal:
        if refusal.reason is not SignatureReason.UNSIGNED:
            raise
        return _unsigned_notice(document)
    require_signer(verified, dsp_id, roles, at=at)
    return VerifiedResponse(_response(verified.element), verified.signer)


def _unsigned_notice(document: bytes) -> UnsignedNotice:
    """Acknowledgements and errors have been seen without a signature; nothing with a payload may come so."""
    response = parse_response(document)
    if not isinstance(response.body, ResponseMessage) or response.body.payload is not None:
        raise SignatureRefused(SignatureReason.UNSIGNED)
    return UnsignedNotice(response)


# --- writing


def _leaf(name: str, text: str) -> Element:
    return Element(name, text)


def _base64_leaf(name: str, octets: bytes) -> Element:
    return Element(name, b64encode(octets).decode())


def _document(name: str, version: str, header: list[Element], body: Element) -> bytes:
    if not _SCHEMA_VERSION.fullmatch(version):
        raise DuisValueError(f"{version!r} is no schema version")
    inside = write_element(Element("Header", children=tuple(header))) + write_element(Element("Body", children=(body,)))
    text = f'<sr:{name} xmlns:sr="{SR}" schemaVersion="{version}">{inside}</sr:{name}>'.encode()
    # An element of another namespace declares it wherever it stands, which is canonical only in the simplest case.
    return text if b" xmlns:x=" in text else Canonical(text)


def request_element(request: Request) -> list[Element]:
    """The children of a request's Header, in schema order."""
    header = request.header
    children = [_leaf("RequestID", str(header.request_id))]
    if header.first_in_sequence is not None:
        children.append(_leaf("FirstInSequence", "true" if header.first_in_sequence else "false"))
    if header.preceding_service_request_id is not None:
        children.append(_leaf("PrecedingServiceRequestID", str(header.preceding_service_request_id)))
    return [
        *children,
        _leaf("CommandVariant", str(header.command_variant)),
        _leaf("ServiceReference", header.service_reference),
        _leaf("ServiceReferenceVariant", header.service_reference_variant),
    ]


def build_request(request: Request) -> bytes:
    """The request as XML, unsigned and without whitespace between elements."""
    return _document("Request", request.schema_version, request_element(request), request.body)


def _payload_element(payload: Payload) -> Element:
    match payload:
        case GbcsPayload(octets):
            return _base64_leaf("GBCSPayload", octets)
        case PreCommand(version, octets):
            return Element("PreCommand", children=(_leaf("GBCSVersion", version), _base64_leaf("GBCSPayload", octets)))
        case LocalCommand(octets):
            return Element("LocalCommand", children=(_base64_leaf("GBCSPayload", octets),))
        case FutureDatedAlert(code, octets, number, total):
            parts = (
                _leaf("FutureDatedAlertCode", f"{code:04X}"),
                _base64_leaf("GBCSPayload", octets),
                _leaf("InstructionNumber", str(number)),
                _leaf("TotalCommandInstructions", str(total)),
            )
            return Element("FutureDatedDeviceAlertMessage", children=parts)
        case ScheduledMessage(octets, schedule):
            parts_2 = (_base64_leaf("GBCSPayload", octets), _leaf("DSPScheduleID", str(schedule)))
            return Element("DSPScheduledMessage", children=parts_2)
        case OtherPayload(element):
            return element


def _body_element(body: ResponseMessage | DeviceAlert | OtherMessage) -> Element:
    match body:
        case ResponseMessage(reference, variant, payload):
            parts = [_leaf("ServiceReference", reference), _leaf("ServiceReferenceVariant", variant)]
            if payload is not None:
                parts.append(_payload_element(payload))
            return Element("ResponseMessage", children=tuple(parts))
        case DeviceAlert(code, octets, sequence, count):
            parts = [_leaf("AlertCode", f"{code:04X}")]
            if sequence is not None:
                parts.append(_leaf("ThrottledAlertSequenceId", str(sequence)))
            if count is not None:
                parts.append(_leaf("ThrottledAlertCount", str(count)))
            parts.append(_base64_leaf("GBCSPayload", octets))
            return Element("DeviceAlertMessage", children=tuple(parts))
        case OtherMessage(element):
            return element


def build_response(response: Response) -> bytes:
    """The response as XML, unsigned and without whitespace between elements."""
    header = response.header
    children = []
    if header.request_id is not None:
        children.append(_leaf("RequestID", str(header.request_id)))
    if header.response_id is not None:
        children.append(_leaf("ResponseID", str(header.response_id)))
    children.append(_leaf("ResponseCode", header.response_code))
    children.append(_leaf("ResponseDateTime", header.response_date_time))
    return _document("Response", response.schema_version, children, _body_element(response.body))


def build_signed_request(request: Request, signer: Signer) -> bytes:
    """The request as XML with the originator's signature."""
    return sign_document(build_request(request), signer)


def build_signed_response(response: Response, signer: Signer) -> bytes:
    """The response as XML with the DSP's signature."""
    return sign_document(build_response(response), signer)


# --- the answers that a DSP gives


def answer(
    request: Request, response_code: str, at: int, payload: Payload | None = None, *, from_device: bool = False
) -> Response:
    """The response to a request: an acknowledgement or error without payload, or a result with one."""
    header, request_id = request.header, request.header.request_id
    return Response(
        ResponseHeader(
            response_code=response_code,
            response_date_time=write_date_time(at),
            request_id=request_id,
            response_id=request_id.response_id if from_device else None,
        ),
        ResponseMessage(header.service_reference, header.service_reference_variant, payload),
    )


def signed_pre_command(request: Request, signed: bytes, command_variant: int) -> Request:
    """The Signed Pre-Command that follows a Transform request, with the same RequestID and service."""
    if command_variant not in (5, 6, 7):
        raise DuisValueError(f"a Signed Pre-Command is sent with Command Variant 5, 6 or 7, not {command_variant}")
    header = request.header
    return Request(
        RequestHeader(header.request_id, command_variant, header.service_reference, header.service_reference_variant),
        Element(SIGNED_PRE_COMMAND, children=(_base64_leaf("GBCSPayload", signed),)),
        request.schema_version,
    )
