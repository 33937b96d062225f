"""The envelope: what a read message remembers, and what it must not."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.gbcs.message import (
    MESSAGE_SIZE_MAX,
    Cra,
    GroupingHeader,
    Message,
    OtherInformation,
    _read_carefully,
    _read_usual,
    df_part,
    encode_message,
    parse_message,
    to_be_signed,
)

_ids = st.binary(min_size=8, max_size=8)
_counters = st.integers(0, (1 << 64) - 1)
_codes = st.integers(0, 0xFFFF)
_others = st.one_of(
    st.builds(OtherInformation, _codes),
    st.builds(OtherInformation, _codes, _ids),
    st.builds(OtherInformation, _codes, _ids, _counters),
    st.builds(OtherInformation, _codes, _ids, _counters, _counters),
    st.builds(
        OtherInformation, _codes, _ids, _counters, st.none(), st.binary(min_size=8, max_size=400).map(b"\x30".__add__)
    ),
)
_headers = st.builds(
    GroupingHeader,
    st.sampled_from(Cra),
    _counters,
    _ids,
    _ids,
    _others,
    st.one_of(st.just(b""), st.binary(min_size=12, max_size=12)),
)
_macs = st.binary(min_size=12, max_size=12)
_signatures = st.one_of(st.just(b""), st.binary(min_size=64, max_size=64))
messages = st.one_of(
    st.builds(Message, _headers, st.binary(max_size=300), _signatures, st.one_of(st.none(), _macs)),
    st.builds(
        Message,
        _headers.map(lambda header: replace(header, cra=Cra.COMMAND)),
        st.binary(max_size=300),
        st.none(),
        st.none(),
    ),
)
"""Any message there is, Pre-Commands included."""


@given(messages)
def test_what_was_written_is_read_as_the_same_message(message: Message) -> None:
    """Every form of header, content, signature and MAC survives writing and reading."""
    read = parse_message(encode_message(message))
    assert read == message
    assert hash(read) == hash(message)
    assert type(read) is Message
    assert type(read.header) is GroupingHeader


@given(messages)
def test_the_octets_remembered_are_those_that_would_be_written(message: Message) -> None:
    """A check over the octets received is a check over the value: both roads give the same covered octets."""
    read = parse_message(encode_message(message))
    assert df_part(read) == df_part(message)
    assert df_part(read) == df_part(message)
    assert to_be_signed(read) == to_be_signed(message)


@given(messages, st.data())
def test_the_quick_and_the_careful_reader_agree(message: Message, draw: st.DataObject) -> None:
    """What the quick reader takes, the careful one reads the same, whatever was done to it; sound ones it takes."""
    data = bytearray(encode_message(message))
    assert _read_usual(bytes(data)) == _read_carefully(bytes(data))
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.one_of(st.integers(0, len(data)), st.integers(0, min(60, len(data)))))
        octets = draw.draw(st.one_of(st.binary(max_size=2), st.sampled_from([b"\x80", b"\x81\x80", b"\x82\x01\x00"])))
        data[place : place + draw.draw(st.integers(0, 3))] = octets
    quick = _read_usual(bytes(data))
    if quick is not None:
        assert quick == _read_carefully(bytes(data))


@pytest.mark.parametrize("size", [126, 127, 128, 129, 135, 136, 137, 254, 255, 256, 264, 265, 266, 65_535, 65_536])
def test_each_size_of_message_has_one_beginning(size: int) -> None:
    """Where lengths change their form, both readers take the same messages, and no size that has no sound form."""
    for signature in (b"", bytes(64)):
        header = GroupingHeader(Cra.COMMAND, 1, bytes(8), bytes(8), OtherInformation(2))
        start = size - len(encode_message(Message(header, b"", signature, bytes(12))))
        for content in range(max(0, start - 6), start + 1):
            data = encode_message(Message(header, bytes(content), signature, bytes(12)))
            assert len(data) > MESSAGE_SIZE_MAX or _read_usual(data) == _read_carefully(data)
            wrong = data[:7] + bytes((data[7] ^ 1,)) + data[8:]
            assert _read_usual(wrong) is None


@given(messages, st.binary(max_size=20))
def test_a_changed_copy_remembers_nothing(message: Message, content: bytes) -> None:
    """What is covered by a replaced message is what it says now, never what it was read from."""
    changed = replace(parse_message(encode_message(message)), content=content)
    assert not hasattr(changed, "read_from")
    assert df_part(changed) == df_part(replace(message, content=content))
    assert to_be_signed(changed) == to_be_signed(replace(message, content=content))


def test_a_read_message_is_frozen_and_can_be_copied() -> None:
    """Records made through an open twin are ordinary frozen values: no field can be set, and copies are equal."""
    header = GroupingHeader(Cra.COMMAND, 1, bytes(8), bytes(8), OtherInformation(2))
    read = parse_message(encode_message(Message(header, b"content", b"", bytes(12))))
    with pytest.raises(AttributeError):
        read.content = b"other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        read.header.originator_counter = 2  # type: ignore[misc]
    assert copy.deepcopy(read) == read
    assert pickle.loads(pickle.dumps(read)) == read
