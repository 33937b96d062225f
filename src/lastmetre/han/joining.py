"""How a radio joins: the association request and its response, MAC command frames of IEEE 802.15.4.

A hand-held terminal that the hub has listed asks to be on the network and is given a short address (reference/han.md
2.8: "joins normally"). What goes before on a real air is not here: the beacon scan, and the Inter-PAN session in which
terminal and hub prove themselves by certificates. In its place the hub knows which terminals such a session could end
well for (DESIGN CHOICE). Field layouts are the standard's, from memory (GEN in the reference's words); tshark reads
them so.

Rules: ``parse_x(x.encode()) == x``; bad bytes raise ``HanDecodeError``. ``JoiningRadio`` is the asking side.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from lastmetre.han.errors import HanDecodeError, HanValueError
from lastmetre.han.frames import EUI64_OCTETS
from lastmetre.han.limits import JOIN_ATTEMPTS, JOIN_WAIT_S

_REQUEST_CONTROL: Final = 0xC823
"""Command frame, acknowledgement asked for, short destination, extended source."""
_RESPONSE_CONTROL: Final = 0xCC63
"""Command frame, acknowledgement asked for, one PAN, extended addresses both."""
_ASSOCIATION_REQUEST: Final = 0x01
_ASSOCIATION_RESPONSE: Final = 0x02
_NO_PAN: Final = 0xFFFF
_COORDINATOR: Final = 0x0000
_CAPABILITY: Final = 0x8C
"""Allocate an address, receiver on when idle, mains powered."""
NO_SHORT_ADDRESS: Final = 0xFFFF
_REQUEST: Final = struct.Struct("<HBHHH8sBB")
_RESPONSE: Final = struct.Struct("<HBH8s8sBHB")


class JoinStatus(IntEnum):
    """What the hub answers."""

    SUCCESS = 0
    AT_CAPACITY = 1
    DENIED = 2


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """A radio without a short address asks for one."""

    sequence: int
    pan_id: int
    eui64: bytes

    def encode(self) -> bytes:
        """The bytes of the frame, without its check sequence."""
        return _REQUEST.pack(
            _REQUEST_CONTROL,
            self.sequence,
            self.pan_id,
            _COORDINATOR,
            _NO_PAN,
            _turned(self.eui64),
            _ASSOCIATION_REQUEST,
            _CAPABILITY,
        )


@dataclass(frozen=True, slots=True)
class AssociationResponse:
    """The hub gives one, or says no."""

    sequence: int
    pan_id: int
    eui64: bytes
    hub: bytes
    status: JoinStatus
    short_address: int = NO_SHORT_ADDRESS

    def encode(self) -> bytes:
        """The bytes of the frame, without its check sequence."""
        return _RESPONSE.pack(
            _RESPONSE_CONTROL,
            self.sequence,
            self.pan_id,
            _turned(self.eui64),
            _turned(self.hub),
            _ASSOCIATION_RESPONSE,
            self.short_address,
            self.status,
        )


def _turned(eui64: bytes) -> bytes:
    if len(eui64) != EUI64_OCTETS:
        raise HanValueError(f"an EUI-64 has {EUI64_OCTETS} octets, not {len(eui64)}")
    return eui64[::-1]


def is_request(frame: bytes) -> bool:
    """Whether a frame is an association request, by its frame control."""
    return frame[:2] == _REQUEST_CONTROL.to_bytes(2, "little")


def is_response(frame: bytes) -> bool:
    """Whether a frame is an association response, by its frame control."""
    return frame[:2] == _RESPONSE_CONTROL.to_bytes(2, "little")


def parse_request(frame: bytes) -> AssociationRequest:
    """Read an association request."""
    if len(frame) != _REQUEST.size:
        raise HanDecodeError("association request", 0, f"has {len(frame)} octets; {_REQUEST.size} are right")
    control, sequence, pan_id, destination, source_pan, eui64, command, _capability = _REQUEST.unpack(frame)
    fixed = (control, destination, source_pan, command)
    if fixed != (_REQUEST_CONTROL, _COORDINATOR, _NO_PAN, _ASSOCIATION_REQUEST):
        raise HanDecodeError("association request", 0, "is another command, or not for the coordinator")
    return AssociationRequest(sequence, pan_id, eui64[::-1])


def parse_response(frame: bytes) -> AssociationResponse:
    """Read an association response."""
    if len(frame) != _RESPONSE.size:
        raise HanDecodeError("association response", 0, f"has {len(frame)} octets; {_RESPONSE.size} are right")
    control, sequence, pan_id, eui64, hub, command, short_address, status = _RESPONSE.unpack(frame)
    if (control, command) != (_RESPONSE_CONTROL, _ASSOCIATION_RESPONSE) or status not in set(JoinStatus):
        raise HanDecodeError("association response", 0, "is another command, or of a status that is not known")
    return AssociationResponse(sequence, pan_id, eui64[::-1], hub[::-1], JoinStatus(status), short_address)


@dataclass(frozen=True, slots=True)
class Joined:
    """The hub gave a short address."""

    short_address: int


@dataclass(frozen=True, slots=True)
class NotJoined:
    """The hub refused (``status``), or never answered (``None``)."""

    status: JoinStatus | None


class JoiningRadio:
    """A radio that asks to join: a ``Core`` that ends with one event, ``Joined`` or ``NotJoined``."""

    def __init__(self, eui64: bytes, pan_id: int, hub: bytes) -> None:
        self._request = AssociationRequest(0, pan_id, eui64)
        self._hub = hub
        self._outgoing: list[bytes] = []
        self._asked = 0
        self._ask_at: float | None = float("-inf")

    def receive(self, frame: bytes, now: float) -> list[Joined | NotJoined]:  # noqa: ARG002  # as every core
        """Take a frame off the air; only the answer of this hub to this radio counts."""
        if self._ask_at is None or not is_response(frame):
            return []
        try:
            response = parse_response(frame)
        except HanDecodeError:
            return []
        asked = self._request
        if (response.eui64, response.hub, response.pan_id) != (asked.eui64, self._hub, asked.pan_id):
            return []
        self._ask_at = None
        return [Joined(response.short_address) if response.status is JoinStatus.SUCCESS else NotJoined(response.status)]

    def tick(self, now: float) -> list[Joined | NotJoined]:
        """Ask, again where there was no answer; give up after the last time."""
        if self._ask_at is None or self._ask_at > now:
            return []
        if self._asked == JOIN_ATTEMPTS:
            self._ask_at = None
            return [NotJoined(None)]
        self._asked += 1
        self._ask_at = now + JOIN_WAIT_S
        request = AssociationRequest(self._asked, self._request.pan_id, self._request.eui64)
        self._outgoing.append(request.encode())
        return []

    def next_deadline(self) -> float | None:
        """When ``tick`` is due."""
        return self._ask_at

    def outgoing(self) -> list[bytes]:
        """Frames to put on the air, each once."""
        frames, self._outgoing = self._outgoing, []
        return frames
