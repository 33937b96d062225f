"""A home that can be driven: frames and the time in, frames out. Whoever drives it only asks when it is next due.

    home = Household(premises, tick_s=60.0, tick_at=now)
    home.feed(frame)                        # from a radio outside
    home.turn(now, at)                      # when due, and after every feed or press
    for frame in home.heard(): ...          # all that was on the air: the capture
    for frame in home.outgoing(): ...       # to radios outside
    wait_until(home.next_due())

Rules this module keeps: nothing in here waits or polls, so that one driver can serve a thousand homes from one heap of
what is next due; frames that wait are bounded; time passes for the devices every ``tick_s`` and whenever a Command
comes, for meters live through all of it then.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.home.premises import Premises

INBOX_FRAMES_MAX: Final = 1_024
"""Frames that wait for a turn; more are lost, as a radio loses what comes too fast."""
HALF_HOUR_S: Final = 1_800


class Household:
    """One premises and its timetable. ``gas_flow`` says how many litres flowed between two moments."""

    def __init__(
        self,
        premises: Premises,
        *,
        tick_s: float,
        tick_at: float,
        gas_flow: Callable[[int, int], int] | None = None,
    ) -> None:
        self.premises: Final = premises
        self._tick_s = tick_s
        self._tick_at = tick_at
        self._gas_flow = gas_flow
        self._gas_until: int | None = None
        self._inbox: deque[bytes] = deque()

    def feed(self, frame: bytes) -> None:
        """A frame came off the air."""
        if len(self._inbox) < INBOX_FRAMES_MAX:
            self._inbox.append(frame)

    def next_due(self) -> float:
        """When ``turn`` has something to do; long past for at once."""
        if self._inbox:
            return float("-inf")
        due = self.premises.medium.next_deadline()
        return self._tick_at if due is None else min(due, self._tick_at)

    def turn(self, now: float, at: int) -> None:
        """Take what came and do what is due. ``now`` is the radios' clock, ``at`` UTC in Unix seconds."""
        premises, medium = self.premises, self.premises.medium
        if self._tick_at <= now:
            missed = (now - self._tick_at) // self._tick_s
            self._tick_at += (missed + 1) * self._tick_s
            self._let_gas_flow(at)
            premises.tick(now, at)
        events = []
        while self._inbox:
            events += medium.receive(self._inbox.popleft(), now)
        events += medium.tick(now)
        while events:
            for heard in events:
                premises.happened(heard, now, at)
            events = medium.tick(now)  # what was asked of the radios may have news at once

    def heard(self) -> list[bytes]:
        """Every frame on the air since the last call, in order."""
        return self.premises.medium.heard()

    def outgoing(self) -> list[bytes]:
        """Frames for radios outside, each once."""
        return self.premises.medium.outgoing()

    def _let_gas_flow(self, at: int) -> None:
        """What the gas meter's index gained, once every half hour of the clock."""
        gas, until = self.premises.parts.gas, at - at % HALF_HOUR_S
        if gas is None or self._gas_flow is None:
            return
        since, self._gas_until = self._gas_until, until
        if since is not None and since < until:
            gas.meter.consume(self._gas_flow(since, until), until)
