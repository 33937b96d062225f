"""Special days and schedules on an ESME (transform B1, B10): the same shape for supply, loads and maximum demand."""

from __future__ import annotations

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
from lastmetre.duis.use_cases.values import child, wildcard_date, words
from lastmetre.gbcs.build.calendars import SPECIAL_DAYS_MAX as SPECIAL_DAYS_MAX  # noqa: PLC0414 - offered here

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element
    from lastmetre.gbcs.build.times import Date


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


def days_of_week(schedule: Element) -> tuple[int, ...]:
    """The days an entry applies on, Monday is 1. Where the request says nothing, on none [I]."""
    listed = schedule.find("DaysOfWeekApplicability")
    days = {words(day, "DayOfWeekID") for day in listed.children} if listed else set()
    if not days <= set(DAYS):
        raise TransformError(f"{schedule.name} names a day of the week that there is not")
    return tuple(number for number, day in enumerate(DAYS, 1) if day in days)


def wildcard_dates(element: Element) -> tuple[Date, Date]:
    """Start and end of an entry, whose parts may be left open."""
    return wildcard_date(child(element, "StartDate")), wildcard_date(child(element, "EndDate"))
