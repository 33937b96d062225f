"""From DUIS text to DLMS values: numbers, dates and times in the forms of transform A4 and A5.

Everything read from a request is checked against the range its DLMS type can hold; what does not fit raises
``TransformError`` naming the element.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from lastmetre.duis.documents import parse_base64, parse_date_time
from lastmetre.duis.errors import DuisDecodeError, TransformError
from lastmetre.gbcs.axdr import BitString, OctetString

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element

IMMEDIATE: Final = bytes(9) + b"\x80\x00\xff"
"""Date-time that means at once."""
CANCELLED: Final = b"\xff" * 9 + b"\x80\x00\xff"
"""Date-time that takes back what was future dated."""
CANCEL_AT: Final = 32_535_129_600
"""3000-12-31T00:00:00Z, which DUIS writes for the same."""

ZIGBEE_EPOCH: Final = 946_684_800
"""2000-01-01T00:00:00Z in Unix seconds: logs are selected by seconds since then."""
NO_END: Final = 0xFFFF_FFFE
"""End of a log period that lies further ahead than 32 bits reach (seen for 3000-12-31)."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,10})?")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\.(\d{1,9}))?Z?", re.ASCII)
_DATE: Final = re.compile(r"(\d{4,5})-(\d\d)-(\d\d)Z?", re.ASCII)

ANY_YEAR: Final = 0xFFFF
ANY: Final = 0xFF
# COSEM's own marks; no sample carries them [I].
LAST_DAY_OF_MONTH: Final = 0xFE
SECOND_LAST_DAY_OF_MONTH: Final = 0xFD


def child(element: Element, path: str) -> Element:
    """The element at a path, which must be there."""
    found = element.find(path)
    if found is None:
        raise TransformError(f"{element.name} has no {path}")
    return found


def words(element: Element, path: str) -> str:
    """The text at a path without surrounding space."""
    return child(element, path).text.strip()


def integer(element: Element, path: str, low: int, high: int) -> int:
    """A whole number between two bounds."""
    return whole(words(element, path), f"{element.name}/{path}", low, high)


def whole(text: str, where: str, low: int, high: int) -> int:
    """A whole number between two bounds, from its text."""
    text = text.strip()
    if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
        raise TransformError(f"{where} is {text[:30]!r}; it must be a whole number from {low} to {high}")
    return int(text)


def int8(element: Element, path: str) -> int:
    """A signed number of 8 bits."""
    return integer(element, path, -(2**7), 2**7 - 1)


def int16(element: Element, path: str) -> int:
    """A signed number of 16 bits."""
    return integer(element, path, -(2**15), 2**15 - 1)


def int32(element: Element, path: str) -> int:
    """A signed number of 32 bits."""
    return integer(element, path, -(2**31), 2**31 - 1)


def uint16(element: Element, path: str) -> int:
    """An unsigned number of 16 bits."""
    return integer(element, path, 0, 2**16 - 1)


def uint32(element: Element, path: str) -> int:
    """An unsigned number of 32 bits."""
    return integer(element, path, 0, 2**32 - 1)


def boolean(element: Element, path: str) -> bool:
    """An xs:boolean."""
    match words(element, path):
        case "true" | "1":
            return True
        case "false" | "0":
            return False
        case other:
            raise TransformError(f"{element.name}/{path} is {other[:20]!r}; it must be true or false")


def one_of(element: Element, path: str, choices: dict[str, int]) -> int:
    """The number behind one of a few words."""
    word = words(element, path)
    if word not in choices:
        raise TransformError(f"{element.name}/{path} is {word[:30]!r}; it must be one of {', '.join(choices)}")
    return choices[word]


def index(element: Element, low: int, high: int, attribute: str = "index") -> int:
    """The number in an element's attribute."""
    return whole(element.attribute(attribute) or "", f"{element.name}/@{attribute}", low, high)


def ascii_text(element: Element, path: str, longest: int) -> bytes:
    """Printable ASCII text, spaces inside and at its ends kept."""
    text = child(element, path).text
    if not 1 <= len(text) <= longest or not all(" " <= character <= "~" for character in text):
        raise TransformError(f"{element.name}/{path} must be 1 to {longest} printable ASCII characters")
    return text.encode()


