"""Auxiliary controllers: what their script selectors do (ECS47, ECS47a, ECS47e; transform B10)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lastmetre.gbcs.axdr import LongUnsigned, OctetString
from lastmetre.gbcs.datetimes import CosemDateTime
from lastmetre.home.attributes import at as attribute_at
from lastmetre.home.calendars import since_2000
from lastmetre.home.live import INPUT, controller_levels
from lastmetre.home.objects.auxiliary import CONTROLLERS, TIMES_BASE
from lastmetre.home.state import Controller

if TYPE_CHECKING:
    from lastmetre.gbcs.axdr import Data
    from lastmetre.home.state import MeterState

_OUTPUT: Final = 0x1000
_ON, _OFF, _RESET = 0x11, 0x12, 0x20
_LEVEL_MAX: Final = 100
_MINUTE_S: Final = 60


def run_script(state: MeterState, selector: int, now: int, *, limit: bool) -> MeterState | None:
    """The state after a controller's script, or ``None`` for a selector that means nothing.

    A limit (ECS47e) holds the level down, never up; all of it ends at the time given with it (DESIGN CHOICE).
    """
    number, low = (selector >> 8) & 0xF, selector & 0xFF
    if number not in CONTROLLERS:
        return None
    if selector & (_OUTPUT | INPUT):
        changed = _level(state, number, low, selector, now, limit=limit) if low <= _LEVEL_MAX else None
    else:
        changed = None if limit else _switch(state, number, low, now)
    if changed is None:
        return None
    controllers = (*state.controllers[: number - 1], changed, *state.controllers[number:])
    line = (since_2000(now), selector, 0, since_2000(changed.until_at) if changed.until_at else 0)
    return replace(state, controllers=controllers).with_line("controller_events", line)


def _times(state: MeterState, number: int, which: int) -> Data | None:
    return state.read(attribute_at(1, f"0-0:94.44.{TIMES_BASE + number}.{which}", 2))


def _switch(state: MeterState, number: int, what: int, now: int) -> Controller | None:
    if what == _RESET:
        return Controller()
    if what not in {_ON, _OFF}:
        return None
    minutes = _times(state, number, 1 if what == _ON else 2)
    span = minutes.value if isinstance(minutes, LongUnsigned) else 0
    return Controller(_LEVEL_MAX if what == _ON else 0, 0, now + span * _MINUTE_S)


def _level(state: MeterState, number: int, level: int, selector: int, now: int, *, limit: bool) -> Controller | None:
    end = _times(state, number, 4 if limit else 2)
    at = CosemDateTime.from_bytes(end.value).unix_seconds() if isinstance(end, OctetString) else None
    if at is None:
        return None
    output, given = controller_levels(state, number, now)
    if limit:
        level = min(level, given if selector & INPUT else output)
    marked = (selector >> 8) & 0xFF if limit else 0
    return Controller(output, level, at, marked) if selector & INPUT else Controller(level, given, at, marked)


def limits_ended(before: MeterState, after: MeterState) -> tuple[MeterState, tuple[tuple[int, int, int], ...]]:
    """Limits that ended between two states, by time or because something else was commanded (ECS102).

    Each with its controller octet, its level, and when.
    """
    ended = []
    controllers = list(after.controllers)
    for place, (old, new) in enumerate(zip(before.controllers, after.controllers, strict=True)):
        over = new == old and new.limit and new.until_at <= after.updated_at
        if old.limit and (over or new != old):
            level = old.input_level if (old.limit << 8) & INPUT else old.output_level
            ended.append((old.limit, level, old.until_at if over else after.updated_at))
        if over:
            controllers[place] = replace(new, limit=0)
    return replace(after, controllers=tuple(controllers)), tuple(ended)
