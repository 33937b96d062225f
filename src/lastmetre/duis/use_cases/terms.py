"""What a value inside a payload is called, and how it is shown to a person.

A ``Term`` mirrors the shape of a DLMS value: a structure's parts have terms of their own, an array's elements share
one. ``compare`` walks two values by their term and reports the smallest things that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from lastmetre.gbcs.axdr import Array, BitString, Boolean, Data, NullData, OctetString, Structure, VisibleString

Show: TypeAlias = Callable[[Data], str]

NONE: Final = "nothing"
"""What stands for a value that is not there."""


def plain(data: Data) -> str:
    """Any value, as a reader of numbers expects it."""
    match data:
        case NullData():
            return NONE
        case Boolean(value):
            return "true" if value else "false"
        case BitString(_, _):
            return f"bits {data.bits}" if data.bits else "no bits"
        case OctetString(value):
            return value.hex() or "empty"
        case VisibleString(value):
            return repr(value.decode("latin-1"))
        case Array(elements) | Structure(elements):
            return "(" + ", ".join(map(plain, elements)) + ")"
        case _:
            return str(getattr(data, "value", data))


def text(data: Data) -> str:
    """Octets that are text."""
    return repr(data.value.decode("latin-1")) if isinstance(data, OctetString | VisibleString) else plain(data)


def choice(names: dict[int, str]) -> Show:
    """A number that stands for something: both are shown."""

    def show(data: Data) -> str:
        number = getattr(data, "value", None)
        name = names.get(number) if isinstance(number, int) else None
        return plain(data) if name is None else f"{name} ({number})"

    return show


def moment(data: Data) -> str:
    """A COSEM date-time of twelve octets."""
    if not isinstance(data, OctetString) or len(data.value) != 12:
        return plain(data)
    octets = data.value
    if octets == bytes(9) + b"\x80\x00\xff":
        return "at once"
    if octets == b"\xff" * 9 + b"\x80\x00\xff":
        return "never (cancelled)"
    if octets[4] != 0xFF or octets[8:] != b"\x00\x80\x00\xff":
        return octets.hex()
    return f"{_date(octets)}T{octets[5]:02}:{octets[6]:02}:{octets[7]:02}Z"


def _date(octets: bytes) -> str:
    year = int.from_bytes(octets[:2], "big")
    shown = "any year" if year == 0xFFFF else f"{year:04}"
    return "-".join([shown, *("any" if part == 0xFF else f"{part:02}" for part in octets[2:4])])


def date(data: Data) -> str:
    """A COSEM date of five octets."""
    if not isinstance(data, OctetString) or len(data.value) != 5:
        return plain(data)
    day = data.value[4]
    return _date(data.value) + ("" if day == 0xFF else f", day {day} of the week")


def time(data: Data) -> str:
    """A COSEM time of four octets."""
    if not isinstance(data, OctetString) or len(data.value) != 4:
        return plain(data)
    hour, minute, second, hundredths = data.value
    return f"{hour:02}:{minute:02}:{second:02}" + (f".{hundredths:02}" if hundredths else "")


def obis(data: Data) -> str:
    """Six octets that name a COSEM object."""
    if not isinstance(data, OctetString) or len(data.value) != 6:
        return plain(data)
    a, b, c, d, e, f = data.value
    return f"{a}-{b}:{c}.{d}.{e}.{f}"


DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def weekdays(data: Data) -> str:
    """Seven bits, Monday first."""
    if not isinstance(data, BitString) or data.bit_count != len(DAYS):
        return plain(data)
    return ", ".join(day for day, bit in zip(DAYS, data.bits, strict=True) if bit == "1") or "no day"


def numbers(data: Data) -> str:
    """Bits that stand for the first, second, third ... of a list."""
    if not isinstance(data, BitString):
        return plain(data)
    listed = ", ".join(str(at) for at, bit in enumerate(data.bits, 1) if bit == "1") or "none"
    return f"{listed} of {data.bit_count}"


@dataclass(frozen=True, slots=True)
class Term:
    """What a value is called; ``parts`` for a structure, ``each`` for the elements of an array."""

    name: str
    show: Show = plain
    parts: tuple[Term, ...] = ()
    each: Term | None = None


Found: TypeAlias = tuple[str, str, str]
"""What differs, what was asked, what was found."""


def compare(asked: Data, found: Data, term: Term, name: str | None = None) -> Iterator[Found]:
    """Every smallest difference between two values, by the name a supplier knows it under."""
    name = name or term.name
    if asked == found:
        return
    if isinstance(asked, Structure) and isinstance(found, Structure) and len(asked.elements) == len(found.elements):
        if len(term.parts) == len(asked.elements):
            for part, left, right in zip(term.parts, asked.elements, found.elements, strict=True):
                yield from compare(left, right, part, f"{part.name} of {name}")
            return
    elif isinstance(asked, Array) and isinstance(found, Array) and term.each is not None:
        yield from _compare_elements(asked, found, term.each, name)
        return
    left_shown, right_shown = term.show(asked), term.show(found)
    if left_shown == right_shown or type(asked) is not type(found):
        # Different values may look alike (the octet of a boolean, padding, another type): show what is behind them.
        left_shown, right_shown = f"{left_shown} [{asked!r}]", f"{right_shown} [{found!r}]"
    yield name, left_shown, right_shown


def _compare_elements(asked: Array, found: Array, each: Term, name: str) -> Iterator[Found]:
    common = min(len(asked.elements), len(found.elements))
    for at in range(common):
        yield from compare(asked.elements[at], found.elements[at], each, f"{each.name} {at + 1}")
    for at, element in enumerate(asked.elements[common:], common + 1):
        yield f"{each.name} {at}", each.show(element), NONE
    for at, element in enumerate(found.elements[common:], common + 1):
        yield f"{each.name} {at}", NONE, each.show(element)
    if not asked.elements and not found.elements:
        yield name, "empty", "empty"


def leaves(data: Data, term: Term, name: str | None = None) -> Iterator[tuple[tuple[int, ...], str, str]]:
    """Every named value inside a value: its path, its name, and how it is shown."""
    name = name or term.name
    if isinstance(data, Structure) and len(term.parts) == len(data.elements) > 0:
        for at, (part, element) in enumerate(zip(term.parts, data.elements, strict=True)):
            for path, inner, shown in leaves(element, part, f"{part.name} of {name}"):
                yield (at, *path), inner, shown
    elif isinstance(data, Array) and term.each is not None:
        for at, element in enumerate(data.elements):
            for path, inner, shown in leaves(element, term.each, f"{term.each.name} {at + 1}"):
                yield (at, *path), inner, shown
    else:
        yield (), name, term.show(data)
