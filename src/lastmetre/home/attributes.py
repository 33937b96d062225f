"""Attributes of COSEM objects: how they are named here, and the ones the meter's own rules speak of.

Which attributes exist, what they hold and how they may change are tables: ``home.objects``. Money is in thousandths of
a penny, as the reference messages have it (their balance of 250000 is 2.50 pounds, their prices count hundred
thousandths of a pound: INFERENCE from the scales beside them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lastmetre.gbcs.axdr import Enum, Structure
from lastmetre.gbcs.dlms import Obis

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


def parse_attribute(text: str) -> Attribute:
    """An attribute written ``class/object#number``, as ``9000/0-0:94.44.2.10#4``."""
    class_id, _, rest = text.partition("/")
    obis, _, number = rest.partition("#")
    return at(int(class_id), obis, int(number))


ACCOUNT: Final = "0-0:19.0.0"
METER_BALANCE: Final = at(112, "0-0:19.10.0", 2)
PAYMENT_MODE: Final = at(111, ACCOUNT, 2)
CHARGE_LINKS: Final = at(111, ACCOUNT, 11)
LOW_CREDIT: Final = at(111, ACCOUNT, 16)
DEBT_CAP: Final = at(111, ACCOUNT, 18)
DEBT_CAP_PERIOD: Final = at(111, ACCOUNT, 19)
LOAD_SWITCH_STATE: Final = at(70, "0-0:96.3.10", 3)
TOKEN_ENTER: Final = at(115, "0-0:19.40.0", 1)
ADJUST_BALANCE: Final = at(112, "0-0:19.10.0", 1)
SUPPLY_SCRIPT: Final = at(9, "0-0:10.0.106", 1)
MAX_CREDIT: Final = at(EXTENDED_DATA, "0-0:94.44.2.10", ACTIVE)
MAX_BALANCE: Final = at(EXTENDED_DATA, "0-0:94.44.2.20", ACTIVE)
DISABLEMENT_THRESHOLD: Final = at(EXTENDED_DATA, "0-0:94.44.128.22", ACTIVE)
EMERGENCY_CREDIT_LIMIT: Final = at(112, "0-0:19.10.1", 9)
EMERGENCY_CREDIT_THRESHOLD: Final = at(112, "0-0:19.10.1", 10)
PRICES: Final = at(113, "0-0:19.20.0", 5)
STANDING_CHARGE: Final = at(113, "0-0:19.20.4", 5)
SECONDARY_PRICES: Final = at(113, "0-0:19.20.5", 5)
DEBT_PER_PAYMENT: Final = at(113, "0-0:19.20.3", 13)
NON_DISABLEMENT: Final = at(10, "0-0:12.0.1", 2)
NON_DISABLEMENT_DAYS: Final = at(11, "0-0:11.0.2", 2)
BILLING_CALENDAR: Final = at(22, "0-0:15.0.0", 4)
BLOCK_RESET_CALENDAR: Final = at(22, "0-0:15.1.0", 4)
TARIFF_DAYS: Final = at(11, "0-0:11.0.0", 2)
SECONDARY_DAYS: Final = at(11, "0-0:11.0.1", 2)
CLOCK_TIME: Final = at(8, "0-0:1.0.0", 2)
CLOCK_STATUS: Final = at(8, "0-0:1.0.0", 4)
LIMIT_DISABLES: Final = at(EXTENDED_DATA, "0-0:94.44.0.3", ACTIVE)
LIMIT_POWER: Final = at(71, "0-0:17.0.0", 4)
LIMIT_PERIOD: Final = at(71, "0-0:17.0.0", 6)
LIMIT_RESTORATION: Final = at(71, "0-0:17.0.0", 7)
LIMIT_COUNT: Final = at(3, "0-0:94.44.42", 2)
MESSAGE: Final = at(1, "0-2:96.13.1", 2)
PRIVACY_PIN: Final = at(1, "0-3:96.13.1", 2)
SUPPLIER_NAME: Final = at(EXTENDED_DATA, "0-0:96.13.1", 2)
SUPPLIER_PHONE: Final = at(EXTENDED_DATA, "0-0:96.13.0", 2)
DEVICE_ID: Final = at(1, "0-0:96.1.1", 2)

PREPAYMENT: Final = Structure((Enum(2), Enum(2)))
"""The payment mode in force in prepayment mode; in credit mode its first element is 1 (transform B1).

The second element is the account's status: a mode that waits says 1, the one in force 2 (ECS02 sets 1, ECS26j reads 2).
"""
CREDIT: Final = Structure((Enum(1), Enum(2)))
