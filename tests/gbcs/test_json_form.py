"""The JSON form: exact both ways, readable, stable, refused with its place when wrong."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from importlib import import_module, resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastmetre.gbcs import DecodedMessage, decode, encode, from_json, to_json
from lastmetre.gbcs.asn1 import Asn1, Join
from lastmetre.gbcs.axdr import (
    Array,
    ArrayType,
    BitString,
    Boolean,
    CompactArray,
    Data,
    Float32,
    Long64Unsigned,
    OctetString,
    SimpleType,
    Structure,
    StructureType,
    Unsigned,
    VisibleString,
)
from lastmetre.gbcs.dlms import AccessRequest, DataNotification, Obis, Set
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.gbz import Component, Gbz, GbzAlert
from lastmetre.gbcs.json_form import SCHEMA_FILE, message_schema
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation
from lastmetre.gbcs.zcl import AttributeRecord, ReadAttributesResponse, zcl_command
from tests import own_world as own
from tests.gbcs.message_strategies import messages
from tests.shared_data import needs_rtds, rtds_messages

ARM = own.arm(9)
SCHEMA = json.loads(resources.files("lastmetre.gbcs").joinpath(SCHEMA_FILE).read_text("utf-8"))
JUDGE: Any = import_module("jsonschema").Draft202012Validator(SCHEMA)
"""Somebody else's reading of the schema. The package ships no types, so it is not imported by name."""


def _fault(document: Any) -> str | None:
    """The first fault the judge finds; ``None`` when the document is as the schema says."""
    error = next(JUDGE.iter_errors(document), None)
    return None if error is None else f"{error.json_path}: {error.message}"


def _through_json(message: DecodedMessage) -> DecodedMessage:
    return from_json(json.loads(json.dumps(to_json(message), allow_nan=False)))


def _with(payload: Any, message_code: int = 0x0019, cra: Cra = Cra.COMMAND) -> DecodedMessage:
    header = GroupingHeader(cra, 1 << 63, own.SUPPLIER, own.ESME, OtherInformation(message_code))
    return DecodedMessage(header, payload, b"", None)


def _value(data: Data) -> Any:
    """The JSON of one DLMS value, as an item of a request has it."""
    set_ = Set(1, Obis.parse("0-0:94.44.3.2"), 2)
    message = _with(AccessRequest(0, ((set_, data),)))
    assert _through_json(message) == message
    return to_json(message)["payload"]["items"][0]["value"]


def test_the_schema_beside_the_module_is_up_to_date() -> None:
    """To make it anew: write ``message_schema()`` to the file as JSON with an indent of 1."""
    JUDGE.check_schema(SCHEMA)
    assert message_schema() == SCHEMA, "the JSON form changed; see that form 1 still reads what it read"


def test_a_command_reads_like_the_standard() -> None:
    """Names of the standard, counters as strings, ids and codes in hexadecimal, OBIS as text, words beside."""
    document = to_json(decode(ARM))
    assert document == {
        "form": 1,
        "kind": "Command",
        "use_case": {"name": "ECS44", "title": "Arm Load Switch in ESME"},
        "header": {
            "cra": "command",
            "originator_counter": "9",
            "business_originator_id": "00005eef10000010",
            "business_target_id": "00005eef100000a0",
            "date_time": None,
            "other_information": {"message_code": "0051"},
        },
        "payload": {
            "type": "access-request",
            "invoke_id": 9,
            "items": [
                {
                    "do": "action",
                    "class_id": 9,
                    "obis": "0-0:10.0.106.255",
                    "method": 1,
                    "words": "load switch script: execute script (9/0-0:10.0.106.255#1)",
                    "value": {"long-unsigned": 54},
                }
            ],
        },
        "signature": ARM[-76:-12].hex(),
        "mac": ARM[-12:].hex(),
    }


def test_nothing_for_people_is_read() -> None:
    """Words, kind, use case and verdicts may say anything or be gone; letters of hexadecimal may be of either case."""
    document = to_json(decode(ARM))
    document["verdicts"] = {"mac": "invalid"}
    document["kind"] = document["use_case"] = 7
    document["header"]["words"] = ["nonsense"]
    document["payload"]["items"][0]["words"] = None
    document["header"]["business_target_id"] = "00005EEF100000A0"
    assert encode(from_json(document)) == ARM
    for name in ("kind", "use_case", "verdicts"):
        del document[name]
    assert encode(from_json(document)) == ARM


