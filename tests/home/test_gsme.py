"""The gas meter: what its Commands do, what it remembers, what it says; set, then read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.gbcs.asn1 import Asn1, ClockResponse, SetClock, decode_asn1, encode_asn1
from lastmetre.gbcs.datetimes import generalized_from_unix, zigbee_from_unix
from lastmetre.gbcs.gbz import FutureDatedZcl, decode_gbz, decode_gbz_alert
from lastmetre.gbcs.message import Cra, Kind, parse_message
from lastmetre.gbcs.protect import verify_mac, verify_signature
from lastmetre.gbcs.zcl import ZclCommand, zcl_command
from lastmetre.home.gas import attributes as zcl
from lastmetre.home.gas import money
from lastmetre.home.gas.calendars import profile_value, rows
from lastmetre.home.gas.state import GasState, Valve, decode_state, encode_state
from lastmetre.home.ports import MemoryStore
from tests import gas_world as gas
from tests import own_world as own
from tests.gas_world import GSME
from tests.own_world import DS, NOW, PPMID, SUPPLIER, Told

if TYPE_CHECKING:
    from lastmetre.home.gas.gsme import Gsme

DAY = 86_400
EVENT = 473_385_600
CANCEL = 0xFFFFFFFF


def one(response: list[bytes]) -> bytes:
    """The only message answered."""
    assert len(response) == 1
    return response[0]


def balance(meter: Gsme) -> int:
    """The credit."""
    return meter.state.number(zcl.CREDIT)


def valve(meter: Gsme) -> Valve:
    """The valve now."""
    return meter.state.valve


def prepaid(credit: int, **changes: object) -> GasState:
    """A state in prepayment mode."""
    state = GasState(attributes={zcl.CONFIGURATION: 0x0097, zcl.CREDIT: credit})
    return replace(state, **changes)  # type: ignore[arg-type]


# --- top-ups ---


def test_a_top_up_credits_and_the_customer_opens_the_valve() -> None:
    """CS01b: credited, the valve armed, opened by the customer only; the Response echoes amount and new balance."""
    meter = gas.meter(prepaid(-500_000, valve=Valve.OFF_BY_CREDIT))
    response = one(meter.receive(gas.top_up(5, 1_500), NOW))
    (body,) = gas.bodies(response, "ConsumerTopUpResponse")
    assert (body["result"], body["value"], body["source"], body["credit_remaining"]) == (0, 1_500_000, 0, 1_000_000)
    assert len(parse_message(response).header.date_time) == 12
    assert valve(meter) is Valve.ARMED
    assert meter.customer_open(NOW)
    assert valve(meter) is Valve.ON
    assert not meter.customer_open(NOW)


def test_a_top_up_works_once_by_whatever_road() -> None:
    """The same Command raises the Alert; the same code typed in at the PPMID is rejected; and the other way round."""
    meter = gas.meter()
    meter.receive(gas.top_up(5, 1_500), NOW)
    alert = parse_message(one(meter.receive(gas.top_up(5, 1_500), NOW)))
    assert decode_gbz_alert(0x1000, alert.content).alert_code == 0x8F51
    typed = zcl_command("ConsumerTopUp", originating_device=2, code=own.top_up_digits(5, 1_500, target=GSME).encode())
    answer = parse_message(one(meter.receive(gas.from_ppmid("PCS01", 1, typed), NOW)))
    assert decode_gbz(answer.content).components[0].body["result"] == 1  # type: ignore[index]
    assert balance(meter) == 1_000_000 + 1_500_000
    other = zcl_command("ConsumerTopUp", originating_device=2, code=own.top_up_digits(6, 100, target=GSME).encode())
    meter.receive(gas.from_ppmid("PCS01", 2, other), NOW)
    assert parse_message(one(meter.receive(gas.top_up(6, 100), NOW))).kind is Kind.ALERT
    assert balance(meter) == 1_000_000 + 1_500_000 + 100_000


@pytest.mark.parametrize(
    "digits", [own.top_up_digits(6, 100, target=GSME), own.top_up_digits(5, 100), "1" * 20, "x" * 20, ""]
)
def test_a_code_that_is_not_authentic_credits_nothing(digits: str) -> None:
    """Another counter, another meter, no code at all: rejected, nothing credited, the counter spent."""
    meter = gas.meter()
    code = zcl_command("ConsumerTopUp", originating_device=0, code=digits.encode())
    response = one(meter.receive(gas.command("CS01b", 5 << 32, code), NOW))
    (body,) = gas.bodies(response, "ConsumerTopUpResponse")
    assert (body["result"], body["value"], body["credit_remaining"]) == (1, -1, -1)
    assert balance(meter) == 1_000_000
    assert meter.state.counters.utrn_cache == (5,)


def test_a_top_up_above_the_limits_credits_nothing() -> None:
    """More than one payment may bring, and more than the balance may hold."""
    meter = gas.meter()
    limits = zcl_command(
        "SetMaximumCreditLimit",
        provider=0,
        issuer_event=EVENT,
        implementation=0,
        max_level=2_000_000,
        max_per_top_up=1_200_000,
    )
    assert gas.statuses(one(meter.receive(gas.command("GCS05", 1, limits), NOW))) == [0]
    for counter, pence in ((5, 1_201), (6, 1_001)):
        meter.receive(gas.top_up(counter, pence), NOW)
    assert balance(meter) == 1_000_000
    meter.receive(gas.top_up(7, 1_000), NOW)
    assert balance(meter) == 2_000_000


def test_a_payment_pays_its_share_of_the_debt() -> None:
    """GCS04, payment debt of 1.00 at 50 percent: half of each payment goes to the debt until there is none."""
    meter = gas.meter()
    debt = zcl_command(
        "ChangeDebt",
        issuer_event=EVENT,
        label=b"",
        amount=100_000,
        method=1,
        amount_type=5,
        start=0,
        collection_time=0,
        frequency=1,
        recovery_amount=0,
        percentage=5_000,
    )
    meter.receive(gas.command("GCS04", 1, debt), NOW)
    meter.receive(gas.top_up(5, 100), NOW)
    assert (balance(meter), meter.state.number(zcl.DEBT_AMOUNT[2])) == (1_050_000, 50_000)
    meter.receive(gas.top_up(6, 200), NOW)
    assert (balance(meter), meter.state.number(zcl.TOTAL_DEBT)) == (1_200_000, 0)


# --- the PPMID's own Commands ---


def test_emergency_credit_from_the_ppmid_and_from_afar() -> None:
    """PCS02 and GCS06: taken once, when the balance is low; the valve is armed; paid back by the next credit."""
    select = zcl_command("SelectAvailableEmergencyCredit", issued=0, originating_device=2)
    meter = gas.meter(prepaid(-1, valve=Valve.OFF_BY_CREDIT))
    answer = parse_message(one(meter.receive(gas.from_ppmid("PCS02", 1, select), NOW)))
    verify_mac(answer, own.secret(PPMID, GSME))
    assert (answer.header.business_target_id, answer.header.cra) == (PPMID, Cra.RESPONSE)
    assert valve(meter) is Valve.ARMED
    assert (meter.state.emergency_remaining, meter.state.emergency_active) == (499_999, True)
    assert gas.statuses(one(meter.receive(gas.command("GCS06", 1, select), NOW))) == [1]
    meter.receive(gas.top_up(5, 100), NOW)
    assert not meter.state.emergency_active
    rich = gas.meter()
    assert gas.statuses(one(rich.receive(gas.command("GCS06", 1, select), NOW))) == [1]


def test_only_the_joined_ppmid_and_only_its_own_commands() -> None:
    """Another device, a repeat, a wrong MAC, a supplier's use case: refused, nothing changed."""
    told = Told()
    meter = gas.meter(prepaid(0), told=told)
    select = zcl_command("SelectAvailableEmergencyCredit", issued=0, originating_device=2)
    genuine = gas.from_ppmid("PCS02", 7, select)
    meter.receive(genuine, NOW)
    behaviour = meter.state.behaviour()
    forged = gas.from_ppmid("PCS02", 8, select)
    attempts = [
        gas.from_ppmid("PCS02", 8, select, partner=own.ESME),
        genuine,
        forged[:-1] + bytes((forged[-1] ^ 1,)),
        gas.from_ppmid("GCS06", 9, select),
        own.arm(1),
    ]
    for attempt in attempts:
        assert all(parse_message(message).kind is Kind.ALERT for message in meter.receive(attempt, NOW))
    assert meter.state.behaviour() == behaviour
    reasons = [refusal["reason_code"] for refusal in told.of("meter_command_refused")]
    assert reasons == ["NO_AUTHORITY", "COUNTER_USED", "MAC_REFUSED", "NO_AUTHORITY", "OTHER_TARGET"]


