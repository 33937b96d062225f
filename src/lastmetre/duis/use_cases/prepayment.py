"""Prepayment and balance on an ESME (transform B1): top-up, payment mode, debt, thresholds, emergency credit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.rules import NEWER_CODES, Asked, Item, Rule, say, when_of
from lastmetre.duis.use_cases.schedules import SPECIAL_DAYS, SPECIAL_DAYS_MAX, days_of_week, schedule_term
from lastmetre.duis.use_cases.terms import Term, choice, obis, text
from lastmetre.duis.use_cases.values import (
    boolean,
    child,
    index,
    int8,
    int16,
    int32,
    integer,
    one_of,
    plain_date,
    time_of_day,
    uint16,
    wildcard_date,
    words,
)
from lastmetre.gbcs.build import debt
from lastmetre.gbcs.build import prepayment as build
from lastmetre.gbcs.build.calendars import NON_DISABLEMENT_START, NON_DISABLEMENT_STOP, ScheduleEntry, SpecialDay

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element

UTRN_DIGITS: Final = 20

# --- CS01a: top-up


def _top_up(asked: Asked) -> tuple[Item, ...]:
    digits = words(asked.body, "UTRN")
    if len(digits) != UTRN_DIGITS or not (digits.isascii() and digits.isdigit()):
        raise TransformError(f"TopUpDevice/UTRN must be {UTRN_DIGITS} digits")
    return say(asked, build.TopUp(digits), Term("UTRN", text))


# --- ECS02, ECS03: payment mode

_MODE: Final = Term(
    "payment mode",
    parts=(Term("payment mode", choice({1: "credit", 2: "prepayment"})), Term("account status")),
)
_LINKS: Final = Term(
    "charge links",
    each=Term("charge link", parts=(Term("credit", obis), Term("charge", obis), Term("collection settings"))),
)


def _credit_mode(asked: Asked) -> tuple[Item, ...]:
    return say(asked, build.SetCreditMode(asked.device.twin), _MODE, _LINKS, when_of("the payment mode"))


def _prepayment_mode(asked: Asked) -> tuple[Item, ...]:
    settings = child(asked.body, "Prepayment")
    values = build.SetPrepaymentMode(
        int32(settings, "DisablementThreshold"),
        boolean(settings, "SuspendDebtDisabled"),
        boolean(settings, "SuspendDebtEmergency"),
        asked.device.twin,
    )
    return say(
        asked,
        values,
        _MODE,
        Term("disablement threshold"),
        _LINKS,
        when_of("the disablement threshold"),
        when_of("the payment mode"),
    )


# --- ECS04a, ECS04b: meter balance


def _adjustment(asked: Asked) -> str | None:
    """Where the request says by how much, in either payment mode; None for a reset."""
    for mode in ("PrepaymentMode", "CreditMode"):
        if asked.body.find(f"{mode}/AdjustMeterBalance") is not None:
            return f"{mode}/AdjustMeterBalance"
    return None


def _adjust_balance(asked: Asked) -> tuple[Item, ...]:
    path = _adjustment(asked)
    assert path is not None, "the rule applies only where there is an adjustment"
    values = build.AdjustMeterBalance(int32(asked.body, path))
    return say(asked, values, Term("meter balance adjustment"))


def _reset_balance(asked: Asked) -> tuple[Item, ...]:
    names = ("meter credit", "emergency credit", "accumulated debt")
    return say(asked, build.ResetMeterBalance(), *(Term(f"reset of the {name}") for name in names))


# --- ECS05, ECS07, ECS09


def _reset_block_counters(asked: Asked) -> tuple[Item, ...]:
    return say(asked, build.ResetTariffBlockCounters(), Term("tariff script"))


_PERIODS: Final = {period.name: period.value for period in debt.RecoveryPeriod}
"""Seconds between two collections. HOURLY is inferred [I]: only DAILY was seen."""


def charge_term(name: str, price: str) -> Term:
    """The names of what a charge table holds."""
    reference = (Term("commodity class"), Term("commodity object", obis), Term("commodity attribute"))
    return Term(
        name,
        parts=(
            Term("scales", parts=(Term("commodity scale"), Term("price scale"))),
            Term("commodity", parts=reference),
            Term("prices", each=Term(price, parts=(Term("identifier"), Term("rate")))),
        ),
    )


def _recovery(asked: Asked, number: int) -> tuple[int, int, debt.RecoveryPeriod]:
    recovery = child(asked.body, f"ElecDebtRecovery{number}")
    rate = int16(recovery, "DebtRecoveryRate")
    scale = int8(recovery, "DebtRecoveryRatePriceScale")
    return rate, scale, debt.RecoveryPeriod(one_of(recovery, "DebtRecoveryRatePeriod", _PERIODS))


def _recovery_terms(number: int) -> tuple[Term, Term]:
    table = charge_term(f"debt recovery {number}", f"debt recovery {number} entry")
    return table, Term(f"debt recovery {number} period", choice({seconds: name for name, seconds in _PERIODS.items()}))


def _update_debt(asked: Asked) -> tuple[Item, ...]:
    body = asked.body
    (rate_1, scale_1, period_1), (rate_2, scale_2, period_2) = _recovery(asked, 1), _recovery(asked, 2)
    values = debt.ManageDebt(
        time_debt_1_recovery_rate=rate_1,
        time_debt_1_recovery_rate_scale=scale_1,
        time_debt_1_recovery_period=period_1,
        time_debt_2_recovery_rate=rate_2,
        time_debt_2_recovery_rate_scale=scale_2,
        time_debt_2_recovery_period=period_2,
        recovery_per_payment_percent_hundredths=integer(body, "DebtRecoveryPerPayment", 0, 10_000),
        payment_debt_millipence=int32(body, "PaymentDebtRegister"),
        time_debt_1_millipence=int32(body, "TimeDebtRegister1"),
        time_debt_2_millipence=int32(body, "TimeDebtRegister2"),
    )
    (table_1, period_term_1), (table_2, period_term_2) = _recovery_terms(1), _recovery_terms(2)
    names = ("activation of debt recovery 1", "activation of debt recovery 2", "payment debt register")
    registers = ("time debt register 1", "time debt register 2")
    per_payment = Term("debt recovery per payment")
    terms = (table_1, table_2, per_payment, period_term_1, period_term_2, *map(Term, (*names, *registers)))
    return say(asked, values, *terms)


def _activate_emergency_credit(asked: Asked) -> tuple[Item, ...]:
    return say(asked, build.ActivateEmergencyCredit(), Term("activation of emergency credit"))


# --- ECS08, ECS08a: prepayment configuration

_SCRIPTS: Final = {"START": NON_DISABLEMENT_START, "STOP": NON_DISABLEMENT_STOP}
_SCHEDULE: Final = schedule_term(
    "non-disablement schedule", choice({number: name for name, number in _SCRIPTS.items()})
)


def _special_days(calendar: Element) -> tuple[SpecialDay, ...]:
    days = child(calendar, "ElectricitySpecialDays").all("SpecialDay")
    return tuple(SpecialDay(index(day, 1, SPECIAL_DAYS_MAX), wildcard_date(child(day, "Date"))) for day in days)


def _schedule_entry(schedule: Element) -> ScheduleEntry:
    listed = {
        integer(applicability, "SpecialDayID", 1, SPECIAL_DAYS_MAX)
        for applicability in child(schedule, "SpecialDaysApplicability").all("SpecialDayApplicability")
    }
    return ScheduleEntry(
        one_of(schedule, "NonDisablementScript", _SCRIPTS),
        time_of_day(schedule, "ScheduleDatesAndTime/SwitchTime"),
        days_of_week(schedule),
        tuple(sorted(listed)),
        plain_date(schedule, "ScheduleDatesAndTime/StartDate"),
        plain_date(schedule, "ScheduleDatesAndTime/EndDate"),
    )


_AMOUNTS: Final = (
    "maximum meter balance",
    "maximum credit threshold",
    "debt recovery rate cap",
    "debt recovery rate cap period",
    "low credit threshold",
    "emergency credit limit",
    "emergency credit threshold",
)


def _configuration(asked: Asked, code: int) -> tuple[Item, ...]:
    settings = child(asked.body, "UpdatePrepayConfigElectricity")
    calendar = child(settings, "ElectricityNonDisablementCalendar")
    values = build.UpdatePrepaymentConfiguration(
        max_meter_balance_millipence=int32(settings, "MaxMeterBalance"),
        max_credit_threshold_millipence=int32(settings, "MaxCreditThreshold"),
        debt_recovery_rate_cap_millipence_per_week=uint16(settings, "DebtRecoveryRateCap"),
        low_credit_threshold_millipence=int32(settings, "LowCreditThreshold"),
        emergency_credit_limit_millipence=int32(settings, "EmergencyCreditLimit"),
        emergency_credit_threshold_millipence=int32(settings, "EmergencyCreditThreshold"),
        special_days=_special_days(calendar),
        non_disablement_schedule=tuple(map(_schedule_entry, calendar.all("ElectricityNonDisablementSchedule"))),
    )
    balance, credit, *others, threshold = map(Term, _AMOUNTS)
    activations = (when_of(f"the {name}") for name in (*_AMOUNTS, "special days"))
    return say(
        asked,
        values,
        *(SPECIAL_DAYS, balance, credit, _SCHEDULE, *others, when_of("the non-disablement calendar"), threshold),
        *activations,
        code=code,
    )


def _newer(asked: Asked) -> bool:
    return asked.device.version >= NEWER_CODES


def _has_prepayment(asked: Asked) -> bool:
    return asked.body.find("Prepayment") is not None


def _has_adjustment(asked: Asked) -> bool:
    return _adjustment(asked) is not None


RULES: Final = (
    Rule("CS01a", 0x0007, ("2.2",), _top_up, source="B1"),
    Rule("ECS03", 0x001B, ("1.6",), _prepayment_mode, applies=_has_prepayment, source="B1"),
    Rule("ECS02", 0x001A, ("1.6",), _credit_mode, source="B1"),
    Rule("ECS04a", 0x001C, ("1.5",), _adjust_balance, applies=_has_adjustment, source="B1"),
    Rule("ECS04b", 0x00B3, ("1.5",), _reset_balance, source="B1"),
    Rule("ECS05", 0x001D, ("1.7",), _reset_block_counters, source="B1"),
    Rule("ECS07", 0x001E, ("2.3",), _update_debt, source="B1"),
    Rule("ECS08a", 0x00DE, ("2.1",), partial(_configuration, code=0x00DE), applies=_newer, source="B1"),
    Rule("ECS08", 0x001F, ("2.1",), partial(_configuration, code=0x001F), source="B1"),
    Rule("ECS09", 0x0020, ("2.5",), _activate_emergency_credit, source="B1"),
)
