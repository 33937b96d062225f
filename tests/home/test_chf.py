"""The CHF: its Device Logs, changed only by Commands that are authentic for it, and the Alert each change raises."""

from __future__ import annotations

import pytest

from lastmetre.gbcs.axdr import Array, Boolean, Enum, LongUnsigned, NullData, OctetString, Structure
from lastmetre.gbcs.catalogue import Role
from lastmetre.gbcs.dlms import (
    AccessRequest,
    Action,
    DataNotification,
    Get,
    ItemResult,
    Obis,
    Set,
    decode_access_response,
    decode_data_notification,
    encode_access_request,
)
from lastmetre.gbcs.message import Cra, parse_message
from lastmetre.gbcs.protect import verify_mac
from lastmetre.home.chf import (
    DEVICE_LOG_MAX,
    HHT_LIFE_S,
    HISTORIC_LOG_MAX,
    Chf,
    ChfState,
    Listed,
    decode_state,
    encode_state,
    link_key_hash,
)
from lastmetre.home.hub_policy import DeviceType
from lastmetre.home.identity import DeviceIdentity
from lastmetre.home.ports import MemoryStore
from tests import own_world as own
from tests.own_world import BROKER, CHF, DS, ESME, KA, NOW, PPMID, SUPPLIER, Told

HHT = bytes.fromhex("00005eef100000a7")
LOG = "0-0:30.3.0"
ESME_ENTRY = Listed(ESME, DeviceType.ESME, bytes(16), NOW)


def chf(store: MemoryStore | None = None, *, log: tuple[Listed, ...] = (ESME_ENTRY,), told: Told | None = None) -> Chf:
    """A CHF that trusts the broker and has a meter in its log."""
    anchors = {(Role.ACCESS_CONTROL_BROKER, KA): own.certificate(BROKER, KA)}
    identity = DeviceIdentity(CHF, own.private_key(CHF, DS), own.private_key(CHF, KA), anchors)
    return Chf(identity, store or MemoryStore(), told or Told(), new=ChfState(log, extended_pan_id=CHF))


def command(name: str, counter: int, *items: tuple[object, object], originator: bytes = BROKER) -> bytes:
    """A Command of the broker's to the CHF."""
    content = encode_access_request(AccessRequest(counter & 0xFFFFFF, items))  # type: ignore[arg-type]
    return own.non_critical(own.header(name, counter, originator=originator, target=CHF), content)


def add(counter: int, device_id: bytes, *, seconds: int = 600) -> bytes:
    """CCS01."""
    register = Structure((OctetString(device_id), Enum(1), OctetString(b"install code 016"), Enum(0)))
    return command(
        "CCS01",
        counter,
        (Action(104, Obis.parse(LOG), 1), register),
        (Set(104, Obis.parse(LOG), 3), LongUnsigned(seconds)),
        (Set(104, Obis.parse(LOG), 2), Boolean(value=True)),
    )


def remove(counter: int, device_id: bytes) -> bytes:
    """CCS02."""
    return command("CCS02", counter, (Action(104, Obis.parse(LOG), 2), OctetString(device_id)))


