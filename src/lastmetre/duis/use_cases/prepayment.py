"""Prepayment and balance on an ESME (transform B1): top-up, payment mode, debt, thresholds, emergency credit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.rules import NEWER_CODES, Asked, Item, Rule, act, activate, set_
from lastmetre.duis.use_cases.schedules import (
    SPECIAL_DAYS,
    SPECIAL_DAYS_MAX,
    Script,
    applicable_days,
    days_of_week,
    schedule_entry,
    schedule_term,
    special_days,
)
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
    words,
)
from lastmetre.gbcs.axdr import (
    Array,
    BitString,
    Data,
    DoubleLong,
    DoubleLongUnsigned,
    Enum,
    Integer,
    Long,
    LongUnsigned,
    OctetString,
    Structure,
)
from lastmetre.gbcs.dlms import Obis

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element

UTRN_DIGITS: Final = 20
ACCOUNT: Final = "111/0-1:19.0.0.255"
"""The payment account: mode, charge links, activation."""
PREPAYMENT: Final = "9000/0-0:94.44.128."
"""Prepayment settings; the last number follows."""


# --- CS01a: top-up


def _top_up(asked: Asked) -> tuple[Item, ...]:
    digits = words(asked.body, "UTRN")
    if len(digits) != UTRN_DIGITS or not (digits.isascii() and digits.isdigit()):
        raise TransformError(f"TopUpDevice/UTRN must be {UTRN_DIGITS} digits")
    return (act("115/0-0:19.40.0.255", 1, OctetString(digits.encode()), Term("UTRN", text)),)


# --- ECS02, ECS03: payment mode

_CREDITS: Final = {"10.0": "meter credit", "10.1": "emergency credit", "10.2": "accumulated debt"}
_CHARGES: Final = {
    "20.0": "tariff charge",
    "20.1": "time debt 1",
    "20.2": "time debt 2",
    "20.3": "payment debt",
    "20.4": "standing charge",
    "20.5": "tariff charge of the secondary element",
}
_MODE: Final = Term(
    "payment mode",
    parts=(Term("payment mode", choice({1: "credit", 2: "prepayment"})), Term("account status")),
)
_LINKS: Final = Term(
    "charge links",
    each=Term("charge link", parts=(Term("credit", obis), Term("charge", obis), Term("collection settings"))),
)
_COLLECT: Final = BitString(3, b"\xe0")
"""Collect, also when disabled: 111."""
_SUSPEND: Final = BitString(3, b"\xc0")
"""Do not collect when the supply is disabled: 110."""


def _link(credit: str, charge: str, setting: BitString = _COLLECT) -> Data:
    ends = (Obis.parse(f"0-0:19.{end}.255").raw for end in (credit, charge))
    return Structure((*map(OctetString, ends), setting))


def _credit_mode(asked: Asked) -> tuple[Item, ...]:
    charges = ("20.0", "20.4", "20.5") if asked.device.twin else ("20.0", "20.4")
    links = Array(tuple(_link("10.0", charge) for charge in charges))
    return (
        set_(ACCOUNT, 2, Structure((Enum(1), Enum(1))), _MODE),
        set_(ACCOUNT, 11, links, _LINKS),
        activate(ACCOUNT, 13, asked.when, "the payment mode"),
    )


def _prepayment_mode(asked: Asked) -> tuple[Item, ...]:
    settings = child(asked.body, "Prepayment")
    threshold = DoubleLong(int32(settings, "DisablementThreshold"))
    disabled = _SUSPEND if boolean(settings, "SuspendDebtDisabled") else _COLLECT
    links = [_link("10.0", "20.0"), _link("10.0", "20.4"), _link("10.0", "20.1", disabled)]
    links += [_link("10.0", "20.2", disabled), _link("10.0", "20.3"), _link("10.1", "20.3"), _link("10.1", "20.0")]
    links += [_link("10.1", "20.4"), _link("10.1", "20.1", disabled), _link("10.1", "20.2", disabled)]
    if boolean(settings, "SuspendDebtEmergency"):
        links += [_link("10.2", "20.4"), _link("10.2", "20.1"), _link("10.2", "20.2")]
    if asked.device.twin:
        links += [_link("10.0", "20.5"), _link("10.1", "20.5")]
    return (
        set_(ACCOUNT, 2, Structure((Enum(2), Enum(1))), _MODE),
        set_(PREPAYMENT + "22", 4, threshold, Term("disablement threshold")),
        set_(ACCOUNT, 11, Array(tuple(links)), _LINKS),
        activate(PREPAYMENT + "22", 6, asked.when, "the disablement threshold"),
        activate(ACCOUNT, 13, asked.when, "the payment mode"),
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
    amount = DoubleLong(int32(asked.body, path))
    return (act("112/0-0:19.10.0.255", 1, amount, Term("meter balance adjustment")),)


def _reset_balance(_: Asked) -> tuple[Item, ...]:
    return tuple(
        act(f"112/0-0:19.{credit}.255", 2, DoubleLong(0), Term(f"reset of the {name}"))
        for credit, name in _CREDITS.items()
    )


# --- ECS05, ECS07, ECS09


def _reset_block_counters(_: Asked) -> tuple[Item, ...]:
    return (act("9/0-0:10.0.100.255", 1, LongUnsigned(99), Term("tariff script")),)


_PERIODS: Final = {"HOURLY": 3600, "DAILY": 86_400}
"""Seconds between two collections. HOURLY is inferred [I]: only DAILY was seen."""


def charge_table(scale: int, unit: tuple[int, str, int], prices: tuple[tuple[bytes, int], ...]) -> Structure:
    """A charge's passive unit prices: scales, what the price refers to, and the table."""
    commodity_class, commodity, commodity_attribute = unit
    reference = OctetString(Obis.parse(commodity).raw if commodity else bytes(6))
    scales = Structure((Integer(3 if commodity else 0), Integer(scale)))
    commodity_reference = Structure((LongUnsigned(commodity_class), reference, Integer(commodity_attribute)))
    table = Array(tuple(Structure((OctetString(name), Long(price))) for name, price in prices))
    return Structure((scales, commodity_reference, table))


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


