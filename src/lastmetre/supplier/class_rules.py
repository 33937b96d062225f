"""Which service may use which road on what terms: one table, a source for each row.

The rules kept here (design section 5):

- *Four eyes*: on this road the order waits until a second person approved it; whoever ordered cannot approve. Approval
  comes before the counter, so nothing that was approved can be changed afterwards.
- *Not for priority services*: on this road it is refused for a customer on the Priority Services Register.
- A road without a row is free of both. Another road of the same order may be open meanwhile.

People are named by the supplier's gateway, which knows who logged in; this service compares the names it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.supplier.errors import ApprovalRefused, OrderRefused
from lastmetre.supplier.orders import Order, Road, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.supplier.policy import Step
    from lastmetre.supplier.roads import Device


@dataclass(frozen=True, slots=True)
class Rule:
    """One row."""

    service: str
    road: Road
    source: str
    four_eyes: bool = False
    priority_services: bool = True
    """Whether it is open to customers on the Priority Services Register."""


_ROWS: Final = (
    Rule(
        "disable_supply",
        Road.PPMID,
        "design section 5: disabling supply (ECS43) needs four eyes on the PPMID road, and is refused there for "
        "customers on the Priority Services Register. DESIGN CHOICE",
        four_eyes=True,
        priority_services=False,
    ),
    Rule(
        "srv_1.6",
        Road.PPMID,
        "design section 5: as disabling supply, for change to prepayment mode. Which mode a Request (DUIS XML) sets is "
        "not looked at here, so that change to credit mode waits for four eyes as well. DESIGN CHOICE",
        four_eyes=True,
        priority_services=False,
    ),
)
RULES: Final[Mapping[tuple[str, Road], Rule]] = MappingProxyType({(row.service, row.road): row for row in _ROWS})

WAITS_FOR_APPROVAL: Final = "waits for a second person's approval before it may go by the PPMID"
_NOT_HERE: Final = "not by the PPMID: the customer is on the Priority Services Register"


def permitted(order: Order, device: Device, steps: tuple[Step, ...]) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """The steps whose road its class may use now, and why it may not use the others."""
    free, closed = [], []
    for step in steps:
        rule = RULES.get((order.service, step.road))
        if rule is not None and device.priority_services and not rule.priority_services:
            closed.append(_NOT_HERE)
        elif rule is not None and rule.four_eyes and not order.approved_by:
            closed.append(WAITS_FOR_APPROVAL)
        else:
            free.append(step)
    return tuple(free), tuple(closed)


def _single_roads(order: Order) -> tuple[Road, ...]:
    """The roads it names; *both* is two of them."""
    pairs = {Road.BOTH: (Road.WAN, Road.PPMID)}
    return tuple(single for road in order.roads for single in pairs.get(road, (road,)))


def needs_approval(order: Order) -> bool:
    """Whether a road of its waits for a second person."""
    rules = (RULES.get((order.service, road)) for road in _single_roads(order))
    return not order.approved_by and any(rule is not None and rule.four_eyes for rule in rules)


def check_new(order: Order, device: Device) -> None:
    """Raises ``OrderRefused`` for an order that could never go, or that nobody could approve."""
    if needs_approval(order) and not order.ordered_by:
        raise OrderRefused(
            f"{order.service} by the PPMID needs four eyes: say ordered_by, then have another approve it"
        )
    if device.priority_services and not any(
        (rule := RULES.get((order.service, road))) is None or rule.priority_services for road in _single_roads(order)
    ):
        raise OrderRefused(f"{order.service} is {_NOT_HERE}")


def check_approval(order: Order, approver: str) -> None:
    """Raises ``ApprovalRefused`` unless this person may approve this order now."""
    if order.state is not State.ACCEPTED or not needs_approval(order):
        raise ApprovalRefused(f"order {order.order_id} is {order.state.value} and waits for nobody's approval")
    if not approver.strip():
        raise ApprovalRefused("approved_by must name who approves")
    if _same(approver, order.ordered_by):
        raise ApprovalRefused(
            f"order {order.order_id} was ordered by {order.ordered_by}: another person must approve it"
        )


def _same(one: str, other: str) -> bool:
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
