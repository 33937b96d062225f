"""One task for many homes: each has its turn when due, none starves the others, and time can run faster."""

from __future__ import annotations

import asyncio
import time

import pytest

from lastmetre.links.clockwork import Clock, Clockwork


class Item:
    """Due every so often; counts its turns and says when they were."""

    def __init__(self, clock: Clock, every_s: float) -> None:
        self.every_s = every_s
        self.due = clock.now() + every_s
        self.turns: list[float] = []

    def next_due(self) -> float:
        """When it is next due."""
        return self.due

    def turn(self, now: float, at: int) -> None:
        """Have a turn."""
        assert at > 0
        self.turns.append(now)
        self.due = now + self.every_s


def drive(clockwork: Clockwork, seconds: float) -> None:
    """Let it run for a while."""

    async def story() -> None:
        task = asyncio.create_task(clockwork.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result()

    asyncio.run(story())


def test_time_runs_at_the_speed_it_is_told() -> None:
    """Sixty minutes a second: an item due every minute has many turns in a tenth of one, at the right moments."""
    clock = Clock(speed=3_600.0, starts_at=1_795_400_000)
    clockwork = Clockwork(clock)
    item = Item(clock, 60.0)
    clockwork.add(item)
    drive(clockwork, 0.2)
    assert len(item.turns) > 4
    assert all(later - earlier >= 60.0 for earlier, later in zip(item.turns, item.turns[1:], strict=False))
    assert 1_795_400_000 + 600 < clock.at() < 1_795_400_000 + 3_600


def test_an_item_that_is_always_due_leaves_others_their_turns() -> None:
    """A home under a flood of frames does not stop its neighbour's clock, nor the process's other tasks."""
    clock = Clock()
    clockwork = Clockwork(clock)
    greedy, modest = Item(clock, -1.0), Item(clock, 0.02)
    clockwork.add(greedy)
    clockwork.add(modest)
    drive(clockwork, 0.3)
    assert len(modest.turns) >= 3
    assert len(greedy.turns) > len(modest.turns)


def test_nothing_is_looked_at_before_it_is_due_unless_woken() -> None:
    """A thousand items that wait cost no turns; the one that is woken has one at once."""
    clock = Clock()
    clockwork = Clockwork(clock)
    items = [Item(clock, 1_000.0) for _ in range(1_000)]
    for item in items:
        clockwork.add(item)
    clockwork.wake(items[7])
    began = time.process_time()
    drive(clockwork, 0.1)
    assert [len(item.turns) for item in items].count(1) == 1
    assert len(items[7].turns) == 1
    assert time.process_time() - began < 0.09


def test_an_error_of_an_item_ends_the_run() -> None:
    """A store that fails is for the process's starter to see."""
    clock = Clock()
    clockwork = Clockwork(clock)

    class Broken(Item):
        def turn(self, now: float, at: int) -> None:
            raise OSError("the disk is full")

    clockwork.add(Broken(clock, 0.0))
    with pytest.raises(OSError, match="full"):
        drive(clockwork, 0.1)


def test_the_plain_clock_is_the_machine_s() -> None:
    """At speed one, calendars follow the machine's clock."""
    assert abs(Clock().at() - time.time()) < 2
