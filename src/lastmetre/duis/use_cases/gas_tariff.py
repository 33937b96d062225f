"""Calendars, tariffs and prepayment settings of a gas meter (transform B1 GCS05, B9 GCS01a and GCS01b).

One calendar is five kinds of component: the calendar itself, its day profiles, week profiles, seasons, special days.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from lastmetre.duis.use_cases.values import (
    zigbee_date as date_octets,
)
from lastmetre.duis.use_cases.zigbee import send

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.duis.xml import Element

GSME: Final = frozenset({"GSME"})
DAY_NAMES_MAX: Final = 5
WEEK_NAMES_MAX: Final = 2
TARIFF_CALENDAR, NON_DISABLEMENT_CALENDAR = 0, 3

# --- the calendar


@dataclass(frozen=True, slots=True)
class Calendar:
    """A request's calendar in one shape, whichever service it belongs to. ``days``: identifier and its switches."""

    kind: int
    days: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]
    weeks: tuple[Element, ...]
    seasons: tuple[Element, ...]
    special_days: tuple[Element, ...]


def _publish(asked: Asked, calendar: Calendar) -> Iterator[Part]:
    when, kind = asked.activation.zigbee_calendar, calendar.kind
    counts = {"seasons": len(calendar.seasons), "weeks": len(calendar.weeks), "days": len(calendar.days)}
    starts = {"start": Term("activation time of the calendar", zigbee_activation)}
    yield send(asked, "PublishCalendar", "calendar", counts, start=when, type=kind, terms=starts)
    for day, switches in calendar.days:
        yield _day_profile(asked, day, kind, switches)
    for week in calendar.weeks:
        yield _week_profile(asked, week)
    seasons = tuple(
        {
            "start": date_octets(child(season, "SeasonStartDate")).zigbee,
            "week_id": integer(season, "ReferencedWeekName", 1, WEEK_NAMES_MAX),
        }
        for season in calendar.seasons
    )
    season_term = Term("season", parts=(Term("start date", zigbee_date), Term("week profile")))
    terms = {"seasons": Term("seasons", each=season_term)}
    yield send(asked, "PublishSeasons", "list of seasons", index=0, count=1, seasons=seasons, terms=terms)
    yield _special_days(asked, calendar)


def _day_profile(asked: Asked, day: int, kind: int, switches: tuple[tuple[int, int], ...]) -> Part:
    name = f"day profile {day}"
    switch = Term(f"{name} switch", parts=(Term("minute of the day"), Term("tariff register or non-disablement")))
    return send(
        asked,
        "PublishDayProfile",
        name,
        day_id=day,
        total_entries=len(switches),
        index=0,
        count=1,
        type=kind,
        entries=tuple({"minute_of_day": minute, "tier_or_flag": value} for minute, value in switches),
        terms={"entries": Term(f"switches of {name}", each=switch)},
    )


def _week_profile(asked: Asked, week: Element) -> Part:
    number = integer(week, "WeekName", 1, WEEK_NAMES_MAX)
    days = {
        DAYS[index(day, 1, len(DAYS)) - 1].lower(): whole(day.text, "ReferencedDayName", 1, DAY_NAMES_MAX)
        for day in week.all("ReferencedDayName")
    }
    if len(days) != len(DAYS):
        raise TransformError(f"week profile {number} must name a day profile for each of the seven days")
    terms = {day.lower(): f"{day} of week profile {number}" for day in DAYS}
    return send(asked, "PublishWeekProfile", f"week profile {number}", days, week_id=number, terms=terms)


def _special_days(asked: Asked, calendar: Calendar) -> Part:
    days = tuple(
        {
            "date": date_octets(child(day, "Date")).zigbee,
            "day_id": integer(day, "ReferencedDayName", 1, DAY_NAMES_MAX),
        }
        for day in calendar.special_days
    )
    day_term = Term("special day", parts=(Term("date", zigbee_date), Term("day profile")))
    terms = {
        "start": Term("activation time of the special days", zigbee_activation),
        "days": Term("special days", each=day_term),
    }
    return send(
        asked,
        "PublishSpecialDays",
        "list of special days",
        start=asked.activation.zigbee_calendar,
        type=calendar.kind,
        total_days=len(days),
        index=0,
        count=1,
        days=days,
        terms=terms,
    )


