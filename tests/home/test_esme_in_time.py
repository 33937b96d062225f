"""The electricity meter as time passes: registers, charges, debts, logs, limits, and what credit does to the supply."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Boolean,
    CompactArray,
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
    decode_data,
)
from lastmetre.gbcs.datetimes import date_time_from_unix
from lastmetre.gbcs.dlms import Action, Get, GetWithSelection, Obis, Set, decode_data_notification
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.protect import decrypt_attribute, encryption_key, verify_signature
from lastmetre.home import attributes as cosem
from lastmetre.home.attributes import IMMEDIATELY, at
from lastmetre.home.calendars import since_2000
from lastmetre.home.load import steady_load
from lastmetre.home.ports import MemoryStore
from lastmetre.home.state import MeterState
from lastmetre.home.supply import Supply
from tests import own_world as own

if TYPE_CHECKING:
    from lastmetre.home.esme import Esme

MIDNIGHT = own.NOW // 86_400 * 86_400 + 86_400
HOUR, DAY = 3_600, 86_400


def living(meter: Esme, at_midnight: int = MIDNIGHT) -> Esme:
    """A meter whose life begins at midnight."""
    meter.tick(at_midnight)
    return meter


def supply_of(meter: Esme) -> Supply:
    """The state of the supply now."""
    return meter.state.supply


def prices(first: int, **others: int) -> Data:
    """A price matrix: time of use 1, and blocks by label."""
    rows = [(b"\x01", first), *((bytes.fromhex(label), price) for label, price in others.items())]
    table = Array(tuple(Structure((OctetString(label), Long(price))) for label, price in rows))
    unit = Structure((LongUnsigned(3), OctetString(bytes.fromhex("0100010800FF")), Integer(2)))
    return Structure((Structure((Integer(3), Integer(-5))), unit, table))


def rate(amount: int) -> Data:
    """A charge by time."""
    unit = Structure((LongUnsigned(0), OctetString(bytes(6)), Integer(0)))
    row = Structure((OctetString(b""), Long(amount)))
    return Structure((Structure((Integer(0), Integer(-5))), unit, Array((row,))))


def with_attributes(meter: Esme, values: dict[cosem.Attribute, Data]) -> Esme:
    """The meter with settings in force, as if Commands had put them there."""
    for attribute, value in values.items():
        meter.state = meter.state.with_attribute(attribute, value)
    return meter


def tariff_of_blocks(first_threshold: int) -> dict[cosem.Attribute, Data]:
    """Block tariff 1 all day, one threshold."""
    action = Structure((OctetString(bytes(4)), OctetString(bytes.fromhex("00000A0064FF")), LongUnsigned(101)))
    return {
        at(20, "0-0:13.0.0", 5): Array((Structure((Unsigned(1), Array((action,)))),)),
        at(21, "0-0:16.0.11", 2): Array((DoubleLongUnsigned(first_threshold), DoubleLongUnsigned(0xFFFFFFFF))),
    }


def test_energy_counts_and_costs() -> None:
    """1 kW for six hours at 20 pence: 6 kWh in the register of time of use 1, 120 pence from the balance."""
    meter = living(own.meter(balance=500_000, supply=Supply.ON, load=steady_load(1_000)))
    with_attributes(meter, {cosem.PRICES: prices(20_000)})
    meter.tick(MIDNIGHT + 6 * HOUR)
    registers = meter.state.registers
    assert (registers.active_import, registers.tou[0], registers.reactive_import) == (6_000, 6_000, 600)
    assert meter.state.balance == 500_000 - 120_000


def test_the_way_time_is_cut_changes_nothing() -> None:
    """Living through a day in one go or minute by minute gives the same state."""
    meters = [living(own.meter(balance=900_000, supply=Supply.ON, load=steady_load(777))) for _ in range(2)]
    for meter in meters:
        with_attributes(meter, {cosem.PRICES: prices(17_123), cosem.STANDING_CHARGE: rate(30_000)})
    meters[0].tick(MIDNIGHT + DAY)
    for minute in range(1, 24 * 60 + 1):
        meters[1].tick(MIDNIGHT + 60 * minute)
    one, other = (replace(meter.state, registers=replace(meter.state.registers, power=0)) for meter in meters)
    assert one == other


def test_blocks_fill_in_turn_at_their_own_prices() -> None:
    """3 kWh in the first block, the rest in the second; ECS05 lets the first begin again."""
    meter = living(own.meter(balance=900_000, supply=Supply.ON, load=steady_load(1_000)))
    with_attributes(meter, {**tariff_of_blocks(3_000), cosem.PRICES: prices(0, A1=10_000, B1=30_000)})
    meter.tick(MIDNIGHT + 5 * HOUR)
    assert (meter.state.registers.blocks[0], meter.state.registers.blocks[8]) == (3_000, 2_000)
    assert meter.state.balance == 900_000 - 3 * 10_000 - 2 * 30_000
    action = Action(9, Obis.parse("0-0:10.0.100"), 1)
    meter.receive(own.command("ECS05", 1, (action, LongUnsigned(99))), MIDNIGHT + 5 * HOUR)
    meter.tick(MIDNIGHT + 6 * HOUR)
    assert meter.state.registers.blocks[0] == 4_000


def test_credit_used_up_switches_off_and_emergency_credit_switches_on_again() -> None:
    """At the threshold the supply goes off; emergency credit arms it; used up too, it goes off for good."""
    meter = living(own.meter(balance=30_000, supply=Supply.ON, load=steady_load(1_000)))
    with_attributes(meter, {cosem.PRICES: prices(20_000), cosem.EMERGENCY_CREDIT_LIMIT: DoubleLong(40_000)})
    meter.tick(MIDNIGHT + 3 * HOUR)
    assert supply_of(meter) is Supply.OFF_BY_CREDIT
    used = meter.state.registers.active_import
    meter.tick(MIDNIGHT + 6 * HOUR)
    assert meter.state.registers.active_import == used
    (response,) = meter.receive(
        own.command("ECS09", 1, (Action(112, Obis.parse("0-0:19.10.1"), 3), Integer(0))), MIDNIGHT + 6 * HOUR
    )
    assert own.results_of(response)[0].result == 0
    assert supply_of(meter) is Supply.ARMED
    assert meter.customer_enable()
    meter.tick(MIDNIGHT + 7 * HOUR)
    assert (meter.state.supply, meter.state.account.emergency_credit) == (Supply.ON, 20_000)
    meter.tick(MIDNIGHT + 12 * HOUR)
    assert (meter.state.supply, meter.state.account.emergency_credit) == (Supply.OFF_BY_CREDIT, 0)


def test_emergency_credit_is_refused_where_it_is_not_on_offer() -> None:
    """With enough credit, or in credit mode, ECS09 fails."""
    item = (Action(112, Obis.parse("0-0:19.10.1"), 3), Integer(0))
    rich = own.meter(balance=10_000_000, supply=Supply.ON)
    assert own.results_of(rich.receive(own.command("ECS09", 1, item), own.NOW)[0])[0].result == 250
    other = with_attributes(own.meter(balance=0, supply=Supply.ON), {cosem.PAYMENT_MODE: cosem.CREDIT})
    assert own.results_of(other.receive(own.command("ECS09", 1, item), own.NOW)[0])[0].result == 250


def test_a_top_up_pays_debt_first_then_emergency_credit_then_the_balance() -> None:
    """10 pounds: a tenth to the debt by payment, the emergency credit used, the rest to the balance; both logged."""
    meter = living(own.meter(balance=0, supply=Supply.OFF_BY_CREDIT))
    with_attributes(
        meter, {cosem.DEBT_PER_PAYMENT: LongUnsigned(1_000), cosem.EMERGENCY_CREDIT_LIMIT: DoubleLong(500_000)}
    )
    account = replace(meter.state.account, payment_debt=150_000, emergency_active=True, emergency_credit=300_000)
    meter.state = replace(meter.state, account=account)
    meter.receive(own.top_up(5, own.top_up_digits(5, 1_000)), MIDNIGHT)
    assert meter.state.account.payment_debt == 50_000
    assert not meter.state.account.emergency_active
    assert meter.state.balance == 1_000_000 - 100_000 - 200_000
    assert meter.state.lines("debt_payments") == ((since_2000(MIDNIGHT), 100_000),)
    assert meter.state.lines("credits") == ((since_2000(MIDNIGHT), 1_000_000),)


def test_debts_by_time_and_the_standing_charge_fall_due() -> None:
    """ECS07 sets a debt and its daily rate; after three days three rates and three standing charges are paid."""
    meter = living(own.meter(balance=1_000_000, supply=Supply.ON))
    debt = Obis.parse("0-0:19.20.1")
    items = (
        (Set(113, debt, 6), rate(5_000)),
        (Set(113, debt, 8), DoubleLongUnsigned(DAY)),
        (Action(113, debt, 2), Integer(0)),
        (Action(113, debt, 4), DoubleLong(12_000)),
    )
    meter.receive(own.command("ECS07", 1, *items), MIDNIGHT)
    with_attributes(meter, {cosem.STANDING_CHARGE: rate(20_000)})
    meter.tick(MIDNIGHT + 4 * DAY)
    assert meter.state.account.time_debts == (0, 0)
    assert meter.state.balance == 1_000_000 - 12_000 - 4 * 20_000


def test_the_non_disablement_calendar_keeps_the_supply_on() -> None:
    """Within the calendar's hours credit used up cuts nothing; at their end it does."""
    entries = Array(
        tuple(
            Structure(
                (
                    LongUnsigned(number), Boolean(value=True), OctetString(bytes.fromhex("00000A006AFF")),
                    LongUnsigned(script), OctetString(bytes((hour, 0, 0, 0))), LongUnsigned(0xFFFF),
                    BitString(7, b"\xfe"), BitString(0, b""), OctetString(b"\xff" * 5), OctetString(b"\xff" * 5),
                )
            )
            for number, (script, hour) in enumerate(((32, 0), (33, 10)), 1)
        )
    )  # fmt: skip
    meter = living(own.meter(balance=10_000, supply=Supply.ON, load=steady_load(1_000)))
    with_attributes(meter, {cosem.PRICES: prices(20_000), cosem.NON_DISABLEMENT: entries})
    meter.tick(MIDNIGHT + 9 * HOUR)
    assert (meter.state.supply, meter.state.balance) == (Supply.ON, 10_000 - 180_000)
    meter.tick(MIDNIGHT + 11 * HOUR)
    assert supply_of(meter) is Supply.OFF_BY_CREDIT


