"""The envelope: one Command on its way from the supplier to a PPMID's agent.

Version 0 is a JSON object (DESIGN CHOICE), written in exactly one way::

    {"version":0,"order_id":"...","hub_id":"<16 hex>","target_id":"<16 hex>","expires_at":<UTC seconds>,
     "digest":"<64 hex: SHA-256 of the Command>","command":"<base64>"}

(without the line break). Rules: an envelope whose digest is not that of its Command does not decode; ``expires_at`` is
the first second at which the agent must no longer offer the Command. Nothing here reads the Command.
"""

from __future__ import annotations

from dataclasses import dataclass

from lastmetre.relay.errors import RelayDecodeError, RelayValueError
from lastmetre.relay.fields import (
    Object,
    base64_text,
    order_id_fault,
    read_base64,
    read_digest,
    read_entity_id,
    read_number,
    read_object,
    read_order_id,
    require_canonical,
    sha256,
    write_object,
)
from lastmetre.relay.limits import COMMAND_OCTETS_MAX, ENTITY_ID_OCTETS, ENVELOPE_OCTETS_MAX, TIME_MAX

_FIELDS = ("order_id", "hub_id", "target_id", "expires_at", "digest", "command")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One Command for one device behind one hub. ``make_envelope`` fills in the digest."""

    order_id: str
    hub_id: bytes
    target_id: bytes
    expires_at: int
    digest: bytes
    command: bytes


def make_envelope(order_id: str, hub_id: bytes, target_id: bytes, expires_at: int, command: bytes) -> Envelope:
    """An envelope with the digest of its Command."""
    return Envelope(order_id, hub_id, target_id, expires_at, sha256(command), command)


def encode_envelope(envelope: Envelope) -> bytes:
    """The octets to hand to a bearer; raises ``RelayValueError`` for what the protocol cannot say."""
    fault = _fault(envelope)
    if fault:
        raise RelayValueError(*fault)
    return write_object(
        {
            "order_id": envelope.order_id,
            "hub_id": envelope.hub_id.hex(),
            "target_id": envelope.target_id.hex(),
            "expires_at": envelope.expires_at,
            "digest": envelope.digest.hex(),
            "command": base64_text(envelope.command),
        }
    )


def decode_envelope(data: bytes) -> Envelope:
    """The envelope in ``data``, checked against its digest; raises ``RelayDecodeError``."""
    value = read_object(data, "envelope", ENVELOPE_OCTETS_MAX, _FIELDS)
    order_id = read_order_id(value)
    digest: bytes | None = None
    try:
        digest = read_digest(value)
        return _read(data, value, order_id, digest)
    except RelayDecodeError as error:  # now that there is an address, name it
        raise RelayDecodeError(error.field, error.reason, order_id, digest) from None


def _read(data: bytes, value: Object, order_id: str, digest: bytes) -> Envelope:
    envelope = Envelope(
        order_id,
        read_entity_id(value, "hub_id"),
        read_entity_id(value, "target_id"),
        read_number(value, "expires_at"),
        digest,
        read_base64(value, "command"),
    )
    fault = _fault(envelope)
    if fault:
        raise RelayDecodeError(*fault)
    require_canonical(data, encode_envelope(envelope), "envelope")
    return envelope


def _fault(envelope: Envelope) -> tuple[str, str] | None:
    """The first field that breaks a rule, and which."""
    fault = order_id_fault(envelope.order_id)
    if fault:
        return "order_id", fault
    if len(envelope.hub_id) != ENTITY_ID_OCTETS:
        return "hub_id", "not_an_entity_id"
    if len(envelope.target_id) != ENTITY_ID_OCTETS:
        return "target_id", "not_an_entity_id"
    if not 0 <= envelope.expires_at <= TIME_MAX:
        return "expires_at", "out_of_range"
    if not 0 < len(envelope.command) <= COMMAND_OCTETS_MAX:
        return "command", "empty_or_too_long"
    if envelope.digest != sha256(envelope.command):
        return "digest", "not_of_this_command"
    return None
