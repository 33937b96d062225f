"""Orders: what was asked, how far it got, and the one table that says which event leads where.

The rules this module lives by (design section 5):

- A state is named by its evidence. *Confirmed* means one thing: a Response was verified against the device, the
  counter and the message code. What a PPMID, an agent or the DCC says about carrying moves an *attempt*, never an order
  to its end.
- Events may come late, twice, or in any order. An event that the table does not know for a state changes nothing; a
  verified Response is evidence in every state, so every state has a row for it.
- Nothing at large ends by the clock alone: past its deadline it is *unknown*, which stays an alarm until a Response, a
  read-back or a superseder settles it.
- A top-up whose digits were told to somebody is at large by the code road from that moment, though no Command left: it
  can neither be cancelled nor expire unsent.
- One Command in flight per lane: an order *holds its lane* from the moment it takes a counter (top-ups: from its
  preparation) until it ends or becomes unknown. After unknown the lane moves on: the next ordinary Command's higher
  counter makes the old one harmless, and a top-up's place in the UTRN cache does not depend on the order.

The module is pure: time comes in as ``at``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.gbcs.catalogue import Lane


class State(StrEnum):
    """How far an order got, by what is proven of it."""

    ACCEPTED = "accepted"
    """Stored. Nothing was sealed for it."""
    PREPARED = "prepared"
    """The request that will have it sealed (Service Request, or Signed Pre-Command after correlation) is stored."""
    SEALED = "sealed"
    """The finished Command lies here. No carrier has it."""
    AT_LARGE = "at_large"
    """At least one carrier has, or may have, the Command."""
    CONFIRMED = "confirmed"
    """The device's Response was verified and says that it did what was asked."""
    CONFIRMED_BY_DCC = "confirmed_by_dcc"
    """The Response was MACed for the ACB, which we cannot check, and the DSP verified it (SRV 8.13)."""
    CONFIRMED_LATE = "confirmed_late"
    """As confirmed, after the order had been given up."""
    REFUSED_BY_DEVICE = "refused_by_device"
    """The device's Response was verified and says that it did not do it."""
    EXPIRED_UNSENT = "expired_unsent"
    """The deadline passed and nothing had left."""
    CANCELLED = "cancelled"
    """Called off before anything left."""
    FAILED_BEFORE_SEALING = "failed_before_sealing"
    """The DCC refused it, or its Pre-Command did not say what was asked. Nothing left."""
    UNKNOWN = "unknown"
    """At large past its deadline: it may have run. An alarm, not an end."""
    SUPERSEDING = "superseding"
    """A higher counter is on its way to make it harmless."""
    SUPERSEDED = "superseded"
    """The higher counter's Response was verified; this Command cannot run any more."""


class Event(StrEnum):
    """What can happen to an order."""

    PREPARED = "prepared"
    MADE_AGAIN = "made_again"
    """What was prepared is thrown away and made anew, with a new counter; nothing of it left."""
    OTHER_ROAD = "other_road"
    """As made again, for another road: what was sealed never left, or the DCC signed that it did not take it."""
    SEALED = "sealed"
    HANDED_ON = "handed_on"
    RESPONSE_VERIFIED = "response_verified"
    RESPONSE_VERIFIED_REFUSAL = "response_verified_refusal"
    DEADLINE_PASSED = "deadline_passed"
    DEADLINE_PASSED_CODE_OUT = "deadline_passed_code_out"
    """As before, for a top-up whose digits were told."""
    CANCELLED = "cancelled"
    PREPARATION_FAILED = "preparation_failed"
    PREPARATION_FAILED_CODE_OUT = "preparation_failed_code_out"
    REFUSED_BY_DCC = "refused_by_dcc"
    """The DCC said at once that it will not send it, and it had no other way out."""
    DCC_VERIFIED = "dcc_verified"
    """The Response was MACed for the ACB, went to the DSP (SRV 8.13), and the DSP took it as the device's."""
    READ_BACK = "read_back"
    """A verified read of the device's own log shows that it ran."""
    SUPERSESSION_STARTED = "supersession_started"
    SUPERSEDER_CONFIRMED = "superseder_confirmed"
    SUPERSESSION_FAILED = "supersession_failed"
    """The higher counter never left."""


