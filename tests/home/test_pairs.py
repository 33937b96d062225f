"""The pairs of Commands that write and read one thing: the whole list, and those that are not plain settings.

Settings of the electricity meter by plain sets are tried from the tables in ``test_set_then_read``; here are the gas
meter, the hub, and what is done by actions or ASN.1: any values, read back, and after a restart too.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastmetre.gbcs.asn1 import (
    KEY_USAGE_DIGITAL_SIGNATURE,
    ActivateFirmware,
    Asn1,
    CellId,
    CredentialsDetails,
    CredentialsQuery,
    DeviceType,
    Join,
    JoinDetails,
    LogEntry,
    ReadJoinDetails,
    RestoreDeviceLog,
    Unjoin,
    decode_asn1,
    encode_asn1,
)
from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    DoubleLong,
    Integer,
    LongUnsigned,
    NullData,
    OctetString,
    Structure,
    Unsigned,
    decode_data,
)
from lastmetre.gbcs.catalogue import Role, UseCaseKind, catalogue
from lastmetre.gbcs.datetimes import date_time_from_unix, zigbee_from_unix
from lastmetre.gbcs.dlms import AccessRequest, Action, Get, Obis, Set, decode_access_response, encode_access_request
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, parse_message
from lastmetre.gbcs.protect import pre_command, sign_pre_command
from lastmetre.gbcs.zcl import zcl_command
from lastmetre.home.gas.calendars import rows
from lastmetre.home.gas.state import GasState
from lastmetre.home.objects import OBJECTS
from lastmetre.home.objects.use_case_items import items_of
from lastmetre.home.own_memory import Image
from lastmetre.home.ports import MemoryStore
from lastmetre.home.sub_ghz import NEW_CONFIGURATION
from lastmetre.home.supply import Supply
from tests import gas_world as gas
from tests import own_world as own
from tests.home import test_esme_credentials as credentials
from tests.home.test_chf import chf
from tests.home.test_gpf import GPF, proxy
from tests.home.test_set_then_read import SETTING
from tests.home.test_set_then_read import values as values_of
from tests.own_world import BROKER, CHF, NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.gbcs.asn1 import Asn1Response
    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.dlms import Spec
    from lastmetre.gbcs.zcl import Plain, ZclCommand

HERE: Final = {
    "CS02b": "CS02a", "CS03A1": "CS07", "CS03B": "CS07", "CS03C": "CS07", "CS03A2": "CS07", "CS04AC": "CS07",
    "CS04B": "CS07", "CS06": "ECS52, GCS38, CS08", "GCS59": "CS07",
    "ECS04a": "ECS82", "ECS04b": "ECS82", "ECS42": "ECS45", "ECS43": "ECS45", "ECS44": "ECS45",
    "GCS04": "GCS14, GCS21b", "GCS23": "GCS21a", "GCS24": "GCS21a, GCS21m", "GCS24a": "GCS21a, GCS21m",
    "GCS25": "GCS21d", "GCS25a": "GCS21k", "GCS31": "GCS18", "GCS32": "GCS33", "GCS39": "GCS33",
    "GCS40a": "GCS60a", "GCS40b": "GCS60a", "GCS40c": "GCS60a", "GCS40d": "GCS60a", "GCS41": "GCS46",
    "GCS20": "GCS20r", "CCS01": "CCS05, CCS07", "CCS02": "CCS05, CCS07", "CCS03": "CCS07",
    "DBCH04": "DBCH03", "DBCH05": "DBCH01", "ECS29a": "ECS26b", "ECS29b": "ECS26k",
    "ECS47": "ECS61a", "ECS47a": "ECS61e", "ECS15a": "the log itself",
}  # fmt: skip
"""Writers tried in this module, and what reads them."""
IN_OTHER_TESTS: Final = {
    "CS01a": "ECS82 (test_esme)", "CS01b": "GCS14, GCS15e (test_gsme)", "PCS01": "GCS14 (test_gsme)",
    "PCS02": "GCS14 (test_gsme)", "GCS06": "GCS14 (test_gsme)", "ECS09": "ECS19 (test_esme_in_time)",
    "GCS01a": "GCS21f (test_gsme)", "GCS01b": "GCS21f (test_gsme)", "GCS02": "GCS21j (test_gsme)",
    "GCS03": "GCS21j (test_gsme)", "GCS05": "GCS21b (test_gsme)", "CS11": "CS10a (test_gsme)",
    "CS02c": "the request is its answer (test_esme_credentials)", "CS02d": "CS02e (test_esme_credentials)",
    "ECS07": "ECS19 (test_esme_in_time)",
    "ECS25a": "ECS25r1 (test_set_then_read)", "ECS25a1": "ECS25r1, as ECS25a", "ECS25a2": "ECS25r1, as ECS25a",
    "ECS25a3": "ECS25r1, as ECS25a", "ECS25b": "ECS25r2, as ECS25a", "ECS25b3": "ECS25r2, as ECS25a",
    "ECS05": "ECS17e (test_esme_in_time)",

    "ECS70": "every Response's time (test_esme_in_time)", "GCS28": "every Response's time (test_gsme)",
}  # fmt: skip
NO_PROPERTY_YET: Final = {"CS02g", "ECS47e"}
"""A load controller's own Commands, with readers (CS02f, ECS61e), that no test here reads back: a gap, said as such."""
NOTHING_READS: Final = {
    "ECS10", "ECS12", "ECS14", "ECS16", "ECS50", "ECS81", "GCS07", "GCS09", "GCS11", "GCS36", "GCS44", "ECS28b",
    "ECS29e", "ECS29f", "ECS57", "ECS15c", "ECS62",
}  # fmt: skip
"""No Command reads what they set as it was set: displays show it, or they reset what others read."""


