"""The three ways GBCS writes times, and Unix seconds (gbcs-messages sections 3.5, 7.4, 10.3).

* COSEM date-time: 12 octets, each field may be a wildcard; deviation ``8000`` means UTC.
* ZCL and DLMS UTC seconds: counted from 2000-01-01T00:00:00Z.
* ASN.1 GeneralizedTime: ``YYYYMMDDHHMMSSZ``.

Inside lastmetre a time is an int of UTC Unix seconds; nothing here asks what time it is.
"""

from __future__ import annotations

import re
import struct
from calendar import timegm
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from lastmetre.gbcs.errors import GbcsDecodeError, GbcsValueError

ZIGBEE_EPOCH_AT: Final = 946_684_800
"""2000-01-01T00:00:00Z in Unix seconds."""

DATE_TIME_NOW: Final = bytes.fromhex("0000000000000000008000ff")
"""As an activation time: execute now (section 10.3)."""

DATE_TIME_NEVER: Final = bytes.fromhex("ffffffffffffffffff8000ff")
"""As an activation time: cancel, or not specified."""

DEVIATION_UNSPECIFIED: Final = -0x8000
STATUS_UNSPECIFIED: Final = 0xFF
ANY: Final = 0xFF
ANY_YEAR: Final = 0xFFFF

MONTH_DST_END: Final = 0xFD
MONTH_DST_BEGIN: Final = 0xFE
DAY_SECOND_LAST: Final = 0xFD
DAY_LAST: Final = 0xFE
"""Further wildcards (section 7.4); nothing is computed from them here."""

_GENERALIZED: Final = re.compile(r"[0-9]{14}Z")
_LAYOUT: Final = struct.Struct(">HBBBBBBBhB")


@dataclass(frozen=True, slots=True)
class CosemDateTime:
    """A COSEM date-time field by field, wildcards included: ``FF`` (``FFFF`` in the year) is any."""

    year: int
    month: int
    day: int
    day_of_week: int
    hour: int
    minute: int
    second: int
    hundredths: int = 0
    deviation_minutes: int = DEVIATION_UNSPECIFIED
    clock_status: int = STATUS_UNSPECIFIED

    @classmethod
    def from_bytes(cls, data: bytes) -> CosemDateTime:
        """Read 12 octets. Any octets are some date-time; whether it is a moment, ``unix_seconds`` tells."""
        if len(data) != _LAYOUT.size:
            raise GbcsDecodeError("date-time", 0, f"has {_LAYOUT.size} octets, not {len(data)}")
        return cls(*_LAYOUT.unpack(data))

    def to_bytes(self) -> bytes:
        """The 12 octets."""
        try:
            return _LAYOUT.pack(
                self.year,
                self.month,
                self.day,
                self.day_of_week,
                self.hour,
                self.minute,
                self.second,
                self.hundredths,
                self.deviation_minutes,
                self.clock_status,
            )
        except struct.error:
            raise GbcsValueError(f"{self!r} does not fit the twelve octets of a date-time") from None

    @classmethod
    def from_unix(cls, at: int, *, day_of_week: int = ANY, clock_status: int = STATUS_UNSPECIFIED) -> CosemDateTime:
        """A moment in UTC, deviation unspecified, as the published messages write it."""
        try:
            moment = datetime.fromtimestamp(at, UTC)
        except (OverflowError, ValueError, OSError):
            raise GbcsValueError(f"{at} is no moment a date-time can hold") from None
        return cls(
            moment.year,
            moment.month,
            moment.day,
            day_of_week,
            moment.hour,
            moment.minute,
            moment.second,
            clock_status=clock_status,
        )

    def unix_seconds(self) -> int | None:
        """The moment in Unix seconds, or ``None`` when a wildcard or an impossible date leaves none.

        COSEM's deviation is minutes from local time to UTC: it is added (UTC = local + deviation).
        """
        try:
            moment = datetime(self.year, self.month, self.day, self.hour, self.minute, self.second, tzinfo=UTC)
            if self.deviation_minutes != DEVIATION_UNSPECIFIED:
                moment += timedelta(minutes=self.deviation_minutes)
        except (ValueError, OverflowError):
            return None
        return timegm(moment.timetuple())

    def __str__(self) -> str:
        """For reading: ISO-like, ``*`` for any."""
        raw = self.to_bytes()
        if raw == DATE_TIME_NEVER:
            return "never"
        if raw == DATE_TIME_NOW:
            return "now"
        year = "*" if self.year == ANY_YEAR else f"{self.year:04d}"
        month, day, hour, minute, second = (
            "*" if part == ANY else f"{part:02d}"
            for part in (self.month, self.day, self.hour, self.minute, self.second)
        )
        zone = "Z" if self.deviation_minutes in {DEVIATION_UNSPECIFIED, 0} else f" {-self.deviation_minutes:+d} min"
        return f"{year}-{month}-{day}T{hour}:{minute}:{second}{zone}"


def date_time_from_unix(at: int) -> bytes:
    """The 12 octets of a moment, as activation times and Responses carry it."""
    return CosemDateTime.from_unix(at).to_bytes()


def unix_from_zigbee(seconds: int) -> int:
    """Unix seconds from seconds since 2000."""
    return seconds + ZIGBEE_EPOCH_AT


def zigbee_from_unix(at: int) -> int:
    """Seconds since 2000 from Unix seconds; they must fit 32 bits, of which the last two values mean cancel."""
    seconds = at - ZIGBEE_EPOCH_AT
    if not 0 <= seconds < 0xFFFF_FFFE:
        raise GbcsValueError(f"{at} is no moment that seconds since 2000 can say")
    return seconds


def generalized_moment(text: str) -> int | None:
    """Unix seconds from ``YYYYMMDDHHMMSSZ``, or ``None`` when it is not so written or there is no such time."""
    if not _GENERALIZED.fullmatch(text):
        return None
    month, day, hour, minute, second = (int(text[place : place + 2]) for place in range(4, 14, 2))
    try:
        return timegm(datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC).timetuple())
    except ValueError:
        return None


def unix_from_generalized(text: str) -> int:
    """Unix seconds from ``YYYYMMDDHHMMSSZ``."""
    at = generalized_moment(text)
    if at is None:
        raise GbcsDecodeError("GeneralizedTime", 0, f"{text!r} is no time written YYYYMMDDHHMMSSZ")
    return at


def generalized_from_unix(at: int) -> str:
    """``YYYYMMDDHHMMSSZ`` from Unix seconds."""
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        raise GbcsValueError(f"{at} is no moment a GeneralizedTime can hold") from None
    return f"{moment.year:04d}{moment:%m%d%H%M%S}Z"