def read_logs(one: Chf, counter: int) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Both logs, as CCS07 reads them: device and hash."""
    items = tuple((Action(104, Obis.parse(obis), 4), NullData()) for obis in (LOG, "0-0:30.3.1"))
    (response,) = one.receive(command("CCS07", counter, *items), NOW)
    out = []
    for result in results(response):
        assert isinstance(result.data, Structure)
        _at, pan_id, entries = result.data.elements
        assert pan_id == OctetString(CHF)
        assert isinstance(entries, Array)
        pairs = [entry.elements for entry in entries.elements if isinstance(entry, Structure)]
        out.append({device.value: key.value for device, key in pairs})  # type: ignore[union-attr]
    return out[0], out[1]  # type: ignore[return-value]


def results(response: bytes) -> tuple[ItemResult, ...]:
    """The item results of a Response."""
    return decode_access_response(parse_message(response).content).results


def test_adding_a_device_lists_it_and_raises_cs14() -> None:
    """CCS01: success for each item, the Alert carries the new log with an empty hash, and its MAC is for the broker."""
    one = chf()
    response, alert = one.receive(add(1, PPMID), NOW)
    assert [result.result for result in results(response)] == [0, 0, 0]
    message = parse_message(alert)
    verify_mac(message, own.secret(BROKER, CHF))
    assert (message.header.cra, message.header.message_code) == (Cra.ALERT, 0x0018)
    notification = decode_data_notification(message.content)
    assert isinstance(notification, DataNotification)
    assert notification.alert_code == 0x8F12
    assert read_logs(one, 2) == ({ESME: bytes(16), PPMID: b""}, {})


def test_adding_a_listed_device_is_a_success_that_changes_nothing() -> None:
    """The key of the Command is ignored, the log is as it was; CS14 is raised all the same."""
    one = chf()
    answers = one.receive(add(1, ESME), NOW)
    assert [parse_message(answer).header.message_code for answer in answers] == [0x0001, 0x0018]
    assert results(answers[0])[0].result == 0
    assert one.state.device_log == (ESME_ENTRY,)


def test_a_removed_device_is_remembered_with_its_key() -> None:
    """CCS02 moves the entry to the Historic Device Log and raises CS14; removing it again fails."""
    one = chf()
    assert len(one.receive(remove(1, ESME), NOW)) == 2
    assert read_logs(one, 2) == ({}, {ESME: bytes(16)})
    (again,) = one.receive(remove(3, ESME), NOW)
    assert results(again)[0].result == 250


def test_the_historic_log_forgets_the_oldest() -> None:
    """Fifteen entries; a sixteenth overwrites the first."""
    devices = [bytes(7) + bytes((number,)) for number in range(1, HISTORIC_LOG_MAX + 2)]
    one = chf(log=tuple(Listed(device, DeviceType.ESME, bytes(16)) for device in devices))
    assert len(devices) == DEVICE_LOG_MAX
    (full,) = one.receive(add(1, PPMID), NOW)
    assert results(full)[0].result == 250
    for number, device in enumerate(devices):
        one.receive(remove(2 + number, device), NOW)
    assert list(read_logs(one, 50)[1]) == devices[1:]


def test_a_restored_log_replaces_the_old_one() -> None:
    """CCS03: devices, hashes and network id are those of the Command."""
    one = chf()
    entries = Array((Structure((OctetString(PPMID), OctetString(b"k" * 16))),))
    structure = Structure((OctetString(CHF), entries))
    answers = one.receive(command("CCS03", 1, (Action(104, Obis.parse(LOG), 5), structure)), NOW)
    assert [results(answers[0])[0].result, len(answers)] == [0, 2]
    assert read_logs(one, 2) == ({PPMID: b"k" * 16}, {})


@pytest.mark.parametrize("name", ["CCS05/CCS04", "CCS06"])
def test_the_devices_can_be_read(name: str) -> None:
    """CCS05 and CCS06 read one row of fourteen fields for each device."""
    (response,) = chf().receive(command(name, 1, (Get(104, Obis.parse(LOG), 4), NullData())), NOW)
    (result,) = results(response)
    assert isinstance(result.data, Array)
    (row,) = result.data.elements
    assert isinstance(row, Structure)
    assert row.elements[0] == OctetString(ESME)
    assert len(row.elements) == 14


def test_only_the_broker_changes_the_log_and_only_once() -> None:
    """T: a forged MAC, another originator and a repeat change nothing and are answered by nothing."""
    told = Told()
    one = chf(told=told)
    genuine = add(5, PPMID)
    forged = genuine[:-1] + bytes((genuine[-1] ^ 1,))
    other = command("CCS02", 6, (Action(104, Obis.parse(LOG), 2), OctetString(ESME)), originator=SUPPLIER)
    assert [one.receive(message, NOW) for message in (forged, other, own.arm(9), b"")] == [[]] * 4
    assert one.state.device_log == (ESME_ENTRY,)
    assert one.receive(genuine, NOW)
    assert one.receive(genuine, NOW) == []
    assert one.receive(remove(5, PPMID), NOW) == []
    reasons = [values["reason_code"] for values in told.of("chf_command_refused")]
    assert reasons == ["MAC_REFUSED", "NO_AUTHORITY", "OTHER_TARGET", "MALFORMED", "COUNTER_USED", "COUNTER_USED"]


def test_malformed_items_fail_by_item() -> None:
    """Wrong types have their result codes; the log stays."""
    items = ((Action(104, Obis.parse(LOG), 1), OctetString(PPMID)), (Set(104, Obis.parse(LOG), 3), NullData()))
    (response,) = chf().receive(command("CCS01", 1, *items), NOW)
    assert [result.result for result in results(response)] == [12, 12]
    restore = (Action(104, Obis.parse(LOG), 5), Structure((OctetString(b"short"), Array(()))))
    (response,) = chf().receive(command("CCS03", 1, restore), NOW)
    assert [result.result for result in results(response)] == [250]


def test_what_is_not_of_the_use_case_is_refused_whole() -> None:
    """A read that removes a device is no read: nothing is done and nothing answered."""
    one = chf()
    before = one.state.device_log, one.state.counters
    remove_item = (Action(104, Obis.parse(LOG), 2), OctetString(own.ESME))
    assert one.receive(command("CCS06", 1, remove_item), NOW) == []
    assert (one.state.device_log, one.state.counters) == before
    assert one.state.security_lines[-1][1] == 0x8F1E


def test_a_device_joins_when_it_is_listed_and_joining_is_open() -> None:
    """A stranger never; a listed one within the time of its CCS01; later only with the key it had."""
    one = chf()
    assert not one.joined(PPMID, DeviceType.PPMID, b"key", NOW)
    one.receive(add(1, PPMID, seconds=600), NOW)
    assert one.joined(PPMID, DeviceType.PPMID, b"key", NOW + 599)
    assert one.joined(PPMID, DeviceType.PPMID, b"key", NOW + 10_000)
    assert not one.joined(PPMID, DeviceType.PPMID, b"other key", NOW + 600)
    assert read_logs(one, 2)[0][PPMID]


def test_log_and_counter_survive_a_restart() -> None:
    """The state comes back whole, and a Command executed before is refused after."""
    store = MemoryStore()
    one = chf(store)
    one.receive(add(1, PPMID), NOW)
    again = chf(store, log=())
    assert again.state == one.state
    assert decode_state(encode_state(one.state)) == one.state
    assert again.receive(add(1, HHT), NOW) == []


def test_one_hht_at_a_time_and_nothing_of_it_stays() -> None:
    """Listed with its Alert, a second refused, removed by CCS02 or at its end, and not in the Historic Device Log."""
    one = chf()
    alerts = one.list_hht(HHT, b"key", NOW)
    assert alerts is not None
    assert len(alerts) == 1
    assert one.list_hht(PPMID, b"key", NOW) is None
    one.receive(remove(1, HHT), NOW)
    assert one.state.historic_log == ()
    assert one.list_hht(HHT, b"key", NOW) is not None
    assert len(one.remove_hht(NOW)) == 1
    assert (one.state.hht, one.remove_hht(NOW)) == (None, [])


def test_the_hht_clock_neither_stretches_nor_restarts() -> None:
    """Power cuts, a calendar set back and one set forward: eighteen hours at most, by whichever clock ran further."""
    store = MemoryStore()
    one = chf(store)
    one.list_hht(HHT, b"key", NOW)
    assert one.hht_clock(NOW + 3_600, 3_600) == HHT_LIFE_S - 3_600
    again = chf(store)
    assert again.hht_clock(NOW + 7_200, 0) == HHT_LIFE_S - 7_200
    assert again.hht_clock(NOW - 86_400, 60) == HHT_LIFE_S - 7_260
    assert again.hht_clock(NOW - 86_400 + 3_600, 3_600) == HHT_LIFE_S - 10_860
    assert again.hht_clock(NOW + HHT_LIFE_S, 1) == 0


def test_a_device_of_the_historic_log_comes_back_with_its_old_key_first() -> None:
    """CCS01 again: in the first half of the time the old key alone, in the second half a new one, too."""
    for key, seconds, joins in ((b"old key", 10, True), (b"new key", 10, False), (b"new key", 310, True)):
        one = chf(log=(ESME_ENTRY, Listed(PPMID, DeviceType.PPMID, link_key_hash(PPMID, b"old key"), NOW)))
        one.receive(command("CCS02", 1, (Action(104, Obis.parse(LOG), 2), OctetString(PPMID))), NOW)
        one.receive(add(2, PPMID, seconds=600), NOW)
        assert one.joined(PPMID, DeviceType.PPMID, key, NOW + seconds) is joins
