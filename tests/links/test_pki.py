"""The test SMKI: what it makes is what the profile asks for, and each party holds only its own keys."""

from __future__ import annotations

import datetime as dt
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificates import CertificateRefused, Usage, check_issued_by, parse_certificate
from lastmetre.gbcs.keys import KeyUse, public_point
from lastmetre.links.errors import LinkError
from lastmetre.links.keystore import Keyring, KeyStoreError
from lastmetre.links.pki import DeviceIdentity, Organisation, TestSmki, TlsAuthority, TlsIdentity
from lastmetre.links.tls import client_context, server_context

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
SUPPLIER = bytes.fromhex("00005eef10000010")
ESME = bytes.fromhex("00005eef100000a0")
ALL = (KeyUse.DIGITAL_SIGNATURE, KeyUse.KEY_AGREEMENT, KeyUse.PREPAYMENT)


@pytest.fixture(scope="module")
def smki(tmp_path_factory: pytest.TempPathFactory) -> TestSmki:
    """One supplier and one meter."""
    made = TestSmki(tmp_path_factory.mktemp("pki"), now=NOW)
    made.add_all(
        [
            Organisation("supplier", SUPPLIER, Role.SUPPLIER, ALL),
            DeviceIdentity("home-a", ESME),
            TlsIdentity("supplier", SUPPLIER),
        ]
    )
    return made


def test_certificates_and_keys_belong_together(smki: TestSmki) -> None:
    """Each private key opens under its name and fits the certificate of the same name."""
    for party, entity, uses in (("supplier", SUPPLIER, ALL), ("home-a", ESME, ALL[:2])):
        ring = Keyring.open(certificates=smki.certificates, keys=smki.party(party) / "keys")
        for use in uses:
            certificate = ring.certificate(entity, use)
            assert certificate.entity_id == entity
            assert public_point(ring.private_key(entity, use).public_key()) == public_point(certificate.public_key)


def test_a_party_holds_no_key_of_another(smki: TestSmki) -> None:
    """The supplier's directory opens none of the meter's keys."""
    ring = Keyring.open(certificates=smki.certificates, keys=smki.party("supplier") / "keys")
    with pytest.raises(KeyStoreError, match="no ds private key"):
        ring.private_key(ESME, KeyUse.DIGITAL_SIGNATURE)


def test_paths_verify_up_to_the_root(smki: TestSmki) -> None:
    """Organisation and device certificates chain to their issuing authority, and that one to the root."""
    read = {path.stem: parse_certificate(path.read_bytes()) for path in smki.certificates.glob("*.pem")}
    supplier = read[f"{SUPPLIER.hex()}-ds"]
    device = read[f"{ESME.hex()}-ka"]
    organisations, devices, root = read["issuing-organisations"], read["issuing-devices"], read["root"]
    check_issued_by(supplier, organisations, at=NOW, usage=Usage.DIGITAL_SIGNATURE, role=Role.SUPPLIER)
    check_issued_by(device, devices, at=NOW, usage=Usage.KEY_AGREEMENT)
    for authority in (organisations, devices):
        check_issued_by(authority, root, at=NOW, usage=Usage.CERT_SIGN, role=Role.ISSUING_AUTHORITY)


@pytest.mark.parametrize(
    ("issuer", "days", "usage", "role", "words"),
    [
        ("issuing-devices", 0, Usage.DIGITAL_SIGNATURE, Role.SUPPLIER, "was issued by"),
        (f"{SUPPLIER.hex()}-ka", 0, Usage.DIGITAL_SIGNATURE, Role.SUPPLIER, "may not sign certificates"),
        ("issuing-organisations", 400, Usage.DIGITAL_SIGNATURE, Role.SUPPLIER, "it expired"),
        ("issuing-organisations", -1, Usage.DIGITAL_SIGNATURE, Role.SUPPLIER, "is not valid before"),
        ("issuing-organisations", 0, Usage.KEY_AGREEMENT, Role.SUPPLIER, "it is for digitalSignature"),
        ("issuing-organisations", 0, Usage.DIGITAL_SIGNATURE, Role.NETWORK_OPERATOR, "another role"),
    ],
)
def test_a_certificate_is_refused_for_each_rule(
    smki: TestSmki, issuer: str, days: int, usage: Usage, role: Role, words: str
) -> None:
    """Wrong issuer, an issuer that is no authority, out of date either way, wrong usage, wrong role."""
    supplier = parse_certificate((smki.certificates / f"{SUPPLIER.hex()}-ds.pem").read_bytes())
    authority = parse_certificate((smki.certificates / f"{issuer}.pem").read_bytes())
    with pytest.raises(CertificateRefused, match=words):
        check_issued_by(supplier, authority, at=NOW + dt.timedelta(days=days), usage=usage, role=role)


