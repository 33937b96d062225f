"""The line to a maker's Zigbee stack: what is said on it, what is dropped, the whole agent with the example on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastmetre.agent.ports import TunnelDownError
from lastmetre.han import LocalChangeSupply
from lastmetre.links.faceplate import ask_faceplate
from lastmetre.links.stack_line import (
    LINE_OCTETS_MAX,
    LineReader,
    LineStack,
    StackSettings,
    StackSilentError,
    decode_line,
    encode_line,
)
from lastmetre.relay import Receipt, ReceiptKind, decode_receipt
from tests.agent_world import ESME, HUB, PPMID, answer, command
from tests.cli.test_agent_process import (
    ESME_SHORT,
    PAN,
    PPMID_SHORT,
    TOKEN,
    _envelope,
    agent_process,
    emulated_home,
    supplier,
    write_settings,
)
from tests.throwaway_tls import ThrowawayCa

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "ppmid_stack.py"
PAGE = Path(__file__).parents[2] / "docs" / "stack-line.md"
WORDS = st.lists(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="*"), min_size=1, max_size=20),
    min_size=1,
    max_size=6,
)


@given(WORDS, st.data())
def test_lines_come_out_as_they_went_in_whatever_the_pieces(words: list[str], data: st.DataObject) -> None:
    """Written, cut anywhere, read: the same words; and a line with one octet changed is dropped or never ends."""
    line = encode_line(*words)
    at = data.draw(st.integers(0, len(line)))
    reader = LineReader()
    assert reader.feed(line[:at]) + reader.feed(line[at:]) == [tuple(words)]
    spot = data.draw(st.integers(0, len(line) - 2))
    changed = bytearray(line)
    changed[spot] ^= data.draw(st.integers(1, 255))
    assert tuple(words) not in LineReader().feed(bytes(changed))


def test_a_line_without_end_holds_no_memory() -> None:
    """Noise without a line feed is thrown away, and the next good line is heard."""
    reader = LineReader()
    for _ in range(50):
        assert reader.feed(b"x" * 1_000) == []
    assert len(reader._held) <= LINE_OCTETS_MAX
    assert reader.feed(b"\n" + encode_line("opened")) == [None, ("opened",)]


@pytest.mark.parametrize("words", [(), ("",), ("a b",), ("a*b",), ("é",), ("a\n",)])
def test_words_the_line_cannot_carry(words: tuple[str, ...]) -> None:
    """They are an error where they are made, not a broken line at the other end."""
    with pytest.raises(ValueError, match="words of a line"):
        encode_line(*words)


@pytest.mark.parametrize(
    "line", [b"", b"*00000000", b"opened", b"opened*00000000", b"\xff*" + b"%08x" % zlib.crc32(b"\xff")]
)
def test_lines_that_are_none(line: bytes) -> None:
    """No check, a wrong one, nothing before it, not ASCII."""
    assert decode_line(line) is None


class Stack:
    """The other end of the line, played by the test word by word."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def hears(self) -> tuple[str, ...]:
        """The next line of the agent's."""
        async with asyncio.timeout(10):
            words = decode_line((await self._reader.readline()).removesuffix(b"\n"))
        assert words is not None
        return words

    def says(self, *words: str) -> None:
        """One line to the agent."""
        self._writer.write(encode_line(*words))

    def noise(self, data: bytes) -> None:
        """Anything."""
        self._writer.write(data)

    def leaves(self) -> None:
        """The line breaks."""
        self._writer.close()


class Heard:
    """What the agent's side was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    def tell(self, event: str, /, **facts: object) -> None:
        """As ``Tell``."""
        self.events.append((event, facts))


@contextlib.asynccontextmanager
async def line_at(path: Path) -> AsyncIterator[tuple[LineStack, asyncio.Queue[Stack], Heard]]:
    """The agent's side connected to a socket; each connection it makes comes out of the queue."""
    heard, stacks = Heard(), asyncio.Queue[Stack]()

    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await stacks.put(Stack(reader, writer))

    server = await asyncio.start_unix_server(accept, path)
    line = LineStack(StackSettings(PPMID, HUB, socket=path), lambda: 0.0, heard.tell)
    line.on_opened, line.on_closed, line.on_message = heard.opened.set, heard.closed.set, heard.messages.put_nowait
    async with server:
        try:
            async with line.running():
                yield line, stacks, heard
        finally:
            for writer in writers:
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def greeted(stacks: asyncio.Queue[Stack]) -> Stack:
    """The next connection, up to the open tunnel."""
    async with asyncio.timeout(10):
        stack = await stacks.get()
    assert await stack.hears() == ("hello", "1")
    stack.says("hello", "1", PPMID.hex(), HUB.hex())
    stack.says("opened")
    return stack


