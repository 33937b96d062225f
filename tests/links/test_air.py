"""The air over real UDP: a hub and a meter in one place, a PPMID elsewhere, joined by datagrams and the real clock."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from lastmetre.han import (
    Device,
    Event,
    Heard,
    Hub,
    Medium,
    MessageReceived,
    TransferAccepted,
    TunnelOpened,
    ZseAnswered,
    ZseReceived,
)
from lastmetre.han.clusters import LocalChangeSupply
from lastmetre.han.frames import parse_mac
from lastmetre.han.zep import ZepPacket, decapsulate, encapsulate
from lastmetre.links.air import Pump, open_air, open_radio
from lastmetre.links.capture import Capture
from lastmetre.links.errors import LinkError

if TYPE_CHECKING:
    from pathlib import Path

PAN = 0x1A62
HUB, METER, PPMID = (bytes.fromhex("00005eef100000" + last) for last in ("a2", "a0", "a4"))
METER_SHORT, PPMID_SHORT = 0x1001, 0x4A21
MESSAGE = bytes.fromhex("dd") + bytes(600)
RESPONSE = bytes.fromhex("df") + bytes(900)


class _HomeProcess:
    """Hub and meter as the home's process runs them: what the PPMID passes up goes to the meter, the answer back."""

    def __init__(self) -> None:
        self.hub = Hub(HUB, PAN, {METER: METER_SHORT, PPMID: PPMID_SHORT}, first_counter=1)
        self.meter = Device(METER, METER_SHORT, PAN, HUB, {PPMID: PPMID_SHORT}, first_counter=2)
        self.medium = Medium({0: self.hub, METER_SHORT: self.meter})
        self.frames: list[bytes] = []
        self.pump: Pump[Heard[Event]] = Pump(self.medium, self._react, on_turn=self._listen)

    def _react(self, heard: Heard[Event]) -> None:
        now = self.pump.now()
        match heard:
            case (0, MessageReceived(peer=peer, data=data)):
                self.hub.send(METER if peer == PPMID else PPMID, data, now)
            case (_, MessageReceived(data=data)):
                assert data == MESSAGE
                self.meter.send(RESPONSE, now)
            case (_, ZseReceived() as received):
                self.meter.answer_zse(received, 0, now)

    def _listen(self) -> None:
        self.frames += self.medium.heard()


def test_a_message_crosses_two_processes_worth_of_udp(tmp_path: Path) -> None:
    """PPMID to hub to meter and the answer back, and a plain command, over datagrams; the hub hears every frame."""

    async def story() -> None:
        home = _HomeProcess()
        device = Device(PPMID, PPMID_SHORT, PAN, HUB, {METER: METER_SHORT}, first_counter=3)
        inbox: asyncio.Queue[Event] = asyncio.Queue()
        pump: Pump[Event] = Pump(device, inbox.put_nowait)
        async with (
            open_air(0, [PPMID_SHORT], home.pump.feed) as air,
            open_radio(("127.0.0.1", air.port), PPMID_SHORT, pump.feed) as radio,
            asyncio.timeout(20),
        ):
            running = [asyncio.create_task(home.pump.run(air.send)), asyncio.create_task(pump.run(radio.send))]
            assert isinstance(await inbox.get(), TunnelOpened)
            handle = device.send(MESSAGE, pump.now())
            pump.wake()
            assert await inbox.get() == TransferAccepted(handle)
            assert await inbox.get() == MessageReceived(HUB, RESPONSE)
            asked = device.send_zse(METER, LocalChangeSupply(), pump.now())
            pump.wake()
            assert await inbox.get() == ZseAnswered(asked, 0)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        with Capture(tmp_path / "home.pcap") as capture:
            for frame in home.frames:
                capture.write(frame)
        pairs = {(parse_mac(frame).source, parse_mac(frame).destination) for frame in home.frames}
        assert pairs == {(0, METER_SHORT), (METER_SHORT, 0), (0, PPMID_SHORT), (PPMID_SHORT, 0)}

    asyncio.run(story())


