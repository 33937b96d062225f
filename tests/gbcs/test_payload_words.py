"""Payloads as lines for reading."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest
from hypothesis import given, settings

from lastmetre.gbcs import asn1, zcl_words
from lastmetre.gbcs.axdr import (
    Data,
    DoubleLong,
    Enum,
    Integer,
    LongUnsigned,
    NullData,
    OctetString,
    Structure,
    VisibleString,
)
from lastmetre.gbcs.dlms import AccessRequest, AccessResponse, Action, DataNotification, Get, ItemResult, Obis, Set
from lastmetre.gbcs.gbz import Component, Gbz
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.payload import Payload, decode_payload, encode_payload
from lastmetre.gbcs.payload_words import Line, describe, describe_lines
from lastmetre.gbcs.words import amount_words, certificate_lines, data_words, zigbee_time
from lastmetre.gbcs.zcl import (
    LAYOUTS,
    AttributeRecord,
    DefaultResponse,
    ReadAttributes,
    ReadAttributesResponse,
    zcl_command,
)
from tests import own_world as own
from tests.gbcs.payload_strategies import coded_payloads
from tests.shared_data import needs_rtds, rtds_messages


def test_the_names_are_sound() -> None:
    """Each row has a class that is named, a name, a source, and no twin."""
    table = tomllib.loads(resources.files("lastmetre.gbcs").joinpath("cosem_objects.toml").read_text("utf-8"))
    classes = {row["class"] for row in table["classes"]}
    for kind, key in (("objects", "obis"), ("attributes", "attribute"), ("methods", "method")):
        rows = table[kind]
        assert all(row["class"] in classes and row["name"] and row["source"] for row in rows)
        assert len({(row["class"], row[key]) for row in rows}) == len(rows)
    assert all(str(Obis.parse(row["obis"])) in {row["obis"], f"{row['obis']}.255"} for row in table["objects"])
    known = {(row["class"], row["obis"]) for row in table["objects"]}
    assert all((row["class"], row["obis"]) in known and row["unit"] and row["attributes"] for row in table["units"])


def test_a_request_names_what_it_writes_and_does() -> None:
    """Objects by name with their numbers behind, values readable."""
    request = AccessRequest(
        1,
        (
            (Set(9000, Obis.parse("0-0:94.44.128.22"), 4), DoubleLong(-500)),
            (Set(111, Obis.parse("0-1:19.0.0"), 13), OctetString(bytes.fromhex("0000000000000000008000ff"))),
            (Action(115, Obis.parse("0-0:19.40.0"), 1), OctetString(b"1234")),
            (Set(99, Obis.parse("1-2:3.4.5.6"), 7), NullData()),
        ),
    )
    assert describe(request) == [
        ("1 write", "disablement threshold: value passive (9000/0-0:94.44.128.22#4)"),
        ("  value", "-500 (-£0.005)"),
        ("2 write", "payment mode and account, as set: activation time (111/0-1:19.0.0.255#13)"),
        ("  value", "now"),
        ("3 do", "token gateway: enter token (115/0-0:19.40.0.255#1)"),
        ("  value", "'1234'"),
        ("4 write", "class 99: attribute 7 (99/1-2:3.4.5.6#7)"),
    ]


def test_results_are_told_in_words() -> None:
    """Known results by name, others by number."""
    response = AccessResponse(1, (ItemResult(2, NullData(), 250), ItemResult(1, DoubleLong(1), 99)))
    assert describe(response) == [("1 write", "other reason (250)"), ("2 read", "result 99"), ("  value", "1")]


def test_a_future_dated_alert_names_its_item() -> None:
    """The 19 octets of section 10.1."""
    what = bytes.fromhex("001B 00000000000003E9 006F 0001130000FF 0D")
    alert = DataNotification(1, 0x8F66, bytes.fromhex("07ee010fff090000008000ff"), (OctetString(what),))
    assert describe(alert) == [
        ("alert code", "8F66"),
        ("time", "2030-01-15T09:00:00Z"),
        ("of Command", "001B, counter 1001"),
        ("item", "payment mode and account, as set: activation time (111/0-1:19.0.0.255#13)"),
    ]


def test_components_name_cluster_command_and_fields() -> None:
    """Times, bit maps, text and rows in words."""
    command = zcl_command(
        "PublishTopUpLog", index=0, count=1, entries=[{"code": b"12345678901234567890", "amount": -5, "time": 1}]
    )
    payload = Gbz(
        (Component(0x0705, 9, 2, command, from_date_time=0), Component(0x0705, 0, 3, DefaultResponse(4, 0x8B)))
    )
    assert describe(payload) == [
        ("1", "Prepayment PublishTopUpLog, from server, sequence 2"),
        ("  from", "now (0)"),
        ("  index", "0"),
        ("  count", "1"),
        (
            "  entries",
            (
                "code '12345678901234567890' (no UTRN: the check digit is wrong: one digit was mistyped or two were "
                "swapped), amount -5 (-£0.00005), time 2000-01-01T00:00:01Z"
            ),
        ),
        ("2", "Prepayment DefaultResponse, to server, sequence 3"),
        ("  outcome", "command 04: not found (8B)"),
    ]
    assert zigbee_time(0xFFFFFFFE) == "never (FFFFFFFE)"


def test_credentials_are_told_by_role_and_usage() -> None:
    """Enumerations in words, absent members said to be."""
    cell = asn1.CellId(2, asn1.KEY_USAGE_KEY_AGREEMENT, 1)
    lines = describe(asn1.Asn1(asn1.CredentialsQuery(cell, (3, 127, 99))))
    assert lines == [
        ("payload", "CredentialsQuery"),
        ("authorising", ""),
        ("  role", "supplier (2)"),
        ("  key usage", "key agreement"),
        ("  cell usage", "prepayment top up (1)"),
        ("wanted", "network operator (3)"),
        ("wanted", "other (127)"),
        ("wanted", "99"),
    ]
    joined = describe(asn1.Asn1(asn1.JoinResponse(13), ((0, 2),)))
    assert ("result", "no CBKE response (13)") in joined
    assert joined[-1][0] == "note"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (VisibleString(b"GB"), "'GB'"),
        (VisibleString(b"\x1b[2J"), "1b5b324a"),
        (OctetString(b""), "no octets"),
        (Structure((NullData(),)), "{null}"),
    ],
)
def test_text_of_others_cannot_steer_a_terminal(value: Data, words: str) -> None:
    """Only printable text is shown as text."""
    assert data_words(value) == words


@settings(max_examples=200)
@given(coded_payloads())
def test_any_payload_can_be_described(coded: tuple[int, int, Payload]) -> None:
    """Every line is printable text; whatever a meter sends, nothing is raised."""
    for label, text in describe(coded[2]):
        assert label
        assert (label + text).isprintable()


@needs_rtds
def test_every_published_payload_can_be_described() -> None:
    """At least two lines of words for all but the emptiest, none unprintable."""
    for raw in rtds_messages().values():
        message = parse_message(raw)
        lines = describe(decode_payload(message.header.message_code, message.header.cra, message.content))
        assert lines
        assert all((label + text).isprintable() for label, text in lines)


def test_a_certificate_in_a_payload_is_told_field_by_field() -> None:
    """Whose it is, for what and until when; other DER is told by its size and why it is none."""
    certificate = own.certificate(own.SUPPLIER, KeyUse.DIGITAL_SIGNATURE)
    command = asn1.Asn1(asn1.UpdateDeviceCertificate(certificate.der))
    lines = dict(describe(command))
    assert lines["certificate"] == f"certificate, {len(certificate.der)} octets"
    assert lines["  holder"] == "00-00-5E-EF-10-00-00-10 (supplier)"
    assert lines["  valid"] == "2026-01-01 00:00:00 to 2036-01-01 00:00:00 UTC"
    said, parts = certificate_lines(certificate.der[:-1])
    assert parts == []
    assert said.startswith(f"DER of {len(certificate.der) - 1} octets; as a certificate refused")


def _tags_at(content: bytes, lines: list[Line]) -> dict[str, bytes]:
    """The two octets each line points at; the last line wins where labels repeat."""
    return {line.label: content[line.offset : line.offset + 2] for line in lines if line.offset is not None}


def test_lines_say_where_they_stand() -> None:
    """Offsets point at the specification, value, result, field or tag a line tells of."""
    request = AccessRequest(
        1, ((Get(7, Obis.parse("0-0:99.98.0"), 2), NullData()), (Set(1, Obis.parse("0-0:94.44.3.2"), 2), DoubleLong(5)))
    )
    places = _tags_at(encode_payload(request), describe_lines(request))
    assert places == {"1 read": b"\x01\x00", "2 write": b"\x02\x00", "  value": b"\x05\x00"}
    response = AccessResponse(1, (ItemResult(1, OctetString(b"\xaa"), 0), ItemResult(2, NullData(), 250)))
    places = _tags_at(encode_payload(response), describe_lines(response))
    assert places == {"1 read": b"\x01\x00", "  value": b"\x09\x01", "2 write": b"\x02\xfa"}
    command = zcl_command("ChangeDebt", **dict.fromkeys(["issuer_event", "start"], 0), label=b"abc", amount=7, method=8,
        amount_type=9, collection_time=10, frequency=11, recovery_amount=12, percentage=13)  # fmt: skip
    gbz = Gbz((Component(0x0705, 8, 1, DefaultResponse(4, 0)), Component(0x0705, 1, 2, command, from_date_time=5)))
    places = _tags_at(encode_payload(gbz), describe_lines(gbz))
    assert places["  outcome"] == b"\x04\x00"
    assert places["2"] == b"\x11\x07"
    assert places["  label"] == b"\x03a"
    assert places["  amount"] == b"\x07\x00"
    assert places["  percentage"] == b"\x0d\x00"
    query = asn1.Asn1(asn1.CredentialsQuery(asn1.CellId(2, asn1.KEY_USAGE_KEY_AGREEMENT, 1), (3, 127)))
    places = _tags_at(encode_payload(query), describe_lines(query))
    assert places == {
        "payload": b"\x30\x14",
        "authorising": b"\x30\x0a",
        "  role": b"\x02\x01",
        "  key usage": b"\x03\x02",
        "  cell usage": b"\x02\x01",
        "wanted": b"\x02\x01",
    }


@settings(max_examples=200)
@given(coded_payloads())
def test_offsets_lie_in_the_content_in_order(coded: tuple[int, int, Payload]) -> None:
    """Every offset is inside the content, or at its end for an empty list. Two lists go back once, others never."""
    content = encode_payload(coded[2])
    places = [line.offset for line in describe_lines(coded[2]) if line.offset is not None]
    assert all(0 <= place <= len(content) for place in places)
    if not isinstance(coded[2], AccessRequest | AccessResponse):
        assert places == sorted(places)


def test_a_response_is_named_by_its_command() -> None:
    """With the Command at hand each result has its attribute's name and unit."""
    balance = Get(112, Obis.parse("0-0:19.10.0"), 2)
    request = AccessRequest(1, ((balance, NullData()),))
    response = AccessResponse(1, (ItemResult(1, DoubleLong(2_000_000), 0),))
    assert [line.text for line in describe_lines(response, request=request)] == [
        "meter balance: current amount (112/0-0:19.10.0.255#2): success (0)",
        "2000000 (£20.00)",
    ]
    other = AccessRequest(1, ())
    assert [line.text for line in describe_lines(response, request=other)] == ["success (0)", "2000000"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (OctetString(b"73946144332040217315"), "'73946144332040217315' (UTRN of £10.00, not checked for authenticity)"),
        (OctetString(b"12345678910121314156"), "'12345678910121314156' (no UTRN: the check digit is wrong"),
        (OctetString(b"winter"), "'winter'"),
        (OctetString(b"ab"), "6162"),
        (OctetString(b"ab\x1b"), "61621b"),
        (OctetString(bytes.fromhex("ffffffff01000000008000ff")), "*-*-*T00:00:00Z, Mon"),
        (OctetString(bytes.fromhex("fffffefeff02ff00000000ff")), "*-DST begin-lastT02:*:00Z"),
        (OctetString(bytes.fromhex("07df0501ff")), "2015-05-01"),
        (OctetString(bytes.fromhex("ffff0c1907")), "*-12-25, Sun"),
        (OctetString(bytes.fromhex("0102030405")), "0102030405"),
        (Structure((OctetString(bytes(4)), OctetString(bytes.fromhex("00000a0064ff")), LongUnsigned(102))),
         "{00:00:00, 0-0:10.0.100.255, 102}"),
        (Structure((LongUnsigned(3), OctetString(bytes.fromhex("0100010800ff")), Integer(2))),
         "{Register: value (3/1-0:1.8.0.255#2)}"),
        (Structure((LongUnsigned(0), OctetString(bytes(6)), Integer(0))), "{no object}"),
        (Structure((Integer(-3), Enum(30))), "Wh x 10^-3"),
    ],
)  # fmt: skip
def test_octets_are_told_as_what_they_most_likely_are(value: Data, words: str) -> None:
    """UTRNs, texts, dates with wildcards and object names in words; anything else as hexadecimal."""
    assert data_words(value).startswith(words)


