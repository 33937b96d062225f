"""General block transfer against a naive reassembler, and every way to abuse it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lastmetre.gbcs import blocks
from lastmetre.gbcs.blocks import Block, Joiner, decode_block, encode_block, split
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.message import Cra, GroupingHeader, Message, OtherInformation, encode_message

HEADER = GroupingHeader(
    Cra.COMMAND,
    1001,
    bytes.fromhex("00005eef10000010"),
    bytes.fromhex("00005eef100000a0"),
    OtherInformation(0x0019),
)


def _message(size: int, counter: int = 1001) -> bytes:
    header = replace(HEADER, originator_counter=counter)
    content = bytes(number % 251 for number in range(size))
    return encode_message(Message(header, content, b"", bytes(12)))


WHOLE = _message(300)


def test_a_block_has_the_octets_of_the_layout() -> None:
    """Section 6.1, field by field."""
    raw = encode_block(Block(HEADER, 2, b"\xaa\xbb", last=True, acknowledged=1, streaming=True, window=3))
    assert raw == bytes.fromhex(
        "DD 09 01 00000000000003E9 08 00005EEF10000010 08 00005EEF100000A0 00 02 0019 00 0E 0000000000"
        "E0 C3 0002 0001 02 AABB"
    )


@settings(max_examples=60)
@given(st.integers(0, 5000), st.integers(40, 1500), st.randoms(use_true_random=False))
def test_any_message_survives_in_any_order(size: int, block_size: int, random: object) -> None:
    """Split, shuffled, some sent twice: joined it is the same, and exactly once."""
    message = _message(size)
    pieces = split(message, block_size)
    naive = b"".join(decode_block(piece).data for piece in pieces)
    assert naive == message
    *sent, end = pieces
    sent += sent[: len(sent) // 3]
    random.shuffle(sent)  # type: ignore[attr-defined]
    joiner = Joiner()
    assert [joiner.add(piece) for piece in sent] == [None] * len(sent)
    assert joiner.add(end) == message
    with pytest.raises(GbcsDecodeError, match="over"):
        joiner.add(end)


@settings(max_examples=200)
@given(st.binary(max_size=90))
@example(b"")
def test_any_octets_are_a_block_or_a_decode_error(rest: bytes) -> None:
    """Raw fuzz behind a good start; what is accepted is written back the same."""
    start = encode_block(Block(HEADER, 1, b"", last=True))[:33]
    for raw in (rest, b"\xdd\x09" + rest, start + rest):
        try:
            block = decode_block(raw)
        except GbcsDecodeError:
            continue
        assert encode_block(block) == raw


def test_a_block_cut_anywhere_or_lengthened_is_refused() -> None:
    """No block is read from fewer or more octets."""
    raw = split(WHOLE, 100)[0]
    for wrong in (*(raw[:size] for size in range(len(raw))), raw + b"\0"):
        with pytest.raises(GbcsDecodeError):
            decode_block(wrong)


def test_an_acknowledgement_adds_nothing() -> None:
    """A block without data belongs to the transfer and carries nothing."""
    joiner = Joiner()
    assert joiner.add(encode_block(Block(HEADER, 0, b"", last=True, acknowledged=1))) is None
    assert [joiner.add(piece) for piece in split(WHOLE, 200)][-1] == WHOLE


FIRST, SECOND, THIRD, FOURTH = (decode_block(piece) for piece in split(WHOLE, 100))

ABUSES: dict[str, list[Block]] = {
    "another transfer": [FIRST, replace(SECOND, header=replace(HEADER, originator_counter=1002))],
    "another code": [FIRST, replace(SECOND, header=replace(HEADER, other_information=OtherInformation(0x0020)))],
    "same number, other octets": [FIRST, replace(FIRST, data=b"other")],
    "number zero": [replace(FIRST, number=0)],
    "number too high": [replace(FIRST, number=blocks.BLOCKS_MAX + 1)],
    "two last blocks": [replace(SECOND, last=True), FOURTH],
    "a block behind the last": [THIRD, replace(SECOND, last=True)],
    "last taken back": [FOURTH, replace(FOURTH, last=False)],
    "a message of others inside": [
        replace(decode_block(piece), header=HEADER) for piece in split(_message(300, counter=7), 200)
    ],
    "no message inside": [Block(HEADER, 1, b"nonsense", last=True)],
    "blocks inside blocks": [Block(HEADER, 1, split(WHOLE, 100)[0], last=True)],
}


@pytest.mark.parametrize("sent", ABUSES.values(), ids=ABUSES.keys())
def test_a_transfer_that_contradicts_itself_ends(sent: list[Block]) -> None:
    """T42: conflict ends everything, and the octets held are let go."""
    joiner = Joiner()
    *before, wrong = map(encode_block, sent)
    for piece in before:
        assert joiner.add(piece) is None
    with pytest.raises(GbcsDecodeError):
        joiner.add(wrong)
    assert not joiner._parts
    with pytest.raises(GbcsDecodeError, match="over"):
        joiner.add(wrong)


def test_a_gap_is_waited_for() -> None:
    """Without every block there is no message, however often the others come."""
    pieces = split(WHOLE, 100)
    joiner = Joiner()
    for piece in (pieces[0], pieces[2], pieces[3], pieces[2], pieces[0]):
        assert joiner.add(piece) is None
    assert joiner.add(pieces[1]) == WHOLE


def test_endless_blocks_end_at_the_limit() -> None:
    """Octets held are bounded."""
    joiner = Joiner(size_max=1000)
    endless = [encode_block(Block(HEADER, number, bytes(100), last=False)) for number in range(1, 12)]
    for piece in endless[:10]:
        assert joiner.add(piece) is None
    with pytest.raises(GbcsDecodeError, match="longer"):
        joiner.add(endless[10])


def test_what_no_block_can_say_is_refused() -> None:
    """Numbers, windows, sizes and headers beyond the layout."""
    for wrong in (
        replace(FIRST, number=1 << 16),
        replace(FIRST, window=64),
        replace(FIRST, security_header=b""),
        replace(FIRST, header=replace(HEADER, date_time=bytes(12))),
    ):
        with pytest.raises(GbcsValueError):
            encode_block(wrong)
    with pytest.raises(GbcsValueError):
        split(WHOLE, 0)
    with pytest.raises(GbcsValueError, match="larger"):
        split(_message(5000), 1)