def _debt_table(asked: Asked, number: int) -> Item:
    recovery = child(asked.body, f"ElecDebtRecovery{number}")
    rate = int16(recovery, "DebtRecoveryRate")
    table = charge_table(int8(recovery, "DebtRecoveryRatePriceScale"), (0, "", 0), ((b"", rate),))
    term = charge_term(f"debt recovery {number}", f"debt recovery {number} entry")
    return set_(f"113/0-0:19.20.{number}.255", 6, table, term)


def _debt_period(asked: Asked, number: int) -> Item:
    period = one_of(child(asked.body, f"ElecDebtRecovery{number}"), "DebtRecoveryRatePeriod", _PERIODS)
    show = choice({seconds: name for name, seconds in _PERIODS.items()})
    term = Term(f"debt recovery {number} period", show)
    return set_(f"113/0-0:19.20.{number}.255", 8, DoubleLongUnsigned(period), term)


def _debt_register(asked: Asked, number: int, element: str, name: str) -> Item:
    return act(f"113/0-0:19.20.{number}.255", 4, DoubleLong(int32(asked.body, element)), Term(name))


def _update_debt(asked: Asked) -> tuple[Item, ...]:
    per_payment = LongUnsigned(integer(asked.body, "DebtRecoveryPerPayment", 0, 10_000))
    now = Integer(0)
    return (
        _debt_table(asked, 1),
        _debt_table(asked, 2),
        set_("113/0-0:19.20.3.255", 13, per_payment, Term("debt recovery per payment")),
        _debt_period(asked, 1),
        _debt_period(asked, 2),
        act("113/0-0:19.20.1.255", 2, now, Term("activation of debt recovery 1")),
        act("113/0-0:19.20.2.255", 2, now, Term("activation of debt recovery 2")),
        _debt_register(asked, 3, "PaymentDebtRegister", "payment debt register"),
        _debt_register(asked, 1, "TimeDebtRegister1", "time debt register 1"),
        _debt_register(asked, 2, "TimeDebtRegister2", "time debt register 2"),
    )


def _activate_emergency_credit(_: Asked) -> tuple[Item, ...]:
    return (act("112/0-0:19.10.1.255", 3, Integer(0), Term("activation of emergency credit")),)


# --- ECS08, ECS08a: prepayment configuration

RECOVERY_CAP_PERIOD_S: Final = 604_800
"""The debt recovery cap is always per week."""

