"""The supplier's time of day: it follows a clock set forward and outruns one set back."""

from __future__ import annotations

import pytest

from lastmetre.supplier.clock import SteadyClock, check_start
from lastmetre.supplier.errors import ClockBehind


class _Hands:
    """A wall clock and a counter in the test's hands."""

    def __init__(self) -> None:
        self.wall_ms = 1_000_000_000
        self.counted_s = 5.0

    def now_ms(self) -> int:
        return self.wall_ms

    def pass_s(self, seconds: float) -> None:
        self.wall_ms += int(seconds * 1000)
        self.counted_s += seconds


def test_a_clock_set_back_is_outrun() -> None:
    """After a step back time goes on from where it was, at its own pace, even when read very often."""
    hands = _Hands()
    clock = SteadyClock(hands, lambda: hands.counted_s)
    before = clock.now_ms()
    hands.wall_ms -= 3_600_000
    assert clock.now_ms() == before
    for _ in range(10_000):
        hands.pass_s(0.0001)
        clock.now_ms()
    assert before + 990 <= clock.now_ms() <= before + 1_010


def test_a_clock_set_forward_is_followed() -> None:
    """Deadlines may come early, never late."""
    hands = _Hands()
    clock = SteadyClock(hands, lambda: hands.counted_s)
    hands.wall_ms += 3_600_000
    assert clock.now_ms() == hands.wall_ms


def test_a_restart_does_not_renew() -> None:
    """A new life begins no earlier than what the store has seen; far ahead of the wall clock it does not begin."""
    hands = _Hands()
    assert SteadyClock(hands, lambda: hands.counted_s, 1_000_100).now_ms() == 1_000_100_000
    check_start(hands, 1_000_100)
    with pytest.raises(ClockBehind, match="1000 s ahead"):
        check_start(hands, 1_001_000)