def instant(element: Element, path: str) -> int:
    """A date and time as Unix seconds."""
    try:
        return parse_date_time(words(element, path), path)
    except DuisDecodeError as error:
        raise TransformError(str(error)) from None


def certificate(element: Element, path: str) -> bytes:
    """A certificate's DER from base64."""
    try:
        return parse_base64(child(element, path).text, path)
    except DuisDecodeError as error:
        raise TransformError(str(error)) from None


def date_time_octets(at: int) -> bytes:
    """Twelve octets: UTC, day of the week and hundredths left open as every sample has them."""
    moment = datetime.fromtimestamp(at, UTC)
    parts = (moment.month, moment.day, ANY, moment.hour, moment.minute, moment.second, 0)
    return moment.year.to_bytes(2, "big") + bytes(parts) + b"\x80\x00\xff"


def activation(at: int | None) -> OctetString:
    """When a command takes effect: at once, at a time, or never any more."""
    if at is None:
        return OctetString(IMMEDIATE)
    return OctetString(CANCELLED if at == CANCEL_AT else date_time_octets(at))


def log_seconds(at: int) -> int:
    """A time in seconds since 2000, cut to what 32 bits hold."""
    if at < ZIGBEE_EPOCH:
        raise TransformError("a log period cannot reach back before 2000")
    return min(at - ZIGBEE_EPOCH, NO_END)


def time_of_day(element: Element, path: str) -> OctetString:
    """Four octets: hour, minute, second, hundredths (always zero in the samples)."""
    match = _TIME.fullmatch(words(element, path))
    if match is None or (match.group(4) or "0").strip("0"):
        raise TransformError(f"{element.name}/{path} is not a time of day in whole seconds, UTC")
    return OctetString(bytes((int(match.group(1)), int(match.group(2)), int(match.group(3)), 0)))


def plain_date(element: Element, path: str) -> OctetString:
    """Five octets from an xs:date; the year 65535 means any year."""
    match = _DATE.fullmatch(words(element, path))
    if match is None:
        raise TransformError(f"{element.name}/{path} is not a date")
    year, month, day = map(int, match.groups())
    if not (year <= ANY_YEAR and 1 <= month <= 12 and 1 <= day <= 31):
        raise TransformError(f"{element.name}/{path} is not a date")
    return OctetString(year.to_bytes(2, "big") + bytes((month, day, ANY)))


def wildcard_date(element: Element) -> OctetString:
    """Five octets from DUIS's Date, whose parts may be left open. A given day of the week was not seen [I]."""
    year = _part(element, "Year/SpecifiedYear", 2014, 9999, {"Year/NonSpecifiedYear": ANY_YEAR})
    month = _part(element, "Month/SpecifiedMonth", 1, 12, {"Month/NonSpecifiedMonth": ANY})
    open_days = {
        "DayOfMonth/NonSpecifiedDayOfMonth": ANY,
        "DayOfMonth/LastDayOfMonth": LAST_DAY_OF_MONTH,
        "DayOfMonth/SecondLastDayOfMonth": SECOND_LAST_DAY_OF_MONTH,
    }
    day = _part(element, "DayOfMonth/SpecifiedDayOfMonth", 1, 31, open_days)
    weekday = _part(element, "DayOfWeek/SpecifiedDayOfWeek", 1, 7, {"DayOfWeek/NonSpecifiedDayOfWeek": ANY})
    return OctetString(year.to_bytes(2, "big") + bytes((month, day, weekday)))


def _part(element: Element, path: str, low: int, high: int, otherwise: dict[str, int]) -> int:
    if element.find(path) is not None:
        return integer(element, path, low, high)
    for other, value in otherwise.items():
        if element.find(other) is not None:
            return value
    raise TransformError(f"{element.name} has no {path}")


def bits(flags: list[bool]) -> BitString:
    """Flags as a bit-string, the first in the highest bit, padded with zeros."""
    octets = bytearray((len(flags) + 7) // 8)
    for at, flag in enumerate(flags):
        if flag:
            octets[at // 8] |= 0x80 >> at % 8
    return BitString(len(flags), bytes(octets))
