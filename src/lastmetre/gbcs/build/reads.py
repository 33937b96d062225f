"""Reads of an ESME or a hub (transform B3, B11): what to read is data in ``reads.toml``; four forms of asking are code.

Plain attributes; log entries of a period by selective access; and objects behind a data protection object, whose
Response comes back encrypted for the asker (transform A5), of a period or not. The use case decides what is read: it
is named when a payload is made (``command``, or ``payload(..., message_code=...)``).
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from lastmetre.gbcs.axdr import Array, Data, DoubleLongUnsigned, Enum, Integer, LongUnsigned, NullData, OctetString
from lastmetre.gbcs.axdr import Structure as Struct
from lastmetre.gbcs.build.checks import LAST_MOMENT_AT, Moment, Whole
from lastmetre.gbcs.build.frame import Found, Frame
from lastmetre.gbcs.build.shapes import DlmsCommand, Items
from lastmetre.gbcs.build.times import moment_of
from lastmetre.gbcs.datetimes import ZIGBEE_EPOCH_AT, date_time_from_unix
from lastmetre.gbcs.dlms import Action, Get, GetWithSelection, Obis
from lastmetre.gbcs.errors import GbcsValueError

RANGE_SELECTOR: Final = 1
"""Access selector of a profile: entries between two values of its clock column."""
NO_END: Final = 0xFFFF_FFFE
"""End of a log period that lies further ahead than 32 bits reach (seen for 3000-12-31)."""

LogMoment: TypeAlias = Annotated[int, Whole(ZIGBEE_EPOCH_AT, LAST_MOMENT_AT)]


@dataclass(frozen=True, slots=True)
class Target:
    """One object of a read list and the attributes to read of it."""

    class_id: int
    obis: Obis
    attributes: tuple[int, ...]
    kind: str
    """Empty, or the word in front: log, range, protected."""


def _parse_target(text: str) -> Target:
    kind, _, rest = text.rpartition(" ")
    place, *attributes = rest.split("#")
    class_id, _, obis = place.partition("/")
    return Target(int(class_id), Obis.parse(obis), tuple(map(int, attributes)), kind)


@cache
def read_lists() -> dict[int, tuple[Target, ...]]:
    """What each read asks for, by message code."""
    table = tomllib.loads(files(__package__).joinpath("reads.toml").read_text(encoding="utf-8"))
    return {row["code"]: tuple(map(_parse_target, row["items"])) for row in table["reads"].values()}


def _codes(*, protected: bool, period: bool) -> tuple[int, ...]:
    return tuple(
        code
        for code, targets in read_lists().items()
        if (targets[0].kind == "protected") is protected
        and any(target.kind in {"log", "range"} for target in targets) is period
    )


# --- plain attributes and logs

_CLOCK_COLUMN: Final = Struct(
    (LongUnsigned(1), OctetString(Obis.parse("0-0:94.44.100.255").raw), Integer(2), LongUnsigned(0))
)


def log_seconds(at: int) -> int:
    """A time in seconds since 2000, cut to what 32 bits hold."""
    return min(at - ZIGBEE_EPOCH_AT, NO_END)


def _by_period(values: Any) -> Struct:
    """Selective access: the clock column, from, to, all columns."""
    start, end = (DoubleLongUnsigned(log_seconds(at)) for at in (values.start_at, values.end_at))
    return Struct((_CLOCK_COLUMN, start, end, Array(())))


def _plain_items(values: Any, targets: tuple[Target, ...]) -> Items:
    items: list[tuple[Any, Data]] = []
    for target in targets:
        for attribute in target.attributes:
            if target.kind == "log":
                period = _by_period(values)
                items.append(
                    (GetWithSelection(target.class_id, target.obis, attribute, RANGE_SELECTOR, period), NullData())
                )
            else:
                items.append((Get(target.class_id, target.obis, attribute), NullData()))
    return tuple(items)


def _read_period(start: int, end: int, found: Found) -> None:
    found.put("start_at", start)
    found.put("end_at", end)


class _PlainRead(DlmsCommand):
    """Get the attributes of a list."""

    __slots__ = ()

    def items(self, frame: Frame) -> Items:
        """Every attribute in order."""
        return _plain_items(self, read_lists()[frame.message_code])

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """The period of any log."""
        for spec, _ in items:
            if isinstance(spec, GetWithSelection):
                parameter: Any = spec.parameter
                _, start, end, _ = parameter.elements
                _read_period(start.value + ZIGBEE_EPOCH_AT, end.value + ZIGBEE_EPOCH_AT, found)


@dataclass(frozen=True, slots=True)
class ReadAttributes(_PlainRead):
    """A read of fixed attributes: registers, settings, identities. It has no values: the use case says it all."""

    CODES: ClassVar = _codes(protected=False, period=False)


def _check_period(values: Any) -> None:
    if values.end_at < values.start_at:
        raise GbcsValueError(f"{type(values).__name__}.end_at must not lie before start_at")


@dataclass(frozen=True, slots=True)
class ReadLog(_PlainRead):
    """A read of the log entries of a period; an end beyond the year 2136 is written as the last moment there is."""

    CODES: ClassVar = _codes(protected=False, period=True)

    start_at: LogMoment
    end_at: LogMoment

    def _agree(self) -> None:
        _check_period(self)


# --- protected reads


def _protected_object(values: Any, target: Target) -> Struct:
    restriction: tuple[Data, Data] = (Enum(0), NullData())
    if target.kind == "range":
        times = (values.start_at, values.end_at)
        restriction = (Enum(1), Struct(tuple(OctetString(date_time_from_unix(at)) for at in times)))
    (attribute,) = target.attributes
    name = OctetString(target.obis.raw)
    return Struct((LongUnsigned(target.class_id), name, Integer(attribute), LongUnsigned(0), Struct(restriction)))


def protection(originator_counter: int, originator_id: bytes, recipient_id: bytes) -> Struct:
    """Authenticated and encrypted, with key agreement as the means: transaction, originator, recipient."""
    transaction = b"\x04" + originator_counter.to_bytes(8, "big")
    means = Struct((Enum(2), Struct((OctetString(b"\x02"), OctetString(b"")))))
    ends = (OctetString(originator_id), OctetString(recipient_id), OctetString(b""))
    return Struct((Enum(2), Struct((OctetString(transaction), *ends, means))))


class _ProtectedRead(DlmsCommand):
    """Ask a data protection object for others, encrypted for the asker (``requester_id``)."""

    __slots__ = ()

    def items(self, frame: Frame) -> Items:
        """One action."""
        protector, *objects = read_lists()[frame.message_code]
        asked = Array(tuple(_protected_object(self, target) for target in objects))
        parties = protection(frame.originator_counter, frame.requester_id, frame.target_id)
        return ((Action(protector.class_id, protector.obis, 1), Struct((asked, Array((parties,))))),)

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """The parties, and the period of any log."""
        ((_, data),) = items
        value: Any = data
        objects, parameters = value.elements
        transaction, requester, target, _, _ = parameters.elements[0].elements[1].elements
        found.around["originator_counter"] = int.from_bytes(transaction.value[1:], "big")
        found.put_around("requester_id", requester.value)
        found.put_around("target_id", target.value)
        for each in objects.elements:
            kind, period = each.elements[4].elements
            if kind == Enum(1):
                start, end = (moment_of(at.value) for at in period.elements)
                _read_period(start, end, found)


@dataclass(frozen=True, slots=True)
class ReadProtected(_ProtectedRead):
    """A read of registers whose answer is encrypted."""

    CODES: ClassVar = _codes(protected=True, period=False)


@dataclass(frozen=True, slots=True)
class ReadProtectedLog(_ProtectedRead):
    """A read of the log entries of a period, encrypted."""

    CODES: ClassVar = _codes(protected=True, period=True)

    start_at: Moment
    end_at: Moment

    def _agree(self) -> None:
        _check_period(self)


COMMANDS: Final = (ReadAttributes, ReadLog, ReadProtected, ReadProtectedLog)
