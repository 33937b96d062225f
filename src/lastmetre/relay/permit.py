"""The relay permit: the DSP's word to one hub that one Command may be handed over by one carrier, until a time.

DESIGN CHOICE, ours (reference: permit): no standard knows it, meters never see it, and the Command is untouched by it.
Three records, each alone in its own TransferData:

* ``50`` a permit, 128 octets, from the carrier, made by the access control broker for the hub;
* ``51`` the hub's answer, 24 octets: no MAC, so never evidence of anything;
* ``52`` the carrier's question for a nonce, 2 octets.

Times are UTC: Unix seconds here, seconds since 2000 on the wire. ``permit_rules`` is what a hub does with them.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastmetre.gbcs.keys import derive_key
from lastmetre.relay.errors import RelayDecodeError, RelayValueError
from lastmetre.relay.limits import COMMAND_OCTETS_MAX, DIGEST_OCTETS, ENTITY_ID_OCTETS, PERMIT_OCTETS

if TYPE_CHECKING:
    from lastmetre.gbcs.keys import SharedSecret

PERMIT_TAG: Final = 0x50
ANSWER_TAG: Final = 0x51
QUESTION_TAG: Final = 0x52
VERSION: Final = 1
LABEL: Final = 0x50
"""The derivation label private to this record; 01 to 04 are GBCS's."""
EPOCH_AT: Final = 946_684_800
"""2000-01-01 in Unix seconds."""
NONCE_OCTETS: Final = 8
NO_NONCE: Final = bytes(NONCE_OCTETS)
HANDOVERS_MAX: Final = 3
MAC_OCTETS: Final = 12
QUESTION: Final = bytes((QUESTION_TAG, VERSION))

_BODY: Final = struct.Struct(">BBBBQ8s8s8s8sHH32sIIIIQ8sB3s")
BODY_OCTETS: Final = _BODY.size
assert BODY_OCTETS + MAC_OCTETS == PERMIT_OCTETS
_ANSWER: Final = struct.Struct(">BBBBQI8s")
ANSWER_OCTETS: Final = _ANSWER.size
_FLAG_NONCE: Final = 0x01
_FLAG_TARGET_IS_HUB: Final = 0x02
_TIME_MAX: Final = 0xFFFF_FFFF
_SERIAL_MAX: Final = 0xFFFF_FFFF_FFFF_FFFF


class Road(IntEnum):
    """Who carries."""

    PPMID = 1
    HHT = 2


class Status(IntEnum):
    """What a hub says to a permit, or to the Command after it; above one, the number is the place of the check."""

    ACCEPTED = 0x00
    NONCE = 0x01
    LENGTH = 0x02
    VERSION = 0x03
    RESERVED = 0x04
    HUB = 0x05
    CARRIER = 0x06
    MAC = 0x07
    VOID = 0x08
    SERIAL_USED = 0x09
    TIME = 0x0A
    NO_HANDOVER_LEFT = 0x0B
    COMMAND_LENGTH = 0x0C
    COMMAND_DIGEST = 0x0D
    COMMAND_CODE = 0x0E
    COMMAND_TARGET = 0x0F
    TARGET_IS_HUB = 0x10


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """What a permit says, without its MAC. ``hub_nonce`` is ``None`` unless the permit answers one."""

    serial: int
    broker_id: bytes
    hub_id: bytes
    carrier_id: bytes
    target_id: bytes
    message_code: int
    command_octets: int
    digest: bytes
    issued_at: int
    not_before: int
    not_after: int
    hold_until: int
    void_below: int = 0
    hub_nonce: bytes | None = None
    road: Road = Road.PPMID
    target_is_hub: bool = False
    max_handovers: int = HANDOVERS_MAX


@dataclass(frozen=True, slots=True)
class Answer:
    """The hub's answer. ``hub_at`` is its clock, to be believed only when ``clock_reliable``."""

    status: Status
    clock_reliable: bool
    serial: int
    hub_at: int
    hub_nonce: bytes = NO_NONCE


def make_permit(permit: Permit, secret: SharedSecret) -> bytes:
    """The record with its MAC; ``secret`` is the broker's agreement with the hub. Raises ``RelayValueError``."""
    fault = _fault(permit)
    if fault:
        raise RelayValueError(*fault)
    body = _body(permit)
    return body + permit_mac(body, permit.broker_id, permit.hub_id, secret)


def permit_mac(body: bytes, broker_id: bytes, hub_id: bytes, secret: SharedSecret) -> bytes:
    """The MAC over a permit's first 116 octets: a GCM tag cut to 12, under a key used for this serial alone."""
    serial = int.from_bytes(body[4:12], "big")
    key = derive_key(secret, originator_id=broker_id, label=LABEL, counter=serial, recipient_id=hub_id)
    return AESGCM(key).encrypt(broker_id + bytes(4), b"", body)[:MAC_OCTETS]


def mac_is_right(data: bytes, broker_id: bytes, hub_id: bytes, secret: SharedSecret) -> bool:
    """Whether the broker made this record for this hub; compared in constant time."""
    made = permit_mac(data[:BODY_OCTETS], broker_id, hub_id, secret)
    return hmac.compare_digest(made, data[BODY_OCTETS:])


