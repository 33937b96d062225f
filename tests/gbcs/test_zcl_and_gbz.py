"""Zigbee payloads: cluster commands by their table, components, alerts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastmetre.gbcs import gbz, zcl
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.gbz import (
    AlertNumber,
    Component,
    EncryptedZcl,
    FutureDatedZcl,
    Gbz,
    GbzAlert,
    ImageHash,
    decode_gbz,
    decode_gbz_alert,
    encode_gbz,
    encode_gbz_alert,
    open_component,
)
from lastmetre.gbcs.zcl import (
    LAYOUTS,
    AttributeRecord,
    DefaultResponse,
    Layout,
    ReadAttributes,
    ReadAttributesResponse,
    ZclCommand,
    decode_zcl,
    encode_zcl,
    zcl_command,
)
from lastmetre.gbcs.zcl_commands import COMMANDS
from tests.gbcs.payload_strategies import GBZ_ALERTS, cluster_commands, gbz_payloads, zcl_bodies

GCS13A_PLAINTEXT = bytes.fromhex("02030022e8030001030022010000000300300100000025393000000000")
"""Decrypted attributes of GCS13a_4.1.1_SUCCESS_RELIABLE_GSME_RESPONSE, printed in section 14."""

READ = bytes.fromhex("0109 01 01 0702 0005 00 00 00 0000")
"""One component: read attribute 0000 of Metering."""


def test_the_table_is_sound() -> None:
    """Every row has known types, a source, a name of its own, and a place of its own."""
    assert len(LAYOUTS) == len(COMMANDS)
    assert len(zcl.LAYOUTS_BY_NAME) == len(COMMANDS)
    known = zcl.SIZES.keys() | zcl.FIXED_OCTETS.keys() | {"os"}
    for row, layout in zip(COMMANDS, LAYOUTS.values(), strict=True):
        assert layout.source
        assert layout.cluster in zcl.CLUSTER_NAMES
        parts = [part for field in layout.fields for part in (field.row or (field,))]
        assert {part.type for part in parts} <= known
        # Nothing of the row's text may have been overlooked by the pattern that reads it.
        assert len(parts) == len(re.findall(r"\w+:(?!\w*\*)\w+", row[4]))
        assert len({field.name for field in layout.fields}) == len(layout.fields)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
@settings(max_examples=15)
@given(data=st.data())
def test_each_cluster_command_survives(layout: Layout, data: st.DataObject) -> None:
    """Round trip of every command; cut short anywhere or lengthened it is refused or reads as a shorter one."""
    command = data.draw(cluster_commands(layout))
    raw = encode_zcl(command)
    control = zcl.FRAME_CLUSTER_SPECIFIC | (zcl.FRAME_FROM_SERVER if layout.from_server else 0)
    assert decode_zcl(layout.cluster, control, layout.command_id, raw) == command
    for other in (*(raw[:size] for size in range(min(len(raw), 60))), raw + b"\0"):
        try:
            read = decode_zcl(layout.cluster, control, layout.command_id, other)
        except GbcsDecodeError:
            continue
        # Only commands whose end is open can be read from fewer or more octets, and never as the same value.
        assert read != command
        assert encode_zcl(read) == other


@given(zcl_bodies)
def test_any_body_survives(body: zcl.ZclBody) -> None:
    """Round trip with the header facts that say what a body is."""
    specific, command_id = zcl.frame_of(body)
    cluster, control = 0x0702, int(specific)
    if isinstance(body, ZclCommand):
        cluster, control = body.cluster, control | (zcl.FRAME_FROM_SERVER if body.from_server else 0)
    assert decode_zcl(cluster, control, command_id, encode_zcl(body)) == body


def test_the_published_plaintext_of_gcs13a_is_four_attributes() -> None:
    """Types 22, 22, 30 and 25 of section 8.2, little-endian."""
    assert GCS13A_PLAINTEXT[:2] == bytes.fromhex("0203")
    body = decode_zcl(0x0702, 0x18, 0x01, GCS13A_PLAINTEXT)
    assert body == ReadAttributesResponse(
        (
            AttributeRecord(0x0302, 0, 0x22, 1000),
            AttributeRecord(0x0301, 0, 0x22, 1),
            AttributeRecord(0x0300, 0, 0x30, 1),
            AttributeRecord(0x0000, 0, 0x25, 12345),
        )
    )
    assert encode_zcl(body) == GCS13A_PLAINTEXT


def test_a_command_is_made_by_name() -> None:
    """Fields go to their places whatever their order; rows are dictionaries."""
    top_up = zcl_command("ConsumerTopUp", code=b"1" * 20, originating_device=2)
    assert encode_zcl(top_up) == b"\x02\x14" + b"1" * 20
    assert top_up.name == "ConsumerTopUp"
    assert top_up["code"] == b"1" * 20
    matrix = zcl_command(
        "PublishPriceMatrix",
        provider=0,
        issuer_event=0,
        start=0,
        tariff_id=1,
        index=0,
        count=1,
        control=1,
        prices=[{"price": 9600, "tier_and_block": 0x80}],
    )
    assert encode_zcl(matrix).endswith(bytes.fromhex("80 80250000"))
    with pytest.raises(KeyError):
        top_up["prices"]


def test_a_command_with_wrong_fields_is_refused() -> None:
    """Unknown command, missing field, unknown field, a value of another kind, rows that nest or are none."""
    wrong: list[tuple[str, dict[str, object]]] = [
        ("NoSuchCommand", {}),
        ("ConsumerTopUp", {"code": b""}),
        ("ConsumerTopUp", {"code": b"", "originating_device": 0, "price": 1}),
        ("ConsumerTopUp", {"code": "text", "originating_device": 0}),
        ("PublishTopUpLog", {"index": 0, "count": 1, "entries": ["row"]}),
    ]
    for name, fields in wrong:
        with pytest.raises(GbcsValueError):
            zcl_command(name, **fields)


@pytest.mark.parametrize(
    "command",
    [
        zcl_command("ConsumerTopUp", code=b"1" * 20, originating_device=256),
        zcl_command("ConsumerTopUp", code=b"1" * 255, originating_device=0),
        zcl_command("SetLowCreditWarningLevel", level=-1),
        zcl_command("SetLowCreditWarningLevel", level=None),
        ZclCommand(0x0705, False, 0x09, ()),
        ZclCommand(0x0705, False, 0x09, (("level", ()),)),
        ZclCommand(0x0705, False, 0x7F, ()),
        ZclCommand(0x0705, True, 0x05, (("index", 0), ("count", 0), ("entries", 3))),
        ZclCommand(0x0705, True, 0x05, (("index", 0), ("count", 0), ("entries", ((("code", b""),),)))),
        ReadAttributes((0x10000,)),
        ReadAttributesResponse((AttributeRecord(0, 1, 0x20, 1),)),
        ReadAttributesResponse((AttributeRecord(0, 0, 0x99, 1),)),
        ReadAttributesResponse((AttributeRecord(0, 0),)),
        ReadAttributesResponse((AttributeRecord(0, 0, 0x20, None),)),
        DefaultResponse(256, 0),
    ],
    ids=repr,
)
def test_what_no_payload_can_say_is_refused(command: zcl.ZclBody) -> None:
    """Values that do not fit raise ``GbcsValueError`` when written."""
    with pytest.raises(GbcsValueError):
        encode_zcl(command)


def test_a_string_without_value_is_none() -> None:
    """Length FF: nothing follows."""
    raw = bytes.fromhex("0000 00 41 FF 0100 00 20 07")
    body = decode_zcl(0, 0x08, 0x01, raw)
    assert body == ReadAttributesResponse((AttributeRecord(0, 0, 0x41, None), AttributeRecord(1, 0, 0x20, 7)))
    assert encode_zcl(body) == raw


@pytest.mark.parametrize(
    ("cluster", "control", "command_id"),
    [(0x0702, 0x01, 0x7F), (0x0999, 0x01, 0x00), (0x0702, 0x00, 0x02), (0x0702, 0x05, 0x06), (0x0702, 0x40, 0x00)],
    ids=["unknown command", "unknown cluster", "unknown profile-wide command", "manufacturer bit", "reserved bit"],
)
def test_unknown_commands_are_refused(cluster: int, control: int, command_id: int) -> None:
    """T39: nobody can say where the fields of an unknown command end."""
    with pytest.raises(GbcsDecodeError):
        decode_zcl(cluster, control, command_id, bytes(40))


@given(gbz_payloads)
def test_any_payload_survives(payload: Gbz) -> None:
    """Round trip of components, encrypted ones and From Date Time included."""
    assert decode_gbz(encode_gbz(payload)) == payload


@pytest.mark.parametrize("code", sorted(GBZ_ALERTS), ids="{:04X}".format)
@given(data=st.data())
def test_any_alert_survives(code: int, data: st.DataObject) -> None:
    """Round trip of each kind of Alert of section 10.1."""
    alert = data.draw(GBZ_ALERTS[code])
    assert decode_gbz_alert(code, encode_gbz_alert(alert)) == alert


def test_a_component_has_the_octets_of_the_standard() -> None:
    """Control, cluster and length big-endian, the ZCL part little-endian."""
    payload = Gbz((Component(0x0702, 0x00, 0, ReadAttributes((0,))),))
    assert decode_gbz(READ) == payload
    assert encode_gbz(payload) == READ


def test_from_date_time_and_encryption_have_their_bits_and_places() -> None:
    """Bit 4 and bit 1; From Date Time comes before the additional header."""
    hidden = EncryptedZcl(0x06, 1, b"\xaa\xbb", bytes(range(12)))
    payload = Gbz((Component(0x0705, 0x19, 3, hidden, from_date_time=0x1C374A80),))
    raw = bytes.fromhex("0109 01 13 0705 001E 1C374A80 00 01 19 03 06 0013 31 00000000 AABB 000102030405060708090A0B")
    assert encode_gbz(payload) == raw
    assert decode_gbz(raw) == payload


def test_a_decrypted_component_is_opened() -> None:
    """The body in clear takes the ciphertext's place; everything else stays."""
    component = Component(0x0702, 0x18, 4, EncryptedZcl(0x01, 0, b"?", bytes(12)))
    opened = open_component(component, GCS13A_PLAINTEXT)
    assert isinstance(opened.body, ReadAttributesResponse)
    assert (opened.cluster, opened.sequence, opened.command_id) == (0x0702, 4, 0x01)
    with pytest.raises(GbcsValueError):
        open_component(opened, GCS13A_PLAINTEXT)


