"""Prepayment and balance of an ESME (transform B1): top-up, payment mode, balance, emergency credit, configuration.

Amounts of money are thousandths of a penny (``_millipence``), as the meter keeps them.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from lastmetre.gbcs.axdr import Array, BitString, Data, DoubleLong, Enum, LongUnsigned, OctetString, Structure
from lastmetre.gbcs.build.calendars import Schedule, ScheduleTable, SpecialDays, check_schedule, special_days
from lastmetre.gbcs.build.checks import Digits, Int32, UInt16
from lastmetre.gbcs.build.frame import Found, Frame
from lastmetre.gbcs.build.shapes import (
    WHEN,
    ZERO,
    DlmsCommand,
    Items,
    Line,
    act,
    const,
    read_lines,
    set_,
    text,
    whole,
    write_lines,
)
from lastmetre.gbcs.dlms import Obis

ACCOUNT: Final = "111/0-1:19.0.0.255"
"""The payment account: mode, charge links, activation."""
PREPAYMENT: Final = "9000/0-0:94.44.128."
"""Prepayment settings; the last number follows."""
METER_BALANCE: Final = "112/0-0:19.10.0.255"
EMERGENCY_CREDIT: Final = "112/0-0:19.10.1.255"
ACCUMULATED_DEBT: Final = "112/0-0:19.10.2.255"

Utrn: TypeAlias = Annotated[str, Digits(20)]


@dataclass(frozen=True, slots=True)
class TopUp(DlmsCommand):
    """CS01a: add credit by the twenty digits of a UTRN."""

    CODES: ClassVar = (0x0007,)
    LAYOUT: ClassVar = (act("115/0-0:19.40.0.255", 1, text("utrn")),)

    utrn: Utrn


# --- ECS02, ECS03: payment mode

_COLLECT: Final = BitString(3, b"\xe0")
"""Collect, also when disabled: 111."""
_SUSPEND: Final = BitString(3, b"\xc0")
"""Do not collect when the supply is disabled: 110."""


def _link(credit: str, charge: str, setting: BitString = _COLLECT) -> Data:
    ends = (Obis.parse(f"0-0:19.{end}.255").raw for end in (credit, charge))
    return Structure((*map(OctetString, ends), setting))


_SECONDARY: Final = _link("10.0", "20.5")
_DEBT_IN_EMERGENCY: Final = _link("10.2", "20.4")
_MODE_CREDIT: Final = const(Structure((Enum(1), Enum(1))))
_MODE_PREPAYMENT: Final = const(Structure((Enum(2), Enum(1))))


@dataclass(frozen=True, slots=True)
class _ChargeLinks:
    """Which charges are collected from which credit: all of it follows from the flags of the record."""

    prepayment: bool

    def write(self, values: Any, frame: Frame) -> Data:
        del frame
        if not self.prepayment:
            charges = ("20.0", "20.4", "20.5") if values.secondary_element else ("20.0", "20.4")
            return Array(tuple(_link("10.0", charge) for charge in charges))
        disabled = _SUSPEND if values.suspend_debt_when_disabled else _COLLECT
        links = [_link("10.0", "20.0"), _link("10.0", "20.4"), _link("10.0", "20.1", disabled)]
        links += [_link("10.0", "20.2", disabled), _link("10.0", "20.3"), _link("10.1", "20.3"), _link("10.1", "20.0")]
        links += [_link("10.1", "20.4"), _link("10.1", "20.1", disabled), _link("10.1", "20.2", disabled)]
        if values.suspend_debt_in_emergency_credit:
            links += [_DEBT_IN_EMERGENCY, _link("10.2", "20.1"), _link("10.2", "20.2")]
        if values.secondary_element:
            links += [_SECONDARY, _link("10.1", "20.5")]
        return Array(tuple(links))

    def read(self, data: Any, found: Found) -> None:
        found.put("secondary_element", _SECONDARY in data.elements)
        if self.prepayment:
            found.put("suspend_debt_when_disabled", _link("10.0", "20.1", _SUSPEND) in data.elements)
            found.put("suspend_debt_in_emergency_credit", _DEBT_IN_EMERGENCY in data.elements)


@dataclass(frozen=True, slots=True)
class SetCreditMode(DlmsCommand):
    """ECS02: payment in arrears. ``secondary_element``: the meter is a twin element meter."""

    CODES: ClassVar = (0x001A,)
    LAYOUT: ClassVar = (
        set_(ACCOUNT, 2, _MODE_CREDIT),
        set_(ACCOUNT, 11, _ChargeLinks(prepayment=False)),
        set_(ACCOUNT, 13, WHEN),
    )

    secondary_element: bool = False


@dataclass(frozen=True, slots=True)
class SetPrepaymentMode(DlmsCommand):
    """ECS03: payment in advance."""

    CODES: ClassVar = (0x001B,)
    LAYOUT: ClassVar = (
        set_(ACCOUNT, 2, _MODE_PREPAYMENT),
        set_(PREPAYMENT + "22", 4, whole(DoubleLong, "disablement_threshold_millipence")),
        set_(ACCOUNT, 11, _ChargeLinks(prepayment=True)),
        set_(PREPAYMENT + "22", 6, WHEN),
        set_(ACCOUNT, 13, WHEN),
    )

    disablement_threshold_millipence: Int32
    suspend_debt_when_disabled: bool
    suspend_debt_in_emergency_credit: bool
    secondary_element: bool = False


# --- ECS04a, ECS04b, ECS05, ECS09


@dataclass(frozen=True, slots=True)
class AdjustMeterBalance(DlmsCommand):
    """ECS04a: add to the meter balance, or take from it."""

    CODES: ClassVar = (0x001C,)
    LAYOUT: ClassVar = (act(METER_BALANCE, 1, whole(DoubleLong, "adjustment_millipence")),)

    adjustment_millipence: Int32


@dataclass(frozen=True, slots=True)
class ResetMeterBalance(DlmsCommand):
    """ECS04b: meter balance, emergency credit and accumulated debt to nothing."""

    CODES: ClassVar = (0x00B3,)
    LAYOUT: ClassVar = tuple(
        act(credit, 2, const(DoubleLong(0))) for credit in (METER_BALANCE, EMERGENCY_CREDIT, ACCUMULATED_DEBT)
    )


@dataclass(frozen=True, slots=True)
class ResetTariffBlockCounters(DlmsCommand):
    """ECS05: the tariff block counter matrix to nothing."""

    CODES: ClassVar = (0x001D,)
    LAYOUT: ClassVar = (act("9/0-0:10.0.100.255", 1, const(LongUnsigned(99))),)


@dataclass(frozen=True, slots=True)
class ActivateEmergencyCredit(DlmsCommand):
    """ECS09."""

    CODES: ClassVar = (0x0020,)
    LAYOUT: ClassVar = (act(EMERGENCY_CREDIT, 3, ZERO),)


# --- ECS08, ECS08a: prepayment configuration

RECOVERY_CAP_PERIOD_S: Final = 604_800
"""The debt recovery cap is always per week."""
CODE_OLD_CONFIGURATION: Final = 0x001F

_ACTIVATED: Final = ("94.44.2.20", "94.44.2.10", *(f"94.44.128.{last}" for last in (12, 13, 9, 2, 3, 28)))


def _amount(last: str, name: str, attribute: int = 4) -> Line:
    return set_(f"9000/0-0:94.44.{last}", attribute, whole(DoubleLong, name))


def _configuration(balance_attribute: int) -> tuple[Line, ...]:
    return (
        set_("11/0-1:11.0.2.255", 2, special_days()),
        _amount("2.20", "max_meter_balance_millipence", balance_attribute),
        _amount("2.10", "max_credit_threshold_millipence"),
        set_("10/0-1:12.0.1.255", 2, ScheduleTable("non_disablement_schedule", "0-0:10.0.106.255")),
        set_(PREPAYMENT + "12", 4, whole(LongUnsigned, "debt_recovery_rate_cap_millipence_per_week")),
        set_(PREPAYMENT + "13", 4, const(DoubleLong(RECOVERY_CAP_PERIOD_S))),
        _amount("128.9", "low_credit_threshold_millipence"),
        _amount("128.2", "emergency_credit_limit_millipence"),
        set_(PREPAYMENT + "31", 6, WHEN),
        _amount("128.3", "emergency_credit_threshold_millipence"),
        *(set_(f"9000/0-0:{last}", 6, WHEN) for last in _ACTIVATED),
    )


_OLD: Final = _configuration(balance_attribute=2)
_NEW: Final = _configuration(balance_attribute=4)


@dataclass(frozen=True, slots=True)
class UpdatePrepaymentConfiguration(DlmsCommand):
    """ECS08a, and ECS08 for older meters. The schedule says when the supply is not disabled for want of credit."""

    CODES: ClassVar = (0x00DE, CODE_OLD_CONFIGURATION)

    max_meter_balance_millipence: Int32
    max_credit_threshold_millipence: Int32
    debt_recovery_rate_cap_millipence_per_week: UInt16
    low_credit_threshold_millipence: Int32
    emergency_credit_limit_millipence: Int32
    emergency_credit_threshold_millipence: Int32
    special_days: SpecialDays = ()
    non_disablement_schedule: Schedule = ()

    def _agree(self) -> None:
        check_schedule(self.non_disablement_schedule, self.special_days)

    def items(self, frame: Frame) -> Items:
        """Older meters have the maximum balance in another attribute."""
        return write_lines(_OLD if frame.message_code == CODE_OLD_CONFIGURATION else _NEW, self, frame)

    @classmethod
    def find(cls, items: Items, found: Found) -> None:
        """The fields, from either form."""
        read_lines(_OLD if found.message_code == CODE_OLD_CONFIGURATION else _NEW, items, found)


COMMANDS: Final = (
    TopUp,
    SetCreditMode,
    SetPrepaymentMode,
    AdjustMeterBalance,
    ResetMeterBalance,
    ResetTariffBlockCounters,
    ActivateEmergencyCredit,
    UpdatePrepaymentConfiguration,
)
