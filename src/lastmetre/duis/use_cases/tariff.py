"""Tariffs and prices of an ESME (transform B9): switching table, special days, thresholds, price tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.duis.use_cases.prepayment import charge_term
from lastmetre.duis.use_cases.rules import Asked, Item, Rule, say, when_of
from lastmetre.duis.use_cases.terms import DAYS, Term, choice, date, obis, plain, text, time
from lastmetre.duis.use_cases.values import (
    child,
    index,
    int8,
    int16,
    integer,
    one_of,
    time_of_day,
    whole,
    wildcard_date,
)
from lastmetre.gbcs.axdr import OctetString
from lastmetre.gbcs.build import tariff as build

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element

# --- the switching table


def _season_start(data: object) -> str:
    """Twelve octets of which the date counts."""
    octets = getattr(data, "value", b"")
    return date(OctetString(octets[:5])) if octets[5:] == b"\x00\x00\x00\x00\x80\x00\xff" else plain(data)


_SEASONS: Final = Term(
    "seasons",
    each=Term("season", parts=(Term("name", text), Term("start date", _season_start), Term("week profile"))),
)
_WEEKS: Final = Term(
    "week profiles",
    each=Term("week profile", parts=(Term("identifier"), *(Term(f"{day} of the week") for day in DAYS))),
)
_SPECIAL_DAYS: Final = Term(
    "tariff special days",
    each=Term("tariff special day", parts=(Term("number"), Term("date", date), Term("day profile"))),
)


def _days_term(count: int) -> Term:
    """Each switch of each day by its own name."""
    switch = (Term("time", time), Term("script table", obis), Term("tariff script"))
    names = []
    for number in range(1, count + 1):
        each = Term(f"day profile {number} switch", parts=switch)
        names.append(Term("", parts=(Term(f"identifier of day profile {number}"), Term(each.name, each=each))))
    return Term("day profiles", parts=tuple(names), each=Term("day profile"))


def _season(season: Element) -> build.Season:
    return build.Season(
        child(season, "SeasonName").text.encode(),
        wildcard_date(child(season, "SeasonStartDate")),
        integer(season, "ReferencedWeekName", 1, build.WEEKS_MAX),
    )


def _week(week: Element) -> build.Week:
    by_day = {
        index(day, 1, len(DAYS)): whole(day.text, f"{week.name}/ReferencedDayName", 1, build.DAYS_MAX)
        for day in week.all("ReferencedDayName")
    }
    number = integer(week, "WeekName", 1, build.WEEKS_MAX)
    return build.Week(number, tuple(by_day[day] for day in sorted(by_day)))


def _switch(switch: Element, *, secondary: bool) -> build.Switch:
    at = time_of_day(switch, "StartTime")
    if not secondary and switch.find("BlockTariffAction") is not None:
        return build.Switch(at, block_set=integer(switch, "BlockTariffAction", 1, build.BLOCK_SETS))
    most = build.SECONDARY_REGISTERS if secondary else build.TOU_REGISTERS
    return build.Switch(at, integer(switch, "TOUTariffAction", 1, most))


def _day(day: Element, *, secondary: bool) -> build.Day:
    switches = tuple(_switch(switch, secondary=secondary) for switch in day.all("ProfileSchedule"))
    return build.Day(integer(day, "DayName", 1, build.DAYS_MAX), switches)


@dataclass(frozen=True, slots=True)
class _Switching:
    """The switching table and the special days of a request."""

    seasons: tuple[build.Season, ...]
    weeks: tuple[build.Week, ...]
    days: tuple[build.Day, ...]
    special_days: tuple[build.TariffSpecialDay, ...]

    @property
    def terms(self) -> tuple[Term, ...]:
        """What the four tables hold."""
        return (_SEASONS, _WEEKS, _days_term(len(self.days)), _SPECIAL_DAYS)


def _switching(tariff: Element, *, secondary: bool) -> _Switching:
    table = child(tariff, "SwitchingTable")
    return _Switching(
        tuple(map(_season, child(table, "Seasons").children)),
        tuple(map(_week, child(table, "WeekProfiles").children)),
        tuple(_day(day, secondary=secondary) for day in child(table, "DayProfiles").children),
        tuple(
            build.TariffSpecialDay(
                wildcard_date(child(day, "Date")), integer(day, "ReferencedDayName", 1, build.DAYS_MAX)
            )
            for day in child(tariff, "SpecialDays").children
        ),
    )


def _thresholds(tariff: Element) -> tuple[build.BlockThresholds, ...]:
    """Block thresholds by block set; only those given are sent."""
    sets = child(tariff, "ThresholdMatrix").all("Thresholds")
    numbered = [(index(found, 1, build.BLOCK_SETS), found) for found in sets]
    made = []
    for number, thresholds in sorted(numbered, key=lambda pair: pair[0]):
        values = sorted(
            (index(value, 1, build.THRESHOLDS), whole(value.text, "BlockThreshold", 0, 2**32 - 1))
            for value in thresholds.all("BlockThreshold")
        )
        made.append(build.BlockThresholds(number, tuple(value for _, value in values)))
    return tuple(made)


# --- prices


def _price_name(number: int, block: int | None) -> str:
    return f"TOU price {number}" if block is None else f"price of block {block} in set {number}"


_PRICE_NAMES: Final = tuple(_price_name(*price) for price in build.PRICES.values())


def _table_term(name: str, prices: tuple[str, ...]) -> Term:
    whole_table = charge_term(name, f"{name} entry")
    named = tuple(Term(price, parts=(Term("identifier"), Term("rate"))) for price in prices)
    return Term(name, parts=(*whole_table.parts[:2], Term("", parts=named, each=whole_table.parts[2].each)))


def _primary_prices(prices: Element) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Prices of the registers and of the blocks of each set, in which what is not given is zero."""
    registers = [0] * build.TOU_REGISTERS
    blocks = [[0] * build.BLOCKS for _ in range(build.BLOCK_SETS)]
    for kind in ("TOUTariff", "BlockTariff", "HybridTariff"):
        tariff = prices.find(kind)
        if tariff is None:
            continue
        for price in tariff.all("TOUPrice"):
            at = index(price, 1, build.TOU_REGISTERS) - 1
            registers[at] = whole(price.text, "TOUPrice", -(2**15), 2**15 - 1)
        for block_set in tariff.all("BlockPrices"):
            of_set = blocks[index(block_set, 1, build.BLOCK_SETS) - 1]
            for price in block_set.all("BlockPrice"):
                at = index(price, 1, build.BLOCKS) - 1
                of_set[at] = whole(price.text, "BlockPrice", -(2**15), 2**15 - 1)
    return tuple(registers), tuple(map(tuple, blocks))


