"""DLMS COSEM ``Data`` values and their A-XDR encoding (gbcs-messages sections 3.1 and 7.4).

Rules this module keeps:

* ``encode_data(decode_data(x)[0]) == x`` for every encoding it accepts. Lengths and counts come in and go out in their
  shortest form only, so one value has one encoding. What a value alone does not tell (the octet of a true boolean, the
  padding of a bit-string) is kept beside it.
* Every length or count is checked against the octets that are there before anything is built, so that no input costs
  more than in proportion to its size. Nesting ends at ``DEPTH_MAX``.
* Bad bytes raise ``GbcsDecodeError``; values out of range raise ``GbcsValueError`` when encoded.

Values of one octet are shared: they are frozen, so nobody can tell, and reading gets quicker. Lists of values are
read faster by ``axdr_quick``, which leaves to this module whatever is unusual.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, Union

from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.records import make_many, slot_setter

if TYPE_CHECKING:
    from collections.abc import Callable

DEPTH_MAX: Final = 16
"""Deepest nesting of arrays and structures read or written. The published messages reach seven; DESIGN CHOICE."""

LENGTH_MAX: Final = 0xFFFF_FFFF
"""Largest length with a form here (four octets behind ``84``); no message comes near it."""

COMPACT_VALUES_PER_OCTET_MAX: Final = 8
"""Values a compact-array may hold per octet of its contents. A null-data inside takes no octet at all, so without
this bound a few octets could announce millions of values. DESIGN CHOICE."""


ROWS_KEPT: Final = 256
"""Descriptions of load profile rows remembered; the standard has some ten."""


# --- lengths ---------------------------------------------------------------------------------------------------------


def encode_length(length: int) -> bytes:
    """The shortest A-XDR form of a length or count."""
    if 0 <= length < 0x80:
        return bytes((length,))
    if not 0 <= length <= LENGTH_MAX:
        raise GbcsValueError(f"{length} is no length: it must lie between 0 and {LENGTH_MAX}")
    size = (length.bit_length() + 7) // 8
    return bytes((0x80 + size,)) + length.to_bytes(size, "big")


def read_length(data: bytes, offset: int, field: str) -> tuple[int, int]:
    """Read a length or count at ``offset``: the number and the offset behind it. Longer forms than needed are refused.

    The caller checks the number against what is left.
    """
    try:
        first = data[offset]
    except IndexError:
        raise GbcsDecodeError(field, offset, "its length is missing") from None
    if first < 0x80:
        return first, offset + 1
    size = first - 0x80
    if not 1 <= size <= 4:
        raise GbcsDecodeError(field, offset, f"a length begins with 00 to 7F or 81 to 84, not {first:02X}")
    end = offset + 1 + size
    if end > len(data):
        raise GbcsDecodeError(field, offset, "its length is cut short")
    length = int.from_bytes(data[offset + 1 : end], "big")
    if length < 0x80 or length.bit_length() <= 8 * (size - 1):
        raise GbcsDecodeError(field, offset, "its length is not in its shortest form")
    return length, end


# --- the values ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NullData:
    """Nothing: the place of a value that was not asked for or could not be read."""


@dataclass(frozen=True, slots=True)
class Array:
    """Elements of one kind, by the standard; the kinds are not compared here."""

    elements: tuple[Data, ...]


@dataclass(frozen=True, slots=True)
class Structure:
    """Elements of the kinds the attribute says."""

    elements: tuple[Data, ...]


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or false; ``raw`` keeps the octet, as any but zero means true. Left out, it is ``FF`` or ``00``."""

    value: bool
    raw: int = -1

    def __post_init__(self) -> None:
        if self.raw == -1:
            object.__setattr__(self, "raw", 0xFF if self.value else 0x00)
        elif not 0 <= self.raw <= 0xFF or bool(self.raw) is not self.value:
            raise GbcsValueError("a boolean's octet is 00 for false, 01 to FF for true")


