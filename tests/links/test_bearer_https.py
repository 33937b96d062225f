"""The HTTPS bearer, server and client joined over real mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from lastmetre.agent.ports import BearerDownError, ReceiptRefusedError
from lastmetre.links.bearer_https import POLL_PATH, RECEIPTS_PATH, HttpsBearer, create_bearer_app
from lastmetre.links.http_server import serve
from lastmetre.links.tls import AsgiApp, Receive, Scope, Send, client_context, server_context
from lastmetre.relay import Receipt, ReceiptKind, encode_receipt
from lastmetre.relay.limits import ENVELOPE_OCTETS_MAX, RECEIPT_OCTETS_MAX
from tests.outbox import ListOutbox
from tests.throwaway_tls import ThrowawayCa, TlsPair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SUPPLIER = bytes.fromhex("00005eef10000010")
AGENT_A, AGENT_B = bytes.fromhex("00005eef100000a4"), bytes.fromhex("00005eef100000b4")
TAKEN = encode_receipt(Receipt("order-1", ReceiptKind.TAKEN, 1_800_000_000, bytes(32)))


@pytest.fixture
def ca(tmp_path: Path) -> ThrowawayCa:
    """One CA for the test."""
    return ThrowawayCa(tmp_path)


def _client(pair: TlsPair) -> ssl.SSLContext:
    return client_context(pair.ca, pair.certificate, pair.key)


@contextlib.asynccontextmanager
async def served(ca: ThrowawayCa, app: AsgiApp, name: bytes = SUPPLIER) -> AsyncIterator[str]:
    """The application behind mutual TLS; yields its URL."""
    pair = ca.issue(name.hex())
    async with serve(app, "127.0.0.1", 0, server_context(pair.ca, pair.certificate, pair.key)) as server:
        yield f"https://127.0.0.1:{server.port}"


def test_an_envelope_goes_down_and_a_receipt_comes_up(ca: ThrowawayCa) -> None:
    """The very bytes, both ways, under the identity of the certificate; an envelope that is there is not waited for."""

    async def story() -> None:
        outbox = ListOutbox()
        async with (
            served(ca, create_bearer_app(outbox)) as url,
            HttpsBearer(url, _client(ca.issue(AGENT_A.hex())), SUPPLIER) as bearer,
        ):
            await outbox.put(AGENT_A, b"envelope")
            assert await bearer.next_envelope() == b"envelope"
            await bearer.stored()
            await bearer.hand_on(TAKEN)
            assert outbox.receipts == [(AGENT_A, TAKEN)]

    asyncio.run(story())


def test_an_agent_gets_its_own_envelopes_only(ca: ThrowawayCa) -> None:
    """T25: agent A cannot fetch what is for agent B, whatever it puts into its request."""

    async def story() -> None:
        outbox = ListOutbox()
        async with served(ca, create_bearer_app(outbox, poll_wait_s=0.05)) as url:
            await outbox.put(AGENT_B, b"for B")
            async with HttpsBearer(url, _client(ca.issue(AGENT_A.hex())), SUPPLIER) as a:
                assert await a.next_envelope() is None
            async with httpx.AsyncClient(verify=_client(ca.issue(AGENT_A.hex())), trust_env=False) as client:
                for path in (POLL_PATH, f"{POLL_PATH}?agent={AGENT_B.hex()}"):
                    answer = await client.post(url + path, content=AGENT_B.hex(), headers={"x-agent": AGENT_B.hex()})
                    assert answer.status_code == 204
            assert set(outbox.asked) == {AGENT_A}
            async with HttpsBearer(url, _client(ca.issue(AGENT_B.hex())), SUPPLIER) as b:
                assert await b.next_envelope() == b"for B"

    asyncio.run(story())


def test_without_a_certificate_there_is_nothing_to_get(ca: ThrowawayCa) -> None:
    """By mutual TLS the handshake fails; over a plain connection by mistake, every path is refused."""
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(cafile=ca.ca)

    async def story() -> None:
        outbox = ListOutbox()
        app = create_bearer_app(outbox)
        async with served(ca, app) as url, HttpsBearer(url, bare, SUPPLIER) as bearer:
            with pytest.raises(BearerDownError):
                await bearer.next_envelope()
        async with serve(app, "127.0.0.1", 0, None) as plain, httpx.AsyncClient(trust_env=False) as client:
            for path in (POLL_PATH, RECEIPTS_PATH):
                answer = await client.post(f"http://127.0.0.1:{plain.port}{path}", content=TAKEN)
                assert answer.status_code == 403
        assert not outbox.asked
        assert not outbox.receipts

    asyncio.run(story())


def test_the_agent_talks_to_its_supplier_only(ca: ThrowawayCa) -> None:
    """T27: another holder of a certificate of the same CA, at the same address, is an outage."""

    async def story() -> None:
        outbox = ListOutbox()
        await outbox.put(AGENT_A, b"from a stranger")
        async with (
            served(ca, create_bearer_app(outbox), name=AGENT_B) as url,
            HttpsBearer(url, _client(ca.issue(AGENT_A.hex())), SUPPLIER) as bearer,
        ):
            with pytest.raises(BearerDownError, match="is 00005eef100000b4, not 00005eef10000010"):
                await bearer.next_envelope()

    asyncio.run(story())


def test_a_poll_waits_and_then_says_nothing_came(ca: ThrowawayCa) -> None:
    """204 after the wait, and an envelope that comes meanwhile at once."""

    async def story() -> None:
        outbox = ListOutbox()
        async with (
            served(ca, create_bearer_app(outbox, poll_wait_s=0.05)) as url,
            HttpsBearer(url, _client(ca.issue(AGENT_A.hex())), SUPPLIER) as bearer,
        ):
            assert await bearer.next_envelope() is None
        async with (
            served(ca, create_bearer_app(outbox)) as url,
            HttpsBearer(url, _client(ca.issue(AGENT_A.hex())), SUPPLIER) as bearer,
        ):
            outbox.asked.clear()
            polling = asyncio.create_task(bearer.next_envelope())
            await outbox.until_asked(AGENT_A)
            await outbox.put(AGENT_A, b"late")
            assert await asyncio.wait_for(polling, 5) == b"late"

    asyncio.run(story())


def test_an_agent_that_left_takes_no_envelope_with_it(ca: ThrowawayCa) -> None:
    """When the connection goes during a poll, the outbox is let go, and the envelope waits for the next poll."""

    async def story() -> None:
        outbox = ListOutbox()
        async with served(ca, create_bearer_app(outbox)) as url:
            async with HttpsBearer(url, _client(ca.issue(AGENT_A.hex())), SUPPLIER) as bearer:
                polling = asyncio.create_task(bearer.next_envelope())
                await outbox.until_asked(AGENT_A)
                polling.cancel()
                await asyncio.gather(polling, return_exceptions=True)
            await outbox.until_nobody_waits()
            await outbox.put(AGENT_A, b"kept")
            assert outbox.left(AGENT_A) == 1

    asyncio.run(story())


def test_a_bad_receipt_is_refused_for_good(ca: ThrowawayCa) -> None:
    """400 with tokens for what is no receipt, 413 for what is too long: the agent drops both and says why."""

    async def story() -> None:
        outbox = ListOutbox()
        async with (
            served(ca, create_bearer_app(outbox)) as url,
            HttpsBearer(url, _client(ca.issue(AGENT_A.hex())), SUPPLIER) as bearer,
        ):
            with pytest.raises(ReceiptRefusedError) as refused:
                await bearer.hand_on(b"{}")
            assert refused.value.reason == "receipt_not_canonical_cbor"
            with pytest.raises(ReceiptRefusedError) as refused:
                await bearer.hand_on(bytes(RECEIPT_OCTETS_MAX + 1))
            assert refused.value.reason == "body_too_long"
            assert outbox.receipts == []

    asyncio.run(story())


def test_an_error_of_the_supplier_is_an_outage(ca: ThrowawayCa) -> None:
    """5xx, an unknown path or an endless answer never drops a receipt and never passes for an envelope."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        poll = scope["path"] == POLL_PATH
        await send({"type": "http.response.start", "status": 200 if poll else 503, "headers": []})
        await send({"type": "http.response.body", "body": bytes(ENVELOPE_OCTETS_MAX + 1)})

    async def story() -> None:
        context = _client(ca.issue(AGENT_A.hex()))
        async with served(ca, broken) as url, HttpsBearer(url, context, SUPPLIER) as bearer:
            with pytest.raises(BearerDownError, match="longer than"):
                await bearer.next_envelope()
            with pytest.raises(BearerDownError):
                await bearer.hand_on(TAKEN)
        async with (
            served(ca, create_bearer_app(ListOutbox())) as url,
            HttpsBearer(f"{url}/elsewhere", context, SUPPLIER) as bearer,
        ):
            with pytest.raises(BearerDownError, match="404"):
                await bearer.next_envelope()
        async with HttpsBearer(url, context, SUPPLIER) as bearer:
            with pytest.raises(BearerDownError, match="ConnectError"):
                await bearer.next_envelope()

    asyncio.run(story())


