"""uvicorn inside a loop that is not its own, telling the application whose certificate it sees.

Rules this module keeps: the identity in a scope comes from the TLS connection alone; signals stay with the
composition; a server that stops lets waiting requests end at once. An
agent never loads this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lastmetre.links.errors import LinkError, PeerRefused
from lastmetre.links.tls import PEER_KEY, peer_entity_id

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Iterator

    from lastmetre.links.tls import AsgiApp, AsgiMessage, Receive, Scope, Send

KEEP_ALIVE_S: Final = 75
"""How long an idle connection is kept; longer than any client of ours keeps one, so that the client closes first."""
GRACE_S: Final = 2
"""How long a stopping server waits for requests under way; waiting ones are told to end at once."""
BACKLOG: Final = 2_048


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP protocol, telling the application who is at the other end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Read the certificate once per connection: it cannot change, renegotiation is off."""
        super().connection_made(transport)
        extensions: dict[str, object] = {}
        with contextlib.suppress(PeerRefused):
            extensions[PEER_KEY] = peer_entity_id(transport.get_extra_info("ssl_object"))
        inner: Any = self.app  # Any: uvicorn's own ASGI types are closed typed dictionaries

        async def app(scope: Any, receive: Any, send: Any) -> None:
            # A fresh mapping, never merged with one from elsewhere: nothing but this connection fills it.
            await inner({**scope, "extensions": dict(extensions)}, receive, send)

        self.app = app


class _Server(uvicorn.Server):
    """uvicorn without its hands on the process's signals: the composition decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is listening."""

    host: str
    port: int


@contextlib.asynccontextmanager
async def serve(app: AsgiApp, host: str, port: int, ssl_context: ssl.SSLContext | None) -> AsyncIterator[Served]:
    """Serve ``app`` inside the running loop until the block ends; port 0 takes any free one.

    Signals are left to the composition. On leaving, requests that only wait (long polls, event streams) see a
    disconnect at once; the rest get a few seconds.
    """
    try:
        listener = socket.create_server((host, port), backlog=BACKLOG)
        # asyncio sets this only where the socket names its protocol, which create_server's does not; without it
        # Nagle's algorithm and delayed acknowledgements cost 44 ms a hop. Accepted connections inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise LinkError(f"cannot listen on {host} port {port}: {error}; choose another port") from error
    stopping = asyncio.Event()
    config = uvicorn.Config(
        _until(stopping, app),
        http=PeerProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        ssl_context_factory=None if ssl_context is None else lambda _config, _default: ssl_context,
    )
    server = _Server(config)
    task = asyncio.create_task(_run(server, listener))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise LinkError("the server ended before it had started")
            await asyncio.sleep(0.005)  # uvicorn offers a flag, no event
        yield Served(host, listener.getsockname()[1])
    finally:
        stopping.set()
        server.should_exit = True
        try:
            await task
        finally:
            listener.close()


async def _run(server: _Server, listener: socket.socket) -> None:
    try:
        await server.serve(sockets=[listener])
    except SystemExit as error:  # uvicorn's way to say that the application's start-up failed
        raise LinkError("the application did not start; its own error is in the log") from error


def _until(stopping: asyncio.Event, app: AsgiApp) -> AsgiApp:
    """Let requests that have been read and only wait see a disconnect when the server stops."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body_read = False

        async def receive_or_stop() -> AsgiMessage:
            nonlocal body_read
            if not body_read:
                message = await receive()
                body_read = not message.get("more_body", False)
                return message
            return await _first_of(receive(), stopping)

        await app(scope, receive_or_stop, send)

    return wrapped


async def _first_of(message: Awaitable[AsgiMessage], stopping: asyncio.Event) -> AsgiMessage:
    """The next message, or a disconnect as soon as ``stopping`` is set."""
    reading = asyncio.ensure_future(message)
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait((reading, stop), return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else {"type": "http.disconnect"}
    finally:
        for task in (reading, stop):
            task.cancel()