def test_alerts_have_the_octets_of_the_standard() -> None:
    """Section 10.1: the future-dated one, the image's hash, a number, and nothing."""
    start = "0109 {} 8F66 1C374A80"
    examples: list[tuple[int, str, GbzAlert]] = [
        (
            0x00CD,
            start.format("01") + "0E 006B 00000000000003E9 0700 09 05",
            GbzAlert(0x8F66, 0x1C374A80, FutureDatedZcl(0x6B, 1001, 0x0700, 0x09, 5)),
        ),
        (0x00CF, start.format("01") + "0920" + "AB" * 32, GbzAlert(0x8F66, 0x1C374A80, ImageHash(b"\xab" * 32))),
        (0x00F2, start.format("01") + "0007", GbzAlert(0x8F66, 0x1C374A80, AlertNumber(7))),
        (0x1000, start.format("00"), GbzAlert(0x8F66, 0x1C374A80)),
    ]
    for code, octets, alert in examples:
        raw = bytes.fromhex(octets)
        assert decode_gbz_alert(code, raw) == alert
        assert encode_gbz_alert(alert) == raw


COMPONENT_LIES = {
    "empty": "",
    "another profile": "0104 01 01 0702 0005 00 00 00 0000",
    "no component": "0109 00",
    "count too high": "0109 02 00 0702 0005 00 00 00 0000",
    "count too low": "0109 01 00 0702 0005 00 00 00 0000 01 0702 0005 00 00 00 0000",
    "last not marked": "0109 01 00 0702 0005 00 00 00 0000",
    "marked too early": "0109 02 01 0702 0005 00 00 00 0000 01 0702 0005 00 00 00 0000",
    "unknown control bits": "0109 01 81 0702 0005 00 00 00 0000",
    "length too long": "0109 01 01 0702 0006 00 00 00 0000",
    "length too short": "0109 01 01 0702 0004 00 00 00 0000",
    "length zero": "0109 01 01 0702 0000",
    "overlaps the next": "0109 02 00 0702 000A 00 00 00 0000 01 0702 0005 00 00 00 0000",
    "octets follow": "0109 01 01 0702 0005 00 00 00 0000 00",
    "half a From Date Time": "0109 01 11 0702 0003 00 00 00",
    "ciphertext too short": "0109 01 03 0702 0017 00 00 18 00 01 0010 31 00000000" + "00" * 11,
    "ciphertext length lies": "0109 01 03 0702 0018 00 00 18 00 01 0012 31 00000000" + "00" * 12,
    "another security header": "0109 01 03 0702 0018 00 00 18 00 01 0011 11 00000000" + "00" * 12,
    "additional control": "0109 01 03 0702 0018 01 00 18 00 01 0011 31 00000000" + "00" * 12,
    "headers cut short": "0109 01 03 0702 0004 00 00 18 00",
    "encrypted with odd frame control": "0109 01 03 0702 0018 00 00 F8 00 01 0011 31 00000000" + "00" * 12,
}