def test_every_command_that_changes_something_is_in_a_list() -> None:
    """No pair is forgotten: each Command of the catalogue that is no read is tried here or elsewhere, or unread."""
    reads = ("Read", "Provide")
    writers = {
        case.name
        for case in catalogue().values()
        if case.kind is UseCaseKind.COMMAND and not case.title.startswith(reads)
    }
    assert writers - set(HERE) - set(IN_OTHER_TESTS) - NOTHING_READS - NO_PROPERTY_YET - set(SETTING) == set()


# --- the gas meter ---------------------------------------------------------------------------------------------------


def gas_pair(writes: tuple[bytes, ...], read: Callable[[int], bytes], *, state: GasState | None = None) -> list[bytes]:
    """Write, then read with the meter as it is and as it wakes up from its store."""
    store = MemoryStore()
    meter = gas.meter(state, store=store)
    for command in writes:
        (response, *_alerts) = meter.receive(command, NOW)
        assert set(gas.statuses(response)) <= {0}
    counter = meter.state.counters.high_water(Role.SUPPLIER) if writes else 0
    return [again.receive(read(counter + 1 + number), NOW)[0]
            for number, again in enumerate((meter, gas.meter(store=store)))]  # fmt: skip


def attributes(answers: list[bytes]) -> list[dict[tuple[int, int], Plain]]:
    """What each answer brought."""
    return [gas.values(answer) for answer in answers]


U8, U16, U24, U32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 24, 32))


