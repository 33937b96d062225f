"""Preparation: the documents that go to the DCC for an order, and what its answers are worth.

    non-critical   Service Request, CV1 or CV2                                     -> acknowledgement, or Command
    critical       Service Request, CV4 -> Pre-Command -> correlate -> GBCS signature
                   -> Signed Pre-Command, CV5 or CV6                               -> acknowledgement, or Command
    afterwards     Return Local Command Response, SRV 8.13, CV8                    -> acknowledgement

The rules kept here (reference: duis 2 and 7):

- A document is a function of the order and its counter: made again after a crash, it is the same octets, under the same
  RequestID. The DSP answers a repeat as it answered the first.
- The supplier's signature is the last word. A Pre-Command is signed only when it says, value by value, what the request
  asked (``duis.correlate``).
- A Command for Local Delivery is taken only when it is sealed, addressed to the device under the order's counter, and
  inside it stands exactly what was signed, or, where nothing was signed, what our own transform makes of the request.
- An unsigned answer of the DCC moves nothing.

Pure: documents come in and go out as bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from lastmetre.duis import compose
from lastmetre.duis.correlate import Differences, IssueTimes, compare_command, correlate
from lastmetre.duis.documents import (
    GbcsPayload,
    LocalCommand,
    Request,
    Response,
    ResponseMessage,
    UnsignedNotice,
    VerifiedResponse,
    build_signed_request,
    parse_request,
    read_signed_response,
    signed_pre_command,
    write_date_time,
)
from lastmetre.duis.errors import DuisError, SignatureRefused
from lastmetre.duis.transform import DeviceFacts, Sender, transform
from lastmetre.duis.xml import Element
from lastmetre.gbcs.errors import GbcsError
from lastmetre.gbcs.message import df_part, parse_message
from lastmetre.gbcs.protect import sign_pre_command
from lastmetre.supplier import duis_orders
from lastmetre.supplier.errors import PreparationFailed
from lastmetre.supplier.orders import Road
from lastmetre.supplier.read_back import PERIOD_S
from lastmetre.supplier.services import DUIS, service_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lastmetre.supplier.keys import SupplierKeys
    from lastmetre.supplier.orders import Order
    from lastmetre.supplier.ports import Document
    from lastmetre.supplier.roads import Device

COUNTER_TOO_LOW: Final = "E41"
"""What our DSP answers to a counter that is not above those before. DESIGN CHOICE of that DSP: the code has no public
meaning, so with another DSP the order fails instead of being made again."""
_SENT: Final = ("signed_pre_command", "service_request")
"""Documents that may be what is sent to have the Command sealed, the last step first."""
ISSUED_WITHIN_S: Final = 300
"""How far the time of issue that the DCC writes into some gas Commands may be from ours. DESIGN CHOICE."""


def command_variant(order: Order) -> int:
    """The Command Variant of what leaves last (duis 2.1), by the way of its first road."""
    local = 2 if order.road is not Road.WAN else 3 if order.with_copy else 1
    return local + 4 if is_critical(order) else local


def sent_document(documents: Sequence[Document]) -> bytes:
    """The document that is sent to have the Command sealed: the newest, since a new counter makes a new one."""
    return next(d.content for d in reversed(documents) if d.name in _SENT)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The DCC said no, in a document it signed."""

    code: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The DCC has the request and will do it."""

    code: str


def facts_of(device: Device, supplier_id: bytes) -> DeviceFacts:
    """What our own transform must know of the device; the supplier is one of its Known Remote Parties."""
    return DeviceFacts(device.device_type, device.gbcs_version, known_remote_parties=frozenset({supplier_id}))


def is_critical(order: Order) -> bool:
    """Whether it needs a Pre-Command and our signature."""
    return service_of(order.service).critical


def first_request(order: Order, keys: SupplierKeys) -> Request:
    """The Service Request: CV4 when critical, else CV1 or CV2 by the order's road."""
    assert order.originator_counter is not None
    assert order.road is not None
    variant = command_variant(order)  # a critical request is made for the Transform service, whatever the road
    try:
        return _compose(order, keys.entity_id, order.originator_counter, variant)
    except DuisError as error:
        raise PreparationFailed(f"no Service Request can be made: {error}") from error


