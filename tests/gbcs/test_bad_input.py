"""Bad octets (threats T37 to T39, T42, T44): a message or ``GbcsDecodeError``, nothing else, and neither slow nor big.

The rows below each break one rule of one layer and say which field must be named, and where. Then everything sound that
we can make is bent at random. ``fuzz/`` looks further, guided by coverage; what it finds is kept here.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lastmetre.cli import unsafe_bench_vectors as own
from lastmetre.gbcs import decode, encode
from lastmetre.gbcs.axdr import decode_data
from lastmetre.gbcs.blocks import Joiner, decode_block, split
from lastmetre.gbcs.certificates import CertificateRefused, parse_certificate
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import MESSAGE_SIZE_MAX, parse_message, read_header
from lastmetre.gbcs.payload import decode_payload, encode_payload
from tests.gbcs.payload_strategies import coded_payloads

CPU_S_PER_KB = 0.010
MEMORY_PER_KB = 10_000_000
HEADER = "09 01 00000000000003E9 08 00005EEF10000010 08 00005EEF100000A0 00 02 0051"
DF = f"DF {HEADER}"

# --- one row for each rule -------------------------------------------------------------------------------------------

ENVELOPE = {
    # what is wrong: octets, field, offset
    "nothing": ("", "message", 0),
    "another first octet": ("DE 00", "message", 0),
    "a block alone": ("DD 09 01", "mac_header", 1),
    "a field of the MAC header": ("DD 00 00 01 00 00 00 00", "mac_header", 0),
    "no length": ("DD 000000000000", "mac_header", 7),
    "length too large": (f"DD 000000000000 7F 11 00000000 {DF} 00 00", "mac_header", 7),
    "length too small": (f"DD 000000000000 10 11 00000000 {DF} 00 00", "mac_header", 7),
    "length not shortest": (f"DD 000000000000 81 34 11 00000000 {DF} 00 00", "mac_header", 7),
    "length of 2^32": (f"DD 000000000000 84 FFFFFFFF 11 00000000 {DF}", "mac_header", 7),
    "length of nine octets": (f"DD 000000000000 89 {'FF' * 9} {DF}", "mac_header", 7),
    "length indefinite": (f"DD 000000000000 80 11 00000000 {DF}", "mac_header", 7),
    "too short for a MAC": ("DD 000000000000 05 11 00000000", "mac_header", 7),
    "an invocation counter": (f"DD 000000000000 34 11 00000001 {DF} 00 00 {'00' * 12}", "mac_header", 8),
    "no DF inside": (f"DD 000000000000 34 11 00000000 DD {HEADER} 00 00 {'00' * 12}", "grouping_header", 13),
    "header cut short": ("DF 09 01", "grouping_header", 1),
    "transaction id": (f"DF 08 {HEADER[3:]} 00", "transaction_id", 1),
    "CRA flag 0": (f"DF 09 00 {HEADER[6:]} 00", "cra_flag", 2),
    "CRA flag 4": (f"DF 09 04 {HEADER[6:]} 00", "cra_flag", 2),
    "originator of nine": (f"{DF[:26]} 09 {DF[29:]} 00", "business_originator_id", 11),
    "target of seven": (f"{DF[:46]} 07 {DF[49:]} 00", "business_target_id", 20),
    "date-time of eleven": (f"{DF[:-10]} 0B {'00' * 11} 02 0051 00", "date_time", 29),
    "date-time cut short": (f"{DF[:-10]} 0C 000000", "date_time", 29),
    "other information of three": (f"{DF[:-7]} 03 005100 00", "other_information", 31),
    "other information past the end": (f"{DF[:-7]} 12 0051 00", "other_information", 30),
    "other information no certificate": (f"{DF[:-7]} 1B {'00' * 27} 00", "other_information", 49),
    "no content": (DF, "content", 33),
    "content past the end": (f"{DF} 05 AABB", "content", 34),
    "content not shortest": (f"{DF} 81 02 AABB 00", "content", 33),
    "content of 2^32": (f"{DF} 84 FFFFFFFF 00", "content", 38),
    "signature of 63": (f"{DF} 00 3F {'00' * 63}", "signature", 34),
    "signature past the end": (f"{DF} 00 40 {'00' * 63}", "signature", 34),
    "an octet behind": (f"{DF} 00 00 00", "signature", 34),
    "a Response without signature length": (f"DF 09 02 {HEADER[6:]} 00", "signature", 34),
}


@pytest.mark.parametrize(("octets", "field", "offset"), ENVELOPE.values(), ids=ENVELOPE.keys())
def test_a_broken_envelope_is_refused_where_it_is_broken(octets: str, field: str, offset: int) -> None:
    """Every length, count and mark of the envelope, and the octet behind it."""
    with pytest.raises(GbcsDecodeError) as caught:
        parse_message(bytes.fromhex(octets))
    assert (caught.value.field, caught.value.offset) == (field, offset)


SPECS, RESULTS = "access_request.specifications", "access_response.results"
REQUEST, RESPONSE, ALERT = (0x0019, 1), (0x0019, 2), (0x00CC, 3)
GBZ, GBZ_ALERT = (0x006B, 1), (0x00CD, 3)
QUERY, DETAILS, UNJOIN = (0x0008, 1), (0x0008, 2), (0x000F, 1)
SPEC = "01 0003 0100010800FF 02"

PAYLOADS = {
    # what is wrong: code and CRA flag, octets, field, offset
    "T38 no payload": (REQUEST, "", "content", 0),
    "T38 no known first octet": (REQUEST, "55", "content", 0),
    "T38 a Response's payload in a Command": (REQUEST, "DA 200003E9 00 00 00 00", "content", 0),
    "T38 cut short": (REQUEST, "D9 2000", "access_request", 3),
    "T38 flags": (REQUEST, "D9 210003E9 00 00 00", "access_request.invoke_id", 1),
    "T38 a date-time": (REQUEST, "D9 200003E9 01 00 00", "access_request.date_time", 5),
    "T38 a count of 2^32 specifications": (REQUEST, f"D9 200003E9 00 84 FFFFFFFF {SPEC}", SPECS, 11),
    "T38 a count not shortest": (REQUEST, f"D9 200003E9 00 81 01 {SPEC} 01 00", SPECS, 6),
    "T38 two counts differ": (REQUEST, f"D9 200003E9 00 01 {SPEC} 02 00 00", "access_request.values", 17),
    "T38 selector confusion": (REQUEST, "D9 200003E9 00 01 05 0003 0100010800FF 02 01 00", SPECS, 7),
    "T38 no selector": (REQUEST, "D9 200003E9 00 01 04 0003 0100010800FF 02", SPECS, 7),
    "T38 an octet behind": (REQUEST, f"D9 200003E9 00 01 {SPEC} 01 00 00", "access_request", 19),
    "T38 specifications repeated": (RESPONSE, "DA 200003E9 00 01 00 00", "access_response", 6),
    "T38 result counts differ": (RESPONSE, "DA 200003E9 00 00 01 00 02 0100", RESULTS, 9),
    "T38 a result of no kind": (RESPONSE, "DA 200003E9 00 00 01 00 01 0400", RESULTS, 10),
    "T38 results past the end": (RESPONSE, "DA 200003E9 00 00 01 00 01 01", RESULTS, 9),
    "T38 a tag of no type": (RESPONSE, "DA 200003E9 00 00 01 1C 01 0100", "access_response.values", 8),
    "T38 an array of 2^32": (RESPONSE, "DA 200003E9 00 00 01 01 84FFFFFFFF 01 0100", "array", 14),
    "T38 a structure that lies": (RESPONSE, "DA 200003E9 00 00 01 02 05 0000", "structure", 10),
    "T38 a string past the end": (RESPONSE, "DA 200003E9 00 00 01 09 0A AABB", "octet-string", 9),
    "T38 a string's length not shortest": (RESPONSE, "DA 200003E9 00 00 01 09 8102AABB 01 0100", "octet-string", 9),
    "T38 a bit-string of 2^32": (RESPONSE, "DA 200003E9 00 00 01 04 84FFFFFFFF AA", "bit-string", 9),
    "T38 a number cut short": (RESPONSE, "DA 200003E9 00 00 01 06 0001", "double-long-unsigned", 9),
    "T38 a compact-array without octets": (RESPONSE, "DA 200003E9 00 00 01 13 00 02 0000 01 0100", "compact-array", 11),
    "T38 a compact-array that bursts": (
        RESPONSE, "DA 200003E9 00 00 01 13 01FFFF01FFFF11 01 00 01 0100", "compact-array", 17,
    ),
    "T38 a compact-array past the end": (RESPONSE, "DA 200003E9 00 00 01 13 11 7F 00", "compact-array", 10),
    "T38 an alert that is no structure": (ALERT, "0F 200003E9 00 1100", "data_notification", 6),
    "T38 an alert's code of another type": (
        ALERT, "0F 200003E9 00 0202 1100 090C" + "00" * 12, "data_notification.alert_code", 8,
    ),
    "T39 profile": (GBZ, "01 0A 01", "gbz.profile", 0),
    "T39 no component": (GBZ, "0109 00", "gbz.count", 2),
    "T39 more components than there are": (GBZ, "0109 02 00 0705 0005 00 00 0B 0400", "gbz.component", 13),
    "T39 fewer components than there are": (GBZ, "0109 01 01 0705 0005 00 00 0B 0400 00", "gbz", 13),
    "T39 last not marked": (GBZ, "0109 01 00 0705 0005 00 00 0B 0400", "gbz.component.control", 3),
    "T39 unknown control bit": (GBZ, "0109 01 41 0705 0005 00 00 0B 0400", "gbz.component.control", 3),
    "T39 component past the end": (GBZ, "0109 01 01 0705 FFFF 00 00 0B 0400", "gbz.component.length", 6),
    "T39 component too short": (GBZ, "0109 01 01 0705 0002 00 00", "gbz.component", 8),
    "T39 unknown cluster": (GBZ, "0109 01 01 0B0B 0003 01 00 00", "zcl", 11),
    "T39 unknown command": (GBZ, "0109 01 01 0705 0003 01 00 7F", "zcl", 11),
    "T39 manufacturer's frame": (GBZ, "0109 01 01 0705 0003 04 00 00", "zcl.frame_control", 11),
    "T39 a string past the component": (GBZ, "0109 01 01 0705 0006 01 00 04 00 0A AA", "zcl.ConsumerTopUp.code", 12),
    "T39 an octet behind the command": (GBZ, "0109 01 01 0705 0006 00 00 0B 0400 00", "zcl.DefaultResponse", 11),
    "T39 ciphertext's length lies": (GBZ, "0109 01 03 0705 0007 00 00 01 00 00 FFFF", "gbz.component.ciphertext", 13),
    "T39 future-dated alert cut short": (GBZ_ALERT, "0109 01 8F70 00000000 0E 00", "gbz_alert.future_dated", 9),
    "T37 indefinite length": (QUERY, "30 80 0000", "CredentialsQuery", 1),
    "T37 length not shortest": (QUERY, "30 81 0C 3007 020104 03020308 3003 020104", "CredentialsQuery", 1),
    "T37 length of nine octets": (QUERY, "30 89 010101010101010101", "CredentialsQuery", 1),
    "T37 length past the end": (QUERY, "30 7F 3007", "CredentialsQuery", 1),
    "T37 wrong tag": (QUERY, "31 0E 3007 020104 03020308 3003 020104", "CredentialsQuery", 0),
    "T37 a huge whole number": (QUERY, "30 17 3010 020A01" + "00" * 9 + "03020308 3003 020104", "CellId.role", 4),
    "T37 a whole number not shortest": (QUERY, "30 0F 3008 02020004 03020308 3003 020104", "CellId.role", 6),
    "T37 a whole number of no octets": (QUERY, "30 0D 3006 0200 03020308 3003 020104", "CellId.role", 4),
    "T37 bits of padding that are set": (QUERY, "30 0E 3007 020104 03020309 3003 020104", "CellId.key_usage", 9),
    "T37 a default that is written": (QUERY, "30 11 300A 020104 03020308 020100 3003 020104", "CellId.cell_usage", 11),
    "T37 octets behind": (QUERY, "30 0E 3007 020104 03020308 3003 020104 00", "asn1", 16),
    "T37 octets behind a member": (QUERY, "30 0F 3007 020104 03020308 3003 020104 00", "CredentialsQuery", 16),
    "T37 an identifier of nine": (UNJOIN, "04 09 000000000000000000", "Unjoin", 0),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "octets", "field", "offset"), PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_broken_payload_is_refused_where_it_is_broken(
    kind: tuple[int, int], octets: str, field: str, offset: int | None
) -> None:
    """Every lie about a length, a count, a type or an end, in every kind of payload."""
    with pytest.raises(GbcsDecodeError) as caught:
        decode_payload(*kind, bytes.fromhex(octets))
    if offset is not None:
        assert (caught.value.field, caught.value.offset) == (field, offset)
    assert caught.value.reason


NESTS = {
    "arrays": ("", "0101"),
    "structures": ("", "0201"),
    "both": ("", "02020101"),
    "types of arrays": ("13", "010001"),
    "types of structures": ("13", "0201"),
}


@pytest.mark.parametrize(("start", "opening"), NESTS.values(), ids=NESTS.keys())
@pytest.mark.parametrize("times", [20, 1_000, 15_000])
def test_deep_nesting_ends_early(start: str, opening: str, times: int) -> None:
    """T38: nesting is refused by its depth, not by the interpreter's stack."""
    octets = bytes.fromhex(start + opening * times + "11 01 00")
    with pytest.raises(GbcsDecodeError, match="nested deeper"):
        decode_data(octets)
    with pytest.raises(GbcsDecodeError, match="nested deeper"):
        decode_payload(*RESPONSE, bytes.fromhex("DA 200003E9 00 00 01") + octets)


