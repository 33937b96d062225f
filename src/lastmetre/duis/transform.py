"""The GBCS message that the DCC builds from a Service Request (reference: transform A1 to A4).

Rules kept here:

* Deterministic: the same request, device and sender give the same bytes. A supplier checks a Pre-Command by building
  it again; the DSP builds it in the first place.
* The header names the User and the RequestID's counter when the device knows the User (a Known Remote Party), and
  whenever the User signs the command itself. For any other User the access control broker speaks, under its own
  counter, and names the User beside itself. A few commands the broker, or the change of supplier party, sends for
  itself.
* A date that the DCC holds (pattern DSP) is not encoded: the command is built when the time has come, and is immediate.
* What no rule covers raises ``TransformError``; nothing is guessed.

The rules themselves are rows in ``use_cases``, a module per family.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.duis.catalogue import SIGNED, ServiceRequest, service_request
from lastmetre.duis.errors import DuisDecodeError, TransformError
from lastmetre.duis.use_cases import (
    alerts,
    auxiliary,
    configuration,
    gas,
    gas_reads,
    gas_tariff,
    joining,
    meter_settings,
    prepayment,
    reads,
    security,
    supply,
    tariff,
)
from lastmetre.duis.use_cases.rules import (
    Asked,
    DeviceFacts,
    Document,
    Filled,
    HubBackup,
    Item,
    Part,
    Records,
    Rule,
    Speaker,
)
from lastmetre.duis.use_cases.terms import leaves, zigbee_activation
from lastmetre.duis.use_cases.values import activation, certificate
from lastmetre.gbcs.asn1 import Asn1
from lastmetre.gbcs.datetimes import zigbee_from_unix
from lastmetre.gbcs.dlms import AccessRequest
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import Component, Gbz
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from lastmetre.gbcs.payload import encode_payload
from lastmetre.gbcs.protect import pre_command, unsigned_df
from lastmetre.gbcs.zcl import FRAME_CLUSTER_SPECIFIC, FRAME_FROM_SERVER, ZclCommand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lastmetre.duis.documents import Request

__all__ = [
    "DeviceFacts",
    "Document",
    "HubBackup",
    "Item",
    "Part",
    "Records",
    "Sender",
    "TransformResult",
    "rules_of",
    "supported",
    "transform",
]

INVOKE_ID_MASK: Final = 0xFF_FFFF
"""A DLMS payload repeats the low 24 bits of the originator counter."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who speaks to the device: the User in its role, or a party of the DCC in its place under its own counter."""

    user_role: str = "IS"
    broker_id: bytes | None = None
    broker_counter: int | None = None
    change_of_supplier_id: bytes | None = None
    change_of_supplier_counter: int | None = None
    issued_at: int | None = None
    """When a GBZ command is issued, in Unix seconds: it stands for event, calendar and message identifiers."""
    on_behalf_of: bytes | None = None
    """The User whom the broker names, where the request itself names the broker (seen for SRV 11.2 to a PPMID)."""


@dataclass(frozen=True, slots=True)
class TransformResult:
    """A GBCS message before signature and MAC, with the names of its values."""

    header: GroupingHeader
    content: bytes
    use_case: str
    message_code: int
    critical: bool
    payload: AccessRequest | Gbz | Asn1
    filled: Filled
    signed_by_dcc: bool = False
    """To be signed, before it is sealed, by the party of the DCC that is its originator."""

    @property
    def message(self) -> bytes:
        """A Pre-Command when it is to be signed (``protect.sign_pre_command``); else the DF part, sealed as it is."""
        make = pre_command if self.critical or self.signed_by_dcc else unsigned_df
        return make(self.header, self.content)

    @property
    def values(self) -> tuple[tuple[str, str], ...]:
        """Every value of the payload by its name, as a person reads it."""
        return tuple((name, shown) for name, shown in _named_values(self.filled))


def _named_values(filled: Filled) -> Iterator[tuple[str, str]]:
    if isinstance(filled, Document):
        for _, name, shown in leaves(filled.value, filled.term):
            yield name, shown
        return
    for each in filled:
        if isinstance(each, Item):
            found = leaves(each.data, each.term)
        else:
            found = leaves(each.values, each.term)
            if each.from_date_time is not None:
                yield f"activation time of the {each.name}", zigbee_activation(each.from_date_time)
        for _, name, shown in found:
            yield name, shown


_FAMILIES: Final = (
    prepayment,
    supply,
    reads,
    configuration,
    meter_settings,
    tariff,
    auxiliary,
    alerts,
    gas,
    gas_tariff,
    gas_reads,
    security,
    joining,
)


@cache
def _rules() -> Mapping[str, tuple[Rule, ...]]:
    """Every rule by service request, in the order in which they are tried."""
    rules: dict[str, tuple[Rule, ...]] = {}
    for family in _FAMILIES:
        for rule in family.RULES:
            for variant in rule.variants:
                row = service_request(variant)
                assert row is not None, f"{rule.use_case} names a service request that does not exist: {variant}"
                assert rule.message_code in row.message_codes, f"{rule.use_case} is not a use case of {variant}"
                rules[variant] = (*rules.get(variant, ()), rule)
    return MappingProxyType(rules)


def rules_of(variant: str) -> tuple[Rule, ...]:
    """The rules of a Service Reference Variant, in the order in which they are tried."""
    return _rules().get(variant, ())


def supported() -> Mapping[str, tuple[str, ...]]:
    """The use cases that can be built, by Service Reference Variant."""
    return MappingProxyType({variant: tuple(rule.use_case for rule in rules) for variant, rules in _rules().items()})


