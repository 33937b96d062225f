"""The ZCL attributes of a gas meter: one row each, with type and value when new.

Source: the Commands and Responses of gbcs-messages sections 8 and 16 for ids and types; the names are Smart Energy's.
An attribute without a row cannot be read (status 86). Money is in thousandths of a penny, as the reference messages
have it (a top-up of 1250 pence is answered with 1250000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from lastmetre.gbcs.zcl import NUMBER_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

BASIC, PRICE, METERING, MESSAGING, PREPAYMENT = 0x0000, 0x0700, 0x0702, 0x0703, 0x0705
CALENDAR, DEVICE_MANAGEMENT, EVENTS = 0x0707, 0x0708, 0x0709

Key: TypeAlias = tuple[int, int]
"""Cluster and attribute id."""
Value: TypeAlias = int | bytes

U8, U16, U24, U32, U48, I32, MAP8, MAP16, ENUM8, OCTETS, TEXT = (
    0x20, 0x21, 0x22, 0x23, 0x25, 0x2B, 0x18, 0x19, 0x30, 0x41, 0x42,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One attribute."""

    name: str
    type: int
    new: Value = 0


# The attributes the behaviour speaks of by name.
SUMMATION: Final = (METERING, 0x0000)
SUPPLY_STATUS: Final = (METERING, 0x0014)
BATTERY: Final = (METERING, 0x0205)
FIRMWARE: Final = (METERING, 0x0206)
"""Read by GCS38: the version of the firmware in force."""
BILL_TO_DATE: Final = (METERING, 0x0A00)
SITE_ID: Final = (METERING, 0x0307)
CONFIGURATION: Final = (PREPAYMENT, 0x0000)
CREDIT: Final = (PREPAYMENT, 0x0001)
EMERGENCY_REMAINING: Final = (PREPAYMENT, 0x0002)
TOTAL_DEBT: Final = (PREPAYMENT, 0x0005)
DEBT_CAP: Final = (PREPAYMENT, 0x0006)
EMERGENCY_LIMIT: Final = (PREPAYMENT, 0x0010)
EMERGENCY_THRESHOLD: Final = (PREPAYMENT, 0x0011)
MAX_CREDIT: Final = (PREPAYMENT, 0x0021)
MAX_TOP_UP: Final = (PREPAYMENT, 0x0022)
LOW_CREDIT_WARNING: Final = (PREPAYMENT, 0x0031)
CUT_OFF: Final = (PREPAYMENT, 0x0040)
DEBT_AMOUNT: Final = ((PREPAYMENT, 0x0211), (PREPAYMENT, 0x0221), (PREPAYMENT, 0x0231))
DEBT_FREQUENCY: Final = ((PREPAYMENT, 0x0216), (PREPAYMENT, 0x0226))
DEBT_RECOVERY: Final = ((PREPAYMENT, 0x0217), (PREPAYMENT, 0x0227))
DEBT_PERCENTAGE: Final = (PREPAYMENT, 0x0239)
STANDING_CHARGE: Final = (PRICE, 0x0301)
CONVERSION_FACTOR: Final = (PRICE, 0x0302)
CONVERSION_DIGIT: Final = (PRICE, 0x0303)
CALORIFIC_VALUE: Final = (PRICE, 0x0304)
CALORIFIC_UNIT: Final = (PRICE, 0x0305)
CALORIFIC_DIGIT: Final = (PRICE, 0x0306)
THRESHOLD_MULTIPLIER: Final = (PRICE, 0x0202)
THRESHOLD_DIVISOR: Final = (PRICE, 0x0203)
TARIFF_UNIT: Final = (PRICE, 0x0615)
CURRENCY: Final = (PRICE, 0x0616)
TRAILING_DIGIT: Final = (PRICE, 0x0617)
THRESHOLDS: Final = tuple((PRICE, 0x0100 + number) for number in range(3))
BLOCK_PRICES: Final = tuple((PRICE, 0x0400 + number) for number in range(4))
TIER_PRICES: Final = tuple((PRICE, 0x0400 + 0x10 * tier) for tier in range(1, 5))
TIER_SUMMATIONS: Final = tuple((METERING, 0x0100 + 2 * number) for number in range(4))
BLOCK_SUMMATIONS: Final = tuple((METERING, 0x0700 + number) for number in range(4))

CREDIT_MODE: Final = 0x0094
PREPAYMENT_BITS: Final = 0x0003
"""Payment configurations: the credit family has neither of these bits, the prepayment family both (section 8.3)."""


def _prices() -> dict[Key, Row]:
    named = {key: Row(f"NoTierBlock{number}Price", U32) for number, key in enumerate(BLOCK_PRICES, 1)}
    return named | {key: Row(f"Tier{number}Block1Price", U32) for number, key in enumerate(TIER_PRICES, 1)}


