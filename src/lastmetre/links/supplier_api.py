"""The supplier's HTTP API: orders in, what is known of them out.

Rules this module keeps:

* Every request shows the bearer token, compared in constant time; without it nothing is said, not even what exists.
* It is meant for the loopback or behind the supplier's own gateway: it speaks plain HTTP and knows one caller.
* It decides nothing: bodies go to the desk (``supplier.ports.Desk``), and what the desk says comes back.
* Every error has one shape: ``{"error": {"code": ..., "message": ...}}``; the message says what to do.

    POST /orders               201 the order (a top-up with its digits), 409 key reused, 422 refused
    GET  /orders?limit=        200 {"orders": [...]}, the newest first
    GET  /orders/{id}          200 the order with attempts, Command, Response and each document; 404
    POST /orders/{id}/approve  200 the order; 404; 409 not by this person, or not now
    POST /orders/{id}/supersede 201 the superseder: an order with a higher counter; 404; 409 it cannot be superseded
    GET  /at-large             200 {"orders": [...], "counts": [...]}: what left and may still run
    POST /orders/{id}/cancel   200 the order; 404; 409 too late: it may have run
    GET  /audit?after=&limit=  200 {"entries": [...]} with what is needed to check the chain
    GET  /health               200
    GET  /openapi.json         200 this, for programs
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from starlette.exceptions import HTTPException as StarletteHTTPException

from lastmetre.supplier.ports import ApprovalRefused, CannotSupersede, KeyReused, OrderRefused, TooLate

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from lastmetre.supplier.ports import Desk

BODY_MAX: Final = 65_536
"""Octets of one order: some hundreds are usual."""
ORDERS_MAX: Final = 1_000
AUDIT_MAX: Final = 10_000
_CODES: Final = {401: "not_allowed", 404: "not_found", 405: "method_not_allowed", 409: "too_late", 413: "too_large"}

Limit = Annotated[int, Query(ge=1, le=ORDERS_MAX)]
After = Annotated[int, Query(ge=0)]
AuditLimit = Annotated[int, Query(ge=1, le=AUDIT_MAX)]


class NewOrder(BaseModel):
    """An order as it is placed. The desk checks what the values mean."""

    model_config = ConfigDict(extra="forbid")

    device_id: StrictStr = Field(description="the device's entity identifier: 16 hexadecimal digits")
    service: StrictStr = Field(description="top_up, update_prepay_configuration, arm_supply, disable_supply, read_...")
    values: dict[str, StrictInt] = Field(default_factory=dict, description="what the service takes")
    deadline_s: StrictInt = Field(description="seconds from now after which it is not handed on any more")
    roads: list[StrictStr] = Field(description="ppmid and wan, in the order in which they are wanted")
    reason: StrictStr = ""
    ordered_by: StrictStr | None = Field(
        default=None, description="who orders, as the caller knows them; needed where another must approve"
    )
    idempotency_key: StrictStr | None = Field(
        default=None, description="the same key and body give the same order, however often they are sent"
    )


class Approval(BaseModel):
    """A second person's yes."""

    model_config = ConfigDict(extra="forbid")

    approved_by: StrictStr = Field(description="who approves, as the caller knows them; never who ordered")


class Supersession(BaseModel):
    """How an order is to be overtaken. All may be left out: then the clock is synchronised, by any road."""

    model_config = ConfigDict(extra="forbid")

    service: StrictStr = Field(default="synchronise_clock", description="a critical service of the ordinary lane")
    values: dict[str, StrictInt] = Field(default_factory=dict, description="what the service takes")
    deadline_s: StrictInt = Field(default=3_600, description="seconds from now")
    roads: list[StrictStr] = Field(default=["wan", "ppmid"], description="in the order in which they are wanted")
    reason: StrictStr = ""
    ordered_by: StrictStr = ""