def test_a_change_of_payment_mode_arms_what_credit_had_cut_off() -> None:
    """ECS02 in force: credit mode, no disablement; the change is in the billing data log."""
    meter = living(own.meter(balance=-5, supply=Supply.OFF_BY_CREDIT))
    account = Obis.parse("0-1:19.0.0")
    items = (
        (Set(111, account, 2), Structure((Enum(1), Enum(1)))),
        (Set(111, account, 11), Array(())),
        (Set(111, account, 13), OctetString(IMMEDIATELY)),
    )
    meter.receive(own.command("ECS02", 1, *items), MIDNIGHT)
    assert meter.state.read(cosem.PAYMENT_MODE) == cosem.CREDIT
    assert supply_of(meter) is Supply.ARMED
    assert len(meter.state.lines("changes")) == 1


def test_profiles_and_daily_logs_fill_and_are_read_between_times() -> None:
    """Two days: 96 half hours, 2 daily lines; a selection gives those between its times."""
    meter = living(own.meter(balance=1, supply=Supply.ON, load=steady_load(2_000)))
    with_attributes(meter, {cosem.PAYMENT_MODE: cosem.CREDIT})
    meter.tick(MIDNIGHT + 2 * DAY)
    assert [line[1] for line in meter.state.lines("half_hours")] == [1_000] * 96
    assert meter.state.lines("daily_consumption")[0] == (since_2000(MIDNIGHT), 48_000)
    span = (since_2000(MIDNIGHT + HOUR), since_2000(MIDNIGHT + 2 * HOUR))
    parameter = Structure(
        (
            Structure((LongUnsigned(1), OctetString(bytes.fromhex("00005E2C64FF")), Integer(2), LongUnsigned(0))),
            *(DoubleLongUnsigned(each) for each in span),
            Array(()),
        )
    )
    spec = GetWithSelection(7, Obis.parse("0-0:99.1.2"), 2, 1, parameter)
    (response,) = meter.receive(own.command("ECS22c", 1, (spec, NullData())), MIDNIGHT + 2 * DAY)
    (result,) = own.results_of(response)
    assert isinstance(result.data, CompactArray)
    assert len(result.data.elements) == 3


