"""Settings of an ESME and a hub with a shape of their own (transform B10): voltage, billing, demand, MPAN, radio."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from lastmetre.duis.errors import TransformError
from lastmetre.duis.use_cases.gas import customer_identification_number
from lastmetre.duis.use_cases.rules import Asked, Item, Rule, say
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
from lastmetre.gbcs.axdr import BitString
from lastmetre.gbcs.build import hub
from lastmetre.gbcs.build import settings as build
from lastmetre.gbcs.build.times import Date

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element
    from lastmetre.gbcs.build.shapes import Line

# --- ECS29: voltage

_LIMITS: Final = (
    ("RMSExtremeOverVoltage", "extreme_over_voltage"),
    ("RMSExtremeUnderVoltage", "extreme_under_voltage"),
    ("RMSVoltageSag", "voltage_sag"),
    ("RMSVoltageSwell", "voltage_swell"),
)
"""What a limit is called in a request and in ``gbcs.build``."""


def _phases(body: Element) -> tuple[build.PhaseVoltage, ...]:
    """Settings of each phase, in order; one phase has no number."""
    single = body.find("SinglePhaseVoltageSettings")
    if single is not None:
        return (_phase(single),)
    found = {
        integer(phase, "Phase", 1, len(build.PHASE_BASES)): _phase(child(phase, "PhaseVoltageSettings"))
        for phase in body.all("PolyPhaseVoltageSettings")
    }
    if sorted(found) != [1, 2, 3]:
        raise TransformError("voltage settings must name each of the three phases once")
    return tuple(found[number] for number in sorted(found))


def _phase(settings: Element) -> build.PhaseVoltage:
    return build.PhaseVoltage(
        uint32(settings, "AverageRMSVoltageMeasurementPeriod"),
        uint32(settings, "AverageRMSOverVoltageThreshold"),
        uint32(settings, "AverageRMSUnderVoltageThreshold"),
    )


def _voltage(asked: Asked, *, reset: bool) -> tuple[Item, ...]:
    settings = child(asked.body, "RMSVoltageSettings")
    limits = {}
    for element, name in _LIMITS:
        limits[f"{name}_threshold_decivolts"] = uint32(settings, f"{element}Threshold")
        limits[f"{name}_measurement_period_s"] = uint32(settings, f"{element}MeasurementPeriod")
    values = build.SetVoltageLimits(_phases(asked.body), **limits, reset_counters=reset)
    lines = build.voltage_lines(len(values.phases), reset_counters=reset)
    return say(asked, values, *(_voltage_term(line) for line in lines))


def _voltage_term(line: Line) -> Term:
    """What a setting is called, by the object it is written to: its phase, or its limit."""
    obis, attribute = line.spec.obis, getattr(line.spec, "attribute", None)
    _, _, group_c, group_d, group_e, _ = obis.raw
    if group_c not in build.PHASE_BASES:
        name = _LIMITS[group_e - 1][1].replace("_", " ")
        return Term(f"{name} {'threshold' if attribute == 4 else 'measurement period'}")
    phase = build.PHASE_BASES.index(group_c) + 1
    return Term(_OF_PHASE[group_d].format(phase))


_OF_PHASE: Final = MappingProxyType(
    {
        24: "average voltage measurement period of phase {}",
        31: "under voltage threshold of phase {}",
        32: "reset of the under voltage counter of phase {}",
        35: "over voltage threshold of phase {}",
        36: "reset of the over voltage counter of phase {}",
    }
)
"""By group D of the object."""


def _counter_reset(asked: Asked, phases: int) -> tuple[Item, ...]:
    names = (Term(_OF_PHASE[group].format(phase)) for phase in range(1, phases + 1) for group in (32, 36))
    return say(asked, build.ResetVoltageCounters(phases), *names)


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
    ("MaxDemandActivePowerImportValue", "import"),
    ("MaxDemandConfigTimeActivePowerImportValue", "import in the configured period"),
    ("MaxDemandActivePowerExportValue", "export"),
)


def _reset_demand(asked: Asked) -> tuple[Item, ...]:
    """Only the registers that are asked for."""
    chosen = [asked.body.find(element) is not None for element, _ in _DEMANDS]
    if not any(chosen):
        raise TransformError("ResetMaximumDemandRegisters names no register to reset")
    names = (name for (_, name), there in zip(_DEMANDS, chosen, strict=True) if there)
    values = build.ResetMaximumDemand(*chosen)
    return say(asked, values, *(Term(f"reset of maximum demand {name}") for name in names))


# --- ECS39, ECS50: MPANs and the customer identification number


def _mpan(element: Element, path: str) -> str:
    octets = ascii_text(element, path, build.MPAN_LENGTH)
    if len(octets) != build.MPAN_LENGTH:
        raise TransformError(f"{element.name}/{path} must have {build.MPAN_LENGTH} characters")
    return octets.decode()


def _import_mpans(asked: Asked) -> tuple[Item, ...]:
    """One, or both of a twin element meter behind one another."""
    mpans = child(asked.body, "ImportMPANs")
    second = "SecondaryImportMPAN"
    values = build.SetImportMpan(
        _mpan(mpans, "ImportMPAN"), _mpan(mpans, second) if mpans.find(second) is not None else None
    )
    return say(asked, values, Term("import MPAN", text))


def _export_mpan(asked: Asked) -> tuple[Item, ...]:
    return say(asked, build.SetExportMpan(_mpan(asked.body, "ExportMPAN")), Term("export MPAN", text))


def _identification_number(asked: Asked) -> tuple[Item, ...]:
    values = build.SetCustomerIdentificationNumber(customer_identification_number(asked).decode())
    return say(asked, values, Term("customer identification number", text))


# --- DBCH04: a hub's radio

_BANDS: Final = (
    ("LowerBandSubGHzChannels0To26", "lower band, channels 0 to 26"),
    ("LowerBandSubGHzChannels27To34", "lower band, channels 27 to 34"),
    ("LowerBandSubGHzChannels35To61", "lower band, channels 35 to 61"),
    ("UpperBandSubGHzChannels0To26", "upper band, channels 0 to 26"),
)
"""The bands of a request and what they are called, in the order of ``hub.BANDS``."""


def _channels(body: Element, element: str, band: hub.Band) -> tuple[int, ...]:
    group = child(body, element)
    channels = range(band.first, band.last + 1)
    return tuple(channel for channel in channels if group.find(f"Channel{channel}") is not None)


def _show_channels(data: object) -> str:
    if not isinstance(data, BitString) or data.bit_count != hub.MASK_BITS:
        return plain(data)
    mask = int.from_bytes(data.value, "big")
    low_bits = hub.MASK_BITS - hub.PAGE_BITS
    page, channels = mask >> low_bits, mask & (1 << low_bits) - 1
    first = next((band.first for band in hub.BANDS if band.page == page), 0)
    listed = [str(first + at) for at in range(low_bits) if channels >> at & 1]
    return f"page {page}: {', '.join(listed) or 'none'}"


HUNDREDTHS_PLACES: Final = 2
PER_CENT_MAX: Final = 100_00


def _hundredths(body: Element, path: str) -> int:
    return decimal(body, path, HUNDREDTHS_PLACES, PER_CENT_MAX)


_SETTINGS: Final = (
    ("NormalLimitedDutyCycleThreshold", _hundredths, "normal to limited duty cycle threshold"),
    ("LimitedCriticalDutyCycleThreshold", _hundredths, "limited to critical duty cycle threshold"),
    ("MaximumSubGHzChannelChangesPerWeek", uint8, "channel changes per week"),
    ("GSMECurfew", uint16, "GSME curfew"),
    ("ChannelQuieterThreshold", uint8, "channel quieter threshold"),
    ("ChannelNoisierThreshold", uint8, "channel noisier threshold"),
    ("NonGSMEPoorCommsPercentageThreshold", _hundredths, "poor communications percentage"),
    ("NonGSMEPoorCommsMeasurementPeriods", uint8, "poor communications periods"),
    ("LocalCHNoiseMeasurementPeriod", uint16, "noise measurement period"),
    ("LocalCHFailurePercentage", _hundredths, "failure percentage"),
    ("LocalCHRetryPercentage", _hundredths, "retry percentage"),
)
"""The settings of a request, how they are read and what they are called, in the order of ``hub.ConfigureSubGhz``."""
_RADIO: Final = Term(
    "",
    parts=(*(Term(name, _show_channels) for _, name in _BANDS), *(Term(name) for *_, name in _SETTINGS)),
)


def _radio(asked: Asked) -> tuple[Item, ...]:
    body = asked.body
    bands = (_channels(body, element, band) for (element, _), band in zip(_BANDS, hub.BANDS, strict=True))
    settings = (read(body, element) for element, read, _ in _SETTINGS)
    in_order: Any = (*bands, *settings)
    return say(asked, hub.ConfigureSubGhz(*in_order), _RADIO)


CHF: Final = frozenset({"CHF"})
ESME: Final = frozenset({"ESME"})

_RESET: Final = partial(_voltage, reset=True)
_KEEP: Final = partial(_voltage, reset=False)

RULES: Final = (
    Rule("ECS29a", 0x0045, ("6.5",), _RESET, ESME, partial(_voltage_form, single=True, reset=True), "B10"),
    Rule("ECS29b", 0x00AE, ("6.5",), _RESET, ESME, partial(_voltage_form, single=False, reset=True), "B10"),
    Rule("ECS29c", 0x00D1, ("6.5",), _KEEP, ESME, partial(_voltage_form, single=True, reset=False),
         "B10"),
    Rule("ECS29d", 0x00D2, ("6.5",), _KEEP, ESME, partial(_voltage_form, single=False, reset=False),
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
