"""What a value inside a payload is called, and how it is shown to a person.

A ``Term`` mirrors the shape of a value, whichever of the three families of payloads it belongs to: the parts of a
structure have terms of their own, the elements of an array share one. ``compare`` walks two values by their term and
reports the smallest things that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Final, TypeAlias

from lastmetre.gbcs.asn1 import (
    ActivateFirmware,
    CellId,
    CredentialsQuery,
    IssueCredentials,
    Join,
    LogEntry,
    ProvideDeviceCertificate,
    ReadFirmwareVersion,
    ReadJoinDetails,
    Replacement,
    RestoreDeviceLog,
    RoleCounter,
    SetClock,
    SpecialistCounter,
    Unjoin,
    UpdateControl,
    UpdateCredentials,
    UpdateDeviceCertificate,
)
from lastmetre.gbcs.axdr import Array, BitString, Boolean, NullData, OctetString, Structure, VisibleString
from lastmetre.gbcs.datetimes import ZIGBEE_EPOCH_AT, generalized_moment

Show: TypeAlias = Callable[[object], str]

RECORDS: Final = (
    ActivateFirmware,
    CellId,
    CredentialsQuery,
    IssueCredentials,
    Join,
    LogEntry,
    ProvideDeviceCertificate,
    ReadFirmwareVersion,
    ReadJoinDetails,
    Replacement,
    RestoreDeviceLog,
    RoleCounter,
    SetClock,
    SpecialistCounter,
    Unjoin,
    UpdateControl,
    UpdateCredentials,
    UpdateDeviceCertificate,
)
"""The ASN.1 types of Commands: structures whose parts are their fields, in order."""

NONE: Final = "nothing"
"""What stands for a value that is not there."""


def parts_of(value: object) -> tuple[object, ...] | None:
    """What a structure or an array is made of; None for a value without parts."""
    if isinstance(value, Structure | Array):
        return value.elements
    if isinstance(value, tuple):
        return value
    if isinstance(value, RECORDS):
        return tuple(getattr(value, field.name) for field in fields(value))
    return None


def plain(data: object) -> str:
    """Any value, as a reader of numbers expects it."""
    parts = parts_of(data)
    if parts is not None:
        return "(" + ", ".join(map(plain, parts)) + ")"
    match data:
        case None | NullData():
            return NONE
        case bytes():
            return data.hex() or "empty"
        case Boolean(value):
            return "true" if value else "false"
        case BitString(_, _):
            return f"bits {data.bits}" if data.bits else "no bits"
        case OctetString(value):
            return value.hex() or "empty"
        case VisibleString(value):
            return repr(value.decode("latin-1"))
        case _:
            return str(getattr(data, "value", data))


def text(data: object) -> str:
    """Octets that are text."""
    octets = data.value if isinstance(data, OctetString | VisibleString) else data
    return repr(octets.decode("latin-1")) if isinstance(octets, bytes) else plain(data)


def identifier(data: object) -> str:
    """The eight octets of an entity identifier, as DUIS writes them."""
    octets = data.value if isinstance(data, OctetString) else data
    return octets.hex("-").upper() if isinstance(octets, bytes) and len(octets) == 8 else plain(data)


def utc(at: int) -> str:
    """Unix seconds for a person."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def zigbee_time(data: object) -> str:
    """Seconds since 2000, a moment or a period's end."""
    seconds = getattr(data, "value", data)
    return utc(seconds + ZIGBEE_EPOCH_AT) if isinstance(seconds, int) else plain(data)


def zigbee_activation(data: object) -> str:
    """Seconds since 2000 as a time of activation: zero and the two highest values mean something else."""
    if data == 0:
        return "at once"
    return "never (cancelled)" if data in (0xFFFF_FFFE, 0xFFFF_FFFF) else zigbee_time(data)


def zigbee_date(data: object) -> str:
    """Four octets: year less 1900, month, day, day of the week."""
    if not isinstance(data, bytes) or len(data) != 4:
        return plain(data)
    year = "any year" if data[0] == 0xFF else str(1900 + data[0])
    shown = "-".join([year, *("any" if part == 0xFF else f"{part:02}" for part in data[1:3])])
    return shown + ("" if data[3] == 0xFF else f", day {data[3]} of the week")


def generalized_time(data: object) -> str:
    """``YYYYMMDDHHMMSSZ`` as a time of activation."""
    if data is None:
        return "at once"
    if data == "99991231235959Z":
        return "never (cancelled)"
    at = generalized_moment(data) if isinstance(data, str) else None
    return plain(data) if at is None else utc(at)