def test_the_ppmid_s_commands_are_in_the_event_log() -> None:
    """8154 and 8155 with the message code, as the published log has them; the log can be read and cleared."""
    meter = gas.meter(prepaid(0))
    select = zcl_command("SelectAvailableEmergencyCredit", issued=0, originating_device=2)
    for counter in (1, 2):
        meter.receive(gas.from_ppmid("PCS02", counter, select), NOW)
    read = zcl_command("GetEventLog", control_and_log=0x13, event_id=0, start=0, end=CANCEL - 1, count=0, offset=0)
    (log,) = gas.bodies(one(meter.receive(gas.command("CS10a", 1, read), NOW)), "PublishEventLog")
    events = [(row["event_id"], row["data"]) for row in rows(log, "events")]
    assert events == [(0x8154, b"\0\x90"), (0x8155, b"\0\x90")]
    (cleared,) = gas.bodies(
        one(meter.receive(gas.command("CS11", 2, zcl_command("ClearEventLogRequest", log=3)), NOW)),
        "ClearEventLogResponse",
    )
    assert cleared["cleared"] == 8
    assert meter.state.log == ()


# --- valve ---


def test_the_valve_is_closed_and_armed_from_afar_and_opened_by_the_customer() -> None:
    """GCS32, GCS39, GCS33: each state is read as it is; status on is refused."""
    meter = gas.meter()

    def change(name: str, counter: int, status: int) -> bytes:
        body = zcl_command(
            "ChangeSupply", provider=0, issuer_event=EVENT, request_time=0, implementation=0, status=status, control=1
        )
        return one(meter.receive(gas.command(name, counter, body), NOW))

    def status(counter: int) -> object:
        read = gas.command("GCS33", counter, (0x0702, 0x0205, 0x0014))
        return gas.values(one(meter.receive(read, NOW)))[0x0702, 0x0014]

    assert status(1) == 2
    assert gas.bodies(change("GCS32", 2, 0), "SupplyStatusResponse")[0]["status"] == 0
    assert (status(3), meter.customer_open(NOW)) == (0, False)
    response = change("GCS39", 4, 1)
    verify_signature(parse_message(response), own.certificate(GSME, DS).public_key)
    assert status(5) == 1
    assert gas.statuses(change("GCS39", 6, 2)) == [0x87]
    assert (status(7), meter.customer_open(NOW), status(8)) == (1, True, 2)


