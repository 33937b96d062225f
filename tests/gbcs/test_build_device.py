"""Responses and Alerts from values, against the published ones."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from lastmetre.gbcs import build, decode
from lastmetre.gbcs.asn1 import Asn1, DeviceLogAlert, JoinResponse, LogEntry
from lastmetre.gbcs.axdr import DoubleLong, Structure, encode_data
from lastmetre.gbcs.build import alerts, hub
from lastmetre.gbcs.build.frame import Found
from lastmetre.gbcs.build.times import moment_of
from lastmetre.gbcs.catalogue import Role, UseCaseKind, catalogue
from lastmetre.gbcs.datetimes import CosemDateTime, unix_from_zigbee
from lastmetre.gbcs.dlms import AccessResponse, DataNotification, Obis, protected_octets
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import Component, EncryptedZcl, Gbz, GbzAlert
from lastmetre.gbcs.message import Cra, parse_message
from lastmetre.gbcs.opening import key_for_parts, open_parts
from lastmetre.gbcs.protect import decrypt_attribute
from lastmetre.gbcs.zcl import FRAME_NO_DEFAULT_RESPONSE, DefaultResponse
from lastmetre.links.keystore import Keyring
from tests.shared_data import RTDS_CERTIFICATES, RTDS_KEYS, needs_rtds, rtds_messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.gbcs.decoded import DecodedMessage

SUPPLIER, METER = (bytes.fromhex(f"00005eef100000{end}") for end in ("10", "a0"))
AT = 1_700_000_000


def _pairs() -> dict[str, tuple[DecodedMessage, DecodedMessage]]:
    """Each published Response with the Command it answers: by parties, counter and code."""
    messages = [(name, decode(octets)) for name, octets in rtds_messages().items()]
    commands = {}
    for _, message in messages:
        header = message.header
        if header.cra is Cra.COMMAND and message.signature is not None:
            key = (header.business_target_id, header.originator_counter, header.message_code)
            commands[key] = message
    pairs = {}
    for name, message in messages:
        header = message.header
        key = (header.business_originator_id, header.originator_counter, header.message_code)
        if header.cra is Cra.RESPONSE and key in commands:
            pairs[name] = (commands[key], message)
    return pairs


def _has_encrypted_parts(message: DecodedMessage) -> bool:
    payload = message.payload
    if isinstance(payload, Gbz):
        return any(isinstance(component.body, EncryptedZcl) for component in payload.components)
    if isinstance(payload, AccessResponse):
        structures = (each.data for each in payload.results if isinstance(each.data, Structure))
        return any(protected_octets(data.elements) is not None for data in structures)
    return False


def _answers(command: DecodedMessage, response: DecodedMessage) -> Any:
    payload = response.payload
    if isinstance(payload, AccessResponse):
        return [build.Result(each.data, each.result) for each in payload.results]
    if isinstance(payload, Gbz):
        asked: Any = command.payload
        places = {component.sequence: at for at, component in enumerate(asked.components)}
        return [
            build.ZclAnswer(
                places[component.sequence],
                component.body,  # type: ignore[arg-type]
                no_default_response=bool(component.frame_control & FRAME_NO_DEFAULT_RESPONSE),
            )
            for component in payload.components
        ]
    assert isinstance(payload, Asn1)
    return payload.value


def _rebuilt(command: DecodedMessage, published: DecodedMessage, answers: Any, **more: Any) -> build.BuiltResponse:
    """The Response again, dated and signed as the published one."""
    header = published.header
    dated: dict[str, Any] = {}
    if header.date_time:
        clock = CosemDateTime.from_bytes(header.date_time)
        dated = {"answered_at": clock.unix_seconds(), "clock_status": clock.clock_status}
    return build.response(
        command,
        answers,
        **dated,
        **more,
        supplementary_originator_counter=header.other_information.supplementary_originator_counter,
        originator_role=Role.SUPPLIER if published.signature else Role.ACCESS_CONTROL_BROKER,
    )


ODD_DIRECTION = "6.2.10_GCS20r/GCS20r_6.2.10_ERROR_RESPONSE_GBCS"
"""The one published Response whose direction bit is not the opposite of its Command's."""


@needs_rtds
def test_published_responses_are_rebuilt_from_their_commands() -> None:
    """Header, payload and signature follow from the Command and the answers, for every Response in clear."""
    checked = 0
    for name, (command, published) in _pairs().items():
        if _has_encrypted_parts(published) or name == ODD_DIRECTION:
            continue
        built = _rebuilt(command, published, _answers(command, published))
        payload = published.payload
        assert built.header == published.header, name
        assert built.payload == (Asn1(payload.value) if isinstance(payload, Asn1) else payload), name
        assert built.signed is bool(published.signature), name
        checked += 1
    assert checked > 400


