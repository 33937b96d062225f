"""DLMS values: each type's octets, and what is refused."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.gbcs import axdr
from lastmetre.gbcs.axdr import (
    Array,
    ArrayType,
    BitString,
    Boolean,
    CompactArray,
    Data,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    Integer,
    Long,
    LongUnsigned,
    NullData,
    OctetString,
    SimpleType,
    Structure,
    StructureType,
    Unsigned,
    decode_data,
    encode_data,
    encode_length,
    read_length,
)
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from tests.gbcs.payload_strategies import data_values

EXAMPLES: list[tuple[str, Data]] = [
    ("00", NullData()),
    ("01 00", Array(())),
    ("01 02 11 01 11 FF", Array((Unsigned(1), Unsigned(255)))),
    ("02 02 0F FF 16 1E", Structure((Integer(-1), Enum(30)))),
    ("03 00", Boolean(False)),
    ("03 FF", Boolean(True)),
    ("03 01", Boolean(True, 1)),
    ("04 03 A0", BitString(3, b"\xa0")),
    ("04 08 A5", BitString(8, b"\xa5")),
    ("04 00", BitString(0, b"")),
    ("05 FF FF FF FE", DoubleLong(-2)),
    ("06 1C 37 4A 80", DoubleLongUnsigned(0x1C374A80)),
    ("09 02 AB CD", OctetString(b"\xab\xcd")),
    ("09 81 80" + "00" * 128, OctetString(bytes(128))),
    ("0A 02 47 42", axdr.VisibleString(b"GB")),
    ("0C 02 C2 A3", axdr.Utf8String("£".encode())),
    ("10 80 00", Long(-32768)),
    ("11 80", Unsigned(128)),
    ("12 03 3D", LongUnsigned(0x33D)),
    ("14 FF FF FF FF FF FF FF FF", axdr.Long64(-1)),
    ("15 00 00 00 00 00 00 00 01", axdr.Long64Unsigned(1)),
    ("16 02", Enum(2)),
    ("17 3F 80 00 00", axdr.Float32(bytes.fromhex("3f800000"))),
    ("18 3F F0 00 00 00 00 00 00", axdr.Float64(bytes.fromhex("3ff0000000000000"))),
    ("19 07DF0101FF 00000000 8000 FF", axdr.DateTime(bytes.fromhex("07df0101ff000000008000ff"))),
    ("1A 07DF0101FF", axdr.Date(bytes.fromhex("07df0101ff"))),
    ("1B 00000000", axdr.Time(bytes(4))),
    ("13 12 04 0001 0002", CompactArray(SimpleType(0x12), (LongUnsigned(1), LongUnsigned(2)))),
    (
        "13 02 02 06 09 07 1C374A80 02 ABCD",
        CompactArray(
            StructureType((SimpleType(6), SimpleType(9))),
            (Structure((DoubleLongUnsigned(0x1C374A80), OctetString(b"\xab\xcd"))),),
        ),
    ),
    (
        "13 01 0002 11 04 01020304",
        CompactArray(
            ArrayType(2, SimpleType(0x11)),
            (Array((Unsigned(1), Unsigned(2))), Array((Unsigned(3), Unsigned(4)))),
        ),
    ),
    ("13 00 00", CompactArray(SimpleType(0), ())),
]


@pytest.mark.parametrize(("octets", "value"), EXAMPLES, ids=[octets[:20] for octets, _value in EXAMPLES])
def test_each_type_has_the_octets_of_the_standard(octets: str, value: Data) -> None:
    """One example per type of section 7.4, both ways."""
    raw = bytes.fromhex(octets)
    assert decode_data(raw) == (value, len(raw))
    assert encode_data(value) == raw


@pytest.mark.parametrize(("octets", "_value"), EXAMPLES, ids=[octets[:20] for octets, _value in EXAMPLES])
def test_every_example_cut_anywhere_is_refused(octets: str, _value: Data) -> None:
    """A value that stops early is an error with an offset inside what is there, never something shorter."""
    raw = bytes.fromhex(octets)
    for size in range(len(raw)):
        with pytest.raises(GbcsDecodeError) as caught:
            decode_data(raw[:size])
        assert 0 <= caught.value.offset <= size
        assert caught.value.field
        assert caught.value.reason


def test_the_published_plaintext_of_ecs17b_is_one_structure() -> None:
    """The decrypted registers printed in section 14 read as values with scaler and unit (30 is Wh)."""
    raw = bytes.fromhex("02010204060000000a02020f00161e060000000a02020f001620")
    register: list[Data] = [DoubleLongUnsigned(10), Structure((Integer(0), Enum(30)))]
    reactive: list[Data] = [DoubleLongUnsigned(10), Structure((Integer(0), Enum(32)))]
    assert decode_data(raw) == (Structure((Structure((*register, *reactive)),)), len(raw))


@given(data_values)
def test_any_value_survives_the_journey(value: Data) -> None:
    """Writing and reading gives the same value and uses every octet, wherever it starts."""
    raw = encode_data(value)
    assert decode_data(raw) == (value, len(raw))
    assert decode_data(b"\x99" + raw, 1) == (value, len(raw) + 1)


@given(st.binary(max_size=80))
def test_any_octets_are_a_value_or_a_decode_error(raw: bytes) -> None:
    """No other exception gets out, and what is accepted is written back the same: one value, one encoding."""
    try:
        value, end = decode_data(raw)
    except GbcsDecodeError:
        return
    assert encode_data(value) == raw[:end]


@given(data_values, st.data())
def test_a_changed_octet_is_read_differently_or_refused(value: Data, data: st.DataObject) -> None:
    """Structure-aware fuzz: damage a good value anywhere; canonical reading holds."""
    raw = bytearray(encode_data(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        other, end = decode_data(bytes(raw))
    except GbcsDecodeError:
        return
    assert encode_data(other) == raw[:end]


@pytest.mark.parametrize(
    ("length", "octets"), [(0, "00"), (127, "7F"), (128, "8180"), (255, "81FF"), (256, "820100"), (65536, "83010000")]
)
def test_lengths_have_their_shortest_form(length: int, octets: str) -> None:
    """Section 3.1, at each border."""
    raw = bytes.fromhex(octets)
    assert encode_length(length) == raw
    assert read_length(raw, 0, "x") == (length, len(raw))


@pytest.mark.parametrize("octets", ["80", "8100", "817F", "820080", "8200FF", "83000100", "85 0000000001", "FF", ""])
def test_longer_or_unknown_lengths_are_refused(octets: str) -> None:
    """Padding a length would give one value two encodings."""
    with pytest.raises(GbcsDecodeError):
        read_length(bytes.fromhex(octets), 0, "x")


@pytest.mark.parametrize("octets", ["07", "08", "0B", "0D", "0E", "1C", "FF", "01 01 08", "13 13 00", "13 08 00"])
def test_unknown_types_are_refused(octets: str) -> None:
    """A tag outside section 7.4, at the top, inside and in a description."""
    with pytest.raises(GbcsDecodeError):
        decode_data(bytes.fromhex(octets))


@pytest.mark.parametrize("start", ["01", "02"])
def test_nesting_ends_at_the_limit(start: str) -> None:
    """Sixteen deep is read, a bomb is refused; no RecursionError."""
    deepest = bytes.fromhex(f"{start}01" * axdr.DEPTH_MAX + "00")
    value, _end = decode_data(deepest)
    assert encode_data(value) == deepest
    for depth in (axdr.DEPTH_MAX + 1, 5000):
        with pytest.raises(GbcsDecodeError, match="nested deeper"):
            decode_data(bytes.fromhex(f"{start}01" * depth + "00"))
    with pytest.raises(GbcsValueError):
        encode_data(Array((value,)))


def test_descriptions_end_at_the_limit() -> None:
    """A type description nests no deeper than values do."""
    with pytest.raises(GbcsDecodeError, match="nested deeper"):
        decode_data(bytes.fromhex("13" + "010001" * 5000 + "11 00"))


BOMBS = [
    "01 84 FFFFFFFF" + "00" * 100,
    "02 84 FFFFFFFF",
    "01 82 FFFF 00",
    "09 84 FFFFFFFF 00",
    "04 84 FFFFFFFF 00",
    "13 01 FFFF 01 FFFF 01 FFFF 01 FFFF 00 01 00",
    "13 02 7F" + "00" * 127 + "01 00",
    "13 01 0000 01 FFFF 11 82 03E8" + "00" * 1000,
    "13 01 FFFF 00 82 03E8" + "00" * 1000,
    "13 11 84 FFFFFFFF 00",
    "13 12 03 0001 00",
    "13 02 84 FFFFFFFF 00",
]


@pytest.mark.parametrize("octets", BOMBS, ids=[octets[:24] for octets in BOMBS])
def test_lies_about_counts_cost_nothing(octets: str) -> None:
    """Counts and lengths that cannot be true are refused before anything is built."""
    raw = bytes.fromhex(octets)
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(GbcsDecodeError):
        decode_data(raw)
    spent_s = time.perf_counter() - started
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert spent_s < 0.5


@pytest.mark.parametrize(
    "value",
    [
        Unsigned(256),
        Unsigned(-1),
        Integer(128),
        DoubleLongUnsigned(1 << 32),
        BitString(9, b"\0"),
        axdr.Float32(b"\0"),
        axdr.DateTime(bytes(5)),
        CompactArray(SimpleType(0x11), (Integer(1),)),
        CompactArray(SimpleType(0x00), (NullData(),)),
        CompactArray(ArrayType(2, SimpleType(0x11)), (Array((Unsigned(1),)),)),
        CompactArray(StructureType((SimpleType(0x11),)), (Unsigned(1),)),
        CompactArray(SimpleType(0x01), ()),
    ],
)
def test_what_no_octets_can_say_is_refused(value: Data) -> None:
    """Values out of range or out of shape raise ``GbcsValueError`` when written."""
    with pytest.raises(GbcsValueError):
        encode_data(value)


def test_a_boolean_and_its_octet_agree() -> None:
    """The kept octet cannot contradict the value."""
    with pytest.raises(GbcsValueError):
        Boolean(True, 0)
    assert Boolean(True) == Boolean(True, 0xFF)


def test_types_with_equal_numbers_are_not_equal() -> None:
    """Values compare with their type: an unsigned 1 is no enum 1."""
    one: Data = Unsigned(1)
    empty: Data = Array(())
    assert one != Enum(1)
    assert empty != Structure(())


def test_readings_of_strings_and_numbers() -> None:
    """Bits as text and floats as numbers."""
    assert BitString(3, b"\xa0").bits == "101"
    assert axdr.Float32(bytes.fromhex("3f800000")).number == 1.0
    assert axdr.Float64(bytes.fromhex("c000000000000000")).number == -2.0
