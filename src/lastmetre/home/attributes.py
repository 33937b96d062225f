"""The COSEM attributes of an electricity meter: which exist, what they hold when new, how passive ones become active.

Two tables, read beside the reference (transform B1, B2, B11; gbcs-messages 7.6). An attribute that is not in the first
cannot be read or written. Money is in thousandths of a penny, as the reference messages have it (their balance of
250000 is 2.50 pounds: INFERENCE from the limits beside it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import (
    Array,
    Data,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    Integer,
    LongUnsigned,
    OctetString,
    Structure,
)
from lastmetre.gbcs.dlms import Obis

if TYPE_CHECKING:
    from collections.abc import Mapping

EXTENDED_DATA: Final = 9000
"""Class of GBCS Extended Data: 2 active value, 4 passive value, 6 time at which passive becomes active."""
ACTIVE, PASSIVE, ACTIVATION = 2, 4, 6

IMMEDIATELY: Final = bytes.fromhex("0000000000000000008000FF")
"""The date-time that means now (gbcs-messages 7.4)."""
NEVER: Final = bytes.fromhex("FFFFFFFFFFFFFFFFFF8000FF")
"""The date-time that means not specified: it cancels what is pending."""


@dataclass(frozen=True, slots=True, order=True)
class Attribute:
    """One attribute, or method, of one object."""

    class_id: int
    obis: Obis
    number: int

    def __str__(self) -> str:
        return f"{self.class_id}/{self.obis}#{self.number}"


def at(class_id: int, obis: str, number: int) -> Attribute:
    """An attribute from its usual text forms."""
    return Attribute(class_id, Obis.parse(obis), number)


ACCOUNT: Final = "0-0:19.0.0"
METER_BALANCE: Final = at(112, "0-0:19.10.0", 2)
PAYMENT_MODE: Final = at(111, ACCOUNT, 2)
LOAD_SWITCH_STATE: Final = at(70, "0-0:96.3.10", 3)
TOKEN_ENTER: Final = at(115, "0-0:19.40.0", 1)
ADJUST_BALANCE: Final = at(112, "0-0:19.10.0", 1)
SUPPLY_SCRIPT: Final = at(9, "0-0:10.0.106", 1)
MAX_CREDIT: Final = at(EXTENDED_DATA, "0-0:94.44.2.10", ACTIVE)
MAX_BALANCE: Final = at(EXTENDED_DATA, "0-0:94.44.2.20", ACTIVE)
DISABLEMENT_THRESHOLD: Final = at(EXTENDED_DATA, "0-0:94.44.128.22", ACTIVE)
EMERGENCY_CREDIT_LIMIT: Final = at(112, "0-0:19.10.1", 9)

PREPAYMENT: Final = Structure((Enum(2), Enum(1)))
"""The payment mode attribute in prepayment mode; in credit mode its first element is 1 (transform B1)."""

_CREDIT_SCALE: Final = Structure((Integer(-5), Enum(255)))
_EMPTY: Final = Array(())


def _extended(obis: str, value: Data) -> dict[Attribute, Data]:
    """A class 9000 object: active, passive, and nothing pending."""
    return {
        at(EXTENDED_DATA, obis, ACTIVE): value,
        at(EXTENDED_DATA, obis, PASSIVE): value,
        at(EXTENDED_DATA, obis, ACTIVATION): OctetString(NEVER),
    }


def _charge_table() -> Data:
    """A charge's price table before anything was charged: a scale of one, no commodity, rate zero."""
    return Structure(
        (
            Structure((Integer(0), Integer(0))),
            Structure((LongUnsigned(0), OctetString(bytes(6)), Integer(0))),
            _EMPTY,
        )
    )


