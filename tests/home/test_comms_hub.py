"""The hub's judgement: what passes under each setting, where Responses go, what a PPMID cannot do."""

from __future__ import annotations

import pytest

from lastmetre.gbcs.datetimes import date_time_from_unix, zigbee_from_unix
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.protect import pre_command
from lastmetre.home.comms_hub import (
    HAN_RECORDS_MAX,
    RATE_PER_MINUTE,
    RECORD_LIFE_S,
    WAN_STORE_LIFE_S,
    WAN_STORE_MAX,
    CommsHub,
    Deliver,
    HubSettings,
    LogEntry,
)
from lastmetre.home.hub_policy import DeviceType, Policy, Refusal
from lastmetre.home.supply import Supply
from tests import gas_world as gas
from tests import own_world as own
from tests.gas_world import GSME
from tests.home.test_esme import configure
from tests.home.test_gsme import tariff as gas_tariff
from tests.own_world import CHF, ESME, NOW, PPMID, Told


def hub(policy: Policy = Policy.PROPOSED, told: Told | None = None) -> CommsHub:
    """A hub with a meter and a display."""
    log = (LogEntry(ESME, DeviceType.ESME), LogEntry(PPMID, DeviceType.PPMID))
    return CommsHub(CHF, log, HubSettings(policy), told or Told())


def response(command: bytes) -> bytes:
    """The meter's answer to a Command."""
    return own.meter(supply=Supply.OFF_BY_COMMAND).receive(command, NOW)[0]


def test_the_proposed_setting_passes_any_command_for_a_listed_device() -> None:
    """SECMP0038's rule: a full remote party Command from the PPMID goes to the meter, byte for byte."""
    command = own.arm(9)
    assert hub().from_device(PPMID, command, NOW) == [Deliver(ESME, command)]


def test_todays_setting_refuses_what_the_proposed_one_carries() -> None:
    """The baseline: the same Command from the PPMID is dropped, from the WAN it passes."""
    command = own.arm(9)
    one = hub(Policy.TODAY)
    assert one.from_device(PPMID, command, NOW) == []
    assert [event.refusal for event in one.log] == [Refusal.CODE_NOT_ALLOWED]
    assert one.from_wan(command, NOW) == [Deliver(ESME, command)]


@pytest.mark.parametrize(
    ("sender", "message", "refusal"),
    [
        (bytes(8), own.arm(9), Refusal.NOT_IN_LOG),
        (ESME, own.arm(9), Refusal.CODE_NOT_ALLOWED),
        (PPMID, own.arm(9, target=own.OTHER_ESME), Refusal.UNKNOWN_TARGET),
        (PPMID, own.arm(9)[:-1], Refusal.MALFORMED),
        (PPMID, bytes(1501), Refusal.MALFORMED),
        (PPMID, pre_command(own.header("ECS44", 9), own.supply_script(9, 54)), Refusal.MALFORMED),
        (PPMID, response(own.arm(9)), Refusal.BAD_ORIGINATOR),
    ],
    ids=["stranger", "from the meter", "other home", "cut", "too long", "Pre-Command", "meter's Response from PPMID"],
)
def test_each_refusal_is_logged_with_its_reason_and_passes_nothing(
    sender: bytes, message: bytes, refusal: Refusal
) -> None:
    """Every reason the hub drops a message for is in its log, and nothing goes anywhere."""
    told = Told()
    one = hub(told=told)
    assert one.from_device(sender, message, NOW) == []
    assert [event.refusal for event in one.log] == [refusal]
    assert [values["reason"] for values in told.of("hub_command_refused")] == [refusal.value]


def test_a_response_goes_back_by_every_road_its_command_came() -> None:
    """R2: to the PPMID that passed the Command up and to the WAN; with the WAN down it waits there."""
    command = own.arm(9)
    answer = response(command)
    one = hub()
    one.from_device(PPMID, command, NOW)
    assert one.from_device(ESME, answer, NOW) == [Deliver(PPMID, answer)]
    assert one.wan_connected(NOW) == [Deliver(None, answer)]
    assert one.wan_connected(NOW) == []


def test_a_response_nobody_asked_for_by_ppmid_goes_to_the_wan_alone() -> None:
    """R4: no record, or an expired one: the WAN only."""
    command = own.arm(9)
    answer = response(command)
    one = hub()
    one.wan_connected(NOW)
    assert one.from_device(ESME, answer, NOW) == [Deliver(None, answer)]
    one.from_device(PPMID, command, NOW)
    assert one.from_device(ESME, answer, NOW + RECORD_LIFE_S) == [Deliver(None, answer)]


