"""Calendars, tariffs and prepayment settings of a gas meter (transform B1 GCS05, B9 GCS01a and GCS01b).

One calendar is five kinds of component: the calendar itself, its day profiles, week profiles, seasons, special days.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.rules import Asked, Part, Rule
from lastmetre.duis.use_cases.terms import DAYS, Term, choice, zigbee_activation, zigbee_date
from lastmetre.duis.use_cases.values import (
    child,
    index,
    int32,
    integer,
    one_of,
    time_of_day,
    uint32,
    whole,
)
from lastmetre.duis.use_cases.values import zigbee_date as date_of
from lastmetre.duis.use_cases.zigbee import say_all
from lastmetre.gbcs.build import gas_tariff as build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.duis.use_cases.zigbee import Named
    from lastmetre.duis.xml import Element

GSME: Final = frozenset({"GSME"})

# --- the calendar


def _week(week: Element) -> build.Week:
    number = integer(week, "WeekName", 1, build.WEEK_NAMES_MAX)
    by_day = {
        index(day, 1, len(DAYS)): whole(day.text, "ReferencedDayName", 1, build.DAY_NAMES_MAX)
        for day in week.all("ReferencedDayName")
    }
    if len(by_day) != len(DAYS):
        raise TransformError(f"week profile {number} must name a day profile for each of the seven days")
    return build.Week(number, tuple(by_day[day] for day in sorted(by_day)))


def _calendar(days: tuple[build.Day, ...], weeks: Element, seasons: Element, special_days: Element) -> build.Calendar:
    return build.Calendar(
        days,
        tuple(map(_week, weeks.children)),
        tuple(
            build.Season(
                date_of(child(season, "SeasonStartDate")),
                integer(season, "ReferencedWeekName", 1, build.WEEK_NAMES_MAX),
            )
            for season in seasons.children
        ),
        tuple(
            build.SpecialDay(date_of(child(day, "Date")), integer(day, "ReferencedDayName", 1, build.DAY_NAMES_MAX))
            for day in special_days.children
        ),
    )


_SEASONS: Final = Term("seasons", each=Term("season", parts=(Term("start date", zigbee_date), Term("week profile"))))
_SPECIAL_DAYS: Final = Term(
    "special days", each=Term("special day", parts=(Term("date", zigbee_date), Term("day profile")))
)


def _names(calendar: build.Calendar) -> Iterator[Named]:
    """What the components of a calendar are called."""
    yield "calendar", {"start": Term("activation time of the calendar", zigbee_activation)}
    for day in calendar.days:
        name = f"day profile {day.number}"
        switch = Term(f"{name} switch", parts=(Term("minute of the day"), Term("tariff register or non-disablement")))
        yield name, {"entries": Term(f"switches of {name}", each=switch)}
    for week in calendar.weeks:
        name = f"week profile {week.number}"
        yield name, {day.lower(): f"{day} of {name}" for day in DAYS}
    yield "list of seasons", {"seasons": _SEASONS}
    starts = Term("activation time of the special days", zigbee_activation)
    yield "list of special days", {"start": starts, "days": _SPECIAL_DAYS}


# --- GCS05: prepayment configuration

_ACTIONS: Final = {"START": 1, "STOP": 0}


def _minute(element: Element, path: str) -> int:
    at = time_of_day(element, path)
    if at.second:
        raise TransformError(f"{element.name}/{path} must be a whole minute")
    return at.hour * 60 + at.minute


def _non_disablement_day(day: Element) -> build.Day:
    switches = (
        build.Switch(_minute(switch, "StartTime"), one_of(switch, "NonDisablementAction", _ACTIONS))
        for switch in day.all("TimeStartAction")
    )
    return build.Day(integer(day, "GasDayName", 1, build.DAY_NAMES_MAX), tuple(switches))


def _when(name: str) -> Term:
    return Term(f"activation time of the {name}", zigbee_activation)


_SETTINGS: Final[tuple[Named, ...]] = (
    (
        "emergency credit",
        {
            "limit": "emergency credit limit",
            "threshold": "emergency credit threshold",
            "start": _when("emergency credit"),
        },
    ),
    ("debt cap", {"cap": "debt recovery rate cap", "implementation": _when("debt recovery rate cap")}),
    ("low credit threshold", {"level": "low credit threshold"}),
    (
        "credit limits",
        {
            "max_level": "maximum meter balance",
            "max_per_top_up": "maximum credit threshold",
            "implementation": _when("credit limits"),
        },
    ),
)


def _configuration(asked: Asked) -> tuple[Part, ...]:
    settings = child(asked.body, "UpdatePrepayConfigGas")
    given = child(settings, "GasNonDisablementCalendar")
    calendar = _calendar(
        tuple(map(_non_disablement_day, child(given, "DayProfiles").children)),
        *(child(given, name) for name in ("WeekProfiles", "SeasonProfiles", "SpecialDays")),
    )
    values = build.UpdateGasPrepaymentConfiguration(
        max_meter_balance_millipence=uint32(settings, "MaxMeterBalance"),
        max_credit_threshold_millipence=uint32(settings, "MaxCreditThreshold"),
        debt_recovery_rate_cap_millipence=int32(settings, "DebtRecoveryRateCap"),
        low_credit_threshold_millipence=uint32(settings, "LowCreditThreshold"),
        emergency_credit_limit_millipence=uint32(settings, "EmergencyCreditLimit"),
        emergency_credit_threshold_millipence=uint32(settings, "EmergencyCreditThreshold"),
        non_disablement=calendar,
    )
    return say_all(asked, values, *_SETTINGS, *_names(calendar))


# --- GCS01a, GCS01b: tariff and price

_CURRENCIES: Final = {currency.name: currency.value for currency in build.Currency}
_CURRENCY: Final = choice({code: name for name, code in _CURRENCIES.items()})
_TARIFF: Final[Named] = (
    "tariff",
    {"start": _when("tariff"), "currency": Term("currency", _CURRENCY), "standing_charge": "standing charge"},
)
_THRESHOLDS: Final[Named] = (
    "table of thresholds",
    {
        "start": _when("block thresholds"),
        "thresholds": Term("block thresholds", each=Term("block threshold", parts=(Term("value"),))),
    },
)
THRESHOLD_MAX: Final = 2**48 - 1


def _prices_named(*, block: bool) -> Named:
    row = Term(f"{'block' if block else 'TOU'} price", parts=(Term("identifier"), Term("rate")))
    return "table of prices", {"start": _when("prices"), "prices": Term("prices", each=row)}


def _prices(asked: Asked) -> Element:
    return child(asked.body, "PriceElements/GasPriceElements")


def _is_block(asked: Asked) -> bool:
    return _prices(asked).find("BlockTariff") is not None


def _price_rows(asked: Asked) -> tuple[build.Price, ...]:
    """Prices by register, or by block, in the order of the request."""
    given = (
        child(_prices(asked), "BlockTariff").all("BlockPrice")
        if _is_block(asked)
        else child(_prices(asked), "TOUTariff").all("TOUPrice")
    )
    return tuple(
        build.Price(index(price, 1, build.BLOCK_PRICES), whole(price.text, price.name, 0, 2**32 - 1)) for price in given
    )


def _currency(asked: Asked) -> build.Currency:
    return build.Currency(one_of(_prices(asked), "CurrencyUnits", _CURRENCIES))


def _block_thresholds(asked: Asked) -> tuple[int, ...]:
    given = child(asked.body, "GasTariffElements/ThresholdMatrix").all("BlockThreshold")
    values = sorted(
        (index(value, 1, build.BLOCK_THRESHOLDS), whole(value.text, value.name, 0, THRESHOLD_MAX)) for value in given
    )
    return tuple(value for _, value in values)


def _tariff_day(day: Element) -> build.Day:
    """A gas day has one register all day; under a block tariff none."""
    block = day.find("BlockTariff") is not None
    register = 0 if block else integer(day, "TOUTariffAction", 1, build.TOU_TIERS)
    return build.Day(integer(day, "DayName", 1, build.DAY_NAMES_MAX), (build.Switch(0, register),))


def _tariff(asked: Asked) -> tuple[Part, ...]:
    tariff, block = child(asked.body, "GasTariffElements"), _is_block(asked)
    table = child(tariff, "SwitchingTable")
    days = tuple(map(_tariff_day, child(table, "DayProfiles").children))
    calendar = _calendar(days, child(table, "WeekProfiles"), child(table, "Seasons"), child(tariff, "SpecialDays"))
    values = build.SetGasTariff(
        calendar,
        uint32(_prices(asked), "StandingCharge"),
        _price_rows(asked),
        block,
        _block_thresholds(asked) if block else (),
        _currency(asked),
    )
    thresholds = (_THRESHOLDS,) if block else ()
    return say_all(asked, values, *_names(calendar), _TARIFF, *thresholds, _prices_named(block=block))


def _price(asked: Asked) -> tuple[Part, ...]:
    block = _is_block(asked)
    charge = uint32(_prices(asked), "StandingCharge")
    values = build.SetGasPrice(charge, _price_rows(asked), block, _currency(asked))
    return say_all(asked, values, _TARIFF, _prices_named(block=block))


RULES: Final = (
    Rule("GCS05", 0x006F, ("2.1",), _configuration, GSME, source="B1"),
    Rule("GCS01a", 0x006B, ("1.1.1",), _tariff, GSME, source="B9"),
    Rule("GCS01b", 0x00A3, ("1.2.1",), _price, GSME, source="B9"),
)
