"""Supply and clock of an ESME (transform B2, B5)."""

from dataclasses import dataclass
from typing import ClassVar, Final

from lastmetre.gbcs.axdr import Enum, Integer, LongUnsigned, OctetString
from lastmetre.gbcs.build.checks import Moment
from lastmetre.gbcs.build.shapes import DlmsCommand, Line, act, const, get, moment, set_, struct
from lastmetre.gbcs.datetimes import DATE_TIME_NEVER
from lastmetre.gbcs.errors import GbcsValueError

CLOCK: Final = "8/0-0:1.0.0.255"
SCRIPT_ENABLE: Final = 51
SCRIPT_DISABLE: Final = 52
SCRIPT_ARM: Final = 54


def _run(script: int) -> tuple[Line, ...]:
    """A script of the disconnect script table."""
    return (act("9/0-0:10.0.106.255", 1, const(LongUnsigned(script))),)


@dataclass(frozen=True, slots=True)
class EnableSupply(DlmsCommand):
    """ECS42: connect the supply."""

    CODES: ClassVar = (0x004F,)
    LAYOUT: ClassVar = _run(SCRIPT_ENABLE)


@dataclass(frozen=True, slots=True)
class DisableSupply(DlmsCommand):
    """ECS43: disconnect the supply."""

    CODES: ClassVar = (0x0050,)
    LAYOUT: ClassVar = _run(SCRIPT_DISABLE)


@dataclass(frozen=True, slots=True)
class ArmSupply(DlmsCommand):
    """ECS44: let the consumer connect the supply."""

    CODES: ClassVar = (0x0051,)
    LAYOUT: ClassVar = _run(SCRIPT_ARM)


@dataclass(frozen=True, slots=True)
class ReadSupplyStatus(DlmsCommand):
    """ECS45."""

    CODES: ClassVar = (0x0052,)
    LAYOUT: ClassVar = get("70/0-0:96.3.10.255", 3)


@dataclass(frozen=True, slots=True)
class SynchroniseClock(DlmsCommand):
    """ECS70: the meter sets its clock if the hub's time lies between the two moments."""

    CODES: ClassVar = (0x0062,)
    LAYOUT: ClassVar = (
        set_(CLOCK, 9, const(Enum(5))),
        act(CLOCK, 5, struct(const(OctetString(DATE_TIME_NEVER)), moment("not_before_at"), moment("not_after_at"))),
        act(CLOCK, 4, const(Integer(0))),
        *get(CLOCK, 2, 4),
    )

    not_before_at: Moment
    not_after_at: Moment

    def _agree(self) -> None:
        if self.not_after_at < self.not_before_at:
            raise GbcsValueError("SynchroniseClock.not_after_at must not lie before not_before_at")


COMMANDS: Final = (EnableSupply, DisableSupply, ArmSupply, ReadSupplyStatus, SynchroniseClock)