def test_a_message_has_a_largest_size() -> None:
    """T37, T38: nothing longer than ``MESSAGE_SIZE_MAX`` is looked at, alone or in blocks."""
    start = bytes.fromhex(f"{DF} 83 010000")
    with pytest.raises(GbcsDecodeError, match="longer than"):
        parse_message(start + bytes(MESSAGE_SIZE_MAX))
    with pytest.raises(GbcsDecodeError, match="longer than"):
        decode_block(bytes.fromhex("DD 09") + bytes(MESSAGE_SIZE_MAX))


# --- sound messages, bent -------------------------------------------------------------------------------------------


@cache
def _sound() -> list[bytes]:
    messages = own.messages()
    return messages[:: len(messages) // 60] + messages[:30]


def _read_everything(data: bytes) -> None:
    """All that is offered to strangers; whatever is read must be written back as it was."""
    with suppress(GbcsDecodeError):
        assert encode(decode(data)) == data
    with suppress(GbcsDecodeError):
        header = read_header(data)
        with suppress(GbcsDecodeError):
            assert parse_message(data).header == header
    with suppress(GbcsDecodeError):
        decode_block(data)
    with suppress(CertificateRefused):
        parse_certificate(data)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_bent_messages_are_read_or_refused(draw: st.DataObject) -> None:
    """T44: octets changed, taken out, put in, doubled or swapped; then read by one reader in one way, or refused."""
    data = bytearray(draw.draw(st.sampled_from(_sound())))
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, max(0, len(data) - 1)))
        piece = draw.draw(st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(SPICE)))
        match draw.draw(st.integers(0, 4)):
            case 0:
                data[place : place + len(piece)] = piece
            case 1:
                data[place:place] = piece
            case 2:
                del data[place : place + len(piece)]
            case 3:
                data[place:place] = data[place : place + 40]
            case _:
                del data[place:]
    _read_everything(bytes(data))


