"""One Zigbee node without a radio: frames and the time in, frames and indications out.

Rules this module keeps (reference/han.md 1.1, 1.2; limits in ``limits``):

* The network is a star: a device sends every frame to the coordinator 0x0000, which forwards what is for another
  device. So a PPMID's frame to its ESME crosses the air twice, and the hub hears it (DESIGN CHOICE: no mesh).
* Every message asks for an APS acknowledgement; what does not fit one block goes in fragments under one APS counter,
  one message at a time for each destination, in order. Each ends as ``Delivered`` or ``DeliveryFailed``.
* A message received is indicated once: an APS counter seen lately, with the same bytes behind it, is acknowledged
  again and no more. (By the bytes, too, because a device that restarts begins its counters anew.)
* Nothing that comes in raises out of ``receive``; it is a ``Dropped`` with its reason, and costs bounded memory.
* Only neighbours are heard, and under their own address only. On a real network keys see to that; here they do where
  the node has ``security``, and the check stands in for them where it has not.

``now`` is monotonic, in seconds. Call ``tick`` when ``next_deadline`` comes, and drain ``outgoing`` after every call.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias
from zlib import crc32

from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.frames import (
    EUI64_OCTETS,
    AckedBlocks,
    ApsAck,
    ApsData,
    FirstBlock,
    LaterBlock,
    MacFrame,
    NwkFrame,
    parse_aps,
    parse_mac,
    parse_nwk,
)
from lastmetre.han.joining import NO_SHORT_ADDRESS, AssociationResponse, JoinStatus, is_request, parse_request
from lastmetre.han.limits import (
    APS_ACK_TIMEOUT_S,
    APS_RETRIES,
    DUPLICATE_S,
    DUPLICATES_MAX,
    FRAGMENT_OCTETS,
    QUEUE_MAX,
    REASSEMBLY_BLOCKS_MAX,
    REASSEMBLY_OCTETS_MAX,
    REASSEMBLY_S,
    SECURED_FRAGMENT_OCTETS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.han.security import Security

COORDINATOR: Final = 0x0000
SMART_ENERGY_PROFILE: Final = 0x0109
_SMART_ENERGY: Final = SMART_ENERGY_PROFILE.to_bytes(2, "little")
ENDPOINT: Final = 1
"""DESIGN CHOICE of 1.1: endpoint 1 everywhere."""
BLOCKS_MAX: Final = 0xFF
ALL_RECEIVED: Final = 0xFF


@dataclass(frozen=True, slots=True)
class ZclReceived:
    """A whole ASDU came from a neighbour."""

    source_short: int
    cluster: int
    profile: int
    zcl: bytes
    source_endpoint: int = ENDPOINT
    destination_endpoint: int = ENDPOINT


@dataclass(frozen=True, slots=True)
class Delivered:
    """The other node acknowledged the whole message."""

    handle: int


@dataclass(frozen=True, slots=True)
class DeliveryFailed:
    """The message was not acknowledged to its end (it may have arrived all the same), or was never sent.

    ``reason``: ``no_ack``, ``queue_full``, ``forgotten``.
    """

    handle: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something came in and was not used.

    ``reason``: ``malformed``, ``unknown_sender``, ``not_its_address``, ``no_route``, ``duplicate``, ``stray_block``,
    ``superseded``, ``too_long``, ``reassembly_timeout``; above the node also ``unexpected``, ``unsupported``.
    """

    reason: str
    detail: str
    source_short: int | None = None


@dataclass(frozen=True, slots=True)
class JoinAsked:
    """At the hub: a radio asks to be on the network. ``Node.answer_join`` gives it an address or says no."""

    eui64: bytes


Indication: TypeAlias = ZclReceived | Delivered | DeliveryFailed | Dropped | JoinAsked


@dataclass(slots=True)
class _Outbound:
    handle: int
    destination: int
    first: ApsData
    """The message as one frame; blocks and counter are put in when it is sent."""
    blocks: tuple[bytes, ...]
    index: int = 0
    attempts: int = 0
    deadline: float | None = None
    """When the acknowledgement is overdue; ``None`` while the message waits its turn."""


