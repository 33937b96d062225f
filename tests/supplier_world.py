"""A supplier of our own for tests: its real core on a store, with a real DSP core and a real meter at the other ends.

Keys and certificates are those of ``own_world``. Time and the wires are in the test's hands: nothing moves by itself.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lastmetre.dcc.ports import OutboxKind, Service
from lastmetre.duis.documents import answer, build_signed_response, parse_request
from lastmetre.gbcs.catalogue import Lane
from lastmetre.relay import Receipt, ReceiptKind, decode_envelope, encode_receipt
from lastmetre.supplier.delivery import Delivery
from lastmetre.supplier.desk import OrderDesk
from lastmetre.supplier.errors import DspUnreachable
from lastmetre.supplier.keys import SupplierKeys
from lastmetre.supplier.orders import Order, Road
from lastmetre.supplier.queue_memory import Jobs
from lastmetre.supplier.roads import Device, RoadPolicy, WanCoverage
from lastmetre.supplier.store_memory import MemoryOrderStore
from lastmetre.supplier.worker import Worker
from tests import dsp_world
from tests import own_world as own
from tests.own_world import BROKER, CHF, ESME, NOW, OTHER_ESME, PPMID, SUPPLIER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec

    from lastmetre.duis.documents import Payload
    from lastmetre.gbcs.keys import KeyUse
    from lastmetre.home.esme import Esme
    from lastmetre.relay import Envelope
    from lastmetre.supplier.ports import OrderStore

Run = Callable[[Callable[[], Awaitable[None]]], None]
"""Runs a story to its end."""

DARK_PPMID = bytes.fromhex("00005eef100000b4")
HOURS = 3600


def an_order(**fields: Any) -> Order:
    """An order as a value, for the parts that need no world."""
    plain = Order(
        order_id="one",
        device_id=ESME,
        service="arm_supply",
        values_json="{}",
        roads=(Road.PPMID,),
        deadline_at=NOW + HOURS,
        reason="",
        idempotency_key="key",
        body_digest=bytes(32),
        accepted_at=NOW,
        lane=Lane.ORDINARY,
    )
    return replace(plain, **fields)


class SupplierOwnKeys:
    """A key store that holds the supplier's keys and nobody else's."""

    def private_key(self, entity_id: bytes, use: KeyUse) -> ec.EllipticCurvePrivateKey:
        assert entity_id == SUPPLIER, "the supplier asked for somebody else's private key"
        return own.private_key(entity_id, use)


class HandClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.ms = NOW * 1000

    def now_ms(self) -> int:
        return self.ms

    def pass_s(self, seconds: int) -> None:
        self.ms += seconds * 1000


class DspWire:
    """The wire to a real DSP core. ``lose_requests`` and ``lose_answers`` count down with each loss."""

    def __init__(self, world: dsp_world.World, clock: HandClock) -> None:
        self.world = world
        self.clock = clock
        self.lose_requests = 0
        self.lose_answers = 0
        self.sent: list[tuple[Service, bytes]] = []
        self.answers: list[bytes] = []
        self.forge: bytes | None = None

    async def transform(self, xml: bytes) -> bytes:
        return self._carry(Service.TRANSFORM, xml)

    async def send_command(self, xml: bytes) -> bytes:
        return self._carry(Service.SEND_COMMAND, xml)

    async def non_device(self, xml: bytes) -> bytes:
        return self._carry(Service.NON_DEVICE, xml)

    def _carry(self, service: Service, xml: bytes) -> bytes:
        if self.lose_requests:
            self.lose_requests -= 1
            raise DspUnreachable("the request was lost")
        self.sent.append((service, xml))
        self.world.now = self.clock.ms // 1000
        answer = self.world.dsp.answer(service, SUPPLIER, xml)
        if self.lose_answers:
            self.lose_answers -= 1
            raise DspUnreachable("the answer was lost")
        self.answers.append(answer)
        return self.forge if self.forge is not None else answer


def devices() -> dict[bytes, Device]:
    """Home A with good WAN, home B where no WAN reaches; a PPMID with an agent in both."""
    return {
        ESME: Device(ESME, CHF, WanCoverage.GOOD, PPMID),
        OTHER_ESME: Device(OTHER_ESME, dsp_world.DARK_CHF, WanCoverage.NONE, DARK_PPMID),
    }


class SupplierWorld:
    """The supplier with everything it talks to."""

    def __init__(self, path: Path, store: OrderStore | None = None, policy: RoadPolicy | None = None) -> None:
        self.clock = HandClock()
        self.told = own.Told()
        self.jobs = Jobs()
        self.store = store or MemoryOrderStore(self.jobs)
        self.dsp = dsp_world.World(path)
        self.wire = DspWire(self.dsp, self.clock)
        self.meters: dict[bytes, Esme] = {entity: own.meter(entity_id=entity) for entity in (ESME, OTHER_ESME)}
        self.policy = policy or RoadPolicy()
        self._ids = itertools.count(1)
        self.restart()

    def restart(self) -> None:
        """A new process on the same store."""
        self.keys = SupplierKeys(SUPPLIER, BROKER, SupplierOwnKeys(), dsp_world.EveryCertificate())
        common = {"store": self.store, "keys": self.keys, "clock": self.clock, "tell": self.told}
        self.devices = devices()
        self.delivery = Delivery(devices=self.devices, policy=self.policy, **common)  # type: ignore[arg-type]
        self.worker = Worker(devices=self.devices, policy=self.policy, dsp=self.wire, **common)  # type: ignore[arg-type]
        self.desk = OrderDesk(devices=self.devices, new_id=self._new_id, **common)  # type: ignore[arg-type]

    def _new_id(self) -> str:
        return f"order-{next(self._ids)}"

    def close(self) -> None:
        self.dsp.close()

    # -- doing ---------------------------------------------------------------------------------------------------

    async def place(
        self, service: str = "arm_supply", *, device: bytes = ESME, roads: tuple[str, ...] = ("ppmid",),
        deadline_s: int = HOURS, values: dict[str, int] | None = None,
    ) -> str:  # fmt: skip
        """Places an order; its id."""
        body: dict[str, object] = {
            "device_id": device.hex(), "service": service, "values": values or {}, "deadline_s": deadline_s,
            "roads": list(roads), "reason": "a test", "ordered_by": "ann",
        }  # fmt: skip
        return str((await self.desk.place(body))["order_id"])

    async def work(self, steps_max: int = 100) -> None:
        """The worker does everything it can do now."""
        for _ in range(steps_max):
            moved = [await self.worker.step(order.order_id) for order in await self.store.open_orders()]
            if not any(moved):
                return
        raise AssertionError("the worker does not come to rest")

    async def poll(self, agent: bytes = PPMID) -> Envelope | None:
        """The agent asks once."""
        envelope = await self.delivery.next_envelope(agent, 0)
        return None if envelope is None else decode_envelope(envelope)

    async def say(
        self, envelope: Envelope, kind: ReceiptKind, message: bytes | None = None, *, agent: bytes = PPMID
    ) -> None:
        """The agent sends a receipt."""
        reason = {ReceiptKind.EXPIRED: "not_offered", ReceiptKind.REFUSED: "another_hub"}.get(kind)
        digest = hashlib.sha256(envelope.command).digest()
        receipt = Receipt(envelope.order_id, kind, self.clock.ms // 1000, digest, message, reason)
        await self.delivery.receipt(agent, encode_receipt(receipt))

    def execute(self, command: bytes, device: bytes = ESME) -> bytes:
        """The meter's Response."""
        (response,) = self.meters[device].receive(command, self.clock.ms // 1000)
        return response

    async def carry(self, agent: bytes = PPMID) -> Envelope:
        """One Command all the way to the meter and back."""
        envelope = await self.poll(agent)
        assert envelope is not None
        await self.say(envelope, ReceiptKind.TAKEN, agent=agent)
        await self.say(envelope, ReceiptKind.TAKEN_BY_TUNNEL, agent=agent)
        response = self.execute(envelope.command, envelope.target_id)
        await self.say(envelope, ReceiptKind.RESPONSE, response, agent=agent)
        return envelope

    async def order(self, order_id: str) -> Order:
        order = await self.store.order(order_id)
        assert order is not None
        return order

    async def state(self, order_id: str) -> str:
        return (await self.order(order_id)).state.value

    async def names(self, order_id: str) -> list[str]:
        """Names of the documents kept with an order."""
        return [document.name for document in await self.store.documents(order_id)]

    def sealed(self) -> int:
        """How many Commands the DSP sealed."""
        return len(self.dsp.told.of("command_sealed"))

    def forged(self, payload: Payload | None, code: str = "I0") -> bytes:
        """What a DSP that lies would sign about the last request."""
        request = parse_request(self.wire.sent[-1][1])
        made = answer(request, code, self.clock.ms // 1000, payload)
        return build_signed_response(made, dsp_world.xml_signer(BROKER))

    async def wan_round(self, hub_id: bytes = CHF, *, deliver: bool = True) -> list[bytes]:
        """What waits at the DSP for the WAN goes to the meter, its answers come back, documents go to the supplier.

        Without ``deliver`` the WAN loses what goes to the meter.
        """
        documents = []
        while items := self._take_out():
            for kind, body in items:
                if kind is OutboxKind.PUSH:
                    documents.append(body)
                    assert await self.delivery.receive_response(BROKER, body)
                elif deliver:
                    for message in self.meters[ESME].receive(body, self.clock.ms // 1000):
                        self.dsp.dsp._responses.take_from_wan(hub_id, message)
        return documents

    def _take_out(self) -> list[tuple[OutboxKind, bytes]]:
        with self.dsp.store.change() as change:
            items = change.outbox()
            for item in items:
                change.take_out(item.number)
        return [(OutboxKind(item.kind), item.body) for item in items]


@contextmanager
def supplier_world(path: Path, **settings: object) -> Iterator[SupplierWorld]:
    """A world that gives its files back."""
    world = SupplierWorld(path / "dsp.sqlite", **settings)  # type: ignore[arg-type]
    try:
        yield world
    finally:
        world.close()
