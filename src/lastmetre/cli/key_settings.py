"""How a process opens its private keys: files, encrypted or not, and beside them a token where ``[hsm]`` names one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lastmetre.cli.passphrases import read_passphrase
from lastmetre.cli.problems import ProblemError
from lastmetre.gbcs.keys import public_point
from lastmetre.links.keystore import Keyring, KeyStoreError

if TYPE_CHECKING:
    import contextlib

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.keys import KeyUse
    from lastmetre.links.keystore_hsm import TokenKeys


class HsmSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token in a hardware security module, by PKCS#11 (extra ``hsm``)."""

    module: str
    """The HSM's PKCS#11 library, as /usr/lib/softhsm/libsofthsm2.so."""
    token: str
    """The token's label."""
    pin_file: str | None = None
    """Without one, the PIN is in the environment: LASTMETRE_HSM_PIN."""

    def open(self) -> TokenKeys:
        """The token, logged in; raises ``KeyStoreError``."""
        from lastmetre.links.keystore_hsm import TokenKeys, read_pin

        pin = read_pin(None if self.pin_file is None else Path(self.pin_file))
        return TokenKeys(Path(self.module), self.token, pin)


def open_keyring(
    stack: contextlib.ExitStack | contextlib.AsyncExitStack, *, certificates: str, keys: str,
    passphrase_file: str | None, hsm: HsmSettings | None,
) -> Keyring:  # fmt: skip
    """Keys and certificates; what the token holds is taken from there. Raises ``ProblemError``."""
    try:
        token = None if hsm is None else stack.enter_context(hsm.open())
        passphrase = read_passphrase(passphrase_file)
        return Keyring.open(certificates=Path(certificates), keys=Path(keys), password=passphrase, token=token)
    except KeyStoreError as error:
        raise ProblemError(str(error)) from error


def check_own_keys(keyring: Keyring, entity_id: bytes, uses: tuple[KeyUse, ...]) -> None:
    """Refuse a start with keys that are not those of the party's certificates: nothing it makes would be believed."""
    try:
        for use in uses:
            _check_pair(keyring.private_key(entity_id, use), keyring.certificate(entity_id, use), use)
        xml, key = keyring.find_xml_signer(entity_id), keyring.find_xml_signing_key(entity_id)
        if xml is not None and key is not None:
            _check_pair(key, xml, "XML signing")
    except KeyStoreError as error:
        raise ProblemError(str(error)) from error


def _check_pair(key: ec.EllipticCurvePrivateKey, certificate: Certificate, what: str) -> None:
    if public_point(key.public_key()) != public_point(certificate.public_key):
        whose = certificate.entity_id.hex() if certificate.entity_id else "an authority"
        raise KeyStoreError(f"the {what} key of {whose} is not its certificate's: put in the other half of the pair")
