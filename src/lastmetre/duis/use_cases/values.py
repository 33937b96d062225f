"""From DUIS text to values of a payload: numbers, dates and times in the forms of transform A4 and A5.

Everything read from a request is checked against the range its type can hold; what does not fit raises
``TransformError`` naming the element.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lastmetre.duis.documents import parse_base64, parse_date_time
from lastmetre.duis.errors import DuisDecodeError, TransformError
from lastmetre.duis.identifiers import parse_entity
from lastmetre.gbcs.axdr import BitString
from lastmetre.gbcs.build.times import CANCEL, NOW, Activation, Date, TimeOfDay
from lastmetre.gbcs.build.times import activation as activation_of
from lastmetre.gbcs.datetimes import date_time_from_unix

if TYPE_CHECKING:
    from lastmetre.duis.xml import Element

CANCEL_AT: Final = 32_535_129_600
"""3000-12-31T00:00:00Z, which DUIS writes for the same."""

ZIGBEE_EPOCH: Final = 946_684_800
"""2000-01-01T00:00:00Z in Unix seconds: logs are selected by seconds since then."""
NO_END: Final = 0xFFFF_FFFE
"""End of a log period that lies further ahead than 32 bits reach (seen for 3000-12-31)."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"\+?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\.(\d{1,9}))?(?:Z|[+-]00:00)?", re.ASCII)
_DATE: Final = re.compile(r"(\d{4,5})-(\d\d)-(\d\d)(?:Z|[+-]00:00)?", re.ASCII)

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
    return truth(child(element, path))


def truth(element: Element) -> bool:
    """An element that holds an xs:boolean."""
    match element.text.strip():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
        case other:
            raise TransformError(f"{element.name} is {other[:20]!r}; it must be true or false")


def one_of(element: Element, path: str, choices: dict[str, int]) -> int:
    """The number behind one of a few words."""
    word = words(element, path)
    if word not in choices:
        raise TransformError(f"{element.name}/{path} is {word[:30]!r}; it must be one of {', '.join(choices)}")
    return choices[word]


def decimal(element: Element, path: str, places: int, high: int) -> int:
    """A decimal number that is not negative, as a whole number of its smallest unit: 40.0 with one place is 400."""
    text = words(element, path)
    number, _, fraction = text.removeprefix("+").partition(".")
    fraction = fraction.rstrip("0")
    digits = f"{number or 0}{fraction.ljust(places, '0')}"
    if not _DECIMAL.fullmatch(text) or len(fraction) > places or int(digits) > high:
        limit = f"{high // 10**places}.{high % 10**places:0{places}}"
        raise TransformError(f"{element.name}/{path} is {text[:30]!r}; it must lie between 0 and {limit}")
    return int(digits)


def uint8(element: Element, path: str) -> int:
    """An unsigned number of 8 bits."""
    return integer(element, path, 0, 2**8 - 1)


def entity(element: Element, path: str) -> bytes:
    """The eight octets of an entity identifier."""
    try:
        return parse_entity(words(element, path), path)
    except DuisDecodeError as error:
        raise TransformError(str(error)) from None


def octets(element: Element, path: str, shortest: int, longest: int) -> bytes:
    """Octets in hexadecimal."""
    text = words(element, path)
    if not _HEX.fullmatch(text) or not shortest <= len(text) // 2 <= longest:
        raise TransformError(f"{element.name}/{path} must be {shortest} to {longest} octets in hexadecimal")
    return bytes.fromhex(text)


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
    return date_time_from_unix(at)


def activation(at: int | None) -> Activation:
    """When a command takes effect: at once, at a time, or never any more."""
    if at is None:
        return activation_of(NOW)
    return activation_of(CANCEL if at == CANCEL_AT else at)


def log_seconds(at: int) -> int:
    """A time in seconds since 2000, cut to what 32 bits hold."""
    if at < ZIGBEE_EPOCH:
        raise TransformError("a log period cannot reach back before 2000")
    return min(at - ZIGBEE_EPOCH, NO_END)


def zigbee_seconds(at: int) -> int:
    """A moment in seconds since 2000, as GBZ payloads have it."""
    if not ZIGBEE_EPOCH <= at < ZIGBEE_EPOCH + NO_END:
        raise TransformError("a gas meter knows no time before 2000 or after 2136")
    return at - ZIGBEE_EPOCH


def time_of_day(element: Element, path: str) -> TimeOfDay:
    """A time of day in whole seconds."""
    match = _TIME.fullmatch(words(element, path))
    if match is None or (match.group(4) or "0").strip("0"):
        raise TransformError(f"{element.name}/{path} is not a time of day in whole seconds, UTC")
    return TimeOfDay(int(match.group(1)), int(match.group(2)), int(match.group(3)))


def plain_date(element: Element, path: str) -> Date:
    """A date from an xs:date; the year 65535 means any year."""
    match = _DATE.fullmatch(words(element, path))
    if match is None:
        raise TransformError(f"{element.name}/{path} is not a date")
    year, month, day = map(int, match.groups())
    if not (year <= ANY_YEAR and 1 <= month <= 12 and 1 <= day <= 31):
        raise TransformError(f"{element.name}/{path} is not a date")
    return Date(None if year == ANY_YEAR else year, month, day)


def wildcard_date(element: Element) -> Date:
    """A date from DUIS's Date, whose parts may be left open. A given day of the week was not seen [I]."""
    year = _part(element, "Year/SpecifiedYear", 2014, 9999, {"Year/NonSpecifiedYear": ANY_YEAR})
    month = _part(element, "Month/SpecifiedMonth", 1, 12, {"Month/NonSpecifiedMonth": ANY})
    open_days = {
        "DayOfMonth/NonSpecifiedDayOfMonth": ANY,
        "DayOfMonth/LastDayOfMonth": LAST_DAY_OF_MONTH,
        "DayOfMonth/SecondLastDayOfMonth": SECOND_LAST_DAY_OF_MONTH,
    }
    day = _part(element, "DayOfMonth/SpecifiedDayOfMonth", 1, 31, open_days)
    weekday = _part(element, "DayOfWeek/SpecifiedDayOfWeek", 1, 7, {"DayOfWeek/NonSpecifiedDayOfWeek": ANY})
    return Date.from_dlms(year.to_bytes(2, "big") + bytes((month, day, weekday)))


def zigbee_date(element: Element) -> Date:
    """A date from DUIS's gas date."""
    year = _part(
        element, "GasYearWithWildcards/SpecifiedYear", 2014, 2154, {"GasYearWithWildcards/NonSpecifiedYear": 0}
    )
    month = _part(
        element, "GasMonthWithWildcards/SpecifiedMonth", 1, 12, {"GasMonthWithWildcards/NonSpecifiedMonth": ANY}
    )
    open_days = {"GasDayOfMonthWithWildcards/GasNonSpecifiedDayOfMonth": ANY}
    day = _part(element, "GasDayOfMonthWithWildcards/SpecifiedDayOfMonth", 1, 31, open_days)
    open_weekdays = {"GasDayOfWeekWithWildcards/NonSpecifiedDayOfWeek": ANY}
    weekday = _part(element, "GasDayOfWeekWithWildcards/SpecifiedDayOfWeek", 1, 7, open_weekdays)
    return Date.from_zigbee(bytes((year - 1900 if year else ANY, month, day, weekday)))


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