@settings(max_examples=250)
@given(messages())
def test_any_message_survives_json(message: DecodedMessage) -> None:
    """Round trip through JSON text of every header form around every payload form, and the schema allows it."""
    document = json.loads(json.dumps(to_json(message), allow_nan=False))
    assert from_json(document) == message
    assert _fault(document) is None


VALUES: list[tuple[Data, Any]] = [
    (Long64Unsigned((1 << 64) - 1), {"long64-unsigned": "18446744073709551615"}),
    (BitString(5, b"\x08"), {"bit-string": "00001"}),
    (BitString(5, b"\x09"), {"bit-string": {"bit_count": 5, "value": "09"}}),
    (BitString(0, b""), {"bit-string": ""}),
    (Boolean(True), {"boolean": True}),
    (Boolean(True, 1), {"boolean": 1}),
    (VisibleString(b"GB"), {"visible-string": "GB"}),
    (VisibleString(b"\x1b"), {"visible-string": {"hex": "1b"}}),
    (OctetString(b"\x01"), {"octet-string": "01"}),
    (OctetString(b"hello"), {"octet-string": "68656c6c6f", "words": "'hello'"}),
    (
        OctetString(bytes.fromhex("07df0101ff0000000080 00ff")),
        {"octet-string": "07df0101ff000000008000ff", "words": "2015-01-01T00:00:00Z"},
    ),
    (Float32(bytes.fromhex("7fc00001")), {"float32": "7fc00001", "words": "nan"}),
    (
        CompactArray(
            StructureType((SimpleType(0x11), ArrayType(1, SimpleType(0x11)))),
            (Structure((Unsigned(1), Array((Unsigned(2),)))),),
        ),
        {
            "compact-array": {
                "description": {"structure": ["unsigned", {"array": {"count": 1, "element": "unsigned"}}]},
                "elements": [{"structure": [{"unsigned": 1}, {"array": [{"unsigned": 2}]}]}],
            }
        },
    ),
]


@pytest.mark.parametrize(
    ("data", "written"), VALUES, ids=[type(data).__name__ + str(n) for n, (data, _) in enumerate(VALUES)]
)
def test_values_in_json(data: Data, written: Any) -> None:
    """One member named after the type; exact even where plain JSON would not be."""
    assert _value(data) == written


def test_gbz_fields_by_name_with_times_in_words() -> None:
    """A cluster command is its id and fields; large attribute numbers are strings."""
    command = zcl_command("ConsumerTopUpResponse", result=0, value=-5, source=2, credit_remaining=1)
    rows = zcl_command("PublishTopUpLog", index=0, count=1, entries=[{"code": b"\xff", "amount": 1, "time": 0}])
    records = ReadAttributesResponse((AttributeRecord(1, 0, 0x27, (1 << 64) - 1), AttributeRecord(2, 0x86)))
    message = _with(
        Gbz((Component(0x0705, 0x09, 0, command), Component(0x0705, 9, 1, rows), Component(0x0702, 8, 2, records))),
        0x0097,
        Cra.RESPONSE,
    )
    assert _through_json(message) == message
    first, second, third = to_json(message)["payload"]["components"]
    assert first["words"] == "Prepayment ConsumerTopUpResponse, from server"
    assert first["body"] == {
        "type": "cluster-command",
        "command_id": "03",
        "fields": {"result": 0, "value": -5, "source": 2, "credit_remaining": 1},
    }
    assert second["body"]["fields"]["entries"] == [
        {"code": {"hex": "ff"}, "amount": 1, "time": 0, "words": {"time": "now (0)"}}
    ]
    assert third["body"]["records"] == [
        {"attribute_id": "0001", "status": 0, "words": "success (00)", "type": "27", "value": "18446744073709551615"},
        {"attribute_id": "0002", "status": 0x86, "words": "unsupported attribute (86)"},
    ]


def test_certificates_are_der_with_what_they_say_beside() -> None:
    """Subject, ids and key of a certificate in an ASN.1 payload stand in words."""
    certificate = own.certificate(own.CHF, own.KA)
    message = _with(Asn1(Join(3, own.CHF, 2, certificate.der)), 0x00AF)
    assert _through_json(message) == message
    value = to_json(message)["payload"]["value"]
    assert value["structure"] == "join"
    assert value["certificate"] == certificate.der.hex()
    assert value["words"]["method"] == "C"
    assert value["words"]["type"] == "chf"
    assert value["words"]["certificate"]["entity_id"] == own.CHF.hex()
    assert value["words"]["certificate"]["usage"] == "keyAgreement"