@dataclass(frozen=True, slots=True)
class BitString:
    """``bit_count`` bits, the first in the highest bit of the first octet. Padding bits are kept as they are."""

    bit_count: int
    value: bytes

    @property
    def bits(self) -> str:
        """The bits in order, as a text of 0 and 1."""
        return "".join(f"{octet:08b}" for octet in self.value)[: self.bit_count]


@dataclass(frozen=True, slots=True)
class _Whole:
    """What all whole-number types share."""

    value: int


@dataclass(frozen=True, slots=True)
class Integer(_Whole):
    """Signed, 8 bits."""


@dataclass(frozen=True, slots=True)
class Long(_Whole):
    """Signed, 16 bits."""


@dataclass(frozen=True, slots=True)
class DoubleLong(_Whole):
    """Signed, 32 bits."""


@dataclass(frozen=True, slots=True)
class Long64(_Whole):
    """Signed, 64 bits."""


@dataclass(frozen=True, slots=True)
class Unsigned(_Whole):
    """Unsigned, 8 bits."""


@dataclass(frozen=True, slots=True)
class LongUnsigned(_Whole):
    """Unsigned, 16 bits."""


@dataclass(frozen=True, slots=True)
class DoubleLongUnsigned(_Whole):
    """Unsigned, 32 bits."""


@dataclass(frozen=True, slots=True)
class Long64Unsigned(_Whole):
    """Unsigned, 64 bits."""


@dataclass(frozen=True, slots=True)
class Enum(_Whole):
    """One of a list the attribute names, 8 bits."""


@dataclass(frozen=True, slots=True)
class _Octets:
    """What all types made of octets share."""

    value: bytes


@dataclass(frozen=True, slots=True)
class OctetString(_Octets):
    """Octets of any meaning; dates and times travel so (section 7.4)."""


@dataclass(frozen=True, slots=True)
class VisibleString(_Octets):
    """ASCII text, kept as octets: meters may send others."""


@dataclass(frozen=True, slots=True)
class Utf8String(_Octets):
    """UTF-8 text, kept as octets: meters may send others."""


@dataclass(frozen=True, slots=True)
class _FixedOctets(_Octets):
    """Types whose octets are kept because they say more than one Python value does."""

    SIZE: ClassVar[int] = 0


@dataclass(frozen=True, slots=True)
class Float32(_FixedOctets):
    """IEEE 754 binary32, kept as its four octets: there are many not-a-numbers, and none equals itself."""

    SIZE: ClassVar[int] = 4

    @property
    def number(self) -> float:
        """The octets as a Python float."""
        return float(struct.unpack(">f", self.value)[0])


@dataclass(frozen=True, slots=True)
class Float64(_FixedOctets):
    """IEEE 754 binary64, kept as its eight octets."""

    SIZE: ClassVar[int] = 8

    @property
    def number(self) -> float:
        """The octets as a Python float."""
        return float(struct.unpack(">d", self.value)[0])


@dataclass(frozen=True, slots=True)
class DateTime(_FixedOctets):
    """A COSEM date-time of 12 octets; ``datetimes`` reads them."""

    SIZE: ClassVar[int] = 12


@dataclass(frozen=True, slots=True)
class Date(_FixedOctets):
    """A COSEM date of 5 octets."""

    SIZE: ClassVar[int] = 5


@dataclass(frozen=True, slots=True)
class Time(_FixedOctets):
    """A COSEM time of 4 octets."""

    SIZE: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class SimpleType:
    """In a compact-array: elements (or parts of them) of the one type with this tag."""

    tag: int


@dataclass(frozen=True, slots=True)
class ArrayType:
    """In a compact-array: parts that are arrays of exactly ``count`` values."""

    count: int
    element: TypeDescription


@dataclass(frozen=True, slots=True)
class StructureType:
    """In a compact-array: parts that are structures of these types."""

    elements: tuple[TypeDescription, ...]


