"""Supplier, DSP, agent, hub and meter, all real cores, on wires that a test holds in its hands; with relay permits."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from lastmetre.agent.core import Binding, StoreAndForward
from lastmetre.agent.runner import Runner
from lastmetre.home.block_door import BlockDoor
from lastmetre.home.supply import Supply
from lastmetre.links.agent_store import SqliteAgentStore
from lastmetre.links.permit_store import SqlitePermitStore
from tests import own_world as own
from tests.own_world import CHF, ESME, PPMID
from tests.permit_supplier import PermitWorld
from tests.permit_world import PermitHub
from tests.supplier_world import supplier_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lastmetre.home.comms_hub import Deliver
    from lastmetre.relay import Envelope
    from tests.supplier_world import SupplierWorld


class Story:
    """One home and its supplier."""

    def __init__(self, home: PermitWorld, path: Path, hub: PermitHub) -> None:
        self.home = home
        self.world: SupplierWorld = home.world
        self.hub = hub
        self.meter = own.meter(supply=Supply.OFF_BY_COMMAND, told=hub.told)
        self.path = path
        self.told = own.Told()
        self.up: list[bytes] = []
        self.to_wan: list[bytes] = []
        self._door = BlockDoor()
        self._runner: Runner | None = None

    # the agent's ports

    async def next_envelope(self) -> bytes | None:
        """The bearer down."""
        return await self.world.delivery.next_envelope(PPMID, 0.05)

    async def stored(self) -> None:
        """Nothing to acknowledge."""

    async def hand_on(self, receipt: bytes) -> None:
        """The bearer up."""
        await self.world.delivery.receipt(PPMID, receipt)

    async def transfer(self, message: bytes) -> None:
        """The tunnel up."""
        self.up.append(message)
        self.hub.now = self.now()
        self.deliver(self.hub.up(message))

    def now(self) -> int:
        """Everybody's time of day."""
        return self.world.clock.ms // 1000

    # the HAN

    def deliver(self, deliveries: list[Deliver]) -> None:
        """What the hub hands on reaches meter, PPMID or WAN."""
        for delivery in deliveries:
            if delivery.device_id is None:
                self.to_wan.append(delivery.message)
            elif delivery.device_id == PPMID:
                assert self._runner is not None
                self._runner.message_from_tunnel(delivery.message)
            else:
                whole = self._door.take(delivery.message, self.now())
                for answer in [] if whole is None else self.meter.receive(whole, self.now()):
                    self.deliver(self.hub.up(answer, ESME))

    # playing

    async def run(self, rounds: int = 60) -> None:
        """The agent at work for a moment, on its store."""
        with SqliteAgentStore(self.path / "agent.db") as store:
            core = StoreAndForward(Binding(CHF, frozenset({ESME})), store, self.told, None)
            runner = self._runner = Runner(core, self, self, self, lambda: 0.0, self.told)
            runner.tunnel_opened()
            task = asyncio.create_task(runner.run())
            for _ in range(rounds):
                await asyncio.sleep(0.005)
                if task.done():
                    break
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def sealed(self, service: str = "arm_supply", deadline_s: int = 3_600) -> str:
        """An order whose Command is sealed; its id."""
        order_id = await self.world.place(service, deadline_s=deadline_s)
        await self.world.work()
        assert await self.world.state(order_id) == "sealed"
        return order_id

    async def loot(self) -> Envelope:
        """A sealed Command with its permit, as whoever owns the agent has it."""
        await self.sealed()
        envelope = await self.world.poll()
        assert envelope is not None
        assert envelope.permit is not None
        return envelope

    @property
    def executed(self) -> int:
        """How many Commands the meter carried out."""
        return len(self.hub.told.of("meter_command_accepted"))


@contextlib.contextmanager
def story(path: Path, hub: PermitHub | None = None) -> Iterator[Story]:
    """A world that gives its files back."""
    with supplier_world(path) as world, SqlitePermitStore(path / "permits.sqlite") as store:
        yield Story(PermitWorld(world, store), path, hub or PermitHub())