@settings(max_examples=15, deadline=None)
@given(U32, U8, U32, U8, U8)
def test_gas_equivalents(factor: int, factor_digit: int, value: int, unit: int, digit: int) -> None:
    """GCS23, GCS21a."""
    write = gas.command(
        "GCS23", 1,
        zcl_command("PublishConversionFactor", issuer_event=0, start=0, factor=factor, trailing_digit=factor_digit),
        zcl_command("PublishCalorificValue", issuer_event=0, start=0, calorific_value=value, unit=unit,
                    trailing_digit=digit),
    )  # fmt: skip
    ids = (0x0302, 0x0303, 0x0304, 0x0305, 0x0306)
    expected = dict(zip([(0x0700, each) for each in ids], (factor, factor_digit, value, unit, digit), strict=True))
    for read in attributes(gas_pair((write,), lambda counter: gas.command("GCS21a", counter, (0x0700, *ids)))):
        assert read == expected


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(["GCS24", "GCS24a"]), st.tuples(U16, U8, U16, U16, U8, U16, U8, U8))
def test_flow_threshold_and_supply_states(name: str, values: tuple[int, ...]) -> None:
    """GCS24 and GCS24a, GCS21a and GCS21m."""
    threshold, unit, multiplier, divisor, stabilisation, measurement, tamper, depletion = values
    write = gas.command(
        name, 1,
        zcl_command("SetUncontrolledFlowThreshold", provider=0, issuer_event=0, threshold=threshold, unit=unit,
                    multiplier=multiplier, divisor=divisor, stabilisation=stabilisation, measurement=measurement),
        zcl_command("SetSupplyStatus", issuer_event=0, tamper=tamper, depletion=depletion, uncontrolled_flow=0,
                    load_limit=0),
    )  # fmt: skip
    ids = tuple(range(0x0B10, 0x0B16))
    wanted = (threshold, unit, multiplier, divisor, stabilisation, measurement)
    for read in attributes(gas_pair((write,), lambda counter: gas.command("GCS21a", counter, (0x0702, *ids)))):
        assert tuple(read[0x0702, each] for each in ids) == wanted
    states = gas_pair((write,), lambda counter: gas.command("GCS21m", counter, (0x0702, 0x0607, 0x0608)))
    for read in attributes(states):
        assert (read[0x0702, 0x0607], read[0x0702, 0x0608]) == (tamper, depletion)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([("GCS25", "GCS21d"), ("GCS25a", "GCS21k")]), U32, U24, U8)
def test_billing_calendars(names: tuple[str, str], start: int, duration: int, kind: int) -> None:
    """GCS25 and GCS21d, GCS25a and GCS21k."""
    body = zcl_command("PublishBillingPeriod", provider=0, issuer_event=7, start=start, duration=duration,
                       duration_type=kind, tariff_type=0)  # fmt: skip
    ask = zcl_command("GetBillingPeriod", earliest_start=0, min_issuer_event_id=0, count=1, tariff_type=0)
    for answer in gas_pair((gas.command(names[0], 1, body),), lambda counter: gas.command(names[1], counter, ask)):
        assert gas.bodies(answer, "PublishBillingPeriod") == [body]


@settings(max_examples=10, deadline=None)
@given(st.binary(max_size=13), st.dictionaries(st.integers(0x8000, 0x81FE), U8, min_size=1, max_size=5))
def test_mprn_and_event_behaviours(mprn: bytes, behaviours: dict[int, int]) -> None:
    """GCS41 and GCS46; GCS20 and GCS20r, event by event."""
    site = zcl_command("UpdateSiteID", issuer_event=0, time=0, provider=0, site_id=mprn)
    asked = (0x0702, 0x0307)
    for read in attributes(gas_pair((gas.command("GCS41", 1, site),), lambda n: gas.command("GCS46", n, asked))):
        assert read[asked] == mprn
    parts = [
        zcl_command("SetEventConfiguration", issuer_event=0, start=0, configuration=configuration, control=0,
                    events=[{"event_id": event}])
        for event, configuration in behaviours.items()
    ]  # fmt: skip
    for event, configuration in behaviours.items():
        ask = zcl_command("GetEventConfiguration", event_id=event)
        for answer in gas_pair((gas.command("GCS20", 1, *parts),), partial(_ask_behaviour, ask)):
            (report,) = gas.bodies(answer, "ReportEventConfiguration")
            found = {tuple(row.values()) for row in rows(report, "events")}
            assert (event, configuration) in found


def _ask_behaviour(ask: ZclCommand, counter: int) -> bytes:
    return gas.command("GCS20r", counter, ask)


def credit(kind: int, value: int) -> ZclCommand:
    """An adjustment of a balance or of the bill."""
    return zcl_command("CreditAdjustment", issuer_event=0, start=0, type=kind, value=value)


MONEY = st.integers(-1_000_000, 1_000_000)


