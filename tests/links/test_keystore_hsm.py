"""Keys in a token (SoftHSM): what they make is believed by the acceptance code, and they themselves do not come out."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lastmetre.dcc.sealing import Broker
from lastmetre.duis.signature import Signer, sign_document, verify_document
from lastmetre.gbcs.acceptance import Accepted, accept_command
from lastmetre.gbcs.keys import SecretCache, agree, derive_key, public_point
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.protect import CryptoRefused, pre_command, sign_pre_command, verify_signature
from lastmetre.links.keystore import Keyring, KeyStoreError, key_file_name, xml_file_name
from lastmetre.links.keystore_hsm import PIN_VARIABLE, TokenKeys, read_pin
from tests import own_world as own
from tests.dsp_world import EveryCertificate
from tests.own_world import BROKER, DS, ESME, KA, SUPPLIER
from tests.soft_token import PIN, SoftToken, make_token, needs_softhsm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_softhsm


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    """One token for all tests here."""
    return make_token(tmp_path_factory.mktemp("token"))


@pytest.fixture(scope="module")
def keys(token: SoftToken) -> Iterator[TokenKeys]:
    """The ACB's keys in it."""
    with TokenKeys(token.module, token.label, read_pin(token.pin_file)) as opened:
        opened.add(key_file_name(BROKER, KA), own.private_key(BROKER, KA))
        opened.add(key_file_name(BROKER, DS), own.private_key(BROKER, DS))
        opened.add(xml_file_name(BROKER), own.private_key(BROKER, DS))
        yield opened


def arm_pre_command(counter: int) -> bytes:
    """A Pre-Command of our supplier's."""
    return pre_command(own.header("ECS44", counter), own.supply_script(counter, 54))


def test_an_agreement_in_the_token_is_the_agreement_outside(keys: TokenKeys) -> None:
    """ECDH in the token gives what the same key gives in memory, with twenty peers, leading zeros included."""
    key = keys.find(BROKER, KA)
    assert key is not None
    for number in range(2_000, 2_020):
        peer = ec.derive_private_key(number, ec.SECP256R1()).public_key()
        outside = agree(own.private_key(BROKER, KA), peer)
        one, other = (
            derive_key(secret, originator_id=BROKER, label=1, counter=number, recipient_id=ESME)
            for secret in (agree(key, peer), outside)
        )
        assert one == other


def test_a_command_sealed_in_the_token_is_accepted_by_a_meter(keys: TokenKeys) -> None:
    """The broker with its key in a token makes the MAC that the meter's own acceptance code believes."""
    broker = Broker(BROKER, Keyring(None, keys), EveryCertificate())
    df = sign_pre_command(arm_pre_command(7), own.private_key(SUPPLIER, DS))
    command = broker.seal(df, ESME)
    assert isinstance(accept_command(command, own.meter()), Accepted)
    spoilt = command[:-1] + bytes((command[-1] ^ 1,))
    assert not isinstance(accept_command(spoilt, own.meter()), Accepted)


def test_a_signature_made_in_the_token_verifies(keys: TokenKeys) -> None:
    """A GBCS signature and an XML signature by the token pass our own checks, and only under the right key."""
    broker = Broker(BROKER, Keyring(None, keys), EveryCertificate())
    message = parse_message(broker.sign(arm_pre_command(8)))
    verify_signature(message, own.certificate(BROKER, DS).public_key)
    with pytest.raises(CryptoRefused):
        verify_signature(message, own.certificate(SUPPLIER, DS).public_key)
    key = keys.find_xml_signing_key(BROKER)
    assert key is not None
    document = sign_document(b"<Request/>", Signer(key, "CN=Test,OU=07", 4711))
    verify_document(document, lambda _issuer, _serial: own.certificate(BROKER, DS))


def test_a_key_does_not_leave_its_token(token: SoftToken, keys: TokenKeys) -> None:
    """Not by the library's ways, not by copying, and the token itself refuses to show it."""
    import pkcs11

    key = keys.find(BROKER, KA)
    assert key is not None
    with pytest.raises(KeyStoreError, match="does not leave"):
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyStoreError, match="does not leave"):
        key.private_numbers()
    with pytest.raises(TypeError):
        pickle.dumps(key)
    assert copy.deepcopy(key) is copy.copy(key) is key
    assert PIN not in repr(keys) + repr(key) + repr(vars(key))
    keys.close()  # a process is logged in once
    with pkcs11.lib(str(token.module)).get_token(token_label=token.label).open(user_pin=PIN) as session:
        held = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=f"{BROKER.hex()}-ka")
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            held[pkcs11.Attribute.VALUE]


