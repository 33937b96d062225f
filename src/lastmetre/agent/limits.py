"""Every bound of the agent, each with its reason. All are DESIGN CHOICES unless a source is named."""

from __future__ import annotations

from typing import Final

TUNNEL_MESSAGE_OCTETS_MAX: Final = 1_500
"""What the GBCS tunnel carries in one transfer (HAN reference 0.1). Longer Commands go in blocks."""

CLOCK_BACK_S: Final = 2
"""How far the clock may be set back without a doubt: what time services do to a clock that is right."""

BLOCK_OCTETS: Final = 1_200
"""Octets of a Command in one block (permit reference, rule 4)."""

COMMANDS_OPEN_MAX: Final = 64
"""Commands waiting at once. A home needs a handful; the bound keeps a flash memory from filling."""

COMMANDS_REMEMBERED_MAX: Final = 1_000
"""Commands remembered at once, final ones included: some 4 MB at most."""

RECEIPTS_WAITING_MAX: Final = 4_096
"""Beyond this many undelivered receipts, refusals are told but no longer stored; what happened to Commands still is."""

REMEMBER_S: Final = 7 * 24 * 3_600
"""How long past its expiry a Command that is done with is remembered, so that a late Response or a repeated envelope
still finds it."""

RESPONSES_PER_COMMAND_MAX: Final = 4
"""The agent cannot tell a false Response from a true one, so a first one must not shut the door on the next; a hub
must not fill the store with them either."""

OFFER_RETRY_S: Final = (5, 10, 30, 60, 300)
"""Pause before a Command that the tunnel did not take is offered again; the last value repeats until expiry. Others are
offered meanwhile: one bad Command does not hold up the rest (T35)."""

TRANSFER_S: Final = 240
"""How long one transfer up the tunnel may take before it counts as failed: longer than the HAN holds a message for a
tunnel that just closed (180 s, HAN reference 2.2)."""

IDLE_S: Final = 60
"""How often an agent with nothing to do looks at the clock."""

PERMIT_ANSWER_S: Final = 5
"""How long the Command waits for the hub's word on its permit. A hub that knows no permits says nothing, ever."""

ANSWERS_PER_PERMIT_MAX: Final = 4
"""Answers heard for one permit on its way: to it, to the question for a nonce, to the Command, and one over."""

NONCE_WAIT_S: Final = 60
"""How long other Commands wait for the permit that answers a hub's nonce: a question of theirs would kill it."""
