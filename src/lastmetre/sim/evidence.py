"""What is left of a run, in plain values: what meters did, what the store and the audit hold, what was said and seen.

Rules this module keeps: nothing here comes from the room that is judged; rows are those that the supplier shows to
anybody (texts and numbers, identifiers and messages in hex).
"""

from __future__ import annotations

from dataclasses import dataclass, field

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Execution:
    """A meter accepted a Command and stored its counter and its effect."""

    at: float
    device_id: str
    originator_id: str
    counter: int
    message_code: int
    message: str
    balance_change: int
    """Thousandths of a penny."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One event that a party told: when in truth, and the latest time its own clock had shown in that life."""

    at: float
    party: str
    clock_at: float
    event: str
    facts: Row


@dataclass(frozen=True, slots=True)
class Said:
    """What the API said of an order to somebody who asked."""

    at: float
    order_id: str
    state: str


@dataclass(slots=True)
class Evidence:
    """Everything a checker may look at."""

    executions: list[Execution] = field(default_factory=list)
    answers: set[str] = field(default_factory=set)
    """Every Response a meter really made, in hex."""
    seen: list[Seen] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    promised: dict[str, str] = field(default_factory=dict)
    """Idempotency key: the order that the API promised for it."""
    refused: int = 0
    orders: list[Row] = field(default_factory=list)
    audit: list[Row] = field(default_factory=list)
    balances: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Device: its balance at the start and at the end."""
    left_over: list[str] = field(default_factory=list)
    """What still waited somewhere when the world had had time enough."""
    crashes: list[str] = field(default_factory=list)
    clocks_jumped: bool = False
