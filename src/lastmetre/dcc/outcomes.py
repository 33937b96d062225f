"""Whether a device's Response says that the Command was carried out: what a sequence and the inventory go by.

Rules this module keeps (reference: gbcs-messages 7, 8, 9.3, 10.3):

* Every item must have succeeded. One failed item among several is no success.
* What cannot be read says nothing (``None``): it moves neither a sequence nor the inventory.
* A Response to a future-dated Command reports acceptance only; that is success here, and ``carried_out`` is ``False``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lastmetre.gbcs.asn1 import (
    ActivateFirmwareResponse,
    Asn1,
    CredentialsDetails,
    IssueCredentialsResponse,
    ProvideDeviceCertificateResponse,
    RestoreDeviceLogResponse,
    UpdateCredentialsResponse,
)
from lastmetre.gbcs.dlms import AccessResponse
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import Gbz
from lastmetre.gbcs.message import Cra
from lastmetre.gbcs.payload import decode_payload
from lastmetre.gbcs.zcl import DefaultResponse, ReadAttributesResponse, ZclCommand

if TYPE_CHECKING:
    from lastmetre.gbcs.asn1 import Asn1Response
    from lastmetre.gbcs.message import Message
    from lastmetre.gbcs.payload import Payload

RESULT_FIELD = "result"
"""What a ZCL answer calls its outcome, where it has one: zero is success (ConsumerTopUpResponse)."""


class Outcome(NamedTuple):
    """What a Response says."""

    succeeded: bool | None
    payload: Payload | None = None
    carried_out: bool = True
    """``False``: it was accepted for a date that the device holds, or cancelled."""


def outcome_of(response: Message) -> Outcome:
    """Read a Response; who made it is not asked here."""
    try:
        payload = decode_payload(response.header.message_code, Cra.RESPONSE, response.content)
    except GbcsDecodeError:
        return Outcome(None)
    match payload:
        case AccessResponse(_, results):
            return Outcome(all(item.result == 0 for item in results), payload)
        case Gbz(components):
            return Outcome(all(_zcl_succeeded(component.body) for component in components), payload)
        case Asn1(value):
            return Outcome(_asn1_succeeded(value), payload, carried_out=_carried_out(value))  # type: ignore[arg-type]
    return Outcome(None, payload)


def _zcl_succeeded(body: object) -> bool:
    match body:
        case DefaultResponse(_, status):
            return status == 0
        case ReadAttributesResponse(records):
            return all(record.status == 0 for record in records)
        case ZclCommand():
            return dict(body.fields).get(RESULT_FIELD, 0) == 0
    return True  # encrypted: the device answered with what was asked for


def _asn1_succeeded(value: Asn1Response) -> bool:
    match value:
        case UpdateCredentialsResponse(outcome):
            return outcome is None or all(row.status == 0 for row in outcome.replacements)
        case ActivateFirmwareResponse(activated):
            return activated is None or activated.result == 0
        case CredentialsDetails(roles):
            return all(row.status == 0 for row in roles)
        case IssueCredentialsResponse(result) | ProvideDeviceCertificateResponse(result):
            return isinstance(result, bytes)
        case RestoreDeviceLogResponse(results):
            return all(row.join_response == 0 for row in results)
    return getattr(value, "result", 0) == 0


def _carried_out(value: Asn1Response) -> bool:
    match value:
        case UpdateCredentialsResponse(outcome):
            return outcome is not None
        case ActivateFirmwareResponse(activated):
            return activated is not None
    return True
