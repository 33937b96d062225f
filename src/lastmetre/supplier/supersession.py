"""Supersession: a Command that must die is overtaken by a higher counter on its lane, by any road that works.

The rules kept here (design sections 2 and 5; threats T14):

- Only what left and has no Response can be superseded, and only on the ordinary lane: a device refuses there whatever
  is below the highest counter it accepted. Top-ups have a cache of counters: none of them makes another harmless.
- The superseder is an order like any other, of a critical service (replay-protected, and signed by us); by default
  6.11 Synchronise Clock, which changes nothing the customer could notice.
- *Superseded* only when a device's verified Response proves that the higher counter was accepted: whether it did what
  was asked or refused the items makes no difference to its counter.
- A superseder that ended without leaving gives its order back to *unknown*: the alarm goes on. One that is unknown
  itself is superseded in its turn, and what settles it settles both.

Every step is derived from the store, so it can be repeated after a crash at any point.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lastmetre.gbcs.catalogue import Lane
from lastmetre.supplier.errors import CannotSupersede
from lastmetre.supplier.orders import Event, Order, State, moved
from lastmetre.supplier.services import SERVICES
from lastmetre.supplier.store_steps import Change

DEFAULT_SUPERSEDER: Final = "synchronise_clock"
AT_LARGE: Final = frozenset({State.AT_LARGE, State.UNKNOWN, State.SUPERSEDING})
"""States in which a Command is out there and may still run."""
_ACCEPTED_BY_DEVICE: Final = frozenset(
    {State.CONFIRMED, State.CONFIRMED_BY_DCC, State.CONFIRMED_LATE, State.REFUSED_BY_DEVICE, State.SUPERSEDED}
)
_NEVER_LEFT: Final = frozenset({State.EXPIRED_UNSENT, State.CANCELLED, State.FAILED_BEFORE_SEALING})


def check(order: Order) -> None:
    """Raises ``CannotSupersede`` for an order that no higher counter could settle."""
    name = f"order {order.order_id}"
    if order.lane is Lane.TOP_UP:
        raise CannotSupersede(
            f"{name} is a top-up: no other Command makes it harmless, and its code may be keyed in at any time; it is "
            "at large until its Response, or the meter's top-up log, is seen"
        )
    if order.state is State.SUPERSEDING:
        raise CannotSupersede(f"{name} is being superseded by order {order.superseded_by}")
    if order.state not in AT_LARGE:
        raise CannotSupersede(f"{name} is {order.state.value}: there is nothing of it to supersede")


def check_service(service: str) -> None:
    """Raises ``CannotSupersede`` for a service whose Command need not be replay-protected."""
    row = SERVICES.get(service)
    if row is None or row.lane is not Lane.ORDINARY or not row.critical:
        fit = ", ".join(sorted(s.name for s in SERVICES.values() if s.critical and s.lane is Lane.ORDINARY))
        raise CannotSupersede(f"{service} cannot supersede anything; there are {fit}")


def begun(order: Order, superseder_id: str, at: int) -> Change | None:
    """The order with its superseder on its way; ``None`` when that is so already, or it was settled meanwhile."""
    after = moved(order, Event.SUPERSESSION_STARTED, at)
    if after is None:
        return None
    words = f"by order {superseder_id}: a higher counter is on its way"
    return Change(replace(after, superseded_by=superseder_id), "supersession_started", words, wake=True)


def outcome(order: Order, superseder: Order | None, at: int) -> Change | None:
    """What the superseder's state means for an order that is superseding; ``None`` while nothing is known."""
    if superseder is None or superseder.state in _NEVER_LEFT:
        ended = "is not in the store" if superseder is None else f"is {superseder.state.value}"
        why = f"its superseder {order.superseded_by} {ended}: this one may still run"
        after = moved(order, Event.SUPERSESSION_FAILED, at, why)
        return None if after is None else Change(after, "supersession_failed", why)
    if superseder.state not in _ACCEPTED_BY_DEVICE or not _higher(superseder, order):
        return None
    why = f"order {superseder.order_id} ran with a higher counter"
    after = moved(order, Event.SUPERSEDER_CONFIRMED, at, why)
    return None if after is None else Change(after, "order_superseded", why)


def _higher(superseder: Order, order: Order) -> bool:
    mine, its = order.originator_counter, superseder.originator_counter
    same = superseder.device_id == order.device_id and superseder.lane is order.lane
    return same and mine is not None and its is not None and its > mine
