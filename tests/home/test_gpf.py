"""The gas proxy: its copy follows the meter, by report and by tap-off, and believes nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastmetre.gbcs.catalogue import use_case_by_name
from lastmetre.gbcs.datetimes import zigbee_from_unix
from lastmetre.gbcs.gbz import Component, Gbz, decode_gbz, encode_gbz, open_component
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, parse_message
from lastmetre.gbcs.protect import decrypt_attribute, encryption_key
from lastmetre.gbcs.zcl import ReadAttributes, ReadAttributesResponse, ZclCommand, zcl_command
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.gas import money
from lastmetre.home.gas.state import GasState, Valve
from lastmetre.home.gpf import TAP_OFF, Gpf
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.ports import MemoryStore
from tests import gas_world as gas
from tests import own_world as own
from tests.gas_world import GSME
from tests.own_world import DS, KA, NOW, SUPPLIER, Told

if TYPE_CHECKING:
    from lastmetre.home.gas.gsme import Gsme

GPF = bytes.fromhex("00005eef100000a3")
EVENT = 473_385_600


def proxy(store: MemoryStore | None = None, told: Told | None = None) -> Gpf:
    """The proxy of our gas meter."""
    identity = DeviceIdentity(GPF, own.private_key(GPF, DS), own.private_key(GPF, KA), own.anchors())
    return Gpf(
        identity,
        store or MemoryStore(),
        told or Told(),
        new=GasState(),
        gsme_id=GSME,
        gsme_signing=own.certificate(GSME, DS),
    )


def tariff(counter: int, price: int, *, start: int = 0, signer: bytes | None = None) -> bytes:
    """GCS01b with one price."""
    head = {"provider": 0, "issuer_event": EVENT, "start": start, "tariff_id": 1}
    parts = (
        zcl_command("PublishTariffInformation", **head, type_and_scheme=0, label=b"", tiers=4, block_thresholds=0,
                    unit=0, currency=826, trailing_digit=0x50, standing_charge=7, tier_block_mode=0xFF,
                    multiplier=1, divisor=1_000),
        zcl_command("PublishPriceMatrix", **head, index=0, count=1, control=1,
                    prices=[{"tier_and_block": 1, "price": price}]),
    )  # fmt: skip
    if signer is None:
        return gas.command("GCS01b", counter, *parts)
    components = tuple(Component(part.cluster, 0x09, number, part) for number, part in enumerate(parts))
    code = use_case_by_name("GCS01b").message_code
    head_ = GroupingHeader(Cra.COMMAND, counter, SUPPLIER, GSME, OtherInformation(code))
    return own.critical(head_, encode_gbz(Gbz(components)), signer)


def message(counter: int, text: bytes) -> bytes:
    """GCS07."""
    body = zcl_command("DisplayMessage", id=1, control=0, start=0, duration_minutes=60, message=text)
    return gas.command("GCS07", counter, body)


def price(copy: Gsme, at: int = NOW) -> int:
    """The price the copy has in force."""
    return money.price(copy.state, at)


def test_a_tariff_reaches_the_copy_only_when_the_meter_said_success() -> None:
    """The Command alone changes nothing; the meter's Response does; so by whatever road both came."""
    told = Told()
    copy, meter = proxy(told=told), gas.meter()
    command = tariff(1, 500)
    copy.passes(command)
    assert price(copy) == 0
    (response,) = meter.receive(command, NOW)
    copy.answered(response, NOW)
    assert (price(copy), copy.state.number(zcl.STANDING_CHARGE)) == (500, 7)
    assert told.of("gas_copy_changed")[0]["use_case"] == "GCS01b"


def test_a_forged_command_never_reaches_the_copy() -> None:
    """T: the same counter, another price, signed by somebody else or by nobody: the meter's success is not its."""
    copy, meter = proxy(), gas.meter()
    genuine, forged = tariff(1, 500), tariff(1, 1, signer=own.OTHER_SUPPLIER)
    for passing in (forged, genuine, forged):
        copy.passes(passing)
    (response,) = meter.receive(genuine, NOW)
    copy.answered(response, NOW)
    assert price(copy) == 500


def test_two_messages_under_one_counter_are_both_left_out() -> None:
    """GCS07 carries no signature: where two differ, the copy keeps neither; alone, the message is shown."""
    copy, meter = proxy(), gas.meter()
    copy.passes(message(1, b"real"))
    copy.passes(message(1, b"false"))
    (response,) = meter.receive(message(1, b"real"), NOW)
    copy.answered(response, NOW)
    assert copy.display()["message"] == ""
    copy.passes(message(2, b"second"))
    (response,) = meter.receive(message(2, b"second"), NOW)
    copy.answered(response, NOW)
    assert copy.display()["message"] == "second"


