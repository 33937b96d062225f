"""Certificates made to the GBCS profile, for test SMKIs only.

Rules this module keeps (reference: gbcs-messages 2.3): what ``certificates`` reads, this writes; keys, serial numbers
and dates are arguments. Nothing it makes is worth anything outside a test.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from lastmetre.gbcs.certificates import (
    HARDWARE_MODULE_NAME,
    Certificate,
    Usage,
    key_identifier,
    parse_certificate,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.catalogue import Role

DEVICE_NOT_AFTER: Final = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
"""Device certificates never end (section 2.3)."""
_HARDWARE_TYPE: Final = bytes.fromhex("06062b0601040101")
"""The hardware type's OID in a device certificate, 1.3.6.1.4.1.1: a placeholder of ours (DESIGN CHOICE)."""


def issuer_name(common_name: str, role: Role) -> x509.Name:
    """The subject of a root or issuing authority: OU then CN, as ``CN=..,OU=07`` when read (RFC 4514)."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"{role:02X}"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def organisation_name(common_name: str, role: Role, entity_id: bytes) -> x509.Name:
    """The subject of an organisation: CN, OU (its role) and its EUI-64 as x500UniqueIdentifier."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"{role:02X}"),
            x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\x00" + entity_id, _type=_ASN1Type.BitString),
        ]
    )


def make_certificate(
    *,
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    usage: Usage,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    serial_number: int,
    not_before: dt.datetime,
    not_after: dt.datetime,
    device_id: bytes | None = None,
) -> Certificate:
    """Make and sign one certificate; with ``device_id`` it names a device and ``subject`` must be empty."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial_number)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(_key_usage(usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(key_identifier(public_key)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(key_identifier(issuer_key.public_key()), None, None), critical=False)
    )
    if usage is Usage.CERT_SIGN:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if device_id is not None:
        value = _HARDWARE_TYPE + b"\x04\x08" + device_id
        name = x509.OtherName(HARDWARE_MODULE_NAME, b"\x30" + bytes((len(value),)) + value)
        builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=True)
    made = builder.sign(issuer_key, SHA256(), ecdsa_deterministic=True)
    return parse_certificate(made.public_bytes(Encoding.DER))


def _key_usage(usage: Usage) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=usage is Usage.DIGITAL_SIGNATURE,
        key_agreement=usage is Usage.KEY_AGREEMENT,
        key_cert_sign=usage is Usage.CERT_SIGN,
        crl_sign=usage is Usage.CERT_SIGN,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        encipher_only=False,
        decipher_only=False,
    )
