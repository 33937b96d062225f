"""A second implementation of the permit, written from the reference alone: it shares no code with ``lastmetre``."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_SECONDS_1970_TO_2000 = 10_957 * 86_400


def permit_key(broker_key: ec.EllipticCurvePrivateKey, hub: ec.EllipticCurvePublicKey, body: bytes) -> bytes:
    """K of the reference."""
    z = broker_key.exchange(ec.ECDH(), hub)
    text = "00000001" + z.hex() + "60857406080300" + body[12:20].hex() + "0950" + body[4:12].hex() + body[20:28].hex()
    return hashlib.sha256(bytes.fromhex(text)).digest()[:16]


def permit_mac(key: bytes, body: bytes) -> bytes:
    """The first 12 octets of GCM's tag over the body alone."""
    encryptor = Cipher(algorithms.AES(key), modes.GCM(body[12:20] + b"\x00\x00\x00\x00")).encryptor()
    encryptor.authenticate_additional_data(body)
    encryptor.finalize()
    return encryptor.tag[:12]


def permit_body(fields: dict[str, int | str]) -> bytes:
    """The first 116 octets, from the fields of a vector: numbers, and octets in hex."""

    def number(name: str, octets: int) -> bytes:
        return int(fields[name]).to_bytes(octets, "big")

    def octets(name: str) -> bytes:
        return bytes.fromhex(str(fields[name]))

    def time(name: str) -> bytes:
        return (int(fields[name]) - _SECONDS_1970_TO_2000).to_bytes(4, "big")

    flags = (1 if fields["hub_nonce"] else 0) + (2 if fields["target_is_hub"] else 0)
    return b"".join(
        [
            b"\x50\x01",
            number("road", 1),
            bytes([flags]),
            number("serial", 8),
            octets("broker_id") + octets("hub_id") + octets("carrier_id") + octets("target_id"),
            number("message_code", 2) + number("command_octets", 2),
            octets("digest"),
            time("issued_at") + time("not_before") + time("not_after") + time("hold_until"),
            number("void_below", 8),
            octets("hub_nonce") or bytes(8),
            number("max_handovers", 1) + bytes(3),
        ]
    )
