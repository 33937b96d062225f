"""Service Requests made from values: a function per service, its arguments in the words of the service.

Rules kept here:

* Elements are written in the order of schema 5.4, so that every request made here is valid; values are checked against
  the ranges of the schema and refused with ``DuisValueError`` before they can reach the DCC.
* Amounts are plain numbers in the unit of the interface; nothing is converted.
* A critical request is made for the Transform service (Command Variant 4) and turned into a Signed Pre-Command later,
  with ``documents.signed_pre_command``. A date in the future is Unix seconds; left out, it is at once.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lastmetre.duis.catalogue import NON_CRITICAL, NON_DEVICE, TRANSFORM, service_request
from lastmetre.duis.documents import SCHEMA_VERSION, Request, RequestHeader, write_date_time
from lastmetre.duis.errors import DuisValueError
from lastmetre.duis.identifiers import RequestID
from lastmetre.duis.xml import Element

LOCAL_DELIVERY: Final = 2
"""Command Variant that returns the Command to the User only; what this project is about, so the default."""

INT_8: Final = (-(2**7), 2**7 - 1)
INT_16: Final = (-(2**15), 2**15 - 1)
INT_32: Final = (-(2**31), 2**31 - 1)
UINT_16: Final = (0, 2**16 - 1)

UTRN_DIGITS: Final = 20
TOLERANCE_MAX_S: Final = 86_400
SPECIAL_DAYS_MAX: Final = 20
SCHEDULE_ENTRIES_MAX: Final = 22


# --- building blocks


def _leaf(name: str, text: str) -> Element:
    return Element(name, text)


def _number(name: str, value: int, bounds: tuple[int, int]) -> Element:
    low, high = bounds
    if not low <= value <= high:
        raise DuisValueError(f"{name} is {value}; it must lie between {low} and {high}")
    return Element(name, str(value))


def _flag(name: str, value: bool) -> Element:
    return Element(name, "true" if value else "false")


def _group(name: str, *children: Element) -> Element:
    return Element(name, children=children)


def _when(execution_at: int | None) -> tuple[Element, ...]:
    return () if execution_at is None else (_leaf("ExecutionDateTime", write_date_time(execution_at)),)


def make_request(
    variant: str,
    originator: bytes,
    target: bytes,
    counter: int,
    children: tuple[Element, ...] = (),
    *,
    command_variant: int | None = None,
) -> Request:
    """A request for any service, its body's children given; the Command Variant must fit the service."""
    row = service_request(variant)
    if row is None:
        raise DuisValueError(f"there is no Service Reference Variant {variant}")
    if command_variant is None:
        allowed = NON_DEVICE if row.non_device else TRANSFORM if row.critical else NON_CRITICAL
        command_variant = LOCAL_DELIVERY if allowed is NON_CRITICAL else min(allowed)
    request = Request(
        RequestHeader(RequestID(originator, target, counter), command_variant, row.service_reference, variant),
        Element(row.element, children=children),
        SCHEMA_VERSION,
    )
    if request.misfit is not None:
        raise DuisValueError(request.misfit.reason)
    return request


# --- 2.2, 2.5, 1.5, 1.6: balance, emergency credit, mode


def top_up(originator: bytes, device: bytes, counter: int, utrn: str, command_variant: int = LOCAL_DELIVERY) -> Request:
    """SRV 2.2: put a top-up code into the meter. The counter is the UTRN's own (its 32 high bits)."""
    if len(utrn) != UTRN_DIGITS or not (utrn.isascii() and utrn.isdigit()):
        raise DuisValueError(f"a UTRN has {UTRN_DIGITS} digits")
    return make_request("2.2", originator, device, counter, (_leaf("UTRN", utrn),), command_variant=command_variant)


def activate_emergency_credit(originator: bytes, device: bytes, counter: int) -> Request:
    """SRV 2.5."""
    return make_request("2.5", originator, device, counter)


class PaymentMode(StrEnum):
    """The mode a balance adjustment is meant for; the element that says so."""

    CREDIT = "CreditMode"
    PREPAYMENT = "PrepaymentMode"


def adjust_meter_balance(
    originator: bytes, device: bytes, counter: int, amount: int, mode: PaymentMode = PaymentMode.PREPAYMENT
) -> Request:
    """SRV 1.5: move the balance by an amount."""
    adjustment = _group(mode, _number("AdjustMeterBalance", amount, INT_32))
    return make_request("1.5", originator, device, counter, (adjustment,))


def reset_meter_balance(
    originator: bytes, device: bytes, counter: int, mode: PaymentMode = PaymentMode.PREPAYMENT
) -> Request:
    """SRV 1.5: set the balance to zero."""
    return make_request("1.5", originator, device, counter, (_group(mode, _leaf("ResetMeterBalance", "")),))


