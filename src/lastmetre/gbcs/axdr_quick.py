"""Lists of A-XDR values read quickly: cut into tokens by one regular expression, most of them known already.

``axdr`` reads values carefully, octet by octet, and says what is wrong with them. Most of what a DLMS message holds
repeats itself, though: object names, small numbers, activation times, rows of tariff tables. So this reads the usual
case faster, and leaves all else to ``axdr``. Rules this module keeps (docs/speed.md has the measurements):

* It never decides against octets. A value that is unusual (a compact-array, a length of several octets) is read by
  ``axdr``. At any error, or nesting near the limit, it gives up, and ``axdr.read_values`` reads the whole list again,
  with the same outcome as if this module did not exist. A test holds the two against each other.
* A list that fills its octets is read by ``_read_whole``: all tokens looked up at once, then what is nested put
  together, the innermost first. Where something follows the list, ``_build`` goes token by token.
* A token is one value without parts; or the head of an array or structure, its tag and count; or a whole structure of
  short values. Tokens seen before give the value they gave then: values are frozen, so nobody can tell.
* Nothing personal is kept so: no register reading (32 bits), no PIN, no text, no structure with a date-time.
* Time and memory are bounded: every octet is in one token, and ``SEEN_MAX`` values are kept at most.
"""

from __future__ import annotations

import re
import struct
from functools import cache
from typing import Any, Final

from lastmetre.gbcs import axdr
from lastmetre.gbcs.axdr import (
    DEPTH_MAX,
    TAG_ARRAY,
    TAG_COMPACT_ARRAY,
    TAG_STRUCTURE,
    TAGS,
    Array,
    Data,
    DoubleLong,
    DoubleLongUnsigned,
    Long64,
    Long64Unsigned,
    NullData,
    OctetString,
    Structure,
    decode_data,
)
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.records import slot_setter

SEEN_MAX: Final = 8_192
"""Values kept for sharing, at most: ten megabytes if all were as large as can be. Then all are let go, so that
strangers can make us slower for a moment, but no larger."""

FLAT_MEMBERS_MAX: Final = 10
"""Members of a structure that is one token, at most: a row of a switching table has so many."""

NEST_QUICK_MAX: Final = DEPTH_MAX - 3
"""Arrays and structures a list may begin, at most, for nobody to look how they nest. Values that may have levels inside
are read as if they stood so deep: a structure in one token has one level, a load profile two."""

CUTS_MAX: Final = 16
"""Unusual values in one list before it is left to the careful reader: each cuts what follows it once more."""

_SHORT: Final = (
    rb"(?:[\x03\x0f\x11\x16]."  # boolean, integer, unsigned, enum
    rb"|[\x10\x12].."  # long, long-unsigned
    rb"|\x09(?:\x00|\x01.|\x05.{5}|\x06.{6})"  # octet-string: nothing, an octet, a date, an object's name
    rb"|\x00"  # null-data
    rb"|\x04(?:\x00|[\x01-\x08].|[\x09-\x10].{2}|[\x11-\x18].{3}|[\x19-\x20].{4}))"  # bit-string up to 32 bits
)
"""A value that is short, not personal, and shared by itself or inside a structure."""

_MEMBER: Final = _SHORT[:-1] + rb"|\x09\x04[\x00-\x17\xff][\x00-\x3b\xff]{2}[\x00-\x63\xff])"
"""The same, or a time of day: four octets are shared inside a structure only, for alone they could be a PIN."""

_FIXED_SIZES: Final = {0x05: 4, 0x06: 4, 0x14: 8, 0x15: 8, 0x17: 4, 0x18: 8, 0x19: 12, 0x1A: 5, 0x1B: 4}
"""Octets behind the tags of longer types of fixed size (gbcs-messages 7.4)."""

_SHARED_SIZES: Final = {
    0x00: frozenset({1}),
    **{tag: frozenset({2}) for tag in (0x03, 0x0F, 0x11, 0x16)},
    **{tag: frozenset({3}) for tag in (0x10, 0x12)},
    0x04: frozenset(range(2, 7)),
    0x09: frozenset({2, 3, 7, 8, 14}),  # the last: a date-time
    0x19: frozenset({13}),
    0x1A: frozenset({6}),
    0x1B: frozenset({5}),
}
"""Sizes of the tokens without parts that are kept for sharing, by tag. Every flat structure is."""


def _literal(octet: int) -> bytes:
    return b"\\x%02x" % octet


