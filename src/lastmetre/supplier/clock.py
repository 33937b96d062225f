"""The supplier's time of day: it never goes back, so no window that has begun grows longer.

Rules this module keeps (threats T19, R09):

- Within one life the time is at least what was shown before plus what really passed: a wall clock set back is outrun, a
  wall clock set forward is followed. Deadlines may then come early; they never come late.
- A restart does not renew: the new life begins no earlier than the newest entry of the audit.
- A store far ahead of the wall clock is not believed and not overruled: the service refuses to start and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lastmetre.supplier.errors import ClockBehind

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastmetre.supplier.ports import Clock

AHEAD_MAX_S: Final = 300
"""By how much the store may be ahead of the wall clock at a start."""


class SteadyClock:
    """Implements ``ports.Clock`` on a wall clock and one that only counts."""

    def __init__(self, wall: Clock, monotonic_s: Callable[[], float], not_before_s: int = 0) -> None:
        self._wall = wall
        self._monotonic_s = monotonic_s
        self._counted_s = monotonic_s()
        self._latest_ms = not_before_s * 1000

    def now_ms(self) -> int:
        """As in the port."""
        counted_s = self._monotonic_s()
        passed_ms = int((counted_s - self._counted_s) * 1000)
        # What is less than a millisecond is kept for the next reading, or a clock that is read often would stand still.
        self._counted_s += passed_ms / 1000
        self._latest_ms = max(self._latest_ms + passed_ms, self._wall.now_ms())
        return self._latest_ms


def check_start(wall: Clock, newest_at: int, ahead_max_s: int = AHEAD_MAX_S) -> None:
    """Raises ``ClockBehind`` when the store has seen times that the wall clock is far from."""
    behind_s = newest_at - wall.now_ms() // 1000
    if behind_s > ahead_max_s:
        raise ClockBehind(
            f"the newest entry of the audit is {behind_s} s ahead of this machine's clock: set the clock right before "
            "starting; if it was wrong when the entry was written, put clock_ahead_max_s above that in the settings"
        )
