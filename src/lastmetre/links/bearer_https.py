"""The bearer that needs nothing installed: the agent asks by HTTPS, and the supplier holds the answer back.

* ``POST /relay/v1/poll``: 200 with an envelope, or 204 when ``POLL_WAIT_S`` passed without one.
* ``POST /relay/v1/receipts``, the body one receipt: 204 once it is stored; 400 or 413 when it never will be.

Rules this module keeps: who an agent is comes from its client certificate alone; both sides bound what they read; an
error of the supplier's (5xx, a cut line) is an outage to the agent, never a refusal. DESIGN CHOICE throughout.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final, Self

import httpx

from lastmetre.agent.ports import BearerDownError, ReceiptRefusedError
from lastmetre.links.errors import PeerRefused
from lastmetre.links.tls import request_peer, require_peer
from lastmetre.relay import RelayDecodeError
from lastmetre.relay.limits import ENVELOPE_OCTETS_MAX, POLL_WAIT_S, RECEIPT_OCTETS_MAX

if TYPE_CHECKING:
    import ssl

    from lastmetre.links.tls import AsgiApp, Receive, Scope, Send
    from lastmetre.supplier.ports import Outbox

POLL_PATH: Final = "/relay/v1/poll"
RECEIPTS_PATH: Final = "/relay/v1/receipts"

CONNECT_S: Final = 10.0
"""How long an agent waits for a connection."""
ANSWER_MARGIN_S: Final = 10.0
"""How much longer than the long poll an agent waits for an answer."""
IDLE_CONNECTION_S: Final = 20.0
"""How long an agent keeps an idle connection: shorter than the server, so that it never writes into a closed one."""
ERROR_OCTETS_MAX: Final = 4_096
"""How much of a refusal's body an agent reads."""


# The supplier's side


def create_bearer_app(outbox: Outbox, poll_wait_s: float = POLL_WAIT_S) -> AsgiApp:
    """The ASGI application for agents; run it with ``tls.serve`` and a server context of mutual TLS."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no start-up of its own, no web sockets
        try:
            agent_id = request_peer(scope)
        except PeerRefused:
            await _refuse(send, 403, "client_certificate", "missing")
            return
        if scope["path"] not in {POLL_PATH, RECEIPTS_PATH}:
            await _refuse(send, 404, "path", "unknown")
        elif scope["method"] != "POST":
            await _refuse(send, 405, "method", "post_only")
        elif (body := await _read_body(receive)) is None:
            await _refuse(send, 413, "body", "too_long")
        elif scope["path"] == POLL_PATH:
            await _poll(outbox, agent_id, poll_wait_s, receive, send)
        else:
            await _take_receipt(outbox, agent_id, body, send)

    return app


async def _poll(outbox: Outbox, agent_id: bytes, poll_wait_s: float, receive: Receive, send: Send) -> None:
    """Wait for an envelope as long as the agent does: one that nobody waits for stays in the outbox."""
    asking = asyncio.ensure_future(outbox.next_envelope(agent_id, poll_wait_s))
    leaving = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (asking, leaving):
            task.cancel()
        await asyncio.gather(asking, leaving, return_exceptions=True)
    if asking.cancelled() or (envelope := asking.result()) is None:
        await _answer(send, 204)
    else:
        await _answer(send, 200, envelope, b"application/cose")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _take_receipt(outbox: Outbox, agent_id: bytes, receipt: bytes, send: Send) -> None:
    try:
        await outbox.receipt(agent_id, receipt)
    except RelayDecodeError as error:
        await _refuse(send, 400, error.field, error.reason)
    else:
        await _answer(send, 204)


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, or ``None`` as soon as it is longer than any receipt."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk: bytes = message.get("body", b"")
        body += chunk
        if len(body) > RECEIPT_OCTETS_MAX:
            return None
        if not message.get("more_body", False):
            return body


async def _refuse(send: Send, status: int, field: str, reason: str) -> None:
    await _answer(send, status, json.dumps({"field": field, "reason": reason}).encode(), b"application/json")


async def _answer(send: Send, status: int, body: bytes = b"", kind: bytes = b"") -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))] if body else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# The agent's side


class HttpsBearer:
    """``agent.ports.Bearer`` over HTTPS. ``supplier_id`` is the only entity it talks to."""

    def __init__(self, url: str, ssl_context: ssl.SSLContext, supplier_id: bytes) -> None:
        self._supplier_id = supplier_id
        self._client = httpx.AsyncClient(
            base_url=url,
            verify=ssl_context,
            trust_env=False,  # no proxy and no CA from the environment
            follow_redirects=False,
            headers={"accept-encoding": "identity"},
            timeout=httpx.Timeout(POLL_WAIT_S + ANSWER_MARGIN_S, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=2, keepalive_expiry=IDLE_CONNECTION_S),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._client.aclose()

    async def next_envelope(self) -> bytes | None:
        """Ask once; ``None`` when the supplier had nothing."""
        status, body = await self._post(POLL_PATH, b"", ENVELOPE_OCTETS_MAX)
        if status == 204:
            return None
        if status != 200:
            raise BearerDownError(f"the supplier answered the poll with status {status}")
        return body

    async def stored(self) -> None:
        """Nothing to do: over HTTPS the receipt is the acknowledgement, and the supplier asks until it comes."""

    async def hand_on(self, receipt: bytes) -> None:
        """Post one receipt."""
        status, body = await self._post(RECEIPTS_PATH, receipt, ERROR_OCTETS_MAX)
        if status in {400, 413}:
            raise ReceiptRefusedError(_reason(body))
        if status != 204:
            raise BearerDownError(f"the supplier answered a receipt with status {status}")

    async def _post(self, path: str, body: bytes, octets_max: int) -> tuple[int, bytes]:
        """Status and body; every way of not getting them is an outage."""
        try:
            async with self._client.stream("POST", path, content=body) as response:
                require_peer(response.extensions["network_stream"].get_extra_info("ssl_object"), self._supplier_id)
                return response.status_code, await _read_response(response, octets_max)
        except PeerRefused as error:
            raise BearerDownError(str(error)) from error
        except httpx.HTTPError as error:
            raise BearerDownError(f"{type(error).__name__}: {error}") from error


async def _read_response(response: httpx.Response, octets_max: int) -> bytes:
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > octets_max:
            raise BearerDownError(f"the supplier's answer is longer than {octets_max} octets")
    return body


def _reason(body: bytes) -> str:
    """The token in a refusal, when there is one."""
    try:
        value = json.loads(body)
        return f"{value['field']}_{value['reason']}"
    except (ValueError, TypeError, LookupError, RecursionError):
        return "not_said"
