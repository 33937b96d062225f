"""The air between processes: radio frames in ZEP datagrams over UDP, and the pump that drives a core by the real clock.

``Air`` is the hub's side: one port on the loopback to which radios in other processes send. ``Radio`` is such a radio.
Datagrams may get lost, as radio frames do; the nodes' acknowledgements see to it.

    pump = Pump(core, on_event)                       # core: a han.Device, Hub or Medium
    async with open_radio(("127.0.0.1", 17754), PPMID_SHORT, pump.feed) as radio:
        await pump.run(radio.send)                    # until cancelled
    ...
    handle = device.send(message, pump.now())         # from elsewhere in the loop
    pump.wake()

Rules this module keeps: loopback only; a datagram that is no ZEP packet, comes from elsewhere or under an address not
ours to hear is dropped; nothing polls; queues are bounded. The link trusts the machine's own users, as a test bed may.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from lastmetre.han.errors import HanDecodeError
from lastmetre.han.frames import parse_mac
from lastmetre.han.joining import JoinStatus, is_request, is_response, parse_request, parse_response
from lastmetre.han.zep import ZepPacket, decapsulate, encapsulate
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from lastmetre.han.devices import Core

LOOPBACK: Final = "127.0.0.1"
INBOX_FRAMES_MAX: Final = 1_024
"""Frames that wait for a core; more are lost, as a radio loses what comes too fast."""

JOINERS_MAX: Final = 16
"""Radios that asked to join and wait for the hub's word; the oldest gives way."""

Address = tuple[str, int]
T = TypeVar("T")


def _now_us() -> int:
    return time.time_ns() // 1_000


class _Datagrams(asyncio.DatagramProtocol):
    """A UDP port that takes ZEP packets; errors of the network are loss."""

    def __init__(self, taken: Callable[[ZepPacket, Address], None]) -> None:
        self._taken = taken
        self._transport: asyncio.DatagramTransport | None = None
        self._sequence = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # asyncio's own class is not derived from it

    def datagram_received(self, data: bytes, addr: Address) -> None:
        try:
            packet = decapsulate(data)
        except HanDecodeError:
            return
        self._taken(packet, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there at the moment: the frame is lost, and its sender will notice."""

    def send(self, frame: bytes, device_id: int, address: Address) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._sequence += 1
        self._transport.sendto(encapsulate(ZepPacket(frame, self._sequence, _now_us(), device_id)), address)


class Air:
    """The hub's end. It learns where a radio is from the frames it sends, unless told beforehand."""

    def __init__(
        self, shorts: Iterable[int], fixed: Mapping[int, Address], on_frame: Callable[[bytes], object]
    ) -> None:
        self._shorts = frozenset(shorts) | fixed.keys()
        self._fixed = dict(fixed)
        self._learned: dict[int, Address] = {}
        self._joiners: dict[bytes, Address] = {}
        self._on_frame = on_frame
        self._datagrams = _Datagrams(self._taken)
        self.port = 0

    def send(self, frame: bytes) -> bool:
        """Put a frame on the air; false when nobody knows where that radio is, and so nobody hears it."""
        try:
            address = self._address_of_joiner(frame) if is_response(frame) else self._address_of(frame)
        except HanDecodeError:
            return False
        if address is None:
            return False
        self._datagrams.send(frame, 0, address)
        return True

    def _address_of(self, frame: bytes) -> Address | None:
        destination = parse_mac(frame).destination
        return self._fixed.get(destination) or self._learned.get(destination)

    def _address_of_joiner(self, frame: bytes) -> Address | None:
        """Where the radio is that asked to join; if it may, its short address is heard from there from now on."""
        response = parse_response(frame)
        address = self._joiners.pop(response.eui64, None)
        if address is not None and response.status is JoinStatus.SUCCESS:
            self._shorts |= {response.short_address}
            self._learned[response.short_address] = address
        return address

    def _taken(self, packet: ZepPacket, address: Address) -> None:
        try:
            if is_request(packet.frame):
                self._joiners[parse_request(packet.frame).eui64] = address
                while len(self._joiners) > JOINERS_MAX:
                    del self._joiners[next(iter(self._joiners))]
            source = parse_mac(packet.frame).source
        except HanDecodeError:
            source = None  # the hub will say what is wrong with it
        if source is not None:
            if source not in self._shorts or self._fixed.get(source, address) != address:
                return
            self._learned[source] = address
        self._on_frame(packet.frame)


class Radio:
    """A device's end: it hears the hub and nobody else."""

    def __init__(self, hub: Address, device_id: int, on_frame: Callable[[bytes], object]) -> None:
        self._hub = hub
        self._device_id = device_id
        self._on_frame = on_frame
        self._datagrams = _Datagrams(self._taken)

    def send(self, frame: bytes) -> bool:
        """Put a frame on the air."""
        self._datagrams.send(frame, self._device_id, self._hub)
        return True

    def _taken(self, packet: ZepPacket, address: Address) -> None:
        if address == self._hub:
            self._on_frame(packet.frame)


@contextlib.asynccontextmanager
async def open_air(
    port: int,
    radios: Iterable[int],
    on_frame: Callable[[bytes], object],
    *,
    addresses: Mapping[int, Address] | None = None,
) -> AsyncIterator[Air]:
    """Open the hub's port, 0 for any (``air.port`` says which), for radios with these short addresses.

    ``addresses`` pins a radio to a UDP address; others are heard from wherever on this machine they send.
    """
    air = Air(radios, addresses or {}, on_frame)
    async with _endpoint(air._datagrams, port) as bound:  # noqa: SLF001  # of this module
        air.port = bound
        yield air


@contextlib.asynccontextmanager
async def open_radio(
    hub: Address, short_address: int, on_frame: Callable[[bytes], object], *, port: int = 0
) -> AsyncIterator[Radio]:
    """Open a radio that speaks with the hub's air at ``hub``."""
    radio = Radio(hub, short_address, on_frame)
    async with _endpoint(radio._datagrams, port):  # noqa: SLF001  # of this module
        yield radio


@contextlib.asynccontextmanager
async def _endpoint(datagrams: _Datagrams, port: int) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: datagrams, local_addr=(LOOPBACK, port))
    except OSError as error:
        raise LinkError(f"UDP port {port} on {LOOPBACK} cannot be used: {error.strerror}; choose another") from error
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


