"""Links between parties: messages are lost, doubled, overtaken, held back, or the link is cut altogether.

A *request* has an answer and a time-out: its sender cannot tell whether the request or the answer was lost. A *cast* is
one way and says nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, TypeVar

from lastmetre.sim.parties import Lost, Party

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine
    from typing import Any

    from lastmetre.sim.faults import Faults, Sometimes

_T = TypeVar("_T")

TIMEOUT_S: Final = 30.0
OVERTAKEN_S: Final = 60.0
HELD_S: Final = 7_200.0


class Wire:
    """One link. ``spawn`` runs what is under way on nobody's behalf."""

    def __init__(
        self,
        name: str,
        faults: Faults,
        luck: random.Random,
        sometimes: Sometimes,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.name = name
        self.cut = False
        self.faulty = True
        self._faults = faults
        self._luck = luck
        self._sometimes = sometimes
        self._spawn = spawn

    def _happens(self, rate: float, what: str) -> bool:
        if not self.faulty or rate <= 0 or self._luck.random() >= rate:
            return False
        self._sometimes.saw(f"{self.name.split(' ')[0]}: {what}")
        return True

    def _travel_s(self) -> float | None:
        """How long one message takes; ``None`` when it never arrives."""
        if self.cut:
            self._sometimes.saw(f"{self.name.split(' ')[0]}: met a cut link")
            return None
        if self._happens(self._faults.loss, "lost"):
            return None
        time_s = self._luck.random() * self._faults.delay_s
        if self._happens(self._faults.reorder, "overtaken"):
            time_s += self._luck.random() * OVERTAKEN_S
        if self._happens(self._faults.hold, "held back"):
            time_s += self._luck.random() * HELD_S
        return time_s

    async def request(
        self, to: Party, call: Callable[[], Coroutine[Any, Any, _T]], *, again: bool = True, wait_s: float = 0.0
    ) -> _T:
        """Asks; raises ``Lost`` when no answer came in time, whatever the reason. ``again``: it may arrive twice."""
        time_s = self._travel_s()
        if time_s is None:
            await asyncio.sleep(self._luck.random() * TIMEOUT_S)
            raise Lost(f"{self.name}: the request")
        if again and self._happens(self._faults.duplicate, "doubled"):
            self._spawn(_later(self._luck.random() * OVERTAKEN_S, to, call))
        if time_s > TIMEOUT_S:
            self._spawn(_later(time_s, to, call))
            await asyncio.sleep(TIMEOUT_S)
            raise Lost(f"{self.name}: no answer in time")
        await asyncio.sleep(time_s)
        try:
            async with asyncio.timeout(TIMEOUT_S + wait_s):
                outcome = await to.do(call)
        except TimeoutError:
            raise Lost(f"{self.name}: no answer in time") from None
        back_s = self._travel_s()
        if back_s is None or back_s > TIMEOUT_S:
            await asyncio.sleep(self._luck.random() * TIMEOUT_S)
            raise Lost(f"{self.name}: the answer")
        await asyncio.sleep(back_s)
        return outcome

    def cast(self, to: Party, call: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Sends one way."""
        time_s = self._travel_s()
        if time_s is None:
            return
        self._spawn(_later(time_s, to, call))
        if self._happens(self._faults.duplicate, "doubled"):
            self._spawn(_later(time_s + self._luck.random() * OVERTAKEN_S, to, call))


async def _later(time_s: float, to: Party, call: Callable[[], Coroutine[Any, Any, object]]) -> None:
    await asyncio.sleep(time_s)
    with contextlib.suppress(Exception):  # nobody waits for it: what the receiver says goes nowhere
        await to.do(call)
