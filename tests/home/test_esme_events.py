"""The electricity meter's outages, limits that end, non-critical Alerts, privacy PIN, and the table of a day's load."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from lastmetre.gbcs.axdr import BitString, LongUnsigned, OctetString, Unsigned
from lastmetre.gbcs.datetimes import date_time_from_unix
from lastmetre.gbcs.dlms import Action, Obis, Set, decode_data_notification
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.protect import verify_mac, verify_signature
from lastmetre.home import code_guard
from lastmetre.home.attributes import parse_attribute
from lastmetre.home.load import HourlyLoad, LoadTableError, parse_half_hours
from lastmetre.home.ports import MemoryStore
from lastmetre.home.state import Controller
from lastmetre.home.supply import Supply
from tests import own_world as own
from tests.own_world import DS, KA, NOW

HOUR = 3_600


def behave(counter: int, use_case: str, channel: int, number: int, *codes: int) -> bytes:
    """A Command that selects all events and switches some on."""
    target = parse_attribute(f"1/0-{channel}:97.98.{number}#2")
    wanted = sum(1 << (code & 0xFF) for code in codes).to_bytes(32, "big")
    return own.command(
        use_case, counter, (Set(target.class_id, target.obis, target.number), BitString(512, b"\xff" * 32 + wanted))
    )


@pytest.mark.parametrize(("seconds", "code"), [(179, 0x8F35), (180, 0x8F36)])
def test_an_outage_is_told_with_its_ends_when_the_mains_are_back(seconds: int, code: int) -> None:
    """ECS80, signed; nothing is answered or counted meanwhile, after a restart neither; the power log has a line."""
    store = MemoryStore()
    load = HourlyLoad((600,) * 24)
    meter = own.meter(supply=Supply.ON, balance=10**6, store=store, load=load)
    meter.tick(NOW)
    meter.power_lost(NOW + HOUR)
    counted = meter.state.registers.active_import
    meter = own.meter(store=store, load=load)
    assert meter.receive(own.read_balance(1), NOW + HOUR + 9) == meter.tick(NOW + HOUR + 10) == []
    end = NOW + HOUR + seconds
    alert = parse_message(meter.power_restored(end)[-1])
    verify_signature(alert, own.certificate(own.ESME, DS).public_key)
    told = decode_data_notification(alert.content)
    times = (OctetString(date_time_from_unix(NOW + HOUR)), OctetString(date_time_from_unix(end)))
    assert (alert.header.message_code, told.alert_code, told.extra) == (0x0067, code, times)
    assert meter.state.registers.active_import == counted
    assert meter.state.lines("power_events")[-1][1:] == (code, seconds)
    assert meter.power_restored(end) == []
    assert len(meter.receive(own.read_balance(1), end + 5)) == 1


def limited(until: int) -> Controller:
    """A controller whose output a load controller holds at 10 per cent."""
    return Controller(output_level=10, until_at=until, limit=0x11)


def test_a_limit_that_ends_is_told_once() -> None:
    """ECS102 at the limit's own end, with controller and level; not before, not again."""
    meter = own.meter()
    meter.tick(NOW)
    meter.state = replace(meter.state, controllers=(limited(NOW + HOUR), *meter.state.controllers[1:]))
    assert meter.tick(NOW + HOUR - 1) == []
    (alert,) = meter.tick(NOW + 2 * HOUR)
    told = decode_data_notification(parse_message(alert).content)
    assert parse_message(alert).header.message_code == 0x0122
    assert (told.alert_code, told.extra) == (0x8F87, (Unsigned(0x11), Unsigned(10)))
    assert told.date_time == date_time_from_unix(NOW + HOUR)
    assert meter.tick(NOW + 3 * HOUR) == []


def test_a_limit_that_is_cancelled_is_told_too() -> None:
    """ECS102 when another Command takes the controller over (ECS47: reset)."""
    meter = own.meter()
    meter.tick(NOW)
    meter.state = replace(meter.state, controllers=(limited(NOW + HOUR), *meter.state.controllers[1:]))
    reset = (Action(9, Obis.parse("0-0:10.0.103"), 1), LongUnsigned(0x0120))
    response, alert = meter.receive(own.command("ECS47", 1, reset), NOW + 9)
    assert own.results_of(response)[0].result == 0
    assert parse_message(alert).header.message_code == 0x0122
    assert meter.tick(NOW + 2 * HOUR) == []


def test_non_critical_events_are_logged_and_told_as_they_were_set() -> None:
    """810E by MAC to the supplier once ECS25a asks for it, in the log once ECS25a3 does; neither when new."""
    for counter, (use_case, number, alerts, lines) in enumerate(
        (("", 0, 0, 0), ("ECS25a", 11, 1, 0), ("ECS25a3", 14, 0, 1))
    ):
        meter = own.meter()
        meter.tick(NOW)
        if use_case:
            meter.receive(behave(counter, use_case, 30, number, 0x810E), NOW)
        assert meter.customer_top_up(own.top_up_digits(3, 500))
        told = meter.tick(NOW + 1)
        assert len(told) == alerts
        for message in map(parse_message, told):
            verify_mac(message, own.secret(own.SUPPLIER, own.ESME, KA))
            assert message.header.message_code == 0x1001
            assert decode_data_notification(message.content).alert_code == 0x810E
        assert sum(line[1] == 0x810E for line in meter.state.lines("events")) == lines


