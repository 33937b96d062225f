"""DLMS payloads: requests, responses, notifications."""

from __future__ import annotations

import pytest
from hypothesis import given

from lastmetre.gbcs.axdr import DoubleLongUnsigned, LongUnsigned, NullData, OctetString, Structure, Unsigned
from lastmetre.gbcs.dlms import (
    AccessRequest,
    AccessResponse,
    AccessResult,
    Action,
    DataNotification,
    Get,
    GetWithSelection,
    ItemResult,
    Obis,
    Set,
    decode_access_request,
    decode_access_response,
    decode_data_notification,
    encode_access_request,
    encode_access_response,
    encode_data_notification,
)
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from tests.gbcs.payload_strategies import access_requests, access_responses, data_notifications

ECS26C = bytes.fromhex("D9200003E90003 01000100005E2C000002 01000100005E2C000202 01000100005E2C000102 03 00 00 00")
"""The content of ECS26c_6.2.2_SUCCESS_COMMAND, printed in section 14."""


def test_the_worked_command_of_ecs26c_reads_as_three_gets() -> None:
    """Section 14's dissection, both ways."""
    objects = ("0-0:94.44.0.0", "0-0:94.44.0.2", "0-0:94.44.0.1")
    assert Obis.parse(objects[0]).raw == bytes.fromhex("00005e2c0000")
    request = AccessRequest(0x3E9, tuple((Get(1, Obis.parse(name), 2), NullData()) for name in objects))
    assert decode_access_request(ECS26C) == request
    assert encode_access_request(request) == ECS26C


def test_obis_codes_are_read_and_written() -> None:
    """Six numbers; the last is 255 when left out, and the written form is always whole."""
    disablement = Obis.parse("0-0:94.44.128.22")
    assert disablement.raw == bytes((0, 0, 94, 44, 128, 22))
    assert str(disablement) == "0-0:94.44.128.22"
    assert str(Obis.parse("0-1:19.0.0")) == "0-1:19.0.0.255"


@pytest.mark.parametrize("text", ["", "0-0:1.2", "0-0:256.0.0.0", "0-0:1.2.3.4.5.6", "0-0:1.2.3.x", " 0-0:1.2.3.4"])
def test_what_is_no_obis_code_is_refused(text: str) -> None:
    """Bad text and bad octets raise ``GbcsValueError``."""
    with pytest.raises(GbcsValueError):
        Obis.parse(text)
    with pytest.raises(GbcsValueError):
        Obis(b"\0" * 5)


def test_each_kind_of_item_has_its_choice() -> None:
    """Choices 01 to 04 of section 7.1, the value of each in the second list."""
    clock, account = Obis.parse("0-0:1.0.0"), Obis.parse("0-0:19.0.0")
    parameter = Structure((DoubleLongUnsigned(1), DoubleLongUnsigned(2)))
    request = AccessRequest(
        7,
        (
            (Get(8, clock, 2), NullData()),
            (Set(111, account, 13), OctetString(bytes(12))),
            (Action(70, clock, 1), Unsigned(0)),
            (GetWithSelection(7, clock, 2, 1, parameter), NullData()),
        ),
    )
    raw = encode_access_request(request)
    assert [raw[7], raw[17], raw[27], raw[37]] == [1, 2, 3, 4]
    assert decode_access_request(raw) == request


def test_a_response_pairs_values_with_results() -> None:
    """Section 7.2: values first, then a kind and a result for each."""
    raw = bytes.fromhex("DA 200003E9 00 00 02 12 0005 00 02 01 00 02 FA")
    response = AccessResponse(0x3E9, (ItemResult(1, LongUnsigned(5), 0), ItemResult(2, NullData(), 250)))
    assert decode_access_response(raw) == response
    assert encode_access_response(response) == raw
    assert AccessResult(response.results[1].result) is AccessResult.OTHER_REASON


def test_a_notification_begins_with_its_code_and_time() -> None:
    """Section 7.3."""
    when = bytes.fromhex("07df0101ff000000008000ff")
    raw = bytes.fromhex("0F 20000BB8 00 02 03 12 81A0 09 0C") + when + bytes.fromhex("09 02 0001")
    alert = DataNotification(3000, 0x81A0, when, (OctetString(b"\0\1"),))
    assert decode_data_notification(raw) == alert
    assert encode_data_notification(alert) == raw


@given(access_requests)
def test_any_request_survives(request_: AccessRequest) -> None:
    """Round trip of every kind of item with any value."""
    assert decode_access_request(encode_access_request(request_)) == request_


