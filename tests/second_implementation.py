"""A second implementation of what GBCS computes, sharing no code with ``src`` and none with its library.

Written from the reference (gbcs-messages 3.3, 3.4, 4.2, 4.3, 13.1 to 13.3), from FIPS 197, SP 800-38D and SP 800-56A,
in plain Python: slow, not constant in time, and for tests only. Where both implementations agree on every input that
hypothesis thinks of, neither has a private misunderstanding of the standard's text.
"""

from __future__ import annotations

import hashlib

# --- P-256 (SP 800-56A, 5.7.1.2: the shared secret is the x-coordinate) ----------------------------------------------

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
A = P - 3
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Point = tuple[int, int] | None


def add_points(one: Point, other: Point) -> Point:
    """The sum of two points; ``None`` is the point at infinity."""
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2:
        if (y1 + y2) % P == 0:
            return None
        slope = (3 * x1 * x1 + A) * pow(2 * y1, -1, P) % P
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P) % P
    x3 = (slope * slope - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def multiply(scalar: int, point: Point = G) -> Point:
    """``scalar`` times a point, by doubling and adding."""
    out: Point = None
    while scalar:
        if scalar & 1:
            out = add_points(out, point)
        point = add_points(point, point)
        scalar >>= 1
    return out


def agree_z(scalar: int, x: int, y: int) -> bytes:
    """Z: the x-coordinate of the shared point, 32 octets."""
    assert (y * y - (x * x * x + A * x + B)) % P == 0, "not on the curve"
    shared = multiply(scalar, (x, y))
    assert shared is not None
    return shared[0].to_bytes(32, "big")


# --- AES-128 (FIPS 197) ----------------------------------------------------------------------------------------------


def _times_x(value: int) -> int:
    return (value << 1 ^ 0x11B) & 0xFF if value & 0x80 else value << 1


def _field_times(one: int, other: int) -> int:
    out = 0
    while other:
        if other & 1:
            out ^= one
        one, other = _times_x(one), other >> 1
    return out


def _make_sbox() -> bytes:
    box = []
    for value in range(256):
        inverse = next((other for other in range(256) if _field_times(value, other) == 1), 0)
        out = 0x63
        for turn in range(5):
            out ^= (inverse << turn | inverse >> (8 - turn)) & 0xFF
        box.append(out)
    return bytes(box)


SBOX = _make_sbox()


def _expand(key: bytes) -> list[bytes]:
    words = [key[at : at + 4] for at in range(0, 16, 4)]
    constant = 1
    for at in range(4, 44):
        word = words[-1]
        if at % 4 == 0:
            word = bytes(SBOX[octet] for octet in word[1:] + word[:1])
            word = bytes((word[0] ^ constant,)) + word[1:]
            constant = _times_x(constant)
        words.append(bytes(a ^ b for a, b in zip(words[at - 4], word, strict=True)))
    return [b"".join(words[at : at + 4]) for at in range(0, 44, 4)]


def _mix(column: bytes) -> bytes:
    return bytes(
        _times_x(column[at])
        ^ _times_x(column[(at + 1) % 4])
        ^ column[(at + 1) % 4]
        ^ column[(at + 2) % 4]
        ^ column[(at + 3) % 4]
        for at in range(4)
    )


def aes(key: bytes, block: bytes) -> bytes:
    """One block enciphered with AES-128."""
    keys = _expand(key)
    state = bytes(a ^ b for a, b in zip(block, keys[0], strict=True))
    for number in range(1, 11):
        state = bytes(SBOX[state[(at + 4 * (at % 4)) % 16]] for at in range(16))
        if number < 10:
            state = b"".join(_mix(state[at : at + 4]) for at in range(0, 16, 4))
        state = bytes(a ^ b for a, b in zip(state, keys[number], strict=True))
    return state


# --- GCM (SP 800-38D), 96-bit IVs ------------------------------------------------------------------------------------


def _ghash_times(one: int, other: int) -> int:
    out = 0
    for bit in range(127, -1, -1):
        if one >> bit & 1:
            out ^= other
        other = (other >> 1) ^ (0xE1 << 120 if other & 1 else 0)
    return out


def _padded(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % 16)


def gcm(key: bytes, iv: bytes, aad: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
    """Ciphertext and 16-octet tag."""
    assert len(iv) == 12
    ciphertext = b""
    for number, at in enumerate(range(0, len(plaintext), 16), start=2):
        block = plaintext[at : at + 16]
        stream = aes(key, iv + number.to_bytes(4, "big"))
        ciphertext += bytes(a ^ b for a, b in zip(block, stream, strict=False))
    return ciphertext, gcm_tag(key, iv, aad, ciphertext)


def gcm_tag(key: bytes, iv: bytes, aad: bytes, ciphertext: bytes) -> bytes:
    """The 16-octet tag over additional data and ciphertext."""
    h, state = int.from_bytes(aes(key, bytes(16)), "big"), 0
    lengths = (8 * len(aad)).to_bytes(8, "big") + (8 * len(ciphertext)).to_bytes(8, "big")
    hashed = _padded(aad) + _padded(ciphertext) + lengths
    for at in range(0, len(hashed), 16):
        state = _ghash_times(state ^ int.from_bytes(hashed[at : at + 16], "big"), h)
    first = int.from_bytes(aes(key, iv + b"\0\0\0\1"), "big")
    return (state ^ first).to_bytes(16, "big")


# --- GBCS ------------------------------------------------------------------------------------------------------------


def kdf(z: bytes, originator: bytes, label: int, counter: int, recipient: bytes) -> bytes:
    """The derived key (4.2): SHA-256( 00000001, Z, 60857406080300, originator, 09, label, counter, recipient )."""
    info = f"60857406080300{originator.hex()}09{label:02x}{counter:016x}{recipient.hex()}"
    return hashlib.sha256(bytes.fromhex("00000001" + z.hex() + info)).digest()[:16]


def mac(z: bytes, df: bytes) -> bytes:
    """The MAC of a DF part (4.3), every input of it read from fixed places in its header."""
    label, counter, originator, recipient = df[2], int.from_bytes(df[3:11], "big"), df[12:20], df[21:29]
    key = kdf(z, originator, label, counter, recipient)
    return gcm_tag(key, originator + bytes(4), b"\x11\0\0\0\0\0" + df, b"")[:12]


def _length(size: int) -> str:
    if size < 128:
        return f"{size:02x}"
    return f"81{size:02x}" if size < 256 else f"82{size:04x}"


def header(
    cra: int, counter: int, originator: bytes, target: bytes, date_time: bytes, code: int, *others: int | bytes | None
) -> bytes:
    """A grouping header with its DF tag (3.3, 3.4); ``others``: party, its counter, last counter, certificate."""
    inside = f"{code:04x}"
    for part in others:
        if part is not None:
            inside += part.hex() if isinstance(part, bytes) else f"{part:016x}"
    when = f"{len(date_time):02x}{date_time.hex()}"
    start = f"df09{cra:02x}{counter:016x}08{originator.hex()}08{target.hex()}"
    return bytes.fromhex(start + when + _length(len(inside) // 2) + inside)


_D5 = [[0] * 10 for _ in range(10)]
for _a in range(10):
    for _b in range(10):
        # The dihedral group of the pentagon: rotations 0 to 4, reflections 5 to 9.
        _turn = (_a + _b if _a < 5 else _a - _b) % 5
        _D5[_a][_b] = _turn + (5 if (_a < 5) is not (_b < 5) else 0)
_FIRST_ROW = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
_LAST = (1, 2, 6, 7, 5, 8, 3, 0, 9, 4)


def utrn_check_digit(digits: str) -> int:
    """The check digit (13.3); the group and the rows of the permutation are computed, not copied."""
    rows = [tuple(range(10))]
    for _ in range(7):
        rows.append(tuple(_FIRST_ROW[value] for value in rows[-1]))
    state = 0
    for place, digit in enumerate(digits):
        state = _D5[state][rows[(place + 4) % 8][int(digit)]]
    return _LAST[state]


def utrn(z: bytes, supplier: bytes, device: bytes, utrn_counter: int, value_class: int, value: int) -> str:
    """The twenty digits of a token (13.1 to 13.3)."""
    high = (utrn_counter % 1024) * 2**15 + value_class * 2**13 + value
    counter = utrn_counter * 2**32
    aad = bytes.fromhex(f"110000000000{supplier.hex()}{device.hex()}01{counter:016x}{high:08x}")
    tag = gcm_tag(kdf(z, supplier, 1, counter, device), supplier + bytes(4), aad, b"")
    digits = str(0x669D529B714A0000 + high * 2**32 + int.from_bytes(tag[12:], "big"))
    return digits + str(utrn_check_digit(digits))