def _compose(order: Order, supplier_id: bytes, counter: int, variant: int) -> Request:
    values: dict[str, Any] = json.loads(order.values_json)
    header = (supplier_id, order.device_id, counter)
    if DUIS in values:
        return duis_orders.request_of(str(values[DUIS]), *header, order, variant)
    match order.service:
        case "top_up":
            return compose.top_up(*header, order.utrn, command_variant=variant)
        case "update_prepay_configuration":
            return compose.update_prepay_configuration(*header, _prepay_configuration(values))
        case "arm_supply":
            return compose.arm_supply(*header)
        case "synchronise_clock":
            # The meter compares its hub's time with a window around this one: wide, for it travels for a while.
            return compose.synchronise_clock(*header, at=order.accepted_at, tolerance_s=compose.TOLERANCE_MAX_S)
        case "disable_supply":
            return compose.disable_supply(*header)
        case "read_supply_status":
            return compose.read_supply_status(*header, command_variant=variant)
        case "read_top_up_log":
            period = (order.accepted_at - PERIOD_S, order.deadline_at)
            children = tuple(
                Element(name, write_date_time(at))
                for name, at in zip(("StartDateTime", "EndDateTime"), period, strict=True)
            )
            log = (Element("ReadLogPeriod", children=children),)
            return compose.make_request("4.4.5", *header, log, command_variant=variant)
        case "read_meter_balance":
            return compose.read_meter_balance(*header, command_variant=variant)
        case _:
            raise PreparationFailed(f"no request is known for service {order.service}")


def _prepay_configuration(values: dict[str, int]) -> compose.PrepayConfiguration:
    return compose.PrepayConfiguration(
        debt_recovery_rate_cap=values["debt_recovery_rate_cap"],
        emergency_credit_limit=values["emergency_credit_limit"],
        emergency_credit_threshold=values["emergency_credit_threshold"],
        low_credit_threshold=values["low_credit_threshold"],
        max_meter_balance=values["max_meter_balance"],
        max_credit_threshold=values["max_credit_threshold"],
    )


def signed_request(request: Request, keys: SupplierKeys) -> bytes:
    """The request as it leaves: XML with our signature."""
    return build_signed_request(request, keys.signer)


def read_answer(document: bytes, keys: SupplierKeys, now: int) -> VerifiedResponse | Refusal:
    """The DSP's signed answer, or its signed no; raises ``PreparationFailed`` for anything else."""
    verified = _signed_by_dsp(document, keys, now)
    header = verified.response.header
    return verified if header.good else Refusal(header.response_code)


def _signed_by_dsp(document: bytes, keys: SupplierKeys, now: int) -> VerifiedResponse:
    try:
        read = read_signed_response(document, keys.find_dsp_certificate, keys.dsp_id, at=now)
    except SignatureRefused as error:
        raise PreparationFailed(f"the DCC's answer is not to be believed: {error.reason.value}") from error
    except DuisError as error:
        raise PreparationFailed(f"the DCC's answer cannot be read: {error}") from error
    if isinstance(read, UnsignedNotice):
        raise PreparationFailed("the DCC's answer carries no signature")
    return read


def sign_if_correlated(
    order: Order, request: Request, answer: bytes, device: Device, keys: SupplierKeys, now: int
) -> tuple[Request, int] | Refusal:
    """The Signed Pre-Command and its message code; raises ``PreparationFailed`` naming each difference."""
    verified = read_answer(answer, keys, now)
    if isinstance(verified, Refusal):
        return verified
    try:
        outcome = correlate(request, verified, facts_of(device, keys.entity_id), issued(order, now))
    except DuisError as error:
        raise PreparationFailed(f"the Pre-Command was not signed: {error}") from error
    if isinstance(outcome, Differences):
        raise PreparationFailed(f"the Pre-Command was not signed: {outcome}")
    signed = sign_pre_command(outcome.pre_command, keys.signing_key)
    assert order.road is not None
    return signed_pre_command(request, signed, command_variant(order)), outcome.transformed.message_code


def read_command(
    order: Order, sent: bytes, answer: bytes, device: Device, keys: SupplierKeys, now: int
) -> bytes | Refusal:
    """The Command for Local Delivery that answers what we sent; raises ``PreparationFailed`` when it is another."""
    request = parse_request(sent)
    response = _answer_to(request, answer, keys, now)
    if isinstance(response, Refusal):
        return response
    if not isinstance(response.payload, LocalCommand):
        raise PreparationFailed("the DCC's answer carries no Command for Local Delivery")
    return checked_command(order, sent, response.payload.gbcs_payload, device, keys, now)


