"""Tariffs and prices of an ESME (transform B9): switching table, special days, thresholds, price tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from lastmetre.gbcs.axdr import (
    Array,
    Data,
    DoubleLongUnsigned,
    Long,
    LongUnsigned,
    OctetString,
    Structure,
    Unsigned,
)
from lastmetre.gbcs.build.charges import IMPORT, SECONDARY_IMPORT, charge_table, one_price
from lastmetre.gbcs.build.checks import Checked, Int8, Int16, Size, UInt32, Whole
from lastmetre.gbcs.build.frame import Found, Frame
from lastmetre.gbcs.build.shapes import (
    WHEN,
    DlmsCommand,
    Field,
    Items,
    Line,
    flag,
    read_lines,
    rows,
    set_,
    write_lines,
)
from lastmetre.gbcs.build.times import Date, TimeOfDay
from lastmetre.gbcs.dlms import Obis, Set
from lastmetre.gbcs.errors import GbcsValueError

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

DayNumber: TypeAlias = Annotated[int, Whole(1, DAYS_MAX)]
WeekNumber: TypeAlias = Annotated[int, Whole(1, WEEKS_MAX)]

# --- the switching table

_MIDNIGHT: Final = b"\x00\x00\x00\x00\x80\x00\xff"


@dataclass(frozen=True, slots=True)
class Season(Checked):
    """From a date on, a week profile."""

    name: Annotated[bytes, Size(0, 255)]
    start: Date
    week: WeekNumber

    def to_data(self) -> Data:
        """Its row."""
        start = OctetString(self.start.dlms.value + _MIDNIGHT)
        return Structure((OctetString(self.name), start, OctetString(bytes((self.week,)))))

    @classmethod
    def from_data(cls, data: Any) -> "Season":
        """From its row."""
        name, start, week = (element.value for element in data.elements)
        return cls(name, Date.from_dlms(start[:5]), week[0])


@dataclass(frozen=True, slots=True)
class Week(Checked):
    """A day profile for each day of a week, Monday first."""

    number: WeekNumber
    days: Annotated[tuple[DayNumber, ...], Size(7, 7)]

    def to_data(self) -> Data:
        """Its row."""
        return Structure((OctetString(bytes((self.number,))), *map(Unsigned, self.days)))

    @classmethod
    def from_data(cls, data: Any) -> "Week":
        """From its row."""
        number, *days = (element.value for element in data.elements)
        return cls(number[0], tuple(days))


@dataclass(frozen=True, slots=True)
class Switch(Checked):
    """From a time of day on, a register (1 to 48), or a set of block registers.

    On the secondary element a register from 1 to 4.
    """

    at: TimeOfDay
    register: Annotated[int, Whole(1, TOU_REGISTERS)] | None = None
    block_set: Annotated[int, Whole(1, BLOCK_SETS)] | None = None

    def _agree(self) -> None:
        if (self.register is None) is (self.block_set is None):
            raise GbcsValueError("a switch names a register or a set of block registers, and not both")

    @property
    def script(self) -> int:
        """The script's number on the primary element."""
        return BLOCK_SCRIPTS + self.block_set if self.block_set is not None else self.register or 0


@dataclass(frozen=True, slots=True)
class Day(Checked):
    """The switches of a day."""

    number: DayNumber
    switches: Annotated[tuple[Switch, ...], Size(0, 255)]


@dataclass(frozen=True, slots=True)
class TariffSpecialDay(Checked):
    """A date that has a day profile of its own."""

    date: Date
    day: DayNumber


def _day_data(day: Day, offset: int) -> Data:
    switches = tuple(
        Structure((switch.at.dlms, SCRIPT_TABLE, LongUnsigned(switch.script + offset))) for switch in day.switches
    )
    return Structure((Unsigned(day.number), Array(switches)))


def _switch(row: Any, offset: int) -> Switch:
    at, _, script = (element.value for element in row.elements)
    number = script - offset
    by_block = number > BLOCK_SCRIPTS
    return Switch(TimeOfDay.from_dlms(at), None if by_block else number, number - BLOCK_SCRIPTS if by_block else None)


def _day(data: Any, offset: int) -> Day:
    number, switches = data.elements
    return Day(number.value, tuple(_switch(row, offset) for row in switches.elements))


def _days(*, secondary: bool) -> Field:
    offset = SECONDARY_SCRIPTS if secondary else 0
    return rows("days", lambda day: _day_data(day, offset), lambda data: _day(data, offset))


def _special_days_data(days: tuple[TariffSpecialDay, ...]) -> Data:
    return Array(
        tuple(Structure((LongUnsigned(number), day.date.dlms, Unsigned(day.day))) for number, day in enumerate(days, 1))
    )