def choice(names: dict[int, str]) -> Show:
    """A number that stands for something: both are shown."""

    def show(data: object) -> str:
        number = getattr(data, "value", data)
        name = names.get(number) if isinstance(number, int) else None
        return plain(data) if name is None else f"{name} ({number})"

    return show


def moment(data: object) -> str:
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


def date(data: object) -> str:
    """A COSEM date of five octets."""
    if not isinstance(data, OctetString) or len(data.value) != 5:
        return plain(data)
    day = data.value[4]
    return _date(data.value) + ("" if day == 0xFF else f", day {day} of the week")


def time(data: object) -> str:
    """A COSEM time of four octets."""
    if not isinstance(data, OctetString) or len(data.value) != 4:
        return plain(data)
    hour, minute, second, hundredths = data.value
    return f"{hour:02}:{minute:02}:{second:02}" + (f".{hundredths:02}" if hundredths else "")


def obis(data: object) -> str:
    """Six octets that name a COSEM object."""
    if not isinstance(data, OctetString) or len(data.value) != 6:
        return plain(data)
    a, b, c, d, e, f = data.value
    return f"{a}-{b}:{c}.{d}.{e}.{f}"


DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def weekdays(data: object) -> str:
    """Seven bits, Monday first."""
    if not isinstance(data, BitString) or data.bit_count != len(DAYS):
        return plain(data)
    return ", ".join(day for day, bit in zip(DAYS, data.bits, strict=True) if bit == "1") or "no day"


def numbers(data: object) -> str:
    """Bits that stand for the first, second, third ... of a list."""
    if not isinstance(data, BitString):
        return plain(data)
    listed = ", ".join(str(at) for at, bit in enumerate(data.bits, 1) if bit == "1") or "none"
    return f"{listed} of {data.bit_count}"


@dataclass(frozen=True, slots=True)
class Term:
    """What a value is called; ``parts`` for a structure, ``each`` for the elements of an array.

    The parts of a term without a name go by their own names alone. An array with as many elements as ``parts`` is
    named by them, any other by ``each``.
    """

    name: str
    show: Show = plain
    parts: tuple[Term, ...] = ()
    each: Term | None = None


Found: TypeAlias = tuple[str, str, str]
"""What differs, what was asked, what was found."""


def _name(part: Term, whole: str) -> str:
    return f"{part.name} of {whole}" if part.name and whole else part.name


def compare(asked: object, found: object, term: Term, name: str | None = None) -> Iterator[Found]:
    """Every smallest difference between two values, by the name a supplier knows it under."""
    name = term.name if name is None else name
    if asked == found:
        return
    left, right = parts_of(asked), parts_of(found)
    if left is not None and right is not None and type(asked) is type(found):
        if term.parts and len(term.parts) == len(left) == len(right):
            for part, one, other in zip(term.parts, left, right, strict=True):
                yield from compare(one, other, part, _name(part, name))
            return
        if term.each is not None and not isinstance(asked, Structure):
            yield from _compare_elements(left, right, term.each)
            return
    left_shown, right_shown = term.show(asked), term.show(found)
    if left_shown == right_shown or type(asked) is not type(found):
        # Different values may look alike (the octet of a boolean, padding, another type): show what is behind them.
        left_shown, right_shown = f"{left_shown} [{asked!r}]", f"{right_shown} [{found!r}]"
    yield name, left_shown, right_shown


def _compare_elements(asked: tuple[object, ...], found: tuple[object, ...], each: Term) -> Iterator[Found]:
    common = min(len(asked), len(found))
    for at in range(common):
        yield from compare(asked[at], found[at], each, f"{each.name} {at + 1}")
    for at, element in enumerate(asked[common:], common + 1):
        yield f"{each.name} {at}", each.show(element), NONE
    for at, element in enumerate(found[common:], common + 1):
        yield f"{each.name} {at}", NONE, each.show(element)


def leaves(data: object, term: Term, name: str | None = None) -> Iterator[tuple[tuple[int, ...], str, str]]:
    """Every named value inside a value: its path, its name, and how it is shown."""
    name = term.name if name is None else name
    parts = parts_of(data)
    if parts and len(term.parts) == len(parts):
        for at, (part, element) in enumerate(zip(term.parts, parts, strict=True)):
            for path, inner, shown in leaves(element, part, _name(part, name)):
                yield (at, *path), inner, shown
    elif parts is not None and term.each is not None and not isinstance(data, Structure):
        for at, element in enumerate(parts):
            for path, inner, shown in leaves(element, term.each, f"{term.each.name} {at + 1}"):
                yield (at, *path), inner, shown
    else:
        yield (), name, term.show(data)
