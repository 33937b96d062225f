"""What a home needs from outside: a place for each device's state, and somebody to tell what happens."""

from __future__ import annotations

from typing import Protocol

EventValue = str | int | bool | None


class Tell(Protocol):
    """Called once for each thing worth seeing; never for the sake of the work itself."""

    def __call__(self, event: str, /, **values: EventValue) -> None:
        """``event`` in snake case and the past tense, with its values."""


class DeviceStore(Protocol):
    """Keeps one device's state. ``save`` is one durable step: all of it or nothing."""

    def load(self) -> bytes | None:
        """What was saved last, or ``None`` for a new device."""

    def save(self, state: bytes) -> None:
        """Replace what was saved."""


class MemoryStore:
    """A store that forgets with its process: for tests and simulated homes."""

    def __init__(self, state: bytes | None = None) -> None:
        self.state = state

    def load(self) -> bytes | None:
        """What was saved last."""
        return self.state

    def save(self, state: bytes) -> None:
        """Keep it."""
        self.state = state
