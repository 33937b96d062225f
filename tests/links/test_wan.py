"""The WAN link over real TLS sockets on the loopback: identities, limits, reconnection."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from lastmetre.links.errors import LinkError, PeerRefused
from lastmetre.links.tls import client_context, server_context
from lastmetre.links.wan import BackOff, WanGateway, WanLimits, WanLink, WanLinkError
from tests.throwaway_tls import ThrowawayCa

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path
    from typing import Self

    from tests.throwaway_tls import TlsPair

DSP_ID = bytes.fromhex("00005eef10000002")
HUB_ID = bytes.fromhex("00005eef100000a2")
OTHER_HUB_ID = bytes.fromhex("00005eef100000b2")
QUICK = BackOff(first_s=0.01, max_s=0.05)
DEADLINE_S = 10.0


@dataclass
class Certificates:
    """The two ends' files, and those of strangers."""

    ca: ThrowawayCa
    gateway: TlsPair
    hub: TlsPair
    directory: Path

    def client(self, pair: TlsPair | None = None) -> ssl.SSLContext:
        """A client's context, the hub's by default."""
        pair = pair or self.hub
        return client_context(pair.ca, pair.certificate, pair.key)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One CA with a gateway and a hub."""
    directory = tmp_path_factory.mktemp("wan")
    ca = ThrowawayCa(directory / "ca")
    return Certificates(ca, ca.issue(DSP_ID.hex()), ca.issue(HUB_ID.hex()), directory)


def run(coroutine: Coroutine[object, object, None]) -> None:
    """Run one test's coroutine; it hangs no longer than the deadline."""
    asyncio.run(asyncio.wait_for(coroutine, DEADLINE_S))


class Gateway(WanGateway):
    """A gateway that keeps what it hears in queues a test can wait on."""

    def __init__(
        self,
        certificates: Certificates,
        *,
        limits: WanLimits | None = None,
        admit: Callable[[bytes], bool] | None = None,
    ) -> None:
        pair = certificates.gateway
        self.messages: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
        self.joined: asyncio.Queue[bytes] = asyncio.Queue()
        self.left: asyncio.Queue[bytes] = asyncio.Queue()
        super().__init__(
            server_context(pair.ca, pair.certificate, pair.key),
            self._take,
            admit=admit or (lambda _hub_id: True),
            on_connected=self.joined.put_nowait,
            on_disconnected=self.left.put_nowait,
            limits=limits,
        )

    async def _take(self, hub_id: bytes, message: bytes) -> None:
        await self.messages.put((hub_id, message))


@contextlib.asynccontextmanager
async def gateway(
    certificates: Certificates, port: int = 0, *, limits: WanLimits | None = None
) -> AsyncIterator[Gateway]:
    """A listening gateway."""
    listening = Gateway(certificates, limits=limits)
    await listening.start("127.0.0.1", port)
    try:
        yield listening
    finally:
        await listening.close()


class Hub:
    """A hub's end that runs in the background and keeps what it hears."""

    def __init__(self, port: int, context: ssl.SSLContext, *, gateway_id: bytes = DSP_ID) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.changes: asyncio.Queue[bool] = asyncio.Queue()
        self.link = WanLink(
            "127.0.0.1",
            port,
            context,
            self.messages.put,
            gateway_id=gateway_id,
            on_change=self.changes.put_nowait,
            back_off=QUICK,
        )
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.link.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


def test_messages_travel_both_ways_untouched(certificates: Certificates) -> None:
    """What one end hands over arrives at the other, byte for byte, under the identity of the certificate."""

    async def play() -> None:
        async with gateway(certificates) as dsp, Hub(dsp.port, certificates.client()) as hub:
            assert await dsp.joined.get() == HUB_ID
            down, up = bytes(range(256)) * 3, b"\xdf" + bytes(65_535)
            assert await dsp.send(HUB_ID, down)
            assert await hub.messages.get() == down
            await hub.link.wait_connected()
            assert await hub.link.send(up)
            assert await dsp.messages.get() == (HUB_ID, up)

    run(play())


def test_no_connection_is_no_wan(certificates: Certificates) -> None:
    """Neither end pretends to have sent anything while there is no connection."""

    async def play() -> None:
        async with gateway(certificates) as dsp:
            assert not await dsp.send(HUB_ID, b"\xdd")
            assert not dsp.is_connected(HUB_ID)
            assert not await Hub(dsp.port, certificates.client()).link.send(b"\xdd")

    run(play())


