"""A supplier's outbox for the bearers' tests: envelopes by agent, receipts in a list."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from lastmetre.relay import decode_receipt


class ListOutbox:
    """``supplier.ports.Outbox`` in memory; it hands each envelope out once."""

    def __init__(self) -> None:
        self._envelopes: defaultdict[bytes, list[bytes]] = defaultdict(list)
        self._changed = asyncio.Condition()
        self.receipts: list[tuple[bytes, bytes]] = []
        self.asked: list[bytes] = []
        self.waiting = 0
        """How many calls wait for an envelope now."""
        self._idle = asyncio.Event()

    async def put(self, agent_id: bytes, envelope: bytes) -> None:
        """Have an envelope ready for an agent."""
        async with self._changed:
            self._envelopes[agent_id].append(envelope)
            self._changed.notify_all()

    def left(self, agent_id: bytes) -> int:
        """Envelopes nobody has taken."""
        return len(self._envelopes[agent_id])

    async def next_envelope(self, agent_id: bytes, wait_s: float) -> bytes | None:
        """The port's method."""
        self.asked.append(agent_id)
        self.waiting += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(wait_s), self._changed:
                self._changed.notify_all()
                await self._changed.wait_for(lambda: self._envelopes[agent_id])
                return self._envelopes[agent_id].pop(0)
        except TimeoutError:
            return None
        finally:
            self.waiting -= 1
            self._idle.set()

    async def receipt(self, agent_id: bytes, receipt: bytes) -> None:
        """The port's method."""
        decode_receipt(receipt)
        async with self._changed:
            self.receipts.append((agent_id, receipt))
            self._changed.notify_all()

    async def until_receipts(self, count: int) -> list[tuple[bytes, bytes]]:
        """Wait for that many receipts."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.receipts) >= count)
        return self.receipts

    async def until_asked(self, agent_id: bytes) -> None:
        """Wait until that agent has asked for an envelope."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: agent_id in self.asked)

    async def until_nobody_waits(self) -> None:
        """Wait until the last call for an envelope has ended."""
        async with asyncio.timeout(10):
            await self._idle.wait()
        assert self.waiting == 0
