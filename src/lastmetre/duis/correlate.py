"""Whether a Pre-Command says exactly what was asked: the checks a supplier makes before it signs (duis section 7).

The supplier's signature is the last word, so nothing here trusts the DCC. The Pre-Command is decoded and compared value
by value with what our own transform makes of the request; every difference is named in the supplier's terms, with both
values. The answer is ``Agreed`` or ``Differences``; there is no way to sign on a bare truth value.

Times of issue inside a GBZ payload are the DCC's own (transform A6): each must lie in a range, and the identifier that
ties a calendar's components together must be the same in all of them.

Our DSP and our supplier share one transform, so agreement between the two proves nothing by itself: the tests change
every value of every published pair, alone, and require each to be named.

Check 14 (business limits) belongs to the supplier's approvals.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from lastmetre.duis.documents import PreCommand, Request, Response, ResponseMessage, VerifiedResponse
from lastmetre.duis.errors import CorrelationRefused
from lastmetre.duis.transform import (
    DeviceFacts,
    Document,
    Item,
    Part,
    Sender,
    TransformResult,
    component,
    transform,
)
from lastmetre.duis.use_cases.reads import SELECTION
from lastmetre.duis.use_cases.rules import bare, describe
from lastmetre.duis.use_cases.terms import NONE, compare, plain, utc, zigbee_activation
from lastmetre.gbcs.asn1 import Asn1, Role, UpdateCredentials, UpdateMode
from lastmetre.gbcs.catalogue import use_case
from lastmetre.gbcs.certificates import (
    Certificate,
    CertificateRefused,
    Usage,
    check_issued_by,
    parse_certificate,
)
from lastmetre.gbcs.datetimes import unix_from_zigbee
from lastmetre.gbcs.dlms import AccessRequest, GetWithSelection, Spec
from lastmetre.gbcs.errors import GbcsError
from lastmetre.gbcs.gbz import Component, Gbz
from lastmetre.gbcs.message import Kind, Message, df_part, parse_message
from lastmetre.gbcs.payload import decode_payload, encode_payload
from lastmetre.gbcs.zcl import CLUSTER_NAMES, ReadAttributes, ZclCommand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.gbcs.payload import Payload

TRANSFORM_VARIANT: Final = 4


@dataclass(frozen=True, slots=True)
class IssueTimes:
    """Between which moments, in Unix seconds, a command may say that it was issued; both ends count."""

    earliest_at: int
    latest_at: int

    def __contains__(self, at: int) -> bool:
        return self.earliest_at <= at <= self.latest_at

    def __str__(self) -> str:
        return f"a time from {utc(self.earliest_at)} to {utc(self.latest_at)}"

    @classmethod
    def around(cls, now: int, tolerance_s: int) -> IssueTimes:
        """As far from now as is tolerated."""
        return cls(now - tolerance_s, now + tolerance_s)


ANY_ISSUE_TIME: Final = IssueTimes(1_388_534_400, 4_102_444_799)
"""From 2014 to 2099, for callers without a clock: nothing but a moment at all. DESIGN CHOICE."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as asked. ``check`` is the number of the check in the reference."""

    check: int
    name: str
    asked: str
    found: str

    def __str__(self) -> str:
        return f"the Pre-Command sets the {self.name} to {self.found}; you asked for {self.asked}"


@dataclass(frozen=True, slots=True)
class Agreed:
    """The Pre-Command says what was asked, to the octet; it may be put to the approvals and signed."""

    pre_command: bytes
    transformed: TransformResult


@dataclass(frozen=True, slots=True)
class Differences:
    """The Pre-Command does not say what was asked. Do not sign it."""

    found: tuple[Difference, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.found))


def correlate(
    request: Request, response: VerifiedResponse, device: DeviceFacts, issued: IssueTimes = ANY_ISSUE_TIME
) -> Agreed | Differences:
    """Check the DSP's signed answer to a Transform request (checks 1 to 13).

    Raises ``CorrelationRefused`` when the answer is no Pre-Command for this request at all, and ``TransformError`` when
    we cannot tell ourselves what the request should become: what cannot be checked is not signed.
    """
    pre_command = _pre_command_of(request, response.response)
    differences = []
    if pre_command.gbcs_version != device.gbcs_version:
        differences.append(Difference(8, "GBCS version", device.gbcs_version, pre_command.gbcs_version))
    result = compare_pre_command(request, pre_command.gbcs_payload, device, issued)
    if isinstance(result, Differences):
        differences.extend(result.found)
    return Differences(tuple(differences)) if differences else result