def test_a_key_that_could_be_taken_out_is_refused(token: SoftToken, keys: TokenKeys) -> None:
    """An extractable key in a token is a file with extra steps."""
    import pkcs11

    keys.close()
    label = f"{SUPPLIER.hex()}-ka"
    with pkcs11.lib(str(token.module)).get_token(token_label=token.label).open(rw=True, user_pin=PIN) as session:
        curve = pkcs11.util.ec.encode_named_curve_parameters("secp256r1")
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: curve}, local=True
        )
        template = {pkcs11.Attribute.EXTRACTABLE: True, pkcs11.Attribute.SENSITIVE: False}
        parameters.generate_keypair(store=True, label=label, private_template=template)
    with pytest.raises(KeyStoreError, match="could be taken out"):
        keys.find(SUPPLIER, KA)


def test_the_cache_names_a_token_key_by_both_public_keys(keys: TokenKeys) -> None:
    """The token is asked once for a pair; another peer is another secret; nothing of it prints."""
    key = keys.find(BROKER, KA)
    assert key is not None
    assert public_point(key.public_key()) == public_point(own.private_key(BROKER, KA).public_key())
    cache = SecretCache()
    for _ in range(3):
        cache.agree(key, own.certificate(ESME, KA).public_key)
    cache.agree(key, own.certificate(SUPPLIER, KA).public_key)
    assert len(cache) == 2
    assert repr(cache) == "SecretCache(2 secrets)"


def test_a_session_that_the_token_dropped_is_opened_again(keys: TokenKeys) -> None:
    """The next thing asked works after the session was closed behind our back."""
    key = keys.find(BROKER, KA)
    assert key is not None
    assert keys._session is not None
    keys._session.close()
    agree(key, own.certificate(ESME, KA).public_key)


def test_what_is_wrong_is_said(token: SoftToken, keys: TokenKeys, tmp_path: Path) -> None:
    """A wrong PIN, token or library, a name taken twice, a PIN file for all to read: one clear error each."""
    keys.close()
    with pytest.raises(KeyStoreError, match="refused"):
        TokenKeys(token.module, token.label, "wrong")
    with pytest.raises(KeyStoreError, match="no such token"):
        TokenKeys(token.module, "no such token", PIN)
    with pytest.raises(KeyStoreError, match="no PKCS#11 library"):
        TokenKeys(tmp_path / "absent.so", token.label, PIN)
    with pytest.raises(KeyStoreError, match="already"):
        keys.add(key_file_name(BROKER, KA), own.private_key(BROKER, KA))
    token.pin_file.chmod(0o644)
    with pytest.raises(KeyStoreError, match="chmod 600"):
        read_pin(token.pin_file)
    token.pin_file.chmod(0o600)
    assert keys.find(ESME, KA) is None
    assert keys.find_xml_signing_key(ESME) is None


def test_two_may_use_one_token(token: SoftToken, keys: TokenKeys) -> None:
    """A second store on the same token works beside the first, and the first after the second is closed."""
    with TokenKeys(token.module, token.label, PIN) as second:
        key = second.find(BROKER, KA)
        assert key is not None
        agree(key, own.certificate(ESME, KA).public_key)
    first = keys.find(BROKER, KA)
    assert first is not None
    agree(first, own.certificate(ESME, KA).public_key)


def test_the_pin_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the variable is asked; without both there is an error."""
    monkeypatch.setenv(PIN_VARIABLE, PIN)
    assert read_pin(None) == PIN
    monkeypatch.delenv(PIN_VARIABLE)
    with pytest.raises(KeyStoreError, match=PIN_VARIABLE):
        read_pin(None)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-pkcs11 the error says what to install."""
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KeyStoreError, match=r"lastmetre\[hsm\]"):
        TokenKeys(tmp_path / "absent.so", "token", PIN)


def test_the_library_is_imported_only_for_a_token() -> None:
    """Whoever keeps keys in files never loads python-pkcs11."""
    program = "import sys, lastmetre.cli.dcc_process, lastmetre.links.keystore_hsm; sys.exit('pkcs11' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
