"""One task for many homes: a heap of what is next due, and a clock that may run faster than the world's.

    clock = Clock(speed=60.0)                       # a minute of the homes' time each second
    clockwork = Clockwork(clock)
    clockwork.add(home)                             # anything with next_due() and turn(now, at)
    task = asyncio.create_task(clockwork.run())
    home.feed(frame); clockwork.wake(home)          # something came: look at it now

Rules this module keeps: nothing polls; an item is looked at when it said it would be due, or when it is woken; an item
that is always due does not keep others waiting (each has one turn in its round); an exception ends ``run``.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Final, Protocol

TURNS_AT_ONCE: Final = 64
"""Turns before other tasks of the process have theirs."""


class Clock:
    """The homes' time: ``now`` for radios, in seconds that never go back; ``at`` for calendars, UTC.

    At speed 1 and without a start, ``at`` is the machine's own clock, whatever is done to that.
    """

    def __init__(self, *, speed: float = 1.0, starts_at: float | None = None) -> None:
        self.speed: Final = speed
        self._begun = time.monotonic()
        self._follows = speed == 1.0 and starts_at is None
        self._starts_at = time.time() if starts_at is None else starts_at

    def now(self) -> float:
        """Seconds of the homes' time since no matter when."""
        return self._begun + (time.monotonic() - self._begun) * self.speed

    def at_us(self) -> int:
        """UTC in Unix microseconds."""
        if self._follows:
            return time.time_ns() // 1_000
        return int((self._starts_at + self.now() - self._begun) * 1_000_000)

    def at(self) -> int:
        """UTC in Unix seconds."""
        return self.at_us() // 1_000_000

    def real_s(self, seconds: float) -> float:
        """How long a span of the homes' time takes on the world's clock."""
        return seconds / self.speed


class Driven(Protocol):
    """What a clockwork drives."""

    def next_due(self) -> float:
        """When ``turn`` has something to do, on the clock's ``now``; long past for at once."""
        ...

    def turn(self, now: float, at: int) -> None:
        """Do what is due."""
        ...


class Clockwork:
    """Drives many items by one heap."""

    def __init__(self, clock: Clock) -> None:
        self.clock: Final = clock
        self._heap: list[tuple[float, int, Driven]] = []
        self._due: dict[int, float] = {}
        """When each item, by its ``id``, stands in the heap; other entries of it are old and skipped."""
        self._numbers = itertools.count()
        self._work = asyncio.Event()

    def add(self, item: Driven) -> None:
        """Drive this item from now on."""
        self._put(item, item.next_due())
        self._work.set()

    def wake(self, item: Driven) -> None:
        """Something came for an item, or was asked of it: it has a turn now."""
        self._put(item, float("-inf"))
        self._work.set()

    def _put(self, item: Driven, due: float) -> None:
        if self._due.get(id(item)) != due:
            self._due[id(item)] = due
            heapq.heappush(self._heap, (due, next(self._numbers), item))

    async def run(self) -> None:
        """Drive until cancelled."""
        while True:
            self._work.clear()
            for _ in range(TURNS_AT_ONCE):
                if not self._one_turn():
                    break
            else:
                await asyncio.sleep(0)
                continue
            await self._wait()

    def _one_turn(self) -> bool:
        """The turn of the item that is due first; false when none is due."""
        now = self.clock.now()
        while self._heap and self._heap[0][0] <= now:
            due, _number, item = heapq.heappop(self._heap)
            if self._due.get(id(item)) != due:
                continue
            del self._due[id(item)]
            item.turn(now, self.clock.at())
            if id(item) not in self._due:  # or somebody woke it meanwhile
                # At once means after the others: an item may not take all turns.
                self._put(item, max(item.next_due(), now))
            return True
        return False

    async def _wait(self) -> None:
        """Until the next item is due, or one is woken."""
        while self._heap and self._due.get(id(self._heap[0][2])) != self._heap[0][0]:
            heapq.heappop(self._heap)
        delay = self.clock.real_s(self._heap[0][0] - self.clock.now()) if self._heap else None
        if delay is not None and delay <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        timer = None if delay is None else loop.call_later(delay, self._work.set)
        try:
            await self._work.wait()
        finally:
            if timer is not None:
                timer.cancel()