SPICE = [bytes.fromhex(text) for text in ("80", "81FF", "82FFFF", "84FFFFFFFF", "7F", "00", "FF", "13", "0201", "30")]
"""Octets that mean something where lengths, counts and tags stand."""


@settings(max_examples=300, deadline=None)
@given(coded_payloads(), st.integers(0, 1 << 30), st.sampled_from([*SPICE, b""]))
def test_bent_payloads_are_read_or_refused(coded: tuple[int, int, object], where: int, piece: bytes) -> None:
    """Every kind of payload, one place bent."""
    code, cra, payload = coded
    content = encode_payload(payload)  # type: ignore[arg-type]
    at = where % (len(content) + 1)
    bent = content[:at] + piece + content[at + max(1, len(piece)) :]
    with suppress(GbcsDecodeError):
        assert encode_payload(decode_payload(code, cra, bent)) == bent


@settings(max_examples=300)
@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\xdf", b"\xdd", b"\xdd\x09", bytes.fromhex(f"{DF}"), b"\x30\x82"])
)
@example(b"", b"")
def test_octets_without_sense_are_refused(data: bytes, start: bytes) -> None:
    """Raw octets, alone or behind a beginning that looks right."""
    _read_everything(start + data)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1 << 30), st.integers(60, 1_500))
