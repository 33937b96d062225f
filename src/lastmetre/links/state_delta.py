"""What changed between two states of a device, in few octets: for a store whose durable step is to stay small.

A meter's state grows with its logs to hundreds of kilobytes, while one Command changes a few hundred octets of it here
and there. ``difference`` says the new state as pieces of the old one and what is new; ``patched`` makes it again.

Rules: ``patched(old, difference(old, new)) == new`` for any octets; where there is little in common, ``difference``
says so (``None``) instead of searching on; a difference laid on another state than its own raises ``ValueError``.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANCHOR: Final = 24
"""Octets looked for in the old state, to find where the two go together again."""
_STEP: Final = 8
_MISSES_MAX: Final = 2_000
"""Octets that may be new on end, by steps, before the search is given up. A tariff is some kilobytes."""
_COPY: Final = struct.Struct("<cII")
_NEW: Final = struct.Struct("<cI")
_CHECK_OCTETS: Final = 8


def difference(old: bytes, new: bytes) -> bytes | None:
    """How to make ``new`` from ``old``; ``None`` where writing it whole is the shorter or the quicker way."""
    parts = [_check(old), _check(new)]
    place = begun = 0  # in new: how far we are, and from where on it is not said yet
    expected = 0  # in old: where the next piece probably continues
    misses = 0
    while place < len(new):
        at = _find(old, new[place : place + _ANCHOR], expected)
        if at < 0:
            misses += 1
            if misses > _MISSES_MAX:
                return None
            place += _STEP
            continue
        back = _common_back(old, at, new, place, place - begun)
        at, place = at - back, place - back
        length = _common(old, at, new, place)
        if place > begun:
            parts += [_NEW.pack(b"N", place - begun), new[begun:place]]
        parts.append(_COPY.pack(b"C", at, length))
        place += length
        begun, expected = place, at + length
    if begun < len(new):
        parts += [_NEW.pack(b"N", len(new) - begun), new[begun:]]
    delta = b"".join(parts)
    return delta if len(delta) < len(new) else None


def patched(old: bytes, delta: bytes) -> bytes:
    """The new state; raises ``ValueError`` when the difference is not one of this state."""
    if delta[:_CHECK_OCTETS] != _check(old):
        raise ValueError("the change was made to another state than the one at hand")
    try:
        new = b"".join(_pieces(old, delta))
    except struct.error:
        raise ValueError("the change is cut off") from None
    if delta[_CHECK_OCTETS : 2 * _CHECK_OCTETS] != _check(new):
        raise ValueError("the change does not lead to the state it was made for")
    return new


def _pieces(old: bytes, delta: bytes) -> Iterator[bytes]:
    place = 2 * _CHECK_OCTETS
    while place < len(delta):
        if delta[place : place + 1] == b"C":
            _kind, at, length = _COPY.unpack_from(delta, place)
            yield old[at : at + length]
            place += _COPY.size
        else:
            _kind, length = _NEW.unpack_from(delta, place)
            place += _NEW.size
            yield delta[place : place + length]
            place += length


def _check(state: bytes) -> bytes:
    return sha256(state).digest()[:_CHECK_OCTETS]


def _find(old: bytes, anchor: bytes, expected: int) -> int:
    """Where the anchor stands in the old state: just where it is expected, or after that, or anywhere."""
    if old.startswith(anchor, expected) and len(anchor) == _ANCHOR:
        return expected
    if len(anchor) < _ANCHOR:
        return expected if anchor and old[expected:] == anchor else -1
    at = old.find(anchor, expected)
    return at if at >= 0 else old.find(anchor, 0, expected + _ANCHOR)


def _common(old: bytes, at: int, new: bytes, place: int) -> int:
    """How many octets go together from here on: by doubling, then by halving."""
    limit = min(len(old) - at, len(new) - place)
    low, step = 0, 64
    while low < limit:
        step = min(step, limit - low)
        if old[at + low : at + low + step] == new[place + low : place + low + step]:
            low += step
            step *= 2
        elif step == 1:
            break
        else:
            step = max(1, step // 2)
            limit = min(limit, low + 2 * step)
    return low


def _common_back(old: bytes, at: int, new: bytes, place: int, most: int) -> int:
    """How many octets go together before here: a step may have jumped over them."""
    back = 0
    while back < min(most, _STEP, at) and old[at - back - 1] == new[place - back - 1]:
        back += 1
    return back
