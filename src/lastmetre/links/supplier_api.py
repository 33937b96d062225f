"""The supplier's HTTP API: orders in, what is known of them out. ``docs/api.md`` is its page for integrators.

Rules this module keeps:

* Every request shows the bearer token, compared in constant time; without it nothing is said, not even what exists.
* It is meant for the loopback or behind the supplier's own gateway: it speaks plain HTTP and knows one caller.
* It decides nothing: bodies go to the desk (``supplier.ports.Desk``), and what the desk says comes back.
* Every error has one shape: ``{"error": {"code": ..., "message": ...}}``; the message says what to do.
* Sizes and times are limited at the door (``api_door``, T43).

    POST /orders               201 the order (a top-up with its digits), 409 key reused, 422 refused;
                               NDJSON or CSV: 200, an answer a line (``api_bulk``)
    GET  /orders?limit=        200 {"orders": [...]}, the newest first
    GET  /orders/{id}          200 the order with attempts, Command, Response and each document; 404
    POST /orders/{id}/approve  200 the order; 404; 409 not by this person, or not now
    POST /orders/{id}/supersede 201 the superseder: an order with a higher counter; 404; 409 it cannot be superseded
    POST /orders/{id}/cancel   200 the order; 404; 409 too late: it may have run
    GET  /at-large             200 {"orders": [...], "counts": [...]}: what left and may still run
    GET  /events               200 server-sent events, from Last-Event-ID on (``api_events``)
    GET  /audit?after=&limit=  200 {"entries": [...]} with what is needed to check the chain
    GET  /health, /metrics, /openapi.json

``Prefer: wait=N`` on placing and reading an order holds the answer until it has ended, N seconds at most.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import FastAPI, Header, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Route

from lastmetre.links import api_models as models
from lastmetre.links.api_bulk import CSV, NDJSON, place_all, words_of
from lastmetre.links.api_door import BODY_MAX, BodyTooLarge, BodyTooSlow, Door, content_type, error_response
from lastmetre.links.api_events import stream
from lastmetre.links.api_metrics import Metrics
from lastmetre.supplier.ports import (
    KEY_MAX,
    ApprovalRefused,
    CannotSupersede,
    CountersUnavailable,
    KeyReused,
    OrderRefused,
    TooLate,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from lastmetre.supplier.ports import Desk

ORDERS_MAX: Final = 1_000
AUDIT_MAX: Final = 10_000
SEQ_MAX: Final = 2**63 - 1
WAIT_MAX_S: Final = 300
_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*([0-9]{1,6})\s*(?:$|[,;])", re.IGNORECASE)
_CODES: Final = {401: "not_allowed", 404: "not_found", 405: "method_not_allowed", 409: "too_late", 413: "too_large"}

Limit = Annotated[int, Query(ge=1, le=ORDERS_MAX)]
After = Annotated[int, Query(ge=0, le=SEQ_MAX)]
AuditLimit = Annotated[int, Query(ge=1, le=AUDIT_MAX)]
OrderId = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,64}$")]
OfOrder = Annotated[str | None, Query(pattern="^[A-Za-z0-9_-]{1,64}$")]
Prefer = Annotated[str | None, Header(description="wait=N: the answer when the order has ended, or after N seconds")]
KeyHeader = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=KEY_MAX, pattern=models.KEY)]
LastEvent = Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=SEQ_MAX)]

_WORDS: Final = {
    400: "no HTTP of ours", 401: "no token", 404: "there is none", 405: "not this method", 408: "the body stopped",
    409: "not now", 413: "too large", 414: "too long", 415: "another type is wanted", 422: "refused, with the reason",
    431: "too large", 503: "no counter can be had now: nothing was done",
}  # fmt: skip


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"model": models.Error, "description": _WORDS[status]}
        for status in sorted({400, 401, 405, 408, 413, 414, 415, 422, 431, *statuses})
    }


def create_supplier_api(desk: Desk, token: str) -> FastAPI:
    """The API as an ASGI application; ``token`` is what callers show as ``Authorization: Bearer``."""
    if not token:
        raise ValueError("the API needs a token: without one anybody on this machine could place orders")
    app = FastAPI(
        title="lastmetre supplier", docs_url=None, redoc_url=None, responses=_errors(), redirect_slashes=False
    )
    metrics = Metrics()
    app.add_middleware(Door, token=token, count=metrics.count)
    _add_errors(app)
    _add_placing(app, desk)
    _add_orders(app, desk)
    _add_seeing(app, desk, metrics)
    _tell_of_the_token(app)
    return app


def _add_placing(app: FastAPI, desk: Desk) -> None:
    new_order = {"$ref": "#/components/schemas/NewOrder"}
    lines: dict[str, Any] = {"schema": {}}
    body = {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": new_order}, NDJSON: lines, CSV: lines},
        }
    }
    bulk = {"description": "a bulk: an answer a line", "content": {NDJSON: {"schema": {"type": "string"}}}}

    @app.post(
        "/orders",
        status_code=201,
        openapi_extra=body,
        responses={201: {"model": models.OrderView}, 200: bulk, **_errors(409, 503)},
    )
    async def place(request: Request, key: KeyHeader = None, prefer: Prefer = None) -> Response:
        """Accept an order, or many: JSON, NDJSON with an order a line, or CSV."""
        kind = content_type(request.scope)
        if kind in {NDJSON, CSV}:
            return _Answers(_bulk(request, kind, desk, key), media_type=NDJSON)
        if kind != "application/json":
            raise HTTPException(415, f"send application/json, {NDJSON} or {CSV}")
        try:
            order = models.NewOrder.model_validate_json(await request.body())
        except ValidationError as error:
            raise OrderRefused(words_of(error)) from None
        asked = order.model_dump(exclude_unset=True)
        if key is not None and asked.setdefault("idempotency_key", key) != key:
            raise OrderRefused("Idempotency-Key and idempotency_key say two things: leave one out")
        view = await desk.place(asked)
        return await _held(desk, view, prefer, 201)


class _Answers(StreamingResponse):
    """Answers while the body still comes. The framework's own would read the body's parts to see who goes away."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - an ASGI application
        """Sends; who went away is noticed by whoever reads the body."""
        await self.stream_response(send)


