"""Documents as values: every published one is read and written without loss, and nothing unsigned is believed."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from lastmetre.duis.documents import (
    DeviceAlert,
    FutureDatedAlert,
    GbcsPayload,
    LocalCommand,
    OtherMessage,
    OtherPayload,
    Payload,
    PreCommand,
    Request,
    RequestHeader,
    Response,
    ResponseHeader,
    ResponseMessage,
    ScheduledMessage,
    UnsignedNotice,
    VerifiedResponse,
    answer,
    build_request,
    build_response,
    build_signed_request,
    parse_date_time,
    parse_request,
    parse_response,
    read_signed_request,
    read_signed_response,
    signed_pre_command,
    write_date_time,
)
from lastmetre.duis.errors import DuisDecodeError, DuisValueError, SignatureReason, SignatureRefused
from lastmetre.duis.identifiers import RequestID
from lastmetre.duis.xml import Element
from tests.duis.support import (
    DSP,
    METER,
    SUPPLIER,
    assert_schema_valid,
    canonical,
    example,
    find_published,
    published_signer,
    templates,
)
from tests.shared_data import needs_duis

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = Request(RequestHeader(RequestID(SUPPLIER, METER, 1001), 4, "7.3", "7.3"), Element("ArmSupply"))
HEADER = ResponseHeader("I0", "2030-01-01T00:00:00Z", REQUEST.header.request_id, REQUEST.header.request_id.response_id)


@needs_duis
@pytest.mark.parametrize("path", templates(), ids=lambda path: path.stem)
def test_every_template_is_read_and_written_alike(path: Path) -> None:
    """Each published request reads, writes to an equal tree, and what we write is valid by the official schema."""
    document = path.read_bytes()
    request = parse_request(document)
    written = build_request(request)
    assert canonical(written) == canonical(document)
    assert parse_request(written) == request
    assert_schema_valid(written)


PAYLOADS: list[Payload | None] = [
    None,
    PreCommand("4.3", b"\xdf\x09\x01"),
    LocalCommand(b"\xdd\x00"),
    GbcsPayload(b"\xdf\x09\x02"),
    FutureDatedAlert(0x8F66, b"\xdf\x09\x03", 1, 2),
    ScheduledMessage(b"\xdf\x09\x02", 7),
    OtherPayload(Element("DSPScheduleID", "12")),
]


@needs_duis
@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_payload_kind_is_written_and_read(payload: Payload | None) -> None:
    """Each kind of response is valid by the official schema and reads back as the value it was."""
    response = Response(HEADER, ResponseMessage("7.3", "7.3", payload))
    document = build_response(response)
    assert_schema_valid(document)
    assert parse_response(document) == response


@needs_duis
def test_alerts_are_written_and_read() -> None:
    """Device Alerts are values; DCC Alerts and SMETS1 documents stay trees."""
    outage = Element(
        "PowerOutageEvent",
        children=(
            Element("CommsHubDeviceID", "00-DB-12-34-56-78-90-A2"),
            Element("StartDateTime", "2030-01-01T00:00:00Z"),
            Element("MPxN", "1234567890123"),
        ),
    )
    dcc_alert = Element(
        "DCCAlertMessage", children=(Element("DCCAlertCode", "AD1"), Element("DCCAlert", children=(outage,)))
    )
    for body in (DeviceAlert(0x8F01, b"\xdf\x09\x03"), DeviceAlert(0x8F01, b"\xdf", 4, 5), OtherMessage(dcc_alert)):
        response = Response(ResponseHeader("I0", "2030-01-01T00:00:00Z"), body)
        document = build_response(response)
        assert_schema_valid(document)
        assert parse_response(document) == response


@needs_duis
@pytest.mark.parametrize("name", ["readfw-response", "read-inventory-response-4g", "read-inventory-response-5.4"])
def test_published_responses_read(name: str) -> None:
    """The published responses read and write to an equal tree."""
    document = example(f"{name}.xml")
    assert canonical(build_response(parse_response(document))) == canonical(document)


def test_base64_may_be_broken_into_lines() -> None:
    """Line breaks inside base64 are taken out before it is decoded."""
    document = build_response(Response(HEADER, ResponseMessage("7.3", "7.3", GbcsPayload(bytes(60)))))
    text = b64encode(bytes(60))
    assert text in document
    broken = document.replace(text, text[:40] + b"&#13;\n " + text[40:])
    assert parse_response(broken).payload == GbcsPayload(bytes(60))
    with pytest.raises(DuisDecodeError, match="base64"):
        parse_response(document.replace(text, b"?" + text[1:]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<sr:CommandVariant>4</sr:CommandVariant>", ""),
        ("<sr:CommandVariant>4<", "<sr:CommandVariant>four<"),
        ("<sr:ServiceReference>7.3</sr:ServiceReference>", ""),
        ("</sr:Header>", "<sr:More/></sr:Header>"),
        ("<sr:ArmSupply></sr:ArmSupply>", ""),
        ("<sr:ArmSupply></sr:ArmSupply>", "<sr:ArmSupply/><sr:EnableSupply/>"),
        ("</sr:Body>", "</sr:Body><sr:Body><sr:EnableSupply/></sr:Body>"),
        ("<sr:Body>", "<sr:Extra/><sr:Body>"),
        ("schemaVersion", "version"),
        ("sr:Request", "sr:Response"),
        (":1001", ":x"),
    ],
)
def test_structure_is_checked_without_the_schema(old: str, new: str) -> None:
    """A request whose parts are missing, doubled, extra or out of order is refused by name."""
    document = build_request(REQUEST).decode()
    assert old in document
    with pytest.raises(DuisDecodeError):
        parse_request(document.replace(old, new).encode())


def test_dates() -> None:
    """Times are read with or without fraction and zone, and written as UTC; nonsense is refused."""
    at = 1_894_698_000
    assert write_date_time(at) == "2030-01-15T09:00:00Z"
    for text in ("2030-01-15T09:00:00Z", "2030-01-15T09:00:00.00Z", "2030-01-15T10:00:00+01:00", "2030-01-15T09:00:00"):
        assert parse_date_time(text, "x") == at
    assert write_date_time(parse_date_time("2030-01-15T24:00:00+01:00", "x")) == "2030-01-15T23:00:00Z"
    for text in ("2030-02-30T00:00:00Z", "2030-01-15", "tomorrow", "2030-01-15T25:00:00Z"):
        with pytest.raises(DuisDecodeError):
            parse_date_time(text, "x")


def test_signed_pre_command_keeps_the_identity_of_its_request() -> None:
    """The Signed Pre-Command carries the Transform request's RequestID and service, and only Command Variant 5 to 7."""
    signed = signed_pre_command(REQUEST, b"\xdf\x09\x01", 6)
    assert signed.header.request_id == REQUEST.header.request_id
    assert signed.misfit is None
    assert parse_request(build_request(signed)).signed_pre_command == b"\xdf\x09\x01"
    with pytest.raises(DuisValueError):
        signed_pre_command(REQUEST, b"", 2)