def checked_command(order: Order, sent: bytes, command: bytes, device: Device, keys: SupplierKeys, now: int) -> bytes:
    """The Command itself, which must be what was asked and signed; raises ``PreparationFailed`` naming differences."""
    request = parse_request(sent)
    try:
        message = parse_message(command)
        inside = df_part(message)
        signed = request.signed_pre_command
        compared = None
        if signed is None:
            role = Sender("GS" if device.device_type in _GAS else "IS")
            compared = compare_command(request, inside, facts_of(device, keys.entity_id), role, issued(order, now))
    except (GbcsError, DuisError) as error:
        raise PreparationFailed(f"the Command for Local Delivery cannot be checked: {error}") from error
    if message.mac is None:
        raise PreparationFailed("the Command for Local Delivery is not sealed: it carries no MAC")
    if isinstance(compared, Differences) or (signed is not None and inside != signed):
        named = f": {compared}" if compared else ""
        raise PreparationFailed(f"the Command for Local Delivery does not say what was asked and signed{named}")
    return command


_GAS: Final = frozenset({"GSME", "GPF"})


def issued(order: Order, now: int) -> IssueTimes:
    """When a Command of this order can have been made: an answer that was lost may come again hours later."""
    return IssueTimes(order.accepted_at - ISSUED_WITHIN_S, now + ISSUED_WITHIN_S)


def message_code_of(request: Request, device: Device, keys: SupplierKeys) -> int:
    """Which use case the request becomes for this device."""
    try:
        return transform(request, facts_of(device, keys.entity_id)).message_code
    except DuisError as error:
        raise PreparationFailed(f"no GBCS message can be made of the request: {error}") from error


def read_acknowledgement(sent: bytes, answer: bytes, keys: SupplierKeys, now: int) -> Acknowledged | Refusal:
    """Whether the DCC took the request."""
    response = _answer_to(parse_request(sent), answer, keys, now)
    return response if isinstance(response, Refusal) else Acknowledged(response.header.response_code)


def _answer_to(request: Request, answer: bytes, keys: SupplierKeys, now: int) -> Response | Refusal:
    """The DSP's signed answer to this very request; a good one names its RequestID and service."""
    verified = read_answer(answer, keys, now)
    if isinstance(verified, Refusal):
        return verified
    response, header = verified.response, request.header
    if response.header.request_id != header.request_id:
        raise PreparationFailed(f"the DCC's answer belongs to request {response.header.request_id}")
    body = response.body
    if not isinstance(body, ResponseMessage) or body.service_reference_variant != header.service_reference_variant:
        raise PreparationFailed("the DCC's answer is for another service")
    return response


def return_request(order: Order, sent: bytes, counter: int, keys: SupplierKeys) -> Request:
    """SRV 8.13: the device's Response back to the DCC, naming the request that its Command came from."""
    original = parse_request(sent).header.request_id
    return compose.return_local_command_response(
        keys.entity_id, keys.dsp_id, counter, order.response, original_request_id=original
    )


@dataclass(frozen=True, slots=True)
class FromDevice:
    """A device's message that the DCC brought."""

    message: bytes


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """The copy of a Command that the DCC sends by WAN (Command Variants 3 and 7)."""

    device_id: bytes
    originator_counter: int
    command: bytes


@dataclass(frozen=True, slots=True)
class AboutRequest:
    """What the DCC says, later, of a request that it had acknowledged."""

    device_id: bytes
    originator_counter: int
    code: str


def read_received(document: bytes, keys: SupplierKeys, now: int) -> FromDevice | LocalCopy | AboutRequest | None:
    """What came to Receive Response; ``None`` for what this service has no use for yet (alerts).

    Raises ``PreparationFailed`` for a document that the DSP did not sign.
    """
    response = _signed_by_dsp(document, keys, now).response
    if isinstance(response.payload, GbcsPayload):
        return FromDevice(response.payload.gbcs_payload)
    request_id = response.header.request_id
    if isinstance(response.payload, LocalCommand) and request_id is not None:
        return LocalCopy(request_id.target, request_id.counter, response.payload.gbcs_payload)
    if response.payload is None and request_id is not None and not response.header.good:
        return AboutRequest(request_id.target, request_id.counter, response.header.response_code)
    return None


def with_counter_anew(order: Order) -> Order:
    """The order without the counter the DCC would not have; the next one is higher."""
    return replace(order, originator_counter=None)
