"""Changing an order: read it, decide, put the new one in its place, and begin anew when somebody was quicker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.supplier.audit import Entry
from lastmetre.supplier.orders import BEFORE_THE_END, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.supplier.orders import Order
    from lastmetre.supplier.ports import Document, OrderStore

WOKEN_MAX: Final = 20
"""Orders of a lane that are looked at when it becomes free; one of them takes it."""
ATTEMPTS_MAX: Final = 50
"""Rounds of read and change before giving up; each lost round means that another change was made."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of an order, and what the audit says of it."""

    after: Order
    event: str
    detail: str = ""
    documents: tuple[Document, ...] = ()
    wake: bool = False
    """Whether a worker is to look at the order: whoever makes the change is none, or leaves something to do."""


def audit_entry(before: Order, change: Change, at: int) -> Entry:
    """The audit entry of a change; states are named only when they differ."""
    moves = before.state is not change.after.state
    digests = {document.name: hashlib.sha256(document.content).digest() for document in change.documents}
    return Entry(
        order_id=before.order_id,
        at=at,
        event=change.event,
        from_state=before.state.value if moves else None,
        to_state=change.after.state.value if moves else None,
        detail=change.detail,
        documents=tuple(sorted(digests.items())),
    )


async def apply(store: OrderStore, before: Order, change: Change, at: int) -> Order | None:
    """One try: the order as stored, or ``None`` when ``before`` was out of date."""
    wake = await _woken(store, before, change)
    return await store.change(before, change.after, audit_entry(before, change, at), change.documents, wake=wake)


async def _woken(store: OrderStore, before: Order, change: Change) -> list[str]:
    """The orders that have something to do because of this change: itself, who waits for its lane, whom it settles.

    Who comes to wait after this was read is found by the workers' own look round.
    """
    after, ids = change.after, [before.order_id] if change.wake else []
    if before.state in BEFORE_THE_END and (after.state not in BEFORE_THE_END or before.lane_held > after.lane_held):
        queue = await store.lane_queue(before.device_id, before.lane)
        ids += [order.order_id for order in queue if order.state is State.ACCEPTED][:WOKEN_MAX]
    if after.state is not before.state and after.state not in BEFORE_THE_END:
        ids += await store.superseding(before.order_id)
    return ids


async def change_order(
    store: OrderStore, order_id: str, at: int, decide: Callable[[Order], Change | None]
) -> tuple[Order, Change] | None:
    """Decides on the order as it is and applies it; ``None`` when there is no order or nothing to change."""
    for _ in range(ATTEMPTS_MAX):
        order = await store.order(order_id)
        change = None if order is None else decide(order)
        if order is None or change is None:
            return None
        stored = await apply(store, order, change, at)
        if stored is not None:
            return stored, change
    raise RuntimeError(f"order {order_id} was changed {ATTEMPTS_MAX} times while one change was tried")
