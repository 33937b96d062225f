"""Encrypted parts: found by their container, opened with the header's key, read as values, judged."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lastmetre.gbcs import DecodedMessage, decode, encode
from lastmetre.gbcs.axdr import Array, DoubleLongUnsigned, Enum, NullData, OctetString, Structure, encode_data
from lastmetre.gbcs.dlms import AccessResponse, DataNotification, ItemResult, protected_octets
from lastmetre.gbcs.gbz import Component, EncryptedZcl, Gbz, GbzAlert
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from lastmetre.gbcs.opening import OpenedPart, encrypted_parts, open_parts
from lastmetre.gbcs.payload_words import describe_lines
from lastmetre.gbcs.protect import encrypt_attribute, encryption_key
from lastmetre.gbcs.verdicts import Verdict
from lastmetre.gbcs.zcl import AttributeRecord, ReadAttributesResponse, encode_zcl
from lastmetre.links.keystore import Keyring
from tests import own_world as own
from tests.shared_data import RTDS_CERTIFICATES, RTDS_KEYS, needs_rtds, rtds_messages

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.keys import KeyUse
    from lastmetre.gbcs.payload import Payload

NOBODY = Keyring(None, None)
PARAMETERS = Array((Structure((Enum(2), Structure(()))),))
READING = Structure((DoubleLongUnsigned(1_234),))


class Ring(Keyring):
    """Keys and certificates of our own world."""

    def __init__(self, *, holder: bytes) -> None:
        super().__init__(None, None)
        self._holder = holder

    def find_certificate(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """Everybody's certificate."""
        return own.certificate(entity_id, use)

    def find_private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey | None:
        """One holder's keys only."""
        return own.private_key(entity_id, use) if entity_id == self._holder else None


def _header(*supplementary: bytes | int) -> GroupingHeader:
    target = own.BROKER if supplementary else own.SUPPLIER
    other = OtherInformation(0x0027, *supplementary)  # type: ignore[arg-type]
    return GroupingHeader(Cra.RESPONSE, 7, own.ESME, target, other)


def _message(payload: Payload, header: GroupingHeader | None = None) -> DecodedMessage:
    return DecodedMessage(header or _header(), payload, b"", bytes(12))


def _encrypted(plaintext: bytes, party: bytes = own.SUPPLIER, counter: int = 7) -> bytes:
    key = encryption_key(own.secret(own.ESME, party), device_id=own.ESME, counter=counter, recipient_id=party)
    return encrypt_attribute(plaintext, key, own.ESME)


def _response(wire: bytes) -> AccessResponse:
    return AccessResponse(
        7, (ItemResult(3, NullData(), 0), ItemResult(3, Structure((PARAMETERS, OctetString(wire))), 0))
    )


@pytest.mark.parametrize(
    ("supplementary", "party", "counter"),
    [((), own.SUPPLIER, 7), ((own.SUPPLIER, 5), own.SUPPLIER, 7), ((own.SUPPLIER, 5, 9), own.SUPPLIER, 9)],
)
def test_the_key_follows_from_the_header(supplementary: tuple[bytes | int, ...], party: bytes, counter: int) -> None:
    """Section 11.3: whose key and which counter, for each form of other-information, from either side's key."""
    message = _message(_response(_encrypted(encode_data(READING), party, counter)), _header(*supplementary))
    for holder in (party, own.ESME):
        assert open_parts(message, Ring(holder=holder)) == (OpenedPart(2, Verdict.VALID, "opened", READING),)


def test_parts_that_do_not_open_are_judged() -> None:
    """No key at hand: unverifiable. Damaged, or unreadable inside: invalid, and said so in the lines."""
    good = _encrypted(encode_data(READING))
    (part,) = open_parts(_message(_response(good)), NOBODY)
    assert (part.verdict, part.content) == (Verdict.UNVERIFIABLE, None)
    ring = Ring(holder=own.SUPPLIER)
    (part,) = open_parts(_message(_response(good[:-1] + bytes((good[-1] ^ 1,)))), ring)
    assert (part.verdict, part.content) == (Verdict.INVALID, None)
    (part,) = open_parts(_message(_response(_encrypted(encode_data(READING) + b"\0"))), ring)
    assert part.verdict is Verdict.INVALID
    assert "1 octets follow the value" in part.words
    lines = [line.text for line in describe_lines(_response(good), opened={2: part})]
    assert part.words in lines


