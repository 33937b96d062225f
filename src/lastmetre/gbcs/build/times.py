"""When a Command takes effect, and calendar dates, in the forms of DLMS, GBZ and ASN.1 (gbcs-messages 7.4, 10.3)."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final, TypeAlias

from lastmetre.gbcs.asn1 import TIME_NEVER
from lastmetre.gbcs.axdr import BitString, OctetString
from lastmetre.gbcs.build.checks import Checked, Whole
from lastmetre.gbcs.datetimes import (
    ANY,
    ANY_YEAR,
    DATE_TIME_NEVER,
    DATE_TIME_NOW,
    ZIGBEE_EPOCH_AT,
    CosemDateTime,
    date_time_from_unix,
    generalized_from_unix,
    unix_from_generalized,
    zigbee_from_unix,
)
from lastmetre.gbcs.errors import GbcsValueError


class Moments(Enum):
    """The two times of activation that are no moment."""

    NOW = "now"
    CANCEL = "cancel"


NOW: Final = Moments.NOW
"""Take effect at once."""
CANCEL: Final = Moments.CANCEL
"""Never take effect: whatever is pending for the same settings is taken back."""

When: TypeAlias = Moments | int
"""``NOW``, ``CANCEL``, or a moment in Unix seconds."""

ZIGBEE_CANCEL: Final = 0xFFFF_FFFF
ZIGBEE_CALENDAR_CANCEL: Final = 0xFFFF_FFFE


@dataclass(frozen=True, slots=True)
class Activation:
    """When a Command takes effect, in the form of each family (section 10.3)."""

    dlms: OctetString
    zigbee: int
    """Seconds since 2000, as times of 0x0705 commands and of tariff information have it."""
    zigbee_calendar: int
    """The same where cancelling is written with the other value: calendars, price matrix, block thresholds."""
    generalized: str | None
    """As ASN.1 has it; None is at once."""


def activation(when: When) -> Activation:
    """The forms of a time of activation."""
    if when is NOW:
        return Activation(OctetString(DATE_TIME_NOW), 0, 0, None)
    if when is CANCEL:
        return Activation(OctetString(DATE_TIME_NEVER), ZIGBEE_CANCEL, ZIGBEE_CALENDAR_CANCEL, TIME_NEVER)
    if isinstance(when, bool) or not isinstance(when, int):
        raise GbcsValueError("a time of activation is NOW, CANCEL or Unix seconds")
    # A moment that seconds since 2000 cannot say is refused by a gas meter's Command only, when it is written.
    seconds = when - ZIGBEE_EPOCH_AT
    return Activation(OctetString(date_time_from_unix(when)), seconds, seconds, generalized_from_unix(when))


def when_of_dlms(octets: bytes) -> When:
    """The time of activation behind twelve octets."""
    if octets == DATE_TIME_NOW:
        return NOW
    return CANCEL if octets == DATE_TIME_NEVER else moment_of(octets)


def when_of_zigbee(seconds: int) -> When:
    """The time of activation behind seconds since 2000."""
    if seconds == 0:
        return NOW
    return CANCEL if seconds in {ZIGBEE_CANCEL, ZIGBEE_CALENDAR_CANCEL} else seconds + ZIGBEE_EPOCH_AT


def when_of_generalized(text: str | None) -> When:
    """The time of activation behind a GeneralizedTime that may be absent."""
    if text is None:
        return NOW
    return CANCEL if text == TIME_NEVER else unix_from_generalized(text)


def moment_of(octets: bytes) -> int:
    """Unix seconds from twelve octets that are a moment."""
    at = CosemDateTime.from_bytes(octets).unix_seconds()
    if at is None:
        raise GbcsValueError("this date-time is no moment")
    return at


def zigbee_moment(at: int) -> int:
    """Seconds since 2000 from Unix seconds."""
    return zigbee_from_unix(at)


# --- calendar dates and times of day

LAST_DAY_OF_MONTH: Final = 0xFE
SECOND_LAST_DAY_OF_MONTH: Final = 0xFD
_WILD: Final = frozenset({LAST_DAY_OF_MONTH, SECOND_LAST_DAY_OF_MONTH})

_Year: TypeAlias = Annotated[int, Whole(0, ANY_YEAR - 1)]
_Month: TypeAlias = Annotated[int, Whole(1, 12, _WILD)]
_Day: TypeAlias = Annotated[int, Whole(1, 31, _WILD)]
_DayOfWeek: TypeAlias = Annotated[int, Whole(1, 7)]


@dataclass(frozen=True, slots=True)
class Date(Checked):
    """A calendar date whose parts may be left open: ``None`` is any. Monday is 1."""

    year: _Year | None = None
    month: _Month | None = None
    day: _Day | None = None
    day_of_week: _DayOfWeek | None = None

    @property
    def dlms(self) -> OctetString:
        """Five octets."""
        year = ANY_YEAR if self.year is None else self.year
        return OctetString(year.to_bytes(2, "big") + bytes(map(_part, (self.month, self.day, self.day_of_week))))

    @classmethod
    def from_dlms(cls, octets: bytes) -> "Date":
        """From five octets."""
        year = int.from_bytes(octets[:2], "big")
        month, day, day_of_week = map(_open, octets[2:5])
        return cls(None if year == ANY_YEAR else year, month, day, day_of_week)

    @property
    def zigbee(self) -> bytes:
        """Four octets: year less 1900, month, day, day of the week."""
        year = ANY if self.year is None else self.year - 1900
        if not 0 <= year <= ANY or (year == ANY and self.year is not None):
            raise GbcsValueError("a gas meter's dates lie between 1900 and 2154")
        return bytes((year, *map(_part, (self.month, self.day, self.day_of_week))))

    @classmethod
    def from_zigbee(cls, octets: bytes) -> "Date":
        """From four octets."""
        year, month, day, day_of_week = map(_open, octets)
        return cls(None if year is None else year + 1900, month, day, day_of_week)


ANY_DATE: Final = Date()
"""Every day."""


def _part(value: int | None) -> int:
    return ANY if value is None else value


def _open(octet: int) -> int | None:
    return None if octet == ANY else octet


@dataclass(frozen=True, slots=True)
class TimeOfDay(Checked):
    """A time of day, UTC, in whole seconds."""

    hour: Annotated[int, Whole(0, 23)] = 0
    minute: Annotated[int, Whole(0, 59)] = 0
    second: Annotated[int, Whole(0, 59)] = 0

    @property
    def dlms(self) -> OctetString:
        """Four octets: hour, minute, second, hundredths (always zero in the samples)."""
        return OctetString(bytes((self.hour, self.minute, self.second, 0)))

    @classmethod
    def from_dlms(cls, octets: bytes) -> "TimeOfDay":
        """From four octets."""
        return cls(*octets[:3])


def bits(flags: tuple[bool, ...] | list[bool]) -> BitString:
    """Flags as a bit-string, the first in the highest bit, padded with zeros."""
    octets = bytearray((len(flags) + 7) // 8)
    for at, flag in enumerate(flags):
        if flag:
            octets[at // 8] |= 0x80 >> at % 8
    return BitString(len(flags), bytes(octets))


def set_bits(string: BitString) -> tuple[int, ...]:
    """The numbers, from 1, of the bits that are set."""
    return tuple(at for at, bit in enumerate(string.bits, 1) if bit == "1")
