"""What the DUIS tests share: the published documents in place, the official schema, and the test signing identities."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from lxml import etree

from lastmetre.duis.signature import Signer, issuer_name_of, normalise_issuer
from tests.shared_data import DUIS

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

SUPPLIER = bytes.fromhex("90b3d51f30010000")
DSP = bytes.fromhex("90b3d51f30000002")
METER = bytes.fromhex("00db1234567890a0")


def templates() -> list[Path]:
    """Every published request template, or none when the data is absent."""
    return sorted((DUIS / "templates").glob("*.XML"))


def stem(path: Path) -> str:
    """The name that a template shares with its partner messages."""
    return path.name.removesuffix("_REQUEST_DUIS.XML")


def example(name: str) -> bytes:
    """One of the published signed, tampered or malformed documents."""
    return (DUIS / "examples" / name).read_bytes()


@dataclass(frozen=True)
class TestCertificate:
    """A certificate as the signature module wants it; the published ones have roles that GBCS does not know."""

    __test__ = False
    entity_id: bytes | None
    role: int | None
    public_key: ec.EllipticCurvePublicKey
    not_before: datetime
    not_after: datetime
    issuer_name: str
    serial_number: int


def load_certificate(path: Path) -> TestCertificate:
    """One of the published signing certificates."""
    loaded = x509.load_pem_x509_certificate(path.read_bytes())
    key = loaded.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    identifier = loaded.subject.get_attributes_for_oid(x509.NameOID.X500_UNIQUE_IDENTIFIER)[0].value
    unit = str(loaded.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)[0].value)
    assert isinstance(identifier, bytes)
    return TestCertificate(
        entity_id=identifier[-8:],
        # One old certificate writes its role in decimal; all others in two hexadecimal digits.
        role=int(unit) if len(unit) == 3 else int(unit, 16),
        public_key=key,
        not_before=loaded.not_valid_before_utc,
        not_after=loaded.not_valid_after_utc,
        issuer_name=issuer_name_of(loaded),
        serial_number=loaded.serial_number,
    )


@cache
def signing_certificates() -> dict[str, TestCertificate]:
    """The published signing certificates by file stem."""
    return {path.stem: load_certificate(path) for path in (DUIS / "signing-certificates").glob("*.pem")}


def find_published(issuer_name: str, serial_number: int) -> TestCertificate | None:
    """A certificate lookup over the published signing certificates."""
    for certificate in signing_certificates().values():
        if (certificate.issuer_name, certificate.serial_number) == (normalise_issuer(issuer_name), serial_number):
            return certificate
    return None


@cache
def published_signer(name: str) -> Signer:
    """A published test identity to sign with."""
    with (DUIS / "signing-keys.csv").open() as file:
        scalars = {row["certificate"]: int(row["p256_scalar_hex"], 16) for row in csv.DictReader(file)}
    certificate = signing_certificates()[name]
    key = ec.derive_private_key(scalars[name], ec.SECP256R1())
    return Signer(key, certificate.issuer_name, certificate.serial_number)


@cache
def schema() -> etree.XMLSchema:
    """The official schema 5.4; it imports a file under a name with spaces, which libxml2 would silently skip."""
    text = (DUIS / "DUIS-Schema-V5.4.xsd").read_bytes().replace(b"MMC Schema V5.4.xsd", b"MMC-Schema-V5.4.xsd")
    parser = etree.XMLParser(no_network=True, load_dtd=False, resolve_entities=False)
    return etree.XMLSchema(etree.fromstring(text, parser, base_url=(DUIS / "DUIS-Schema-V5.4.xsd").as_uri()))


def assert_schema_valid(document: bytes) -> None:
    """Hold a document against the official schema and name the first violation."""
    checker = schema()
    assert checker.validate(etree.fromstring(document)), str(checker.error_log)[:500]


def canonical(document: bytes) -> bytes:
    """What a document says: exclusive canonical form without signature, comments and space between elements."""
    parser = etree.XMLParser(remove_blank_text=True, remove_comments=True)
    root = etree.fromstring(document, parser)
    for signature in root.findall("{http://www.w3.org/2000/09/xmldsig#}Signature"):
        root.remove(signature)
    return etree.tostring(root, method="c14n", exclusive=True)
