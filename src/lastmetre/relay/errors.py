"""What can be wrong with what a supplier and an agent say to each other."""

from __future__ import annotations


class RelayError(Exception):
    """The root of the relay protocol's errors."""


class RelayDecodeError(RelayError):
    """Bytes that came in are not what the protocol allows: theirs to put right. Nothing of them was used.

    ``field`` and ``reason`` are tokens of the protocol. ``order_id`` and ``digest`` are filled when they could be read,
    so that a refusal can be addressed; they prove nothing.
    """

    def __init__(self, field: str, reason: str, order_id: str | None = None, digest: bytes | None = None) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
        self.order_id = order_id
        self.digest = digest


class RelayValueError(RelayError, ValueError):
    """Our own side asked for something that the protocol cannot say; ``field`` names what to change."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
