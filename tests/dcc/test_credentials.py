"""Whose certificates the DSP believes: issuer, usage, period and number, not the number alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lastmetre.dcc.credentials import UserCertificates, dsp_signer
from lastmetre.dcc.errors import SettingsRefused
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.smki import make_certificate, organisation_name
from tests import own_world as own
from tests.dsp_world import NOBODY, BrokerKeys, EveryCertificate, issuing_authority
from tests.own_world import BROKER, DS, NOW, SUPPLIER

if TYPE_CHECKING:
    from lastmetre.gbcs.certificates import Certificate


def certificates(*issuers: Certificate, now: int = NOW) -> UserCertificates:
    """The supplier's certificates, under these authorities."""
    return UserCertificates((SUPPLIER, NOBODY), EveryCertificate(), issuers, lambda: now)


def impostor() -> Certificate:
    """An authority of the same name with another key."""
    real = issuing_authority()
    key = ec.derive_private_key(4242, ec.SECP256R1())
    name = own._ISSUER
    return make_certificate(
        subject=name, public_key=key.public_key(), usage=real.usage, issuer=name, issuer_key=key,
        serial_number=1, not_before=own._FROM, not_after=own._UNTIL,
    )  # fmt: skip


def test_a_certificate_counts_under_its_own_authority_only() -> None:
    """No authority, one of another key, or one that is no authority: the same certificate is not believed (T10)."""
    mine = own.certificate(SUPPLIER, DS)
    name, serial = mine.issuer_name, mine.serial_number
    assert certificates(issuing_authority()).find(name, serial) == mine
    assert certificates(issuing_authority()).of_user(SUPPLIER) == mine
    for issuers in ((), (impostor(),), (replace(mine, subject_name=name),)):
        assert certificates(*issuers).find(name, serial) is None
        assert certificates(*issuers).of_user(SUPPLIER) is None


def test_number_and_issuer_must_both_fit() -> None:
    """A serial number under another issuer's name, or another number, names nobody (duis 3.2)."""
    mine = own.certificate(SUPPLIER, DS)
    found = certificates(issuing_authority())
    assert found.find("CN=Z1,OU=07", mine.serial_number) is None
    assert found.find(mine.issuer_name, mine.serial_number + 1) is None
    key_agreement = own.certificate(SUPPLIER, KeyUse.KEY_AGREEMENT)
    assert found.find(key_agreement.issuer_name, key_agreement.serial_number) is None
    assert found.of_user(NOBODY) is None


@pytest.mark.parametrize("years", [-2, 11])
def test_a_certificate_has_its_time(years: int) -> None:
    """Before and after its period a certificate signs nothing."""
    mine = own.certificate(SUPPLIER, DS)
    found = certificates(issuing_authority(), now=NOW + years * 366 * 86_400)
    assert found.find(mine.issuer_name, mine.serial_number) is None


def test_a_dsp_without_its_certificate_does_not_start() -> None:
    """The DSP names what it lacks instead of signing with nothing."""
    with pytest.raises(SettingsRefused, match=NOBODY.hex()):
        dsp_signer(NOBODY, BrokerKeys(), EveryCertificate())


XML_KEY = ec.derive_private_key(777, ec.SECP256R1())


class XmlPairs:
    """XML signing identities of one entity, under a role."""

    def __init__(self, entity_id: bytes, role: Role, *, key: bool = True) -> None:
        self._entity_id = entity_id
        self._key = key
        self.certificate = make_certificate(
            subject=organisation_name("xml", role, entity_id),
            public_key=XML_KEY.public_key(),
            usage=own.certificate(SUPPLIER, DS).usage,
            issuer=own._ISSUER,
            issuer_key=ec.derive_private_key(1000, ec.SECP256R1()),
            serial_number=9_999,
            not_before=own._FROM,
            not_after=own._UNTIL,
        )

    def find_xml_signer(self, entity_id: bytes) -> Certificate | None:
        """Of that entity alone."""
        return self.certificate if entity_id == self._entity_id else None

    def find_xml_signing_key(self, entity_id: bytes) -> ec.EllipticCurvePrivateKey | None:
        """Of that entity alone, if it has one."""
        return XML_KEY if entity_id == self._entity_id and self._key else None


def with_xml(pairs: XmlPairs) -> UserCertificates:
    """The supplier's certificates, with an XML identity beside them."""
    return UserCertificates((SUPPLIER,), EveryCertificate(), (issuing_authority(),), lambda: NOW, pairs)


def test_a_user_with_an_xml_identity_signs_documents_with_that_alone() -> None:
    """Its GBCS key signs Pre-Commands and no document; the XML key signs documents and no Pre-Command (duis 3.2)."""
    pairs = XmlPairs(SUPPLIER, Role.XML_SIGN_USER)
    found, mine = with_xml(pairs), own.certificate(SUPPLIER, DS)
    assert found.find(pairs.certificate.issuer_name, 9_999) == pairs.certificate
    assert found.find(mine.issuer_name, mine.serial_number) is None
    assert found.of_user(SUPPLIER) == mine
    assert found.role_behind(pairs.certificate) == Role.SUPPLIER
    assert found.role_behind(mine) == Role.SUPPLIER


@pytest.mark.parametrize("role", [Role.XML_SIGN_DSP, Role.SUPPLIER, Role.OTHER])
def test_an_xml_identity_in_another_role_signs_nothing(role: Role) -> None:
    """Neither the DSP's role nor a GBCS one makes a User's XML certificate, and nothing else takes its place."""
    found, mine = with_xml(XmlPairs(SUPPLIER, role)), own.certificate(SUPPLIER, DS)
    assert found.find(mine.issuer_name, 9_999) is None
    assert found.find(mine.issuer_name, mine.serial_number) is None


def test_an_xml_identity_of_a_stranger_has_no_role() -> None:
    """A role is that of the GBCS certificate: one who has none is nobody."""
    stranger = XmlPairs(NOBODY, Role.XML_SIGN_USER)
    assert with_xml(stranger).role_behind(stranger.certificate) is None


def test_the_dsp_signs_with_its_own_xml_identity() -> None:
    """By the XML key and certificate where there are both; half of them, or another role, is a fault of settings."""
    signer = dsp_signer(BROKER, BrokerKeys(), EveryCertificate(), XmlPairs(BROKER, Role.XML_SIGN_DSP))
    assert signer.private_key is XML_KEY
    assert signer.serial_number == 9_999
    for wrong in (XmlPairs(BROKER, Role.XML_SIGN_USER), XmlPairs(BROKER, Role.XML_SIGN_DSP, key=False)):
        with pytest.raises(SettingsRefused, match="XML signing"):
            dsp_signer(BROKER, BrokerKeys(), EveryCertificate(), wrong)