def test_voltage_excursions_are_told_to_the_network_operator_once() -> None:
    """A day of 270 V: one Alert when it begins, to the network operator; another only after it was well again."""
    meter = own.meter(supply=Supply.ON, load=HourlyLoad((100,) * 24, voltages=(270,)))
    meter.state = meter.state.with_number(parse_attribute("7/1-0:32.24.0#4"), 1_800)
    meter.state = meter.state.with_attribute(parse_attribute("1/1-0:32.35.0.4#2"), LongUnsigned(253))
    meter.receive(behave(1, "ECS25b", 33, 11, 0x8002), NOW)
    told = [parse_message(alert) for hour in range(1, 25) for alert in meter.tick(NOW + hour * HOUR)]
    assert [message.header.business_target_id for message in told] == [own.NETWORK_OPERATOR]
    assert decode_data_notification(told[0].content).alert_code == 0x8002


def test_a_privacy_pin_hides_the_balance_until_the_supplier_takes_it_away() -> None:
    """Shown without a PIN and with the right one; ECS14 opens it again, after a restart too."""
    store = MemoryStore()
    meter = own.meter(store=store)
    assert "balance" in meter.display()
    meter.customer_pin(b"1234")
    assert "balance" not in meter.display()
    assert "balance" not in own.meter(store=store).display(b"4321")
    assert "balance" in meter.display(b"1234")
    target = parse_attribute("1/0-0:94.44.3.1#2")
    item = Set(target.class_id, target.obis, target.number)
    meter.receive(own.command("ECS14", 1, (item, OctetString(b""))), NOW)
    assert "balance" in own.meter(store=store).display()


def test_the_display_shows_message_and_supplier() -> None:
    """ECS10 and ECS16, as the customer reads them."""
    meter = own.meter()
    for counter, (name, attribute, text) in enumerate(
        (
            ("ECS10", "1/0-2:96.13.1#2", b"hello"),
            ("ECS16", "9000/0-0:96.13.1#2", b"Supplier Ltd"),
            ("ECS16", "9000/0-0:96.13.0#2", b"0123"),
        ),
        1,
    ):
        target = parse_attribute(attribute)
        item = (Set(target.class_id, target.obis, target.number), OctetString(text))
        meter.receive(own.command(name, counter, item), NOW)
    shown = meter.display()
    assert (shown["message"], shown["supplier"], shown["telephone"]) == ("hello", "Supplier Ltd", "0123")


def test_a_table_of_watts_is_a_days_load() -> None:
    """Each line holds until the next; spans add up however they are cut; kilowatt hours are what the table says."""
    load = parse_half_hours("00:00 200  # night\n07:00, 1500\n08:30 0\n\n23:30 900\n")
    day = load(0, 86_400).active_import
    assert day == (14 * 200 + 3 * 1_500 + 30 * 0 + 900) // 2
    cuts = [0, 1, 1_799, 1_800, 25_500, 30_601, 84_601, 86_400]
    assert sum(load(a, b).active_import for a, b in pairwise(cuts)) == day
    assert load(25_200, 28_800).active_import == 1_500


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", "no line"),
        ("07:00 5", "line 1: times must begin at 00:00"),
        ("00:00 5\n02:00 6\n01:00 7", "line 3: times must"),
        ("00:00 5\n00:00 6", "line 2: times must"),
        ("00:00 -5", "line 1: hours go"),
        ("00:00 99999", "line 1: hours go"),
        ("00:15 5", "line 1: wants a half hour"),
        ("00:00", "line 1: wants a half hour"),
        ("24:00 5", "line 1: hours go"),
        ("00:00 x", "line 1: wants a half hour"),
    ],
)
def test_a_table_with_a_slip_is_refused_with_its_line(table: str, words: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(LoadTableError, match=words):
        parse_half_hours(table)


def test_guessing_codes_waits_longer_each_time() -> None:
    """T50 at the electricity meter: after five wrong codes nothing is read for a minute, then two, then four; no
    restart ends it; the right code then works and the count begins anew. At this pace a guesser has some 20 tries on
    the first day and one a day after: against 32 bits of MAC that is no way.
    """
    store = MemoryStore()
    meter = own.meter(store=store)
    meter.tick(NOW)
    right, wrong = own.top_up_digits(3, 500), own.top_up_digits(4, 500, target=own.OTHER_ESME)
    for _ in range(code_guard.FREE_TRIES):
        assert not meter.customer_top_up(wrong)
    at = NOW
    for wait in (60, 120, 240):
        meter = own.meter(store=store)
        meter.tick(at + wait - 1)
        assert not meter.customer_top_up(right)
        meter.tick(at + wait)
        at += wait
        assert not meter.customer_top_up(wrong)
    meter.tick(at + 480)
    assert meter.customer_top_up(right)
    assert (meter.state.wrong_codes, meter.state.codes_suspended_until) == (0, 0)
