"""Relay permits over HTTPS: ``POST /relay-permits`` at the DSP, and the supplier's client of it.

DESIGN CHOICE throughout: DUIS has no such service, so it stands beside DUIS, in JSON. Mutual TLS; who asks is told by
the certificate alone. 200 with the permit; 400 for what is no such request; 403, 404, 409 or 429 with ``{"code": ...}``
when none is made. Anything else leaves open whether one was made: ask again, which makes another.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final, Self

import httpx
import msgspec
from fastapi import FastAPI, Request, Response

from lastmetre.dcc.ports import PermitAsk, PermitRefused
from lastmetre.links.errors import LinkError, PeerRefused
from lastmetre.links.tls import request_peer
from lastmetre.supplier.ports import DspUnreachable, NoPermit

if TYPE_CHECKING:
    import ssl

    from lastmetre.dcc.ports import PermitDoor, PermitRecord

PERMITS_PATH: Final = "/relay-permits"
CONTENT_TYPE: Final = "application/json"
BODY_SIZE_MAX: Final = 2_048
TIMEOUT_S: Final = 10.0

STATUSES: Final = {"unknown-command": 404, "unknown-user": 403, "user-status": 403, "not-registered": 403,
                   "too-many": 429}  # fmt: skip
"""HTTP statuses of refusals; 409 for all others."""

_EntityId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Time = Annotated[int, msgspec.Meta(ge=946_684_800, le=5_241_652_095)]


class AskBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request: ids, digest and nonce in lower-case hex, times in Unix seconds."""

    request_id: _Text
    digest: _Digest
    carrier_id: _EntityId
    not_before: _Time | None = None
    not_after: _Time | None = None
    hold_until: _Time | None = None
    hub_nonce: _EntityId | None = None


class GivenBody(msgspec.Struct, frozen=True):
    """The body of a good answer."""

    permit: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{256}$")]
    serial: int
    not_after: int


class PermitLinkError(LinkError, DspUnreachable):
    """The DSP could not be reached or did not keep to the interface; ask again later."""


def add_permit_route(app: FastAPI, door: PermitDoor) -> None:
    """Let the DSP's application serve permits as well."""

    async def give(request: Request) -> Response:
        try:
            user_id = request_peer(request.scope)
        except PeerRefused:
            return Response(status_code=403)
        body = await _body(request)
        if body is None:
            return Response(status_code=413, headers={"connection": "close"})
        try:
            asked = msgspec.json.decode(body, type=AskBody)
        except msgspec.DecodeError as error:  # also what does not fit the type
            return _answer(400, {"code": "malformed", "what": str(error)})
        try:
            record = door.issue(user_id, _ask(asked))
        except PermitRefused as refused:
            return _answer(STATUSES.get(refused.code, 409), {"code": refused.code})
        return _answer(200, _given(record))

    app.add_api_route(PERMITS_PATH, give, methods=["POST"], response_model=None)


def _ask(body: AskBody) -> PermitAsk:
    nonce = None if body.hub_nonce is None else bytes.fromhex(body.hub_nonce)
    digest, carrier_id = bytes.fromhex(body.digest), bytes.fromhex(body.carrier_id)
    return PermitAsk(body.request_id, digest, carrier_id, body.not_before, body.not_after, body.hold_until, nonce)


def _given(record: PermitRecord) -> dict[str, object]:
    return {"permit": record.permit.hex(), "serial": record.serial, "not_after": record.not_after}


def _answer(status: int, content: dict[str, object]) -> Response:
    return Response(json.dumps(content), status_code=status, media_type=CONTENT_TYPE)


async def _body(request: Request) -> bytes | None:
    """The body; ``None`` when it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_SIZE_MAX:
            return None
    return bytes(body)


class PermitClient:
    """A User's client (implements ``supplier.ports.Permits``)."""

    def __init__(self, base_url: str, ssl_context: ssl.SSLContext, *, timeout_s: float = TIMEOUT_S) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url, verify=ssl_context, timeout=timeout_s, follow_redirects=False, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def permit(
        self, request_id: str, digest: bytes, carrier_id: bytes, not_after: int, hub_nonce: bytes | None
    ) -> bytes:
        """As in the port; raises ``NoPermit`` for a refusal, ``PermitLinkError`` for an outage."""
        body: dict[str, object] = {
            "request_id": request_id, "digest": digest.hex(), "carrier_id": carrier_id.hex(), "not_after": not_after,
        }  # fmt: skip
        if hub_nonce is not None:
            body["hub_nonce"] = hub_nonce.hex()
        try:
            answer = await self._http.post(PERMITS_PATH, json=body)
        except httpx.HTTPError as error:
            raise PermitLinkError(f"no answer from {PERMITS_PATH}: {error or type(error).__name__}") from error
        try:
            if answer.status_code == 200:
                return bytes.fromhex(msgspec.json.decode(answer.content, type=GivenBody).permit)
            if answer.status_code in {400, 403, 404, 409, 429}:
                raise NoPermit(str(msgspec.json.decode(answer.content, type=dict[str, str])["code"]))
        except (msgspec.DecodeError, KeyError) as error:
            raise PermitLinkError(f"the DSP's answer (HTTP {answer.status_code}) cannot be read") from error
        raise PermitLinkError(f"the DSP answered HTTP {answer.status_code}")
