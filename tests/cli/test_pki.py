"""``lastmetre pki`` as a user meets it: complete, encrypted, each party with its own keys only."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.certificate_paths import Purpose, check_path
from lastmetre.gbcs.certificates import Certificate, CertificateRefused, Usage, parse_certificate
from lastmetre.gbcs.keys import KeyUse, public_point
from lastmetre.links.keystore import Keyring, KeyStoreError
from tests.program import lastmetre, refused
from tests.smki_folder import SmkiFolder, make_smki

if TYPE_CHECKING:
    from pathlib import Path

OWN = "00db1234567890a6"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> SmkiFolder:
    """Home A, home B without a PPMID, and a device under an identifier of its own."""
    options = ("--home", "b:esme,chf", "--device", "SAPC:00-DB-12-34-56-78-90-A6")
    return make_smki(tmp_path_factory.mktemp("pki"), *options)


def ring(folder: SmkiFolder, party: str | None = None) -> Keyring:
    """The key store of a party, or of all."""
    keys = folder.directory if party is None else folder.directory / "parties" / party / "keys"
    password = folder.passphrase_file.read_bytes().strip()
    return Keyring.open(certificates=folder.directory, keys=keys, password=password)


def listed(folder: SmkiFolder) -> list[dict[str, object]]:
    """What ``smki.json`` lists."""
    found: list[dict[str, object]] = json.loads((folder.directory / "smki.json").read_text())["entities"]
    return found


def test_it_has_an_organisation_of_each_role_and_every_device_asked_for(folder: SmkiFolder) -> None:
    """Each remote party role of the profile, two suppliers, and the devices of the options, are there."""
    kinds = [entity["kind"] for entity in listed(folder)]
    issuers = {Role.ROOT, Role.ISSUING_AUTHORITY, Role.XML_SIGN_USER, Role.XML_SIGN_DSP}
    for role in set(Role) - issuers:
        assert role.name.lower().replace("_", " ") in kinds
    assert kinds.count("supplier") == 2
    assert [kinds.count(kind) for kind in ("ESME", "GSME", "CHF", "GPF", "PPMID", "SAPC")] == [2, 1, 2, 1, 1, 1]
    assert OWN in {entity["id"] for entity in listed(folder)}


def test_every_listed_key_opens_fits_its_certificate_and_its_path(folder: SmkiFolder) -> None:
    """Each pair belongs together, is for its use and role, and chains through its issuing authority to the root."""
    authorities = {
        name: parse_certificate((folder.directory / "certificates" / f"{name}.pem").read_bytes())
        for name in ("root", "issuing-organisations", "issuing-devices")
    }
    now = datetime.now(UTC)

    def check(certificate: Certificate | None, key_point: bytes, usage: Usage, role: Role | None, owner: bytes) -> None:
        assert certificate is not None
        assert public_point(certificate.public_key) == key_point
        issuing = authorities["issuing-devices" if role is None else "issuing-organisations"]
        check_path(certificate, issuing, authorities["root"], at=now, purpose=Purpose(usage, role, owner))

    names = {role.name.lower().replace("_", " "): role for role in Role}
    for entity in listed(folder):
        only_tls = entity["keys"] == ["tls"]
        entity_id, store = bytes.fromhex(str(entity["id"])), ring(folder, None if only_tls else str(entity["party"]))
        role = names.get(str(entity["kind"]))
        uses = entity["keys"]
        assert isinstance(uses, list)
        for use in set(uses) & {use.value for use in KeyUse}:
            usage = Usage.DIGITAL_SIGNATURE if use == "ds" else Usage.KEY_AGREEMENT
            point = public_point(store.private_key(entity_id, KeyUse(use)).public_key())
            check(store.find_certificate(entity_id, KeyUse(use)), point, usage, role, entity_id)
        if "xml-sign" in uses:
            key = store.find_xml_signing_key(entity_id)
            signer = Role.XML_SIGN_DSP if role is Role.ACCESS_CONTROL_BROKER else Role.XML_SIGN_USER
            assert key is not None
            point = public_point(key.public_key())
            certificate = store.find_xml_signer(entity_id)
            check(certificate, point, Usage.DIGITAL_SIGNATURE, signer, entity_id)
            assert certificate is not None
            assert store.find_by_serial(certificate.issuer_name, certificate.serial_number) == certificate
        if "tls" in uses:
            assert (folder.directory / "parties" / str(entity["party"]) / "tls.pem").is_file()


def test_every_private_key_is_encrypted_and_its_owners_alone(folder: SmkiFolder) -> None:
    """Each key file, authorities and TLS included, needs the passphrase; that is beside the folder, for its owner."""
    files = [path for path in folder.directory.rglob("*") if path.is_file() and b"PRIVATE" in path.read_bytes()]
    passphrase = folder.passphrase_file.read_bytes().strip()
    assert len(files) > 40
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(TypeError):
            load_pem_private_key(path.read_bytes(), None)
    for path in (files[0], files[-1], folder.directory / "tls" / "ca.key"):
        load_pem_private_key(path.read_bytes(), passphrase)
    assert stat.S_IMODE(folder.passphrase_file.stat().st_mode) == 0o600
    assert not list(folder.directory.rglob("*passphrase*"))


def test_a_party_opens_its_own_keys_only_and_only_with_the_passphrase(folder: SmkiFolder) -> None:
    """The supplier's folder has no key of a meter; without or with another passphrase nothing opens."""
    supplier, meter = bytes.fromhex("00005eef10000010"), bytes.fromhex("00005eef100000a0")
    assert ring(folder, "supplier").find_private_key(meter, KeyUse.KEY_AGREEMENT) is None
    assert ring(folder).find_private_key(meter, KeyUse.KEY_AGREEMENT) is not None
    keys = folder.directory / "parties" / "supplier" / "keys"
    for password, words in ((None, "is encrypted"), (b"another passphrase", "does not open")):
        with pytest.raises(KeyStoreError, match=words):
            Keyring.open(certificates=None, keys=keys, password=password).private_key(
                supplier, KeyUse.DIGITAL_SIGNATURE
            )


