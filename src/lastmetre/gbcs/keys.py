"""Key agreement and key derivation: one key per message and purpose.

Rules this module keeps (reference: gbcs-messages 2.2, 4.2):

* Only NIST P-256, static-static, cofactor 1; a point from outside is checked by the library before any agreement.
* A derived key is bound to originator, counter, recipient and purpose; the counter is never used for two messages.
* A shared secret cannot be printed, pickled or copied out by accident.

Agreeing a secret costs some twenty times a MAC, so ``SecretCache`` keeps them, named by *both public keys*: a
replaced certificate can therefore never find a stale secret.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum, StrEnum
from hashlib import sha256
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lastmetre.gbcs.errors import GbcsValueError

_ALGORITHM_ID: Final = bytes.fromhex("60857406080300")
"""The KDF's algorithm identifier, exactly as GBCS has it: its third and fourth octets are 74 06."""
_ITERATION: Final = (1).to_bytes(4, "big")
KEY_SIZE: Final = 16
SECRET_CACHE_SIZE: Final = 65_536
"""Secrets kept at once, some 200 octets each; the least recently used goes first."""


class KeyUse(StrEnum):
    """What a key pair is for; the value is the suffix its certificate's file carries."""

    DIGITAL_SIGNATURE = "ds"
    KEY_AGREEMENT = "ka"
    PREPAYMENT = "pp-ka"


class Label(IntEnum):
    """What a derived key is for (section 4.2). The first three equal the CRA flag of the message."""

    COMMAND = 1
    RESPONSE = 2
    ALERT = 3
    ENCRYPTION = 4


class SharedSecret:
    """The outcome of a key agreement. It can be used, not seen: it does not print, pickle or compare."""

    __slots__ = ("_z",)

    def __init__(self, z: bytes) -> None:
        if len(z) != 32:
            raise GbcsValueError("a P-256 shared secret has 32 octets")
        self._z = z

    def __repr__(self) -> str:
        return "SharedSecret(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a shared secret does not leave its process")


def agree(private_key: ec.EllipticCurvePrivateKey, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
    """Static-static ECDH on P-256; raises ``GbcsValueError`` for a key on another curve."""
    if not isinstance(private_key.curve, ec.SECP256R1) or not isinstance(public_key.curve, ec.SECP256R1):
        raise GbcsValueError("GBCS agrees keys on NIST P-256 only")
    return SharedSecret(private_key.exchange(ec.ECDH(), public_key))


def derive_key(secret: SharedSecret, *, originator_id: bytes, label: int, counter: int, recipient_id: bytes) -> bytes:
    """The 16-octet AES key for one message and purpose: NIST SP 800-56A single step, SHA-256, one iteration.

    The ids and the counter are those of the grouping header, even when the agreed pair is the ACB's (section 4.2).
    """
    if len(originator_id) != 8 or len(recipient_id) != 8:
        raise GbcsValueError("an entity identifier has 8 octets")
    material = b"".join(
        (
            _ITERATION,
            secret._z,  # noqa: SLF001 - this is the one place a secret is used
            _ALGORITHM_ID,
            originator_id,
            b"\x09",
            label.to_bytes(1, "big"),
            counter.to_bytes(8, "big"),
            recipient_id,
        )
    )
    return sha256(material).digest()[:KEY_SIZE]


def public_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """The uncompressed point, 65 octets: how a public key is named and compared here."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


class SecretCache:
    """Agreed secrets by the pair of public keys, bounded, least recently used first out."""

    __slots__ = ("_secrets", "_size_max")

    def __init__(self, size_max: int = SECRET_CACHE_SIZE) -> None:
        self._secrets: OrderedDict[tuple[bytes, bytes], SharedSecret] = OrderedDict()
        self._size_max = size_max

    def __repr__(self) -> str:
        return f"SecretCache({len(self._secrets)} secrets)"

    def agree(self, private_key: ec.EllipticCurvePrivateKey, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """As ``agree``, from the cache where the pair is known."""
        name = (public_point(private_key.public_key()), public_point(public_key))
        found = self._secrets.get(name)
        if found is None:
            found = self._secrets[name] = agree(private_key, public_key)
            if len(self._secrets) > self._size_max:
                self._secrets.popitem(last=False)
        else:
            self._secrets.move_to_end(name)
        return found
