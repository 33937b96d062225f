"""The two ends of a GBCS tunnel, on top of a ``Node`` (reference/han.md 1.4, 2.1, 2.2; numbers in ``limits``).

The hub is the client towards ESME, HCALCS and PPMID; those are servers. (A GSME is the client and the hub the server.)
Both ends take what arrives for cluster 0x0704, send and receive messages, and tell ``Event``s. A frame that is no good
is answered as the cluster says and told as ``Dropped``; nothing raises.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.events import (
    Arrival,
    Event,
    MessageReceived,
    TunnelClosed,
    TunnelCloseRefused,
    TunnelOpened,
    TunnelRefused,
)
from lastmetre.han.limits import (
    BUSY_WAIT_S,
    REQUEST_TUNNEL_WAIT_S,
    SWEEP_S,
    SWEEPS_MAX,
    TRANSFER_OCTETS_MAX,
    TUNNEL_LIFETIME_S,
    TUNNELS_MAX,
)
from lastmetre.han.node import ENDPOINT, Dropped, Node
from lastmetre.han.transfers import OpenTunnel, TransferLane, check_message
from lastmetre.han.tunnelling import (
    ATTRIBUTES,
    CLOSE_TUNNEL,
    CLUSTER,
    MANUFACTURER_NONE,
    NO_TUNNEL,
    PROTOCOL_GB_HRGP,
    CloseTunnel,
    Command,
    GetSupportedTunnelProtocols,
    RequestTunnel,
    RequestTunnelResponse,
    SupportedTunnelProtocolsResponse,
    TransferData,
    TransferDataError,
    TransferDataStatus,
    TunnelClosureNotification,
    TunnelProtocol,
    TunnelStatus,
    decode_command,
    encode_command,
)
from lastmetre.han.zcl import (
    READ_ATTRIBUTES,
    DefaultResponse,
    Status,
    ZclFrame,
    default_response,
    read_attributes_response,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

OLD_IDS_MAX: Final = 4
"""Tunnel ids of the past a client still remembers for a device. DESIGN CHOICE."""


def answer(node: Node, arrival: Arrival, frame: ZclFrame, now: float) -> None:
    """Send a frame back to where another came from. A neighbour that is just being forgotten gets none."""
    if node.eui64_of(arrival.source_short) is None:
        return
    node.send(
        arrival.source_short,
        frame.encode(),
        arrival.cluster,
        now,
        profile=arrival.profile,
        source_endpoint=arrival.destination_endpoint,
        destination_endpoint=arrival.source_endpoint,
    )


def answer_status(node: Node, arrival: Arrival, status: int, now: float) -> None:
    """Send a Default Response, unless the sender wants none for success."""
    if status != Status.SUCCESS or not arrival.frame.disable_default_response:
        answer(node, arrival, default_response(arrival.frame, status), now)


def _decode(node: Node, arrival: Arrival, now: float) -> Command | Dropped:
    """The command, or what was said about it when it is no good."""
    try:
        return decode_command(arrival.frame)
    except HanDecodeError as error:
        known = error.field != "command"
        status = Status.MALFORMED_COMMAND if known else Status.UNSUPPORTED_CLUSTER_COMMAND
        answer_status(node, arrival, status, now)
        return Dropped("malformed" if known else "unsupported", str(error), arrival.source_short)


# --- server -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _ServedTunnel:
    tunnel_id: int
    peer: bytes
    peer_short: int
    peer_endpoint: int
    transfer_size_max: int
    used_at: float


class TunnelServer:
    """The server end: grants tunnels to those who ``may_open`` them, and speaks through the one a peer opened last.

    ``busy`` makes it refuse for a while, as a device does that has other things to do.
    """

    def __init__(self, node: Node, may_open: Iterable[bytes], *, endpoint: int = ENDPOINT) -> None:
        self._node = node
        self._endpoint = endpoint
        self.may_open: Final = set(may_open)
        self.busy = False
        self._tunnels: dict[int, _ServedTunnel] = {}
        self._lanes: dict[bytes, TransferLane] = {}
        self._last_id = 0

    def remove(self, peer: bytes) -> list[Event]:
        """Let this peer open no tunnel any more, close those it has, give up what waits for it."""
        self.may_open.discard(peer)
        lane = self._lanes.pop(peer, None)
        events = lane.clear("forgotten") if lane else []
        theirs = [tunnel for tunnel in self._tunnels.values() if tunnel.peer == peer]
        return [*events, *(self._drop(tunnel, "forgotten") for tunnel in theirs)]

    def tunnel_with(self, peer: bytes) -> int | None:
        """The id of the tunnel a peer has open, the latest if it has several."""
        tunnel = self._latest(peer)
        return tunnel.tunnel_id if tunnel else None

    def send(self, peer: bytes, data: bytes, now: float) -> tuple[int, list[Event]]:
        """Send a message, or hold it until the peer opens a tunnel."""
        check_message(data)
        if peer not in self.may_open:
            raise HanValueError(f"{peer.hex()} may not open a tunnel here, so nothing can be sent to it")
        handle = self._node.next_handle()
        lane = self._lanes.setdefault(peer, TransferLane(self._node, from_server=True))
        return handle, lane.add(handle, data, now) + self._start(peer, now)

    def receive(self, arrival: Arrival, now: float) -> list[Event]:
        """Take a frame from client to server."""
        if not arrival.frame.cluster_specific and arrival.frame.command == READ_ATTRIBUTES:
            answer(self._node, arrival, read_attributes_response(arrival.frame, ATTRIBUTES), now)
            return []
        command = _decode(self._node, arrival, now)
        if isinstance(command, Dropped):
            return [command]
        if isinstance(command, RequestTunnel):
            return self._request(arrival, command, now)
        if isinstance(command, TransferData):
            return self._data(arrival, command, now)
        if isinstance(command, TransferDataError):
            return self._error(arrival, command, now)
        if isinstance(command, CloseTunnel):
            return self._close(arrival, command, now)
        if isinstance(command, GetSupportedTunnelProtocols):
            known = (TunnelProtocol(MANUFACTURER_NONE, PROTOCOL_GB_HRGP),)[command.protocol_offset :]
            self._reply(arrival, SupportedTunnelProtocolsResponse(list_complete=True, protocols=known), now)
            return []
        answer_status(self._node, arrival, Status.UNSUPPORTED_CLUSTER_COMMAND, now)
        return [Dropped("unsupported", "flow control is not in use", arrival.source_short)]

    def answered(self, arrival: Arrival, response: DefaultResponse, now: float) -> list[Event]:
        """Take a Default Response from the client."""
        lane = self._lanes.get(arrival.peer)
        if lane is None:
            return []
        return lane.answered(arrival.frame.sequence, response) + self._start(arrival.peer, now)

    def delivered(self, node_handle: int, now: float) -> None:
        """The node delivered something."""
        for lane in self._lanes.values():
            lane.delivered(node_handle, now)

    def delivery_failed(self, node_handle: int, now: float) -> list[Event]:
        """The node could not deliver something. The tunnel stays: it is for the client to renew it."""
        events: list[Event] = []
        for peer, lane in self._lanes.items():
            events += lane.delivery_failed(node_handle)
            events += self._start(peer, now)
        return events

    def tick(self, now: float) -> list[Event]:
        """Close what was not used, give up what waited too long."""
        idle = [tunnel for tunnel in self._tunnels.values() if tunnel.used_at + TUNNEL_LIFETIME_S <= now]
        events: list[Event] = [self._drop(tunnel, "inactive") for tunnel in idle]
        for peer, lane in self._lanes.items():
            events += lane.tick(now) + self._start(peer, now)
        return events

    def next_deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        times = [tunnel.used_at + TUNNEL_LIFETIME_S for tunnel in self._tunnels.values()]
        times += [due for lane in self._lanes.values() if (due := lane.next_deadline()) is not None]
        return min(times, default=None)

    def _latest(self, peer: bytes) -> _ServedTunnel | None:
        return next((tunnel for tunnel in reversed(self._tunnels.values()) if tunnel.peer == peer), None)

    def _start(self, peer: bytes, now: float) -> list[Event]:
        lane, tunnel = self._lanes.get(peer), self._latest(peer)
        if lane is None or tunnel is None:
            return []
        if lane.waiting:
            tunnel.used_at = now
        way = OpenTunnel(
            tunnel.peer_short, tunnel.peer_endpoint, self._endpoint, tunnel.tunnel_id, tunnel.transfer_size_max
        )
        return lane.start(way, now)

    def _drop(self, tunnel: _ServedTunnel, reason: str) -> TunnelClosed:
        del self._tunnels[tunnel.tunnel_id]
        return TunnelClosed(tunnel.peer, tunnel.tunnel_id, reason)

    def _reply(self, arrival: Arrival, command: Command, now: float) -> None:
        frame = encode_command(command, from_server=True, sequence=arrival.frame.sequence)
        answer(self._node, arrival, frame, now)

    # Rules 1 and 2 of 1.4

    def _request(self, arrival: Arrival, command: RequestTunnel, now: float) -> list[Event]:
        existing = next(
            (
                tunnel
                for tunnel in self._tunnels.values()
                if (tunnel.peer, tunnel.peer_endpoint) == (arrival.peer, arrival.source_endpoint)
            ),
            None,
        )
        status = self._judge(arrival, command, existing)
        if status != TunnelStatus.SUCCESS:
            self._reply(arrival, RequestTunnelResponse(NO_TUNNEL, status), now)
            return [Dropped("unexpected", f"RequestTunnel refused: {status.name}", arrival.source_short)]
        tunnel_id = existing.tunnel_id if existing else self._free_id()
        self._tunnels.pop(tunnel_id, None)  # so that the latest stands last
        self._tunnels[tunnel_id] = _ServedTunnel(
            tunnel_id,
            arrival.peer,
            arrival.source_short,
            arrival.source_endpoint,
            command.maximum_incoming_transfer_size,
            now,
        )
        self._reply(arrival, RequestTunnelResponse(tunnel_id, status), now)
        return [TunnelOpened(arrival.peer, tunnel_id), *self._start(arrival.peer, now)]

    def _judge(self, arrival: Arrival, command: RequestTunnel, existing: _ServedTunnel | None) -> TunnelStatus:
        supported = (command.protocol_id, command.manufacturer_code) == (PROTOCOL_GB_HRGP, MANUFACTURER_NONE)
        if not supported or arrival.peer not in self.may_open:
            return TunnelStatus.PROTOCOL_NOT_SUPPORTED
        if command.flow_control_support:
            return TunnelStatus.FLOW_CONTROL_NOT_SUPPORTED
        if self.busy:
            return TunnelStatus.BUSY
        if existing is None and len(self._tunnels) >= TUNNELS_MAX:
            return TunnelStatus.NO_MORE_TUNNEL_IDS
        return TunnelStatus.SUCCESS

    def _free_id(self) -> int:
        """Ids go upwards, so that one just closed is not met again soon (DESIGN CHOICE)."""
        while True:
            self._last_id = (self._last_id + 1) % NO_TUNNEL
            if self._last_id not in self._tunnels:
                return self._last_id

    # Rules 3 and 4 of 1.4

    def _is_theirs(self, tunnel: _ServedTunnel, arrival: Arrival) -> bool:
        return (tunnel.peer, tunnel.peer_endpoint) == (arrival.peer, arrival.source_endpoint)

    def _data(self, arrival: Arrival, command: TransferData, now: float) -> list[Event]:
        tunnel = self._tunnels.get(command.tunnel_id)
        fault = None
        if tunnel is None:
            fault = TransferDataStatus.NO_SUCH_TUNNEL
        elif not self._is_theirs(tunnel, arrival):
            fault = TransferDataStatus.WRONG_DEVICE
        elif len(command.data) > TRANSFER_OCTETS_MAX:
            fault = TransferDataStatus.DATA_OVERFLOW
        if tunnel is None or fault is not None:
            assert fault is not None
            self._reply(arrival, TransferDataError(command.tunnel_id, fault), now)
            return [Dropped("unexpected", f"TransferData refused: {fault.name}", arrival.source_short)]
        tunnel.used_at = now
        answer_status(self._node, arrival, Status.SUCCESS, now)
        return [MessageReceived(arrival.peer, command.data)]

    def _close(self, arrival: Arrival, command: CloseTunnel, now: float) -> list[Event]:
        tunnel = self._tunnels.get(command.tunnel_id)
        if tunnel is None:
            answer_status(self._node, arrival, Status.NOT_FOUND, now)
            return []
        if not self._is_theirs(tunnel, arrival):
            answer_status(self._node, arrival, Status.NOT_AUTHORIZED, now)
            return []
        answer_status(self._node, arrival, Status.SUCCESS, now)
        return [self._drop(tunnel, "closed")]

    def _error(self, arrival: Arrival, command: TransferDataError, now: float) -> list[Event]:
        lane, tunnel = self._lanes.get(arrival.peer), self._tunnels.get(command.tunnel_id)
        events = lane.refused(arrival.frame.sequence, command.tunnel_id, command.status) if lane else []
        if (
            tunnel is not None
            and self._is_theirs(tunnel, arrival)
            and command.status == TransferDataStatus.NO_SUCH_TUNNEL
        ):
            events.append(self._drop(tunnel, "no_such_tunnel"))
        return events + self._start(arrival.peer, now)


# --- client -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Remote:
    """What a client knows of one server."""

    lane: TransferLane
    request_at: float
    """When to ask for a tunnel next."""
    not_before: float
    """A message that waits makes us ask earlier, but not before this: the server said that it is busy."""
    tunnel_id: int | None = None
    usable: bool = False
    """Open, and not under suspicion since a message could not be delivered."""
    transfer_size_max: int = TRANSFER_OCTETS_MAX
    silences: int = 0
    old_ids: deque[int] = field(default_factory=lambda: deque(maxlen=OLD_IDS_MAX))


@dataclass(frozen=True, slots=True)
class _Request:
    peer: bytes
    sequence: int
    deadline: float


class TunnelClient:
    """The client end: keeps a tunnel open to every server it knows, one RequestTunnel outstanding at a time."""

    def __init__(self, node: Node, *, endpoint: int = ENDPOINT, server_endpoint: int = ENDPOINT) -> None:
        self._node = node
        self._endpoint = endpoint
        self._server_endpoint = server_endpoint
        self._remotes: dict[bytes, _Remote] = {}
        self._request: _Request | None = None

    def add(self, peer: bytes) -> None:
        """Keep a tunnel open to this neighbour of the node, from the next ``tick`` on."""
        if peer not in self._node.neighbours:
            raise HanValueError(f"{peer.hex()} is no neighbour of this node; admit it first")
        never = float("-inf")
        self._remotes.setdefault(peer, _Remote(TransferLane(self._node, from_server=False), never, never))

    def remove(self, peer: bytes, now: float) -> list[Event]:
        """Close the tunnel and speak to this server no more."""
        remote = self._remotes.pop(peer, None)
        if remote is None:
            return []
        if self._request is not None and self._request.peer == peer:
            self._request = None
        events = remote.lane.clear("forgotten")
        if remote.tunnel_id is not None:
            self._command(peer, CloseTunnel(remote.tunnel_id), now)
            events.append(TunnelClosed(peer, remote.tunnel_id, "forgotten"))
        return events

    def tunnel_with(self, peer: bytes) -> int | None:
        """The id of the tunnel that is open to a server."""
        remote = self._remotes.get(peer)
        return remote.tunnel_id if remote is not None and remote.usable else None

    def send(self, peer: bytes, data: bytes, now: float) -> tuple[int, list[Event]]:
        """Send a message, or hold it and ask for a tunnel."""
        check_message(data)
        remote = self._remotes.get(peer)
        if remote is None:
            raise HanValueError(f"{peer.hex()} is not a device this hub has a tunnel to")
        handle = self._node.next_handle()
        events = remote.lane.add(handle, data, now)
        if not remote.usable:
            self._hasten(remote, now)
        return handle, events + self._start(peer, now)

    def returned(self, peer: bytes, now: float) -> list[Event]:
        """A device announced itself: it has joined anew and lost its tunnels."""
        remote = self._remotes.get(peer)
        if remote is None:
            return []
        remote.silences = 0
        remote.not_before = now
        remote.request_at = now
        return self._lost(peer, remote, "rejoined")

    def receive(self, arrival: Arrival, now: float) -> list[Event]:
        """Take a frame from server to client."""
        command = _decode(self._node, arrival, now)
        if isinstance(command, Dropped):
            return [command]
        remote = self._remotes.get(arrival.peer)
        if isinstance(command, TransferData):
            return self._data(arrival, remote, command, now)
        if remote is None:
            return [Dropped("unexpected", "no tunnel was asked of this device", arrival.source_short)]
        if isinstance(command, RequestTunnelResponse):
            return self._response(arrival, remote, command, now)
        if isinstance(command, TransferDataError):
            return self._error(arrival, remote, command, now)
        if isinstance(command, TunnelClosureNotification):
            if command.tunnel_id != remote.tunnel_id:
                return []
            remote.request_at = now + SWEEP_S
            return self._lost(arrival.peer, remote, "notified")
        return [Dropped("unexpected", f"{type(command).__name__} was not asked for", arrival.source_short)]

    def answered(self, arrival: Arrival, response: DefaultResponse, now: float) -> list[Event]:
        """Take a Default Response from a server."""
        remote = self._remotes.get(arrival.peer)
        if remote is None:
            return []
        events: list[Event] = []
        if response.command == CLOSE_TUNNEL and response.status != Status.SUCCESS:
            events.append(TunnelCloseRefused(arrival.peer, response.status))
        return events + remote.lane.answered(arrival.frame.sequence, response) + self._start(arrival.peer, now)

    def delivered(self, node_handle: int, now: float) -> None:
        """The node delivered something."""
        for remote in self._remotes.values():
            remote.lane.delivered(node_handle, now)

    def delivery_failed(self, node_handle: int, now: float) -> list[Event]:
        """The node could not deliver something. After a message, ask for the tunnel anew: so we learn of its return.

        The tunnel's id stays valid for what comes in.
        """
        events: list[Event] = []
        for peer, remote in self._remotes.items():
            failed = remote.lane.delivery_failed(node_handle)
            events += failed
            if failed and remote.usable and remote.tunnel_id is not None:
                remote.usable = False
                remote.request_at = now + SWEEP_S
                events.append(TunnelClosed(peer, remote.tunnel_id, "unreachable"))
        return events

    def tick(self, now: float) -> list[Event]:
        """Ask for tunnels that are due, give up what waited too long."""
        if self._request is not None and self._request.deadline <= now:
            remote = self._remotes[self._request.peer]
            self._request = None
            remote.silences += 1
            patient = remote.silences >= SWEEPS_MAX and not remote.lane.waiting
            remote.request_at = now + (BUSY_WAIT_S if patient else SWEEP_S)
        events: list[Event] = []
        for peer, remote in self._remotes.items():
            events += remote.lane.tick(now) + self._start(peer, now)
        if self._request is None:
            self._ask(now)
        return events

    def next_deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        times = [due for remote in self._remotes.values() if (due := remote.lane.next_deadline()) is not None]
        if self._request is not None:
            times.append(self._request.deadline)
        else:
            times += [remote.request_at for remote in self._remotes.values()]
        return min(times, default=None)

    def _command(self, peer: bytes, command: Command, now: float) -> int:
        sequence = self._node.next_sequence()
        frame = encode_command(command, from_server=False, sequence=sequence)
        short = self._node.neighbours.get(peer)
        if short is not None:
            self._node.send(
                short,
                frame.encode(),
                CLUSTER,
                now,
                source_endpoint=self._endpoint,
                destination_endpoint=self._server_endpoint,
            )
        return sequence

    def _ask(self, now: float) -> None:
        """Send the RequestTunnel that has been due longest."""
        due = [(remote.request_at, peer) for peer, remote in self._remotes.items() if self._may_ask(remote, now)]
        if due:
            _at, peer = min(due)
            sequence = self._command(peer, RequestTunnel(), now)
            self._request = _Request(peer, sequence, now + REQUEST_TUNNEL_WAIT_S)

    def _may_ask(self, remote: _Remote, now: float) -> bool:
        """Whether a tunnel is due, and there is a place for one more where it is a new one (1.4: eight)."""
        held = sum(other.tunnel_id is not None for other in self._remotes.values())
        return remote.request_at <= now and (remote.tunnel_id is not None or held < TUNNELS_MAX)

    @staticmethod
    def _hasten(remote: _Remote, now: float) -> None:
        remote.request_at = min(remote.request_at, max(now, remote.not_before))

    def _start(self, peer: bytes, now: float) -> list[Event]:
        remote = self._remotes[peer]
        short = self._node.neighbours.get(peer)
        if not remote.usable or remote.tunnel_id is None or short is None:
            return []
        way = OpenTunnel(short, self._server_endpoint, self._endpoint, remote.tunnel_id, remote.transfer_size_max)
        return remote.lane.start(way, now)

    @staticmethod
    def _lost(peer: bytes, remote: _Remote, reason: str) -> list[Event]:
        tunnel_id, usable = remote.tunnel_id, remote.usable
        remote.tunnel_id, remote.usable = None, False
        if tunnel_id is None:
            return []
        remote.old_ids.append(tunnel_id)
        return [TunnelClosed(peer, tunnel_id, reason)] if usable else []

    def _response(self, arrival: Arrival, remote: _Remote, command: RequestTunnelResponse, now: float) -> list[Event]:
        request = self._request
        if request is None or (request.peer, request.sequence) != (arrival.peer, arrival.frame.sequence):
            return [Dropped("unexpected", "a RequestTunnelResponse that nobody waits for", arrival.source_short)]
        self._request = None
        remote.silences = 0
        if command.status == TunnelStatus.SUCCESS and command.tunnel_id != NO_TUNNEL:
            return self._granted(arrival.peer, remote, command, now)
        wait = BUSY_WAIT_S
        if command.status == TunnelStatus.NO_MORE_TUNNEL_IDS and remote.old_ids:
            for tunnel_id in remote.old_ids:
                self._command(arrival.peer, CloseTunnel(tunnel_id), now)
            remote.old_ids.clear()
            wait = REQUEST_TUNNEL_WAIT_S
        remote.request_at = remote.not_before = now + wait
        return [TunnelRefused(arrival.peer, command.status)]

    def _granted(self, peer: bytes, remote: _Remote, command: RequestTunnelResponse, now: float) -> list[Event]:
        events: list[Event] = []
        if remote.tunnel_id != command.tunnel_id:
            events += self._lost(peer, remote, "replaced")
        news = not remote.usable
        remote.tunnel_id, remote.usable = command.tunnel_id, True
        remote.transfer_size_max = command.maximum_incoming_transfer_size
        remote.not_before = now
        remote.request_at = now + TUNNEL_LIFETIME_S
        if news:
            events.append(TunnelOpened(peer, command.tunnel_id))
        return events + self._start(peer, now)

    def _data(self, arrival: Arrival, remote: _Remote | None, command: TransferData, now: float) -> list[Event]:
        fault = None
        if remote is None or remote.tunnel_id != command.tunnel_id:
            fault = TransferDataStatus.NO_SUCH_TUNNEL
        elif len(command.data) > TRANSFER_OCTETS_MAX:
            fault = TransferDataStatus.DATA_OVERFLOW
        if fault is not None:
            error = TransferDataError(command.tunnel_id, fault)
            frame = encode_command(error, from_server=False, sequence=arrival.frame.sequence)
            answer(self._node, arrival, frame, now)
            return [Dropped("unexpected", f"TransferData refused: {fault.name}", arrival.source_short)]
        answer_status(self._node, arrival, Status.SUCCESS, now)
        return [MessageReceived(arrival.peer, command.data)]

    def _error(self, arrival: Arrival, remote: _Remote, command: TransferDataError, now: float) -> list[Event]:
        peer = arrival.peer
        events = remote.lane.refused(arrival.frame.sequence, command.tunnel_id, command.status)
        lost = command.status in {TransferDataStatus.NO_SUCH_TUNNEL, TransferDataStatus.WRONG_DEVICE}
        if lost and command.tunnel_id == remote.tunnel_id:
            events += self._lost(peer, remote, "no_such_tunnel")
            remote.not_before = now
            self._hasten(remote, now)
        return events + self._start(peer, now)