@settings(max_examples=15, deadline=None)
@given(MONEY, MONEY, st.integers(0, 2**31 - 1))
def test_gas_balances(first: int, second: int, bill: int) -> None:
    """GCS40a to GCS40d, GCS60a: adjusted, reset, adjusted again."""
    writes = (
        gas.command("GCS40a", 1, credit(0, first)), gas.command("GCS40b", 2, credit(1, 0)),
        gas.command("GCS40a", 3, credit(0, second)), gas.command("GCS40c", 4, credit(3, bill)),
        gas.command("GCS40d", 5, credit(2, 0)), gas.command("GCS40c", 6, credit(3, bill)),
    )  # fmt: skip
    both = (0x0705, 0x0001), (0x0702, 0x0A00)
    for read in attributes(gas_pair(writes, lambda counter: gas.command("GCS60a", counter, *both))):
        assert (read[both[0]], read[both[1]]) == (second, bill)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 2**31 - 1), min_size=3, max_size=3), st.integers(0, 2**31 - 1), st.integers(0, 10_000))
def test_gas_debts(amounts: list[int], recovery: int, percentage: int) -> None:
    """GCS04, GCS14 and GCS21b: three debts, how the first two are recovered, what part of a payment the third takes."""
    parts = [
        zcl_command("ChangeDebt", issuer_event=0, label=b"", amount=amount, method=0, amount_type=2 * number, start=0,
                    collection_time=0, frequency=number, recovery_amount=recovery, percentage=percentage)
        for number, amount in enumerate(amounts)
    ]  # fmt: skip
    write = (gas.command("GCS04", 1, *parts),)
    ids = (0x0211, 0x0221, 0x0231)
    for read in attributes(gas_pair(write, lambda counter: gas.command("GCS14", counter, (0x0705, *ids)))):
        assert [read[0x0705, each] for each in ids] == amounts
    settings_ = (0x0216, 0x0226, 0x0217, 0x0227, 0x0239)
    for read in attributes(gas_pair(write, lambda counter: gas.command("GCS21b", counter, (0x0705, *settings_)))):
        assert [read[0x0705, each] for each in settings_] == [0, 1, recovery, recovery, percentage]


@pytest.mark.parametrize(("name", "status"), [("GCS32", 0), ("GCS39", 1)])
def test_the_valve(name: str, status: int) -> None:
    """GCS32 and GCS39, GCS33: closed from open; closed, then armed."""
    body = {
        wanted: zcl_command("ChangeSupply", provider=0, issuer_event=0, request_time=0, implementation=0, status=wanted,
                            control=0)
        for wanted in (0, 1)
    }  # fmt: skip
    writes = [gas.command("GCS32", 1, body[0])]
    writes += [gas.command("GCS39", 2, body[1])] if name == "GCS39" else []
    for read in attributes(gas_pair(tuple(writes), lambda counter: gas.command("GCS33", counter, (0x0702, 0x0014)))):
        assert read[0x0702, 0x0014] == status


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 5_000), min_size=2, max_size=12), st.integers(60, 600))
def test_the_network_log(litres: list[int], interval: int) -> None:
    """GCS31, GCS18: litres by interval from the start on, as many as were asked for; after a restart too."""
    store = MemoryStore()
    meter = gas.meter(store=store)
    start = zcl_command("StartSampling", issuer_event=0, start=0, type=0, interval_s=interval,
                        max_samples=len(litres) - 1)  # fmt: skip
    head = GroupingHeader(Cra.COMMAND, 1, BROKER, gas.GSME, OtherInformation(0x0080))
    (begun,) = meter.receive(own.non_critical(head, gas_content(start)), NOW)
    assert [dict(body.fields) for body in gas.bodies(begun, "StartSamplingResponse")] == [{"sample_id": 2}]
    for number, used in enumerate(litres):
        meter.consume(used, NOW + number * interval + 1)
    ask = zcl_command("GetSampledData", sample_id=2, earliest=zigbee_from_unix(NOW), type=0, count=99)
    for counter, again in enumerate((meter, gas.meter(store=store)), 1):
        answer = again.receive(gas.command("GCS18", counter, ask), NOW + len(litres) * interval)[0]
        (data,) = gas.bodies(answer, "GetSampledDataResponse")
        assert [row["value"] for row in rows(data, "samples")] == litres[:-1]
        assert data["interval_s"] == interval