_UNSENT: Final = {
    Event.DEADLINE_PASSED: State.EXPIRED_UNSENT,
    Event.DEADLINE_PASSED_CODE_OUT: State.UNKNOWN,
    Event.CANCELLED: State.CANCELLED,
    Event.PREPARATION_FAILED: State.FAILED_BEFORE_SEALING,
    Event.PREPARATION_FAILED_CODE_OUT: State.UNKNOWN,
    # A verified Response proves that a Command did leave, whatever this store remembers (a restored backup).
    Event.RESPONSE_VERIFIED: State.CONFIRMED,
    Event.RESPONSE_VERIFIED_REFUSAL: State.REFUSED_BY_DEVICE,
    Event.READ_BACK: State.CONFIRMED,
}
_GIVEN_UP: Final = {
    Event.RESPONSE_VERIFIED: State.CONFIRMED_LATE,
    Event.RESPONSE_VERIFIED_REFUSAL: State.REFUSED_BY_DEVICE,
    Event.READ_BACK: State.CONFIRMED_LATE,
    Event.DCC_VERIFIED: State.CONFIRMED_BY_DCC,
}

_TABLE: Final[dict[State, dict[Event, State]]] = {
    State.ACCEPTED: {
        **_UNSENT,
        Event.PREPARED: State.PREPARED,
    },
    State.PREPARED: {
        **_UNSENT,
        Event.SEALED: State.SEALED,
        Event.HANDED_ON: State.AT_LARGE,  # SM WAN: the DCC seals and sends in one
        Event.MADE_AGAIN: State.ACCEPTED,
    },
    State.SEALED: {
        **_UNSENT,
        Event.HANDED_ON: State.AT_LARGE,
        Event.OTHER_ROAD: State.ACCEPTED,
    },
    State.AT_LARGE: {
        Event.RESPONSE_VERIFIED: State.CONFIRMED,
        Event.RESPONSE_VERIFIED_REFUSAL: State.REFUSED_BY_DEVICE,
        Event.DEADLINE_PASSED: State.UNKNOWN,
        Event.DEADLINE_PASSED_CODE_OUT: State.UNKNOWN,
        Event.READ_BACK: State.CONFIRMED,
        Event.DCC_VERIFIED: State.CONFIRMED_BY_DCC,
        Event.REFUSED_BY_DCC: State.FAILED_BEFORE_SEALING,
        Event.OTHER_ROAD: State.ACCEPTED,
        Event.SUPERSESSION_STARTED: State.SUPERSEDING,
    },
    State.UNKNOWN: {
        **_GIVEN_UP,
        Event.SUPERSESSION_STARTED: State.SUPERSEDING,
    },
    State.SUPERSEDING: {
        **_GIVEN_UP,
        Event.SUPERSEDER_CONFIRMED: State.SUPERSEDED,
        Event.SUPERSESSION_FAILED: State.UNKNOWN,
    },
    State.SUPERSEDED: _GIVEN_UP,
    State.EXPIRED_UNSENT: _GIVEN_UP,
    State.CANCELLED: _GIVEN_UP,
    State.FAILED_BEFORE_SEALING: _GIVEN_UP,
    # The device answers one counter once: a second Response is a copy.
    State.CONFIRMED: {},
    State.CONFIRMED_BY_DCC: {Event.RESPONSE_VERIFIED: State.CONFIRMED},
    State.CONFIRMED_LATE: {},
    State.REFUSED_BY_DEVICE: {},
}
TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {(state, event): target for state, row in _TABLE.items() for event, target in row.items()}
)
"""Every change of state there is."""

OPEN: Final = frozenset(
    {State.ACCEPTED, State.PREPARED, State.SEALED, State.AT_LARGE, State.UNKNOWN, State.SUPERSEDING}
)
FINAL: Final = frozenset(State) - OPEN
"""Ends. Only a verified Response still moves them, to *confirmed late* or *refused by device*."""
BEFORE_THE_END: Final = frozenset({State.ACCEPTED, State.PREPARED, State.SEALED, State.AT_LARGE})
"""States that the deadline ends, and in which a lane may be held."""
UNSENT: Final = frozenset({State.ACCEPTED, State.PREPARED, State.SEALED})


