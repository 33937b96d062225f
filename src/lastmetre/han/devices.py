"""Whole HAN devices without a radio: a node with the tunnel ends and clusters that its kind has.

``Device`` is an ESME or a PPMID, ``Hub`` the Communications Hub. Both are driven alike, as every ``Core``:

    hub = Hub(HUB, PAN, {ESME: 0x1001, PPMID: 0x4A21}, first_counter=chance)
    meter = Device(ESME, 0x1001, PAN, HUB, {PPMID: 0x4A21}, first_counter=chance)

    for event in meter.receive(frame, now):             # a frame off the air
        match event:
            case MessageReceived(data=command):         # from the hub: a Command
                meter.send(execute(command), now)       # its Response goes up the same tunnel
            case ZseReceived(command=LocalChangeSupply()):
                meter.answer_zse(event, Status.SUCCESS, now)
    for frame in meter.outgoing():                      # after every call
        put_on_the_air(frame)
    sleep_until(meter.next_deadline()); meter.tick(now)

``first_counter`` is any octet from chance, so that a device that restarts does not take up its counters again.

Rules: what is not understood is answered as the ZCL says (0x81) and told as ``Dropped``; that covers an OTA server's
frames at the hub (reference/han.md 3.5). A device without a tunnel announces itself at once and every 20 s, so that
a hub that thinks the old tunnel alive opens a new one (``zdo``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from lastmetre.han.clusters import CLUSTERS, ZseCommand, decode_zse, encode_zse
from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.events import (
    Arrival,
    Event,
    TunnelClosed,
    ZseAnswered,
    ZseFailed,
    ZseReceived,
)
from lastmetre.han.limits import ANNOUNCE_S, TRANSFER_ANSWER_S
from lastmetre.han.node import (
    COORDINATOR,
    ENDPOINT,
    SMART_ENERGY_PROFILE,
    Delivered,
    DeliveryFailed,
    Dropped,
    Indication,
    Node,
    ZclReceived,
)
from lastmetre.han.tunnel import TunnelClient, TunnelServer, answer_status
from lastmetre.han.tunnelling import CLUSTER as TUNNELING
from lastmetre.han.zcl import DefaultResponse, Status, parse_zcl, read_default_response
from lastmetre.han.zdo import DEVICE_ANNOUNCE, DeviceAnnounce, parse_announce
from lastmetre.han.zdo import ENDPOINT as ZDO_ENDPOINT
from lastmetre.han.zdo import PROFILE as ZDO_PROFILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")


class Core(Protocol[T]):
    """Anything that lives on frames and the time. ``tick`` when ``next_deadline`` comes; drain ``outgoing`` always."""

    def receive(self, frame: bytes, now: float) -> list[T]:
        """Take a frame off the air."""
        ...

    def tick(self, now: float) -> list[T]:
        """Do what is due."""
        ...

    def next_deadline(self) -> float | None:
        """When ``tick`` is due; long past for at once, ``None`` for never."""
        ...

    def outgoing(self) -> list[bytes]:
        """Frames to put on the air, each once."""
        ...


class _Endpoint:
    """What hub and devices share: a node, and the way of an indication to whom it concerns."""

    def __init__(self, node: Node) -> None:
        self.node: Final = node
        self._told: list[Event] = []
        """Events of calls that return something else, told at the next occasion."""

    def receive(self, frame: bytes, now: float) -> list[Event]:
        """Take a frame off the air. Nothing raises."""
        return self._tell(self.node.receive(frame, now), now)

    def tick(self, now: float) -> list[Event]:
        """Do what is due."""
        indications = self.node.tick(now)
        return self._tell(indications, now) + self._due(now)

    def outgoing(self) -> list[bytes]:
        """Frames to put on the air, each once."""
        return self.node.outgoing()

    def next_deadline(self) -> float | None:
        """When ``tick`` is due."""
        if self._told:
            return float("-inf")
        times = [self.node.next_deadline(), *self._deadlines()]
        return min((time for time in times if time is not None), default=None)

    def _tell(self, indications: Iterable[Indication], now: float) -> list[Event]:
        events, self._told = self._told, []
        for indication in indications:
            if isinstance(indication, Dropped):
                events.append(indication)
            elif isinstance(indication, Delivered):
                self._delivered(indication.handle, now)
            elif isinstance(indication, DeliveryFailed):
                events += self._delivery_failed(indication.handle, now)
            else:
                events += self._heard(indication, now)
        return events

    def _heard(self, received: ZclReceived, now: float) -> list[Event]:
        peer = self.node.eui64_of(received.source_short)
        if peer is None:  # forgotten by an event before this one
            return []
        try:
            if received.profile == ZDO_PROFILE:
                return self._zdo(peer, received, now)
            if received.profile != SMART_ENERGY_PROFILE:
                return [Dropped("unsupported", f"profile {received.profile:#06x} is not ours", received.source_short)]
            frame = parse_zcl(received.zcl)
            arrival = Arrival(
                peer,
                received.source_short,
                received.source_endpoint,
                received.destination_endpoint,
                received.cluster,
                received.profile,
                frame,
            )
            if frame.is_default_response:
                return self._answered(arrival, read_default_response(frame), now)
        except HanDecodeError as error:
            return [Dropped("malformed", str(error), received.source_short)]
        handled = self._arrived(arrival, now) if received.destination_endpoint == ENDPOINT else None
        if handled is not None:
            return handled
        answer_status(self.node, arrival, Status.UNSUPPORTED_CLUSTER_COMMAND, now)
        detail = f"command {frame.command:#04x} of cluster {received.cluster:#06x} is not ours"
        return [Dropped("unsupported", detail, received.source_short)]

    # What each kind fills in

    def _due(self, now: float) -> list[Event]:
        raise NotImplementedError

    def _deadlines(self) -> list[float | None]:
        raise NotImplementedError

    def _delivered(self, handle: int, now: float) -> None:
        raise NotImplementedError

    def _delivery_failed(self, handle: int, now: float) -> list[Event]:
        raise NotImplementedError

    def _zdo(self, peer: bytes, received: ZclReceived, now: float) -> list[Event]:
        raise NotImplementedError

    def _answered(self, arrival: Arrival, response: DefaultResponse, now: float) -> list[Event]:
        raise NotImplementedError

    def _arrived(self, arrival: Arrival, now: float) -> list[Event] | None:
        """The events of a frame, or ``None`` when its cluster and direction are not ours."""
        raise NotImplementedError


class Hub(_Endpoint):
    """The Communications Hub's Zigbee side: the coordinator, and a tunnel to each device of ``tunnels``.

    ``devices`` are all nodes it hears, by EUI-64, with their short addresses; ``tunnels`` those to open a tunnel to
    (ESME, HCALCS, PPMID), all of them unless told otherwise.

        hub.send(meter, command, now)                   # -> handle; TransferAccepted or TransferFailed will come
        case MessageReceived(peer=ppmid, data=message)  # what a device passed up
        case TunnelOpened(peer=ppmid)                   # the time to send what waits for it
    """

    def __init__(
        self,
        eui64: bytes,
        pan_id: int,
        devices: Mapping[bytes, int],
        *,
        first_counter: int,
        tunnels: Iterable[bytes] | None = None,
    ) -> None:
        super().__init__(Node(eui64, COORDINATOR, pan_id, devices, first_counter=first_counter))
        self.client: Final = TunnelClient(self.node)
        for peer in devices if tunnels is None else tunnels:
            self.client.add(peer)

    def send(self, peer: bytes, data: bytes, now: float) -> int:
        """Send a message down a device's tunnel; held when that is closed. Raises for what no tunnel carries."""
        handle, events = self.client.send(peer, data, now)
        self._told += events
        return handle

    def admit(self, eui64: bytes, short_address: int, *, tunnel: bool = True) -> None:
        """A device joined; with ``tunnel``, open one to it."""
        self.node.admit(eui64, short_address)
        if tunnel:
            self.client.add(eui64)

    def forget(self, eui64: bytes, now: float) -> None:
        """A device left: close its tunnel (as far as it hears that) and hear it no longer."""
        self._told += self.client.remove(eui64, now)
        self.node.forget(eui64)

    def _due(self, now: float) -> list[Event]:
        return self.client.tick(now)

    def _deadlines(self) -> list[float | None]:
        return [self.client.next_deadline()]

    def _delivered(self, handle: int, now: float) -> None:
        self.client.delivered(handle, now)

    def _delivery_failed(self, handle: int, now: float) -> list[Event]:
        return self.client.delivery_failed(handle, now)

    def _zdo(self, peer: bytes, received: ZclReceived, now: float) -> list[Event]:
        if received.cluster != DEVICE_ANNOUNCE:
            return [Dropped("unsupported", f"ZDO request {received.cluster:#06x}", received.source_short)]
        announce = parse_announce(received.zcl)
        if (announce.eui64, announce.short_address) != (peer, received.source_short):
            return [Dropped("not_its_address", "announces another device", received.source_short)]
        return self.client.returned(peer, now)

    def _answered(self, arrival: Arrival, response: DefaultResponse, now: float) -> list[Event]:
        if arrival.cluster == TUNNELING and arrival.frame.from_server:
            return self.client.answered(arrival, response, now)
        return []

    def _arrived(self, arrival: Arrival, now: float) -> list[Event] | None:
        if arrival.cluster == TUNNELING and arrival.frame.from_server:
            return self.client.receive(arrival, now)
        return None


