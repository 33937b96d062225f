"""What the device knows of itself and shows: identity, clock, messages, contact details, event behaviours, MPAN, PIN.

Sources name rules of the transform reference (B3 to B5, B10, B11). Values of a new meter are a DESIGN CHOICE.
"""

from __future__ import annotations

from typing import Final

from lastmetre.gbcs.axdr import BitString, Boolean, Enum, LongUnsigned, OctetString
from lastmetre.home.objects.rows import Row, fixed, live, writable

BEHAVIOURS: Final = 256
"""Events whose behaviour can be set: bit 0x00 is the last one (transform B10)."""
_OFF: Final = BitString(BEHAVIOURS, bytes(BEHAVIOURS // 8))
_UNSET: Final = BitString(2 * BEHAVIOURS, bytes(BEHAVIOURS // 4))


def _behaviours(channel: int, number: int, use_cases: str) -> tuple[Row, ...]:
    """What is set with a selection mask in one object is read from another, four numbers on."""
    return (
        writable(f"1/0-{channel}:97.98.{number}#2", "bits512", _UNSET, f"{use_cases}: selection, then values"),
        fixed(f"1/0-{channel}:97.98.{number + 4}#2", "bits256", _OFF, f"{use_cases}: what is in force"),
    )


ROWS: Final[tuple[Row, ...]] = (
    live("1/0-0:0.2.1#2", "os", "ECS52: firmware version"),
    live("1/0-0:96.1.1#2", "os8", "ECS26e: the device's entity identifier"),
    fixed("1/0-0:96.1.2#2", "os", OctetString(b"\x42"), "ECS26e, ECS26m: meter variant (meaning INFERENCE)"),
    fixed("1/0-0:96.1.4#2", "os", OctetString(b"LASTMTRE"), "ECS26e, ECS26m: manufacturer and model (INFERENCE)"),
    fixed("1/0-0:96.1.6#2", "os", OctetString(b"CSP"), "ECS26e, ECS26m: three or four octets seen, meaning unknown"),
    writable("1/0-0:94.44.0.4#2", "bool", Boolean(value=False), "ECS81, ECS26e: supply is locked after tampering"),
    fixed("1/0-0:94.44.0.0#2", "u16", LongUnsigned(0), "ECS26c: randomised offset now, seconds"),
    writable("1/0-0:94.44.0.1#2", "u16", LongUnsigned(0), "ECS38, ECS26c: its limit, seconds"),
    fixed("1/0-0:94.44.0.2#2", "u16", LongUnsigned(0), "ECS26c: its number, thousandths of the limit (INFERENCE)"),
    live("8/0-0:1.0.0#2", "os12", "ECS70"),
    live("8/0-0:1.0.0#4", "u8", "ECS70: 0 reliable"),
    writable("8/0-0:1.0.0#9", "enum", Enum(5), "ECS70: clock base"),
    writable("1/0-2:96.13.1#2", "os", OctetString(b""), "ECS10: the supplier's message"),
    writable("1/0-3:96.13.1#2", "os4|os0", OctetString(b""), "ECS50: privacy PIN; none when empty"),
    writable("1/0-0:94.44.3.1#2", "os", OctetString(b""), "ECS14: writing it takes the privacy PIN away"),
    writable("1/0-0:94.44.3.2#2", "os12", OctetString(b"\xff" * 12), "ECS12: nothing older is shown to a new tenant"),
    writable("9000/0-0:96.13.0#2", "os", OctetString(b""), "ECS16: the supplier's telephone number"),
    writable("9000/0-0:96.13.1#2", "os", OctetString(b""), "ECS16: the supplier's name"),
    writable("1/0-0:94.44.34.11#2", "os13|os26", OctetString(b"0" * 13), "ECS39a, ECS40: import MPAN, or two of them"),
    writable("1/1-0:0.0.2#2", "os13", OctetString(b"0" * 13), "ECS39b, ECS40: export MPAN"),
    *_behaviours(30, 11, "ECS25a, ECS25r1: supplier, Alerts by WAN"),
    *_behaviours(30, 12, "ECS25a1, ECS25r1: supplier, to HAN devices"),
    *_behaviours(30, 13, "ECS25a2, ECS25r1: supplier, audible"),
    *_behaviours(30, 14, "ECS25a3, ECS25r1: supplier, log"),
    *_behaviours(33, 11, "ECS25b, ECS25r2: network operator, Alerts by WAN"),
    *_behaviours(33, 14, "ECS25b3, ECS25r2: network operator, log"),
)
