"""The SM WAN as a link: the DSP's gateway and a Communications Hub's end, over TCP with mutual TLS.

DESIGN CHOICE: how the real SM WAN frames a message is not public. Here a frame is a big-endian 32-bit length and one
whole GBCS message, both ways. A length of zero says that the oldest message not answered so yet was taken.

Rules this module keeps:

* Who a peer is comes from its certificate alone: the common name is its entity identifier in lower-case hex.
* A message is opaque: its bytes are neither read nor changed.
* No connection is no WAN. ``send`` says ``False`` then, and never keeps a message for later: that is its caller's work.
* A message is taken when whoever is behind this end has it safe. Until then it is the other end's: a gateway's ``send``
  waits for it, a hub sends it again on its next connection. So a process that dies loses nothing; a message may come
  twice, as the very same bytes. That the meter has it is not said: only a Response proves that.
* Everything has a limit: a frame's size, how long one may take, how many hubs, how long a slow reader is borne.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.links.errors import LinkError, PeerRefused
from lastmetre.links.tls import peer_entity_id, require_peer

if TYPE_CHECKING:
    import ssl

_log = logging.getLogger(__name__)

LENGTH_SIZE: Final = 4
FRAME_SIZE_MAX: Final = 65_536
"""The largest GBCS message the language reads (``gbcs.message.MESSAGE_SIZE_MAX``)."""

CLOSE_TIMEOUT_S: Final = 1.0
"""How long a closing connection may take to send what is left and to say goodbye."""

_LOST: Final = (OSError, EOFError, TimeoutError)
"""What a connection that ends raises; ``ssl.SSLError`` is an ``OSError``."""

OnHubMessage = Callable[[bytes, bytes], Awaitable[None]]
OnHubChange = Callable[[bytes], None]
OnMessage = Callable[[bytes], Awaitable[None]]

TAKEN: Final = bytes(LENGTH_SIZE)
"""The frame that says so."""


class WanLinkError(LinkError):
    """A frame or a peer on the WAN link is not what was agreed; the connection is closed."""


@dataclass(frozen=True, slots=True)
class WanLimits:
    """Bounds of one end of the link."""

    frame_size_max: int = FRAME_SIZE_MAX
    frame_timeout_s: float = 10.0
    """A frame that has begun must be whole by then; between frames a connection may be idle for ever."""
    send_timeout_s: float = 10.0
    handshake_timeout_s: float = 10.0
    connections_max: int = 4_096
    untaken_max: int = 256
    """Messages of a hub that wait to be taken; no more are sent until one was."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """How a hub waits before it connects again: doubling, with up to half taken off at random, so hubs do not march."""

    first_s: float = 0.2
    max_s: float = 30.0
    steady_s: float = 5.0
    """A connection that lived this long starts the doubling anew; one refused at once does not."""


class _Connection:
    """One TLS connection with a known peer, cut into frames."""

    __slots__ = ("_limits", "_on_taken", "_reader", "_writer", "peer_id")

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: WanLimits,
        on_taken: Callable[[], None],
    ) -> None:  # fmt: skip
        """``on_taken``: the peer has one more message; raises ``WanLinkError`` when none was sent."""
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._on_taken = on_taken
        self.peer_id = peer_entity_id(writer.get_extra_info("ssl_object"))

    async def read(self) -> bytes:
        """The next message; raises ``EOFError`` at the end of the connection and ``WanLinkError`` for a bad frame."""
        while not (message := await self._read_frame()):
            self._on_taken()
        return message

    async def _read_frame(self) -> bytes:
        start = await self._reader.readexactly(1)
        async with asyncio.timeout(self._limits.frame_timeout_s):
            size = int.from_bytes(start + await self._reader.readexactly(LENGTH_SIZE - 1), "big")
            if size > self._limits.frame_size_max:
                raise WanLinkError(f"a frame of {size} octets; {self._limits.frame_size_max} are allowed")
            return await self._reader.readexactly(size)

    async def say_taken(self) -> None:
        """The last message read is safe on this side."""
        await self._write(TAKEN)

    async def write(self, message: bytes) -> bool:
        """Hand one message to the connection; ``False``, and the connection closed, when it does not take it."""
        self.check(message)
        return await self._write(_frame(message))

    def check(self, message: bytes) -> None:
        """Raises ``WanLinkError`` for a message that the other end would have to refuse."""
        if not 0 < len(message) <= self._limits.frame_size_max:
            raise WanLinkError(f"a message of {len(message)} octets; 1 to {self._limits.frame_size_max} are allowed")

    def put(self, message: bytes) -> None:
        """As ``write``, without waiting."""
        self._writer.write(_frame(message))

    async def _write(self, frame: bytes) -> bool:
        if self._writer.is_closing():
            return False
        self._writer.write(frame)
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._writer.drain()
        except _LOST:
            self.abort()
            return False
        return True

    def abort(self) -> None:
        """Cut the connection now; its reader ends."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Let what was written leave, then close; a peer that does not take it is cut off soon."""
        await _discard(self._writer)


