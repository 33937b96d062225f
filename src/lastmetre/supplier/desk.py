"""The desk: orders come in, are checked, stored and answered; and what is known of them is shown.

The rules kept here:

- An order is stored before it is answered. The same idempotency key and body give the same order, another body is
  refused.
- A top-up's digits are made when it is accepted, under the counter its Command will carry, and told at once: the
  customer can key them in while the Command travels. From then on they are at large.
- Every refusal is in the audit, as every act is.
- What cannot be done is said: a cancel that comes too late is refused, not half done.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from lastmetre.gbcs.catalogue import Lane
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.utrn import make_utrn, split_pence
from lastmetre.supplier import class_rules, duis_orders, order_bodies, preparation, supersession
from lastmetre.supplier.audit import Entry
from lastmetre.supplier.counters import floor, originator_counter
from lastmetre.supplier.errors import (
    ApprovalRefused,
    CannotSupersede,
    KeyReused,
    OrderRefused,
    PreparationFailed,
    TooLate,
)
from lastmetre.supplier.orders import FINAL, UNSENT, Event, Order, Road, moved, with_attempt
from lastmetre.supplier.policy import DEFAULT, RoadPolicy
from lastmetre.supplier.ports import Document
from lastmetre.supplier.services import DUIS, Service, canonical, checked_values, service_named
from lastmetre.supplier.store_steps import Change, change_order
from lastmetre.supplier.views import at_large_view, audit_view, order_view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lastmetre.supplier.counter_marks import Counters
    from lastmetre.supplier.keys import SupplierKeys
    from lastmetre.supplier.ports import Clock, OrderStore, Tell
    from lastmetre.supplier.roads import Device

REFUSAL_MAX: Final = 500
"""Characters of a refusal that the audit keeps."""
SUPERSEDER_DEADLINE_S: Final = 3_600
SUPERSEDER_ROADS: Final = (Road.WAN, Road.PPMID)


class OrderDesk:
    """Implements ``ports.Desk``."""

    def __init__(
        self,
        *,
        store: OrderStore,
        keys: SupplierKeys,
        devices: Mapping[bytes, Device],
        clock: Clock,
        tell: Tell,
        new_id: Callable[[], str],
        counters: Counters | None = None,
        policy: RoadPolicy | None = None,
    ) -> None:
        """``counters`` hands out counters, the store itself where nothing is given; ``policy`` names the policies."""
        self._policy = policy or RoadPolicy()
        self._counters: Counters = counters or store
        self._store = store
        self._keys = keys
        self._devices = devices
        self._clock = clock
        self._tell = tell
        self._new_id = new_id

    async def place(self, body: Mapping[str, object]) -> dict[str, object]:
        """As in the port."""
        try:
            stored, order = await self._placed(body)
        except (OrderRefused, KeyReused) as error:
            await self._refused("", "order_refused", str(error))
            raise
        if stored.order_id == order.order_id:
            self._tell(
                "order_accepted",
                order_id=order.order_id,
                device_id=order.device_id.hex(),
                service=order.service,
                roads=",".join(road.value for road in order.roads),
                deadline_at=order.deadline_at,
                utrn=order.utrn or None,
            )
        return order_view(stored)

    async def _placed(self, body: Mapping[str, object]) -> tuple[Order, Order]:
        """The order as stored, which is an older one when its key says so, and the one that was made."""
        order_bodies.check_fields(body)
        service, values, device = self._what(body)
        order = self._new_order(body, service, values, device)
        if set(order.roads) == {Road.CODE} and order.lane is not Lane.TOP_UP:
            raise OrderRefused(f"only a top-up has a code; name another road for {order.service}")
        class_rules.check_new(order, device)
        if order.lane is Lane.TOP_UP:
            order = await self._with_code(order, values["amount_pence"])
        elif DUIS in values:
            self._check_duis(order, device)
        documents = (Document("order", order.accepted_at, canonical(dict(body)).encode()),)
        digests = tuple((document.name, hashlib.sha256(document.content).digest()) for document in documents)
        entry = Entry(
            order.order_id, order.accepted_at, "order_accepted", None, order.state.value, order.reason, digests
        )
        return await self._store.place(order, entry, documents, wake=(order.order_id,)), order

    def _what(self, body: Mapping[str, object]) -> tuple[Service, dict[str, Any], Device]:
        """Service and values, by name or from a whole DUIS Request, and the device."""
        xml = body.get("duis")
        if xml is None:
            service = service_named(body.get("service"))
            device = order_bodies.device_of(body, self._devices, service)
            return service, dict(checked_values(service, body.get("values") or {})), device
        if body.get("service") is not None or body.get("values"):
            raise OrderRefused("say service and values, or duis, not both")
        asked = duis_orders.read(order_bodies.duis_text(xml))
        device = order_bodies.device_of(body, self._devices, asked.service)
        if asked.target_id != device.device_id:
            raise OrderRefused(f"duis is for device {asked.target_id.hex()}, the order for {device.device_id.hex()}")
        return asked.service, {DUIS: xml}, device

    def _check_duis(self, order: Order, device: Device) -> None:
        """Refused at once when no Command can be made of it; the counter of the trial is none that is ever used."""
        try:
            trial = preparation.first_request(replace(order, originator_counter=1, road=order.roads[0]), self._keys)
            preparation.message_code_of(trial, device, self._keys)
        except PreparationFailed as error:
            raise OrderRefused(f"duis: {error}") from error

    async def _refused(self, order_id: str, event: str, why: str) -> None:
        """Every refusal is in the audit: who tries what he may not is seen."""
        shown = "".join(letter if letter.isprintable() else "?" for letter in why[:REFUSAL_MAX])
        await self._store.note(Entry(order_id, self._clock.now_ms() // 1000, event, detail=shown))
        self._tell(event, order_id=order_id or None, why=shown)

    def _new_order(self, body: Mapping[str, object], service: Service, values: dict[str, Any], device: Device) -> Order:
        now = self._clock.now_ms() // 1000
        order_id = self._new_id()
        named = body.get("policy") if body.get("policy") or body.get("roads") is not None else DEFAULT
        text, key_max = order_bodies.text, order_bodies.KEY_MAX
        return Order(
            order_id=order_id,
            device_id=device.device_id,
            service=service.name,
            values_json=canonical(values),
            roads=order_bodies.roads_of({**body, "policy": named}, self._policy),
            policy=text(body.get("policy"), "policy", key_max),
            priority=order_bodies.number(body.get("priority", 0), "priority", 0, order_bodies.PRIORITY_MAX),
            deadline_at=now + order_bodies.number(body.get("deadline_s"), "deadline_s", 1, order_bodies.DEADLINE_MAX_S),
            reason=text(body.get("reason", ""), "reason", order_bodies.TEXT_MAX),
            idempotency_key=text(body.get("idempotency_key"), "idempotency_key", key_max) or order_id,
            body_digest=order_bodies.digest(body),
            accepted_at=now,
            changed_at=now,
            lane=service.lane,
            ordered_by=text(body.get("ordered_by"), "ordered_by", key_max).strip(),
        )

    async def _with_code(self, order: Order, pence: int) -> Order:
        """The digits, and the attempt that their telling is."""
        try:
            value, value_class = split_pence(pence)
        except GbcsValueError as error:
            raise OrderRefused(f"amount_pence: {error}") from error
        secret = self._keys.prepayment_secret(order.device_id)
        lowest = floor(order.lane, self._clock.now_ms())
        counter = originator_counter(order.lane, await self._counters.next_counter(order.device_id, order.lane, lowest))
        utrn = make_utrn(
            value,
            value_class,
            originator_counter=counter,
            supplier_id=self._keys.entity_id,
            device_id=order.device_id,
            secret=secret,
        )
        coded = replace(order, originator_counter=counter, utrn=utrn.digits)
        return with_attempt(coded, Road.CODE, b"", order.accepted_at)

    async def cancel(self, order_id: str) -> dict[str, object] | None:
        """As in the port."""
        now = self._clock.now_ms() // 1000

        def decide(order: Order) -> Change | None:
            if order.state not in UNSENT or order.code_out:
                what = "its digits were told" if order.code_out else f"it is {order.state.value}"
                raise TooLate(f"order {order_id} cannot be cancelled: {what}; it may have run")
            after = moved(order, Event.CANCELLED, now)
            return None if after is None else Change(after, "order_cancelled")

        done = await self._decided(order_id, now, decide, "cancel_refused")
        if done is None:
            return None
        self._tell("order_cancelled", order_id=order_id, device_id=done[0].device_id.hex())
        return order_view(done[0])

    async def _decided(
        self, order_id: str, now: int, decide: Callable[[Order], Change | None], refusal: str
    ) -> tuple[Order, Change] | None:
        """As ``change_order``; what is refused is in the audit, and so is what was asked of no order of ours."""
        try:
            done = await change_order(self._store, order_id, now, decide)
        except (TooLate, ApprovalRefused) as error:
            await self._refused(order_id, refusal, str(error))
            raise
        if done is None:
            await self._refused("", refusal, f"there is no order {order_id}")
        return done

    async def approve(self, order_id: str, approver: str) -> dict[str, object] | None:
        """As in the port."""
        now = self._clock.now_ms() // 1000
        approver = order_bodies.text(approver, "approved_by", order_bodies.KEY_MAX).strip()

        def decide(order: Order) -> Change | None:
            class_rules.check_approval(order, approver)
            return Change(replace(order, approved_by=approver, why=""), "order_approved", f"by {approver}", wake=True)

        done = await self._decided(order_id, now, decide, "approval_refused")
        if done is None:
            return None
        self._tell("order_approved", order_id=order_id, device_id=done[0].device_id.hex(), approved_by=approver)
        return order_view(done[0])

    async def supersede(self, order_id: str, body: Mapping[str, object]) -> dict[str, object] | None:
        """As in the port. The superseder is placed first: after a crash in between, asking again goes on from there."""
        order = await self._store.order(order_id)
        if order is None:
            return None
        service = str(body.get("service", supersession.DEFAULT_SUPERSEDER))
        try:
            supersession.check(order)
            supersession.check_service(service)
        except CannotSupersede as error:
            await self._refused(order_id, "supersession_refused", str(error))
            raise
        superseder = await self.place(
            {
                "device_id": order.device_id.hex(),
                "service": service,
                "values": body.get("values", {}),
                "deadline_s": body.get("deadline_s", SUPERSEDER_DEADLINE_S),
                "roads": body.get("roads", [road.value for road in SUPERSEDER_ROADS]),
                "reason": body.get("reason") or f"supersedes order {order_id}",
                "ordered_by": body.get("ordered_by", ""),
                "idempotency_key": f"supersede-{order_id}-{order.version}",
            }
        )
        superseder_id, now = str(superseder["order_id"]), self._clock.now_ms() // 1000

        def decide(order: Order) -> Change | None:
            return supersession.begun(order, superseder_id, now)

        if await change_order(self._store, order_id, now, decide) is not None:
            self._tell(
                "supersession_started", order_id=order_id, device_id=order.device_id.hex(), superseder_id=superseder_id
            )
        return superseder

    async def at_large(self) -> dict[str, object]:
        """As in the port."""
        return at_large_view(await self._store.open_orders())

    async def orders(self, limit: int) -> list[dict[str, object]]:
        """As in the port."""
        return [order_view(order) for order in await self._store.orders(limit)]

    async def order(self, order_id: str) -> dict[str, object] | None:
        """As in the port."""
        order = await self._store.order(order_id)
        return None if order is None else order_view(order, await self._store.documents(order_id))

    async def wait_for_end(self, order_id: str, wait_s: float) -> dict[str, object] | None:
        """As in the port."""
        clock = asyncio.get_running_loop().time
        end = clock() + wait_s
        while True:
            seen = self._store.changes
            order = await self._store.order(order_id)
            left = end - clock()
            if order is None or order.state in FINAL or left <= 0:
                return None if order is None else order_view(order)
            await self._store.wait_for_change(seen, left)

    @property
    def changes(self) -> int:
        """As in the port."""
        return self._store.changes

    async def wait_for_change(self, seen: int, timeout_s: float) -> int:
        """As in the port."""
        return await self._store.wait_for_change(seen, timeout_s)

    async def head(self) -> int:
        """As in the port."""
        return await self._store.head()

    async def audit(self, after_seq: int, limit: int) -> list[dict[str, object]]:
        """As in the port."""
        return [audit_view(entry) for entry in await self._store.audit(after_seq, limit)]

    async def at_work(self) -> dict[str, object]:
        """As in the port."""
        orders = [order for order in await self._store.open_orders() if order.state not in FINAL]
        return {
            "orders": [
                {"state": order.state.value, "service": order.service, "accepted_at": order.accepted_at}
                for order in orders
            ]
        }

    async def health(self) -> dict[str, object]:
        """As in the port."""
        return {"status": "ok", "open_orders": len(await self._store.open_orders())}
