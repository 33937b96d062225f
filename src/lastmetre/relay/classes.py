"""The class of an envelope: what carriers may know of it, so that they need not look inside.

It follows from the message code: the lane of the catalogue, and whether the Command turns a supply off or on.
DESIGN CHOICE; the supplier writes it, the agent only reads it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from lastmetre.gbcs.catalogue import Lane, use_case


class CommandClass(IntEnum):
    """The number in the envelope."""

    ORDINARY = 1
    """It uses the ordinary counter: a higher one, once taken, supersedes it."""
    TOP_UP = 2
    """It uses the UTRN cache: nothing supersedes it."""
    SUPPLY = 3
    """Ordinary counter, and it closes, opens or arms a supply: fleets bound how many of these are at large (T36)."""
    CODE = 4
    """No Command: the twenty digits of a top-up, which the agent enters at the target as its customer would."""


_SUPPLY: Final = frozenset({"ECS42", "ECS43", "ECS44", "GCS32", "GCS39"})
"""Close, open and arm the load switch; close and arm the valve (catalogue)."""


def class_of(message_code: int) -> CommandClass:
    """The class of a Command with this message code; an unknown code is ordinary."""
    case = use_case(message_code)
    if case is None:
        return CommandClass.ORDINARY
    if case.lane is Lane.TOP_UP:
        return CommandClass.TOP_UP
    return CommandClass.SUPPLY if case.name in _SUPPLY else CommandClass.ORDINARY