def test_alerts_say_their_time_in_words() -> None:
    """DLMS and GBZ Alerts."""
    message = _with(GbzAlert(0x8F66, 0), 0x1000, Cra.ALERT)
    assert _through_json(message) == message
    assert to_json(message)["payload"] == {
        "type": "gbz-alert",
        "alert_code": "8F66",
        "time": 0,
        "words": {"time": "now (0)"},
    }
    message = _with(DataNotification(0, 0x8F66, bytes.fromhex("07df0101ff000000008000ff")), 0x1000, Cra.ALERT)
    assert _through_json(message) == message
    assert to_json(message)["payload"]["words"] == {"date_time": "2015-01-01T00:00:00Z"}


def _change(document: dict[str, Any], path: list[str | int], value: Any) -> dict[str, Any]:
    """A copy with one place changed, or taken away when ``value`` is ``...``."""
    changed = copy.deepcopy(document)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


ITEM: list[str | int] = ["payload", "items", 0]
WRONG: list[tuple[list[str | int], Any, str]] = [
    (["form"], 2, r"^\$\.form: it must lie between 1 and 1"),
    (["form"], ..., r"^\$: form is missing"),
    (["signatur"], "", r"^\$\.signatur: there is no such member"),
    (["signature"], "00", r"^\$\.signature: nothing, or 64 octets"),
    (["mac"], "00", r"^\$\.mac: 12 octets in hexadecimal is due"),
    (["mac"], 0, r"^\$\.mac: one of null, string is due, not integer"),
    (["header"], [], r"^\$\.header: an object is due, not array"),
    (["header", "cra"], "Order", r"^\$\.header\.cra: command, response or alert is due"),
    (["header", "originator_counter"], 9, r"^\$\.header\.originator_counter: a string is due, not integer"),
    (["header", "originator_counter"], "007", r"counter: a whole number in decimal digits is due"),
    (["header", "originator_counter"], "18446744073709551616", r"counter: it must lie between 0 and"),
    (["header", "originator_counter"], "1" * 100_000, r"counter: a whole number in decimal digits is due"),
    (["header", "business_target_id"], "00", r"^\$\.header\.business_target_id: 8 octets"),
    (["header", "date_time"], "", r"^\$\.header\.date_time: 12 octets"),
    (["header", "other_information", "message_code"], 81, r"message_code: a string is due"),
    (
        ["header", "other_information", "supplementary_remote_party_counter"],
        "1",
        r"^\$\.header: a supplementary counter or certificate needs",
    ),
    (["payload", "type"], "acess-request", r"^\$\.payload\.type: it must be one of access-request, "),
    (["payload", "type"], ..., r"^\$\.payload: type is missing"),
    (["payload", "invoke_id"], True, r"^\$\.payload\.invoke_id: an integer is due, not boolean"),
    (["payload", "invoke_id"], 1.0, r"invoke_id: an integer is due, not number"),
    (["payload", "invoke_id"], -1, r"invoke_id: it must lie between 0 and 16777215"),
    ([*ITEM, "obis"], "0-0:10.0.106", r"^\$\.payload\.items\[0\]\.obis: an OBIS code"),
    ([*ITEM, "obis"], "0-0:10.0.106.256", r"obis: .* is no OBIS code"),
    ([*ITEM, "do"], "delete", r"^\$\.payload\.items\[0\]\.do: it must be one of get, set, action"),
    ([*ITEM, "value"], {}, r"^\$\.payload\.items\[0\]\.value: one member is due"),
    ([*ITEM, "value"], {"long": 1, "enum": 1}, r"value: one member is due"),
    ([*ITEM, "value"], {"array": [{"enum": 256}]}, r"value\.array\[0\]\.enum: it must lie between 0 and 255"),
    ([*ITEM, "value"], {"visible-string": "\ud800"}, r"visible-string'\]: .*surrogates not allowed"),
    ([*ITEM, "value"], {"bit-string": "012"}, r"bit-string'\]: bits, as 0 and 1, is due"),
    ([*ITEM, "value"], {"null-data": 0}, r"null-data'\]: a null is due"),
]