@pytest.mark.parametrize("octets", COMPONENT_LIES.values(), ids=COMPONENT_LIES.keys())
def test_components_that_lie_are_refused(octets: str) -> None:
    """Each rule of section 8.1 broken once."""
    with pytest.raises(GbcsDecodeError):
        decode_gbz(bytes.fromhex(octets))


ALERT_LIES = {
    "count without content": (0x1000, "0109 01 8F66 00000000"),
    "content without count": (0x1000, "0109 00 8F66 00000000 0001"),
    "count of two": (0x00F2, "0109 02 8F66 00000000 0001"),
    "cut short": (0x1000, "0109 00 8F66 0000"),
    "reference too short": (0x00CD, "0109 01 8F66 00000000 0D" + "00" * 13),
    "reference of another length": (0x00CD, "0109 01 8F66 00000000 0D" + "00" * 14),
    "hash too short": (0x00CF, "0109 01 8F66 00000000 091F" + "00" * 31),
    "number too long": (0x00F2, "0109 01 8F66 00000000 000001"),
    "component not the last": (0x008B, "0109 01 8F66 00000000 00 0702 0005 00 00 00 0000"),
    "octets after the component": (0x008B, "0109 01 8F66 00000000 01 0702 0005 00 00 00 0000 00"),
}


