"""The shapes of the supplier's API, as OpenAPI tells them: what callers may send, and what they are shown.

What callers send is checked against these before the desk sees it; what they are shown comes from the desk as it is,
and a test compares it with these (schemathesis). Times are UTC Unix seconds, ids and messages hex, counters text.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from lastmetre.supplier.ports import DEADLINE_MAX_S, DUIS_MAX, KEY_MAX, PRIORITY_MAX, TEXT_MAX, AttemptState, State

TEXT: Final = r"^[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*$"
"""No control characters and none that turn the direction of writing: it is shown to people and written to logs."""
KEY: Final = r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"
ENTITY: Final = r"^([0-9a-fA-F]{16}|[0-9a-fA-F]{2}(-[0-9a-fA-F]{2}){7})$"

Text = Annotated[StrictStr, Field(max_length=TEXT_MAX, pattern=TEXT)]
Name = Annotated[StrictStr, Field(max_length=KEY_MAX, pattern=TEXT)]
Key = Annotated[StrictStr, Field(min_length=1, max_length=KEY_MAX, pattern=KEY)]
RoadName = Literal["wan", "ppmid", "both", "hht", "code"]
Value = Annotated[StrictInt, Field(ge=-(2**31), le=2**32)]
Seconds = Annotated[StrictInt, Field(ge=1, le=DEADLINE_MAX_S)]


class NewOrder(BaseModel):
    """An order as it is placed: what, for which device, until when, by which roads. The desk checks what it means."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "allOf": [
                {"oneOf": [{"required": ["device_id"]}, {"required": ["mpxn"]}]},
                {"oneOf": [{"required": ["service"]}, {"required": ["duis"]}]},
                {"not": {"required": ["duis", "values"]}},
            ]
        },
    )

    device_id: Annotated[StrictStr, Field(pattern=ENTITY)] = Field(
        default="", description="the device's entity identifier: 16 hexadecimal digits; or give mpxn", exclude=False
    )
    mpxn: Annotated[StrictStr, Field(pattern="^[0-9]{6,13}$")] = Field(
        default="", description="the supply point's number (MPAN or MPRN), where one device there fits the service"
    )
    service: Annotated[StrictStr, Field(max_length=KEY_MAX)] = Field(
        default="", description="top_up, update_prepay_configuration, arm_supply, ...; or give duis"
    )
    values: dict[str, Value] = Field(default_factory=dict, description="what the service takes")
    duis: Annotated[StrictStr, Field(min_length=1, max_length=DUIS_MAX)] = Field(
        default="",
        description="in place of service and values: a whole DUIS Request. Its body is sent; RequestID, Command Variant"
        " and signature are made anew by this service",
    )
    deadline_s: Seconds = Field(description="seconds from now after which it is not handed on any more; up to 4 weeks")
    roads: Annotated[list[RoadName], Field(min_length=1, max_length=5, json_schema_extra={"uniqueItems": True})] = (
        Field(default=[], description="the roads in the order in which they are wanted; or name a policy")
    )
    policy: Name = Field(default="", description="a road policy's name; the default policy where neither is given")
    priority: Annotated[StrictInt, Field(ge=0, le=PRIORITY_MAX)] = Field(
        default=0, description="of two orders waiting for one device, the higher goes first; then the older"
    )
    reason: Text = Field(default="", description="why, for the audit")
    ordered_by: Name | None = Field(
        default=None, description="who orders, as the caller knows them; needed where another must approve"
    )
    idempotency_key: Key | None = Field(
        default=None, description="the same key and body give the same order, however often they are sent"
    )


class Approval(BaseModel):
    """A second person's yes."""

    model_config = ConfigDict(extra="forbid")

    approved_by: Annotated[StrictStr, Field(min_length=1, max_length=KEY_MAX, pattern=TEXT)] = Field(
        description="who approves, as the caller knows them; never who ordered"
    )


