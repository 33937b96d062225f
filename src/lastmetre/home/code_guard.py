"""Against guessing top-up codes: after some wrong ones, the next must wait, longer each time (threats T50).

Only codes that people type in are counted, at the meter or at the PPMID: a code that the supplier sends is inside a
Command, whose own MAC nobody guesses. Numbers are a DESIGN CHOICE; that entry is suspended and that attempts meanwhile
are rejected are events 81C4 and 81C5 (gbcs-messages 10.2). A restart ends no wait.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

from lastmetre.home.own_memory import OwnMemory

S = TypeVar("S", bound=OwnMemory)

FREE_TRIES: Final = 5
"""Wrong codes before the first wait."""
FIRST_WAIT_S: Final = 60
WAIT_MAX_S: Final = 86_400
SUSPENDED, REJECTED = 0x81C4, 0x81C5


def is_suspended(state: OwnMemory, at: int) -> bool:
    """Whether a code typed in now is rejected unread. A clock set back does not end the wait early."""
    return at < state.codes_suspended_until


def wrong(state: S, at: int) -> tuple[S, bool]:
    """The state after a wrong code, and whether entry is suspended now."""
    failures = state.wrong_codes + 1
    if failures < FREE_TRIES:
        return replace(state, wrong_codes=failures), False
    wait = min(WAIT_MAX_S, FIRST_WAIT_S << min(failures - FREE_TRIES, 16))
    return replace(state, wrong_codes=failures, codes_suspended_until=at + wait), True


def right(state: S) -> S:
    """The state after a right code: counting starts again."""
    return replace(state, wrong_codes=0, codes_suspended_until=0)
