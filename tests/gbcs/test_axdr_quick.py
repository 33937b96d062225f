"""The quick reader of A-XDR lists against the careful one: whatever the octets, one outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lastmetre.gbcs import axdr, axdr_quick
from lastmetre.gbcs.axdr import (
    DEPTH_MAX,
    Array,
    CompactArray,
    DoubleLongUnsigned,
    LongUnsigned,
    NullData,
    OctetString,
    SimpleType,
    Structure,
    StructureType,
    encode_data,
)
from lastmetre.gbcs.errors import GbcsDecodeError
from tests.gbcs.payload_strategies import data_values

if TYPE_CHECKING:
    from lastmetre.gbcs.axdr import Data

Outcome = tuple[tuple["Data", ...], int] | str


def _careful(data: bytes, offset: int, count: int) -> Outcome:
    try:
        return axdr.read_values(data, offset, count, "list")
    except GbcsDecodeError as error:
        return str(error)


def _quick(data: bytes, offset: int, count: int) -> Outcome:
    try:
        return axdr_quick.read_values(data, offset, len(data), count, "list")
    except GbcsDecodeError as error:
        return str(error)


def _same(data: bytes, count: int, offset: int = 0) -> None:
    careful = _careful(data, offset, count)
    axdr_quick.forget()
    assert _quick(data, offset, count) == careful, "read for the first time"
    assert _quick(data, offset, count) == careful, "read again, with what was kept"


lists = st.lists(data_values, max_size=6)
RARE: list[Data] = [
    Structure((OctetString(bytes(0x82)), NullData())),
    CompactArray(
        StructureType((SimpleType(0x06), SimpleType(0x12))),
        tuple(Structure((DoubleLongUnsigned(n), LongUnsigned(n))) for n in range(9)),
    ),
    Array(tuple(Structure((OctetString(b"\x01"), LongUnsigned(n))) for n in range(0x81))),
    Structure((LongUnsigned(1),) * 10),
    Structure((OctetString(bytes.fromhex("091e0000")),) * 3),
]
"""What the quick reader leaves to the careful one, or takes whole."""


@given(lists, st.binary(max_size=10), st.integers(0, 3))
@example(RARE, b"", 0)
@example(RARE * 5, b"\x01\x00", 1)
def test_both_read_the_same_values(values: list[Data], behind: bytes, before: int) -> None:
    """Sound values, with octets before and behind them."""
    data = bytes(before) + b"".join(map(encode_data, values)) + behind
    _same(data, len(values), before)


@given(lists, st.data())
def test_both_refuse_the_same_octets_in_the_same_words(values: list[Data], draw: st.DataObject) -> None:
    """Sound values with an octet changed, put in or taken out, and a count that may lie."""
    data = bytearray(b"".join(map(encode_data, [*values, *RARE[:2]])))
    place = draw.draw(st.integers(0, len(data) - 1))
    match draw.draw(st.sampled_from(["change", "insert", "remove", "cut"])):
        case "change":
            data[place] = draw.draw(st.integers(0, 255))
        case "insert":
            data.insert(place, draw.draw(st.integers(0, 255)))
        case "remove":
            del data[place]
        case _:
            del data[place:]
    _same(bytes(data), draw.draw(st.integers(0, len(values) + 3)))


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*range(0x1C), 0x80, 0x81, 0x82, 0xFF]), max_size=60).map(bytes), st.integers(0, 9))
def test_both_read_the_same_in_octets_without_sense(data: bytes, count: int) -> None:
    """Tags, small lengths and little else."""
    _same(data, count)


@pytest.mark.parametrize("depth", range(DEPTH_MAX - 3, DEPTH_MAX + 3))
@pytest.mark.parametrize("inside", ["00", "0600000001", "0201110A", "0902FFFF"])
def test_both_end_at_the_same_depth(depth: int, inside: str) -> None:
    """Nesting ends where the careful reader ends it, whatever stands innermost."""
    _same(bytes.fromhex("0201" * (depth - 1) + "0101" + inside), 1)
    _same(bytes.fromhex("0201" * depth + inside), 1)


@pytest.mark.parametrize("first", [0x81, 0x82, 0x90, 0xFF])
def test_a_cut_string_whose_length_octet_happens_to_fit_is_refused(first: int) -> None:
    """Regression: ``09 82 ...`` with 130 octets behind it was taken for a string of 130; it is a cut one of more."""
    _same(bytes((0x09, first)) + b"\x77" * first, 1)
    _same(bytes((0x02, 0x02, 0x00, 0x09, first)) + b"\x77" * first, 1)


def test_many_unusual_values_are_left_to_the_careful_reader() -> None:
    """More than ``CUTS_MAX`` of them are read all the same."""
    count = 3 * axdr_quick.CUTS_MAX
    _same(encode_data(RARE[0]) * count, count)


def test_what_is_kept_is_bounded_and_not_personal() -> None:
    """Only short values are kept, never a register reading, a PIN, a text or a structure with a date-time."""
    axdr_quick.forget()
    personal: list[Data] = [DoubleLongUnsigned(12345), OctetString(b"1234"), axdr.VisibleString(b"Mrs Jones"),
                Structure((OctetString(bytes(12)), LongUnsigned(3))), OctetString(b"73943333457189043313")]  # fmt: skip
    _quick(b"".join(map(encode_data, personal)), 0, len(personal))
    assert not {encode_data(value) for value in personal} & axdr_quick._SEEN.keys()
    for number in range(2 * axdr_quick.SEEN_MAX):
        _quick(encode_data(Structure((LongUnsigned(number >> 8), LongUnsigned(number & 255)))), 0, 1)
        assert len(axdr_quick._SEEN) <= axdr_quick.SEEN_MAX
