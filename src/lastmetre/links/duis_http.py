"""DUIS over HTTPS: the DSP's three services and the User's Receive Response, with both their clients.

Rules this module keeps (reference: duis section 1.5):

* Mutual TLS on every connection. The caller's identity comes from its certificate and goes, with the bytes of the
  document, to the party behind; nothing in a header or in a path speaks for it.
* Documents are bytes here: they are neither read nor changed.
* ``application/xml`` only, and never more than ``DOCUMENT_SIZE_MAX`` octets, counted while they arrive.
* Every document that could be read is answered with HTTP 200 and a signed Response, an error included. HTTP 400 is for
  bytes that are no request at all: there is no RequestID then to answer to (DESIGN CHOICE).
* A Receive Response is answered 204 when the User has it safely, 400 when the User refuses it for ever. Anything else
  makes the DSP try again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import httpx
from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from lastmetre.dcc.ports import NotADocument, PushOutcome, Service
from lastmetre.links.errors import LinkError, PeerRefused
from lastmetre.links.tls import request_peer
from lastmetre.supplier.ports import DspUnreachable, DspWillNotRead

if TYPE_CHECKING:
    import ssl
    from types import TracebackType
    from typing import Self

    from lastmetre.dcc.ports import DuisDoor

DOCUMENT_SIZE_MAX: Final = 1_048_576
"""As large as the language reads (``duis.xml.DOCUMENT_SIZE_MAX``)."""
CONTENT_TYPE: Final = "application/xml"
SERVICE_PATHS: Final = {
    Service.TRANSFORM: "/api/v1/serviceT",
    Service.SEND_COMMAND: "/api/v1/serviceS",
    Service.NON_DEVICE: "/api/v1/serviceD",
}
RECEIVE_RESPONSE_PATH: Final = "/duis/v1/responses"

REQUEST_TIMEOUT_S: Final = 10.0
"""How long a client waits for the synchronous answer. Test systems use 3 s (duis 1.5); a busy laptop needs more."""
PUSH_TIMEOUT_S: Final = 10.0

Validate = Callable[[bytes], tuple[str, ...]]
"""Says what is wrong with a document, or nothing: ``OfficialSchema.violations``, where the user has the schema."""
OnResponse = Callable[[bytes, bytes], Awaitable[bool]]
"""Takes the sender's identity and the document; ``True`` when it is safely kept, ``False`` when it is refused."""


class DuisLinkError(LinkError, DspUnreachable):
    """The other side of DUIS could not be reached or did not keep to the interface; try again later."""


class DuisRefused(LinkError, DspWillNotRead):
    """The other side will not take this document however often it is sent (HTTP 400, 413 or 415); do not repeat it."""


class _TooLarge(Exception):
    """The body grew over the limit."""


def create_dsp_app(dsp: DuisDoor, validate: Validate | None = None) -> FastAPI:
    """The DSP's Transform, Send Command and Non-Device services as an ASGI application.

    ``validate``: the official schema, where the user has it; what is not valid by it is refused with HTTP 400.
    """
    app = _bare_app()

    def serve(service: Service) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            caller_id, body = await _caller_and_body(request, validate)
            if isinstance(body, Response):
                return body
            try:
                return Response(await dsp.request(service, caller_id, body), media_type=CONTENT_TYPE)
            except NotADocument:
                return Response(status_code=400)

        return answer

    for service, path in SERVICE_PATHS.items():
        app.add_api_route(path, serve(service), methods=["POST"], response_model=None)
    return app


def create_receive_response_app(on_response: OnResponse, validate: Validate | None = None) -> FastAPI:
    """The User's Receive Response service as an ASGI application: 204 accepted, 400 refused.

    ``validate``: the official schema, where the user has it.
    """
    app = _bare_app()

    async def receive(request: Request) -> Response:
        caller_id, body = await _caller_and_body(request, validate)
        if isinstance(body, Response):
            return body
        return Response(status_code=204 if await on_response(caller_id, body) else 400)

    app.add_api_route(RECEIVE_RESPONSE_PATH, receive, methods=["POST"], response_model=None)
    return app


