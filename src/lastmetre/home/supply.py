"""The supply of an electricity meter: on, armed or off, and why. One table.

Public facts: a disabled supply is *armed* by command (ECS44) and then *enabled* by the customer at the meter or at the
PPMID; ECS43 disables it, ECS42 closes the switch outright; the load switch shows 0 disconnected, 1 connected, 2 ready
for reconnection. What no public text fixes is a DESIGN CHOICE, marked in its row.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Supply(Enum):
    """The states; the value is the control state of the disconnect control object (class 70, attribute 3)."""

    OFF_BY_CREDIT = (0, "off: credit used up")
    OFF_BY_COMMAND = (0, "off: disabled by the supplier")
    ARMED = (2, "armed: the customer may switch it on")
    ON = (1, "on")
    OFF_BY_LOAD = (0, "off: too much power was taken")

    def __init__(self, control_state: int, words: str) -> None:
        self.control_state = control_state
        self.words = words


class SupplyEvent(Enum):
    """What can happen to a supply."""

    DISABLE_COMMAND = "disabled by command (ECS43)"
    ARM_COMMAND = "armed by command (ECS44)"
    ENABLE_COMMAND = "enabled by command (ECS42)"
    CUSTOMER_ENABLE = "enabled by the customer"
    CREDIT_EXHAUSTED = "balance fell to the disablement threshold"
    CREDIT_RESTORED = "balance rose above the disablement threshold"
    LOAD_EXCEEDED = "more power than the limit allows, for longer than it allows"
    LOAD_RESTORED = "the restoration period after that ended"


_FACT: Final = "use-case titles; armed and enabled as design section 7"
_CHOICE: Final = "DESIGN CHOICE"

TABLE: Final[dict[tuple[Supply, SupplyEvent], tuple[Supply, str]]] = {
    (Supply.ON, SupplyEvent.DISABLE_COMMAND): (Supply.OFF_BY_COMMAND, _FACT),
    (Supply.ARMED, SupplyEvent.DISABLE_COMMAND): (Supply.OFF_BY_COMMAND, _FACT),
    (Supply.OFF_BY_CREDIT, SupplyEvent.DISABLE_COMMAND): (Supply.OFF_BY_COMMAND, _CHOICE),
    (Supply.OFF_BY_COMMAND, SupplyEvent.DISABLE_COMMAND): (Supply.OFF_BY_COMMAND, _CHOICE),
    (Supply.OFF_BY_COMMAND, SupplyEvent.ARM_COMMAND): (Supply.ARMED, _FACT),
    (Supply.OFF_BY_CREDIT, SupplyEvent.ARM_COMMAND): (Supply.ARMED, _CHOICE),
    (Supply.ARMED, SupplyEvent.ARM_COMMAND): (Supply.ARMED, _CHOICE),
    (Supply.ON, SupplyEvent.ARM_COMMAND): (Supply.ON, _CHOICE),
    (Supply.OFF_BY_COMMAND, SupplyEvent.ENABLE_COMMAND): (Supply.ON, _FACT),
    (Supply.OFF_BY_CREDIT, SupplyEvent.ENABLE_COMMAND): (Supply.ON, _CHOICE),
    (Supply.ARMED, SupplyEvent.ENABLE_COMMAND): (Supply.ON, _FACT),
    (Supply.ON, SupplyEvent.ENABLE_COMMAND): (Supply.ON, _CHOICE),
    (Supply.ARMED, SupplyEvent.CUSTOMER_ENABLE): (Supply.ON, _FACT),
    (Supply.ON, SupplyEvent.CREDIT_EXHAUSTED): (Supply.OFF_BY_CREDIT, _FACT),
    (Supply.ARMED, SupplyEvent.CREDIT_EXHAUSTED): (Supply.OFF_BY_CREDIT, _CHOICE),
    (Supply.OFF_BY_CREDIT, SupplyEvent.CREDIT_RESTORED): (Supply.ARMED, _CHOICE),
    (Supply.ON, SupplyEvent.LOAD_EXCEEDED): (Supply.OFF_BY_LOAD, _FACT),
    (Supply.OFF_BY_LOAD, SupplyEvent.LOAD_RESTORED): (Supply.ARMED, _CHOICE),
    (Supply.OFF_BY_LOAD, SupplyEvent.DISABLE_COMMAND): (Supply.OFF_BY_COMMAND, _CHOICE),
    (Supply.OFF_BY_LOAD, SupplyEvent.ARM_COMMAND): (Supply.ARMED, _CHOICE),
    (Supply.OFF_BY_LOAD, SupplyEvent.ENABLE_COMMAND): (Supply.ON, _CHOICE),
    (Supply.OFF_BY_LOAD, SupplyEvent.CREDIT_EXHAUSTED): (Supply.OFF_BY_CREDIT, _CHOICE),
}
"""(state, event): (next state, source). An event without a row changes nothing; by command or customer it fails."""


SCRIPTS: Final[dict[int, SupplyEvent]] = {
    51: SupplyEvent.ENABLE_COMMAND,  # ECS42
    52: SupplyEvent.DISABLE_COMMAND,  # ECS43
    54: SupplyEvent.ARM_COMMAND,  # ECS44
}
"""Script selectors of 0-0:10.0.106.255, method 1 (transform B2)."""


def after(state: Supply, event: SupplyEvent) -> Supply | None:
    """The state after an event, or ``None`` where the event can do nothing in this state."""
    row = TABLE.get((state, event))
    return row[0] if row else None
