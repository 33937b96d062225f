"""A complete test SMKI on disk: root, issuing authorities, organisations, devices, and a private CA for TLS.

Rules this module keeps:

* Each party gets a directory of its own with only its own keys (``parties/<name>/``); certificates are public and lie
  together in ``certificates/``. Whoever starts a party hands it those two paths and nothing else.
* Key files are readable by their owner alone. They are not encrypted: these are test keys, made afresh for a run.
* The transport's CA is a second, private one: a TLS identity is never a GBCS identity.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import Usage
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.smki import DEVICE_NOT_AFTER, issuer_name, make_certificate, organisation_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lastmetre.gbcs.certificates import Certificate

VALID_DAYS: Final = 365
BACKDATED: Final = dt.timedelta(hours=1)
"""Certificates begin an hour ago, so that clocks which differ a little still agree on them."""

_USAGE: Final = {
    KeyUse.DIGITAL_SIGNATURE: Usage.DIGITAL_SIGNATURE,
    KeyUse.KEY_AGREEMENT: Usage.KEY_AGREEMENT,
    KeyUse.PREPAYMENT: Usage.KEY_AGREEMENT,
}


@dataclass(frozen=True, slots=True)
class Organisation:
    """A remote party to be made: its entity id, its role and the key pairs it needs."""

    party: str
    entity_id: bytes
    role: Role
    uses: tuple[KeyUse, ...] = (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT)


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """A device to be made, and the party (the home) that holds its keys."""

    party: str
    entity_id: bytes


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A TLS identity to be made: its common name is the entity id in lower-case hex."""

    party: str
    entity_id: bytes


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _write_certificate(path: Path, certificate: Certificate) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(x509.load_der_x509_certificate(certificate.der).public_bytes(Encoding.PEM))


@dataclass(frozen=True, slots=True)
class _Authority:
    name: x509.Name
    key: ec.EllipticCurvePrivateKey


class TestSmki:
    """Makes a test SMKI below one directory; ``now`` dates every certificate."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    def __init__(self, directory: Path, *, now: dt.datetime) -> None:
        self.directory = directory
        self._now = now.replace(microsecond=0)
        self._until = self._now + dt.timedelta(days=VALID_DAYS)
        directory.mkdir(parents=True, exist_ok=True)
        root = _Authority(issuer_name("lastmetre test root", Role.ROOT), _new_key())
        self._save_authority(root, root, "root")
        self._organisations = self._issuing(root, "lastmetre test organisations", "issuing-organisations")
        self._devices = self._issuing(root, "lastmetre test devices", "issuing-devices")
        self._tls = TlsAuthority(directory / "tls", now=self._now)

    @property
    def certificates(self) -> Path:
        """Where every certificate lies."""
        return self.directory / "certificates"

    def party(self, name: str) -> Path:
        """The directory of one party: ``keys/`` with its GBCS keys, ``tls.pem`` and ``tls.key``."""
        return self.directory / "parties" / name

    @property
    def tls_ca(self) -> Path:
        """The certificate of the transport's CA."""
        return self._tls.ca

    def add_organisation(self, organisation: Organisation) -> None:
        """Make the key pairs and certificates of a remote party."""
        subject = organisation_name(organisation.role.name.lower(), organisation.role, organisation.entity_id)
        for use in organisation.uses:
            key = _new_key()
            certificate = make_certificate(
                subject=subject,
                public_key=key.public_key(),
                usage=_USAGE[use],
                issuer=self._organisations.name,
                issuer_key=self._organisations.key,
                serial_number=x509.random_serial_number(),
                not_before=self._now - BACKDATED,
                not_after=self._until,
            )
            self._save(organisation.party, organisation.entity_id, use, key, certificate)

    def add_device(self, device: DeviceIdentity) -> None:
        """Make a device's two key pairs and certificates."""
        for use in (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT):
            key = _new_key()
            certificate = make_certificate(
                subject=x509.Name([]),
                public_key=key.public_key(),
                usage=_USAGE[use],
                issuer=self._devices.name,
                issuer_key=self._devices.key,
                serial_number=x509.random_serial_number(),
                not_before=self._now - BACKDATED,
                not_after=DEVICE_NOT_AFTER,
                device_id=device.entity_id,
            )
            self._save(device.party, device.entity_id, use, key, certificate)

    def add_tls(self, identity: TlsIdentity) -> None:
        """Make a party's TLS key and certificate."""
        directory = self.party(identity.party)
        self._tls.issue(identity.entity_id.hex(), directory / "tls.pem", directory / "tls.key")

    def add_all(self, things: Sequence[Organisation | DeviceIdentity | TlsIdentity]) -> None:
        """Make each of them."""
        for thing in things:
            match thing:
                case Organisation():
                    self.add_organisation(thing)
                case DeviceIdentity():
                    self.add_device(thing)
                case TlsIdentity():
                    self.add_tls(thing)

    def _issuing(self, root: _Authority, common_name: str, file_name: str) -> _Authority:
        authority = _Authority(issuer_name(common_name, Role.ISSUING_AUTHORITY), _new_key())
        self._save_authority(authority, root, file_name)
        return authority

    def _save_authority(self, authority: _Authority, issuer: _Authority, file_name: str) -> None:
        certificate = make_certificate(
            subject=authority.name,
            public_key=authority.key.public_key(),
            usage=Usage.CERT_SIGN,
            issuer=issuer.name,
            issuer_key=issuer.key,
            serial_number=x509.random_serial_number(),
            not_before=self._now - BACKDATED,
            not_after=self._until,
        )
        _write_certificate(self.certificates / f"{file_name}.pem", certificate)
        _write_private(self.directory / "authorities" / f"{file_name}.pem", authority.key)

    def _save(
        self, party: str, entity_id: bytes, use: KeyUse, key: ec.EllipticCurvePrivateKey, certificate: Certificate
    ) -> None:
        name = f"{entity_id.hex()}-{use}.pem"
        _write_private(self.party(party) / "keys" / name, key)
        _write_certificate(self.certificates / name, certificate)


class TlsAuthority:
    """A private CA for the transports, below one directory; made at the first use and kept for later ones."""

    def __init__(self, directory: Path, *, now: dt.datetime) -> None:
        self.ca = directory / "ca.pem"
        self._key_path = directory / "ca.key"
        self._now = now
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lastmetre test transport")])
        if self._key_path.exists():
            key = load_pem_private_key(self._key_path.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            self._key = key
            return
        self._key = _new_key()
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_ca_usage(), critical=True)
            .sign(self._key, SHA256())
        )
        _write_private(self._key_path, self._key)
        self.ca.write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(self, common_name: str, certificate_path: Path, key_path: Path) -> None:
        """A key and a certificate for client and server use on this machine's loopback."""
        key = _new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        certificate = (
            self._builder(subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, SHA256())
        )
        _write_private(key_path, key)
        certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        issuer_key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - BACKDATED)
            .not_valid_after(self._now + dt.timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(issuer_key_id, critical=False)
        )


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False, key_agreement=False, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
