"""What the meter measures and limits: load limit, voltage, power, maximum demand, energy registers.

Sources name rules of the transform reference (B3, B10, B11). Values of a new meter are a DESIGN CHOICE.
"""

from __future__ import annotations

from typing import Final

from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Boolean,
    DoubleLongUnsigned,
    Enum,
    Integer,
    LongUnsigned,
    OctetString,
    Structure,
)
from lastmetre.home.objects.account import NOT_PENDING, SCHEDULE_SHAPE
from lastmetre.home.objects.rows import ActivationRow, Row, activation, fixed, live, move, writable

PHASE_BASES: Final = (32, 52, 72)
"""The third octet of an object's name for phases 1 to 3."""
_PLAIN: Final = Structure((Integer(0), Enum(255)))
_WATTS: Final = Structure((Integer(0), Enum(27)))
_LONG_AGO: Final = OctetString(bytes.fromhex("07D00101FF000000008000FF"))


def _demand_entry(number: int, script: int, hour: int) -> Structure:
    return Structure(
        (
            LongUnsigned(number),
            Boolean(value=True),
            OctetString(bytes.fromhex("00000A8064FF")),
            LongUnsigned(script),
            OctetString(bytes((hour, 0, 0, 0))),
            LongUnsigned(0xFFFF),
            BitString(7, b"\xfe"),
            BitString(0, b""),
            OctetString(bytes.fromhex("000001FFFF")),
            OctetString(b"\xff" * 5),
        )
    )


def _limiter(number: int, threshold: int) -> tuple[Row, ...]:
    source = "ECS29a-d, ECS26b, ECS26k: extreme over, extreme under, sag, swell"
    return (
        writable(f"71/0-0:17.0.{number}#4", "u32", DoubleLongUnsigned(threshold), source),
        writable(f"71/0-0:17.0.{number}#6", "u32", DoubleLongUnsigned(30), source),
    )


def _phase(base: int) -> tuple[Row, ...]:
    return (
        writable(f"1/1-0:{base}.31.0.4#2", "u32", DoubleLongUnsigned(207), "ECS29a-d: average under voltage"),
        writable(f"1/1-0:{base}.35.0.4#2", "u32", DoubleLongUnsigned(253), "ECS29a-d: average over voltage"),
        fixed(f"3/1-0:{base}.32.0.4#2", "u32", DoubleLongUnsigned(0), "ECS23: times under"),
        fixed(f"3/1-0:{base}.32.0.4#3", "{i8 enum}", _PLAIN, "ECS23"),
        fixed(f"3/1-0:{base}.36.0.4#2", "u32", DoubleLongUnsigned(0), "ECS23: times over"),
        fixed(f"3/1-0:{base}.36.0.4#3", "{i8 enum}", _PLAIN, "ECS23"),
        writable(f"7/1-0:{base}.24.0#4", "u32", DoubleLongUnsigned(1_800), "ECS29a-d, ECS23: average over so long"),
    )


def _demand(obis: str, use_case: str) -> tuple[Row, ...]:
    return (
        fixed(f"4/{obis}#2", "u32", DoubleLongUnsigned(0), f"{use_case}: the highest half-hourly mean, watts"),
        fixed(f"4/{obis}#3", "{i8 enum}", _WATTS, use_case),
        fixed(f"4/{obis}#5", "os12", _LONG_AGO, f"{use_case}: when"),
    )


def _export(obis: str, unit: int) -> tuple[Row, ...]:
    scale = Structure((Integer(0), Enum(unit)))
    return (live(f"3/{obis}#2", "u32", "ECS17a"), fixed(f"3/{obis}#3", "{i8 enum}", scale, "ECS17a: unit"))