async def _bulk(request: Request, kind: str, desk: Desk, key: str | None) -> AsyncIterator[bytes]:
    async for line in place_all(request.stream(), kind, desk.place, key):
        yield line


def _wait_s(prefer: str | None) -> int:
    found = None if prefer is None else _WAIT.search(prefer)
    return 0 if found is None else min(int(found.group(1)), WAIT_MAX_S)


async def _held(desk: Desk, view: dict[str, Any], prefer: str | None, status: int) -> JSONResponse:
    """The order, now or when it has ended."""
    wait_s = _wait_s(prefer)
    if not wait_s:
        return JSONResponse(view, status)
    if not view["final"]:
        view = await desk.wait_for_end(str(view["order_id"]), wait_s) or view
    return JSONResponse(view, status, {"Preference-Applied": f"wait={wait_s}"})


def _add_orders(app: FastAPI, desk: Desk) -> None:
    @app.get("/orders", responses={200: {"model": models.Orders}})
    async def orders(limit: Limit = 100) -> JSONResponse:
        """The newest orders."""
        return JSONResponse({"orders": await desk.orders(limit)})

    @app.get("/orders/{order_id}", responses={200: {"model": models.OrderStory}, **_errors(404)})
    async def order(order_id: OrderId, prefer: Prefer = None) -> JSONResponse:
        """One order with everything kept of it."""
        wait_s = _wait_s(prefer)
        if wait_s:
            await desk.wait_for_end(order_id, wait_s)
        applied = {"Preference-Applied": f"wait={wait_s}"} if wait_s else None
        return JSONResponse(_found(await desk.order(order_id), order_id), headers=applied)

    @app.post("/orders/{order_id}/cancel", responses={200: {"model": models.OrderView}, **_errors(404, 409)})
    async def cancel(order_id: OrderId) -> JSONResponse:
        """Call an order off, if nothing of it left."""
        return JSONResponse(_found(await desk.cancel(order_id), order_id))

    @app.post("/orders/{order_id}/approve", responses={200: {"model": models.OrderView}, **_errors(404, 409)})
    async def approve(order_id: OrderId, approval: models.Approval) -> JSONResponse:
        """Approve an order that another person placed."""
        return JSONResponse(_found(await desk.approve(order_id, approval.approved_by), order_id))

    @app.post(
        "/orders/{order_id}/supersede",
        status_code=201,
        responses={201: {"model": models.OrderView}, **_errors(404, 409)},
    )
    async def supersede(order_id: OrderId, how: models.Supersession | None = None) -> JSONResponse:
        """Have an order overtaken by a higher counter."""
        asked = (how or models.Supersession()).model_dump()
        return JSONResponse(_found(await desk.supersede(order_id, asked), order_id), 201)