def test_opened_parts_are_told_in_the_lines() -> None:
    """DLMS values and GBZ fields in place of the ciphertext; without offset, as they stand nowhere in the message."""
    payload = _response(_encrypted(encode_data(READING)))
    ring = Ring(holder=own.SUPPLIER)
    opened = {part.number: part for part in open_parts(_message(payload), ring)}
    lines = describe_lines(payload, opened=opened)
    assert (lines[-1].label, lines[-1].text, lines[-1].offset) == ("  decrypted", "{1234}", None)
    body = ReadAttributesResponse((AttributeRecord(0x0302, 0, 0x23, 1_234),))
    hidden = EncryptedZcl.from_wire(1, 0, _encrypted(encode_zcl(body)))
    gbz = Gbz((Component(0x0702, 0x08, 0, hidden),))
    (part,) = open_parts(_message(gbz), ring)
    assert part.content == Component(0x0702, 0x08, 0, body)
    assert [line.text for line in describe_lines(gbz, opened={1: part})][-1] == "1234"
    alert = GbzAlert(0x8F0A, 0, gbz.components[0])
    assert [line.text for line in describe_lines(alert, opened={1: part})][-1] == "1234"


def test_only_encrypted_parts_are_found() -> None:
    """In clear, failed, or of another shape: nothing to open."""
    assert encrypted_parts(AccessResponse(0, (ItemResult(3, NullData(), 250),))) == ()
    assert encrypted_parts(DataNotification(0, 0, bytes(12))) == ()
    assert encrypted_parts(DataNotification(0, 0, bytes(12), (PARAMETERS, OctetString(b"1"))))[0].wire == b"1"
    assert encrypted_parts(GbzAlert(0, 0)) == ()
    assert open_parts(_message(GbzAlert(0, 0)), NOBODY) == ()
    assert protected_octets((PARAMETERS, OctetString(b"1"))) == b"1"
    assert protected_octets((PARAMETERS, NullData())) is None
    assert protected_octets((Array(()), OctetString(b"1"))) is None
    assert protected_octets((OctetString(b"1"),)) is None


@needs_rtds
def test_every_encrypted_attribute_of_the_data_set_opens_and_reads() -> None:
    """Each opens, is one DLMS value or one ZCL payload to the last octet, and encodes to the same plaintext again."""
    keyring = Keyring.open(certificates=RTDS_CERTIFICATES, keys=RTDS_KEYS)
    seen: Counter[str] = Counter()
    for name, raw in rtds_messages().items():
        message = decode(raw)
        parts = encrypted_parts(message.payload)
        for part, opened in zip(parts, open_parts(message, keyring), strict=True):
            assert opened.verdict is Verdict.VALID, (name, opened.words)
            size = len(part.wire) - 5 - 12
            if isinstance(opened.content, Component):
                body = opened.content.body
                assert not isinstance(body, EncryptedZcl)
                assert len(encode_zcl(body)) == size
                seen["GBZ"] += 1
            else:
                assert opened.content is not None
                assert len(encode_data(opened.content)) == size
                seen["DLMS"] += 1
        if parts:
            shifted = replace(message.header, originator_counter=message.header.originator_counter ^ 1)
            other = message.header.other_information.supplementary_originator_counter
            if other is None:
                wrong = open_parts(replace(message, header=shifted), keyring)
                assert {part.verdict for part in wrong} == {Verdict.INVALID}, name
            assert encode(message) == raw
    assert seen["DLMS"] > 0
    assert seen["GBZ"] > 0