@needs_duis
def test_return_local_command_response_template() -> None:
    """The published SRV 8.13 gives the device's Response and the request it belongs to."""
    path = next(path for path in templates() if path.name.startswith("8.13"))
    returned = parse_request(path.read_bytes()).returned_response
    assert returned is not None
    assert returned.device_gbcs_response.startswith(b"\xdf\x09\x02")
    assert returned.original_request_id == RequestID(SUPPLIER, METER, 1000)


# --- the one door


@needs_duis
def test_signed_request_comes_through_the_door() -> None:
    """A request that its originator signed is returned with the signer; ours validates by the official schema."""
    document = build_signed_request(REQUEST, published_signer("xml-sign-90B3D51F30010000-ds"))
    assert_schema_valid(document)
    verified = read_signed_request(document, find_published)
    assert verified.request == REQUEST
    assert verified.signer.entity_id == SUPPLIER


@needs_duis
@pytest.mark.parametrize(
    ("signer", "reason"),
    [
        ("xml-sign-90B3D51F30020000-ds", SignatureReason.WRONG_SIGNER),
        ("dsp-xml-sign-90B3D51F30000002-ds", SignatureReason.WRONG_SIGNER),
        ("Z1-recovery-ds", SignatureReason.WRONG_SIGNER),
    ],
)
def test_request_of_another_signer_is_refused(signer: str, reason: SignatureReason) -> None:
    """A good signature of a known party is not enough: it must be the originator's."""
    document = build_signed_request(REQUEST, published_signer(signer))
    with pytest.raises(SignatureRefused) as refused:
        read_signed_request(document, find_published)
    assert refused.value.reason is reason
    assert signer[-10:] not in str(refused.value)


@needs_duis
def test_certificate_role_and_period_are_checked() -> None:
    """The right party with a certificate of the wrong role, or out of its period, is refused."""
    document = build_signed_request(REQUEST, published_signer("xml-sign-90B3D51F30010000-ds"))
    with pytest.raises(SignatureRefused) as refused:
        read_signed_request(document, find_published, roles=frozenset({3}))
    assert refused.value.reason is SignatureReason.WRONG_ROLE
    with pytest.raises(SignatureRefused) as refused:
        read_signed_request(document, find_published, at=0)
    assert refused.value.reason is SignatureReason.NOT_VALID_NOW
    assert read_signed_request(document, find_published, at=1_900_000_000).request == REQUEST


@needs_duis
def test_signed_response_must_be_the_dsps() -> None:
    """The genuine sample comes through the door for this DSP and for no other party."""
    document = example("readfw-response.xml")
    assert isinstance(read_signed_response(document, find_published, DSP), VerifiedResponse)
    with pytest.raises(SignatureRefused) as refused:
        read_signed_response(document, find_published, SUPPLIER)
    assert refused.value.reason is SignatureReason.WRONG_SIGNER


@needs_duis
def test_a_stripped_response_is_refused_but_an_unsigned_error_is_noticed() -> None:
    """Without a signature only an acknowledgement or error without payload is read, and it is marked untrusted."""
    with pytest.raises(SignatureRefused):
        read_signed_response(example("readfw-response-no-signature.xml"), find_published, DSP)
    notice = read_signed_response(example("acknowledgement-error.xml"), find_published, DSP)
    assert isinstance(notice, UnsignedNotice)
    assert notice.response.header.response_code == "E65"
    alert = build_response(Response(HEADER, DeviceAlert(0x8F01, b"\xdf")))
    with pytest.raises(SignatureRefused):
        read_signed_response(alert, find_published, DSP)


def test_answers_fit_their_request() -> None:
    """An answer repeats the request's identity; only a device's answer has a ResponseID."""
    response = answer(REQUEST, "I99", 0)
    assert response.header.request_id == REQUEST.header.request_id
    assert (response.header.response_id, response.payload, response.header.at) == (None, None, 0)
    device = answer(REQUEST, "I0", 0, GbcsPayload(b"\xdf"), from_device=True)
    assert device.header.response_id == REQUEST.header.request_id.response_id
    assert [answer(REQUEST, code, 0).header.good for code in ("I0", "W110101", "E12")] == [True, True, False]
