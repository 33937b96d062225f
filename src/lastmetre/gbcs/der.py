"""DER, as far as GBCS needs it: codecs that read and write one ASN.1 type each, put together by ``asn1``.

Rules this module keeps (gbcs-messages section 9.1):

* Definite lengths, implicit tags, whole numbers in their shortest form. A type is known beforehand everywhere, so
  nothing is guessed from tags and nesting is as deep as the type and no deeper.
* Lengths are shortest, with one tolerance: device-made payloads may have longer ones. Which ones is kept
  (``long_lengths``) by position in reading order, so that writing gives the same octets again.
* Certificates and certification requests are kept as the octets they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from lastmetre.gbcs.axdr import BitString
from lastmetre.gbcs.datetimes import generalized_moment
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.records import open_twin

if TYPE_CHECKING:
    from collections.abc import Callable

TAG_INTEGER: Final = 0x02
TAG_BIT_STRING: Final = 0x03
TAG_OCTET_STRING: Final = 0x04
TAG_NULL: Final = 0x05
TAG_ENUMERATED: Final = 0x0A
TAG_GENERALIZED_TIME: Final = 0x18
TAG_SEQUENCE: Final = 0x30

LENGTH_OCTETS_MAX: Final = 5
"""The longest length read: ``84`` and four octets."""

NUMBER_OCTETS_MAX: Final = 9
"""The longest INTEGER read: counters have 64 bits, and a leading zero where the highest is set."""


# --- reading and writing, position by position -----------------------------------------------------------------------


@dataclass(slots=True)
class Reader:
    """Octets being read, and which lengths in them were longer than need be."""

    data: bytes
    allow_long_lengths: bool
    position: int = 0
    long_lengths: list[tuple[int, int]] = field(default_factory=list)

    def enter(self, at: int, end: int, tag: int, name: str) -> tuple[int, int]:
        """Read the tag and length of a value that must end by ``end``: where its content starts and ends."""
        data = self.data
        if at + 2 > end:
            raise GbcsDecodeError(name, at, "cut short or missing")
        if data[at] != tag:
            raise GbcsDecodeError(name, at, f"has tag {tag:02X}, not {data[at]:02X}")
        first = data[at + 1]
        if first < 0x80:
            start, length = at + 2, first
        else:
            start = at + 2 + first - 0x80
            if not 1 < start - at - 1 <= LENGTH_OCTETS_MAX or start > end:
                raise GbcsDecodeError(name, at + 1, "its length is cut short, indefinite or far too long")
            length = int.from_bytes(data[at + 2 : start], "big")
            if start - at - 1 != len(der_length(length)):
                if not self.allow_long_lengths:
                    raise GbcsDecodeError(name, at + 1, "its length is not in its shortest form")
                self.long_lengths.append((self.position, start - at - 1))
        if length > end - start:
            raise GbcsDecodeError(name, at + 1, f"announces {length} octets where {end - start} follow")
        self.position += 1
        return start, start + length


@dataclass(slots=True)
class Writer:
    """What is being written: only the lengths that shall be longer than need be."""

    long_lengths: dict[int, int]
    position: int = 0

    def wrap(self, tag: int, content: Callable[[], bytes]) -> bytes:
        """A tag, a length, and the content, which is made after the position was counted: the order of reading."""
        octets = self.long_lengths.pop(self.position, None)
        self.position += 1
        inside = content()
        if octets is None:
            return b"".join((bytes((tag,)), der_length(len(inside)), inside))
        shortest = len(der_length(len(inside)))
        if not shortest < octets <= LENGTH_OCTETS_MAX:
            raise GbcsValueError(f"a longer length of {len(inside)} octets has {shortest + 1} to {LENGTH_OCTETS_MAX}")
        length = bytes((0x80 + octets - 1,)) + len(inside).to_bytes(octets - 1, "big")
        return b"".join((bytes((tag,)), length, inside))


def der_length(length: int) -> bytes:
    """The shortest DER form of a length."""
    if length < 0x80:
        return bytes((length,))
    size = (length.bit_length() + 7) // 8
    return bytes((0x80 + size,)) + length.to_bytes(size, "big")


# --- codecs ----------------------------------------------------------------------------------------------------------


class Codec(Protocol):
    """Reads and writes one ASN.1 type. ``tag`` is the tag it has unless a member gives it another."""

    @property
    def tag(self) -> int:
        """The identifier octet."""

    def read(self, reader: Reader, at: int, end: int, tag: int, name: str) -> tuple[Any, int]:
        """Read a value at ``at``: the value and the offset behind it."""

    def write(self, writer: Writer, value: Any, tag: int, name: str) -> bytes:
        """The octets of a value."""


@dataclass(frozen=True, slots=True)
class Whole:
    """INTEGER or ENUMERATED between two bounds."""

    low: int = -(1 << 63)
    high: int = (1 << 63) - 1
    tag: int = TAG_INTEGER

    def read(self, reader: Reader, at: int, end: int, tag: int, name: str) -> tuple[int, int]:
        """Read the number; more octets than it needs are refused."""
        start, stop = reader.enter(at, end, tag, name)
        size = stop - start
        if not 1 <= size <= NUMBER_OCTETS_MAX:
            raise GbcsDecodeError(name, at, f"a whole number here has 1 to {NUMBER_OCTETS_MAX} octets, not {size}")
        value = int.from_bytes(reader.data[start:stop], "big", signed=True)
        if size > 1 and -(1 << 8 * size - 9) <= value < 1 << 8 * size - 9:
            raise GbcsDecodeError(name, start, "the number is not in its shortest form")
        if not self.low <= value <= self.high:
            raise GbcsDecodeError(name, start, f"{value} is not between {self.low} and {self.high}")
        return value, stop

    def write(self, writer: Writer, value: Any, tag: int, name: str) -> bytes:
        """The number in its shortest form."""
        if not isinstance(value, int) or not self.low <= value <= self.high:
            raise GbcsValueError(f"{name}: {value!r} is no whole number between {self.low} and {self.high}")
        size = (value + (value < 0)).bit_length() // 8 + 1
        return writer.wrap(tag, lambda: int(value).to_bytes(size, "big", signed=True))


@dataclass(frozen=True, slots=True)
class Octets:
    """OCTET STRING, of one size if ``size`` is given."""

    size: int | None = None
    tag: int = TAG_OCTET_STRING

    def read(self, reader: Reader, at: int, end: int, tag: int, name: str) -> tuple[bytes, int]:
        """Read the octets."""
        start, stop = reader.enter(at, end, tag, name)
        if self.size is not None and stop - start != self.size:
            raise GbcsDecodeError(name, at, f"has {self.size} octets, not {stop - start}")
        return reader.data[start:stop], stop

    def write(self, writer: Writer, value: Any, tag: int, name: str) -> bytes:
        """The octets behind tag and length."""
        if not isinstance(value, bytes) or (self.size is not None and len(value) != self.size):
            raise GbcsValueError(f"{name}: these are not {'' if self.size is None else f'{self.size} '}octets")
        return writer.wrap(tag, lambda: value)


@dataclass(frozen=True, slots=True)
class Bits:
    """BIT STRING; DER wants its padding to be zero."""

    tag: int = TAG_BIT_STRING

    def read(self, reader: Reader, at: int, end: int, tag: int, name: str) -> tuple[BitString, int]:
        """Read the bits."""
        start, stop = reader.enter(at, end, tag, name)
        unused = reader.data[start] if start < stop else 8
        octets = reader.data[start + 1 : stop]
        if unused > 7 or (unused and not octets) or (unused and octets[-1] & ((1 << unused) - 1)):
            raise GbcsDecodeError(name, start, "its padding is wrong")
        return BitString(8 * len(octets) - unused, octets), stop

    def write(self, writer: Writer, value: Any, tag: int, name: str) -> bytes:
        """The count of unused bits and the octets."""
        unused = 8 * len(value.value) - value.bit_count if isinstance(value, BitString) else 8
        if not 0 <= unused <= 7 or (unused and value.value[-1] & ((1 << unused) - 1)):
            raise GbcsValueError(f"{name}: {value!r} is no bit string with zero padding")
        return writer.wrap(tag, lambda: bytes((unused,)) + value.value)


@dataclass(frozen=True, slots=True)
class Null:
    """NULL; its value is ``None``."""

    tag: int = TAG_NULL

    def read(self, reader: Reader, at: int, end: int, tag: int, name: str) -> tuple[None, int]:
        """Read nothing."""
        start, stop = reader.enter(at, end, tag, name)
        if start != stop:
            raise GbcsDecodeError(name, start, "NULL has no content")
        return None, stop

    def write(self, writer: Writer, value: Any, tag: int, name: str) -> bytes:
        """A tag and length zero."""
        if value is not None:
            raise GbcsValueError(f"{name}: only None stands for NULL")
        return writer.wrap(tag, bytes)


@dataclass(frozen=True, slots=True)
class Time:
    """GeneralizedTime as ``YYYYMMDDHHMMSSZ``; its value is that text."""

    tag: int = TAG_GENERALIZED_TIME

    def read(self, reader: Reader, at: int, end: int, tag: int, name: str) -> tuple[str, int]:
        """Read the text and see that there is such a time."""
        start, stop = reader.enter(at, end, tag, name)
        text = reader.data[start:stop].decode("latin-1")
        if generalized_moment(text) is None:
            raise GbcsDecodeError(name, start, "is no time written YYYYMMDDHHMMSSZ")
        return text, stop

    def write(self, writer: Writer, value: Any, tag: int, name: str) -> bytes:
        """The text as octets."""
        if not isinstance(value, str) or generalized_moment(value) is None:
            raise GbcsValueError(f"{name}: {value!r} is no time written YYYYMMDDHHMMSSZ")
        return writer.wrap(tag, value.encode)


@dataclass(frozen=True, slots=True)
class Raw:
    """A SEQUENCE kept as its octets, tag and length included: a certificate, a certification request."""

    tag: int = TAG_SEQUENCE

    def read(self, reader: Reader, at: int, end: int, tag: int, name: str) -> tuple[bytes, int]:
        """Read to its end without looking inside. Its own length must be shortest: it is no GBCS structure."""
        before = len(reader.long_lengths)
        _start, stop = reader.enter(at, end, tag, name)
        if len(reader.long_lengths) != before:
            raise GbcsDecodeError(name, at + 1, "its length is not in its shortest form")
        return reader.data[at:stop], stop

    def write(self, writer: Writer, value: Any, tag: int, name: str) -> bytes:
        """The octets, after a look at whether their length is right."""
        if not isinstance(value, bytes):
            raise GbcsValueError(f"{name}: a DER sequence is given as bytes")
        try:
            _octets, stop = self.read(Reader(value, allow_long_lengths=False), 0, len(value), tag, name)
        except GbcsDecodeError as error:
            raise GbcsValueError(f"{name}: {error}") from None
        if stop != len(value):
            raise GbcsValueError(f"{name}: octets follow the sequence")
        writer.position += 1
        return value


@dataclass(frozen=True, slots=True)
class SequenceOf:
    """SEQUENCE OF one type; its value is a tuple."""

    element: Codec
    tag: int = TAG_SEQUENCE

    def read(self, reader: Reader, at: int, end: int, tag: int, name: str) -> tuple[tuple[Any, ...], int]:
        """Read elements to the end."""
        at, stop = reader.enter(at, end, tag, name)
        values = []
        while at < stop:
            value, at = self.element.read(reader, at, stop, self.element.tag, name)
            values.append(value)
        return tuple(values), stop

    def write(self, writer: Writer, value: Any, tag: int, name: str) -> bytes:
        """The elements behind tag and length."""
        if not isinstance(value, tuple):
            raise GbcsValueError(f"{name}: a tuple is due")
        element = self.element
        return writer.wrap(tag, lambda: b"".join(element.write(writer, item, element.tag, name) for item in value))


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a SEQUENCE. ``optional``: ``None`` when absent. ``default``: that value is never written."""

    name: str
    codec: Codec
    context: int | None = None
    optional: bool = False
    default: int | None = None

    @property
    def tag(self) -> int:
        """Its tag: the type's own, or an implicit context tag that keeps whether the type is constructed."""
        if self.context is None:
            return self.codec.tag
        return 0x80 | self.context | (self.codec.tag & 0x20)