@cache
def _tokens() -> re.Pattern[bytes]:
    """What cuts octets into tokens; made when first used, as it takes some milliseconds."""
    flat = b"|".join(_literal(count) + _MEMBER + b"{%d}" % count for count in range(1, FLAT_MEMBERS_MAX + 1))
    strings = b"|".join(_literal(length) + b".{%d}" % length for length in range(1, 0x80))
    return re.compile(
        b"|".join(
            (
                _literal(TAG_STRUCTURE) + b"(?:" + flat + b")",
                rb"[\x01\x02][\x00-\x7f]",
                _SHORT,
                b"|".join(_literal(tag) + b".{%d}" % size for tag, size in _FIXED_SIZES.items()),
                rb"[\x09\x0a\x0c](?:\x00|" + strings + b")",
                b".+",  # anything else, and all that follows it: the careful reader says where it ends
            )
        ),
        re.DOTALL,
    )


class _GivenUpError(Exception):
    """Not for this module: the careful reader's turn."""


TOKEN_SIZE_MAX: Final = 2 + 0x7F
"""Octets of the longest token but for the last, which may be all that is left."""


class _Head:
    """What a token stands for that is the beginning of an array or structure: how it is made, and of how many."""

    __slots__ = ("cls", "count", "set_elements")

    def __init__(self, token: bytes) -> None:
        is_array = token[0] == TAG_ARRAY
        self.cls: type[Array | Structure] = Array if is_array else Structure
        self.set_elements = _SET_ARRAY if is_array else _SET_ELEMENTS
        self.count = token[1]


class _Seen(dict[bytes, Any]):
    """Tokens seen before and what they stand for; looking up another one makes its value, and keeps it when it may."""

    def __missing__(self, token: bytes) -> Any:
        tag, size = token[0], len(token)
        number = _NUMBERS.get(tag)
        if number is not None:
            made = object.__new__(number[0])
            _SET_VALUE(made, *number[1](token))
            return made
        if tag == _OCTET_STRING and token[1] == size - 2 < 0x80 and size not in _SHARED_SIZES[tag]:
            return OctetString(token[2:])
        if size == 2 and tag in _CONTAINERS:
            return self.keep(token, _Head(token))
        value, end = decode_data(token, 0, NEST_QUICK_MAX)
        if end != size:
            raise _GivenUpError
        if tag == TAG_STRUCTURE or size in _SHARED_SIZES.get(tag, ()):
            self.keep(token, value)
        return value

    def keep(self, token: bytes, value: Any) -> Any:
        """Keep what a token stands for."""
        if len(self) >= SEEN_MAX:
            self.clear()
        self[token] = value
        return value


class _Tokens(list[bytes]):
    """The tokens still to be used, the next one last."""

    cuts_left = CUTS_MAX

    def cut_again(self, data: bytes, offset: int) -> None:
        """Cut ``data`` from ``offset`` on into tokens; all earlier ones must be used."""
        if not self.cuts_left:
            raise _GivenUpError
        self.cuts_left -= 1
        self += _tokens().findall(data, offset)
        self.reverse()


_SEEN: Final = _Seen()


def _read_whole(data: bytes, offset: int, end: int, count: int) -> tuple[Data, ...] | None:
    """The ``count`` values that fill ``data[offset:end]``; ``None`` when it is not so simple."""
    values: list[Any] = []
    tokens = _tokens().findall(data, offset, end)
    for _ in range(CUTS_MAX):
        if not tokens:
            return None
        last = tokens.pop()  # the only one that may be a value and more behind it
        values += map(_SEEN.__getitem__, tokens)
        if len(last) <= TOKEN_SIZE_MAX and last[0] != TAG_COMPACT_ARRAY:
            values.append(_SEEN[last])
            break
        value, size = decode_data(last, 0, NEST_QUICK_MAX)
        values.append(value)
        if size == len(last):
            break
        tokens = _tokens().findall(last, size)
    else:
        return None
    if _Head in map(type, values) and not _nest(values):
        return None
    return tuple(values) if len(values) == count else None


