"""The language between a supplier and a PPMID's agent: envelopes down, receipts up.

DESIGN CHOICE throughout: no public standard has such a protocol. Version 1; ``docs/relay.md`` is its description for
those who implement it elsewhere. Rules:

* A Command inside an envelope is opaque and final: it is carried with its SHA-256 and never changed.
* One form goes out and only that form comes in: an encoding that is not byte for byte ours is refused.
* A receipt says what the agent saw, no more: the furthest is that the tunnel took a Command. Only the supplier, by
  verifying the Response inside a receipt, may say that anything happened.

``envelope`` and ``receipts`` are contents, ``cose_form`` is the one form of the signature and encryption around them
(made by ``links.relay_cose``, for they need chance), ``permit`` and ``permit_rules`` what a hub may ask for
besides; ``hht_pack`` is what a terminal in the field carries to a home and brings back.

Pure: bytes and values in, bytes and values out.
"""

from lastmetre.relay.classes import CommandClass, class_of
from lastmetre.relay.envelope import Envelope, decode_envelope, encode_envelope, make_envelope
from lastmetre.relay.errors import RelayDecodeError, RelayError, RelayValueError
from lastmetre.relay.receipts import Receipt, ReceiptKind, decode_receipt, encode_receipt
from lastmetre.relay.topics import agent_of_receipt_topic, command_topic, receipt_topic

__all__ = [
    "CommandClass",
    "Envelope",
    "Receipt",
    "ReceiptKind",
    "RelayDecodeError",
    "RelayError",
    "RelayValueError",
    "agent_of_receipt_topic",
    "class_of",
    "command_topic",
    "decode_envelope",
    "decode_receipt",
    "encode_envelope",
    "encode_receipt",
    "make_envelope",
    "receipt_topic",
]
