"""The XML signature of DUIS, in the one profile it has, and nothing wider.

Rules kept here (reference: duis section 3):

* One enveloped ``ds:Signature``, last child of the root; one Reference to the whole document (``URI=""``); one
  transform; SHA-256; ECDSA on P-256 with the value r || s; the key named by X509IssuerSerial. Anything else is
  refused, so no Reference can point elsewhere and no transform can take content out of what is hashed.
* The document is hashed in *inclusive* Canonical XML 1.0 without comments (the default when no transform
  canonicalises); SignedInfo in the *exclusive* form that it names.
* A verified document is returned as the octets that were hashed, without its signature. Read those only.
* A good signature says who signed, not that this party may: the caller names the signer it requires.

What we sign has no whitespace between elements, since one known verifier removes such whitespace before it hashes.
ECDSA is deterministic (RFC 6979), so signing needs no randomness.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
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
from lastmetre.duis.xml import DOCUMENT_SIZE_MAX, DS, SR, Element, is_blank, parse_document, read_document

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
    """A document whose signature verified: the very octets that were hashed, and whose certificate signed them."""

    canonical: bytes
    """Without the signature."""
    signer: SignerCertificate

    @property
    def element(self) -> Element:
        """The document as a value."""
        return read_document(self.canonical)


def normalise_issuer(name: str) -> str:
    """A distinguished name in RFC 2253 order without the space some writers put after a comma: ``CN=Z1,OU=07``."""
    if "\\" not in name:
        return ",".join(part.strip() for part in name.split(","))
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


class Canonical(bytes):
    """A document that this house wrote: in canonical form, unsigned, without whitespace between elements."""

    __slots__ = ()


def sign_document(document: bytes, signer: Signer) -> bytes:
    """The document with its signature, in canonical form; refuses one that is signed already."""
    if isinstance(document, Canonical):
        return _sign_canonical(document, signer)
    root = parse_document(document)
    if b"Signature" in document and root.find(_DS_SIGNATURE) is not None:
        raise DuisValueError("the document carries a signature already; remove it before signing")
    return _sign_canonical(_without_blank_text(_canonical(root)), signer)


def remove_signature(document: bytes) -> bytes:
    """The document without any signature directly under its root, such as the placeholder of a template."""
    root = parse_document(document)
    for signature in root.findall(_DS_SIGNATURE):
        root.remove(signature)
    return _without_blank_text(_canonical(root))


_BLANK: Final = re.compile(rb">[ \t\n]")
_BEFORE_START: Final = re.compile(rb">[ \t\n]+<(?!/)")
_BEFORE_END: Final = re.compile(rb"(</[^<>]*>)[ \t\n]+(?=</)")


def _without_blank_text(canonical: bytes) -> bytes:
    """Take out whitespace between elements; the text of an element without children stays as it is.

    In canonical form a greater-than sign outside tags is escaped, and no attribute holds a less-than sign.
    """
    if _BLANK.search(canonical) is None:
        return canonical
    return _BEFORE_END.sub(rb"\1", _BEFORE_START.sub(b"><", canonical))


# Written in canonical form, so these bytes are what is signed and also what is sent.
_SIGNED_INFO_START: Final = (
    f'<ds:SignedInfo xmlns:ds="{DS}">'
    f'<ds:CanonicalizationMethod Algorithm="{EXCLUSIVE_C14N}"></ds:CanonicalizationMethod>'
    f'<ds:SignatureMethod Algorithm="{ECDSA_SHA256}"></ds:SignatureMethod>'
    f'<ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="{ENVELOPED_SIGNATURE}"></ds:Transform>'
    f'</ds:Transforms><ds:DigestMethod Algorithm="{SHA256}"></ds:DigestMethod><ds:DigestValue>'
).encode()
_SIGNED_INFO_END: Final = b"</ds:DigestValue></ds:Reference></ds:SignedInfo>"
_SIGNATURE_START: Final = f'<?xml version="1.0" encoding="UTF-8"?>|<ds:Signature xmlns:ds="{DS}">'.encode().split(b"|")


def _signed_info(digest: bytes) -> bytes:
    """SignedInfo in the exclusive canonical form, which differs in the digest only; ``digest`` is base64."""
    return _SIGNED_INFO_START + digest + _SIGNED_INFO_END


def _sign_canonical(canonical: bytes, signer: Signer) -> bytes:
    signed_info = _signed_info(b64encode(hashlib.sha256(canonical).digest()))
    r, s = decode_dss_signature(signer.private_key.sign(signed_info, _ECDSA))
    value = b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    issuer = signer.issuer_name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").encode()
    end = canonical.rindex(b"</")
    declaration, start = _SIGNATURE_START
    return b"".join(
        (
            *(declaration, canonical[:end], start, signed_info, b"<ds:SignatureValue>", value),
            *(b"</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>", issuer),
            *(b"</ds:X509IssuerName><ds:X509SerialNumber>", str(signer.serial_number).encode()),
            b"</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data></ds:KeyInfo></ds:Signature>",
            canonical[end:],
        )
    )


# --- verifying


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a signature in the right form says, not yet believed."""

    signed_info: bytes
    """In canonical form: what the signature's value was made over."""
    digest: bytes
    value: bytes
    issuer_name: str
    serial_number: int