_SCRIPTS: Final = {"START": 32, "STOP": 33}
_SCHEDULE: Final = schedule_term(
    "non-disablement schedule", choice({number: name for name, number in _SCRIPTS.items()})
)


def _special_days(calendar: Element) -> Array:
    days = child(calendar, "ElectricitySpecialDays").all("SpecialDay")
    return special_days((index(day, 1, SPECIAL_DAYS_MAX), child(day, "Date")) for day in days)


def _schedule_entry(number: int, schedule: Element, special_day_count: int) -> Structure:
    listed = {
        integer(applicability, "SpecialDayID", 1, SPECIAL_DAYS_MAX)
        for applicability in child(schedule, "SpecialDaysApplicability").all("SpecialDayApplicability")
    }
    return schedule_entry(
        number,
        Script("0-0:10.0.106.255", one_of(schedule, "NonDisablementScript", _SCRIPTS)),
        time_of_day(schedule, "ScheduleDatesAndTime/SwitchTime"),
        days_of_week(schedule),
        applicable_days(number, listed, special_day_count),
        plain_date(schedule, "ScheduleDatesAndTime/StartDate"),
        plain_date(schedule, "ScheduleDatesAndTime/EndDate"),
    )


_SETTINGS_IN_ACTIVATION_ORDER: Final = (
    ("9000/0-0:94.44.2.20", "the maximum meter balance"),
    ("9000/0-0:94.44.2.10", "the maximum credit threshold"),
    (PREPAYMENT + "12", "the debt recovery rate cap"),
    (PREPAYMENT + "13", "the debt recovery rate cap period"),
    (PREPAYMENT + "9", "the low credit threshold"),
    (PREPAYMENT + "2", "the emergency credit limit"),
    (PREPAYMENT + "3", "the emergency credit threshold"),
    (PREPAYMENT + "28", "the special days"),
)


def _configuration(asked: Asked, balance_attribute: int) -> tuple[Item, ...]:
    settings = child(asked.body, "UpdatePrepayConfigElectricity")
    calendar = child(settings, "ElectricityNonDisablementCalendar")
    days = _special_days(calendar)
    schedule = tuple(
        _schedule_entry(number, entry, len(days.elements))
        for number, entry in enumerate(calendar.all("ElectricityNonDisablementSchedule"), 1)
    )

    def amount(last: str, element: str, name: str, attribute: int = 4) -> Item:
        return set_(f"9000/0-0:94.44.{last}", attribute, DoubleLong(int32(settings, element)), Term(name))

    cap, cap_period = LongUnsigned(uint16(settings, "DebtRecoveryRateCap")), DoubleLong(RECOVERY_CAP_PERIOD_S)
    return (
        set_("11/0-1:11.0.2.255", 2, days, SPECIAL_DAYS),
        amount("2.20", "MaxMeterBalance", "maximum meter balance", balance_attribute),
        amount("2.10", "MaxCreditThreshold", "maximum credit threshold"),
        set_("10/0-1:12.0.1.255", 2, Array(schedule), _SCHEDULE),
        set_(PREPAYMENT + "12", 4, cap, Term("debt recovery rate cap")),
        set_(PREPAYMENT + "13", 4, cap_period, Term("debt recovery rate cap period")),
        amount("128.9", "LowCreditThreshold", "low credit threshold"),
        amount("128.2", "EmergencyCreditLimit", "emergency credit limit"),
        activate(PREPAYMENT + "31", 6, asked.when, "the non-disablement calendar"),
        amount("128.3", "EmergencyCreditThreshold", "emergency credit threshold"),
        *(activate(target, 6, asked.when, name) for target, name in _SETTINGS_IN_ACTIVATION_ORDER),
    )


def _configuration_old(asked: Asked) -> tuple[Item, ...]:
    return _configuration(asked, balance_attribute=2)


def _configuration_new(asked: Asked) -> tuple[Item, ...]:
    return _configuration(asked, balance_attribute=4)


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
    Rule("ECS08a", 0x00DE, ("2.1",), _configuration_new, applies=_newer, source="B1"),
    Rule("ECS08", 0x001F, ("2.1",), _configuration_old, source="B1"),
    Rule("ECS09", 0x0020, ("2.5",), _activate_emergency_credit, source="B1"),
)
