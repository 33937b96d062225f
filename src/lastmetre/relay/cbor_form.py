"""One spelling of CBOR: what the relay protocol writes, and the only one it reads.

Deterministic encoding (RFC 8949 section 4.2.1): definite lengths, shortest numbers, map keys sorted and never twice;
no floats, no simple values but those named, no tags but the one a caller expects. The form is checked before the CBOR
library sees a single octet, so that two readers can never read one document differently (T44), and a library that knows
many tags is never asked to make anything of them.
"""

from __future__ import annotations

from typing import Final, NoReturn

import cbor2

from lastmetre.relay.errors import RelayDecodeError

DEPTH_MAX: Final = 8
_UNSIGNED, _NEGATIVE, _OCTETS, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_EXTRA_OCTETS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_SMALLEST: Final = {24: 24, 25: 0x100, 26: 0x1_0000, 27: 0x1_0000_0000}


def write(value: object) -> bytes:
    """The one spelling of ``value``."""
    return cbor2.dumps(value, canonical=True)


def read(data: bytes, what: str, octets_max: int, *, tag: int | None = None) -> object:
    """The value ``data`` spells, in full; raises ``RelayDecodeError``. With ``tag``, all stands under it."""
    if len(data) > octets_max:
        raise RelayDecodeError(what, "too_long")
    at = 0
    if tag is not None:
        major, number, at = _head(data, 0, what)
        if (major, number) != (_TAG, tag):
            raise RelayDecodeError(what, "another_kind")
    if _walk(data, at, what, DEPTH_MAX) != len(data):
        _refuse(what)
    try:
        return cbor2.loads(data[at:])
    except (cbor2.CBORDecodeError, ValueError):  # text that is not UTF-8
        raise RelayDecodeError(what, "not_canonical_cbor") from None


def _walk(data: bytes, at: int, what: str, depth: int) -> int:
    """Where the item that begins at ``at`` ends."""
    if depth == 0:
        _refuse(what)
    major, number, at = _head(data, at, what)
    if major in {_OCTETS, _TEXT}:
        at += number
    elif major == _ARRAY:
        for _ in range(number):
            at = _walk(data, at, what, depth - 1)
    elif major == _MAP:
        before = b""
        for _ in range(number):
            start, at = at, _walk(data, at, what, depth - 1)
            if data[start:at] <= before:
                _refuse(what)
            before = data[start:at]
            at = _walk(data, at, what, depth - 1)
    elif major in {_TAG, _SIMPLE}:
        _refuse(what)
    if at > len(data):
        _refuse(what)
    return at


def _head(data: bytes, at: int, what: str) -> tuple[int, int, int]:
    """Major type, number and where the rest begins."""
    if at >= len(data):
        _refuse(what)
    major, low = data[at] >> 5, data[at] & 0x1F
    at += 1
    if low < 24:
        return major, low, at
    octets = _EXTRA_OCTETS.get(low)
    if octets is None or at + octets > len(data):
        _refuse(what)
    number = int.from_bytes(data[at : at + octets], "big")
    if number < _SMALLEST[low]:
        _refuse(what)
    return major, number, at + octets


def _refuse(what: str) -> NoReturn:
    raise RelayDecodeError(what, "not_canonical_cbor")
