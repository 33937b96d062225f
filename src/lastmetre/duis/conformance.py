"""Whether our transform makes of published requests the messages that others published for them.

Rules kept here:

* A pair is a request template and its partner messages under one stem. No stem is known to the code; what is expected
  to differ is a table of the caller's (``docs/transform-expected.toml``).
* What the XML cannot say and the DSP takes from its inventory is taken from the partner message where its header tells
  it: originator and counters, and the message code among those that the service allows (device type, GBCS version,
  phases, the User's role). What only the content can tell is listed with the verdict, so that nobody takes it for
  rebuilt: a second element, the other device of a join, backups and numbers that the DCC fills in, the time of issue,
  certificates that are others than the template's.
* Everything else is rebuilt from the XML and compared octet for octet.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field, replace
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.duis.correlate import ANY_ISSUE_TIME, compare_message
from lastmetre.duis.documents import Request, parse_base64, parse_request
from lastmetre.duis.errors import DuisError, TransformError
from lastmetre.duis.transform import (
    DeviceFacts,
    HubBackup,
    Records,
    Sender,
    TransformResult,
    rules_of,
    transform,
)
from lastmetre.duis.use_cases.joining import TYPES
from lastmetre.duis.use_cases.security import SLOTS
from lastmetre.gbcs.asn1 import Asn1, Join, RestoreDeviceLog, UpdateCredentials
from lastmetre.gbcs.axdr import Array, OctetString, Structure
from lastmetre.gbcs.certificates import Certificate, CertificateRefused, parse_certificate
from lastmetre.gbcs.datetimes import unix_from_zigbee
from lastmetre.gbcs.dlms import AccessRequest
from lastmetre.gbcs.errors import GbcsError
from lastmetre.gbcs.gbz import Gbz
from lastmetre.gbcs.message import Message, df_part, parse_message
from lastmetre.gbcs.payload import decode_payload
from lastmetre.gbcs.zcl import ZclCommand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lastmetre.duis.xml import Element

TEMPLATE_SUFFIX: Final = "_REQUEST_DUIS"
PRE_COMMAND_SUFFIX: Final = "_PRECOMMAND_GBCS"
COMMAND_SUFFIX: Final = "_COMMAND_GBCS"

GBCS_VERSIONS: Final = ("4.3", "2.0", "1.0")
"""Versions tried, newest first: one for each side of the limits in ``rules``."""
PHASES: Final = (1, 3)
ROLES: Final = ("IS", "ED")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one stem."""

    stem: str
    outcome: str
    """``equal``, ``different`` or ``without a partner``."""
    difference: str = ""
    """The first thing that differs, with both values."""
    taken: tuple[str, ...] = ()
    """What was taken from the content of the partner message and is not rebuilt."""
    use_case: str = ""


