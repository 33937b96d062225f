"""Waiting values and the times at which they count: now, at a time, never (gbcs-messages 10.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lastmetre.gbcs.axdr import Array, Enum, OctetString, Structure
from lastmetre.gbcs.datetimes import CosemDateTime
from lastmetre.home.attributes import IMMEDIATELY, NEVER
from lastmetre.home.objects import ACTIVATIONS
from lastmetre.home.objects.rows import Becoming
from lastmetre.home.snapshots import log_change
from lastmetre.home.state import Pending

if TYPE_CHECKING:
    from lastmetre.gbcs.axdr import Data
    from lastmetre.gbcs.message import GroupingHeader
    from lastmetre.home.attributes import Attribute
    from lastmetre.home.state import MeterState

_IN_FORCE = Enum(2)


def activate(state: MeterState, attribute: Attribute, at: int) -> MeterState:
    """Let the waiting values of an activation time come into force.

    A change of the payment mode or of prices leaves a line in the billing data log (ECS20b); the supply follows the
    new settings when the caller settles the account.
    """
    if attribute.class_id in {20, 111, 113}:
        state = log_change(state, at)
    for move in ACTIVATIONS[attribute].moves:
        held = state.read(move.passive)
        if held is not None:
            state = state.with_attribute(move.active, _become(held, move.becoming))
    return state.with_attribute(attribute, OctetString(NEVER))


def _become(value: Data, becoming: Becoming) -> Data:
    match becoming:
        case Becoming.AS_IT_IS:
            return value
        case Becoming.IN_AN_ARRAY:
            return Array((value,))
        case Becoming.IN_FORCE:
            assert isinstance(value, Structure)
            return Structure((value.elements[0], _IN_FORCE))


def schedule(
    state: MeterState, attribute: Attribute, when: bytes, header: GroupingHeader, now: int
) -> MeterState | None:
    """Set an activation time; ``None`` for one that is no moment.

    A time that has passed counts as now (DESIGN CHOICE). Any new time takes the place of the one before.
    """
    state = replace(state, pending=tuple(each for each in state.pending if each.attribute != attribute))
    if when == NEVER:
        return state.with_attribute(attribute, OctetString(NEVER))
    at = None if when == IMMEDIATELY else CosemDateTime.from_bytes(when).unix_seconds()
    if when != IMMEDIATELY and at is None:
        return None
    if at is None or at <= now:
        return activate(state, attribute, now)
    pending = Pending(at, attribute, header.message_code, header.originator_counter, header.business_originator_id)
    return replace(state.with_attribute(attribute, OctetString(when)), pending=(*state.pending, pending))
