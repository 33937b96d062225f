"""The GBCS message that the DCC builds from a Service Request (reference: transform A1 to A4).

Rules kept here:

* Deterministic: the same request, device and sender give the same bytes. A supplier checks a Pre-Command by building
  it again; the DSP builds it in the first place.
* The header names the User and the RequestID's counter when the device knows the User (a Known Remote Party). For any
  other User the access control broker speaks, under its own counter, and names the User beside itself.
* A date that the DCC holds (pattern DSP) is not encoded: the command is built when the time has come, and is immediate.
* What no rule covers raises ``TransformError``; nothing is guessed.

The rules themselves are rows in ``use_cases``, a module per family.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.duis.catalogue import SIGNED, ServiceRequest, service_request
from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases import configuration, prepayment, reads, supply
from lastmetre.duis.use_cases.rules import Asked, DeviceFacts, Item, Rule
from lastmetre.duis.use_cases.values import activation, certificate
from lastmetre.gbcs.dlms import AccessRequest, encode_access_request
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from lastmetre.gbcs.protect import pre_command, unsigned_df

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.duis.documents import Request

__all__ = ["DeviceFacts", "Item", "Sender", "TransformResult", "supported", "transform"]

INVOKE_ID_MASK: Final = 0xFF_FFFF
"""A DLMS payload repeats the low 24 bits of the originator counter."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who speaks to the device: the User in its role, or the broker in its place under the broker's own counter."""

    user_role: str = "IS"
    broker_id: bytes | None = None
    broker_counter: int | None = None


@dataclass(frozen=True, slots=True)
class TransformResult:
    """A GBCS message before signature and MAC, with the names of its values."""

    header: GroupingHeader
    content: bytes
    use_case: str
    message_code: int
    critical: bool
    request: AccessRequest
    items: tuple[Item, ...]

    @property
    def message(self) -> bytes:
        """A Pre-Command, when critical; else the DF part that the broker seals as it is."""
        make = pre_command if self.critical else unsigned_df
        return make(self.header, self.content)


@cache
def _rules() -> Mapping[str, tuple[Rule, ...]]:
    """Every rule by service request, in the order in which they are tried."""
    rules: dict[str, tuple[Rule, ...]] = {}
    for family in (prepayment.RULES, supply.RULES, reads.RULES, configuration.RULES):
        for rule in family:
            for variant in rule.variants:
                row = service_request(variant)
                assert row is not None, f"{rule.use_case} names a service request that does not exist: {variant}"
                assert rule.message_code in row.message_codes, f"{rule.use_case} is not a use case of {variant}"
                rules[variant] = (*rules.get(variant, ()), rule)
    return MappingProxyType(rules)


def supported() -> Mapping[str, tuple[str, ...]]:
    """The use cases that can be built, by Service Reference Variant."""
    return MappingProxyType({variant: tuple(rule.use_case for rule in rules) for variant, rules in _rules().items()})


def transform(request: Request, device: DeviceFacts, sender: Sender | None = None) -> TransformResult:
    """The GBCS message for a request, or ``TransformError`` saying what is missing."""
    sender = sender or Sender()
    row = _row(request)
    header = request.header.request_id
    known = header.originator in device.known_remote_parties
    originator, counter = (header.originator, header.counter) if known else _broker(sender)
    asked = Asked(
        body=request.body,
        device=device,
        user_id=header.originator,
        user_role=sender.user_role,
        originator_id=originator,
        target_id=header.target,
        originator_counter=counter,
        when=activation(request.execution_at if row.device_held else None),
    )
    rule = _choose(row, asked)
    items = rule.fill(asked)
    payload = AccessRequest(counter & INVOKE_ID_MASK, tuple((item.spec, item.data) for item in items))
    other = OtherInformation(rule.message_code) if known else _on_behalf(request, rule.message_code)
    return TransformResult(
        header=GroupingHeader(Cra.COMMAND, counter, originator, header.target, other),
        content=encode_access_request(payload),
        use_case=rule.use_case,
        message_code=rule.message_code,
        critical=row.critical,
        request=payload,
        items=items,
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


def _broker(sender: Sender) -> tuple[bytes, int]:
    if sender.broker_id is None or sender.broker_counter is None:
        raise TransformError("the device does not know this User: the broker's identifier and counter are needed")
    return sender.broker_id, sender.broker_counter


def _on_behalf(request: Request, message_code: int) -> OtherInformation:
    """The broker speaks: the User's identifier and counter stand beside, and its certificate for encrypted reads."""
    user = request.header.request_id
    key = "KAPublicSecurityCredentials"
    der = certificate(request.body, key) if request.body.find(key) is not None else None
    return OtherInformation(message_code, user.originator, user.counter, None, der)


def _choose(row: ServiceRequest, asked: Asked) -> Rule:
    rules = _rules().get(row.variant, ())
    if not rules:
        raise TransformError(f"{row.variant} {row.name} cannot be transformed yet")
    of_type = [rule for rule in rules if asked.device.device_type in rule.devices]
    for rule in of_type:
        if rule.applies(asked):
            return rule
    if not of_type:
        raise TransformError(f"{row.variant} {row.name} cannot be transformed for a {asked.device.device_type} yet")
    raise TransformError(f"{row.variant} {row.name} has no use case for what this request asks of this device")