@needs_rtds
def test_published_encrypted_answers_are_rebuilt_octet_for_octet() -> None:
    """Opened with the published keys and encrypted again from their values, answers have the same octets."""
    keyring = Keyring.open(certificates=RTDS_CERTIFICATES, keys=RTDS_KEYS)
    checked = 0
    for name, (command, published) in _pairs().items():
        opened = {part.number: part.content for part in open_parts(published, keyring)}
        key = key_for_parts(published.header, keyring)
        if not opened or name == "4.14_ECS21b/ECS21b_4.14_URP_SUCCESS_RESPONSE_GBCS":
            continue
        assert key is not None
        answers = _answers(command, published)
        for number, content in opened.items():
            old = answers[number - 1]
            changes = {"body": content.body} if isinstance(content, Component) else {"data": content}
            answers[number - 1] = replace(old, encrypted=True, **changes)
        built = _rebuilt(command, published, answers, encryption_key=key)
        assert built.content == published.to_message().content, name
        checked += len(opened)
    assert checked > 40


def _told(message: DecodedMessage) -> tuple[Any, dict[str, Any]]:
    """The record of a published Alert, and its code and time."""
    payload, code = message.payload, message.header.message_code
    if isinstance(payload, Asn1):
        return payload.value, {}
    if isinstance(payload, GbzAlert):
        around = {"alert_code": payload.alert_code, "at": unix_from_zigbee(payload.time), "zigbee": True}
        specific: Any = payload.specific
        makes: dict[int, Callable[[], Any]] = {
            0x00CD: lambda: alerts.FutureDatedComponent(*(getattr(specific, each.name) for each in fields(specific))),
            0x00CF: lambda: alerts.FirmwareReceived(specific.digest),
            0x00F2: lambda: alerts.IntegrityIssue(specific.value),
            0x008B: lambda: alerts.GasBillingLog(specific),
        }
        return makes.get(code, alerts.Generic)(), around
    assert isinstance(payload, DataNotification)
    around = {"alert_code": payload.alert_code, "at": moment_of(payload.date_time)}
    return _told_by_dlms(code, [getattr(each, "value", each) for each in payload.extra]), around


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _told_by_dlms(code: int, extra: list[Any]) -> Any:
    first: Any = extra[0] if extra else b""
    makes: dict[int, Callable[[], Any]] = {
        0x00CC: lambda: alerts.FutureDatedAttribute(
            _number(first[:2]), _number(first[2:10]), _number(first[10:12]), Obis(first[12:18]), first[18]
        ),
        0x00CE: lambda: alerts.FirmwareReceived(first),
        0x00F0: lambda: alerts.IntegrityIssue(_number(first)),
        0x0114: lambda: alerts.MessageDropped(first[:8], first[8:16], Cra(first[16]), _number(first[17:])),
        0x0018: lambda: _device_log(*first.elements),
        0x0067: lambda: alerts.SupplyRestored(moment_of(first), moment_of(extra[1])),
        0x0110: lambda: alerts.SubGhzDevice(first),
        0x0115: lambda: alerts.SubGhzDevice(first),
        0x0111: lambda: alerts.SubGhzChannelChanged(first.elements[0], _number(first.elements[1].value)),
        0x0112: lambda: alerts.SubGhzScanAssessed(*(_number(each.value) for each in first.elements)),
        0x0113: lambda: alerts.SubGhzConfigured(_settings(first)),
        0x0120: lambda: alerts.CommandNotSupported(_number(first[:2]), _number(first[2:])),
        0x0121: lambda: alerts.ControllerLimited(first, moment_of(extra[1]), moment_of(extra[2]), extra[3]),
        0x0122: lambda: alerts.ControllerLimitEnded(first, extra[1]),
        0x0123: lambda: alerts.OperationalUpdate(first),
        0x0061: lambda: _billing_log(first, extra[1]),
    }
    return makes.get(code, alerts.Generic)()


def _device_log(at: Any, network: Any, devices: Any) -> alerts.DeviceLogChanged:
    logged = tuple(alerts.LoggedDevice(*(each.value for each in row.elements)) for row in devices.elements)
    return alerts.DeviceLogChanged(moment_of(at.value), network.value, logged)


def _settings(data: Any) -> hub.ConfigureSubGhz:
    found = Found(0x010D)
    hub.ConfigureSubGhz.LAYOUT[0].shape.read(data, found)
    return hub.ConfigureSubGhz(**found.values)


def _billing_log(parameters: Any, ciphertext: bytes) -> alerts.BillingLog:
    transaction, device, recipient, _, _ = parameters.elements[0].elements[1].elements
    return alerts.BillingLog(device.value, recipient.value, _number(transaction.value[1:]), ciphertext)


@needs_rtds
def test_published_alerts_are_rebuilt() -> None:
    """Each published Alert, from its record, code and time."""
    codes = set()
    for name, octets in rtds_messages().items():
        published = decode(octets)
        header = published.header
        if header.cra is not Cra.ALERT:
            continue
        values, around = _told(published)
        built = build.alert(
            header.message_code,
            values,
            originator=header.business_originator_id,
            target=header.business_target_id,
            counter=header.originator_counter,
            supplementary=header.other_information,
            **around,
        )
        payload = published.payload
        assert built.header == header, name
        assert built.payload == (Asn1(payload.value) if isinstance(payload, Asn1) else payload), name
        assert built.signed is bool(published.signature), name
        codes.add(header.message_code)
    assert len(codes) > 25


