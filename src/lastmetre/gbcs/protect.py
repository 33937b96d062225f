"""Signing, sealing and their checks: what makes a message believable.

Rules this module keeps (reference: gbcs-messages 4.1 to 4.4, 11.1):

* A signature covers the octets after the ``DF`` tag up to the end of the content; a MAC covers ``DF`` to the end of
  the signature. Neither depends on how a message travelled.
* A MAC's key is derived from the header's own ids and counter, whoever's key pair was agreed.
* A failed check raises ``CryptoRefused``, which says nothing of why. Comparisons take the same time whatever differs.
* Signatures are made deterministically (RFC 6979): no entropy is asked for, and none can fail.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lastmetre.gbcs.errors import GbcsError, GbcsValueError
from lastmetre.gbcs.keys import Label, SharedSecret, derive_key
from lastmetre.gbcs.message import (
    MAC_SIZE,
    SIGNATURE_SIZE,
    TAG_GENERAL_SIGNING,
    GroupingHeader,
    Kind,
    Message,
    df_part,
    parse_message,
    to_be_signed,
    wrap_with_mac,
)

_MAC_AAD_START: Final = bytes.fromhex("110000000000")
"""Security control byte and the five empty length fields of the general-ciphering header (section 4.3)."""
_ENCRYPTION_AAD: Final = b"\x31"
ENCRYPTED_START: Final = bytes.fromhex("3100000000")
"""What precedes every ciphertext on the wire: security control byte and invocation counter (section 11.1)."""
_IV_END: Final = bytes(4)
_DF: Final = bytes((TAG_GENERAL_SIGNING,))
_SIGNATURE_LENGTH: Final = bytes((SIGNATURE_SIZE,))
_ORDER: Final = bytes.fromhex("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551")
_ZERO: Final = bytes(32)
"""The order of P-256: r and s lie between 1 and one less than this."""
_SHA256: Final = ec.ECDSA(hashes.SHA256())
_SHA256_DETERMINISTIC: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


class CryptoRefused(GbcsError):
    """A signature, MAC or ciphertext is not authentic. Nothing more is said, to anyone."""

    def __init__(self) -> None:
        super().__init__("not authentic")


def gmac(key: bytes, originator_id: bytes, covered: bytes) -> bytes:
    """The full 16-octet AES-128-GCM tag over ``covered`` with nothing encrypted; the IV is the originator's id ‖ 0."""
    return gmac_tag(key, originator_id + _IV_END, covered)


def gmac_tag(key: bytes, iv: bytes, covered: bytes) -> bytes:
    """The full 16-octet GMAC tag for any 96-bit IV."""
    return AESGCM(key).encrypt(iv, b"", covered)


def mac_of(df: bytes, header: GroupingHeader, secret: SharedSecret) -> bytes:
    """The 12-octet MAC of a DF part; the label follows from the header's CRA flag (sections 4.2, 4.3)."""
    originator_id = header.business_originator_id
    key = derive_key(
        secret,
        originator_id=originator_id,
        label=header.cra,
        counter=header.originator_counter,
        recipient_id=header.business_target_id,
    )
    return AESGCM(key).encrypt(originator_id + _IV_END, b"", _MAC_AAD_START + df)[:MAC_SIZE]


