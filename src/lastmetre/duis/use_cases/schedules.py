"""Special days and schedules on an ESME (transform B1, B10): the same shape for supply, loads and maximum demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.terms import (
    DAYS,
    Show,
    Term,
    date,
    numbers,
    obis,
    plain,
    time,
    weekdays,
)
from lastmetre.duis.use_cases.values import bits, child, wildcard_date, words
from lastmetre.gbcs.axdr import Array, BitString, Boolean, LongUnsigned, OctetString, Structure, Unsigned
from lastmetre.gbcs.dlms import Obis

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lastmetre.duis.xml import Element

SPECIAL_DAYS_MAX: Final = 20
NO_MODIFIER: Final = 0xFFFF
"""Validity window of a schedule entry: always open."""

SPECIAL_DAYS: Final = Term(
    "special days",
    each=Term("special day", parts=(Term("number"), Term("date", date), Term("day identifier"))),
)


def schedule_term(name: str, script: Show = plain) -> Term:
    """The names of what a schedule holds."""
    each = f"{name} entry"
    parts = (
        Term("number"),
        Term("enabled flag"),
        Term("script table", obis),
        Term("script", script),
        Term("switch time", time),
        Term("validity window"),
        Term("days of the week", weekdays),
        Term("special days", numbers),
        Term("start date", date),
        Term("end date", date),
    )
    return Term(name, each=Term(each, parts=parts))


def special_days(days: Iterable[tuple[int, Element]]) -> Array:
    """A table of special days, each of which is its own day identifier."""
    return Array(tuple(Structure((LongUnsigned(number), wildcard_date(day), Unsigned(number))) for number, day in days))


@dataclass(frozen=True, slots=True)
class Script:
    """What a schedule entry runs."""

    table: str
    number: int


def schedule_entry(
    number: int,
    script: Script,
    at: OctetString,
    weekly: BitString,
    special: BitString,
    start: OctetString,
    end: OctetString,
) -> Structure:
    """One entry of a schedule table."""
    return Structure(
        (
            LongUnsigned(number),
            Boolean(value=True),
            OctetString(Obis.parse(script.table).raw),
            LongUnsigned(script.number),
            at,
            LongUnsigned(NO_MODIFIER),
            weekly,
            special,
            start,
            end,
        )
    )


def days_of_week(schedule: Element) -> BitString:
    """The days an entry applies on, Monday first. Where the request says nothing, on none [I]."""
    listed = schedule.find("DaysOfWeekApplicability")
    days = {words(day, "DayOfWeekID") for day in listed.children} if listed else set()
    if not days <= set(DAYS):
        raise TransformError(f"{schedule.name} names a day of the week that there is not")
    return bits([day in days for day in DAYS])


def applicable_days(number: int, listed: set[int], count: int) -> BitString:
    """The special days an entry applies on, a bit for each that is defined."""
    if listed and max(listed) > count:
        raise TransformError(f"schedule entry {number} names special day {max(listed)}; only {count} are defined")
    return bits([day in listed for day in range(1, count + 1)])


def wildcard_dates(element: Element) -> tuple[OctetString, OctetString]:
    """Start and end of an entry, whose parts may be left open."""
    return wildcard_date(child(element, "StartDate")), wildcard_date(child(element, "EndDate"))
