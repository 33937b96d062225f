"""Processes that can die: a party's tasks live and die together, and nothing of a dead one is heard again.

Rules this module keeps:

- A kill happens at a durable write, just before it or just after it; or whenever the world says so.
- A dead process does nothing more: its calls to the outside end in ``PowerCut``, what it still says is not heard.
- Only what it stored is there when it starts again.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, TypeVar

from lastmetre.sim.faults import PLACES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine
    from typing import Any

    from lastmetre.sim.faults import Faults, Sometimes

_T = TypeVar("_T")

PAUSES_S: Final = (0.0, 5.0, 60.0, 300.0)
"""How long a dead party stays dead (threats R01)."""


class PowerCut(asyncio.CancelledError):
    """The process that made this call is dead."""


class Lost(Exception):
    """A message, or the answer to it, did not arrive."""


class Life:
    """One life of a party, from its start to its death."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.alive = True
        # In the order they began: a set would let memory addresses say in which order a death is felt.
        self.tasks: dict[asyncio.Task[Any], None] = {}

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Work that dies with this life."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None and self.alive:
            self.party.crashed(task.exception())

    def check(self) -> None:
        """Raises ``PowerCut`` for a process that is dead."""
        if not self.alive:
            raise PowerCut

    def write(self, name: str, place: str) -> None:
        """A durable write is about to happen, or has happened: perhaps the last thing this life does."""
        self.check()
        self.party.perhaps_die(name, place)
        self.check()


class Party:
    """One process of the world. ``start`` makes a new life of it on what it stored."""

    def __init__(
        self, name: str, faults: Faults, luck: random.Random, sometimes: Sometimes, start: Callable[[Life], None]
    ) -> None:
        self.name = name
        self.life = Life(self)
        self.life.alive = False
        self.mortal = True
        self.crashes: list[str] = []
        self._faults = faults
        self._luck = luck
        self._sometimes = sometimes
        self._start = start
        self._kills = 0

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self.life.alive

    def start(self) -> None:
        """A new life, unless one is going on."""
        if not self.up:
            self.life = Life(self)
            with contextlib.suppress(PowerCut):  # it may die at its first write
                self._start(self.life)

    def perhaps_die(self, name: str, place: str) -> None:
        """Dies here if chance says so."""
        assert place in PLACES
        if not self.mortal or self._kills >= self._faults.kills_max or self._luck.random() >= self._faults.kill:
            return
        self._kills += 1
        self._sometimes.saw(f"{self.name.split(' ')[0]} killed {place} {name}")
        self.kill()

    def kill(self) -> None:
        """The end of this life; another begins after a pause."""
        if not self.up:
            return
        self.life.alive = False
        for task in tuple(self.life.tasks):
            task.cancel()
        asyncio.get_running_loop().call_later(self._luck.choice(PAUSES_S), self.start)

    def crashed(self, error: BaseException | None) -> None:
        """A task ended with an error nobody caught: a bug, and the process is gone like a killed one."""
        self.crashes.append(f"{self.name}: {error!r}")
        self.kill()

    async def do(self, call: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Lets this party do something for another; raises ``Lost`` when it is dead or dies meanwhile."""
        if not self.up:
            raise Lost(f"{self.name} is down")
        task = self.life.spawn(_kept(call))
        try:
            outcome = await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if task.cancelled() and not (caller is not None and caller.cancelling()):
                raise Lost(f"{self.name} died over it") from None
            raise  # it is the caller who dies
        if isinstance(outcome, _Raised):
            raise outcome.error
        return outcome


class _Raised:
    """An error that belongs to the caller, such as a refusal."""

    def __init__(self, error: Exception) -> None:
        self.error = error


async def _kept(call: Callable[[], Coroutine[Any, Any, _T]]) -> _T | _Raised:
    try:
        return await call()
    except Exception as error:  # noqa: BLE001 - it is handed to the caller, who knows which are expected
        return _Raised(error)