def test_the_billing_calendar_writes_a_line_and_raises_ecs68() -> None:
    """At the billing moment: a line, and a signed Alert whose content only the supplier opens."""
    meter = living(own.meter(balance=5_000_000, supply=Supply.ON, load=steady_load(1_000)))
    entry = Structure((OctetString(b"\x06\x00\x00\x00"), OctetString(b"\xff\xff\xff\xff\xff")))
    meter.receive(own.command("ECS30", 1, (Set(22, Obis.parse("0-0:15.0.0"), 4), Array((entry,)))), MIDNIGHT)
    alerts = meter.tick(MIDNIGHT + 7 * HOUR)
    assert len(alerts) == 1
    message = parse_message(alerts[0])
    assert message.header.message_code == 0x0061
    verify_signature(message, own.certificate(own.ESME, KeyUse.DIGITAL_SIGNATURE).public_key)
    told = decode_data_notification(message.content)
    assert (told.alert_code, told.date_time) == (0x8F0A, date_time_from_unix(MIDNIGHT + 6 * HOUR))
    wire = told.extra[1]
    assert isinstance(wire, OctetString)
    key = encryption_key(
        own.secret(own.SUPPLIER, own.ESME), device_id=own.ESME, counter=message.header.originator_counter,
        recipient_id=own.SUPPLIER,
    )  # fmt: skip
    inside, _end = decode_data(decrypt_attribute(wire.value, key, own.ESME))
    assert isinstance(inside, Structure)
    assert isinstance(inside.elements[0], CompactArray)
    line = inside.elements[0].elements[0]
    assert isinstance(line, Structure)
    assert line.elements[1] == DoubleLongUnsigned(6_000)
    assert len(meter.state.lines("billing")) == 1


