"""General block transfer: one message cut into blocks, and joined again (gbcs-messages section 6.1).

Rules this module keeps:

* A block carries no protection. Only the joined message is checked, by whoever receives it.
* One ``Joiner`` joins one transfer. Memory and count are bounded (``MESSAGE_SIZE_MAX``, ``BLOCKS_MAX``); time is not
  known here, so the owner drops a joiner that has waited too long.
* A block of another transfer, a block that contradicts an earlier one, a number of zero, or a last block that is not
  the highest ends the transfer: ``GbcsDecodeError``, and the octets held are let go.
* The same block twice is no error: links repeat.

No published message is a block; the layout comes from public implementations [S], and what the security header must
hold is inference [I]: zero is written, anything is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from lastmetre.gbcs.axdr import encode_length, read_length
from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError
from lastmetre.gbcs.message import MESSAGE_SIZE_MAX, Cra, GroupingHeader, OtherInformation, read_header

BLOCK_SIZE_MAX: Final = 1_200
"""Octets of block data ``split`` puts into a block unless told otherwise: with the header it fits the 1,500 octets of
a Zigbee tunnel. DESIGN CHOICE; the real limit comes from the link."""

BLOCKS_MAX: Final = 4_096
"""Blocks of one transfer, at most. DESIGN CHOICE."""

TAG_GENERAL_CIPHERING: Final = 0xDD
TAG_GENERAL_BLOCK_TRANSFER: Final = 0xE0
SECURITY_HEADER_SIZE: Final = 5
CONTROL_LAST: Final = 0x80
CONTROL_STREAMING: Final = 0x40
WINDOW_MASK: Final = 0x3F


@dataclass(frozen=True, slots=True)
class Block:
    """One block. ``header`` is that of the message carried, its other-information no more than the code.

    Blocks count from one. Without data a block only acknowledges.
    """

    header: GroupingHeader
    number: int
    data: bytes
    last: bool
    acknowledged: int = 0
    streaming: bool = False
    window: int = 1
    security_header: bytes = bytes(SECURITY_HEADER_SIZE)


def encode_block(block: Block) -> bytes:
    """The octets of a block."""
    if not 0 <= block.number <= 0xFFFF or not 0 <= block.acknowledged <= 0xFFFF or not 0 <= block.window <= WINDOW_MASK:
        raise GbcsValueError("block numbers have 16 bits, a window has six")
    if block.header.date_time:
        raise GbcsValueError("a block's header has no date-time")
    if len(block.security_header) != SECURITY_HEADER_SIZE:
        raise GbcsValueError("a security header has five octets")
    control = (CONTROL_LAST * block.last) | (CONTROL_STREAMING * block.streaming) | block.window
    numbers = block.number.to_bytes(2, "big") + block.acknowledged.to_bytes(2, "big")
    inner = b"".join(
        (
            block.security_header,
            bytes((TAG_GENERAL_BLOCK_TRANSFER, control)),
            numbers,
            encode_length(len(block.data)),
            block.data,
        )
    )
    start = bytes((TAG_GENERAL_CIPHERING,)) + block.header.to_bytes()
    return b"".join((start, b"\0", encode_length(len(inner)), inner))


def decode_block(data: bytes) -> Block:
    """Read the block that fills ``data``."""
    if data[:2] != b"\xdd\x09":
        raise GbcsDecodeError("block", 0, "a block begins with DD 09")
    if len(data) > MESSAGE_SIZE_MAX:
        raise GbcsDecodeError("block", MESSAGE_SIZE_MAX, f"longer than {MESSAGE_SIZE_MAX} octets")
    header = read_header(data)
    if header.date_time:
        raise GbcsDecodeError("block.date_time", 29, "must be empty")
    # Only shortest lengths are read, so the header is as long as it would be written.
    at = 1 + len(header.to_bytes())
    if data[at : at + 1] != b"\0":
        raise GbcsDecodeError("block.key_info", at, "must be absent: 00")
    length, start = read_length(data, at + 1, "block")
    if length != len(data) - start:
        raise GbcsDecodeError("block", at + 1, f"announces {length} octets where {len(data) - start} follow")
    body = start + SECURITY_HEADER_SIZE
    if body + 6 > len(data):
        raise GbcsDecodeError("block", len(data), "cut short")
    if data[body] != TAG_GENERAL_BLOCK_TRANSFER:
        raise GbcsDecodeError("block", body, f"E0 is due here, not {data[body]:02X}")
    control = data[body + 1]
    size, first = read_length(data, body + 6, "block.data")
    if size != len(data) - first:
        raise GbcsDecodeError("block.data", body + 6, f"announces {size} octets where {len(data) - first} follow")
    return Block(
        header,
        int.from_bytes(data[body + 2 : body + 4], "big"),
        data[first:],
        last=bool(control & CONTROL_LAST),
        acknowledged=int.from_bytes(data[body + 4 : body + 6], "big"),
        streaming=bool(control & CONTROL_STREAMING),
        window=control & WINDOW_MASK,
        security_header=data[start:body],
    )


def split(message: bytes, size: int = BLOCK_SIZE_MAX) -> list[bytes]:
    """Cut a whole message into blocks of at most ``size`` octets of data."""
    if size < 1:
        raise GbcsValueError("a block holds one octet at least")
    count = -(-len(message) // size)
    if count > BLOCKS_MAX:
        raise GbcsValueError(f"{count} blocks are more than {BLOCKS_MAX}: make them larger")
    routing = _routing(read_header(message))
    return [
        encode_block(Block(routing, number + 1, message[number * size : (number + 1) * size], last=number + 1 == count))
        for number in range(count)
    ]


def _routing(header: GroupingHeader) -> GroupingHeader:
    """The part of a message's header that its blocks repeat: no date-time, and of other-information only the code."""
    return GroupingHeader(
        header.cra,
        header.originator_counter,
        header.business_originator_id,
        header.business_target_id,
        OtherInformation(header.message_code),
    )