def transform(request: Request, device: DeviceFacts, sender: Sender | None = None) -> TransformResult:
    """The GBCS message for a request, or ``TransformError`` saying what is missing."""
    sender = sender or Sender()
    row = _row(request)
    asked = _asked(request, row, device, sender)
    rule = _choose(row, asked)
    asked, other = _speak(request, row, rule, asked, sender)
    try:
        filled = rule.fill(asked)
        payload = _payload(filled, asked.originator_counter)
        content = encode_payload(payload)
    except (GbcsValueError, DuisDecodeError) as error:
        raise TransformError(f"{row.variant} {row.name}: {error}") from None
    return TransformResult(
        header=GroupingHeader(Cra.COMMAND, asked.originator_counter, asked.originator_id, asked.target_id, other),
        content=content,
        use_case=rule.use_case,
        message_code=rule.message_code,
        critical=row.critical,
        payload=payload,
        filled=filled,
        signed_by_dcc=rule.signed_by_dcc,
    )


def _row(request: Request) -> ServiceRequest:
    misfit = request.misfit
    if misfit is not None:
        raise TransformError(misfit.reason)
    row = service_request(request.header.service_reference_variant)
    assert row is not None, "a request without a row is a misfit"
    if row.non_device:
        raise TransformError(f"{row.variant} {row.name} is for the DCC itself and becomes no GBCS message")
    if request.header.command_variant in SIGNED:
        raise TransformError("a Signed Pre-Command carries its GBCS message already")
    return row


def _asked(request: Request, row: ServiceRequest, device: DeviceFacts, sender: Sender) -> Asked:
    """What is asked, the User speaking; ``_speak`` puts another party in its place where that is so."""
    header = request.header.request_id
    try:
        issued_at = None if sender.issued_at is None else zigbee_from_unix(sender.issued_at)
        when = activation(request.execution_at if row.device_held else None)
    except (GbcsValueError, DuisDecodeError) as error:
        raise TransformError(str(error)) from None
    return Asked(
        body=request.body,
        device=device,
        user_id=sender.on_behalf_of or header.originator,
        user_role=sender.user_role,
        originator_id=header.originator,
        target_id=header.target,
        originator_counter=header.counter,
        activation=when,
        issued_at=issued_at,
    )


def _speak(
    request: Request, row: ServiceRequest, rule: Rule, asked: Asked, sender: Sender
) -> tuple[Asked, OtherInformation]:
    """Who is the originator, under which counter, and what stands beside the message code."""
    code, header = rule.message_code, request.header.request_id
    # What the User signs, the User sends: a critical command has no other originator.
    known = row.critical or header.originator in asked.device.known_remote_parties
    if rule.speaker is Speaker.USER and known:
        return asked, OtherInformation(code)
    if rule.speaker is Speaker.CHANGE_OF_SUPPLIER:
        party = _party(sender.change_of_supplier_id, sender.change_of_supplier_counter, "change of supplier party")
        return _spoken_by(asked, *party), OtherInformation(code)
    for_itself = header.originator == sender.broker_id and sender.on_behalf_of is None
    if for_itself:
        # The DCC's own request: its RequestID is the broker's, counter and all.
        return asked, OtherInformation(code)
    asked = _spoken_by(asked, *_party(sender.broker_id, sender.broker_counter, "broker"))
    if rule.speaker is Speaker.BROKER:
        return asked, OtherInformation(code)
    key = "KAPublicSecurityCredentials"
    der = certificate(request.body, key) if request.body.find(key) is not None else None
    return asked, OtherInformation(code, asked.user_id, header.counter, None, der)


def _party(entity_id: bytes | None, counter: int | None, name: str) -> tuple[bytes, int]:
    if entity_id is None or counter is None:
        raise TransformError(f"the {name} speaks in the User's place: its identifier and counter are needed")
    return entity_id, counter


def _spoken_by(asked: Asked, originator_id: bytes, counter: int) -> Asked:
    return replace(asked, originator_id=originator_id, originator_counter=counter)


def _payload(filled: Filled, counter: int) -> AccessRequest | Gbz | Asn1:
    """The payload of what a rule filled in, in the family it belongs to."""
    if isinstance(filled, Document):
        return Asn1(filled.value)
    if not filled:
        raise TransformError("the request asks for nothing that a command could carry")
    if isinstance(filled[0], Part):
        return Gbz(tuple(component(part, at) for at, part in enumerate(filled) if isinstance(part, Part)))
    items = tuple((item.spec, item.data) for item in filled if isinstance(item, Item))
    return AccessRequest(counter & INVOKE_ID_MASK, items)


def component(part: Part, sequence: int) -> Component:
    """The component of a GBZ payload that a part is; sequence numbers count from zero."""
    frame_control = 0
    if isinstance(part.body, ZclCommand):
        frame_control = FRAME_CLUSTER_SPECIFIC | (FRAME_FROM_SERVER if part.body.from_server else 0)
    return Component(part.cluster, frame_control, sequence, part.body, part.from_date_time)


def _choose(row: ServiceRequest, asked: Asked) -> Rule:
    rules = rules_of(row.variant)
    of_type = [rule for rule in rules if asked.device.device_type in rule.devices]
    for rule in of_type:
        if rule.applies(asked):
            return rule
    if not of_type:
        kind = asked.device.device_type
        raise TransformError(f"{row.variant} {row.name} has no use case for a device of type {kind}")
    raise TransformError(f"{row.variant} {row.name} has no use case for what this request asks of this device")