class Supersession(BaseModel):
    """How an order is to be overtaken. All may be left out: then the clock is synchronised, by any road."""

    model_config = ConfigDict(extra="forbid")

    service: Annotated[StrictStr, Field(max_length=KEY_MAX)] = Field(
        default="synchronise_clock", description="a critical service of the ordinary lane"
    )
    values: dict[str, Value] = Field(default_factory=dict, description="what the service takes")
    deadline_s: Seconds = Field(default=3_600, description="seconds from now")
    roads: Annotated[list[RoadName], Field(min_length=1, max_length=5, json_schema_extra={"uniqueItems": True})] = (
        Field(default=["wan", "ppmid"], description="in the order in which they are wanted")
    )
    reason: Text = ""
    ordered_by: Name = ""


# -- what is shown -----------------------------------------------------------------------------------------------------


class ErrorBody(BaseModel):
    """What was wrong, and what to do."""

    code: str
    message: str


class Error(BaseModel):
    """The one shape of every error."""

    error: ErrorBody


class AttemptView(BaseModel):
    """One use of one road."""

    model_config = ConfigDict(extra="forbid")

    number: int
    road: RoadName
    carrier_id: str | None
    state: AttemptState
    handed_on_at: int
    changed_at: int
    tries: int
    cost_millipence: int
    said: str | None = Field(description="what the carrier last said; nobody's evidence")


class DocumentView(BaseModel):
    """Something kept for ever with its order."""

    model_config = ConfigDict(extra="forbid")

    name: str
    at: int
    form: Literal["text", "hex"]
    content: str


class OrderView(BaseModel):
    """An order, and all that is known of it."""

    model_config = ConfigDict(extra="forbid")

    order_id: str
    device_id: str
    service: str
    values: dict[str, int | str]
    reason: str
    roads: list[RoadName]
    state: State
    final: bool
    alarm: bool
    why_waiting: str | None
    waits_until: int | None
    why_ended: str | None
    accepted_at: int
    changed_at: int
    deadline_at: int
    priority: int
    lane: Literal["ordinary", "top-up"]
    originator_counter: str | None
    message_code: str | None
    road: RoadName | None
    policy: str
    roads_opened: list[RoadName]
    cost_millipence: int
    utrn: str | None = Field(description="a top-up's 20 digits, from the moment it is accepted")
    attempts: list[AttemptView]
    result: dict[str, Any] | None = Field(description="what a read returned, verified")
    returned_to_dcc: Literal["not_needed", "due", "done", "given_up"]
    command: str | None
    response: str | None
    superseded_by: str | None
    ordered_by: str | None
    approved_by: str | None
    needs_approval: bool


class OrderStory(OrderView):
    """An order with everything kept of it."""

    documents: list[DocumentView]


class Orders(BaseModel):
    """Orders, the newest first."""

    orders: list[OrderView]


class Line(BaseModel):
    """The answer to one line of a bulk: an order, or what was wrong with it. Nothing of a refused line was done."""

    line: int = Field(description="in the body, from 1")
    status: int = Field(description="what the line would have been answered on its own")
    order: OrderView | None = None
    error: ErrorBody | None = None


class AtLargeOrder(BaseModel):
    """What left and may still run."""

    order_id: str
    device_id: str
    service: str
    state: State
    deadline_at: int
    carriers: list[str]
    code_out: bool
    can_be_superseded: bool
    superseded_by: str | None


class AtLargeCount(BaseModel):
    """How many there are with whom and of what kind."""

    carrier_id: str | None
    service: str
    count: int


class AtLarge(BaseModel):
    """Everything that left and may still run."""

    orders: list[AtLargeOrder]
    counts: list[AtLargeCount]


class AuditEntry(BaseModel):
    """One entry, with what is needed to check the chain."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    seq: int
    order_id: str
    at: int
    event: str
    from_: str | None = Field(alias="from")
    to: str | None
    detail: str
    documents: dict[str, str]
    previous: str
    hash: str


class Audit(BaseModel):
    """Audit entries in their order."""

    entries: list[AuditEntry]


class Health(BaseModel):
    """Whether the parts work."""

    status: str
    open_orders: int
