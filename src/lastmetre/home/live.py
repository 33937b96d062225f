"""What the meter tells when asked and stores nowhere as an attribute: registers, prices, clock, identity, states."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import (
    Array,
    Boolean,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    Integer,
    LongUnsigned,
    OctetString,
    Structure,
    Unsigned,
    Utf8String,
)
from lastmetre.gbcs.datetimes import date_time_from_unix
from lastmetre.home import attributes as cosem
from lastmetre.home.attributes import at as attribute_at
from lastmetre.home.attributes import parse_attribute
from lastmetre.home.calendars import scheduled_script
from lastmetre.home.metering import price_now, secondary_script
from lastmetre.home.money import price_of
from lastmetre.home.objects.auxiliary import CONTROLLERS
from lastmetre.home.objects.logs import BY_ATTRIBUTE
from lastmetre.home.snapshots import money_cells
from lastmetre.home.supply import Supply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lastmetre.gbcs.axdr import Data
    from lastmetre.home.attributes import Attribute
    from lastmetre.home.state import MeterState

_WATT_HOURS: Final = Structure((Integer(0), Enum(30)))
_VAR_HOURS: Final = Structure((Integer(0), Enum(32)))
_WATTS: Final = Structure((Integer(0), Enum(27)))
_CONTROLLER_CALENDAR: Final = attribute_at(10, "0-0:12.0.2", 2)
_CONTROLLER_DAYS: Final = attribute_at(11, "0-0:11.0.3", 2)
_SECONDARY_SCRIPTS: Final = 200
INPUT: Final = 0x2000
"""The mark of a controller's input in a script selector; 0x1000 is its output (transform B10)."""
_LEVEL_MARK: Final = 0x80


def read(state: MeterState, attribute: Attribute, now: int, device_id: bytes) -> Data | None:
    """Any attribute's value at a time of the meter's clock, or ``None`` where there is no such attribute."""
    if attribute in _LIVE:
        return _LIVE[attribute](state, now)
    if attribute == cosem.DEVICE_ID:
        return OctetString(device_id)
    if attribute in BY_ATTRIBUTE:
        return read_log(state, attribute, 0, 0xFFFF_FFFF)
    return state.read(attribute)


def read_log(state: MeterState, attribute: Attribute, first: int, last: int) -> Data:
    """The lines of a log between two times, both included, in seconds since 2000."""
    log = BY_ATTRIBUTE[attribute]
    lines = (line for line in state.lines(log.name) if isinstance(line[0], int) and first <= line[0] <= last)
    return log.as_data(lines, twin=state.twin)


def controller_levels(state: MeterState, number: int, now: int) -> tuple[int, int]:
    """Output and input of a controller, in per cent: what a Command holds, else what the calendar says."""
    held = state.controllers[number - 1]
    if held.until_at > now:
        return held.output_level, held.input_level
    calendar = state.read(_CONTROLLER_CALENDAR)
    if not isinstance(calendar, Array):
        return 0, 0
    mine = Array(tuple(row for row in calendar.elements if _controller_of(row) == number))
    script = scheduled_script(mine, state.read(_CONTROLLER_DAYS), now)
    if script is None:
        return 0, 0
    low = script & 0xFF
    level = low - _LEVEL_MARK if low >= _LEVEL_MARK else 100 * (low == 1)
    return (0, level) if script & INPUT else (level, 0)


def _controller_of(row: Data) -> int | None:
    if isinstance(row, Structure) and isinstance(row.elements[3], LongUnsigned):
        return (row.elements[3].value >> 8) & 0xF
    return None


def _numbers(values: Iterable[int]) -> Array:
    return Array(tuple(DoubleLongUnsigned(value) for value in values))


def _import(state: MeterState, _now: int) -> Data:
    registers = state.registers
    active, reactive = DoubleLongUnsigned(registers.active_import), DoubleLongUnsigned(registers.reactive_import)
    return Structure((active, _WATT_HOURS, reactive, _VAR_HOURS))


def _power(state: MeterState, _now: int) -> Data:
    power = state.registers.power if state.supply is Supply.ON else 0
    average = 2 * ((state.registers.active_import - state.registers.half_hour_from[0]) & 0x7FFF_FFFF)
    return Structure((DoubleLongUnsigned(power), _WATTS, DoubleLongUnsigned(average)))


def _tou(state: MeterState, _now: int) -> Data:
    tou = _numbers(state.registers.tou)
    return Structure((tou, _numbers(state.registers.secondary))) if state.twin else Structure((tou,))


def _blocks(state: MeterState, _now: int) -> Data:
    """64 numbers: the 32 block registers, then as many counters, of which one row is in use (INFERENCE)."""
    counters = state.registers.block_counters
    return Structure((_numbers((*state.registers.blocks, *counters, *(0,) * (3 * len(counters)))),))


def _money(state: MeterState, _now: int) -> Data:
    return Structure(tuple(DoubleLong(value) for value in money_cells(state)))


def _price(price: int) -> int:
    """A price as the register can say it: never below nothing."""
    return max(0, min(price, 0xFFFF_FFFF))


def _secondary_price(state: MeterState, now: int) -> Data:
    label = bytes((secondary_script(state, now) - _SECONDARY_SCRIPTS,))
    return DoubleLongUnsigned(_price(price_of(state, cosem.SECONDARY_PRICES, label)))


def _controller_state(number: int) -> Callable[[MeterState, int], Data]:
    def tell(state: MeterState, now: int) -> Data:
        output, given = controller_levels(state, number, now)
        return Utf8String(json.dumps({"outputState": output, "inputState": given}).encode())

    return tell


def _controller_on(number: int) -> Callable[[MeterState, int], Data]:
    return lambda state, now: Boolean(value=any(controller_levels(state, number, now)))


_LIVE: Final[Mapping[Attribute, Callable[[MeterState, int], Data]]] = {
    parse_attribute("1/0-0:0.2.1#2"): lambda state, _now: OctetString(state.firmware_version),
    cosem.CLOCK_TIME: lambda _state, now: OctetString(date_time_from_unix(now)),
    cosem.CLOCK_STATUS: lambda state, _now: Unsigned(state.clock.status),
    parse_attribute("3/0-0:94.44.1.7#2"): lambda state, now: DoubleLongUnsigned(_price(price_now(state, now))),
    parse_attribute("3/0-0:94.44.1.8#2"): _secondary_price,
    parse_attribute("3/1-0:2.8.0#2"): lambda state, _now: DoubleLongUnsigned(state.registers.active_export),
    parse_attribute("3/1-0:4.8.0#2"): lambda state, _now: DoubleLongUnsigned(state.registers.reactive_export),
    parse_attribute("1/0-0:94.44.34.10#2"): _import,
    parse_attribute("1/0-0:94.44.34.20#2"): _power,
    parse_attribute("1/0-0:94.44.34.1#2"): _tou,
    parse_attribute("1/0-0:94.44.34.2#2"): _blocks,
    parse_attribute("1/0-0:94.44.34.30#2"): _money,
    **{parse_attribute(f"1/0-0:94.44.0.{30 + n}#2"): _controller_state(n) for n in CONTROLLERS},
    **{parse_attribute(f"70/0-{n}:96.3.10#2"): _controller_on(n) for n in CONTROLLERS},
}
