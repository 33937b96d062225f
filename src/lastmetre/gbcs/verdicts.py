"""What can be said of any message's MAC and signature with the keys at hand: for ``lastmetre decode`` and conformance.

This judges messages that somebody shows us; a device's own decision is ``acceptance``. Rules (reference:
gbcs-messages 4.1 to 4.4):

* A Command's MAC needs the access control broker's key and the target's certificate; a Response's or Alert's MAC the
  target party's key and the device's certificate. Either private key of the pair will do.
* What lacks its keys is *unverifiable*, never valid and never invalid.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from lastmetre.gbcs.catalogue import Role, use_case
from lastmetre.gbcs.keys import KeyUse, agree
from lastmetre.gbcs.message import Cra, Message
from lastmetre.gbcs.protect import CryptoRefused, verify_mac, verify_signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate


class Verdict(Enum):
    """What the keys at hand say."""

    VALID = "valid"
    INVALID = "invalid"
    UNVERIFIABLE = "unverifiable"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdicts on one message, each with a sentence that says whose key was used or missing."""

    mac: Verdict
    mac_words: str
    signature: Verdict
    signature_words: str


class Keyring(Protocol):
    """Keys and certificates at hand; ``None`` for what is not."""

    def find_certificate(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """An entity's certificate for a use."""

    def find_private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey | None:
        """An entity's private key for a use."""

    def entities_in_role(self, role: Role) -> tuple[bytes, ...]:
        """The organisations at hand that have a role."""


def judge(message: Message, keyring: Keyring) -> Judgement:
    """Judge MAC and signature of a message with the keys at hand."""
    mac, mac_words = _judge_mac(message, keyring)
    signature, signature_words = _judge_signature(message, keyring)
    return Judgement(mac, mac_words, signature, signature_words)


def _judge_signature(message: Message, keyring: Keyring) -> tuple[Verdict, str]:
    if not message.signature:
        return Verdict.ABSENT, "there is no signature"
    signer = message.header.business_originator_id
    certificate = keyring.find_certificate(signer, KeyUse.DIGITAL_SIGNATURE)
    if certificate is None:
        return Verdict.UNVERIFIABLE, f"the signing certificate of {signer.hex()} is not at hand"
    try:
        verify_signature(message, certificate.public_key)
    except CryptoRefused:
        return Verdict.INVALID, f"not made by {signer.hex()} over these bytes"
    return Verdict.VALID, f"made by {signer.hex()}"


def mac_pairs(message: Message, keyring: Keyring) -> list[tuple[bytes, bytes]]:
    """The pairs of entities one of whose agreed secrets should have made this MAC."""
    header = message.header
    originator, target = header.business_originator_id, header.business_target_id
    case = use_case(header.message_code)
    if header.cra is not Cra.COMMAND or (case is not None and case.originating_device):
        return [(originator, target)]
    return [(broker, target) for broker in keyring.entities_in_role(Role.ACCESS_CONTROL_BROKER)]


def _judge_mac(message: Message, keyring: Keyring) -> tuple[Verdict, str]:
    if message.mac is None:
        return Verdict.ABSENT, "there is no MAC"
    tried = False
    for one, other in mac_pairs(message, keyring):
        for holder, peer in ((one, other), (other, one)):
            private_key = keyring.find_private_key(holder, KeyUse.KEY_AGREEMENT)
            certificate = keyring.find_certificate(peer, KeyUse.KEY_AGREEMENT)
            if private_key is None or certificate is None:
                continue
            tried = True
            try:
                verify_mac(message, agree(private_key, certificate.public_key))
            except CryptoRefused:
                continue
            return Verdict.VALID, f"made between {one.hex()} and {other.hex()}"
    if tried:
        return Verdict.INVALID, "not made over these bytes with the keys it should be"
    return Verdict.UNVERIFIABLE, "no private key of the two parties is at hand"
