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
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from lastmetre.han.clusters import CLUSTERS, ZseCommand, decode_zse, encode_zse
from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.events import (
    Arrival,
    Event,
    MessageAsked,
    MessageReceived,
    MirrorReported,
    TunnelClosed,
    ZseAnswered,
    ZseFailed,
    ZseReceived,
)
from lastmetre.han.gb_header import GbGet, GbGetResponse, GbPut, decode_unit, encode_unit
from lastmetre.han.joining import NO_SHORT_ADDRESS, JoinStatus
from lastmetre.han.limits import ANNOUNCE_S, TRANSFER_ANSWER_S
from lastmetre.han.mirror import (
    CONFIGURE_MIRROR,
    METERING,
    MIRROR_ENDPOINT,
    REPORT_ATTRIBUTES,
    REQUEST_MIRROR,
    is_last,
    mirror_report_response,
    read_report,
    request_mirror_response,
)
from lastmetre.han.node import (
    COORDINATOR,
    ENDPOINT,
    SMART_ENERGY_PROFILE,
    Delivered,
    DeliveryFailed,
    Dropped,
    Indication,
    JoinAsked,
    Node,
    ZclReceived,
)
from lastmetre.han.tunnel import TunnelClient, TunnelServer, answer, answer_status
from lastmetre.han.tunnelling import CLUSTER as TUNNELING
from lastmetre.han.zcl import DefaultResponse, Status, ZclFrame, parse_zcl, read_default_response
from lastmetre.han.zdo import (
    DEVICE_ANNOUNCE,
    MATCH_REQUEST,
    MATCH_RESPONSE,
    DeviceAnnounce,
    MatchResponse,
    parse_announce,
    parse_match_request,
)
from lastmetre.han.zdo import ENDPOINT as ZDO_ENDPOINT
from lastmetre.han.zdo import PROFILE as ZDO_PROFILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")

