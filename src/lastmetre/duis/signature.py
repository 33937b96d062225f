"""The XML signature of DUIS, in the one profile it has, and nothing wider.

Rules kept here (reference: duis section 3):

* One enveloped ``ds:Signature``, last child of the root; one Reference to the whole document (``URI=""``); one
  transform; SHA-256; ECDSA on P-256 with the value r || s; the key named by X509IssuerSerial. Anything else is
  refused, so no Reference can point elsewhere and no transform can take content out of what is hashed.
* The document is hashed in *inclusive* Canonical XML 1.0 without comments (the default when no transform
  canonicalises); SignedInfo in the *exclusive* form that it names.
* A verified document is returned as what was hashed, without its signature. Read that only.
* A good signature says who signed, not that this party may: the caller names the signer it requires.

What we sign has no whitespace between elements, since one known verifier removes such whitespace before it hashes.
ECDSA is deterministic (RFC 6979), so signing needs no randomness.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from lxml import etree

from lastmetre.duis.errors import DuisDecodeError, DuisValueError, SignatureReason, SignatureRefused
from lastmetre.duis.xml import DS, SR, Element, is_blank, parse_document, read_element, scan

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

EXCLUSIVE_C14N: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
ECDSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
ENVELOPED_SIGNATURE: Final = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"

SIGNATURE_SIZE: Final = 64
DIGEST_SIZE: Final = 32
SERIAL_DIGITS_MAX: Final = 50
"""An X.509 serial number has at most 20 octets, which is at most 49 decimal digits."""

_DS_SIGNATURE: Final = f"{{{DS}}}Signature"
# Where a second signature may stand: SMETS1 documents are signed by their own service provider inside (section 3.2).
_NESTED_SIGNATURE_PARENTS: Final = frozenset({f"{{{SR}}}SMETS1SignedResponse", f"{{{SR}}}S1SPAlert"})
_ECDSA: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


class SignerCertificate(Protocol):
    """What this module needs of a certificate; ``lastmetre.gbcs.certificates.Certificate`` has it."""

    @property
    def entity_id(self) -> bytes | None:
        """Whose certificate it is; None for an issuer's, which signs no document."""

    @property
    def role(self) -> int | None:
        """The remote party role of an organisation; None for a device."""

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The key that must have signed."""

    @property
    def not_before(self) -> datetime:
        """When it begins to be valid."""

    @property
    def not_after(self) -> datetime:
        """When it ends."""


FindCertificate = Callable[[str, int], SignerCertificate | None]
"""Finds a certificate by issuer name (``CN=Z1,OU=07``) *and* serial number; None when it knows no such certificate."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing identity: the private key and the certificate name and number that go into KeyInfo."""

    private_key: ec.EllipticCurvePrivateKey
    issuer_name: str
    serial_number: int


@dataclass(frozen=True, slots=True)
class VerifiedDocument:
    """A document whose signature verified: what was hashed, as tree and as text, and whose certificate signed it."""

    root: etree._Element
    signer: SignerCertificate
    canonical: bytes

    @property
    def element(self) -> Element:
        """The document as a value, read from the very octets that were hashed."""
        found = scan(self.canonical.decode())
        return read_element(self.root) if found is None else found


def normalise_issuer(name: str) -> str:
    """A distinguished name in RFC 2253 order without the space some writers put after a comma: ``CN=Z1,OU=07``."""
    parts: list[str] = []
    here = ""
    escaped = False
    for character in name:
        if character == "," and not escaped:
            parts.append(here)
            here = ""
        else:
            here += character
        escaped = character == "\\" and not escaped
    parts.append(here)
    return ",".join(part.strip() for part in parts)


def issuer_name_of(certificate: x509.Certificate) -> str:
    """The issuer as KeyInfo names it: RFC 2253 order, last attribute first."""
    return certificate.issuer.rfc4514_string()


# --- signing


def sign_document(document: bytes, signer: Signer) -> bytes:
    """The document with its signature, in canonical form; refuses one that is signed already."""
    root = parse_document(document)
    if root.find(_DS_SIGNATURE) is not None:
        raise DuisValueError("the document carries a signature already; remove it before signing")
    remove_blank_text(root)
    return _sign_canonical(_canonical(root), signer)


def remove_signature(document: bytes) -> bytes:
    """The document without any signature directly under its root, such as the placeholder of a template."""
    root = parse_document(document)
    for signature in root.findall(_DS_SIGNATURE):
        root.remove(signature)
    remove_blank_text(root)
    return _canonical(root)