def test_too_much_power_for_too_long_cuts_the_supply_and_is_counted() -> None:
    """ECS28a's limit: exceeded for its period the supply goes off; after the restoration period it is armed."""
    meter = living(own.meter(balance=9_000_000, supply=Supply.ON, load=steady_load(7_000)))
    with_attributes(
        meter,
        {
            cosem.LIMIT_POWER: DoubleLongUnsigned(6_900),
            cosem.LIMIT_PERIOD: DoubleLongUnsigned(3_600),
            cosem.LIMIT_RESTORATION: DoubleLongUnsigned(1_800),
            cosem.LIMIT_DISABLES: Boolean(value=True),
        },
    )
    meter.tick(MIDNIGHT + 1_800)
    assert supply_of(meter) is Supply.ON
    meter.tick(MIDNIGHT + 3_600)
    assert (meter.state.supply, meter.state.number(cosem.LIMIT_COUNT)) == (Supply.OFF_BY_LOAD, 1)
    meter.tick(MIDNIGHT + 5_400)
    assert supply_of(meter) is Supply.ARMED


def test_what_time_did_survives_a_restart() -> None:
    """Registers, logs and debts go on from what was saved."""
    store = MemoryStore()
    meter = living(own.meter(balance=9_000_000, supply=Supply.ON, load=steady_load(1_000), store=store))
    meter.tick(MIDNIGHT + DAY)
    meter.save()
    again = own.meter(store=store, load=steady_load(1_000))
    assert again.state == meter.state
    again.tick(MIDNIGHT + 2 * DAY)
    assert again.state.registers.active_import == 48_000


def test_a_new_state_is_a_meter_that_never_lived() -> None:
    """The first moment a meter sees is the start of its time: nothing is charged for the years before."""
    meter = own.meter(balance=5, supply=Supply.ON, load=steady_load(1_000))
    meter.tick(own.NOW)
    assert meter.state == replace(MeterState(5, Supply.ON), updated_at=own.NOW)


def test_the_clock_takes_the_hubs_time_only_within_its_window() -> None:
    """ECS70: within the window the status is good; outside it the clock stays doubtful."""
    clock = Obis.parse("0-0:1.0.0")
    for counter, (from_at, status) in enumerate(((own.NOW - 5, 0), (own.NOW + 5, 2)), 1):
        meter = own.meter()
        window = (OctetString(date_time_from_unix(each)) for each in (from_at, from_at + 10))
        items = (
            (Set(8, clock, 9), Enum(5)),
            (Action(8, clock, 5), Structure((OctetString(cosem.NEVER), *window))),
            (Action(8, clock, 4), Integer(0)),
            (Get(8, clock, 2), NullData()),
            (Get(8, clock, 4), NullData()),
        )
        (response,) = meter.receive(own.command("ECS70", counter, *items), own.NOW)
        assert own.results_of(response)[4].data == Unsigned(status)
