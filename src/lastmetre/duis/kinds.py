"""The words that ``shapes.txt`` has for values: what a text must look like, and how a person is told.

Rules kept here (reference: duis section 1.3, and XML Schema's forms of numbers, times and octets):

* What schema 5.4 takes is taken, in every form that XML Schema allows: ``+5``, ``1`` for true, a year of five digits, a
  fraction of a second. What this house writes is the plain form.
* Space around a number, a time or an identifier means nothing; in a text, and in most lists of words, it counts.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from functools import cache
from typing import Final

from lastmetre.duis.errors import DuisError, DuisValueError
from lastmetre.duis.identifiers import COUNTER_MAX, REQUEST_ID_FORM

Fits = Callable[[str], bool]

INTEGERS: Final = {
    "short": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "unsignedShort": (0, 2**16 - 1),
    "unsignedInt": (0, 2**32 - 1),
}
XML_SPACE: Final = " \t\r\n"
_EUI: Final = r"[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){7}"
_INTEGER: Final = re.compile(r"([+-]?)0*([0-9]{0,40})", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?0*(?:[0-9]{1,40}(?:\.([0-9]{0,40}))?|\.([0-9]{1,40}))", re.ASCII)
_ZONE: Final = r"(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)?"
_DAY: Final = r"-?((?:[1-9][0-9]{3,8})|0[0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK: Final = r"(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,40})?|24:00:00(?:\.0{1,40})?)"
_DATE_TIME: Final = re.compile(f"{_DAY}T{_CLOCK}{_ZONE}", re.ASCII)
_DATE: Final = re.compile(f"{_DAY}{_ZONE}", re.ASCII)
_TIME: Final = re.compile(_CLOCK + _ZONE, re.ASCII)
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?")
_LEAP_YEAR: Final = 2000


def _range(text: str) -> tuple[str, str]:
    low, dots, high = text.partition("..")
    if not dots:
        raise DuisError(f"{text!r} is no range")
    return low, high


def _integer(low: int | None, high: int | None) -> Fits:
    def fits(text: str) -> bool:
        match = _INTEGER.fullmatch(text.strip(XML_SPACE))
        if match is None or not match.group().lstrip("+-"):
            return False
        value = int(match.group(2) or 0) * (-1 if match.group(1) == "-" else 1)
        return (low is None or value >= low) and (high is None or value <= high)

    return fits


def _decimal(places: int, bounds: str) -> Fits:
    from decimal import Decimal

    low, high = _range(bounds)
    least, most = Decimal(low.lstrip(">")), Decimal(high.lstrip("<"))

    def fits(text: str) -> bool:
        text = text.strip(XML_SPACE)
        match = _DECIMAL.fullmatch(text)
        if match is None or len((match.group(1) or match.group(2) or "").rstrip("0")) > places:
            return False
        value = Decimal(text)
        above = value > least if low.startswith(">") else value >= least
        return above and (value < most if high.startswith("<") else value <= most)

    return fits


def _dated(form: re.Pattern[str]) -> Fits:
    def fits(text: str) -> bool:
        match = form.fullmatch(text.strip(XML_SPACE))
        if match is None:
            return False
        year, month, day = map(int, match.groups())
        # The calendar repeats after 400 years, and the library knows none beyond 9999.
        return year > 0 and day <= monthrange(_LEAP_YEAR + year % 400, month)[1]

    return fits


def _form(pattern: str) -> Fits:
    form = re.compile(pattern, re.ASCII)
    return lambda text: form.fullmatch(text.strip(XML_SPACE)) is not None


def _text(form: str, bounds: str) -> Fits:
    low, high = _range(bounds) if bounds else ("0", "")
    whole = re.compile(f"{form}{{{low or 0},{high}}}", re.ASCII | re.DOTALL)
    return lambda text: whole.fullmatch(text) is not None


def _base64(bounds: str) -> Fits:
    most = int(_range(bounds)[1]) if bounds else None

    def fits(text: str) -> bool:
        text = "".join(text.split())
        size = len(text) * 3 // 4 - text.count("=")
        return _BASE64.fullmatch(text) is not None and (most is None or size <= most)

    return fits


def _request_id(text: str) -> bool:
    match = REQUEST_ID_FORM.fullmatch(text.strip(XML_SPACE))
    return match is not None and int(match.group(3)) <= COUNTER_MAX


def _entities(bounds: str) -> Fits:
    most = int(_range(bounds)[1]) if bounds else None
    form = re.compile(f"(?:{_EUI},)*{_EUI}")
    return lambda text: (most is None or len(text) <= most) and form.fullmatch(text) is not None


def _words_of(rest: str) -> tuple[frozenset[str], bool]:
    token = rest.startswith("token of ")
    return frozenset(rest.removeprefix("token ").removeprefix("of ").split(" | ")), token


def _one_of(rest: str) -> Fits:
    words, token = _words_of(rest)
    if token:
        return lambda text: text.strip(XML_SPACE) in words
    return words.__contains__


def _service(*, variant: bool) -> Fits:
    from lastmetre.duis.catalogue import service_requests

    rows = service_requests()
    return (frozenset(rows) if variant else frozenset(row.service_reference for row in rows.values())).__contains__


_MAKERS: Final[dict[str, Callable[[str], Fits]]] = {
    "any": lambda _rest: lambda _text: True,
    "base64": _base64,
    "boolean": lambda _rest: _form("true|false|1|0"),
    "date": lambda _rest: _dated(_DATE),
    "dateTime": lambda _rest: _dated(_DATE_TIME),
    "digits": lambda rest: _text("[0-9]", rest),
    "entities": _entities,
    "entity": lambda _rest: _form(_EUI),
    "hex": lambda rest: _form(f"(?:[0-9A-Fa-f]{{2}}){{{_range(rest or '0..')[0]},{_range(rest or '0..')[1]}}}"),
    "integer": lambda _rest: _integer(None, None),
    "number": lambda rest: _integer(*(int(bound) if bound else None for bound in _range(rest))),
    "one": _one_of,
    "phone": lambda rest: _text("[0-9 ]", rest),
    "printable": lambda rest: _text("[ -~]", rest),
    "requestID": lambda _rest: _request_id,
    "responseCode": lambda _rest: _form("[IEW][0-9]{1,6}"),
    "serviceReference": lambda _rest: _service(variant=False),
    "serviceReferenceVariant": lambda _rest: _service(variant=True),
    "text": lambda rest: _text(".", rest),
    "time": lambda _rest: lambda text: _TIME.fullmatch(text.strip(XML_SPACE)) is not None,
}


@cache
def fits(kind: str) -> Fits:
    """Whether a text is of a kind, as a function of the text. ``DuisError`` for a kind that is none."""
    word, _, rest = kind.partition(" ")
    if word in INTEGERS:
        return _integer(*INTEGERS[word])
    if word.startswith("decimal"):
        return _decimal(int(word.removeprefix("decimal")), rest)
    try:
        return _MAKERS[word](rest)
    except (KeyError, DuisValueError):
        raise DuisError(f"shapes.txt: {kind!r} is no kind of value") from None


# --- for people

_NAMES: Final = {
    "any": "anything",
    "base64": "base64",
    "boolean": "true or false",
    "date": "date, 2030-01-15Z",
    "dateTime": "date and time, UTC; 3000-12-31T00:00:00Z cancels",
    "digits": "digits",
    "entities": "entity identifiers with commas between them",
    "entity": "entity identifier",
    "hex": "hexadecimal octets",
    "integer": "whole number",
    "phone": "digits and spaces",
    "printable": "printable ASCII characters",
    "requestID": "identifier of a request",
    "responseCode": "response code",
    "serviceReference": "Service Reference",
    "serviceReferenceVariant": "Service Reference Variant",
    "text": "text",
    "time": "time of day, 00:00:00Z",
}


def describe(kind: str) -> str:
    """A kind of value in words: ``whole number 0 to 10000``."""
    word, _, rest = kind.partition(" ")
    if word == "one":
        return " | ".join(rest.removeprefix("token ").removeprefix("of ").split(" | "))
    if word in INTEGERS:
        return "whole number {} to {}".format(*INTEGERS[word])
    if word.startswith("decimal"):
        shown = rest.replace(">", "more than ").replace("..<", " to less than ").replace("..", " to ")
        return f"decimal number {shown}, at most {word.removeprefix('decimal')} decimal places"
    if word == "number":
        return f"whole number {_shown(rest)}"
    if word in ("text", "digits", "printable", "phone") and rest:
        low, high = _range(rest)
        size = low if low == high else f"{low} to {high}"
        return f"{_NAMES[word]}, {size} characters"
    if word == "hex" and rest:
        low, high = _range(rest)
        return f"{low if low == high else f'{low} to {high}'} hexadecimal octets"
    return _NAMES[word]


def _shown(bounds: str) -> str:
    low, high = _range(bounds)
    if low and high:
        return f"{low} to {high}"
    return f"from {low}" if low else f"up to {high}"