OTA_UPGRADE: Final = 0x0019
"""Images move by this cluster, never through a tunnel; this house has none to give (reference/han.md 3.5)."""
QUERY_NEXT_IMAGE: Final = 0x01
IMAGE_BLOCK: Final = 0x03


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

    serves: Mapping[int, tuple[int, ...]] = MappingProxyType({})
    """The clusters of which it is a server, and at which endpoints."""

    def __init__(self, node: Node) -> None:
        self.node: Final = node
        self._endpoints = {ENDPOINT}
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
            if isinstance(indication, Dropped | JoinAsked):
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
            if received.profile == ZDO_PROFILE and received.cluster == MATCH_REQUEST:
                return self._matched(received, now)
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
        try:
            handled = self._arrived(arrival, now) if received.destination_endpoint in self._endpoints else None
        except HanDecodeError as error:
            answer_status(self.node, arrival, Status.MALFORMED_COMMAND, now)
            return [Dropped("malformed", str(error), received.source_short)]
        if handled is not None:
            return handled
        answer_status(self.node, arrival, Status.UNSUPPORTED_CLUSTER_COMMAND, now)
        detail = f"command {frame.command:#04x} of cluster {received.cluster:#06x} is not ours"
        return [Dropped("unsupported", detail, received.source_short)]

    def _matched(self, received: ZclReceived, now: float) -> list[Event]:
        """Say which endpoints serve the clusters asked for (1.1)."""
        asked = parse_match_request(received.zcl)
        if asked.short_address != self.node.short_address:
            return [Dropped("unsupported", "a match request about another node", received.source_short)]
        known = asked.profile == SMART_ENERGY_PROFILE
        served = {end for cluster in asked.input_clusters for end in self.serves.get(cluster, ()) if known}
        self.node.send(
            received.source_short,
            MatchResponse(asked.sequence, asked.short_address, tuple(sorted(served))).encode(),
            MATCH_RESPONSE,
            now,
            profile=ZDO_PROFILE,
            source_endpoint=ZDO_ENDPOINT,
            destination_endpoint=ZDO_ENDPOINT,
        )
        return []

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
    (ESME, HCALCS, PPMID), all of them unless told otherwise; ``gas`` those that open one to the hub and fetch.

        hub.send(meter, command, now)                   # -> handle; TransferAccepted or TransferFailed will come
        case MessageReceived(peer=ppmid, data=message)  # what a device passed up
        case TunnelOpened(peer=ppmid)                   # the time to send what waits for it
        hub.notify(gas_meter, Flag.TUNNEL_MESSAGE_PENDING)      # told to it when it next reports
        case MessageAsked(peer=gas_meter)               # its GET:
            hub.answer_get(gas_meter, message, remaining, now)
    """

    serves = MappingProxyType({TUNNELING: (ENDPOINT, MIRROR_ENDPOINT), METERING: (ENDPOINT, MIRROR_ENDPOINT)})

    def __init__(  # who is there, by kind
        self,
        eui64: bytes,
        pan_id: int,
        devices: Mapping[bytes, int],
        *,
        first_counter: int,
        tunnels: Iterable[bytes] | None = None,
        gas: Iterable[bytes] = (),
    ) -> None:
        super().__init__(Node(eui64, COORDINATOR, pan_id, devices, first_counter=first_counter))
        self._endpoints |= {MIRROR_ENDPOINT}
        self.client: Final = TunnelClient(self.node)
        self.gas_server: Final = TunnelServer(self.node, gas, endpoint=MIRROR_ENDPOINT)
        self.handheld_server: Final = TunnelServer(self.node, ())
        self._flags: dict[bytes, int] = {}
        for peer in devices if tunnels is None else tunnels:
            if peer not in self.gas_server.may_open:
                self.client.add(peer)

    def send(self, peer: bytes, data: bytes, now: float) -> int:
        """Send a message down a device's tunnel; held when that is closed. Raises for what no tunnel carries."""
        server = self.handheld_server
        end = server if peer in server.may_open else self.client
        handle, events = end.send(peer, data, now)
        self._told += events
        return handle

    def notify(self, peer: bytes, flags: int) -> None:
        """Set what a gas meter is told when it reports."""
        self._flags[peer] = flags

    def answer_get(self, peer: bytes, message: bytes | None, remaining: int, now: float) -> int:
        """Answer a gas meter's GET: a message, or nothing, and how many wait behind it."""
        handle, events = self.gas_server.send(peer, encode_unit(GbGetResponse(remaining, message or b"")), now)
        self._told += events
        return handle

    def admit(self, eui64: bytes, short_address: int, *, tunnel: bool = True) -> None:
        """A device joined; with ``tunnel``, open one to it."""
        self.node.admit(eui64, short_address)
        if tunnel:
            self.client.add(eui64)

    def admit_gas(self, eui64: bytes, short_address: int) -> None:
        """A gas meter joined: it may ask for a mirror and open its tunnel."""
        self.node.admit(eui64, short_address)
        self.gas_server.may_open.add(eui64)

    def admit_handheld(self, eui64: bytes, short_address: int) -> None:
        """A hand-held terminal joined: it may open a tunnel of its own."""
        self.node.admit(eui64, short_address)
        self.handheld_server.may_open.add(eui64)

    def answer_join(self, eui64: bytes, status: JoinStatus, short_address: int = NO_SHORT_ADDRESS) -> None:
        """Answer a radio that asked to join (``JoinAsked``); one that may is admitted first."""
        self.node.answer_join(eui64, status, short_address)

    def forget(self, eui64: bytes, now: float) -> None:
        """A device left: close its tunnel (as far as it hears that) and hear it no longer."""
        self._told += self.client.remove(eui64, now)
        self._told += self.gas_server.remove(eui64) + self.handheld_server.remove(eui64)
        self._flags.pop(eui64, None)
        self.node.forget(eui64)

    def _due(self, now: float) -> list[Event]:
        return self.client.tick(now) + self.gas_server.tick(now) + self.handheld_server.tick(now)

    def _deadlines(self) -> list[float | None]:
        return [end.next_deadline() for end in (self.client, self.gas_server, self.handheld_server)]

    def _delivered(self, handle: int, now: float) -> None:
        for end in (self.client, self.gas_server, self.handheld_server):
            end.delivered(handle, now)

    def _delivery_failed(self, handle: int, now: float) -> list[Event]:
        events: list[Event] = []
        for end in (self.client, self.gas_server, self.handheld_server):
            events += end.delivery_failed(handle, now)
        return events

    def _zdo(self, peer: bytes, received: ZclReceived, now: float) -> list[Event]:
        if received.cluster != DEVICE_ANNOUNCE:
            return [Dropped("unsupported", f"ZDO request {received.cluster:#06x}", received.source_short)]
        announce = parse_announce(received.zcl)
        if (announce.eui64, announce.short_address) != (peer, received.source_short):
            return [Dropped("not_its_address", "announces another device", received.source_short)]
        return self.client.returned(peer, now)

    def _answered(self, arrival: Arrival, response: DefaultResponse, now: float) -> list[Event]:
        if arrival.cluster != TUNNELING:
            return []
        if arrival.frame.from_server:
            return self.client.answered(arrival, response, now)
        return self._server_of(arrival).answered(arrival, response, now)

    def _server_of(self, arrival: Arrival) -> TunnelServer:
        """The end a client speaks to: gas meters at their mirror, hand-held terminals at the first endpoint."""
        return self.gas_server if arrival.destination_endpoint == MIRROR_ENDPOINT else self.handheld_server

    def _arrived(self, arrival: Arrival, now: float) -> list[Event] | None:
        if arrival.cluster == METERING:
            return self._mirrored(arrival, now)
        if arrival.cluster == OTA_UPGRADE:
            return self._no_image(arrival, now)
        if arrival.cluster != TUNNELING:
            return None
        if arrival.frame.from_server:
            return self.client.receive(arrival, now) if arrival.destination_endpoint == ENDPOINT else None
        events = self._server_of(arrival).receive(arrival, now)
        if arrival.destination_endpoint != MIRROR_ENDPOINT:
            return events
        return [self._unit(event, arrival) if isinstance(event, MessageReceived) else event for event in events]

    def _no_image(self, arrival: Arrival, now: float) -> list[Event] | None:
        """An OTA client asks for an image: there is none for it here. An OTA server's frames are not understood."""
        frame = arrival.frame
        answers = {QUERY_NEXT_IMAGE: QUERY_NEXT_IMAGE + 1, IMAGE_BLOCK: IMAGE_BLOCK + 2}
        if frame.from_server or not frame.cluster_specific or frame.command not in answers:
            return None
        refusal = bytes((Status.NO_IMAGE_AVAILABLE,))
        reply = ZclFrame(answers[frame.command], frame.sequence, refusal, from_server=True)
        answer(self.node, arrival, reply, now)
        return [Dropped("unsupported", "a firmware image was asked for", arrival.source_short)]

    @staticmethod
    def _unit(received: MessageReceived, arrival: Arrival) -> Event:
        """What a gas meter put into its tunnel, without its GB header."""
        try:
            unit = decode_unit(received.data)
        except HanDecodeError as error:
            return Dropped("malformed", str(error), arrival.source_short)
        if isinstance(unit, GbGet):
            return MessageAsked(received.peer)
        if isinstance(unit, GbPut):
            return MessageReceived(received.peer, unit.message)
        return Dropped("unexpected", "a GET-RESPONSE that comes from a meter", arrival.source_short)

    def _mirrored(self, arrival: Arrival, now: float) -> list[Event] | None:
        """A frame of the gas mirror; ``None`` when it is none of ours, or not from a gas meter."""
        frame, peer = arrival.frame, arrival.peer
        if not frame.from_server or peer not in self.gas_server.may_open:
            return None
        at_mirror = arrival.destination_endpoint == MIRROR_ENDPOINT
        if not frame.cluster_specific:
            if not at_mirror or frame.command != REPORT_ATTRIBUTES:
                return None
            attributes = read_report(frame)
            last = is_last(attributes)
            if last:
                response = mirror_report_response(self.node.next_sequence(), self._flags.get(peer, 0))
                answer(self.node, arrival, response, now)
            return [MirrorReported(peer, attributes, last)]
        if frame.command == REQUEST_MIRROR and not at_mirror:
            answer(self.node, arrival, request_mirror_response(frame, MIRROR_ENDPOINT), now)
            return []
        if frame.command == CONFIGURE_MIRROR and at_mirror:
            answer_status(self.node, arrival, Status.SUCCESS, now)
            return []
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

    serves = MappingProxyType({TUNNELING: (ENDPOINT,)} | dict.fromkeys(CLUSTERS, (ENDPOINT,)))

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
