"""What a verified Response says came of its Command, in every form a payload has: done, or refused and why.

Rules this module keeps: only what the payload says outright counts; a form that does not tell is no outcome (``None``),
and the order stays where it is. What was taken for a later date has no outcome yet. Sources: gbcs-messages sections 7
(DLMS), 8 (GBZ: a status in each component) and 9 (ASN.1: a result, 0 for done).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastmetre.gbcs import asn1
from lastmetre.gbcs.dlms import AccessResponse
from lastmetre.gbcs.gbz import Gbz
from lastmetre.gbcs.zcl import DefaultResponse

if TYPE_CHECKING:
    from lastmetre.gbcs.gbz import Component
    from lastmetre.gbcs.payload import Payload


def refusals(payload: Payload) -> list[str] | None:
    """Why the device did not do it, part by part; empty when it did, ``None`` when the payload does not say."""
    match payload:
        case AccessResponse(results=results):
            return [f"item {number} {item.result}" for number, item in enumerate(results, 1) if item.result]
        case Gbz(components=components):
            return _of_components(components)
        case asn1.Asn1(value=value):
            return _of_value(value)
        case _:
            return None


def _of_components(components: tuple[Component, ...]) -> list[str] | None:
    """Only a list of plain statuses tells; what brings data is a read, and whether it brought all is not said."""
    refused = []
    for number, component in enumerate(components, 1):
        if not isinstance(component.body, DefaultResponse):
            return None
        if component.body.status:
            refused.append(f"part {number} status {component.body.status:#04x}")
    return refused if components else None


def _of_value(value: object) -> list[str] | None:
    """A result of 0 is done; a certificate or its request in the place of a result is, too."""
    match value:
        case asn1.UpdateCredentialsResponse(outcome=asn1.UpdateOutcome(replacements=rows)):
            return [f"cell {number} status {row.status}" for number, row in enumerate(rows, 1) if row.status]
        case asn1.ActivateFirmwareResponse(outcome=asn1.FirmwareOutcome(result=result)):
            return [f"result {result}"] if result else []
        case asn1.RestoreDeviceLogResponse(results=entries):
            wrong = [number for number, entry in enumerate(entries, 1) if entry.join_response]
            return [f"entry {number} {entries[number - 1].join_response}" for number in wrong]
        case (
            asn1.IssueCredentialsResponse(result=result)
            | asn1.UpdateDeviceCertificateResponse(result=result)
            | asn1.ProvideDeviceCertificateResponse(result=result)
            | asn1.JoinResponse(result=result)
            | asn1.UnjoinResponse(result=result)
            | asn1.JoinDetails(result=result)
            | asn1.ClockResponse(result=result)
        ):
            return [f"result {result}"] if isinstance(result, int) and result else []
        case _:
            return None