ATTRIBUTES: Final[Mapping[Key, Row]] = {
    (BASIC, 0x0003): Row("HWVersion", U8, 1),
    (BASIC, 0x0004): Row("ManufacturerName", TEXT, b"lastmetre"),
    (BASIC, 0x0005): Row("ModelIdentifier", TEXT, b"emulated gas meter"),
    **{key: Row(f"Tier1Block{number}Threshold", U48) for number, key in enumerate(THRESHOLDS, 1)},
    THRESHOLD_MULTIPLIER: Row("ThresholdMultiplier", U24, 1),
    THRESHOLD_DIVISOR: Row("ThresholdDivisor", U24, 1_000),
    STANDING_CHARGE: Row("StandingCharge", U32),
    CONVERSION_FACTOR: Row("ConversionFactor", U32, 102_264),
    CONVERSION_DIGIT: Row("ConversionFactorTrailingDigit", MAP8, 0x50),
    CALORIFIC_VALUE: Row("CalorificValue", U32, 395),
    CALORIFIC_UNIT: Row("CalorificValueUnit", ENUM8, 1),
    CALORIFIC_DIGIT: Row("CalorificValueTrailingDigit", MAP8, 0x10),
    **_prices(),
    TARIFF_UNIT: Row("TariffUnit", ENUM8),
    CURRENCY: Row("Currency", U16, 826),
    TRAILING_DIGIT: Row("PriceTrailingDigit", MAP8, 0x50),
    SUMMATION: Row("CurrentSummationDelivered", U48),
    SUPPLY_STATUS: Row("SupplyStatus", ENUM8, 2),
    **{key: Row(f"CurrentTier{number}SummationDelivered", U48) for number, key in enumerate(TIER_SUMMATIONS, 1)},
    **{key: Row(f"CurrentNoTierBlock{number}Summation", U48) for number, key in enumerate(BLOCK_SUMMATIONS, 1)},
    BATTERY: Row("RemainingBatteryLifeDays", U16, 3_650),
    FIRMWARE: Row("CurrentMeterID", OCTETS, bytes(4)),
    (METERING, 0x0300): Row("UnitOfMeasure", ENUM8, 1),
    (METERING, 0x0301): Row("Multiplier", U24, 1),
    (METERING, 0x0302): Row("Divisor", U24, 1_000),
    SITE_ID: Row("SiteID", OCTETS, b""),
    (METERING, 0x0607): Row("SupplyTamperState", ENUM8, 3),
    (METERING, 0x0608): Row("SupplyDepletionState", ENUM8, 3),
    BILL_TO_DATE: Row("BillToDateDelivered", U32),
    (METERING, 0x0B10): Row("UncontrolledFlowThreshold", U16, 200),
    (METERING, 0x0B11): Row("UncontrolledFlowThresholdUnit", ENUM8, 1),
    (METERING, 0x0B12): Row("UncontrolledFlowMultiplier", U16, 1),
    (METERING, 0x0B13): Row("UncontrolledFlowDivisor", U16, 1),
    (METERING, 0x0B14): Row("FlowStabilisationPeriod", U8, 10),
    (METERING, 0x0B15): Row("FlowMeasurementPeriod", U16, 3_600),
    CONFIGURATION: Row("PaymentControlConfiguration", MAP16, CREDIT_MODE),
    CREDIT: Row("CreditRemaining", I32),
    EMERGENCY_REMAINING: Row("EmergencyCreditRemaining", I32),
    TOTAL_DEBT: Row("TotalDebtRemaining", I32),
    DEBT_CAP: Row("OverallDebtCap", I32, 100_000),
    EMERGENCY_LIMIT: Row("EmergencyCreditLimit", U32, 500_000),
    EMERGENCY_THRESHOLD: Row("EmergencyCreditThreshold", U32, 100_000),
    MAX_CREDIT: Row("MaxCreditLimit", U32, 100_000_000),
    MAX_TOP_UP: Row("MaxCreditPerTopUp", U32, 50_000_000),
    LOW_CREDIT_WARNING: Row("LowCreditWarning", U32, 100_000),
    CUT_OFF: Row("CutOffValue", I32, 0),
    **{key: Row(f"DebtAmount{number}", U32) for number, key in enumerate(DEBT_AMOUNT, 1)},
    **{key: Row(f"DebtRecoveryFrequency{number}", ENUM8, 1) for number, key in enumerate(DEBT_FREQUENCY, 1)},
    **{key: Row(f"DebtRecoveryAmount{number}", U32) for number, key in enumerate(DEBT_RECOVERY, 1)},
    DEBT_PERCENTAGE: Row("DebtRecoveryTopUpPercentage3", U16),
}

DERIVED: Final = frozenset({SUPPLY_STATUS, EMERGENCY_REMAINING, TOTAL_DEBT, FIRMWARE})
"""Read from the state, never stored."""


def range_of(key: Key) -> tuple[int, int]:
    """The lowest and highest number an attribute's type has room for."""
    size, signed = NUMBER_TYPES[ATTRIBUTES[key].type]
    return (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1) if signed else (0, (1 << 8 * size) - 1)


def clamped(key: Key, number: int) -> int:
    """A number, as far as an attribute's type has room for it."""
    low, high = range_of(key)
    return min(high, max(low, number))