def test_an_xml_signer_is_found_by_issuer_and_serial(smki: TestSmki) -> None:
    """The XML signature's key information leads to the certificate, and a wrong serial leads nowhere."""
    ring = Keyring.open(certificates=smki.certificates, keys=None)
    certificate = ring.certificate(SUPPLIER, KeyUse.DIGITAL_SIGNATURE)
    assert certificate.issuer_name == "CN=lastmetre test organisations,OU=07"
    assert ring.find_by_serial(certificate.issuer_name, certificate.serial_number) == certificate
    assert ring.find_by_serial(certificate.issuer_name, certificate.serial_number + 1) is None


def test_private_files_are_for_their_owner_alone(smki: TestSmki) -> None:
    """Every key file has mode 600, and one that others can read is refused."""
    keys = [*smki.directory.rglob("keys/*.pem"), *smki.directory.rglob("*.key")]
    assert len(keys) >= 6
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in keys)


def test_a_key_that_others_can_read_is_refused(smki: TestSmki, tmp_path: Path) -> None:
    """A group-readable key file stops the program with the command that mends it."""
    source = smki.party("home-a") / "keys" / f"{ESME.hex()}-ds.pem"
    copy = tmp_path / source.name
    copy.write_bytes(source.read_bytes())
    copy.chmod(0o640)
    with pytest.raises(KeyStoreError, match="chmod 600"):
        Keyring.open(certificates=None, keys=tmp_path).private_key(ESME, KeyUse.DIGITAL_SIGNATURE)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_another_implementation_reads_the_profile(smki: TestSmki) -> None:
    """OpenSSL sees the role, the unique identifier and the hardware module name where the profile puts them."""

    def read(name: str) -> str:
        path = smki.certificates / f"{name}.pem"
        command = ["openssl", "x509", "-noout", "-text", "-in", str(path)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    organisation = read(f"{SUPPLIER.hex()}-pp-ka")
    assert "OU = 02" in organisation
    assert "#030900" + SUPPLIER.hex().upper() in organisation
    assert "Key Agreement" in organisation
    device = read(f"{ESME.hex()}-ds")
    assert "1.3.6.1.5.5.7.8.4" in device
    assert "9999" in device


def test_an_encrypted_tls_key_opens_with_its_passphrase_and_never_asks(tmp_path: Path) -> None:
    """With the passphrase a context is made; without or with another it is an error, not a question at the terminal."""
    made = TestSmki(tmp_path, now=dt.datetime.now(dt.UTC), passphrase=b"a passphrase for tests")
    made.add_tls(TlsIdentity("supplier", SUPPLIER))
    files = (made.tls_ca, made.party("supplier") / "tls.pem", made.party("supplier") / "tls.key")
    assert b"ENCRYPTED" in files[2].read_bytes()
    server_context(*files, b"a passphrase for tests")
    client_context(*files, b"a passphrase for tests")
    for wrong in (None, b"another passphrase"):
        with pytest.raises(LinkError, match="passphrase file"):
            client_context(*files, wrong)


def test_a_transport_authority_is_kept_for_later_uses(tmp_path: Path) -> None:
    """Made once, opened with its passphrase the next time, and refused without."""
    now = dt.datetime.now(dt.UTC)
    tmp_path.joinpath("tls").mkdir()
    first = TlsAuthority(tmp_path / "tls", now=now, passphrase=b"a passphrase for tests")
    before = first.ca.read_bytes()
    again = TlsAuthority(tmp_path / "tls", now=now, passphrase=b"a passphrase for tests")
    again.issue(SUPPLIER.hex(), tmp_path / "tls.pem", tmp_path / "tls.key")
    assert again.ca.read_bytes() == before
    client_context(again.ca, tmp_path / "tls.pem", tmp_path / "tls.key", b"a passphrase for tests")
    with pytest.raises(KeyStoreError, match="is encrypted"):
        TlsAuthority(tmp_path / "tls", now=now)
