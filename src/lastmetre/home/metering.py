"""Time passes: registers count, charges fall due, profiles and logs fill, waiting settings come into force.

``live_through`` takes a state from one moment to another, in steps that end at every half hour and wherever something
waits. Rules kept here:

* What counts at the start of a step counts for all of it: a tariff that switches within a half hour counts from the
  next step (DESIGN CHOICE).
* The time is the meter's own. The function is pure; what is to be told to the world comes back as signals.
* A line of a half-hourly profile has the time at which its half hour began, all others that of the entry (DESIGN
  CHOICE).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import Array, Boolean, DoubleLongUnsigned, OctetString
from lastmetre.gbcs.datetimes import date_time_from_unix
from lastmetre.home import attributes as cosem
from lastmetre.home.activation import activate
from lastmetre.home.attributes import at as attribute_at
from lastmetre.home.calendars import (
    DAY_S,
    HALF_HOUR_S,
    moments,
    scheduled_script,
    script_at,
    since_2000,
)
from lastmetre.home.load import Flow
from lastmetre.home.money import (
    STANDING,
    charge_by_time,
    charge_energy,
    price_of,
    recover_time_debt,
    settle,
)
from lastmetre.home.objects.network import PHASE_BASES
from lastmetre.home.objects.tariff import BLOCK_TARIFFS, BLOCKS
from lastmetre.home.snapshots import money_cells, register_cells
from lastmetre.home.state import LoadLimit
from lastmetre.home.supply import Supply, SupplyEvent, after

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lastmetre.gbcs.axdr import Data
    from lastmetre.home.load import LoadProfile
    from lastmetre.home.objects.logs import Line
    from lastmetre.home.own_memory import PendingCommand
    from lastmetre.home.state import MeterState, Pending

_BLOCK_SCRIPTS: Final = 100
_SECONDARY_SCRIPTS: Final = 200
_TIME_DEBT_RATES: Final = (attribute_at(113, "0-0:19.20.1", 5), attribute_at(113, "0-0:19.20.2", 5))
_TIME_DEBT_PERIODS: Final = (attribute_at(113, "0-0:19.20.1", 8), attribute_at(113, "0-0:19.20.2", 8))
_DEMAND_HOURS: Final = attribute_at(10, "0-0:12.0.0", 2)
_DEMANDS: Final = ("1-0:1.6.0", "1-0:1.6.1", "1-0:2.6.0")


@dataclass(frozen=True, slots=True)
class CameIntoForce:
    """A future-dated setting came into force."""

    pending: Pending


@dataclass(frozen=True, slots=True)
class BillingUpdated:
    """The billing data log has a new line."""

    line: Line
    at: int


@dataclass(frozen=True, slots=True)
class CommandDue:
    """A future-dated Command is due: its execution is not this module's."""

    command: PendingCommand


@dataclass(frozen=True, slots=True)
class VoltageEvent:
    """The mean voltage of a phase left its thresholds."""

    code: int
    at: int


VOLTAGE_HIGH, VOLTAGE_LOW = 0x8002, 0x8006
"""Non-critical events of the network operator's (from memory of the public code lists: INFERENCE)."""
Signal = CameIntoForce | BillingUpdated | CommandDue | VoltageEvent


def live_through(state: MeterState, until: int, load: LoadProfile) -> tuple[MeterState, tuple[Signal, ...]]:
    """The state at a later moment. A meter that never lived before, or whose clock went back, starts at that moment."""
    if state.updated_at == 0 or until < state.updated_at:
        return replace(state, updated_at=until), ()
    signals: list[Signal] = []
    while state.updated_at < until:
        end = min(until, _next_end(state))
        state = _step(state, end, load, signals)
    return state, tuple(signals)


