"""Standing in front of a device: a local TCP port that takes JSON lines, for demonstrations and tests.

A request is one line, ``{"token": "...", "do": "display", ...}``; the answer is one line, ``{"ok": true, ...}`` or
``{"ok": false, "error": "..."}``. What can be done is a table of handlers that the composition passes in.

Rules this module keeps: it listens on the loopback only; a request without the token of the settings does nothing and
the connection ends; a line has a bounded length.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from lastmetre.links.errors import LinkError

LINE_OCTETS_MAX: Final = 65_536
"""Room for the longest GBCS message in hex with its wrapping; a longer line ends the connection."""
TOKEN_CHARACTERS_MIN: Final = 16
"""Shorter tokens are refused in the settings: a local program could try them all."""
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

Answer = Mapping[str, object]
Handler = Callable[[Mapping[str, object]], Awaitable[Answer]]


class FaceplateRefused(LinkError):  # the house says Refused
    """The device's faceplate did not do what was asked; the text says why."""


@contextlib.asynccontextmanager
async def serve_faceplate(host: str, port: int, token: str, handlers: Mapping[str, Handler]) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port, which 0 lets the system choose.

    A handler gets the request without its token, and raises ``FaceplateRefused`` to say no.
    """
    if host not in LOOPBACK:
        raise LinkError(f"a faceplate stands on this machine only; {host} is not the loopback")
    if len(token) < TOKEN_CHARACTERS_MIN:
        raise LinkError(f"the faceplate's token needs at least {TOKEN_CHARACTERS_MIN} characters")
    conversations: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        try:
            await _converse(reader, writer, token, handlers)
        except (ConnectionError, ValueError):  # gone, or a line longer than the limit
            pass
        except asyncio.CancelledError:  # the server is closing: end quietly
            pass
        finally:
            conversations.discard(task)
            writer.close()

    server = await asyncio.start_server(talk, host, port, limit=LINE_OCTETS_MAX)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in conversations:
            task.cancel()
        await asyncio.gather(*conversations)
        await server.wait_closed()


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, handlers: Mapping[str, Handler]
) -> None:
    while line := await reader.readline():
        request = _read(line)
        shown = request.pop("token", None)
        if not isinstance(shown, str) or not hmac.compare_digest(shown.encode(), token.encode()):
            writer.write(_line({"ok": False, "error": "the token is not this device's"}))
            await writer.drain()
            return
        writer.write(_line(await _answer(request, handlers)))
        await writer.drain()


def _read(line: bytes) -> dict[str, object]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


async def _answer(request: Mapping[str, object], handlers: Mapping[str, Handler]) -> Answer:
    wanted = request.get("do")
    handler = handlers.get(wanted) if isinstance(wanted, str) else None
    if handler is None:
        return {"ok": False, "error": f"this device does: {', '.join(sorted(handlers))}"}
    try:
        return {"ok": True, **await handler(request)}
    except FaceplateRefused as refused:
        return {"ok": False, "error": str(refused)}


def _line(answer: Answer) -> bytes:
    return json.dumps(answer).encode() + b"\n"


async def ask_faceplate(host: str, port: int, token: str, request: Mapping[str, object]) -> Answer:
    """Ask one thing of the device at ``host`` and ``port``; raises ``FaceplateRefused`` when it says no."""
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=LINE_OCTETS_MAX)
    except OSError as error:
        raise FaceplateRefused(f"nobody is at the faceplate on {host} port {port}: {error}") from error
    try:
        writer.write(_line({**request, "token": token}))
        await writer.drain()
        answer = _read(await reader.readline())
    except OSError as error:
        raise FaceplateRefused(f"the faceplate on {host} port {port} went away: {error}") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if answer.pop("ok", False) is not True:
        raise FaceplateRefused(str(answer.get("error", "the device gave no readable answer")))
    return answer
