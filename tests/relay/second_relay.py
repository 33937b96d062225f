"""A second implementation of the relay protocol's octets, from ``docs/relay.md`` alone: it shares no code with ours.

CBOR is written and read here by hand, COSE with cryptography's primitives. It reads one spelling only by reading
anything and comparing with what it would have written.
"""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PROTOCOL = b"lastmetre relay 1"


class SecondError(Exception):
    """What came in is not version 1."""


# CBOR


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for low, octets in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * octets:
            return bytes([major << 5 | low]) + number.to_bytes(octets, "big")
    raise SecondError("number too large")


def write(value: Any) -> bytes:
    """Deterministic CBOR."""
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(write, value))
    pairs = sorted((write(key), write(item)) for key, item in value.items())
    return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)


def read(data: bytes) -> Any:
    """The value, if ``data`` is what ``write`` makes of it."""
    try:
        value, end = _read(data, 0)
    except (IndexError, UnicodeDecodeError, TypeError, RecursionError) as error:
        raise SecondError("not CBOR of ours") from error
    if end != len(data) or write(value) != data:
        raise SecondError("another spelling")
    return value


def _read(data: bytes, at: int) -> tuple[Any, int]:
    major, low = divmod(data[at], 32)
    at += 1
    number = low
    if low >= 24:
        octets = {24: 1, 25: 2, 26: 4, 27: 8}.get(low)
        if octets is None:
            raise SecondError("indefinite")
        number, at = int.from_bytes(data[at : at + octets], "big"), at + octets
    if major < 2:
        return (number if major == 0 else -1 - number), at
    if major < 4:
        piece = data[at : at + number]
        if len(piece) != number:
            raise SecondError("cut")
        return (piece if major == 2 else piece.decode()), at + number
    if major == 4:
        items = []
        for _ in range(number):
            item, at = _read(data, at)
            items.append(item)
        return items, at
    if major == 5:
        pairs = {}
        for _ in range(number):
            key, at = _read(data, at)
            pairs[key], at = _read(data, at)
        return pairs, at
    raise SecondError("not used here")


# COSE


def key_id(key: ec.EllipticCurvePublicKey) -> bytes:
    """A key's name."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()[:8]


def sign(content: bytes, key: ec.EllipticCurvePrivateKey, bound_to: bytes) -> bytes:
    """COSE_Sign1."""
    protected = b"\xa1\x01\x26"
    der = key.sign(write(["Signature1", protected, bound_to, content]), ec.ECDSA(SHA256()))
    r, s = decode_dss_signature(der)
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return b"\xd2" + write([protected, {4: key_id(key.public_key())}, content, signature])


def open_signed(data: bytes, key: ec.EllipticCurvePublicKey, bound_to: bytes) -> bytes:
    """The content of a COSE_Sign1."""
    if data[:1] != b"\xd2":
        raise SecondError("not a COSE_Sign1")
    protected, unprotected, content, signature = read(data[1:])
    if protected != b"\xa1\x01\x26" or unprotected != {4: key_id(key)} or len(signature) != 64:
        raise SecondError("another form")
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        key.verify(der, write(["Signature1", protected, bound_to, content]), ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise SecondError("signature") from error
    assert isinstance(content, bytes)
    return content


def _content_key(secret: bytes, supplier_id: bytes, agent_id: bytes) -> bytes:
    context = [1, [supplier_id, None, None], [agent_id, None, None], [128, b"\xa1\x01\x38\x18", PROTOCOL]]
    return HKDF(SHA256(), 16, None, write(context)).derive(secret)


def envelope_bound_to(supplier_id: bytes, agent_id: bytes) -> bytes:
    """The external data of an envelope."""
    return PROTOCOL + b" envelope " + supplier_id + agent_id


def receipt_bound_to(supplier_id: bytes, agent_id: bytes) -> bytes:
    """The external data of a receipt."""
    return PROTOCOL + b" receipt " + supplier_id + agent_id


def seal(
    content: bytes, supplier_key: ec.EllipticCurvePrivateKey, to: ec.EllipticCurvePublicKey,
    supplier_id: bytes, agent_id: bytes, ephemeral: ec.EllipticCurvePrivateKey, iv: bytes,
) -> bytes:  # fmt: skip
    """An envelope."""
    bound_to = envelope_bound_to(supplier_id, agent_id)
    signed = sign(content, supplier_key, bound_to)
    key = _content_key(ephemeral.exchange(ec.ECDH(), to), supplier_id, agent_id)
    ciphertext = AESGCM(key).encrypt(iv, signed, write(["Encrypt", b"\xa1\x01\x01", bound_to]))
    point = ephemeral.public_key().public_numbers()
    public = {1: 2, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}
    recipient = [b"\xa1\x01\x38\x18", {4: key_id(to), -1: public}, b""]
    return b"\xd8\x60" + write([b"\xa1\x01\x01", {5: iv}, ciphertext, [recipient]])


def unseal(
    data: bytes, agent_key: ec.EllipticCurvePrivateKey, supplier: ec.EllipticCurvePublicKey,
    supplier_id: bytes, agent_id: bytes,
) -> bytes:  # fmt: skip
    """The content of an envelope."""
    if data[:2] != b"\xd8\x60":
        raise SecondError("not a COSE_Encrypt")
    protected, unprotected, ciphertext, [recipient] = read(data[2:])
    public = recipient[1][-1]
    expected = [b"\xa1\x01\x38\x18", {4: key_id(agent_key.public_key()), -1: public}, b""]
    if protected != b"\xa1\x01\x01" or set(unprotected) != {5} or recipient != expected:
        raise SecondError("another form")
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(public[-2], "big"), int.from_bytes(public[-3], "big"), ec.SECP256R1()
    )
    key = _content_key(agent_key.exchange(ec.ECDH(), numbers.public_key()), supplier_id, agent_id)
    bound_to = envelope_bound_to(supplier_id, agent_id)
    try:
        signed = AESGCM(key).decrypt(unprotected[5], ciphertext, write(["Encrypt", protected, bound_to]))
    except InvalidTag as error:
        raise SecondError("tag") from error
    return open_signed(signed, supplier, bound_to)


# Contents: the numbers of ``docs/relay.md``


def envelope_content(fields: dict[str, Any]) -> bytes:
    """The map of an envelope, from the fields of a vector."""
    numbers = {
        "order_id": 2, "hub_id": 3, "target_id": 4, "expires_at": 5, "digest": 6, "command_class": 7, "command": 8,
        "permit": 9, "sent_at": 10,
    }  # fmt: skip
    return _content(fields, numbers, {"hub_id", "target_id", "digest", "command", "permit"})


def receipt_content(fields: dict[str, Any]) -> bytes:
    """The map of a receipt, from the fields of a vector."""
    numbers = {
        "order_id": 2, "kind": 3, "at": 4, "digest": 5, "message": 6, "reason": 7, "permit_answer": 8, "outcome": 9,
    }  # fmt: skip
    return _content(fields, numbers, {"digest", "message", "permit_answer"})


def _content(fields: dict[str, Any], numbers: dict[str, int], octets: set[str]) -> bytes:
    said = {numbers[name]: bytes.fromhex(value) if name in octets else value for name, value in fields.items()}
    return write({1: 1, **said})
