"""Charge objects of an ESME (class 113): their table of passive unit prices (transform B1 ECS07, B9)."""

from __future__ import annotations

from typing import Final

from lastmetre.gbcs.axdr import Integer, Long, LongUnsigned, OctetString
from lastmetre.gbcs.build.shapes import Parts, Shape, array, const, struct, whole
from lastmetre.gbcs.dlms import Obis

IMPORT: Final = (3, "1-0:1.8.0.255", 2)
SECONDARY_IMPORT: Final = (3, "1-20:1.8.0.255", 2)
NO_COMMODITY: Final = (0, "", 0)


def charge_table(scale: str, unit: tuple[int, str, int], prices: Shape) -> Parts:
    """A charge's passive unit prices: scales, what the price refers to, and the table."""
    commodity_class, commodity, commodity_attribute = unit
    reference = OctetString(Obis.parse(commodity).raw if commodity else bytes(6))
    return struct(
        struct(const(Integer(3 if commodity else 0)), whole(Integer, scale)),
        struct(const(LongUnsigned(commodity_class)), const(reference), const(Integer(commodity_attribute))),
        prices,
    )


def one_price(scale: str, rate: str) -> Parts:
    """The table of a charge that has a single price and no commodity."""
    return charge_table(scale, NO_COMMODITY, array(struct(const(OctetString(b"")), whole(Long, rate))))