class Road(StrEnum):
    """Ways to the device."""

    WAN = "wan"
    PPMID = "ppmid"
    BOTH = "both"
    """WAN and PPMID at once, the same octets (Command Variants 3 and 7); an attempt is always on one of the two."""
    HHT = "hht"
    """A field engineer's hand-held terminal, by a signed pack."""
    CODE = "code"
    """Digits that a person keys in."""


class AttemptState(StrEnum):
    """What is known of one use of a road, in rising order; a later receipt never lowers it."""

    HANDED_ON = "handed_on"
    TAKEN_BY_DCC = "taken_by_dcc"
    TAKEN_BY_AGENT = "taken_by_agent"
    TAKEN_BY_TUNNEL = "taken_by_tunnel"
    ANSWERED = "answered"


_RANK: Final = {state: rank for rank, state in enumerate(AttemptState)}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One use of one road."""

    number: int
    road: Road
    carrier_id: bytes
    """The agent's or the DSP's identifier; empty for digits told to a person."""
    state: AttemptState
    handed_on_at: int
    changed_at: int
    tries: int = 1
    """How often the same bytes were handed on."""
    said: str = ""
    """What the carrier last said. Nobody's evidence."""
    cost: int = 0
    """What its uses of the road cost together, in thousandths of a penny."""


@dataclass(frozen=True, slots=True)
class RoadFacts:
    """What was seen of one way: the agent's, or the WAN to one hub."""

    seen_at: int = 0
    """When it last carried or said anything; 0 when nothing is known."""
    failures: int = 0
    """How often in a row it failed since."""
    failed_at: int = 0


WORK: Final = "order"
"""The name of a job about an order; its key is the order's identifier."""


class Return(StrEnum):
    """Whether the Response goes back to the DCC (SRV 8.13)."""

    NOT_NEEDED = "not_needed"
    DUE = "due"
    DONE = "done"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the store holds it. A change is a new value; the store takes it only if nobody was quicker."""

    order_id: str
    device_id: bytes
    service: str
    values_json: str
    roads: tuple[Road, ...]
    deadline_at: int
    reason: str
    idempotency_key: str
    body_digest: bytes
    accepted_at: int
    lane: Lane
    state: State = State.ACCEPTED
    changed_at: int = 0
    version: int = 1
    lane_held: bool = False
    originator_counter: int | None = None
    message_code: int | None = None
    utrn: str = ""
    road: Road | None = None
    carrier_id: bytes = b""
    why: str = ""
    retry_at: int = 0
    failures: int = 0
    command: bytes = b""
    response: bytes = b""
    returning: Return = Return.NOT_NEEDED
    attempts: tuple[Attempt, ...] = ()
    superseded_by: str = ""
    """The order whose higher counter makes this one harmless."""
    ordered_by: str = ""
    approved_by: str = ""
    policy: str = ""
    """The road policy it goes by; empty for the default."""
    opened: tuple[Road, ...] = ()
    """Roads taken so far, in the order in which they were."""
    priority: int = 0
    """Of two orders that wait for one lane, the higher goes first; then the older."""
    with_copy: bool = False
    """Whether the DCC sends it by WAN and gives us a copy as well (Command Variants 3 and 7)."""
    next_road_at: int = 0
    """When the next road is to be looked for; 0 when none is."""

    @property
    def cost(self) -> int:
        """What all uses of roads cost so far."""
        return sum(attempt.cost for attempt in self.attempts)

    @property
    def code_out(self) -> bool:
        """Whether a top-up's digits were told to somebody."""
        return any(attempt.road is Road.CODE for attempt in self.attempts)

    @property
    def sent(self) -> tuple[Attempt, ...]:
        """The attempts that carry the Command itself."""
        return tuple(attempt for attempt in self.attempts if attempt.road is not Road.CODE)