def test_every_row_of_the_valve_table_names_its_source() -> None:
    """No row without a fact or an owned choice; nothing but the customer opens."""
    assert all(source for _valve, source in money.TABLE.values())
    opening = [event for (_state, event), (valve, _source) in money.TABLE.items() if valve is Valve.ON]
    assert set(opening) == {money.ValveEvent.CUSTOMER_OPEN, money.ValveEvent.ARM_COMMAND}
    assert money.TABLE[Valve.ON, money.ValveEvent.ARM_COMMAND][0] is Valve.ON


# --- set, then read ---


def calendar(kind: int, calendar_id: int, start: int = 0) -> tuple[ZclCommand, ...]:
    """A calendar: weekdays tier or flag 1 from midnight, 0 (or 2) from eight; the weekend always 1."""
    daytime = 2 if kind == 0 else 0
    head = {"provider": 0, "issuer_event": EVENT, "calendar": calendar_id}
    published = zcl_command(
        "PublishCalendar", **head, start=start, type=kind, time_reference=0, name=b"", seasons=1, weeks=1, days=2
    )
    days = [
        zcl_command("PublishDayProfile", **head, day_id=number, total_entries=len(rows), index=0, count=1, type=kind,
                    entries=[{"minute_of_day": minute, "tier_or_flag": flag} for minute, flag in rows])
        for number, rows in ((1, [(0, 1), (480, daytime)]), (2, [(0, 1)]))
    ]  # fmt: skip
    week = zcl_command(
        "PublishWeekProfile", **head, week_id=1, monday=1, tuesday=1, wednesday=1, thursday=1, friday=1, saturday=2,
        sunday=2,
    )  # fmt: skip
    seasons = zcl_command(
        "PublishSeasons", **head, index=0, count=1, seasons=[{"start": bytes((0xFF, 1, 1, 0xFF)), "week_id": 1}]
    )
    special = zcl_command(
        "PublishSpecialDays", **head, start=start, type=kind, total_days=1, index=0, count=1,
        days=[{"date": bytes((0xFF, 12, 25, 0xFF)), "day_id": 2}],
    )  # fmt: skip
    return (published, *days, week, seasons, special)


def tariff(prices: dict[int, int], *, start: int = 0, standing: int = 22_465) -> tuple[ZclCommand, ...]:
    """A tariff by tiers."""
    head = {"provider": 0, "issuer_event": EVENT, "start": start, "tariff_id": 1}
    return (
        zcl_command("PublishTariffInformation", **head, type_and_scheme=0, label=b"", tiers=4, block_thresholds=0,
                    unit=0, currency=826, trailing_digit=0x50, standing_charge=standing, tier_block_mode=0xFF,
                    multiplier=1, divisor=1_000),
        zcl_command("PublishPriceMatrix", **head, index=0, count=1, control=1,
                    prices=[{"tier_and_block": tier, "price": price} for tier, price in prices.items()]),
    )  # fmt: skip