def test_every_alert_of_the_catalogue_has_a_record() -> None:
    """All 29 codes of Alerts can be built."""
    can = {code for record in alerts.ALERTS for code in record.CODES}
    can |= {code for codes in alerts.ASN1_CODES.values() for code in codes}
    assert can == {row.message_code for row in catalogue().values() if row.kind is UseCaseKind.ALERT}


def _command(name: str, values: build.Command, **more: Any) -> build.BuiltCommand:
    return build.command(name, values, originator=SUPPLIER, target=METER, counter=1001, **more)


def test_an_answer_goes_back_the_way_it_came() -> None:
    """Parties change places, the counter stays; results have the kinds of their items."""
    asked = _command("ECS70", build.supply.SynchroniseClock(AT, AT + 60))
    answer = build.response(asked, [build.Result()] * 5)
    assert (answer.header.business_originator_id, answer.header.business_target_id) == (METER, SUPPLIER)
    assert answer.header.originator_counter == 1001
    assert isinstance(answer.payload, AccessResponse)
    assert [each.kind for each in answer.payload.results] == [2, 3, 3, 1, 1]
    assert answer.signed


def test_a_dated_answer_needs_its_time() -> None:
    """A Response has a date-time exactly where the use case wants one."""
    dated = _command("ECS17a", build.reads.ReadAttributes())
    results = [build.Result(DoubleLong(1))] * 4
    with pytest.raises(GbcsValueError, match="needs answered_at"):
        build.response(dated, results)
    assert len(build.response(dated, results, answered_at=AT).header.date_time) == 12
    plain = _command("ECS82", build.reads.ReadAttributes())
    with pytest.raises(GbcsValueError, match="has no date-time"):
        build.response(plain, results[:1], answered_at=AT)


def test_an_encrypted_answer_opens_with_its_key() -> None:
    """The protected data of a Response is what was put in; without a key it is not made."""
    asked = _command("ECS17b", build.reads.ReadProtected())
    results = [build.Result(Structure((DoubleLong(5),)), encrypted=True)]
    with pytest.raises(GbcsValueError, match="encryption_key"):
        build.response(asked, results, answered_at=AT)
    key = bytes(range(16))
    answer = build.response(asked, results, answered_at=AT, encryption_key=key)
    assert isinstance(answer.payload, AccessResponse)
    data = answer.payload.results[0].data
    assert isinstance(data, Structure)
    wire = protected_octets(data.elements)
    assert wire is not None
    assert decrypt_attribute(wire, key, METER) == encode_data(results[0].data)


def test_answers_must_fit_the_command() -> None:
    """Too few results, an answer to no component, or answers of another kind are refused."""
    asked = _command("ECS04b", build.prepayment.ResetMeterBalance())
    with pytest.raises(GbcsValueError, match="of 3 items has as many Results"):
        build.response(asked, [build.Result()])
    gas = _command("GCS40b", build.gas.ResetBalanceInPrepaymentMode(), issued_at=AT)
    with pytest.raises(GbcsValueError, match="no component 1"):
        build.response(gas, [build.ZclAnswer(1, DefaultResponse(5, 0))])
    with pytest.raises(GbcsValueError, match="answered by ZclAnswers"):
        build.response(gas, [build.Result()])
    join = _command("CS07", build.joining.ReadJoins())
    with pytest.raises(GbcsValueError, match="one value of"):
        build.response(join, [build.Result()])
    assert isinstance(build.response(join, JoinResponse(0)).payload, Asn1)


def test_alerts_say_what_they_need() -> None:
    """A wrong code, a missing time or a form that an Alert does not have is refused; ASN.1 Alerts need neither."""
    ends: dict[str, Any] = {"originator": METER, "target": SUPPLIER, "counter": 2000}
    issue = alerts.IntegrityIssue(4)
    with pytest.raises(GbcsValueError, match="does not hold what the Alert 00CC tells"):
        build.alert(0x00CC, issue, **ends, alert_code=0x81A0, at=AT)
    with pytest.raises(GbcsValueError, match="needs alert_code and at"):
        build.alert(0x00F0, issue, **ends)
    with pytest.raises(GbcsValueError, match="has no GBZ form"):
        build.alert(0x0110, alerts.SubGhzDevice(METER), **ends, alert_code=0x8F22, at=AT, zigbee=True)
    with pytest.raises(GbcsValueError, match="it must have 32"):
        alerts.FirmwareReceived(b"")
    log = DeviceLogAlert(0x8071, "20240101000000Z", (LogEntry(METER, 1),))
    assert build.alert(0x00B2, log, **ends).payload == Asn1(log)
    generic = build.alert(0x1001, alerts.Generic(), **ends, alert_code=0x810E, at=AT)
    assert parse_message(generic.message).header == generic.header
