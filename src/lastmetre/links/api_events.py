"""Live updates as server-sent events: the audit's entries as they are written, from any point on.

Rules this module keeps: an event's id is its audit number, so that a reader who lost its connection says the last one
it saw (``Last-Event-ID``) and misses nothing, whichever process it reaches; what is sent was read from the store after
its commit; NOTIFY only says that there is something to read. A quiet stream says so every 15 seconds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lastmetre.supplier.ports import Desk

PAGE: Final = 500
QUIET_S: Final = 15.0


def event_view(entry: dict[str, object]) -> dict[str, object]:
    """What is told of an audit entry; the hashes stay with the audit."""
    return {name: entry[name] for name in ("seq", "order_id", "at", "event", "from", "to", "detail")}


async def stream(desk: Desk, after: int, order_id: str | None, quiet_s: float = QUIET_S) -> AsyncIterator[bytes]:
    """Events after a number, for one order or all, for ever."""
    yield b"retry: 2000\n\n"
    while True:
        seen = desk.changes
        entries = await desk.audit(after, PAGE)
        for entry in entries:
            after = int(str(entry["seq"]))
            if order_id is None or entry["order_id"] == order_id:
                text = json.dumps(event_view(entry), separators=(",", ":"), ensure_ascii=False)
                yield f"id: {after}\nevent: {entry['event']}\ndata: {text}\n\n".encode()
        if not entries and await desk.wait_for_change(seen, quiet_s) == seen:
            yield b": nothing new\n\n"
