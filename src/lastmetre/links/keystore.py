"""Keys and certificates from files: directories of PEM files, or a CSV of published test scalars.

Names in a directory are ``<entity id>-<use>.pem``, the use being ``ds``, ``ka`` or ``pp-ka``; an identity that signs
DUIS documents is ``xml-sign-<entity id>-ds.pem``. Private keys are PKCS#8 in files of their own, encrypted or not; one
that others can read is refused: move it or take their rights away.

A private key is a handle that agrees and signs. Whether the key behind it lies in this process's memory, from a file,
or in a hardware security module (``keystore_hsm``), only this room knows.

The directory of a whole test SMKI (``lastmetre pki``) serves as either: its certificates, and the keys of all its
parties. No real party has that; whoever runs one party names that party's own directory.
"""

from __future__ import annotations

import csv
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lastmetre.gbcs.certificates import Certificate, CertificateRefused, parse_certificate
from lastmetre.gbcs.keys import KeyUse
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lastmetre.gbcs.catalogue import Role


class KeyStoreError(LinkError):
    """A key or certificate is missing, unreadable or unsafe to use; the text names the file and what to do."""


_XML_START: Final = "xml-sign-"
_ENCRYPTED: Final = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def key_file_name(entity_id: bytes, use: KeyUse) -> str:
    """What the files of an entity's key and certificate are called."""
    return f"{entity_id.hex()}-{use}.pem"


def xml_file_name(entity_id: bytes) -> str:
    """What the files of an identity that signs DUIS documents are called."""
    return f"{_XML_START}{key_file_name(entity_id, KeyUse.DIGITAL_SIGNATURE)}"


def _parse_name(stem: str) -> tuple[bytes, KeyUse] | None:
    """Entity and use from a file's name, or ``None`` for a file that follows another scheme."""
    entity, _, use = stem.partition("-")
    try:
        identifier, key_use = bytes.fromhex(entity), KeyUse(use)
    except ValueError:
        return None
    return (identifier, key_use) if len(identifier) == 8 else None


