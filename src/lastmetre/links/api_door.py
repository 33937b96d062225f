"""The API's door: no token, no word; and everything that comes in has a limit, in size and in time (T43).

    header block           32 KiB   431
    path and query          4 KiB   414
    body of one order      64 KiB   413   (a bulk: each of its lines, and 100,000 lines)
    silence in a body        20 s   408
    compressed bodies      refused  415   nothing is unpacked, so nothing grows

The server before it (uvicorn on h11) ends a request line or header block of more than 64 KiB with 400 by itself.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_MAX: Final = 65_536
"""Octets of one order: some hundreds are usual."""
HEADERS_MAX: Final = 32_768
URL_MAX: Final = 4_096
BODY_SILENCE_S: Final = 20.0
BULK_TYPES: Final = frozenset({"application/x-ndjson", "text/csv"})


class BodyTooLarge(Exception):
    """More octets than an order has."""


class BodyTooSlow(Exception):
    """Its sender fell silent in the middle."""


def error_response(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The one shape of every error."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


class Door:
    """In front of everything, with the token and the limits. It tells each answer's status and time to ``count``."""

    def __init__(self, app: ASGIApp, token: str, count: Callable[[Scope, int, float], None] | None = None) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, answered = time.perf_counter(), 500

        async def told(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = message["status"]
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, told)
                return
            limit = None if content_type(scope) in BULK_TYPES else BODY_MAX
            await self._app(scope, _bounded(receive, limit), told)
        finally:
            if self._count is not None:
                self._count(scope, answered, time.perf_counter() - begun)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        shown = header(scope, b"authorization")
        if not hmac.compare_digest(shown, self._expected):
            challenge = {"WWW-Authenticate": "Bearer"}
            return error_response(401, "not_allowed", "show the API's token as Authorization: Bearer", challenge)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADERS_MAX:
            return error_response(431, "too_large", f"a request's headers have at most {HEADERS_MAX} octets")
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > URL_MAX:
            return error_response(414, "too_large", f"a request's path and query have at most {URL_MAX} octets")
        if header(scope, b"content-encoding") not in {b"", b"identity"}:
            return error_response(415, "wrong_type", "send the body as it is: nothing is unpacked here")
        return None


def header(scope: Scope, name: bytes) -> bytes:
    """One header's value; empty when it is not there, and when it is there twice, which two readers read as two."""
    found = [value for key, value in scope["headers"] if key == name]
    return bytes(found[0]) if len(found) == 1 else b""


def content_type(scope: Scope) -> str:
    """The body's type without its parameters."""
    return header(scope, b"content-type").partition(b";")[0].strip().lower().decode("latin-1")


def _bounded(receive: Receive, limit: int | None) -> Receive:
    octets = 0
    ended = False

    async def bounded() -> Message:
        nonlocal octets, ended
        if ended:  # what comes now is the caller's going away, and may take as long as it likes
            return await receive()
        try:
            async with asyncio.timeout(BODY_SILENCE_S):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlow from None
        ended = not message.get("more_body", False)
        octets += len(message.get("body", b""))
        if limit is not None and octets > limit:
            raise BodyTooLarge
        return message

    return bounded
