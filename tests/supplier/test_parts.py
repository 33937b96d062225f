"""Counters, audit, roads, services: the small pure parts of the supplier."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.gbcs.catalogue import Lane
from lastmetre.supplier.audit import GENESIS, ChainedEntry, Entry, chain, verify
from lastmetre.supplier.counters import LANE_MAX, floor, next_value, originator_counter
from lastmetre.supplier.errors import AuditBroken, CountersExhausted, OrderRefused
from lastmetre.supplier.orders import Road
from lastmetre.supplier.policy import Step
from lastmetre.supplier.roads import Closed, Device, Open, WanCoverage, Ways, choose
from lastmetre.supplier.services import SERVICES, checked_values, service_named
from tests.supplier_world import an_order

MS = 1_795_400_000_123
DEVICE, HUB, AGENT, DSP = (bytes([n]) * 8 for n in range(1, 5))


# --- counters


@given(st.sampled_from(Lane), st.lists(st.integers(0, 2**40), min_size=1, max_size=50))
def test_counters_rise_whatever_the_clock_does(lane: Lane, clock: list[int]) -> None:
    """A clock that stands still, jumps or runs backwards never brings a counter back."""
    given_out: list[int] = []
    last: int | None = None
    for now_ms in clock:
        last = next_value(last, lane, floor(lane, now_ms))
        given_out.append(originator_counter(lane, last))
    assert all(one < other for one, other in itertools.pairwise(given_out))


def test_the_two_lanes() -> None:
    """Ordinary counters are milliseconds; top-up counters are seconds in the upper half, low half zero."""
    assert originator_counter(Lane.ORDINARY, floor(Lane.ORDINARY, MS)) == MS
    assert originator_counter(Lane.TOP_UP, floor(Lane.TOP_UP, MS)) == 1_795_400_000 << 32


@pytest.mark.parametrize("lane", list(Lane))
def test_a_lane_ends(lane: Lane) -> None:
    """Beyond the last value there is an error, never a smaller counter."""
    assert next_value(LANE_MAX[lane] - 1, lane, 0) == LANE_MAX[lane]
    with pytest.raises(CountersExhausted):
        next_value(LANE_MAX[lane], lane, 0)


# --- audit


def _entries(count: int) -> list[ChainedEntry]:
    chained: list[ChainedEntry] = []
    for n in range(count):
        entry = Entry(f"order {n}", n, "happened", None, "accepted", "ü", (("b", bytes(32)), ("a", bytes(32))))
        chained.append(chain(entry, chained[-1] if chained else None))
    return chained


def test_a_chain_verifies_whole_and_in_pieces() -> None:
    """From the first entry to the head, and from any point onwards."""
    entries = _entries(5)
    assert entries[0].previous == GENESIS
    assert verify(entries) == entries[-1]
    assert verify(entries[3:], entries[2]) == entries[-1]
    assert verify([]) is None


def test_every_field_is_bound() -> None:
    """No field of an entry can be changed without breaking the chain there."""
    entries = _entries(3)
    entry = entries[1].entry
    for changed in (
        replace(entry, order_id="other"),
        replace(entry, at=99),
        replace(entry, event="other"),
        replace(entry, from_state="accepted"),
        replace(entry, to_state="confirmed"),
        replace(entry, detail="u"),
        replace(entry, documents=(("a", bytes(32)),)),
    ):
        with pytest.raises(AuditBroken) as caught:
            verify([entries[0], replace(entries[1], entry=changed), entries[2]])
        assert caught.value.seq == 2


def test_gaps_swaps_and_insertions_are_found() -> None:
    """Leaving out, exchanging, repeating or putting in an entry breaks the chain."""
    one, two, three, four = _entries(4)
    for wrong in ([one, three, four], [two, one], [one, two, two], [one, chain(one.entry, two), three]):
        with pytest.raises(AuditBroken):
            verify(wrong)


# --- roads

NO_WAN = Device(DEVICE, HUB, WanCoverage.NONE, AGENT)


@pytest.mark.parametrize(
    ("roads", "device", "way"),
    [
        ((Road.PPMID, Road.WAN), NO_WAN, Open(Road.PPMID, AGENT)),
        ((Road.WAN, Road.PPMID), NO_WAN, Open(Road.PPMID, AGENT)),
        ((Road.WAN,), NO_WAN, Closed("no WAN here")),
        ((Road.WAN,), replace(NO_WAN, wan=WanCoverage.DOWN), Closed("the WAN here is down")),
        ((Road.WAN, Road.PPMID), replace(NO_WAN, wan=WanCoverage.GOOD), Open(Road.WAN, DSP)),
        ((Road.PPMID,), replace(NO_WAN, agent_id=None), Closed("no PPMID with an agent here")),
        ((Road.WAN, Road.PPMID), replace(NO_WAN, agent_id=None), Closed("no WAN here; no PPMID with an agent here")),
        ((), NO_WAN, Closed("no road was named")),
    ],
)
def test_the_first_open_road_is_taken(roads: tuple[Road, ...], device: Device, way: Open | Closed) -> None:
    """Roads are tried in the order's own order; closed ones are named in words."""
    steps = tuple(Step(road) for road in roads)
    assert choose(an_order(roads=roads), steps, Ways(device, DSP)) == way


# --- services


def test_services_say_what_they_become() -> None:
    """Criticality and message codes come from the GBCS catalogue, not from a second list."""
    critical = {name for name, service in SERVICES.items() if service.critical}
    assert critical == {"update_prepay_configuration", "arm_supply", "disable_supply", "synchronise_clock"}
    assert SERVICES["arm_supply"].message_codes == {0x51}
    assert [name for name, service in SERVICES.items() if service.lane is Lane.TOP_UP] == ["top_up"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("top_up", {}),
        ("top_up", {"amount_pence": 0}),
        ("top_up", {"amount_pence": "1000"}),
        ("top_up", {"amount_pence": True}),
        ("top_up", {"amount_pence": 100, "tip": 1}),
        ("top_up", [100]),
        ("arm_supply", {"now": 1}),
        ("update_prepay_configuration", {"emergency_credit_limit": 1}),
        ("fly", {}),
        (None, {}),
    ],
)
def test_wrong_values_are_refused(name: object, values: object) -> None:
    """Nothing unknown, missing, out of range or of another kind is accepted."""
    with pytest.raises(OrderRefused):
        checked_values(service_named(name), values)
