"""The gas meter's own affairs: a change of supplier, its log of payments, the billing Alert, the proxy's daily log."""

from __future__ import annotations

from dataclasses import replace

from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    KEY_USAGE_KEY_AGREEMENT,
    Asn1,
    CellId,
    Replacement,
    UpdateControl,
    UpdateCredentials,
    encode_asn1,
)
from lastmetre.gbcs.datetimes import zigbee_from_unix
from lastmetre.gbcs.gbz import Component, EncryptedZcl, Gbz, decode_gbz, decode_gbz_alert, encode_gbz, open_component
from lastmetre.gbcs.message import Cra, GroupingHeader, Kind, OtherInformation, parse_message
from lastmetre.gbcs.protect import decrypt_attribute, encryption_key, verify_signature
from lastmetre.gbcs.zcl import DefaultResponse, ZclCommand, zcl_command
from lastmetre.home.gas.calendars import rows
from lastmetre.home.gas.gsme import Gsme
from lastmetre.home.gas.state import GasState, Valve
from lastmetre.home.ports import MemoryStore
from tests import gas_world as gas
from tests import own_world as own
from tests.home import test_esme_credentials as credentials
from tests.home.test_gpf import GPF, proxy
from tests.own_world import DS, KA, NOW, PP, SUPPLIER
from tests.threats.the_home import arm_gas, executed, identity

DAY = 86_400


def test_a_new_supplier_takes_the_gas_meter_over() -> None:
    """CS02b, all three cells, after a restart too: the new supplier arms the valve, the old one does not any more."""
    store = MemoryStore()
    made = replace(identity(gas.GSME), authorities=(credentials.authority(),))

    def meter() -> Gsme:
        return Gsme(made, store, own.Told(), new=GasState(Valve.OFF_BY_COMMAND))

    cells = {DS: (KEY_USAGE_DIGITAL_SIGNATURE, 0), KA: (KEY_USAGE_KEY_AGREEMENT, 0), PP: (KEY_USAGE_KEY_AGREEMENT, 1)}
    control = UpdateControl(2, 9, authorising_cell=CellId(2, KEY_USAGE_DIGITAL_SIGNATURE), new_floor=0)
    replacements = tuple(Replacement(credentials.certificate(use).der, CellId(2, *cell)) for use, cell in cells.items())
    content = encode_asn1(Asn1(UpdateCredentials(control, replacements, (credentials.authority().der,))))
    head = GroupingHeader(Cra.COMMAND, 9, SUPPLIER, gas.GSME, OtherInformation(0x0102))
    assert executed(meter().receive(own.critical(head, content), NOW))
    assert not executed(meter().receive(arm_gas(10), NOW))
    message = parse_message(arm_gas(1))
    by_new = replace(message.header, business_originator_id=credentials.NEW_SUPPLIER)
    assert executed(meter().receive(own.critical(by_new, message.content), NOW))
    assert meter().state.valve is Valve.ARMED


def log_command(name: str, counter: int, body: ZclCommand, earliest: int) -> bytes:
    """A Command that bears a From Date Time."""
    content = encode_gbz(Gbz((Component(body.cluster, 1, 0, body, zigbee_from_unix(earliest)),)))
    return own.non_critical(own.header(name, counter, target=gas.GSME), content)