@dataclass(slots=True)
class Joiner:
    """Joins the blocks of one transfer, in whatever order they come.

    ``add`` returns the message when it is whole. After an error or the end the joiner takes nothing more.
    """

    size_max: int = MESSAGE_SIZE_MAX
    _transfer: tuple[Cra, int, bytes, bytes, int] | None = None
    _parts: dict[int, bytes] = field(default_factory=dict)
    _size: int = 0
    _highest: int = 0
    _last: int | None = None
    _closed: bool = False

    def add(self, data: bytes) -> bytes | None:
        """Take one block; raises ``GbcsDecodeError`` when it cannot belong to a sound transfer."""
        if self._closed:
            raise GbcsDecodeError("block", 0, "this transfer is over")
        try:
            return self._take(decode_block(data))
        except GbcsDecodeError:
            self._close()
            raise

    def _take(self, block: Block) -> bytes | None:
        header = block.header
        transfer = (
            header.cra,
            header.originator_counter,
            header.business_originator_id,
            header.business_target_id,
            header.message_code,
        )
        if self._transfer is None:
            self._transfer = transfer
        if transfer != self._transfer:
            raise GbcsDecodeError("block", 0, "belongs to another transfer")
        if not block.data:
            return None
        if not 1 <= block.number <= BLOCKS_MAX:
            raise GbcsDecodeError("block.number", 0, f"{block.number} is not between 1 and {BLOCKS_MAX}")
        self._keep(block)
        if self._last is None or len(self._parts) != self._last:
            return None
        whole = b"".join(self._parts[number] for number in range(1, self._last + 1))
        self._close()
        inner = read_header(whole)
        if whole[:2] == b"\xdd\x09" or (_routing(inner), inner.cra) != (_routing(header), header.cra):
            raise GbcsDecodeError("block", 0, "the message inside is not the one its blocks announced")
        return whole

    def _keep(self, block: Block) -> None:
        known = self._parts.get(block.number)
        if known is None:
            self._size += len(block.data)
            if self._size > self.size_max:
                raise GbcsDecodeError("block", 0, f"the message is longer than {self.size_max} octets")
            self._parts[block.number] = block.data
            self._highest = max(self._highest, block.number)
        elif known != block.data:
            raise GbcsDecodeError("block", 0, f"number {block.number} came before with other octets")
        if block.last:
            if self._last not in {None, block.number}:
                raise GbcsDecodeError("block", 0, "two blocks say they are the last")
            self._last = block.number
        elif self._last == block.number:
            raise GbcsDecodeError("block", 0, "the last block came again as one that is not")
        if self._last is not None and self._highest > self._last:
            raise GbcsDecodeError("block", 0, "there is a block behind the last one")

    def _close(self) -> None:
        self._closed = True
        self._parts.clear()
        self._size = 0
