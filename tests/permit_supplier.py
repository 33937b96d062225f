"""A supplier whose hub wants relay permits, with a real maker of permits at a real DSP core; shared by tests."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from lastmetre.dcc.permits import Permits
from lastmetre.dcc.ports import PermitAsk, PermitRefused
from lastmetre.dcc.sealing import Broker
from lastmetre.relay import Receipt, ReceiptKind, encode_receipt
from lastmetre.relay.permit import NO_NONCE, Answer, Status, encode_answer
from lastmetre.supplier.delivery import Delivery
from lastmetre.supplier.errors import NoPermit
from lastmetre.supplier.permits import PermitDesk
from tests import dsp_world
from tests.own_world import BROKER, PPMID, SUPPLIER

if TYPE_CHECKING:
    from lastmetre.links.permit_store import SqlitePermitStore
    from lastmetre.relay import Envelope
    from tests.supplier_world import SupplierWorld


class PermitWire:
    """The wire to the DSP's maker of permits."""

    def __init__(self, world: SupplierWorld, store: SqlitePermitStore) -> None:
        self.world = world
        self.asked: list[PermitAsk] = []
        self.fails: Exception | None = None
        self.forge: bytes | None = None
        self.permits = Permits(
            broker=Broker(BROKER, dsp_world.BrokerKeys(), dsp_world.EveryCertificate()),
            inventory=lambda: world.dsp.inventory,
            commands=world.dsp.store,
            store=store,
            tell=world.told,
            clock=lambda: world.clock.ms // 1000,
        )

    async def permit(
        self, request_id: str, digest: bytes, carrier_id: bytes, not_after: int, hub_nonce: bytes | None
    ) -> bytes:
        """As in the port."""
        if self.fails is not None:
            raise self.fails
        ask = PermitAsk(request_id, digest, carrier_id, not_after=not_after, hub_nonce=hub_nonce)
        self.asked.append(ask)
        try:
            made = self.permits.issue(SUPPLIER, ask).permit
        except PermitRefused as refused:
            raise NoPermit(refused.code) from refused
        return self.forge or made


class PermitWorld:
    """A supplier whose hub A wants permits."""

    def __init__(self, world: SupplierWorld, store: SqlitePermitStore) -> None:
        self.world = world
        self.wire = PermitWire(world, store)
        self.restart()

    def restart(self) -> None:
        """A new process: what was known of permits is forgotten."""
        world = self.world
        devices = {device_id: replace(device, permits=True) for device_id, device in world.devices.items()}
        world.delivery = Delivery(
            store=world.store,
            keys=world.keys,
            devices=devices,
            policy=world.policy,
            clock=world.clock,
            tell=world.told,
            permits=PermitDesk(self.wire, SUPPLIER),
        )

    async def handed_on(self) -> tuple[str, Envelope]:
        """An order, and the envelope the agent has stored."""
        order_id = await self.world.place()
        await self.world.work()
        envelope = await self.world.poll()
        assert envelope is not None
        await self.world.say(envelope, ReceiptKind.TAKEN)
        return order_id, envelope

    async def hub_says(
        self, envelope: Envelope, status: Status, *, clock: bool = True, nonce: bytes = NO_NONCE
    ) -> None:
        """The agent passes the hub's record on."""
        now = self.world.clock.ms // 1000
        record = encode_answer(Answer(status, clock, 1, now, nonce))
        digest = hashlib.sha256(envelope.command).digest()
        receipt = Receipt(envelope.order_id, ReceiptKind.PERMIT_ANSWERED, now, digest, permit_answer=record)
        await self.world.delivery.receipt(PPMID, encode_receipt(receipt))
