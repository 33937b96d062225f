"""Orders that come as a whole DUIS Request: its body is sent as it stands, everything around it is made by us.

The rules kept here:

- The body alone is the caller's. RequestID (with the counter), Command Variant and signature belong to this service: a
  counter that somebody else chose could name two messages.
- It must be for a device of ours, as the device's own rules know it; what its Service Request becomes for that device
  is computed when the order is accepted, so that a body the transform cannot follow is refused at once and with words.
- The rules of a service hold however it is asked for: 7.2 as XML is *disable_supply*, four eyes and all.
- A top-up is ordered by its amount: its digits are made here, under its counter. A dated request is refused: what
  becomes of it an Alert tells later, which no state of an order is made for yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastmetre.duis.catalogue import check_request, service_request
from lastmetre.duis.documents import Request, RequestHeader, parse_request
from lastmetre.duis.errors import DuisError
from lastmetre.duis.identifiers import RequestID
from lastmetre.gbcs.catalogue import Lane
from lastmetre.supplier.errors import OrderRefused
from lastmetre.supplier.services import Service, service_for_variant

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element
    from lastmetre.supplier.orders import Order

DATES = ("ExecutionDateTime", "ActivationDateTime")


@dataclass(frozen=True, slots=True)
class DuisOrder:
    """What a DUIS Request asks for."""

    service: Service
    target_id: bytes
    request: Request


def read(xml: str) -> DuisOrder:
    """What it asks for; raises ``OrderRefused`` for what cannot be ordered this way."""
    try:
        request = parse_request(xml.encode())
    except (DuisError, UnicodeEncodeError) as error:
        raise OrderRefused(f"duis cannot be read: {error}") from error
    header = request.header
    row = service_request(header.service_reference_variant)
    misfit = check_request(
        header.service_reference, header.service_reference_variant, header.command_variant, request.body.name
    )
    if row is None or misfit is not None:
        raise OrderRefused(f"duis: {misfit.reason if misfit else 'there is no such service'}")
    service = service_for_variant(row.variant)
    if row.non_device:
        raise OrderRefused(f"{row.variant} {row.name} goes to the DCC, not to a device: ask the DCC for it")
    if request.body.name != row.element:
        raise OrderRefused(f"{row.variant} must come as {row.element}: what is signed is made here")
    if service.lane is Lane.TOP_UP:
        raise OrderRefused("a top-up is ordered by its amount (service top_up): its digits are made here")
    dated = next((name for name in DATES if _has(request.body, name)), None)
    if dated is not None:
        raise OrderRefused(f"duis: {dated}: a dated request cannot be ordered yet; leave the date out")
    return DuisOrder(service, header.request_id.target, request)


def request_of(
    xml: str, supplier_id: bytes, device_id: bytes, counter: int, order: Order, command_variant: int
) -> Request:
    """The request as it leaves: the body that was ordered, under our header. CV4 where it is to be signed by us."""
    asked = read(xml)
    variant = 4 if asked.service.critical else command_variant
    header = RequestHeader(
        RequestID(supplier_id, device_id, counter),
        variant,
        asked.request.header.service_reference,
        asked.request.header.service_reference_variant,
    )
    assert asked.service.name == order.service, "an order's service was fixed when it was accepted"
    return Request(header, asked.request.body, asked.request.schema_version)


def _has(element: Element, name: str) -> bool:
    return element.name == name or any(_has(child, name) for child in element.children)
