"""The door of a device through which long messages pass in blocks (reference: gbcs-messages 6.1, han 1.7).

What comes in is a whole message, or a block: blocks are joined here, and only whole messages go on to be judged, for
blocks carry no protection. What goes out above the link's size is cut. The hub looks at neither (han R11).

Memory is bounded: four transfers at once, the oldest giving way, each a day at most (a gas meter may fetch the blocks
of one message in several wakes). DESIGN CHOICES.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from lastmetre.gbcs.blocks import BLOCK_SIZE_MAX, Joiner, decode_block, split
from lastmetre.gbcs.errors import GbcsDecodeError

BLOCK_START: Final = b"\xdd\x09"
"""How a block begins; a whole message begins DD 00 or DF."""
TRANSFERS_MAX: Final = 4
TRANSFER_LIFE_S: Final = 24 * 3_600
JOINED_SIZE_MAX: Final = 8_192
"""Longest message joined: twice the longest published Command. DESIGN CHOICE."""

_Key = tuple[int, bytes, bytes, int, int]


def is_block(data: bytes) -> bool:
    """Whether these octets are a block, by their first two."""
    return data[:2] == BLOCK_START


def cut(message: bytes, size_max: int) -> list[bytes]:
    """The message itself when the link carries it, else its blocks."""
    return [message] if len(message) <= size_max else split(message, BLOCK_SIZE_MAX)


@dataclass(slots=True)
class BlockDoor:
    """Joins what comes to one device in blocks."""

    _joiners: dict[_Key, tuple[Joiner, int]] = field(default_factory=dict)

    def take(self, data: bytes, now: int) -> bytes | None:
        """A whole message to be judged, or ``None`` while blocks are missing or when a transfer broke."""
        if not is_block(data):
            return data
        for key, (_joiner, since) in list(self._joiners.items()):
            if since + TRANSFER_LIFE_S <= now:
                del self._joiners[key]
        try:
            header = decode_block(data).header
        except GbcsDecodeError:
            return data  # not a block after all: acceptance says what is wrong with it
        key = (
            int(header.cra),
            header.business_originator_id,
            header.business_target_id,
            header.originator_counter,
            header.message_code,
        )
        joiner, _since = self._joiners.setdefault(key, (Joiner(JOINED_SIZE_MAX), now))
        try:
            whole = joiner.add(data)
        except GbcsDecodeError:
            del self._joiners[key]
            return None
        if whole is not None:
            del self._joiners[key]
        while len(self._joiners) > TRANSFERS_MAX:
            del self._joiners[next(iter(self._joiners))]
        return whole
