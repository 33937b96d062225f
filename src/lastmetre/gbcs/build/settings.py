"""Messages, names, limits, voltage, billing, demand and identities of an ESME (transform B4, B10)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from lastmetre.gbcs.axdr import (
    Array,
    Data,
    DoubleLongUnsigned,
    LongUnsigned,
    OctetString,
    Structure,
)
from lastmetre.gbcs.build.calendars import ScheduleEntry
from lastmetre.gbcs.build.checks import Checked, Digits, Moment, Size, UInt16, UInt32, Whole
from lastmetre.gbcs.build.frame import Found, Frame
from lastmetre.gbcs.build.shapes import (
    WHEN,
    DlmsCommand,
    Field,
    Items,
    Line,
    act,
    array,
    const,
    flag,
    moment,
    read_lines,
    rows,
    set_,
    text,
    whole,
    write_lines,
)
from lastmetre.gbcs.build.times import Date, TimeOfDay
from lastmetre.gbcs.dlms import Obis
from lastmetre.gbcs.errors import GbcsValueError

MESSAGE_LENGTH_MAX: Final = 116
NAME_LENGTH_MAX: Final = 30
Message: TypeAlias = Annotated[str, Size(1, MESSAGE_LENGTH_MAX)]
Name: TypeAlias = Annotated[str, Size(1, NAME_LENGTH_MAX)]


@dataclass(frozen=True, slots=True)
class SendMessage(DlmsCommand):
    """ECS10: a message to the consumer."""

    CODES: ClassVar = (0x0021,)
    LAYOUT: ClassVar = (set_("1/0-2:96.13.1.255", 2, text("message")),)

    message: Message


@dataclass(frozen=True, slots=True)
class SetChangeOfTenancy(DlmsCommand):
    """ECS12: what was recorded before this moment is not shown any more."""

    CODES: ClassVar = (0x0022,)
    LAYOUT: ClassVar = (set_("1/0-0:94.44.3.2", 2, moment("restriction_at")),)

    restriction_at: Moment


@dataclass(frozen=True, slots=True)
class DisablePrivacyPin(DlmsCommand):
    """ECS14."""

    CODES: ClassVar = (0x0023,)
    LAYOUT: ClassVar = (set_("1/0-0:94.44.3.1", 2, const(OctetString(b""))),)


@dataclass(frozen=True, slots=True)
class SetSupplierContact(DlmsCommand):
    """ECS16."""

    CODES: ClassVar = (0x0025,)
    LAYOUT: ClassVar = (
        set_("9000/0-0:96.13.0.255", 2, text("supplier_telephone_number")),
        set_("9000/0-0:96.13.1.255", 2, text("supplier_name")),
    )

    supplier_name: Name
    supplier_telephone_number: Name


@dataclass(frozen=True, slots=True)
class SetLoadLimits(DlmsCommand):
    """ECS28a: from which power on, for how long, and what happens then."""

    CODES: ClassVar = (0x0043,)
    LAYOUT: ClassVar = (
        set_("9000/0-0:94.44.0.3", 4, flag("disable_supply")),
        set_("9000/0-0:94.44.128.7", 4, whole(DoubleLongUnsigned, "power_threshold_w")),
        set_("9000/0-0:94.44.128.6", 4, whole(DoubleLongUnsigned, "period_s")),
        set_("9000/0-0:94.44.128.8", 4, whole(DoubleLongUnsigned, "restoration_period_s")),
        *(set_(f"9000/0-0:94.44.{last}", 6, WHEN) for last in ("0.3", "128.7", "128.6", "128.8")),
    )

    power_threshold_w: UInt32
    period_s: UInt32
    restoration_period_s: UInt32
    disable_supply: bool = False


@dataclass(frozen=True, slots=True)
class ResetLoadLimitCounter(DlmsCommand):
    """ECS28b."""

    CODES: ClassVar = (0x0044,)
    LAYOUT: ClassVar = (act("3/0-0:94.44.42.255", 1),)


@dataclass(frozen=True, slots=True)
class SetPowerThresholds(DlmsCommand):
    """ECS34: from which power on a display says medium, and high."""

    CODES: ClassVar = (0x0047,)
    LAYOUT: ClassVar = (
        set_(
            "21/0-0:16.0.0.255",
            2,
            array(whole(DoubleLongUnsigned, "low_medium_w"), whole(DoubleLongUnsigned, "medium_high_w")),
        ),
    )

    low_medium_w: UInt32
    medium_high_w: UInt32


@dataclass(frozen=True, slots=True)
class SetRandomisedOffsetLimit(DlmsCommand):
    """ECS38."""

    CODES: ClassVar = (0x004B,)
    LAYOUT: ClassVar = (set_("1/0-0:94.44.0.1", 2, whole(LongUnsigned, "randomised_offset_limit_s")),)

    randomised_offset_limit_s: UInt16


@dataclass(frozen=True, slots=True)
class SetSupplyTamperState(DlmsCommand):
    """ECS81: whether the supply is locked when the meter is tampered with."""

    CODES: ClassVar = (0x0068,)
    LAYOUT: ClassVar = (set_("1/0-0:94.44.0.4", 2, flag("locked")),)

    locked: bool


# --- ECS29: voltage

PHASE_BASES: Final = (32, 52, 72)
"""Group C of the objects of phases 1 to 3."""
_LIMITS: Final = ("extreme_over_voltage", "extreme_under_voltage", "voltage_sag", "voltage_swell")
CODE_RESET_1, CODE_RESET_3, CODE_KEEP_1, CODE_KEEP_3 = 0x0045, 0x00AE, 0x00D1, 0x00D2


@dataclass(frozen=True, slots=True)
class PhaseVoltage(Checked):
    """Average voltage of one phase: how long it is measured, and what is too much or too little."""

    measurement_period_s: UInt32
    over_voltage_threshold_decivolts: UInt32
    under_voltage_threshold_decivolts: UInt32


def _limit_lines() -> tuple[Line, ...]:
    lines = []
    for number, name in enumerate(_LIMITS, 1):
        place = f"71/0-0:17.0.{number}.255"
        lines.append(set_(place, 4, whole(DoubleLongUnsigned, f"{name}_threshold_decivolts")))
        lines.append(set_(place, 6, whole(DoubleLongUnsigned, f"{name}_measurement_period_s")))
    return tuple(lines)


def _of_phase(place: str, attribute: int, phase: int, name: str) -> Line:
    """A setting of one phase, under a name that ``find`` sorts out again."""
    base = PHASE_BASES[phase - 1]
    return set_(place.format(base), attribute, whole(DoubleLongUnsigned, f"{name} {phase}"))


def _period(phase: int) -> Line:
    return _of_phase("7/1-0:{}.24.0.255", 4, phase, "measurement_period_s")


def _over(phase: int) -> Line:
    return _of_phase("1/1-0:{}.35.0.4", 2, phase, "over_voltage_threshold_decivolts")


def _under(phase: int) -> Line:
    return _of_phase("1/1-0:{}.31.0.4", 2, phase, "under_voltage_threshold_decivolts")


def _resets(phases: Iterable[int]) -> tuple[Line, ...]:
    return tuple(act(f"3/1-0:{PHASE_BASES[phase - 1]}.{group}.0.4", 1) for phase in phases for group in (32, 36))


def voltage_lines(phases: int, *, reset_counters: bool) -> tuple[Line, ...]:
    """Periods, limits, thresholds and counters; with a reset, phase 1 has its thresholds the other way round."""
    numbers = range(1, phases + 1)
    periods = tuple(map(_period, numbers))
    if not reset_counters:
        thresholds = tuple(line for phase in numbers for line in (_under(phase), _over(phase)))
        return (*thresholds, *periods, *_limit_lines())
    pairs = ((_over(phase), _under(phase)) if phase == 1 else (_under(phase), _over(phase)) for phase in numbers)
    return (*periods, *_limit_lines(), *(line for pair in pairs for line in pair), *_resets(numbers))


class _Flat:
    """The settings of all phases and all limits by one name each."""

    def __init__(self, values: "SetVoltageLimits") -> None:
        for name in _LIMITS:
            for part in ("threshold_decivolts", "measurement_period_s"):
                setattr(self, f"{name}_{part}", getattr(values, f"{name}_{part}"))
        for number, phase in enumerate(values.phases, 1):
            setattr(self, f"measurement_period_s {number}", phase.measurement_period_s)
            for name in ("over_voltage_threshold_decivolts", "under_voltage_threshold_decivolts"):
                setattr(self, f"{name} {number}", getattr(phase, name))


@dataclass(frozen=True, slots=True)
class SetVoltageLimits(DlmsCommand):
    """ECS29a to ECS29d: one or three phases, with their counters reset or not. Voltages in tenths of a volt [I]."""

    CODES: ClassVar = (CODE_RESET_1, CODE_RESET_3, CODE_KEEP_1, CODE_KEEP_3)

    phases: Annotated[tuple[PhaseVoltage, ...], Size(1, 1, frozenset({3}))]
    extreme_over_voltage_threshold_decivolts: UInt32
    extreme_over_voltage_measurement_period_s: UInt32
    extreme_under_voltage_threshold_decivolts: UInt32
    extreme_under_voltage_measurement_period_s: UInt32
    voltage_sag_threshold_decivolts: UInt32
    voltage_sag_measurement_period_s: UInt32
    voltage_swell_threshold_decivolts: UInt32
    voltage_swell_measurement_period_s: UInt32
    reset_counters: bool = True

    @property
    def message_codes(self) -> tuple[int, ...]:
        """By the number of phases and the reset."""
        if len(self.phases) == 1:
            return (CODE_RESET_1 if self.reset_counters else CODE_KEEP_1,)
        return (CODE_RESET_3 if self.reset_counters else CODE_KEEP_3,)

    def items(self, frame: Frame) -> Items:
        """Each setting of each phase."""
        lines = voltage_lines(len(self.phases), reset_counters=self.reset_counters)
        return write_lines(lines, _Flat(self), frame)

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """Phases gathered again."""
        count = 1 if found.message_code in {CODE_RESET_1, CODE_KEEP_1} else 3
        reset = found.message_code in {CODE_RESET_1, CODE_RESET_3}
        flat = Found(found.message_code)
        read_lines(voltage_lines(count, reset_counters=reset), items, flat)
        names = ("measurement_period_s", "over_voltage_threshold_decivolts", "under_voltage_threshold_decivolts")
        phases = range(1, count + 1)
        found.put("phases", tuple(PhaseVoltage(*(flat.values[f"{name} {at}"] for name in names)) for at in phases))
        found.put("reset_counters", reset)
        for name, value in flat.values.items():
            if " " not in name:
                found.put(name, value)


@dataclass(frozen=True, slots=True)
class ResetVoltageCounters(DlmsCommand):
    """ECS29e, ECS29f: of one or three phases."""

    CODES: ClassVar = (0x00D3, 0x00D4)

    phases: Annotated[int, Whole(1, 1, frozenset({3}))] = 1

    @property
    def message_codes(self) -> tuple[int, ...]:
        """By the number of phases."""
        return (0x00D3,) if self.phases == 1 else (0x00D4,)

    def items(self, frame: Frame) -> Items:
        """Two counters of each phase."""
        return write_lines(_resets(range(1, self.phases + 1)), self, frame)

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """How many phases there are."""
        found.put("phases", len(items) // 2)


# --- ECS30, ECS48: billing calendar and the daily reset of block counters


@dataclass(frozen=True, slots=True)
class BillingTime(Checked):
    """When a billing period ends: a time of day, on dates whose parts may be left open."""

    at: TimeOfDay
    on: Date

    def to_data(self) -> Data:
        """Its row."""
        return Structure((self.at.dlms, self.on.dlms))

    @classmethod
    def from_data(cls, data: Any) -> "BillingTime":
        """From its row."""
        at, on = data.elements
        return cls(TimeOfDay.from_dlms(at.value), Date.from_dlms(on.value))


@dataclass(frozen=True, slots=True)
class SetBillingCalendar(DlmsCommand):
    """ECS30a, and ECS30, the first form, which knows months alone [I]."""

    CODES: ClassVar = (0x00D7, 0x0046)
    LAYOUT: ClassVar = (set_("22/0-0:15.0.0.255", 4, rows("times", BillingTime.to_data, BillingTime.from_data)),)

    times: Annotated[tuple[BillingTime, ...], Size(1, 255)]


EVERY_DAY_AT_MIDNIGHT: Final = Structure((TimeOfDay().dlms, Date().dlms))


@dataclass(frozen=True, slots=True)
class SetDailyBlockCounterReset(DlmsCommand):
    """ECS48: tariff block counters are reset every day, or not: then the list is empty [I]."""

    CODES: ClassVar = (0x00DB,)
    LAYOUT: ClassVar = (
        set_(
            "22/0-0:15.1.0.255",
            4,
            Field(
                "reset_every_day",
                lambda given: Array((EVERY_DAY_AT_MIDNIGHT,) if given else ()),
                lambda data: bool(data.elements),
            ),
        ),
    )

    reset_every_day: bool


# --- ECS37, ECS57: maximum demand

_DEMAND_TABLE: Final = Obis.parse("0-0:10.128.100.255")
_DEMAND_START: Final = OctetString(b"\x00\x00\x01\xff\xff")


def _demand_entry(number: int, at: TimeOfDay) -> Structure:
    """One of the two entries; the dates are the same in every sample."""
    entry = ScheduleEntry(number + 1, at).to_data(number, _DEMAND_TABLE, 0)
    return Structure((*entry.elements[:8], _DEMAND_START, *entry.elements[9:]))


@dataclass(frozen=True, slots=True)
class _DemandSchedule:
    """Start (script 1) and end (script 2) of the period in which demand is recorded apart."""

    def write(self, values: Any, frame: Frame) -> Data:
        del frame
        return Array(tuple(_demand_entry(number, at) for number, at in enumerate((values.start, values.end))))

    def read(self, data: Any, found: Found) -> None:
        start, end = (TimeOfDay.from_dlms(entry.elements[4].value) for entry in data.elements)
        found.put("start", start)
        found.put("end", end)


@dataclass(frozen=True, slots=True)
class SetMaximumDemandPeriod(DlmsCommand):
    """ECS37: the time of day within which maximum demand is recorded apart."""

    CODES: ClassVar = (0x004A,)
    LAYOUT: ClassVar = (set_("10/0-0:12.0.0.255", 2, _DemandSchedule()),)

    start: TimeOfDay
    end: TimeOfDay


_DEMANDS: Final = (
    ("active_import", act("4/1-0:1.6.0.255", 1)),
    ("configured_period_import", act("4/1-0:1.6.1.255", 1)),
    ("active_export", act("4/1-0:2.6.0.255", 1)),
)


@dataclass(frozen=True, slots=True)
class ResetMaximumDemand(DlmsCommand):
    """ECS57: the registers that are named."""

    CODES: ClassVar = (0x005A,)

    active_import: bool = False
    configured_period_import: bool = False
    active_export: bool = False

    def _agree(self) -> None:
        if not (self.active_import or self.configured_period_import or self.active_export):
            raise GbcsValueError("ResetMaximumDemand names no register to reset")

    def items(self, frame: Frame) -> Items:
        """One action for each."""
        return write_lines((line for name, line in _DEMANDS if getattr(self, name)), self, frame)

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """Which are there."""
        there = {spec for spec, _ in items}
        for name, line in _DEMANDS:
            found.put(name, line.spec in there)


# --- ECS39, ECS50: MPANs and the customer identification number

MPAN_LENGTH: Final = 13
Mpan: TypeAlias = Annotated[str, Size(MPAN_LENGTH, MPAN_LENGTH)]


@dataclass(frozen=True, slots=True)
class _Mpans:
    """One, or both of a twin element meter behind one another."""

    def write(self, values: Any, frame: Frame) -> Data:
        del frame
        return OctetString((values.import_mpan + (values.secondary_import_mpan or "")).encode())

    def read(self, data: Any, found: Found) -> None:
        both = data.value.decode("ascii")
        found.put("import_mpan", both[:MPAN_LENGTH])
        found.put("secondary_import_mpan", both[MPAN_LENGTH:] or None)


@dataclass(frozen=True, slots=True)
class SetImportMpan(DlmsCommand):
    """ECS39a."""

    CODES: ClassVar = (0x004C,)
    LAYOUT: ClassVar = (set_("1/0-0:94.44.34.11", 2, _Mpans()),)

    import_mpan: Mpan
    secondary_import_mpan: Mpan | None = None


@dataclass(frozen=True, slots=True)
class SetExportMpan(DlmsCommand):
    """ECS39b."""

    CODES: ClassVar = (0x004D,)
    LAYOUT: ClassVar = (set_("1/1-0:0.0.2.255", 2, text("export_mpan")),)

    export_mpan: Mpan


@dataclass(frozen=True, slots=True)
class SetCustomerIdentificationNumber(DlmsCommand):
    """ECS50."""

    CODES: ClassVar = (0x0058,)
    LAYOUT: ClassVar = (set_("1/0-3:96.13.1.255", 2, text("customer_identification_number")),)

    customer_identification_number: Annotated[str, Digits(4)]


COMMANDS: Final = (
    SendMessage, SetChangeOfTenancy, DisablePrivacyPin, SetSupplierContact, SetLoadLimits, ResetLoadLimitCounter,
    SetPowerThresholds, SetRandomisedOffsetLimit, SetSupplyTamperState, SetVoltageLimits, ResetVoltageCounters,
    SetBillingCalendar, SetDailyBlockCounterReset, SetMaximumDemandPeriod, ResetMaximumDemand, SetImportMpan,
    SetExportMpan, SetCustomerIdentificationNumber,
)  # fmt: skip
