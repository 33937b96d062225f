"""The tables of load switch and valve: whole, sourced, and such that nothing but the allowed switches anything on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lastmetre.home import supply
from lastmetre.home.gas import money
from lastmetre.home.gas.state import Valve
from lastmetre.home.supply import Supply, SupplyEvent

NOTHING_HAPPENS: dict[tuple[Supply, SupplyEvent], str] = {
    **dict.fromkeys(
        [(state, SupplyEvent.CUSTOMER_ENABLE) for state in Supply if state is not Supply.ARMED],
        "the customer switches on only what is armed",
    ),
    **dict.fromkeys(
        [(state, SupplyEvent.CREDIT_EXHAUSTED) for state in (Supply.OFF_BY_CREDIT, Supply.OFF_BY_COMMAND)],
        "it is off already, and who disabled it must arm it",
    ),
    **dict.fromkeys(
        [(state, SupplyEvent.CREDIT_RESTORED) for state in Supply if state is not Supply.OFF_BY_CREDIT],
        "credit arms only what credit cut off",
    ),
    **dict.fromkeys(
        [(state, SupplyEvent.LOAD_EXCEEDED) for state in Supply if state is not Supply.ON],
        "no power flows",
    ),
    **dict.fromkeys(
        [(state, SupplyEvent.LOAD_RESTORED) for state in Supply if state is not Supply.OFF_BY_LOAD],
        "nothing was cut for its load",
    ),
}
"""Pairs without a row, and why."""
NO_GAS: dict[tuple[Valve, money.ValveEvent], str] = {
    **dict.fromkeys(
        [(state, money.ValveEvent.CUSTOMER_OPEN) for state in Valve if state is not Valve.ARMED],
        "the customer opens only what is armed",
    ),
    **dict.fromkeys(
        [(state, money.ValveEvent.CREDIT_EXHAUSTED) for state in (Valve.OFF_BY_CREDIT, Valve.OFF_BY_COMMAND)],
        "it is closed already, and who closed it must arm it",
    ),
    **dict.fromkeys(
        [(state, money.ValveEvent.CREDIT_RESTORED) for state in Valve if state is not Valve.OFF_BY_CREDIT],
        "credit arms only what credit closed",
    ),
}


def test_every_state_meets_every_event() -> None:
    """Each pair has a row with a source, or a reason why nothing happens; never both."""
    assert set(supply.TABLE) | set(NOTHING_HAPPENS) == {(state, event) for state in Supply for event in SupplyEvent}
    assert not set(supply.TABLE) & set(NOTHING_HAPPENS)
    assert set(money.TABLE) | set(NO_GAS) == {(state, event) for state in Valve for event in money.ValveEvent}
    assert not set(money.TABLE) & set(NO_GAS)
    assert all(source for _state, source in (*supply.TABLE.values(), *money.TABLE.values()))


@given(st.sampled_from(Supply), st.lists(st.sampled_from(SupplyEvent), max_size=20))
def test_electricity_comes_on_by_command_or_by_the_customer_alone(state: Supply, events: list[SupplyEvent]) -> None:
    """After any events: whatever switched it on was ECS42, or the customer when it was armed."""
    for event in events:
        following = supply.after(state, event) or state
        if following is Supply.ON and state is not Supply.ON:
            assert event is SupplyEvent.ENABLE_COMMAND or (event, state) == (SupplyEvent.CUSTOMER_ENABLE, Supply.ARMED)
        state = following


@given(st.sampled_from(Valve), st.lists(st.sampled_from(money.ValveEvent), max_size=20))
def test_gas_is_opened_by_the_customer_alone(state: Valve, events: list[money.ValveEvent]) -> None:
    """Gas is armed remotely and opened at the meter: no event from afar ever opens a closed valve."""
    for event in events:
        following = money.after(state, event) or state
        if following is Valve.ON and state is not Valve.ON:
            assert (event, state) == (money.ValveEvent.CUSTOMER_OPEN, Valve.ARMED)
        if state is Valve.OFF_BY_COMMAND and following is not state:
            assert event is money.ValveEvent.ARM_COMMAND
        state = following