def _next_end(state: MeterState) -> int:
    half_hour = (state.updated_at // HALF_HOUR_S + 1) * HALF_HOUR_S
    times = [pending.at for pending in state.pending] + [command.at for command in state.pending_commands]
    return min([half_hour, *(at for at in times if at > state.updated_at)])


def _step(state: MeterState, end: int, load: LoadProfile, signals: list[Signal]) -> MeterState:
    start = state.updated_at
    flow = load(start, end)
    if state.supply is not Supply.ON:
        flow = Flow(active_export=0, voltages=flow.voltages)
    state = _count(state, flow, start, end)
    state = _watch_power(state, end)
    state = _watch_voltage(state, flow, end, signals)
    if end % HALF_HOUR_S == 0:
        state = _half_hour(state, end)
    if end % DAY_S == 0:
        state = _day(state, end)
    for place, (rate, period) in enumerate(zip(_TIME_DEBT_RATES, _TIME_DEBT_PERIODS, strict=True)):
        if not state.account.time_debts[place]:
            continue
        times = end // state.number(period) - start // state.number(period) if state.number(period) else 0
        for _ in range(times):
            state = recover_time_debt(state, place, price_of(state, rate, b""))
    for at in moments(state.read(cosem.BILLING_CALENDAR), start, end):
        state = _bill(state, at, signals)
    for _at in moments(state.read(cosem.BLOCK_RESET_CALENDAR), start, end):
        state = reset_blocks(state)
    state = _come_into_force(replace(state, updated_at=end), end, signals)
    return settle(state, end)


# --- energy and its price --------------------------------------------------------------------------------------------


def _count(state: MeterState, flow: Flow, start: int, end: int) -> MeterState:
    registers = state.registers
    registers = replace(
        registers,
        active_import=_wrapped(registers.active_import + flow.active_import),
        reactive_import=_wrapped(registers.reactive_import + flow.reactive_import),
        active_export=_wrapped(registers.active_export + flow.active_export),
        reactive_export=_wrapped(registers.reactive_export + flow.reactive_export),
        secondary_import=_wrapped(registers.secondary_import + flow.secondary_import),
        power=flow.active_import * 3_600 // (end - start),
    )
    state = replace(state, registers=registers)
    if flow.active_import:
        script = tariff_script(state, start)
        if script > _BLOCK_SCRIPTS:
            state = _count_blocks(state, script - _BLOCK_SCRIPTS - 1, flow.active_import)
        else:
            state = _count_tou(state, script - 1, flow.active_import)
    if flow.secondary_import:
        place = secondary_script(state, start) - _SECONDARY_SCRIPTS - 1
        secondary = _added(state.registers.secondary, place, flow.secondary_import)
        state = replace(state, registers=replace(state.registers, secondary=secondary))
        price = price_of(state, cosem.SECONDARY_PRICES, bytes((place + 1,)))
        state = charge_energy(state, flow.secondary_import, price)
    return state


def tariff_script(state: MeterState, at: int) -> int:
    """The script of the tariff in force: n for time of use n, 100 + n for blocks in time of use n; else 1."""
    seasons, weeks, days = (state.read(attribute_at(20, "0-0:13.0.0", number)) for number in (3, 4, 5))
    script = script_at(seasons, weeks, days, state.read(cosem.TARIFF_DAYS), at)
    blocks = range(_BLOCK_SCRIPTS + 1, _BLOCK_SCRIPTS + BLOCK_TARIFFS + 1)
    known = script is not None and (1 <= script <= len(state.registers.tou) or script in blocks)
    return script if known and script is not None else 1


def secondary_script(state: MeterState, at: int) -> int:
    """The script of the second element's tariff: 200 + n; else 201."""
    seasons, weeks, days = (state.read(attribute_at(20, "0-0:13.0.1", number)) for number in (3, 4, 5))
    script = script_at(seasons, weeks, days, state.read(cosem.SECONDARY_DAYS), at)
    known = script is not None and 0 < script - _SECONDARY_SCRIPTS <= len(state.registers.secondary)
    return script if known and script is not None else _SECONDARY_SCRIPTS + 1


def _count_tou(state: MeterState, place: int, watt_hours: int) -> MeterState:
    registers = replace(state.registers, tou=_added(state.registers.tou, place, watt_hours))
    price = price_of(state, cosem.PRICES, bytes((place + 1,)))
    return charge_energy(replace(state, registers=registers), watt_hours, price)


def _count_blocks(state: MeterState, tariff: int, watt_hours: int) -> MeterState:
    """Energy fills the blocks of its time of use in turn: each has its register and its price."""
    thresholds = _numbers(state.read(attribute_at(21, f"0-0:16.0.{11 + tariff}", 2)))
    while watt_hours:
        counter = state.registers.block_counters[tariff]
        block = min(sum(counter >= threshold for threshold in thresholds), BLOCKS - 1)
        ahead = [threshold - counter for threshold in thresholds if threshold > counter]
        part = min([watt_hours, *ahead[:1]]) if block < BLOCKS - 1 else watt_hours
        registers = replace(
            state.registers,
            blocks=_added(state.registers.blocks, BLOCK_TARIFFS * block + tariff, part),
            block_counters=_added(state.registers.block_counters, tariff, part),
        )
        label = bytes((16 * (0xA + block) + tariff + 1,))
        state = charge_energy(replace(state, registers=registers), part, price_of(state, cosem.PRICES, label))
        watt_hours -= part
    return state


def reset_blocks(state: MeterState) -> MeterState:
    """The block counters start again: by Command (ECS05), by the day (ECS48), at the end of a billing period."""
    counters = (0,) * len(state.registers.block_counters)
    return replace(state, registers=replace(state.registers, block_counters=counters))


def price_now(state: MeterState, at: int) -> int:
    """The price of the next kilowatt hour, in thousandths of a penny."""
    script = tariff_script(state, at)
    if script <= _BLOCK_SCRIPTS:
        return price_of(state, cosem.PRICES, bytes((script,)))
    tariff = script - _BLOCK_SCRIPTS - 1
    thresholds = _numbers(state.read(attribute_at(21, f"0-0:16.0.{11 + tariff}", 2)))
    block = min(sum(state.registers.block_counters[tariff] >= threshold for threshold in thresholds), BLOCKS - 1)
    return price_of(state, cosem.PRICES, bytes((16 * (0xA + block) + tariff + 1,)))


# --- limits ----------------------------------------------------------------------------------------------------------


def _watch_power(state: MeterState, at: int) -> MeterState:
    """The load limit: counted when exceeded for its period, the supply cut if so configured, armed again later."""
    limit, watched = state.number(cosem.LIMIT_POWER), state.load_limit
    if state.supply is Supply.OFF_BY_LOAD and at >= watched.off_until:
        following = after(state.supply, SupplyEvent.LOAD_RESTORED)
        return replace(state, supply=following or state.supply, load_limit=LoadLimit())
    if not limit or state.registers.power <= limit:
        return replace(state, load_limit=replace(watched, above_since=0)) if watched.above_since else state
    since = watched.above_since or state.updated_at
    if at - since < state.number(cosem.LIMIT_PERIOD):
        return replace(state, load_limit=replace(watched, above_since=since))
    state = state.with_number(cosem.LIMIT_COUNT, state.number(cosem.LIMIT_COUNT) + 1)
    state = replace(state, load_limit=LoadLimit(at, at + state.number(cosem.LIMIT_RESTORATION)))
    if state.read(cosem.LIMIT_DISABLES) == Boolean(value=True):
        following = after(state.supply, SupplyEvent.LOAD_EXCEEDED)
        state = state if following is None else replace(state, supply=following)
    return state


def _watch_voltage(state: MeterState, flow: Flow, end: int, signals: list[Signal]) -> MeterState:
    """The mean voltage of each phase: logged at the end of its period, counted when below or above its thresholds.

    An excursion is told when it begins, whatever the phase.
    """
    for base, voltage in zip(PHASE_BASES, flow.voltages, strict=False):
        period = state.number(attribute_at(7, f"1-0:{base}.24.0", 4))
        if not period or end // period == state.updated_at // period:
            continue
        state = state.with_line(f"voltage_{base}", (since_2000(end), voltage))
        for threshold, counter, beyond, code in ((31, 32, -1, VOLTAGE_LOW), (35, 36, 1, VOLTAGE_HIGH)):
            limit = state.number(attribute_at(1, f"1-0:{base}.{threshold}.0.4", 2))
            lasts = code in state.voltage_events
            if (voltage - limit) * beyond > 0:
                count = attribute_at(3, f"1-0:{base}.{counter}.0.4", 2)
                state = state.with_number(count, state.number(count) + 1)
                if not lasts:
                    signals.append(VoltageEvent(code, end))
                    state = replace(state, voltage_events=(*state.voltage_events, code))
            elif lasts:
                state = replace(state, voltage_events=tuple(each for each in state.voltage_events if each != code))
    return state


# --- profiles and logs -----------------------------------------------------------------------------------------------


def _half_hour(state: MeterState, end: int) -> MeterState:
    registers, began = state.registers, since_2000(end - HALF_HOUR_S)
    pairs = zip(registers.totals(), registers.half_hour_from, strict=True)
    imported, reactive, exported, reactive_out, secondary = (_wrapped(now - then) for now, then in pairs)
    line = (began, imported, secondary) if state.twin else (began, imported)
    state = state.with_line("half_hours", line)
    state = state.with_line("half_hours_export", (began, exported, reactive_out))
    state = state.with_line("half_hours_reactive", (began, reactive))
    state = replace(state, registers=replace(registers, half_hour_from=registers.totals()))
    return _watch_demand(state, 2 * imported, 2 * exported, end)


def _watch_demand(state: MeterState, watts: int, export_watts: int, end: int) -> MeterState:
    """The highest half-hourly mean, of all hours and of the configured ones (ECS37: script 1 from, 2 until)."""
    in_hours = scheduled_script(state.read(_DEMAND_HOURS), None, end - HALF_HOUR_S) == 1
    for obis, demand in zip(_DEMANDS, (watts, watts if in_hours else 0, export_watts), strict=True):
        highest = attribute_at(4, obis, 2)
        if demand > state.number(highest):
            state = state.with_number(highest, demand)
            state = state.with_attribute(attribute_at(4, obis, 5), OctetString(date_time_from_unix(end)))
    return state


def _day(state: MeterState, end: int) -> MeterState:
    registers, stamp = state.registers, since_2000(end)
    imported, exported = registers.active_import, registers.active_export
    state = state.with_line("daily", (stamp, *register_cells(state)))
    state = state.with_line("daily_money", (stamp, *money_cells(state)))
    state = state.with_line("daily_export", (stamp, exported))
    state = state.with_line("daily_consumption", (stamp - DAY_S, _wrapped(imported - registers.day_from[0])))
    state = replace(state, registers=replace(state.registers, day_from=(imported, exported)))
    return charge_by_time(state, price_of(state, cosem.STANDING_CHARGE, b""), STANDING)


def _bill(state: MeterState, at: int, signals: list[Signal]) -> MeterState:
    line = (since_2000(at), *register_cells(state))
    state = state.with_line("billing", line).with_line("billing_money", (line[0], *money_cells(state)))
    signals.append(BillingUpdated(line, at))
    return reset_blocks(state)


# --- what waited -----------------------------------------------------------------------------------------------------


def _come_into_force(state: MeterState, at: int, signals: list[Signal]) -> MeterState:
    due = [pending for pending in state.pending if pending.at <= at]
    for pending in due:
        state = activate(state, pending.attribute, at)
        signals.append(CameIntoForce(pending))
    signals += [CommandDue(command) for command in state.pending_commands if command.at <= at]
    return replace(
        state,
        pending=tuple(pending for pending in state.pending if pending.at > at),
        pending_commands=tuple(command for command in state.pending_commands if command.at > at),
    )


def _added(numbers: tuple[int, ...], place: int, amount: int) -> tuple[int, ...]:
    return (*numbers[:place], _wrapped(numbers[place] + amount), *numbers[place + 1 :])


def _wrapped(number: int) -> int:
    """A register of 32 bits starts again at nothing (DESIGN CHOICE)."""
    return number & 0xFFFF_FFFF


def _numbers(value: Data | None) -> list[int]:
    return list(_each_number(value))


def _each_number(value: Data | None) -> Iterator[int]:
    if isinstance(value, Array):
        for element in value.elements:
            if isinstance(element, DoubleLongUnsigned):
                yield element.value
