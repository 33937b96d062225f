"""Encrypted attributes of the published messages: found, decrypted, read as values, and written back the same."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from lastmetre.gbcs.axdr import Array, Enum, NullData, OctetString, Structure, decode_data, encode_data
from lastmetre.gbcs.dlms import AccessResponse, DataNotification, protected_octets
from lastmetre.gbcs.gbz import Component, EncryptedZcl, Gbz, GbzAlert, open_component
from lastmetre.gbcs.keys import KeyUse, agree
from lastmetre.gbcs.message import GroupingHeader, parse_message
from lastmetre.gbcs.payload import Payload, decode_payload
from lastmetre.gbcs.protect import decrypt_attribute, encryption_key
from lastmetre.gbcs.zcl import encode_zcl
from lastmetre.links.keystore import Keyring
from tests.shared_data import RTDS_CERTIFICATES, RTDS_KEYS, needs_rtds, rtds_messages

if TYPE_CHECKING:
    from collections.abc import Iterator


def _encrypted(payload: Payload) -> Iterator[bytes | Component]:
    """Every encrypted object: octets as they stand in a DLMS payload, or a GBZ component."""
    if isinstance(payload, AccessResponse):
        for item in payload.results:
            found = protected_octets(item.data.elements) if isinstance(item.data, Structure) else None
            if found:
                yield found
    if isinstance(payload, DataNotification):
        found = protected_octets(payload.extra)
        if found:
            yield found
    if isinstance(payload, GbzAlert) and isinstance(payload.specific, Component):
        yield payload.specific
    if isinstance(payload, Gbz):
        yield from (part for part in payload.components if isinstance(part.body, EncryptedZcl))


def _key(keyring: Keyring, header: GroupingHeader) -> bytes:
    """Section 11.3: whose key, and under which counter. The agreed secret is the same from the party's side."""
    other = header.other_information
    party = other.supplementary_remote_party_id or header.business_target_id
    counter = other.supplementary_originator_counter or header.originator_counter
    device = header.business_originator_id
    secret = agree(
        keyring.private_key(party, KeyUse.KEY_AGREEMENT), keyring.certificate(device, KeyUse.KEY_AGREEMENT).public_key
    )
    return encryption_key(secret, device_id=device, counter=counter, recipient_id=party)


@needs_rtds
def test_every_encrypted_attribute_of_the_data_set_opens_and_reads() -> None:
    """Decrypted, each is one DLMS value or one ZCL payload to the last octet, and encodes to the same plaintext."""
    keyring = Keyring.open(certificates=RTDS_CERTIFICATES, keys=RTDS_KEYS)
    seen: Counter[str] = Counter()
    for raw in rtds_messages().values():
        message = parse_message(raw)
        header = message.header
        device = header.business_originator_id
        for found in _encrypted(decode_payload(header.message_code, header.cra, message.content)):
            key = _key(keyring, header)
            if isinstance(found, bytes):
                plain = decrypt_attribute(found, key, device)
                value, end = decode_data(plain)
                assert isinstance(value, Structure)
                assert (encode_data(value), end) == (plain, len(plain))
                seen["DLMS"] += 1
                continue
            assert isinstance(found.body, EncryptedZcl)
            plain = decrypt_attribute(found.body.wire, key, device)
            body = open_component(found, plain).body
            assert not isinstance(body, EncryptedZcl)
            assert encode_zcl(body) == plain
            assert EncryptedZcl.from_wire(found.command_id, found.body.frame_counter, found.body.wire) == found.body
            seen["GBZ"] += 1
    assert seen["DLMS"] > 0
    assert seen["GBZ"] > 0


def test_only_a_protected_answer_has_protected_octets() -> None:
    """Parameters of kind 2 and an octet-string; anything else is in clear or failed."""
    parameters = Array((Structure((Enum(2), Structure(()))),))
    assert protected_octets((parameters, OctetString(b"1"))) == b"1"
    assert protected_octets((parameters, NullData())) is None
    assert protected_octets((Array(()), OctetString(b"1"))) is None
    assert protected_octets((OctetString(b"1"),)) is None
