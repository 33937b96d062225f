"""Whose certificates the DSP believes: issuer, usage, period and number, not the number alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lastmetre.dcc.credentials import UserCertificates, dsp_signer
from lastmetre.dcc.errors import SettingsRefused
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.smki import make_certificate
from tests import own_world as own
from tests.dsp_world import NOBODY, BrokerKeys, EveryCertificate, issuing_authority
from tests.own_world import DS, NOW, SUPPLIER

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
