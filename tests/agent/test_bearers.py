"""Several bearers as one: moving on, moving back, and acknowledging where an envelope came from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from lastmetre.agent.bearers import RETURN_S, BearersInOrder, NamedBearer
from lastmetre.agent.errors import BearerDownError, ReceiptRefusedError


@dataclass
class Wire:
    """A bearer that is up or down, and notes what it did."""

    up: bool = True
    refuses: bool = False
    did: list[str] = field(default_factory=list)

    def _check(self) -> None:
        if not self.up:
            raise BearerDownError("is down")

    async def next_envelope(self) -> bytes | None:
        """As in the port."""
        self.did.append("asked")
        self._check()
        return b"envelope"

    async def stored(self) -> None:
        """As in the port."""
        self.did.append("stored")

    async def hand_on(self, receipt: bytes) -> None:
        """As in the port."""
        self._check()
        if self.refuses:
            raise ReceiptRefusedError("malformed")
        self.did.append(f"receipt {receipt.decode()}")


class World:
    """Two wires, a count of seconds and what was told."""

    def __init__(self) -> None:
        self.https, self.mqtt, self.now, self.told = Wire(), Wire(), 0.0, list[str]()
        self.both = BearersInOrder(
            [NamedBearer("https", self.https), NamedBearer("mqtt", self.mqtt)],
            lambda: self.now,
            lambda: 0.5,
            lambda event, **facts: self.told.append(f"{event} {facts['bearer']}"),
        )


def test_the_best_is_used_while_it_works() -> None:
    """Nobody asks the second one, and nothing is told."""

    async def story() -> None:
        world = World()
        assert await world.both.next_envelope() == b"envelope"
        await world.both.stored()
        await world.both.hand_on(b"1")
        assert (world.https.did, world.mqtt.did, world.told) == (["asked", "stored", "receipt 1"], [], [])

    asyncio.run(story())


def test_it_moves_on_and_stays_until_the_time_to_return() -> None:
    """Down: the next one, at once. Up again: only after a while, and a failed return is not repeated at once."""

    async def story() -> None:
        world = World()
        world.https.up = False
        assert await world.both.next_envelope() == b"envelope"
        await world.both.stored()
        await world.both.hand_on(b"1")
        assert world.mqtt.did == ["asked", "stored", "receipt 1"]
        world.https.did.clear()
        await world.both.next_envelope()
        assert world.https.did == []
        world.now = RETURN_S
        await world.both.next_envelope()
        await world.both.next_envelope()
        assert world.https.did == ["asked"]
        world.https.up, world.now = True, 2 * RETURN_S
        await world.both.next_envelope()
        await world.both.stored()
        assert world.https.did == ["asked", "asked", "stored"]
        assert world.told == ["bearer_changed mqtt", "bearer_changed https"]

    asyncio.run(story())


def test_a_receipt_goes_by_whichever_takes_it() -> None:
    """A receipt does not wait for the next poll to find out; a refusal is final and no reason to move."""

    async def story() -> None:
        world = World()
        world.https.up = False
        await world.both.hand_on(b"1")
        assert world.mqtt.did == ["receipt 1"]
        world.https.up, world.https.refuses = True, True
        with pytest.raises(ReceiptRefusedError):
            await world.both.hand_on(b"2")
        assert world.mqtt.did == ["receipt 1"]

    asyncio.run(story())


def test_only_when_none_works_is_it_an_outage() -> None:
    """The words name both, and the next attempt begins with the one used last."""

    async def story() -> None:
        world = World()
        world.https.up = world.mqtt.up = False
        with pytest.raises(BearerDownError, match="https: is down; mqtt: is down"):
            await world.both.next_envelope()
        with pytest.raises(BearerDownError, match="https: is down; mqtt: is down"):
            await world.both.hand_on(b"1")
        world.mqtt.up = True
        assert await world.both.next_envelope() == b"envelope"

    asyncio.run(story())