READ_TARIFF = (0x0700, 0x0203, 0x0202, 0x0410, 0x0420, 0x0430, 0x0440, 0x0616, 0x0617, 0x0301)


def read_tariff(meter: Gsme, counter: int) -> bytes:
    """GCS21f."""
    asks = [
        zcl_command("GetDayProfiles", provider=0, calendar=0xFFFFFFFF, start_id=1, count=0),
        zcl_command("GetWeekProfiles", provider=0, calendar=0xFFFFFFFF, start_id=1, count=0),
        zcl_command("GetSeasons", provider=0, calendar=0xFFFFFFFF),
        zcl_command("GetSpecialDays", start=0, count=0, type=0, provider=0, calendar=0xFFFFFFFF),
        zcl_command("GetCurrentPrice", options=0),
    ]
    return one(meter.receive(gas.command("GCS21f", counter, READ_TARIFF, *asks), NOW))


@given(st.lists(st.integers(0, 0xFFFFFFFF), min_size=4, max_size=4), st.integers(0, 0xFFFFFFFF))
def test_the_tariff_that_was_set_is_read_after_a_restart_too(prices: list[int], standing: int) -> None:
    """GCS01a, GCS21f: prices, standing charge and every part of the calendar come back."""
    store = MemoryStore()
    meter = gas.meter(store=store)
    parts = calendar(0, 7)
    sent = dict(enumerate(prices, 1))
    answer = one(meter.receive(gas.command("GCS01a", 1, *parts, *tariff(sent, standing=standing)), NOW))
    assert gas.statuses(answer) == [0] * 8
    for reader in (meter, gas.meter(store=store)):
        response = read_tariff(reader, 2 if reader is meter else 3)
        read = gas.values(response)
        assert [read[0x0700, 0x0400 + 0x10 * tier] for tier in sent] == prices
        assert read[0x0700, 0x0301] == standing
        assert gas.bodies(response, "PublishDayProfile") == list(parts[1:3])
        assert gas.bodies(response, "PublishWeekProfile") == [parts[3]]
        assert gas.bodies(response, "PublishSeasons") == [parts[4]]
        assert gas.bodies(response, "PublishSpecialDays") == [parts[5]]


def test_a_tariff_never_set_is_not_found() -> None:
    """GCS21f of a new meter: attributes are there, calendar and price are not; and the rest is still answered."""
    response = read_tariff(gas.meter(), 1)
    assert gas.statuses(response) == [0, 0x8B, 0x8B, 0x8B, 0x8B, 0x8B]


def configuration(limit: int, threshold: int, cap: int, warning: int, most: int) -> tuple[ZclCommand, ...]:
    """GCS05, the part without a calendar."""
    when = {"provider": 0, "issuer_event": EVENT, "implementation": 0}
    return (
        zcl_command("EmergencyCreditSetup", issuer_event=EVENT, start=0, limit=limit, threshold=threshold),
        zcl_command("SetOverallDebtCap", **when, cap=cap),
        zcl_command("SetLowCreditWarningLevel", level=warning),
        zcl_command("SetMaximumCreditLimit", **when, max_level=most, max_per_top_up=most),
    )


@given(*(st.integers(0, 0x7FFFFFFF),) * 5)
def test_the_prepayment_configuration_that_was_set_is_read(a: int, b: int, c: int, d: int, e: int) -> None:
    """GCS05, GCS21b: each value and the non-disablement calendar, after a restart too."""
    store = MemoryStore()
    meter = gas.meter(store=store)
    parts = calendar(3, 9)
    sent = gas.command("GCS05", 1, *configuration(a, b, c, d, e), *parts, at=0)
    assert gas.statuses(one(meter.receive(sent, NOW))) == [0] * 10
    asks = (
        (0x0705, 0x0239, 6, 0x0216, 0x0226, 0x40, 0x10, 0x11, 0x31, 0x21, 0x22, 0x0217, 0x0227),
        (0x0700, 0x0617),
        zcl_command("GetDayProfiles", provider=0, calendar=0xFFFFFFFE, start_id=1, count=0),
        zcl_command("GetSpecialDays", start=0, count=0, type=3, provider=0, calendar=0xFFFFFFFE),
    )
    response = one(gas.meter(store=store).receive(gas.command("GCS21b", 2, *asks), NOW))
    read = gas.values(response)
    assert [read[0x0705, number] for number in (0x10, 0x11, 6, 0x31, 0x21, 0x22)] == [a, b, c, d, e, e]
    assert gas.bodies(response, "PublishDayProfile") == list(parts[1:3])
    assert gas.bodies(response, "PublishSpecialDays") == [parts[5]]