def set_credit_mode(originator: bytes, device: bytes, counter: int, *, execution_at: int | None = None) -> Request:
    """SRV 1.6: payment mode credit."""
    return make_request("1.6", originator, device, counter, (*_when(execution_at), _leaf("Credit", "")))


def set_prepayment_mode(
    originator: bytes,
    device: bytes,
    counter: int,
    *,
    disablement_threshold: int,
    suspend_debt_disabled: bool,
    suspend_debt_emergency: bool,
    execution_at: int | None = None,
) -> Request:
    """SRV 1.6: payment mode prepayment."""
    settings = _group(
        "Prepayment",
        _flag("SuspendDebtDisabled", suspend_debt_disabled),
        _flag("SuspendDebtEmergency", suspend_debt_emergency),
        _number("DisablementThreshold", disablement_threshold, INT_32),
    )
    return make_request("1.6", originator, device, counter, (*_when(execution_at), settings))


# --- 2.3: debt


@dataclass(frozen=True, slots=True)
class DebtRecovery:
    """How a time-based debt is taken: ``rate`` times ten to the ``price_scale``, each hour or day."""

    rate: int
    price_scale: int
    period: str = "DAILY"

    def element(self, name: str) -> Element:
        """As DUIS writes it."""
        if self.period not in ("HOURLY", "DAILY"):
            raise DuisValueError(f"debt is recovered HOURLY or DAILY, not {self.period}")
        return _group(
            name,
            _number("DebtRecoveryRate", self.rate, INT_16),
            _number("DebtRecoveryRatePriceScale", self.price_scale, INT_8),
            _leaf("DebtRecoveryRatePeriod", self.period),
        )


def update_debt(
    originator: bytes,
    device: bytes,
    counter: int,
    *,
    time_debt_register_1: int,
    time_debt_register_2: int,
    payment_debt_register: int,
    debt_recovery_per_payment: int,
    recovery_1: DebtRecovery,
    recovery_2: DebtRecovery,
) -> Request:
    """SRV 2.3 for an ESME. ``debt_recovery_per_payment`` is in hundredths of a per cent."""
    children = (
        _number("TimeDebtRegister1", time_debt_register_1, INT_32),
        _number("TimeDebtRegister2", time_debt_register_2, INT_32),
        _number("PaymentDebtRegister", payment_debt_register, INT_32),
        _number("DebtRecoveryPerPayment", debt_recovery_per_payment, (0, 10_000)),
        recovery_1.element("ElecDebtRecovery1"),
        recovery_2.element("ElecDebtRecovery2"),
    )
    return make_request("2.3", originator, device, counter, children)


# --- 2.1: prepayment configuration


@dataclass(frozen=True, slots=True)
class SpecialDay:
    """A date on which a special schedule may apply; what is None is left open."""

    month: int | None
    day_of_month: int | None
    year: int | None = None

    def element(self, index: int) -> Element:
        """As DUIS writes it."""
        date = _group(
            "Date",
            _open_part("Year", self.year, (2014, 9999)),
            _open_part("Month", self.month, (1, 12)),
            _open_part("DayOfMonth", self.day_of_month, (1, 31)),
            _open_part("DayOfWeek", None, (1, 7)),
        )
        return Element("SpecialDay", children=(date,), attributes=(("index", str(index)),))


def _open_part(name: str, value: int | None, bounds: tuple[int, int]) -> Element:
    if value is None:
        return _group(name, _leaf(f"NonSpecified{name}", ""))
    number = _number(f"Specified{name}", value, bounds)
    return _group(name, Element(number.name, number.text.zfill(2)))


WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
EVERY_DAY: Final = frozenset(WEEKDAYS)


@dataclass(frozen=True, slots=True)
class NonDisablement:
    """When the supply must stay on whatever the balance: a START or STOP at a time, within dates (``2030-10-27``)."""

    script: str
    switch_time: str
    start_date: str
    end_date: str
    days_of_week: frozenset[str] = EVERY_DAY
    special_days: tuple[int, ...] = ()

    def element(self) -> Element:
        """As DUIS writes it."""
        if self.script not in ("START", "STOP"):
            raise DuisValueError(f"a non-disablement entry is START or STOP, not {self.script}")
        special = (
            _group("SpecialDayApplicability", _number("SpecialDayID", number, (1, SPECIAL_DAYS_MAX)))
            for number in self.special_days
        )
        days = (
            _group("DayOfWeekApplicability", _leaf("DayOfWeekID", day)) for day in WEEKDAYS if day in self.days_of_week
        )
        return _group(
            "ElectricityNonDisablementSchedule",
            _leaf("NonDisablementScript", self.script),
            _group("SpecialDaysApplicability", *special),
            _group("DaysOfWeekApplicability", *days),
            _group(
                "ScheduleDatesAndTime",
                _leaf("SwitchTime", f"{self.switch_time}Z"),
                _leaf("StartDate", f"{self.start_date}Z"),
                _leaf("EndDate", f"{self.end_date}Z"),
            ),
        )


