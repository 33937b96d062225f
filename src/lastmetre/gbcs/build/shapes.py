"""Layouts of DLMS Commands: lines of what to set, invoke or get, each with the shape of its value.

A ``Shape`` goes both ways: it writes a value's ``Data`` from a record's fields, and reads the fields from ``Data``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias

from lastmetre.gbcs.axdr import (
    Array,
    Boolean,
    Data,
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
    VisibleString,
)
from lastmetre.gbcs.build.frame import Command, Found, Frame
from lastmetre.gbcs.build.times import moment_of, when_of_dlms
from lastmetre.gbcs.datetimes import date_time_from_unix
from lastmetre.gbcs.dlms import AccessRequest, Action, Get, Obis, Set, Spec
from lastmetre.gbcs.errors import GbcsValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lastmetre.gbcs.payload import Payload

INVOKE_ID_MASK: Final = 0xFF_FFFF
"""A DLMS payload repeats the low 24 bits of the Originator Counter."""

Items: TypeAlias = tuple[tuple[Spec, Data], ...]


class Shape(Protocol):
    """How a value stands in ``Data``."""

    def write(self, values: Any, frame: Frame) -> Data:
        """The value, from the record's fields."""

    def read(self, data: Any, found: Found) -> None:
        """The record's fields, from the value."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is always the same."""

    data: Data

    def write(self, values: Any, frame: Frame) -> Data:
        """The constant."""
        del values, frame
        return self.data

    def read(self, data: Any, found: Found) -> None:
        """It tells nothing."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the record, put into ``Data`` and taken out of it by two functions."""

    name: str
    put: Callable[[Any], Data]
    take: Callable[[Any], Any]

    def write(self, values: Any, frame: Frame) -> Data:
        """The field's value as data."""
        del frame
        return self.put(getattr(values, self.name))

    def read(self, data: Any, found: Found) -> None:
        """The field's value from data."""
        found.put(self.name, self.take(data))


@dataclass(frozen=True, slots=True)
class ActivationTime:
    """The time at which the Command takes effect."""

    def write(self, values: Any, frame: Frame) -> Data:
        """Twelve octets."""
        del values
        return frame.activation.dlms

    def read(self, data: Any, found: Found) -> None:
        """The same in every place of a Command."""
        found.put_around("when", when_of_dlms(data.value))


WHEN: Final = ActivationTime()


@dataclass(frozen=True, slots=True)
class Parts:
    """A structure or an array of a fixed number of parts."""

    kind: type[Structure | Array]
    shapes: tuple[Shape, ...]

    def write(self, values: Any, frame: Frame) -> Data:
        """Each part in order."""
        return self.kind(tuple(shape.write(values, frame) for shape in self.shapes))

    def read(self, data: Any, found: Found) -> None:
        """Each part in order."""
        for shape, element in zip(self.shapes, data.elements, strict=True):
            shape.read(element, found)


def struct(*shapes: Shape) -> Parts:
    """A structure."""
    return Parts(Structure, shapes)


def array(*shapes: Shape) -> Parts:
    """An array whose length is always the same."""
    return Parts(Array, shapes)


def const(data: Data) -> Constant:
    """A value that is always the same."""
    return Constant(data)


def _value(data: Any) -> Any:
    return data.value


def whole(kind: Callable[[int], Data], name: str) -> Field:
    """A whole number of one of DLMS's sizes."""
    return Field(name, kind, _value)


def flag(name: str) -> Field:
    """True or false."""
    return Field(name, Boolean, _value)


def octets(name: str) -> Field:
    """Octets as they are."""
    return Field(name, OctetString, _value)


def text(name: str) -> Field:
    """Text in an octet-string."""
    return Field(name, lambda value: OctetString(value.encode()), lambda data: data.value.decode("ascii"))


def visible(name: str) -> Field:
    """Text in a visible-string."""
    return Field(name, lambda value: VisibleString(value.encode()), lambda data: data.value.decode("ascii"))


def moment(name: str) -> Field:
    """A moment in Unix seconds."""
    return Field(name, lambda at: OctetString(date_time_from_unix(at)), lambda data: moment_of(data.value))


def rows(name: str, put: Callable[[Any], Data], take: Callable[[Any], Any]) -> Field:
    """An array of rows of one kind."""
    return Field(
        name,
        lambda values: Array(tuple(put(value) for value in values)),
        lambda data: tuple(take(element) for element in data.elements),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a Command."""

    spec: Spec
    shape: Shape


NOTHING: Final = Constant(NullData())
ZERO: Final = Constant(Integer(0))


def _place(target: str) -> tuple[int, Obis]:
    class_id, _, code = target.partition("/")
    return int(class_id), Obis.parse(code)


def set_(target: str, attribute: int, shape: Shape) -> Line:
    """Write an attribute; ``target`` is class/OBIS."""
    return Line(Set(*_place(target), attribute), shape)


def act(target: str, method: int, shape: Shape = ZERO) -> Line:
    """Invoke a method; ``target`` is class/OBIS."""
    return Line(Action(*_place(target), method), shape)


def get(target: str, *attributes: int) -> tuple[Line, ...]:
    """Read attributes; ``target`` is class/OBIS."""
    return tuple(Line(Get(*_place(target), attribute), NOTHING) for attribute in attributes)


def write_lines(lines: Iterable[Line], values: Any, frame: Frame) -> Items:
    """The items that a layout makes of a record."""
    return tuple((line.spec, line.shape.write(values, frame)) for line in lines)


def read_lines(lines: Iterable[Line], items: Items, found: Found) -> None:
    """What a layout finds in items, which must be just these."""
    for line, (spec, data) in zip(lines, items, strict=True):
        if line.spec != spec:
            raise GbcsValueError(f"{spec} stands where {line.spec} should")
        line.shape.read(data, found)


class DlmsCommand(Command):
    """A Command for an ESME or a hub: a fixed list of lines, or whatever a record makes of ``items`` and ``find``."""

    __slots__ = ()
    LAYOUT: ClassVar[tuple[Line, ...]] = ()

    def items(self, frame: Frame) -> Items:
        """What to do, in order, each with its value."""
        return write_lines(self.LAYOUT, self, frame)

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """The fields, from the items."""
        read_lines(cls.LAYOUT, items, found)

    def _write(self, frame: Frame) -> Payload:
        items = self.items(frame)
        if not items:
            raise GbcsValueError(f"{type(self).__name__} asks for nothing that a Command could carry")
        return AccessRequest(frame.originator_counter & INVOKE_ID_MASK, items)

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        if not isinstance(payload, AccessRequest):
            raise GbcsValueError("not a DLMS Command")
        found.around.setdefault("originator_counter", payload.invoke_id)
        cls.find(payload.items, found)


__all__ = [
    "NOTHING", "WHEN", "ZERO", "Array", "Boolean", "DlmsCommand", "DoubleLong", "DoubleLongUnsigned", "Enum", "Field",
    "Integer", "Items", "Line", "Long", "LongUnsigned", "OctetString", "Structure", "Unsigned", "act", "array", "const",
    "flag", "get", "moment", "octets", "read_lines", "rows", "set_", "struct", "text", "visible", "whole",
    "write_lines",
]  # fmt: skip
