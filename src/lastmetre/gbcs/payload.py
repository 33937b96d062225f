"""Any payload of GBCS: DLMS, GBZ or ASN.1, told apart by rule.

The rule: a message code and CRA flag that name an ASN.1 payload have one (section 9.3). For every other code the first
octets tell: ``D9`` a DLMS Command, ``DA`` a DLMS Response, ``0F`` a DLMS Alert, ``01 09`` GBZ. The form must fit the
CRA flag; a Command that carries a Response's payload is a ``GbcsDecodeError``.

Offsets in errors count from the start of the content.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from lastmetre.gbcs import axdr_quick, dlms
from lastmetre.gbcs.asn1 import ALERT, COMMAND, RESPONSE, SCHEMAS, Asn1, decode_asn1, encode_asn1
from lastmetre.gbcs.dlms import (
    TAG_ACCESS_REQUEST,
    TAG_ACCESS_RESPONSE,
    TAG_DATA_NOTIFICATION,
    AccessRequest,
    AccessResponse,
    DataNotification,
    decode_access_request,
    decode_access_response,
    decode_data_notification,
    encode_access_request,
    encode_access_response,
    encode_data_notification,
)
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.gbz import Gbz, GbzAlert, decode_gbz, decode_gbz_alert, encode_gbz, encode_gbz_alert

Payload: TypeAlias = AccessRequest | AccessResponse | DataNotification | Gbz | GbzAlert | Asn1

_FORMS: Final = {TAG_ACCESS_REQUEST: COMMAND, TAG_ACCESS_RESPONSE: RESPONSE, TAG_DATA_NOTIFICATION: ALERT}


def decode_payload(message_code: int, cra: int, content: bytes) -> Payload:
    """Read the content of a message with this code and CRA flag."""
    if (message_code, cra) in SCHEMAS:
        return decode_asn1(message_code, cra, content)
    if not content:
        raise GbcsDecodeError("content", 0, "is empty")
    first = content[0]
    form = _FORMS.get(first)
    if form is not None:
        if form != cra:
            raise GbcsDecodeError("content", 0, f"{first:02X} does not begin the payload of CRA flag {cra}")
        if form == COMMAND:
            return decode_access_request(content)
        return decode_access_response(content) if form == RESPONSE else decode_data_notification(content)
    if first == 1:
        return decode_gbz_alert(message_code, content) if cra == ALERT else decode_gbz(content)
    raise GbcsDecodeError(
        "content", 0, f"{first:02X} begins neither DLMS nor GBZ, and code {message_code:04X} has no ASN.1 payload"
    )


def forget_shared() -> None:
    """Let go of every value kept for sharing between payloads: for measurements of a first reading."""
    axdr_quick.forget()
    dlms.forget_specs()


def encode_payload(payload: Payload) -> bytes:
    """The content octets of a payload; raises ``GbcsValueError`` for what the standard has no form for."""
    if isinstance(payload, AccessRequest):
        return encode_access_request(payload)
    if isinstance(payload, AccessResponse):
        return encode_access_response(payload)
    if isinstance(payload, DataNotification):
        return encode_data_notification(payload)
    if isinstance(payload, Gbz):
        return encode_gbz(payload)
    if isinstance(payload, GbzAlert):
        return encode_gbz_alert(payload)
    if isinstance(payload, Asn1):
        return encode_asn1(payload)
    raise GbcsValueError(f"{type(payload).__name__} is no payload")