def sign(covered: bytes, private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """ECDSA P-256 SHA-256 as raw r ‖ s, 64 octets."""
    if not isinstance(private_key.curve, ec.SECP256R1):
        raise GbcsValueError("GBCS signs with NIST P-256 only")
    r, s = decode_dss_signature(private_key.sign(covered, _SHA256_DETERMINISTIC))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def check_signature(signature: bytes, covered: bytes, public_key: ec.EllipticCurvePublicKey) -> None:
    """Check a raw r ‖ s signature; raises ``CryptoRefused`` for a wrong size, range or value."""
    if len(signature) != SIGNATURE_SIZE:
        raise CryptoRefused
    r, s = signature[:32], signature[32:]
    if not (_ZERO < r < _ORDER and _ZERO < s < _ORDER):  # numbers of one size compare as their octets do
        raise CryptoRefused
    both = _der_integer(r) + _der_integer(s)
    try:
        public_key.verify(b"\x30" + len(both).to_bytes() + both, covered, _SHA256)
    except InvalidSignature:
        raise CryptoRefused from None


def _der_integer(octets: bytes) -> bytes:
    """A number above zero as DER has it: no zeros before it but the one that says it is not negative."""
    shortest = octets.lstrip(b"\0")
    if shortest[0] & 0x80:
        shortest = b"\0" + shortest
    return b"\x02" + len(shortest).to_bytes() + shortest


def pre_command(header: GroupingHeader, content: bytes) -> bytes:
    """What the DCC returns to be signed: ``DF``, header, content, and nothing behind them."""
    return df_part(Message(header, content, None, None))


def unsigned_df(header: GroupingHeader, content: bytes) -> bytes:
    """The DF part of a message that carries a MAC only: signature length zero."""
    return df_part(Message(header, content, b"", None))


def signed_df(header: GroupingHeader, content: bytes, private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """The DF part of a signed message: a critical Response or Alert; a critical Command before its MAC."""
    return _signed(to_be_signed(Message(header, content, None, None)), private_key)


def _signed(covered: bytes, private_key: ec.EllipticCurvePrivateKey) -> bytes:
    return b"".join((_DF, covered, _SIGNATURE_LENGTH, sign(covered, private_key)))


def sign_pre_command(pre_command_bytes: bytes, private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """Turn a Pre-Command into a Signed Pre-Command; one trailing zero, an empty signature's length, is tolerated.

    Raises ``GbcsDecodeError`` when the bytes are no message and ``GbcsValueError`` when they are no Pre-Command.
    """
    message = parse_message(pre_command_bytes)
    if message.mac is not None or message.signature or message.kind not in {Kind.PRE_COMMAND, Kind.COMMAND}:
        raise GbcsValueError("only a Pre-Command, without signature and MAC, can be signed")
    return _signed(to_be_signed(message), private_key)


def seal(df: bytes, secret: SharedSecret) -> bytes:
    """Add MAC header and MAC to a DF part: the access control broker's last act on a Command (section 4.1).

    Raises ``GbcsDecodeError`` for bytes that are no DF part and ``GbcsValueError`` for one without a signature field.
    """
    message = parse_message(df)
    if message.signature is None or message.mac is not None:
        raise GbcsValueError("only a DF part with its signature field, and no MAC yet, can be sealed")
    return wrap_with_mac(df, mac_of(df, message.header, secret))


def verify_mac(message: Message, secret: SharedSecret) -> None:
    """Check a message's MAC; raises ``CryptoRefused`` when it is missing or wrong."""
    if message.mac is None or not compare_digest(mac_of(df_part(message), message.header, secret), message.mac):
        raise CryptoRefused


def verify_signature(message: Message, public_key: ec.EllipticCurvePublicKey) -> None:
    """Check a message's signature; raises ``CryptoRefused`` when it is missing or wrong."""
    if not message.signature:
        raise CryptoRefused
    check_signature(message.signature, to_be_signed(message), public_key)


def encryption_key(secret: SharedSecret, *, device_id: bytes, counter: int, recipient_id: bytes) -> bytes:
    """The key for a Response's encrypted attributes (section 11.3 says which counter and recipient)."""
    return derive_key(
        secret, originator_id=device_id, label=Label.ENCRYPTION, counter=counter, recipient_id=recipient_id
    )


def encrypt_attribute(plaintext: bytes, key: bytes, device_id: bytes) -> bytes:
    """Ciphertext as it stands on the wire: security header, ciphertext, 12-octet tag (section 11.1)."""
    ciphertext, tag = gcm_encrypt(key, device_id + _IV_END, _ENCRYPTION_AAD, plaintext)
    return b"".join((ENCRYPTED_START, ciphertext, tag))


def decrypt_attribute(wire: bytes, key: bytes, device_id: bytes) -> bytes:
    """The plaintext of an encrypted attribute; raises ``CryptoRefused`` unless it is authentic."""
    if wire[:5] != ENCRYPTED_START or len(wire) < len(ENCRYPTED_START) + MAC_SIZE:
        raise CryptoRefused
    return gcm_decrypt(key, device_id + _IV_END, _ENCRYPTION_AAD, wire[5:-MAC_SIZE], wire[-MAC_SIZE:])


def gcm_encrypt(key: bytes, iv: bytes, aad: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
    """AES-128-GCM with the 12-octet tag of GBCS: ciphertext and tag."""
    encryptor = Cipher(algorithms.AES(key), modes.GCM(iv)).encryptor()
    encryptor.authenticate_additional_data(aad)
    ciphertext = encryptor.update(plaintext) + encryptor.finalize()
    return ciphertext, encryptor.tag[:MAC_SIZE]


def gcm_decrypt(key: bytes, iv: bytes, aad: bytes, ciphertext: bytes, tag: bytes) -> bytes:
    """The plaintext; raises ``CryptoRefused`` unless the 12-octet tag is right."""
    if len(tag) != MAC_SIZE:
        raise CryptoRefused
    decryptor = Cipher(algorithms.AES(key), modes.GCM(iv, tag, min_tag_length=MAC_SIZE)).decryptor()
    decryptor.authenticate_additional_data(aad)
    try:
        return decryptor.update(ciphertext) + decryptor.finalize()
    except InvalidTag:
        raise CryptoRefused from None