def moved(order: Order, event: Event, at: int, why: str = "") -> Order | None:
    """The order after the event; ``None`` when the table has no such row and the order stays as it is."""
    target = TRANSITIONS.get((order.state, event))
    if target is None:
        return None
    lane_held = order.lane_held and target in BEFORE_THE_END
    counter = order.originator_counter
    if event in {Event.MADE_AGAIN, Event.OTHER_ROAD}:
        lane_held, counter = False, None
    return replace(
        order,
        state=target,
        changed_at=at,
        why=why,
        lane_held=lane_held,
        originator_counter=counter,
        retry_at=0,
        failures=0,
    )


def deadline_event(order: Order) -> Event:
    """Which of the two deadline events it is."""
    return Event.DEADLINE_PASSED_CODE_OUT if order.code_out else Event.DEADLINE_PASSED


def failure_event(order: Order) -> Event:
    """Which of the two failures it is."""
    return Event.PREPARATION_FAILED_CODE_OUT if order.code_out else Event.PREPARATION_FAILED


def with_attempt(order: Order, road: Road, carrier_id: bytes, at: int, cost: int = 0) -> Order:
    """The order with one more use of a road, just handed on."""
    attempt = Attempt(len(order.attempts) + 1, road, carrier_id, AttemptState.HANDED_ON, at, at, cost=cost)
    return replace(order, attempts=(*order.attempts, attempt))


def latest_attempt(order: Order, road: Road, carrier_id: bytes) -> Attempt | None:
    """The last use of this road by this carrier."""
    found = [a for a in order.attempts if a.road is road and a.carrier_id == carrier_id]
    return found[-1] if found else None


def attempt_changed(
    order: Order,
    attempt: Attempt,
    at: int,
    *,
    state: AttemptState | None = None,
    said: str = "",
    again: bool = False,
    cost: int = 0,
) -> Order:
    """The order with one attempt moved forward (never back), handed on again, or with the carrier's words noted."""
    higher = attempt.state if state is None or _RANK[state] <= _RANK[attempt.state] else state
    tries = attempt.tries + 1 if again else attempt.tries
    new = replace(
        attempt, state=higher, changed_at=at, tries=tries, said=said or attempt.said, cost=attempt.cost + cost
    )
    if replace(new, changed_at=attempt.changed_at) == attempt:
        return order
    attempts = tuple(new if a.number == attempt.number else a for a in order.attempts)
    return replace(order, attempts=attempts)


def why_waiting(order: Order) -> str | None:
    """Why the order has not ended yet, in words for the person at the desk; ``None`` when it has."""
    if order.state in FINAL:
        return None
    if order.why:
        return order.why
    if order.state is State.ACCEPTED and order.road is Road.CODE:
        return "its digits were told; waits for the customer to key them in"
    if order.state is State.SEALED and order.road is Road.HHT:
        return "waits for a field engineer's pack"
    if order.state is State.AT_LARGE:
        states = [attempt.state for attempt in order.sent]
        return _AT_LARGE_WORDS[max(states, key=_RANK.__getitem__)] if states else "handed on"
    return _WAITING_WORDS[order.state]


def waits_until(order: Order) -> int | None:
    """Until when it waits at the longest before something is done: the next try, the next road, or its deadline.

    ``None`` for what ended, and for an alarm: nothing but a word from outside moves that.
    """
    if order.state in FINAL:
        return None
    moments = [at for at in (order.retry_at, order.next_road_at) if at]
    if order.state in BEFORE_THE_END:
        moments.append(order.deadline_at)
    return min(moments, default=None)


_WAITING_WORDS: Final = {
    State.ACCEPTED: "waits for its turn",
    State.PREPARED: "waits for the DCC to seal it",
    State.SEALED: "waits for the PPMID's agent to fetch it",
    State.UNKNOWN: "its deadline passed while it was at large: it may have run",
    State.SUPERSEDING: "a higher counter is on its way to make it harmless",
}
_AT_LARGE_WORDS: Final = {
    AttemptState.HANDED_ON: "handed on; the carrier has not said that it has it",
    AttemptState.TAKEN_BY_DCC: "the DCC has it; no Response yet",
    AttemptState.TAKEN_BY_AGENT: "the PPMID's agent has it; it has not passed the tunnel yet",
    AttemptState.TAKEN_BY_TUNNEL: "it went up the PPMID's tunnel; no Response yet",
    AttemptState.ANSWERED: "an answer came that could not be verified",
}
