"""What the HAN's machines tell their owner. Peers are EUI-64s, as everywhere in the house."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from lastmetre.han.node import Dropped, JoinAsked

if TYPE_CHECKING:
    from lastmetre.han.clusters import ZseCommand
    from lastmetre.han.mirror import Reported
    from lastmetre.han.zcl import ZclFrame


@dataclass(frozen=True, slots=True)
class Arrival:
    """A ZCL frame and where it came from."""

    peer: bytes
    source_short: int
    source_endpoint: int
    destination_endpoint: int
    cluster: int
    profile: int
    frame: ZclFrame


@dataclass(frozen=True, slots=True)
class TunnelOpened:
    """Messages can pass. A server tells it for every RequestTunnel it grants, so also when the client asks anew."""

    peer: bytes
    tunnel_id: int


@dataclass(frozen=True, slots=True)
class TunnelClosed:
    """The tunnel is gone; messages for the peer are held until it is open again.

    ``reason``: ``closed`` by the client, ``inactive``, ``no_such_tunnel`` at the other end, ``rejoined``,
    ``unreachable``, ``notified`` by the server, ``replaced`` by another tunnel, ``forgotten``.
    """

    peer: bytes
    tunnel_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class TunnelRefused:
    """A client's RequestTunnel was answered with this TunnelStatus; it asks again later (hub event 0x81BA)."""

    peer: bytes
    status: int


@dataclass(frozen=True, slots=True)
class TunnelCloseRefused:
    """A client's CloseTunnel was answered with this ZCL status (hub event 0x81A4)."""

    peer: bytes
    status: int


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A whole message came through the tunnel and was answered with success."""

    peer: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class TransferAccepted:
    """The other end of the tunnel answered success: it has the message, and that is all that is known."""

    handle: int


@dataclass(frozen=True, slots=True)
class TransferFailed:
    """The message was not accepted.

    Never sent: ``full``, ``held_too_long``, ``too_long_for_peer``, ``forgotten``. Not taken: ``no_such_tunnel``,
    ``wrong_device``, ``data_overflow``, ``refused``. Unknown, it may have arrived: ``not_delivered``, ``no_answer``.
    """

    handle: int
    reason: str


@dataclass(frozen=True, slots=True)
class ZseReceived:
    """A plain Smart Energy command; whoever takes it answers with ``Device.answer_zse(event, status, now)``."""

    peer: bytes
    command: ZseCommand
    arrival: Arrival


@dataclass(frozen=True, slots=True)
class ZseAnswered:
    """The Default Response to a plain command; status 0 is success."""

    handle: int
    status: int


@dataclass(frozen=True, slots=True)
class ZseFailed:
    """A plain command had no answer: ``not_delivered`` or ``no_answer``."""

    handle: int
    reason: str


@dataclass(frozen=True, slots=True)
class MirrorReported:
    """At the hub: a gas meter is awake and has told its mirror these; ``last`` when it waits for the flags now."""

    peer: bytes
    attributes: tuple[Reported, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class MessageAsked:
    """At the hub: a gas meter's GET. Answer with ``Hub.answer_get``, with nothing if need be."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class WokeUp:
    """At a gas meter: its radio is on."""


@dataclass(frozen=True, slots=True)
class FellAsleep:
    """At a gas meter: its radio is off again; how long it was on, and how many frames it sent."""

    awake_s: float
    frames: int


Event: TypeAlias = (
    TunnelOpened
    | TunnelClosed
    | TunnelRefused
    | TunnelCloseRefused
    | MessageReceived
    | TransferAccepted
    | TransferFailed
    | ZseReceived
    | ZseAnswered
    | ZseFailed
    | MirrorReported
    | MessageAsked
    | WokeUp
    | FellAsleep
    | Dropped
    | JoinAsked
)