def test_only_post_and_only_two_paths(ca: ThrowawayCa) -> None:
    """Anything else is refused without a word to the outbox."""

    async def story() -> list[int]:
        outbox = ListOutbox()
        async with (
            served(ca, create_bearer_app(outbox)) as url,
            httpx.AsyncClient(verify=_client(ca.issue(AGENT_A.hex())), trust_env=False) as client,
        ):
            answers = [
                await client.get(url + POLL_PATH),
                await client.delete(url + RECEIPTS_PATH),
                await client.post(url + "/relay/v0/poll"),
                await client.post(url + "/"),
            ]
            assert not outbox.asked
            assert not outbox.receipts
            return [answer.status_code for answer in answers]

    assert asyncio.run(story()) == [405, 405, 404, 404]


def test_a_stopping_supplier_ends_its_long_polls(ca: ThrowawayCa) -> None:
    """The server stops within seconds while agents poll; the agent sees an empty answer or an outage, no more."""

    async def story() -> bytes | BaseException | None:
        outbox = ListOutbox()
        async with contextlib.AsyncExitStack() as outliving:
            async with served(ca, create_bearer_app(outbox)) as url:
                bearer = HttpsBearer(url, _client(ca.issue(AGENT_A.hex())), SUPPLIER)
                await outliving.enter_async_context(bearer)
                polling = asyncio.create_task(bearer.next_envelope())
                await outbox.until_asked(AGENT_A)
            (end,) = await asyncio.wait_for(asyncio.gather(polling, return_exceptions=True), 5)
            return end

    end = asyncio.run(story())
    assert end is None or isinstance(end, BearerDownError)
