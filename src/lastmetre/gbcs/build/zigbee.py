"""Layouts of GBZ Commands: components, each a ZCL command with its fields.

What every published message has alike (transform A6) is filled in here, so that a layout says only what is its own:
provider 0, empty labels, tariff 1, and the time of issue as event, calendar and message identifier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from lastmetre.gbcs.build.frame import Command, Found, Frame
from lastmetre.gbcs.build.times import when_of_zigbee
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import Component, Gbz
from lastmetre.gbcs.zcl import (
    FRAME_CLUSTER_SPECIFIC,
    FRAME_FROM_SERVER,
    LAYOUTS_BY_NAME,
    ReadAttributes,
    ZclCommand,
    ZclValue,
    zcl_command,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lastmetre.gbcs.payload import Payload

ISSUER_TIMES: Final = frozenset({"issuer_event", "calendar", "id"})
"""Fields that carry the time of issue unless a layout gives them a value of its own."""

CONSTANTS: Final[Mapping[str, ZclValue]] = MappingProxyType(
    {
        "provider": 0,
        "originating_device": 0,
        "label": b"",
        "name": b"",
        "tariff_id": 1,
        "tariff_type": 0,
        "time_reference": 0,
        "start": 0,
        "time": 0,
        "implementation": 0,
        "control": 0,
    }
)
"""Values of fields that a layout does not mention (transform A6). A start or implementation time of zero is at once."""


@dataclass(frozen=True, slots=True)
class Own:
    """A field of the record, put into the ZCL field and taken out of it by two functions."""

    name: str
    put: Callable[[Any], Any] = lambda value: value
    take: Callable[[Any], Any] = lambda value: value

    def write(self, values: Any, frame: Frame) -> Any:
        """The ZCL field's value."""
        del frame
        return self.put(getattr(values, self.name))

    def read(self, value: Any, found: Found) -> None:
        """The record's field."""
        found.put(self.name, self.take(value))


@dataclass(frozen=True, slots=True)
class ActivationTime:
    """The time at which the Command takes effect; ``calendar`` chooses the other mark for cancelling."""

    calendar: bool = False

    def write(self, values: Any, frame: Frame) -> int:
        """Seconds since 2000; beyond what 32 bits hold it is refused."""
        del values
        seconds = frame.activation.zigbee_calendar if self.calendar else frame.activation.zigbee
        if not 0 <= seconds <= 0xFFFF_FFFF:
            raise GbcsValueError("a gas meter knows no time before 2000 or after 2136")
        return seconds

    def read(self, value: Any, found: Found) -> None:
        """The same in every place of a Command."""
        found.put_around("when", when_of_zigbee(value))


@dataclass(frozen=True, slots=True)
class IssueTime:
    """The time of issue."""

    def write(self, values: Any, frame: Frame) -> int:
        """Seconds since 2000."""
        del values
        return frame.issue_time

    def read(self, value: Any, found: Found) -> None:
        """The same in every place of a Command."""
        found.put_around("issued", value)


WHEN: Final = ActivationTime()
WHEN_CALENDAR: Final = ActivationTime(calendar=True)
ISSUED: Final = IssueTime()


def moment(name: str) -> Own:
    """A moment in Unix seconds, which 32 bits of seconds since 2000 must be able to say."""
    return Own(name, lambda at: at - 946_684_800, lambda seconds: seconds + 946_684_800)


def text(name: str) -> Own:
    """Text in a length and octets."""
    return Own(name, str.encode, lambda octets: octets.decode("ascii"))


def plain_rows(value: Any) -> tuple[tuple[Any, ...], ...]:
    """The values of rows, without the names of their fields."""
    return tuple(tuple(plain for _, plain in row) for row in value)


@dataclass(frozen=True, slots=True)
class Send:
    """One component: a ZCL command, its fields, and the From Date Time before it."""

    command: str
    fields: Mapping[str, Any]
    from_date_time: Any = None

    def write(self, values: Any, frame: Frame) -> Component:
        """The component; its sequence number is filled in later."""
        layout = LAYOUTS_BY_NAME[self.command]
        body = zcl_command(self.command, **{name: _write(value, values, frame) for name, value in self._all()})
        control = FRAME_CLUSTER_SPECIFIC | (FRAME_FROM_SERVER if layout.from_server else 0)
        before = None if self.from_date_time is None else _write(self.from_date_time, values, frame)
        return Component(layout.cluster, control, 0, body, before)

    def read(self, component: Component, found: Found) -> None:
        """What the component's fields tell."""
        body = component.body
        if not isinstance(body, ZclCommand) or body.name != self.command:
            raise GbcsValueError(f"this component is no {self.command}")
        for name, value in self._all():
            _read(value, body[name], found)
        if self.from_date_time is not None:
            _read(self.from_date_time, component.from_date_time, found)

    def _all(self) -> Iterable[tuple[str, Any]]:
        for field in LAYOUTS_BY_NAME[self.command].fields:
            if field.name in self.fields:
                yield field.name, self.fields[field.name]
            elif field.name in ISSUER_TIMES:
                yield field.name, ISSUED
            elif not field.optional:
                yield field.name, CONSTANTS[field.name]


@dataclass(frozen=True, slots=True)
class Read:
    """One component that asks for attributes of a cluster."""

    cluster: int
    attribute_ids: tuple[int, ...]

    def write(self, values: Any, frame: Frame) -> Component:
        """The component; its sequence number is filled in later."""
        del values, frame
        return Component(self.cluster, 0, 0, ReadAttributes(self.attribute_ids))

    def read(self, component: Component, found: Found) -> None:
        """It tells nothing."""


_MARKS: Final = (Own, ActivationTime, IssueTime)


def _write(value: Any, values: Any, frame: Frame) -> Any:
    return value.write(values, frame) if isinstance(value, _MARKS) else value


def _read(value: Any, there: Any, found: Found) -> None:
    if isinstance(value, _MARKS):
        value.read(there, found)


def send(command: str, /, *, from_date_time: Any = None, **fields: Any) -> Send:
    """A ZCL command by its name in ``zcl_commands``; a field is a constant, ``WHEN``, or a field of the record."""
    return Send(command, fields, from_date_time)


class GbzCommand(Command):
    """A Command for a gas meter or its proxy: a fixed list of components, or whatever a record makes of them."""

    __slots__ = ()
    LAYOUT: ClassVar[tuple[Send | Read, ...]] = ()

    def sends(self, message_code: int) -> tuple[Send | Read, ...]:
        """The components to send."""
        del message_code
        return self.LAYOUT

    def components(self, frame: Frame) -> tuple[Component, ...]:
        """The components, numbered from zero."""
        return tuple(
            replace(each.write(self, frame), sequence=at) for at, each in enumerate(self.sends(frame.message_code))
        )

    @classmethod
    def find(cls, components: tuple[Component, ...], found: Found) -> None:
        """The fields, from the components."""
        for each, component in zip(cls.LAYOUT, components, strict=True):
            each.read(component, found)

    def _write(self, frame: Frame) -> Payload:
        components = self.components(frame)
        if not components:
            raise GbcsValueError(f"{type(self).__name__} asks for nothing that a Command could carry")
        return Gbz(components)

    @classmethod
    def _read(cls, payload: Payload, found: Found) -> None:
        if not isinstance(payload, Gbz):
            raise GbcsValueError("not a GBZ Command")
        cls.find(payload.components, found)
