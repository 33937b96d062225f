"""Relay permits at the supplier: asked for when an agent is about to get a Command whose hub wants one, and again.

DESIGN CHOICE (reference: permit). Rules this module keeps:

* Just in time: a permit is asked for while the agent waits for the envelope, never before. Without one nothing is
  handed on, for the hub would drop the Command and it would be at large for nothing.
* The permit travels beside the Command and changes no octet of it; what the DSP gives must name this Command, this
  carrier and this hub.
* It is renewed while the agent has the Command and has not passed it up: shortly before it ends, when the hub says that
  another would do, and with the hub's nonce when the hub gave one.
* What the hub says comes through the agent and has no MAC: it decides what is asked for next, and nothing else.

The memory here is this process's own. After a restart what an agent holds is taken to need a new permit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.duis.identifiers import RequestID
from lastmetre.relay.permit import Permit, Status, command_digest, decode_permit
from lastmetre.supplier.errors import DspUnreachable, NoPermit
from lastmetre.supplier.orders import AttemptState

if TYPE_CHECKING:
    from lastmetre.relay.permit import Answer
    from lastmetre.supplier.orders import Attempt, Order
    from lastmetre.supplier.ports import Permits
    from lastmetre.supplier.roads import Device

RENEW_BEFORE_S: Final = 60
"""How long before a permit's end the next one is asked for."""
ASK_AGAIN_S: Final = (5, 10, 30, 60)
"""Pause after a permit that was not given, or that the hub refused; the last value repeats."""
HELD_MAX: Final = 100_000
"""Orders remembered at once; beyond it the oldest is forgotten and gets a new permit when it is asked about."""

CURED_BY_ANOTHER: Final = frozenset({Status.TIME, Status.VOID, Status.SERIAL_USED, Status.NO_HANDOVER_LEFT})
"""What the hub may say that another permit mends. Anything else will be said again."""


@dataclass(frozen=True, slots=True)
class Given:
    """A permit, and whether it is new: no envelope carried it yet."""

    octets: bytes
    new: bool


@dataclass(frozen=True, slots=True)
class NotNow:
    """No permit: why, in words for the person at the desk."""

    why: str


@dataclass(slots=True)
class _Held:
    """What is known of an order's permit."""

    octets: bytes = b""
    carrier_id: bytes = b""
    not_after: int = 0
    handed_on: bool = False
    """Whether it left with an envelope: another change to the order may have come between."""
    hub_nonce: bytes | None = None
    wanted_from: int | None = None
    """From when another is wanted, whatever the time of this one."""
    failures: int = 0
    why: str = ""

    def renew_at(self, order: Order) -> int:
        """When the next one is asked for; one that lasts as long as the order needs no successor."""
        return order.deadline_at if self.not_after >= order.deadline_at else self.not_after - RENEW_BEFORE_S


class PermitDesk:
    """Asks for permits; ``source`` is the DSP, ``None`` where no hub wants any."""

    def __init__(self, source: Permits | None, entity_id: bytes) -> None:
        self._source = source
        self._entity_id = entity_id
        self._held: dict[str, _Held] = {}

    async def permit_for(self, order: Order, device: Device, carrier_id: bytes, now: int) -> Given | NotNow:
        """A permit for the order's Command: the one it has while that is good, else a new one, made now."""
        held = self._held.setdefault(order.order_id, _Held())
        while len(self._held) > HELD_MAX:
            del self._held[next(iter(self._held))]
        if held.wanted_from is None and held.carrier_id == carrier_id and now < held.renew_at(order):
            return Given(held.octets, new=not held.handed_on)
        if held.failures and held.wanted_from is not None and now < held.wanted_from:
            return NotNow(held.why)
        if self._source is None or order.originator_counter is None:
            return NotNow("its hub wants relay permits, and nobody is set up to give them")
        digest = command_digest(order.command)
        request_id = str(RequestID(self._entity_id, order.device_id, order.originator_counter))
        try:
            octets = await self._source.permit(request_id, digest, carrier_id, order.deadline_at, held.hub_nonce)
        except (NoPermit, DspUnreachable) as error:
            return self._failed(held, f"waits for a relay permit: {error}", now)
        permit = decode_permit(octets)
        ids = (device.hub_id, carrier_id, device.device_id, digest)
        if not isinstance(permit, Permit) or ids != (
            permit.hub_id,
            permit.carrier_id,
            permit.target_id,
            permit.digest,
        ):
            return self._failed(held, "waits for a relay permit: the DCC's was not for this Command", now)
        self._held[order.order_id] = _Held(octets, carrier_id, permit.not_after, failures=held.failures)
        return Given(octets, new=True)

    def is_due(self, order: Order, attempt: Attempt, now: int) -> bool:
        """Whether a Command that the agent has should get another permit now."""
        held = self._held.get(order.order_id)
        waiting = attempt.state is AttemptState.TAKEN_BY_AGENT
        if held is None:
            return waiting  # we forgot: the one it has may be of any age
        if held.wanted_from is not None:
            return now >= held.wanted_from
        if held.octets and not held.handed_on:
            return True
        return waiting and now >= held.renew_at(order)

    def heard(self, order_id: str, answer: Answer, now: int) -> bool:
        """What the hub said of a permit, as the agent saw it; whether another permit, or a nonce, may mend it."""
        held = self._held.setdefault(order_id, _Held())
        if answer.status is Status.NONCE:
            held.hub_nonce, held.wanted_from, held.failures = answer.hub_nonce, now, 0
            return True
        if answer.status not in CURED_BY_ANOTHER:
            return False
        if answer.status is Status.TIME and not answer.clock_reliable:
            return True  # it knows no time; the agent asks it for a nonce
        self._later(held, now)
        return True

    def handed_on(self, order_id: str) -> None:
        """The order's permit left with an envelope."""
        if order_id in self._held:
            self._held[order_id].handed_on = True

    def forget(self, order_id: str) -> None:
        """The order needs no permit any more."""
        self._held.pop(order_id, None)

    def _failed(self, held: _Held, why: str, now: int) -> NotNow:
        self._later(held, now)
        held.why = why
        return NotNow(why)

    def _later(self, held: _Held, now: int) -> None:
        held.wanted_from = now + ASK_AGAIN_S[min(held.failures, len(ASK_AGAIN_S) - 1)]
        held.failures += 1


def words(answer: Answer) -> str:
    """What the hub said, for the person at the desk; nobody's evidence."""
    if answer.status is Status.NONCE:
        return "the hub gave a nonce for its next permit"
    clock = "" if answer.clock_reliable else "; it knows no time"
    return f"the hub refused its permit: {answer.status.name.lower().replace('_', ' ')}{clock}"
