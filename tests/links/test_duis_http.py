"""DUIS over HTTPS with real mutual TLS on the loopback: who may speak, how much, and what is answered."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest

from lastmetre.dcc.ports import NotADocument, PushOutcome, Service
from lastmetre.links.duis_http import (
    DOCUMENT_SIZE_MAX,
    RECEIVE_RESPONSE_PATH,
    SERVICE_PATHS,
    DspClient,
    DuisLinkError,
    DuisRefused,
    ReceiveResponseClient,
    create_dsp_app,
    create_receive_response_app,
)
from lastmetre.links.http_server import serve
from lastmetre.links.tls import client_context, server_context
from lastmetre.supplier.ports import DspUnreachable, DspWillNotRead
from tests.throwaway_tls import ThrowawayCa

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

    from tests.throwaway_tls import TlsPair

DSP_ID = bytes.fromhex("00005eef10000002")
SUPPLIER_ID = bytes.fromhex("00005eef10000010")
DEADLINE_S = 20.0
XML = {"content-type": "application/xml"}


@dataclass
class Dsp:
    """A DSP's door that keeps what it is asked and answers with a fixed document."""

    asked: list[tuple[Service, bytes, bytes]] = field(default_factory=list)

    async def request(self, service: Service, caller_id: bytes, document: bytes) -> bytes:
        """Refuse what is no document, answer the rest."""
        if not document.startswith(b"<"):
            raise NotADocument("no XML")
        self.asked.append((service, caller_id, document))
        return b"<answer/>"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> ThrowawayCa:
    """The transport's CA."""
    return ThrowawayCa(tmp_path_factory.mktemp("duis") / "ca")


@pytest.fixture(scope="module")
def dsp_pair(ca: ThrowawayCa) -> TlsPair:
    """The DSP's TLS files."""
    return ca.issue(DSP_ID.hex())


@pytest.fixture(scope="module")
def supplier_pair(ca: ThrowawayCa) -> TlsPair:
    """The supplier's TLS files."""
    return ca.issue(SUPPLIER_ID.hex())


def client_of(pair: TlsPair) -> ssl.SSLContext:
    """A client's context."""
    return client_context(pair.ca, pair.certificate, pair.key)


def server_of(pair: TlsPair) -> ssl.SSLContext:
    """A server's context."""
    return server_context(pair.ca, pair.certificate, pair.key)


def run(coroutine: Coroutine[object, object, None]) -> None:
    """Run one test's coroutine; it hangs no longer than the deadline."""
    asyncio.run(asyncio.wait_for(coroutine, DEADLINE_S))


def test_each_service_has_its_url_and_the_caller_is_who_tls_says(dsp_pair: TlsPair, supplier_pair: TlsPair) -> None:
    """The three services reach the DSP with the identity of the client's certificate and the document untouched."""

    async def play() -> None:
        dsp = Dsp()
        async with (
            serve(create_dsp_app(dsp), "127.0.0.1", 0, server_of(dsp_pair)) as served,
            DspClient(f"https://127.0.0.1:{served.port}", client_of(supplier_pair)) as client,
        ):
            assert await client.transform(b"<t/>") == b"<answer/>"
            assert await client.send_command(b"<s/>") == b"<answer/>"
            assert await client.non_device(b"<d/>") == b"<answer/>"
        assert dsp.asked == [
            (Service.TRANSFORM, SUPPLIER_ID, b"<t/>"),
            (Service.SEND_COMMAND, SUPPLIER_ID, b"<s/>"),
            (Service.NON_DEVICE, SUPPLIER_ID, b"<d/>"),
        ]

    run(play())


def test_what_is_no_document_is_refused_for_good(dsp_pair: TlsPair, supplier_pair: TlsPair) -> None:
    """Bytes that are no request bring HTTP 400, which the client does not confuse with a link that is down."""

    async def play() -> None:
        async with (
            serve(create_dsp_app(Dsp()), "127.0.0.1", 0, server_of(dsp_pair)) as served,
            DspClient(f"https://127.0.0.1:{served.port}", client_of(supplier_pair)) as client,
        ):
            with pytest.raises(DspWillNotRead):
                await client.transform(b"no xml")

    run(play())


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/plain"}, b"<x/>", 415),
        ({}, b"<x/>", 415),
        ({"content-type": "application/xml; charset=utf-8"}, b"<x/>", 200),
        (XML, b"<" + b"x" * DOCUMENT_SIZE_MAX, 413),
    ],
)
def test_type_and_size_are_checked_before_reading(
    dsp_pair: TlsPair, supplier_pair: TlsPair, headers: dict[str, str], body: bytes, status: int
) -> None:
    """Another type, or more than the limit, never reaches the DSP (T43)."""

    async def play() -> None:
        dsp = Dsp()
        async with (
            serve(create_dsp_app(dsp), "127.0.0.1", 0, server_of(dsp_pair)) as served,
            httpx.AsyncClient(verify=client_of(supplier_pair), trust_env=False) as client,
        ):
            url = f"https://127.0.0.1:{served.port}{SERVICE_PATHS[Service.NON_DEVICE]}"
            assert (await client.post(url, content=body, headers=headers)).status_code == status
            assert bool(dsp.asked) is (status == 200)

    run(play())