def test_a_false_response_and_one_without_a_command_change_nothing() -> None:
    """A signature that is not the meter's; a Response whose Command nobody saw; a Response twice."""
    copy, meter = proxy(), gas.meter()
    command = tariff(1, 500)
    (response,) = meter.receive(command, NOW)
    copy.answered(response, NOW)
    copy.passes(command)
    copy.answered(response[:-1] + bytes((response[-1] ^ 1,)), NOW)
    copy.answered(b"", NOW)
    assert price(copy) == 0
    copy.answered(response, NOW)
    assert price(copy) == 500


def test_only_the_parts_that_succeeded_are_taken() -> None:
    """A price matrix the meter refused is not in the copy; the part before it is."""
    copy, meter = proxy(), gas.meter()
    head = {"provider": 0, "issuer_event": EVENT, "start": 0, "tariff_id": 1}
    good = zcl_command("PublishBlockThresholds", **head, index=0, count=1, control=0, thresholds=[{"threshold": 77}])
    bad = zcl_command(
        "PublishPriceMatrix", **head, index=0, count=1, control=1, prices=[{"tier_and_block": 9, "price": 5}]
    )
    command = gas.command("GCS01a", 1, good, bad)
    copy.passes(command)
    (response,) = meter.receive(command, NOW)
    assert gas.statuses(response) == [0, 0x87]
    copy.answered(response, NOW)
    assert copy.state.number(zcl.THRESHOLDS[0]) == 77
    assert "price-matrix" not in copy.state.published


def test_of_the_prepayment_configuration_the_calendar_alone_is_taken() -> None:
    """GCS05: limits are the meter's business; and codes outside the list are never remembered."""
    copy, meter = proxy(), gas.meter()
    setup = zcl_command("EmergencyCreditSetup", issuer_event=EVENT, start=0, limit=1, threshold=1)
    calendar = zcl_command("PublishCalendar", provider=0, issuer_event=EVENT, calendar=9, start=0, type=3,
                           time_reference=0, name=b"", seasons=0, weeks=0, days=0)  # fmt: skip
    command = gas.command("GCS05", 1, setup, calendar)
    copy.passes(command)
    (response,) = meter.receive(command, NOW)
    copy.answered(response, NOW)
    assert copy.state.number(zcl.EMERGENCY_LIMIT) == 500_000
    assert "non-disablement" in copy.state.published
    assert 0x0086 not in TAP_OFF


def test_what_is_set_for_later_comes_into_force_in_the_copy_too() -> None:
    """At its time, and after a restart of the hub; the proxy raises no Alert for it."""
    store = MemoryStore()
    copy, meter = proxy(store), gas.meter()
    at = NOW + 3_600
    command = tariff(1, 500, start=zigbee_from_unix(at))
    copy.passes(command)
    (response,) = meter.receive(command, NOW)
    copy.answered(response, NOW)
    again = proxy(store)
    assert (price(again), again.tick(at - 1)) == (0, [])
    assert (again.tick(at), price(again)) == ([], 500)


def test_reports_of_the_meter_are_in_the_copy_and_can_be_read_by_command() -> None:
    """GCS13a to the GPF: the value the mirror holds, encrypted for its reader under the GPF's own keys."""
    copy = proxy()
    copy.reported({0x0000: 123_456, 0x0014: 1, 0x9999: 5}, NOW)
    assert copy.state.valve is Valve.ARMED
    code = use_case_by_name("GCS13a").message_code
    head = GroupingHeader(Cra.COMMAND, 3, SUPPLIER, GPF, OtherInformation(code))
    content = encode_gbz(Gbz((Component(0x0702, 0, 0, ReadAttributes((0x0302, 0))),)))
    (response,) = copy.receive(own.non_critical(head, content), NOW)
    parsed = parse_message(response)
    key = encryption_key(own.secret(SUPPLIER, GPF), device_id=GPF, counter=3, recipient_id=SUPPLIER)
    (component,) = decode_gbz(parsed.content).components
    opened = open_component(component, decrypt_attribute(component.body.wire, key, GPF))  # type: ignore[union-attr]
    assert isinstance(opened.body, ReadAttributesResponse)
    assert [record.value for record in opened.body.records] == [1_000, 123_456]


def test_the_proxy_executes_nothing_that_is_the_meter_s() -> None:
    """A tariff or a valve Command addressed to the GPF is refused: the catalogue does not name it."""
    copy = proxy()
    body = zcl_command("ChangeSupply", provider=0, issuer_event=EVENT, request_time=0, implementation=0, status=0,
                       control=1)  # fmt: skip
    assert isinstance(body, ZclCommand)
    code = use_case_by_name("GCS32").message_code
    head = GroupingHeader(Cra.COMMAND, 3, SUPPLIER, GPF, OtherInformation(code))
    content = encode_gbz(Gbz((Component(0x0702, 1, 0, body),)))
    (alert,) = copy.receive(own.critical(head, content), NOW)
    assert parse_message(alert).header.cra is Cra.ALERT
    assert copy.state.valve is Valve.ON
