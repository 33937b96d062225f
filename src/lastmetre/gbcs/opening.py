"""Encrypted parts of a message: found, opened with the keys at hand, and read as values (gbcs-messages section 11).

Rules this module keeps:

* Parts are found by their container, not by the message code: a device may answer in clear.
* The key follows from the grouping header alone (section 11.3); what protection parameters inside a payload say of
  parties and counters is not used.
* A part without its key at hand is *unverifiable*; one that does not open with its key is *invalid*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastmetre.gbcs.axdr import Data, Structure, decode_data
from lastmetre.gbcs.dlms import AccessResponse, DataNotification, protected_octets
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.gbz import Component, EncryptedZcl, Gbz, GbzAlert, open_component
from lastmetre.gbcs.keys import KeyUse, agree
from lastmetre.gbcs.protect import CryptoRefused, decrypt_attribute, encryption_key
from lastmetre.gbcs.verdicts import Keyring, Verdict

if TYPE_CHECKING:
    from lastmetre.gbcs.decoded import DecodedMessage
    from lastmetre.gbcs.message import GroupingHeader
    from lastmetre.gbcs.payload import Payload


@dataclass(frozen=True, slots=True)
class EncryptedPart:
    """One encrypted part: the number of the result or component it is in, from 1, and its octets on the wire."""

    number: int
    wire: bytes
    component: Component | None = None


@dataclass(frozen=True, slots=True)
class OpenedPart:
    """What became of one encrypted part. ``content`` is there when it opened and could be read."""

    number: int
    verdict: Verdict
    words: str
    content: Data | Component | None = None


def encrypted_parts(payload: Payload) -> tuple[EncryptedPart, ...]:
    """The encrypted parts of a payload, in order."""
    if isinstance(payload, AccessResponse):
        answers = (item.data.elements if isinstance(item.data, Structure) else () for item in payload.results)
        found = ((number, protected_octets(elements)) for number, elements in enumerate(answers, 1))
        return tuple(EncryptedPart(number, wire) for number, wire in found if wire is not None)
    if isinstance(payload, DataNotification):
        wire = protected_octets(payload.extra)
        return () if wire is None else (EncryptedPart(1, wire),)
    components: tuple[Component, ...] = ()
    if isinstance(payload, Gbz):
        components = payload.components
    elif isinstance(payload, GbzAlert) and isinstance(payload.specific, Component):
        components = (payload.specific,)
    return tuple(
        EncryptedPart(number, component.body.wire, component)
        for number, component in enumerate(components, 1)
        if isinstance(component.body, EncryptedZcl)
    )


def key_for_parts(header: GroupingHeader, keyring: Keyring) -> bytes | None:
    """The key of a message's encrypted parts (section 11.3), or ``None`` when it is not at hand."""
    other = header.other_information
    device, party, counter = header.business_originator_id, header.business_target_id, header.originator_counter
    if other.supplementary_remote_party_id is not None:
        party = other.supplementary_remote_party_id
        if other.supplementary_originator_counter is not None:
            counter = other.supplementary_originator_counter
    for holder, peer in ((party, device), (device, party)):
        private_key = keyring.find_private_key(holder, KeyUse.KEY_AGREEMENT)
        certificate = keyring.find_certificate(peer, KeyUse.KEY_AGREEMENT)
        if private_key is not None and certificate is not None:
            secret = agree(private_key, certificate.public_key)
            return encryption_key(secret, device_id=device, counter=counter, recipient_id=party)
    return None


def open_parts(message: DecodedMessage, keyring: Keyring) -> tuple[OpenedPart, ...]:
    """Open every encrypted part of a message with the keys at hand."""
    parts = encrypted_parts(message.payload)
    if not parts:
        return ()
    key = key_for_parts(message.header, keyring)
    if key is None:
        words = "no private key of the two parties is at hand"
        return tuple(OpenedPart(part.number, Verdict.UNVERIFIABLE, words) for part in parts)
    return tuple(_open(part, key, message.header.business_originator_id) for part in parts)


def _open(part: EncryptedPart, key: bytes, device_id: bytes) -> OpenedPart:
    try:
        plaintext = decrypt_attribute(part.wire, key, device_id)
    except CryptoRefused:
        return OpenedPart(part.number, Verdict.INVALID, "does not open with the key it should be encrypted with")
    try:
        content = _read(part, plaintext)
    except GbcsDecodeError as error:
        return OpenedPart(part.number, Verdict.INVALID, f"opens, but what is inside cannot be read: {error}")
    return OpenedPart(part.number, Verdict.VALID, "opened", content)


def _read(part: EncryptedPart, plaintext: bytes) -> Data | Component:
    if part.component is not None:
        return open_component(part.component, plaintext)
    value, end = decode_data(plaintext)
    if end != len(plaintext):
        raise GbcsDecodeError("decrypted", end, f"{len(plaintext) - end} octets follow the value")
    return value