def _pre_command_of(request: Request, response: Response) -> PreCommand:
    """Checks 1 to 3: the answer belongs to the pending request and carries a Pre-Command."""
    header, asked = response.header, request.header
    if asked.command_variant != TRANSFORM_VARIANT:
        raise CorrelationRefused("only a request to the Transform service is answered by a Pre-Command")
    if header.request_id != asked.request_id:
        raise CorrelationRefused(f"the answer belongs to request {header.request_id}, not to {asked.request_id}")
    if header.response_code != "I0":
        raise CorrelationRefused(f"the DCC answered {header.response_code}, not I0")
    body = response.body
    if not isinstance(body, ResponseMessage) or not isinstance(body.payload, PreCommand):
        raise CorrelationRefused("the answer carries no Pre-Command")
    services = (body.service_reference, body.service_reference_variant)
    if services != (asked.service_reference, asked.service_reference_variant):
        raise CorrelationRefused(f"the answer is for service {services[1]}, not {asked.service_reference_variant}")
    return body.payload


def compare_pre_command(
    request: Request, pre_command: bytes, device: DeviceFacts, issued: IssueTimes = ANY_ISSUE_TIME
) -> Agreed | Differences:
    """Compare the octets of a Pre-Command with what the request should have become (checks 4 to 13)."""
    # The User signs as itself, so it must be known to the device: whoever is not gets no Pre-Command.
    known = replace(device, known_remote_parties=device.known_remote_parties | {request.header.request_id.originator})
    return compare_command(request, pre_command, known, Sender(), issued)


def compare_command(
    request: Request, df: bytes, device: DeviceFacts, sender: Sender, issued: IssueTimes = ANY_ISSUE_TIME
) -> Agreed | Differences:
    """Compare what is inside any Command before its MAC: of a non-critical one, the DF part itself."""
    expected = transform(request, device, replace(sender, issued_at=issued.earliest_at))
    try:
        message = parse_message(df)
    except GbcsError as error:
        return Differences((Difference(4, "message", "a Pre-Command", f"something else ({error})"),))
    found = (*compare_message(expected, message, issued), *check_certificates(expected))
    if not found and df != df_part(replace(parse_message(expected.message), content=message.content)):
        # Nothing we can name differs and yet the octets do: still no agreement.
        found = (Difference(9, "octets", expected.message.hex(), df.hex()),)
    return Differences(found) if found else Agreed(df, expected)


# --- value by value


def compare_message(expected: TransformResult, message: Message, issued: IssueTimes) -> tuple[Difference, ...]:
    """Every difference between what we made and a message without MAC."""
    return (*_compare_header(expected, message), *_compare_content(expected, message, issued))


def _compare_header(expected: TransformResult, message: Message) -> Iterator[Difference]:
    kind = parse_message(expected.message).kind
    if message.kind is not kind or bool(message.signature):
        asked_kind = "Pre-Command" if kind is Kind.PRE_COMMAND else "Command with an empty signature"
        yield Difference(4, "kind of message", asked_kind, f"{message.kind.value} with a signature or MAC field")
    asked, found = expected.header, message.header
    pairs = (
        (5, "originator", asked.business_originator_id.hex(), found.business_originator_id.hex()),
        (5, "target device", asked.business_target_id.hex(), found.business_target_id.hex()),
        (5, "originator counter", str(asked.originator_counter), str(found.originator_counter)),
        (7, "use case", _use_case(asked.message_code), _use_case(found.message_code)),
        (4, "header date and time", asked.date_time.hex() or NONE, found.date_time.hex() or NONE),
    )
    for check, name, left, right in pairs:
        if left != right:
            yield Difference(check, name, left, right)
    beside = (asked.other_information.to_bytes()[2:], found.other_information.to_bytes()[2:])
    if beside[0] != beside[1]:
        yield Difference(6, "supplementary information", beside[0].hex() or NONE, beside[1].hex() or NONE)


def _use_case(message_code: int) -> str:
    row = use_case(message_code)
    return f"{row.name} {row.title} (0x{message_code:04X})" if row else f"0x{message_code:04X}"


_FAMILIES: Final = {AccessRequest: "a DLMS access request", Gbz: "a GBZ payload", Asn1: "an ASN.1 payload"}


def _compare_content(expected: TransformResult, message: Message, issued: IssueTimes) -> Iterator[Difference]:
    asked = expected.payload
    # Read as what it should be, whatever code stands in the header: that difference is named already.
    code = expected.message_code if isinstance(asked, Asn1) else message.header.message_code
    try:
        content = decode_payload(code, message.header.cra, message.content)
    except GbcsError as error:
        yield Difference(4, "content", _FAMILIES[type(asked)], f"something else ({error})")
        return
    if type(content) is not type(asked):
        yield Difference(4, "content", _FAMILIES[type(asked)], "another kind of payload")
        return
    differences = tuple(_compare_payload(expected, content, issued))
    yield from differences
    if not differences and encode_payload(_with_issue_times(expected, content)) != message.content:
        yield Difference(9, "octets of the content", expected.content.hex(), message.content.hex())


