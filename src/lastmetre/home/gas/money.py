"""Money and the valve of a gas meter: one table for the valve, and what moves the balance.

Public facts: the supplier closes the valve (GCS32) or arms it (GCS39), and only the customer, at the meter, opens it;
the SupplyStatus attribute shows off, armed or on. Emergency credit is taken when the balance is at its threshold or
below. What no public text fixes is a DESIGN CHOICE, marked in its row or its function.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.datetimes import unix_from_zigbee
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.gas import history
from lastmetre.home.gas.calendars import NON_DISABLEMENT, TARIFF, profile_value
from lastmetre.home.gas.state import EVENT_LOG, GasState, Valve

if TYPE_CHECKING:
    from lastmetre.home.gas.attributes import Key

DAY_S: Final = 86_400
CREDIT_ADDED_LOCALLY: Final = 0x810E
PAYMENT_DEBT: Final = 2
"""The third debt, which payments pay: its number in the debt log, as the published GCS15d asks for it."""


class ValveEvent(Enum):
    """What can happen to a valve."""

    CLOSE_COMMAND = "closed by command (GCS32)"
    ARM_COMMAND = "armed by command (GCS39)"
    CUSTOMER_OPEN = "opened by the customer"
    CREDIT_EXHAUSTED = "balance fell to where supply is cut"
    CREDIT_RESTORED = "balance rose above it, or the meter left prepayment mode"


_FACT: Final = "use-case titles and issue 5: gas is armed remotely, opened by the customer"
_CHOICE: Final = "DESIGN CHOICE"

TABLE: Final[dict[tuple[Valve, ValveEvent], tuple[Valve, str]]] = {
    (Valve.ON, ValveEvent.CLOSE_COMMAND): (Valve.OFF_BY_COMMAND, _FACT),
    (Valve.ARMED, ValveEvent.CLOSE_COMMAND): (Valve.OFF_BY_COMMAND, _FACT),
    (Valve.OFF_BY_CREDIT, ValveEvent.CLOSE_COMMAND): (Valve.OFF_BY_COMMAND, _CHOICE),
    (Valve.OFF_BY_COMMAND, ValveEvent.CLOSE_COMMAND): (Valve.OFF_BY_COMMAND, _CHOICE),
    (Valve.OFF_BY_COMMAND, ValveEvent.ARM_COMMAND): (Valve.ARMED, _FACT),
    (Valve.OFF_BY_CREDIT, ValveEvent.ARM_COMMAND): (Valve.ARMED, _CHOICE),
    (Valve.ARMED, ValveEvent.ARM_COMMAND): (Valve.ARMED, _CHOICE),
    (Valve.ON, ValveEvent.ARM_COMMAND): (Valve.ON, _CHOICE),
    (Valve.ARMED, ValveEvent.CUSTOMER_OPEN): (Valve.ON, _FACT),
    (Valve.ON, ValveEvent.CREDIT_EXHAUSTED): (Valve.OFF_BY_CREDIT, _FACT),
    (Valve.ARMED, ValveEvent.CREDIT_EXHAUSTED): (Valve.OFF_BY_CREDIT, _CHOICE),
    (Valve.OFF_BY_CREDIT, ValveEvent.CREDIT_RESTORED): (Valve.ARMED, _CHOICE),
}
"""(state, event): (next state, source). An event without a row changes nothing; by command or customer it fails."""


def after(state: Valve, event: ValveEvent) -> Valve | None:
    """The state after an event, or ``None`` where the event can do nothing in this state."""
    row = TABLE.get((state, event))
    return row[0] if row else None


def _happen(state: GasState, event: ValveEvent) -> GasState:
    following = after(state.valve, event)
    return state if following is None else replace(state, valve=following)


def settle(state: GasState, now: int) -> GasState:
    """What the balance as it is now does to emergency credit and valve."""
    if not state.is_prepayment:
        return _happen(replace(state, emergency_active=False), ValveEvent.CREDIT_RESTORED)
    credit = state.number(zcl.CREDIT)
    if state.emergency_active and credit > state.number(zcl.CUT_OFF):
        state = replace(state, emergency_active=False)  # paid back (DESIGN CHOICE: all of it, by the next credit)
    if credit > state.floor:
        return _happen(state, ValveEvent.CREDIT_RESTORED)
    # Within the non-disablement calendar supply is not cut; it is when the period ends (tick settles again).
    protected = profile_value(state.published.get(NON_DISABLEMENT, ()), now) == 1
    return state if protected else _happen(state, ValveEvent.CREDIT_EXHAUSTED)


def can_take_emergency_credit(state: GasState) -> bool:
    """Whether the customer may take it: prepayment, not taken yet, and the balance at the threshold or below."""
    return (
        state.is_prepayment
        and not state.emergency_active
        and state.number(zcl.EMERGENCY_LIMIT) > 0
        and state.number(zcl.CREDIT) <= state.number(zcl.EMERGENCY_THRESHOLD)
    )


def take_emergency_credit(state: GasState, now: int) -> GasState | None:
    """The emergency credit taken, or ``None`` where it may not be."""
    return settle(replace(state, emergency_active=True), now) if can_take_emergency_credit(state) else None


def credit(state: GasState, amount: int, now: int, *, is_payment: bool = False) -> GasState:
    """The balance moved. A payment first pays its percentage of the payment-based debt."""
    if is_payment:
        share = min(state.number(zcl.DEBT_AMOUNT[2]), amount * state.number(zcl.DEBT_PERCENTAGE) // 10_000)
        state = state.plus(zcl.DEBT_AMOUNT[2], -share)
        amount -= share
        if share:
            line = (now, share, PAYMENT_DEBT, state.number(zcl.DEBT_AMOUNT[2]))
            state = replace(state, debt_payments=(*state.debt_payments, line)[-history.PAYMENTS_MAX :])
    return settle(state.plus(zcl.CREDIT, amount), now)


def fits(state: GasState, amount: int) -> bool:
    """Whether a top-up keeps to the limits for one payment and for the balance."""
    if amount > state.number(zcl.MAX_TOP_UP):
        return False
    return state.number(zcl.CREDIT) + amount <= min(state.number(zcl.MAX_CREDIT), zcl.range_of(zcl.CREDIT)[1])


# --- consumption and charges -----------------------------------------------------------------------------------------


def _scaled(state: GasState, value: Key, digit: Key) -> float:
    """A value with its trailing digits: the high nibble of the digit attribute counts decimals."""
    return float(state.number(value)) / float(10 ** (state.number(digit) >> 4))


def energy_kwh(state: GasState, litres: int) -> float:
    """Energy of a volume: cubic metres, conversion factor, calorific value in MJ per cubic metre."""
    factor = _scaled(state, zcl.CONVERSION_FACTOR, zcl.CONVERSION_DIGIT)
    calorific = _scaled(state, zcl.CALORIFIC_VALUE, zcl.CALORIFIC_DIGIT)
    return litres / 1_000 * factor * calorific / 3.6


def tier(state: GasState, now: int) -> int:
    """The tier in force, from one; the first where no calendar says otherwise."""
    value = profile_value(state.published.get(TARIFF, ()), now)
    return value if value in {1, 2, 3, 4} else 1


def block(state: GasState) -> int:
    """The block in force, from zero: how many thresholds the counted volume has passed."""
    used = sum(state.number(key) for key in zcl.BLOCK_SUMMATIONS)
    thresholds = [state.number(key) for key in zcl.THRESHOLDS]
    return sum(1 for threshold in thresholds if threshold and used >= threshold)


def price(state: GasState, now: int) -> int:
    """The price in force, in thousandths of a penny a kilowatt-hour: the tier's, else the block's."""
    by_tier = state.number(zcl.TIER_PRICES[tier(state, now) - 1])
    return by_tier or state.number(zcl.BLOCK_PRICES[block(state)])


def _charge(state: GasState, amount: int) -> GasState:
    """Take money: from the credit in prepayment mode, onto the bill in credit mode."""
    return state.plus(zcl.CREDIT, -amount) if state.is_prepayment else state.plus(zcl.BILL_TO_DATE, amount)


def consume(state: GasState, litres: int, now: int) -> GasState:
    """Gas flowed. With the valve closed none does."""
    if state.valve is not Valve.ON or litres <= 0:
        return state
    amount = round(energy_kwh(state, litres) * price(state, now))
    tier_key, block_key = zcl.TIER_SUMMATIONS[tier(state, now) - 1], zcl.BLOCK_SUMMATIONS[block(state)]
    for key in (zcl.SUMMATION, tier_key, block_key):
        state = state.plus(key, litres)
    return settle(_charge(history.count(state, litres, now), amount), now)


def accrue(state: GasState, now: int) -> GasState:
    """Take the standing charge and the time-based debts of every day that ended, and settle."""
    today = now // DAY_S
    if state.charged_until == 0:
        return settle(replace(state, charged_until=today), now)
    for day in range(state.charged_until + 1, today + 1):
        state = _charge(state, state.number(zcl.STANDING_CHARGE))
        for number in range(2):
            state = _recover(state, number, day)
        state = history.take(state, history.DAILY, day * DAY_S)
        if _bills_on(state, day):
            state = history.take(state, history.BILLING, day * DAY_S)
    return settle(replace(state, charged_until=max(today, state.charged_until)), now)


def _bills_on(state: GasState, day: int) -> bool:
    """Whether a billing period ends with the day before: that of the month on which the calendar set began."""
    period = state.published.get("billing-period", ())
    start = period[0]["start"] if period else None
    if not isinstance(start, int) or not start:
        return False
    began = dt.datetime.fromtimestamp(unix_from_zigbee(start), dt.UTC)
    return dt.datetime.fromtimestamp(day * DAY_S, dt.UTC).day == began.day


def _recover(state: GasState, number: int, day: int) -> GasState:
    """One instalment of a time-based debt: frequency 0 by the hour, 1 by the day, 2 by the week (Smart Energy)."""
    frequency = state.number(zcl.DEBT_FREQUENCY[number])
    weekday = dt.datetime.fromtimestamp(day * DAY_S, dt.UTC).weekday()
    times = {0: 24, 1: 1, 2: 1 if weekday == 0 else 0}.get(frequency, 0)
    amount = min(state.number(zcl.DEBT_AMOUNT[number]), times * state.number(zcl.DEBT_RECOVERY[number]))
    if not amount or not state.is_prepayment:
        return state
    return _charge(state.plus(zcl.DEBT_AMOUNT[number], -amount), amount)


def note_local_credit(state: GasState, now: int) -> GasState:
    """A code was typed in at the PPMID and credited."""
    return state.noting(EVENT_LOG, CREDIT_ADDED_LOCALLY, now)
