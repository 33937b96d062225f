"""Entity identifiers and the identifiers of requests and responses, in DUIS's own text form.

Inside the house an entity identifier is eight bytes. DUIS writes it as eight hexadecimal pairs joined by dashes, in any
case; we write upper case. A RequestID is ``originator:target:counter``; the ResponseID of its answer carries the same
counter with the two identifiers exchanged (reference: duis section 1.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from lastmetre.duis.errors import DuisDecodeError, DuisValueError

ENTITY_ID_SIZE: Final = 8
COUNTER_MAX: Final = 2**64 - 1
ENTITIES_KEPT_MAX: Final = 4_096
"""Identifiers kept read: the same few parties and devices come again and again."""

_EUI: Final = re.compile(r"[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){7}")
REQUEST_ID_FORM: Final = re.compile(rf"({_EUI.pattern}):({_EUI.pattern}):(0|[1-9][0-9]{{0,19}})")
"""Of a RequestID and of a ResponseID: two identifiers and a counter without leading zeros."""
_XML_SPACE: Final = " \t\r\n"


def entity_text(entity_id: bytes) -> str:
    """The identifier as DUIS writes it: ``90-B3-D5-1F-30-01-00-00``."""
    if len(entity_id) != ENTITY_ID_SIZE:
        raise DuisValueError(f"an entity identifier has {ENTITY_ID_SIZE} bytes, not {len(entity_id)}")
    return entity_id.hex("-").upper()


def parse_entity(text: str, where: str = "entity identifier") -> bytes:
    """The eight bytes behind DUIS's dashed form, in either case."""
    text = text.strip(_XML_SPACE)
    if not _EUI.fullmatch(text):
        raise DuisDecodeError(where, f"{text[:40]!r} is not eight hexadecimal pairs joined by dashes")
    return bytes.fromhex(text.replace("-", ""))


def _three_parts(text: str, where: str) -> tuple[bytes, bytes, int]:
    match = REQUEST_ID_FORM.fullmatch(text.strip(_XML_SPACE))
    if match is None:
        raise DuisDecodeError(where, f"{text[:80]!r} is not of the form identifier:identifier:counter")
    first, second, digits = match.groups()
    counter = int(digits)
    if counter > COUNTER_MAX:
        raise DuisDecodeError(where, f"the counter {digits} does not fit in 64 bits")
    return _octets(first), _octets(second), counter


@lru_cache(ENTITIES_KEPT_MAX)
def _octets(text: str) -> bytes:
    return bytes.fromhex(text.replace("-", ""))


def _check_counter(counter: int) -> None:
    if not 0 <= counter <= COUNTER_MAX:
        raise DuisValueError(f"the counter {counter} does not fit in 64 bits")


@dataclass(frozen=True, slots=True, order=True)
class RequestID:
    """Who asks, of which device (or of the DCC), under which counter."""

    originator: bytes
    target: bytes
    counter: int

    def __post_init__(self) -> None:
        _check_counter(self.counter)

    @classmethod
    def parse(cls, text: str, where: str = "RequestID") -> RequestID:
        """Read the text form; surrounding space is allowed, as in an XML token."""
        return cls(*_three_parts(text, where))

    def __str__(self) -> str:
        return f"{entity_text(self.originator)}:{entity_text(self.target)}:{self.counter}"

    @property
    def response_id(self) -> ResponseID:
        """What the answer to this request calls itself."""
        return ResponseID(self.target, self.originator, self.counter)


@dataclass(frozen=True, slots=True, order=True)
class ResponseID:
    """Which device answers whom, under the counter of the request."""

    responder: bytes
    recipient: bytes
    counter: int

    def __post_init__(self) -> None:
        _check_counter(self.counter)

    @classmethod
    def parse(cls, text: str, where: str = "ResponseID") -> ResponseID:
        """Read the text form; surrounding space is allowed, as in an XML token."""
        return cls(*_three_parts(text, where))

    def __str__(self) -> str:
        return f"{entity_text(self.responder)}:{entity_text(self.recipient)}:{self.counter}"
