"""A PPMID maker's side of the line between a Zigbee stack and ``lastmetre agent`` (docs/stack-line.md), as an example.

The agent's process has no radio; this one has. Here the radio is the emulated one of ``serve home``; a maker puts the
calls of a real stack in the places marked MAKER. The line is written out here and borrows nothing from the agent::

    python examples/ppmid_stack.py --line /run/ppmid.sock --ppmid 00005eef100000a4 --hub 00005eef100000a2
        --hub-port 17754 --pan-id 0x1A62 --short-address 0x4A21 --peer 00005eef100000a0=0x1001

``--line`` is a UNIX socket to listen on, or a serial line that exists already.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import select
import socket
import stat
import time
import tty
import zlib
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from lastmetre.agent.ports import TunnelDownError
from lastmetre.han.clusters import decode_zse
from lastmetre.han.errors import HanDecodeError
from lastmetre.han.zcl import ZclFrame
from lastmetre.links.ppmid_radio import NoAnswerError, PpmidRadio, RadioSettings

if TYPE_CHECKING:
    from collections.abc import Coroutine

AGAIN_S = 5.0  # an unanswered "down" is said again so often: a serial line may lose one
PATIENCE_S = 60.0  # then the agent is not there: the hub gets no answer and keeps the message


class Line:
    """Words in, words out. It blocks where a chip would block, and a maker's program is no longer than this."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._held = b""
        self._later: deque[list[str]] = deque()

    def say(self, *words: str) -> None:
        """One line, with its check."""
        text = " ".join(words).encode("ascii")
        data = text + b"*%08x\n" % zlib.crc32(text)
        while data:
            data = data[os.write(self.descriptor, data) :]

    def hear(self) -> list[list[str]]:
        """The lines that are there now; a line whose check is wrong is as if it never came."""
        data = os.read(self.descriptor, 4096)
        if not data:
            raise ConnectionError("the agent closed the line")
        *lines, self._held = (self._held + data).split(b"\n")
        heard = []
        for line in lines:
            text, _, check = line.rpartition(b"*")
            if text and check == b"%08x" % zlib.crc32(text):
                heard.append(text.decode("ascii").split(" "))
        return heard

    def take_later(self) -> list[list[str]]:
        """What came while it waited for something else."""
        later = list(self._later)
        self._later.clear()
        return later

    def until_took(self, number: str, message: str) -> bool:
        """Say that a message came down, and wait until the agent has it stored."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.say("down", number, message)
            again = time.monotonic() + AGAIN_S
            while (left := again - time.monotonic()) > 0 and select.select([self.descriptor], [], [], left)[0]:
                heard = self.hear()
                took = ["took", number] in heard
                self._later.extend(words for words in heard if words[0] != "took")  # what came with it is not lost
                if took:
                    return True
        return False


class Stack:
    """What the maker's firmware does between its radio and the line."""

    def __init__(self, line: Line, radio: PpmidRadio, ppmid: str, hub: str) -> None:
        self._line, self._radio, self._ppmid, self._hub = line, radio, ppmid, hub
        self._downs = 0
        self._tasks: set[asyncio.Task[None]] = set()
        radio.on_opened = lambda: line.say("opened")
        radio.on_closed = lambda: line.say("closed")
        radio.on_message = self._came_down

    def _came_down(self, message: bytes) -> None:
        # MAKER: called before the Default Response to the hub leaves the radio. Only what the agent has stored is
        # acknowledged; if it never says so, answer the hub nothing.
        self._downs += 1
        if not self._line.until_took(str(self._downs), message.hex()):
            raise ConnectionError("the agent does not answer")
        self._later()

    def _later(self) -> None:
        """What the agent said meanwhile is done once the radio has had its turn."""

        def do() -> None:
            for words in self._line.take_later():
                self.heard(words)

        asyncio.get_running_loop().call_soon(do)

    def heard(self, words: list[str]) -> None:
        """One line of the agent's."""
        match words:
            case ["hello", "1"]:
                self._line.say("hello", "1", self._ppmid, self._hub)
                if self._radio.tunnel_is_open:
                    self._line.say("opened")
            case ["up", number, message]:
                self._do(self._up(number, bytes.fromhex(message)))
            case ["say", number, eui64, cluster, command, payload]:
                self._do(self._say(number, eui64, int(cluster, 16), int(command, 16), payload))
            case _:
                pass  # a later version's word

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _up(self, number: str, message: bytes) -> None:
        try:
            await self._radio.transfer(message)  # MAKER: Transfer Data in the hub's tunnel, until its Default Response
        except TunnelDownError as error:
            self._line.say("up-failed", number, error.reason)
        else:
            self._line.say("up-ok", number)

    async def _say(self, number: str, eui64: str, cluster: int, command: int, payload: str) -> None:
        data = b"" if payload == "-" else bytes.fromhex(payload)
        try:
            zse = decode_zse(cluster, ZclFrame(command, 0, data))
            status = await self._radio.ask(bytes.fromhex(eui64), zse)  # MAKER: a plain ZCL command, until its answer
        except (NoAnswerError, HanDecodeError):
            self._line.say("said-failed", number, "no_answer")
        else:
            self._line.say("said", number, f"{status:02x}")


async def serve(line: Line, radio: PpmidRadio, ppmid: str, hub: str) -> None:
    """One agent at the line until it goes."""
    stack, loop, gone = Stack(line, radio, ppmid, hub), asyncio.get_running_loop(), asyncio.Event()

    def readable() -> None:
        try:
            for words in line.hear():
                stack.heard(words)
        except OSError:
            gone.set()

    loop.add_reader(line.descriptor, readable)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(line.descriptor)


async def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description="An emulated Zigbee stack at the end of a line to lastmetre agent.")
    parser.add_argument("--line", type=Path, required=True, help="UNIX socket to listen on, or a serial line")
    for name in ("--ppmid", "--hub"):
        parser.add_argument(name, required=True, help="EUI-64, 16 hexadecimal digits")
    for name in ("--hub-port", "--pan-id", "--short-address"):
        parser.add_argument(name, type=lambda text: int(text, 0), required=True)
    parser.add_argument("--peer", action="append", default=[], help="EUI-64=short address of a device to speak with")
    args = parser.parse_args()
    peers = {bytes.fromhex(eui): int(short, 0) for eui, short in (peer.split("=") for peer in args.peer)}
    settings = RadioSettings(
        bytes.fromhex(args.ppmid),
        bytes.fromhex(args.hub),
        ("127.0.0.1", args.hub_port),
        args.pan_id,
        args.short_address,
        peers,
    )
    radio = PpmidRadio(settings, secrets.randbelow(256), lambda *_, **__: None)
    async with radio.running():
        if args.line.exists() and stat.S_ISCHR(args.line.stat().st_mode):
            descriptor = os.open(args.line, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(descriptor)
            print("ready", flush=True)
            await serve(Line(descriptor), radio, args.ppmid, args.hub)
            return
        args.line.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(args.line))
            args.line.chmod(0o600)
            listening.listen(1)
            listening.setblocking(False)
            print("ready", flush=True)
            while True:
                connection, _ = await asyncio.get_running_loop().sock_accept(listening)
                connection.setblocking(True)
                with connection:
                    await serve(Line(connection.fileno()), radio, args.ppmid, args.hub)


if __name__ == "__main__":
    asyncio.run(main())