_STANDING: Final = charge_term("standing charge", "standing charge entry")
_TARIFF: Final = _table_term("tariff", _PRICE_NAMES)


_CURRENCIES: Final = {"ECB": 0, "GBP": 1}
"""Whether the currency is the pound. ECB, the euro, was not seen on an ESME [I]."""


def _primary_tariff(asked: Asked) -> tuple[Item, ...]:
    tariff = child(asked.body, "ElecTariffElements")
    prices = child(asked.body, "PriceElements/ElectricityPriceElements")
    table, thresholds = _switching(tariff, secondary=False), _thresholds(tariff)
    registers, blocks = _primary_prices(prices)
    values = build.SetTariff(
        table.seasons,
        table.weeks,
        table.days,
        table.special_days,
        standing_charge=int16(prices, "StandingCharge"),
        standing_charge_scale=int8(prices, "StandingChargeScale"),
        price_scale=int8(prices, "PriceScale"),
        register_prices=registers,
        block_prices=blocks,
        thresholds=thresholds,
        in_pounds=bool(one_of(tariff, "CurrencyUnits", _CURRENCIES)),
    )
    sets = (each.block_set for each in thresholds)
    names = ("switching table", "tariff special days", "currency", "standing charge", "prices", "thresholds")
    return say(
        asked,
        values,
        *table.terms,
        *(Term(f"thresholds of set {at}", each=Term(f"block set {at} threshold")) for at in sets),
        Term("currency", choice({1: "GBP", 0: "ECB"})),
        _STANDING,
        _TARIFF,
        *(when_of(f"the {name}") for name in names),
    )


def _primary_price(asked: Asked) -> tuple[Item, ...]:
    prices = child(asked.body, "PriceElements/ElectricityPriceElements")
    registers, blocks = _primary_prices(prices)
    values = build.SetPrice(
        standing_charge=int16(prices, "StandingCharge"),
        standing_charge_scale=int8(prices, "StandingChargeScale"),
        price_scale=int8(prices, "PriceScale"),
        register_prices=registers,
        block_prices=blocks,
    )
    return say(asked, values, _STANDING, _TARIFF, when_of("the standing charge"), when_of("the prices"))


_SECONDARY_PRICES: Final = tuple(f"secondary element price {at}" for at in range(1, build.SECONDARY_REGISTERS + 1))
_SECONDARY: Final = _table_term("secondary element tariff", _SECONDARY_PRICES)


def _secondary_prices(prices: Element) -> tuple[int, ...]:
    """The four prices of the secondary element; what is not given is zero, as on the primary element [I]."""
    rates = [0] * build.SECONDARY_REGISTERS
    for price in prices.all("ElectricityPriceElement"):
        at = index(price, 1, build.SECONDARY_REGISTERS) - 1
        rates[at] = whole(price.text, price.name, -(2**15), 2**15 - 1)
    return tuple(rates)


def _secondary_tariff(asked: Asked) -> tuple[Item, ...]:
    prices, table = child(asked.body, "PriceElements"), _switching(asked.body, secondary=True)
    values = build.SetSecondaryTariff(
        table.seasons,
        table.weeks,
        table.days,
        table.special_days,
        price_scale=int8(prices, "PriceScale"),
        register_prices=_secondary_prices(prices),
    )
    times = (when_of("the switching table"), when_of("the prices"), when_of("the tariff special days"))
    return say(asked, values, _SECONDARY, *table.terms, *times)


def _secondary_price(asked: Asked) -> tuple[Item, ...]:
    prices = child(asked.body, "PriceElements")
    values = build.SetSecondaryPrice(int8(prices, "PriceScale"), _secondary_prices(prices))
    return say(asked, values, _SECONDARY, when_of("the prices"))


RULES: Final = (
    Rule("ECS01a", 0x0019, ("1.1.1",), _primary_tariff, source="B9"),
    Rule("ECS01b", 0x00A2, ("1.2.1",), _primary_price, source="B9"),
    Rule("ECS01c", 0x00B7, ("1.1.2",), _secondary_tariff, source="B9"),
    Rule("ECS01d", 0x00C7, ("1.2.2",), _secondary_price, source="B9"),
)