def test_a_message_up_and_one_down(tmp_path: Path) -> None:
    """``up`` ends with the stack's answer; ``took`` follows a message handed on; its repeat is not handed on again."""

    async def story() -> None:
        async with line_at(tmp_path / "s") as (line, stacks, heard):
            stack = await greeted(stacks)
            await asyncio.wait_for(heard.opened.wait(), 10)
            up = asyncio.create_task(line.transfer(b"\xdf\x09"))
            assert await stack.hears() == ("up", "1", "df09")
            stack.says("up-ok", "1")
            await up
            refused = asyncio.create_task(line.transfer(b"\xdd"))
            assert await stack.hears() == ("up", "2", "dd")
            stack.says("up-failed", "2", "not_acknowledged")
            with pytest.raises(TunnelDownError) as failure:
                await refused
            assert failure.value.reason == "not_acknowledged"
            for _ in range(2):
                stack.says("down", "1", "aabb")
                assert await stack.hears() == ("took", "1")
            stack.says("down", "2", "aabb")
            assert await stack.hears() == ("took", "2")
            assert [heard.messages.get_nowait() for _ in range(heard.messages.qsize())] == [b"\xaa\xbb"] * 2

    asyncio.run(story())


def test_a_button_and_its_answer(tmp_path: Path) -> None:
    """PECS03 goes as cluster, command and payload; the status comes back; silence is an error with words."""

    async def story() -> None:
        async with line_at(tmp_path / "s") as (line, stacks, heard):
            with pytest.raises(StackSilentError, match="not there"):
                await line.ask(ESME, LocalChangeSupply())
            stack = await greeted(stacks)
            stack.noise(b"noise\n")
            await asyncio.wait_for(heard.opened.wait(), 10)
            pressed = asyncio.create_task(line.ask(ESME, LocalChangeSupply()))
            assert (await stack.hears())[2:] == (ESME.hex(), "0702", "0c", "02")
            stack.says("said", "1", "00")
            assert await pressed == 0
            silent = asyncio.create_task(line.ask(ESME, LocalChangeSupply()))
            await stack.hears()
            stack.says("said-failed", "2", "no_answer")
            with pytest.raises(StackSilentError, match="no_answer"):
                await silent
            line._answer_s = 0.05
            with pytest.raises(StackSilentError, match="says nothing"):
                await line.ask(ESME, LocalChangeSupply())

    asyncio.run(story())


def test_a_broken_line_fails_what_was_under_way_and_is_joined_again(tmp_path: Path) -> None:
    """Nothing hangs, the tunnel counts as closed, and the next connection begins with a greeting."""

    async def story() -> None:
        async with line_at(tmp_path / "s") as (line, stacks, heard):
            stack = await greeted(stacks)
            await asyncio.wait_for(heard.opened.wait(), 10)
            up = asyncio.create_task(line.transfer(b"\xdf"))
            await stack.hears()
            stack.leaves()
            with pytest.raises(TunnelDownError, match="stack_lost"):
                await up
            await asyncio.wait_for(heard.closed.wait(), 10)
            heard.opened.clear()
            await greeted(stacks)
            await asyncio.wait_for(heard.opened.wait(), 10)
            assert line.tunnel_is_open

    asyncio.run(story())


def test_a_stack_of_another_ppmid_is_not_spoken_with(tmp_path: Path) -> None:
    """Its hello names somebody else: nothing goes to it, and the reason is told."""

    async def story() -> None:
        async with line_at(tmp_path / "s") as (line, stacks, heard):
            stack = await stacks.get()
            await stack.hears()
            stack.says("hello", "1", ESME.hex(), HUB.hex())
            stack.says("opened")
            with pytest.raises(asyncio.IncompleteReadError):
                await asyncio.wait_for(stack._reader.readexactly(1), 10)  # the end of the line
            with pytest.raises(TunnelDownError, match="stack_not_there"):
                await line.transfer(b"\xdf")
            assert not heard.opened.is_set()
            assert any(event == "stack_lost" and ESME.hex() in str(facts["reason"]) for event, facts in heard.events)

    asyncio.run(story())


