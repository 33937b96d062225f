"""A maker's own Zigbee stack as the agent's tunnel: lines of text over a UNIX socket or a serial line.

docs/stack-line.md is the interface for the maker. The agent connects; the stack answers. A line is words parted by one
space, then ``*`` and the CRC-32 of what stands before it as eight hexadecimal digits, then a line feed. Rules this
module keeps:

* a line whose check is wrong is dropped and told, never guessed at; a line is never longer than ``LINE_OCTETS_MAX``;
* ``took`` goes out only after the message that came down was handed on, and so stored: the stack acknowledges to the
  hub only then, and the hub never believes what a power cut undid;
* what was under way when the line broke has failed; the agent offers it again, the same octets;
* a stack that speaks for another PPMID or another hub is not spoken with.

DESIGN CHOICE throughout: no public document describes such an interface.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import tty
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from lastmetre.agent.ports import TunnelDownError
from lastmetre.han.clusters import encode_zse
from lastmetre.links.answers import fail, nobody_listens, settle
from lastmetre.links.errors import LinkError
from lastmetre.relay.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from lastmetre.agent.ports import Tell
    from lastmetre.han import ZseCommand

T = TypeVar("T")

VERSION: Final = "1"
LINE_OCTETS_MAX: Final = 4_096
"""A message of 1,500 octets as hexadecimal digits, and its words."""
MESSAGE_OCTETS_MAX: Final = 1_500
"""What one transfer of the tunnel carries (HAN reference 0.1)."""
HELLO_S: Final = 10.0
"""How long a stack may take to say who it is."""
ANSWER_S: Final = 60.0
"""How long a device may take to answer a plain command: longer than the stack's own tries."""
SPEEDS: Final = {
    speed: getattr(termios, f"B{speed}") for speed in (9_600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800)
}
"""Speeds of a serial line, in bits a second."""


class StackRefused(LinkError):  # the house says Refused
    """The stack is not the one this agent serves, or not one it understands. Look at the other end of the line."""


class StackSilentError(LinkError):
    """The device did not answer a plain command, or the stack went away meanwhile."""


def encode_line(*words: str) -> bytes:
    """One line on the wire. Raises ``ValueError`` for a word the line cannot carry."""
    if not words or any(
        not word or not word.isascii() or not word.isprintable() or set(word) & {" ", "*"} for word in words
    ):
        raise ValueError(f"words of a line are printable ASCII without blank and asterisk: {words}")
    text = " ".join(words).encode("ascii")
    return b"%s*%08x\n" % (text, zlib.crc32(text))


def decode_line(line: bytes) -> tuple[str, ...] | None:
    """The words of a line without its line feed; ``None`` when it is not as it was sent."""
    text, star, check = line.rpartition(b"*")
    if not star or not text or check != b"%08x" % zlib.crc32(text):
        return None
    try:
        words = tuple(text.decode("ascii").split(" "))
    except UnicodeDecodeError:
        return None
    return words if all(words) else None


class LineReader:
    """Cuts what arrives into lines, whatever the pieces; holds no more than one line."""

    def __init__(self) -> None:
        self._held = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[tuple[str, ...] | None]:
        """Each line that is now whole: its words, or ``None`` for one to drop."""
        lines: list[tuple[str, ...] | None] = []
        *whole, rest = (self._held + data).split(b"\n")
        for line in whole:
            lines.append(None if self._skipping or len(line) > LINE_OCTETS_MAX else decode_line(line))
            self._skipping = False
        if len(rest) > LINE_OCTETS_MAX:
            rest, self._skipping = b"", True
        self._held = rest
        return lines


@dataclass(frozen=True, slots=True)
class StackSettings:
    """Where the stack is, and whom it must be. One of ``socket`` and ``serial``."""

    agent_id: bytes
    hub_id: bytes
    socket: Path | None = None
    serial: Path | None = None
    bits_per_s: int = 115_200


@dataclass(slots=True)
class _Waiting:
    """What was asked of the stack and not answered yet, by number."""

    transfers: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    questions: dict[int, asyncio.Future[int]] = field(default_factory=dict)


