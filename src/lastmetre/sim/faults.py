"""What goes wrong in a run: rates and times, all drawn from the seed.

Rules this module keeps: chance comes from generators made of the seed and a name, so that one link's luck does not
depend on another's; a fault that happens is counted under a name, so that a run can show what it has been through.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Final

PLACES: Final = ("before", "after")
"""Where in a durable write a party dies."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The rates of one run. Chances are per message, per write or per call; times in seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """A message is overtaken: it takes up to a minute longer."""
    hold: float = 0.0
    """A message is held for up to two hours, past most deadlines, and then let go."""
    delay_s: float = 0.2
    kill: float = 0.0
    """A party dies at a durable write, before or after it."""
    kills_max: int = 20
    partitions: int = 0
    """Links cut for a while, at times of their own."""
    clock_jumps: int = 0
    permits: int = 0
    """No fault, a setting: the hubs' policy is ``permit``, and one of them never knows the time."""
    forge: float = 0.0
    """Somebody on the supplier's doorstep sends an altered or foreign Response as well."""


NAMED: Final = {
    "calm": Faults(),
    "lossy": Faults(loss=0.2, duplicate=0.2, reorder=0.2),
    "held": Faults(hold=0.15, duplicate=0.1),
    "kills": Faults(kill=0.04),
    "partitions": Faults(partitions=8, loss=0.02),
    "clocks": Faults(clock_jumps=6, loss=0.05),
    "forgers": Faults(forge=0.5, duplicate=0.1, loss=0.05),
    "permit": Faults(
        loss=0.05, duplicate=0.1, reorder=0.05, hold=0.02, kill=0.01, partitions=3, clock_jumps=3, permits=1
    ),
    "everything": Faults(
        loss=0.1, duplicate=0.1, reorder=0.1, hold=0.03, kill=0.015, partitions=4, clock_jumps=2, forge=0.1
    ),
}


def named(seed: int) -> str:
    """Which set of faults a seed plays: each third one everything, the others in turn; ``permit`` by name only."""
    if seed % 3 == 0:
        return "everything"
    others = [name for name in NAMED if name not in {"everything", "permit"}]
    return others[(seed // 3 * 2 + seed % 3 - 1) % len(others)]


def with_options(faults: Faults, options: dict[str, float]) -> Faults:
    """The faults with some rates replaced; raises ``ValueError`` for a name there is not."""
    names = {field.name for field in fields(Faults)}
    unknown = options.keys() - names
    if unknown:
        raise ValueError(f"there is no fault {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}")
    typed = {name: int(value) if name in _WHOLE else value for name, value in options.items()}
    return replace(faults, **typed)  # type: ignore[arg-type]  # the names decide the types


_WHOLE: Final = {"kills_max", "partitions", "clock_jumps", "permits"}


def chance(seed: int, name: str) -> random.Random:
    """A generator for one purpose; the same for the same seed and name, in every process."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311 - chance that can be repeated is the point


class Sometimes(Counter[str]):
    """How often each fault, and each way out of one, really happened."""

    def saw(self, what: str) -> None:
        """It happened once more."""
        self[what] += 1