def _special_days(data: Any) -> tuple[TariffSpecialDay, ...]:
    parts = ((element.value for element in row.elements) for row in data.elements)
    return tuple(TariffSpecialDay(Date.from_dlms(date), day) for _, date, day in parts)


def _switching(calendar: str, special_days: str, *, secondary: bool) -> tuple[Line, ...]:
    return (
        set_(calendar, 7, rows("seasons", Season.to_data, Season.from_data)),
        set_(calendar, 8, rows("weeks", Week.to_data, Week.from_data)),
        set_(calendar, 9, _days(secondary=secondary)),
        set_(special_days, 2, Field("special_days", _special_days_data, _special_days)),
    )


# --- prices


def price_identifiers() -> Mapping[bytes, tuple[int, int | None]]:
    """The 80 prices of the primary element by identifier in wire order: registers, then blocks A to D of each set.

    A value is the register, or the block set and its block.
    """
    keys: dict[bytes, tuple[int, int | None]] = {bytes((at,)): (at, None) for at in range(1, TOU_REGISTERS + 1)}
    for block in range(1, BLOCKS + 1):
        for block_set in range(1, BLOCK_SETS + 1):
            keys[block_price(block_set, block)] = (block_set, block)
    return MappingProxyType(keys)


def block_price(block_set: int, block: int) -> bytes:
    """The identifier of a block's price."""
    return bytes(((9 + block) << 4 | block_set,))


PRICES: Final = price_identifiers()


def _price(identifier: bytes, rate: int) -> Data:
    return Structure((OctetString(identifier), Long(rate)))


@dataclass(frozen=True, slots=True)
class _PrimaryPrices:
    """The table of 80 prices."""

    def write(self, values: Any, frame: Frame) -> Data:
        del frame
        rates: list[int] = [*values.register_prices, *([0] * (TOU_REGISTERS - len(values.register_prices)))]
        sets = (*values.block_prices, *(((0,) * BLOCKS,) * (BLOCK_SETS - len(values.block_prices))))
        rates += [prices[block] for block in range(BLOCKS) for prices in sets]
        return Array(tuple(map(_price, PRICES, rates)))

    def read(self, data: Any, found: Found) -> None:
        rates = [row.elements[1].value for row in data.elements]
        found.put("register_prices", _cut(tuple(rates[:TOU_REGISTERS]), 0))
        blocks = rates[TOU_REGISTERS:]
        sets = tuple(tuple(blocks[number::BLOCK_SETS]) for number in range(BLOCK_SETS))
        found.put("block_prices", _cut(sets, (0,) * BLOCKS))


def _cut(values: tuple[Any, ...], nothing: Any) -> tuple[Any, ...]:
    """Without what stands at the end for nothing."""
    kept = len(values)
    while kept and values[kept - 1] == nothing:
        kept -= 1
    return values[:kept]


@dataclass(frozen=True, slots=True)
class _SecondaryPrices:
    """The four prices of the secondary element; what is not given is zero, as on the primary element [I]."""

    def write(self, values: Any, frame: Frame) -> Data:
        del frame
        rates = (*values.register_prices, *([0] * (SECONDARY_REGISTERS - len(values.register_prices))))
        return Array(tuple(_price(bytes((at,)), rate) for at, rate in enumerate(rates, 1)))

    def read(self, data: Any, found: Found) -> None:
        found.put("register_prices", _cut(tuple(row.elements[1].value for row in data.elements), 0))


_STANDING: Final = set_("113/0-0:19.20.4.255", 6, one_price("standing_charge_scale", "standing_charge"))
_PRIMARY: Final = set_("113/0-0:19.20.0.255", 6, charge_table("price_scale", IMPORT, _PrimaryPrices()))
_SECONDARY: Final = set_("113/0-0:19.20.5.255", 6, charge_table("price_scale", SECONDARY_IMPORT, _SecondaryPrices()))

RegisterPrices: TypeAlias = Annotated[tuple[Int16, ...], Size(0, TOU_REGISTERS)]
"""A price for each register, from the first on; those left out at the end are zero."""
BlockPrices: TypeAlias = Annotated[tuple[Annotated[tuple[Int16, ...], Size(BLOCKS, BLOCKS)], ...], Size(0, BLOCK_SETS)]
"""Four prices, of blocks 1 to 4, for each block set."""


@dataclass(frozen=True, slots=True)
class SetPrice(DlmsCommand):
    """ECS01b: prices of the primary element, each times ten to the power of its scale, in pounds per kWh or day."""

    CODES: ClassVar = (0x00A2,)
    LAYOUT: ClassVar = (
        _STANDING,
        _PRIMARY,
        set_("113/0-0:19.20.4.255", 7, WHEN),
        set_("113/0-0:19.20.0.255", 7, WHEN),
    )

    standing_charge: Int16
    standing_charge_scale: Int8
    price_scale: Int8
    register_prices: RegisterPrices = ()
    block_prices: BlockPrices = ()


