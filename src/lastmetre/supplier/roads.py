"""Roads: which way an order may go now, or why none is open and until when.

Road policy is data (``policy``): it, or the order, names the roads and their order. What is known says which of them
are open: the device's WAN coverage, whether it has a PPMID with an agent and when that was last heard of, the hours in
which a road may be used, what failed lately, what was spent so far. The rules kept here:

- A road that is closed says why, in words for the person at the desk.
- A road in doubt (silent, or failed again and again) is passed over while another is open, and used when none is:
  what is known of a carrier is old the moment it is known.
- Once a Command left, it goes on by another road only as the same octets: a counter names one message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.catalogue import Lane
from lastmetre.supplier.orders import Order, Road, RoadFacts
from lastmetre.supplier.policy import RoadPolicy, Step, money

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "UNKNOWN_FACTS",
    "Closed",
    "Device",
    "Open",
    "RoadFacts",
    "RoadPolicy",
    "WanCoverage",
    "Ways",
    "choose",
    "steps_of",
]

GSME_SLEEP_S: Final = 1_800
"""A gas meter wakes every half hour, whatever the road (design section 2): an answer is not late before."""
LOCAL: Final = frozenset({Road.PPMID, Road.HHT})
"""Roads on which the supplier hands on the Command itself."""


class WanCoverage(StrEnum):
    """What the supplier knows of the home's SM WAN."""

    NONE = "none"
    DOWN = "down"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Device:
    """A device the supplier may order things for, and what leads to it."""

    device_id: bytes
    hub_id: bytes
    wan: WanCoverage
    agent_id: bytes | None = None
    """The PPMID whose agent carries Commands to this home; the agent goes by the PPMID's identifier."""
    device_type: str = "ESME"
    gbcs_version: str = "4.3"
    priority_services: bool = False
    """Whether the customer is on the Priority Services Register."""
    vendor: str = ""
    """Who made its PPMID: what is at large is capped per vendor."""
    mpxn: str = ""
    """The supply point it measures (MPAN or MPRN); the same for all devices there."""
    permits: bool = False
    """Whether its hub wants relay permits for what a PPMID passes up (its policy is ``permit``)."""

    @property
    def sleep_s(self) -> int:
        """How long the device may sleep before it can answer."""
        return GSME_SLEEP_S if self.device_type == "GSME" else 0


UNKNOWN_FACTS: Final = RoadFacts()


@dataclass(frozen=True, slots=True)
class Open:
    """The road to take, and who carries on it."""

    road: Road
    carrier_id: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """No road is open; ``why`` is the answer to "why is it waiting", ``until`` when to look again, if that is known."""

    why: str
    until: int = 0


@dataclass(frozen=True, slots=True)
class Ways:
    """What is known when a road is chosen."""

    device: Device
    dsp_id: bytes
    now: int = 0
    policy: RoadPolicy = field(default_factory=RoadPolicy)
    facts: Mapping[tuple[bytes, Road], RoadFacts] | None = None

    def known(self, step: Step) -> RoadFacts:
        """What was seen of this way."""
        way = way_id(self.device, step.road)
        return UNKNOWN_FACTS if self.facts is None or way is None else self.facts.get((way, step.road), UNKNOWN_FACTS)


def way_id(device: Device, road: Road) -> bytes | None:
    """Whose facts tell of this road to this device."""
    return {Road.WAN: device.hub_id, Road.PPMID: device.agent_id}.get(road)


def steps_of(order: Order, policy: RoadPolicy) -> tuple[Step, ...]:
    """The order's roads in their order, each as its policy uses it; *both* is two of them at once."""
    chosen = policy.policy(order.policy)
    steps: list[Step] = []
    for road in order.roads:
        step = chosen.step(road)
        if road is Road.BOTH:
            wan = Step(Road.WAN, 0, step.hours)
            steps += (wan, Step(Road.PPMID, step.wait_s, step.hours, step.seen_within_s))
        else:
            steps.append(step)
    if chosen.cheapest_first:
        steps.sort(key=lambda step: policy.cost(step.road))
    return tuple(steps)


def choose(order: Order, steps: tuple[Step, ...], ways: Ways) -> Open | Closed:
    """The first open road of these steps; one in doubt only when no other is open."""
    reasons: list[str] = []
    until: list[int] = []
    in_doubt: Open | None = None
    for step in steps:
        way = _open(order, step, ways)
        if isinstance(way, Closed):
            reasons.append(way.why)
            until += [way.until] if way.until else []
        elif not _doubtful(step, ways):
            return way
        else:
            in_doubt = in_doubt or way
    return in_doubt or Closed("; ".join(reasons) or "no road was named", min(until, default=0))


def _open(order: Order, step: Step, ways: Ways) -> Open | Closed:
    if step.hours is not None and ways.now not in step.hours:
        return Closed(f"by {step.road.value} only between {step.hours} UTC", step.hours.next_start(ways.now))
    for ban in ways.policy.bans:
        if ban.forbids(order.service, step.road):
            return Closed(f"not by {step.road.value}: {ban.reason}")
    cost, most = ways.policy.cost(step.road), ways.policy.policy(order.policy).cost_max
    if most is not None and order.cost + cost > most:
        return Closed(f"{step.road.value} would bring it to {money(order.cost + cost)}, above {money(most)}")
    return _reachable(order, step.road, ways)


_WAN_WORDS: Final = {WanCoverage.NONE: "no WAN here", WanCoverage.DOWN: "the WAN here is down"}


def _reachable(order: Order, road: Road, ways: Ways) -> Open | Closed:
    """Whether this road leads to the device at all."""
    device = ways.device
    if road is Road.WAN:
        return Open(road, ways.dsp_id) if device.wan is WanCoverage.GOOD else Closed(_WAN_WORDS[device.wan])
    if road is Road.PPMID:
        return Closed("no PPMID with an agent here") if device.agent_id is None else Open(road, device.agent_id)
    if road is Road.CODE and order.lane is not Lane.TOP_UP:
        return Closed("only a top-up has a code")
    return Open(road, b"")


def _doubtful(step: Step, ways: Ways) -> bool:
    known, policy = ways.known(step), ways.policy
    silent = step.seen_within_s is not None and 0 < known.seen_at < ways.now - step.seen_within_s
    failing = known.failures >= policy.failures_max and known.failed_at > ways.now - policy.failures_within_s
    return silent or failing


def wants_copy(order: Order, steps: tuple[Step, ...], ways: Ways) -> bool:
    """Whether a Command that leaves by WAN is to be had as a copy too: another road may be tried with its octets."""
    later = (step for step in steps if step.road in LOCAL)
    return any(isinstance(_reachable(order, step.road, ways), Open) for step in later)


def next_road_at(order: Order, steps: tuple[Step, ...], road: Road, device: Device, now: int) -> int:
    """When the road after this one is due; 0 when it waits for this one to fail, or there is none.

    A device that sleeps cannot have answered before it woke. And a wait takes no more than its share of the time that
    is left, so that an order in a hurry tries all its roads.
    """
    ahead = [step for step in steps if step.road not in {*order.opened, road}]
    step = next((step for step in steps if step.road is road), None)
    if not ahead or step is None or step.wait_s is None:
        return 0
    wait_s = step.wait_s + (device.sleep_s if step.wait_s else 0)
    return now + min(wait_s, max(1, (order.deadline_at - now) // (len(ahead) + 1)))
