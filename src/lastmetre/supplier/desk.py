"""The desk: orders come in, are checked, stored and answered; and what is known of them is shown.

The rules kept here:

- An order is stored before it is answered. The same idempotency key and body give the same order, another body is
  refused.
- A top-up's digits are made when it is accepted, under the counter its Command will carry, and told at once: the
  customer can key them in while the Command travels. From then on they are at large.
- What cannot be done is said: a cancel that comes too late is refused, not half done.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.catalogue import Lane
from lastmetre.gbcs.errors import GbcsValueError
from lastmetre.gbcs.utrn import make_utrn, split_pence
from lastmetre.supplier import class_rules, supersession
from lastmetre.supplier.audit import Entry
from lastmetre.supplier.counters import floor, originator_counter
from lastmetre.supplier.errors import OrderRefused, TooLate
from lastmetre.supplier.orders import UNSENT, Event, Order, Road, moved, with_attempt
from lastmetre.supplier.policy import RoadPolicy
from lastmetre.supplier.ports import Document
from lastmetre.supplier.services import Service, canonical, checked_values, service_named
from lastmetre.supplier.store_steps import Change, change_order
from lastmetre.supplier.views import at_large_view, audit_view, order_view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lastmetre.supplier.counter_marks import Counters
    from lastmetre.supplier.keys import SupplierKeys
    from lastmetre.supplier.ports import Clock, OrderStore, Tell
    from lastmetre.supplier.roads import Device

DEADLINE_MAX_S: Final = 28 * 86_400
"""Weeks: longer lives belong to future-dated Commands."""
SUPERSEDER_DEADLINE_S: Final = 3_600
TEXT_MAX: Final = 500
KEY_MAX: Final = 200
_FIELDS: Final = {
    "device_id", "service", "values", "deadline_s", "roads", "policy", "reason", "idempotency_key", "ordered_by",
}  # fmt: skip
_ROADS: Final = {road.value: road for road in Road}
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
        unknown = body.keys() - _FIELDS
        if unknown:
            raise OrderRefused(f"an order has no {', '.join(sorted(unknown))}")
        service = service_named(body.get("service"))
        order = self._new_order(body, service)
        if set(order.roads) == {Road.CODE} and order.lane is not Lane.TOP_UP:
            raise OrderRefused(f"only a top-up has a code; name another road for {order.service}")
        class_rules.check_new(order, self._devices[order.device_id])
        if service.name == "top_up":
            order = await self._with_code(order, checked_values(service, body.get("values") or {})["amount_pence"])
        documents = (Document("order", order.accepted_at, canonical(dict(body)).encode()),)
        digests = tuple((document.name, hashlib.sha256(document.content).digest()) for document in documents)
        entry = Entry(
            order.order_id, order.accepted_at, "order_accepted", None, order.state.value, order.reason, digests
        )
        stored = await self._store.place(order, entry, documents, wake=(order.order_id,))
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

    def _new_order(self, body: Mapping[str, object], service: Service) -> Order:
        now = self._clock.now_ms() // 1000
        order_id = self._new_id()
        content = {name: value for name, value in body.items() if name != "idempotency_key"}
        return Order(
            order_id=order_id,
            device_id=self._device(body.get("device_id")),
            service=service.name,
            values_json=canonical(checked_values(service, body.get("values") or {})),
            roads=self._roads(body),
            policy=_text(body.get("policy"), "policy", KEY_MAX),
            deadline_at=now + _number(body.get("deadline_s"), "deadline_s", DEADLINE_MAX_S),
            reason=_text(body.get("reason", ""), "reason", TEXT_MAX),
            idempotency_key=_text(body.get("idempotency_key"), "idempotency_key", KEY_MAX) or order_id,
            body_digest=hashlib.sha256(canonical(content).encode()).digest(),
            accepted_at=now,
            changed_at=now,
            lane=service.lane,
            ordered_by=_text(body.get("ordered_by"), "ordered_by", KEY_MAX).strip(),
        )

    def _roads(self, body: Mapping[str, object]) -> tuple[Road, ...]:
        """Those it names, or those of the policy that it names; one of the two, for both would be two answers."""
        name, named = body.get("policy"), body.get("roads")
        if name is None or named is not None:
            return _roads(named)
        policy = self._policy.policies.get(name) if isinstance(name, str) else None
        if policy is None:
            raise OrderRefused(f"there is no policy {name!r}; there are {', '.join(sorted(self._policy.policies))}")
        return tuple(step.road for step in policy.steps)

    def _device(self, text: object) -> bytes:
        try:
            device_id = bytes.fromhex(str(text).replace("-", ""))
        except ValueError:
            device_id = b""
        if len(device_id) != 8:
            raise OrderRefused("device_id must be an entity identifier: 16 hexadecimal digits")
        if device_id not in self._devices:
            raise OrderRefused(f"device {device_id.hex()} is none of this supplier's devices")
        return device_id

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

        done = await change_order(self._store, order_id, now, decide)
        if done is None:
            return None
        self._tell("order_cancelled", order_id=order_id, device_id=done[0].device_id.hex())
        return order_view(done[0])

    async def approve(self, order_id: str, approver: str) -> dict[str, object] | None:
        """As in the port."""
        now, approver = self._clock.now_ms() // 1000, _text(approver, "approved_by", KEY_MAX).strip()

        def decide(order: Order) -> Change | None:
            class_rules.check_approval(order, approver)
            return Change(replace(order, approved_by=approver, why=""), "order_approved", f"by {approver}", wake=True)

        done = await change_order(self._store, order_id, now, decide)
        if done is None:
            return None
        self._tell("order_approved", order_id=order_id, device_id=done[0].device_id.hex(), approved_by=approver)
        return order_view(done[0])

    async def supersede(self, order_id: str, body: Mapping[str, object]) -> dict[str, object] | None:
        """As in the port. The superseder is placed first: after a crash in between, asking again goes on from there."""
        order = await self._store.order(order_id)
        if order is None:
            return None
        supersession.check(order)
        service = str(body.get("service", supersession.DEFAULT_SUPERSEDER))
        supersession.check_service(service)
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

    async def audit(self, after_seq: int, limit: int) -> list[dict[str, object]]:
        """As in the port."""
        return [audit_view(entry) for entry in await self._store.audit(after_seq, limit)]

    async def health(self) -> dict[str, object]:
        """As in the port."""
        return {"status": "ok", "open_orders": len(await self._store.open_orders())}


def _roads(value: object) -> tuple[Road, ...]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
        raise OrderRefused(f"roads must be a list without repeats of: {', '.join(_ROADS)}")
    unknown = [str(road) for road in value if road not in _ROADS]
    if unknown:
        raise OrderRefused(f"there is no road {', '.join(unknown)}; there are {', '.join(_ROADS)}")
    roads = tuple(_ROADS[road] for road in value)
    if Road.BOTH in roads and {Road.WAN, Road.PPMID} & set(roads):
        raise OrderRefused("the road both is wan and ppmid at once: name it without them")
    return roads


def _number(value: object, name: str, highest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= highest:
        raise OrderRefused(f"{name} must be a whole number from 1 to {highest}")
    return value


def _text(value: object, name: str, longest: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest or "\x00" in value:
        raise OrderRefused(f"{name} must be text of at most {longest} characters")
    return value