def _compare_payload(expected: TransformResult, content: Payload, issued: IssueTimes) -> Iterator[Difference]:
    filled = expected.filled
    if isinstance(content, AccessRequest) and isinstance(expected.payload, AccessRequest):
        counters = (expected.payload.invoke_id, content.invoke_id)
        if counters[0] != counters[1]:
            yield Difference(12, "counter repeated in the content", *map(str, counters))
        yield from _compare_items(tuple(item for item in filled if isinstance(item, Item)), content)  # type: ignore[union-attr]
    elif isinstance(content, Gbz):
        parts = tuple(part for part in filled if isinstance(part, Part))  # type: ignore[union-attr]
        yield from _compare_components(parts, content, issued)
    elif isinstance(content, Asn1) and isinstance(filled, Document):
        yield from _named(compare(filled.value, content.value, filled.term))


_CHECKS: Final = (("activation time", 11), ("execution time", 11), ("counter repeated", 12), ("certificate", 13))


def _named(found: Iterator[tuple[str, str, str]]) -> Iterator[Difference]:
    for name, left, right in found:
        check = next((number for start, number in _CHECKS if name.startswith(start)), 9)
        yield Difference(check, name, left, right)


# --- DLMS


def _compare_items(items: tuple[Item, ...], content: AccessRequest) -> Iterator[Difference]:
    for item, (spec, data) in zip(items, content.items, strict=False):
        if spec != item.spec:
            yield from _compare_spec(item, spec)
        yield from _named(compare(item.data, data, item.term))
    for item in items[len(content.items) :]:
        yield Difference(10, item.term.name or describe(item.spec), item.term.show(item.data), NONE)
    for spec, data in content.items[len(items) :]:
        yield Difference(10, f"additional instruction {describe(spec)}", NONE, plain(data))


def _compare_spec(item: Item, spec: Spec) -> Iterator[Difference]:
    """An instruction that reads or writes something else, or selects another part of it."""
    left, right = describe(item.spec), describe(spec)
    if left != right:
        yield Difference(9, f"instruction for the {item.term.name or left}", left, right)
    elif isinstance(item.spec, GetWithSelection) and isinstance(spec, GetWithSelection):
        yield from _named(compare(item.spec.parameter, spec.parameter, SELECTION))


# --- GBZ


def _compare_components(parts: tuple[Part, ...], content: Gbz, issued: IssueTimes) -> Iterator[Difference]:
    found = content.components
    calendars = Counter(
        value for part, other in zip(parts, found, strict=False) for value in _issue_values(part, other, "calendar")
    )
    calendar = calendars.most_common(1)[0][0] if calendars else None
    for at, (part, other) in enumerate(zip(parts, found, strict=False)):
        yield from _compare_component(part, at, other)
        yield from _compare_issue_times(part, other, issued, calendar)
    for part in parts[len(found) :]:
        yield Difference(10, part.name, _instruction(component(part, 0)), NONE)
    for other in found[len(parts) :]:
        yield Difference(10, "additional instruction", NONE, _instruction(other))


def _instruction(found: Component) -> str:
    name = getattr(found.body, "name", type(found.body).__name__)
    return f"{name} ({CLUSTER_NAMES.get(found.cluster, 'cluster')} {found.cluster:04X})"


def _compare_component(part: Part, at: int, found: Component) -> Iterator[Difference]:
    asked = component(part, at)
    same = (asked.cluster, asked.frame_control) == (found.cluster, found.frame_control)
    if not same or asked.command_id != found.command_id or type(asked.body) is not type(found.body):
        left = f"{_instruction(asked)}, control {asked.frame_control:02X}"
        right = f"{_instruction(found)}, control {found.frame_control:02X}"
        yield Difference(9, f"instruction for the {part.name}", left, right)
        return
    if asked.sequence != found.sequence:
        yield Difference(9, f"sequence number of the {part.name}", str(asked.sequence), str(found.sequence))
    if asked.from_date_time != found.from_date_time:
        left, right = (
            NONE if when is None else zigbee_activation(when) for when in (asked.from_date_time, found.from_date_time)
        )
        yield Difference(11, f"activation time of the {part.name}", left, right)
    if isinstance(found.body, ReadAttributes) and isinstance(part.body, ReadAttributes):
        yield from _named(compare((part.body.attribute_ids,), (found.body.attribute_ids,), part.term))
    elif isinstance(found.body, ZclCommand) and isinstance(part.body, ZclCommand):
        yield from _compare_fields(part, part.body, found.body)


