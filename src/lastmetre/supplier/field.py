"""The field: Commands in a signed pack for an engineer's hand-held terminal, and the pack of Responses read back.

The rules kept here (design section 2; ``relay.hht_pack`` is the form):

- Being put into a pack is being handed on: stored as *at large* before the pack leaves this module, and paid for.
- The same octets as by any other road; an order packed twice is the same Command twice, and the meter takes it once.
- What comes back is a claim until each Response is verified, like one from any carrier. Firmware images never leave
  this way: there is no service here that is one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lastmetre.gbcs.errors import GbcsError
from lastmetre.gbcs.message import read_header
from lastmetre.relay.hht_pack import COMMANDS_MAX, Pack, PackRefused, decode_responses, encode_pack, place_in_pack
from lastmetre.supplier.errors import OrderRefused
from lastmetre.supplier.orders import (
    AttemptState,
    Event,
    Order,
    Road,
    State,
    attempt_changed,
    latest_attempt,
    moved,
    with_attempt,
)
from lastmetre.supplier.ports import Document
from lastmetre.supplier.store_steps import Change, apply, change_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.relay.hht_pack import FieldResponses
    from lastmetre.supplier.delivery import Delivery
    from lastmetre.supplier.keys import SupplierKeys
    from lastmetre.supplier.ports import Clock, OrderStore, Tell
    from lastmetre.supplier.roads import Device, RoadPolicy

PACK: str = "hht_pack"


class FieldDesk:
    """Makes packs and reads what comes back."""

    def __init__(
        self,
        *,
        store: OrderStore,
        keys: SupplierKeys,
        devices: Mapping[bytes, Device],
        policy: RoadPolicy,
        clock: Clock,
        tell: Tell,
        delivery: Delivery,
    ) -> None:
        self._store = store
        self._keys = keys
        self._devices = devices
        self._policy = policy
        self._clock = clock
        self._tell = tell
        self._delivery = delivery

    def _now(self) -> int:
        return self._clock.now_ms() // 1000

    async def pack(self, hub_id: bytes) -> bytes:
        """Everything that is to go to this home by a field engineer; raises ``OrderRefused`` when that is nothing."""
        now, taken = self._now(), []
        for order in (await self._orders_for(hub_id))[:COMMANDS_MAX]:
            stored = await apply(self._store, order, self._handed_on(order, now), now)
            if stored is not None:  # else it ended, or was moved on, this very moment: it stays at home
                taken.append(stored)
        if not taken:
            raise OrderRefused(
                f"nothing waits for a visit to hub {hub_id.hex()}: orders go into a pack when their roads name hht, "
                "their Command is sealed and their deadline has not passed"
            )
        pack = Pack(hub_id, self._keys.entity_id, now, tuple(order.command for order in taken))
        data = encode_pack(pack, self._keys.signing_key)
        for order in taken:
            await self._keep(order, data, now)
        return data

    async def _orders_for(self, hub_id: bytes) -> list[Order]:
        now = self._now()
        return [
            order
            for order in await self._store.open_orders()
            if Road.HHT in order.opened and order.command and order.state in {State.SEALED, State.AT_LARGE}
            if now < order.deadline_at and (device := self._devices.get(order.device_id)) is not None
            if device.hub_id == hub_id
        ]

    def _handed_on(self, order: Order, now: int) -> Change:
        cost, before = self._policy.cost(Road.HHT), latest_attempt(order, Road.HHT, b"")
        if before is not None:
            again = attempt_changed(order, before, now, again=True, cost=cost)
            return Change(again, "command_handed_on_again", "to a field engineer, the same octets")
        after = moved(order, Event.HANDED_ON, now) if order.state is State.SEALED else order
        assert after is not None
        return Change(with_attempt(after, Road.HHT, b"", now, cost), "command_handed_on", "to a field engineer's pack")

    async def _keep(self, order: Order, pack: bytes, now: int) -> None:
        def decide(order: Order) -> Change:
            return Change(replace(order, why=""), "pack_made", "", (Document(PACK, now, pack),))

        await change_order(self._store, order.order_id, now, decide)
        self._tell(
            "command_handed_on",
            order_id=order.order_id,
            device_id=order.device_id.hex(),
            road=Road.HHT.value,
            message=order.command.hex(),
        )

    async def unpack(self, data: bytes) -> list[dict[str, object]]:
        """What an engineer brought back; raises ``PackRefused`` for what is no pack of ours."""
        brought = decode_responses(data)
        if brought.issuer_id != self._keys.entity_id:
            raise PackRefused(f"answers a pack of {brought.issuer_id.hex()}, not ours")
        results = [await self._response(message) for message in brought.responses]
        if brought.failed:
            results += await self._failed(brought)
        return results

    async def _failed(self, brought: FieldResponses) -> list[dict[str, object]]:
        """The engineer's word that Commands got no answer: noted at their attempts. It proves nothing."""
        packed = await self._packed(brought)
        results: list[dict[str, object]] = []
        for number, reason in brought.failed:
            order_id = packed.get(number)
            if order_id is None:
                results.append(
                    {"order_id": None, "why": f"no open order of ours went as Command {number} of that pack"}
                )
            else:
                results.append(await self._note_failure(order_id, reason))
            self._tell("field_command_failed", hub_id=brought.hub_id.hex(), order_id=order_id, why=reason)
        return results

    async def _packed(self, brought: FieldResponses) -> dict[int, str]:
        """Which open order each Command of that pack belongs to, by the pack as it was kept with the order."""
        found = {}
        for order in await self._store.open_orders():
            device = self._devices.get(order.device_id)
            attempt = latest_attempt(order, Road.HHT, b"")
            if device is None or device.hub_id != brought.hub_id or attempt is None:
                continue
            for document in await self._store.documents(order.order_id):
                if document.name == PACK and document.at == brought.issued_at:
                    number = place_in_pack(document.content, order.command)
                    if number is not None:
                        found[number] = order.order_id
        return found

    async def _note_failure(self, order_id: str, reason: str) -> dict[str, object]:
        now, said = self._now(), f"the field engineer says: {reason}"

        def decide(order: Order) -> Change | None:
            attempt = latest_attempt(order, Road.HHT, b"")
            if attempt is None or attempt.state is AttemptState.ANSWERED:
                return None
            after = attempt_changed(order, attempt, now, said=said)
            if after is order:
                return None
            if order.state is State.AT_LARGE:  # as when an agent gives up: if another road may be tried, it is now
                after = replace(after, next_road_at=now, why=said)
            return Change(after, "field_command_failed", said, wake=True)

        await change_order(self._store, order_id, now, decide)
        after = await self._store.order(order_id)
        assert after is not None
        return {"order_id": order_id, "state": after.state.value, "why": said}

    async def _response(self, message: bytes) -> dict[str, object]:
        try:
            header = read_header(message)
        except GbcsError as error:
            return {"order_id": None, "why": f"it is no GBCS message: {error}"}
        order = await self._store.order_by_counter(header.business_originator_id, header.originator_counter)
        if order is None or latest_attempt(order, Road.HHT, b"") is None:
            return {"order_id": None, "why": "no order of ours went out by a field engineer under its counter"}
        await self._delivery.take_response(order.order_id, message, Road.HHT, b"")
        after = await self._store.order(order.order_id)
        assert after is not None
        return {"order_id": after.order_id, "state": after.state.value}