# --- GCS05: prepayment configuration

_ACTIONS: Final = {"START": 1, "STOP": 0}


def _minute(element: Element, path: str) -> int:
    at = time_of_day(element, path)
    if at.second:
        raise TransformError(f"{element.name}/{path} must be a whole minute")
    return at.hour * 60 + at.minute


def _non_disablement(settings: Element) -> Calendar:
    calendar = child(settings, "GasNonDisablementCalendar")
    days = tuple(
        (
            integer(day, "GasDayName", 1, DAY_NAMES_MAX),
            tuple(
                (_minute(switch, "StartTime"), one_of(switch, "NonDisablementAction", _ACTIONS))
                for switch in day.all("TimeStartAction")
            ),
        )
        for day in child(calendar, "DayProfiles").children
    )
    weeks, seasons = child(calendar, "WeekProfiles").children, child(calendar, "SeasonProfiles").children
    special_days = child(calendar, "SpecialDays").children
    return Calendar(NON_DISABLEMENT_CALENDAR, days, weeks, seasons, special_days)


def _when(name: str) -> Term:
    return Term(f"activation time of the {name}", zigbee_activation)


def _configuration(asked: Asked) -> tuple[Part, ...]:
    settings = child(asked.body, "UpdatePrepayConfigGas")
    when = asked.activation.zigbee
    emergency = {"limit": "emergency credit limit", "threshold": "emergency credit threshold"}
    limits = {"max_level": "maximum meter balance", "max_per_top_up": "maximum credit threshold"}
    return (
        send(asked, "EmergencyCreditSetup", "emergency credit", start=when,
             limit=uint32(settings, "EmergencyCreditLimit"), threshold=uint32(settings, "EmergencyCreditThreshold"),
             terms=emergency | {"start": _when("emergency credit")}),
        send(asked, "SetOverallDebtCap", "debt cap", implementation=when, cap=int32(settings, "DebtRecoveryRateCap"),
             terms={"cap": "debt recovery rate cap", "implementation": _when("debt recovery rate cap")}),
        send(asked, "SetLowCreditWarningLevel", "low credit threshold", from_date_time=when,
             level=uint32(settings, "LowCreditThreshold"), terms={"level": "low credit threshold"}),
        send(asked, "SetMaximumCreditLimit", "credit limits", implementation=when,
             max_level=uint32(settings, "MaxMeterBalance"), max_per_top_up=uint32(settings, "MaxCreditThreshold"),
             terms=limits | {"implementation": _when("credit limits")}),
        *_publish(asked, _non_disablement(settings)),
    )  # fmt: skip


# --- GCS01a, GCS01b: tariff and price

CURRENCIES: Final = {"GBP": 826, "ECB": 978}
_CURRENCY: Final = choice({code: name for name, code in CURRENCIES.items()})
TOU_TIERS: Final = 4
"""Tiers of a time-of-use tariff and thresholds of a block tariff are told as the most there can be: so in every sample,
whatever number of thresholds the request gives."""
BLOCK_THRESHOLDS: Final = 3
BLOCK_PRICES: Final = 4
BLOCK_CHARGING: Final = 0x10
PRICE_TRAILING_DIGITS: Final = 0x50
EVERY_BLOCK: Final = 0xFF
DIVISOR: Final = 1000
THRESHOLD_MAX: Final = 2**48 - 1
TOU_PRICES_BY_TIER: Final = 1


def _prices(asked: Asked) -> Element:
    return child(asked.body, "PriceElements/GasPriceElements")


def _is_block(asked: Asked) -> bool:
    return _prices(asked).find("BlockTariff") is not None


