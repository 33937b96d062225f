"""Roads: which way an order may go now, or why none is open.

Road policy is data (design section 5): an order names its roads in the order they are wanted; what is known of the home
says which of them are open. This issue takes the first open one. Waits, races, costs and fallback come with issue 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lastmetre.supplier.orders import Road


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


@dataclass(frozen=True, slots=True)
class RoadPolicy:
    """How roads are used; one record for all orders until policies become their own file (issue 7)."""

    redeliver_after_s: int = 5
    """An envelope that the agent has not acknowledged is handed over again, the same bytes, after this long."""
    resend_after_s: int = 5
    """A request whose answer from the DCC was lost goes again, the same bytes; the wait doubles up to the maximum."""
    resend_max_s: int = 300
    return_responses: bool = True
    """Every Response that came by local delivery goes back to the DCC (SRV 8.13). Where it changes inventory or
    credentials that is no choice (DESIGN CHOICE, design section 5); for the rest this setting decides."""


@dataclass(frozen=True, slots=True)
class Open:
    """The road to take, and who carries on it."""

    road: Road
    carrier_id: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """No road is open; ``why`` is the answer to "why is it waiting"."""

    why: str


_WAN_WORDS: Final = {WanCoverage.NONE: "no WAN here", WanCoverage.DOWN: "the WAN here is down"}


def choose(roads: tuple[Road, ...], device: Device, dsp_id: bytes) -> Open | Closed:
    """The first of the order's roads that is open to this device."""
    reasons: list[str] = []
    for road in roads:
        if road is Road.WAN:
            if device.wan is WanCoverage.GOOD:
                return Open(road, dsp_id)
            reasons.append(_WAN_WORDS[device.wan])
        elif road is Road.PPMID:
            if device.agent_id is not None:
                return Open(road, device.agent_id)
            reasons.append("no PPMID with an agent here")
    return Closed("; ".join(reasons) or "no road was named")
