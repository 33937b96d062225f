"""An agent's store in memory (implements ``agent.ports.Store``); each change is a durable write, perhaps the last."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lastmetre.agent.ports import HeldCommand, NewCommand, State, StoreError, WaitingReceipt
from lastmetre.agent.states import OPEN
from lastmetre.relay import CommandClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lastmetre.agent.ports import CommandKey
    from lastmetre.sim.parties import Life


@dataclass(slots=True)
class AgentMemory:
    """What is on the flash: it outlives every process."""

    commands: dict[str, HeldCommand] = field(default_factory=dict)
    receipts: dict[int, bytes] = field(default_factory=dict)
    number: int = 0
    at: int = 0


class MemoryAgentStore:
    """One life's door to the flash."""

    def __init__(self, memory: AgentMemory, life: Life) -> None:
        self._memory = memory
        self._life = life

    def add(self, command: NewCommand, receipt: bytes, at: int) -> None:
        """As in the port."""
        self._life.write("add", "before")
        memory = self._memory
        if command.order_id in memory.commands:
            raise StoreError(f"order {command.order_id} is in the store")
        memory.number += 1
        memory.commands[command.order_id] = HeldCommand(
            memory.number,
            command.order_id,
            command.digest,
            command.key,
            command.message_code,
            command.expires_at,
            command.command,
            State.TAKEN,
            0,
            receipt,
            command.command_class,
            command.permit,
        )
        self._queue(receipt, at)
        self._life.write("add", "after")

    def move(self, order_id: str, before: State, after: State, receipt: bytes | None, at: int) -> None:
        """As in the port."""
        name = f"move to {after.value}"
        self._life.write(name, "before")
        held = self._memory.commands.get(order_id)
        if held is None or held.state is not before:
            raise StoreError(f"order {order_id} is not {before.value} in the store")
        answered = 1 if after is State.ANSWERED and receipt is not None else 0
        self._memory.commands[order_id] = replace(
            held, state=after, responses=held.responses + answered, receipt=receipt or held.receipt
        )
        self._memory.at = max(self._memory.at, at)
        if receipt is not None:
            self._queue(receipt, at)
        self._life.write(name, "after")

    def queue(self, receipt: bytes, at: int) -> None:
        """As in the port."""
        self._life.write("queue", "before")
        self._queue(receipt, at)
        self._life.write("queue", "after")

    def _queue(self, receipt: bytes, at: int) -> None:
        self._memory.at = max(self._memory.at, at)
        if receipt not in self._memory.receipts.values():
            self._memory.number += 1
            self._memory.receipts[self._memory.number] = receipt

    def drop_receipt(self, number: int) -> None:
        """As in the port."""
        self._life.write("drop_receipt", "before")
        self._memory.receipts.pop(number, None)
        self._life.write("drop_receipt", "after")

    def forget(self, expired_before: int) -> int:
        """As in the port."""
        self._life.check()
        kept = self._memory.commands
        old = [i for i, held in kept.items() if held.state not in OPEN and held.expires_at < expired_before]
        for order_id in old:
            del kept[order_id]
        return len(old)

    def by_order(self, order_id: str) -> HeldCommand | None:
        """As in the port."""
        self._life.check()
        return self._memory.commands.get(order_id)

    def by_key(self, key: CommandKey) -> HeldCommand | None:
        """As in the port."""
        self._life.check()
        return next((held for held in reversed(self._memory.commands.values()) if held.key == key), None)

    def open_commands(self) -> Sequence[HeldCommand]:
        """As in the port."""
        self._life.check()
        return [held for held in self._memory.commands.values() if held.state in OPEN]

    def count(self) -> int:
        """As in the port."""
        return len(self._memory.commands)

    def waiting_receipts(self, limit: int) -> Sequence[WaitingReceipt]:
        """As in the port."""
        self._life.check()
        return [WaitingReceipt(number, receipt) for number, receipt in self._memory.receipts.items()][:limit]

    def waiting_receipt_count(self) -> int:
        """As in the port."""
        return len(self._memory.receipts)

    def renew(self, order_id: str, permit: bytes, at: int) -> None:
        """As in the port."""
        self._life.write("renew", "before")
        self._memory.commands[order_id] = replace(self._memory.commands[order_id], permit=permit)
        self._memory.at = max(self._memory.at, at)
        self._life.write("renew", "after")

    def highest_counter(self, originator_id: bytes, target_id: bytes) -> int | None:
        """As in the port."""
        self._life.check()
        pair = (originator_id, target_id)
        counters = (
            held.key.originator_counter
            for held in self._memory.commands.values()
            if held.command_class is not CommandClass.TOP_UP and (held.key.originator_id, held.key.target_id) == pair
        )
        return max(counters, default=None)

    def latest_at(self) -> int:
        """As in the port."""
        return self._memory.at
