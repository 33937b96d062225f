"""Tariffs: switching tables (class 20), special days (11), block thresholds (21), prices (113), billing calendar (22).

Sources name rules of the transform reference (B9, B11). The tariff of a new meter, one season, one week, one day and
no price, is a DESIGN CHOICE.
"""

from __future__ import annotations

from typing import Final

from lastmetre.gbcs.axdr import (
    Array,
    Boolean,
    Data,
    DoubleLongUnsigned,
    Enum,
    Integer,
    Long,
    LongUnsigned,
    OctetString,
    Structure,
    Unsigned,
)
from lastmetre.home.objects.account import (
    CHARGE_SHAPE,
    EMPTY,
    NOT_PENDING,
    SPECIAL_DAYS_SHAPE,
    charge_table,
)
from lastmetre.home.objects.rows import ActivationRow, Row, activation, fixed, live, move, writable

TOU_COUNT: Final = 48
BLOCK_TARIFFS: Final = 8
"""Block registers are kept for so many times of use (class 21 objects 16.0.11 to 16.0.18)."""
BLOCKS: Final = 4
SECONDARY_COUNT: Final = 4
NO_THRESHOLD: Final = 0xFFFF_FFFF
"""A block threshold that is never reached (seen in the reference tariffs)."""
PRICE_IDS: Final = (
    *(bytes((number,)) for number in range(1, TOU_COUNT + 1)),
    *(bytes((16 * (0xA + block) + tariff + 1,)) for block in range(BLOCKS) for tariff in range(BLOCK_TARIFFS)),
)
"""Labels of the price matrix: 48 times of use, then A1-A8, B1-B8, C1-C8, D1-D8 (transform B9)."""

_SEASONS: Final = "[{os os12 os1}]"
_WEEKS: Final = "[{os1 u8 u8 u8 u8 u8 u8 u8}]"
_DAYS: Final = "[{u8 [{os4 os6 u16}]}]"
_FROM: Final = OctetString(bytes.fromhex("07DF0101FF000000008000FF"))


def energy_prices(commodity: bytes, labels: tuple[bytes, ...]) -> Data:
    """A price matrix of nothing: per kWh, by label."""
    return Structure(
        (
            Structure((Integer(3), Integer(-5))),
            Structure((LongUnsigned(3), OctetString(commodity), Integer(2))),
            Array(tuple(Structure((OctetString(label), Long(0))) for label in labels)),
        )
    )


def _switching(obis: str, script: int, use_cases: str) -> tuple[Row, ...]:
    season = Array((Structure((OctetString(b"all"), _FROM, OctetString(b"\x01"))),))
    week = Array((Structure((OctetString(b"\x01"), *(Unsigned(1),) * 7)),))
    action = Structure((OctetString(bytes(4)), OctetString(bytes.fromhex("00000A0064FF")), LongUnsigned(script)))
    day = Array((Structure((Unsigned(1), Array((action,)))),))
    waiting = f"{use_cases}: waits for attribute 10"
    return (
        fixed(f"20/{obis}#3", _SEASONS, season, f"{use_cases}: seasons in force"),
        fixed(f"20/{obis}#4", _WEEKS, week, f"{use_cases}: weeks in force"),
        fixed(f"20/{obis}#5", _DAYS, day, f"{use_cases}: days in force"),
        writable(f"20/{obis}#7", _SEASONS, season, waiting),
        writable(f"20/{obis}#8", _WEEKS, week, waiting),
        writable(f"20/{obis}#9", _DAYS, day, waiting),
        writable(f"20/{obis}#10", "os12", NOT_PENDING, f"{use_cases}: when it counts"),
    )


def _charge(obis: str, new: Data, use_cases: str) -> tuple[Row, ...]:
    return (
        fixed(f"113/{obis}#5", CHARGE_SHAPE, new, f"{use_cases}: in force"),
        writable(f"113/{obis}#6", CHARGE_SHAPE, new, f"{use_cases}: waits for attribute 7"),
        writable(f"113/{obis}#7", "os12", NOT_PENDING, f"{use_cases}: when it counts"),
    )


def _thresholds(number: int) -> tuple[Row, ...]:
    new = Array((DoubleLongUnsigned(NO_THRESHOLD),) * (BLOCKS - 1))
    return (
        fixed(f"21/0-0:16.0.{number}#2", "[u32]", new, "ECS24: thresholds in force, watt hours (unit INFERENCE)"),
        writable(f"21/0-0:16.1.{number}#2", "[u32]", new, "ECS01a: thresholds that wait for 63.1.1"),
    )


