"""Gas meters (transform B1, B2, B4, B5, B10): top-up, payment mode, debt, supply, messages, settings, clock."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.rules import Asked, Document, Part, Rule
from lastmetre.duis.use_cases.supply import TOLERANCE_MAX_S
from lastmetre.duis.use_cases.terms import Term, choice, generalized_time, zigbee_time
from lastmetre.duis.use_cases.values import (
    ascii_text,
    boolean,
    child,
    decimal,
    instant,
    int32,
    integer,
    one_of,
    uint16,
    words,
    zigbee_seconds,
)
from lastmetre.duis.use_cases.zigbee import say, send
from lastmetre.gbcs.asn1 import SetClock
from lastmetre.gbcs.build import gas as build
from lastmetre.gbcs.datetimes import generalized_from_unix

if TYPE_CHECKING:
    from lastmetre.gbcs.build.zigbee import GbzCommand

GSME: Final = frozenset({"GSME"})
UTRN_DIGITS: Final = 20
MESSAGE_LENGTH_MAX: Final = 116
NAME_LENGTH_MAX: Final = 30

# --- CS01b: top-up


def _top_up(asked: Asked) -> tuple[Part, ...]:
    digits = words(asked.body, "UTRN")
    if len(digits) != UTRN_DIGITS or not (digits.isascii() and digits.isdigit()):
        raise TransformError(f"TopUpDevice/UTRN must be {UTRN_DIGITS} digits")
    return say(asked, build.TopUp(digits), "top-up", {"code": "UTRN"})


# --- GCS02, GCS03: payment mode


def _payment_mode(asked: Asked, name: str, values: GbzCommand) -> tuple[Part, ...]:
    terms = {
        "configuration": Term("payment configuration", lambda bits: f"{bits:04X}" if isinstance(bits, int) else "?"),
        "cut_off": "disablement threshold",
        "implementation": "activation time of the payment mode",
    }
    return say(asked, values, name, terms)


def _credit_mode(asked: Asked) -> tuple[Part, ...]:
    return _payment_mode(asked, "credit mode", build.SetCreditMode())


def _prepayment_mode(asked: Asked) -> tuple[Part, ...]:
    settings = child(asked.body, "Prepayment")
    values = build.SetPrepaymentMode(
        int32(settings, "DisablementThreshold"),
        boolean(settings, "SuspendDebtDisabled"),
        boolean(settings, "SuspendDebtEmergency"),
    )
    return _payment_mode(asked, "prepayment mode", values)


def _has(asked: Asked, path: str) -> bool:
    return asked.body.find(path) is not None


# --- GCS04: debt

_FREQUENCIES: Final = {"HOURLY": 0, "DAILY": 1}
TIME_BASED, PAYMENT_BASED = 0, 1
DEBT_1, DEBT_2, PAYMENT_DEBT = 1, 3, 5
PER_CENT_HUNDREDTHS_MAX: Final = 10_000


def _debt(asked: Asked, name: str, **given: int) -> Part:
    shows = choice({number: word for word, number in _FREQUENCIES.items()})
    terms = {
        "amount": name,
        "frequency": Term(f"recovery period of the {name}", shows),
        "recovery_amount": f"recovery rate of the {name}",
        "percentage": f"recovery per payment of the {name}",
    }
    constants = {"collection_time": 0, "frequency": 1, "recovery_amount": 0, "percentage": 0}
    return send(asked, "ChangeDebt", name, constants | given, terms=terms)


def _time_debt(asked: Asked, number: int, kind: int) -> Part:
    recovery = child(asked.body, f"GasDebtRecovery{number}")
    return _debt(
        asked,
        f"time debt register {number}",
        amount=int32(asked.body, f"TimeDebtRegister{number}"),
        method=TIME_BASED,
        amount_type=kind,
        frequency=one_of(recovery, "DebtRecoveryRatePeriod", _FREQUENCIES),
        recovery_amount=int32(recovery, "DebtRecoveryRate"),
    )


def _update_debt(asked: Asked) -> tuple[Part, ...]:
    payment = _debt(
        asked,
        "payment debt register",
        amount=int32(asked.body, "PaymentDebtRegister"),
        method=PAYMENT_BASED,
        amount_type=PAYMENT_DEBT,
        percentage=integer(asked.body, "DebtRecoveryPerPayment", 0, PER_CENT_HUNDREDTHS_MAX),
    )
    return (_time_debt(asked, 1, DEBT_1), _time_debt(asked, 2, DEBT_2), payment)


# --- GCS06, GCS40: emergency credit, balance


def _activate_emergency_credit(asked: Asked) -> tuple[Part, ...]:
    return say(asked, build.ActivateEmergencyCredit(), "activation of emergency credit")


_ADJUSTMENTS: Final = {
    0: "adjustment in prepayment mode",
    1: "reset in prepayment mode",
    2: "reset in credit mode",
    3: "adjustment in credit mode",
}


def _balance(asked: Asked, mode: str, kind: int) -> tuple[Part, ...]:
    adjustment = f"{mode}/AdjustMeterBalance"
    amount = int32(asked.body, adjustment) if _has(asked, adjustment) else 0
    terms = {"value": "meter balance adjustment", "type": Term("kind of adjustment", choice(_ADJUSTMENTS))}
    return (send(asked, "CreditAdjustment", "adjustment", type=kind, value=amount, terms=terms),)


def _balance_rule(use_case: str, code: int, path: str, kind: int) -> Rule:
    fill = partial(_balance, mode=path.partition("/")[0], kind=kind)
    return Rule(use_case, code, ("1.5",), fill, GSME, partial(_has, path=path), "B1")


# --- GCS32, GCS39: supply. There is no remote enabling of gas.

_STATES: Final = {0: "disable supply", 1: "arm supply"}


def _supply(asked: Asked, values: GbzCommand, state: int) -> tuple[Part, ...]:
    return say(asked, values, _STATES[state], {"status": Term("supply state", choice(_STATES))})


# --- GCS07, GCS44, GCS09, GCS11, GCS41, GCS36: messages, names, access

MPRN_LENGTH_MAX: Final = 10
CIN_DIGITS: Final = 4


def _display_message(asked: Asked) -> tuple[Part, ...]:
    message = ascii_text(asked.body, "SupplierMessage", MESSAGE_LENGTH_MAX).decode()
    return say(asked, build.SendMessage(message), "message to the customer", {"message": "message"})


def _supplier_name(asked: Asked) -> tuple[Part, ...]:
    name = ascii_text(asked.body, "SupplierName", NAME_LENGTH_MAX).decode()
    phone = ascii_text(asked.body, "SupplierTelephoneNumber", NAME_LENGTH_MAX).decode()
    terms = {"name": "supplier name", "contact": "supplier telephone number"}
    return say(asked, build.SetSupplierContact(name, phone), "supplier", terms)


def _restrict_access(asked: Asked) -> tuple[Part, ...]:
    at = instant(asked.body, "RestrictionDateTime")
    terms = {"implementation": Term("restriction date", zigbee_time)}
    return say(asked, build.SetChangeOfTenancy(at), "change of tenancy", terms)


def _disable_pin(asked: Asked) -> tuple[Part, ...]:
    return say(asked, build.DisablePrivacyPin(), "privacy PIN")


def _mprn(asked: Asked) -> tuple[Part, ...]:
    mprn = ascii_text(asked.body, "ImportMPRN", MPRN_LENGTH_MAX).decode()
    return say(asked, build.SetMprn(mprn), "supply point", {"site_id": "import MPRN"})


def customer_identification_number(asked: Asked) -> bytes:
    """The four digits that the DCC made up for this request."""
    digits = asked.device.records.customer_identification_number
    if digits is None:
        raise TransformError("the customer identification number is needed; the DCC makes it up")
    if len(digits) != CIN_DIGITS or not (digits.isascii() and digits.isdigit()):
        raise TransformError(f"a customer identification number has {CIN_DIGITS} digits")
    return digits.encode()


def _identification_number(asked: Asked) -> tuple[Part, ...]:
    values = build.SetCustomerIdentificationNumber(customer_identification_number(asked).decode())
    return say(asked, values, "customer identification", {"cin": "customer identification number"})


# --- GCS23 to GCS25, GCS31: settings

_FIVE_PLACES, _ONE_PLACE, _FOUR_PLACES = 5, 1, 4
UINT_32_MAX: Final = 2**32 - 1
MEGAJOULES: Final = 1


def _gas_conversion(asked: Asked) -> tuple[Part, ...]:
    factor = decimal(asked.body, "ConversionFactor", _FIVE_PLACES, UINT_32_MAX)
    value = decimal(asked.body, "CalorificValue", _ONE_PLACE, UINT_32_MAX)
    factor_terms = {"factor": "conversion factor (in 0.00001)"}
    value_terms = {"calorific_value": "calorific value (in 0.1)"}
    return (
        send(asked, "PublishConversionFactor", "conversion factor", factor=factor, trailing_digit=0x50,
             terms=factor_terms),
        send(asked, "PublishCalorificValue", "calorific value", calorific_value=value, unit=MEGAJOULES,
             trailing_digit=0x10, terms=value_terms),
    )  # fmt: skip


CUBIC_METRES: Final = 1
_SUPPLY_STATES: Final = {"Unchanged": 3, "Locked": 0}
"""What the supply becomes: 0 off, 3 unchanged, as the Smart Energy Profile numbers it. Only Unchanged was seen. Locked
is inferred from that numbering and from the constant 0 for uncontrolled flow [I]; the reference presumes 2, which there
means on, and a supply that is to be locked must not be switched on."""
UNCHANGED: Final = 3
OFF: Final = 0


def _gas_flow(asked: Asked) -> tuple[Part, ...]:
    """The threshold as a whole number (GCS24), or as a decimal that the divisor makes whole (GCS24a)."""
    body = asked.body
    if _has(asked, "UncontrolledGasFlowRateDecimal"):
        flow, divisor = decimal(body, "UncontrolledGasFlowRateDecimal", _FOUR_PLACES, 2**16 - 1), 10**_FOUR_PLACES
    else:
        flow, divisor = uint16(body, "UncontrolledGasFlowRate"), 1
    show = choice({0: "Locked", 3: "Unchanged"})
    return (
        send(
            asked,
            "SetUncontrolledFlowThreshold",
            "uncontrolled flow",
            threshold=flow,
            unit=CUBIC_METRES,
            multiplier=1,
            divisor=divisor,
            stabilisation=integer(body, "StabilisationPeriod", 1, 255),
            measurement=integer(body, "MeasurementPeriod", 1, 65_535),
            terms={
                "threshold": "uncontrolled gas flow rate",
                "stabilisation": "stabilisation period",
                "measurement": "measurement period",
            },
        ),
        send(
            asked,
            "SetSupplyStatus",
            "supply states",
            tamper=one_of(body, "SupplyTamperState", _SUPPLY_STATES),
            depletion=one_of(body, "SupplyDepletionState", _SUPPLY_STATES),
            uncontrolled_flow=OFF,
            load_limit=UNCHANGED,
            terms={"tamper": Term("supply tamper state", show), "depletion": Term("supply depletion state", show)},
        ),
    )


_DAYS, _WEEKS, _MONTHS = 0x21, 0x22, 0x23
_PERIODICITIES: Final = {
    "Daily": (1, _DAYS),
    "Weekly": (1, _WEEKS),
    "Monthly": (1, _MONTHS),
    "Quarterly": (3, _MONTHS),
    "SixMonthly": (6, _MONTHS),
    "Yearly": (12, _MONTHS),
}
"""Number and unit. Monthly and SixMonthly were seen; Quarterly and Yearly follow; days and weeks are the units of the
Smart Energy Profile [I]."""


def _billing_calendar(asked: Asked) -> tuple[Part, ...]:
    calendar = child(asked.body, "GasBillingCalendar")
    periodicity = words(calendar, "Periodicity")
    if periodicity not in _PERIODICITIES:
        raise TransformError(f"Periodicity is {periodicity[:30]!r}; it must be one of {', '.join(_PERIODICITIES)}")
    duration, kind = _PERIODICITIES[periodicity]
    given = {
        "start": zigbee_seconds(instant(calendar, "BillingPeriodStart")),
        "duration": duration,
        "duration_type": kind,
    }
    terms = {"start": Term("start of the billing period", zigbee_time), "duration": "duration of the billing period"}
    blocks = {"start": Term("start of the block period", zigbee_time), "duration": "duration of the block period"}
    return (
        send(asked, "PublishBillingPeriod", "billing period", given, terms=terms),
        send(asked, "PublishBlockPeriod", "block period", given, control=2, resolution=1, terms=blocks),
    )


def _monthly(asked: Asked) -> bool:
    """The first form knows months alone; every other period needs the later one [I]."""
    return words(asked.body, "GasBillingCalendar/Periodicity") == "Monthly"


def _record_network_data(asked: Asked) -> tuple[Part, ...]:
    return say(asked, build.RecordNetworkData(), "network data samples")


def _clear_log(asked: Asked) -> tuple[Part, ...]:
    return say(asked, build.ClearEventLog(), "clearing", {"log": "event log to clear"})


# --- GCS28: clock

_CLOCK: Final = Term(
    "",
    parts=(
        Term("start of the validity period", generalized_time),
        Term("end of the validity period", generalized_time),
    ),
)


def _synchronise_clock(asked: Asked) -> Document:
    start = instant(asked.body, "CurrentDateTime")
    end = start + integer(asked.body, "TolerancePeriod", 0, TOLERANCE_MAX_S)
    return Document(SetClock(generalized_from_unix(start), generalized_from_unix(end)), _CLOCK)


RULES: Final = (
    Rule("CS01b", 0x0097, ("2.2",), _top_up, GSME, source="B1"),
    Rule("GCS03", 0x006D, ("1.6",), _prepayment_mode, GSME, partial(_has, path="Prepayment"), "B1"),
    Rule("GCS02", 0x006C, ("1.6",), _credit_mode, GSME, source="B1"),
    Rule("GCS04", 0x006E, ("2.3",), _update_debt, GSME, source="B1"),
    Rule("GCS06", 0x0070, ("2.5",), _activate_emergency_credit, GSME, source="B1"),
    _balance_rule("GCS40a", 0x0086, "PrepaymentMode/AdjustMeterBalance", 0),
    _balance_rule("GCS40b", 0x00B4, "PrepaymentMode/ResetMeterBalance", 1),
    _balance_rule("GCS40c", 0x00C0, "CreditMode/AdjustMeterBalance", 3),
    _balance_rule("GCS40d", 0x00C2, "CreditMode/ResetMeterBalance", 2),
    Rule("GCS32", 0x0081, ("7.2",), partial(_supply, values=build.DisableSupply(), state=0), GSME, source="B2"),
    Rule("GCS39", 0x0085, ("7.3",), partial(_supply, values=build.ArmSupply(), state=1), GSME, source="B2"),
    Rule("GCS07", 0x0071, ("3.1",), _display_message, GSME, source="B4"),
    Rule("GCS28", 0x007F, ("6.11", "8.1.1"), _synchronise_clock, GSME, source="B5"),
    Rule("GCS09", 0x0072, ("3.2",), _restrict_access, frozenset({"GPF"}), source="B10"),
    Rule("GCS11", 0x0073, ("3.5",), _disable_pin, GSME, source="B10"),
    # The Gas Proxy Function's own log: by the use case's list of devices [I].
    Rule("CS11", 0x0015, ("3.3",), _clear_log, GSME | {"GPF"}, source="B10"),
    Rule("GCS44", 0x0088, ("3.4",), _supplier_name, GSME, source="B10"),
    Rule("GCS23", 0x007C, ("6.6",), _gas_conversion, GSME, source="B10"),
    Rule("GCS24a", 0x00FC, ("6.7",), _gas_flow, GSME, partial(_has, path="UncontrolledGasFlowRateDecimal"), "B10"),
    Rule("GCS24", 0x007D, ("6.7",), _gas_flow, GSME, source="B10"),
    Rule("GCS25", 0x007E, ("6.8",), _billing_calendar, GSME, _monthly, "B10"),
    Rule("GCS25a", 0x00D8, ("6.8",), _billing_calendar, GSME, source="B10"),
    Rule("GCS41", 0x0087, ("6.20.1",), _mprn, GSME, source="B10"),
    Rule("GCS31", 0x0080, ("14.1",), _record_network_data, GSME, source="B10"),
    Rule("GCS36", 0x0083, ("9.1",), _identification_number, GSME, source="B10"),
)
