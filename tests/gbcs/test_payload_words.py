"""Payloads as lines for reading."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest
from hypothesis import given, settings

from lastmetre.gbcs import asn1, payload_words
from lastmetre.gbcs.axdr import Data, DoubleLong, NullData, OctetString, Structure, VisibleString
from lastmetre.gbcs.dlms import AccessRequest, AccessResponse, Action, DataNotification, ItemResult, Obis, Set
from lastmetre.gbcs.gbz import Component, Gbz
from lastmetre.gbcs.keys import KeyUse
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.payload import Payload, decode_payload
from lastmetre.gbcs.payload_words import data_words, describe, zigbee_time
from lastmetre.gbcs.zcl import DefaultResponse, zcl_command
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
    assert all(str(Obis.parse(row["obis"])) == row["obis"] for row in table["objects"])


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
        ("  value", "-500"),
        ("2 write", "payment mode and account, as set: activation time (111/0-1:19.0.0.255#13)"),
        ("  value", "now"),
        ("3 do", "token gateway: enter token (115/0-0:19.40.0.255#1)"),
        ("  value", "31323334"),
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
        ("  entries", "code '12345678901234567890', amount -5, time 2000-01-01T00:00:01Z"),
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
    lines = dict(payload_words._certificate("path", certificate.der, "  "))
    assert lines["path"] == f"certificate, {len(certificate.der)} octets"
    assert lines["  holder"] == "00-00-5E-EF-10-00-00-10 (supplier)"
    assert lines["  valid"] == "2026-01-01 00:00:00 to 2036-01-01 00:00:00 UTC"
    cut = dict(payload_words._certificate("path", certificate.der[:-1], "  "))
    assert cut.keys() == {"path"}
    assert cut["path"].startswith(f"DER of {len(certificate.der) - 1} octets; as a certificate refused")
