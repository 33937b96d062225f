"""Tariffs and prices of an ESME (transform B9): switching table, special days, thresholds, price tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lastmetre.duis.use_cases.prepayment import charge_table, charge_term
from lastmetre.duis.use_cases.rules import Asked, Item, Rule, activate, set_
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
from lastmetre.gbcs.axdr import (
    Array,
    Boolean,
    DoubleLongUnsigned,
    LongUnsigned,
    OctetString,
    Structure,
    Unsigned,
)
from lastmetre.gbcs.dlms import Obis

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element

TOU_REGISTERS: Final = 48
BLOCK_SETS: Final = 8
BLOCKS: Final = 4
THRESHOLDS: Final = 3
SECONDARY_REGISTERS: Final = 4
DAYS_MAX: Final = 16
WEEKS_MAX: Final = 4
SCRIPT_TABLE: Final = OctetString(Obis.parse("0-0:10.0.100.255").raw)
BLOCK_SCRIPTS: Final = 100
"""Added to a block set for its script number."""
SECONDARY_SCRIPTS: Final = 200
"""Added to a register of the secondary element."""

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


def _days_term(days: Array) -> Term:
    """Each switch of each day by its own name."""
    switch = (Term("time", time), Term("script table", obis), Term("tariff script"))
    names = []
    for number in range(1, len(days.elements) + 1):
        each = Term(f"day profile {number} switch", parts=switch)
        names.append(Term("", parts=(Term(f"identifier of day profile {number}"), Term(each.name, each=each))))
    return Term("day profiles", parts=tuple(names), each=Term("day profile"))


def _season(season: Element) -> Structure:
    name = OctetString(child(season, "SeasonName").text.encode())
    start = wildcard_date(child(season, "SeasonStartDate")).value + b"\x00\x00\x00\x00\x80\x00\xff"
    week = integer(season, "ReferencedWeekName", 1, WEEKS_MAX)
    return Structure((name, OctetString(start), OctetString(bytes((week,)))))


def _week(week: Element) -> Structure:
    by_day = {
        index(day, 1, len(DAYS)): whole(day.text, f"{week.name}/ReferencedDayName", 1, DAYS_MAX)
        for day in week.all("ReferencedDayName")
    }
    name = OctetString(bytes((integer(week, "WeekName", 1, WEEKS_MAX),)))
    return Structure((name, *(Unsigned(by_day[day]) for day in sorted(by_day))))


def _script(switch: Element, *, secondary: bool) -> int:
    if secondary:
        return SECONDARY_SCRIPTS + integer(switch, "TOUTariffAction", 1, SECONDARY_REGISTERS)
    if switch.find("BlockTariffAction") is not None:
        return BLOCK_SCRIPTS + integer(switch, "BlockTariffAction", 1, BLOCK_SETS)
    return integer(switch, "TOUTariffAction", 1, TOU_REGISTERS)


def _day(day: Element, *, secondary: bool) -> Structure:
    switches = tuple(
        Structure((time_of_day(switch, "StartTime"), SCRIPT_TABLE, LongUnsigned(_script(switch, secondary=secondary))))
        for switch in day.all("ProfileSchedule")
    )
    return Structure((Unsigned(integer(day, "DayName", 1, DAYS_MAX)), Array(switches)))


def _switching(tariff: Element, calendar: str, special_days: str, *, secondary: bool) -> tuple[Item, ...]:
    table = child(tariff, "SwitchingTable")
    seasons = Array(tuple(_season(season) for season in child(table, "Seasons").children))
    weeks = Array(tuple(_week(week) for week in child(table, "WeekProfiles").children))
    days = Array(tuple(_day(day, secondary=secondary) for day in child(table, "DayProfiles").children))
    special = Array(
        tuple(
            Structure(
                (
                    LongUnsigned(number),
                    wildcard_date(child(day, "Date")),
                    Unsigned(integer(day, "ReferencedDayName", 1, DAYS_MAX)),
                )
            )
            for number, day in enumerate(child(tariff, "SpecialDays").children, 1)
        )
    )
    return (
        set_(calendar, 7, seasons, _SEASONS),
        set_(calendar, 8, weeks, _WEEKS),
        set_(calendar, 9, days, _days_term(days)),
        set_(special_days, 2, special, _SPECIAL_DAYS),
    )


def _thresholds(tariff: Element) -> tuple[Item, ...]:
    """Block thresholds by block set; only those given are sent."""
    items = []
    sets = child(tariff, "ThresholdMatrix").all("Thresholds")
    for number, thresholds in sorted((index(found, 1, BLOCK_SETS), found) for found in sets):
        values = sorted(
            (index(value, 1, THRESHOLDS), whole(value.text, "BlockThreshold", 0, 2**32 - 1))
            for value in thresholds.all("BlockThreshold")
        )
        data = Array(tuple(DoubleLongUnsigned(value) for _, value in values))
        each = Term(f"block set {number} threshold")
        items.append(set_(f"21/0-0:16.1.{10 + number}.255", 2, data, Term(f"thresholds of set {number}", each=each)))
    return tuple(items)


# --- prices

IMPORT: Final = (3, "1-0:1.8.0.255", 2)
SECONDARY_IMPORT: Final = (3, "1-20:1.8.0.255", 2)


def _price_identifiers() -> dict[bytes, str]:
    """The 80 prices of the primary element, by identifier in wire order: 48 registers, then blocks A to D."""
    names = {bytes((number,)): f"TOU price {number}" for number in range(1, TOU_REGISTERS + 1)}
    for block in range(1, BLOCKS + 1):
        for number in range(1, BLOCK_SETS + 1):
            names[_block_price(number, block)] = f"price of block {block} in set {number}"
    return names


def _block_price(block_set: int, block: int) -> bytes:
    return bytes(((9 + block) << 4 | block_set,))


PRICES: Final = _price_identifiers()


def _table_term(name: str, prices: tuple[str, ...]) -> Term:
    whole_table = charge_term(name, f"{name} entry")
    named = tuple(Term(price, parts=(Term("identifier"), Term("rate"))) for price in prices)
    return Term(name, parts=(*whole_table.parts[:2], Term("", parts=named, each=whole_table.parts[2].each)))


def _primary_prices(prices: Element) -> dict[bytes, int]:
    given: dict[bytes, int] = {}
    for kind in ("TOUTariff", "BlockTariff", "HybridTariff"):
        tariff = prices.find(kind)
        if tariff is None:
            continue
        for price in tariff.all("TOUPrice"):
            given[bytes((index(price, 1, TOU_REGISTERS),))] = whole(price.text, "TOUPrice", -(2**15), 2**15 - 1)
        for block_set in tariff.all("BlockPrices"):
            number = index(block_set, 1, BLOCK_SETS)
            for price in block_set.all("BlockPrice"):
                identifier = _block_price(number, index(price, 1, BLOCKS))
                given[identifier] = whole(price.text, "BlockPrice", -(2**15), 2**15 - 1)
    return given


def _primary_price_items(asked: Asked) -> tuple[Item, Item]:
    """Standing charge and the table of prices, in which what is not given is zero."""
    prices = child(asked.body, "PriceElements/ElectricityPriceElements")
    given = _primary_prices(prices)
    standing = charge_table(int8(prices, "StandingChargeScale"), (0, "", 0), ((b"", int16(prices, "StandingCharge")),))
    table = charge_table(int8(prices, "PriceScale"), IMPORT, tuple((key, given.get(key, 0)) for key in PRICES))
    return (
        set_("113/0-0:19.20.4.255", 6, standing, charge_term("standing charge", "standing charge entry")),
        set_("113/0-0:19.20.0.255", 6, table, _table_term("tariff", tuple(PRICES.values()))),
    )


_CURRENCIES: Final = {"ECB": 0, "GBP": 1}
"""Whether the currency is the pound. ECB, the euro, was not seen on an ESME [I]."""


def _primary_tariff(asked: Asked) -> tuple[Item, ...]:
    tariff = child(asked.body, "ElecTariffElements")
    pounds = bool(one_of(tariff, "CurrencyUnits", _CURRENCIES))
    currency = Term("currency", choice({1: "GBP", 0: "ECB"}))
    places = (
        ("20/0-0:13.0.0.255", 10, "the switching table"),
        ("9000/0-0:94.44.128.29", 6, "the tariff special days"),
        ("9000/0-0:94.44.2.0", 6, "the currency"),
        ("113/0-0:19.20.4.255", 7, "the standing charge"),
        ("113/0-0:19.20.0.255", 7, "the prices"),
        ("9000/0-0:63.1.1.255", 6, "the thresholds"),
    )
    return (
        *_switching(tariff, "20/0-0:13.0.0.255", "11/0-1:11.0.0.255", secondary=False),
        *_thresholds(tariff),
        set_("9000/0-0:94.44.2.0", 4, Boolean(pounds), currency),
        *_primary_price_items(asked),
        *(activate(place, attribute, asked.when, name) for place, attribute, name in places),
    )


def _primary_price(asked: Asked) -> tuple[Item, ...]:
    return (
        *_primary_price_items(asked),
        activate("113/0-0:19.20.4.255", 7, asked.when, "the standing charge"),
        activate("113/0-0:19.20.0.255", 7, asked.when, "the prices"),
    )


_SECONDARY_PRICES: Final = tuple(f"secondary element price {number}" for number in range(1, SECONDARY_REGISTERS + 1))


def _secondary_price_item(asked: Asked) -> Item:
    """The four prices of the secondary element; what is not given is zero, as on the primary element [I]."""
    prices = child(asked.body, "PriceElements")
    given = {
        index(price, 1, SECONDARY_REGISTERS): whole(price.text, price.name, -(2**15), 2**15 - 1)
        for price in prices.all("ElectricityPriceElement")
    }
    registers = range(1, SECONDARY_REGISTERS + 1)
    rows = tuple((bytes((number,)), given.get(number, 0)) for number in registers)
    table = charge_table(int8(prices, "PriceScale"), SECONDARY_IMPORT, rows)
    return set_("113/0-0:19.20.5.255", 6, table, _table_term("secondary element tariff", _SECONDARY_PRICES))


def _secondary_tariff(asked: Asked) -> tuple[Item, ...]:
    return (
        _secondary_price_item(asked),
        *_switching(asked.body, "20/0-0:13.0.1.255", "11/0-1:11.0.1.255", secondary=True),
        activate("20/0-0:13.0.1.255", 10, asked.when, "the switching table"),
        activate("113/0-0:19.20.5.255", 7, asked.when, "the prices"),
        activate("9000/0-0:94.44.128.30", 6, asked.when, "the tariff special days"),
    )


def _secondary_price(asked: Asked) -> tuple[Item, ...]:
    return (
        _secondary_price_item(asked),
        activate("113/0-0:19.20.5.255", 7, asked.when, "the prices"),
    )


RULES: Final = (
    Rule("ECS01a", 0x0019, ("1.1.1",), _primary_tariff, source="B9"),
    Rule("ECS01b", 0x00A2, ("1.2.1",), _primary_price, source="B9"),
    Rule("ECS01c", 0x00B7, ("1.1.2",), _secondary_tariff, source="B9"),
    Rule("ECS01d", 0x00C7, ("1.2.2",), _secondary_price, source="B9"),
)
