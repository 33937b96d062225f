"""A model of the SM WAN: where it reaches, when, how long a message takes, and how many are lost.

DESIGN CHOICE throughout: how good the real WAN is, home by home, is not public. What can be shown with it is the shape:
homes it never reaches, homes it reaches for some hours, and homes where it is slow or loses messages.

Rules this module keeps:

* A pure core, ``passage``: what becomes of one message, from a profile, the time and a draw; the same draws, the same
  WAN. ``ModelledWan`` puts it between the DSP and the real connections.
* A closed WAN is told to the sender, who waits and tries again (``egress``). A lost message is not: only a Response
  proves that a Command arrived, and sending it again has its own limit (``Waits.resend_after_s``, ``sends_max``).
* What a hub sends while its window is closed waits with the hub until it opens.
* Times of day are UTC. A window may pass midnight.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from lastmetre.dcc.errors import SettingsRefused
from lastmetre.dcc.inventory import WanCoverage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from lastmetre.dcc.ports import Clock, Tell, WanDoor

    Draw = Callable[[], float]
    """A number from 0 to below 1, another each time."""
    Take = Callable[[bytes, bytes], Awaitable[None]]

DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Window:
    """When the WAN reaches a hub: seconds after midnight, from ``begins_s`` until before ``ends_s``."""

    begins_s: int
    ends_s: int

    def __post_init__(self) -> None:
        if not 0 <= self.begins_s < DAY_S or not 0 < self.ends_s <= DAY_S or self.begins_s == self.ends_s:
            raise SettingsRefused("a WAN window begins and ends at two different times of one day")

    @classmethod
    def parse(cls, text: str) -> Window:
        """``06:30-08:00``; ``24:00`` is the end of the day."""
        try:
            begins, ends = (_minutes(part) * 60 for part in text.split("-"))
        except ValueError:
            raise SettingsRefused(f"a WAN window is written 06:30-08:00, not {text[:20]!r}") from None
        return cls(begins, ends)

    def opens_in(self, at: int) -> int:
        """Seconds until it is open; zero while it is."""
        now = at % DAY_S
        inside = self.begins_s <= now < self.ends_s
        if self.begins_s > self.ends_s:
            inside = now >= self.begins_s or now < self.ends_s
        return 0 if inside else (self.begins_s - now) % DAY_S


def _minutes(text: str) -> int:
    hours, _, minutes = text.strip().partition(":")
    if not (hours.isdigit() and len(minutes) == 2 and minutes.isdigit() and int(minutes) < 60 and int(hours) <= 24):
        raise ValueError(text)
    return int(hours) * 60 + int(minutes)


@dataclass(frozen=True, slots=True)
class WanProfile:
    """How the SM WAN is at one hub."""

    coverage: WanCoverage = WanCoverage.GOOD
    windows: tuple[Window, ...] = ()
    """When it is open, where coverage is intermittent."""
    latency_s: float = 0.0
    """How long every message takes, at least."""
    jitter_s: float = 0.0
    """How much longer one may take."""
    loss: float = 0.0
    """The share of messages that never arrive, each way."""

    def __post_init__(self) -> None:
        if (self.coverage is WanCoverage.INTERMITTENT) is not bool(self.windows):
            raise SettingsRefused("a WAN has windows where it is intermittent, and only there")
        if not 0 <= self.loss <= 1 or self.latency_s < 0 or self.jitter_s < 0:
            raise SettingsRefused("a WAN's loss is a share from 0 to 1, its times are not negative")

    def opens_in(self, at: int) -> int | None:
        """Seconds until a message may pass; ``None``: never."""
        if self.coverage is WanCoverage.NONE:
            return None
        return min((window.opens_in(at) for window in self.windows), default=0)


class Passage(NamedTuple):
    """What becomes of one message."""

    opens_in_s: int | None
    """Zero: the WAN is open now."""
    lost: bool
    delay_s: float


def passage(profile: WanProfile, at: int, draw: Draw) -> Passage:
    """What becomes of a message handed to the WAN now. Draws twice, whatever the profile."""
    lost = draw() < profile.loss
    delay_s = profile.latency_s + profile.jitter_s * draw()
    return Passage(profile.opens_in(at), lost, delay_s)


class ModelledWan:
    """The WAN as a model of it lets through (implements ``ports.WanDoor``), over the real connections."""

    def __init__(
        self,
        door: WanDoor,
        profiles: Mapping[bytes, WanProfile],
        *,
        tell: Tell,
        clock: Clock,
        draw: Draw,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """A hub without a profile has the WAN as it is."""
        self._door = door
        self._profiles = MappingProxyType(dict(profiles))
        self._tell = tell
        self._clock = clock
        self._draw = draw
        self._sleep = sleep

    async def send(self, hub_id: bytes, message: bytes) -> bool:
        """Towards a hub: ``False`` when the WAN is closed there; a lost message looks like one that arrived."""
        profile = self._profiles.get(hub_id)
        if profile is None:
            return await self._door.send(hub_id, message)
        what = passage(profile, self._clock(), self._draw)
        if what.opens_in_s != 0:
            return False
        if what.lost:
            self._tell("wan_lost", hub_id=hub_id.hex(), direction="down")
            return True
        if what.delay_s:
            await self._sleep(what.delay_s)
        return await self._door.send(hub_id, message)

    async def take(self, hub_id: bytes, message: bytes, take: Take) -> None:
        """From a hub, on to whoever takes it: later, or never."""
        profile = self._profiles.get(hub_id)
        if profile is not None:
            what = passage(profile, self._clock(), self._draw)
            if what.opens_in_s is None or what.lost:
                self._tell("wan_lost", hub_id=hub_id.hex(), direction="up")
                return
            if what.opens_in_s or what.delay_s:
                await self._sleep(what.opens_in_s + what.delay_s)
        await take(hub_id, message)