def remove_blank_text(root: etree._Element) -> None:
    """Take out whitespace between elements; the text of an element without children stays as it is."""
    for node in root.iter():
        if len(node) and node.text and is_blank(node.text):
            node.text = None
        if node.tail and is_blank(node.tail):
            node.tail = None


def _sign_canonical(canonical: bytes, signer: Signer) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(canonical)
    # Written in canonical form, so these bytes are what is signed and also what is sent.
    signed_info = (
        f'<ds:SignedInfo xmlns:ds="{DS}">'
        f'<ds:CanonicalizationMethod Algorithm="{EXCLUSIVE_C14N}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{ECDSA_SHA256}"></ds:SignatureMethod>'
        f'<ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="{ENVELOPED_SIGNATURE}"></ds:Transform>'
        f'</ds:Transforms><ds:DigestMethod Algorithm="{SHA256}"></ds:DigestMethod>'
        f"<ds:DigestValue>{b64encode(digest.finalize()).decode()}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
    )
    r, s = decode_dss_signature(signer.private_key.sign(signed_info.encode(), _ECDSA))
    value = b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()
    issuer = signer.issuer_name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    signature = (
        f'<ds:Signature xmlns:ds="{DS}">{signed_info}<ds:SignatureValue>{value}</ds:SignatureValue>'
        f"<ds:KeyInfo><ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>{issuer}</ds:X509IssuerName>"
        f"<ds:X509SerialNumber>{signer.serial_number}</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data>"
        "</ds:KeyInfo></ds:Signature>"
    ).encode()
    body, closing, _ = canonical.rpartition(b"</")
    return b'<?xml version="1.0" encoding="UTF-8"?>' + body + signature + closing + canonical[len(body) + 2 :]