@dataclass(slots=True)
class _Lane:
    """What goes to one destination, in order; the head is on the air. Counters are per destination (DESIGN CHOICE)."""

    counter: int
    queue: deque[_Outbound] = field(default_factory=deque)


@dataclass(slots=True)
class _Reassembly:
    head: ApsData
    blocks_in_all: int
    deadline: float
    blocks: list[bytes] = field(default_factory=list)
    prints: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Seen:
    prints: tuple[int, ...]
    at: float


class Node:
    """A node of the network: ``neighbours`` are the EUI-64s it knows, with their short addresses.

    ``first_counter`` is where its counters begin. Pass chance, so that a restarted node does not repeat itself.
    """

    def __init__(
        self, eui64: bytes, short_address: int, pan_id: int, neighbours: Mapping[bytes, int], *, first_counter: int
    ) -> None:
        self.eui64: Final = eui64
        self.short_address: Final = short_address
        self.pan_id: Final = pan_id
        self.security: Security | None = None
        """Keys and frame counters; without them, frames go and come in the clear."""
        self._neighbours: dict[bytes, int] = {}
        self._eui64s: dict[int, bytes] = {}
        self._outgoing: list[bytes] = []
        self._pending: list[Indication] = []
        self._lanes: dict[int, _Lane] = {}
        self._reassemblies: dict[int, _Reassembly] = {}
        self._seen: dict[int, dict[int, _Seen]] = {}
        self._handle = 0
        self._first_counter = first_counter & 0xFF
        self._mac_sequence = self._nwk_sequence = self._zcl_sequence = self._first_counter
        for neighbour, short in neighbours.items():
            self.admit(neighbour, short)

    # Who is on the network

    @property
    def is_coordinator(self) -> bool:
        """Whether this node is the hub."""
        return self.short_address == COORDINATOR

    @property
    def neighbours(self) -> Mapping[bytes, int]:
        """The nodes this one hears, by EUI-64."""
        return MappingProxyType(self._neighbours)

    def admit(self, eui64: bytes, short_address: int) -> None:
        """Hear this node from now on."""
        if len(eui64) != EUI64_OCTETS:
            raise HanValueError(f"an EUI-64 has {EUI64_OCTETS} octets, not {len(eui64)}")
        if short_address == self.short_address or self._eui64s.get(short_address, eui64) != eui64:
            raise HanValueError(f"short address {short_address:#06x} is taken; every node needs its own")
        self.forget(eui64)
        self._neighbours[eui64] = short_address
        self._eui64s[short_address] = eui64

    def forget(self, eui64: bytes) -> None:
        """Hear this node no longer; what waits for it fails."""
        short = self._neighbours.pop(eui64, None)
        if short is None:
            return
        del self._eui64s[short]
        lane = self._lanes.pop(short, None)
        self._pending += [DeliveryFailed(message.handle, "forgotten") for message in (lane.queue if lane else ())]
        self._reassemblies.pop(short, None)
        self._seen.pop(short, None)
        if self.security is not None:
            self.security.forget(eui64)

    def eui64_of(self, short_address: int) -> bytes | None:
        """Who has a short address."""
        return self._eui64s.get(short_address)

    # Sending

    @property
    def is_busy(self) -> bool:
        """Whether something waits to be acknowledged."""
        return any(lane.queue for lane in self._lanes.values())

    def next_sequence(self) -> int:
        """The next ZCL sequence number."""
        self._zcl_sequence = (self._zcl_sequence + 1) & 0xFF
        return self._zcl_sequence

    def next_handle(self) -> int:
        """A number nobody else in this node has."""
        self._handle += 1
        return self._handle

    def send(
        self,
        destination_short: int,
        zcl: bytes,
        cluster: int,
        now: float,
        *,
        profile: int = SMART_ENERGY_PROFILE,
        source_endpoint: int = ENDPOINT,
        destination_endpoint: int = ENDPOINT,
    ) -> int:
        """Send an ASDU to a neighbour; ``Delivered`` or ``DeliveryFailed`` with this handle will come."""
        if destination_short not in self._eui64s:
            raise HanValueError(f"{destination_short:#06x} is not on this network; admit it first")
        octets = FRAGMENT_OCTETS if self.security is None else SECURED_FRAGMENT_OCTETS
        blocks = tuple(zcl[at : at + octets] for at in range(0, len(zcl), octets)) or (b"",)
        if len(blocks) > BLOCKS_MAX:
            raise HanValueError(f"{len(zcl)} octets are more than {BLOCKS_MAX} blocks of {octets}")
        handle = self.next_handle()
        lane = self._lanes.setdefault(destination_short, _Lane(self._first_counter))
        if len(lane.queue) >= QUEUE_MAX:
            self._pending.append(DeliveryFailed(handle, "queue_full"))
            return handle
        frame = ApsData(destination_endpoint, cluster, profile, source_endpoint, 0, b"")
        lane.queue.append(_Outbound(handle, destination_short, frame, blocks))
        self._advance(lane, now)
        return handle

    def outgoing(self) -> list[bytes]:
        """The frames to put on the air, in order; each is given once."""
        frames, self._outgoing = self._outgoing, []
        return frames

    def _advance(self, lane: _Lane, now: float) -> None:
        """Put the head of a lane on the air when it is not there yet."""
        if lane.queue and lane.queue[0].deadline is None:
            lane.counter = (lane.counter + 1) & 0xFF
            message = lane.queue[0]
            message.first = replace(message.first, counter=lane.counter)
            self._transmit(message, now)

    def _transmit(self, message: _Outbound, now: float) -> None:
        fragment: FirstBlock | LaterBlock | None = None
        if len(message.blocks) > 1:
            fragment = LaterBlock(message.index) if message.index else FirstBlock(len(message.blocks))
        frame = replace(message.first, payload=message.blocks[message.index], fragment=fragment)
        message.deadline = now + APS_ACK_TIMEOUT_S
        self._network(message.destination, frame.encode())

    def _network(self, destination: int, payload: bytes) -> None:
        peer = self._eui64s.get(destination)
        if self.security is not None and peer is not None and self._has_link(payload, peer):
            payload = self.security.secure_aps(payload, self.eui64, peer)
        self._nwk_sequence = (self._nwk_sequence + 1) & 0xFF
        self._radio(NwkFrame(destination, self.short_address, self._nwk_sequence, payload))

    def _radio(self, frame: NwkFrame) -> None:
        self._mac_sequence = (self._mac_sequence + 1) & 0xFF
        hop = frame.destination if self.is_coordinator else COORDINATOR
        payload = frame.encode()
        if self.security is not None:
            payload = self.security.secure_nwk(payload, self.eui64)
        self._outgoing.append(MacFrame(self._mac_sequence, self.pan_id, hop, self.short_address, payload).encode())

    def _has_link(self, aps: bytes, peer: bytes) -> bool:
        """Whether an APS frame is one that a link key secures: Smart Energy's, with a node that shares one."""
        return self.security is not None and aps[4:6] == _SMART_ENERGY and self.security.has_link(peer)

    def answer_join(self, eui64: bytes, status: JoinStatus, short_address: int = NO_SHORT_ADDRESS) -> None:
        """Answer a radio that asked to join. It is no neighbour by that: ``admit`` it, too."""
        self._mac_sequence = (self._mac_sequence + 1) & 0xFF
        response = AssociationResponse(self._mac_sequence, self.pan_id, eui64, self.eui64, status, short_address)
        self._outgoing.append(response.encode())

    # The time

    def next_deadline(self) -> float | None:
        """When ``tick`` is due; a time long past when something waits to be told; ``None`` for never."""
        if self._pending:
            return float("-inf")
        times = [
            lane.queue[0].deadline for lane in self._lanes.values() if lane.queue and lane.queue[0].deadline is not None
        ]
        times += [reassembly.deadline for reassembly in self._reassemblies.values()]
        return min(times, default=None)

    def tick(self, now: float) -> list[Indication]:
        """Do what is due: send again what was not acknowledged, give up what has been sent often enough."""
        told, self._pending = self._pending, []
        for lane in self._lanes.values():
            told += self._overdue(lane, now)
        for source, reassembly in list(self._reassemblies.items()):
            if reassembly.deadline <= now:
                del self._reassemblies[source]
                have = f"{len(reassembly.blocks)} of {reassembly.blocks_in_all} blocks came"
                told.append(Dropped("reassembly_timeout", have, source))
        return told

    def _overdue(self, lane: _Lane, now: float) -> list[Indication]:
        if not lane.queue or lane.queue[0].deadline is None or lane.queue[0].deadline > now:
            return []
        message = lane.queue[0]
        if message.attempts < APS_RETRIES:
            message.attempts += 1
            self._transmit(message, now)
            return []
        lane.queue.popleft()
        self._advance(lane, now)
        return [DeliveryFailed(message.handle, "no_ack")]

    # Receiving

    def receive(self, frame: bytes, now: float) -> list[Indication]:
        """Take a frame off the air. Frames of other networks and for other radios are not heard at all."""
        told, self._pending = self._pending, []
        try:
            return told + self._mac(frame, now)
        except HanDecodeError as error:
            return [*told, Dropped("malformed", str(error))]

    def _mac(self, data: bytes, now: float) -> list[Indication]:
        if is_request(data) and self.is_coordinator:
            asked = parse_request(data)
            return [JoinAsked(asked.eui64)] if asked.pan_id == self.pan_id else []
        mac = parse_mac(data)
        if mac.pan_id != self.pan_id or mac.destination != self.short_address:
            return []
        if mac.source not in self._eui64s or not (self.is_coordinator or mac.source == COORDINATOR):
            return [Dropped("unknown_sender", f"the radio at {mac.source:#06x} is no neighbour", mac.source)]
        payload = mac.payload
        if self.security is not None:
            payload, sender = self.security.open_nwk(payload)
            if sender != self._eui64s[mac.source]:
                return [Dropped("not_its_address", f"{mac.source:#06x} has another EUI-64", mac.source)]
        nwk = parse_nwk(payload)
        if nwk.source not in self._eui64s:
            return [Dropped("unknown_sender", f"{nwk.source:#06x} is not on this network", mac.source)]
        if self.is_coordinator and nwk.source != mac.source:
            return [Dropped("not_its_address", f"the radio at {mac.source:#06x} wrote {nwk.source:#06x}", mac.source)]
        if nwk.source_eui64 not in {None, self._eui64s[nwk.source]}:
            return [Dropped("not_its_address", f"{nwk.source:#06x} has another EUI-64", mac.source)]
        if nwk.destination != self.short_address:
            return self._forward(nwk)
        try:
            return self._aps(nwk.source, nwk.payload, now)
        except HanDecodeError as error:
            return [Dropped("malformed", str(error), nwk.source)]

    def _forward(self, nwk: NwkFrame) -> list[Indication]:
        if not self.is_coordinator or nwk.destination not in self._eui64s or nwk.destination == nwk.source:
            return [Dropped("no_route", f"nothing leads to {nwk.destination:#06x}", nwk.source)]
        if nwk.radius <= 1:
            return [Dropped("no_route", "the frame has made all its hops", nwk.source)]
        self._radio(replace(nwk, radius=nwk.radius - 1))
        return []

    def _aps(self, source: int, data: bytes, now: float) -> list[Indication]:
        peer = self._eui64s[source]
        if self.security is not None and self._has_link(data, peer):
            data = self.security.open_aps(data, peer)
        frame = parse_aps(data)
        if isinstance(frame, ApsAck):
            return self._acknowledged(source, frame, now)
        fingerprint = crc32(data)
        if self._duplicate(source, frame, fingerprint, now):
            self._acknowledge(source, frame)
            return [Dropped("duplicate", f"APS counter {frame.counter} came before", source)]
        if frame.fragment is not None:
            return self._block(source, frame, fingerprint, now)
        self._remember(source, frame.counter, (fingerprint,), now)
        self._acknowledge(source, frame)
        return [_indication(source, frame, frame.payload)]

    def _acknowledge(self, source: int, frame: ApsData) -> None:
        if not frame.ack_request:
            return
        blocks = None if frame.fragment is None else AckedBlocks(_index(frame), ALL_RECEIVED)
        ack = ApsAck(
            frame.source_endpoint, frame.cluster, frame.profile, frame.destination_endpoint, frame.counter, blocks
        )
        self._network(source, ack.encode())

    def _acknowledged(self, source: int, ack: ApsAck, now: float) -> list[Indication]:
        lane = self._lanes.get(source)
        if lane is None or not lane.queue or lane.queue[0].deadline is None:
            return []
        message = lane.queue[0]
        sent = message.first
        if (ack.counter, ack.cluster, ack.profile, ack.source_endpoint, ack.destination_endpoint) != (
            sent.counter,
            sent.cluster,
            sent.profile,
            sent.destination_endpoint,
            sent.source_endpoint,
        ):
            return []  # a late one, of a message that is done with
        if len(message.blocks) > 1:
            if ack.blocks is None or ack.blocks.first != message.index or not ack.blocks.bitmap & 1:
                return []
        elif ack.blocks is not None:
            return []
        message.index += 1
        if message.index < len(message.blocks):
            message.attempts = 0
            self._transmit(message, now)
            return []
        lane.queue.popleft()
        self._advance(lane, now)
        return [Delivered(message.handle)]

    # Duplicates and fragments

    def _duplicate(self, source: int, frame: ApsData, fingerprint: int, now: float) -> bool:
        index = _index(frame)
        building = self._reassemblies.get(source)
        if building is not None and building.head.counter == frame.counter:
            return index < len(building.prints) and building.prints[index] == fingerprint
        seen = self._seen.get(source, {}).get(frame.counter)
        return (
            seen is not None
            and now - seen.at < DUPLICATE_S
            and index < len(seen.prints)
            and seen.prints[index] == fingerprint
        )

    def _remember(self, source: int, counter: int, prints: tuple[int, ...], now: float) -> None:
        table = self._seen.setdefault(source, {})
        table.pop(counter, None)
        table[counter] = _Seen(prints, now)
        while len(table) > DUPLICATES_MAX or now - next(iter(table.values())).at >= DUPLICATE_S:
            del table[next(iter(table))]

    def _block(self, source: int, frame: ApsData, fingerprint: int, now: float) -> list[Indication]:
        told: list[Indication] = []
        building = self._reassemblies.get(source)
        if isinstance(frame.fragment, FirstBlock):
            if frame.fragment.blocks > REASSEMBLY_BLOCKS_MAX:
                return [Dropped("too_long", f"{frame.fragment.blocks} blocks are announced", source)]
            if building is not None:
                told.append(Dropped("superseded", "a new message began before the last one ended", source))
            building = self._reassemblies[source] = _Reassembly(frame, frame.fragment.blocks, now)
        elif building is None or not _same_message(building.head, frame) or _index(frame) != len(building.blocks):
            return [Dropped("stray_block", f"block {_index(frame)} is not the one awaited", source)]
        building.blocks.append(frame.payload)
        building.prints.append(fingerprint)
        building.deadline = now + REASSEMBLY_S
        if sum(map(len, building.blocks)) > REASSEMBLY_OCTETS_MAX:
            del self._reassemblies[source]
            return [*told, Dropped("too_long", f"over {REASSEMBLY_OCTETS_MAX} octets came", source)]
        self._acknowledge(source, frame)
        if len(building.blocks) == building.blocks_in_all:
            del self._reassemblies[source]
            self._remember(source, frame.counter, tuple(building.prints), now)
            told.append(_indication(source, frame, b"".join(building.blocks)))
        return told


def _index(frame: ApsData) -> int:
    return frame.fragment.index if isinstance(frame.fragment, LaterBlock) else 0


def _same_message(head: ApsData, later: ApsData) -> bool:
    return replace(later, payload=head.payload, fragment=head.fragment) == head


def _indication(source: int, frame: ApsData, zcl: bytes) -> ZclReceived:
    return ZclReceived(source, frame.cluster, frame.profile, zcl, frame.source_endpoint, frame.destination_endpoint)
