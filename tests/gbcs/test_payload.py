"""Payloads told apart by rule; damage of any kind; the whole Reference Test Data Set."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lastmetre.gbcs.asn1 import SCHEMAS, Asn1
from lastmetre.gbcs.dlms import AccessRequest, AccessResponse, DataNotification
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.message import parse_message
from lastmetre.gbcs.payload import Payload, decode_payload, encode_payload
from tests.gbcs.payload_strategies import coded_payloads
from tests.shared_data import needs_rtds, rtds_messages

MESSAGES = rtds_messages()
CODES = sorted({code for code, _cra in SCHEMAS} | {0x0019, 0x006B, 0x008B, 0x00CC, 0x00CD, 0x00CF, 0x00F2, 0x1000})


@settings(max_examples=300)
@given(coded_payloads())
def test_any_payload_survives(coded: tuple[int, int, Payload]) -> None:
    """Round trip of every form with the code and CRA flag that go with it."""
    code, cra, payload = coded
    assert decode_payload(code, cra, encode_payload(payload)) == payload


def _holds(code: int, cra: int, content: bytes) -> None:
    """The invariant: octets are a payload that is written back the same, or a ``GbcsDecodeError`` that says where."""
    try:
        payload = decode_payload(code, cra, content)
    except GbcsDecodeError as error:
        refusal = error
    else:
        assert encode_payload(payload) == content
        return
    assert 0 <= refusal.offset <= len(content)
    assert refusal.field
    assert refusal.reason


@settings(max_examples=300)
@given(st.sampled_from(CODES), st.integers(1, 3), st.binary(max_size=120))
@example(0x0019, 1, b"")
def test_any_octets_are_a_payload_or_a_decode_error(code: int, cra: int, content: bytes) -> None:
    """Raw fuzz: no other exception gets out."""
    _holds(code, cra, content)


STARTS = ["D9200003E900", "DA200003E90000", "0F200003E900", "0109", "3082", "3081"]


@settings(max_examples=300)
@given(st.sampled_from(CODES), st.integers(1, 3), st.sampled_from(STARTS), st.binary(max_size=120))
def test_octets_behind_a_good_start_are_too(code: int, cra: int, start: str, rest: bytes) -> None:
    """Raw fuzz that gets past the first checks."""
    _holds(code, cra, bytes.fromhex(start) + rest)


@settings(max_examples=400)
@given(coded_payloads(), st.data())
def test_damaged_payloads_are_too(coded: tuple[int, int, Payload], data: st.DataObject) -> None:
    """Structure-aware fuzz: a good payload with octets changed, left out or put in."""
    code, cra, payload = coded
    content = encode_payload(payload)
    place = data.draw(st.integers(0, len(content)))
    cut = data.draw(st.integers(0, 3))
    _holds(code, cra, content[:place] + data.draw(st.binary(max_size=3)) + content[place + cut :])


def test_forms_follow_the_code_and_the_first_octet() -> None:
    """The same octets are a payload under one CRA flag and an error under another."""
    request = bytes.fromhex("D9200003E9000000")
    assert isinstance(decode_payload(0x0019, 1, request), AccessRequest)
    for cra in (2, 3):
        with pytest.raises(GbcsDecodeError, match="CRA flag"):
            decode_payload(0x0019, cra, request)
    with pytest.raises(GbcsDecodeError):
        decode_payload(0x0008, 1, request)
    for nonsense in (b"", b"\x30\x00", b"\xff"):
        with pytest.raises(GbcsDecodeError):
            decode_payload(0x0019, 1, nonsense)
    with pytest.raises(GbcsValueError):
        encode_payload("not a payload")  # type: ignore[arg-type]


@needs_rtds
def test_every_published_payload_is_read_and_written_back() -> None:
    """The whole data set, and on the way the rules on invoke-ids (7.1) and on who sends longer lengths (9.1)."""
    credentials = {0x0008, 0x011B, 0x00CB, 0x0124, *range(0x0100, 0x010A), 0x0125, 0x0126}
    different = []
    for name, raw in MESSAGES.items():
        message = parse_message(raw)
        code, cra, content = message.header.message_code, message.header.cra, message.content
        payload = decode_payload(code, cra, content)
        same = encode_payload(payload) == content
        if isinstance(payload, AccessRequest | AccessResponse | DataNotification):
            same = same and payload.invoke_id == message.header.originator_counter & 0xFFFFFF
        if isinstance(payload, Asn1) and payload.long_lengths:
            same = same and code in credentials and cra != 1
        if not same:
            different.append(name)
    assert different == []


@needs_rtds
def test_published_payloads_cut_anywhere_are_refused() -> None:
    """Every kind of payload of the data set, one of each code, at every length."""
    kinds: dict[tuple[int, int], bytes] = {}
    for raw in MESSAGES.values():
        message = parse_message(raw)
        kinds.setdefault((message.header.message_code, message.header.cra), message.content)
    for (code, cra), content in kinds.items():
        for size in range(min(len(content), 400)):
            with pytest.raises(GbcsDecodeError):
                decode_payload(code, cra, content[:size])


GREEDY = {
    "nulls in an array": (0x0019, 2, "DA200003E90000 01 01 82F000" + "00" * 0xF000 + "01 0100"),
    "nulls in structures": (0x0019, 2, "DA200003E90000 01 01 824000" + "02020000" * 0x4000 + "010100"),
    "many results": (0x0019, 2, "DA200003E90000 824E20" + "00" * 20000 + "824E20" + "0100" * 20000),
    "compact-array of booleans": (0x0019, 2, "DA200003E90000 01 13 03 82F000" + "00" * 0xF000 + "01 0100"),
    "attributes": (0x006B, 1, "0109 01 01 0702 F003 00 00 00" + "00" * 0xF000),
    "roles": (0x0008, 1, "3082F00D 3007 020104 03020308 3082F000" + "020102" * 0x5000),
}


@pytest.mark.parametrize(("code", "cra", "octets"), GREEDY.values(), ids=GREEDY.keys())
def test_large_payloads_stay_within_their_share(code: int, cra: int, octets: str) -> None:
    """Never more than 10 MB and 10 ms per kB of input (issue 3); the time has slack for a busy machine."""
    content = bytes.fromhex(octets)
    kilobytes = max(1.0, len(content) / 1000)
    started = time.process_time()
    _holds(code, cra, content)
    spent_s = time.process_time() - started
    tracemalloc.start()
    try:
        decode_payload(code, cra, content)
    except GbcsDecodeError:
        pass
    finally:
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 10_000_000 * kilobytes
    assert spent_s < 0.010 * kilobytes