@pytest.mark.parametrize(("path", "value", "words"), WRONG)
def test_what_cannot_be_said_is_refused_with_its_place(path: list[str | int], value: Any, words: str) -> None:
    """Missing, unknown, mistyped and out of range: the error begins with the JSON path."""
    with pytest.raises(GbcsValueError, match=words):
        from_json(_change(to_json(decode(ARM)), path, value))


def test_a_document_nested_without_end_is_refused() -> None:
    """Depth is bounded before the interpreter's own bound is met."""
    value: dict[str, Any] = {"null-data": None}
    for _ in range(5_000):
        value = {"array": [value]}
    with pytest.raises(GbcsValueError, match="nested deeper than 100"):
        from_json(_change(to_json(decode(ARM)), [*ITEM, "value"], value))
    nonsense: list[Any] = [None, [], "", 1]
    for document in nonsense:
        with pytest.raises(GbcsValueError, match=r"^\$: an object is due"):
            from_json(document)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("00"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _places(json_: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    steps: list[tuple[str | int, Any]] = []
    if isinstance(json_, dict):
        steps = list(json_.items())
    elif isinstance(json_, list):
        steps = list(enumerate(json_))
    return [path, *(place for step, inner in steps for place in _places(inner, (*path, step)))]


@settings(max_examples=300)
@given(messages(), st.data())
def test_damaged_documents_are_messages_or_value_errors(message: DecodedMessage, data: st.DataObject) -> None:
    """Structure-aware fuzz: any place replaced by anything; what is read can be encoded or is refused as a value."""
    document = json.loads(json.dumps(to_json(message)))
    place = data.draw(st.sampled_from(_places(document)[1:]))
    damaged = _change(document, list(place), data.draw(_JSON))
    try:
        again = from_json(damaged)
    except GbcsValueError as error:
        refusal = error
    else:
        _encodes(again)
        return
    assert str(refusal).startswith("$")


def _encodes(again: DecodedMessage) -> None:
    """What was read from JSON is a message, or is refused as a value."""
    try:
        octets = encode(again)
    except GbcsValueError:
        return
    assert decode(octets) == again


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["form"], 2),
        (["header"], None),
        (["header", "originator_counter"], 1),
        (["header", "business_target_id"], "00-00"),
        (["header", "other_information", "message_code"], 0x0051),
        (["payload", "items", 0, "obis"], "0-0"),
        (["payload", "items", 0, "do"], "put"),
        (["signature"], "zz"),
    ],
    ids=str,
)
def test_the_schema_refuses_what_is_no_message(place: list[str | int], value: object) -> None:
    """The schema says something: each of these is sound JSON, and no document of ours."""
    document = json.loads(json.dumps(to_json(decode(ARM))))
    assert _fault(document) is None
    assert _fault(_change(document, place, value)) is not None


@settings(max_examples=150)
@given(messages(), st.data())
def test_the_schema_refuses_what_from_json_refuses(message: DecodedMessage, data: st.DataObject) -> None:
    """Whatever the schema allows is read, up to what JSON Schema cannot say; whatever is read, the schema allows."""
    document = json.loads(json.dumps(to_json(message)))
    place = data.draw(st.sampled_from(_places(document)[1:]))
    damaged = _change(document, list(place), data.draw(st.sampled_from([None, True, -1, "", "zz", [], {}])))
    try:
        from_json(damaged)
    except GbcsValueError:
        return
    assert _fault(damaged) is None


def test_encode_refuses_documents_that_are_no_message_together() -> None:
    """A document may be sound in each place and yet no message: a payload under another use case's code."""
    document = _change(to_json(decode(ARM)), ["header", "other_information", "message_code"], "0008")
    with pytest.raises(GbcsValueError, match="make no message together"):
        encode(from_json(document))
    pre_command = replace(decode(ARM), signature=None, mac=None)
    assert _through_json(pre_command) == pre_command


@needs_rtds
def test_every_published_message_survives_json() -> None:
    """The whole data set through JSON text; the schema judges one document of each kind and code, as it is slow."""
    judged = set()
    for name, octets in rtds_messages().items():
        message = decode(octets)
        document = json.loads(json.dumps(to_json(message), allow_nan=False))
        assert encode(from_json(document)) == octets, name
        sort = message.kind, message.header.message_code
        if sort not in judged:
            judged.add(sort)
            assert _fault(document) is None, name