def _nest(values: list[Any]) -> bool:
    """Put members behind heads into what they belong to; false where members lack or nesting may go too deep."""
    heads = [at for at, value in enumerate(values) if value.__class__ is _Head]
    # No deeper than there are heads. With many of them one has to look: each leaf may itself have levels inside.
    levels = [DEPTH_MAX - NEST_QUICK_MAX] * len(values) if len(heads) > NEST_QUICK_MAX else None
    for at in reversed(heads):
        head, behind = values[at], at + 1
        after = behind + head.count
        if after > len(values):
            return False
        made = object.__new__(head.cls)
        head.set_elements(made, tuple(values[behind:after]))
        values[at:after] = (made,)
        if levels is not None:
            level = 1 + max(levels[behind:after], default=0)
            if level > DEPTH_MAX:
                return False
            levels[at:after] = (level,)
    return True


def read_values(data: bytes, offset: int, end: int, count: int, field: str) -> tuple[tuple[Data, ...], int]:
    """As ``axdr.read_values``: ``count`` values with tags, one behind the other, and the offset behind them.

    Only the octets up to ``end`` are looked at here, so that nobody pays for those that cannot belong to the list.
    """
    if count > end - offset:
        return axdr.read_values(data, offset, count, field)
    if data.startswith(bytes(count), offset):  # nothing but null-data: answers to set and action, questions of get
        return (_NULL,) * count, offset + count
    try:
        whole = _read_whole(data, offset, end, count)
        if whole is not None:
            return whole, end
        tokens = _Tokens(_tokens().findall(data, offset, end))
        tokens.reverse()
        values = _build(tokens, count, 0)
    except _GIVEN_UP:
        return axdr.read_values(data, offset, count, field)
    return values, end - sum(map(len, tokens))


def read_value(data: bytes, offset: int, end: int) -> tuple[Data, int]:
    """As ``axdr.decode_data``: the value at ``offset`` and the offset behind it."""
    tokens = _Tokens(_tokens().findall(data, offset, end))
    tokens.reverse()
    try:
        (value,) = _build(tokens, 1, 0)
    except _GIVEN_UP:
        return decode_data(data, offset)
    return value, end - sum(map(len, tokens))


def forget() -> None:
    """Let go of all that was kept: for measurements."""
    _SEEN.clear()


def _build(tokens: _Tokens, count: int, depth: int) -> tuple[Data, ...]:
    """The next ``count`` values."""
    if depth >= DEPTH_MAX:
        raise _GivenUpError
    values: list[Data] = []
    append, take, seen = values.append, tokens.pop, _SEEN.get
    new, set_elements, set_value = object.__new__, _SET_ELEMENTS, _SET_VALUE
    for _ in range(count):
        token = take()
        value: Any = seen(token)  # Any: made by hand below, faster than by its class
        if value is None or value.__class__ is _Head:
            tag = token[0]
            number = _NUMBERS.get(tag)
            if number is not None:
                cls, unpack = number
                value = new(cls)
                set_value(value, *unpack(token))
            elif tag == TAG_STRUCTURE and len(token) == 2:
                value = new(Structure)
                set_elements(value, _build(tokens, token[1], depth + 1))
            elif tag == TAG_ARRAY and len(token) == 2:
                value = Array(_build(tokens, token[1], depth + 1))
            else:
                value = _make(token, tokens, depth)
        append(value)
    return tuple(values)


def _make(token: bytes, tokens: _Tokens, depth: int) -> Data:
    """The value that a token is, kept when it may be; or the one it begins with, and the rest is cut again."""
    tag, size = token[0], len(token)
    if tag == _OCTET_STRING and token[1] == size - 2 < 0x80 and size not in _SHARED_SIZES[tag]:
        return OctetString(token[2:])
    value, end = decode_data(token, 0, depth)
    if end != size:
        tokens.cut_again(token, end)
    elif tag == TAG_STRUCTURE or size in _SHARED_SIZES.get(tag, ()):
        _SEEN.keep(token, value)
    return value


_NULL: Final = NullData()
_GIVEN_UP: Final = (_GivenUpError, GbcsDecodeError, IndexError, struct.error)
_OCTET_STRING: Final = TAGS[OctetString]
_CONTAINERS: Final = frozenset({TAG_ARRAY, TAG_STRUCTURE})
_SET_ARRAY: Final = slot_setter(Array, "elements")
_SET_ELEMENTS: Final = slot_setter(Structure, "elements")
_SET_VALUE: Final = slot_setter(DoubleLongUnsigned, "value")
_NUMBERS: Final = {
    TAGS[cls]: (cls, struct.Struct(">x" + code).unpack)
    for cls, code in ((DoubleLong, "i"), (DoubleLongUnsigned, "I"), (Long64, "q"), (Long64Unsigned, "Q"))
}
"""Readers of the numbers that are too long, or too personal, to be shared."""