# --- verifying


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a signature in the right form says, not yet believed."""

    signed_info: etree._Element
    digest: bytes
    value: bytes
    issuer_name: str
    serial_number: int


def verify_document(document: bytes, find_certificate: FindCertificate) -> VerifiedDocument:
    """The tree and the certificate that signed it, or ``SignatureRefused``. Who was entitled to sign comes after."""
    root = parse_document(document)
    signature = _the_signature(root)
    claims = _read_profile(signature)
    signed_info = _canonical(claims.signed_info, exclusive=True)
    _detach(signature)
    canonical = _canonical(root)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(canonical)
    if not hmac.compare_digest(digest.finalize(), claims.digest):
        raise SignatureRefused(SignatureReason.DIGEST)
    certificate = find_certificate(claims.issuer_name, claims.serial_number)
    if certificate is None:
        raise SignatureRefused(
            SignatureReason.UNKNOWN_CERTIFICATE, f"issuer {claims.issuer_name}, serial {claims.serial_number}"
        )
    _check_value(certificate.public_key, claims.value, signed_info)
    return VerifiedDocument(root, certificate, canonical)


def require_signer(
    document: VerifiedDocument, entity_id: bytes, roles: frozenset[int] | None = None, *, at: int | None = None
) -> None:
    """Refuse a document that another party signed, or a certificate whose role or period (``at``) does not fit."""
    certificate = document.signer
    if certificate.entity_id != entity_id:
        signed_by = certificate.entity_id.hex() if certificate.entity_id else "an issuer"
        detail = f"signed by {signed_by}, expected {entity_id.hex()}"
        raise SignatureRefused(SignatureReason.WRONG_SIGNER, detail)
    # A device's certificate has no role, and no device signs DUIS documents.
    if certificate.role is None or (roles is not None and certificate.role not in roles):
        raise SignatureRefused(SignatureReason.WRONG_ROLE, f"role {certificate.role}")
    if at is not None and not certificate.not_before.timestamp() <= at <= certificate.not_after.timestamp():
        raise SignatureRefused(SignatureReason.NOT_VALID_NOW)


def _canonical(node: etree._Element, *, exclusive: bool = False) -> bytes:
    try:
        return etree.tostring(node, method="c14n", exclusive=exclusive, with_comments=False)
    except etree.C14NError:
        # A relative namespace name, for one, is well-formed but has no canonical form.
        raise DuisDecodeError("document", "has no canonical form") from None


def _the_signature(root: etree._Element) -> etree._Element:
    """The one signature over the document; a nested one is allowed only where the schema has one."""
    mine = root.findall(_DS_SIGNATURE)
    if not mine:
        raise SignatureRefused(SignatureReason.UNSIGNED)
    if len(mine) > 1 or root[-1] is not mine[0]:
        raise SignatureRefused(SignatureReason.NOT_ONE)
    for other in root.iter(_DS_SIGNATURE):
        if other is mine[0]:
            continue
        parent = other.getparent()
        if parent is None or parent.tag not in _NESTED_SIGNATURE_PARENTS:
            raise SignatureRefused(SignatureReason.NOT_ONE)
    return mine[0]


def _children(node: etree._Element, *names: str, attributes: tuple[str, ...] = ()) -> list[etree._Element]:
    """The children of a signature element, which must be exactly these, with no attribute and no text beside them."""
    if [child.tag for child in node] != [f"{{{DS}}}{name}" for name in names] or sorted(node.attrib) != sorted(
        attributes
    ):
        raise SignatureRefused(SignatureReason.PROFILE, f"{etree.QName(node).localname} has another form")
    if names and any(not is_blank(text or "") for text in (node.text, *(child.tail for child in node))):
        raise SignatureRefused(SignatureReason.PROFILE, f"{etree.QName(node).localname} holds text")
    return list(node)


def _algorithm(node: etree._Element, expected: str) -> None:
    _children(node, attributes=("Algorithm",))
    if node.get("Algorithm") != expected or not is_blank(node.text or ""):
        raise SignatureRefused(SignatureReason.PROFILE, f"{etree.QName(node).localname} is not {expected}")


def _base64(node: etree._Element, size: int) -> bytes:
    _children(node)
    try:
        value = b64decode("".join((node.text or "").split()), validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != size:
        raise SignatureRefused(SignatureReason.PROFILE, f"{etree.QName(node).localname} is not {size} octets")
    return value


def _read_profile(signature: etree._Element) -> _Claims:
    """Hold the signature against the profile, element by element."""
    signed_info, value, key_info = _children(signature, "SignedInfo", "SignatureValue", "KeyInfo")
    canonicalisation, method, reference = _children(
        signed_info, "CanonicalizationMethod", "SignatureMethod", "Reference"
    )
    _algorithm(canonicalisation, EXCLUSIVE_C14N)
    _algorithm(method, ECDSA_SHA256)
    transforms, digest_method, digest = _children(
        reference, "Transforms", "DigestMethod", "DigestValue", attributes=("URI",)
    )
    if reference.get("URI") != "":
        raise SignatureRefused(SignatureReason.PROFILE, "the Reference does not mean the whole document")
    (transform,) = _children(transforms, "Transform")
    _algorithm(transform, ENVELOPED_SIGNATURE)
    _algorithm(digest_method, SHA256)
    (data,) = _children(key_info, "X509Data")
    (issuer_serial,) = _children(data, "X509IssuerSerial")
    issuer, serial = _children(issuer_serial, "X509IssuerName", "X509SerialNumber")
    _children(issuer)
    _children(serial)
    digits = (serial.text or "").strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= SERIAL_DIGITS_MAX):
        raise SignatureRefused(SignatureReason.PROFILE, "X509SerialNumber is not a decimal number")
    return _Claims(
        signed_info=signed_info,
        digest=_base64(digest, DIGEST_SIZE),
        value=_base64(value, SIGNATURE_SIZE),
        issuer_name=normalise_issuer(issuer.text or ""),
        serial_number=int(digits),
    )


def _detach(signature: etree._Element) -> None:
    """Remove the signature but keep the text behind it, which the enveloped-signature transform leaves in place."""
    parent, tail = signature.getparent(), signature.tail
    if parent is None:
        raise DuisDecodeError("Signature", "stands alone")
    before = signature.getprevious()
    parent.remove(signature)
    if tail and before is not None:
        before.tail = (before.tail or "") + tail
    elif tail:
        parent.text = (parent.text or "") + tail


def _check_value(public_key: ec.EllipticCurvePublicKey, value: bytes, signed_info: bytes) -> None:
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
        raise SignatureRefused(SignatureReason.WRONG_KEY)
    der = encode_dss_signature(int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big"))
    try:
        public_key.verify(der, signed_info, _ECDSA)
    except InvalidSignature:
        raise SignatureRefused(SignatureReason.SIGNATURE) from None
