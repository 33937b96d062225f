"""The errors of ``lastmetre.han``: one root, one child for bad bytes off the air, one for our own impossible wishes."""

from __future__ import annotations


class HanError(Exception):
    """Root of every error this package raises."""


class HanDecodeError(HanError):
    """Bytes that are not what the standard says; ``offset`` counts octets from the start of what was being read.

    The decoders raise it and nothing else. A ``Node`` catches it: broken frames never leave ``receive`` as exceptions.
    """

    def __init__(self, field: str, offset: int, reason: str) -> None:
        super().__init__(field, offset, reason)
        self.field = field
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field} at octet {self.offset}: {self.reason}"


class HanValueError(HanError, ValueError):
    """Our own side asked for something the network cannot carry; the message names what would be allowed."""