TypeDescription: TypeAlias = Union[SimpleType, ArrayType, StructureType]  # noqa: UP007 - names defined further down


@dataclass(frozen=True, slots=True)
class CompactArray:
    """An array whose elements share one description and leave out their tags."""

    description: TypeDescription
    elements: tuple[Data, ...]


Data: TypeAlias = (
    NullData
    | Array
    | Structure
    | Boolean
    | BitString
    | DoubleLong
    | DoubleLongUnsigned
    | OctetString
    | VisibleString
    | Utf8String
    | Integer
    | Unsigned
    | Long
    | LongUnsigned
    | CompactArray
    | Long64
    | Long64Unsigned
    | Enum
    | Float32
    | Float64
    | DateTime
    | Date
    | Time
)

TAG_ARRAY: Final = 0x01
TAG_STRUCTURE: Final = 0x02
TAG_BIT_STRING: Final = 0x04
TAG_COMPACT_ARRAY: Final = 0x13

TAGS: Final[dict[type, int]] = {
    NullData: 0x00,
    Array: TAG_ARRAY,
    Structure: TAG_STRUCTURE,
    Boolean: 0x03,
    BitString: 0x04,
    DoubleLong: 0x05,
    DoubleLongUnsigned: 0x06,
    OctetString: 0x09,
    VisibleString: 0x0A,
    Utf8String: 0x0C,
    Integer: 0x0F,
    Long: 0x10,
    Unsigned: 0x11,
    LongUnsigned: 0x12,
    CompactArray: TAG_COMPACT_ARRAY,
    Long64: 0x14,
    Long64Unsigned: 0x15,
    Enum: 0x16,
    Float32: 0x17,
    Float64: 0x18,
    DateTime: 0x19,
    Date: 0x1A,
    Time: 0x1B,
}
"""Tag of each type. Source: the table of section 7.4."""

TYPE_NAMES: Final[dict[int, str]] = {
    0x00: "null-data",
    0x01: "array",
    0x02: "structure",
    0x03: "boolean",
    0x04: "bit-string",
    0x05: "double-long",
    0x06: "double-long-unsigned",
    0x09: "octet-string",
    0x0A: "visible-string",
    0x0C: "utf8-string",
    0x0F: "integer",
    0x10: "long",
    0x11: "unsigned",
    0x12: "long-unsigned",
    0x13: "compact-array",
    0x14: "long64",
    0x15: "long64-unsigned",
    0x16: "enum",
    0x17: "float32",
    0x18: "float64",
    0x19: "date-time",
    0x1A: "date",
    0x1B: "time",
}
"""Name of each tag in the standard's words; also the ``field`` of errors."""


# --- reading ---------------------------------------------------------------------------------------------------------


def decode_data(data: bytes, offset: int = 0, depth: int = 0) -> tuple[Data, int]:
    """Read one value with its tag at ``offset``: the value and the offset behind it. ``depth`` is its nesting."""
    return _read(data, offset, depth)


def _read(data: bytes, at: int, depth: int) -> tuple[Data, int]:
    try:
        tag = data[at]
    except IndexError:
        raise GbcsDecodeError("data", at, "a value is missing") from None
    reader = _READERS.get(tag)
    if reader is None:
        raise GbcsDecodeError("data", at, f"{tag:02X} is no type of a DLMS value")
    return reader(data, at + 1, depth)


def _cut_short(tag: int, at: int) -> GbcsDecodeError:
    return GbcsDecodeError(TYPE_NAMES[tag], at, "cut short")


_NULL: Final = NullData()


def _read_null(_data: bytes, at: int, _depth: int) -> tuple[Data, int]:
    return _NULL, at