@given(access_responses)
def test_any_response_survives(response: AccessResponse) -> None:
    """Round trip of any results."""
    assert decode_access_response(encode_access_response(response)) == response


@given(data_notifications)
def test_any_notification_survives(alert: DataNotification) -> None:
    """Round trip with any further data."""
    assert decode_data_notification(encode_data_notification(alert)) == alert


REQUEST_LIES = {
    "empty": "",
    "another tag": "DA200003E9000000",
    "other flags in the invoke-id": "D9 00 0003E9 00 00 00",
    "a date-time": "D9 200003E9 0C 00 00",
    "more specifications than octets": "D9 200003E9 00 82FFFF 00",
    "unknown choice": "D9 200003E9 00 01 05 0001 00005E2C0000 02 01 00",
    "counts differ": "D9 200003E9 00 01 01 0001 00005E2C0000 02 02 00 00",
    "values missing": "D9 200003E9 00 01 01 0001 00005E2C0000 02 01",
    "octets follow": "D9 200003E9 00 00 00 00",
    "selector missing": "D9 200003E9 00 01 04 0001 00005E2C0000 02",
    "count of four thousand millions": "D9 200003E9 00 84FFFFFFFF 84FFFFFFFF",
}


@pytest.mark.parametrize("octets", REQUEST_LIES.values(), ids=REQUEST_LIES.keys())
def test_requests_that_lie_are_refused(octets: str) -> None:
    """Each rule of section 7.1 broken once."""
    with pytest.raises(GbcsDecodeError):
        decode_access_request(bytes.fromhex(octets))


RESPONSE_LIES = {
    "specifications repeated": "DA 200003E9 00 01 00 00",
    "results for no values": "DA 200003E9 00 00 00 01 01 00",
    "results missing": "DA 200003E9 00 00 01 00",
    "results cut short": "DA 200003E9 00 00 01 00 01 01",
    "unknown kind": "DA 200003E9 00 00 01 00 01 04 00",
    "kind zero": "DA 200003E9 00 00 01 00 01 00 00",
    "octets follow": "DA 200003E9 00 00 01 00 01 01 00 00",
    "values missing": "DA 200003E9 00 00 05 00",
    "cut short": "DA 200003E9 00",
}


@pytest.mark.parametrize("octets", RESPONSE_LIES.values(), ids=RESPONSE_LIES.keys())
def test_responses_that_lie_are_refused(octets: str) -> None:
    """Each rule of section 7.2 broken once."""
    with pytest.raises(GbcsDecodeError):
        decode_access_response(bytes.fromhex(octets))


NOTIFICATION_LIES = {
    "no structure": "0F 200003E9 00 00",
    "too few": "0F 200003E9 00 02 01 12 0001",
    "code of another type": "0F 200003E9 00 02 02 11 01 09 0C 07DF0101FF000000008000FF",
    "time of another type": "0F 200003E9 00 02 02 12 0001 09 01 00",
    "octets follow": "0F 200003E9 00 02 02 12 0001 09 0C 07DF0101FF000000008000FF 00",
}


@pytest.mark.parametrize("octets", NOTIFICATION_LIES.values(), ids=NOTIFICATION_LIES.keys())
def test_notifications_that_lie_are_refused(octets: str) -> None:
    """Each rule of section 7.3 broken once."""
    with pytest.raises(GbcsDecodeError):
        decode_data_notification(bytes.fromhex(octets))


def test_what_a_payload_cannot_say_is_refused() -> None:
    """Numbers beyond their fields raise ``GbcsValueError``."""
    clock = Obis.parse("0-0:1.0.0")
    with pytest.raises(GbcsValueError):
        encode_access_request(AccessRequest(1 << 24, ()))
    with pytest.raises(GbcsValueError):
        encode_access_request(AccessRequest(1, ((Get(1 << 16, clock, 2), NullData()),)))
    with pytest.raises(GbcsValueError):
        encode_access_request(AccessRequest(1, ((Set(1, clock, 128), NullData()),)))
    with pytest.raises(GbcsValueError):
        encode_access_request(AccessRequest(1, ((GetWithSelection(7, clock, 2, 256, NullData()), NullData()),)))
    with pytest.raises(GbcsValueError):
        encode_access_response(AccessResponse(1, (ItemResult(4, NullData(), 0),)))
    with pytest.raises(GbcsValueError):
        encode_data_notification(DataNotification(1, 1, b"\0"))
