"""Mutual TLS: who may connect, and how an application learns who did."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from lastmetre.links.errors import LinkError, PeerRefused
from lastmetre.links.http_server import serve
from lastmetre.links.tls import (
    AsgiApp,
    Receive,
    Scope,
    Send,
    client_context,
    peer_entity_id,
    request_peer,
    require_peer,
    server_context,
)
from tests.throwaway_tls import ThrowawayCa, TlsPair

if TYPE_CHECKING:
    from pathlib import Path

SERVER = bytes.fromhex("00005eef10000010")
CLIENT = bytes.fromhex("00005eef100000a4")


@pytest.fixture
def ca(tmp_path: Path) -> ThrowawayCa:
    """One CA for the test."""
    return ThrowawayCa(tmp_path / "tls")


def _server(pair: TlsPair) -> ssl.SSLContext:
    return server_context(pair.ca, pair.certificate, pair.key)


def _client(pair: TlsPair) -> ssl.SSLContext:
    return client_context(pair.ca, pair.certificate, pair.key)


async def _answer(send: Send, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def who_am_i(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the caller's identity, or 403."""
    if scope["type"] != "http":
        return
    try:
        await _answer(send, 200, request_peer(scope).hex().encode())
    except PeerRefused:
        await _answer(send, 403, b"")


async def _ask(port: int, context: ssl.SSLContext, headers: dict[str, str] | None = None) -> httpx.Response:
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        return await client.get(f"https://127.0.0.1:{port}/", headers=headers)


def test_the_application_learns_the_certificates_name(ca: ThrowawayCa) -> None:
    """Two clients of one server are told apart by certificate, whatever header they send."""

    async def story() -> list[str]:
        lie = {"x-client-cert": SERVER.hex(), "x-forwarded-for": SERVER.hex()}
        async with serve(who_am_i, "127.0.0.1", 0, _server(ca.issue(SERVER.hex()))) as served:
            return [
                (await _ask(served.port, _client(ca.issue(name)), lie)).text
                for name in (CLIENT.hex(), "00005eef100000b4")
            ]

    assert asyncio.run(story()) == [CLIENT.hex(), "00005eef100000b4"]


def test_a_client_without_a_certificate_gets_no_answer(ca: ThrowawayCa) -> None:
    """T25: the handshake fails; no request reaches the application."""
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(cafile=ca.ca)

    async def story() -> None:
        async with serve(who_am_i, "127.0.0.1", 0, _server(ca.issue(SERVER.hex()))) as served:
            with pytest.raises(httpx.TransportError):
                await _ask(served.port, bare)

    asyncio.run(story())


def test_a_certificate_of_another_issuer_gets_no_answer(ca: ThrowawayCa, tmp_path: Path) -> None:
    """T25: the right name under a rogue CA of the same name opens nothing."""
    rogue = ThrowawayCa(tmp_path / "rogue").issue(CLIENT.hex())
    pair = TlsPair(ca.ca, rogue.certificate, rogue.key)

    async def story() -> None:
        async with serve(who_am_i, "127.0.0.1", 0, _server(ca.issue(SERVER.hex()))) as served:
            with pytest.raises(httpx.TransportError):
                await _ask(served.port, _client(pair))

    asyncio.run(story())


def test_a_client_refuses_a_server_of_another_issuer(ca: ThrowawayCa, tmp_path: Path) -> None:
    """T27: a rogue server with the right name is not spoken to."""
    rogue = ThrowawayCa(tmp_path / "rogue").issue(SERVER.hex())

    async def story() -> None:
        async with serve(who_am_i, "127.0.0.1", 0, _server(rogue)) as served:
            with pytest.raises(httpx.ConnectError):
                await _ask(served.port, _client(ca.issue(CLIENT.hex())))

    asyncio.run(story())


@pytest.mark.parametrize("name", ["", "supplier", "00005EEF100000A4", "00005eef100000a4 ", "00005eef100000a40"])
def test_a_certificate_that_names_no_entity_is_nobody(ca: ThrowawayCa, name: str) -> None:
    """A common name that is not 16 lower-case hex digits gives no identity, though the CA issued it."""

    async def story() -> int:
        async with serve(who_am_i, "127.0.0.1", 0, _server(ca.issue(SERVER.hex()))) as served:
            return (await _ask(served.port, _client(ca.issue(name or "#")))).status_code

    assert asyncio.run(story()) == 403


