"""Calendars of a gas meter: which tier, or whether supply may be cut, at a moment.

A calendar is a PublishCalendar and the day profiles, week profiles, seasons and special days that came with it. A
special day goes before the week; the season in force is the one that began last; an entry of a day profile holds from
its minute until the next. Dates may leave out the year (FF). Times are UTC (DESIGN CHOICE: the reference's calendars
all say time reference 0).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lastmetre.gbcs.zcl import ZclCommand

TARIFF: Final = "tariff"
NON_DISABLEMENT: Final = "non-disablement"
KIND_OF_TYPE: Final = {0: TARIFF, 3: NON_DISABLEMENT}
"""Calendar types in use (gbcs-messages, GCS01a and GCS05)."""
KIND_OF_ASKED: Final = {0xFFFFFFFF: TARIFF, 0xFFFFFFFE: NON_DISABLEMENT}
"""How GCS21f and GCS21b ask for the calendar in force."""
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ANY: Final = 0xFF


def rows(command: ZclCommand, field: str) -> list[dict[str, int | bytes | None]]:
    """The rows of a command's field, each as a dictionary."""
    value = command[field]
    return [dict(row) for row in value] if isinstance(value, tuple) else []


def named(commands: Iterable[ZclCommand], name: str) -> list[ZclCommand]:
    """The commands of one name."""
    return [command for command in commands if command.name == name]


def profile_value(calendar: tuple[ZclCommand, ...], at: int) -> int | None:
    """The tier, or the flag, that a calendar has in force; ``None`` without one."""
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    day_id = _special_day(calendar, moment.date())
    if day_id is None:
        day_id = _ordinary_day(calendar, moment.date())
    minute = moment.hour * 60 + moment.minute
    value = None
    for day in named(calendar, "PublishDayProfile"):
        if day["day_id"] != day_id:
            continue
        for entry in rows(day, "entries"):
            start, flag = entry["minute_of_day"], entry["tier_or_flag"]
            if isinstance(start, int) and isinstance(flag, int) and start <= minute:
                value = flag
    return value


def _matches(date: bytes, day: dt.date) -> bool:
    year, month, number, weekday = date
    return (
        year in {_ANY, day.year - 1900}
        and month in {_ANY, day.month}
        and number in {_ANY, day.day}
        and weekday in {_ANY, day.isoweekday()}
    )


def _special_day(calendar: tuple[ZclCommand, ...], day: dt.date) -> int | None:
    for special in named(calendar, "PublishSpecialDays"):
        for row in rows(special, "days"):
            date, day_id = row["date"], row["day_id"]
            if isinstance(date, bytes) and isinstance(day_id, int) and _matches(date, day):
                return day_id
    return None


def _ordinary_day(calendar: tuple[ZclCommand, ...], day: dt.date) -> int | None:
    week_id = _week(calendar, day)
    for week in named(calendar, "PublishWeekProfile"):
        if week["week_id"] == week_id:
            found = week[_WEEKDAYS[day.weekday()]]
            return found if isinstance(found, int) else None
    return None


def _week(calendar: tuple[ZclCommand, ...], day: dt.date) -> int | None:
    """The week of the season that began last. A season without a year comes every year."""
    best: tuple[tuple[int, int, int], int] | None = None
    for seasons in named(calendar, "PublishSeasons"):
        for row in rows(seasons, "seasons"):
            date, week_id = row["start"], row["week_id"]
            if not isinstance(date, bytes) or not isinstance(week_id, int):
                continue
            for year in (day.year, day.year - 1) if date[0] == _ANY else (1900 + date[0],):
                start = (year, date[1], date[2])
                if start <= (day.year, day.month, day.day) and (best is None or start > best[0]):
                    best = (start, week_id)
    return best[1] if best else None
