"""What the subcommands that use keys have in common: opening a key store, and reading an entity's identifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastmetre.cli.passphrases import read_passphrase
from lastmetre.cli.problems import ProblemError
from lastmetre.links.errors import LinkError
from lastmetre.links.keystore import Keyring

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.gbcs.certificates import Certificate
    from lastmetre.gbcs.keys import KeyUse


class Keys:
    """A key store whose troubles are one line for the person at the terminal."""

    def __init__(self, *, certificates: Path | None, keys: Path | None, passphrase_file: Path | None) -> None:
        try:
            self.ring = Keyring.open(certificates=certificates, keys=keys, password=read_passphrase(passphrase_file))
        except LinkError as error:
            raise ProblemError(str(error)) from error

    def private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey | None:
        """A private key, or ``None`` when it is not at hand."""
        try:
            return self.ring.find_private_key(entity_id, use)
        except LinkError as error:
            raise ProblemError(str(error)) from error

    def certificate(self, entity_id: bytes, use: KeyUse) -> Certificate | None:
        """A certificate, or ``None`` when it is not at hand."""
        try:
            return self.ring.find_certificate(entity_id, use)
        except LinkError as error:
            raise ProblemError(str(error)) from error


def parse_entity_id(text: str, option: str) -> bytes:
    """An EUI-64 as 16 hexadecimal digits, with or without dashes or colons."""
    try:
        entity_id = bytes.fromhex(text.replace("-", "").replace(":", ""))
    except ValueError:
        entity_id = b""
    if len(entity_id) != 8:
        raise ProblemError(f"{option} {text}: an entity identifier has 16 hexadecimal digits")
    return entity_id


def shown(entity_id: bytes) -> str:
    """An identifier as people read it."""
    return entity_id.hex("-").upper()
