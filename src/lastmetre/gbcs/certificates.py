"""Certificates in the GBCS profile: who a public key belongs to, and what it may be used for.

Rules this module keeps (reference: gbcs-messages 2.1 to 2.3):

* An organisation is named by its x500UniqueIdentifier and has a role, its OU; a device is named by the hardware
  module name in its subjectAltName and has no role. A certificate that names neither is refused.
* Only NIST P-256 keys and ECDSA with SHA-256; one key usage per certificate.
* A key identifier is eight octets: the bits 0100, then the low 60 bits of SHA-1 over the uncompressed point.
* Whether a certificate may be believed (path, validity, usage, role) is asked with ``check_issued_by``, with the time
  as an argument; parsing alone believes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha1
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.errors import GbcsError
from lastmetre.gbcs.keys import public_point

if TYPE_CHECKING:
    import datetime as dt

HARDWARE_MODULE_NAME: Final = ObjectIdentifier("1.3.6.1.5.5.7.8.4")
CERTIFICATE_SIZE_MAX: Final = 4_096
"""Octets of DER read at most; the reference certificates have under 500."""


class CertificateRefused(GbcsError):
    """A certificate is outside the GBCS profile or may not be used for this; the text says which rule it breaks."""


class Usage(StrEnum):
    """The key usages the profile knows; a certificate has exactly one."""

    DIGITAL_SIGNATURE = "digitalSignature"
    KEY_AGREEMENT = "keyAgreement"
    CERT_SIGN = "keyCertSign"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A parsed certificate. ``role`` is ``None`` for a device; ``entity_id`` is ``None`` only for an issuer.

    Two certificates are equal when their DER is.
    """

    der: bytes
    entity_id: bytes | None
    role: Role | None
    usage: Usage
    subject_name: str
    issuer_name: str
    serial_number: int
    not_before: dt.datetime
    not_after: dt.datetime
    subject_key_id: bytes
    public_key: ec.EllipticCurvePublicKey

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and other.der == self.der

    def __hash__(self) -> int:
        return hash(self.der)


def key_identifier(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """The eight-octet key identifier: 0100 then the low 60 bits of SHA-1 over the point (section 2.3)."""
    digest = int.from_bytes(sha1(public_point(public_key), usedforsecurity=False).digest(), "big")
    return ((4 << 60) | (digest & ((1 << 60) - 1))).to_bytes(8, "big")


def parse_certificate(data: bytes) -> Certificate:
    """Read a PEM or DER certificate; raises ``CertificateRefused`` naming the rule of the profile it breaks."""
    try:
        if b"-----BEGIN CERTIFICATE-----" in data[:200]:
            parsed = x509.load_pem_x509_certificate(data)
        else:
            parsed = x509.load_der_x509_certificate(data)
        return _from_x509(parsed)
    except CertificateRefused:
        raise
    except Exception as error:  # the library raises several unrelated kinds for broken DER
        raise CertificateRefused(f"this is no X.509 certificate: {error}") from error


def _from_x509(parsed: x509.Certificate) -> Certificate:
    der = parsed.public_bytes(Encoding.DER)
    if len(der) > CERTIFICATE_SIZE_MAX:
        raise CertificateRefused(f"the certificate is longer than {CERTIFICATE_SIZE_MAX} octets")
    public_key = parsed.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
        raise CertificateRefused("its key is not on NIST P-256")
    if not isinstance(parsed.signature_hash_algorithm, SHA256):
        raise CertificateRefused("it is not signed with SHA-256")
    entity_id, role = _subject(parsed)
    return Certificate(
        der=der,
        entity_id=entity_id,
        role=role,
        usage=_usage(parsed),
        subject_name=parsed.subject.rfc4514_string(),
        issuer_name=parsed.issuer.rfc4514_string(),
        serial_number=parsed.serial_number,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        subject_key_id=_subject_key_id(parsed, public_key),
        public_key=public_key,
    )


def _subject_key_id(parsed: x509.Certificate, public_key: ec.EllipticCurvePublicKey) -> bytes:
    try:
        found = parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        raise CertificateRefused("it has no Subject Key Identifier") from None
    if found != key_identifier(public_key):
        raise CertificateRefused("its Subject Key Identifier does not follow from its key")
    return found


def _usage(parsed: x509.Certificate) -> Usage:
    try:
        usage = parsed.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise CertificateRefused("it has no key usage") from None
    found = []
    if usage.digital_signature:
        found.append(Usage.DIGITAL_SIGNATURE)
    if usage.key_agreement:
        found.append(Usage.KEY_AGREEMENT)
    if usage.key_cert_sign:
        found.append(Usage.CERT_SIGN)
    if len(found) != 1:
        raise CertificateRefused("it must have exactly one key usage")
    return found[0]


def _subject(parsed: x509.Certificate) -> tuple[bytes | None, Role | None]:
    """The entity a certificate names and its role: an organisation's, a device's, or an issuer's (no entity)."""
    identifiers = parsed.subject.get_attributes_for_oid(NameOID.X500_UNIQUE_IDENTIFIER)
    units = parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    if identifiers:
        value = identifiers[0].value
        raw = value if isinstance(value, bytes) else value.encode("latin-1")
        if len(raw) == 9 and raw[0] == 0:  # a BIT STRING's count of unused bits comes first
            raw = raw[1:]
        if len(raw) != 8 or len(units) != 1:
            raise CertificateRefused("an organisation is named by an EUI-64 and one OU, its role")
        return raw, _role(str(units[0].value))
    if not list(parsed.subject):
        return _hardware_module(parsed), None
    return None, _role(str(units[0].value)) if units else None


def _role(unit: str) -> Role:
    try:
        return Role(int(unit, 16))
    except ValueError:
        raise CertificateRefused(f"OU {unit!r} is no remote party role") from None


def _hardware_module(parsed: x509.Certificate) -> bytes:
    """The device's EUI-64 from the hardware module name: SEQUENCE { OID, OCTET STRING }."""
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise CertificateRefused("it names nobody: no subject and no hardware module name") from None
    for name in names:
        if isinstance(name, x509.OtherName) and name.type_id == HARDWARE_MODULE_NAME:
            value = name.value
            if value[:1] == b"\x30" and len(value) > 12 and value[-10:-8] == b"\x04\x08":
                return value[-8:]
    raise CertificateRefused("its hardware module name holds no EUI-64")


def check_issued_by(
    certificate: Certificate, issuer: Certificate, *, at: dt.datetime, usage: Usage, role: Role | None = None
) -> None:
    """Whether ``certificate`` was issued by ``issuer``, is in date, and is for this usage and role.

    Raises ``CertificateRefused`` naming the first rule that does not hold.
    """
    if issuer.usage is not Usage.CERT_SIGN:
        raise CertificateRefused("its issuer may not sign certificates")
    if certificate.issuer_name != issuer.subject_name:
        raise CertificateRefused(f"it was issued by {certificate.issuer_name}, not by {issuer.subject_name}")
    try:
        loaded = x509.load_der_x509_certificate(certificate.der)
        issuer.public_key.verify(loaded.signature, loaded.tbs_certificate_bytes, ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise CertificateRefused("its issuer's signature does not verify") from None
    if not certificate.not_before <= at <= certificate.not_after:
        raise CertificateRefused(f"it is valid from {certificate.not_before} to {certificate.not_after} only")
    if certificate.usage is not usage:
        raise CertificateRefused(f"it is for {certificate.usage}, not for {usage}")
    if role is not None and certificate.role is not role:
        raise CertificateRefused(f"it belongs to another role than {role.name}")