def test_the_payment_mode_that_was_set_is_read() -> None:
    """GCS03, GCS21j, GCS02: prepayment and back; credit mode arms a valve that credit had closed."""
    meter = gas.meter(GasState())

    def change(name: str, counter: int, mode: int, cut_off: int) -> None:
        body = zcl_command(
            "ChangePaymentMode", provider=0, issuer_event=EVENT, implementation=0, configuration=mode, cut_off=cut_off
        )
        response = one(meter.receive(gas.command(name, counter, body), NOW))
        assert len(gas.bodies(response, "ChangePaymentModeResponse")) == 1

    def mode(counter: int) -> object:
        return gas.values(one(meter.receive(gas.command("GCS21j", counter, (0x0705, 0)), NOW)))[0x0705, 0]

    change("GCS03", 1, 0x0C97, 0)
    assert (mode(2), meter.state.valve) == (0x0C97, Valve.OFF_BY_CREDIT)
    change("GCS02", 3, 0x0C94, -1)
    assert (mode(4), meter.state.valve) == (0x0C94, Valve.ARMED)


def test_balances_are_adjusted_reset_and_read() -> None:
    """GCS40a to d, GCS60, GCS60a: the prepayment balance and the bill, each by its own Command."""
    meter = gas.meter()

    def adjust(name: str, counter: int, kind: int, value: int) -> None:
        body = zcl_command("CreditAdjustment", issuer_event=EVENT, start=0, type=kind, value=value)
        assert gas.statuses(one(meter.receive(gas.command(name, counter, body), NOW))) == [0]

    def read(name: str, counter: int) -> list[object]:
        asked = gas.command(name, counter, (0x0702, 0x0A00), (0x0705, 1))
        return list(gas.values(one(meter.receive(asked, NOW))).values())

    adjust("GCS40a", 1, 0, -400_000)
    adjust("GCS40c", 2, 3, 70)
    assert read("GCS60", 3) == [70, 600_000]
    adjust("GCS40b", 4, 1, 0)
    adjust("GCS40d", 5, 2, 0)
    assert read("GCS60a", 6) == [0, 0]


def test_registers_are_encrypted_for_their_reader() -> None:
    """GCS13a and GCS14: opened with the supplier's key; on the wire the octets of the values do not stand."""
    meter = gas.meter(prepaid(2_500_000))
    meter.consume(123_456, NOW)
    response = one(meter.receive(gas.command("GCS13a", 1, (0x0702, 0x0302, 0x0301, 0x0300, 0)), NOW))
    assert gas.values(response)[0x0702, 0] == 123_456
    assert (123_456).to_bytes(6, "little") not in response
    asked = gas.command("GCS14", 2, (0x0700, 0x0617, 0x0616), (0x0705, 5, 2, 1, 0x0231, 0x0211, 0x0221))
    response = one(meter.receive(asked, NOW))
    assert gas.values(response)[0x0705, 1] == balance(meter)
    clear = decode_gbz(parse_message(response).content).components
    assert [type(component.body).__name__ for component in clear] == ["ReadAttributesResponse", "EncryptedZcl"]


@pytest.mark.parametrize(
    ("name", "body", "read", "asked", "expected"),
    [
        ("GCS23", zcl_command("PublishConversionFactor", issuer_event=EVENT, start=0, factor=9, trailing_digit=0),
         "GCS21a", (0x0700, 0x0302), 9),
        ("GCS41", zcl_command("UpdateSiteID", issuer_event=EVENT, time=0, provider=0, site_id=b"1234567890"),
         "GCS46", (0x0702, 0x0307), b"1234567890"),
        ("GCS24", zcl_command("SetUncontrolledFlowThreshold", provider=0, issuer_event=EVENT, threshold=77, unit=1,
                              multiplier=1, divisor=1, stabilisation=6, measurement=30),
         "GCS21a", (0x0702, 0x0B10), 77),
    ],
)  # fmt: skip
def test_settings_read_as_set(name: str, body: ZclCommand, read: str, asked: tuple[int, int], expected: object) -> None:
    """One setting, one reading."""
    meter = gas.meter()
    assert gas.statuses(one(meter.receive(gas.command(name, 1, body), NOW))) == [0]
    assert gas.values(one(meter.receive(gas.command(read, 2, asked), NOW)))[asked] == expected