def gas_content(*bodies: ZclCommand) -> bytes:
    """A GBZ payload."""
    return parse_message(gas.command("GCS18", 1, *bodies)).content


# --- joins, firmware, credentials ------------------------------------------------------------------------------------


def told(code: int, response: bytes) -> Asn1Response:
    """The value of an ASN.1 Response."""
    return decode_asn1(code, int(Cra.RESPONSE), parse_message(response).content).value  # type: ignore[return-value]


def read_joins(device: object, counter: int, target: bytes) -> tuple[LogEntry, ...]:
    """CS07."""
    command = own.non_critical(own.header("CS07", counter, target=target), encode_asn1(Asn1(ReadJoinDetails())))
    value = told(0x0013, device.receive(command, NOW)[0])  # type: ignore[attr-defined]
    assert isinstance(value, JoinDetails)
    return value.log or ()


IDS = st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=6, unique=True)


@settings(max_examples=8, deadline=None)
@given(IDS, st.data())
def test_joins_of_the_electricity_meter(ids: list[bytes], data: st.DataObject) -> None:
    """CS03A1 and CS04AC, CS07: whoever joined and did not part, in order."""
    store, kinds = MemoryStore(), (DeviceType.HCALCS, DeviceType.PPMID, DeviceType.TYPE_2)
    meter = own.meter(store=store)
    expected: dict[bytes, int] = {}
    for counter, device in enumerate(ids, 1):
        expected[device] = int(data.draw(st.sampled_from(kinds)))
        content = encode_asn1(Asn1(Join(0, device, expected[device])))
        meter.receive(own.critical(own.header("CS03A1", counter), content), NOW)
    gone = data.draw(st.sampled_from(ids))
    meter.receive(own.critical(own.header("CS04AC", 50), encode_asn1(Asn1(Unjoin(gone)))), NOW)
    del expected[gone]
    for counter, again in enumerate((meter, own.meter(store=store)), 51):
        assert {entry.device_id: entry.type for entry in read_joins(again, counter, own.ESME)} == expected


@settings(max_examples=8, deadline=None)
@given(IDS)
def test_joins_of_the_gas_meter(ids: list[bytes]) -> None:
    """CS03B and CS04B, CS03C and CS04AC, CS07: the proxies, and a PPMID by its certificate."""
    store = MemoryStore()
    meter = gas.meter(store=store)
    for counter, device in enumerate(ids, 1):
        content = encode_asn1(Asn1(Join(2, device, int(DeviceType.GPF))))
        meter.receive(own.non_critical(own.header("CS03B", counter, target=gas.GSME), content), NOW)
    ppmid = bytes.fromhex("00005eef100000c4")
    join = encode_asn1(Asn1(Join(3, ppmid, 5, own.certificate(ppmid, own.KA).der)))
    meter.receive(own.critical(own.header("CS03C", 20, target=gas.GSME), join), NOW)
    assert ppmid in gas.meter(store=store).partners
    assert {entry.device_id for entry in read_joins(meter, 21, gas.GSME)} == {*ids, ppmid}
    head = own.header("CS04B", 22, target=gas.GSME)
    meter.receive(own.non_critical(head, encode_asn1(Asn1(Unjoin(ids[0])))), NOW)
    part = own.critical(own.header("CS04AC", 23, target=gas.GSME), encode_asn1(Asn1(Unjoin(ppmid))))
    meter.receive(part, NOW)
    again = gas.meter(store=store)
    assert {entry.device_id for entry in read_joins(again, 24, gas.GSME)} == set(ids[1:])
    assert ppmid not in again.partners


@settings(max_examples=8, deadline=None)
@given(st.dictionaries(st.binary(min_size=8, max_size=8), st.sampled_from([5, 6]), min_size=1, max_size=8))
def test_the_proxy_s_device_log(log: dict[bytes, int]) -> None:
    """GCS59, CS07: restored as it was, with a GCS62 to the broker; after a restart too."""
    store = MemoryStore()
    entries = tuple(LogEntry(device, kind) for device, kind in log.items())
    head = own.header("GCS59", 1, originator=BROKER, target=GPF)
    answers = proxy(store).receive(own.non_critical(head, encode_asn1(Asn1(RestoreDeviceLog(entries)))), NOW)
    assert [parse_message(answer).header.message_code for answer in answers] == [0x008C, 0x00B2]
    assert set(read_joins(proxy(store), 1, GPF)) == set(entries)