class CertificateDirectory:
    """Certificates by entity and use, from a directory of PEM files; each is parsed when first asked for."""

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise KeyStoreError(f"{directory} is no directory of certificates")
        whole = directory / "certificates"
        self._directory = whole if whole.is_dir() else directory
        self._cache: dict[tuple[bytes, KeyUse], Certificate] = {}

    @cached_property
    def _files(self) -> Mapping[tuple[bytes, KeyUse], Path]:
        found = ((_parse_name(path.stem), path) for path in sorted(self._directory.glob("*.pem")))
        return {name: path for name, path in found if name is not None}

    def find(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """The certificate, or ``None``; raises ``KeyStoreError`` for a file that is not what its name says."""
        name = (entity_id, use)
        if name in self._cache:
            return self._cache[name]
        path = self._files.get(name)
        if path is None:
            return None
        certificate = self._cache[name] = self._read(path, entity_id)
        return certificate

    @staticmethod
    def _read(path: Path, entity_id: bytes) -> Certificate:
        try:
            certificate = parse_certificate(path.read_bytes())
        except (OSError, CertificateRefused) as error:
            raise KeyStoreError(f"{path}: {error}") from error
        if certificate.entity_id != entity_id:
            raise KeyStoreError(f"{path}: the certificate names another entity than its file")
        return certificate

    def find_xml_signer(self, entity_id: bytes) -> Certificate | None:
        """The certificate with which an entity's DUIS documents are checked, where it has one of its own."""
        path = self._directory / xml_file_name(entity_id)
        return self._read(path, entity_id) if path.is_file() else None

    @cached_property
    def _xml_signers(self) -> tuple[Certificate, ...]:
        found = []
        for path in sorted(self._directory.glob(f"{_XML_START}*.pem")):
            name = _parse_name(path.stem.removeprefix(_XML_START))
            if name is not None:
                found.append(self._read(path, name[0]))
        return tuple(found)

    def find_by_serial(self, issuer_name: str, serial_number: int) -> Certificate | None:
        """The certificate that an XML signature names by issuer (RFC 4514) and serial number, or ``None``."""
        named = (self.find(entity_id, use) for entity_id, use in self._files)
        for certificate in chain(self._xml_signers, named):
            if certificate and (certificate.issuer_name, certificate.serial_number) == (issuer_name, serial_number):
                return certificate
        return None

    def entities_in_role(self, role: Role) -> tuple[bytes, ...]:
        """The organisations here that have a role, in order of their ids."""
        found = set()
        for entity_id, use in self._files:
            try:
                certificate = self.find(entity_id, use)
            except KeyStoreError:
                continue
            if certificate is not None and certificate.role is role:
                found.add(entity_id)
        return tuple(sorted(found))


class KeyDirectory:
    """Private keys by entity and use, from a directory of PKCS#8 PEM files that nobody else may read."""

    def __init__(self, directory: Path, password: bytes | None = None) -> None:
        if not directory.is_dir():
            raise KeyStoreError(f"{directory} is no directory of keys")
        self._directory = directory
        parties = directory / "parties"
        self._directories = sorted(parties.glob("*/keys")) if parties.is_dir() else [directory]
        self._password = password
        self._cache: dict[str, ec.EllipticCurvePrivateKey] = {}

    def __repr__(self) -> str:
        return f"KeyDirectory({str(self._directory)!r})"

    def find(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey | None:
        """The key, or ``None``; raises ``KeyStoreError`` when its file cannot be used."""
        return self._find(key_file_name(entity_id, use))

    def find_xml_signing_key(self, entity_id: bytes) -> ec.EllipticCurvePrivateKey | None:
        """The key with which an entity signs DUIS documents, where it has one of its own."""
        return self._find(xml_file_name(entity_id))

    def _find(self, name: str) -> ec.EllipticCurvePrivateKey | None:
        if name not in self._cache:
            path = next((path for one in self._directories if (path := one / name).is_file()), None)
            if path is None:
                return None
            self._cache[name] = load_private_key(path, self._password)
        return self._cache[name]


def load_private_key(path: Path, password: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """Read one PKCS#8 P-256 key; raises ``KeyStoreError`` naming the file and the fault, never its content.

    A key that is not encrypted opens whether or not there is a password.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise KeyStoreError(f"{path} can be read by others; run chmod 600 on it")
        data = path.read_bytes()
    except OSError as error:
        raise KeyStoreError(f"{path}: {error.strerror}") from error
    encrypted = _ENCRYPTED in data
    if encrypted and password is None:
        raise KeyStoreError(f"{path} is encrypted: its passphrase is needed (--passphrase-file)")
    try:
        key = load_pem_private_key(data, password if encrypted else None)
    except (ValueError, TypeError):
        words = "does not open with this passphrase" if encrypted else "holds no private key"
        raise KeyStoreError(f"{path} {words}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyStoreError(f"{path} holds a key that is not on NIST P-256")
    return key


class KeyTable:
    """Published test scalars from a CSV with the columns entity_id, usage, prepayment, p256_scalar_hex."""

    def __init__(self, path: Path) -> None:
        self._keys: dict[tuple[bytes, KeyUse], ec.EllipticCurvePrivateKey] = {}
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for number, row in enumerate(csv.DictReader(file), start=2):
                    self._add(path, number, row)
        except (OSError, UnicodeDecodeError) as error:
            raise KeyStoreError(f"{path}: {error}") from error

    def __repr__(self) -> str:
        return f"KeyTable({len(self._keys)} keys)"

    def _add(self, path: Path, number: int, row: Mapping[str, str | None]) -> None:
        try:
            use = KeyUse("pp-ka" if row["prepayment"] == "1" else str(row["usage"]))
            scalar = int(str(row["p256_scalar_hex"]), 16)
            name = (bytes.fromhex(str(row["entity_id"])), use)
            self._keys[name] = ec.derive_private_key(scalar, ec.SECP256R1())
        except (KeyError, ValueError):
            raise KeyStoreError(f"{path}, line {number}: not entity_id, usage, prepayment, p256_scalar_hex") from None

    def find(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey | None:
        """The key, or ``None``."""
        return self._keys.get((entity_id, use))

    def find_xml_signing_key(self, entity_id: bytes) -> None:
        """There is none in the published table."""


class KeySource(Protocol):
    """Where private keys are: a directory, a table, a token."""

    def find(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey | None:
        """The key, or ``None``; raises ``KeyStoreError`` when it is there and cannot be used."""

    def find_xml_signing_key(self, entity_id: bytes) -> ec.EllipticCurvePrivateKey | None:
        """The key with which an entity signs DUIS documents, where it has one of its own."""


class Keyring:
    """Keys and certificates together, as every party and ``lastmetre decode`` ask for them."""

    def __init__(self, certificates: CertificateDirectory | None, *sources: KeySource | None) -> None:
        """The first source that has a key gives it."""
        self._certificates = certificates
        self._sources = [source for source in sources if source is not None]

    @classmethod
    def open(
        cls, *, certificates: Path | None, keys: Path | None, password: bytes | None = None,
        token: KeySource | None = None,
    ) -> Keyring:  # fmt: skip
        """From a certificate directory and a key directory or CSV; raises ``KeyStoreError`` for a path that is not.

        A key that the ``token`` has is taken from there, whatever the directory holds.
        """
        source: KeySource | None = None
        if keys is not None:
            source = KeyTable(keys) if keys.is_file() else KeyDirectory(keys, password)
        return cls(CertificateDirectory(certificates) if certificates is not None else None, token, source)

    def find_certificate(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """An entity's certificate for a use, or ``None``."""
        return self._certificates.find(entity_id, use) if self._certificates else None

    def find_private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey | None:
        """An entity's private key for a use, or ``None``."""
        return next((key for source in self._sources if (key := source.find(entity_id, use)) is not None), None)

    def find_xml_signer(self, entity_id: bytes) -> Certificate | None:
        """The certificate of an entity's own XML signing identity, or ``None``."""
        return self._certificates.find_xml_signer(entity_id) if self._certificates else None

    def find_xml_signing_key(self, entity_id: bytes) -> ec.EllipticCurvePrivateKey | None:
        """The private key of an entity's own XML signing identity, or ``None``."""
        found = (source.find_xml_signing_key(entity_id) for source in self._sources)
        return next((key for key in found if key is not None), None)

    def find_by_serial(self, issuer_name: str, serial_number: int) -> Certificate | None:
        """The certificate named by its issuer (RFC 4514) and serial number, or ``None``."""
        return self._certificates.find_by_serial(issuer_name, serial_number) if self._certificates else None

    def entities_in_role(self, role: Role) -> tuple[bytes, ...]:
        """The organisations at hand that have a role."""
        return self._certificates.entities_in_role(role) if self._certificates else ()

    def certificate(self, entity_id: bytes, use: KeyUse) -> Certificate:
        """As ``find_certificate``; raises ``KeyStoreError`` when there is none."""
        found = self.find_certificate(entity_id, use)
        if found is None:
            raise KeyStoreError(f"there is no {use} certificate of {entity_id.hex()}")
        return found

    def private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
        """As ``find_private_key``; raises ``KeyStoreError`` when there is none."""
        found = self.find_private_key(entity_id, use)
        if found is None:
            raise KeyStoreError(f"there is no {use} private key of {entity_id.hex()}")
        return found