def _compare_fields(part: Part, asked: ZclCommand, found: ZclCommand) -> Iterator[Difference]:
    given = dict(found.fields)
    for (name, value), term in zip(asked.fields, part.term.parts, strict=True):
        if name in part.issuer_times:
            continue
        yield from _named(compare(bare(value), bare(given.get(name)), term))
    for name in given.keys() - dict(asked.fields).keys():
        yield Difference(10, f"additional field {name} of the {part.name}", NONE, plain(bare(given[name])))


def _issue_values(part: Part, found: Component, field: str) -> Iterator[int]:
    if field in part.issuer_times and isinstance(found.body, ZclCommand):
        value = dict(found.body.fields).get(field)
        if isinstance(value, int):
            yield value


def _compare_issue_times(
    part: Part, found: Component, issued: IssueTimes, calendar: int | None
) -> Iterator[Difference]:
    for field in sorted(part.issuer_times):
        name = f"time of issue ({field.replace('_', ' ')}) of the {part.name}"
        for value in _issue_values(part, found, field):
            shown = zigbee_activation(value)
            if unix_from_zigbee(value) not in issued:
                yield Difference(9, name, str(issued), shown)
            elif field == "calendar" and value != calendar:
                yield Difference(9, name, "one calendar in every component", shown)


def _with_issue_times(expected: TransformResult, content: Payload) -> Payload:
    """What we made, with the times of issue that were found."""
    if not isinstance(expected.payload, Gbz) or not isinstance(content, Gbz):
        return expected.payload
    components = []
    for at, (part, found) in enumerate(zip(expected.filled, content.components, strict=True)):  # type: ignore[arg-type]
        assert isinstance(part, Part)
        made = component(part, at)
        if isinstance(made.body, ZclCommand) and isinstance(found.body, ZclCommand):
            given = dict(found.body.fields)
            fields = tuple(
                (name, given[name] if name in part.issuer_times else value) for name, value in made.body.fields
            )
            made = replace(made, body=replace(made.body, fields=fields))
        components.append(made)
    return Gbz(tuple(components))


# --- certificates (check 13)

_OWN: Final = frozenset({UpdateMode.SUPPLIER_BY_SUPPLIER, UpdateMode.NETWORK_OPERATOR_BY_NETWORK_OPERATOR})
"""Modes in which a User replaces its own certificates, which then must bear its identifier. DESIGN CHOICE."""


def check_certificates(expected: TransformResult) -> tuple[Difference, ...]:
    """Whether the certificates of an update are what they are meant to be: role, use, holder, and a path upwards.

    That they are those of the request was compared before; this asks whether the request itself makes sense. Dates are
    not looked at: whoever holds the clock does that.
    """
    payload = expected.payload
    if not isinstance(payload, Asn1) or not isinstance(payload.value, UpdateCredentials):
        return ()
    update = payload.value
    try:
        path = [parse_certificate(der) for der in update.path]
        replacements = [parse_certificate(replacement.certificate) for replacement in update.replacements]
    except CertificateRefused as error:
        return (Difference(13, "certificate", "a certificate of the profile", str(error)),)
    owns = expected.critical and update.control.mode in _OWN
    owner = expected.header.business_originator_id if owns else None
    holders = {certificate.entity_id for certificate in replacements}
    found = []
    if len(holders) > 1 or (owner is not None and holders != {owner}):
        shown = ", ".join(sorted(holder.hex() if holder else "an issuer" for holder in holders))
        found.append(Difference(13, "certificate holder", owner.hex() if owner else "one party", shown))
    for number, (certificate, replacement) in enumerate(zip(replacements, update.replacements, strict=True), 1):
        usage = Usage.DIGITAL_SIGNATURE if replacement.target.key_usage.bit_count == 1 else Usage.KEY_AGREEMENT
        problem = _problem(certificate, path, usage, Role(replacement.target.role))
        if problem is not None:
            name = f"certificate of replacement {number}"
            found.append(Difference(13, name, f"{usage} for {Role(replacement.target.role).name}", problem))
    return tuple(found)


def _problem(certificate: Certificate, path: list[Certificate], usage: Usage, role: Role) -> str | None:
    """Why a certificate may not go where it is to go, or None."""
    if certificate.role is None or int(certificate.role) != int(role):
        return f"it belongs to another role than {role.name}"
    issuer = next((issuer for issuer in path if issuer.subject_name == certificate.issuer_name), None)
    if issuer is None:
        return f"its issuer {certificate.issuer_name} is not in the certification path"
    try:
        check_issued_by(certificate, issuer, at=_within(certificate), usage=usage)
    except CertificateRefused as refusal:
        return str(refusal)
    return None


def _within(certificate: Certificate) -> datetime:
    return certificate.not_before.astimezone(UTC)