def test_a_body_without_length_is_counted_as_it_arrives(dsp_pair: TlsPair, supplier_pair: TlsPair) -> None:
    """A chunked body that announces nothing is cut off at the limit as well (T43)."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(2 * DOCUMENT_SIZE_MAX // 65_536):
            yield bytes(65_536)

    async def play() -> None:
        dsp = Dsp()
        async with (
            serve(create_dsp_app(dsp), "127.0.0.1", 0, server_of(dsp_pair)) as served,
            httpx.AsyncClient(verify=client_of(supplier_pair), trust_env=False) as client,
        ):
            url = f"https://127.0.0.1:{served.port}{SERVICE_PATHS[Service.NON_DEVICE]}"
            try:
                status = (await client.post(url, content=endless(), headers=XML)).status_code
            except httpx.TransportError:  # the server may hang up before all of it is written
                status = 413
            assert status == 413
            assert not dsp.asked

    run(play())


def test_nothing_else_is_served(dsp_pair: TlsPair, supplier_pair: TlsPair) -> None:
    """No documentation pages, no other methods, no other paths."""

    async def play() -> None:
        async with (
            serve(create_dsp_app(Dsp()), "127.0.0.1", 0, server_of(dsp_pair)) as served,
            httpx.AsyncClient(verify=client_of(supplier_pair), trust_env=False) as client,
        ):
            base = f"https://127.0.0.1:{served.port}"
            for path in ("/", "/docs", "/redoc", "/openapi.json", RECEIVE_RESPONSE_PATH):
                assert (await client.get(base + path)).status_code == 404
            assert (await client.get(base + SERVICE_PATHS[Service.TRANSFORM])).status_code == 405

    run(play())


def test_strangers_do_not_get_in(ca: ThrowawayCa, dsp_pair: TlsPair, tmp_path: Path) -> None:
    """No certificate, a foreign CA's, or one that names no entity: nothing reaches the DSP (T25)."""

    async def play() -> None:
        dsp = Dsp()
        nobody = ssl.create_default_context(cafile=str(dsp_pair.ca))
        rogue = ThrowawayCa(tmp_path / "rogue").issue(SUPPLIER_ID.hex())
        foreign = client_context(dsp_pair.ca, rogue.certificate, rogue.key)
        async with serve(create_dsp_app(dsp), "127.0.0.1", 0, server_of(dsp_pair)) as served:
            base = f"https://127.0.0.1:{served.port}"
            for context in (nobody, foreign):
                async with DspClient(base, context) as client:
                    with pytest.raises(DspUnreachable):
                        await client.non_device(b"<x/>")
            async with DspClient(base, client_of(ca.issue("not an entity"))) as client:
                with pytest.raises(DuisRefused):
                    await client.non_device(b"<x/>")
        assert not dsp.asked

    run(play())


def test_the_client_believes_no_other_server(dsp_pair: TlsPair, supplier_pair: TlsPair, tmp_path: Path) -> None:
    """A server of a foreign CA is not told the request (T27)."""

    async def play() -> None:
        rogue = ThrowawayCa(tmp_path / "rogue").issue(DSP_ID.hex())
        dsp = Dsp()
        context = server_context(dsp_pair.ca, rogue.certificate, rogue.key)
        async with (
            serve(create_dsp_app(dsp), "127.0.0.1", 0, context) as served,
            DspClient(f"https://127.0.0.1:{served.port}", client_of(supplier_pair)) as client,
        ):
            with pytest.raises(DuisLinkError):
                await client.non_device(b"<x/>")
        assert not dsp.asked

    run(play())


@pytest.mark.parametrize(
    ("taken", "outcome"), [(True, PushOutcome.ACCEPTED), (False, PushOutcome.REFUSED), (None, PushOutcome.NOT_REACHED)]
)
def test_receive_response(dsp_pair: TlsPair, supplier_pair: TlsPair, taken: bool | None, outcome: PushOutcome) -> None:
    """A User's 204 means kept, 400 means never again, and a failure inside the User means try again."""

    async def play() -> None:
        heard: list[tuple[bytes, bytes]] = []

        async def on_response(sender_id: bytes, document: bytes) -> bool:
            heard.append((sender_id, document))
            if taken is None:
                raise RuntimeError("the User's database is away")
            return taken

        app = create_receive_response_app(on_response)
        async with (
            serve(app, "127.0.0.1", 0, server_of(supplier_pair)) as served,
            ReceiveResponseClient(client_of(dsp_pair)) as client,
        ):
            url = f"https://localhost:{served.port}{RECEIVE_RESPONSE_PATH}"
            assert await client.push(url, b"<r/>") is outcome
        assert heard == [(DSP_ID, b"<r/>")]

    run(play())


def test_a_user_that_is_not_there_is_not_reached(dsp_pair: TlsPair) -> None:
    """Nobody listening is no refusal: the DSP tries again later."""

    async def play() -> None:
        async with ReceiveResponseClient(client_of(dsp_pair), timeout_s=1.0) as client:
            assert await client.push("https://127.0.0.1:1/duis/v1/responses", b"<r/>") is PushOutcome.NOT_REACHED

    run(play())
