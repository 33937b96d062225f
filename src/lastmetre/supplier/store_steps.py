"""Changing an order: read it, decide, put the new one in its place, and begin anew when somebody was quicker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.supplier.audit import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.supplier.orders import Order
    from lastmetre.supplier.ports import Document, OrderStore

ATTEMPTS_MAX: Final = 50
"""Rounds of read and change before giving up; each lost round means that another change was made."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of an order, and what the audit says of it."""

    after: Order
    event: str
    detail: str = ""
    documents: tuple[Document, ...] = ()


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
    return await store.change(before, change.after, audit_entry(before, change, at), change.documents)


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
