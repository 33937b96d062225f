"""Counters: the state against plain statements of its rules, with any history (sections 12.2, 13.4; T13, T15, T17)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lastmetre.gbcs.catalogue import Lane, Role
from lastmetre.gbcs.counters import COUNTER_MAX, UTRN_CACHE_SIZE, UTRN_COUNTER_MAX, CounterState
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.protect import CryptoRefused
from lastmetre.gbcs.utrn import ValueClass, check_utrn, complete_counter, make_utrn
from tests import own_world as own

UTRN_COUNTERS = st.integers(0, UTRN_COUNTER_MAX)
NEAR = st.one_of(UTRN_COUNTERS, st.integers(0, 400), st.integers(UTRN_COUNTER_MAX - 400, UTRN_COUNTER_MAX))
ROLES = st.sampled_from([Role.SUPPLIER, Role.NETWORK_OPERATOR, Role.ACCESS_CONTROL_BROKER, Role.RECOVERY])
FULL = CounterState(utrn_cache=tuple(range(1_000, 1_000 + UTRN_CACHE_SIZE)))


def used(state: CounterState, counters: list[int]) -> tuple[CounterState, list[int]]:
    """Give a state each of these UTRN counters as a device does: unless refused. Also the ones it took, in order."""
    taken = []
    for counter in counters:
        if not state.refuses_utrn(counter):
            state = state.with_utrn(counter)
            taken.append(counter)
    return state, taken


# --- the UTRN Counter Cache ------------------------------------------------------------------------------------------


@given(st.lists(NEAR, max_size=250))
def test_the_cache_is_the_hundred_highest_in_order(counters: list[int]) -> None:
    """After any history: the cache rises, has no twin and at most 100 entries, and they are the highest taken."""
    state, taken = used(CounterState(), counters)
    assert list(state.utrn_cache) == sorted(set(taken))[-UTRN_CACHE_SIZE:]
    assert state.utrn_highest == max(taken, default=0)


@given(st.lists(NEAR, max_size=250), NEAR)
def test_no_top_up_counter_works_twice_however_many_came_between(counters: list[int], more: int) -> None:
    """Whatever was taken is refused for ever, also after it left the cache (T13)."""
    state, taken = used(CounterState(), [more, *counters])
    assert len(taken) == len(set(taken))
    assert all(state.refuses_utrn(counter) for counter in taken)


@given(st.lists(NEAR, min_size=100, max_size=180, unique=True), NEAR)
def test_a_full_cache_refuses_what_is_below_all_of_it_or_in_it(counters: list[int], candidate: int) -> None:
    """The rule in one sentence, for any full cache and any counter."""
    cache = sorted(counters)[-UTRN_CACHE_SIZE:]
    state = CounterState(utrn_cache=tuple(cache))
    assert state.refuses_utrn(candidate) is (candidate in cache or candidate < min(cache))


@given(st.lists(NEAR, max_size=99, unique=True), NEAR)
def test_a_cache_with_room_refuses_only_what_is_in_it(counters: list[int], candidate: int) -> None:
    """Until it is full, a lower counter has its place: top-ups keyed in out of order work."""
    assert CounterState(utrn_cache=tuple(sorted(counters))).refuses_utrn(candidate) is (candidate in counters)


def test_a_full_cache_at_its_edges() -> None:
    """Just below, the lowest, between, the highest, just above; and what an addition pushes out."""
    holed = CounterState(utrn_cache=(*range(1_000, 1_050), *range(1_051, 1_101)))
    assert [holed.refuses_utrn(n) for n in (999, 1_000, 1_050, 1_100, 1_101)] == [True, True, False, True, False]
    after = FULL.with_utrn(2_000)
    assert (len(after.utrn_cache), after.utrn_cache[0], after.utrn_highest) == (UTRN_CACHE_SIZE, 1_001, 2_000)
    assert after.refuses_utrn(1_000)


@pytest.mark.parametrize("counter", [-1, -1024, UTRN_COUNTER_MAX + 1, 1 << 40])
def test_what_is_no_32_bit_counter_is_refused(counter: int) -> None:
    """Below zero and above 32 bits there is no counter, though completing ten bits may lead there."""
    assert CounterState().refuses_utrn(counter)
    assert FULL.refuses_utrn(counter)


@given(st.integers(0, COUNTER_MAX))
def test_the_top_up_lane_takes_counters_with_an_empty_lower_half_only(counter: int) -> None:
    """Header counters of top-ups are UTRN counters shifted left by 32; anything else is refused."""
    assert CounterState().refuses(Role.SUPPLIER, Lane.TOP_UP, counter) is (counter % (1 << 32) != 0)


# --- completing the ten bits -----------------------------------------------------------------------------------------


def placed(low: int, highest: int) -> set[int]:
    """The rule of section 13.4 restated: of the numbers that end in these ten bits, the nearest to the highest used.

    At a distance of exactly 512 there are two; the rule as written keeps the one in the highest's own block of 1024.
    """
    block = highest // 1024 * 1024
    candidates = [block + offset + low for offset in (-1024, 0, 1024)]
    nearest = min(abs(candidate - highest) for candidate in candidates)
    found = {candidate for candidate in candidates if abs(candidate - highest) == nearest}
    return {block + low} if block + low in found else found


@given(st.integers(0, 1023), NEAR)
@example(low=812, highest=2458896167)
def test_ten_bits_are_placed_nearest_to_the_highest(low: int, highest: int) -> None:
    """Against the brute-force statement, for any bits and any highest counter."""
    assert {complete_counter(low, highest)} == placed(low, highest)


def test_every_place_in_a_block_is_right() -> None:
    """Each highest counter of a block, with the bits at each of the rule's edges, by the rule's own words."""
    block = 5 * 1024
    for p in range(1024):
        for r in (0, 1, p - 513, p - 512, p - 511, p - 1, p, p + 1, p + 511, p + 512, p + 513, 1022, 1023):
            if 0 <= r <= 1023:
                s = r + 1024 if r < p - 512 else r - 1024 if r > p + 512 else r
                assert complete_counter(r, block + p) == block + s


def test_the_worked_example_is_reproduced() -> None:
    """Section 13.4: V = 2458896167, r = 812."""
    assert complete_counter(812, 2458896167) == 2458896172
    assert 2458896172 << 32 == 10560878642999590912


@given(NEAR, st.integers(-511, 511))
def test_a_top_up_within_511_of_the_highest_is_found_again(highest: int, step: int) -> None:
    """The supplier may be 511 top-ups ahead of the meter, or the customer 511 behind: the counter is still right."""
    counter = highest + step
    if 0 <= counter <= UTRN_COUNTER_MAX:
        assert complete_counter(counter % 1024, highest) == counter


@pytest.mark.parametrize(("low", "highest"), [(1023, 0), (513, 0), (0, UTRN_COUNTER_MAX), (510, UTRN_COUNTER_MAX)])
def test_bits_that_lead_out_of_32_bits_are_refused_everywhere(low: int, highest: int) -> None:
    """At both ends of the range a token may be placed outside it: cache and MAC check both refuse (T17)."""
    counter = complete_counter(low, highest)
    assert not 0 <= counter <= UTRN_COUNTER_MAX
    assert CounterState().refuses_utrn(counter)
    secret = own.secret(own.SUPPLIER, own.ESME, KeyUse.PREPAYMENT)
    ids = {"supplier_id": own.SUPPLIER, "device_id": own.ESME}
    utrn = make_utrn(5, ValueClass.PENCE, originator_counter=1 << 32, secret=secret, **ids)
    with pytest.raises(CryptoRefused):
        check_utrn(utrn, originator_counter=counter << 32, secret=secret, **ids)


# --- ordinary counters -----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(ROLES, st.integers(0, COUNTER_MAX)), max_size=40))
def test_each_role_has_its_own_rising_mark(history: list[tuple[Role, int]]) -> None:
    """Against a table of the highest by role: accepted exactly when strictly above it, whatever others said (T15)."""
    state, highest = CounterState(), dict.fromkeys(Role, 0)
    for role, counter in history:
        refused = state.refuses(role, Lane.ORDINARY, counter)
        assert refused is (counter <= highest[role])
        if not refused:
            state = state.with_accepted(role, Lane.ORDINARY, counter)
            highest[role] = counter
    assert all(state.high_water(role) == mark for role, mark in highest.items())


@given(st.integers(0, COUNTER_MAX), UTRN_COUNTERS)
def test_the_two_lanes_do_not_touch(counter: int, utrn_counter: int) -> None:
    """A top-up, whose header counter is huge, blocks no ordinary Command; an ordinary one blocks no top-up."""
    after_top_up = CounterState().with_accepted(Role.SUPPLIER, Lane.TOP_UP, utrn_counter << 32)
    assert after_top_up.high_water(Role.SUPPLIER) == 0
    after_ordinary = CounterState().with_accepted(Role.SUPPLIER, Lane.ORDINARY, counter)
    assert after_ordinary.utrn_cache == ()
    assert not after_ordinary.refuses(Role.SUPPLIER, Lane.TOP_UP, utrn_counter << 32)


@pytest.mark.parametrize("top", [(1 << 63) - 1, 1 << 63, COUNTER_MAX - 1])
def test_a_jump_to_the_top_leaves_only_what_is_above_it(top: int) -> None:
    """2^63-1, where a draft type ends, is no limit on the wire; below the new mark all is blocked (T17)."""
    state = CounterState().with_accepted(Role.SUPPLIER, Lane.ORDINARY, top)
    assert state.refuses(Role.SUPPLIER, Lane.ORDINARY, top)
    assert state.refuses(Role.SUPPLIER, Lane.ORDINARY, top - 1)
    assert not state.refuses(Role.SUPPLIER, Lane.ORDINARY, top + 1)
    assert not state.refuses(Role.NETWORK_OPERATOR, Lane.ORDINARY, 1)


def test_after_the_highest_counter_there_is_none() -> None:
    """2^64-1 is accepted once; then that role is silent, and a number beyond 64 bits does not help (T17)."""
    assert not CounterState().refuses(Role.SUPPLIER, Lane.ORDINARY, COUNTER_MAX)
    state = CounterState().with_accepted(Role.SUPPLIER, Lane.ORDINARY, COUNTER_MAX)
    for counter in (0, 1, COUNTER_MAX, COUNTER_MAX + 1):
        assert state.refuses(Role.SUPPLIER, Lane.ORDINARY, counter)
    assert CounterState().refuses(Role.SUPPLIER, Lane.ORDINARY, COUNTER_MAX + 1)


def test_the_highest_utrn_counter_blocks_the_nearby_past_only() -> None:
    """A top-up at 2^32-1 is taken once; with room in the cache lower counters still work (T17)."""
    state = CounterState().with_utrn(UTRN_COUNTER_MAX)
    assert state.refuses_utrn(UTRN_COUNTER_MAX)
    assert not state.refuses_utrn(UTRN_COUNTER_MAX - 1)
    assert not state.refuses_utrn(1)


@given(st.lists(st.tuples(ROLES, st.integers(1, 99)), max_size=8))
def test_states_are_values(history: list[tuple[Role, int]]) -> None:
    """The same history gives an equal state, and an old state is untouched by a new one."""
    first = second = CounterState()
    for role, counter in history:
        before, first = first, first.with_accepted(role, Lane.ORDINARY, counter)
        second = second.with_accepted(role, Lane.ORDINARY, counter)
        assert before.with_accepted(role, Lane.ORDINARY, counter) == first
    assert first == second
    assert hash(first) == hash(second)