def test_alerts_go_to_the_wan_alone() -> None:
    """R6: a refused Command's Alert does not come back to the PPMID that passed it up."""
    forged = own.arm(9, originator=own.NETWORK_OPERATOR)
    one = hub()
    one.from_device(PPMID, forged, NOW)
    (alert,) = own.meter().receive(forged, NOW)
    assert one.from_device(ESME, alert, NOW) == []
    assert one.wan_connected(NOW) == [Deliver(None, alert)]


def test_a_repeat_is_dropped_but_its_road_is_remembered() -> None:
    """R10: the same bytes by the other road are not passed on again, yet the Response goes back both ways."""
    command = own.arm(9)
    one = hub()
    one.wan_connected(NOW)
    assert one.from_wan(command, NOW) == [Deliver(ESME, command)]
    assert one.from_device(PPMID, command, NOW) == []
    assert one.log[-1].refusal is Refusal.DUPLICATE
    answer = response(command)
    assert one.from_device(ESME, answer, NOW) == [Deliver(PPMID, answer), Deliver(None, answer)]


def test_with_the_rule_off_a_repeat_reaches_the_meter() -> None:
    """The switch of design section 7, step 5: then only the meter's counter stands."""
    command = own.arm(9)
    one = hub()
    one.settings.drop_repeats = False
    assert [one.from_device(PPMID, command, NOW) for _ in range(2)] == [[Deliver(ESME, command)]] * 2


def test_a_guessed_counter_does_not_block_the_genuine_command() -> None:
    """Other bytes under the same counter are no repeat: a hostile PPMID cannot make the hub drop the real one."""
    genuine = own.arm(9)
    forged = genuine[:-1] + bytes((genuine[-1] ^ 1,))
    one = hub()
    assert one.from_device(PPMID, forged, NOW) == [Deliver(ESME, forged)]
    assert one.from_wan(genuine, NOW) == [Deliver(ESME, genuine)]


def test_a_ppmid_has_a_rate_limit_and_the_wan_has_none() -> None:
    """More than ten Commands in a minute from the PPMID are dropped; the WAN still passes."""
    one = hub()
    passed = [one.from_device(PPMID, own.read_balance(counter), NOW) for counter in range(1, RATE_PER_MINUTE + 2)]
    assert [bool(deliveries) for deliveries in passed] == [True] * RATE_PER_MINUTE + [False]
    assert one.log[-1].refusal is Refusal.RATE
    assert one.from_wan(own.read_balance(99), NOW)
    assert one.from_device(PPMID, own.read_balance(100), NOW + 60)


def test_what_waits_for_the_wan_is_bounded_in_number_and_age() -> None:
    """R7: 64 messages, the oldest dropped; seven days."""
    one = hub()
    answers = [response(own.read_balance(counter)) for counter in range(1, WAN_STORE_MAX + 3)]
    for answer in answers:
        one.from_device(ESME, answer, NOW)
    assert one.wan_connected(NOW) == [Deliver(None, answer) for answer in answers[2:]]
    one.wan_lost()
    one.from_device(ESME, answers[0], NOW)
    assert one.wan_connected(NOW + WAN_STORE_LIFE_S + 1) == []


def test_the_hub_alters_nothing() -> None:
    """What it hands on is what it took, and the target is the header's."""
    command = own.top_up(5, own.top_up_digits(5, 100))
    (delivery,) = hub().from_device(PPMID, command, NOW)
    assert delivery.message == command
    assert delivery.device_id == parse_message(command).header.business_target_id


def test_responses_never_push_alarms_out_of_the_wan_store() -> None:
    """A PPMID's Commands are answered with the WAN down, more than the store holds: the one Alert is still there."""
    one = hub()
    meter = own.meter(supply=Supply.OFF_BY_COMMAND)
    (alarm,) = meter.receive(own.critical(own.header("ECS44", 1), bytes(20)), NOW)
    one.from_device(ESME, alarm, NOW)
    for number in range(WAN_STORE_MAX + 5):
        one.from_device(ESME, response(own.read_balance(100 + number)), NOW)
    dropped = [event for event in one.log if event.refusal is Refusal.UNDELIVERED]
    assert len(dropped) == 6
    waiting = [delivery.message for delivery in one.wan_connected(NOW)]
    assert waiting[0] == alarm
    assert len(waiting) == WAN_STORE_MAX