def test_hub_of_another_ca_is_refused(certificates: Certificates) -> None:
    """A certificate of a foreign CA, with the right name in it, is not let in (T25)."""

    async def play() -> None:
        rogue = ThrowawayCa(certificates.directory / "rogue").issue(HUB_ID.hex())
        context = client_context(certificates.gateway.ca, rogue.certificate, rogue.key)
        async with gateway(certificates) as dsp:
            reader, writer = await asyncio.open_connection("127.0.0.1", dsp.port, ssl=context)
            with pytest.raises((OSError, EOFError)):  # in TLS 1.3 a client learns it when it reads
                await reader.readexactly(1)
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            assert dsp.joined.empty()

    run(play())


def test_hub_refuses_a_gateway_of_another_ca_or_name(certificates: Certificates) -> None:
    """A hub talks neither to a gateway of a foreign CA nor to another party of the right one (T27)."""

    async def play() -> None:
        other_ca = ThrowawayCa(certificates.directory / "other").issue(HUB_ID.hex())
        async with gateway(certificates) as dsp:
            foreign = client_context(other_ca.ca, certificates.hub.certificate, certificates.hub.key)
            for context, gateway_id in ((foreign, DSP_ID), (certificates.client(), OTHER_HUB_ID)):
                link = WanLink("127.0.0.1", dsp.port, context, _nothing, gateway_id=gateway_id)
                with pytest.raises((OSError, PeerRefused), match=r"(?i)certificate|not"):
                    await link._connect_and_receive()
                assert not link.is_connected

    run(play())


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _nothing(_message: bytes) -> None:
    """Take a message and do nothing with it."""


def test_a_hub_the_inventory_does_not_know_is_refused(certificates: Certificates) -> None:
    """A good certificate of somebody who is no hub of ours opens nothing."""

    async def play() -> None:
        dsp = Gateway(certificates, admit=lambda hub_id: hub_id != HUB_ID)
        await dsp.start("127.0.0.1", 0)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", dsp.port, ssl=certificates.client())
            assert await reader.read(1) == b""
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            assert not dsp.is_connected(HUB_ID)
        finally:
            await dsp.close()

    run(play())


