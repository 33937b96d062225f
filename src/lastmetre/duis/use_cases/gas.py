"""Gas meters (transform B1, B2, B4, B5, B10): top-up, payment mode, debt, supply, messages, settings, clock."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.rules import Asked, Document, Fill, Part, Rule, document
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
)
from lastmetre.duis.use_cases.zigbee import Named, say, say_all
from lastmetre.gbcs.build import gas as build

if TYPE_CHECKING:
    from collections.abc import Callable

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

_FREQUENCIES: Final = {period.name: period.value for period in build.RecoveryPeriod}
PER_CENT_HUNDREDTHS_MAX: Final = 10_000


def _debt_named(name: str) -> Named:
    terms = {
        "amount": name,
        "frequency": Term(f"recovery period of the {name}", choice({at: word for word, at in _FREQUENCIES.items()})),
        "recovery_amount": f"recovery rate of the {name}",
        "percentage": f"recovery per payment of the {name}",
    }
    return name, terms


_DEBTS: Final = tuple(map(_debt_named, ("time debt register 1", "time debt register 2", "payment debt register")))


def _recovery(asked: Asked, number: int) -> tuple[int, build.RecoveryPeriod]:
    recovery = child(asked.body, f"GasDebtRecovery{number}")
    period = build.RecoveryPeriod(one_of(recovery, "DebtRecoveryRatePeriod", _FREQUENCIES))
    return int32(recovery, "DebtRecoveryRate"), period


def _update_debt(asked: Asked) -> tuple[Part, ...]:
    body = asked.body
    (rate_1, period_1), (rate_2, period_2) = _recovery(asked, 1), _recovery(asked, 2)
    values = build.ManageDebt(
        time_debt_1_recovery_rate=rate_1,
        time_debt_2_recovery_rate=rate_2,
        recovery_per_payment_percent_hundredths=integer(body, "DebtRecoveryPerPayment", 0, PER_CENT_HUNDREDTHS_MAX),
        payment_debt_millipence=int32(body, "PaymentDebtRegister"),
        time_debt_1_millipence=int32(body, "TimeDebtRegister1"),
        time_debt_2_millipence=int32(body, "TimeDebtRegister2"),
        time_debt_1_recovery_period=period_1,
        time_debt_2_recovery_period=period_2,
    )
    return say_all(asked, values, *_DEBTS)


# --- GCS06, GCS40: emergency credit, balance


def _activate_emergency_credit(asked: Asked) -> tuple[Part, ...]:
    return say(asked, build.ActivateEmergencyCredit(), "activation of emergency credit")


_ADJUSTMENTS: Final = {
    0: "adjustment in prepayment mode",
    1: "reset in prepayment mode",
    2: "reset in credit mode",
    3: "adjustment in credit mode",
}


_BALANCE_TERMS: Final = {"value": "meter balance adjustment", "type": Term("kind of adjustment", choice(_ADJUSTMENTS))}


def _adjust(asked: Asked, mode: str, make: Callable[[int], GbzCommand]) -> tuple[Part, ...]:
    return say(asked, make(int32(asked.body, f"{mode}/AdjustMeterBalance")), "adjustment", _BALANCE_TERMS)


def _reset(asked: Asked, values: GbzCommand) -> tuple[Part, ...]:
    return say(asked, values, "adjustment", _BALANCE_TERMS)


def _balance_rule(use_case: str, code: int, path: str, fill: Fill) -> Rule:
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
UINT_16_MAX: Final = 2**16 - 1
UINT_32_MAX: Final = 2**32 - 1


def _gas_conversion(asked: Asked) -> tuple[Part, ...]:
    values = build.SetGasConversion(
        decimal(asked.body, "ConversionFactor", _FIVE_PLACES, UINT_32_MAX),
        decimal(asked.body, "CalorificValue", _ONE_PLACE, UINT_32_MAX),
    )
    factor = ("conversion factor", {"factor": "conversion factor (in 0.00001)"})
    calorific = ("calorific value", {"calorific_value": "calorific value (in 0.1)"})
    return say_all(asked, values, factor, calorific)


_SUPPLY_STATES: Final = {state.name.capitalize(): state.value for state in build.SupplyState}


def _gas_flow(asked: Asked) -> tuple[Part, ...]:
    """The threshold as a whole number (GCS24), or as a decimal that the divisor makes whole (GCS24a)."""
    body = asked.body
    if _has(asked, "UncontrolledGasFlowRateDecimal"):
        flow = decimal(body, "UncontrolledGasFlowRateDecimal", _FOUR_PLACES, UINT_16_MAX)
        divisor = 10**_FOUR_PLACES
    else:
        flow, divisor = uint16(body, "UncontrolledGasFlowRate"), 1
    tamper, depletion = (
        build.SupplyState(one_of(body, f"Supply{cause}State", _SUPPLY_STATES)) for cause in ("Tamper", "Depletion")
    )
    stabilisation = integer(body, "StabilisationPeriod", 1, 255)
    measurement = integer(body, "MeasurementPeriod", 1, UINT_16_MAX)
    values = build.SetUncontrolledFlow(flow, divisor, stabilisation, measurement, tamper, depletion)
    flow_terms = {
        "threshold": "uncontrolled gas flow rate",
        "stabilisation": "stabilisation period",
        "measurement": "measurement period",
    }
    show = choice({state: name for name, state in _SUPPLY_STATES.items()})
    states = {"tamper": Term("supply tamper state", show), "depletion": Term("supply depletion state", show)}
    return say_all(asked, values, ("uncontrolled flow", flow_terms), ("supply states", states))


_PERIODICITIES: Final = {
    "Daily": (1, build.PeriodUnit.DAYS),
    "Weekly": (1, build.PeriodUnit.WEEKS),
    "Monthly": (1, build.PeriodUnit.MONTHS),
    "Quarterly": (3, build.PeriodUnit.MONTHS),
    "SixMonthly": (6, build.PeriodUnit.MONTHS),
    "Yearly": (12, build.PeriodUnit.MONTHS),
}
"""Number and unit. Monthly and SixMonthly were seen; Quarterly and Yearly follow; days and weeks [I]."""


def _billing_calendar(asked: Asked) -> tuple[Part, ...]:
    calendar = child(asked.body, "GasBillingCalendar")
    periodicity = words(calendar, "Periodicity")
    if periodicity not in _PERIODICITIES:
        raise TransformError(f"Periodicity is {periodicity[:30]!r}; it must be one of {', '.join(_PERIODICITIES)}")
    values = build.SetBillingCalendar(instant(calendar, "BillingPeriodStart"), *_PERIODICITIES[periodicity])
    names: list[Named] = [
        (name, {"start": Term(f"start of the {name}", zigbee_time), "duration": f"duration of the {name}"})
        for name in ("billing period", "block period")
    ]
    return say_all(asked, values, *names)


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
    return document(asked, build.SynchroniseClock(start, end), _CLOCK)


RULES: Final = (
    Rule("CS01b", 0x0097, ("2.2",), _top_up, GSME, source="B1"),
    Rule("GCS03", 0x006D, ("1.6",), _prepayment_mode, GSME, partial(_has, path="Prepayment"), "B1"),
    Rule("GCS02", 0x006C, ("1.6",), _credit_mode, GSME, source="B1"),
    Rule("GCS04", 0x006E, ("2.3",), _update_debt, GSME, source="B1"),
    Rule("GCS06", 0x0070, ("2.5",), _activate_emergency_credit, GSME, source="B1"),
    _balance_rule("GCS40a", 0x0086, "PrepaymentMode/AdjustMeterBalance",
                  partial(_adjust, mode="PrepaymentMode", make=build.AdjustBalanceInPrepaymentMode)),
    _balance_rule("GCS40b", 0x00B4, "PrepaymentMode/ResetMeterBalance",
                  partial(_reset, values=build.ResetBalanceInPrepaymentMode())),
    _balance_rule("GCS40c", 0x00C0, "CreditMode/AdjustMeterBalance",
                  partial(_adjust, mode="CreditMode", make=build.AdjustBalanceInCreditMode)),
    _balance_rule("GCS40d", 0x00C2, "CreditMode/ResetMeterBalance",
                  partial(_reset, values=build.ResetBalanceInCreditMode())),
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
)  # fmt: skip