@dataclass(frozen=True, slots=True)
class Sequence:
    """SEQUENCE with members by name; its value is an instance of ``cls``."""

    cls: type
    members: tuple[Member, ...]
    tag: int = TAG_SEQUENCE
    _plan: tuple[Any, ...] = field(init=False, repr=False, compare=False)
    _open: Any = field(init=False, default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        # What reading needs of each member: name, reader, tag, default, whether it may be absent, name for errors.
        plan = tuple(
            (
                member.name,
                member.codec.read,
                member.tag,
                member.default,
                member.optional or member.default is not None,
                f"{self.cls.__name__}.{member.name}",
            )
            for member in self.members
        )
        object.__setattr__(self, "_plan", plan)

    def read(self, reader: Reader, at: int, end: int, tag: int, name: str) -> tuple[Any, int]:
        """Read member by member; all octets must be used."""
        at, stop = reader.enter(at, end, tag, name)
        data = reader.data
        made = object.__new__(self._open or self._make_open())
        for name_, read, member_tag, default, may_be_absent, where in self._plan:
            if may_be_absent and (at == stop or data[at] != member_tag):
                setattr(made, name_, default)
                continue
            value, after = read(reader, at, stop, member_tag, where)
            if value == default is not None:
                raise GbcsDecodeError(where, at, f"{value} is the default, which DER leaves out")
            setattr(made, name_, value)
            at = after
        if at != stop:
            raise GbcsDecodeError(name, at, f"{stop - at} octets follow its last member")
        made.__class__ = self.cls
        return made, stop

    def _make_open(self) -> Any:
        """What values are made by, made when first read, as most are never."""
        object.__setattr__(self, "_open", open_twin(self.cls))
        return self._open

    def write(self, writer: Writer, value: Any, tag: int, name: str) -> bytes:
        """The members that are there, behind tag and length."""
        if not isinstance(value, self.cls):
            raise GbcsValueError(f"{name}: a {self.cls.__name__} is due, not {value!r}")

        def content() -> bytes:
            parts = []
            for member in self.members:
                item = getattr(value, member.name)
                if (member.optional and item is None) or (member.default is not None and item == member.default):
                    continue
                parts.append(member.codec.write(writer, item, member.tag, f"{name}.{member.name}"))
            return b"".join(parts)

        return writer.wrap(tag, content)


@dataclass(frozen=True, slots=True)
class Alone:
    """A type that is a whole payload by itself, held in the one ``member`` of a class (in none for NULL)."""

    cls: type
    inner: Codec
    member: str | None = "result"

    @property
    def tag(self) -> int:
        """The inner type's tag."""
        return self.inner.tag

    def read(self, reader: Reader, at: int, end: int, tag: int, name: str) -> tuple[Any, int]:
        """Read the inner value and hold it."""
        value, stop = self.inner.read(reader, at, end, tag, name)
        return (self.cls() if self.member is None else self.cls(value)), stop

    def write(self, writer: Writer, value: Any, tag: int, name: str) -> bytes:
        """The inner value's octets."""
        held = None if self.member is None else getattr(value, self.member)
        return self.inner.write(writer, held, tag, name)


@dataclass(frozen=True, slots=True)
class Choice:
    """CHOICE between types whose tags differ and whose values are told by their Python types."""

    options: tuple[tuple[type, Codec], ...]

    @property
    def tag(self) -> int:
        """Only a fallback: the real tag is read from the octets, or follows from the value."""
        return self.options[0][1].tag

    def read(self, reader: Reader, at: int, end: int, tag: int, name: str) -> tuple[Any, int]:
        """Read the option whose tag stands there."""
        if at < end:
            for _type, codec in self.options:
                if codec.tag == reader.data[at]:
                    return codec.read(reader, at, end, codec.tag, name)
        # Nothing fits: the first option says what is wrong.
        return self.options[0][1].read(reader, at, end, tag, name)

    def write(self, writer: Writer, value: Any, tag: int, name: str) -> bytes:  # noqa: ARG002 - a codec's signature
        """The octets of the option the value belongs to."""
        for type_, codec in self.options:
            if isinstance(value, type_):
                return codec.write(writer, value, codec.tag, name)
        raise GbcsValueError(f"{name}: {value!r} is none of its forms")