@dataclass(slots=True)
class _AskedZse:
    handle: int
    peer: bytes
    cluster: int
    command: int
    sequence: int
    answer_by: float | None = None


class Device(_Endpoint):
    """An ESME or a PPMID: the tunnel's server towards the hub, and plain Smart Energy commands both ways.

    ``peers`` are other devices it speaks with directly (through the hub's radio): PPMID and ESME know each other.

        device.send(message, now)                            # up the tunnel; TransferAccepted or TransferFailed comes
        ppmid.send_zse(meter, LocalChangeSupply(), now)      # PECS03; ZseAnswered or ZseFailed comes
        meter.answer_zse(zse_received, Status.SUCCESS, now)
    """

    def __init__(
        self,
        eui64: bytes,
        short_address: int,
        pan_id: int,
        hub: bytes,
        peers: Mapping[bytes, int] | None = None,
        *,
        first_counter: int,
    ) -> None:
        if short_address == COORDINATOR:
            raise HanValueError("short address 0x0000 is the hub's; a device has another")
        neighbours = {hub: COORDINATOR, **(peers or {})}
        super().__init__(Node(eui64, short_address, pan_id, neighbours, first_counter=first_counter))
        self.hub: Final = hub
        self.server: Final = TunnelServer(self.node, {hub})
        self._announce_at = float("-inf")
        self._asked: list[_AskedZse] = []

    def send(self, data: bytes, now: float) -> int:
        """Send a message up the tunnel; held until the hub opens it. Raises for what no tunnel carries."""
        handle, events = self.server.send(self.hub, data, now)
        self._told += events
        return handle

    def send_zse(self, peer: bytes, command: ZseCommand, now: float) -> int:
        """Send a plain command to another device."""
        short = self.node.neighbours.get(peer)
        if short is None:
            raise HanValueError(f"{peer.hex()} is no peer of this device")
        sequence = self.node.next_sequence()
        cluster, frame = encode_zse(command, sequence)
        handle = self.node.send(short, frame.encode(), cluster, now)
        self._asked.append(_AskedZse(handle, peer, cluster, frame.command, sequence))
        return handle

    def answer_zse(self, received: ZseReceived, status: int, now: float) -> None:
        """Answer a plain command."""
        answer_status(self.node, received.arrival, status, now)

    def _due(self, now: float) -> list[Event]:
        events = self.server.tick(now)
        overdue = [asked for asked in self._asked if asked.answer_by is not None and asked.answer_by <= now]
        for asked in overdue:
            self._asked.remove(asked)
            events.append(ZseFailed(asked.handle, "no_answer"))
        return self._watch(events, now)

    def _watch(self, events: list[Event], now: float) -> list[Event]:
        """Announce when there is no tunnel: at once when it was lost, and again and again."""
        if any(isinstance(event, TunnelClosed) for event in events):
            self._announce_at = now
        if self.server.tunnel_with(self.hub) is None and self._announce_at <= now:
            self._announce_at = now + ANNOUNCE_S
            announce = DeviceAnnounce(self.node.next_sequence(), self.node.short_address, self.node.eui64)
            self.node.send(
                COORDINATOR,
                announce.encode(),
                DEVICE_ANNOUNCE,
                now,
                profile=ZDO_PROFILE,
                source_endpoint=ZDO_ENDPOINT,
                destination_endpoint=ZDO_ENDPOINT,
            )
        return events

    def _deadlines(self) -> list[float | None]:
        times = [self.server.next_deadline(), *(asked.answer_by for asked in self._asked)]
        if self.server.tunnel_with(self.hub) is None:
            times.append(self._announce_at)
        return times

    def _delivered(self, handle: int, now: float) -> None:
        self.server.delivered(handle, now)
        for asked in self._asked:
            if asked.handle == handle:
                asked.answer_by = now + TRANSFER_ANSWER_S

    def _delivery_failed(self, handle: int, now: float) -> list[Event]:
        for asked in self._asked:
            if asked.handle == handle:
                self._asked.remove(asked)
                return [ZseFailed(handle, "not_delivered")]
        return self.server.delivery_failed(handle, now)

    def _zdo(self, peer: bytes, received: ZclReceived, now: float) -> list[Event]:  # noqa: ARG002  # the hub needs them
        return [Dropped("unsupported", f"ZDO request {received.cluster:#06x}", received.source_short)]

    def _answered(self, arrival: Arrival, response: DefaultResponse, now: float) -> list[Event]:
        if arrival.cluster == TUNNELING:
            return [] if arrival.frame.from_server else self.server.answered(arrival, response, now)
        key = (arrival.peer, arrival.cluster, response.command, arrival.frame.sequence)
        for asked in self._asked:
            if (asked.peer, asked.cluster, asked.command, asked.sequence) == key and arrival.frame.from_server:
                self._asked.remove(asked)
                return [ZseAnswered(asked.handle, response.status)]
        return []

    def _arrived(self, arrival: Arrival, now: float) -> list[Event] | None:
        if arrival.frame.from_server:
            return None
        if arrival.cluster == TUNNELING:
            return self._watch(self.server.receive(arrival, now), now)
        if arrival.cluster not in CLUSTERS:
            return None
        try:
            return [ZseReceived(arrival.peer, decode_zse(arrival.cluster, arrival.frame), arrival)]
        except HanDecodeError as error:
            if error.field == "command":
                return None
            answer_status(self.node, arrival, Status.MALFORMED_COMMAND, now)
            return [Dropped("malformed", str(error), arrival.source_short)]
