"""Authentic nonsense: genuine parties that ask for senseless things. The meter answers or refuses, and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    ActivateFirmware,
    Asn1,
    CellId,
    RoleCounter,
    UpdateControl,
    UpdateCredentials,
    encode_asn1,
)
from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Boolean,
    Data,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    Integer,
    LongUnsigned,
    NullData,
    OctetString,
    Structure,
    Unsigned,
)
from lastmetre.gbcs.dlms import Action, Get, GetWithSelection, Obis, Set
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, parse_message
from lastmetre.home.load import steady_load
from lastmetre.home.objects.use_case_items import _table, items_of
from lastmetre.home.state import decode_state, encode_state
from lastmetre.home.supply import Supply
from tests import own_world as own

if TYPE_CHECKING:
    from lastmetre.gbcs.dlms import Spec
    from lastmetre.home.attributes import Attribute

_LEAVES: st.SearchStrategy[Data] = st.one_of(
    st.just(NullData()),
    st.booleans().map(lambda value: Boolean(value=value)),
    st.integers(-128, 127).map(Integer),
    st.integers(0, 255).map(Unsigned),
    st.integers(0, 255).map(Enum),
    st.integers(0, 65_535).map(LongUnsigned),
    st.integers(-(1 << 31), (1 << 31) - 1).map(DoubleLong),
    st.integers(0, (1 << 32) - 1).map(DoubleLongUnsigned),
    st.binary(max_size=14).map(OctetString),
    st.just(OctetString(bytes(12))),
    st.just(BitString(3, b"\xe0")),
)
_ANY: st.SearchStrategy[Data] = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda each: Array(tuple(each))),
        st.lists(inner, max_size=5).map(lambda each: Structure(tuple(each))),
    ),
    max_leaves=8,
)


def spec_of(letter: str, each: Attribute, parameter: Data) -> Spec:
    """An item of the table."""
    match letter:
        case "G":
            return Get(each.class_id, each.obis, each.number)
        case "S":
            return Set(each.class_id, each.obis, each.number)
        case "A":
            return Action(each.class_id, each.obis, each.number)
        case _:
            return GetWithSelection(each.class_id, each.obis, each.number, 1, parameter)


@pytest.mark.parametrize("name", sorted(set(_table()["items"]) - {"CS01a", "ECS47e"}))
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_value_stops_the_meter(name: str, data: st.DataObject) -> None:
    """Any data in any item of any use case: one answer, item by item; two hours later all is still well."""
    meter = own.meter(balance=10_000, supply=Supply.ON, load=steady_load(500))
    items = []
    for letter, each in items_of(name) or ():
        value = NullData() if letter in "GL" else data.draw(_ANY)
        items.append((spec_of(letter, each, data.draw(_ANY) if letter == "L" else NullData()), value))
    answers = meter.receive(own.command(name, 1, *items), own.NOW)
    assert len(own.results_of(answers[0])) == len(items)
    meter.tick(own.NOW + 7_200)
    assert decode_state(encode_state(meter.state)) == meter.state
    (answer,) = meter.receive(own.read_command("ECS82", 1 << 20), own.NOW + 7_200)[-1:]
    assert own.results_of(answer)[0].result == 0


def test_money_stays_within_what_can_be_said() -> None:
    """Credit upon credit: the balance stops at the limit of its type and can still be read."""
    meter = own.meter(balance=0, supply=Supply.ON)
    item = (Action(112, Obis.parse("0-0:19.10.0"), 1), DoubleLong((1 << 31) - 1))
    for counter in (1, 2, 3):
        meter.receive(own.command("ECS04a", counter, item), own.NOW)
    (answer,) = meter.receive(own.read_command("ECS82", 4), own.NOW)
    assert own.results_of(answer)[0].data == DoubleLong((1 << 31) - 1)


def test_an_execution_time_that_is_none_is_refused_and_cancels_nothing() -> None:
    """CS06 at the thirteenth month: refused whole, and not taken for a cancellation."""
    meter = own.meter()
    for counter, month in ((1, b"12"), (2, b"13")):
        content = encode_asn1(Asn1(ActivateFirmware(bytes(32), counter, "20301201000000Z")))
        head = GroupingHeader(Cra.COMMAND, counter, own.SUPPLIER, own.ESME, OtherInformation(0x0012))
        answers = meter.receive(own.critical(head, content.replace(b"203012", b"2030" + month)), own.NOW)
    assert parse_message(answers[0]).header.cra is Cra.ALERT
    assert len(meter.state.pending_commands) == 1


@pytest.mark.parametrize("role", [3, 4, 99])
def test_a_supplier_touches_no_other_partys_counters(role: int) -> None:
    """CS02b supplier by supplier that names another role's counter is refused whole."""
    meter = own.meter()
    cell = CellId(2, KEY_USAGE_DIGITAL_SIGNATURE)
    control = UpdateControl(2, 5, authorising_cell=cell, other_changes=(RoleCounter(role, 0),))
    head = GroupingHeader(Cra.COMMAND, 5, own.SUPPLIER, own.ESME, OtherInformation(0x0102))
    before = meter.state.counters
    (alert,) = meter.receive(own.critical(head, encode_asn1(Asn1(UpdateCredentials(control, (), ())))), own.NOW)
    assert parse_message(alert).header.cra is Cra.ALERT
    assert meter.state.counters == before