def read_values(data: bytes, offset: int, count: int, field: str, depth: int = 0) -> tuple[tuple[Data, ...], int]:
    """Read ``count`` values with tags, one behind the other: what arrays, structures and payloads are made of."""
    # Every value takes an octet at least, so a count that lies is seen before anything is built.
    if count > len(data) - offset:
        raise GbcsDecodeError(field, offset, f"announces {count} elements where {len(data) - offset} octets follow")
    values: list[Data] = []
    at = offset
    try:
        for _ in range(count):
            value, at = _READERS[data[at]](data, at + 1, depth)
            values.append(value)
    except IndexError:
        raise GbcsDecodeError(field, at, f"ends after {len(values)} of {count} elements") from None
    except KeyError:
        raise GbcsDecodeError(field, at, f"{data[at]:02X} is no type of a DLMS value") from None
    return tuple(values), at


def _read_elements(data: bytes, at: int, depth: int, field: str) -> tuple[tuple[Data, ...], int]:
    """Read a count and so many values with tags."""
    if depth >= DEPTH_MAX:
        raise GbcsDecodeError(field, at, f"nested deeper than {DEPTH_MAX}")
    count, at = read_length(data, at, field)
    return read_values(data, at, count, field, depth + 1)


def _read_array(data: bytes, at: int, depth: int) -> tuple[Data, int]:
    elements, at = _read_elements(data, at, depth, "array")
    return Array(elements), at


def _read_structure(data: bytes, at: int, depth: int) -> tuple[Data, int]:
    elements, at = _read_elements(data, at, depth, "structure")
    return Structure(elements), at


def _read_boolean(data: bytes, at: int, _depth: int) -> tuple[Data, int]:
    try:
        return _BOOLEANS[data[at]], at + 1
    except IndexError:
        raise _cut_short(0x03, at) from None


def _read_bit_string(data: bytes, at: int, _depth: int) -> tuple[Data, int]:
    count, start = read_length(data, at, "bit-string")
    end = start + (count + 7) // 8
    if end > len(data):
        raise GbcsDecodeError("bit-string", at, f"announces {count} bits where {len(data) - start} octets follow")
    return BitString(count, data[start:end]), end


def _octets_reader(cls: type[OctetString | VisibleString | Utf8String]) -> _Reader:
    field = TYPE_NAMES[TAGS[cls]]

    def read(data: bytes, at: int, _depth: int) -> tuple[Data, int]:
        start = at + 1
        length = data[at] if at < len(data) else 0x80
        if length >= 0x80:  # not one octet, or none: the general way, which also says what is wrong
            length, start = read_length(data, at, field)
        end = start + length
        if end > len(data):
            raise GbcsDecodeError(field, at, f"announces {length} octets where {len(data) - start} follow")
        return cls(data[start:end]), end

    return read


def _fixed_reader(cls: type[Float32 | Float64 | DateTime | Date | Time]) -> _Reader:
    tag, size = TAGS[cls], cls.SIZE

    def read(data: bytes, at: int, _depth: int) -> tuple[Data, int]:
        end = at + size
        if end > len(data):
            raise _cut_short(tag, at)
        return cls(data[at:end]), end

    return read


def _octet_number_reader(cls: type[Integer | Unsigned | Enum]) -> _Reader:
    tag = TAGS[cls]
    values = tuple(cls(octet - 256 if cls is Integer and octet > 127 else octet) for octet in range(256))

    def read(data: bytes, at: int, _depth: int) -> tuple[Data, int]:
        try:
            return values[data[at]], at + 1
        except IndexError:
            raise _cut_short(tag, at) from None

    return read


def _number_reader(
    cls: type[Long | LongUnsigned | DoubleLong | DoubleLongUnsigned | Long64 | Long64Unsigned],
) -> _Reader:
    tag = TAGS[cls]
    size = _NUMBERS[cls].size
    unpack_from = _NUMBERS[cls].unpack_from

    def read(data: bytes, at: int, _depth: int) -> tuple[Data, int]:
        try:
            return cls(*unpack_from(data, at)), at + size
        except struct.error:
            raise _cut_short(tag, at) from None

    return read


