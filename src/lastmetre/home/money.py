"""What charges, payments and debts do to an account: prepayment and credit mode.

Amounts are thousandths of a penny. What an order of payment or a collision of rules should be is not public: every such
rule here is a DESIGN CHOICE, in the words of its function. Functions take a state and give the next one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import Array, BitString, Enum, Integer, Long, OctetString, Structure
from lastmetre.home import attributes as cosem
from lastmetre.home.calendars import scheduled_script, since_2000
from lastmetre.home.supply import Supply, SupplyEvent, after

if TYPE_CHECKING:
    from lastmetre.home.attributes import Attribute
    from lastmetre.home.state import MeterState

PENNY: Final = 1_000
"""Thousandths of a penny in a penny."""
_PREPAYMENT_MODE: Final = 2
_POUND_SCALE: Final = 5
"""A price is in pounds times ten to its scale; our unit is ten to the minus fifth of a pound."""
_PER_PAYMENT: Final = 10_000
"""Hundredths of a per cent in a whole payment."""
_NON_DISABLEMENT_STARTS: Final = 32
"""Script of the non-disablement calendar that begins a period; 33 ends it (transform B1)."""
_METER_CREDIT: Final = bytes.fromhex("0000130A00FF")
_ACCUMULATED: Final = bytes.fromhex("0000130A02FF")
STANDING: Final = bytes.fromhex("0000131404FF")
TIME_DEBTS: Final = (bytes.fromhex("0000131401FF"), bytes.fromhex("0000131402FF"))


def prepays(state: MeterState) -> bool:
    """Whether the meter is in prepayment mode."""
    mode = state.read(cosem.PAYMENT_MODE)
    return isinstance(mode, Structure) and mode.elements[0] == Enum(_PREPAYMENT_MODE)


def emergency_in_use(state: MeterState) -> bool:
    """Whether emergency credit is activated and the balance no longer above the threshold."""
    return state.account.emergency_active and state.balance <= state.number(cosem.DISABLEMENT_THRESHOLD)


def settle(state: MeterState, at: int) -> MeterState:
    """What the balance does to the supply now.

    Off when the balance is at or below the disablement threshold and no emergency credit is left, but never within the
    non-disablement calendar; armed when it is above again (DESIGN CHOICE: the meter arms itself). A meter that leaves
    prepayment mode arms a supply that credit had cut off.
    """
    exhausted = (
        prepays(state)
        and state.balance <= state.number(cosem.DISABLEMENT_THRESHOLD)
        and not (state.account.emergency_active and state.account.emergency_credit > 0)
    )
    if exhausted and _non_disablement(state, at):
        return state
    following = after(state.supply, SupplyEvent.CREDIT_EXHAUSTED if exhausted else SupplyEvent.CREDIT_RESTORED)
    return state if following is None else replace(state, supply=following)


def _non_disablement(state: MeterState, at: int) -> bool:
    schedule, days = state.read(cosem.NON_DISABLEMENT), state.read(cosem.NON_DISABLEMENT_DAYS)
    return scheduled_script(schedule, days, at) == _NON_DISABLEMENT_STARTS


def pay_in(state: MeterState, amount: int, at: int) -> MeterState:
    """A top-up: debt by payment first, then accumulated debt, then emergency credit used, the rest to the balance."""
    account = state.account
    share = min(
        amount * state.number(cosem.DEBT_PER_PAYMENT) // _PER_PAYMENT, account.payment_debt, _cap_left(state, at)
    )
    rest = amount - share
    owed = min(rest, account.accumulated_debt)
    rest -= owed
    account = replace(
        account, payment_debt=account.payment_debt - share, accumulated_debt=account.accumulated_debt - owed
    )
    if share:
        account = replace(account, recovered=(*account.recovered, (at, share)))
        state = state.with_line("debt_payments", (since_2000(at), share))
    if account.emergency_active:
        used = min(rest, max(0, state.number(cosem.EMERGENCY_CREDIT_LIMIT) - account.emergency_credit))
        rest -= used
        account = replace(account, emergency_credit=account.emergency_credit + used)
        if account.emergency_credit >= state.number(cosem.EMERGENCY_CREDIT_LIMIT):
            account = replace(account, emergency_active=False, emergency_credit=0)
    state = state.with_line("credits", (since_2000(at), amount))
    return settle(replace(state, balance=state.balance + rest, account=account).bounded(), at)


def _cap_left(state: MeterState, at: int) -> int:
    """What may still be taken from payments in the running period (ECS08a); a cap of zero is none."""
    cap = state.number(cosem.DEBT_CAP) * PENNY
    if cap == 0:
        return 1 << 62
    since = at - state.number(cosem.DEBT_CAP_PERIOD)
    return max(0, cap - sum(amount for when, amount in state.account.recovered if when > since))


def take(state: MeterState, amount: int) -> MeterState:
    """A charge: from the balance down to the threshold, then from activated emergency credit, then from the balance."""
    account = state.account
    if not account.emergency_active:
        return replace(state, balance=state.balance - amount).bounded()
    own = min(amount, max(0, state.balance - state.number(cosem.DISABLEMENT_THRESHOLD)))
    lent = min(amount - own, account.emergency_credit)
    return replace(
        state,
        balance=state.balance - (amount - lent),
        account=replace(account, emergency_credit=account.emergency_credit - lent),
    ).bounded()


def charge_energy(state: MeterState, watt_hours: int, price: int) -> MeterState:
    """So many watt hours at a price per kilowatt hour; parts of a thousandth of a penny are kept for later."""
    whole, rest = divmod(state.account.remainder + watt_hours * price, 1_000)
    state = replace(state, account=replace(state.account, remainder=rest))
    return take(state, whole) if whole else state


def charge_by_time(state: MeterState, amount: int, charge: bytes) -> MeterState:
    """A standing charge or a debt by time falls due.

    With the supply off it is suspended when the charge's link says so (third bit clear, INFERENCE from ECS03's option).
    While emergency credit is in use it waits as accumulated debt if a link to that register is there (ECS03's other
    option, INFERENCE).
    """
    links = _links(state)
    link = links.get((_METER_CREDIT, charge))
    if state.supply is not Supply.ON and link is not None and not link.value[0] & 0x20:
        return state
    if emergency_in_use(state) and (_ACCUMULATED, charge) in links:
        debt = state.account.accumulated_debt + amount
        return replace(state, account=replace(state.account, accumulated_debt=debt)).bounded()
    return take(state, amount)


def recover_time_debt(state: MeterState, place: int, amount: int) -> MeterState:
    """One period of a debt by time: at most what is left of it."""
    debts = list(state.account.time_debts)
    due = min(amount, debts[place])
    if due <= 0:
        return state
    before = state
    state = charge_by_time(state, due, TIME_DEBTS[place])
    if state == before:
        return state
    debts[place] -= due
    return replace(state, account=replace(state.account, time_debts=(debts[0], debts[1])))


def _links(state: MeterState) -> dict[tuple[bytes, bytes], BitString]:
    links = {}
    table = state.read(cosem.CHARGE_LINKS)
    for row in table.elements if isinstance(table, Array) else ():
        if isinstance(row, Structure):
            credit, charge, bits = row.elements
            if isinstance(credit, OctetString) and isinstance(charge, OctetString) and isinstance(bits, BitString):
                links[credit.value, charge.value] = bits
    return links


def select_emergency_credit(state: MeterState, at: int) -> MeterState | None:
    """Activate emergency credit; ``None`` when it is not on offer.

    On offer in prepayment mode when the balance is at or below the emergency credit threshold and there is a limit.
    Already active is well (gbcs-messages 12.4).
    """
    if state.account.emergency_active:
        return state
    limit = state.number(cosem.EMERGENCY_CREDIT_LIMIT)
    if not prepays(state) or limit <= 0 or state.balance > state.number(cosem.EMERGENCY_CREDIT_THRESHOLD):
        return None
    account = replace(state.account, emergency_active=True, emergency_credit=limit)
    return settle(replace(state, account=account), at)


def price_of(state: MeterState, table: Attribute, label: bytes) -> int:
    """A price in thousandths of a penny for each unit of its table; 0 where the label has none."""
    value = state.read(table)
    if not isinstance(value, Structure):
        return 0
    scales, _commodity, prices = value.elements
    scale = scales.elements[1] if isinstance(scales, Structure) else None
    if not isinstance(scale, Integer) or not isinstance(prices, Array):
        return 0
    for row in prices.elements:
        if isinstance(row, Structure) and row.elements[0] == OctetString(label) and isinstance(row.elements[1], Long):
            return _scaled(row.elements[1].value, scale.value + _POUND_SCALE)
    return 0


_EXPONENT_MAX: Final = 9
"""No tariff counts in billions of pounds: a scale beyond is taken as this (DESIGN CHOICE)."""


def _scaled(number: int, exponent: int) -> int:
    factor: int = 10 ** min(abs(exponent), _EXPONENT_MAX)
    return number * factor if exponent >= 0 else number // factor
