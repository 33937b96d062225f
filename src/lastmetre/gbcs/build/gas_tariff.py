"""Calendars, tariffs and prepayment settings of a gas meter (transform B1 GCS05, B9 GCS01a and GCS01b).

One calendar is five kinds of component: the calendar itself, its day profiles, week profiles, seasons, special days.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from lastmetre.gbcs.build.checks import Checked, Int32, Size, UInt8, UInt32, UInt48, Whole
from lastmetre.gbcs.build.frame import Found
from lastmetre.gbcs.build.times import Date
from lastmetre.gbcs.build.zigbee import WHEN, WHEN_CALENDAR, GbzCommand, Own, Read, Send, plain_rows, send
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import Component

DAY_NAMES_MAX: Final = 5
WEEK_NAMES_MAX: Final = 2
TARIFF_CALENDAR, NON_DISABLEMENT_CALENDAR = 0, 3
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

DayNumber: TypeAlias = Annotated[int, Whole(1, DAY_NAMES_MAX)]
WeekNumber: TypeAlias = Annotated[int, Whole(1, WEEK_NAMES_MAX)]


@dataclass(frozen=True, slots=True)
class Switch(Checked):
    """From a minute of the day on: a tariff register, or of non-disablement 1 start and 0 stop."""

    minute_of_day: Annotated[int, Whole(0, 1439)]
    value: UInt8


@dataclass(frozen=True, slots=True)
class Day(Checked):
    """The switches of a day."""

    number: DayNumber
    switches: Annotated[tuple[Switch, ...], Size(0, 60)]


@dataclass(frozen=True, slots=True)
class Week(Checked):
    """A day profile for each day of a week, Monday first."""

    number: WeekNumber
    days: Annotated[tuple[DayNumber, ...], Size(7, 7)]


@dataclass(frozen=True, slots=True)
class Season(Checked):
    """From a date on, a week profile."""

    start: Date
    week: WeekNumber


@dataclass(frozen=True, slots=True)
class SpecialDay(Checked):
    """A date that has a day profile of its own."""

    date: Date
    day: DayNumber


@dataclass(frozen=True, slots=True)
class Calendar(Checked):
    """What switches when."""

    days: Annotated[tuple[Day, ...], Size(0, 255)]
    weeks: Annotated[tuple[Week, ...], Size(0, 255)]
    seasons: Annotated[tuple[Season, ...], Size(0, 40)]
    special_days: Annotated[tuple[SpecialDay, ...], Size(0, 40)] = ()

    def _agree(self) -> None:
        for dated in (*(season.start for season in self.seasons), *(day.date for day in self.special_days)):
            _ = dated.zigbee  # raises where a gas meter cannot say this date


def publish(calendar: Calendar, kind: int) -> Iterator[Send]:
    """The components of a calendar."""
    counts = {"seasons": len(calendar.seasons), "weeks": len(calendar.weeks), "days": len(calendar.days)}
    yield send("PublishCalendar", start=WHEN_CALENDAR, type=kind, **counts)
    for day in calendar.days:
        entries = tuple({"minute_of_day": each.minute_of_day, "tier_or_flag": each.value} for each in day.switches)
        yield send(
            "PublishDayProfile",
            day_id=day.number,
            total_entries=len(entries),
            index=0,
            count=1,
            type=kind,
            entries=entries,
        )
    for week in calendar.weeks:
        yield send("PublishWeekProfile", week_id=week.number, **dict(zip(WEEKDAYS, week.days, strict=True)))
    seasons = tuple({"start": season.start.zigbee, "week_id": season.week} for season in calendar.seasons)
    yield send("PublishSeasons", index=0, count=1, seasons=seasons)
    days = tuple({"date": day.date.zigbee, "day_id": day.day} for day in calendar.special_days)
    yield send("PublishSpecialDays", start=WHEN_CALENDAR, type=kind, total_days=len(days), index=0, count=1, days=days)


def read_calendar(components: tuple[Component, ...], found: Found) -> Calendar:
    """The calendar behind its components."""
    bodies: list[Any] = [component.body for component in components]

    def of(name: str) -> list[Any]:
        return [body for body in bodies if body.name == name]

    (calendar,), (seasons,), (special,) = of("PublishCalendar"), of("PublishSeasons"), of("PublishSpecialDays")
    WHEN_CALENDAR.read(calendar["start"], found)
    found.put_around("issued", calendar["issuer_event"])
    return Calendar(
        tuple(
            Day(day["day_id"], tuple(Switch(*row) for row in plain_rows(day["entries"])))
            for day in of("PublishDayProfile")
        ),
        tuple(Week(week["week_id"], tuple(week[day] for day in WEEKDAYS)) for week in of("PublishWeekProfile")),
        tuple(Season(Date.from_zigbee(start), week) for start, week in plain_rows(seasons["seasons"])),
        tuple(SpecialDay(Date.from_zigbee(date), day) for date, day in plain_rows(special["days"])),
    )


# --- GCS05: prepayment configuration

_SETTINGS: Final = (
    send(
        "EmergencyCreditSetup",
        start=WHEN,
        limit=Own("emergency_credit_limit_millipence"),
        threshold=Own("emergency_credit_threshold_millipence"),
    ),
    send("SetOverallDebtCap", implementation=WHEN, cap=Own("debt_recovery_rate_cap_millipence")),
    send("SetLowCreditWarningLevel", from_date_time=WHEN, level=Own("low_credit_threshold_millipence")),
    send(
        "SetMaximumCreditLimit",
        implementation=WHEN,
        max_level=Own("max_meter_balance_millipence"),
        max_per_top_up=Own("max_credit_threshold_millipence"),
    ),
)


@dataclass(frozen=True, slots=True)
class UpdateGasPrepaymentConfiguration(GbzCommand):
    """GCS05. The calendar says when the supply is not disabled for want of credit."""

    CODES: ClassVar = (0x006F,)

    max_meter_balance_millipence: UInt32
    max_credit_threshold_millipence: UInt32
    debt_recovery_rate_cap_millipence: Int32
    low_credit_threshold_millipence: UInt32
    emergency_credit_limit_millipence: UInt32
    emergency_credit_threshold_millipence: UInt32
    non_disablement: Calendar

    def sends(self, message_code: int) -> tuple[Send | Read, ...]:
        """Settings, then the calendar."""
        del message_code
        return (*_SETTINGS, *publish(self.non_disablement, NON_DISABLEMENT_CALENDAR))

    @classmethod
    def find(cls, components: tuple[Component, ...], found: Found) -> None:
        """The same."""
        count = len(_SETTINGS)
        for each, component in zip(_SETTINGS, components[:count], strict=True):
            each.read(component, found)
        found.put("non_disablement", read_calendar(components[count:], found))


# --- GCS01a, GCS01b: tariff and price

TOU_TIERS: Final = 4
"""Tiers of a time-of-use tariff and thresholds of a block tariff are told as the most there can be: so in every sample,
whatever number of thresholds the request gives."""
BLOCK_THRESHOLDS: Final = 3
BLOCK_PRICES: Final = 4
BLOCK_CHARGING: Final = 0x10
PRICE_TRAILING_DIGITS: Final = 0x50
EVERY_BLOCK: Final = 0xFF
DIVISOR: Final = 1000
TOU_PRICES_BY_TIER: Final = 1


class Currency(Enum):
    """ISO 4217 numbers; ECB is the euro."""

    GBP = 826
    ECB = 978


@dataclass(frozen=True, slots=True)
class Price(Checked):
    """The price of a register, or of a block: both count from 1. In hundred thousandths of the currency's unit."""

    number: Annotated[int, Whole(1, BLOCK_PRICES)]
    price_1e_5: UInt32


