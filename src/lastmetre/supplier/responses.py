"""What proves that a Command was done: the device's Response, verified, and what it says.

``gbcs.acceptance.check_response`` decides whether the device made it, for this counter and message code. Only then is
its payload read: done, or refused by the device, and which value a read returned. A Response whose payload this module
cannot read proves that the Command ran and no more; the order then stays where it is and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.acceptance import Doubt, NotVerified, ResponseKeys, check_response
from lastmetre.gbcs.axdr import DoubleLong, Enum
from lastmetre.gbcs.dlms import AccessResponse
from lastmetre.gbcs.errors import GbcsDecodeError
from lastmetre.gbcs.message import Cra, GroupingHeader, OtherInformation, parse_message, read_header
from lastmetre.gbcs.payload import decode_payload
from lastmetre.supplier import read_back
from lastmetre.supplier.outcomes import refusals
from lastmetre.supplier.services import service_of

if TYPE_CHECKING:
    from lastmetre.gbcs.payload import Payload
    from lastmetre.supplier.orders import Order

RESULT_SUCCESS: Final = 0

SUPPLY_STATES: Final = {0: "disabled", 1: "enabled", 2: "armed"}
"""The load switch's control state: disconnected, connected, ready for reconnection (transform B2, ECS45)."""


@dataclass(frozen=True, slots=True)
class Proven:
    """The device answered this very Command: it did it, or it says that it did not."""

    done: bool
    words: str


@dataclass(frozen=True, slots=True)
class ForTheDcc:
    """It answers this very Command under a MAC that only the access control broker can check: SRV 8.13 asks the DSP."""


@dataclass(frozen=True, slots=True)
class NotProven:
    """What came proves nothing; why is for the audit only."""

    why: str


def judge(order: Order, supplier_id: bytes, message: bytes, keys: ResponseKeys) -> Proven | ForTheDcc | NotProven:
    """Whether these bytes end the order."""
    if order.originator_counter is None:
        return NotProven("no Command of this order has a counter")
    codes = service_of(order.service).message_codes if order.message_code is None else {order.message_code}
    verdict: object = None
    for code in sorted(codes):
        originator_id, counter = _sender(order, supplier_id)
        expected = GroupingHeader(Cra.COMMAND, counter, originator_id, order.device_id, OtherInformation(code))
        verdict = check_response(message, expected, keys)
        if not isinstance(verdict, NotVerified) or verdict.doubt is Doubt.FOR_THE_BROKER:
            break
    if isinstance(verdict, NotVerified) and verdict.doubt is Doubt.FOR_THE_BROKER:
        return ForTheDcc()
    if isinstance(verdict, NotVerified):
        return NotProven(f"{verdict.doubt.value}{': ' if verdict.detail else ''}{verdict.detail}")
    refused = _refusals(message)
    if refused is None:
        return NotProven("the device made it, but its content does not say what came of it")
    if refused:
        return Proven(done=False, words=f"the device refused: {', '.join(refused)}")
    return Proven(done=True, words="the device did what was asked")


def _sender(order: Order, supplier_id: bytes) -> tuple[bytes, int]:
    """In whose name the Command went, and under which counter: the DCC's own, to a device that does not know us."""
    assert order.originator_counter is not None
    if order.command:
        header = read_header(order.command)
        return header.business_originator_id, header.originator_counter
    return supplier_id, order.originator_counter


def result_of(order: Order) -> dict[str, object] | None:
    """What a verified read returned, in words and units; ``None`` for what reads nothing."""
    payload = _payload(order.response) if order.response else None
    if payload is None or not payload.results or payload.results[0].result != RESULT_SUCCESS:
        return None
    data = payload.results[0].data
    if order.service == "read_meter_balance" and isinstance(data, DoubleLong):
        return {"meter_balance_millipence": data.value}
    if order.service == read_back.SERVICE:
        log = read_back.credits_in(data)
        return {"top_ups": [{"at": credit.at, "millipence": credit.millipence} for credit in log]}
    if order.service == "read_supply_status" and isinstance(data, Enum):
        return {"supply_state": SUPPLY_STATES.get(data.value, f"unknown ({data.value})")}
    return None


def credits_of(message: bytes) -> tuple[read_back.Credit, ...]:
    """The log of credits in a verified Response; nothing for another."""
    payload = _payload(message)
    if payload is None or not payload.results or payload.results[0].result != RESULT_SUCCESS:
        return ()
    return read_back.credits_in(payload.results[0].data)


def _payload(message: bytes) -> AccessResponse | None:
    payload = _content(message)
    return payload if isinstance(payload, AccessResponse) else None


def _refusals(message: bytes) -> list[str] | None:
    payload = _content(message)
    return None if payload is None else refusals(payload)


def _content(message: bytes) -> Payload | None:
    try:
        parsed = parse_message(message)
        return decode_payload(parsed.header.message_code, Cra.RESPONSE, parsed.content)
    except GbcsDecodeError:
        return None
