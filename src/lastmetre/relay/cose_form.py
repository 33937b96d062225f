"""The one form of the signature and encryption around envelopes and receipts, checked before any key is used.

COSE (RFC 9052, 9053) names its own algorithms; a reader that obeys is at its writer's mercy. Version 1 has one choice
of each, and this module refuses the rest:

* signature: ``COSE_Sign1`` (tag 18), ES256, the signer's key id unprotected, 64 octets of r and s;
* envelope: ``COSE_Encrypt`` (tag 96), AES-128-GCM, one recipient by ECDH-ES + HKDF-256 on P-256, ephemeral key and the
  recipient's key id unprotected; inside it a ``COSE_Sign1`` by the supplier, inside that the content.

What the signature and the encryption are bound to besides (``signed_with``, ``sealed_with``, ``kdf_context``): the
protocol, its version, and both parties, so that nobody can pass an envelope on as meant for another (DESIGN CHOICE).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lastmetre.relay.cbor_form import read, write
from lastmetre.relay.errors import RelayDecodeError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

SIGN1_TAG: Final = 18
ENCRYPT_TAG: Final = 96
ALG: Final = 1
KEY_ID: Final = 4
IV: Final = 5
EPHEMERAL_KEY: Final = -1
ES256: Final = -7
A128GCM: Final = 1
ECDH_ES_HKDF_256: Final = -25
KEY_BITS: Final = 128
IV_OCTETS: Final = 12
TAG_OCTETS: Final = 16
SIGNATURE_OCTETS: Final = 64
KEY_ID_OCTETS: Final = 8
COORDINATE_OCTETS: Final = 32

SIGN1_PROTECTED: Final = write({ALG: ES256})
ENCRYPT_PROTECTED: Final = write({ALG: A128GCM})
RECIPIENT_PROTECTED: Final = write({ALG: ECDH_ES_HKDF_256})
RELAY_USE: Final = "2.25.12405614625917584568890474260779197016"
"""The extended key usage of relay certificates: an identifier of our own, so that no TLS certificate passes for one,
nor the other way round."""
PROTOCOL: Final = b"lastmetre relay 1"
_ENVELOPE: Final = b" envelope "
_RECEIPT: Final = b" receipt "


def key_id(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """How a key is named: the first octets of the SHA-256 of its SubjectPublicKeyInfo. A name, not a proof."""
    info = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).digest()[:KEY_ID_OCTETS]


def envelope_bound_to(supplier_id: bytes, agent_id: bytes) -> bytes:
    """External data of an envelope's signature and of its encryption."""
    return PROTOCOL + _ENVELOPE + supplier_id + agent_id


def receipt_bound_to(supplier_id: bytes, agent_id: bytes) -> bytes:
    """External data of a receipt's signature."""
    return PROTOCOL + _RECEIPT + supplier_id + agent_id


def kdf_context(supplier_id: bytes, agent_id: bytes) -> list[object]:
    """COSE_KDF_Context (RFC 9053 section 5.2) of an envelope's content key."""
    return [
        A128GCM,
        [supplier_id, None, None],
        [agent_id, None, None],
        [KEY_BITS, RECIPIENT_PROTECTED, PROTOCOL],
    ]


def signers_key_id(data: bytes, what: str, octets_max: int) -> bytes:
    """The key id in a COSE_Sign1 of version 1's form; raises ``RelayDecodeError`` for any other form."""
    value = read(data, what, octets_max, tag=SIGN1_TAG)
    match value:
        case [protected, {4: bytes(name), **others}, bytes(), bytes(signature)] if (
            protected == SIGN1_PROTECTED
            and not others
            and len(name) == KEY_ID_OCTETS
            and len(signature) == SIGNATURE_OCTETS
        ):
            return name
    raise RelayDecodeError(what, "another_form")


def recipients_key_id(data: bytes, octets_max: int) -> bytes:
    """The recipient's key id in an envelope of version 1's form; raises ``RelayDecodeError`` for any other form."""
    value = read(data, "envelope", octets_max, tag=ENCRYPT_TAG)
    match value:
        case [protected, {5: bytes(iv), **others}, bytes(ciphertext), [recipient]] if (
            protected == ENCRYPT_PROTECTED and not others and len(iv) == IV_OCTETS and len(ciphertext) > TAG_OCTETS
        ):
            return _recipient(recipient)
    raise RelayDecodeError("envelope", "another_form")


def _recipient(value: object) -> bytes:
    match value:
        case [protected, {4: bytes(name), -1: {1: 2, -1: 1, -2: bytes(x), -3: bytes(y), **more}, **others}, b""] if (
            protected == RECIPIENT_PROTECTED
            and not others
            and not more
            and len(name) == KEY_ID_OCTETS
            and len(x) == len(y) == COORDINATE_OCTETS
        ):
            return name
    raise RelayDecodeError("envelope", "another_form")
