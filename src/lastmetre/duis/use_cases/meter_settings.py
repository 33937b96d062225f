"""Settings of an ESME and a hub with a shape of their own (transform B10): voltage, billing, demand, MPAN, radio."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.gas import customer_identification_number
from lastmetre.duis.use_cases.rules import Asked, Item, Rule, act, say, set_
from lastmetre.duis.use_cases.schedules import schedule_term
from lastmetre.duis.use_cases.terms import Term, choice, date, plain, text, time
from lastmetre.duis.use_cases.values import (
    ascii_text,
    boolean,
    child,
    decimal,
    integer,
    time_of_day,
    uint8,
    uint16,
    uint32,
)
from lastmetre.gbcs.axdr import (
    BitString,
    Data,
    DoubleLongUnsigned,
    Integer,
    LongUnsigned,
    OctetString,
    Structure,
    Unsigned,
)
from lastmetre.gbcs.build import settings as build
from lastmetre.gbcs.build.times import Date

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lastmetre.duis.xml import Element

# --- ECS29: voltage

PHASE_BASES: Final = (32, 52, 72)
"""Group C of the objects of phases 1 to 3."""
_LIMITS: Final = (
    (1, "RMSExtremeOverVoltage", "extreme over voltage"),
    (2, "RMSExtremeUnderVoltage", "extreme under voltage"),
    (3, "RMSVoltageSag", "voltage sag"),
    (4, "RMSVoltageSwell", "voltage swell"),
)


def _phases(body: Element) -> list[tuple[int, Element]]:
    """Settings of each phase, in order; one phase has no number."""
    single = body.find("SinglePhaseVoltageSettings")
    if single is not None:
        return [(1, single)]
    found = [
        (integer(phase, "Phase", 1, len(PHASE_BASES)), child(phase, "PhaseVoltageSettings"))
        for phase in body.all("PolyPhaseVoltageSettings")
    ]
    if sorted(number for number, _ in found) != [1, 2, 3]:
        raise TransformError("voltage settings must name each of the three phases once")
    return sorted(found, key=lambda numbered: numbered[0])


def _limit_items(body: Element) -> Iterable[Item]:
    settings = child(body, "RMSVoltageSettings")
    for number, element, name in _LIMITS:
        place = f"71/0-0:17.0.{number}.255"
        threshold = DoubleLongUnsigned(uint32(settings, f"{element}Threshold"))
        period = DoubleLongUnsigned(uint32(settings, f"{element}MeasurementPeriod"))
        yield set_(place, 4, threshold, Term(f"{name} threshold"))
        yield set_(place, 6, period, Term(f"{name} measurement period"))


def _period_item(phase: int, settings: Element) -> Item:
    period = DoubleLongUnsigned(uint32(settings, "AverageRMSVoltageMeasurementPeriod"))
    place = f"7/1-0:{PHASE_BASES[phase - 1]}.24.0.255"
    return set_(place, 4, period, Term(f"average voltage measurement period of phase {phase}"))


def _over(phase: int, settings: Element) -> Item:
    threshold = DoubleLongUnsigned(uint32(settings, "AverageRMSOverVoltageThreshold"))
    return set_(
        f"1/1-0:{PHASE_BASES[phase - 1]}.35.0.4", 2, threshold, Term(f"over voltage threshold of phase {phase}")
    )


def _under(phase: int, settings: Element) -> Item:
    threshold = DoubleLongUnsigned(uint32(settings, "AverageRMSUnderVoltageThreshold"))
    return set_(
        f"1/1-0:{PHASE_BASES[phase - 1]}.31.0.4", 2, threshold, Term(f"under voltage threshold of phase {phase}")
    )


def _reset_counters(phases: Iterable[int]) -> Iterable[Item]:
    for phase in phases:
        for group, name in ((32, "under voltage"), (36, "over voltage")):
            place = f"3/1-0:{PHASE_BASES[phase - 1]}.{group}.0.4"
            yield act(place, 1, Integer(0), Term(f"reset of the {name} counter of phase {phase}"))


def _voltage(asked: Asked) -> tuple[Item, ...]:
    """Periods, limits, thresholds (of phase 1 the other way round than of the others), and counters back to zero."""
    phases = _phases(asked.body)
    thresholds: list[Item] = []
    for phase, settings in phases:
        pair = (_over(phase, settings), _under(phase, settings))
        thresholds += pair if phase == 1 else pair[::-1]
    return (
        *(_period_item(phase, settings) for phase, settings in phases),
        *_limit_items(asked.body),
        *thresholds,
        *_reset_counters(phase for phase, _ in phases),
    )


def _voltage_without_reset(asked: Asked) -> tuple[Item, ...]:
    phases = _phases(asked.body)
    thresholds = [item for phase, settings in phases for item in (_under(phase, settings), _over(phase, settings))]
    return (*thresholds, *(_period_item(phase, settings) for phase, settings in phases), *_limit_items(asked.body))


def _counter_reset(_: Asked, phases: int) -> tuple[Item, ...]:
    return tuple(_reset_counters(range(1, phases + 1)))


def _voltage_form(asked: Asked, *, single: bool, reset: bool) -> bool:
    is_single = asked.body.find("SinglePhaseVoltageSettings") is not None
    resets = asked.body.find("RMSVoltageCountersNotReset") is None
    return (is_single, resets) == (single, reset)


def _has_phases(asked: Asked, *, single: bool) -> bool:
    return (asked.device.phases == 1) is single


# --- ECS30, ECS48: billing calendar and the daily reset of block counters

BILLING_DAY_MAX: Final = 28
_MONTHS_BETWEEN: Final = {"Quarterly": 3, "SixMonthly": 6, "Yearly": 12}
_EXECUTIONS: Final = Term("billing times", each=Term("billing time", parts=(Term("time", time), Term("date", date))))


_DAILY: Final = Date()


def _billing_dates(calendar: Element) -> list[Date]:
    """The dates of a billing calendar. Monthly and Quarterly were seen, the others follow their pattern [I]."""
    if calendar.find("Daily") is not None:
        return [_DAILY]
    if calendar.find("Weekly") is not None:
        return [Date(day_of_week=integer(calendar, "Weekly", 1, 7))]
    if calendar.find("Monthly") is not None:
        return [Date(day=integer(calendar, "Monthly", 1, BILLING_DAY_MAX))]
    for name, step in _MONTHS_BETWEEN.items():
        period = calendar.find(name)
        if period is not None:
            day = integer(period, "DayOfMonth", 1, BILLING_DAY_MAX)
            first = integer(period, "BillingPeriodStartMonth", 1, 12)
            # In the order of the periods, from the first on; a start in February goes on to next January [I].
            return [Date(month=(first - 1 + add) % 12 + 1, day=day) for add in range(0, 12, step)]
    raise TransformError("ElectricityBillingCalendar names no period")


def _billing_calendar(asked: Asked) -> tuple[Item, ...]:
    calendar = child(asked.body, "ElectricityBillingCalendar")
    at = time_of_day(calendar, "BillingTime")
    times = tuple(build.BillingTime(at, day) for day in _billing_dates(calendar))
    return say(asked, build.SetBillingCalendar(times), _EXECUTIONS)


def _monthly(asked: Asked) -> bool:
    """The first form knows months alone; every other period needs the later one [I]."""
    return asked.body.find("ElectricityBillingCalendar/Monthly") is not None


_RESETS: Final = Term("reset times", each=Term("reset time", parts=(Term("time", time), Term("date", date))))


def _daily_reset(asked: Asked) -> tuple[Item, ...]:
    """Every day at midnight; no reset is an empty list [I]."""
    daily = boolean(asked.body, "DailyTariffBlockCounterMatrixReset")
    return say(asked, build.SetDailyBlockCounterReset(daily), _RESETS)


# --- ECS37, ECS57: maximum demand

_DEMAND: Final = schedule_term("demand period", choice({1: "start", 2: "end"}))


def _demand_period(asked: Asked) -> tuple[Item, ...]:
    period = child(asked.body, "MaximumDemandTimePeriodSchedule")
    start, end = (time_of_day(period, element) for element in ("StartTime", "EndTime"))
    return say(asked, build.SetMaximumDemandPeriod(start, end), _DEMAND)


_DEMANDS: Final = (
    ("MaxDemandActivePowerImportValue", "1-0:1.6.0.255", "import"),
    ("MaxDemandConfigTimeActivePowerImportValue", "1-0:1.6.1.255", "import in the configured period"),
    ("MaxDemandActivePowerExportValue", "1-0:2.6.0.255", "export"),
)


def _reset_demand(asked: Asked) -> tuple[Item, ...]:
    """Only the registers that are asked for."""
    chosen = [row for row in _DEMANDS if asked.body.find(row[0]) is not None]
    if not chosen:
        raise TransformError("ResetMaximumDemandRegisters names no register to reset")
    return tuple(act(f"4/{place}", 1, Integer(0), Term(f"reset of maximum demand {name}")) for _, place, name in chosen)


# --- ECS39, ECS50: MPANs and the customer identification number

MPAN_LENGTH: Final = 13


def _mpan(element: Element, path: str) -> bytes:
    octets = ascii_text(element, path, MPAN_LENGTH)
    if len(octets) != MPAN_LENGTH:
        raise TransformError(f"{element.name}/{path} must have {MPAN_LENGTH} characters")
    return octets


def _import_mpans(asked: Asked) -> tuple[Item, ...]:
    """One, or both of a twin element meter behind one another."""
    mpans = child(asked.body, "ImportMPANs")
    names = [name for name in ("ImportMPAN", "SecondaryImportMPAN") if mpans.find(name) is not None]
    value = OctetString(b"".join(_mpan(mpans, name) for name in names))
    return (set_("1/0-0:94.44.34.11", 2, value, Term("import MPAN", text)),)


def _export_mpan(asked: Asked) -> tuple[Item, ...]:
    value = OctetString(_mpan(asked.body, "ExportMPAN"))
    return (set_("1/1-0:0.0.2.255", 2, value, Term("export MPAN", text)),)


def _identification_number(asked: Asked) -> tuple[Item, ...]:
    number = OctetString(customer_identification_number(asked))
    return (set_("1/0-3:96.13.1.255", 2, number, Term("customer identification number", text)),)


# --- DBCH04: a hub's radio

_BANDS: Final = (
    ("LowerBandSubGHzChannels0To26", 0b11100, 0, 26, "lower band, channels 0 to 26"),
    ("LowerBandSubGHzChannels27To34", 0b11101, 27, 34, "lower band, channels 27 to 34"),
    ("LowerBandSubGHzChannels35To61", 0b11110, 35, 61, "lower band, channels 35 to 61"),
    ("UpperBandSubGHzChannels0To26", 0b11111, 0, 26, "upper band, channels 0 to 26"),
)
PAGE_BITS: Final = 5
MASK_BITS: Final = 32


def _channels(body: Element, element: str, page: int, first: int, last: int) -> BitString:
    """A page number in the five highest bits, and a bit for each channel, the first in the lowest."""
    group = child(body, element)
    mask = page << MASK_BITS - PAGE_BITS
    for channel in range(first, last + 1):
        if group.find(f"Channel{channel}") is not None:
            mask |= 1 << channel - first
    return BitString(MASK_BITS, mask.to_bytes(MASK_BITS // 8, "big"))


def _show_channels(data: object) -> str:
    if not isinstance(data, BitString) or data.bit_count != MASK_BITS:
        return plain(data)
    mask = int.from_bytes(data.value, "big")
    page, channels = mask >> MASK_BITS - PAGE_BITS, mask & (1 << MASK_BITS - PAGE_BITS) - 1
    first = next((first for _, number, first, *_ in _BANDS if number == page), 0)
    listed = [str(first + at) for at in range(MASK_BITS - PAGE_BITS) if channels >> at & 1]
    return f"page {page}: {', '.join(listed) or 'none'}"


HUNDREDTHS_PLACES: Final = 2
PER_CENT_MAX: Final = 100_00


def _hundredths(body: Element, path: str) -> Data:
    return LongUnsigned(decimal(body, path, HUNDREDTHS_PLACES, PER_CENT_MAX))


def _radio(asked: Asked) -> tuple[Item, ...]:
    body = asked.body
    settings: tuple[tuple[str, Data], ...] = (
        ("normal to limited duty cycle threshold", _hundredths(body, "NormalLimitedDutyCycleThreshold")),
        ("limited to critical duty cycle threshold", _hundredths(body, "LimitedCriticalDutyCycleThreshold")),
        ("channel changes per week", Unsigned(uint8(body, "MaximumSubGHzChannelChangesPerWeek"))),
        ("GSME curfew", LongUnsigned(uint16(body, "GSMECurfew"))),
        ("channel quieter threshold", Unsigned(uint8(body, "ChannelQuieterThreshold"))),
        ("channel noisier threshold", Unsigned(uint8(body, "ChannelNoisierThreshold"))),
        ("poor communications percentage", _hundredths(body, "NonGSMEPoorCommsPercentageThreshold")),
        ("poor communications periods", Unsigned(uint8(body, "NonGSMEPoorCommsMeasurementPeriods"))),
        ("noise measurement period", LongUnsigned(uint16(body, "LocalCHNoiseMeasurementPeriod"))),
        ("failure percentage", _hundredths(body, "LocalCHFailurePercentage")),
        ("retry percentage", _hundredths(body, "LocalCHRetryPercentage")),
    )
    masks = tuple(_channels(body, element, page, first, last) for element, page, first, last, _ in _BANDS)
    names = (*(Term(name, _show_channels) for *_, name in _BANDS), *(Term(name) for name, _ in settings))
    data = Structure((*masks, *(value for _, value in settings)))
    return (set_("1/0-0:94.44.10.0", 2, data, Term("", parts=names)),)


CHF: Final = frozenset({"CHF"})
ESME: Final = frozenset({"ESME"})

RULES: Final = (
    Rule("ECS29a", 0x0045, ("6.5",), _voltage, ESME, partial(_voltage_form, single=True, reset=True), "B10"),
    Rule("ECS29b", 0x00AE, ("6.5",), _voltage, ESME, partial(_voltage_form, single=False, reset=True), "B10"),
    Rule("ECS29c", 0x00D1, ("6.5",), _voltage_without_reset, ESME, partial(_voltage_form, single=True, reset=False),
         "B10"),
    Rule("ECS29d", 0x00D2, ("6.5",), _voltage_without_reset, ESME, partial(_voltage_form, single=False, reset=False),
         "B10"),
    Rule("ECS29e", 0x00D3, ("6.27",), partial(_counter_reset, phases=1), ESME, partial(_has_phases, single=True),
         "B10"),
    Rule("ECS29f", 0x00D4, ("6.27",), partial(_counter_reset, phases=3), ESME, partial(_has_phases, single=False),
         "B10"),
    Rule("ECS30", 0x0046, ("6.8",), _billing_calendar, ESME, _monthly, "B10"),
    Rule("ECS30a", 0x00D7, ("6.8",), _billing_calendar, ESME, source="B10"),
    Rule("ECS48", 0x00DB, ("6.26",), _daily_reset, ESME, source="B10"),
    Rule("ECS37", 0x004A, ("6.18.1",), _demand_period, ESME, source="B10"),
    Rule("ECS57", 0x005A, ("6.18.2",), _reset_demand, ESME, source="B10"),
    Rule("ECS39a", 0x004C, ("6.20.1",), _import_mpans, ESME, source="B10"),
    Rule("ECS39b", 0x004D, ("6.20.2",), _export_mpan, ESME, source="B10"),
    Rule("ECS50", 0x0058, ("9.1",), _identification_number, ESME, source="B10"),
    Rule("DBCH04", 0x010D, ("6.28",), _radio, CHF, source="B10"),
)  # fmt: skip
