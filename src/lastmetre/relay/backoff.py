"""How long to wait after an outage, so that a hundred thousand agents do not come back in one second.

Full jitter: each wait is drawn evenly from zero up to a bound that doubles with every failure. Randomness is passed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BASE_S: Final = 1.0
"""The first bound: a blink of the network costs half a second on average."""
MAX_S: Final = 300.0
"""The last bound: a fleet returns within five minutes of a long outage, evenly spread."""


class Backoff:
    """One line of attempts. ``random`` gives floats from 0 up to 1."""

    def __init__(self, random: Callable[[], float], base_s: float = BASE_S, max_s: float = MAX_S) -> None:
        self._random = random
        self._base_s = base_s
        self._max_s = max_s
        self._bound_s = base_s

    def failed(self) -> float:
        """Another attempt failed: how many seconds to wait now."""
        wait_s = self._random() * self._bound_s
        self._bound_s = min(self._bound_s * 2, self._max_s)
        return wait_s

    def succeeded(self) -> None:
        """An attempt went well: the next failure starts from the first bound."""
        self._bound_s = self._base_s
