"""Dates and times as tables of the meter write them, with their wildcards: what counts at a moment, and when next.

All in UTC, as GBCS devices keep time. Wildcards of section 7.4: FF any, day FE the last, FD the last but one. The two
that stand for the change of daylight saving time match nothing: a meter that keeps UTC has none (DESIGN CHOICE).
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import Array, BitString, Boolean, LongUnsigned, OctetString, Structure, Unsigned
from lastmetre.gbcs.datetimes import ZIGBEE_EPOCH_AT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.gbcs.axdr import Data

DAY_S: Final = 86_400
HALF_HOUR_S: Final = 1_800
_ANY, _LAST, _LAST_BUT_ONE, _ANY_YEAR = 0xFF, 0xFE, 0xFD, 0xFFFF
_LOOK_BACK_DAYS: Final = 8
"""A calendar that switched nothing for so long has no say."""


def since_2000(at: int) -> int:
    """Seconds since 2000, as logs have them: within 32 bits, whatever the moment."""
    return max(0, min(at - ZIGBEE_EPOCH_AT, 0xFFFF_FFFF))


def day_of(at: int) -> date:
    """The day of a moment, in UTC."""
    return datetime.fromtimestamp(at, UTC).date()


def start_of(day: date) -> int:
    """The moment a day begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def seconds_of_day(time: bytes) -> int:
    """The seconds of four octets hour, minute, second, hundredths; wildcards count as zero (DESIGN CHOICE)."""
    hour, minute, second = (0 if part == _ANY else part for part in time[:3])
    return 3_600 * hour + 60 * minute + second


def matches(wanted: bytes, day: date) -> bool:
    """Whether a day is the date of five octets, or one of them."""
    year, month, day_number, weekday = int.from_bytes(wanted[:2], "big"), wanted[2], wanted[3], wanted[4]
    last = monthrange(day.year, day.month)[1]
    days = {_ANY: day.day, _LAST: last, _LAST_BUT_ONE: last - 1}
    return (
        year in {_ANY_YEAR, day.year}
        and month in {_ANY, day.month}
        and day.day == days.get(day_number, day_number)
        and weekday in {_ANY, day.isoweekday()}
    )


def moments(entries: Data | None, after: int, until: int) -> Iterator[int]:
    """The moments of a single action schedule in (after, until]: structures of time and date."""
    rows = [
        (row.elements[0].value, row.elements[1].value)
        for row in _structures(entries)
        if isinstance(row.elements[0], OctetString) and isinstance(row.elements[1], OctetString)
    ]
    day = day_of(after)
    while rows and start_of(day) <= until:
        for time, wanted in rows:
            at = start_of(day) + seconds_of_day(time)
            if after < at <= until and matches(wanted, day):
                yield at
        day += timedelta(days=1)


def special_day(table: Data | None, day: date) -> tuple[int, int] | None:
    """The place (from 1) and the day id of the first special day that a day is."""
    for place, row in enumerate(_structures(table), 1):
        _index, wanted, day_id = row.elements
        if isinstance(wanted, OctetString) and isinstance(day_id, Unsigned) and matches(wanted.value, day):
            return place, day_id.value
    return None


def script_at(seasons: Data | None, weeks: Data | None, days: Data | None, special: Data | None, at: int) -> int | None:
    """The script that a switching table has in force at a moment: the last one it switched to."""
    today = day_of(at)
    for back in range(_LOOK_BACK_DAYS):
        day = today - timedelta(days=back)
        found = None
        for seconds, script in _day_actions(seasons, weeks, days, special, day):
            if start_of(day) + seconds <= at:
                found = script
        if found is not None:
            return found
    return None


def _day_actions(
    seasons: Data | None, weeks: Data | None, days: Data | None, special: Data | None, day: date
) -> list[tuple[int, int]]:
    place = special_day(special, day)
    day_id = place[1] if place is not None else _day_id(seasons, weeks, day)
    actions = []
    for row in _structures(days):
        name, table = row.elements
        if isinstance(name, Unsigned) and name.value == day_id:
            for action in _structures(table):
                time, _object, script = action.elements
                if isinstance(time, OctetString) and isinstance(script, LongUnsigned):
                    actions.append((seconds_of_day(time.value), script.value))
    return sorted(actions)


