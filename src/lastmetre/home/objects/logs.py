"""The logs of a meter: what a line of each holds, and how many lines are kept.

The columns are those of the published Responses (facts of structure). What the lines of a profile are called there is
not public: names are ours. Sizes are a DESIGN CHOICE where no number is public.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import Array as ArrayData
from lastmetre.gbcs.axdr import (
    ArrayType,
    CompactArray,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    LongUnsigned,
    OctetString,
    SimpleType,
    StructureType,
)
from lastmetre.gbcs.axdr import Structure as StructureData
from lastmetre.home.attributes import Attribute, parse_attribute

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lastmetre.gbcs.axdr import Data

Cell = int | bytes | tuple[int, ...]
Line = tuple[Cell, ...]
"""One line: the first cell is always the time, in seconds since 2000."""

_TAGS: Final = {"i32": 5, "u32": 6, "os": 9, "u16": 18, "enum": 22}
_MAKERS: Final[dict[str, type[DoubleLong | DoubleLongUnsigned | LongUnsigned | Enum]]] = {
    "i32": DoubleLong,
    "u32": DoubleLongUnsigned,
    "u16": LongUnsigned,
    "enum": Enum,
}


@dataclass(frozen=True, slots=True)
class Log:
    """One log. ``columns`` are words as ``u32``, or ``u32*48`` for an array of 48."""

    name: str
    attribute: Attribute
    columns: tuple[str, ...]
    size: int
    source: str
    twin_columns: tuple[str, ...] | None = None
    """The columns in a meter with a second element, where they differ."""

    def columns_of(self, *, twin: bool) -> tuple[str, ...]:
        """The columns in this variant of the meter."""
        return self.twin_columns if twin and self.twin_columns is not None else self.columns

    def as_data(self, lines: Iterable[Line], *, twin: bool) -> Data:
        """Lines as they travel: a compact array."""
        columns = self.columns_of(twin=twin)
        description = StructureType(tuple(_description(column) for column in columns))
        rows = tuple(StructureData(tuple(map(_cell, columns, line))) for line in lines)
        return CompactArray(description, rows)


def _description(column: str) -> SimpleType | ArrayType:
    word, _, count = column.partition("*")
    simple = SimpleType(_TAGS[word])
    return ArrayType(int(count), simple) if count else simple


def _cell(column: str, value: Cell) -> Data:
    word = column.partition("*")[0]
    if isinstance(value, tuple):
        return ArrayData(tuple(_MAKERS[word](number) for number in value))
    if isinstance(value, bytes):
        return OctetString(value)
    return _MAKERS[word](value)


def _log(name: str, attribute: str, columns: str, size: int, source: str, twin: str | None = None) -> Log:
    twin_columns = tuple(twin.split()) if twin else None
    return Log(name, parse_attribute(attribute), tuple(columns.split()), size, source, twin_columns)


_BLOCKS: Final = "u32*8 u32*8 u32*8 u32*8"
_MONEY: Final = "i32 i32 i32 i32 i32 i32"
_REGISTERS: Final = f"u32 u32 u32*48 {_BLOCKS}"
_TWIN_REGISTERS: Final = f"u32 u32 u32 u32*48 u32*4 {_BLOCKS}"

LOGS: Final[tuple[Log, ...]] = (
    _log("billing", "7/0-0:98.1.0#2", _REGISTERS, 12, "ECS20c, ECS68", _TWIN_REGISTERS),
    _log("billing_money", "7/0-0:98.1.1#2", f"u32 {_MONEY}", 12, "ECS20c"),
    _log("changes", "7/0-0:98.1.2#2", f"{_REGISTERS} {_MONEY}", 12, "ECS20b", f"{_TWIN_REGISTERS} {_MONEY}"),
    _log("debt_payments", "7/0-0:98.1.4#2", "u32 u32", 10, "ECS20a"),
    _log("credits", "7/0-0:98.1.5#2", "u32 u32", 10, "ECS20d"),
    _log("daily_money", "7/0-0:98.1.8#2", f"u32 {_MONEY}", 31, "ECS21b"),
    _log("daily", "7/0-0:98.1.9#2", _REGISTERS, 31, "ECS21a", _TWIN_REGISTERS),
    _log("daily_export", "7/0-0:98.1.10#2", "u32 u32", 31, "ECS21c"),
    _log("half_hours", "7/0-0:99.1.0#2", "u32 u32", 19_008, "ECS22b; 13 months; twin INFERENCE", "u32 u32 u32"),
    _log(
        "half_hours_export", "7/0-0:99.1.1#2", "u32 u32 u32", 4_464, "ECS22a; 3 months, active and reactive (INFERENCE)"
    ),
    _log("half_hours_reactive", "7/0-0:99.1.2#2", "u32 u32", 4_464, "ECS22c; 3 months"),
    _log("daily_consumption", "7/0-0:99.1.3#2", "u32 u32", 731, "ECS66; 731 lines as GCS61 asks for"),
    _log("events", "7/0-0:99.98.0#2", "u32 u16 os", 100, "ECS35a"),
    _log("security", "7/0-0:99.98.1#2", "u32 u16", 100, "ECS35b"),
    _log("power_events", "7/0-0:99.98.4#2", "u32 u16 u32", 100, "ECS35e"),
    _log("controller_events", "7/0-17:99.98.2#2", "u32 u16 enum u32", 100, "ECS35f, ECS35g"),
    _log("boosts", "7/0-0:99.98.20#2", "u32 u32", 60, "ECS61c: from, until"),
    *(
        _log(f"voltage_{base}", f"7/1-0:{base}.24.0#2", "u32 u32", 4_320, "ECS23, ECS23b: mean voltage")
        for base in (32, 52, 72)
    ),
)
"""Sizes of the logs of events are those of the security log of first light."""

BY_NAME: Final = {log.name: log for log in LOGS}
BY_ATTRIBUTE: Final = {log.attribute: log for log in LOGS}
