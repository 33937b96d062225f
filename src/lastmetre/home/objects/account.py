"""Account, credits and debts: classes 111, 112, 113 (debts), 115, the settings of ECS08/ECS08a, ECS02/03, ECS04, ECS07.

Sources name rules of the transform reference (B1, B11). Values of a new meter are a DESIGN CHOICE throughout, within
what the reference messages show; money in thousandths of a penny.
"""

from __future__ import annotations

from typing import Final

from lastmetre.gbcs.axdr import (
    Array,
    Data,
    DoubleLong,
    DoubleLongUnsigned,
    Integer,
    Long,
    LongUnsigned,
    OctetString,
    Structure,
)
from lastmetre.home.attributes import CREDIT, NEVER, PREPAYMENT
from lastmetre.home.objects.rows import ActivationRow, Becoming, Row, activation, fixed, live, move, writable

EMPTY: Final = Array(())
NOT_PENDING: Final = OctetString(NEVER)
CHARGE_SHAPE: Final = "{{i8 i8} {u16 os6 i8} [{os i16}]}"
LINKS_SHAPE: Final = "[{os6 os6 bits3}]"
SCHEDULE_SHAPE: Final = "[{u16 bool os6 u16 os4 u16 bits7 bits os5 os5}]"
SPECIAL_DAYS_SHAPE: Final = "[{u16 os5 u8}]"


def charge_table(price: int = 0, scale: int = -5) -> Data:
    """A charge that counts no commodity: one price, by time."""
    return Structure(
        (
            Structure((Integer(0), Integer(scale))),
            Structure((LongUnsigned(0), OctetString(bytes(6)), Integer(0))),
            Array((Structure((OctetString(b""), Long(price))),)),
        )
    )


def _setting(obis: str, shape: str, new: Data, source: str) -> tuple[Row, ...]:
    """A class 9000 object: in force, waiting, and the time when waiting ends."""
    return (
        writable(f"9000/{obis}#2", shape, new, source),
        writable(f"9000/{obis}#4", shape, new, source),
        writable(f"9000/{obis}#6", "os12", NOT_PENDING, source),
    )


def _debt(obis: str) -> tuple[Row, ...]:
    return (
        fixed(f"113/{obis}#5", CHARGE_SHAPE, charge_table(), "ECS26a, ECS07: the rate in force"),
        writable(f"113/{obis}#6", CHARGE_SHAPE, charge_table(), "ECS07 items 1, 2: the rate that waits for method 2"),
        writable(f"113/{obis}#8", "u32", DoubleLongUnsigned(86_400), "ECS07 items 4, 5: period in seconds"),
    )