def tariff_information(*, block: bool) -> Send:
    """What kind of tariff it is, with its standing charge."""
    return send(
        "PublishTariffInformation",
        start=WHEN,
        type_and_scheme=BLOCK_CHARGING if block else 0,
        tiers=0 if block else TOU_TIERS,
        block_thresholds=BLOCK_THRESHOLDS if block else 0,
        unit=0,
        currency=Own("currency", lambda currency: currency.value, Currency),
        trailing_digit=PRICE_TRAILING_DIGITS,
        standing_charge=Own("standing_charge_1e_5_per_day"),
        tier_block_mode=EVERY_BLOCK,
        multiplier=1,
        divisor=DIVISOR,
    )


def price_matrix(*, block: bool) -> Send:
    """Prices by register, or by block counted from zero."""
    first = 1 if block else 0
    return send(
        "PublishPriceMatrix",
        start=WHEN_CALENDAR,
        index=0,
        count=1,
        control=0 if block else TOU_PRICES_BY_TIER,
        prices=Own(
            "prices",
            lambda prices: tuple({"tier_and_block": each.number - first, "price": each.price_1e_5} for each in prices),
            lambda table: tuple(Price(number + first, price) for number, price in plain_rows(table)),
        ),
    )


_THRESHOLDS: Final = send(
    "PublishBlockThresholds",
    start=WHEN_CALENDAR,
    index=0,
    count=1,
    control=1,
    thresholds=Own(
        "block_thresholds",
        lambda values: tuple({"threshold": value} for value in values),
        lambda table: tuple(value for (value,) in plain_rows(table)),
    ),
)


