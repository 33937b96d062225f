"""What a Command sets, another reads: every pair of the tables, with any values, and after a restart too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Boolean,
    Data,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    Integer,
    Long,
    LongUnsigned,
    NullData,
    OctetString,
    Structure,
    Unsigned,
    VisibleString,
)
from lastmetre.gbcs.catalogue import use_case_by_name
from lastmetre.gbcs.dlms import Set
from lastmetre.home.attributes import IMMEDIATELY, Attribute, parse_attribute
from lastmetre.home.load import steady_load
from lastmetre.home.objects import ACTIVATIONS, OBJECTS
from lastmetre.home.objects.rows import Becoming, Held
from lastmetre.home.objects.shapes import Shape, fits
from lastmetre.home.objects.use_case_items import _table, items_of
from lastmetre.home.ports import MemoryStore
from lastmetre.home.state import decode_state, encode_state
from lastmetre.home.supply import Supply
from tests import own_world as own

if TYPE_CHECKING:
    from collections.abc import Callable

SETTING: Final = [
    name
    for name in _table()["items"]
    if all(letter == "S" for letter, _attribute in items_of(name) or ()) and not name.startswith("ECS25")
]
"""Use cases that do nothing but set; event behaviours have a test of their own below."""
READERS: Final = {
    attribute: name for name in _table()["items"] for letter, attribute in items_of(name) or () if letter == "G"
}
"""A use case that reads an attribute."""

_NUMBERS: Final[dict[str, tuple[Callable[[int], Data], int, int]]] = {
    "i8": (Integer, -128, 127),
    "i16": (Long, -(1 << 15), (1 << 15) - 1),
    "i32": (DoubleLong, -(1 << 31), (1 << 31) - 1),
    "u8": (Unsigned, 0, 255),
    "u16": (LongUnsigned, 0, (1 << 16) - 1),
    "u32": (DoubleLongUnsigned, 0, (1 << 32) - 1),
    "enum": (Enum, 0, 255),
}


def values(shape: Shape) -> st.SearchStrategy[Data]:
    """Any value of a shape."""
    if shape.kind in _NUMBERS:
        made, low, high = _NUMBERS[shape.kind]
        return st.integers(low, high).map(made)
    match shape.kind:
        case "any of":
            return st.one_of([values(choice) for choice in shape.parts])
        case "array":
            return st.lists(values(shape.parts[0]), max_size=3).map(lambda elements: Array(tuple(elements)))
        case "structure":
            return st.tuples(*(values(part) for part in shape.parts)).map(Structure)
        case "bool":
            return st.booleans().map(lambda value: Boolean(value=value))
        case "bits":
            size = st.integers(0, 16) if shape.size is None else st.just(shape.size)
            return size.flatmap(lambda count: st.binary(min_size=-(-count // 8), max_size=-(-count // 8)).map(
                lambda raw: BitString(count, _without_padding(raw, count))))  # fmt: skip
        case "vs":
            return st.binary(max_size=20).map(VisibleString)
        case _:
            low, high = (0, 20) if shape.size is None else (shape.size, shape.size)
            return st.binary(min_size=low, max_size=high).map(OctetString)


def _without_padding(raw: bytes, count: int) -> bytes:
    return raw if count % 8 == 0 else raw[:-1] + bytes((raw[-1] & (0xFF << (8 - count % 8)) & 0xFF,))


def expected(name: str, set_values: dict[Attribute, Data]) -> dict[Attribute, Data]:
    """What is to be read: an attribute set is itself; one that waits is read where it became active."""
    found = dict(set_values)
    for attribute in set_values:
        if attribute in ACTIVATIONS:
            del found[attribute]
            for move in ACTIVATIONS[attribute].moves:
                if move.passive in set_values:
                    found[move.active] = became(set_values[move.passive], move.becoming)
    assert found, name
    return found


def became(value: Data, becoming: Becoming) -> Data:
    """A waiting value in force."""
    if becoming is Becoming.IN_AN_ARRAY:
        return Array((value,))
    if becoming is Becoming.IN_FORCE:
        assert isinstance(value, Structure)
        return Structure((value.elements[0], Enum(2)))
    return value


@pytest.mark.parametrize("name", SETTING)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_what_was_set_is_read_after_a_restart_too(name: str, data: st.DataObject) -> None:
    """Any values of the right types, in force at once: the reading Commands of the catalogue answer with them."""
    chosen = {
        attribute: OctetString(IMMEDIATELY)
        if attribute in ACTIVATIONS
        else data.draw(values(OBJECTS[attribute].shape), label=str(attribute))
        for _letter, attribute in items_of(name) or ()
    }
    store = MemoryStore()
    meter = own.meter(store=store)
    items = ((Set(each.class_id, each.obis, each.number), value) for each, value in chosen.items())
    (response,) = meter.receive(own.command(name, 1, *items), own.NOW)
    assert {result.result for result in own.results_of(response)} == {0}
    wanted = expected(name, chosen)
    readers = sorted({READERS[attribute] for attribute in wanted if attribute in READERS})
    for again in (meter, own.meter(store=store)):
        counter = again.state.counters.ordinary[-1][1] + 1 if again.state.counters.ordinary else 1
        for reader in readers:
            counter += 1
            (answer,) = again.receive(own.read_command(reader, counter), own.NOW)
            asked = [attribute for letter, attribute in items_of(reader) or () if letter == "G"]
            read = dict(zip(asked, (result.data for result in own.results_of(answer)), strict=True))
            for attribute in wanted:
                if attribute in read:
                    assert read[attribute] == wanted[attribute], attribute
        for attribute, value in wanted.items():
            assert again.state.read(attribute) == value
    assert decode_state(encode_state(meter.state)) == meter.state


@settings(max_examples=10, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_event_behaviours_change_where_they_are_selected(first: bytes, mask: bytes, wanted: bytes) -> None:
    """ECS25a then ECS25r1: selected events take the value given, the others keep theirs."""
    meter = own.meter()
    target = parse_attribute("1/0-30:97.98.11#2")
    item = Set(target.class_id, target.obis, target.number)
    meter.receive(own.command("ECS25a", 1, (item, BitString(512, b"\xff" * 32 + first))), own.NOW)
    meter.receive(own.command("ECS25a", 2, (item, BitString(512, mask + wanted))), own.NOW)
    (answer,) = meter.receive(own.read_command("ECS25r1", 3), own.NOW)
    now = bytes(f & ~m | w & m for f, m, w in zip(first, mask, wanted, strict=True))
    assert own.results_of(answer)[0].data == BitString(256, now)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_no_setting_stops_the_meter(data: st.DataObject) -> None:
    """Any values that a Command may set, however senseless: a day passes and the meter still answers."""
    meter = own.meter(balance=5_000, supply=Supply.ON, load=steady_load(900))
    names = [name for name in SETTING if use_case_by_name(name).critical]
    for counter, name in enumerate(data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4)), 1):
        items = []
        for _letter, each in items_of(name) or ():
            value: Data = OctetString(IMMEDIATELY)
            if each not in ACTIVATIONS:
                value = data.draw(values(OBJECTS[each].shape))
            items.append((Set(each.class_id, each.obis, each.number), value))
        meter.receive(own.command(name, counter, *items), own.NOW)
    later = own.NOW + 86_400
    answers = meter.receive(own.read_command("ECS26a", 90), later)
    assert {result.result for result in own.results_of(answers[-1])} == {0}
    assert decode_state(encode_state(meter.state)) == meter.state


def test_every_row_names_its_source_and_fits_its_own_shape() -> None:
    """The tables are whole: sources, values of a new meter, activations between attributes that exist."""
    for row in OBJECTS.values():
        assert row.source
        assert (row.new is None) is (row.held is Held.LIVE)
        assert row.new is None or fits(row.shape, row.new), row.attribute
    for activation in ACTIVATIONS.values():
        assert activation.source
        for move in activation.moves:
            assert OBJECTS[move.passive].held is Held.WRITABLE
            assert move.active in OBJECTS


def test_every_plain_read_of_the_catalogue_is_answered_by_a_new_meter() -> None:
    """No use case of an electricity meter reads what it does not have."""
    for counter, name in enumerate(sorted(set(READERS.values())), 1):
        meter = own.meter()
        (answer,) = meter.receive(own.read_command(name, counter), own.NOW)
        assert {result.result for result in own.results_of(answer)} == {0}, name
        assert all(result.data != NullData() for result in own.results_of(answer)), name