EQUAL: Final = "equal"
DIFFERENT: Final = "different"
WITHOUT_PARTNER: Final = "without a partner"
OUTCOMES: Final = (EQUAL, DIFFERENT, WITHOUT_PARTNER)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a partner message tells of the device and the sender; ``taken`` says what came from its content."""

    request: Request
    device: DeviceFacts
    sender: Sender
    taken: tuple[str, ...] = ()


@dataclass(slots=True)
class _Findings:
    """What the content of a partner message tells, while it is being read."""

    records: Records = field(default_factory=Records)
    issued_at: int | None = None
    taken: list[str] = field(default_factory=list)


def check(templates: Mapping[str, bytes], messages: Mapping[str, bytes]) -> tuple[Verdict, ...]:
    """A verdict for each template. Both by file name without directory and ending; messages as octets."""
    return tuple(
        check_stem(
            name.removesuffix(TEMPLATE_SUFFIX),
            document,
            messages.get(name.removesuffix(TEMPLATE_SUFFIX) + COMMAND_SUFFIX),
            messages.get(name.removesuffix(TEMPLATE_SUFFIX) + PRE_COMMAND_SUFFIX),
        )
        for name, document in sorted(templates.items())
    )


def check_stem(stem: str, document: bytes, command: bytes | None, pre_command: bytes | None) -> Verdict:
    """A verdict for one template and its partners: a Command, a Pre-Command, or both."""
    if command is None and pre_command is None:
        return Verdict(stem, WITHOUT_PARTNER)
    try:
        message = parse_message(command or pre_command or b"")
    except GbcsError as error:
        return Verdict(stem, DIFFERENT, f"the partner is no GBCS message: {error}")
    try:
        request = parse_request(document)
        facts, result = rebuild(request, message)
    except DuisError as error:
        return Verdict(stem, DIFFERENT, f"cannot be transformed: {error}")
    difference = _first_difference(result, message, has_mac=command is not None)
    if not difference and pre_command is not None and pre_command != result.message:
        difference = f"the Pre-Command is {pre_command.hex()}, ours {result.message.hex()}"
    return Verdict(stem, DIFFERENT if difference else EQUAL, difference, facts.taken, result.use_case)


def _first_difference(result: TransformResult, message: Message, *, has_mac: bool) -> str:
    bare = Message(message.header, message.content, None if _signed(result) else b"", None)
    for found in compare_message(result, bare, ANY_ISSUE_TIME):
        return f"{found.name}: the message has {found.found}, ours {found.asked}"
    if df_part(bare) != result.message:
        return f"octets: the message has {df_part(bare).hex()}, ours {result.message.hex()}"
    if has_mac and (message.mac is None or bool(message.signature) is not _signed(result)):
        return "signature and MAC: the message is protected in another way than ours would be"
    return ""


def _signed(result: TransformResult) -> bool:
    return result.critical or result.signed_by_dcc


# --- facts from the partner message


def rebuild(request: Request, message: Message) -> tuple[Facts, TransformResult]:
    """The message we make of a request, with the facts that a partner message tells.

    The facts of the first combination that leads to the partner's message code are taken; of two that differ in a
    second element only, the one that makes the same content. Raises ``TransformError`` when none can be transformed.
    """
    best: tuple[Facts, TransformResult] | None = None
    problem: TransformError | None = None
    for facts in derive(request, message):
        try:
            result = transform(facts.request, facts.device, facts.sender)
        except TransformError as error:
            problem = problem or error
            continue
        if result.content == message.content and result.header == message.header:
            return facts, result
        if best is None or _likeness(result, message) > _likeness(best[1], message):
            best = facts, result
    if best is None:
        raise problem or TransformError("no use case of this service has the partner's message code")
    return best


def _likeness(result: TransformResult, message: Message) -> tuple[bool, bool]:
    return result.message_code == message.header.message_code, result.header == message.header


def derive(request: Request, message: Message) -> Iterator[Facts]:
    """Facts under which the request may have become the message, most likely first."""
    findings = _findings(message)
    sender = _sender(request, message, findings.issued_at)
    known = message.header.business_originator_id == request.header.request_id.originator
    beside = message.header.other_information.supplementary_remote_party_id
    originators = frozenset({request.header.request_id.originator}) if known and beside is None else frozenset()
    rules = rules_of(request.header.service_reference_variant)
    with_code = [rule for rule in rules if rule.message_code == message.header.message_code]
    types = sorted({kind for rule in with_code or rules for kind in rule.devices}, key=_usual)
    swapped = _with_their_certificates(request, message)
    for other, twin, kind, version, phases, role in product(
        (None, swapped) if swapped else (None,), (False, True), types, GBCS_VERSIONS, PHASES, ROLES
    ):
        device = DeviceFacts(kind, version, twin, phases, originators, findings.records)
        taken = [*findings.taken, *(["second element"] if twin else [])]
        if other is not None:
            taken.append(other[1])
        yield Facts(other[0] if other else request, device, replace(sender, user_role=role), tuple(taken))


def _usual(device_type: str) -> tuple[int, str]:
    order = ("ESME", "GSME", "GPF", "CHF", "PPMID", "HCALCS")
    return (order.index(device_type) if device_type in order else len(order), device_type)


def _sender(request: Request, message: Message, issued_at: int | None) -> Sender:
    header = message.header
    beside = header.other_information.supplementary_remote_party_id
    stranger = beside if beside != request.header.request_id.originator else None
    speaker, counter = header.business_originator_id, header.originator_counter
    return Sender("IS", speaker, counter, speaker, counter, issued_at, stranger)


def _findings(message: Message) -> _Findings:
    """What the DCC put into the content from its own records."""
    findings = _Findings()
    try:
        payload = decode_payload(message.header.message_code, message.header.cra, message.content)
    except GbcsError:
        return findings
    if isinstance(payload, Asn1):
        _read_asn1(payload, findings)
    elif isinstance(payload, Gbz):
        _read_gbz(payload, findings)
    elif isinstance(payload, AccessRequest):
        _read_dlms(message.header.message_code, payload, findings)
    return findings


_TYPE_NAMES: Final = MappingProxyType({int(number): name for name, number in reversed(list(TYPES.items()))})


def _read_asn1(payload: Asn1, findings: _Findings) -> None:
    value = payload.value
    if isinstance(value, Join) and value.type in _TYPE_NAMES:
        findings.records = Records(_TYPE_NAMES[value.type], value.certificate)
        findings.taken.append("type of the other device")
        if value.certificate is not None:
            findings.taken.append("certificate of the other device")
    elif isinstance(value, RestoreDeviceLog) and all(entry.type in _TYPE_NAMES for entry in value.log):
        findings.records = Records(device_log=tuple((entry.device_id, _TYPE_NAMES[entry.type]) for entry in value.log))
        findings.taken.append("device log")


CODE_CIN_GAS: Final = 0x0083
CODE_CIN_ELECTRICITY: Final = 0x0058
CODE_RESTORE_HUB: Final = 0x0003


def _read_gbz(payload: Gbz, findings: _Findings) -> None:
    for component in payload.components:
        if not isinstance(component.body, ZclCommand):
            continue
        fields = dict(component.body.fields)
        issued = fields.get("issuer_event", fields.get("id") if component.body.name == "DisplayMessage" else None)
        if isinstance(issued, int) and findings.issued_at is None:
            findings.issued_at = unix_from_zigbee(issued)
            findings.taken.append("time of issue")
        number = fields.get("cin")
        if isinstance(number, bytes):
            findings.records = Records(customer_identification_number=number.decode("latin-1"))
            findings.taken.append("customer identification number")
    if findings.issued_at is None:
        findings.issued_at = ANY_ISSUE_TIME.earliest_at


def _read_dlms(message_code: int, payload: AccessRequest, findings: _Findings) -> None:
    match message_code, [data for _, data in payload.items]:
        case 0x0058, [OctetString(number)]:
            findings.records = Records(customer_identification_number=number.decode("latin-1"))
            findings.taken.append("customer identification number")
        case 0x0003, [Structure((OctetString(network), Array(rows)))]:
            keys = tuple(_octets(row) for row in rows)
            findings.records = Records(hub_backup=HubBackup(network, keys))
            findings.taken.append("backup of the hub")


def _octets(row: object) -> tuple[bytes, bytes]:
    match row:
        case Structure((OctetString(device), OctetString(key))):
            return device, key
    return b"", b""


# --- certificates that are others than the template's


def _with_their_certificates(request: Request, message: Message) -> tuple[Request, str] | None:
    """The request with the message's certificates, place by place, and how they differ; None where there are none.

    Templates were given new certificates since the messages were made, once or twice those of another holder.
    """
    theirs = _certificates_of(message)
    ours = [found for name in _CERTIFICATE_ELEMENTS for found in _named(request.body, name)]
    if not theirs or len(theirs) != len(ours):
        return None
    try:
        pairs = [
            (parse_certificate(parse_base64(old.text, old.name)), parse_certificate(new))
            for old, new in zip(ours, theirs, strict=True)
        ]
    except (CertificateRefused, DuisError):
        return None
    again = all(_identity(one) == _identity(other) for one, other in pairs)
    swap = {old.text: b64encode(new).decode() for old, new in zip(ours, theirs, strict=True)}
    note = "certificates issued again" if again else "certificates of another holder or use"
    return replace(request, body=_swapped(request.body, swap)), note


_CERTIFICATE_ELEMENTS: Final = (*(name for name, _, _ in SLOTS), "Certificate", "KAPublicSecurityCredentials")


def _certificates_of(message: Message) -> list[bytes]:
    """The certificates of parties that a message carries, in the order of ``_CERTIFICATE_ELEMENTS``."""
    beside = message.header.other_information.supplementary_certificate
    if beside is not None:
        return [beside]
    try:
        payload = decode_payload(message.header.message_code, message.header.cra, message.content)
    except GbcsError:
        return []
    if not isinstance(payload, Asn1) or not isinstance(payload.value, UpdateCredentials):
        return []
    return [*(replacement.certificate for replacement in payload.value.replacements), *payload.value.path]


def _identity(certificate: Certificate) -> tuple[object, ...]:
    return (
        certificate.entity_id,
        certificate.role,
        certificate.usage,
        certificate.subject_name,
        certificate.issuer_name,
    )


def _named(element: Element, name: str) -> Iterator[Element]:
    if element.name == name:
        yield element
    for child in element.children:
        yield from _named(child, name)


def _swapped(element: Element, swap: Mapping[str, str]) -> Element:
    if not element.children:
        return element._replace(text=swap.get(element.text, element.text))
    return element._replace(children=tuple(_swapped(child, swap) for child in element.children))