def _is_block(component: Component) -> bool:
    body: Any = component.body
    return bool(body["type_and_scheme"] == BLOCK_CHARGING)


@dataclass(frozen=True, slots=True)
class SetGasPrice(GbzCommand):
    """GCS01b: prices of registers, or of blocks (``by_block``)."""

    CODES: ClassVar = (0x00A3,)

    standing_charge_1e_5_per_day: UInt32
    prices: Annotated[tuple[Price, ...], Size(0, 40)]
    by_block: bool = False
    currency: Currency = Currency.GBP

    def sends(self, message_code: int) -> tuple[Send | Read, ...]:
        """Tariff information and prices."""
        del message_code
        return (tariff_information(block=self.by_block), price_matrix(block=self.by_block))

    @classmethod
    def find(cls, components: tuple[Component, ...], found: Found) -> None:
        """The same."""
        information, prices = components
        block = _is_block(information)
        found.put("by_block", block)
        tariff_information(block=block).read(information, found)
        price_matrix(block=block).read(prices, found)


@dataclass(frozen=True, slots=True)
class SetGasTariff(GbzCommand):
    """GCS01a: calendar, prices and, for a tariff ``by_block``, where blocks end."""

    CODES: ClassVar = (0x006B,)

    calendar: Calendar
    standing_charge_1e_5_per_day: UInt32
    prices: Annotated[tuple[Price, ...], Size(0, 40)]
    by_block: bool = False
    block_thresholds: Annotated[tuple[UInt48, ...], Size(0, BLOCK_THRESHOLDS)] = ()
    currency: Currency = Currency.GBP

    def _agree(self) -> None:
        if self.block_thresholds and not self.by_block:
            raise GbcsValueError("SetGasTariff.block_thresholds belong to a tariff by_block")

    def sends(self, message_code: int) -> tuple[Send | Read, ...]:
        """Calendar, tariff information, thresholds, prices."""
        del message_code
        block = self.by_block
        thresholds = (_THRESHOLDS,) if block else ()
        calendar = publish(self.calendar, TARIFF_CALENDAR)
        return (*calendar, tariff_information(block=block), *thresholds, price_matrix(block=block))

    @classmethod
    def find(cls, components: tuple[Component, ...], found: Found) -> None:
        """From the end."""
        bodies: list[Any] = [component.body for component in components]
        at = [body.name for body in bodies].index("PublishTariffInformation")
        block = _is_block(components[at])
        found.put("by_block", block)
        tariff_information(block=block).read(components[at], found)
        if block:
            _THRESHOLDS.read(components[at + 1], found)
        price_matrix(block=block).read(components[-1], found)
        found.put("calendar", read_calendar(components[:at], found))


COMMANDS: Final = (UpdateGasPrepaymentConfiguration, SetGasTariff, SetGasPrice)
