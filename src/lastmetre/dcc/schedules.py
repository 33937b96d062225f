"""Schedules of reads that the DSP makes by itself (SRV 5.1): when the next is due, and the request it stands for.

Rules this module keeps (reference: duis 1.4, 2.2):

* The first read is on the start date, at the start time or, without one, at midnight [I]; the rest follow by the
  frequency, counted from the start date: a day that a month lacks is that month's last.
* A period is days and times around the day of the read. All times are UTC.
* Which services can be scheduled is the catalogue's; what has no period is read as it is.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lastmetre.dcc.access_control import OurCode
from lastmetre.dcc.errors import RequestRefused
from lastmetre.duis.catalogue import service_request
from lastmetre.duis.documents import Request, RequestHeader, write_date_time
from lastmetre.duis.errors import DuisDecodeError
from lastmetre.duis.identifiers import RequestID, parse_entity
from lastmetre.duis.xml import Element

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.duis.catalogue import ServiceRequest

DAYS: Final = MappingProxyType({"Daily": 1, "Weekly": 7})
MONTHS: Final = MappingProxyType({"Monthly": 1, "Quarterly": 3, "Half-Yearly": 6, "Yearly": 12})
READ_BY_WAN: Final = 1
"""The Command Variant of the request that a run stands for."""
ALSO_SCHEDULED: Final = frozenset({"4.2"})
"""In the schema's list of services that can be scheduled, and not in the matrix (duis 2.2)."""
SCHEDULES_MAX: Final = 99
"""As many as one answer to SRV 5.2 can list."""


def device_of(body: Element) -> bytes:
    """Which device a schedule reads; raises ``DuisDecodeError``."""
    return parse_entity(_text(body, "DeviceID"), "CreateSchedule/DeviceID")


def scheduled_service(body: Element) -> ServiceRequest:
    """Which service a schedule asks for; raises ``RequestRefused`` for one that cannot be scheduled."""
    row = service_request(_text(body, "DSPScheduledServiceReferenceVariant"))
    if row is None or row.service_reference != _text(body, "DSPScheduledServiceReference"):
        raise RequestRefused(OurCode.CONTENT, "the service to be scheduled does not exist")
    if not row.scheduled and row.variant not in ALSO_SCHEDULED:
        raise RequestRefused(OurCode.CONTENT, f"{row.variant} cannot be scheduled")
    if _parameters(body) is None:
        raise RequestRefused(OurCode.CONTENT, f"the schedule does not carry DSP{row.element}")
    return row


def next_due(body: Element, after_at: int) -> int | None:
    """When the next read is due after a time; ``None`` when the schedule has ended."""
    start = _date(_text(body, "ScheduleStartDate"))
    end_text = body.find_text("ScheduleEndDate")
    end = None if end_text is None else _date(end_text)
    at = _time(body.find_text("ScheduleExecutionStartTime") or "00:00:00Z")
    day_of = _days(start, _text(body, "ScheduleFrequency"))
    number = 0
    while True:
        day = day_of(number)
        if end is not None and day > end:
            return None
        due = int(datetime.combine(day, at).timestamp())
        if due > after_at:
            return due
        number += 1


def read_request(user_id: bytes, counter: int, body: Element, due_at: int) -> Request:
    """The request that a run stands for: its User's, by SM WAN."""
    row = scheduled_service(body)
    parameters = _parameters(body)
    assert parameters is not None  # scheduled_service has looked
    children = []
    if parameters.find("StartDateOffset") is not None:
        day = datetime.fromtimestamp(due_at, UTC).date()
        period = (
            Element("StartDateTime", _moment(day, parameters, "Start")),
            Element("EndDateTime", _moment(day, parameters, "End")),
        )
        children.append(Element("ReadLogPeriod", children=period))
    key = body.find_text("KAPublicSecurityCredential")
    if key is not None:
        children.insert(0, Element("KAPublicSecurityCredentials", key))
    header = RequestHeader(
        RequestID(user_id, device_of(body), counter), READ_BY_WAN, row.service_reference, row.variant
    )
    return Request(header, Element(row.element, children=tuple(children)))


def _parameters(body: Element) -> Element | None:
    """The last child, which carries the read's own parameters."""
    row = service_request(_text(body, "DSPScheduledServiceReferenceVariant"))
    return None if row is None else body.find(f"DSP{row.element}")


def _days(start: date, frequency: str) -> Callable[[int], date]:
    if frequency in DAYS:
        return lambda number: start + timedelta(days=DAYS[frequency] * number)
    if frequency in MONTHS:
        return lambda number: _months_later(start, MONTHS[frequency] * number)
    raise DuisDecodeError("CreateSchedule/ScheduleFrequency", f"{frequency[:20]!r} is no frequency")


def _months_later(start: date, months: int) -> date:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(start.day, calendar.monthrange(year, month + 1)[1]))


def _moment(day: date, parameters: Element, end: str) -> str:
    try:
        offset = int(_text(parameters, f"{end}DateOffset"))
    except ValueError:
        raise DuisDecodeError(f"{parameters.name}/{end}DateOffset", "is not a number of days") from None
    moment = datetime.combine(day + timedelta(days=offset), _time(_text(parameters, f"{end}Time")))
    return write_date_time(int(moment.timestamp()))


def _text(element: Element, name: str) -> str:
    text = element.find_text(name)
    if text is None:
        raise DuisDecodeError(element.name, f"{name} is missing")
    return text.strip()


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text.strip().removesuffix("Z"))
    except ValueError:
        raise DuisDecodeError("CreateSchedule", f"{text[:20]!r} is not a date") from None


def _time(text: str) -> time:
    try:
        return time.fromisoformat(text.strip().removesuffix("Z").partition(".")[0]).replace(tzinfo=UTC)
    except ValueError:
        raise DuisDecodeError("CreateSchedule", f"{text[:20]!r} is not a time of day") from None