ROWS: Final[tuple[Row, ...]] = (
    fixed("111/0-0:19.0.0#2", "{enum enum}", PREPAYMENT, "ECS26j; ECS02 and ECS03 change it"),
    fixed("111/0-0:19.0.0#11", LINKS_SHAPE, EMPTY, "ECS26a; ECS02 and ECS03 change it"),
    fixed("111/0-0:19.0.0#16", "i32", DoubleLong(100_000), "ECS26a: low credit threshold"),
    fixed(
        "111/0-0:19.0.0#18", "u16", LongUnsigned(0), "ECS26a: debt recovery rate cap; unit pence DESIGN CHOICE; 0 none"
    ),
    fixed("111/0-0:19.0.0#19", "i32", DoubleLong(604_800), "ECS26a: its period"),
    writable("111/0-1:19.0.0#2", "{enum enum}", CREDIT, "ECS02, ECS03: the mode that waits"),
    writable("111/0-1:19.0.0#11", LINKS_SHAPE, EMPTY, "ECS02, ECS03: the links that wait"),
    writable("111/0-1:19.0.0#13", "os12", NOT_PENDING, "ECS02, ECS03: when they count"),
    live("112/0-0:19.10.0#2", "i32", "ECS82"),
    fixed("112/0-0:19.10.1#9", "i32", DoubleLong(500_000), "ECS26a: emergency credit limit"),
    fixed("112/0-0:19.10.1#10", "i32", DoubleLong(100_000), "ECS26a: emergency credit threshold"),
    *_debt("0-0:19.20.1"),
    *_debt("0-0:19.20.2"),
    writable("113/0-0:19.20.3#13", "u16", LongUnsigned(0), "ECS07 item 3: hundredths of a per cent of each payment"),
    fixed("21/0-0:16.0.1#2", "[i32]", Array((DoubleLong(0),)), "ECS26a: disablement threshold as a monitor's"),
    *_setting("0-0:94.44.2.10", "i32", DoubleLong(50_000_000), "ECS08, ECS08a, ECS26a: maximum credit"),
    *_setting("0-0:94.44.2.20", "i32", DoubleLong(100_000_000), "ECS08 (attribute 2), ECS08a (4): maximum balance"),
    *_setting("0-0:94.44.128.2", "i32", DoubleLong(500_000), "ECS08a: emergency credit limit"),
    *_setting("0-0:94.44.128.3", "i32", DoubleLong(100_000), "ECS08a: emergency credit threshold"),
    *_setting("0-0:94.44.128.9", "i32", DoubleLong(100_000), "ECS08a: low credit threshold"),
    *_setting("0-0:94.44.128.12", "u16", LongUnsigned(0), "ECS08a: debt recovery rate cap"),
    *_setting("0-0:94.44.128.13", "i32", DoubleLong(604_800), "ECS08a: its period"),
    *_setting("0-0:94.44.128.22", "i32", DoubleLong(0), "ECS03: disablement threshold"),
    writable("9000/0-0:94.44.128.28#6", "os12", NOT_PENDING, "ECS08a: when the non-disablement calendar counts"),
    writable("9000/0-0:94.44.128.31#6", "os12", NOT_PENDING, "ECS08a: when its special days count"),
    fixed("10/0-0:12.0.1#2", SCHEDULE_SHAPE, EMPTY, "ECS26a: non-disablement calendar"),
    writable("10/0-1:12.0.1#2", SCHEDULE_SHAPE, EMPTY, "ECS08a item 4"),
    fixed("11/0-0:11.0.2#2", SPECIAL_DAYS_SHAPE, EMPTY, "ECS26a: its special days"),
    writable("11/0-1:11.0.2#2", SPECIAL_DAYS_SHAPE, EMPTY, "ECS08a item 1"),
)


def _own(obis: str, *more: str, becoming: Becoming = Becoming.AS_IT_IS) -> ActivationRow:
    moves = [move(f"9000/{obis}#4", f"9000/{obis}#2")]
    moves += [move(f"9000/{obis}#4", active, becoming) for active in more]
    return activation(f"9000/{obis}#6", *moves, source="INFERENCE: what ECS08a sets, ECS26a reads")


ACTIVATIONS: Final[tuple[ActivationRow, ...]] = (
    activation(
        "111/0-1:19.0.0#13",
        move("111/0-1:19.0.0#2", "111/0-0:19.0.0#2", Becoming.IN_FORCE),
        move("111/0-1:19.0.0#11", "111/0-0:19.0.0#11"),
        source="ECS02, ECS03 set 0-1 and ECS26j, ECS26a read 0-0",
    ),
    _own("0-0:94.44.2.10"),
    _own("0-0:94.44.2.20"),
    _own("0-0:94.44.128.2", "112/0-0:19.10.1#9"),
    _own("0-0:94.44.128.3", "112/0-0:19.10.1#10"),
    _own("0-0:94.44.128.9", "111/0-0:19.0.0#16"),
    _own("0-0:94.44.128.12", "111/0-0:19.0.0#18"),
    _own("0-0:94.44.128.13", "111/0-0:19.0.0#19"),
    _own("0-0:94.44.128.22", "21/0-0:16.0.1#2", becoming=Becoming.IN_AN_ARRAY),
    activation(
        "9000/0-0:94.44.128.28#6",
        move("10/0-1:12.0.1#2", "10/0-0:12.0.1#2"),
        source="gbcs-messages 7.6: non-disablement calendar",
    ),
    activation(
        "9000/0-0:94.44.128.31#6",
        move("11/0-1:11.0.2#2", "11/0-0:11.0.2#2"),
        source="gbcs-messages 7.6: its special days",
    ),
)