def _add_seeing(app: FastAPI, desk: Desk, metrics: Metrics) -> None:
    events = {"description": "server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    figures = {"description": "figures", "content": {"text/plain": {"schema": {"type": "string"}}}}

    @app.get("/at-large", responses={200: {"model": models.AtLarge}})
    async def at_large() -> JSONResponse:
        """Everything that left and may still run."""
        return JSONResponse(await desk.at_large())

    @app.get("/audit", responses={200: {"model": models.Audit}})
    async def audit(after: After = 0, limit: AuditLimit = 1_000) -> JSONResponse:
        """Entries after a number."""
        return JSONResponse({"entries": await desk.audit(after, limit)})

    @app.get("/events", responses={200: events}, response_class=StreamingResponse)
    async def live(last: LastEvent = None, after: After | None = None, order_id: OfOrder = None) -> StreamingResponse:
        """Live updates: after Last-Event-ID or ``after``, else from now on."""
        begin = last if last is not None else after if after is not None else await desk.head()
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream(desk, begin, order_id), media_type="text/event-stream", headers=headers)

    @app.get("/metrics", responses={200: figures}, response_class=Response)
    async def figures_now() -> Response:
        """Figures for Prometheus."""
        return Response(await metrics.text(desk), media_type="text/plain; version=0.0.4")

    @app.get("/health", responses={200: {"model": models.Health}})
    async def health() -> JSONResponse:
        """Whether the store answers, and how many orders are open."""
        return JSONResponse(await desk.health())


def _tell_of_the_token(app: FastAPI) -> None:
    """OpenAPI with the token and the shape of an order, which is read by hand and so not known to the framework."""
    make = app.openapi

    def told() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            parts = document.setdefault("components", {})
            shapes = parts.setdefault("schemas", {})
            schema = models.NewOrder.model_json_schema(ref_template="#/components/schemas/{model}")
            shapes.update(schema.pop("$defs", {}))
            shapes["NewOrder"] = schema
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"token": []}]
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = told  # type: ignore[method-assign]  # FastAPI's own way


def _allowed(app: FastAPI, scope: Scope) -> set[str]:
    """Every method of this path; the framework names those of the first route that fits."""
    routes = [route for route in app.routes if isinstance(route, Route) and route.path_regex.match(scope["path"])]
    return {method for route in routes for method in route.methods or ()}


def _found(view: dict[str, Any] | None, order_id: str) -> dict[str, Any]:
    if view is None:
        raise HTTPException(404, f"there is no order {order_id}")
    return view


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(StarletteHTTPException)
    async def http(request: Request, error: StarletteHTTPException) -> JSONResponse:
        headers = dict(error.headers) if error.headers else None
        if error.status_code == 405:
            headers = {"Allow": ", ".join(sorted(_allowed(app, request.scope)))}
        return error_response(error.status_code, _CODES.get(error.status_code, "refused"), str(error.detail), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return error_response(422, "order_refused", f"{where or 'body'}: {first['msg']}")

    @app.exception_handler(BodyTooLarge)
    async def large(_request: Request, _error: BodyTooLarge) -> JSONResponse:
        return error_response(413, "too_large", f"an order has at most {BODY_MAX} octets")

    @app.exception_handler(BodyTooSlow)
    async def slow(_request: Request, _error: BodyTooSlow) -> JSONResponse:
        return error_response(408, "too_slow", "the body stopped in its middle", {"Connection": "close"})

    for kind, status, code in (
        (OrderRefused, 422, "order_refused"),
        (KeyReused, 409, "key_reused"),
        (ApprovalRefused, 409, "approval_refused"),
        (CannotSupersede, 409, "cannot_supersede"),
        (TooLate, 409, "too_late"),
        (CountersUnavailable, 503, "counters_unavailable"),
    ):
        app.add_exception_handler(kind, _answer(status, code))


def _answer(status: int, code: str) -> Any:  # Any: Starlette's type for a handler names every exception
    async def handler(_request: Request, error: Exception) -> JSONResponse:
        return error_response(status, code, str(error))

    return handler
