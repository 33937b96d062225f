"""The queue in memory: the promises of ``ports.Queue`` without a database. For tests and simulations.

``Jobs`` is what a database would hold and outlives the processes; ``MemoryQueue`` is one process's hold of it. Time is
the event loop's, so that it runs in simulated time as well.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

AT_ONCE_MAX: Final = 16
HEARTBEAT_S: Final = 30.0


@dataclass(slots=True)
class Job:
    """Something to do about a key, not before a moment of the loop's time."""

    work: str
    key: str
    not_before: float = 0.0
    taken_by: int | None = None


@dataclass(slots=True)
class Jobs:
    """All jobs, and when each worker was last alive."""

    waiting: dict[int, Job] = field(default_factory=dict)
    beats: dict[int, float] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    added: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, work: str, key: str, not_before: float = 0.0, *, once: bool = False) -> None:
        """A job more; with ``once`` not while the same waits untaken."""
        same = (job for job in self.waiting.values() if (job.work, job.key) == (work, key) and job.taken_by is None)
        if not once or next(same, None) is None:
            self.waiting[next(self.numbers)] = Job(work, key, not_before)
            self.added.set()


class MemoryQueue:
    """Implements ``ports.Queue`` for one process."""

    def __init__(
        self,
        jobs: Jobs,
        wall_s: Callable[[], float],
        heartbeat_s: float = HEARTBEAT_S,
        on_taken_over: Callable[[], None] | None = None,
    ) -> None:
        self._jobs = jobs
        self._wall_s = wall_s
        self._heartbeat_s = heartbeat_s
        self._on_taken_over = on_taken_over
        self._me = next(jobs.numbers)
        self._handlers: dict[str, Callable[[str], Awaitable[None]]] = {}
        self._crons: list[tuple[int, Callable[[], Awaitable[None]]]] = []

    async def enqueue(self, work: str, key: str, transaction: object | None = None, *, once: bool = False) -> None:
        """As in the port; a change of the store in memory is a transaction by itself."""
        del transaction
        self._jobs.add(work, key, once=once)

    async def enqueue_at(self, work: str, key: str, at: int) -> None:
        """As in the port."""
        now = asyncio.get_running_loop().time()
        self._jobs.add(work, key, now + max(0.0, at - self._wall_s()))

    async def cancel(self, work: str, key: str) -> None:
        """As in the port."""
        for number, job in list(self._jobs.waiting.items()):
            if (job.work, job.key) == (work, key) and job.taken_by is None:
                del self._jobs.waiting[number]

    def handler(self, work: str, do: Callable[[str], Awaitable[None]]) -> None:
        """As in the port."""
        self._handlers[work] = do

    def cron(self, name: str, every_s: int, do: Callable[[], Awaitable[None]]) -> None:
        """As in the port."""
        del name
        self._crons.append((every_s, do))

    async def run(self) -> None:
        """As in the port."""
        slots = asyncio.Semaphore(AT_ONCE_MAX)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            for every_s, do in self._crons:
                tasks.create_task(self._every(every_s, do))
            while True:
                self._jobs.added.clear()
                now = asyncio.get_running_loop().time()
                for number, job in list(self._jobs.waiting.items()):
                    if job.not_before <= now and job.work in self._handlers and self._take(job, now):
                        tasks.create_task(self._do(number, job, slots))
                await self._sleep(now)

    def _take(self, job: Job, now: float) -> bool:
        if job.taken_by is not None:
            if now - self._jobs.beats.get(job.taken_by, 0.0) <= self._heartbeat_s:
                return False
            if self._on_taken_over is not None:
                self._on_taken_over()
        job.taken_by = self._me
        return True

    async def _do(self, number: int, job: Job, slots: asyncio.Semaphore) -> None:
        async with slots:
            await self._handlers[job.work](job.key)
        self._jobs.waiting.pop(number, None)

    async def _sleep(self, now: float) -> None:
        """Until a job is added, one is due, or a dead worker's may be taken over."""
        due = [job.not_before - now for job in self._jobs.waiting.values() if job.not_before > now]
        try:
            async with asyncio.timeout(min([self._heartbeat_s, *due])):
                await self._jobs.added.wait()
        except TimeoutError:
            return

    async def _beat(self) -> None:
        while True:
            self._jobs.beats[self._me] = asyncio.get_running_loop().time()
            await asyncio.sleep(self._heartbeat_s / 2)

    async def _every(self, every_s: int, do: Callable[[], Awaitable[None]]) -> None:
        while True:
            await do()
            await asyncio.sleep(every_s)
