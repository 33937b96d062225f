"""A gas meter's Zigbee side: it sleeps, wakes every half hour, reports, fetches until nothing is left, and sleeps.

    gas = SleepyDevice(GSME, 0x9D03, PAN, HUB, first_counter=chance, reports=lambda: (Reported(...), ...))

    for event in gas.tick(now):                      # Core, as every device
        match event:
            case MessageReceived(data=command):      # fetched from the hub
                for answer in execute(command):
                    gas.put(answer, now)             # leaves in the same awake period
            case FellAsleep(awake_s=awake_s): ...

Rules this module keeps (reference/han.md 2.1, 2.3; what no public text fixes is a DESIGN CHOICE):

* Asleep it hears nothing and sends nothing. Real devices poll their parent at MAC level; here the radio is on or off.
* A wake: a mirror, if there is none yet; then the report, its last attribute the reporting status; then the flags.
  With a message pending: GET, and another while messages remain. With stay-awake: GET every 2 s for 2 minutes.
* What has to leave waits in an outbox and is PUT in order; what could not leave is tried again at the next wake.
* A tunnel the hub no longer knows is opened anew, by the tunnel's own rules; a hub that is busy is asked next wake.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from lastmetre.han.devices import _Endpoint
from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.events import (
    Arrival,
    Event,
    FellAsleep,
    MessageReceived,
    TransferAccepted,
    TransferFailed,
    TunnelClosed,
    TunnelRefused,
    WokeUp,
)
from lastmetre.han.gb_header import PUT_OCTETS_MAX, GbGet, GbGetResponse, GbPut, decode_unit, encode_unit
from lastmetre.han.limits import (
    AWAKE_LINGER_S,
    AWAKE_MAX_S,
    STAY_AWAKE_POLL_S,
    STAY_AWAKE_S,
    TRANSFER_ANSWER_S,
    WAKE_INTERVAL_S,
)
from lastmetre.han.mirror import (
    ATTRIBUTE_REPORTING_STATUS,
    METERING,
    MIRROR_ENDPOINT,
    MIRROR_REPORT_RESPONSE,
    NO_MIRROR,
    REPORTING_COMPLETE,
    REQUEST_MIRROR,
    Flag,
    Reported,
    configure_mirror,
    read_mirror_report_response,
    read_request_mirror_response,
    report,
    request_mirror,
)
from lastmetre.han.node import COORDINATOR, ENDPOINT, Dropped, Node, ZclReceived
from lastmetre.han.tunnel import TunnelClient
from lastmetre.han.tunnelling import CLUSTER as TUNNELING

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.han.zcl import DefaultResponse, ZclFrame

OUTBOX_MAX: Final = 32
"""Messages that wait to be PUT. DESIGN CHOICE."""
REPORT_ITEMS_MAX: Final = 6
"""Attributes of one report frame. DESIGN CHOICE, to keep each within one block."""
_STAY: Final = Flag.STAY_AWAKE_HAN | Flag.STAY_AWAKE_WAN


class SleepyDevice(_Endpoint):
    """A gas meter: tunnel client towards the hub's mirror endpoint, and mostly asleep."""

    def __init__(  # what it is, and what it has to report
        self,
        eui64: bytes,
        short_address: int,
        pan_id: int,
        hub: bytes,
        *,
        first_counter: int,
        reports: Callable[[], tuple[Reported, ...]],
        wake_at: float = float("-inf"),
    ) -> None:
        if short_address == COORDINATOR:
            raise HanValueError("short address 0x0000 is the hub's; a device has another")
        super().__init__(Node(eui64, short_address, pan_id, {hub: COORDINATOR}, first_counter=first_counter))
        self.hub: Final = hub
        self.client: Final = TunnelClient(self.node, server_endpoint=MIRROR_ENDPOINT)
        self._reports = reports
        self._wake_at = wake_at
        self._has_mirror = False
        self._outbox: deque[tuple[int, bytes]] = deque()
        self._putting: int | None = None
        """The transfer that carries the outbox's head."""
        self._awake = False
        self._woke_at = self._busy_until = self._stay_until = float("-inf")
        self._next_get: float | None = None
        self._getting: int | None = None
        self._refused = False
        """The hub gave no tunnel: there is nothing to stay awake for."""
        self._frames = 0

    @property
    def is_awake(self) -> bool:
        """Whether the radio is on."""
        return self._awake

    def put(self, message: bytes, now: float) -> int:
        """Send a message to the hub, at once when awake, else at the next wake. ``TransferAccepted`` will come."""
        if not 1 <= len(message) <= PUT_OCTETS_MAX:
            raise HanValueError(f"a PUT carries 1 to {PUT_OCTETS_MAX} octets, not {len(message)}; more goes in blocks")
        handle = self.node.next_handle()
        if len(self._outbox) >= OUTBOX_MAX:
            self._told.append(TransferFailed(handle, "full"))
            return handle
        self._outbox.append((handle, message))
        if self._awake:
            self._busy(now)
            self._next_put(now)
        return handle

    def wake(self, now: float) -> None:
        """Wake before the time: somebody pressed a button."""
        self._wake_at = min(self._wake_at, now)

    # The core

    def receive(self, frame: bytes, now: float) -> list[Event]:
        """Take a frame off the air; asleep, hear nothing."""
        if not self._awake:
            return []
        self._busy(now)
        return self._follow(super().receive(frame, now), now)

    def tick(self, now: float) -> list[Event]:
        """Do what is due: wake, poll, sleep."""
        events: list[Event] = []
        if not self._awake:
            if self._wake_at > now:
                return []
            events.append(WokeUp())
            self._begin(now)
        events += self._follow(super().tick(now), now)
        if self._next_get is not None and self._next_get <= now:
            self._next_get = None
            self._get(now)
        if self._sleep_at() <= now:
            events.append(self._sleep(now))
        return events

    def next_deadline(self) -> float | None:
        """When ``tick`` is due: asleep, the next wake."""
        return super().next_deadline() if self._awake else self._wake_at

    def outgoing(self) -> list[bytes]:
        """Frames to put on the air."""
        frames = super().outgoing()
        self._frames += len(frames)
        return frames

    # Awake and asleep

    def _begin(self, now: float) -> None:
        self._awake, self._woke_at, self._frames = True, now, 0
        self._refused = False
        self._getting = None
        self._wake_at = now + WAKE_INTERVAL_S
        self._busy(now)
        if self._has_mirror:
            self._report(now)
            self._next_put(now)
        else:
            self._metering(request_mirror(self.node.next_sequence()), ENDPOINT, now)

    def _busy(self, now: float) -> None:
        self._busy_until = now + AWAKE_LINGER_S

    def _sleep_at(self) -> float:
        """When to sleep: once it is quiet, and at the latest when the battery says so."""
        limit = max(self._woke_at + AWAKE_MAX_S, self._stay_until + AWAKE_LINGER_S)
        moving = self._getting is not None or self._putting is not None or self.node.is_busy
        if moving and not self._refused:
            return limit
        return min(limit, max(self._busy_until, self._stay_until))

    def _sleep(self, now: float) -> FellAsleep:
        self._awake = False
        self._next_get = None
        return FellAsleep(now - self._woke_at, self._frames)

    def _deadlines(self) -> list[float | None]:
        return [self.client.next_deadline(), self._next_get, self._sleep_at()]

    # What it says

    def _metering(self, frame: ZclFrame, endpoint: int, now: float) -> None:
        self.node.send(COORDINATOR, frame.encode(), METERING, now, destination_endpoint=endpoint)

    def _report(self, now: float) -> None:
        done = Reported(ATTRIBUTE_REPORTING_STATUS, 0x30, REPORTING_COMPLETE)
        items = (*self._reports(), done)
        for start in range(0, len(items), REPORT_ITEMS_MAX):
            part = items[start : start + REPORT_ITEMS_MAX]
            self._metering(report(self.node.next_sequence(), part), MIRROR_ENDPOINT, now)

    def _get(self, now: float) -> None:
        if self._getting is None:
            self._getting = self._tunnel(encode_unit(GbGet()), now)

    def _next_put(self, now: float) -> None:
        if self._putting is None and self._outbox and self._has_mirror:
            self._putting = self._tunnel(encode_unit(GbPut(self._outbox[0][1])), now)

    def _tunnel(self, data: bytes, now: float) -> int:
        handle, events = self.client.send(self.hub, data, now)
        self._told += events
        self._busy(now)
        return handle

    # What it hears

    def _follow(self, events: list[Event], now: float) -> list[Event]:
        """Events of the tunnel, with the GB header read and the transfers taken as GETs and PUTs."""
        out: list[Event] = []
        for event in events:
            if isinstance(event, MessageReceived):
                out += self._unit(event, now)
            elif isinstance(event, TransferAccepted | TransferFailed):
                out += self._transferred(event, now)
            else:
                self._refused |= isinstance(event, TunnelRefused)
                out.append(event)
                if isinstance(event, TunnelClosed):
                    self._busy(now)
        return out

    def _transferred(self, event: TransferAccepted | TransferFailed, now: float) -> list[Event]:
        if event.handle == self._getting:
            if isinstance(event, TransferFailed):
                self._getting = None
            else:
                self._busy_until = now + TRANSFER_ANSWER_S  # the hub's answer is on its way
            return []
        if event.handle != self._putting:
            return [event]
        self._putting = None
        if isinstance(event, TransferFailed) and event.reason not in {"too_long_for_peer", "data_overflow"}:
            return []  # it stays at the head of the outbox until the next wake
        handle, _message = self._outbox.popleft()
        self._next_put(now)
        if isinstance(event, TransferFailed):
            return [TransferFailed(handle, event.reason)]
        return [TransferAccepted(handle)]

    def _unit(self, received: MessageReceived, now: float) -> list[Event]:
        try:
            unit = decode_unit(received.data)
        except HanDecodeError as error:
            return [Dropped("malformed", str(error), COORDINATOR)]
        if not isinstance(unit, GbGetResponse):
            return [Dropped("unexpected", "a GET or PUT that comes from the hub", COORDINATOR)]
        self._getting = None
        self._busy(now)
        if unit.remaining:
            self._get(now)
        elif now < self._stay_until:
            self._next_get = now + STAY_AWAKE_POLL_S
        return [MessageReceived(received.peer, unit.message)] if unit.message else []

    def _due(self, now: float) -> list[Event]:
        return self.client.tick(now)

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
        frame = arrival.frame
        if arrival.cluster == TUNNELING:
            return self.client.receive(arrival, now) if frame.from_server else None
        if arrival.cluster != METERING or frame.from_server or not frame.cluster_specific:
            return None
        if frame.command == REQUEST_MIRROR:
            return self._mirror_given(read_request_mirror_response(frame), now)
        if frame.command == MIRROR_REPORT_RESPONSE:
            return self._notified(read_mirror_report_response(frame), now)
        return None

    def _mirror_given(self, endpoint: int, now: float) -> list[Event]:
        if endpoint == NO_MIRROR or self._has_mirror:
            return []
        if endpoint != MIRROR_ENDPOINT:
            return [Dropped("unsupported", f"the mirror is on endpoint {endpoint}", COORDINATOR)]
        self._has_mirror = True
        configure = configure_mirror(self.node.next_sequence(), 0, int(WAKE_INTERVAL_S))
        self._metering(configure, MIRROR_ENDPOINT, now)
        self.client.add(self.hub)
        self._report(now)
        self._next_put(now)
        return []

    def _notified(self, flags: int, now: float) -> list[Event]:
        if flags & _STAY:
            self._stay_until = now + STAY_AWAKE_S
        if flags & Flag.TUNNEL_MESSAGE_PENDING or flags & _STAY:
            self._get(now)
        return []
