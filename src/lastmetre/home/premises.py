"""One home put together: hub and meter on one air, and what passes between them.

A ``Premises`` has no socket and no clock. Its ``medium`` is driven by a pump (or by a test); every event of the pump is
handed to ``happened``; frames for radios in other processes, the PPMID's above all, come out of the medium.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.han import (
    Device,
    Dropped,
    Event,
    Heard,
    Hub,
    LocalChangeSupply,
    Medium,
    MessageReceived,
    Status,
    TransferFailed,
    TunnelClosed,
    TunnelOpened,
    ZseReceived,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lastmetre.home.comms_hub import CommsHub, Deliver
    from lastmetre.home.esme import Esme
    from lastmetre.home.ports import Tell

COORDINATOR: Final = 0x0000


@dataclass(frozen=True, slots=True)
class Radios:
    """The Zigbee sides of hub and meter."""

    hub: Hub
    meter: Device


class Premises:
    """A hub, its electricity meter, and the air between them; the PPMID is a radio outside."""

    def __init__(self, hub: CommsHub, meter: Esme, radios: Radios, to_wan: Callable[[bytes], None], tell: Tell) -> None:
        self.hub = hub
        self.meter = meter
        self._radios = radios
        self._to_wan = to_wan
        self._tell = tell
        self.medium: Medium[Event] = Medium({COORDINATOR: radios.hub, radios.meter.node.short_address: radios.meter})

    def happened(self, heard: Heard[Event], now: float, at: int) -> None:
        """React to one event. ``now`` is the medium's clock, ``at`` UTC in Unix seconds."""
        if heard.short_address == COORDINATOR:
            self._at_hub(heard.event, now, at)
        else:
            self._at_meter(heard.event, now, at)

    def from_wan(self, message: bytes, now: float, at: int) -> None:
        """The WAN brought a message."""
        self._deliver(self.hub.from_wan(message, at), now)

    def wan_connected(self, at: int) -> None:
        """The WAN is there: what waited for it goes out."""
        for delivery in self.hub.wan_connected(at):
            self._to_wan(delivery.message)

    def _at_hub(self, event: Event, now: float, at: int) -> None:
        match event:
            case MessageReceived(peer=peer, data=message):
                self._deliver(self.hub.from_device(peer, message, at), now)
            case TunnelOpened(peer=peer, tunnel_id=tunnel_id):
                self._tell("hub_tunnel_opened", device_id=peer.hex(), tunnel_id=tunnel_id)
            case TunnelClosed(peer=peer, reason=reason):
                self._tell("hub_tunnel_closed", device_id=peer.hex(), reason=reason)
            case TransferFailed(reason=reason):
                self._tell("hub_delivery_failed", hub_id=self.hub.chf_id.hex(), reason=reason)
            case Dropped(reason=reason, detail=detail):
                self._tell("han_frame_dropped", at_device="hub", reason=reason, detail=detail)
            case _:
                pass  # accepted transfers need no word: only a Response says that something was done

    def _at_meter(self, event: Event, now: float, at: int) -> None:
        match event:
            case MessageReceived(data=message):
                for answer in self.meter.receive(message, at):
                    self._radios.meter.send(answer, now)
            case ZseReceived(command=LocalChangeSupply()):
                done = self.meter.customer_enable()
                self._tell("meter_button_answered", device_id=self.meter.entity_id.hex(), use_case="PECS03", done=done)
                self._radios.meter.answer_zse(event, Status.SUCCESS if done else Status.FAILURE, now)
            case ZseReceived():
                self._radios.meter.answer_zse(event, Status.UNSUPPORTED_CLUSTER_COMMAND, now)
            case Dropped(reason=reason, detail=detail):
                self._tell("han_frame_dropped", at_device="meter", reason=reason, detail=detail)
            case _:
                pass

    def _deliver(self, deliveries: Iterable[Deliver], now: float) -> None:
        for delivery in deliveries:
            if delivery.device_id is None:
                self._to_wan(delivery.message)
            else:
                self._radios.hub.send(delivery.device_id, delivery.message, now)