NEW_METER: Final[Mapping[Attribute, Data]] = {
    # account and credits: 111/112, read by ECS26a and ECS26j
    PAYMENT_MODE: PREPAYMENT,
    at(111, ACCOUNT, 11): _EMPTY,
    at(111, ACCOUNT, 16): DoubleLong(100_000),
    at(111, ACCOUNT, 18): LongUnsigned(0),
    at(111, ACCOUNT, 19): DoubleLong(604_800),
    EMERGENCY_CREDIT_LIMIT: DoubleLong(500_000),
    at(112, "0-0:19.10.1", 10): DoubleLong(100_000),
    # time debts and payment debt: 113
    at(113, "0-0:19.20.1", 5): _charge_table(),
    at(113, "0-0:19.20.1", 8): DoubleLongUnsigned(86_400),
    at(113, "0-0:19.20.2", 5): _charge_table(),
    at(113, "0-0:19.20.2", 8): DoubleLongUnsigned(86_400),
    at(113, "0-0:19.20.3", 13): LongUnsigned(0),
    at(21, "0-0:16.0.1", 2): _EMPTY,
    # prepayment settings with an activation time: ECS08a, ECS03
    **_extended("0-0:94.44.2.10", DoubleLong(50_000_000)),
    **_extended("0-0:94.44.2.20", DoubleLong(100_000_000)),
    **_extended("0-0:94.44.128.2", DoubleLong(500_000)),
    **_extended("0-0:94.44.128.3", DoubleLong(100_000)),
    **_extended("0-0:94.44.128.9", DoubleLong(100_000)),
    **_extended("0-0:94.44.128.12", LongUnsigned(0)),
    **_extended("0-0:94.44.128.13", DoubleLong(604_800)),
    **_extended("0-0:94.44.128.22", DoubleLong(0)),
    at(EXTENDED_DATA, "0-0:94.44.128.28", ACTIVATION): OctetString(NEVER),
    at(EXTENDED_DATA, "0-0:94.44.128.31", ACTIVATION): OctetString(NEVER),
    # non-disablement calendar and its special days: 0-1 waits, 0-0 is in force
    at(10, "0-1:12.0.1", 2): _EMPTY,
    at(10, "0-0:12.0.1", 2): _EMPTY,
    at(11, "0-1:11.0.2", 2): _EMPTY,
    at(11, "0-0:11.0.2", 2): _EMPTY,
}

WRITABLE: Final[frozenset[Attribute]] = frozenset(
    [attribute for attribute in NEW_METER if attribute.class_id == EXTENDED_DATA]
    + [at(10, "0-1:12.0.1", 2), at(11, "0-1:11.0.2", 2)]
)
"""What a Command may set (ECS08, ECS08a); all else is changed by the meter itself."""


def _becomes(passive: Attribute, *active: Attribute) -> tuple[Attribute, tuple[Attribute, ...]]:
    return passive, active


def _own(obis: str, *more: Attribute) -> tuple[Attribute, tuple[Attribute, ...]]:
    return _becomes(at(EXTENDED_DATA, obis, PASSIVE), at(EXTENDED_DATA, obis, ACTIVE), *more)


ACTIVATIONS: Final[Mapping[Attribute, tuple[Attribute, tuple[Attribute, ...]]]] = {
    # set this to "now" ... and this passive value becomes these active ones (INFERENCE: what ECS08a sets, ECS26a reads)
    at(EXTENDED_DATA, "0-0:94.44.2.10", ACTIVATION): _own("0-0:94.44.2.10"),
    at(EXTENDED_DATA, "0-0:94.44.2.20", ACTIVATION): _own("0-0:94.44.2.20"),
    at(EXTENDED_DATA, "0-0:94.44.128.2", ACTIVATION): _own("0-0:94.44.128.2", EMERGENCY_CREDIT_LIMIT),
    at(EXTENDED_DATA, "0-0:94.44.128.3", ACTIVATION): _own("0-0:94.44.128.3", at(112, "0-0:19.10.1", 10)),
    at(EXTENDED_DATA, "0-0:94.44.128.9", ACTIVATION): _own("0-0:94.44.128.9", at(111, ACCOUNT, 16)),
    at(EXTENDED_DATA, "0-0:94.44.128.12", ACTIVATION): _own("0-0:94.44.128.12", at(111, ACCOUNT, 18)),
    at(EXTENDED_DATA, "0-0:94.44.128.13", ACTIVATION): _own("0-0:94.44.128.13", at(111, ACCOUNT, 19)),
    at(EXTENDED_DATA, "0-0:94.44.128.22", ACTIVATION): _own("0-0:94.44.128.22"),
    at(EXTENDED_DATA, "0-0:94.44.128.28", ACTIVATION): _becomes(at(10, "0-1:12.0.1", 2), at(10, "0-0:12.0.1", 2)),
    at(EXTENDED_DATA, "0-0:94.44.128.31", ACTIVATION): _becomes(at(11, "0-1:11.0.2", 2), at(11, "0-0:11.0.2", 2)),
}
