"""What the API shows of an order and of the audit: JSON-ready, ids and messages in hex, counters as text.

Counters have 64 bits and JSON readers often 53, so they are shown as decimal text.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.catalogue import Lane
from lastmetre.supplier.class_rules import needs_approval
from lastmetre.supplier.orders import FINAL, Attempt, Order, State, waits_until, why_waiting
from lastmetre.supplier.policy import DEFAULT
from lastmetre.supplier.responses import result_of
from lastmetre.supplier.supersession import AT_LARGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lastmetre.supplier.audit import ChainedEntry
    from lastmetre.supplier.ports import Document

_XML_START: Final = b"<"
_JSON_START: Final = b"{"


def order_view(order: Order, documents: Sequence[Document] | None = None) -> dict[str, object]:
    """One order; with its documents when they are given."""
    view: dict[str, object] = {
        "order_id": order.order_id,
        "device_id": order.device_id.hex(),
        "service": order.service,
        "values": json.loads(order.values_json),
        "reason": order.reason,
        "roads": [road.value for road in order.roads],
        "state": order.state.value,
        "final": order.state in FINAL,
        "alarm": order.state is State.UNKNOWN,
        "why_waiting": why_waiting(order),
        "waits_until": waits_until(order),
        "why_ended": order.why if order.state in FINAL else None,
        "accepted_at": order.accepted_at,
        "changed_at": order.changed_at,
        "deadline_at": order.deadline_at,
        "priority": order.priority,
        "lane": order.lane.value,
        "originator_counter": None if order.originator_counter is None else str(order.originator_counter),
        "message_code": None if order.message_code is None else f"{order.message_code:04X}",
        "road": None if order.road is None else order.road.value,
        "policy": order.policy or DEFAULT,
        "roads_opened": [road.value for road in order.opened],
        "cost_millipence": order.cost,
        "utrn": order.utrn or None,
        "attempts": [_attempt_view(attempt) for attempt in order.attempts],
        "result": result_of(order),
        "returned_to_dcc": order.returning.value,
        "command": order.command.hex() or None,
        "response": order.response.hex() or None,
        "superseded_by": order.superseded_by or None,
        "ordered_by": order.ordered_by or None,
        "approved_by": order.approved_by or None,
        "needs_approval": order.state is State.ACCEPTED and needs_approval(order),
    }
    if documents is not None:
        view["documents"] = [_document_view(document) for document in documents]
    return view


def at_large_view(orders: Sequence[Order]) -> dict[str, object]:
    """What left and may still run: each order, and how many there are with whom and of what kind."""
    out = [order for order in orders if order.state in AT_LARGE or (order.code_out and order.state not in FINAL)]
    counts = Counter((attempt.carrier_id.hex(), o.service) for o in out for attempt in (o.attempts[-1:]))
    return {
        "orders": [
            {
                "order_id": order.order_id,
                "device_id": order.device_id.hex(),
                "service": order.service,
                "state": order.state.value,
                "deadline_at": order.deadline_at,
                "carriers": sorted({attempt.carrier_id.hex() for attempt in order.attempts if attempt.carrier_id}),
                "code_out": order.code_out,
                "can_be_superseded": order.lane is Lane.ORDINARY and order.state is not State.SUPERSEDING,
                "superseded_by": order.superseded_by or None,
            }
            for order in out
        ],
        "counts": [
            {"carrier_id": carrier_id or None, "service": service, "count": count}
            for (carrier_id, service), count in sorted(counts.items())
        ],
    }


def _attempt_view(attempt: Attempt) -> dict[str, object]:
    return {
        "number": attempt.number,
        "road": attempt.road.value,
        "carrier_id": attempt.carrier_id.hex() or None,
        "state": attempt.state.value,
        "handed_on_at": attempt.handed_on_at,
        "changed_at": attempt.changed_at,
        "tries": attempt.tries,
        "cost_millipence": attempt.cost,
        "said": attempt.said or None,
    }


def _document_view(document: Document) -> dict[str, object]:
    """XML and JSON as text, anything else as hex."""
    plain = document.content[:1] in (_XML_START, _JSON_START)
    text = document.content.decode(errors="replace") if plain else document.content.hex()
    form = "text" if plain else "hex"
    return {"name": document.name, "at": document.at, "form": form, "content": text}


def audit_view(chained: ChainedEntry) -> dict[str, object]:
    """One audit entry with what is needed to check the chain."""
    entry = chained.entry
    return {
        "seq": chained.seq,
        "order_id": entry.order_id,
        "at": entry.at,
        "event": entry.event,
        "from": entry.from_state,
        "to": entry.to_state,
        "detail": entry.detail,
        "documents": {name: digest.hex() for name, digest in entry.documents},
        "previous": chained.previous.hex(),
        "hash": chained.hash.hex(),
    }
