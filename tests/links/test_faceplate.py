"""The faceplate: what somebody in front of a device may do, and who may not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lastmetre.links.errors import LinkError
from lastmetre.links.faceplate import LINE_OCTETS_MAX, FaceplateRefused, ask_faceplate, serve_faceplate

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "a token of the demo's own"


async def _display(_request: Mapping[str, object]) -> Mapping[str, object]:
    return {"text": "credit 5.00"}


async def _press(request: Mapping[str, object]) -> Mapping[str, object]:
    assert "token" not in request
    if request.get("button") != "enable-supply":
        raise FaceplateRefused("there is no such button")
    return {}


HANDLERS = {"display": _display, "press": _press}


def test_asking_and_pressing() -> None:
    """A handler's answer comes back; its refusal comes back as words."""

    async def story() -> None:
        async with serve_faceplate("127.0.0.1", 0, TOKEN, HANDLERS) as port:
            assert await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "display"}) == {"text": "credit 5.00"}
            assert await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "press", "button": "enable-supply"}) == {}
            with pytest.raises(FaceplateRefused, match="no such button"):
                await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "press", "button": "self-destruct"})
            with pytest.raises(FaceplateRefused, match="does: display, press"):
                await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "dance"})

    asyncio.run(story())


def test_without_the_token_nothing_is_done() -> None:
    """A wrong or missing token reaches no handler, and the connection ends."""
    pressed: list[object] = []

    async def press(request: Mapping[str, object]) -> Mapping[str, object]:
        pressed.append(request)
        return {}

    async def story() -> None:
        async with serve_faceplate("127.0.0.1", 0, TOKEN, {"press": press}) as port:
            with pytest.raises(FaceplateRefused, match="token"):
                await ask_faceplate("127.0.0.1", port, "guess", {"do": "press"})
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b'{"do":"press"}\n{"do":"press"}\n')
            assert b'"ok": false' in await reader.readline()
            assert await reader.read() == b""
            writer.close()

    asyncio.run(story())
    assert not pressed


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"nonsense\n", b"[" * 20_000 + b"\n", b"x" * (LINE_OCTETS_MAX + 2)])
def test_bad_lines_do_not_stop_the_faceplate(line: bytes) -> None:
    """Whatever comes, the next caller is served."""

    async def story() -> None:
        async with serve_faceplate("127.0.0.1", 0, TOKEN, HANDLERS) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(line)
            writer.write_eof()
            await reader.read()
            writer.close()
            assert await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "display"}) == {"text": "credit 5.00"}

    asyncio.run(story())


def test_it_stands_on_this_machine_only_behind_a_real_token() -> None:
    """Another interface or a guessable token is refused when it starts."""

    async def start(host: str, token: str) -> None:
        async with serve_faceplate(host, 0, token, HANDLERS):
            pass

    with pytest.raises(LinkError, match="loopback"):
        asyncio.run(start("0.0.0.0", TOKEN))
    with pytest.raises(LinkError, match="16 characters"):
        asyncio.run(start("127.0.0.1", "short"))


def test_nobody_there_is_said_plainly() -> None:
    """A faceplate that is gone is a refusal, not a crash; one that stops ends the conversations it has."""

    async def story() -> None:
        async with serve_faceplate("127.0.0.1", 0, TOKEN, HANDLERS) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b'{"token": "%s", "do": "display"}\n' % TOKEN.encode())
            await reader.readline()
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(FaceplateRefused, match="nobody"):
            await ask_faceplate("127.0.0.1", port, TOKEN, {"do": "display"})

    asyncio.run(story())