def test_without_tls_there_is_no_identity() -> None:
    """Served in plain HTTP, the same application knows nobody."""

    async def story() -> int:
        async with serve(who_am_i, "127.0.0.1", 0, None) as served, httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://127.0.0.1:{served.port}/")).status_code

    assert asyncio.run(story()) == 403


def test_an_application_cannot_inherit_an_identity() -> None:
    """A scope without our extension, or with text in its place, is refused."""
    scopes: tuple[Scope, ...] = ({}, {"extensions": {}}, {"extensions": {"lastmetre.peer_entity_id": CLIENT.hex()}})
    for scope in scopes:
        with pytest.raises(PeerRefused):
            request_peer(scope)


def test_both_ends_of_a_plain_tls_socket_know_each_other(ca: ThrowawayCa) -> None:
    """``peer_entity_id`` serves the SM WAN link as well: server sees client, client sees server, TLS 1.2 or newer."""

    async def story() -> tuple[bytes, bytes, str]:
        seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def met(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.set_result(peer_entity_id(writer.get_extra_info("ssl_object")))
            writer.close()

        server = await asyncio.start_server(met, "127.0.0.1", 0, ssl=_server(ca.issue(SERVER.hex())))
        async with server:
            port = server.sockets[0].getsockname()[1]
            context = _client(ca.issue(CLIENT.hex()))
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            tls = writer.get_extra_info("ssl_object")
            require_peer(tls, SERVER)
            with pytest.raises(PeerRefused, match="is 00005eef10000010, not 00005eef100000a4"):
                require_peer(tls, CLIENT)
            assert await reader.read() == b""
            writer.close()
            return await seen, peer_entity_id(tls), tls.version()

    assert asyncio.run(story()) == (CLIENT, SERVER, "TLSv1.3")


def test_old_tls_is_refused(ca: ThrowawayCa) -> None:
    """Neither side offers less than TLS 1.2, and TLS 1.2 itself works."""
    server, client = _server(ca.issue(SERVER.hex())), _client(ca.issue(CLIENT.hex()))
    assert server.minimum_version is client.minimum_version is ssl.TLSVersion.TLSv1_2
    client.maximum_version = ssl.TLSVersion.TLSv1_2

    async def story() -> str:
        async with serve(who_am_i, "127.0.0.1", 0, server) as served:
            return (await _ask(served.port, client)).text

    assert asyncio.run(story()) == CLIENT.hex()


def test_missing_files_are_named(ca: ThrowawayCa, tmp_path: Path) -> None:
    """A wrong path is one readable error, with the path in it."""
    pair = ca.issue(CLIENT.hex())
    with pytest.raises(LinkError, match=r"absent\.pem"):
        client_context(tmp_path / "absent.pem", pair.certificate, pair.key)


def test_stopping_ends_requests_that_wait() -> None:
    """A long poll in progress sees a disconnect when the server stops, long before its own time-out."""
    waiting = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await receive()
        waiting.set()
        message = await receive()
        await _answer(send, 200, json.dumps(message["type"]).encode())

    async def story() -> str:
        async with httpx.AsyncClient(trust_env=False) as client:
            async with serve(app, "127.0.0.1", 0, None) as served:
                asking = asyncio.create_task(client.get(f"http://127.0.0.1:{served.port}/"))
                await waiting.wait()
            return (await asyncio.wait_for(asking, 5)).text

    assert asyncio.run(story()) == '"http.disconnect"'


def test_signal_handlers_are_left_alone() -> None:
    """The composition owns SIGTERM and SIGINT: serving does not touch them."""

    async def story() -> bool:
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        async with serve(who_am_i, "127.0.0.1", 0, None):
            return before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    assert asyncio.run(story())


def test_a_taken_port_and_a_failing_application_are_link_errors() -> None:
    """Neither ends the process: both come back as an error that says what to do."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def start(app: AsgiApp, port: int) -> None:
        async with serve(app, "127.0.0.1", port, None):
            pass

    async def story() -> None:
        async with serve(who_am_i, "127.0.0.1", 0, None) as served:
            with pytest.raises(LinkError, match="choose another port"):
                await start(who_am_i, served.port)
        with pytest.raises(LinkError, match="did not start"):
            await start(broken, 0)

    asyncio.run(story())