def test_event_behaviours_and_billing_period_read_as_set() -> None:
    """GCS20, GCS20r; GCS25, GCS21d: what was set is read; a critical event cannot be configured."""
    meter = gas.meter()
    events = [{"event_id": 0x810E}, {"event_id": 0x8154}]
    behave = zcl_command(
        "SetEventConfiguration", issuer_event=EVENT, start=0, configuration=8, control=0, events=events
    )
    meter.receive(gas.command("GCS20", 1, behave), NOW)
    asked = gas.command("GCS20r", 2, zcl_command("GetEventConfiguration", event_id=0x81FF))
    (report,) = gas.bodies(one(meter.receive(asked, NOW)), "ReportEventConfiguration")
    assert [tuple(row.values()) for row in rows(report, "events")][:3] == [(0x810E, 8), (0x8154, 8), (0x8155, 3)]
    critical = zcl_command("SetEventConfiguration", issuer_event=EVENT, start=0, configuration=8, control=0,
                           events=[{"event_id": 0x8F30}])  # fmt: skip
    assert gas.statuses(one(meter.receive(gas.command("GCS20", 3, critical), NOW))) == [0x87]
    period = zcl_command("PublishBillingPeriod", provider=0, issuer_event=EVENT, start=0, duration=1, duration_type=34,
                         tariff_type=0)  # fmt: skip
    meter.receive(gas.command("GCS25", 4, period), NOW)
    ask = zcl_command("GetBillingPeriod", earliest_start=0, min_issuer_event_id=CANCEL, count=1, tariff_type=0)
    response = one(meter.receive(gas.command("GCS21d", 5, ask), NOW))
    assert gas.bodies(response, "PublishBillingPeriod") == [period]


# --- time ---


def test_a_tariff_for_later_works_when_its_time_comes_and_says_so() -> None:
    """GCS01b at a time: accepted now, in force then, an Alert for each part with a time; a restart does not lose it."""
    store = MemoryStore()
    at = NOW + 3_600
    meter = gas.meter(store=store)
    sent = gas.command("GCS01b", 4, *tariff({1: 500}, start=zigbee_from_unix(at)))
    assert gas.statuses(one(meter.receive(sent, NOW))) == [0, 0]
    assert money.price(meter.state, NOW) == 0
    again = gas.meter(store=store)
    assert again.tick(at - 1) == []
    alerts = [parse_message(alert) for alert in again.tick(at)]
    assert money.price(again.state, at) == 500
    for alert, zcl_id in zip(alerts, (4, 5), strict=True):
        verify_signature(alert, own.certificate(GSME, DS).public_key)
        assert (alert.header.message_code, alert.header.business_target_id) == (0x00CD, SUPPLIER)
        content = decode_gbz_alert(0x00CD, alert.content)
        assert (content.alert_code, content.time) == (0x8F66, zigbee_from_unix(at))
        assert content.specific == FutureDatedZcl(0x00A3, 4, 0x0700, 0x09, zcl_id)
    assert again.tick(at + 1) == []


def test_what_is_for_later_can_be_cancelled() -> None:
    """The same Command with the times that say cancel: nothing happens at the time, and nothing now."""
    at = NOW + 3_600
    meter = gas.meter()
    meter.receive(gas.command("GCS01b", 4, *tariff({1: 500}, start=zigbee_from_unix(at))), NOW)
    cancelling = (tariff({1: 900}, start=CANCEL)[0], tariff({1: 900}, start=CANCEL - 1)[1])
    assert gas.statuses(one(meter.receive(gas.command("GCS01b", 5, *cancelling), NOW))) == [0, 0]
    assert meter.state.pending == ()
    assert meter.tick(at) == []
    assert money.price(meter.state, at) == 0


def test_the_clock_is_set_within_the_supplier_s_bounds() -> None:
    """GCS28: within them the hub's time is taken and reliable, outside it is not."""
    meter = gas.meter(replace(prepaid(0), clock_offset_s=90))

    def set_clock(counter: int, before: int, after: int) -> ClockResponse:
        times = SetClock(generalized_from_unix(before), generalized_from_unix(after))
        head = own.header("GCS28", counter, target=GSME)
        response = one(meter.receive(own.critical(head, encode_asn1(Asn1(times))), NOW))
        value = decode_asn1(0x007F, Cra.RESPONSE, parse_message(response).content).value
        assert isinstance(value, ClockResponse)
        return value

    assert set_clock(1, NOW + 10, NOW + 20) == ClockResponse(generalized_from_unix(NOW + 90), 2)
    assert set_clock(2, NOW - 10, NOW + 20) == ClockResponse(generalized_from_unix(NOW), 0)
    assert meter.clock(NOW) == NOW