def test_whole_or_in_blocks_is_one_message(which: int, size: int) -> None:
    """T42, T44: however a message is cut into blocks, what comes out is what went in, and is read the same."""
    message = _sound()[which % len(_sound())]
    joiner = Joiner()
    joined = [joiner.add(block) for block in split(message, size)]
    assert joined[:-1] == [None] * (len(joined) - 1)
    assert joined[-1] == message
    assert decode(joined[-1]) == decode(message)


# --- what bad input may cost -----------------------------------------------------------------------------------------


def _dlms(values: str, count: str = "01") -> bytes:
    return bytes.fromhex(f"DA 200003E9 00 00 {count} {values} {count} 0100")


COSTLY = {
    "structures that are nearly flat": _dlms("01 821000" + ("020A" + "1101" * 9 + "06") * 0x1000),
    "unusual values between usual ones": _dlms("01 821000" + ("1101" + "098180" + "00" * 128) * 0x180),
    "compact-arrays": _dlms("01 822000" + "13110100" * 0x2000),
    "compact-arrays of wide structures": _dlms("01 820400" + ("13" + "0214" + "11" * 20 + "14" + "00" * 20) * 0x400),
    "a compact-array of null-data": _dlms("13 0202 0011 82F000" + "00" * 0xF000),
    "strings whose lengths lie": _dlms("01 82F000" + "097F" * 0x7800),
    "tags without values": _dlms("01 82F000" + "13" * 0xF000),
    "many specifications with selection": bytes.fromhex(
        "D9 200003E9 00 820E00" + ("04 0007 0100630100FF 02 01 0201 00" * 0x0E00)
    ),
    "arrays of arrays": _dlms("01 827000" + "0100" * 0x7000),
    "bit-strings": _dlms("01 825000" + "0408FF" * 0x5000),
    "structures of one number each": _dlms("01 822000" + "020106AABBCCDD" * 0x2000),
    "structures as deep as may be": _dlms("01 820700" + ("0201" * 14 + "06AABBCCDD") * 0x700),
    "a load profile": _dlms("13 0202 0612 82EA60" + "AABBCCDDEEFF" * 10_000),
    "a load profile of wide rows": _dlms("13 0282EA60" + "11" * 60_000 + "82EA60" + "01" * 60_000),
    "compact-arrays of arrays": _dlms("13 01EA60 11 82EA60" + "01" * 60_000),
    "components": bytes.fromhex("0109 FF" + "00 0705 0005 00 00 0B 0400" * 0xFE + "01 0705 0005 00 00 0B 0400"),
    "prices": bytes.fromhex("0109 01 01 0700 EA71 09 00 05" + "00" * 19 + "01AABBCCDD" * 11_999),
    "attributes": bytes.fromhex("0109 01 01 0702 EA63 18 00 01" + "0000 86" * 20_000),
    "strings of attributes": bytes.fromhex("0109 01 01 0702 EA63 18 00 01" + "0000 00 41 01 AA" * 10_000),
}
"""Contents of about 60 kB that make a reader work: all are read or refused; what matters is what that costs."""