def _read_compact_array(data: bytes, at: int, depth: int) -> tuple[Data, int]:
    if depth >= DEPTH_MAX:
        raise GbcsDecodeError("compact-array", at, f"nested deeper than {DEPTH_MAX}")
    description, at = _read_description(data, at, depth + 1)
    length, start = read_length(data, at, "compact-array")
    end = start + length
    if end > len(data):
        raise GbcsDecodeError("compact-array", at, f"announces {length} octets where {len(data) - start} follow")
    row = _number_row(description)
    if row is not None and length % row[1] == 0:
        return CompactArray(description, _read_number_rows(row, data[start:end])), end
    values_per_element = _count_values(description)
    budget = COMPACT_VALUES_PER_OCTET_MAX * length
    elements = []
    at = start
    while at < end:
        before = at
        budget -= values_per_element
        if budget < 0:
            raise GbcsDecodeError("compact-array", at, "describes far more values than its contents can hold")
        element, at = _read_described(description, data, at, depth + 1)
        if at == before:
            raise GbcsDecodeError("compact-array", at, "has contents, but describes elements without octets")
        elements.append(element)
    if at != end:
        raise GbcsDecodeError("compact-array", end, "its last element runs past its contents")
    return CompactArray(description, tuple(elements)), end


_NumberRow: TypeAlias = tuple[tuple[type, ...], int, str]
"""Classes of the numbers in a row, its octets, and what ``struct`` calls them."""


@lru_cache(ROWS_KEPT)
def _number_row(description: TypeDescription) -> _NumberRow | None:
    """What there is to know of elements that are structures of whole numbers; ``None`` for any other."""
    if not isinstance(description, StructureType) or not description.elements:
        return None
    known = [
        _NUMBERS_BY_TAG[part.tag]
        for part in description.elements
        if isinstance(part, SimpleType) and part.tag in _NUMBERS_BY_TAG
    ]
    if len(known) != len(description.elements):
        return None
    codes = "".join(code for _cls, code in known)
    return tuple(cls for cls, _code in known), struct.calcsize(">" + codes), codes


def _read_number_rows(row: _NumberRow, contents: bytes) -> tuple[Data, ...]:
    """Elements that are structures of whole numbers, all in one go: load profiles."""
    classes, size, codes = row
    count = len(contents) // size
    numbers = iter(make_many(classes * count, _SET_NUMBER, struct.unpack(f">{codes * count}", contents)))
    rows = zip(*[numbers] * len(classes), strict=True)
    return tuple(make_many([Structure] * count, _SET_ELEMENTS, rows))


def _read_description(data: bytes, at: int, depth: int) -> tuple[TypeDescription, int]:
    if depth >= DEPTH_MAX:
        raise GbcsDecodeError("compact-array", at, f"its description is nested deeper than {DEPTH_MAX}")
    try:
        tag = data[at]
    except IndexError:
        raise GbcsDecodeError("compact-array", at, "its type description is cut short") from None
    if tag == TAG_ARRAY:
        if at + 3 > len(data):
            raise GbcsDecodeError("compact-array", at, "its type description is cut short")
        element, end = _read_description(data, at + 3, depth + 1)
        return ArrayType(int.from_bytes(data[at + 1 : at + 3], "big"), element), end
    if tag == TAG_STRUCTURE:
        count, at = read_length(data, at + 1, "compact-array")
        if count > len(data) - at:
            raise GbcsDecodeError("compact-array", at, f"announces {count} types where {len(data) - at} octets follow")
        types = []
        for _ in range(count):
            part, at = _read_description(data, at, depth + 1)
            types.append(part)
        return StructureType(tuple(types)), at
    if tag == TAG_COMPACT_ARRAY or tag not in _READERS:
        raise GbcsDecodeError("compact-array", at, f"{tag:02X} is no type of its elements")
    return _SIMPLE_TYPES[tag], at + 1


