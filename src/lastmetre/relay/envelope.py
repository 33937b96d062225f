"""The content of an envelope: one Command on its way from the supplier to a PPMID's agent.

Version 1 is a CBOR map (``docs/relay.md``); keys in ``KEYS``. It travels only inside the signature and encryption of
``cose_form``. Rules: an envelope whose digest is not that of its Command does not decode; ``expires_at`` is the first
second at which the agent must no longer offer the Command. Nothing here reads the Command. With the class ``CODE`` the
twenty digits of a top-up stand in its place, and no permit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.relay.classes import CommandClass
from lastmetre.relay.errors import RelayDecodeError, RelayValueError
from lastmetre.relay.fields import (
    order_id_fault,
    read_digest,
    read_entity_id,
    read_map,
    read_number,
    read_octets,
    read_order_id,
    sha256,
    write_map,
)
from lastmetre.relay.limits import COMMAND_OCTETS_MAX, CONTENT_OCTETS_MAX, ENTITY_ID_OCTETS, PERMIT_OCTETS, TIME_MAX

if TYPE_CHECKING:
    from lastmetre.relay.fields import Fields

KEYS: Final = {
    "order_id": 2,
    "hub_id": 3,
    "target_id": 4,
    "expires_at": 5,
    "digest": 6,
    "command_class": 7,
    "command": 8,
    "permit": 9,
    "sent_at": 10,
}
CODE_DIGITS: Final = 20
_OPTIONAL: Final = frozenset({"permit", "sent_at"})


@dataclass(frozen=True, slots=True)
class Envelope:
    """One Command for one device behind one hub. ``make_envelope`` fills in the digest.

    ``sent_at`` is the supplier's time of this sending: signed time for an agent whose clock was lost; 0 says nothing.
    """

    order_id: str
    hub_id: bytes
    target_id: bytes
    expires_at: int
    digest: bytes
    command: bytes
    command_class: CommandClass = CommandClass.ORDINARY
    permit: bytes | None = None
    sent_at: int = 0


def make_envelope(
    order_id: str,
    hub_id: bytes,
    target_id: bytes,
    expires_at: int,
    command: bytes,
    *,
    command_class: CommandClass = CommandClass.ORDINARY,
    permit: bytes | None = None,
    sent_at: int = 0,
) -> Envelope:
    """An envelope with the digest of its Command."""
    digest = sha256(command)
    return Envelope(order_id, hub_id, target_id, expires_at, digest, command, command_class, permit, sent_at)


def encode_envelope(envelope: Envelope) -> bytes:
    """The content to sign and encrypt; raises ``RelayValueError`` for what the protocol cannot say."""
    fault = _fault(envelope)
    if fault:
        raise RelayValueError(*fault)
    return write_map(
        KEYS,
        {
            "order_id": envelope.order_id,
            "hub_id": envelope.hub_id,
            "target_id": envelope.target_id,
            "expires_at": envelope.expires_at,
            "digest": envelope.digest,
            "command_class": int(envelope.command_class),
            "command": envelope.command,
            "permit": envelope.permit,
            "sent_at": envelope.sent_at or None,
        },
    )


def decode_envelope(data: bytes) -> Envelope:
    """The envelope in a content, checked against its digest; raises ``RelayDecodeError``."""
    fields = read_map(data, "envelope", CONTENT_OCTETS_MAX, KEYS, _OPTIONAL)
    order_id = read_order_id(fields)
    digest: bytes | None = None
    try:
        digest = read_digest(fields)
        return _read(fields, order_id, digest)
    except RelayDecodeError as error:  # now that there is an address, name it
        raise RelayDecodeError(error.field, error.reason, order_id, digest) from None


def _read(fields: Fields, order_id: str, digest: bytes) -> Envelope:
    try:
        command_class = CommandClass(read_number(fields, "command_class"))
    except ValueError:
        raise RelayDecodeError("command_class", "unknown_class") from None
    envelope = Envelope(
        order_id,
        read_entity_id(fields, "hub_id"),
        read_entity_id(fields, "target_id"),
        read_number(fields, "expires_at"),
        digest,
        read_octets(fields, "command"),
        command_class,
        read_octets(fields, "permit") if "permit" in fields else None,
        read_number(fields, "sent_at") if "sent_at" in fields else 0,
    )
    fault = _fault(envelope)
    if fault:
        raise RelayDecodeError(*fault)
    if "sent_at" in fields and not envelope.sent_at:
        raise RelayDecodeError("sent_at", "out_of_range")  # zero is said by saying nothing
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
    if envelope.command_class is CommandClass.CODE:
        if len(envelope.command) != CODE_DIGITS or not envelope.command.isdigit():
            return "command", "not_twenty_digits"
        if envelope.permit is not None:
            return "permit", "goes_with_commands_only"
    if envelope.digest != sha256(envelope.command):
        return "digest", "not_of_this_command"
    if envelope.permit is not None and len(envelope.permit) != PERMIT_OCTETS:
        return "permit", "not_a_permit"
    if not 0 <= envelope.sent_at <= TIME_MAX:
        return "sent_at", "out_of_range"
    return None