def verify_document(document: bytes, find_certificate: FindCertificate) -> VerifiedDocument:
    """What was signed and by which certificate, or ``SignatureRefused``. Who was entitled to sign comes after."""
    claims, canonical = _read_plain(document) or _read_tree(document)
    if not hmac.compare_digest(hashlib.sha256(canonical).digest(), claims.digest):
        raise SignatureRefused(SignatureReason.DIGEST)
    certificate = find_certificate(claims.issuer_name, claims.serial_number)
    if certificate is None:
        raise SignatureRefused(
            SignatureReason.UNKNOWN_CERTIFICATE, f"issuer {claims.issuer_name}, serial {claims.serial_number}"
        )
    _check_value(certificate.public_key, claims.value, claims.signed_info)
    return VerifiedDocument(canonical, certificate)


def _read_tree(document: bytes) -> tuple[_Claims, bytes]:
    """What the signature claims, and the canonical form of the document without it."""
    root = parse_document(document)
    signature = _the_signature(root)
    whole = _canonical(root)
    usual = _read_usual(whole, signature.prefix)
    if usual is not None:
        return usual
    claims = _read_profile(signature)
    _detach(signature)
    return claims, _canonical(root)


def _plain_form() -> re.Pattern[bytes]:
    """A whole signature as most writers write it: no space in it, the prefix ``ds`` declared by itself."""

    def algorithm(name: str, uri: str) -> str:
        return f'<ds:{name} Algorithm="{re.escape(uri)}"(?:/>|></ds:{name}>)'

    xmlns = f' xmlns:ds="{re.escape(DS)}"'
    pattern = (
        f"<ds:Signature{xmlns}><ds:SignedInfo(?:{xmlns})?>"
        f"{algorithm('CanonicalizationMethod', EXCLUSIVE_C14N)}{algorithm('SignatureMethod', ECDSA_SHA256)}"
        f'<ds:Reference URI=""><ds:Transforms>{algorithm("Transform", ENVELOPED_SIGNATURE)}</ds:Transforms>'
        f"{algorithm('DigestMethod', SHA256)}<ds:DigestValue>([A-Za-z0-9+/]{{43}}=)</ds:DigestValue></ds:Reference>"
        "</ds:SignedInfo><ds:SignatureValue>([A-Za-z0-9+/]{86}==)</ds:SignatureValue><ds:KeyInfo><ds:X509Data>"
        "<ds:X509IssuerSerial><ds:X509IssuerName>([^<>&\\x00-\\x1f\\x7f-\\xff]*)</ds:X509IssuerName>"
        "<ds:X509SerialNumber>([0-9]{1,50})</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data></ds:KeyInfo>"
        r"</ds:Signature>(?=</[^<>]*>[ \t\n]*\Z)"
    )
    return re.compile(pattern.encode())


_PLAIN: Final = _plain_form()


def _read_plain(document: bytes) -> tuple[_Claims, bytes] | None:
    """The same from the text, of a signature in the plain form; None of any other.

    It stands before the document's last end tag, which is the root's: the last child, then, unless the text around it
    is a comment or a section that never ends, and that is not well-formed without the signature either. SignedInfo
    needs no canonical form of its own, for nothing but its digest may differ.
    """
    start = document.rfind(b"<ds:Signature ")
    match = _PLAIN.match(document, start) if start >= 0 else None
    if match is None or len(document) > DOCUMENT_SIZE_MAX:
        return None
    rest = document[:start] + document[match.end() :]
    root = parse_document(rest)
    if b"Signature" in rest:
        _refuse_second_signature(root, None)
    digest, value, issuer, serial = match.groups()
    claims = _Claims(
        signed_info=_signed_info(digest),
        digest=_sized(digest, DIGEST_SIZE, "DigestValue"),
        value=_sized(value, SIGNATURE_SIZE, "SignatureValue"),
        issuer_name=normalise_issuer(issuer.decode("ascii")),
        serial_number=int(serial),
    )
    return claims, _canonical(root)


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
    _refuse_second_signature(root, mine[0])
    return mine[0]