class LineStack:
    """``agent.ports.Tunnel``, and ``ask`` for the buttons, by a stack at the other end of a line."""

    def __init__(
        self, settings: StackSettings, random: Callable[[], float], tell: Tell, answer_s: float = ANSWER_S
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._backoff = Backoff(random)
        self._writer: asyncio.StreamWriter | None = None
        self._waiting = _Waiting()
        self._answer_s = answer_s
        self._number = 0
        self._last_down: tuple[int, bytes] | None = None
        self._greeted = False
        self.tunnel_is_open = False
        self.on_opened: Callable[[], None] = nobody_listens
        self.on_closed: Callable[[], None] = nobody_listens
        self.on_message: Callable[[bytes], None] = nobody_listens

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Connected, and connected again, until the block ends."""
        task = asyncio.create_task(self._run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def transfer(self, message: bytes) -> None:
        """Pass a message up, unchanged; returning means that the hub's Default Response said success."""
        if not 0 < len(message) <= MESSAGE_OCTETS_MAX:
            raise TunnelDownError("not_for_a_tunnel")
        if not self._greeted:
            raise TunnelDownError("stack_not_there")
        number = self._next()
        await self._ask(self._waiting.transfers, number, "up", str(number), message.hex())

    async def ask(self, peer: bytes, command: ZseCommand) -> int:
        """Have the stack say a plain command to a device; the ZCL status of its answer. Raises ``StackSilentError``."""
        if not self._greeted:
            raise StackSilentError("the Zigbee stack is not there; look at the line to it")
        number, (cluster, frame) = self._next(), encode_zse(command, 0)
        words = ("say", str(number), peer.hex(), f"{cluster:04x}", f"{frame.command:02x}", frame.payload.hex() or "-")
        try:
            async with asyncio.timeout(self._answer_s):
                return await self._ask(self._waiting.questions, number, *words)
        except TimeoutError:
            raise StackSilentError("the Zigbee stack says nothing; press again") from None

    # The line

    async def _run(self) -> None:
        while True:
            try:
                reader, self._writer = await self._open()
                self._tell("stack_connected")
                self._send("hello", VERSION)
                await self._listen(reader)
                reason = "the stack closed the line"
            except (OSError, StackRefused) as error:
                reason = str(error)
            finally:
                await self._lost()
            wait_s = self._backoff.failed()
            self._tell("stack_lost", reason=reason, wait_ms=round(wait_s * 1_000))
            await asyncio.sleep(wait_s)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        settings = self._settings
        if settings.socket is not None:
            return await asyncio.open_unix_connection(settings.socket)
        assert settings.serial is not None
        return await _open_serial(settings.serial, settings.bits_per_s)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        lines = LineReader()
        async with asyncio.timeout(HELLO_S) as patience:
            while data := await reader.read(LINE_OCTETS_MAX):
                for words in lines.feed(data):
                    if words is None:
                        self._tell("stack_line_dropped", reason="check_wrong")
                    else:
                        self._heard(words)
                if self._greeted and patience.when() is not None:
                    patience.reschedule(None)

    def _heard(self, words: tuple[str, ...]) -> None:
        if words[0] == "hello":
            self._greet(words)
        elif not self._greeted or not self._happened(words):
            self._tell("stack_line_dropped", reason="not_understood")

    def _greet(self, words: tuple[str, ...]) -> None:
        ours = ("hello", VERSION, self._settings.agent_id.hex(), self._settings.hub_id.hex())
        if words != ours:
            raise StackRefused(f"the stack says '{' '.join(words)}'; '{' '.join(ours)}' is right here")
        self._greeted = True
        self._backoff.succeeded()

    def _happened(self, words: tuple[str, ...]) -> bool:
        """Whether the line was understood."""
        match words:
            case ("opened",):
                self.tunnel_is_open = True
                self.on_opened()
            case ("closed",):
                self.tunnel_is_open = False
                self.on_closed()
            case ("down", number, text) if number.isdecimal() and (message := _message(text)) is not None:
                self._came_down(int(number), message)
            case ("up-ok", number) if number.isdecimal():
                settle(self._waiting.transfers, int(number), None)
            case ("up-failed", number, reason) if number.isdecimal():
                fail(self._waiting.transfers, int(number), TunnelDownError(reason[:64]))
            case ("said", number, status) if number.isdecimal() and (value := _octet(status)) is not None:
                settle(self._waiting.questions, int(number), value)
            case ("said-failed", number, reason) if number.isdecimal():
                error = StackSilentError(f"the device did not answer: {reason[:64]}")
                fail(self._waiting.questions, int(number), error)
            case _:
                return False
        return True

    def _came_down(self, number: int, message: bytes) -> None:
        """A repeat, because our ``took`` was lost, is answered and not handed on again."""
        if self._last_down != (number, message):
            self.on_message(message)
            self._last_down = (number, message)
        self._send("took", str(number))

    def _send(self, *words: str) -> None:
        if self._writer is not None:
            self._writer.write(encode_line(*words))

    async def _ask(self, waiting: dict[int, asyncio.Future[T]], number: int, *words: str) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiting[number] = answer
        self._send(*words)
        try:
            return await answer
        finally:
            del waiting[number]

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _lost(self) -> None:
        """Nothing is known any more of what was under way."""
        writer, self._writer, self._greeted, self._last_down = self._writer, None, False, None
        for number in tuple(self._waiting.transfers):
            fail(self._waiting.transfers, number, TunnelDownError("stack_lost"))
        for number in tuple(self._waiting.questions):
            fail(self._waiting.questions, number, StackSilentError("the line to the Zigbee stack broke"))
        if self.tunnel_is_open:
            self.tunnel_is_open = False
            self.on_closed()
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _open_serial(path: Path, bits_per_s: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A serial line, raw: eight bits, no parity, one stop bit, no echo, nothing translated."""
    loop = asyncio.get_running_loop()
    descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        tty.setraw(descriptor)
        settings = termios.tcgetattr(descriptor)
        settings[4] = settings[5] = SPEEDS[bits_per_s]
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
        again = os.dup(descriptor)
    except (OSError, termios.error) as error:
        os.close(descriptor)
        raise StackRefused(f"{path} is no serial line: {error}") from error
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await loop.connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb", 0))
    transport, _ = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(again, "wb", 0)
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def _message(text: str) -> bytes | None:
    try:
        message = bytes.fromhex(text)
    except ValueError:
        return None
    return message if 0 < len(message) <= MESSAGE_OCTETS_MAX and message.hex() == text else None


def _octet(text: str) -> int | None:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        return None
    return value[0] if len(value) == 1 else None
