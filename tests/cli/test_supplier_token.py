"""The supplier's keys in a token: ``[hsm]`` in its settings, as in the DSP's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lastmetre.cli.supplier_process import SupplierSettings, _keys
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.protect import pre_command, sign_pre_command, verify_signature
from lastmetre.links.keystore import key_file_name
from lastmetre.links.keystore_hsm import TokenKey, TokenKeys, read_pin
from tests import own_world as own
from tests.dcc_process import make_parties
from tests.own_world import BROKER, SUPPLIER
from tests.soft_token import make_token, needs_softhsm

if TYPE_CHECKING:
    from pathlib import Path


@needs_softhsm
def test_the_supplier_signs_with_a_key_in_a_token(tmp_path: Path) -> None:
    """Its signing key is off the disk; a Pre-Command signed by it verifies, and the other keys come from files."""
    parties = make_parties(tmp_path)
    ring = parties.keyring("supplier")
    token = make_token(tmp_path)
    name = key_file_name(SUPPLIER, KeyUse.DIGITAL_SIGNATURE)
    with TokenKeys(token.module, token.label, read_pin(token.pin_file)) as opened:
        opened.add(name, ring.private_key(SUPPLIER, KeyUse.DIGITAL_SIGNATURE))
    folder = parties.smki.party("supplier") / "keys"
    (folder / name).unlink()
    given = {
        "entity_id": SUPPLIER.hex(),
        "dsp_id": BROKER.hex(),
        "certificates": str(parties.smki.certificates),
        "keys": str(folder),
        "passphrase_file": str(tmp_path / "passphrase"),
        "hsm": {"module": str(token.module), "token": token.label, "pin_file": str(token.pin_file)},
        "store": {},
        "api": {"token": "not used in this test"},
        "tls": {"ca": "", "certificate": "", "key": ""},
        "relay": {"key": "", "certificates": ""},
        "duis": {"url": ""},
        "device": [],
    }
    keys = _keys(msgspec.convert(given, SupplierSettings))
    assert isinstance(keys.signing_key, TokenKey)
    unsigned = pre_command(own.header("ECS44", 7), own.supply_script(7, 54))
    message = parse_message(sign_pre_command(unsigned, keys.signing_key))
    verify_signature(message, ring.certificate(SUPPLIER, KeyUse.DIGITAL_SIGNATURE).public_key)
