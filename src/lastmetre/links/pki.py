"""A complete test SMKI on disk: root, issuing authorities, organisations, devices, and a private CA for TLS.

Rules this module keeps:

* Each party gets a directory of its own with only its own keys (``parties/<name>/``); certificates are public and lie
  together in ``certificates/``. Whoever starts a party hands it those two paths and nothing else.
* Key files are readable by their owner alone, and encrypted (PKCS#8, AES-256) where a passphrase is given.
  ``lastmetre pki`` always gives one unless told otherwise; the demo gives none: its keys live for one run.
* An XML signing identity is an organisation's own pair with a role of its own, as in the published test PKI: its files
  are called ``xml-sign-<entity id>-ds.pem``.
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
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import Usage
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.smki import DEVICE_NOT_AFTER, issuer_name, make_certificate, organisation_name
from lastmetre.links.keystore import key_file_name, load_private_key, xml_file_name
from lastmetre.relay.cose_form import RELAY_USE

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
class XmlIdentity:
    """A pair to be made that signs an organisation's DUIS documents; ``role`` is one of the two XML signing roles."""

    party: str
    entity_id: bytes
    role: Role = Role.XML_SIGN_USER


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A TLS identity to be made: its common name is the entity id in lower-case hex."""

    party: str
    entity_id: bytes


@dataclass(frozen=True, slots=True)
class RelayIdentity:
    """A relay key pair to be made, apart from every SMKI and TLS key; its common name is the entity id."""

    party: str
    entity_id: bytes


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> None:
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
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
    """Makes a test SMKI below one directory; ``now`` dates every certificate, ``passphrase`` encrypts every key."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    def __init__(self, directory: Path, *, now: dt.datetime, passphrase: bytes | None = None) -> None:
        self.directory = directory
        self._passphrase = passphrase
        self._now = now.replace(microsecond=0)
        self._until = self._now + dt.timedelta(days=VALID_DAYS)
        directory.mkdir(parents=True, exist_ok=True)
        root = _Authority(issuer_name("lastmetre test root", Role.ROOT), _new_key())
        self._save_authority(root, root, "root")
        self._organisations = self._issuing(root, "lastmetre test organisations", "issuing-organisations")
        self._devices = self._issuing(root, "lastmetre test devices", "issuing-devices")
        self._tls = TlsAuthority(directory / "tls", now=self._now, passphrase=passphrase)

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
        for use in organisation.uses:
            name = key_file_name(organisation.entity_id, use)
            self._make(organisation.party, name, _USAGE[use], organisation.entity_id, organisation.role)

    def add_xml(self, identity: XmlIdentity) -> None:
        """Make the pair with which an organisation signs DUIS documents."""
        name = xml_file_name(identity.entity_id)
        self._make(identity.party, name, Usage.DIGITAL_SIGNATURE, identity.entity_id, identity.role)

    def add_device(self, device: DeviceIdentity) -> None:
        """Make a device's two key pairs and certificates."""
        for use in (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT):
            self._make(device.party, key_file_name(device.entity_id, use), _USAGE[use], device.entity_id, None)

    def add_tls(self, identity: TlsIdentity) -> None:
        """Make a party's TLS key and certificate."""
        directory = self.party(identity.party)
        self._tls.issue(identity.entity_id.hex(), directory / "tls.pem", directory / "tls.key")

    @property
    def relay_certificates(self) -> Path:
        """Where every relay certificate lies, by entity id."""
        return self.directory / "relay"

    def add_relay(self, identity: RelayIdentity) -> None:
        """Make a party's relay key and certificate: ``relay.key`` with the party, the certificate for everybody."""
        name = identity.entity_id.hex()
        self.relay_certificates.mkdir(parents=True, exist_ok=True)
        certificate = self.relay_certificates / f"{name}.pem"
        self._tls.issue_relay(name, certificate, self.party(identity.party) / "relay.key")

    def add_all(
        self, things: Sequence[Organisation | DeviceIdentity | XmlIdentity | TlsIdentity | RelayIdentity]
    ) -> None:
        """Make each of them."""
        for thing in things:
            match thing:
                case Organisation():
                    self.add_organisation(thing)
                case DeviceIdentity():
                    self.add_device(thing)
                case XmlIdentity():
                    self.add_xml(thing)
                case TlsIdentity():
                    self.add_tls(thing)
                case RelayIdentity():
                    self.add_relay(thing)

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
        _write_private(self.directory / "authorities" / f"{file_name}.pem", authority.key, self._passphrase)

    def _make(self, party: str, name: str, usage: Usage, entity_id: bytes, role: Role | None) -> None:
        """One key pair and its certificate; ``role`` is ``None`` for a device."""
        authority = self._devices if role is None else self._organisations
        key = _new_key()
        certificate = make_certificate(
            subject=x509.Name([]) if role is None else organisation_name(role.name.lower(), role, entity_id),
            public_key=key.public_key(),
            usage=usage,
            issuer=authority.name,
            issuer_key=authority.key,
            serial_number=x509.random_serial_number(),
            not_before=self._now - BACKDATED,
            not_after=DEVICE_NOT_AFTER if role is None else self._until,
            device_id=entity_id if role is None else None,
        )
        _write_private(self.party(party) / "keys" / name, key, self._passphrase)
        _write_certificate(self.certificates / name, certificate)


class TlsAuthority:
    """A private CA for the transports, below one directory; made at the first use and kept for later ones."""

    def __init__(self, directory: Path, *, now: dt.datetime, passphrase: bytes | None = None) -> None:
        self._passphrase = passphrase
        self.ca = directory / "ca.pem"
        self._key_path = directory / "ca.key"
        self._now = now
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lastmetre test transport")])
        if self._key_path.exists():
            self._key = load_private_key(self._key_path, passphrase)
            return
        self._key = _new_key()
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_ca_usage(), critical=True)
            .sign(self._key, SHA256())
        )
        _write_private(self._key_path, self._key, passphrase)
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
        self._write(certificate, certificate_path, key, key_path)

    def issue_relay(self, common_name: str, certificate_path: Path, key_path: Path) -> None:
        """A key and a certificate for relay envelopes and receipts, of no use for a connection."""
        key = _new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = (
            self._builder(subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(RELAY_USE)]), critical=True)
            .sign(self._key, SHA256())
        )
        self._write(certificate, certificate_path, key, key_path)

    def _write(
        self, certificate: x509.Certificate, certificate_path: Path, key: ec.EllipticCurvePrivateKey, key_path: Path
    ) -> None:
        _write_private(key_path, key, self._passphrase)
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
