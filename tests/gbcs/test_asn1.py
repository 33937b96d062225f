"""ASN.1 payloads: each schema, strict DER, and the one tolerance."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastmetre.gbcs import asn1
from lastmetre.gbcs.asn1 import (
    SCHEMAS,
    ActivateFirmware,
    ActivateFirmwareAlert,
    ActivateFirmwareResponse,
    Asn1,
    CellId,
    ClockResponse,
    CredentialsDetails,
    CredentialsQuery,
    FirmwareOutcome,
    IssueCredentials,
    IssueCredentialsResponse,
    Join,
    JoinDetails,
    JoinResponse,
    LogEntry,
    ReadJoinDetails,
    RestoredEntry,
    RestoreDeviceLogResponse,
    RoleCounter,
    RoleCredentials,
    SetClock,
    SpecialistCounter,
    Unjoin,
    UpdateControl,
    UpdateCredentials,
    UpdateCredentialsResponse,
    decode_asn1,
    encode_asn1,
)
from lastmetre.gbcs.axdr import BitString
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from tests.gbcs.payload_strategies import values_of

DEVICE = bytes.fromhex("00005eef100000a0")
OTHER = bytes.fromhex("00005eef100000a4")

EXAMPLES: list[tuple[int, int, str, Asn1]] = [
    (
        0x0008,
        1,
        "300e 3007 020104 03020308 3003 020102",
        Asn1(CredentialsQuery(CellId(4, asn1.KEY_USAGE_KEY_AGREEMENT), (2,))),
    ),
    (0x011B, 2, "3008 3006 020105 0a017f", Asn1(CredentialsDetails((RoleCredentials(5, 127),)))),
    (0x000A, 1, "3004 03020780", Asn1(IssueCredentials(asn1.KEY_USAGE_DIGITAL_SIGNATURE))),
    (0x000A, 2, "020103", Asn1(IssueCredentialsResponse(3))),
    (0x000A, 2, "3003020101", Asn1(IssueCredentialsResponse(bytes.fromhex("3003020101")))),
    (0x000D, 1, "3010 020100 0408 00005eef100000a4 020105", Asn1(Join(0, OTHER, 5))),
    (0x000D, 2, "02010d", Asn1(JoinResponse(13))),
    (0x000F, 1, "0408 00005eef100000a4", Asn1(Unjoin(OTHER))),
    (0x0012, 1, "3026 0420" + "ab" * 32 + "020203ed", Asn1(ActivateFirmware(b"\xab" * 32, 1005))),
    (
        0x0012,
        1,
        "3037 0420" + "ab" * 32 + "020203ea 180f" + b"99991231235959Z".hex(),
        Asn1(ActivateFirmware(b"\xab" * 32, 1002, asn1.TIME_NEVER)),
    ),
    (0x0012, 2, "0500", Asn1(ActivateFirmwareResponse())),
    (
        0x0012,
        2,
        "3009 020100 0404 01020304",
        Asn1(ActivateFirmwareResponse(FirmwareOutcome(0, b"\1\2\3\4"))),
    ),
    (
        0x00CA,
        3,
        "3025 0203008f66 180f" + b"20300101000000Z".hex() + "020203ec 3009 020100 0404 01020304",
        Asn1(ActivateFirmwareAlert(0x8F66, "20300101000000Z", 1004, FirmwareOutcome(0, b"\1\2\3\4"))),
    ),
    (0x0013, 1, "0500", Asn1(ReadJoinDetails())),
    (0x0013, 2, "3003 020101", Asn1(JoinDetails(1))),
    (
        0x007F,
        1,
        "3022 180f" + b"20150101000000Z".hex() + "180f" + b"20150101002000Z".hex(),
        Asn1(SetClock("20150101000000Z", "20150101002000Z")),
    ),
    (0x007F, 2, "3014 180f" + b"20150101000000Z".hex() + "020102", Asn1(ClockResponse("20150101000000Z", 2))),
    (
        0x008C,
        2,
        "3016 3014 3012 300d 0408 00005eef100000a0 020101 020100",
        Asn1(RestoreDeviceLogResponse((RestoredEntry(LogEntry(DEVICE, 1), 0),))),
    ),
    (0x0102, 2, "3002 0500", Asn1(UpdateCredentialsResponse())),
    (
        0x0102,
        1,
        "3023 301d 020102 a207 020102 03020780 830203eb 840100 a508 3006 020100 020100 3000 3000",
        Asn1(
            UpdateCredentials(
                UpdateControl(
                    2,
                    1003,
                    authorising_cell=CellId(2, asn1.KEY_USAGE_DIGITAL_SIGNATURE),
                    new_floor=0,
                    new_specialist_floor=(SpecialistCounter(0, 0),),
                ),
                (),
                (),
            )
        ),
    ),
]


def _whole(octets: str) -> bytes:
    """The octets with the length of the outermost value put right, so that examples can be read without counting."""
    raw = bytes.fromhex(octets)
    return raw if raw[0] != 0x30 else bytes((0x30, len(raw) - 2)) + raw[2:]


@pytest.mark.parametrize(("code", "cra", "octets", "payload"), EXAMPLES)
def test_payloads_have_the_octets_of_the_standard(code: int, cra: int, octets: str, payload: Asn1) -> None:
    """Examples of section 9.3 with small content, both ways; cut anywhere or lengthened they are refused."""
    raw = _whole(octets)
    assert decode_asn1(code, cra, raw) == payload
    assert encode_asn1(payload) == raw
    for wrong in (*(raw[:size] for size in range(len(raw))), raw + b"\0"):
        with pytest.raises(GbcsDecodeError):
            decode_asn1(code, cra, wrong)


@pytest.mark.parametrize(("code", "cra"), sorted(SCHEMAS), ids=lambda number: f"{number:04X}")
@settings(max_examples=20)
@given(data=st.data())
def test_each_payload_survives(code: int, cra: int, data: st.DataObject) -> None:
    """Round trip by every schema; a changed octet is refused, or read and written back the same."""
    payload = Asn1(data.draw(values_of(SCHEMAS[code, cra])))
    raw = encode_asn1(payload)
    assert decode_asn1(code, cra, raw) == payload
    place = data.draw(st.integers(0, len(raw) - 1))
    damaged = raw[:place] + bytes((raw[place] ^ data.draw(st.integers(1, 255)),)) + raw[place + 1 :]
    try:
        other = decode_asn1(code, cra, damaged)
    except GbcsDecodeError:
        return
    assert encode_asn1(other) == damaged


@pytest.mark.parametrize("octets", ["308106 3004 030203080500", "3082000c", "30840000000c"])
def test_longer_lengths_are_refused_in_commands(octets: str) -> None:
    """No Command has them (section 9.1)."""
    with pytest.raises(GbcsDecodeError):
        decode_asn1(0x000A, 1, bytes.fromhex(octets))
    with pytest.raises(GbcsDecodeError, match="shortest"):
        decode_asn1(0x000A, 1, bytes.fromhex("30820004 03020780"))


def test_longer_lengths_of_devices_are_kept() -> None:
    """A Response with ``30 82 00 ..`` and longer ones inside is read, remembered and written back the same."""
    plain = bytes.fromhex("3003 020101")
    for octets, kept in (
        ("30820003 020101", ((0, 3),)),
        ("308103 020101", ((0, 2),)),
        ("3004 02810101", ((1, 2),)),
        ("3084 00000007 0284 00000001 01", ((0, 5), (1, 5))),
    ):
        raw = bytes.fromhex(octets)
        payload = decode_asn1(0x0013, 2, raw)
        assert payload == Asn1(JoinDetails(1), kept)
        assert encode_asn1(payload) == raw
        assert encode_asn1(Asn1(payload.value)) == plain


def test_longer_lengths_exist_only_where_they_may() -> None:
    """Not in our Commands, not where there is no length, not shorter than the shortest."""
    with pytest.raises(GbcsValueError, match="device-made"):
        encode_asn1(Asn1(ReadJoinDetails(), ((0, 3),)))
    with pytest.raises(GbcsValueError, match="position 9"):
        encode_asn1(Asn1(JoinDetails(1), ((9, 3),)))
    for octets in (0, 1, 6):
        with pytest.raises(GbcsValueError):
            encode_asn1(Asn1(JoinDetails(1), ((0, octets),)))


LIES = {
    "indefinite length": (0x0013, 2, "3080 020101 0000"),
    "length of nine octets": (0x0013, 2, "3089 000000000000000003 020101"),
    "length beyond the end": (0x0013, 2, "3004 020101"),
    "length of four thousand millions": (0x0013, 2, "3084 ffffffff 020101"),
    "wrong tag": (0x0013, 2, "3103 020101"),
    "padded number": (0x0013, 2, "3004 02020001"),
    "negative code": (0x0013, 2, "3003 0201ff"),
    "number without octets": (0x0013, 2, "3002 0200"),
    "huge number": (0x0013, 2, "3081 84 0281 81" + "7f" * 129),
    "member too many": (0x0013, 2, "3006 020101 020101"),
    "octets follow": (0x0013, 2, "3003 020101 00"),
    "another kind of result": (0x000D, 2, "0400"),
    "null with content": (0x0013, 1, "050100"),
    "identifier of seven": (0x000F, 1, "0407 00005eef1000a4"),
    "bit string without count": (0x000A, 1, "3002 0300"),
    "bit string with padding set": (0x000A, 1, "3004 03020781"),
    "bit string of eight unused": (0x000A, 1, "3004 03020880"),
    "unused bits of nothing": (0x000A, 1, "3003 030101"),
    "default written": (0x0008, 1, "3011 300a 020104 03020308 020100 3003 020102"),
    "no such day": (0x007F, 2, "3014 180f" + b"20150230000000Z".hex() + "020100"),
    "time with a fraction": (0x007F, 2, "3016 1811" + b"20150101000000.1Z".hex() + "020100"),
    "time of other digits": (0x007F, 2, "3014 180f" + "٢0150101000000".encode().hex() + "020100"),
    "unknown code": (0x9999, 1, "0500"),
    "alert as command": (0x00CA, 1, "0500"),
    "nothing": (0x0013, 1, ""),
}


@pytest.mark.parametrize(("code", "cra", "octets"), LIES.values(), ids=LIES.keys())
def test_octets_that_are_no_der_are_refused(code: int, cra: int, octets: str) -> None:
    """Each rule of DER and of the schemas broken once."""
    with pytest.raises(GbcsDecodeError):
        decode_asn1(code, cra, bytes.fromhex(octets))


@pytest.mark.parametrize(
    "value",
    [
        JoinResponse(256),
        JoinResponse(-1),
        Unjoin(b"short"),
        SetClock("yesterday", "20150101000000Z"),
        IssueCredentials(BitString(1, b"\x81")),
        IssueCredentials(BitString(9, b"\x80")),
        IssueCredentialsResponse(b"\x30\x05\x00"),
        IssueCredentialsResponse(b"\x30\x00\x00"),
        asn1.UpdateDeviceCertificate(b"\x04\x00"),
        ActivateFirmware(bytes(32), 1 << 63),
        UpdateCredentials(UpdateControl(2, -1), (), ()),
    ],
    ids=repr,
)
def test_what_no_payload_can_say_is_refused(value: asn1.Asn1Command | asn1.Asn1Response) -> None:
    """Values that do not fit raise ``GbcsValueError`` when written."""
    with pytest.raises(GbcsValueError):
        encode_asn1(Asn1(value))


def test_counters_and_roles_compare_by_value() -> None:
    """Frozen values: equal when their fields are."""
    assert RoleCounter(2, 0, (SpecialistCounter(0, 5),)) == RoleCounter(2, 0, (SpecialistCounter(0, 5),))
    assert RoleCounter(2, 0) != RoleCounter(2, 0, ())