class _HubConnection(_Connection):
    """A gateway's connection: what is sent is waited for until the hub has it."""

    __slots__ = ("_waiting",)

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: WanLimits) -> None:
        super().__init__(reader, writer, limits, self._taken)
        self._waiting: deque[asyncio.Future[bool]] = deque()

    async def deliver(self, message: bytes) -> bool:
        """Whether the hub has it; one that does not say so in time is cut off."""
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(taken)
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                return await self.write(message) and await taken
        except TimeoutError:
            self.abort()
            return False
        except WanLinkError:
            self._waiting.remove(taken)
            raise

    def _taken(self) -> None:
        if not self._waiting:
            raise WanLinkError("the hub says that it has a message which it was not sent")
        waiting = self._waiting.popleft()
        if not waiting.done():  # whoever sent it may have given up
            waiting.set_result(True)

    def nothing_more_is_taken(self) -> None:
        """The connection has ended."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(False)


class WanGateway:
    """The DSP's end: hubs connect, each known by its certificate; one connection per hub, the newest wins."""

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        on_message: OnHubMessage,
        *,
        admit: Callable[[bytes], bool] = lambda _hub_id: True,
        on_connected: OnHubChange = lambda _hub_id: None,
        on_disconnected: OnHubChange = lambda _hub_id: None,
        limits: WanLimits | None = None,
    ) -> None:
        self._ssl_context = ssl_context
        self._on_message = on_message
        self._admit = admit
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._limits = limits or WanLimits()
        self._hubs: dict[bytes, _HubConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes any free one, which ``port`` then tells."""
        self._server = await asyncio.start_server(
            self._accept,
            host,
            port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=self._limits.handshake_timeout_s,
            limit=self._limits.frame_size_max,
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._server is None:
            raise WanLinkError("the gateway is not listening; start it first")
        return int(self._server.sockets[0].getsockname()[1])

    def is_connected(self, hub_id: bytes) -> bool:
        """Whether that hub has a connection now."""
        return hub_id in self._hubs

    async def send(self, hub_id: bytes, message: bytes) -> bool:
        """Hand one message to a hub; ``False`` when it is not connected or does not say that it has it."""
        connection = self._hubs.get(hub_id)
        return connection is not None and await connection.deliver(message)

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:  # close() ends us; the stream's own callback would report a cancelled task
            pass
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connection = _HubConnection(reader, writer, self._limits)
        except PeerRefused as error:
            _log.warning("WAN connection refused: %s", error)
            await _discard(writer)
            return
        hub_id = connection.peer_id
        full = len(self._hubs) >= self._limits.connections_max and hub_id not in self._hubs
        if full or not self._admit(hub_id):
            _log.warning("WAN connection of %s refused: %s", hub_id.hex(), "too many hubs" if full else "not ours")
            await connection.close()
            return
        older = self._hubs.get(hub_id)
        self._hubs[hub_id] = connection
        if older is not None:
            older.abort()
        self._on_connected(hub_id)
        try:
            await _receive(connection, lambda message: self._on_message(hub_id, message), hub_id.hex())
        finally:
            if self._hubs.get(hub_id) is connection:
                del self._hubs[hub_id]
                self._on_disconnected(hub_id)
            connection.nothing_more_is_taken()
            await connection.close()


class WanLink:
    """A hub's end: connects, and connects again with growing waits for as long as ``run`` runs."""

    def __init__(
        self,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext,
        on_message: OnMessage,
        *,
        gateway_id: bytes,
        on_change: Callable[[bool], None] = lambda _connected: None,
        back_off: BackOff | None = None,
        limits: WanLimits | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self._on_message = on_message
        self._gateway_id = gateway_id
        self._on_change = on_change
        self._back_off = back_off or BackOff()
        self._limits = limits or WanLimits()
        self._connection: _Connection | None = None
        self._connected = asyncio.Event()
        self._untaken: deque[bytes] = deque()
        self._random = random.SystemRandom()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None

    async def wait_connected(self) -> None:
        """Return as soon as there is a connection."""
        await self._connected.wait()

    async def send(self, message: bytes) -> bool:
        """Send a message, again on the next connection if need be; ``False``, and not kept, without a connection."""
        connection = self._connection
        if connection is None or len(self._untaken) >= self._limits.untaken_max:
            return False
        connection.check(message)
        self._untaken.append(message)
        await connection.write(message)
        return True

    def _taken(self) -> None:
        if not self._untaken:
            raise WanLinkError("the gateway says that it has a message which it was not sent")
        self._untaken.popleft()

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        loop = asyncio.get_running_loop()
        wait_s = self._back_off.first_s
        while True:
            began = loop.time()
            try:
                await self._connect_and_receive()
            except (*_LOST, LinkError) as error:
                _log.info("no WAN: %s", error or type(error).__name__)
            if loop.time() - began >= self._back_off.steady_s:
                wait_s = self._back_off.first_s
            await asyncio.sleep(wait_s * self._random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 2, self._back_off.max_s)

    async def _connect_and_receive(self) -> None:
        async with asyncio.timeout(self._limits.handshake_timeout_s):
            reader, writer = await asyncio.open_connection(
                self._host, self._port, ssl=self._ssl_context, limit=self._limits.frame_size_max
            )
        try:
            require_peer(writer.get_extra_info("ssl_object"), self._gateway_id)
            connection = _Connection(reader, writer, self._limits, self._taken)
            for message in tuple(self._untaken):  # before anything new, so that the order stays
                connection.put(message)
            self._connection = connection
            self._connected.set()
            self._on_change(True)
            await _receive(connection, self._on_message, self._gateway_id.hex())
        finally:
            if self._connection is not None:
                self._connection = None
                self._connected.clear()
                self._on_change(False)
            await _discard(writer)


def _frame(message: bytes) -> bytes:
    return len(message).to_bytes(LENGTH_SIZE, "big") + message


async def _receive(connection: _Connection, take: OnMessage, peer: str) -> None:
    """Pass on every message until the connection ends, and say of each that it was taken.

    One whose taker cannot keep it now (a ``LinkError``, as of a database) ends the connection: it will come again. One
    whose taker fails in any other way would fail again: it is logged, called taken, and the next follows.
    """
    while True:
        try:
            message = await connection.read()
        except _LOST as error:
            _log.info("WAN connection with %s ended: %s", peer, type(error).__name__)
            return
        except WanLinkError as error:
            _log.warning("WAN connection with %s closed: %s", peer, error)
            return
        try:
            await take(message)
        except LinkError as error:
            _log.warning("a message from %s cannot be kept now: %s", peer, error)
            connection.abort()
            return
        except Exception:  # noqa: BLE001 - one poisoned message must not cost a whole home its WAN
            _log.exception("a message from %s could not be taken", peer)
        await connection.say_taken()


async def _discard(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await writer.wait_closed()
    except _LOST:
        writer.transport.abort()