@settings(max_examples=8, deadline=None)
@given(st.binary(min_size=4, max_size=4), st.binary(min_size=32, max_size=32))
def test_firmware_versions(version: bytes, image: bytes) -> None:
    """CS06, ECS52 and GCS38: the version of the image that was activated."""
    content = encode_asn1(Asn1(ActivateFirmware(image, 1)))
    store = MemoryStore()
    meter = own.meter(store=store)
    meter.state = replace(meter.state, images=(Image(image, version),))
    meter.receive(own.critical(own.header("CS06", 1), content), NOW)
    (answer,) = own.meter(store=store).receive(own.read_command("ECS52", 2), NOW)
    assert own.results_of(answer)[0].data == OctetString(version)
    asked = (0x0702, 0x0206)
    command = own.critical(own.header("CS06", 1, target=gas.GSME), content)
    store = MemoryStore()
    gas_meter = gas.meter(GasState(images=(Image(image, version),)), store=store)
    gas_meter.receive(command, NOW)
    answer = gas.meter(store=store).receive(gas.command("GCS38", 2, asked), NOW)[0]
    assert gas.values(answer)[asked] == version


def test_credentials() -> None:
    """CS02b, CS02a: the details name the new keys, after a restart too."""
    store = MemoryStore()
    new = {use: credentials.certificate(use) for use in (own.DS, own.KA, own.PP)}
    meter = credentials.meter(store)
    meter.receive(credentials.update(9, new), NOW)
    authorising = CellId(3, KEY_USAGE_DIGITAL_SIGNATURE)
    query = encode_asn1(Asn1(CredentialsQuery(authorising, (2,))))
    head = own.header("CS02a", 1, originator=own.NETWORK_OPERATOR)
    signed = sign_pre_command(pre_command(head, query), own.private_key(own.NETWORK_OPERATOR, own.DS))
    details = told(0x0008, credentials.meter(store).receive(signed, NOW)[0])
    assert isinstance(details, CredentialsDetails)
    held = {cell.subject_key_id for cell in details.roles[0].cells or ()}
    assert held == {certificate.subject_key_id for certificate in new.values()}


# --- the electricity meter's balance and switch ----------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(-(2**30), 2**30), st.integers(-(2**29), 2**29))
def test_the_electricity_balance(reset: int, adjustment: int) -> None:
    """ECS04b, ECS04a, ECS82."""
    store = MemoryStore()
    meter = own.meter(store=store)
    obis = Obis.parse("0-0:19.10.0")
    for counter, (name, method, value) in enumerate((("ECS04b", 2, reset), ("ECS04a", 3, adjustment)), 1):
        items = [item for item in items_of(name) or () if item[1].obis == obis]
        actions: list[tuple[Spec, Data]] = [
            (Action(each.class_id, each.obis, each.number), DoubleLong(value)) for _letter, each in items
        ]
        assert actions, (name, method)
        (answer,) = meter.receive(own.command(name, counter, *actions), NOW)
        assert {result.result for result in own.results_of(answer)} == {0}
    for counter, again in enumerate((meter, own.meter(store=store)), 3):
        (answer,) = again.receive(own.read_balance(counter), NOW)
        assert own.results_of(answer)[0].data == DoubleLong(reset + adjustment)


