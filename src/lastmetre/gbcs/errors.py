"""The errors of ``lastmetre.gbcs``: one root, one child for bad bytes, one for bad wishes.

Whoever reads bytes of others catches ``GbcsDecodeError`` and nothing else: no decoder of this package lets another
exception out. ``GbcsValueError`` means that our own side asked for something the standard has no form for.
"""

from __future__ import annotations


class GbcsError(Exception):
    """Root of every error this package raises."""


class GbcsDecodeError(GbcsError):
    """Bytes that are not what the standard says they are.

    ``offset`` counts octets from the start of what was handed to the decoder that raised.
    """

    def __init__(self, field: str, offset: int, reason: str) -> None:
        super().__init__(field, offset, reason)
        self.field = field
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field} at octet {self.offset}: {self.reason}"


class GbcsValueError(GbcsError, ValueError):
    """A value the standard cannot say; the message names what would be allowed."""