def test_alerts_leave_responses_their_places() -> None:
    """A flood of Alerts takes at most its share; beyond it, the oldest Alert gives way."""
    one = hub()
    meter = own.meter(supply=Supply.OFF_BY_COMMAND)
    answer = response(own.read_balance(100))
    one.from_device(ESME, answer, NOW)
    for number in range(WAN_STORE_MAX):
        (alarm,) = meter.receive(own.critical(own.header("ECS44", 1 + number), bytes(20)), NOW)
        one.from_device(ESME, alarm, NOW)
    waiting = [delivery.message for delivery in one.wan_connected(NOW)]
    assert answer in waiting
    assert alarm in waiting


def test_roads_from_the_han_leave_the_wan_its_records() -> None:
    """Terminals fill their half of the records; one Command more by the HAN is refused, and the WAN's passes."""
    hht = bytes.fromhex("00005eef100000a7")
    log = (LogEntry(ESME, DeviceType.ESME), LogEntry(hht, DeviceType.HHT))
    one = CommsHub(CHF, log, HubSettings(Policy.PROPOSED), Told())
    blank = own.read_balance(1)
    at = blank.index((1).to_bytes(8, "big"))
    for counter in range(1, HAN_RECORDS_MAX + 1):
        assert one.from_device(hht, blank[:at] + counter.to_bytes(8, "big") + blank[at + 8 :], NOW)
    assert one.from_device(hht, own.read_balance(HAN_RECORDS_MAX + 1), NOW) == []
    assert one.log[-1].refusal is Refusal.FULL
    assert one.from_wan(own.read_balance(HAN_RECORDS_MAX + 2), NOW)


def test_the_alert_of_a_future_dated_command_goes_by_the_command_s_road() -> None:
    """R6: when its time has come, hours after the Response, the PPMID that brought the Command is told, and the WAN."""
    one, later = hub(), NOW + 5 * 3_600
    one.wan_connected(NOW)
    meter = own.meter()
    command = configure(4, "0-0:94.44.128.2", 2, date_time_from_unix(later))
    assert one.from_device(PPMID, command, NOW)
    (answer,) = meter.receive(command, NOW)
    assert one.from_device(ESME, answer, NOW) == [Deliver(PPMID, answer), Deliver(None, answer)]
    (alert,) = meter.tick(later)
    assert one.from_device(ESME, alert, later) == [Deliver(PPMID, alert), Deliver(None, alert)]
    assert hub().from_device(ESME, alert, later) == []  # nobody's road: it waits for the WAN
    (other,) = own.meter().receive(own.critical(own.header("ECS44", 4), bytes(20)), NOW)
    assert one.from_device(ESME, other, later) == [Deliver(None, other)]


def test_the_alert_of_a_gas_tariff_for_later_goes_by_its_road_too() -> None:
    """Code 00CD, after a day and more: the record of such a Command lives as long as what waits for the WAN."""
    at = NOW + 2 * 86_400
    log = (LogEntry(GSME, DeviceType.GSME), LogEntry(PPMID, DeviceType.PPMID))
    one = CommsHub(CHF, log, HubSettings(Policy.PROPOSED), Told())
    meter = gas.meter()
    command = gas.command("GCS01b", 4, *gas_tariff({1: 500}, start=zigbee_from_unix(at)))
    one.from_device(PPMID, command, NOW)
    meter.receive(command, NOW)
    alert = meter.tick(at)[0]
    assert one.from_device(GSME, alert, at) == [Deliver(PPMID, alert)]


@pytest.mark.parametrize(("policy", "sender"), [(Policy.TODAY, DeviceType.HHT), (Policy.PROPOSED, DeviceType.PPMID)])
def test_firmware_may_be_activated_by_any_road_that_carries_commands(policy: Policy, sender: DeviceType) -> None:
    """CS06 passes from a terminal, and from a PPMID as proposed: its image can only have come by WAN (han 3.5)."""
    carrier = bytes.fromhex("00005eef100000a7")
    log = (LogEntry(ESME, DeviceType.ESME), LogEntry(carrier, sender))
    activation = own.critical(own.header("CS06", 3), bytes(40))
    assert CommsHub(CHF, log, HubSettings(policy), Told()).from_device(carrier, activation, NOW) == [
        Deliver(ESME, activation)
    ]