def _tariff_information(asked: Asked) -> Part:
    block, prices = _is_block(asked), _prices(asked)
    return send(
        asked,
        "PublishTariffInformation",
        "tariff",
        start=asked.activation.zigbee,
        type_and_scheme=BLOCK_CHARGING if block else 0,
        tiers=0 if block else TOU_TIERS,
        block_thresholds=BLOCK_THRESHOLDS if block else 0,
        unit=0,
        currency=one_of(prices, "CurrencyUnits", CURRENCIES),
        trailing_digit=PRICE_TRAILING_DIGITS,
        standing_charge=uint32(prices, "StandingCharge"),
        tier_block_mode=EVERY_BLOCK,
        multiplier=1,
        divisor=DIVISOR,
        terms={
            "start": _when("tariff"),
            "currency": Term("currency", _CURRENCY),
            "standing_charge": "standing charge",
        },
    )


def _block_thresholds(asked: Asked) -> Part:
    given = child(asked.body, "GasTariffElements/ThresholdMatrix").all("BlockThreshold")
    values = sorted(
        (index(value, 1, BLOCK_THRESHOLDS), whole(value.text, value.name, 0, THRESHOLD_MAX)) for value in given
    )
    row = Term("block threshold", parts=(Term("value"),))
    return send(
        asked,
        "PublishBlockThresholds",
        "table of thresholds",
        start=asked.activation.zigbee_calendar,
        index=0,
        count=1,
        control=1,
        thresholds=tuple({"threshold": value} for _, value in values),
        terms={"start": _when("block thresholds"), "thresholds": Term("block thresholds", each=row)},
    )


def _price_matrix(asked: Asked) -> Part:
    """Prices by register, or by block counted from zero."""
    if _is_block(asked):
        kind, given = "block", child(_prices(asked), "BlockTariff").all("BlockPrice")
    else:
        kind, given = "TOU", child(_prices(asked), "TOUTariff").all("TOUPrice")
    first = 1 if kind == "block" else 0
    rows = tuple(
        {
            "tier_and_block": index(price, 1, BLOCK_PRICES) - first,
            "price": whole(price.text, price.name, 0, 2**32 - 1),
        }
        for price in given
    )
    row = Term(f"{kind} price", parts=(Term("identifier"), Term("rate")))
    return send(
        asked,
        "PublishPriceMatrix",
        "table of prices",
        start=asked.activation.zigbee_calendar,
        index=0,
        count=1,
        control=0 if kind == "block" else TOU_PRICES_BY_TIER,
        prices=rows,
        terms={"start": _when("prices"), "prices": Term("prices", each=row)},
    )


def _tariff_day(day: Element) -> tuple[int, tuple[tuple[int, int], ...]]:
    """A gas day has one register all day; under a block tariff none."""
    block = day.find("BlockTariff") is not None
    register = 0 if block else integer(day, "TOUTariffAction", 1, TOU_TIERS)
    return integer(day, "DayName", 1, DAY_NAMES_MAX), ((0, register),)


def _tariff(asked: Asked) -> tuple[Part, ...]:
    tariff = child(asked.body, "GasTariffElements")
    table = child(tariff, "SwitchingTable")
    calendar = Calendar(
        TARIFF_CALENDAR,
        tuple(_tariff_day(day) for day in child(table, "DayProfiles").children),
        child(table, "WeekProfiles").children,
        child(table, "Seasons").children,
        child(tariff, "SpecialDays").children,
    )
    thresholds = (_block_thresholds(asked),) if _is_block(asked) else ()
    return (*_publish(asked, calendar), _tariff_information(asked), *thresholds, _price_matrix(asked))


def _price(asked: Asked) -> tuple[Part, ...]:
    return (_tariff_information(asked), _price_matrix(asked))


RULES: Final = (
    Rule("GCS05", 0x006F, ("2.1",), _configuration, GSME, source="B1"),
    Rule("GCS01a", 0x006B, ("1.1.1",), _tariff, GSME, source="B9"),
    Rule("GCS01b", 0x00A3, ("1.2.1",), _price, GSME, source="B9"),
)