def test_the_air_hears_only_its_radios() -> None:
    """Noise, a strange short address and a radio pinned elsewhere do not reach the hub; a known radio does."""

    async def story() -> None:
        heard: list[bytes] = []
        loop = asyncio.get_running_loop()
        got = asyncio.Event()

        def on_frame(frame: bytes) -> None:
            heard.append(frame)
            got.set()

        def frame_of(short: int) -> bytes:
            return bytes.fromhex("618801621a0000") + short.to_bytes(2, "little") + b"x"

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            noise.setblocking(False)
            noise.bind(("127.0.0.1", 0))
            pinned = {0x2222: ("127.0.0.1", 1)}
            async with open_air(0, [PPMID_SHORT], on_frame, addresses=pinned) as air, asyncio.timeout(10):
                assert not air.send(bytes.fromhex("618801621a214a0000"))  # nobody knows where it is yet
                for datagram in (
                    b"noise",
                    encapsulate(ZepPacket(frame_of(0x3333), 1)),
                    encapsulate(ZepPacket(frame_of(0x2222), 1)),
                    encapsulate(ZepPacket(frame_of(PPMID_SHORT), 1)),
                ):
                    await loop.sock_sendto(noise, datagram, ("127.0.0.1", air.port))
                await got.wait()
                assert heard == [frame_of(PPMID_SHORT)]
                answer = bytes.fromhex("618801621a214a0000")
                assert air.send(answer)
                assert decapsulate(await loop.sock_recv(noise, 2000)).frame == answer
                assert not air.send(b"broken")

    asyncio.run(story())


def test_a_radio_hears_only_its_hub() -> None:
    """A datagram from elsewhere is not heard: of three, only the hub's two arrive."""

    async def story() -> None:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        at_hub: asyncio.Queue[bytes] = asyncio.Queue()
        frames = [bytes.fromhex(f"618801621a214a0000{number:02x}") for number in range(3)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            async with (
                open_air(0, [PPMID_SHORT], at_hub.put_nowait) as air,
                open_radio(("127.0.0.1", air.port), PPMID_SHORT, heard.put_nowait) as radio,
                asyncio.timeout(10),
            ):
                radio.send(bytes.fromhex("618801621a0000214a"))
                await at_hub.get()
                air.send(frames[0])
                stranger.sendto(encapsulate(ZepPacket(frames[1], 1)), air._learned[PPMID_SHORT])
                air.send(frames[2])
                assert [await heard.get(), await heard.get()] == [frames[0], frames[2]]

    asyncio.run(story())


def test_a_port_in_use_is_one_clear_line() -> None:
    """Two hubs cannot have one port; the error says what to do."""

    async def story() -> None:
        async with open_air(0, [], lambda _frame: None) as air:
            with pytest.raises(LinkError, match="choose another"):
                async with open_air(air.port, [], lambda _frame: None):
                    pass

    asyncio.run(story())


def test_a_fault_in_the_owner_ends_the_pump() -> None:
    """An exception of ``on_event`` is not swallowed: the process that runs the pump learns of it."""

    async def story() -> None:
        device = Device(PPMID, PPMID_SHORT, PAN, HUB, first_counter=3)

        def fail(_event: Event) -> None:
            raise RuntimeError("the disk is full")

        pump: Pump[Event] = Pump(device, fail)
        pump.feed(b"broken")
        async with asyncio.timeout(5):
            with pytest.raises(RuntimeError, match="disk is full"):
                await pump.run(lambda _frame: None)

    asyncio.run(story())


def test_an_idle_pump_sleeps() -> None:
    """Between deadlines nothing runs: a second without work costs a handful of turns."""

    async def story() -> None:
        home = _HomeProcess()
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1

        pump: Pump[Heard[Event]] = Pump(home.medium, lambda _event: None, on_turn=count)
        running = asyncio.create_task(pump.run(lambda _frame: None))
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert 1 <= turns <= 8

    asyncio.run(story())