def test_money_is_told_in_pounds() -> None:
    """Thousandths of a penny as pounds; other units behind the number; none where none is known."""
    assert amount_words(-250_000, "GBP 1e-5") == "-250000 (-£2.50)"
    assert amount_words(1, "GBP 1e-5") == "1 (£0.00001)"
    assert amount_words(0, "GBP 1e-5") == "0 (£0.00)"
    assert amount_words(604_800, "s") == "604800 s"
    assert amount_words(7, "") == "7"


def test_amounts_in_gbz_are_told_in_pounds_and_attributes_by_name() -> None:
    """Amounts in pounds, attributes by name and unit, in Commands and answers; euros stay bare numbers."""
    credit = zcl_command("CreditAdjustment", issuer_event=1, start=0, type=0, value=-250_000)
    snapshot = AttributeRecord(0x0001, 0, 0x2B, 2_500_000)
    battery, unknown = AttributeRecord(0x0205, 0, 0x21, 100), AttributeRecord(0x0FFF, 0, 0x21, 7)
    gbz = Gbz(
        (
            Component(0x0705, 1, 1, credit),
            Component(0x0705, 0x18, 2, ReadAttributesResponse((snapshot, unknown))),
            Component(0x0702, 0x18, 3, ReadAttributesResponse((battery,))),
            Component(0x0702, 0x10, 4, ReadAttributes((0x0000, 0x0205))),
        )
    )
    said = {line.label.strip(): line.text for line in describe_lines(gbz)}
    assert said["value"] == "-250000 (-£2.50)"
    assert said["credit remaining (0001)"] == "2500000 (£25.00)"
    assert said["battery life left (0205)"] == "100 days"
    assert said["attribute (0FFF)"] == "7"
    assert said["attributes"] == "consumption (0000), battery life left (0205)"
    for currency, words in ((826, "22465 (£0.22465)"), (978, "22465")):
        tariff = zcl_command(
            "PublishTariffInformation", provider=1, issuer_event=1, tariff_id=1, start=0, type_and_scheme=0, label=b"",
            tiers=4, block_thresholds=0, unit=0, currency=currency, trailing_digit=0x50, standing_charge=22_465,
            tier_block_mode=0xFF, multiplier=1, divisor=1_000,
        )  # fmt: skip
        lines = describe_lines(Gbz((Component(0x0700, 9, 1, tariff),)))
        assert [line.text for line in lines if line.label.strip() == "standing charge"] == [words]


def test_every_amount_named_is_a_field_there_is() -> None:
    """A row of the units names a command and a field of the table of commands, so that no unit waits for nothing."""
    known = {
        (layout.name, part.name)
        for layout in LAYOUTS.values()
        for field in layout.fields
        for part in (field, *field.row)
    }
    assert zcl_words.FIELDS.keys() <= known
