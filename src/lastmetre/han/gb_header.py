"""The GB header: what stands before a message in a gas meter's tunnel, and nowhere else (reference/han.md 1.5).

Gas meters sleep, so they fetch: ``01`` GET, ``02 NN`` and a message (or nothing) in answer, NN telling how many still
wait behind it, and ``03`` PUT with what the meter itself has to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.limits import TRANSFER_OCTETS_MAX

GET: Final = 0x01
GET_RESPONSE: Final = 0x02
PUT: Final = 0x03
STORED_OCTETS_MAX: Final = TRANSFER_OCTETS_MAX - 2
"""Longest message a GET-RESPONSE has room for; a longer one goes in blocks."""
PUT_OCTETS_MAX: Final = TRANSFER_OCTETS_MAX - 1


@dataclass(frozen=True, slots=True)
class GbGet:
    """Meter to hub: give me one message."""


@dataclass(frozen=True, slots=True)
class GbGetResponse:
    """Hub to meter: the message, empty when there is none, and how many wait after it."""

    remaining: int
    message: bytes = b""


@dataclass(frozen=True, slots=True)
class GbPut:
    """Meter to hub: a Response, an Alert or a block."""

    message: bytes


GbUnit: TypeAlias = GbGet | GbGetResponse | GbPut


def encode_unit(unit: GbUnit) -> bytes:
    """The octets for the tunnel."""
    if isinstance(unit, GbGet):
        return bytes((GET,))
    if isinstance(unit, GbPut):
        if not 1 <= len(unit.message) <= PUT_OCTETS_MAX:
            raise HanValueError(f"a PUT carries 1 to {PUT_OCTETS_MAX} octets, not {len(unit.message)}")
        return bytes((PUT,)) + unit.message
    if not 0 <= unit.remaining <= 0xFF or len(unit.message) > STORED_OCTETS_MAX:
        raise HanValueError(f"a GET-RESPONSE counts to 255 and carries {STORED_OCTETS_MAX} octets at most")
    if unit.remaining and not unit.message:
        raise HanValueError("messages cannot remain when there was none to give")
    return bytes((GET_RESPONSE, unit.remaining)) + unit.message


def decode_unit(data: bytes) -> GbUnit:
    """What stands in a gas meter's tunnel."""
    if not data:
        raise HanDecodeError("GB header", 0, "is missing")
    if data[0] == GET:
        if len(data) != 1:
            raise HanDecodeError("GET", 1, "octets follow its end")
        return GbGet()
    if data[0] == GET_RESPONSE:
        if len(data) < 2:
            raise HanDecodeError("GET-RESPONSE", 1, "its count is missing")
        if data[1] and len(data) == 2:
            raise HanDecodeError("GET-RESPONSE", 1, "says that messages remain but brings none")
        return GbGetResponse(data[1], data[2:])
    if data[0] == PUT:
        if len(data) == 1:
            raise HanDecodeError("PUT", 1, "brings nothing")
        return GbPut(data[1:])
    raise HanDecodeError("GB header", 0, f"{data[0]:#04x} is none of GET, GET-RESPONSE and PUT")
