"""Debt on an ESME (transform B1 ECS07): registers, recovery rates and periods."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Final, TypeAlias

from lastmetre.gbcs.axdr import DoubleLong, DoubleLongUnsigned, LongUnsigned
from lastmetre.gbcs.build.charges import one_price
from lastmetre.gbcs.build.checks import Int8, Int16, Int32, Whole
from lastmetre.gbcs.build.shapes import DlmsCommand, Field, Line, act, set_, whole

PercentHundredths: TypeAlias = Annotated[int, Whole(0, 10_000)]


class RecoveryPeriod(IntEnum):
    """Seconds between two collections. HOURLY is inferred [I]: only DAILY was seen."""

    HOURLY = 3600
    DAILY = 86_400


def _charge(number: int) -> str:
    return f"113/0-0:19.20.{number}.255"


def _rate(number: int) -> Line:
    name = f"time_debt_{number}_recovery_rate"
    return set_(_charge(number), 6, one_price(f"{name}_scale", name))


def _period(number: int) -> Line:
    name = f"time_debt_{number}_recovery_period"
    return set_(_charge(number), 8, Field(name, DoubleLongUnsigned, lambda data: RecoveryPeriod(data.value)))


@dataclass(frozen=True, slots=True)
class ManageDebt(DlmsCommand):
    """ECS07: change the debt registers and how debt is recovered.

    Amounts are added to the registers. A recovery rate counts in pounds times ten to the power of its scale.
    """

    CODES: ClassVar = (0x001E,)
    LAYOUT: ClassVar = (
        _rate(1),
        _rate(2),
        set_(_charge(3), 13, whole(LongUnsigned, "recovery_per_payment_percent_hundredths")),
        _period(1),
        _period(2),
        act(_charge(1), 2),
        act(_charge(2), 2),
        act(_charge(3), 4, whole(DoubleLong, "payment_debt_millipence")),
        act(_charge(1), 4, whole(DoubleLong, "time_debt_1_millipence")),
        act(_charge(2), 4, whole(DoubleLong, "time_debt_2_millipence")),
    )

    time_debt_1_recovery_rate: Int16
    time_debt_1_recovery_rate_scale: Int8
    time_debt_2_recovery_rate: Int16
    time_debt_2_recovery_rate_scale: Int8
    recovery_per_payment_percent_hundredths: PercentHundredths
    payment_debt_millipence: Int32 = 0
    time_debt_1_millipence: Int32 = 0
    time_debt_2_millipence: Int32 = 0
    time_debt_1_recovery_period: RecoveryPeriod = RecoveryPeriod.DAILY
    time_debt_2_recovery_period: RecoveryPeriod = RecoveryPeriod.DAILY


COMMANDS: Final = (ManageDebt,)
