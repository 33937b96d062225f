"""Certificates in the GBCS profile: who a public key belongs to, and what it may be used for.

Rules this module keeps (reference: gbcs-messages 2.1 to 2.3; threats T09, T10):

* An organisation is named by its x500UniqueIdentifier and has a role, its OU; a device is named by the hardware
  module name in its critical subjectAltName and has no role. A certificate that names neither, or both, is refused.
* Only NIST P-256 keys and ECDSA with SHA-256; one key usage per certificate; an issuer, and nobody else, is a CA.
* A key identifier is eight octets: the bits 0100, then the low 60 bits of SHA-1 over the uncompressed point.
* A critical extension that the profile does not know is refused; one that is not critical changes nothing (DESIGN
  CHOICE: as RFC 5280 has it).
* Every refusal names its rule, ``CertificateRule``, for the audit; nothing is only warned about.
* Parsing alone believes nothing: path, validity, usage and role are asked with ``check_issued_by`` (one step) or
  ``certificate_paths.check_path`` (all of them), with the time as an argument.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha1
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtensionOID, NameOID, ObjectIdentifier

from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.der import TAG_BIT_STRING, TAG_INTEGER, TAG_OCTET_STRING, TAG_SEQUENCE, Reader
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsError
from lastmetre.gbcs.keys import load_public_key, public_point

if TYPE_CHECKING:
    import datetime as dt

HARDWARE_MODULE_NAME: Final = ObjectIdentifier("1.3.6.1.5.5.7.8.4")
CERTIFICATE_SIZE_MAX: Final = 4_096
"""Octets of DER read at most; the reference certificates have under 500."""
SERIAL_NUMBER_OCTETS_MAX: Final = 20
"""As RFC 5280 has it; the reference certificates have 16."""
KEY_IDENTIFIER_SIZE: Final = 8

_TAG_OID: Final = 0x06
_VERSION_3: Final = bytes.fromhex("a003020102")
_ECDSA_WITH_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_CRITICAL_KNOWN: Final = frozenset(
    {
        ExtensionOID.KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)
"""What is seen critical in the reference certificates, and is looked at here."""


class CertificateRule(StrEnum):
    """The rules a certificate can break; the value is the audit code."""

    NOT_A_CERTIFICATE = "not-a-certificate"
    TOO_LONG = "too-long"
    VERSION = "version"
    SERIAL_NUMBER = "serial-number"
    ALGORITHM = "signature-algorithm"
    CURVE = "curve"
    SUBJECT = "subject"
    TWO_SUBJECTS = "two-subjects"
    ROLE_UNKNOWN = "role-unknown"
    DEVICE_NAME = "device-name"
    NO_USAGE = "no-key-usage"
    TWO_USAGES = "two-key-usages"
    KEY_IDENTIFIER = "key-identifier"
    AUTHORITY_KEY_IDENTIFIER = "authority-key-identifier"
    BASIC_CONSTRAINTS = "basic-constraints"
    CRITICAL_EXTENSION = "critical-extension"
    PERIOD = "period"
    ISSUER_USAGE = "issuer-usage"
    ISSUER_NAME = "issuer-name"
    ISSUER_KEY = "issuer-key"
    ISSUER_SIGNATURE = "issuer-signature"
    ISSUER_ROLE = "issuer-role"
    PATH_LENGTH = "path-length"
    NOT_A_ROOT = "not-a-root"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    WRONG_USAGE = "wrong-usage"
    WRONG_ROLE = "wrong-role"
    WRONG_ENTITY = "wrong-entity"
    POLICY = "policy"


class CertificateRefused(GbcsError):
    """A certificate is outside the GBCS profile or may not be used for this: ``rule`` for the audit, and words."""

    def __init__(self, rule: CertificateRule, words: str) -> None:
        super().__init__(rule, words)
        self.rule = rule
        self.words = words

    def __str__(self) -> str:
        return self.words


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
    authority_key_id: bytes | None
    path_length: int | None
    policies: tuple[str, ...]
    public_key: ec.EllipticCurvePublicKey

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and other.der == self.der

    def __hash__(self) -> int:
        return hash(self.der)

    @property
    def holder(self) -> str:
        """Whose it is, in words: the entity and its role, a device, or an issuer by its name."""
        if self.entity_id is None:
            return f"the issuer {self.subject_name}"
        role = "device" if self.role is None else self.role.name.lower().replace("_", " ")
        return f"{self.entity_id.hex('-').upper()} ({role})"

    def words(self) -> tuple[tuple[str, str], ...]:
        """What it says, as labels and texts to be shown."""
        lines = [
            ("holder", self.holder),
            ("usage", self.usage.value),
            ("valid", f"{self.not_before:%Y-%m-%d %H:%M:%S} to {self.not_after:%Y-%m-%d %H:%M:%S} UTC"),
            ("subject", self.subject_name or "empty, as a device's is"),
            ("issuer", self.issuer_name),
            ("serial number", str(self.serial_number)),
            ("key identifier", self.subject_key_id.hex()),
            ("issuer's key identifier", self.authority_key_id.hex() if self.authority_key_id else "not given"),
            ("public key", public_point(self.public_key).hex()),
        ]
        if self.policies:
            lines.append(("policies", ", ".join(self.policies)))
        return tuple(lines)


def key_identifier(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """The eight-octet key identifier: 0100 then the low 60 bits of SHA-1 over the point (section 2.3)."""
    digest = int.from_bytes(sha1(public_point(public_key), usedforsecurity=False).digest(), "big")
    return ((4 << 60) | (digest & ((1 << 60) - 1))).to_bytes(8, "big")


def parse_certificate(data: bytes) -> Certificate:
    """Read a PEM or DER certificate; raises ``CertificateRefused`` naming the rule of the profile it breaks."""
    der = _from_pem(data) if data[:1] != b"\x30" else data
    if len(der) > CERTIFICATE_SIZE_MAX:
        raise _refused(CertificateRule.TOO_LONG, f"the certificate is longer than {CERTIFICATE_SIZE_MAX} octets")
    try:
        _check_shape(der)
        return _from_x509(der, x509.load_der_x509_certificate(der))
    except CertificateRefused:
        raise
    except Exception as error:  # the library raises several unrelated kinds for broken DER
        raise _refused(CertificateRule.NOT_A_CERTIFICATE, f"this is no X.509 certificate: {error}") from error


def _refused(rule: CertificateRule, words: str) -> CertificateRefused:
    return CertificateRefused(rule, words)


def _from_pem(data: bytes) -> bytes:
    """The DER of the first certificate in a PEM text."""
    _, begin, rest = data[: 4 * CERTIFICATE_SIZE_MAX].partition(_BEGIN)
    body, end, _ = rest.partition(_END)
    if not begin or not end:
        raise _refused(CertificateRule.NOT_A_CERTIFICATE, "this holds no certificate, neither as PEM nor as DER")
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise _refused(CertificateRule.NOT_A_CERTIFICATE, f"this is no PEM: {error}") from error


def _check_shape(der: bytes) -> None:
    """The outermost fields, which the library would only warn about: version, serial number, both algorithms."""
    reader = Reader(der, allow_long_lengths=False)
    start, end = reader.enter(0, len(der), TAG_SEQUENCE, "certificate")
    if end != len(der):
        raise GbcsDecodeError("certificate", end, "octets follow it")
    start, signed_end = reader.enter(start, end, TAG_SEQUENCE, "tbsCertificate")
    if der[start : start + len(_VERSION_3)] != _VERSION_3:
        raise _refused(CertificateRule.VERSION, "it is not of X.509 version 3")
    start, end = reader.enter(start + len(_VERSION_3), signed_end, TAG_INTEGER, "serialNumber")
    if not 1 <= end - start <= SERIAL_NUMBER_OCTETS_MAX or int.from_bytes(der[start:end], "big", signed=True) <= 0:
        raise _refused(
            CertificateRule.SERIAL_NUMBER, f"its serial number is not 1 to {SERIAL_NUMBER_OCTETS_MAX} octets above zero"
        )
    size = len(_ECDSA_WITH_SHA256)
    if not der[end : end + size] == der[signed_end : signed_end + size] == _ECDSA_WITH_SHA256:
        raise _refused(CertificateRule.ALGORITHM, "it is not signed by ECDSA with SHA-256")
    start, end = reader.enter(signed_end + size, len(der), TAG_BIT_STRING, "signatureValue")
    if end != len(der) or der[start : start + 1] != b"\x00":  # else one certificate would have several spellings
        raise GbcsDecodeError("signatureValue", start, "is not a bit string of whole octets at the certificate's end")


def _from_x509(der: bytes, parsed: x509.Certificate) -> Certificate:
    try:
        public_key = load_public_key(_spki(der))
    except GbcsDecodeError as error:  # another curve or form, a point that is not on the curve, or at infinity
        raise _refused(CertificateRule.CURVE, f"its key is not on NIST P-256: {error.reason}") from error
    if parsed.not_valid_after_utc < parsed.not_valid_before_utc:
        raise _refused(CertificateRule.PERIOD, "its validity ends before it begins")
    _check_critical(parsed)
    entity_id, role = _subject(parsed)
    usage = _usage(parsed)
    return Certificate(
        der=der,
        entity_id=entity_id,
        role=role,
        usage=usage,
        subject_name=parsed.subject.rfc4514_string(),
        issuer_name=parsed.issuer.rfc4514_string(),
        serial_number=parsed.serial_number,
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        subject_key_id=_subject_key_id(parsed, public_key),
        authority_key_id=_authority_key_id(parsed),
        path_length=_path_length(parsed, usage, entity_id),
        policies=_policies(parsed),
        public_key=public_key,
    )


def _spki(der: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate whose shape was checked, as its own octets."""
    reader = Reader(der, allow_long_lengths=False)
    at, end = reader.enter(0, len(der), TAG_SEQUENCE, "certificate")
    at, end = reader.enter(at, end, TAG_SEQUENCE, "tbsCertificate")
    at += len(_VERSION_3)
    for tag in (TAG_INTEGER, *[TAG_SEQUENCE] * 4):  # serial number, algorithm, issuer, validity, subject
        _start, at = reader.enter(at, end, tag, "tbsCertificate")
    _start, stop = reader.enter(at, end, TAG_SEQUENCE, "subjectPublicKeyInfo")
    return der[at:stop]