def _count_values(description: TypeDescription) -> int:
    """How many values, containers included, one element of this description stands for."""
    if isinstance(description, SimpleType):
        return 1
    if isinstance(description, ArrayType):
        return 1 + description.count * _count_values(description.element)
    return 1 + sum(map(_count_values, description.elements))


def _read_described(description: TypeDescription, data: bytes, at: int, depth: int) -> tuple[Data, int]:
    """Read one value without tags. Values take the tag-less form of their own type: strings keep their length."""
    if isinstance(description, SimpleType):
        return _READERS[description.tag](data, at, depth)
    elements = []
    if isinstance(description, ArrayType):
        for _ in range(description.count):
            element, at = _read_described(description.element, data, at, depth)
            elements.append(element)
        return Array(tuple(elements)), at
    for part in description.elements:
        element, at = _read_described(part, data, at, depth)
        elements.append(element)
    return Structure(tuple(elements)), at


# --- writing ---------------------------------------------------------------------------------------------------------


def encode_data(value: Data) -> bytes:
    """One value with its tag."""
    out = bytearray()
    write_data(out, value)
    return bytes(out)


def write_data(out: bytearray, value: Data, depth: int = 0) -> None:
    """Append one value with its tag: what ``encode_data`` does, for those who write several."""
    tag = TAGS.get(type(value))
    if tag is None:
        raise GbcsValueError(f"{type(value).__name__} is no DLMS value")
    out.append(tag)
    _write_body(out, value, depth)


def _write_body(out: bytearray, value: Data, depth: int) -> None:
    """Append one value without its tag."""
    if isinstance(value, _Whole):
        try:
            out += _NUMBERS[type(value)].pack(value.value)
        except struct.error:
            name = TYPE_NAMES[TAGS[type(value)]]
            raise GbcsValueError(f"{value.value} does not fit a {name}") from None
    elif isinstance(value, _FixedOctets):
        if len(value.value) != value.SIZE:
            raise GbcsValueError(f"a {TYPE_NAMES[TAGS[type(value)]]} has {value.SIZE} octets")
        out += value.value
    elif isinstance(value, _Octets):
        out += encode_length(len(value.value))
        out += value.value
    elif isinstance(value, Array | Structure):
        if depth >= DEPTH_MAX:
            raise GbcsValueError(f"values are nested {DEPTH_MAX} deep at most")
        out += encode_length(len(value.elements))
        for element in value.elements:
            write_data(out, element, depth + 1)
    elif isinstance(value, Boolean):
        out.append(value.raw)
    elif isinstance(value, BitString):
        if len(value.value) != (value.bit_count + 7) // 8:
            raise GbcsValueError(f"{value.bit_count} bits take {(value.bit_count + 7) // 8} octets")
        out += encode_length(value.bit_count)
        out += value.value
    elif isinstance(value, CompactArray):
        _write_compact_array(out, value, depth)


def _write_compact_array(out: bytearray, value: CompactArray, depth: int) -> None:
    if depth >= DEPTH_MAX:
        raise GbcsValueError(f"values are nested {DEPTH_MAX} deep at most")
    _write_description(out, value.description, depth + 1)
    contents = bytearray()
    for element in value.elements:
        _write_described(contents, value.description, element, depth + 1)
    budget = COMPACT_VALUES_PER_OCTET_MAX * len(contents)
    if len(value.elements) * _count_values(value.description) > budget:
        raise GbcsValueError("a compact-array of values without octets cannot tell how many there are")
    out += encode_length(len(contents))
    out += contents