NIGHTS: Final = (
    NonDisablement("START", "18:00:00", "65535-01-01", "65535-12-31"),
    NonDisablement("STOP", "09:00:00", "65535-01-01", "65535-12-31"),
)
"""No disablement in the evening and at night, all year; a calendar must have an entry. DESIGN CHOICE."""


@dataclass(frozen=True, slots=True)
class PrepayConfiguration:
    """The prepayment settings of an ESME, all of which are written together."""

    debt_recovery_rate_cap: int
    emergency_credit_limit: int
    emergency_credit_threshold: int
    low_credit_threshold: int
    max_meter_balance: int
    max_credit_threshold: int
    special_days: tuple[SpecialDay, ...] = ()
    non_disablement: tuple[NonDisablement, ...] = NIGHTS


def update_prepay_configuration(
    originator: bytes,
    device: bytes,
    counter: int,
    configuration: PrepayConfiguration,
    *,
    execution_at: int | None = None,
) -> Request:
    """SRV 2.1 for an ESME."""
    if len(configuration.special_days) > SPECIAL_DAYS_MAX:
        raise DuisValueError(f"there are at most {SPECIAL_DAYS_MAX} special days")
    if not 1 <= len(configuration.non_disablement) <= SCHEDULE_ENTRIES_MAX:
        raise DuisValueError(f"a non-disablement calendar has 1 to {SCHEDULE_ENTRIES_MAX} entries")
    days = (day.element(index) for index, day in enumerate(configuration.special_days, 1))
    calendar = _group(
        "ElectricityNonDisablementCalendar",
        _group("ElectricitySpecialDays", *days),
        *(entry.element() for entry in configuration.non_disablement),
    )
    settings = _group(
        "UpdatePrepayConfigElectricity",
        _number("DebtRecoveryRateCap", configuration.debt_recovery_rate_cap, UINT_16),
        _number("EmergencyCreditLimit", configuration.emergency_credit_limit, INT_32),
        _number("EmergencyCreditThreshold", configuration.emergency_credit_threshold, INT_32),
        _number("LowCreditThreshold", configuration.low_credit_threshold, INT_32),
        calendar,
        _number("MaxMeterBalance", configuration.max_meter_balance, INT_32),
        _number("MaxCreditThreshold", configuration.max_credit_threshold, INT_32),
    )
    return make_request("2.1", originator, device, counter, (*_when(execution_at), settings))


# --- 7.1 to 7.4, 4.18, 6.11: supply, reads, clock


def enable_supply(originator: bytes, device: bytes, counter: int) -> Request:
    """SRV 7.1."""
    return make_request("7.1", originator, device, counter)


def disable_supply(originator: bytes, device: bytes, counter: int) -> Request:
    """SRV 7.2."""
    return make_request("7.2", originator, device, counter)


def arm_supply(originator: bytes, device: bytes, counter: int) -> Request:
    """SRV 7.3: the customer may then enable the supply at the premises."""
    return make_request("7.3", originator, device, counter)


def read_supply_status(
    originator: bytes, device: bytes, counter: int, command_variant: int = LOCAL_DELIVERY
) -> Request:
    """SRV 7.4."""
    return make_request("7.4", originator, device, counter, command_variant=command_variant)


def read_meter_balance(
    originator: bytes, device: bytes, counter: int, command_variant: int = LOCAL_DELIVERY
) -> Request:
    """SRV 4.18."""
    return make_request("4.18", originator, device, counter, command_variant=command_variant)


def read_prepayment_configuration(
    originator: bytes, device: bytes, counter: int, command_variant: int = LOCAL_DELIVERY
) -> Request:
    """SRV 4.13."""
    return make_request("4.13", originator, device, counter, command_variant=command_variant)


def synchronise_clock(originator: bytes, device: bytes, counter: int, *, at: int, tolerance_s: int) -> Request:
    """SRV 6.11: set the clock to ``at`` (now) if it is within the tolerance."""
    children = (
        _leaf("CurrentDateTime", write_date_time(at)),
        _number("TolerancePeriod", tolerance_s, (0, TOLERANCE_MAX_S)),
    )
    return make_request("6.11", originator, device, counter, children)


# --- 8.13


def return_local_command_response(
    originator: bytes,
    dcc: bytes,
    counter: int,
    device_gbcs_response: bytes,
    original_request_id: RequestID | None = None,
) -> Request:
    """SRV 8.13: hand the DCC the Response to a locally delivered Command. Its target is the DCC, not the device."""
    original = () if original_request_id is None else (_leaf("OriginalRequestID", str(original_request_id)),)
    response = _leaf("DeviceGBCSResponse", b64encode(device_gbcs_response).decode())
    return make_request("8.13", originator, dcc, counter, (*original, response))