def _check_critical(parsed: x509.Certificate) -> None:
    for extension in parsed.extensions:
        if extension.critical and extension.oid not in _CRITICAL_KNOWN:
            oid = extension.oid.dotted_string
            raise _refused(CertificateRule.CRITICAL_EXTENSION, f"its critical extension {oid} is not of the profile")


def _subject_key_id(parsed: x509.Certificate, public_key: ec.EllipticCurvePublicKey) -> bytes:
    try:
        found = parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        raise _refused(CertificateRule.KEY_IDENTIFIER, "it has no Subject Key Identifier") from None
    if found != key_identifier(public_key):
        raise _refused(CertificateRule.KEY_IDENTIFIER, "its Subject Key Identifier does not follow from its key")
    return found


def _authority_key_id(parsed: x509.Certificate) -> bytes | None:
    """The issuer's key identifier. Seven certificates of the test PKI have none: that is allowed, a wrong one not."""
    try:
        found = parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None
    if found is None or len(found) != KEY_IDENTIFIER_SIZE:
        words = f"its Authority Key Identifier has not {KEY_IDENTIFIER_SIZE} octets"
        raise _refused(CertificateRule.AUTHORITY_KEY_IDENTIFIER, words)
    return found


def _path_length(parsed: x509.Certificate, usage: Usage, entity_id: bytes | None) -> int | None:
    """How many issuers may stand below an issuer; ``None`` for no limit and for whoever is no issuer."""
    try:
        constraints = parsed.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    is_authority = constraints is not None and constraints.ca
    if is_authority is not (usage is Usage.CERT_SIGN) or is_authority is not (entity_id is None):
        words = "who may sign certificates must be a CA, name no entity, and nobody else may"
        raise _refused(CertificateRule.BASIC_CONSTRAINTS, words)
    return constraints.path_length if constraints is not None else None


