"""A hand-held terminal's Zigbee side: it opens one tunnel to the hub and speaks through it (reference/han.md 2.8).

That the terminal is the client, the hub the server at its first endpoint, and that no GB header is used, are DESIGN
CHOICES of 2.8: no public text says. The Inter-PAN exchange before it joins is not on this air.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lastmetre.han.devices import _Endpoint
from lastmetre.han.errors import HanValueError
from lastmetre.han.node import COORDINATOR, Dropped, Node, ZclReceived
from lastmetre.han.tunnel import TunnelClient
from lastmetre.han.tunnelling import CLUSTER as TUNNELING

if TYPE_CHECKING:
    from lastmetre.han.events import Arrival, Event
    from lastmetre.han.zcl import DefaultResponse


class HandheldDevice(_Endpoint):
    """A terminal in the field: ``send`` a message up its tunnel; what comes down is ``MessageReceived``."""

    def __init__(self, eui64: bytes, short_address: int, pan_id: int, hub: bytes, *, first_counter: int) -> None:
        if short_address == COORDINATOR:
            raise HanValueError("short address 0x0000 is the hub's; a device has another")
        super().__init__(Node(eui64, short_address, pan_id, {hub: COORDINATOR}, first_counter=first_counter))
        self.hub: Final = hub
        self.client: Final = TunnelClient(self.node)
        self.client.add(hub)

    def send(self, data: bytes, now: float) -> int:
        """Send a message; held until the tunnel is open. Raises for what no tunnel carries."""
        handle, events = self.client.send(self.hub, data, now)
        self._told += events
        return handle

    def _due(self, now: float) -> list[Event]:
        return self.client.tick(now)

    def _deadlines(self) -> list[float | None]:
        return [self.client.next_deadline()]

    def _delivered(self, handle: int, now: float) -> None:
        self.client.delivered(handle, now)

    def _delivery_failed(self, handle: int, now: float) -> list[Event]:
        return self.client.delivery_failed(handle, now)

    def _zdo(self, peer: bytes, received: ZclReceived, now: float) -> list[Event]:  # noqa: ARG002  # the hub needs them
        return [Dropped("unsupported", f"ZDO request {received.cluster:#06x}", received.source_short)]

    def _answered(self, arrival: Arrival, response: DefaultResponse, now: float) -> list[Event]:
        if arrival.cluster == TUNNELING and arrival.frame.from_server:
            return self.client.answered(arrival, response, now)
        return []

    def _arrived(self, arrival: Arrival, now: float) -> list[Event] | None:
        if arrival.cluster == TUNNELING and arrival.frame.from_server:
            return self.client.receive(arrival, now)
        return None
