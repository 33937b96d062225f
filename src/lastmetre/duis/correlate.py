"""Whether a Pre-Command says exactly what was asked: the checks a supplier makes before it signs (duis section 7).

The supplier's signature is the last word, so nothing here trusts the DCC. The Pre-Command is decoded and compared value
by value with what our own transform makes of the request; every difference is named in the supplier's terms, with both
values. The answer is ``Agreed`` or ``Differences``; there is no way to sign on a bare truth value.

Our DSP and our supplier share one transform, so agreement between the two proves nothing by itself: the tests change
every value of every published pair, alone, and require each to be named.

Check 14 (business limits) belongs to the supplier's approvals, 13 (certificates) to the use cases that carry them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.duis.documents import PreCommand, Request, Response, ResponseMessage, VerifiedResponse
from lastmetre.duis.errors import CorrelationRefused
from lastmetre.duis.transform import DeviceFacts, Item, TransformResult, transform
from lastmetre.duis.use_cases.reads import SELECTION
from lastmetre.duis.use_cases.rules import describe
from lastmetre.duis.use_cases.terms import NONE, compare, plain
from lastmetre.gbcs.catalogue import use_case
from lastmetre.gbcs.dlms import AccessRequest, GetWithSelection, Spec, decode_access_request
from lastmetre.gbcs.errors import GbcsError
from lastmetre.gbcs.message import Kind, Message, parse_message

if TYPE_CHECKING:
    from collections.abc import Iterator


TRANSFORM_VARIANT: Final = 4


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


def correlate(request: Request, response: VerifiedResponse, device: DeviceFacts) -> Agreed | Differences:
    """Check the DSP's signed answer to a Transform request (checks 1 to 12).

    Raises ``CorrelationRefused`` when the answer is no Pre-Command for this request at all, and ``TransformError`` when
    we cannot tell ourselves what the request should become: what cannot be checked is not signed.
    """
    pre_command = _pre_command_of(request, response.response)
    differences = []
    if pre_command.gbcs_version != device.gbcs_version:
        differences.append(Difference(8, "GBCS version", device.gbcs_version, pre_command.gbcs_version))
    result = compare_pre_command(request, pre_command.gbcs_payload, device)
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


def compare_pre_command(request: Request, pre_command: bytes, device: DeviceFacts) -> Agreed | Differences:
    """Compare the octets of a Pre-Command with what the request should have become (checks 4 to 12)."""
    # The User signs as itself, so it must be known to the device: whoever is not gets no Pre-Command.
    known = DeviceFacts(
        device.device_type,
        device.gbcs_version,
        device.twin,
        device.phases,
        device.known_remote_parties | {request.header.request_id.originator},
    )
    expected = transform(request, known)
    try:
        message = parse_message(pre_command)
    except GbcsError as error:
        return Differences((Difference(4, "message", "a Pre-Command", f"something else ({error})"),))
    found = (*_compare_header(expected, message), *_compare_content(expected, message))
    if not found and pre_command != expected.message:
        # Nothing we can name differs and yet the octets do: still no agreement.
        found = (Difference(9, "octets", expected.message.hex(), pre_command.hex()),)
    return Differences(found) if found else Agreed(pre_command, expected)


def _compare_header(expected: TransformResult, message: Message) -> Iterator[Difference]:
    if message.kind is not Kind.PRE_COMMAND:
        yield Difference(4, "kind of message", "Pre-Command", f"{message.kind.value} with a signature or MAC field")
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


def _compare_content(expected: TransformResult, message: Message) -> Iterator[Difference]:
    try:
        content = decode_access_request(message.content)
    except GbcsError as error:
        yield Difference(4, "content", "a DLMS access request", f"something else ({error})")
        return
    asked = expected.request
    if content.invoke_id != asked.invoke_id:
        yield Difference(12, "counter repeated in the content", str(asked.invoke_id), str(content.invoke_id))
    yield from _compare_items(expected.items, content)


def _compare_items(items: tuple[Item, ...], content: AccessRequest) -> Iterator[Difference]:
    for item, (spec, data) in zip(items, content.items, strict=False):
        if spec != item.spec:
            yield from _compare_spec(item, spec)
        for name, left, right in compare(item.data, data, item.term):
            yield Difference(11 if name.startswith("activation time") else 9, name, left, right)
    for item in items[len(content.items) :]:
        yield Difference(10, item.term.name, item.term.show(item.data), NONE)
    for spec, data in content.items[len(items) :]:
        yield Difference(10, f"additional instruction {describe(spec)}", NONE, plain(data))


def _compare_spec(item: Item, spec: Spec) -> Iterator[Difference]:
    """An instruction that reads or writes something else, or selects another part of it."""
    left, right = describe(item.spec), describe(spec)
    if left != right:
        yield Difference(9, f"instruction for the {item.term.name}", left, right)
    elif isinstance(item.spec, GetWithSelection) and isinstance(spec, GetWithSelection):
        for name, one, other in compare(item.spec.parameter, spec.parameter, SELECTION):
            yield Difference(9, name, one, other)