def create_supplier_api(desk: Desk, token: str) -> FastAPI:
    """The API as an ASGI application; ``token`` is what callers show as ``Authorization: Bearer``."""
    if not token:
        raise ValueError("the API needs a token: without one anybody on this machine could place orders")
    app = FastAPI(title="lastmetre supplier", docs_url=None, redoc_url=None)
    app.add_middleware(_Door, token=token)
    _add_errors(app)
    _add_orders(app, desk)

    @app.get("/audit")
    async def audit(after: After = 0, limit: AuditLimit = 1_000) -> dict[str, Any]:
        """Entries after a number."""
        return {"entries": await desk.audit(after, limit)}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the store answers, and how many orders are open."""
        return await desk.health()

    return app


def _add_orders(app: FastAPI, desk: Desk) -> None:
    @app.post("/orders", status_code=201)
    async def place(order: NewOrder) -> dict[str, Any]:
        """Accept an order."""
        return await desk.place(order.model_dump(exclude_unset=True))

    @app.get("/orders")
    async def orders(limit: Limit = 100) -> dict[str, Any]:
        """The newest orders."""
        return {"orders": await desk.orders(limit)}

    @app.get("/orders/{order_id}")
    async def order(order_id: str) -> dict[str, Any]:
        """One order with everything kept of it."""
        return _found(await desk.order(order_id), order_id)

    @app.post("/orders/{order_id}/cancel")
    async def cancel(order_id: str) -> dict[str, Any]:
        """Call an order off, if nothing of it left."""
        return _found(await desk.cancel(order_id), order_id)

    @app.post("/orders/{order_id}/approve")
    async def approve(order_id: str, approval: Approval) -> dict[str, Any]:
        """Approve an order that another person placed."""
        return _found(await desk.approve(order_id, approval.approved_by), order_id)

    @app.post("/orders/{order_id}/supersede", status_code=201)
    async def supersede(order_id: str, how: Supersession | None = None) -> dict[str, Any]:
        """Have an order overtaken by a higher counter."""
        return _found(await desk.supersede(order_id, (how or Supersession()).model_dump()), order_id)

    @app.get("/at-large")
    async def at_large() -> dict[str, Any]:
        """Everything that left and may still run."""
        return await desk.at_large()


def _found(view: dict[str, Any] | None, order_id: str) -> dict[str, Any]:
    if view is None:
        raise HTTPException(404, f"there is no order {order_id}")
    return view


class _Door:
    """In front of everything: no token, no word, not even about the body. It also counts the body's octets."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            shown = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(shown, self._expected):
                headers = {"WWW-Authenticate": "Bearer"}
                refusal = _error(401, "not_allowed", "show the API's token as Authorization: Bearer", headers)
                await refusal(scope, receive, send)
                return
            receive = _counted(receive)
        await self._app(scope, receive, send)


def _counted(receive: Receive) -> Receive:
    octets = 0

    async def counted() -> Message:
        nonlocal octets
        message = await receive()
        octets += len(message.get("body", b""))
        if octets > BODY_MAX:
            raise HTTPException(413, f"an order has at most {BODY_MAX} octets")
        return message

    return counted


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(StarletteHTTPException)
    async def http(_request: Request, error: StarletteHTTPException) -> JSONResponse:
        headers = dict(error.headers) if error.headers else None
        return _error(error.status_code, _CODES.get(error.status_code, "refused"), str(error.detail), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return _error(422, "order_refused", f"{where or 'body'}: {first['msg']}")

    @app.exception_handler(OrderRefused)
    async def refused(_request: Request, error: OrderRefused) -> JSONResponse:
        return _error(422, "order_refused", str(error))

    @app.exception_handler(KeyReused)
    async def reused(_request: Request, error: KeyReused) -> JSONResponse:
        return _error(409, "key_reused", str(error))

    @app.exception_handler(ApprovalRefused)
    async def approval_refused(_request: Request, error: ApprovalRefused) -> JSONResponse:
        return _error(409, "approval_refused", str(error))

    @app.exception_handler(CannotSupersede)
    async def cannot_supersede(_request: Request, error: CannotSupersede) -> JSONResponse:
        return _error(409, "cannot_supersede", str(error))

    @app.exception_handler(TooLate)
    async def late(_request: Request, error: TooLate) -> JSONResponse:
        return _error(409, "too_late", str(error))
