"""Read-back: what a meter's own log of credits proves of top-ups whose Response was never seen.

A top-up cannot be superseded; once its digits were told it is at large until its Response, or the meter's log, is seen
(design section 2). The log (ECS20d, ten entries of time and amount) names no code, so the rules are careful:

- An entry speaks for a top-up only if its amount is that of the order, and its time lies after the order was accepted.
- Entries that top-ups confirmed by their own Response account for are theirs.
- Where fewer entries are left than orders that could have made them, nobody can say which ran: none is settled.
- That an entry is missing proves nothing: a code can be keyed in tomorrow.

Pure.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import CompactArray, DoubleLongUnsigned, Structure
from lastmetre.supplier.orders import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lastmetre.gbcs.axdr import Data
    from lastmetre.supplier.orders import Order

SERVICE: Final = "read_top_up_log"
SINCE_2000_S: Final = 946_684_800
PERIOD_S: Final = 60 * 86_400
"""How far back is asked: longer than any order lives."""
CLOCKS_S: Final = 300
"""How far the meter's clock may be behind ours. DESIGN CHOICE."""
MILLIPENCE: Final = 1_000
_FIELDS: Final = 2
_RAN: Final = frozenset({State.CONFIRMED, State.CONFIRMED_LATE, State.CONFIRMED_BY_DCC})
_OPEN: Final = frozenset({State.ACCEPTED, State.PREPARED, State.SEALED, State.AT_LARGE, State.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Credit:
    """One line of the log."""

    at: int
    millipence: int


def credits_in(data: Data) -> tuple[Credit, ...]:
    """The log as a meter returned it; what has another shape is not read."""
    rows = data.elements if isinstance(data, CompactArray) else ()
    found = []
    for row in rows:
        cells = row.elements if isinstance(row, Structure) else ()
        numbers = [cell.value for cell in cells if isinstance(cell, DoubleLongUnsigned)]
        if len(numbers) == _FIELDS:
            found.append(Credit(numbers[0] + SINCE_2000_S, numbers[1]))
    return tuple(found)


def proven(orders: Iterable[Order], log: Sequence[Credit]) -> list[str]:
    """Which open top-ups of one meter the log shows to have run."""
    by_amount: dict[int, list[Order]] = defaultdict(list)
    for order in orders:
        if order.utrn:
            by_amount[json.loads(order.values_json)["amount_pence"] * MILLIPENCE].append(order)
    return [order_id for amount, same in by_amount.items() for order_id in _proven_of(same, amount, log)]


def _proven_of(orders: list[Order], amount: int, log: Sequence[Credit]) -> list[str]:
    open_ones = [order for order in orders if order.state in _OPEN]
    if not open_ones:
        return []
    since = min(order.accepted_at for order in open_ones) - CLOCKS_S
    entries = [credit for credit in log if credit.millipence == amount and credit.at >= since]
    ran = [order for order in orders if order.state in _RAN and order.changed_at >= since]
    latest = max(order.accepted_at for order in open_ones) - CLOCKS_S
    if len(entries) - len(ran) < len(open_ones) or not any(credit.at >= latest for credit in entries):
        return []
    return [order.order_id for order in open_ones]