ROWS: Final[tuple[Row, ...]] = (
    *_switching("0-0:13.0.0", 1, "ECS01a, ECS24"),
    *_switching("0-0:13.0.1", 201, "ECS01c, ECS24b"),
    *(row for number in range(11, 11 + BLOCK_TARIFFS) for row in _thresholds(number)),
    fixed("11/0-0:11.0.0#2", SPECIAL_DAYS_SHAPE, EMPTY, "ECS24"),
    writable("11/0-1:11.0.0#2", SPECIAL_DAYS_SHAPE, EMPTY, "ECS01a item 4"),
    fixed("11/0-0:11.0.1#2", SPECIAL_DAYS_SHAPE, EMPTY, "ECS24b"),
    writable("11/0-1:11.0.1#2", SPECIAL_DAYS_SHAPE, EMPTY, "ECS01c"),
    *_charge("0-0:19.20.4", charge_table(), "ECS01a, ECS01b, ECS24 (standing charge)"),
    *_charge("0-0:19.20.0", energy_prices(bytes.fromhex("0100010800FF"), PRICE_IDS), "ECS01a, ECS01b, ECS24 (prices)"),
    *_charge(
        "0-0:19.20.5",
        energy_prices(bytes.fromhex("0114010800FF"), PRICE_IDS[:SECONDARY_COUNT]),
        "ECS01c, ECS01d, ECS24b (secondary prices)",
    ),
    fixed("9000/0-0:94.44.2.0#2", "bool", Boolean(value=True), "ECS24: the currency is pounds"),
    writable("9000/0-0:94.44.2.0#4", "bool", Boolean(value=True), "ECS01a"),
    writable("9000/0-0:94.44.2.0#6", "os12", NOT_PENDING, "ECS01a"),
    writable("9000/0-0:94.44.128.29#6", "os12", NOT_PENDING, "ECS01a: when special days count"),
    writable("9000/0-0:94.44.128.30#6", "os12", NOT_PENDING, "ECS01c: when special days count"),
    writable("9000/0-0:63.1.1#6", "os12", NOT_PENDING, "ECS01a: when thresholds count"),
    live("3/0-0:94.44.1.7#2", "u32", "ECS24: the price in force now (INFERENCE)"),
    fixed("3/0-0:94.44.1.7#3", "{i8 enum}", Structure((Integer(-5), Enum(254))), "ECS24: scale and unit"),
    live("3/0-0:94.44.1.8#2", "u32", "ECS24b: the secondary price in force now (INFERENCE)"),
    fixed("3/0-0:94.44.1.8#3", "{i8 enum}", Structure((Integer(-5), Enum(254))), "ECS24b: scale and unit"),
    writable("22/0-0:15.0.0#4", "[{os4 os5}]", EMPTY, "ECS30, ECS30a, ECS26d, ECS26l: billing calendar"),
    writable("22/0-0:15.1.0#4", "[{os4 os5}]", EMPTY, "ECS48: when block counters start again"),
)


def _own_charge(obis: str) -> ActivationRow:
    return activation(
        f"113/{obis}#7", move(f"113/{obis}#6", f"113/{obis}#5"), source="ECS01a-d set 6 and 7, ECS24 and ECS24b read 5"
    )


def _calendar(obis: str) -> ActivationRow:
    moves = (move(f"20/{obis}#{number + 4}", f"20/{obis}#{number}") for number in (3, 4, 5))
    return activation(f"20/{obis}#10", *moves, source="ECS01a, ECS01c set 7 to 10; ECS24, ECS24b read 3 to 5")


ACTIVATIONS: Final[tuple[ActivationRow, ...]] = (
    _calendar("0-0:13.0.0"),
    _calendar("0-0:13.0.1"),
    _own_charge("0-0:19.20.0"),
    _own_charge("0-0:19.20.4"),
    _own_charge("0-0:19.20.5"),
    activation(
        "9000/0-0:94.44.2.0#6",
        move("9000/0-0:94.44.2.0#4", "9000/0-0:94.44.2.0#2"),
        source="gbcs-messages 7.6: currency",
    ),
    activation(
        "9000/0-0:94.44.128.29#6", move("11/0-1:11.0.0#2", "11/0-0:11.0.0#2"), source="gbcs-messages 7.6: special days"
    ),
    activation(
        "9000/0-0:94.44.128.30#6", move("11/0-1:11.0.1#2", "11/0-0:11.0.1#2"), source="gbcs-messages 7.6: special days"
    ),
    activation(
        "9000/0-0:63.1.1#6",
        *(move(f"21/0-0:16.1.{number}#2", f"21/0-0:16.0.{number}#2") for number in range(11, 11 + BLOCK_TARIFFS)),
        source="ECS01a's Alert names it for the threshold matrix; ECS24 reads 16.0.11 to 16.0.18",
    ),
)