@pytest.mark.parametrize(("name", "reader"), [("ECS29a", "ECS26b"), ("ECS29b", "ECS26k")])
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_voltage_configurations(name: str, reader: str, data: st.DataObject) -> None:
    """ECS29a and ECS26b, ECS29b and ECS26k: the thresholds and periods set besides the counters that are reset."""
    items: list[tuple[Spec, Data]] = []
    wanted = {}
    for letter, each in items_of(name) or ():
        if letter == "S":
            wanted[each] = data.draw(values_of(OBJECTS[each].shape))
            items.append((Set(each.class_id, each.obis, each.number), wanted[each]))
        else:
            items.append((Action(each.class_id, each.obis, each.number), Integer(0)))
    store = MemoryStore()
    meter = own.meter(store=store)
    (answer,) = meter.receive(own.command(name, 1, *items), NOW)
    assert {result.result for result in own.results_of(answer)} == {0}
    for counter, again in enumerate((meter, own.meter(store=store)), 2):
        (answer,) = again.receive(own.read_command(reader, counter), NOW)
        asked = [each for letter, each in items_of(reader) or () if letter == "G"]
        read = dict(zip(asked, (result.data for result in own.results_of(answer)), strict=True))
        compared = set(read) & set(wanted)
        assert compared
        assert {each: read[each] for each in compared} == {each: wanted[each] for each in compared}


@pytest.mark.parametrize(("name", "script", "shown"), [("ECS42", 51, 1), ("ECS43", 52, 0), ("ECS44", 54, 2)])
def test_the_load_switch(name: str, script: int, shown: int) -> None:
    """ECS42 to ECS44, ECS45."""
    store = MemoryStore()
    meter = own.meter(supply=Supply.OFF_BY_COMMAND, store=store)
    meter.receive(own.critical(own.header(name, 1), own.supply_script(1, script)), NOW)
    for counter, again in enumerate((meter, own.meter(store=store)), 2):
        (answer,) = again.receive(own.read_command("ECS45", counter), NOW)
        assert own.results_of(answer)[0].data.value == shown  # type: ignore[union-attr]


# --- auxiliary loads and the event log -------------------------------------------------------------------------------


def _at(place: str, value: Data) -> tuple[Spec, Data]:
    return Set(1, Obis.parse(place), 2), value


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 5), st.integers(1, 600), st.booleans())
def test_switched_loads(load: int, minutes: int, on: bool) -> None:
    """ECS47, ECS61a: the one load that was switched on is on, until it was switched off."""
    store = MemoryStore()
    meter = own.meter(store=store)
    for counter, (last, action) in enumerate(((1, 0x11), (2, 0x12))[: 1 if on else 2], 1):
        run = (Action(9, Obis.parse("0-0:10.0.103"), 1), LongUnsigned(load * 256 + action))
        meter.receive(
            own.command("ECS47", counter, _at(f"0-0:94.44.{116 + load}.{last}", LongUnsigned(minutes)), run), NOW
        )
    for counter, again in enumerate((meter, own.meter(store=store)), 3):
        (answer,) = again.receive(own.read_command("ECS61a", counter), NOW)
        shown = [result.data.value for result in own.results_of(answer)[12:]]  # type: ignore[union-attr]
        assert shown == [on and number == load for number in range(1, 6)]


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 5), st.integers(0, 100))
def test_levels_of_controllers(load: int, percent: int) -> None:
    """ECS47a, ECS61e: the controller's output is at the level set, the others are where they were."""
    store = MemoryStore()
    meter = own.meter(store=store)
    place = f"0-0:94.44.{116 + load}"
    times = [OctetString(date_time_from_unix(at)) for at in (NOW - 10, NOW + 3_600)]
    run = (Action(9, Obis.parse("0-0:10.0.103"), 1), LongUnsigned(0x1000 + load * 256 + percent))
    meter.receive(own.command("ECS47a", 1, _at(f"{place}.1", times[0]), _at(f"{place}.2", times[1]), run), NOW)
    for counter, again in enumerate((meter, own.meter(store=store)), 2):
        (answer,) = again.receive(own.read_command("ECS61e", counter), NOW)
        states = [json.loads(result.data.value) for result in own.results_of(answer)[5:]]  # type: ignore[union-attr, arg-type]
        assert [state["outputState"] for state in states] == [percent if n == load else 0 for n in range(1, 6)]


def test_an_event_log_that_was_cleared() -> None:
    """ECS15a: what was in the log is not any more, after a restart too."""
    store = MemoryStore()
    meter = own.meter(store=store)
    meter.state = meter.state.with_line("events", (NOW - 60, 0x810E, b""))
    assert meter.state.lines("events")
    meter.receive(own.command("ECS15a", 1, (Action(7, Obis.parse("0-0:99.98.0"), 1), Integer(0))), NOW)
    for again in (meter, own.meter(store=store)):
        assert not [line for line in again.state.lines("events") if line[1] == 0x810E]


