"""What a value may be, said beside the field it belongs to, and checked when a record is made.

A field is annotated with a rule (``amount: Int32``), which a type checker reads as the plain type. ``Checked`` records
check every field once, at construction; what does not fit is a ``GbcsValueError`` that says what is allowed. The same
rules tell a test which values to try.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

from lastmetre.gbcs.errors import GbcsValueError

Check: TypeAlias = Callable[[Any, str], None]

ZIGBEE_EPOCH_AT: Final = 946_684_800
LAST_MOMENT_AT: Final = 253_402_300_799
"""9999-12-31T23:59:59Z, the last moment a date-time can hold."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between two bounds; ``also`` are single numbers outside them with a meaning of their own."""

    low: int
    high: int
    also: frozenset[int] = frozenset()

    def check(self, value: int, where: str) -> None:
        """Raise ``GbcsValueError`` unless ``value`` is allowed."""
        if not (self.low <= value <= self.high or value in self.also):
            others = "".join(f", or {each}" for each in sorted(self.also))
            raise GbcsValueError(f"{where} is {value}; it is a whole number from {self.low} to {self.high}{others}")


@dataclass(frozen=True, slots=True)
class Size:
    """How many octets there are, or characters of printable ASCII, or rows."""

    low: int
    high: int
    also: frozenset[int] = frozenset()

    def check(self, value: bytes | str | tuple[Any, ...], where: str) -> None:
        """Raise ``GbcsValueError`` unless ``value`` has an allowed length, and text is printable."""
        if not (self.low <= len(value) <= self.high or len(value) in self.also):
            units = {bytes: "octets", str: "characters"}.get(type(value), "entries")
            allowed = str(self.low) if self.low == self.high else f"{self.low} to {self.high}"
            allowed += "".join(f" or {each}" for each in sorted(self.also))
            raise GbcsValueError(f"{where} has {len(value)} {units}; it must have {allowed}")
        if isinstance(value, str) and not all(" " <= character <= "~" for character in value):
            raise GbcsValueError(f"{where} must be printable ASCII characters")


@dataclass(frozen=True, slots=True)
class Digits:
    """Text of so many decimal digits."""

    count: int

    def check(self, value: str, where: str) -> None:
        """Raise ``GbcsValueError`` unless ``value`` is made of that many digits."""
        if len(value) != self.count or not (value.isascii() and value.isdigit()):
            raise GbcsValueError(f"{where} must be {self.count} digits")


Int8: TypeAlias = Annotated[int, Whole(-(1 << 7), (1 << 7) - 1)]
Int16: TypeAlias = Annotated[int, Whole(-(1 << 15), (1 << 15) - 1)]
Int32: TypeAlias = Annotated[int, Whole(-(1 << 31), (1 << 31) - 1)]
UInt8: TypeAlias = Annotated[int, Whole(0, 0xFF)]
UInt16: TypeAlias = Annotated[int, Whole(0, 0xFFFF)]
UInt32: TypeAlias = Annotated[int, Whole(0, 0xFFFF_FFFF)]
UInt48: TypeAlias = Annotated[int, Whole(0, (1 << 48) - 1)]
Counter: TypeAlias = Annotated[int, Whole(0, (1 << 63) - 1)]
"""A counter as ASN.1 carries it: a signed number of 64 bits that is not negative."""
EntityId: TypeAlias = Annotated[bytes, Size(8, 8)]
Moment: TypeAlias = Annotated[int, Whole(0, LAST_MOMENT_AT)]
"""Unix seconds, UTC."""
ZigbeeMoment: TypeAlias = Annotated[int, Whole(ZIGBEE_EPOCH_AT, ZIGBEE_EPOCH_AT + 0xFFFF_FFFD)]
"""Unix seconds that seconds since 2000 can say in 32 bits: 2000 to 2136."""


def _of_type(kind: type) -> Check:
    def check(value: Any, where: str) -> None:
        # A bool is an int to Python, and an enumeration's number is one too; the standard keeps them apart.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise GbcsValueError(f"{where} is {value!r:.60}; it must be {_a(kind)}")

    return check


def _a(kind: type) -> str:
    if issubclass(kind, Enum):
        return f"one of {', '.join(each.name for each in kind)} of {kind.__name__}"
    words = {int: "a whole number", bytes: "octets", str: "text", bool: "True or False", NoneType: "None"}
    return words.get(kind, f"a {kind.__name__}")


def _annotated(hint: Any) -> Check:
    base, *rules = get_args(hint)
    first = _check_of(base)

    def check(value: Any, where: str) -> None:
        first(value, where)
        for rule in rules:
            rule.check(value, where)

    return check


def _optional(hint: Any) -> Check:
    (inner,) = (_check_of(each) for each in get_args(hint) if each is not NoneType)

    def check(value: Any, where: str) -> None:
        if value is not None:
            inner(value, where)

    return check


def _rows(hint: Any) -> Check:
    kinds = get_args(hint)
    each = _check_of(kinds[0])
    size = None if kinds[-1] is Ellipsis else len(kinds)

    def check(value: Any, where: str) -> None:
        if not isinstance(value, tuple) or (size is not None and len(value) != size):
            raise GbcsValueError(f"{where} must be a tuple" + ("" if size is None else f" of {size}"))
        for at, part in enumerate(value):
            each(part, f"{where}[{at}]")

    return check


def _check_of(hint: Any) -> Check:
    origin = get_origin(hint)
    if origin is Annotated:
        return _annotated(hint)
    if origin in {Union, UnionType}:
        return _optional(hint)
    if origin is tuple:
        return _rows(hint)
    return _of_type(hint)


@cache
def hints_of(record: type) -> dict[str, Any]:
    """The fields of a record with their annotations, rules included."""
    hints = get_type_hints(record, include_extras=True)
    return {field.name: hints[field.name] for field in fields(record)}


@cache
def _checks(record: type) -> tuple[tuple[str, Check], ...]:
    return tuple((name, _check_of(hint)) for name, hint in hints_of(record).items())


class Checked:
    """A record whose fields are checked when it is made. Rules between fields go into ``_agree``."""

    __slots__ = ()

    def __post_init__(self) -> None:
        record: type = type(self)
        name = record.__name__
        for field, check in _checks(record):
            check(getattr(self, field), f"{name}.{field}")
        self._agree()

    def _agree(self) -> None:
        """Raise ``GbcsValueError`` when fields that are allowed each by itself contradict one another."""
