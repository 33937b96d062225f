"""What a value must look like: a small notation for the types of attributes, so that they can stand in tables.

``u32`` double-long-unsigned, ``[u32]`` an array of them, ``{u16 os5 u8}`` a structure of three; a number behind ``os``
or ``bits`` is the exact size; ``|`` separates alternatives. ``fits`` answers whether a value has the shape.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Boolean,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    Integer,
    Long,
    LongUnsigned,
    NullData,
    OctetString,
    Structure,
    Unsigned,
    Utf8String,
    VisibleString,
)

if TYPE_CHECKING:
    from lastmetre.gbcs.axdr import Data

_TYPES: Final[dict[str, type]] = {
    "null": NullData,
    "bool": Boolean,
    "bits": BitString,
    "i8": Integer,
    "i16": Long,
    "i32": DoubleLong,
    "u8": Unsigned,
    "u16": LongUnsigned,
    "u32": DoubleLongUnsigned,
    "enum": Enum,
    "os": OctetString,
    "vs": VisibleString,
    "utf": Utf8String,
}
_WORD: Final = re.compile(r"[\[\]{}|]|(?:null|bool|bits|i8|i16|i32|u8|u16|u32|enum|os|vs|utf)(?=\d|\W|$)\d*")


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of value: ``kind`` is a word of the notation, ``array``, ``structure`` or ``any of``."""

    kind: str
    size: int | None = None
    parts: tuple[Shape, ...] = ()


@cache
def parse_shape(text: str) -> Shape:
    """Read the notation; raises ``ValueError`` for anything else."""
    words = _WORD.findall(text)
    if "".join(words) != text.replace(" ", ""):
        raise ValueError(f"{text!r} is not in the notation of shapes")
    shape, rest = _read(words)
    if rest:
        raise ValueError(f"{text!r} goes on after its end")
    return shape


def _read(words: list[str]) -> tuple[Shape, list[str]]:
    first, rest = _read_one(words)
    choices = [first]
    while rest[:1] == ["|"]:
        choice, rest = _read_one(rest[1:])
        choices.append(choice)
    return (first if len(choices) == 1 else Shape("any of", None, tuple(choices))), rest


def _read_one(words: list[str]) -> tuple[Shape, list[str]]:
    word, rest = words[0], words[1:]
    if word == "[":
        element, rest = _read(rest)
        return Shape("array", None, (element,)), rest[1:]
    if word == "{":
        parts: list[Shape] = []
        while rest[0] != "}":
            part, rest = _read(rest)
            parts.append(part)
        return Shape("structure", None, tuple(parts)), rest[1:]
    if word in _TYPES:
        return Shape(word), rest
    name = word.rstrip("0123456789")
    return Shape(name, int(word[len(name) :])), rest


def fits(shape: Shape, value: Data) -> bool:
    """Whether a value has a shape."""
    match shape.kind:
        case "any of":
            return any(fits(choice, value) for choice in shape.parts)
        case "array":
            return isinstance(value, Array) and all(fits(shape.parts[0], element) for element in value.elements)
        case "structure":
            return (
                isinstance(value, Structure)
                and len(value.elements) == len(shape.parts)
                and all(map(fits, shape.parts, value.elements))
            )
        case kind:
            return type(value) is _TYPES[kind] and (shape.size is None or _size(value) == shape.size)


def _size(value: Data) -> int:
    if isinstance(value, BitString):
        return value.bit_count
    if isinstance(value, OctetString | VisibleString | Utf8String):
        return len(value.value)
    return 0