ROWS: Final[tuple[Row, ...]] = (
    writable("9000/0-0:94.44.0.3#2", "bool", Boolean(value=False), "ECS27: whether the limit disables the supply"),
    writable("9000/0-0:94.44.0.3#4", "bool", Boolean(value=False), "ECS28a"),
    writable("9000/0-0:94.44.0.3#6", "os12", NOT_PENDING, "ECS28a"),
    *(
        row
        for number, what in ((7, "watts"), (6, "seconds above it"), (8, "seconds until it is restored"))
        for row in (
            writable(f"9000/0-0:94.44.128.{number}#4", "u32", DoubleLongUnsigned(0), f"ECS28a: {what}"),
            writable(f"9000/0-0:94.44.128.{number}#6", "os12", NOT_PENDING, f"ECS28a: {what}"),
        )
    ),
    fixed("71/0-0:17.0.0#4", "u32", DoubleLongUnsigned(0), "ECS27: watts; 0 is no limit (DESIGN CHOICE)"),
    fixed("71/0-0:17.0.0#6", "u32", DoubleLongUnsigned(0), "ECS27: seconds above it"),
    fixed("71/0-0:17.0.0#7", "u32", DoubleLongUnsigned(0), "ECS27: seconds until it is restored"),
    fixed("3/0-0:94.44.42#2", "u32", DoubleLongUnsigned(0), "ECS27: how often it was exceeded; ECS28b starts again"),
    fixed("3/0-0:94.44.42#3", "{i8 enum}", _PLAIN, "ECS27"),
    *_limiter(1, 265),
    *_limiter(2, 185),
    *_limiter(3, 216),
    *_limiter(4, 253),
    *(row for base in PHASE_BASES for row in _phase(base)),
    *_demand("1-0:1.6.0", "ECS18b, ECS57"),
    *_demand("1-0:1.6.1", "ECS18b, ECS57 (in the configured hours)"),
    *_demand("1-0:2.6.0", "ECS18a, ECS57 (export)"),
    fixed("1/0-0:94.44.5.0#2", "os12", _LONG_AGO, "ECS18b: last reset of 1.6.0 (INFERENCE)"),
    fixed("1/0-0:94.44.5.1#2", "os12", _LONG_AGO, "ECS18b: last reset of 1.6.1 (INFERENCE)"),
    fixed("1/0-0:94.44.5.2#2", "os12", _LONG_AGO, "ECS18a: last reset of 2.6.0 (INFERENCE)"),
    writable(
        "10/0-0:12.0.0#2",
        SCHEDULE_SHAPE,
        Array((_demand_entry(0, 1, 16), _demand_entry(1, 2, 20))),
        "ECS37, ECS18b: the configured hours, script 1 from, 2 until",
    ),
    writable(
        "21/0-0:16.0.0#2",
        "[u32]",
        Array((DoubleLongUnsigned(500), DoubleLongUnsigned(2_000))),
        "ECS34, ECS26f: low to medium, medium to high power",
    ),
    *_export("1-0:2.8.0", 30),
    *_export("1-0:4.8.0", 32),
    live("70/0-0:96.3.10#3", "enum", "ECS45: 0 disconnected, 1 connected, 2 ready for reconnection"),
    live("1/0-0:94.44.34.10#2", "{u32 {i8 enum} u32 {i8 enum}}", "ECS17b: active and reactive import"),
    live("1/0-0:94.44.34.20#2", "{u32 {i8 enum} u32}", "ECS17c: power now, and over the half hour (INFERENCE)"),
    live("1/0-0:94.44.34.1#2", "{[u32]} | {[u32] [u32]}", "ECS17d: 48 times of use; with a second element its four"),
    live("1/0-0:94.44.34.2#2", "{[u32]}", "ECS17e: the block registers, 8 by 8 (two of four rows unused, INFERENCE)"),
    live(
        "1/0-0:94.44.34.30#2", "{i32 i32 i32 i32 i32 i32}", "ECS19: balance, emergency credit, debts (order INFERENCE)"
    ),
)

ACTIVATIONS: Final[tuple[ActivationRow, ...]] = (
    activation(
        "9000/0-0:94.44.0.3#6", move("9000/0-0:94.44.0.3#4", "9000/0-0:94.44.0.3#2"), source="ECS28a sets, ECS27 reads"
    ),
    activation(
        "9000/0-0:94.44.128.7#6", move("9000/0-0:94.44.128.7#4", "71/0-0:17.0.0#4"), source="as above, by value"
    ),
    activation(
        "9000/0-0:94.44.128.6#6", move("9000/0-0:94.44.128.6#4", "71/0-0:17.0.0#6"), source="as above, by value"
    ),
    activation(
        "9000/0-0:94.44.128.8#6", move("9000/0-0:94.44.128.8#4", "71/0-0:17.0.0#7"), source="as above, by value"
    ),
)
