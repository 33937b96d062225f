"""What an agent needs from outside: a store that survives power cuts, a bearer to the supplier, a tunnel, a clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lastmetre.agent.errors import BearerDownError, ReceiptRefusedError, StoreError, TunnelDownError
from lastmetre.agent.states import State
from lastmetre.relay import CommandClass

__all__ = [
    "Bearer",
    "BearerDownError",
    "Clock",
    "CommandKey",
    "HeldCommand",
    "NewCommand",
    "ReceiptRefusedError",
    "State",
    "Store",
    "StoreError",
    "Tell",
    "Tunnel",
    "TunnelDownError",
    "WaitingReceipt",
]

Tell = Callable[..., None]
"""``tell("event_name", key=value, ...)``: what the screen and the log hear."""


@dataclass(frozen=True, slots=True)
class CommandKey:
    """What a Response repeats of its Command, identifiers swapped (HAN reference 0.5)."""

    originator_id: bytes
    target_id: bytes
    originator_counter: int


@dataclass(frozen=True, slots=True)
class HeldCommand:
    """One Command as the store keeps it. ``number`` is its place in the order of arrival."""

    number: int
    order_id: str
    digest: bytes
    key: CommandKey
    message_code: int
    expires_at: int
    command: bytes
    state: State
    responses: int
    receipt: bytes
    """The latest receipt made for it: what a repeated envelope is answered with."""
    command_class: CommandClass = CommandClass.ORDINARY
    permit: bytes | None = None


@dataclass(frozen=True, slots=True)
class NewCommand:
    """A Command about to be kept."""

    order_id: str
    digest: bytes
    key: CommandKey
    message_code: int
    expires_at: int
    command: bytes
    command_class: CommandClass = CommandClass.ORDINARY
    permit: bytes | None = None


@dataclass(frozen=True, slots=True)
class WaitingReceipt:
    """A receipt that no bearer has handed on yet."""

    number: int
    receipt: bytes


class Store(Protocol):
    """Durable memory. Each method that changes something is one transaction, on disk when it returns.

    Raises ``StoreError`` when it cannot. ``at`` is the agent's time of the change; the store remembers the latest.
    """

    def add(self, command: NewCommand, receipt: bytes, at: int) -> None:
        """Keep a new Command in state TAKEN, and its receipt for the bearer."""
        ...

    def move(self, order_id: str, before: State, after: State, receipt: bytes | None, at: int) -> None:
        """Compare and set the state; with a receipt, queue it for the bearer and remember it as the latest.

        Counts a Response whenever ``after`` is ANSWERED and there is a receipt.
        """
        ...

    def renew(self, order_id: str, permit: bytes, at: int) -> None:
        """Keep another permit for a Command; it changes nothing else."""
        ...

    def queue(self, receipt: bytes, at: int) -> None:
        """Queue a receipt that changes no Command. One that waits already is not queued twice."""
        ...

    def drop_receipt(self, number: int) -> None:
        """Forget a receipt that the bearer handed on."""
        ...

    def forget(self, expired_before: int) -> int:
        """Forget Commands that are done with and expired before then; returns how many."""
        ...

    def by_order(self, order_id: str) -> HeldCommand | None:
        """The Command of an order."""
        ...

    def by_key(self, key: CommandKey) -> HeldCommand | None:
        """The Command that a Response answers; the one that came last when an expired one came again."""
        ...

    def open_commands(self) -> Sequence[HeldCommand]:
        """Commands that may still be offered, in order of arrival."""
        ...

    def highest_counter(self, originator_id: bytes, target_id: bytes) -> int | None:
        """The highest counter remembered for this pair, top-ups apart; ``None`` when there is none."""
        ...

    def count(self) -> int:
        """Commands remembered, in any state."""
        ...

    def waiting_receipts(self, limit: int) -> Sequence[WaitingReceipt]:
        """Receipts for the bearer, oldest first."""
        ...

    def waiting_receipt_count(self) -> int:
        """How many receipts wait."""
        ...

    def latest_at(self) -> int:
        """The latest time of any change; 0 when there was none."""
        ...


class Bearer(Protocol):
    """A way to and from the supplier that is secured and authenticated below this interface.

    Raises ``BearerDownError`` when the supplier cannot be reached; calling again tries again. ``next_envelope`` and
    ``hand_on`` are called from different tasks.
    """

    async def next_envelope(self) -> bytes | None:
        """Wait for an envelope; ``None`` when a while passed without one, so that the caller sees the link is well."""
        ...

    async def stored(self) -> None:
        """Say that the envelope got last is in the store (or was refused): only now may the bearer acknowledge it."""
        ...

    async def hand_on(self, receipt: bytes) -> None:
        """Hand a receipt on; returning means that the other side has it. Raises ``ReceiptRefusedError``."""
        ...


class Tunnel(Protocol):
    """The way up to the hub. What comes down, and that the tunnel opened, the composition tells the runner."""

    async def transfer(self, message: bytes) -> None:
        """Pass a message up, unchanged. Returning means that the hub acknowledged the transport, and nothing more.

        Raises ``TunnelDownError``.
        """
        ...


class Keypad(Protocol):
    """The way to a device's top-up: what the customer's fingers do on the PPMID of today."""

    async def enter(self, device_id: bytes, digits: str) -> bool:
        """Enter twenty digits; whether the device says that it accepted. Raises ``TunnelDownError`` when it is mute."""
        ...


class Clock(Protocol):
    """The time."""

    def now(self) -> int:
        """UTC in Unix seconds."""
        ...
