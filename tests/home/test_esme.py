"""The electricity meter: what its Commands do, what it remembers, what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.gbcs.axdr import DoubleLong, Enum, LongUnsigned, NullData, OctetString
from lastmetre.gbcs.datetimes import date_time_from_unix
from lastmetre.gbcs.dlms import (
    AccessRequest,
    Action,
    Get,
    ItemResult,
    Obis,
    Set,
    decode_access_response,
    decode_data_notification,
    encode_access_request,
)
from lastmetre.gbcs.message import Cra, Kind, parse_message
from lastmetre.gbcs.protect import verify_signature
from lastmetre.home.attributes import EMERGENCY_CREDIT_LIMIT, IMMEDIATELY, NEVER
from lastmetre.home.ports import MemoryStore
from lastmetre.home.state import decode_state, encode_state
from lastmetre.home.supply import TABLE, Supply, SupplyEvent
from tests import own_world as own
from tests.own_world import DS, ESME, NOW, SUPPLIER

if TYPE_CHECKING:
    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.dlms import Spec
    from lastmetre.home.esme import Esme


def results(response: bytes) -> tuple[ItemResult, ...]:
    """The item results of a Response."""
    return decode_access_response(parse_message(response).content).results


def supply(meter: Esme) -> Supply:
    """The state of the supply now."""
    return meter.state.supply


def configure(counter: int, obis: str, value: int, when: bytes = IMMEDIATELY) -> bytes:
    """An ECS08a Command that sets one class 9000 value and when it counts."""
    items = (
        (Set(9000, Obis.parse(obis), 4), DoubleLong(value)),
        (Set(9000, Obis.parse(obis), 6), OctetString(when)),
    )
    return own.critical(own.header("ECS08a", counter), encode_access_request(AccessRequest(counter & 0xFFFFFF, items)))


def read(counter: int, *what: tuple[int, str, int]) -> bytes:
    """An ECS26a Command that reads these attributes."""
    items = tuple((Get(class_id, Obis.parse(obis), number), NullData()) for class_id, obis, number in what)
    return own.non_critical(own.header("ECS26a", counter), encode_access_request(AccessRequest(counter, items)))


def test_a_top_up_arms_a_supply_that_credit_had_cut_off() -> None:
    """CS01a: the balance rises above the threshold, the meter arms itself, the customer switches on."""
    meter = own.meter(balance=-1_000_000, supply=Supply.OFF_BY_CREDIT)
    (response,) = meter.receive(own.top_up(5, own.top_up_digits(5, 1_500)), NOW)
    assert results(response) == (ItemResult(3, NullData(), 0),)
    assert meter.state.balance == 500_000
    assert supply(meter) is Supply.ARMED
    assert meter.customer_enable()
    assert supply(meter) is Supply.ON


def test_a_top_up_that_leaves_a_debt_arms_nothing() -> None:
    """A credit that stays below the threshold is credited and the supply stays off."""
    meter = own.meter(balance=-1_000_000, supply=Supply.OFF_BY_CREDIT)
    meter.receive(own.top_up(5, own.top_up_digits(5, 100)), NOW)
    assert (meter.state.balance, meter.state.supply) == (-900_000, Supply.OFF_BY_CREDIT)
    assert not meter.customer_enable()


def test_a_top_up_works_once_by_whatever_command() -> None:
    """The same bytes, and the same code under a new seal, are refused by the UTRN Counter Cache, with its Alert."""
    meter = own.meter()
    command = own.top_up(5, own.top_up_digits(5, 1_500))
    meter.receive(command, NOW)
    behaviour = meter.state.behaviour()
    (alert,) = meter.receive(command, NOW)
    assert parse_message(alert).kind is Kind.ALERT
    assert decode_data_notification(parse_message(alert).content).alert_code == 0x8F51
    assert meter.state.behaviour() == behaviour


@pytest.mark.parametrize(
    "digits",
    [
        own.top_up_digits(6, 1_500),
        own.top_up_digits(5, 1_500, target=own.OTHER_ESME),
        "1" * 20,
        "9" * 20,
        "7394333345718904331",
        "not digits at all!!!",
    ],
    ids=["another counter", "another meter", "check digit", "range", "short", "text"],
)
def test_a_code_that_is_not_authentic_credits_nothing(digits: str) -> None:
    """The Command is genuine, its code is not: answered with a failure, nothing credited, the counter spent."""
    meter = own.meter()
    (response,) = meter.receive(own.top_up(5, digits), NOW)
    assert results(response)[0].result == 250
    assert meter.state.balance == -1_000
    assert meter.state.counters.utrn_cache == (5,)


def test_a_top_up_above_the_limits_credits_nothing() -> None:
    """More than the maximum credit, and more than the maximum balance, are refused."""
    meter = own.meter()
    meter.receive(configure(1, "0-0:94.44.2.10", 1_000_000), NOW)
    (response,) = meter.receive(own.top_up(5, own.top_up_digits(5, 1_001)), NOW)
    assert results(response)[0].result == 250
    meter.receive(configure(2, "0-0:94.44.2.20", 900_000), NOW)
    (response,) = meter.receive(own.top_up(6, own.top_up_digits(6, 1_000)), NOW)
    assert results(response)[0].result == 250
    assert meter.state.balance == -1_000


def test_settings_take_effect_now_or_never() -> None:
    """ECS08a now: what is read is what was set. Cancelled: what is read is what was."""
    meter = own.meter()
    limit = (112, "0-0:19.10.1", 9)
    meter.receive(configure(1, "0-0:94.44.128.2", 750_000), NOW)
    (response,) = meter.receive(read(2, limit), NOW)
    assert results(response) == (ItemResult(1, DoubleLong(750_000), 0),)
    meter.receive(configure(3, "0-0:94.44.128.2", 1, NEVER), NOW)
    (response,) = meter.receive(read(5, limit), NOW)
    assert results(response) == (ItemResult(1, DoubleLong(750_000), 0),)


def test_a_future_dated_setting_waits_for_its_time_and_says_when_it_came() -> None:
    """ECS08a for later: as before until then; then in force, with a signed 00CC Alert that names Command and item."""
    store = MemoryStore()
    meter = own.meter(store=store)
    limit = (112, "0-0:19.10.1", 9)
    later = NOW + 5_000
    (response,) = meter.receive(configure(4, "0-0:94.44.128.2", 2, date_time_from_unix(later)), NOW)
    assert [result.result for result in results(response)] == [0, 0]
    (response,) = meter.receive(read(5, limit), later - 1)
    assert results(response)[0].data == DoubleLong(500_000)
    alert, response = own.meter(store=store).receive(read(6, limit), later)
    assert results(response)[0].data == DoubleLong(2)
    message = parse_message(alert)
    verify_signature(message, own.certificate(ESME, DS).public_key)
    assert message.header.message_code == 0x00CC
    told = decode_data_notification(message.content)
    assert (told.alert_code, told.date_time) == (0x8F66, date_time_from_unix(later))
    assert told.extra == (OctetString(bytes.fromhex("00DE 0000000000000004 2328 00005E2C8002 06")),)


def test_a_cancelled_setting_never_comes() -> None:
    """A cancelling Command takes away what waits: no change, no Alert, ever."""
    meter = own.meter()
    meter.receive(configure(1, "0-0:94.44.128.2", 2, date_time_from_unix(NOW + 100)), NOW)
    meter.receive(configure(2, "0-0:94.44.128.2", 2, NEVER), NOW + 1)
    assert meter.tick(NOW + 200) == []
    assert meter.state.number(EMERGENCY_CREDIT_LIMIT) == 500_000


def test_wrong_types_fail_by_item_and_the_others_count() -> None:
    """A failing item says so and changes nothing; the others are executed."""
    meter = own.meter()
    items = (
        (Set(9000, Obis.parse("0-0:94.44.2.10"), 4), Enum(1)),
        (Set(9000, Obis.parse("0-0:94.44.128.2"), 4), DoubleLong(7)),
        (Set(9000, Obis.parse("0-0:94.44.128.2"), 6), OctetString(IMMEDIATELY)),
    )
    command = own.critical(own.header("ECS08a", 2), encode_access_request(AccessRequest(2, items)))
    (response,) = meter.receive(command, NOW)
    assert [result.result for result in results(response)] == [12, 0, 0]
    assert meter.state.number(EMERGENCY_CREDIT_LIMIT) == 7


@pytest.mark.parametrize(
    "item",
    [
        (Set(112, Obis.parse("0-0:19.10.0"), 2), DoubleLong(5)),
        (Action(9, Obis.parse("0-0:10.0.106"), 1), LongUnsigned(51)),
        (Get(112, Obis.parse("0-0:19.10.0"), 9), NullData()),
    ],
    ids=["set", "critical action", "get"],
)
def test_a_command_carries_nothing_but_the_items_of_its_use_case(item: tuple[Spec, Data]) -> None:
    """ECS82 needs no signature: it cannot switch the supply, nor do anything but read the balance. 8F1E is raised."""
    meter = own.meter()
    request = encode_access_request(AccessRequest(1, ((Get(112, Obis.parse("0-0:19.10.0"), 2), NullData()), item)))
    before = meter.state
    (alert,) = meter.receive(own.non_critical(own.header("ECS82", 1), request), NOW)
    assert decode_data_notification(parse_message(alert).content).alert_code == 0x8F1E
    assert (meter.state.counters, meter.state.supply) == (before.counters, before.supply)


def test_a_critical_command_keeps_the_order_of_its_use_case() -> None:
    """The same items the other way round are refused whole."""
    meter = own.meter()
    setting = Obis.parse("0-0:94.44.128.2")
    items = ((Set(9000, setting, 6), OctetString(IMMEDIATELY)), (Set(9000, setting, 4), DoubleLong(7)))
    (alert,) = meter.receive(own.critical(own.header("ECS08a", 2), encode_access_request(AccessRequest(2, items))), NOW)
    assert parse_message(alert).kind is Kind.ALERT
    assert meter.state.number(EMERGENCY_CREDIT_LIMIT) == 500_000


def test_arming_then_enabling_by_the_customer() -> None:
    """ECS44 arms a supply that a Command disabled; only the customer switches it on."""
    meter = own.meter(balance=5_000, supply=Supply.ON)
    meter.receive(own.critical(own.header("ECS43", 1), own.supply_script(1, 52)), NOW)
    assert supply(meter) is Supply.OFF_BY_COMMAND
    assert not meter.customer_enable()
    (response,) = meter.receive(own.arm(2), NOW)
    message = parse_message(response)
    verify_signature(message, own.certificate(ESME, DS).public_key)
    assert message.mac is None
    assert supply(meter) is Supply.ARMED
    assert meter.customer_enable()
    assert supply(meter) is Supply.ON


def test_an_unknown_script_fails_and_moves_nothing() -> None:
    """A script selector the supply has no row for is refused by item."""
    meter = own.meter(supply=Supply.OFF_BY_COMMAND)
    (response,) = meter.receive(own.critical(own.header("ECS44", 1), own.supply_script(1, 99)), NOW)
    assert results(response)[0].result == 250
    assert meter.state.supply is Supply.OFF_BY_COMMAND


def test_every_row_of_the_supply_table_names_its_source() -> None:
    """No row without a fact or an owned choice; the customer can enable nothing but an armed supply."""
    assert all(source for _state, source in TABLE.values())
    enabled = [state for (state, event) in TABLE if event is SupplyEvent.CUSTOMER_ENABLE]
    assert enabled == [Supply.ARMED]


def test_a_response_carries_its_time_where_its_use_case_asks() -> None:
    """CS01a answers with a date-time in the header, ECS82 without."""
    meter = own.meter()
    (topped,) = meter.receive(own.top_up(5, own.top_up_digits(5, 100)), NOW)
    (balance,) = meter.receive(own.read_balance(1), NOW)
    assert len(parse_message(topped).header.date_time) == 12
    assert parse_message(balance).header.date_time == b""


def test_alerts_are_signed_counted_and_addressed_to_the_supplier() -> None:
    """A refused Command that raises an Alert raises it to the supplier, each under a new counter."""
    meter = own.meter()
    forged = own.arm(9, originator=own.NETWORK_OPERATOR)
    alerts = [parse_message(meter.receive(forged, NOW)[0]) for _ in range(2)]
    assert [alert.header.originator_counter for alert in alerts] == [1, 2]
    for alert in alerts:
        assert (alert.header.cra, alert.header.business_target_id) == (Cra.ALERT, SUPPLIER)
        verify_signature(alert, own.certificate(ESME, DS).public_key)


def test_the_meter_remembers_through_a_restart() -> None:
    """Balance, supply, settings, counters and log survive: a Command executed before is refused after."""
    store = MemoryStore()
    meter = own.meter(store=store)
    command = own.top_up(5, own.top_up_digits(5, 1_500))
    meter.receive(command, NOW)
    meter.receive(configure(1, "0-0:94.44.128.2", 750_000), NOW)
    again = own.meter(store=store, balance=42)
    assert again.state == meter.state
    assert [parse_message(answer).kind for answer in again.receive(command, NOW)] == [Kind.ALERT]


def test_what_was_not_saved_did_not_happen() -> None:
    """A power cut at the save: no Response, and after it neither counter nor effect."""

    class Failing(MemoryStore):
        def save(self, state: bytes) -> None:
            if self.state is not None:
                raise OSError("power cut")
            super().save(state)

    store = Failing()
    meter = own.meter(store=store)
    with pytest.raises(OSError, match="power cut"):
        meter.receive(own.top_up(5, own.top_up_digits(5, 1_500)), NOW)
    again = own.meter(store=MemoryStore(store.state))
    assert (again.state.balance, again.state.counters.utrn_cache) == (-1_000, ())


@given(st.lists(st.tuples(st.sampled_from(["arm", "balance", "top-up"]), st.integers(1, 6)), max_size=12))
def test_no_command_is_ever_executed_twice(commands: list[tuple[str, int]]) -> None:
    """Whatever arrives in whatever order: one execution at most for each counter of a lane, none out of order."""
    meter = _METER_MAKER()
    highest, credited = 0, set()
    for kind, counter in commands:
        if kind == "top-up":
            answered = meter.receive(own.top_up(counter, own.top_up_digits(counter, counter)), NOW)
            executed = parse_message(answered[0]).kind is Kind.RESPONSE
            assert executed is (counter not in credited)
            credited.add(counter)
        else:
            answered = meter.receive(own.arm(counter) if kind == "arm" else own.read_balance(counter), NOW)
            assert bool(answered) is (counter > highest)
            highest = max(highest, counter)
    assert meter.state.balance == -1_000 + 1_000 * sum(credited)
    assert decode_state(encode_state(meter.state)) == meter.state


_METER_MAKER = own.meter


def test_a_code_typed_in_is_credited_once() -> None:
    """PECS01: an authentic code pays in and its counter is used, for a Command with it, too; others change nothing."""
    meter = own.meter(balance=-1_000)
    assert not meter.customer_top_up("12345678901234567890")
    assert not meter.customer_top_up(own.top_up_digits(5, 200, target=own.OTHER_ESME))
    assert meter.state.balance == -1_000
    code = own.top_up_digits(5, 200)
    assert meter.customer_top_up(code)
    assert meter.state.balance == 199_000
    assert not meter.customer_top_up(code)
    meter.receive(own.top_up(5, code), own.NOW)
    assert meter.state.balance == 199_000
