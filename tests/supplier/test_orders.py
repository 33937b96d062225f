"""The one table of order states: what may lead where, and what nothing may do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.gbcs.catalogue import Lane
from lastmetre.supplier.orders import (
    BEFORE_THE_END,
    FINAL,
    OPEN,
    TRANSITIONS,
    UNSENT,
    Attempt,
    AttemptState,
    Event,
    Order,
    Road,
    State,
    attempt_changed,
    deadline_event,
    failure_event,
    moved,
    why_waiting,
    with_attempt,
)

PROVEN = {Event.RESPONSE_VERIFIED, Event.RESPONSE_VERIFIED_REFUSAL, Event.READ_BACK}
ENDED_BY_RESPONSE = {State.CONFIRMED, State.CONFIRMED_LATE, State.REFUSED_BY_DEVICE}
NEVER_LEFT = {State.EXPIRED_UNSENT, State.CANCELLED}

ORDER = Order(
    order_id="one",
    device_id=bytes(8),
    service="arm_supply",
    values_json="{}",
    roads=(Road.PPMID,),
    deadline_at=1000,
    reason="",
    idempotency_key="key",
    body_digest=bytes(32),
    accepted_at=1,
    lane=Lane.ORDINARY,
)


@pytest.mark.parametrize("target", sorted(ENDED_BY_RESPONSE))
def test_only_a_verified_response_ends_so(target: State) -> None:
    """No row but those of a verified Response leads to confirmed, confirmed late or refused by device."""
    assert {event for (_, event), to in TRANSITIONS.items() if to is target} <= PROVEN


@pytest.mark.parametrize("state", sorted(set(State) - {State.CONFIRMED, State.CONFIRMED_LATE, State.REFUSED_BY_DEVICE}))
def test_a_verified_response_counts_in_every_state(state: State) -> None:
    """Evidence is never thrown away: whatever was believed before, a verified Response confirms."""
    assert TRANSITIONS[state, Event.RESPONSE_VERIFIED] in {State.CONFIRMED, State.CONFIRMED_LATE}


def test_nothing_that_may_have_left_ends_as_unsent() -> None:
    """From at large, unknown and superseding no row leads to an end that claims nothing left."""
    left = {State.AT_LARGE, State.UNKNOWN, State.SUPERSEDING}
    rows = {(state, event): to for (state, event), to in TRANSITIONS.items() if state in left}
    assert not {to for to in rows.values() if to in NEVER_LEFT}
    failed = {row for row, to in rows.items() if to is State.FAILED_BEFORE_SEALING}
    assert failed == {(State.AT_LARGE, Event.REFUSED_BY_DCC)}


def test_the_clock_alone_ends_nothing_at_large() -> None:
    """Past its deadline what is at large becomes unknown, and unknown has no deadline."""
    deadlines = {Event.DEADLINE_PASSED, Event.DEADLINE_PASSED_CODE_OUT}
    for event in deadlines:
        assert TRANSITIONS[State.AT_LARGE, event] is State.UNKNOWN
        assert (State.UNKNOWN, event) not in TRANSITIONS


def test_every_state_with_a_deadline_has_its_rows() -> None:
    """No order can sit past its deadline for want of a row."""
    for state in BEFORE_THE_END:
        assert (state, Event.DEADLINE_PASSED) in TRANSITIONS
        assert (state, Event.DEADLINE_PASSED_CODE_OUT) in TRANSITIONS
    assert set(State) == OPEN | FINAL
    assert not OPEN & FINAL


def test_a_told_code_is_at_large() -> None:
    """A top-up whose digits were told neither expires unsent nor fails unsent: somebody may have keyed them in."""
    told = with_attempt(ORDER, Road.CODE, b"", 1)
    assert deadline_event(ORDER) is Event.DEADLINE_PASSED
    assert deadline_event(told) is Event.DEADLINE_PASSED_CODE_OUT
    assert failure_event(told) is Event.PREPARATION_FAILED_CODE_OUT
    for state in UNSENT:
        assert TRANSITIONS[state, deadline_event(told)] is State.UNKNOWN
        assert TRANSITIONS[state, failure_event(told)] is State.UNKNOWN


@given(st.lists(st.sampled_from(Event), max_size=30))
def test_any_order_of_events_keeps_the_rules(events: list[Event]) -> None:
    """Whatever comes in whatever order: an order is in one known state, confirmed only after a verified Response."""
    order, proven = ORDER, False
    for event in events:
        before = order.state
        order = moved(order, event, 5) or order
        proven = proven or event in PROVEN
        assert order.state in State
        if order.state in ENDED_BY_RESPONSE:
            assert proven
        if before in ENDED_BY_RESPONSE:
            assert order.state is before
        assert (why_waiting(order) is None) is (order.state in FINAL)


def test_ends_and_unknown_release_the_lane() -> None:
    """A lane is held only while something is on its way."""
    for (state, event), target in TRANSITIONS.items():
        held = replace(ORDER, state=state, lane_held=True)
        after = moved(held, event, 5)
        assert after is not None
        assert after.lane_held is (target in BEFORE_THE_END and event not in {Event.MADE_AGAIN, Event.OTHER_ROAD})


RECEIPTS = st.lists(st.sampled_from(AttemptState), max_size=12)


@given(RECEIPTS)
def test_receipts_never_lower_an_attempt(states: list[AttemptState]) -> None:
    """Late, repeated and out-of-order receipts leave the highest thing that was said."""
    order = with_attempt(ORDER, Road.PPMID, bytes(8), 1)
    ranks = list(AttemptState)
    highest = AttemptState.HANDED_ON
    for at, state in enumerate(states, 2):
        order = attempt_changed(order, order.attempts[0], at, state=state)
        highest = max(highest, state, key=ranks.index)
        assert order.attempts[0].state is highest


def test_a_repeated_receipt_is_no_change() -> None:
    """The same word again is the same order, so nothing is written."""
    order = with_attempt(ORDER, Road.PPMID, bytes(8), 1)
    once = attempt_changed(order, order.attempts[0], 2, state=AttemptState.TAKEN_BY_AGENT)
    assert once.attempts == (Attempt(1, Road.PPMID, bytes(8), AttemptState.TAKEN_BY_AGENT, 1, 2),)
    assert attempt_changed(once, once.attempts[0], 3, state=AttemptState.TAKEN_BY_AGENT) is once
    assert attempt_changed(once, once.attempts[0], 3, state=AttemptState.HANDED_ON) is once


def test_waiting_always_has_words() -> None:
    """Every open state, with any attempt, has an answer to "why is it waiting"."""
    for state in OPEN:
        assert why_waiting(replace(ORDER, state=state))
        for attempt_state in AttemptState:
            order = with_attempt(replace(ORDER, state=state), Road.PPMID, bytes(8), 1)
            assert why_waiting(attempt_changed(order, order.attempts[0], 2, state=attempt_state))