def _der(inner: bytes, tag: int = 0x30, octets: int = 4) -> bytes:
    return bytes((tag, 0x80 + octets)) + len(inner).to_bytes(octets, "big") + inner


COSTLY_DER = {
    "credentials of many roles": (DETAILS, _der(bytes.fromhex("3006 020102 0A0119") * 7_500, octets=2)),
    "lengths longer than need be": (DETAILS, _der(_der(b"\x02\x84\0\0\0\1\2\x0a\x84\0\0\0\1\x19") * 3_000)),
    "a query of many roles": (
        QUERY,
        _der(bytes.fromhex("3007 020104 03020308") + _der(b"\2\1\4" * 19_000, octets=2), octets=2),
    ),
    "one endless whole number": (QUERY, _der(_der(_der(b"\1" * 60_000, 0x02, 2), octets=2), octets=2)),
    "a certificate that is none": ((0x000B, 1), _der(bytes(60_000), octets=2)),
    "sequences in sequences": (QUERY, b"\x30\x82\xea\x60" * 15_000),
    "bits": (QUERY, _der(_der(b"\2\1\4" + _der(bytes(59_000), 0x03, 2), octets=2) + b"\x30\x03\2\1\4", octets=2)),
}
"""The same for ASN.1, whose lengths and counts are of another kind."""


def _kind(content: bytes) -> tuple[int, int]:
    return {0xD9: REQUEST, 0xDA: RESPONSE}.get(content[0], GBZ)


@pytest.mark.parametrize(
    ("kind", "content"),
    [*((_kind(content), content) for content in COSTLY.values()), *COSTLY_DER.values()],
    ids=[*COSTLY, *COSTLY_DER],
)
def test_bad_input_costs_no_more_than_its_share(kind: tuple[int, int], content: bytes) -> None:
    """T37, T38, T39: 10 ms of CPU time and 10 MB per kB, at most: the best of three runs, the collector at rest."""
    kilobytes = max(1.0, len(content) / 1000)
    spent = []
    gc.disable()
    try:
        for _ in range(3):
            started = time.process_time()
            with suppress(GbcsDecodeError):
                decode_payload(*kind, content)
            spent.append(time.process_time() - started)
    finally:
        gc.enable()
    assert min(spent) < CPU_S_PER_KB * kilobytes
    tracemalloc.start()
    try:
        with suppress(GbcsDecodeError):
            decode_payload(*kind, content)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_PER_KB * kilobytes