@pytest.mark.parametrize(("code", "octets"), ALERT_LIES.values(), ids=ALERT_LIES.keys())
def test_alerts_that_lie_are_refused(code: int, octets: str) -> None:
    """Each rule of section 10.1 broken once."""
    with pytest.raises(GbcsDecodeError):
        decode_gbz_alert(code, bytes.fromhex(octets))


BODY = ReadAttributes((0,))
LEVEL = zcl_command("SetLowCreditWarningLevel", level=1)


@pytest.mark.parametrize(
    "payload",
    [
        Gbz(()),
        Gbz((Component(0x0702, 0x00, 0, BODY),) * 256),
        Gbz((Component(0x0702, 0x01, 0, BODY),)),
        Gbz((Component(0x0702, 0x04, 0, BODY),)),
        Gbz((Component(0x0702, 0x00, 256, BODY),)),
        Gbz((Component(0x0702, 0x00, 0, BODY, from_date_time=1 << 32),)),
        Gbz((Component(0x0705, 0x09, 0, LEVEL),)),
        Gbz((Component(0x0702, 0x01, 0, LEVEL),)),
        Gbz((Component(0x0702, 0x18, 0, EncryptedZcl(1, 0, b"", b"")),)),
    ],
)
def test_components_that_contradict_themselves_are_refused(payload: Gbz) -> None:
    """What we write must be read as what was meant."""
    with pytest.raises(GbcsValueError):
        encode_gbz(payload)


def test_alerts_that_say_nothing_definite_are_refused() -> None:
    """Wrong digest size, an empty specific part."""
    with pytest.raises(GbcsValueError):
        encode_gbz_alert(GbzAlert(0, 0, ImageHash(b"")))
    with pytest.raises(GbcsValueError):
        encode_gbz_alert(GbzAlert(0, 0, gbz.AlertOctets(b"")))
    with pytest.raises(GbcsValueError):
        encode_gbz_alert(GbzAlert(1 << 16, 0))