def test_tiers_follow_the_calendar_and_so_do_price_and_register() -> None:
    """Monday before and after eight, and Christmas: the calendar's tier prices and counts what is used."""
    parts = calendar(0, 7)
    monday = 1_795_392_000  # 2026-11-23 00:00 UTC
    assert monday % DAY == 0
    times = (monday, monday + 8 * 3_600, monday - DAY + 9 * 3_600, 1_798_192_800)
    assert [profile_value(parts, at) for at in times] == [1, 2, 1, 1]
    meter = gas.meter(GasState())
    meter.receive(gas.command("GCS01a", 1, *parts, *tariff({1: 1_000, 2: 3_000})), monday)
    meter.consume(1_000, monday + 60)
    first = meter.state.number(zcl.BILL_TO_DATE)
    meter.consume(1_000, monday + 9 * 3_600)
    assert meter.state.number(zcl.BILL_TO_DATE) == pytest.approx(4 * first, abs=3)
    assert first == round(money.energy_kwh(meter.state, 1_000) * 1_000)
    assert [meter.state.number(key) for key in zcl.TIER_SUMMATIONS] == [1_000, 1_000, 0, 0]


def test_credit_runs_out_and_the_non_disablement_calendar_holds_the_valve() -> None:
    """At night the valve stays open below zero; from eight on it closes."""
    monday = 1_795_392_000
    meter = gas.meter(prepaid(500))
    meter.receive(gas.command("GCS05", 1, *calendar(3, 9)), monday)
    meter.receive(gas.command("GCS01b", 2, *tariff({1: 3_000}, standing=0)), monday)
    meter.consume(1_000, monday + 60)
    assert balance(meter) < 0
    assert valve(meter) is Valve.ON
    meter.tick(monday + 7 * 3_600)
    assert valve(meter) is Valve.ON
    meter.tick(monday + 8 * 3_600)
    assert valve(meter) is Valve.OFF_BY_CREDIT
    before = meter.state.number(zcl.SUMMATION)
    meter.consume(1_000, monday + 9 * 3_600)
    assert meter.state.number(zcl.SUMMATION) == before


def test_the_standing_charge_is_taken_once_a_day() -> None:
    """Three days, however often the meter looks."""
    meter = gas.meter(prepaid(1_000_000))
    meter.receive(gas.command("GCS01b", 1, *tariff({1: 1}, standing=100)), NOW)
    for hours in range(72):
        meter.tick(NOW + hours * 3_600)
    meter.tick(NOW + 71 * 3_600)
    days = (NOW + 71 * 3_600) // DAY - NOW // DAY
    assert balance(meter) == 1_000_000 - 100 * days


def test_the_past_is_kept_by_day_by_half_hour_and_by_change() -> None:
    """GCS16a, GCS16b, GCS15b, GCS17: what was used and owed then is read now, encrypted; what is not there is not."""
    midnight = NOW // DAY * DAY
    meter = gas.meter(prepaid(1_000_000))
    meter.tick(midnight)
    for day in range(3):
        for half_hour in (1, 3):
            meter.consume(1_000 * (day + 1), midnight + day * DAY + half_hour * 1_800 + 60)
        meter.tick(midnight + (day + 1) * DAY)
    now = midnight + 3 * DAY + 60

    def ask(name: str, counter: int, *bodies: ZclCommand) -> bytes:
        return one(meter.receive(gas.command(name, counter, *bodies), now))

    times = {"earliest_start": 0, "latest_end": CANCEL - 1}
    metering = [zcl_command("GetSnapshot", **times, offset=offset, cause=1) for offset in range(4)]
    response = ask("GCS16a", 1, *metering)
    daily = gas.bodies(response, "PublishSnapshot")
    assert [snapshot["summation"] for snapshot in daily] == [2_000, 6_000, 12_000]
    assert [snapshot["time"] for snapshot in daily] == [zigbee_from_unix(midnight + day * DAY) for day in (1, 2, 3)]
    assert gas.statuses(response) == [0, 0, 0, 0x8B]
    money_asked = [zcl_command("GetPrepaySnapshot", **times, offset=0, cause=cause) for cause in (1, 0x6008)]
    assert gas.statuses(ask("GCS16b", 2, *money_asked)) == [0, 0x8B]
    profile = zcl_command("GetSampledData", sample_id=0, earliest=zigbee_from_unix(midnight), type=0, count=6)
    (samples,) = gas.bodies(ask("GCS17", 3, profile), "GetSampledDataResponse")
    assert [row["value"] for row in rows(samples, "samples")] == [0, 1_000, 0, 1_000, 0, 0]
    body = zcl_command("ChangePaymentMode", provider=0, issuer_event=EVENT, implementation=0, configuration=0x94,
                       cut_off=-1)  # fmt: skip
    ask("GCS02", 4, body)
    (changed,) = gas.bodies(ask("GCS15b", 5, money_asked[1]), "PublishPrepaySnapshot")
    assert changed["balance"] == balance(meter)
    assert decode_state(encode_state(meter.state)) == meter.state


