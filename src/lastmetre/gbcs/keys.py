"""Key agreement and key derivation: one key per message and purpose.

Rules this module keeps (reference: gbcs-messages 2.2, 4.2):

* Only NIST P-256, static-static, cofactor 1; a point from outside is checked by the library before any agreement.
* A derived key is bound to originator, counter, recipient and purpose; the counter is never used for two messages.
* A shared secret cannot be printed, pickled or copied out by accident.

Agreeing a secret costs some twenty times a MAC, so ``SecretCache`` keeps them, named by *both public keys*: a
replaced certificate can therefore never find a stale secret.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from hashlib import sha256
from struct import Struct
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError

_ALGORITHM_ID: Final = bytes.fromhex("60857406080300")
"""The KDF's algorithm identifier, exactly as GBCS has it: its third and fourth octets are 74 06."""
_ITERATION: Final = 1
_KDF_INPUT = Struct(">I32s7s8sBBQ8s")
KEY_SIZE: Final = 16
POINT_SIZE: Final = 65
POINT_UNCOMPRESSED: Final = 0x04
_SPKI_START: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""A SubjectPublicKeyInfo up to the point: id-ecPublicKey, prime256v1, a bit string without unused bits."""
SECRET_CACHE_SIZE: Final = 65_536
"""Secrets kept at once for each key of one's own, some 200 octets each; those long unused go first."""
OWN_KEYS_KEPT: Final = 16
"""Keys of one's own whose secrets are kept: a party has one for each use, and one more while it replaces one."""


POINTS_KEPT: Final = 256
"""Key objects whose points are remembered at once: those of one household or one batch. A key object has 2.3 kB."""


_STAYS: Final = "a shared secret does not leave its process"


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
        raise TypeError(_STAYS)


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
    material = _KDF_INPUT.pack(
        _ITERATION,
        secret._z,  # noqa: SLF001 - this is the one place a secret is used
        _ALGORITHM_ID,
        originator_id,
        9,
        label,
        counter,
        recipient_id,
    )
    return sha256(material).digest()[:KEY_SIZE]


def public_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """The uncompressed point, 65 octets: how a public key is named and compared here."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def load_point(point: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of an uncompressed point on P-256; raises ``GbcsDecodeError`` for any other octets.

    Compressed points are refused: no GBCS structure carries one.
    """
    if len(point) != POINT_SIZE or point[0] != POINT_UNCOMPRESSED:
        raise GbcsDecodeError("public_key", 0, f"a point has {POINT_SIZE} octets and begins with 04")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise GbcsDecodeError("public_key", 0, "this is no point on NIST P-256") from None


def load_public_key(spki: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a SubjectPublicKeyInfo in its one form: P-256 by name, uncompressed, DER without a choice.

    Raises ``GbcsDecodeError`` for any other octets: curves spelt out by their parameters, other ASN.1 of the same.
    """
    if not spki.startswith(_SPKI_START):
        raise GbcsDecodeError("public_key", 0, "this is no SubjectPublicKeyInfo that names NIST P-256")
    return load_point(spki[len(_SPKI_START) :])


class _Points:
    """The points of key objects in use, found by the object itself: writing a point costs as much as a whole MAC.

    An entry holds its key object, so an identity is never another key's; the oldest entries go first.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, bytes]] = {}

    def of(self, key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bytes:
        """The compressed point of a public key, or of a private key's public half."""
        known = self._known.get(id(key))
        if known is not None:
            return known[1]
        public_key = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
        point = public_key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        if len(self._known) >= POINTS_KEPT:
            del self._known[next(iter(self._known))]
        self._known[id(key)] = (key, point)
        return point


class Peers:
    """The secrets one private key agreed, by the peer's compressed point: two generations of a dict.

    What is used moves into the young generation; when that is full, the old one is let go and the young one is old.
    So at most ``size_max`` are held, at least the last half of them used stay, and an entry needs no links to others.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, size_max: int) -> None:
        self._half = max(1, size_max // 2)
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __reduce__(self) -> NoReturn:
        raise TypeError(_STAYS)

    def get(self, point: bytes) -> bytes | None:
        """The secret agreed with this peer, if it is held."""
        found = self._young.get(point)
        if found is None and (found := self._old.pop(point, None)) is not None:
            self.put(point, found)
        return found

    def put(self, point: bytes, z: bytes) -> None:
        """Hold a secret."""
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[point] = z


class SecretCache:
    """Agreed secrets by both public keys: one's own, then the peer's; bounded, those long unused go first."""

    __slots__ = ("_by_own_key", "_points", "_size_max")

    def __init__(self, size_max: int = SECRET_CACHE_SIZE) -> None:
        self._by_own_key: dict[bytes, Peers] = {}
        self._points = _Points()
        self._size_max = size_max

    def __repr__(self) -> str:
        return f"SecretCache({len(self)} secrets)"

    def __len__(self) -> int:
        return sum(map(len, self._by_own_key.values()))

    def __reduce__(self) -> NoReturn:
        raise TypeError(_STAYS)

    def agree(self, private_key: ec.EllipticCurvePrivateKey, public_key: ec.EllipticCurvePublicKey) -> SharedSecret:
        """As ``agree``, from the cache where the pair is known."""
        own, peer = self._points.of(private_key), self._points.of(public_key)
        peers = self._by_own_key.get(own)
        if peers is None:
            while len(self._by_own_key) >= OWN_KEYS_KEPT:
                del self._by_own_key[next(iter(self._by_own_key))]
            peers = self._by_own_key[own] = Peers(self._size_max)
        z = peers.get(peer)
        if z is not None:
            return SharedSecret(z)
        secret = agree(private_key, public_key)
        peers.put(peer, secret._z)  # noqa: SLF001 - kept without its wrapping: a fleet's worth of them is
        return secret
