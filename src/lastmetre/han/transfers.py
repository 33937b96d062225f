"""Messages on their way through a tunnel to one peer: hold, send, await the answer. Shared by client and server.

Rules this module keeps (reference/han.md 1.4 and 2.2):

* One message at a time is on its way, in order. It ends as ``TransferAccepted`` (the peer's Default Response says
  success) or ``TransferFailed``, exactly once.
* Without an open tunnel messages wait: ten of them, three minutes each.
* A message is sent again only after NoSuchTunnel, which proves that it was not taken. After silence nobody knows; its
  owner decides, for only the owner knows whether twice is harmless.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastmetre.han.errors import HanValueError
from lastmetre.han.events import Event, TransferAccepted, TransferFailed
from lastmetre.han.limits import HOLD_MESSAGES_MAX, HOLD_S, RESENDS_MAX, TRANSFER_ANSWER_S, TRANSFER_OCTETS_MAX
from lastmetre.han.tunnelling import CLUSTER, TransferData, TransferDataStatus, command_id, encode_command
from lastmetre.han.zcl import DefaultResponse, Status

if TYPE_CHECKING:
    from lastmetre.han.node import Node


@dataclass(frozen=True, slots=True)
class OpenTunnel:
    """Where transfers go: the peer's address and endpoint, our endpoint, the tunnel, and what the peer can take."""

    destination_short: int
    destination_endpoint: int
    source_endpoint: int
    tunnel_id: int
    transfer_size_max: int


@dataclass(slots=True)
class _Message:
    handle: int
    data: bytes
    held_until: float
    resends: int = 0


@dataclass(slots=True)
class _Flight:
    message: _Message
    node_handle: int
    sequence: int
    tunnel_id: int
    answer_by: float | None = None
    """Set once the node delivered the message."""


def check_message(data: bytes) -> None:
    """Raise for what no tunnel carries."""
    if not 1 <= len(data) <= TRANSFER_OCTETS_MAX:
        raise HanValueError(
            f"a tunnel carries messages of 1 to {TRANSFER_OCTETS_MAX} octets, not {len(data)}; longer ones go in blocks"
        )


class TransferLane:
    """The messages to one peer."""

    def __init__(self, node: Node, *, from_server: bool) -> None:
        self._node = node
        self._from_server = from_server
        self._command = command_id(TransferData, from_server=from_server)
        self._queue: deque[_Message] = deque()
        self._flight: _Flight | None = None

    @property
    def waiting(self) -> int:
        """Messages not on their way yet."""
        return len(self._queue)

    def add(self, handle: int, data: bytes, now: float) -> list[Event]:
        """Take a message in."""
        if len(self._queue) >= HOLD_MESSAGES_MAX:
            return [TransferFailed(handle, "full")]
        self._queue.append(_Message(handle, data, now + HOLD_S))
        return []

    def start(self, tunnel: OpenTunnel, now: float) -> list[Event]:
        """Send the next message when none is on its way. Call whenever the tunnel is open and something happened."""
        events: list[Event] = []
        while self._flight is None and self._queue:
            message = self._queue.popleft()
            if len(message.data) > tunnel.transfer_size_max:
                events.append(TransferFailed(message.handle, "too_long_for_peer"))
                continue
            sequence = self._node.next_sequence()
            frame = encode_command(
                TransferData(tunnel.tunnel_id, message.data), from_server=self._from_server, sequence=sequence
            )
            node_handle = self._node.send(
                tunnel.destination_short,
                frame.encode(),
                CLUSTER,
                now,
                source_endpoint=tunnel.source_endpoint,
                destination_endpoint=tunnel.destination_endpoint,
            )
            self._flight = _Flight(message, node_handle, sequence, tunnel.tunnel_id)
        return events

    def delivered(self, node_handle: int, now: float) -> None:
        """The node delivered something; the answer is awaited from now."""
        if self._flight is not None and self._flight.node_handle == node_handle:
            self._flight.answer_by = now + TRANSFER_ANSWER_S

    def delivery_failed(self, node_handle: int) -> list[Event]:
        """The node could not deliver something; not empty when it was ours."""
        if self._flight is None or self._flight.node_handle != node_handle:
            return []
        return self._fail("not_delivered")

    def answered(self, sequence: int, answer: DefaultResponse) -> list[Event]:
        """A Default Response came."""
        flight = self._flight
        if flight is None or flight.sequence != sequence or answer.command != self._command:
            return []
        if answer.status != Status.SUCCESS:
            return self._fail("refused")
        self._flight = None
        return [TransferAccepted(flight.message.handle)]

    def refused(self, sequence: int, tunnel_id: int, status: int) -> list[Event]:
        """A TransferDataError came.

        It must carry the sequence of the message on its way (DESIGN CHOICE, as ours do): one that comes late speaks
        of an earlier message, and to send this one again would double it.
        """
        flight = self._flight
        if flight is None or (flight.sequence, flight.tunnel_id) != (sequence, tunnel_id):
            return []
        if status == TransferDataStatus.NO_SUCH_TUNNEL:
            flight.message.resends += 1
            if flight.message.resends > RESENDS_MAX:
                return self._fail("no_such_tunnel")
            self._flight = None
            self._queue.appendleft(flight.message)
            return []
        names: dict[int, str] = {
            TransferDataStatus.WRONG_DEVICE: "wrong_device",
            TransferDataStatus.DATA_OVERFLOW: "data_overflow",
        }
        return self._fail(names.get(status, "refused"))

    def tick(self, now: float) -> list[Event]:
        """Give up what has waited too long."""
        events: list[Event] = []
        while self._queue and self._queue[0].held_until <= now:
            events.append(TransferFailed(self._queue.popleft().handle, "held_too_long"))
        if self._flight is not None and self._flight.answer_by is not None and self._flight.answer_by <= now:
            events += self._fail("no_answer")
        return events

    def next_deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        times = [self._queue[0].held_until] if self._queue else []
        if self._flight is not None and self._flight.answer_by is not None:
            times.append(self._flight.answer_by)
        return min(times, default=None)

    def clear(self, reason: str) -> list[Event]:
        """Fail everything: the peer is no longer ours to speak to."""
        events: list[Event] = self._fail(reason) if self._flight is not None else []
        events += [TransferFailed(message.handle, reason) for message in self._queue]
        self._queue.clear()
        return events

    def _fail(self, reason: str) -> list[Event]:
        assert self._flight is not None
        handle = self._flight.message.handle
        self._flight = None
        return [TransferFailed(handle, reason)]