class Pump(Generic[T]):
    """Drives a core: hands it frames, ticks it when it is due, sends what it has to send.

    ``on_event`` is called for every event and may call the core at once, with ``now()``; an exception from it ends
    ``run``. ``on_turn`` is called after every turn, before frames go out: the place to write ``medium.heard()`` into
    a capture.
    """

    def __init__(
        self, core: Core[T], on_event: Callable[[T], object], *, on_turn: Callable[[], object] | None = None
    ) -> None:
        self._core = core
        self._on_event = on_event
        self._on_turn = on_turn
        self._inbox: deque[bytes] = deque()
        self._work = asyncio.Event()

    @staticmethod
    def now() -> float:
        """The loop's clock, which the core lives by."""
        return asyncio.get_running_loop().time()

    def feed(self, frame: bytes) -> None:
        """A frame came off the air."""
        if len(self._inbox) < INBOX_FRAMES_MAX:
            self._inbox.append(frame)
        self._work.set()

    def wake(self) -> None:
        """Something was asked of the core from outside: look at it now."""
        self._work.set()

    async def run(self, send: Callable[[bytes], object]) -> None:
        """Drive the core until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._work.clear()
            self._turn(send)
            if self._inbox:
                await asyncio.sleep(0)  # others have their turn
                continue
            deadline = self._core.next_deadline()
            timer = None if deadline is None else loop.call_at(max(deadline, loop.time()), self._work.set)
            try:
                await self._work.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _turn(self, send: Callable[[bytes], object]) -> None:
        """One frame and what is due; then whatever has to go out."""
        now = self.now()
        events = self._core.receive(self._inbox.popleft(), now) if self._inbox else []
        events += self._core.tick(now)
        while events:
            for event in events:
                self._on_event(event)
            events = self._core.tick(now)  # what the owner asked of the core may have news at once
        if self._on_turn is not None:
            self._on_turn()
        for frame in self._core.outgoing():
            send(frame)