def test_a_passphrase_of_ones_own_and_json(tmp_path: Path) -> None:
    """The keys open with the passphrase in the file given; ``--json`` prints the listing, and no passphrase."""
    own = tmp_path / "own"
    own.write_text("correct horse battery staple\nsecond line\n")
    own.chmod(0o600)
    done = lastmetre("pki", str(tmp_path / "smki"), "--passphrase-file", str(own), "--suppliers", "1", "--json")
    read = json.loads(done.stdout)
    assert (read["encrypted"], read["passphrase_file"]) == (True, str(own))
    assert "horse" not in done.stdout
    assert [entity["kind"] for entity in read["entities"]].count("supplier") == 1
    path = tmp_path / "smki" / "parties" / "supplier" / "keys" / "00005eef10000010-ds.pem"
    load_pem_private_key(path.read_bytes(), b"correct horse battery staple")
    assert not (tmp_path / "smki.passphrase").exists()


def test_unencrypted_is_said_plainly(tmp_path: Path) -> None:
    """``--unencrypted`` makes keys that open by themselves, no passphrase file, and says so."""
    done = lastmetre("pki", str(tmp_path / "smki"), "--unencrypted")
    assert "NOT encrypted" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["smki"]
    path = tmp_path / "smki" / "parties" / "supplier" / "keys" / "00005eef10000010-ds.pem"
    load_pem_private_key(path.read_bytes(), None)


def test_what_is_there_is_never_overwritten(folder: SmkiFolder, tmp_path: Path) -> None:
    """A folder with anything in it, a file, and a passphrase file that is there are refused."""
    before = folder.passphrase_file.read_bytes()
    assert "is not empty" in refused("pki", str(folder.directory))
    assert folder.passphrase_file.read_bytes() == before
    assert "is a file" in refused("pki", str(folder.passphrase_file))
    (tmp_path / "new.passphrase").write_text("x")
    assert "is there already" in refused("pki", str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--home", "G"), "a home has a letter from A to F"),
        (("--home", "A:TOASTER"), "'TOASTER' is no kind of device"),
        (("--home", "A", "--home", "a:ESME"), "asked for twice"),
        (("--device", "ESME"), "write its kind and EUI-64"),
        (("--device", "ESME:00DB12345678"), "write its kind and EUI-64"),
        (("--suppliers", "0"), "--suppliers"),
        (("--passphrase-file", "nowhere"), "cannot read the passphrase file nowhere"),
        (("--passphrase-file", "nowhere", "--unencrypted"), "give one of the two"),
    ],
)
def test_bad_options_are_one_clear_line_and_make_nothing(options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """Each is refused before the first file is written."""
    assert words in refused("pki", str(tmp_path / "smki"), *options)
    assert not list(tmp_path.iterdir())


def test_a_weak_or_shared_passphrase_file_is_refused(tmp_path: Path) -> None:
    """Fifteen characters are too few, and a file that others can read is no place for a passphrase."""
    file = tmp_path / "own"
    file.write_text("x" * 15)
    file.chmod(0o600)
    assert "16 characters or more" in refused("pki", str(tmp_path / "smki"), "--passphrase-file", str(file))
    file.write_text("x" * 16)
    file.chmod(0o640)
    assert "chmod 600" in refused("pki", str(tmp_path / "smki"), "--passphrase-file", str(file))


def test_a_certificate_under_a_wrong_name_is_refused(folder: SmkiFolder, tmp_path: Path) -> None:
    """An XML signing certificate is believed only under the name of the entity in it."""
    source = folder.directory / "certificates" / "xml-sign-00005eef10000010-ds.pem"
    (tmp_path / "xml-sign-00005eef10000011-ds.pem").write_bytes(source.read_bytes())
    with pytest.raises(KeyStoreError, match="names another entity"):
        Keyring.open(certificates=tmp_path, keys=None).find_xml_signer(bytes.fromhex("00005eef10000011"))
    purpose = Purpose(Usage.DIGITAL_SIGNATURE, Role.SUPPLIER)
    read = {path.stem: parse_certificate(path.read_bytes()) for path in source.parent.glob("*.pem")}
    signer, issuing, root = read[source.stem], read["issuing-organisations"], read["root"]
    with pytest.raises(CertificateRefused, match="not to the role SUPPLIER"):
        check_path(signer, issuing, root, at=datetime.now(UTC), purpose=purpose)