@dataclass(frozen=True, slots=True)
class BlockThresholds(Checked):
    """Where the blocks of a block set end, in watt hours."""

    block_set: Annotated[int, Whole(1, BLOCK_SETS)]
    thresholds_wh: Annotated[tuple[UInt32, ...], Size(0, THRESHOLDS)]


def _threshold_items(thresholds: tuple[BlockThresholds, ...]) -> Items:
    return tuple(
        (
            Set(21, Obis.parse(f"0-0:16.1.{10 + each.block_set}.255"), 2),
            Array(tuple(map(DoubleLongUnsigned, each.thresholds_wh))),
        )
        for each in thresholds
    )


def _thresholds(items: Items) -> tuple[BlockThresholds, ...]:
    pairs: Any = items
    return tuple(
        BlockThresholds(spec.obis.raw[4] - 10, tuple(element.value for element in data.elements))
        for spec, data in pairs
    )


_TABLE: Final = _switching("20/0-0:13.0.0.255", "11/0-1:11.0.0.255", secondary=False)
_REST: Final = (
    set_("9000/0-0:94.44.2.0", 4, flag("in_pounds")),
    _STANDING,
    _PRIMARY,
    *(
        set_(place, attribute, WHEN)
        for place, attribute in (
            ("20/0-0:13.0.0.255", 10),
            ("9000/0-0:94.44.128.29", 6),
            ("9000/0-0:94.44.2.0", 6),
            ("113/0-0:19.20.4.255", 7),
            ("113/0-0:19.20.0.255", 7),
            ("9000/0-0:63.1.1.255", 6),
        )
    ),
)


@dataclass(frozen=True, slots=True)
class SetTariff(DlmsCommand):
    """ECS01a: the whole tariff of the primary element. ``in_pounds``: else euros, which was not seen [I]."""

    CODES: ClassVar = (0x0019,)

    seasons: tuple[Season, ...]
    weeks: tuple[Week, ...]
    days: tuple[Day, ...]
    special_days: tuple[TariffSpecialDay, ...]
    standing_charge: Int16
    standing_charge_scale: Int8
    price_scale: Int8
    register_prices: RegisterPrices = ()
    block_prices: BlockPrices = ()
    thresholds: tuple[BlockThresholds, ...] = ()
    in_pounds: bool = True

    def _agree(self) -> None:
        sets = [each.block_set for each in self.thresholds]
        if sets != sorted(set(sets)):
            raise GbcsValueError("SetTariff.thresholds names each block set once, in order")

    def items(self, frame: Frame) -> Items:
        """Thresholds stand between the switching table and the prices."""
        thresholds = _threshold_items(self.thresholds)
        return (*write_lines(_TABLE, self, frame), *thresholds, *write_lines(_REST, self, frame))

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """What stands between them are thresholds."""
        start, end = len(_TABLE), len(items) - len(_REST)
        read_lines(_TABLE, items[:start], found)
        found.put("thresholds", _thresholds(items[start:end]))
        read_lines(_REST, items[end:], found)


SecondaryPrices: TypeAlias = Annotated[tuple[Int16, ...], Size(0, SECONDARY_REGISTERS)]


@dataclass(frozen=True, slots=True)
class SetSecondaryTariff(DlmsCommand):
    """ECS01c: the tariff of the secondary element of a twin element meter."""

    CODES: ClassVar = (0x00B7,)
    LAYOUT: ClassVar = (
        _SECONDARY,
        *_switching("20/0-0:13.0.1.255", "11/0-1:11.0.1.255", secondary=True),
        set_("20/0-0:13.0.1.255", 10, WHEN),
        set_("113/0-0:19.20.5.255", 7, WHEN),
        set_("9000/0-0:94.44.128.30", 6, WHEN),
    )

    seasons: tuple[Season, ...]
    weeks: tuple[Week, ...]
    days: tuple[Day, ...]
    special_days: tuple[TariffSpecialDay, ...]
    price_scale: Int8
    register_prices: SecondaryPrices = ()

    def _agree(self) -> None:
        for day in self.days:
            for switch in day.switches:
                if switch.register is None or switch.register > SECONDARY_REGISTERS:
                    raise GbcsValueError(
                        f"the secondary element has registers 1 to {SECONDARY_REGISTERS} and no blocks"
                    )


@dataclass(frozen=True, slots=True)
class SetSecondaryPrice(DlmsCommand):
    """ECS01d: prices of the secondary element."""

    CODES: ClassVar = (0x00C7,)
    LAYOUT: ClassVar = (_SECONDARY, set_("113/0-0:19.20.5.255", 7, WHEN))

    price_scale: Int8
    register_prices: SecondaryPrices = ()


COMMANDS: Final = (SetTariff, SetPrice, SetSecondaryTariff, SetSecondaryPrice)