def is_permit(message: bytes) -> bool:
    """Whether a message of the tunnel means to be a permit: GBCS messages begin with DD or DF."""
    return message[:1] == bytes((PERMIT_TAG,))


def decode_permit(data: bytes) -> Permit | Status:
    """The permit in a record, or the status of the first check of form it fails. The MAC is not looked at."""
    if len(data) != PERMIT_OCTETS or not is_permit(data):
        return Status.LENGTH
    fields = _BODY.unpack_from(data)
    _tag, version, road, flags, serial, broker, hub, carrier, target, code, octets, digest = fields[:12]
    issued, before, after, hold, void_below, nonce, handovers, zeros = fields[12:]
    if version != VERSION:
        return Status.VERSION
    nonce_mode = bool(flags & _FLAG_NONCE)
    if (
        flags & ~(_FLAG_NONCE | _FLAG_TARGET_IS_HUB)
        or road not in {Road.PPMID, Road.HHT}
        or any(zeros)
        or not 1 <= handovers <= HANDOVERS_MAX
        or nonce_mode is (nonce == NO_NONCE)
    ):
        return Status.RESERVED
    return Permit(
        serial=serial,
        broker_id=broker,
        hub_id=hub,
        carrier_id=carrier,
        target_id=target,
        message_code=code,
        command_octets=octets,
        digest=digest,
        issued_at=issued + EPOCH_AT,
        not_before=before + EPOCH_AT,
        not_after=after + EPOCH_AT,
        hold_until=hold + EPOCH_AT,
        void_below=void_below,
        hub_nonce=nonce if nonce_mode else None,
        road=Road(road),
        target_is_hub=bool(flags & _FLAG_TARGET_IS_HUB),
        max_handovers=handovers,
    )


def encode_answer(answer: Answer) -> bytes:
    """The record ``51``; raises ``RelayValueError``."""
    if len(answer.hub_nonce) != NONCE_OCTETS:
        raise RelayValueError("hub_nonce", "not_eight_octets")
    seconds = min(max(answer.hub_at - EPOCH_AT, 0), _TIME_MAX)
    head = (ANSWER_TAG, VERSION, answer.status, int(answer.clock_reliable))
    return _ANSWER.pack(*head, answer.serial, seconds, answer.hub_nonce)


def decode_answer(data: bytes) -> Answer:
    """The answer in a record ``51``; raises ``RelayDecodeError``."""
    if len(data) != ANSWER_OCTETS or data[0] != ANSWER_TAG:
        raise RelayDecodeError("permit_answer", "not_one")
    _tag, version, status, clock, serial, seconds, nonce = _ANSWER.unpack(data)
    if version != VERSION:
        raise RelayDecodeError("permit_answer", "unknown_version")
    if status not in set(Status) or clock > 1:
        raise RelayDecodeError("permit_answer", "unknown_value")
    return Answer(Status(status), bool(clock), serial, seconds + EPOCH_AT, nonce)


def _body(permit: Permit) -> bytes:
    flags = (_FLAG_NONCE if permit.hub_nonce else 0) | (_FLAG_TARGET_IS_HUB if permit.target_is_hub else 0)
    times = (permit.issued_at, permit.not_before, permit.not_after, permit.hold_until)
    return _BODY.pack(
        PERMIT_TAG,
        VERSION,
        permit.road,
        flags,
        permit.serial,
        permit.broker_id,
        permit.hub_id,
        permit.carrier_id,
        permit.target_id,
        permit.message_code,
        permit.command_octets,
        permit.digest,
        *(at - EPOCH_AT for at in times),
        permit.void_below,
        permit.hub_nonce or NO_NONCE,
        permit.max_handovers,
        bytes(3),
    )


def _fault(permit: Permit) -> tuple[str, str] | None:
    """The first field that breaks a rule, and which."""
    for name in ("broker_id", "hub_id", "carrier_id", "target_id"):
        if len(getattr(permit, name)) != ENTITY_ID_OCTETS:
            return name, "not_an_entity_id"
    if len(permit.digest) != DIGEST_OCTETS:
        return "digest", "not_a_sha_256"
    if not 0 < permit.command_octets <= COMMAND_OCTETS_MAX:
        return "command_octets", "out_of_range"
    if not 0 <= permit.message_code <= 0xFFFF:
        return "message_code", "out_of_range"
    for name in ("issued_at", "not_before", "not_after", "hold_until"):
        if not 0 <= getattr(permit, name) - EPOCH_AT <= _TIME_MAX:
            return name, "out_of_range"
    if not permit.not_before <= permit.not_after <= permit.hold_until or permit.issued_at > permit.hold_until:
        return "not_after", "out_of_order"
    if not 0 <= permit.void_below <= permit.serial <= _SERIAL_MAX:
        return "serial", "out_of_range"  # a permit that voids itself is a mistake of its maker
    if not 1 <= permit.max_handovers <= HANDOVERS_MAX:
        return "max_handovers", "out_of_range"
    if permit.hub_nonce is not None and (len(permit.hub_nonce) != NONCE_OCTETS or permit.hub_nonce == NO_NONCE):
        return "hub_nonce", "not_eight_octets"
    return None


def command_digest(command: bytes) -> bytes:
    """The digest a permit names a Command by."""
    return hashlib.sha256(command).digest()
