"""An event loop on simulated time: nothing waits, time jumps to the moment of the next thing to do.

Rules this module keeps: no wall clock, no socket, no thread. What runs on it is ordinary asyncio; two runs of the same
program on it do the same things in the same order at the same times.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

_T = TypeVar("_T")

RESOLUTION_S: Final = 1e-6
ROUND_S: Final = 2e-6
"""What one round of the loop costs: more than the resolution, so that who waits for a moment to pass sees it pass."""


class NothingLeft(Exception):
    """Everything waits and no timer is set: the simulated world stands still. Something was never woken."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """asyncio's own loop with another idea of time. It starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._clock_resolution = RESOLUTION_S
        self._selector = _Jump(self)
        self.set_task_factory(_numbered(itertools.count(1)))

    def time(self) -> float:
        """Seconds since the start of the simulation."""
        return self._now_s

    def jump(self, seconds: float) -> None:
        """Nobody has anything to do for so long."""
        self._now_s += seconds

    def _process_events(self, events: list[object]) -> None:
        """There are no files to hear from."""

    def _write_to_self(self) -> None:
        """There is nobody to wake from outside."""


class _Numbered(asyncio.Task[Any]):
    """A task whose place in a set is told by its number, not by its address in memory.

    asyncio keeps the tasks of a group in a set and cancels them as it finds them there; by address two runs would feel
    the same death in different orders.
    """

    number: int

    def __hash__(self) -> int:
        """The how-manieth task of its loop it is."""
        return self.number


def _numbered(numbers: Iterator[int]) -> Callable[..., asyncio.Task[Any]]:
    def make(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        # asyncio asks for its hash while it is being made: it has its number before.
        task = _Numbered.__new__(_Numbered)
        task.number = next(numbers)
        task.__init__(work, loop=loop, **options)  # type: ignore[misc]
        return task

    return make


class _Jump:
    """Stands where asyncio waits for files: instead of waiting, it moves time."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout_s: float | None) -> list[object]:
        """No file ever has anything."""
        if timeout_s is None:
            raise NothingLeft
        self._loop.jump(timeout_s + ROUND_S)
        return []

    def close(self) -> None:
        """Nothing was opened."""


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Runs ``main`` to its end in simulated time, and ends whatever it left behind."""
    loop = SimulatedLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()