def _refuse_second_signature(root: etree._Element, mine: etree._Element | None) -> None:
    for other in root.iter(_DS_SIGNATURE):
        if other is mine:
            continue
        parent = other.getparent()
        if parent is None or parent.tag not in _NESTED_SIGNATURE_PARENTS:
            raise SignatureRefused(SignatureReason.NOT_ONE)


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
    return _sized((node.text or "").encode(), size, etree.QName(node).localname)


def _sized(text: bytes, size: int, name: str) -> bytes:
    """The octets of a base64 text, of which there must be so many."""
    try:
        value = b64decode(b"".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != size:
        raise SignatureRefused(SignatureReason.PROFILE, f"{name} is not {size} octets")
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
        signed_info=_canonical(signed_info, exclusive=True),
        digest=_base64(digest, DIGEST_SIZE),
        value=_base64(value, SIGNATURE_SIZE),
        issuer_name=normalise_issuer(issuer.text or ""),
        serial_number=int(digits),
    )


def _usual_form() -> re.Pattern[bytes]:
    """The whole profile as one expression over the canonical form of a signature, whatever its prefix.

    Only what may differ is captured: SignedInfo, digest, value, issuer and serial number.
    """
    space = r"[ \n\t]*"
    text = r"([A-Za-z0-9+/= \n\t]*)"

    def element(name: str, *inside: str, attributes: str = "") -> str:
        return f"<(?P=p){name}{attributes}>{space}" + space.join((*inside, f"</(?P=p){name}>"))

    def algorithm(name: str, uri: str) -> str:
        return f'<(?P=p){name} Algorithm="{re.escape(uri)}">{space}</(?P=p){name}>'

    def leaf(name: str, content: str) -> str:
        return f"<(?P=p){name}>{content}</(?P=p){name}>"

    reference = element(
        "Reference",
        element("Transforms", algorithm("Transform", ENVELOPED_SIGNATURE)),
        algorithm("DigestMethod", SHA256),
        leaf("DigestValue", text),
        attributes=' URI=""',
    )
    methods = (algorithm("CanonicalizationMethod", EXCLUSIVE_C14N), algorithm("SignatureMethod", ECDSA_SHA256))
    signed_info = f"<(?P=p)SignedInfo(>{space}" + space.join((*methods, reference, "</(?P=p)SignedInfo>)"))
    serial = element("X509IssuerSerial", leaf("X509IssuerName", "([^<&]*)"), leaf("X509SerialNumber", "([0-9]{1,50})"))
    key_info = element("KeyInfo", element("X509Data", serial))
    start = rf'<(?P<p>(?:[A-Za-z_][A-Za-z0-9_.-]*:)?)Signature(?: xmlns(?::[A-Za-z0-9_.-]+)?="{re.escape(DS)}")?>'
    inside = space.join(("", signed_info, leaf("SignatureValue", text), key_info, "</(?P=p)Signature>"))
    return re.compile((start + inside).encode())


_USUAL: Final = _usual_form()


def _read_usual(whole: bytes, name_prefix: str | None) -> tuple[_Claims, bytes] | None:
    """What a signature claims and the document without it, from the canonical form of both.

    None when the signature has another form, which may be right or wrong. It is the last child of the root, so the
    last start tag of its name is its own; canonical text holds no less-than sign outside tags. Its name's prefix
    stands for the namespace of XML signatures, which the tree tells, and nothing inside declares another.
    """
    prefix = f"{name_prefix}:".encode() if name_prefix else b""
    tag = b"<" + prefix + b"Signature"
    start = max(whole.rfind(tag + b">"), whole.rfind(tag + b" xmlns"))
    match = _USUAL.match(whole, start) if start >= 0 else None
    if match is None or match.group("p") != prefix:
        return None
    _, signed_info, digest, value, issuer, serial = match.groups()
    # Alone, and in the exclusive form, SignedInfo declares the one namespace that it uses.
    namespace = b" xmlns" + (b":" + prefix[:-1] if prefix else b"") + b'="' + DS.encode() + b'"'
    claims = _Claims(
        signed_info=b"<" + prefix + b"SignedInfo" + namespace + signed_info,
        digest=_sized(digest, DIGEST_SIZE, "DigestValue"),
        value=_sized(value, SIGNATURE_SIZE, "SignatureValue"),
        issuer_name=normalise_issuer(issuer.decode()),
        serial_number=int(serial),
    )
    return claims, whole[:start] + whole[match.end() :]


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
