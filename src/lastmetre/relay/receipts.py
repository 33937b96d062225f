"""The receipt: what a PPMID's agent saw happen to one Command.

Version 0 is a JSON object (DESIGN CHOICE), written in exactly one way::

    {"version":0,"order_id":"...","kind":"taken","at":<UTC seconds>,"digest":"<64 hex>","message":<base64 or null>,
     "reason":<token or null>}

(without the line break). Receipts may come late, twice and in any order. None of them proves anything about the meter:
the Response inside one of kind ``response`` does, once the supplier has verified it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lastmetre.relay.errors import RelayDecodeError, RelayValueError
from lastmetre.relay.fields import (
    base64_text,
    order_id_fault,
    read_base64,
    read_digest,
    read_number,
    read_object,
    read_order_id,
    read_text,
    reason_fault,
    require_canonical,
    write_object,
)
from lastmetre.relay.limits import DIGEST_OCTETS, MESSAGE_OCTETS_MAX, RECEIPT_OCTETS_MAX, TIME_MAX

_FIELDS = ("order_id", "kind", "at", "digest", "message", "reason")


class ReceiptKind(StrEnum):
    """What the agent says it saw. Nothing here claims more than the agent can know."""

    TAKEN = "taken"
    """The Command is in the agent's store and survives a power cut. It has not been offered to the hub."""
    TAKEN_BY_TUNNEL = "taken_by_tunnel"
    """The hub acknowledged the transport. Whether it accepted or forwarded the Command, nobody off the HAN can see."""
    RESPONSE = "response"
    """A message that answers the Command by counter and identifiers came down the tunnel; ``message`` holds it."""
    EXPIRED = "expired"
    """The agent will not offer the Command again. ``reason``: ``not_offered``, or ``offered`` (it may be at large)."""
    REFUSED = "refused"
    """The agent did not take the Command, so it never offers it to the hub; ``reason`` says why."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One observation. ``message`` goes with RESPONSE only; ``reason`` with EXPIRED and REFUSED only."""

    order_id: str
    kind: ReceiptKind
    at: int
    digest: bytes
    message: bytes | None = None
    reason: str | None = None


def encode_receipt(receipt: Receipt) -> bytes:
    """The octets to hand to a bearer; raises ``RelayValueError`` for what the protocol cannot say."""
    fault = _fault(receipt)
    if fault:
        raise RelayValueError(*fault)
    return write_object(
        {
            "order_id": receipt.order_id,
            "kind": receipt.kind.value,
            "at": receipt.at,
            "digest": receipt.digest.hex(),
            "message": None if receipt.message is None else base64_text(receipt.message),
            "reason": receipt.reason,
        }
    )


def decode_receipt(data: bytes) -> Receipt:
    """The receipt in ``data``; raises ``RelayDecodeError``."""
    value = read_object(data, "receipt", RECEIPT_OCTETS_MAX, _FIELDS)
    try:
        kind = ReceiptKind(read_text(value, "kind"))
    except ValueError:
        raise RelayDecodeError("kind", "unknown_kind") from None
    receipt = Receipt(
        read_order_id(value),
        kind,
        read_number(value, "at"),
        read_digest(value),
        None if value["message"] is None else read_base64(value, "message"),
        None if value["reason"] is None else read_text(value, "reason"),
    )
    fault = _fault(receipt)
    if fault:
        raise RelayDecodeError(*fault)
    require_canonical(data, encode_receipt(receipt), "receipt")
    return receipt


def _fault(receipt: Receipt) -> tuple[str, str] | None:
    """The first field that breaks a rule, and which."""
    fault = order_id_fault(receipt.order_id)
    if fault:
        return "order_id", fault
    if not 0 <= receipt.at <= TIME_MAX:
        return "at", "out_of_range"
    if len(receipt.digest) != DIGEST_OCTETS:
        return "digest", "not_a_sha_256"
    if (receipt.message is not None) != (receipt.kind is ReceiptKind.RESPONSE):
        return "message", "goes_with_response_only"
    if receipt.message is not None and not 0 < len(receipt.message) <= MESSAGE_OCTETS_MAX:
        return "message", "empty_or_too_long"
    if (receipt.reason is not None) != (receipt.kind in {ReceiptKind.EXPIRED, ReceiptKind.REFUSED}):
        return "reason", "goes_with_expired_and_refused_only"
    if receipt.reason is not None and reason_fault(receipt.reason):
        return "reason", "not_a_token"
    return None
