"""The content of a receipt: what a PPMID's agent saw happen to one Command.

Version 1 is a CBOR map (``docs/relay.md``); keys in ``KEYS``, numbers of kinds and reasons in ``KIND_CODES`` and
``REASON_CODES``. It travels only inside the agent's signature (``cose_form``). Receipts may come late, twice and in any
order. None of them proves anything about the meter: the Response inside one of kind ``response`` does, once the
supplier has verified it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lastmetre.relay.errors import RelayDecodeError, RelayValueError
from lastmetre.relay.fields import (
    order_id_fault,
    read_digest,
    read_map,
    read_number,
    read_octets,
    read_order_id,
    write_map,
)
from lastmetre.relay.limits import CONTENT_OCTETS_MAX, DIGEST_OCTETS, MESSAGE_OCTETS_MAX, TIME_MAX
from lastmetre.relay.permit import decode_answer


class ReceiptKind(StrEnum):
    """What the agent says it saw. Nothing here claims more than the agent can know."""

    TAKEN = "taken"
    """The Command is in the agent's store and survives a power cut. It has not been offered to the hub."""
    TAKEN_BY_TUNNEL = "taken_by_tunnel"
    """The hub acknowledged the transport. Whether it accepted or forwarded the Command, nobody off the HAN can see."""
    RESPONSE = "response"
    """A message that answers the Command by counter and identifiers came down the tunnel; ``message`` holds it."""
    EXPIRED = "expired"
    """The agent will not offer the Command again; ``reason`` says why, and whether it was ever offered."""
    REFUSED = "refused"
    """The agent did not take the Command, so it never offers it to the hub; ``reason`` says why."""
    PERMIT_ANSWERED = "permit_answered"
    """The hub's own record about the Command's relay permit came down, and is in ``permit_answer`` as it came. It has
    no MAC and proves nothing, least of all about the Command."""
    ENTERED = "entered"
    """The code was entered and the device answered; ``outcome`` says how. The agent's word: nothing signed came."""


KEYS: Final = {
    "order_id": 2,
    "kind": 3,
    "at": 4,
    "digest": 5,
    "message": 6,
    "reason": 7,
    "permit_answer": 8,
    "outcome": 9,
}
KIND_CODES: Final = {
    ReceiptKind.TAKEN: 1,
    ReceiptKind.TAKEN_BY_TUNNEL: 2,
    ReceiptKind.RESPONSE: 3,
    ReceiptKind.EXPIRED: 4,
    ReceiptKind.REFUSED: 5,
    ReceiptKind.PERMIT_ANSWERED: 6,
    ReceiptKind.ENTERED: 7,
}
REASON_CODES: Final = {
    # With EXPIRED. "Offered" means that the Command may be at large.
    "not_offered": 1,
    "offered": 2,
    "superseded_not_offered": 3,
    "superseded_offered": 4,
    # With REFUSED.
    "another_hub": 16,
    "another_device": 17,
    "not_a_command": 18,
    "target_is_not_the_commands": 19,
    "order_id_used_before": 21,
    "held_under_another_order": 22,
    "store_full": 23,
    "superseded": 24,
    "malformed": 25,
}
"""Every reason there is."""
OUTCOME_CODES: Final = {"accepted": 1, "refused": 2, "refused_after_silence": 3}
"""What became of a code. The third: an earlier entry was not answered and may have been the one that was accepted."""
_OPTIONAL: Final = frozenset({"message", "reason", "permit_answer", "outcome"})
_OUTCOMES: Final = {code: outcome for outcome, code in OUTCOME_CODES.items()}
_KINDS: Final = {code: kind for kind, code in KIND_CODES.items()}
_REASONS: Final = {code: reason for reason, code in REASON_CODES.items()}
_FIRST_REFUSAL: Final = 16


@dataclass(frozen=True, slots=True)
class Receipt:
    """One observation. ``message`` goes with RESPONSE only, ``reason`` with EXPIRED and REFUSED only,
    ``permit_answer`` with PERMIT_ANSWERED only, ``outcome`` with ENTERED only.
    """

    order_id: str
    kind: ReceiptKind
    at: int
    digest: bytes
    message: bytes | None = None
    reason: str | None = None
    permit_answer: bytes | None = None
    outcome: str | None = None


def encode_receipt(receipt: Receipt) -> bytes:
    """The content to sign; raises ``RelayValueError`` for what the protocol cannot say."""
    fault = _fault(receipt)
    if fault:
        raise RelayValueError(*fault)
    return write_map(
        KEYS,
        {
            "order_id": receipt.order_id,
            "kind": KIND_CODES[receipt.kind],
            "at": receipt.at,
            "digest": receipt.digest,
            "message": receipt.message,
            "reason": None if receipt.reason is None else REASON_CODES[receipt.reason],
            "permit_answer": receipt.permit_answer,
            "outcome": None if receipt.outcome is None else OUTCOME_CODES[receipt.outcome],
        },
    )


def decode_receipt(data: bytes) -> Receipt:
    """The receipt in a content; raises ``RelayDecodeError``."""
    fields = read_map(data, "receipt", CONTENT_OCTETS_MAX, KEYS, _OPTIONAL)
    kind = _KINDS.get(read_number(fields, "kind"))
    if kind is None:
        raise RelayDecodeError("kind", "unknown_kind")
    reason = _REASONS.get(read_number(fields, "reason")) if "reason" in fields else None
    if "reason" in fields and reason is None:
        raise RelayDecodeError("reason", "unknown_reason")
    outcome = _OUTCOMES.get(read_number(fields, "outcome")) if "outcome" in fields else None
    if "outcome" in fields and outcome is None:
        raise RelayDecodeError("outcome", "unknown_outcome")
    receipt = Receipt(
        read_order_id(fields),
        kind,
        read_number(fields, "at"),
        read_digest(fields),
        read_octets(fields, "message") if "message" in fields else None,
        reason,
        read_octets(fields, "permit_answer") if "permit_answer" in fields else None,
        outcome,
    )
    fault = _fault(receipt)
    if fault:
        raise RelayDecodeError(*fault)
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
    if (receipt.outcome in OUTCOME_CODES) != (receipt.kind is ReceiptKind.ENTERED):
        return "outcome", "goes_with_entered_only"
    if (receipt.permit_answer is not None) != (receipt.kind is ReceiptKind.PERMIT_ANSWERED):
        return "permit_answer", "goes_with_permit_answered_only"
    if receipt.permit_answer is not None and not _is_answer(receipt.permit_answer):
        return "permit_answer", "not_one"
    if (receipt.reason is not None) != (receipt.kind in {ReceiptKind.EXPIRED, ReceiptKind.REFUSED}):
        return "reason", "goes_with_expired_and_refused_only"
    if receipt.reason is not None and receipt.reason not in REASON_CODES:
        return "reason", "unknown_reason"
    refusal = receipt.reason is not None and REASON_CODES[receipt.reason] >= _FIRST_REFUSAL
    if receipt.reason is not None and refusal is not (receipt.kind is ReceiptKind.REFUSED):
        return "reason", "of_another_kind"
    return None


def _is_answer(record: bytes) -> bool:
    try:
        decode_answer(record)
    except RelayDecodeError:
        return False
    return True
