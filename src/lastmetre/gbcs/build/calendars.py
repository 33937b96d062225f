"""Special days and schedules of an ESME (transform B1, B10): the same shape for supply, loads and maximum demand."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

from lastmetre.gbcs.axdr import Array, Boolean, Data, LongUnsigned, OctetString, Structure, Unsigned
from lastmetre.gbcs.build.checks import Checked, Size, UInt16, Whole
from lastmetre.gbcs.build.frame import Found, Frame
from lastmetre.gbcs.build.shapes import Field, rows
from lastmetre.gbcs.build.times import ANY_DATE, Date, TimeOfDay, bits, set_bits
from lastmetre.gbcs.dlms import Obis
from lastmetre.gbcs.errors import GbcsValueError

DAYS_OF_WEEK: Final = 7
SPECIAL_DAYS_MAX: Final = 20
NO_MODIFIER: Final = 0xFFFF
"""Validity window of a schedule entry: always open."""
NON_DISABLEMENT_START: Final = 32
NON_DISABLEMENT_STOP: Final = 33
"""Scripts of the disconnect script table: from here on the supply is not disabled, from here on it may be."""

SpecialDayNumber: TypeAlias = Annotated[int, Whole(1, SPECIAL_DAYS_MAX)]


@dataclass(frozen=True, slots=True)
class SpecialDay(Checked):
    """A special day of a schedule, which is its own day identifier."""

    number: SpecialDayNumber
    date: Date

    def to_data(self) -> Data:
        """Its row in a special days table."""
        return Structure((LongUnsigned(self.number), self.date.dlms, Unsigned(self.number)))

    @classmethod
    def from_data(cls, data: Any) -> "SpecialDay":
        """From its row."""
        return cls(data.elements[0].value, Date.from_dlms(data.elements[1].value))


SpecialDays: TypeAlias = Annotated[tuple[SpecialDay, ...], Size(0, SPECIAL_DAYS_MAX)]


def special_days(name: str = "special_days") -> Field:
    """A table of special days."""
    return rows(name, SpecialDay.to_data, SpecialDay.from_data)


@dataclass(frozen=True, slots=True)
class ScheduleEntry(Checked):
    """Run a script at a time of day: on days of the week (Monday is 1), on special days by number, between dates."""

    script: UInt16
    at: TimeOfDay
    days_of_week: tuple[Annotated[int, Whole(1, DAYS_OF_WEEK)], ...] = (1, 2, 3, 4, 5, 6, 7)
    special_days: tuple[SpecialDayNumber, ...] = ()
    start: Date = ANY_DATE
    end: Date = ANY_DATE

    def _agree(self) -> None:
        for numbers in (self.days_of_week, self.special_days):
            if list(numbers) != sorted(set(numbers)):
                raise GbcsValueError("a schedule entry names each of its days once, in order")

    def to_data(self, number: int, table: Obis, special_day_count: int) -> Structure:
        """Its row in a schedule, where it is the ``number``-th."""
        if self.special_days and self.special_days[-1] > special_day_count:
            last = self.special_days[-1]
            raise GbcsValueError(
                f"schedule entry {number} names special day {last}; only {special_day_count} are defined"
            )
        return Structure(
            (
                LongUnsigned(number),
                Boolean(value=True),
                OctetString(table.raw),
                LongUnsigned(self.script),
                self.at.dlms,
                LongUnsigned(NO_MODIFIER),
                bits([day in self.days_of_week for day in range(1, DAYS_OF_WEEK + 1)]),
                bits([day in self.special_days for day in range(1, special_day_count + 1)]),
                self.start.dlms,
                self.end.dlms,
            )
        )

    @classmethod
    def from_data(cls, data: Any) -> "ScheduleEntry":
        """From its row."""
        _, _, _, script, at, _, weekly, special, start, end = data.elements
        return cls(
            script.value,
            TimeOfDay.from_dlms(at.value),
            set_bits(weekly),
            set_bits(special),
            Date.from_dlms(start.value),
            Date.from_dlms(end.value),
        )


Schedule: TypeAlias = Annotated[tuple[ScheduleEntry, ...], Size(0, 255)]


@dataclass(frozen=True, slots=True)
class ScheduleTable:
    """The shape of a schedule; its entries refer to the special days of the same record."""

    name: str
    scripts: str
    days: str = "special_days"

    def write(self, values: Any, frame: Frame) -> Data:
        """Each entry with its number."""
        del frame
        table, count = Obis.parse(self.scripts), len(getattr(values, self.days))
        entries = enumerate(getattr(values, self.name), 1)
        return Array(tuple(entry.to_data(number, table, count) for number, entry in entries))

    def read(self, data: Any, found: Found) -> None:
        """Each entry."""
        found.put(self.name, tuple(ScheduleEntry.from_data(entry) for entry in data.elements))


def check_schedule(entries: tuple[ScheduleEntry, ...], days: tuple[SpecialDay, ...]) -> None:
    """No entry names a special day that is not defined."""
    for number, entry in enumerate(entries, 1):
        entry.to_data(number, Obis(bytes(6)), len(days))