def _write_description(out: bytearray, description: TypeDescription, depth: int) -> None:
    if depth >= DEPTH_MAX:
        raise GbcsValueError(f"values are nested {DEPTH_MAX} deep at most")
    if isinstance(description, SimpleType):
        if description.tag in {TAG_ARRAY, TAG_STRUCTURE, TAG_COMPACT_ARRAY} or description.tag not in TYPE_NAMES:
            raise GbcsValueError(f"{description.tag:02X} is no simple type")
        out.append(description.tag)
    elif isinstance(description, ArrayType):
        if not 0 <= description.count <= 0xFFFF:
            raise GbcsValueError("an array in a compact-array has at most 65,535 elements")
        out.append(TAG_ARRAY)
        out += description.count.to_bytes(2, "big")
        _write_description(out, description.element, depth + 1)
    else:
        out.append(TAG_STRUCTURE)
        out += encode_length(len(description.elements))
        for part in description.elements:
            _write_description(out, part, depth + 1)


def _write_described(out: bytearray, description: TypeDescription, value: Data, depth: int) -> None:
    if isinstance(description, SimpleType):
        if TAGS.get(type(value)) != description.tag:
            raise GbcsValueError(f"the compact-array describes a {TYPE_NAMES[description.tag]}, not a {value}")
        _write_body(out, value, depth)
        return
    if isinstance(description, ArrayType):
        if not isinstance(value, Array) or len(value.elements) != description.count:
            raise GbcsValueError(f"the compact-array describes an array of {description.count}, not a {value}")
        parts: tuple[TypeDescription, ...] = (description.element,) * description.count
    else:
        if not isinstance(value, Structure) or len(value.elements) != len(description.elements):
            count = len(description.elements)
            raise GbcsValueError(f"the compact-array describes a structure of {count}, not a {value}")
        parts = description.elements
    for part, element in zip(parts, value.elements, strict=True):
        _write_described(out, part, element, depth)


# --- tables, once everything they name is defined --------------------------------------------------------------------

_Reader: TypeAlias = "Callable[[bytes, int, int], tuple[Data, int]]"

_SIMPLE_TYPES: Final = {tag: SimpleType(tag) for tag in TYPE_NAMES}
_BOOLEANS: Final = tuple(Boolean(bool(octet), octet) for octet in range(256))

_NUMBER_CODES: Final[dict[type[_Whole], str]] = {
    Integer: "b",
    Long: "h",
    DoubleLong: "i",
    Long64: "q",
    Unsigned: "B",
    LongUnsigned: "H",
    DoubleLongUnsigned: "I",
    Long64Unsigned: "Q",
    Enum: "B",
}
"""What ``struct`` calls each whole number."""

_NUMBERS: Final[dict[type, struct.Struct]] = {cls: struct.Struct(">" + code) for cls, code in _NUMBER_CODES.items()}
_SET_NUMBER: Final = slot_setter(_Whole, "value")
_SET_ELEMENTS: Final = slot_setter(Structure, "elements")
_NUMBERS_BY_TAG: Final[dict[int, tuple[Any, str]]] = {TAGS[cls]: (cls, code) for cls, code in _NUMBER_CODES.items()}

_READERS: Final[dict[int, _Reader]] = {
    0x00: _read_null,
    0x01: _read_array,
    0x02: _read_structure,
    0x03: _read_boolean,
    0x04: _read_bit_string,
    0x05: _number_reader(DoubleLong),
    0x06: _number_reader(DoubleLongUnsigned),
    0x09: _octets_reader(OctetString),
    0x0A: _octets_reader(VisibleString),
    0x0C: _octets_reader(Utf8String),
    0x0F: _octet_number_reader(Integer),
    0x10: _number_reader(Long),
    0x11: _octet_number_reader(Unsigned),
    0x12: _number_reader(LongUnsigned),
    0x13: _read_compact_array,
    0x14: _number_reader(Long64),
    0x15: _number_reader(Long64Unsigned),
    0x16: _octet_number_reader(Enum),
    0x17: _fixed_reader(Float32),
    0x18: _fixed_reader(Float64),
    0x19: _fixed_reader(DateTime),
    0x1A: _fixed_reader(Date),
    0x1B: _fixed_reader(Time),
}