@pytest.mark.parametrize("start", [b"\x00\x01\x00\x01", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"])
def test_a_frame_outside_its_limits_closes_the_connection(certificates: Certificates, start: bytes) -> None:
    """Too large a length, or a "taken" for nothing that was sent, ends the connection; nothing is read (T32)."""

    async def play() -> None:
        async with gateway(certificates) as dsp:
            reader, writer = await asyncio.open_connection("127.0.0.1", dsp.port, ssl=certificates.client())
            assert await dsp.joined.get() == HUB_ID
            writer.write(start + b"\xdd" * 16)
            assert await reader.read(1) == b""
            assert await dsp.left.get() == HUB_ID
            assert dsp.messages.empty()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    run(play())


def test_a_frame_that_never_ends_closes_the_connection(certificates: Certificates) -> None:
    """A hub that begins a frame and goes silent does not hold a place for ever (T32)."""

    async def play() -> None:
        async with gateway(certificates, limits=WanLimits(frame_timeout_s=0.05)) as dsp:
            reader, writer = await asyncio.open_connection("127.0.0.1", dsp.port, ssl=certificates.client())
            assert await dsp.joined.get() == HUB_ID
            writer.write(b"\x00\x00\x00\x10\xdd")
            assert await dsp.left.get() == HUB_ID
            assert await reader.read(1) == b""
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    run(play())


def test_oversize_messages_are_not_sent(certificates: Certificates) -> None:
    """Our own side never sends what the other must refuse."""

    async def play() -> None:
        async with gateway(certificates) as dsp, Hub(dsp.port, certificates.client()):
            await dsp.joined.get()
            for message in (b"", bytes(65_537)):
                with pytest.raises(WanLinkError, match="octets"):
                    await dsp.send(HUB_ID, message)

    run(play())


def test_the_hub_connects_again(certificates: Certificates) -> None:
    """When the gateway goes and comes back on its port, the hub is back too, and messages flow."""

    async def play() -> None:
        async with gateway(certificates) as dsp:
            port = dsp.port
            hub = Hub(port, certificates.client())
            await hub.__aenter__()
            assert await dsp.joined.get() == HUB_ID
            assert await hub.changes.get() is True
        assert await hub.changes.get() is False
        async with gateway(certificates, port) as again:
            assert await again.joined.get() == HUB_ID
            assert await again.send(HUB_ID, b"\xdd back")
            assert await hub.messages.get() == b"\xdd back"
            await hub.__aexit__()

    run(play())


def test_the_newest_connection_of_a_hub_wins(certificates: Certificates) -> None:
    """A hub that comes back before its old connection was noticed dead is reached on the new one."""

    async def play() -> None:
        async with gateway(certificates) as dsp:
            old_reader, old_writer = await asyncio.open_connection("127.0.0.1", dsp.port, ssl=certificates.client())
            assert await dsp.joined.get() == HUB_ID
            async with Hub(dsp.port, certificates.client()) as hub:
                assert await dsp.joined.get() == HUB_ID
                assert await dsp.send(HUB_ID, b"\xdd new")
                assert await hub.messages.get() == b"\xdd new"
                with contextlib.suppress(OSError):
                    assert await old_reader.read(1) == b""
            old_writer.transport.abort()
            with contextlib.suppress(OSError):
                await old_writer.wait_closed()
            assert await dsp.left.get() == HUB_ID
            assert not dsp.is_connected(HUB_ID)

    run(play())


def test_a_message_its_taker_fails_on_does_not_end_the_connection(certificates: Certificates) -> None:
    """One poisoned message costs itself only; the next one is taken (T35)."""

    async def play() -> None:
        taken: asyncio.Queue[bytes] = asyncio.Queue()

        async def take(_hub_id: bytes, message: bytes) -> None:
            if message == b"poison":
                raise ValueError("cannot digest this")
            await taken.put(message)

        pair = certificates.gateway
        dsp = WanGateway(server_context(pair.ca, pair.certificate, pair.key), take)
        await dsp.start("127.0.0.1", 0)
        async with Hub(dsp.port, certificates.client()) as hub:
            await hub.link.wait_connected()
            assert await hub.link.send(b"poison")
            assert await hub.link.send(b"bread")
            assert await taken.get() == b"bread"
        await dsp.close()

    run(play())


def test_what_a_gateway_did_not_keep_comes_again(certificates: Certificates) -> None:
    """A gateway that dies, or cannot keep a message now, gets it again on the next connection, in order."""

    async def play() -> None:
        taken: list[bytes] = []
        all_taken = asyncio.Event()
        failing = True

        async def take(_hub_id: bytes, message: bytes) -> None:
            if failing and message == b"second":
                raise LinkError("the database is away")
            taken.append(message)
            if message == b"third":
                all_taken.set()

        pair = certificates.gateway
        dsp = WanGateway(server_context(pair.ca, pair.certificate, pair.key), take)
        await dsp.start("127.0.0.1", 0)
        async with Hub(dsp.port, certificates.client()) as hub:
            await hub.link.wait_connected()
            for message in (b"first", b"second", b"third"):
                assert await hub.link.send(message)
            assert await hub.changes.get() is True
            assert await hub.changes.get() is False
            failing = False
            await all_taken.wait()
        await dsp.close()
        assert taken == [b"first", b"second", b"third"]

    run(play())


def test_a_message_that_a_hub_did_not_take_was_not_sent(certificates: Certificates) -> None:
    """A hub that reads and dies before it has a message safe never had it: the gateway is told ``False``."""

    async def play() -> None:
        async with gateway(certificates) as dsp:
            reader, writer = await asyncio.open_connection("127.0.0.1", dsp.port, ssl=certificates.client())
            await dsp.joined.get()
            sending = asyncio.create_task(dsp.send(HUB_ID, b"\xdd"))
            assert await reader.readexactly(5) == b"\x00\x00\x00\x01\xdd"
            assert not sending.done()
            writer.transport.abort()
            assert await sending is False
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    run(play())


def test_a_hub_that_never_says_it_has_a_message_is_cut_off(certificates: Certificates) -> None:
    """Silence is not taken for success, and holds nobody up for ever (T32)."""

    async def play() -> None:
        async with gateway(certificates, limits=WanLimits(send_timeout_s=0.05)) as dsp:
            reader, writer = await asyncio.open_connection("127.0.0.1", dsp.port, ssl=certificates.client())
            await dsp.joined.get()
            assert await dsp.send(HUB_ID, b"\xdd") is False
            assert await dsp.left.get() == HUB_ID
            with contextlib.suppress(OSError):
                await reader.read(100)
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    run(play())


def test_a_hub_does_not_pile_up_what_nobody_takes(certificates: Certificates) -> None:
    """Over the limit a hub is told ``False`` and keeps the message itself."""

    async def play() -> None:
        stuck = asyncio.Event()
        pair = certificates.gateway
        dsp = WanGateway(server_context(pair.ca, pair.certificate, pair.key), lambda _hub, _message: _wait(stuck))
        await dsp.start("127.0.0.1", 0)
        async with Hub(dsp.port, certificates.client()) as hub:
            await hub.link.wait_connected()
            sent = [await hub.link.send(b"\xdf") for _ in range(WanLimits().untaken_max + 1)]
            assert sent == [True] * WanLimits().untaken_max + [False]
            stuck.set()
        await dsp.close()

    run(play())