@pytest.mark.parametrize(
    "words",
    [
        ("down", "1", "xx"),
        ("down", "x", "00"),
        ("down", "1", "00" * 1_501),
        ("said", "1", "0001"),
        ("sing",),
        ("up-ok",),
    ],
)
def test_lines_that_say_nothing_are_dropped(tmp_path: Path, words: tuple[str, ...]) -> None:
    """What is well checked but makes no sense changes nothing and is told."""

    async def story() -> None:
        async with line_at(tmp_path / "s") as (_line, stacks, heard):
            stack = await greeted(stacks)
            stack.says(*words)
            stack.says("down", "9", "0a")
            assert await stack.hears() == ("took", "9")
            assert heard.messages.get_nowait() == b"\x0a"
            assert ("stack_line_dropped", {"reason": "not_understood"}) in heard.events

    asyncio.run(story())


@pytest.mark.parametrize("serial", [False, True], ids=["socket", "serial line"])
def test_the_agent_carries_a_command_by_the_examples_stack(tmp_path: Path, serial: bool) -> None:
    """The whole agent with the example of a maker's stack as a process: Command up, Response down, a button."""

    async def story() -> None:
        ca = ThrowawayCa(tmp_path / "tls")
        ours, theirs = tmp_path / "line", tmp_path / "line"
        pumping: list[asyncio.Task[None]] = []
        if serial:
            pumping, ours, theirs = _null_modem()
        async with emulated_home() as (hub, hub_port), supplier(ca) as (outbox, url):
            settings = write_settings(tmp_path, ca, url, hub_port)
            text = settings.read_text()
            air, rest = text.split("[air]")[1].split("[faceplate]")
            kind = "serial" if serial else "socket"
            settings.write_text(text.replace(f"[air]{air}", f'[stack]\n{kind} = "{ours}"\nesme_id = "{ESME.hex()}"\n'))
            assert rest
            stack = await asyncio.create_subprocess_exec(
                *(sys.executable, str(EXAMPLE), "--line", str(theirs), "--ppmid", PPMID.hex(), "--hub", HUB.hex()),
                *("--hub-port", str(hub_port), "--pan-id", str(PAN), "--short-address", str(PPMID_SHORT)),
                *("--peer", f"{ESME.hex()}={ESME_SHORT}"),
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                assert stack.stdout is not None
                assert await asyncio.wait_for(stack.stdout.readline(), 20) == b"ready\n"
                async with agent_process(settings) as agent:
                    port = (await agent.until("ready"))["faceplate_port"]
                    assert isinstance(port, int)
                    await outbox.put(PPMID, _envelope("order-1"))
                    # A Response may be down before the stack has said that the Command went up: then there are two.
                    receipts: list[Receipt] = []
                    while ReceiptKind.RESPONSE not in [receipt.kind for receipt in receipts]:
                        count = len(receipts) + 1
                        receipts = [decode_receipt(receipt) for _, receipt in await outbox.until_receipts(count)]
                    assert receipts[0].kind is ReceiptKind.TAKEN
                    assert receipts[-1].message == answer(7)
                    assert hub.passed_up == [command(7)]
                    press = {"do": "press", "button": "enable-supply"}
                    assert await ask_faceplate("127.0.0.1", port, TOKEN, press) == {"outcome": "accepted", "status": 0}
            finally:
                stack.kill()
                await stack.communicate()
                for task in pumping:
                    task.cancel()
                await asyncio.gather(*pumping, return_exceptions=True)

    asyncio.run(asyncio.wait_for(story(), 60))


def _null_modem() -> tuple[list[asyncio.Task[None]], Path, Path]:
    """Two terminals, each hearing what the other says: a serial cable."""
    (here, ours), (there, theirs) = os.openpty(), os.openpty()
    names = Path(os.ttyname(ours)), Path(os.ttyname(theirs))

    async def carry(source: int, sink: int) -> None:
        while True:
            try:
                data = await asyncio.to_thread(_read_soon, source)
            except OSError:
                return
            if data:
                os.write(sink, data)

    tasks = [asyncio.create_task(carry(here, there)), asyncio.create_task(carry(there, here))]
    return tasks, *names


def _read_soon(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, 4_096)
    except BlockingIOError:
        time.sleep(0.01)
        return b""


def test_the_page_shows_true_lines() -> None:
    """Every line shown in docs/stack-line.md has the check it should have."""
    lines = [
        line.split("  ", 1)[1].strip()
        for line in PAGE.read_text().splitlines()
        if line.startswith(("agent  ", "stack  "))
    ]
    assert len(lines) > 8
    assert [line for line in lines if decode_line(line.encode()) is None] == []