def _policies(parsed: x509.Certificate) -> tuple[str, ...]:
    try:
        found = parsed.extensions.get_extension_for_class(x509.CertificatePolicies).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(policy.policy_identifier.dotted_string for policy in found)


def _usage(parsed: x509.Certificate) -> Usage:
    try:
        usage = parsed.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise _refused(CertificateRule.NO_USAGE, "it has no key usage") from None
    found = [
        name
        for name, there in (
            (Usage.DIGITAL_SIGNATURE, usage.digital_signature),
            (Usage.KEY_AGREEMENT, usage.key_agreement),
            (Usage.CERT_SIGN, usage.key_cert_sign),
        )
        if there
    ]
    others = usage.content_commitment or usage.key_encipherment or usage.data_encipherment
    others = others or (usage.crl_sign and not usage.key_cert_sign)
    others = others or (usage.key_agreement and (usage.encipher_only or usage.decipher_only))
    if not found:
        raise _refused(CertificateRule.NO_USAGE, "it has no key usage of the profile")
    if len(found) > 1 or others:
        raise _refused(CertificateRule.TWO_USAGES, "it must have exactly one key usage")
    return found[0]


def _subject(parsed: x509.Certificate) -> tuple[bytes | None, Role | None]:
    """The entity a certificate names and its role: an organisation's, a device's, or an issuer's (no entity)."""
    identifiers = parsed.subject.get_attributes_for_oid(NameOID.X500_UNIQUE_IDENTIFIER)
    units = parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    if not list(parsed.subject):
        return _hardware_module(parsed), None
    if any(_hardware_names(parsed)):
        raise _refused(CertificateRule.TWO_SUBJECTS, "it names an organisation or issuer and a device")
    if len(units) > 1 or len(identifiers) > 1:
        raise _refused(CertificateRule.SUBJECT, "its subject has two OUs or two unique identifiers")
    role = _role(str(units[0].value)) if units else None
    if not identifiers:
        return None, role
    raw = identifiers[0].value
    # A BIT STRING's count of unused bits comes first.
    if not isinstance(raw, bytes) or len(raw) != 9 or raw[0] != 0 or role is None:
        raise _refused(CertificateRule.SUBJECT, "an organisation is named by an EUI-64 and one OU, its role")
    return raw[1:], role