# --- the hub ---------------------------------------------------------------------------------------------------------


def hub_command(name: str, counter: int, spec: Spec, value: Data) -> bytes:
    """A Command of the broker's to the CHF."""
    content = encode_access_request(AccessRequest(counter & 0xFFFFFF, ((spec, value),)))
    return own.non_critical(own.header(name, counter, originator=BROKER, target=CHF), content)


def hub_reads(store: MemoryStore, name: str, counter: int, spec: Spec) -> Data:
    """What the hub answers after a restart."""
    answer = chf(store).receive(hub_command(name, counter, spec, NullData()), NOW)[0]
    return decode_access_response(parse_message(answer).content).results[0].data


@settings(max_examples=10, deadline=None)
@given(st.lists(st.binary(min_size=4, max_size=4), min_size=4, max_size=4), st.lists(U8, min_size=11, max_size=11))
def test_sub_ghz_settings(masks: list[bytes], numbers: list[int]) -> None:
    """DBCH04, DBCH03; DBCH05, DBCH01: the first channel the first mask allows, where it allows one."""
    store = MemoryStore()
    new = decode_data(NEW_CONFIGURATION)[0]
    assert isinstance(new, Structure)
    plain = tuple(type(old)(number) for old, number in zip(new.elements[4:], numbers, strict=True))  # type: ignore[call-arg, arg-type]
    value = Structure((*(BitString(32, mask) for mask in masks), *plain))
    base = "0-0:94.44.10."
    configuration, scan, channel = (Obis.parse(f"{base}{place}") for place in (0, 1, 2))
    hub = chf(store)
    answers = hub.receive(hub_command("DBCH04", 1, Set(1, configuration, 2), value), NOW)
    assert [parse_message(answer).header.message_code for answer in answers] == [0x010D, 0x0113]
    assert hub_reads(store, "DBCH03", 2, Get(1, configuration, 2)) == value
    chf(store).receive(hub_command("DBCH05", 3, Set(1, scan, 2), Unsigned(0)), NOW)
    found = hub_reads(store, "DBCH01", 4, Get(1, channel, 2))
    assert isinstance(found, BitString)
    bits = int.from_bytes(masks[0], "big") & 0x07FFFFFF
    chosen = int.from_bytes(found.value, "big") & 0x07FFFFFF
    assert chosen == (bits & -bits if bits else 1)


@settings(max_examples=8, deadline=None)
@given(IDS)
def test_the_hub_s_device_log(ids: list[bytes]) -> None:
    """CCS01, CCS02, CCS03, CCS05 and CCS07: listed, one removed, the rest read; then restored as a whole."""
    store = MemoryStore()
    hub = chf(store, log=())
    log = Obis.parse("0-0:30.3.0")
    for counter, device in enumerate(ids, 1):
        entry = Structure((OctetString(device), LongUnsigned(0), OctetString(b"install code"), LongUnsigned(0)))
        hub.receive(hub_command("CCS01", counter, Action(104, log, 1), entry), NOW)
    hub.receive(hub_command("CCS02", 20, Action(104, log, 2), OctetString(ids[0])), NOW)
    active = hub_reads(store, "CCS05/CCS04", 21, Get(104, log, 4))
    assert isinstance(active, Array)
    assert [row.elements[0] for row in active.elements if isinstance(row, Structure)] == [
        OctetString(device) for device in ids[1:]
    ]
    backup = Array(tuple(Structure((OctetString(device), OctetString(b"h" * 16))) for device in ids))
    restored = Structure((OctetString(b"\x01" * 8), backup))
    chf(store).receive(hub_command("CCS03", 22, Action(104, log, 5), restored), NOW)
    read = hub_reads(store, "CCS07", 23, Action(104, log, 4))
    assert isinstance(read, Structure)
    assert read.elements[1:] == (OctetString(b"\x01" * 8), backup)