def test_payments_are_in_their_logs_until_newer_ones_push_them_out() -> None:
    """GCS15e and GCS15d: code, amount and time of each top-up and what it paid of the debt, the newest first."""
    state = GasState(attributes={(0x0705, 0): 0x0097, (0x0705, 0x0231): 5_000_000, (0x0705, 0x0239): 5_000})
    store = MemoryStore()
    meter = gas.meter(state, store=store)
    for number in range(1, 13):
        meter.receive(gas.top_up(number, 100 + number), NOW + number)
    again = gas.meter(store=store)
    ask = zcl_command("GetTopUpLog", latest_end=0xFFFFFFFE, count=5)
    (answer,) = again.receive(log_command("GCS15e", 1, ask, NOW), NOW + 99)
    (log,) = gas.bodies(answer, "PublishTopUpLog")
    entries = rows(log, "entries")
    assert [row["amount"] for row in entries] == [(100 + number) * 1_000 for number in (12, 11, 10, 9, 8)]
    assert entries[0]["code"] == own.top_up_digits(12, 112, target=gas.GSME).encode()
    assert entries[0]["time"] == zigbee_from_unix(NOW + 12)
    debts = zcl_command("GetDebtRepaymentLog", latest_end=zigbee_from_unix(NOW + 99), debts=10, type=2)
    (answer,) = again.receive(log_command("GCS15d", 2, debts, NOW), NOW + 99)
    (paid,) = gas.bodies(answer, "PublishDebtLog")
    first = rows(paid, "entries")[-1]
    assert isinstance(decode_gbz(parse_message(answer).content).components[0].body, EncryptedZcl)
    assert (first["collected"], first["type"]) == (51_500, 2)
    (none,) = again.receive(log_command("GCS15d", 3, debts, NOW + 50), NOW + 99)
    assert gas.answers(none)[0].body == DefaultResponse(0x0A, 0x8B)


def test_the_end_of_a_billing_period_is_pushed_encrypted() -> None:
    """GCS53 at the day the calendar says: signed, opened by the supplier's key alone, with that day's snapshot."""
    meter = gas.meter()
    started = NOW // DAY * DAY
    period = zcl_command("PublishBillingPeriod", provider=0, issuer_event=0, start=zigbee_from_unix(started),
                         duration=1, duration_type=34, tariff_type=0)  # fmt: skip
    meter.receive(gas.command("GCS25", 1, period), NOW)
    meter.tick(NOW)
    meter.consume(7_000, NOW)
    alerts = [alert for day in range(1, 32) for alert in meter.tick(started + day * DAY)]
    (alert,) = map(parse_message, alerts)
    verify_signature(alert, own.certificate(gas.GSME, DS).public_key)
    told = decode_gbz_alert(0x008B, alert.content)
    assert (told.alert_code, alert.header.message_code) == (0x8F0A, 0x008B)
    part = told.specific
    assert isinstance(part, Component)
    assert isinstance(part.body, EncryptedZcl)
    key = encryption_key(
        own.secret(SUPPLIER, gas.GSME), device_id=gas.GSME, counter=alert.header.originator_counter,
        recipient_id=SUPPLIER,
    )  # fmt: skip
    snapshot = open_component(part, decrypt_attribute(part.body.wire, key, gas.GSME)).body
    assert isinstance(snapshot, ZclCommand)
    assert (snapshot.name, snapshot["summation"]) == ("PublishSnapshot", 7_000)


def test_the_proxy_keeps_a_daily_log_of_what_was_reported() -> None:
    """GCS61: litres by day, from reports; encrypted for the reader; a day without gas is nought."""
    store = MemoryStore()
    one = proxy(store)
    today = NOW // DAY
    for day, reading in ((0, 1_000), (1, 1_250), (3, 2_000)):
        one.reported({0: reading}, (today + day) * DAY + 60)
    ask = zcl_command("GetSampledData", sample_id=1, earliest=zigbee_from_unix((today + 1) * DAY), type=0, count=731)
    content = encode_gbz(Gbz((Component(ask.cluster, 1, 0, ask),)))
    command = own.non_critical(own.header("GCS61", 1, target=GPF), content)
    (answer,) = map(parse_message, proxy(store).receive(command, (today + 4) * DAY))
    assert answer.kind is Kind.RESPONSE
    (part,) = decode_gbz(answer.content).components
    assert isinstance(part.body, EncryptedZcl)
    key = encryption_key(own.secret(SUPPLIER, GPF), device_id=GPF, counter=1, recipient_id=SUPPLIER)
    data = open_component(part, decrypt_attribute(part.body.wire, key, GPF)).body
    assert isinstance(data, ZclCommand)
    assert [row["value"] for row in rows(data, "samples")] == [250, 0, 750]