def test_the_past_is_bounded() -> None:
    """A year passes: 31 days and the half-hours of a month are kept, and reading beyond finds nothing."""
    meter = gas.meter(prepaid(1_000_000))
    meter.tick(NOW)
    for day in range(365):
        meter.consume(1, NOW + day * DAY)
    meter.tick(NOW + 365 * DAY)
    assert len(meter.state.snapshots) == 31
    assert len(meter.state.profile) <= 32


# --- rules of the house ---


def test_a_failing_part_stops_the_rest() -> None:
    """As the published error Responses have it: the rest is answered with FF and failure."""
    meter = gas.meter()
    adjust = [zcl_command("CreditAdjustment", issuer_event=EVENT, start=0, type=kind, value=5) for kind in (0, 9, 0)]
    assert gas.statuses(one(meter.receive(gas.command("GCS40a", 1, *adjust), NOW))) == [0, 0x85, 1]
    assert balance(meter) == 1_000_005


def test_what_is_not_of_the_use_case_is_refused_whole() -> None:
    """T02: a Command without a signature closes no valve, and reads in clear nothing that is secret elsewhere."""
    meter = gas.meter()
    close = zcl_command(
        "ChangeSupply", provider=0, issuer_event=0, request_time=0, implementation=0, status=0, control=0
    )
    message = zcl_command("DisplayMessage", id=1, control=0, start=0, duration_minutes=60, message=b"hello")
    before = meter.state.valve, meter.state.counters
    for command in (
        gas.command("GCS07", 1, message, close),
        gas.command("GCS38", 1, (0x0702, 0x0206, 0x0000)),
        gas.command("GCS60", 1, (0x0702, 0x7777)),
        gas.command("GCS32", 1, (0x0705, 0x0001)),
    ):
        alert = parse_message(one(meter.receive(command, NOW)))
        assert (alert.kind, alert.content[3:5]) == (Kind.ALERT, bytes.fromhex("8f1e"))
    assert (meter.state.valve, meter.state.counters) == before
    assert "message" not in meter.state.published


def test_a_code_said_twice_in_one_command_is_credited_by_none() -> None:
    """P2: one Command, one code; two parts with the same one are refused whole, from supplier and PPMID alike."""
    meter = gas.meter()
    digits = own.top_up_digits(7, 1_000, target=gas.GSME).encode()
    part = zcl_command("ConsumerTopUp", originating_device=0, code=digits)
    before = balance(meter)
    refused = parse_message(one(meter.receive(gas.command("CS01b", 7 << 32, part, part), NOW)))
    assert refused.kind is Kind.ALERT
    assert balance(meter) == before
    credited = one(meter.receive(gas.command("CS01b", 7 << 32, part), NOW))
    assert parse_message(credited).kind is Kind.RESPONSE
    assert balance(meter) == before + 1_000_000


def test_a_use_case_of_another_device_is_not_supported() -> None:
    """The 8F85 Alert, for a Command that is authentic."""
    meter = gas.meter()
    command = own.non_critical(own.header("ECS82", 1, target=gas.GSME), b"")
    alert = parse_message(one(meter.receive(command, NOW)))
    assert (alert.kind, alert.content[3:5]) == (Kind.ALERT, bytes.fromhex("8f85"))


def test_what_was_not_saved_did_not_happen() -> None:
    """A power cut at the save: no Response, and after it neither counter nor effect."""

    class Failing(MemoryStore):
        def save(self, state: bytes) -> None:
            if self.state is not None:
                raise OSError("power cut")
            super().save(state)

    store = Failing()
    meter = gas.meter(store=store)
    with pytest.raises(OSError, match="power cut"):
        meter.receive(gas.top_up(5, 1_500), NOW)
    again = gas.meter(store=MemoryStore(store.state))
    assert (balance(again), again.state.counters.utrn_cache) == (1_000_000, ())


def test_the_state_comes_back_whole() -> None:
    """Everything a busy meter remembers survives its form in the store."""
    meter = gas.meter()
    meter.receive(gas.top_up(5, 1_500), NOW)
    meter.receive(gas.command("GCS01a", 1, *calendar(0, 7), *tariff({1: 500}, start=zigbee_from_unix(NOW + 99))), NOW)
    meter.receive(gas.command("GCS07", 2, zcl_command("DisplayMessage", id=1, control=0, start=0, duration_minutes=9,
                                                      message=b"hello")), NOW)  # fmt: skip
    meter.receive(own.arm(1), NOW)
    assert decode_state(encode_state(meter.state)) == meter.state