def _role(unit: str) -> Role:
    """The role an OU says: two hexadecimal digits.

    One old certificate of the published test PKI writes the role of a DSP's XML signature in decimal, as 137. Three
    digits are never hexadecimal, so that this can be told; only the XML signing roles are taken so.
    """
    try:
        if re.fullmatch(r"[0-9A-Fa-f]{2}", unit):
            return Role(int(unit, 16))
        if re.fullmatch(r"[0-9]{3}", unit) and (role := Role(int(unit))) in {Role.XML_SIGN_USER, Role.XML_SIGN_DSP}:
            return role
    except ValueError:
        pass
    raise _refused(CertificateRule.ROLE_UNKNOWN, f"OU {unit!r} is no remote party role")


def _hardware_names(parsed: x509.Certificate) -> list[bytes]:
    """The hardware module names in the subjectAltName, as DER; it must be critical where one is."""
    try:
        extension = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    names = [name for name in extension.value if isinstance(name, x509.OtherName)]
    found = [name.value for name in names if name.type_id == HARDWARE_MODULE_NAME]
    if found and not extension.critical:
        raise _refused(CertificateRule.DEVICE_NAME, "its subjectAltName is not critical")
    return found


def _hardware_module(parsed: x509.Certificate) -> bytes:
    """The device's EUI-64 from the one hardware module name: SEQUENCE { OID, OCTET STRING }."""
    names = _hardware_names(parsed)
    if not names:
        raise _refused(CertificateRule.SUBJECT, "it names nobody: no subject and no hardware module name")
    if len(names) > 1:
        raise _refused(CertificateRule.TWO_SUBJECTS, "it names more than one device")
    value = names[0]
    reader = Reader(value, allow_long_lengths=False)
    try:
        start, end = reader.enter(0, len(value), TAG_SEQUENCE, "hardwareModuleName")
        _, after_type = reader.enter(start, end, _TAG_OID, "hwType")
        start, stop = reader.enter(after_type, end, TAG_OCTET_STRING, "hwSerialNum")
    except GbcsDecodeError as error:
        raise _refused(CertificateRule.DEVICE_NAME, f"its hardware module name is broken: {error}") from error
    if not stop == end == len(value) or stop - start != 8:
        raise _refused(CertificateRule.DEVICE_NAME, "its hardware module name holds no EUI-64")
    return value[start:stop]


def check_signed_by(certificate: Certificate, issuer: Certificate) -> None:
    """Whether ``issuer`` made this certificate: it may, it is named, its key is meant and its signature verifies."""
    if issuer.usage is not Usage.CERT_SIGN:
        raise _refused(CertificateRule.ISSUER_USAGE, "its issuer may not sign certificates")
    if certificate.issuer_name != issuer.subject_name:
        words = f"it was issued by {certificate.issuer_name}, not by {issuer.subject_name}"
        raise _refused(CertificateRule.ISSUER_NAME, words)
    if certificate.authority_key_id not in {None, issuer.subject_key_id}:
        raise _refused(CertificateRule.ISSUER_KEY, "it was issued with another key than this of its issuer")
    try:
        loaded = x509.load_der_x509_certificate(certificate.der)
        issuer.public_key.verify(loaded.signature, loaded.tbs_certificate_bytes, ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise _refused(CertificateRule.ISSUER_SIGNATURE, "its issuer's signature does not verify") from None


def check_period(certificate: Certificate, at: dt.datetime) -> None:
    """Whether a certificate is in date; both ends count as within."""
    if at < certificate.not_before:
        raise _refused(CertificateRule.NOT_YET_VALID, f"it is not valid before {certificate.not_before}")
    if at > certificate.not_after:
        raise _refused(CertificateRule.EXPIRED, f"it expired: it was valid until {certificate.not_after}")


def check_issued_by(
    certificate: Certificate, issuer: Certificate, *, at: dt.datetime, usage: Usage, role: Role | None = None
) -> None:
    """Whether ``certificate`` was issued by ``issuer``, is in date, and is for this usage and role (if one is asked).

    One step of a path; ``certificate_paths.check_path`` takes all. Raises ``CertificateRefused`` naming the first rule
    that does not hold.
    """
    check_signed_by(certificate, issuer)
    check_period(certificate, at)
    if certificate.usage is not usage:
        raise _refused(CertificateRule.WRONG_USAGE, f"it is for {certificate.usage}, not for {usage}")
    if role is not None and certificate.role is not role:
        raise _refused(CertificateRule.WRONG_ROLE, f"it belongs to another role than {role.name}")