def _bare_app() -> FastAPI:
    return FastAPI(openapi_url=None, docs_url=None, redoc_url=None)


async def _caller_and_body(request: Request, validate: Validate | None) -> tuple[bytes, bytes | Response]:
    """Who calls and with what; instead of the body, the refusal of one that is too large, no XML or not valid."""
    try:
        caller_id = request_peer(request.scope)
    except PeerRefused:
        return b"", Response(status_code=403)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != CONTENT_TYPE:
        return caller_id, Response(status_code=415)
    try:
        body = await _body(request)
    except _TooLarge:
        return caller_id, Response(status_code=413, headers={"connection": "close"})
    except ClientDisconnect:  # who asked is gone, and nobody reads this
        return caller_id, Response(status_code=400)
    if validate is not None and (violations := validate(body)):
        return caller_id, Response("\n".join(violations), status_code=400, media_type="text/plain")
    return caller_id, body


async def _body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "0")
    if len(announced) > 12 or int(announced) > DOCUMENT_SIZE_MAX:  # the server has checked that it is a number
        raise _TooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > DOCUMENT_SIZE_MAX:
            raise _TooLarge
    return bytes(body)


class _Client:
    """An HTTPS client that shows its certificate and believes only the CA of its context."""

    def __init__(self, ssl_context: ssl.SSLContext, *, base_url: str = "", timeout_s: float) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url, verify=ssl_context, timeout=timeout_s, follow_redirects=False, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def _post(self, url: str, document: bytes) -> httpx.Response:
        try:
            return await self._http.post(url, content=document, headers={"content-type": CONTENT_TYPE})
        except httpx.HTTPError as error:
            raise DuisLinkError(f"no answer from {url}: {error or type(error).__name__}") from error


class DspClient(_Client):
    """A User's client of the DSP's services (implements ``supplier.ports.DspPort``): signed XML out, the answer back.

    Raises ``DuisLinkError`` when the DSP cannot be reached, which leaves open whether the request arrived: send the
    very same bytes again. Raises ``DuisRefused`` when the DSP will not read the document.
    """

    def __init__(self, base_url: str, ssl_context: ssl.SSLContext, *, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        super().__init__(ssl_context, base_url=base_url, timeout_s=timeout_s)

    async def transform(self, xml: bytes) -> bytes:
        """Command Variant 4: a Pre-Command, or an error."""
        return await self._request(Service.TRANSFORM, xml)

    async def send_command(self, xml: bytes) -> bytes:
        """Command Variants 1, 3, 5 and 7: an acknowledgement, or an error."""
        return await self._request(Service.SEND_COMMAND, xml)

    async def non_device(self, xml: bytes) -> bytes:
        """Command Variants 2, 6 and 8: the result, or an error."""
        return await self._request(Service.NON_DEVICE, xml)

    async def _request(self, service: Service, xml: bytes) -> bytes:
        answer = await self._post(SERVICE_PATHS[service], xml)
        if answer.status_code in {400, 403, 413, 415}:
            raise DuisRefused(f"the DSP refused the document with HTTP {answer.status_code}")
        if answer.status_code != 200 or len(answer.content) > DOCUMENT_SIZE_MAX:
            raise DuisLinkError(f"the DSP answered HTTP {answer.status_code} with {len(answer.content)} octets")
        return answer.content


class ReceiveResponseClient(_Client):
    """The DSP's client of the Users' Receive Response services (implements ``dcc.ports.Users``)."""

    def __init__(self, ssl_context: ssl.SSLContext, *, timeout_s: float = PUSH_TIMEOUT_S) -> None:
        super().__init__(ssl_context, timeout_s=timeout_s)

    async def push(self, url: str, xml: bytes) -> PushOutcome:
        """Hand one document to a User."""
        try:
            answer = await self._post(url, xml)
        except DuisLinkError:
            return PushOutcome.NOT_REACHED
        if answer.status_code == 204:
            return PushOutcome.ACCEPTED
        return PushOutcome.REFUSED if answer.status_code in {400, 413, 415} else PushOutcome.NOT_REACHED