def _day_id(seasons: Data | None, weeks: Data | None, day: date) -> int | None:
    week = _week_of(seasons, day)
    for row in _structures(weeks):
        name, *ids = row.elements
        if isinstance(name, OctetString) and name.value == week:
            found = ids[day.weekday()]
            return found.value if isinstance(found, Unsigned) else None
    return None


def _week_of(seasons: Data | None, day: date) -> bytes | None:
    """The week of the season that began last; before the first of all, that of the last one (DESIGN CHOICE)."""
    begun: list[tuple[date, bytes]] = []
    weeks: list[bytes] = []
    for row in _structures(seasons):
        _name, start, week = row.elements
        if not isinstance(start, OctetString) or not isinstance(week, OctetString):
            continue
        weeks.append(week.value)
        begun += [(began, week.value) for began in _starts(start.value, day) if began <= day]
    if begun:
        return max(begun, key=lambda season: season[0])[1]
    return weeks[-1] if weeks else None


def _starts(start: bytes, day: date) -> list[date]:
    year, month, day_number = int.from_bytes(start[:2], "big"), start[2], start[3]
    years = (day.year, day.year - 1) if year == _ANY_YEAR else (year,)
    found = []
    for each in years:
        try:
            found.append(date(each, 1 if month == _ANY else month, 1 if day_number == _ANY else day_number))
        except ValueError:
            continue
    return found


def scheduled_script(schedule: Data | None, special: Data | None, at: int) -> int | None:
    """The script that a schedule (class 10) ran last before a moment."""
    today = day_of(at)
    for back in range(_LOOK_BACK_DAYS):
        day = today - timedelta(days=back)
        place = special_day(special, day)
        ran = [
            (start_of(day) + seconds, script)
            for seconds, script in _entries_of(schedule, day, place[0] if place else None)
            if start_of(day) + seconds <= at
        ]
        if ran:
            return max(ran)[1]
    return None


def _entries_of(schedule: Data | None, day: date, special_place: int | None) -> Iterator[tuple[int, int]]:
    for row in _structures(schedule):
        _number, enabled, _object, script, time, _window, weekdays, specials, first, last = row.elements
        if not (
            isinstance(enabled, Boolean)
            and isinstance(script, LongUnsigned)
            and isinstance(time, OctetString)
            and isinstance(weekdays, BitString)
            and isinstance(specials, BitString)
            and isinstance(first, OctetString)
            and isinstance(last, OctetString)
        ):
            continue
        on_this_day = _bit(weekdays, day.weekday()) if special_place is None else _bit(specials, special_place - 1)
        if enabled.value and on_this_day and _within(first.value, last.value, day):
            yield seconds_of_day(time.value), script.value


def _bit(bits: BitString, place: int) -> bool:
    return place < bits.bit_count and bool(bits.value[place // 8] & (0x80 >> place % 8))


def _within(first: bytes, last: bytes, day: date) -> bool:
    """Whether a day is between two dates; with an open year, the span comes every year (DESIGN CHOICE)."""
    years = int.from_bytes(first[:2], "big"), int.from_bytes(last[:2], "big")
    low = tuple(0 if part == _ANY else part for part in first[2:4])
    high = tuple(99 if part == _ANY else part for part in last[2:4])
    here = (day.month, day.day)
    if _ANY_YEAR in years and years[0] not in {0, _ANY_YEAR}:
        return (years[0], *low) <= (day.year, *here)
    if _ANY_YEAR in years or years[0] == 0:
        return low <= here <= high if low <= high else here >= low or here <= high
    return (years[0], *low) <= (day.year, *here) <= (years[1], *high)


def _structures(value: Data | None) -> list[Structure]:
    if not isinstance(value, Array):
        return []
    return [element for element in value.elements if isinstance(element, Structure)]
