"""The air inside one process: joins cores by their short addresses and keeps what passed, for the capture.

Frames are handed over at once and in order; what is for a radio elsewhere comes out of ``outgoing``. A ``Medium`` is a
``Core`` itself, so that one pump drives a whole home:

    home = Medium({0x0000: hub, 0x1001: meter})
    for short, event in home.receive(frame, now):       # from a radio outside, or home.tick(now)
        react(short, event)                             # may call hub.send(...), meter.send(...)
    home.settle(now)                                    # when something was sent: hand it on; more events
    for frame in home.heard():                          # every frame, in order: the capture
        ...
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from lastmetre.han.errors import HanDecodeError
from lastmetre.han.frames import parse_mac
from lastmetre.han.joining import is_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lastmetre.han.devices import Core

T = TypeVar("T")

HEARD_MAX: Final = 65_536
"""Frames kept for ``heard``; when nobody asks, the oldest are forgotten. DESIGN CHOICE."""


class Heard(NamedTuple, Generic[T]):
    """An event, and at whose core it happened."""

    short_address: int
    event: T


class Medium(Generic[T]):
    """The cores of one process and the air between them."""

    def __init__(self, cores: Mapping[int, Core[T]]) -> None:
        self._cores = dict(cores)
        self._heard: deque[bytes] = deque(maxlen=HEARD_MAX)
        self._outside: list[bytes] = []

    def receive(self, frame: bytes, now: float) -> list[Heard[T]]:
        """Take a frame from a radio outside."""
        events = self._deliver(frame, now)
        return events + self.settle(now)

    def tick(self, now: float) -> list[Heard[T]]:
        """Do what is due at any core."""
        events: list[Heard[T]] = []
        for short, core in self._cores.items():
            due = core.next_deadline()
            if due is not None and due <= now:
                events += [Heard(short, event) for event in core.tick(now)]
        return events + self.settle(now)

    def settle(self, now: float) -> list[Heard[T]]:
        """Hand on what the cores have put on the air, until it is quiet."""
        events: list[Heard[T]] = []
        frames = self._collect()
        while frames:
            events += self._deliver(frames.popleft(), now)
            frames += self._collect()
        return events

    def next_deadline(self) -> float | None:
        """When ``tick`` is due."""
        times = [due for core in self._cores.values() if (due := core.next_deadline()) is not None]
        return min(times, default=None)

    def outgoing(self) -> list[bytes]:
        """Frames for radios outside, each once."""
        frames, self._outside = self._outside, []
        return frames

    def heard(self) -> list[bytes]:
        """Every frame that was on the air since the last call, in order."""
        frames = list(self._heard)
        self._heard.clear()
        return frames

    def _collect(self) -> deque[bytes]:
        return deque(frame for core in self._cores.values() for frame in core.outgoing())

    def _deliver(self, frame: bytes, now: float) -> list[Heard[T]]:
        self._heard.append(frame)
        if is_response(frame):  # to a radio that has no short address yet, so to one outside
            self._outside.append(frame)
            return []
        try:
            destination = parse_mac(frame).destination
        except HanDecodeError:  # for whom, nobody knows: the hub is the one to say that it is broken
            destination = 0
        core = self._cores.get(destination)
        if core is None:
            self._outside.append(frame)
            return []
        return [Heard(destination, event) for event in core.receive(frame, now)]
